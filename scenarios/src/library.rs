//! Scenarios that are part of the program, to be run by name.

/// A scenario of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

impl Entry {
    /// What it shows: its first comment.
    #[must_use]
    pub fn about(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix('#'));
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

/// All of them. The first is the one that runs when no scenario is named.
pub const LIBRARY: [Entry; 11] = [
    Entry { name: "quickstart", text: include_str!("../library/quickstart.yaml") },
    Entry { name: "chat-steady", text: include_str!("../library/chat-steady.yaml") },
    Entry { name: "flash-crowd", text: include_str!("../library/flash-crowd.yaml") },
    Entry { name: "retry-storm", text: include_str!("../library/retry-storm.yaml") },
    Entry { name: "mixed-fleet", text: include_str!("../library/mixed-fleet.yaml") },
    Entry { name: "rollout-at-peak", text: include_str!("../library/rollout-at-peak.yaml") },
    Entry { name: "scale-to-zero", text: include_str!("../library/scale-to-zero.yaml") },
    Entry { name: "registry-crawl", text: include_str!("../library/registry-crawl.yaml") },
    Entry { name: "stock-out", text: include_str!("../library/stock-out.yaml") },
    Entry { name: "spot-reclaim", text: include_str!("../library/spot-reclaim.yaml") },
    Entry { name: "zone-outage", text: include_str!("../library/zone-outage.yaml") },
];

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<Entry> {
    LIBRARY.into_iter().find(|entry| entry.name == name)
}

//! Scenarios that are part of the program, to be run by name.

use std::path::Path;

/// A text of the library.
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
pub const LIBRARY: [Entry; 17] = [
    Entry { name: "quickstart", text: include_str!("../library/quickstart.yaml") },
    Entry { name: "chat-steady", text: include_str!("../library/chat-steady.yaml") },
    Entry { name: "flash-crowd", text: include_str!("../library/flash-crowd.yaml") },
    Entry { name: "retry-storm", text: include_str!("../library/retry-storm.yaml") },
    Entry { name: "mixed-fleet", text: include_str!("../library/mixed-fleet.yaml") },
    Entry { name: "rollout-at-peak", text: include_str!("../library/rollout-at-peak.yaml") },
    Entry { name: "diurnal-week", text: include_str!("../library/diurnal-week.yaml") },
    Entry { name: "scale-to-zero", text: include_str!("../library/scale-to-zero.yaml") },
    Entry { name: "registry-crawl", text: include_str!("../library/registry-crawl.yaml") },
    Entry { name: "stock-out", text: include_str!("../library/stock-out.yaml") },
    Entry { name: "spot-reclaim", text: include_str!("../library/spot-reclaim.yaml") },
    Entry { name: "zone-outage", text: include_str!("../library/zone-outage.yaml") },
    Entry { name: "incident-cooldown", text: include_str!("../library/incident-cooldown.yaml") },
    Entry {
        name: "incident-gpu-utilization",
        text: include_str!("../library/incident-gpu-utilization.yaml"),
    },
    Entry { name: "incident-tolerance", text: include_str!("../library/incident-tolerance.yaml") },
    Entry { name: "incident-failing-metric", text: include_str!("../library/incident-failing-metric.yaml") },
    Entry { name: "incident-empty-answer", text: include_str!("../library/incident-empty-answer.yaml") },
];

/// The manifests that its scenarios name, by their paths beside them.
pub const MANIFESTS: [Entry; 9] = [
    Entry { name: "manifests/keda-hasty.yaml", text: include_str!("../library/manifests/keda-hasty.yaml") },
    Entry {
        name: "manifests/keda-patient.yaml",
        text: include_str!("../library/manifests/keda-patient.yaml"),
    },
    Entry {
        name: "manifests/hpa-gpu-utilization.yaml",
        text: include_str!("../library/manifests/hpa-gpu-utilization.yaml"),
    },
    Entry { name: "manifests/hpa-running.yaml", text: include_str!("../library/manifests/hpa-running.yaml") },
    Entry {
        name: "manifests/hpa-full-servers.yaml",
        text: include_str!("../library/manifests/hpa-full-servers.yaml"),
    },
    Entry {
        name: "manifests/hpa-own-tolerance.yaml",
        text: include_str!("../library/manifests/hpa-own-tolerance.yaml"),
    },
    Entry {
        name: "manifests/hpa-two-metrics.yaml",
        text: include_str!("../library/manifests/hpa-two-metrics.yaml"),
    },
    Entry {
        name: "manifests/keda-empty-is-zero.yaml",
        text: include_str!("../library/manifests/keda-empty-is-zero.yaml"),
    },
    Entry { name: "manifests/keda-strict.yaml", text: include_str!("../library/manifests/keda-strict.yaml") },
];

/// The manifest at this path beside the scenarios.
#[must_use]
pub fn manifest(path: &Path) -> Option<Entry> {
    let path = path.strip_prefix(".").unwrap_or(path);
    MANIFESTS.into_iter().find(|entry| Path::new(entry.name) == path)
}

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<Entry> {
    LIBRARY.into_iter().find(|entry| entry.name == name)
}

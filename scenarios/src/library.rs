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

/// Files of the library, each by its name: the path without this end.
macro_rules! entries {
    ($end:literal: $($name:literal),+ $(,)?) => {
        [$(Entry { name: $name, text: include_str!(concat!("../library/", $name, $end)) }),+]
    };
}

/// All of them. The first is the one that runs when no scenario is named.
pub const LIBRARY: [Entry; 17] = entries![".yaml":
    "quickstart",
    "chat-steady",
    "flash-crowd",
    "retry-storm",
    "mixed-fleet",
    "rollout-at-peak",
    "diurnal-week",
    "scale-to-zero",
    "registry-crawl",
    "stock-out",
    "spot-reclaim",
    "zone-outage",
    "incident-cooldown",
    "incident-gpu-utilization",
    "incident-tolerance",
    "incident-failing-metric",
    "incident-empty-answer",
];

/// The manifests that its scenarios name, by their paths beside them.
pub const MANIFESTS: [Entry; 9] = entries!["":
    "manifests/keda-hasty.yaml",
    "manifests/keda-patient.yaml",
    "manifests/hpa-gpu-utilization.yaml",
    "manifests/hpa-running.yaml",
    "manifests/hpa-full-servers.yaml",
    "manifests/hpa-own-tolerance.yaml",
    "manifests/hpa-two-metrics.yaml",
    "manifests/keda-empty-is-zero.yaml",
    "manifests/keda-strict.yaml",
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

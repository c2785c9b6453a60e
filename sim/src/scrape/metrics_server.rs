//! CPU and memory by pod, as the metrics-server reports them.
//!
//! It asks the kubelets every resolution (15 s) for cumulative CPU and present memory. CPU is the rate between its last
//! two points, so a new pod has none until the second; but a container younger than the resolution and at least 10 s old
//! takes its start as the first point (`pkg/storage/pod.go`).

use std::collections::BTreeMap;

use scaletwin_core::control::Sample;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

/// The youngest container whose start counts as a point.
const FRESH: Span = Span::from_secs(10);

/// What is known of a pod's use at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// When.
    pub at: Time,
    /// When its container started.
    pub started: Time,
    /// CPU used since then, in core nanoseconds.
    pub cpu_core_nanos: u64,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
}

/// The metrics-server: its last two points of each pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsServer {
    resolution: Span,
    /// By the number of the replica: the last point and the one that CPU is measured from.
    points: BTreeMap<u32, (Usage, Option<Usage>)>,
}

impl MetricsServer {
    /// A metrics-server that asks every `resolution`.
    #[must_use]
    pub fn new(resolution: Span) -> MetricsServer {
        MetricsServer { resolution, points: BTreeMap::new() }
    }

    /// From one look to the next.
    #[must_use]
    pub fn resolution(&self) -> Span {
        self.resolution
    }

    /// Takes in the use of all pods that run; others are forgotten.
    pub fn look(&mut self, usages: impl Iterator<Item = (u32, Usage)>) {
        let before = std::mem::take(&mut self.points);
        self.points = usages
            .map(|(pod, usage)| {
                let age = usage.at.since(usage.started);
                let fresh = age >= FRESH && age < self.resolution;
                let from = if fresh {
                    Some(Usage { at: usage.started, cpu_core_nanos: 0, ..usage })
                } else {
                    before.get(&pod).map(|(last, _)| *last)
                };
                (pod, (usage, from))
            })
            .collect();
    }

    /// The CPU of a pod in milli-cores, rounded up as a quantity in nano-cores is.
    #[must_use]
    pub fn cpu(&self, pod: u32) -> Option<Sample> {
        let (last, from) = self.points.get(&pod)?;
        let from = (*from)?;
        let window = last.at.since(from.at);
        let used = u128::from(last.cpu_core_nanos.checked_sub(from.cpu_core_nanos)?);
        let nano_cores = used * 1_000_000_000 / u128::from(window.as_nanos().max(1));
        let milli = i64::try_from(nano_cores.div_ceil(1_000_000)).ok()?;
        Some(Sample { milli, at: last.at, window })
    }

    /// The memory of a pod in milli-bytes. It is reported only together with CPU.
    #[must_use]
    pub fn memory(&self, pod: u32) -> Option<Sample> {
        let cpu = self.cpu(pod)?;
        let bytes = i64::try_from(self.points.get(&pod)?.0.memory_bytes).ok()?;
        Some(Sample { milli: bytes.saturating_mul(1_000), ..cpu })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    /// A pod that uses 1.5 cores from its start on.
    fn usage(now: u64, started: u64) -> Usage {
        let cpu_core_nanos = (now - started) * 1_500_000_000;
        Usage { at: at(now), started: at(started), cpu_core_nanos, memory_bytes: 1 << 30 }
    }

    #[test]
    fn a_new_pod_has_no_cpu_until_the_second_point() {
        let mut server = MetricsServer::new(Span::from_secs(15));
        server.look([(7, usage(20, 12))].into_iter());
        assert_eq!((server.cpu(7), server.memory(7)), (None, None));
        server.look([(7, usage(35, 12))].into_iter());
        let sample = server.cpu(7).unwrap();
        assert_eq!((sample.milli, sample.at, sample.window), (1_500, at(35), Span::from_secs(15)));
        assert_eq!(server.memory(7).unwrap().milli, 1_000 << 30);
    }

    #[test]
    fn a_fresh_container_counts_from_its_start() {
        let mut server = MetricsServer::new(Span::from_secs(15));
        server.look([(7, usage(22, 10))].into_iter());
        assert_eq!(server.cpu(7).unwrap().window, Span::from_secs(12));
    }

    #[test]
    fn a_pod_that_is_gone_is_forgotten() {
        let mut server = MetricsServer::new(Span::from_secs(15));
        server.look([(7, usage(15, 0))].into_iter());
        server.look(std::iter::empty());
        server.look([(7, usage(45, 0))].into_iter());
        assert_eq!(server.cpu(7), None);
    }
}

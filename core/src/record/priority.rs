//! Requests by their priority, where a service has several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outcome::{Finished, Outcome};
use crate::units::Span;

/// The requests of one priority that arrived after the warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrioritySummary {
    /// The priority; lower is more urgent.
    pub priority: i32,
    /// Requests that arrived.
    pub arrived: u64,
    /// Those of them that were completed.
    pub completed: u64,
    /// The share of those that arrived that met every limit; `null` without objectives.
    pub attainment: Option<f64>,
    /// Their mean time to first token; `null` if none was completed, and for engines without tokens.
    pub ttft_mean_seconds: Option<f64>,
    /// Their mean time from arrival to end; `null` if none was completed.
    pub e2e_mean_seconds: Option<f64>,
}

/// What is counted of each priority, from the first request of a second one on: before, the counts are those of the service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Priorities {
    /// The priority of the first request.
    first: Option<i32>,
    classes: BTreeMap<i32, Class>,
}

/// What is counted of one.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Class {
    /// How many have ended.
    pub arrived: u64,
    pub completed: u64,
    pub good: u64,
    /// How many had a first token, and the sum of the times to it, nanoseconds.
    pub spoke: (u64, u128),
    /// The sum of the times from arrival to end, nanoseconds.
    pub e2e: u128,
}

impl Priorities {
    /// Whether a request is the first of a second priority.
    #[inline]
    pub(super) fn becomes_several(&self, request: &Finished) -> bool {
        self.classes.is_empty() && self.first.is_some_and(|first| first != request.priority)
    }

    /// All requests so far were of the same priority.
    pub(super) fn begin(&mut self, so_far: Class) {
        if let Some(first) = self.first {
            self.classes.insert(first, so_far);
        }
    }

    /// Counts a request that has ended, within all limits or not.
    #[inline]
    pub(super) fn ended(&mut self, request: &Finished, good: bool) {
        if self.classes.is_empty() {
            self.first = Some(request.priority);
            return;
        }
        let class = self.classes.entry(request.priority).or_default();
        class.arrived += 1;
        class.good += u64::from(good);
        if request.outcome == Outcome::Completed {
            class.completed += 1;
            class.e2e += u128::from(request.e2e().as_nanos());
            if let Some(ttft) = request.ttft().map(Span::as_nanos) {
                class.spoke = (class.spoke.0 + 1, class.spoke.1 + u128::from(ttft));
            }
        }
    }

    /// The figures of each, the most urgent first; none where all requests have the same.
    pub(super) fn summary(&self, judged: bool) -> Vec<PrioritySummary> {
        let mean = |sum: u128, count: u64| (count > 0).then(|| sum as f64 / count as f64 / 1e9);
        let summary = |(priority, class): (&i32, &Class)| PrioritySummary {
            priority: *priority,
            arrived: class.arrived,
            completed: class.completed,
            attainment: judged.then(|| class.good as f64 / class.arrived as f64),
            ttft_mean_seconds: mean(class.spoke.1, class.spoke.0),
            e2e_mean_seconds: mean(class.e2e, class.completed),
        };
        self.classes.iter().map(summary).collect()
    }
}

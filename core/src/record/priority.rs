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

/// What is counted of each priority.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Priorities(BTreeMap<i32, Class>);

/// What is counted of one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Class {
    arrived: u64,
    completed: u64,
    good: u64,
    /// How many had a first token, and the sum of the times to it, nanoseconds.
    spoke: (u64, u128),
    /// The sum of the times from arrival to end, nanoseconds.
    e2e: u128,
}

impl Class {
    #[inline]
    fn ended(&mut self, request: &Finished, good: bool) {
        self.arrived += 1;
        self.good += u64::from(good);
        if request.outcome == Outcome::Completed {
            self.completed += 1;
            self.e2e += u128::from(request.e2e().as_nanos());
            if let Some(ttft) = request.ttft().map(Span::as_nanos) {
                self.spoke = (self.spoke.0 + 1, self.spoke.1 + u128::from(ttft));
            }
        }
    }
}

impl Priorities {
    /// Counts a request that has ended, within all limits or not.
    #[inline]
    pub(super) fn ended(&mut self, request: &Finished, good: bool) {
        match self.0.get_mut(&request.priority) {
            Some(class) => class.ended(request, good),
            None => self.0.entry(request.priority).or_default().ended(request, good),
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
        if self.0.len() < 2 { Vec::new() } else { self.0.iter().map(summary).collect() }
    }
}

//! Service level objectives.

use serde::{Deserialize, Serialize};

use crate::units::Span;

crate::names! {
    /// A latency that an objective can be about.
    pub enum LatencyMetric {
        /// Arrival at the gateway to first token.
        Ttft = "ttft",
        /// Each gap between tokens.
        Itl = "itl",
        /// (E2E − TTFT) / (output tokens − 1).
        Tpot = "tpot",
        /// Arrival to end.
        E2e = "e2e",
        /// Arrival to the beginning of service.
        Wait = "wait",
    }
}

/// An objective: a quantile of a latency is to be within a limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Of which latency.
    pub metric: LatencyMetric,
    /// Which quantile, 0 to 1.
    pub quantile: f64,
    /// The limit.
    pub limit: Span,
}

/// The objectives of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// The objectives.
    pub objectives: Vec<Objective>,
}

impl Slo {
    /// The limit that a single request has to keep: that of the highest quantile of the metric. Gaps between tokens
    /// have none: a request has many.
    #[must_use]
    pub fn request_limit(&self, metric: LatencyMetric) -> Option<Span> {
        if metric == LatencyMetric::Itl {
            return None;
        }
        let of = self.objectives.iter().filter(|objective| objective.metric == metric);
        of.max_by(|a, b| a.quantile.total_cmp(&b.quantile)).map(|objective| objective.limit)
    }
}

/// What became of an objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveResult {
    /// Of which latency.
    pub metric: LatencyMetric,
    /// Which quantile, 0 to 1.
    pub quantile: f64,
    /// The limit.
    pub limit_seconds: f64,
    /// The quantile of the completed requests; `null` without any.
    pub observed_seconds: Option<f64>,
    /// The share of arrived requests (of gaps, for `itl`) that were within the limit; `null` without any.
    pub within_share: Option<f64>,
    /// Whether that share reaches the quantile; `null` without requests. A request that did not complete is not within.
    pub met: Option<bool>,
}

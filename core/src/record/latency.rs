//! Figures of a latency.

use serde::{Deserialize, Serialize};

use super::Histogram;

/// Figures of a latency in seconds; `null` where nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many were counted.
    pub count: u64,
    /// Requests that ended without this latency.
    pub excluded: u64,
    /// The mean.
    pub mean: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// The 0.9 quantile.
    pub p90: Option<f64>,
    /// The 0.95 quantile.
    pub p95: Option<f64>,
    /// The 0.99 quantile.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl LatencySummary {
    /// The figures of `counts`, which are in units of which a second has `per_second`.
    #[must_use]
    pub fn of(counts: &Histogram, per_second: f64, excluded: u64) -> LatencySummary {
        let seconds = |value: Option<u64>| value.map(|value| value as f64 / per_second);
        let quantile = |q| seconds(counts.quantile(q));
        LatencySummary {
            count: counts.count(),
            excluded,
            mean: counts.mean().map(|mean| mean / per_second),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: seconds(counts.max()),
        }
    }
}

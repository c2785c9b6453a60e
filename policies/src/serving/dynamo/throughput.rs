//! The throughput loop: replicas for the traffic that is expected, by what one of them can serve.
//!
//! Source: `dynamo/planner/core/throughput_scaling.py` and `load/predictors.py`, for an aggregated deployment. What a
//! replica can serve within the latency targets the planner works out of a model of the engine; here it is given.

use scaletwin_core::input::{At, Count, Period, Positive};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::numerics::{go, python};

scaletwin_core::keys! {
    /// The throughput loop of Dynamo's planner, with its predictor `constant`.
    #[derive(Debug, Clone)]
    pub struct ThroughputSpec {
        /// The signal, by its name under `signals`, of the requests of the last interval, such as the planner's own query
        /// `sum(increase(dynamo_component_router_requests_started_total[180s]))`.
        pub requests: At<String>,
        /// The requests per second that one replica serves within the targets, which the planner takes from its model of the
        /// engine at the predicted lengths.
        pub engine_requests_per_second: Positive,
        /// `throughput_adjustment_interval`: from one prediction to the next.
        pub interval: Period = Period(Span::from_secs(180)),
        /// The most replicas more or fewer in one decision.
        pub max_change: Count = Count(8),
        /// `enable_load_scaling`: whether the load loop runs as well, which this one then bounds from below.
        pub load_scaling: bool = false,
    }
}

/// The settings of the throughput loop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Throughput {
    /// The signal of the requests of the last interval.
    pub requests: String,
    /// What one replica serves, requests per second, above 0.
    pub engine_requests_per_second: f64,
    /// From one prediction to the next, above 0.
    pub interval: Span,
    /// The most replicas more or fewer in one decision, at least 1.
    pub max_change: i32,
    /// Whether it only bounds the load loop.
    pub load_scaling: bool,
}

/// What the throughput loop remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// When it predicts next; the first time an interval after the first look.
    next: Option<Time>,
    /// The replicas that the load loop does not go below.
    pub lower_bound: i32,
}

impl Memory {
    /// Whether a prediction is due at `now`. It moves on.
    pub fn is_due(&mut self, now: Time, interval: Span) -> bool {
        let next = *self.next.get_or_insert(now.saturating_add(interval));
        let due = next <= now;
        if due {
            self.next = Some(next.saturating_add(interval));
        }
        due
    }
}

impl ThroughputSpec {
    /// The settings.
    #[must_use]
    pub fn settings(&self) -> Throughput {
        Throughput {
            requests: self.requests.value.clone(),
            engine_requests_per_second: self.engine_requests_per_second.0,
            interval: self.interval.0,
            max_change: i32::try_from(self.max_change.0).unwrap_or(i32::MAX),
            load_scaling: self.load_scaling,
        }
    }
}

impl Throughput {
    /// The replicas for as many requests as in the last interval, of `current`. What is no number counts as none.
    #[must_use]
    pub fn desired(&self, requests: f64, current: i32, min_endpoint: i32) -> i32 {
        let requests = if requests.is_finite() { requests } else { 0.0 };
        let per_second = requests / self.interval.as_secs_f64();
        let needed = go::int32_of(python::ceil(per_second / self.engine_requests_per_second));
        let least = current.saturating_sub(self.max_change);
        needed.clamp(least, current.saturating_add(self.max_change)).max(min_endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Throughput {
        Throughput {
            requests: "requests".into(),
            engine_requests_per_second: 2.0,
            interval: Span::from_secs(180),
            max_change: 8,
            load_scaling: false,
        }
    }

    #[test]
    fn replicas_are_those_that_the_traffic_of_the_last_interval_needs() {
        // 1800 requests in 180 s are ten a second: five replicas of two; one more request needs a sixth.
        assert_eq!(settings().desired(1_800.0, 5, 1), 5);
        assert_eq!(settings().desired(1_801.0, 5, 1), 6);
        assert_eq!(settings().desired(0.0, 5, 2), 2);
        assert_eq!(settings().desired(f64::NAN, 5, 1), 1);
        assert_eq!(settings().desired(1e9, 5, 1), 13, "eight more at once");
    }

    #[test]
    fn the_first_prediction_comes_an_interval_after_the_first_look() {
        let mut memory = Memory::default();
        let due: Vec<u64> = (0..100)
            .map(|look| look * 5)
            .filter(|seconds| memory.is_due(Time::ZERO + Span::from_secs(*seconds), Span::from_secs(180)))
            .collect();
        assert_eq!(due, [180, 360]);
    }
}

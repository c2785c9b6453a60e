//! What a trigger says: its value, and whether it is active.

use scaletwin_core::control::{MetricQuery, Missing, Observation, Reading};
use scaletwin_core::units::Civil;
use serde::Serialize;

use super::MetricType;
use crate::calendar::Between;
use crate::kubernetes::hpa::spec::MetricSource;
use crate::numerics::go;

/// One of the `triggers`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trigger {
    /// `type`, such as `prometheus`.
    pub kind: String,
    /// `name`, by which a formula knows it.
    pub name: Option<String>,
    /// `metricType`.
    pub metric_type: MetricType,
    /// `useCachedMetrics`: the HPA sees the value of the last poll.
    pub cached: bool,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a trigger comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A signal of the scenario.
    Signal(SignalSource),
    /// The time of the day.
    Cron {
        /// When it is active.
        between: Between,
        /// `desiredReplicas` meanwhile.
        desired_replicas: i64,
    },
    /// CPU or memory of the pods, which the HPA reads itself.
    Resource(MetricSource),
}

/// A signal with its thresholds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SignalSource {
    /// The signal of the scenario.
    pub signal: String,
    /// The target of the HPA, milli-units, above 0.
    pub threshold: i64,
    /// Active above this.
    pub activation_threshold: f64,
    /// Whether an answer without data, or that is no finite number, counts as 0. Otherwise it is an error.
    pub ignore_null_values: bool,
    /// Whether it makes itself heard when a request comes to a target without replicas.
    pub push: bool,
    /// The partitions of its topic, where more consumers than these have nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Partitions>,
}

/// The partitions of a topic, which limit what a lag asks for: `getTotalLag` of `kafka_scaler.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Partitions {
    /// How many there are, above 0.
    pub count: i64,
    /// `ensureEvenDistributionOfPartitions`: as many consumers as divide them evenly.
    pub even: bool,
}

impl Partitions {
    /// What a lag counts as, of which one replica is to have `threshold`: whole messages. It is cut only where it asks for a
    /// whole replica more than there are partitions.
    #[must_use]
    pub fn limit(self, lag: i64, threshold: i64) -> i64 {
        let threshold = threshold.max(1);
        let even = |lag: i64| {
            let divides = |n: &i64| self.count % n == 0;
            let mut factors = (1..=self.count).filter(divides).map(|factor| factor.saturating_mul(threshold));
            factors.find(|enough| *enough >= lag).unwrap_or_else(|| self.count.saturating_mul(threshold))
        };
        let lag = if self.even { even(lag) } else { lag };
        if lag / threshold > self.count { self.count.saturating_mul(threshold) } else { lag }
    }
}

/// Why a trigger has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// Nothing answers to its name.
    #[error("the signal has no value: {0}")]
    Missing(Missing),
    /// The answer is empty.
    #[error("the result is empty")]
    Empty,
    /// The answer has more than one series.
    #[error("the query returned multiple elements ({0})")]
    Multiple(usize),
    /// The answer is NaN or infinite.
    #[error("the query returned no finite number")]
    NotFinite,
    /// It was not part of the observation.
    #[error("the signal was not observed")]
    NotAsked,
    /// The last poll failed, and its result is kept.
    #[error("the last poll of the cached metric failed")]
    Cached,
}

/// A value with whether the trigger is active.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// The value.
    pub value: f64,
    /// Whether it is above its activation threshold.
    pub active: bool,
}

impl Source {
    /// The target of the generated HPA, milli-units; a cron trigger's is 1 replica.
    #[must_use]
    pub fn target(&self) -> i64 {
        match self {
            Source::Signal(signal) => signal.threshold,
            Source::Cron { .. } | Source::Resource(_) => 1_000,
        }
    }
}

impl Trigger {
    /// The name of its metric in the generated HPA: its place, and its type.
    #[must_use]
    pub fn metric_name(&self, at: usize) -> String {
        metric_name(at, &self.kind)
    }

    /// What has to be asked for it.
    #[must_use]
    pub fn query(&self) -> Option<MetricQuery> {
        match &self.source {
            Source::Signal(signal) => Some(MetricQuery::Signal { name: signal.signal.clone() }),
            Source::Cron { .. } | Source::Resource(_) => None,
        }
    }

    /// What it says, or why it cannot; `None` for CPU and memory, which are the HPA's alone.
    #[must_use]
    pub fn read(&self, seen: &Observation) -> Option<Result<Told, TriggerError>> {
        match &self.source {
            Source::Signal(signal) => Some(signal.read(seen)),
            Source::Cron { between, desired_replicas } => {
                Some(Ok(cron(between, *desired_replicas, seen.start.at(seen.now))))
            }
            Source::Resource(_) => None,
        }
    }
}

/// The name of the metric of the trigger of this type at this place.
pub(in crate::kubernetes) fn metric_name(at: usize, kind: &str) -> String {
    format!("s{at}-{kind}")
}

/// Outside its time a cron trigger asks for one replica, so that the HPA scales down.
fn cron(between: &Between, desired_replicas: i64, now: Civil) -> Told {
    let active = between.holds(now);
    Told { value: if active { desired_replicas as f64 } else { 1.0 }, active }
}

impl SignalSource {
    fn read(&self, seen: &Observation) -> Result<Told, TriggerError> {
        let query = MetricQuery::Signal { name: self.signal.clone() };
        let value = match one(seen.metric(&query).ok_or(TriggerError::NotAsked)?) {
            Err(TriggerError::Empty | TriggerError::NotFinite) if self.ignore_null_values => 0.0,
            other => other?,
        };
        let active = value > self.activation_threshold;
        let limit =
            |partitions: Partitions| partitions.limit(go::int64(value), self.threshold / 1_000) as f64;
        Ok(Told { value: self.partitions.map_or(value, limit), active })
    }
}

/// The one finite value of an answer.
///
/// # Errors
/// When there is none, more than one, or one that is not finite.
pub(super) fn one(answer: &Reading<scaletwin_core::control::Values>) -> Result<f64, TriggerError> {
    let values = match answer.known() {
        Ok(values) => values.floats(),
        Err(Missing::NoData | Missing::Stale { .. }) => Vec::new(),
        Err(why) => return Err(TriggerError::Missing(why.clone())),
    };
    match values.as_slice() {
        [] => Err(TriggerError::Empty),
        [value] if value.is_finite() => Ok(*value),
        [_] => Err(TriggerError::NotFinite),
        several => Err(TriggerError::Multiple(several.len())),
    }
}

/// A value as the milli-units that KEDA hands on: cut, as `int64(value * 1000)`.
#[must_use]
pub(in crate::kubernetes) fn milli(value: f64) -> i64 {
    go::int64(value * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lag_is_cut_where_it_asks_for_a_whole_replica_too_many() {
        let six = Partitions { count: 6, even: false };
        assert_eq!([60, 69, 70, 1_000].map(|lag| six.limit(lag, 10)), [60, 69, 60, 60]);
        let even = Partitions { even: true, ..six };
        assert_eq!([0, 11, 21, 31, 1_000].map(|lag| even.limit(lag, 10)), [10, 20, 30, 60, 60]);
    }

    proptest! {
        #[test]
        fn never_more_than_one_replica_beyond_the_partitions(
            lag in 0i64.., threshold in 1i64..1_000, count in 1i64..200, even in prop::bool::ANY,
        ) {
            let limited = Partitions { count, even }.limit(lag, threshold);
            prop_assert!(limited < (count + 1) * threshold);
            prop_assert!(even || limited <= lag);
        }
    }
}

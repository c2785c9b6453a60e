//! What happened when: windows of requests, and averages over time.

use serde::{Deserialize, Serialize};

use super::OutcomeCounts;
use crate::units::{Span, Time};

/// The requests that arrived in one window, and how they ended, whenever that was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// When it began.
    pub start_seconds: f64,
    /// Arrivals and outcomes.
    pub counts: OutcomeCounts,
    /// Requests that completed within all limits.
    pub good: u64,
    /// The median time to first token; `null` without any.
    pub ttft_p50_seconds: Option<f64>,
    /// Its 0.95 quantile.
    pub ttft_p95_seconds: Option<f64>,
    /// Its 0.99 quantile.
    pub ttft_p99_seconds: Option<f64>,
    /// The 0.95 quantile of the time for each further token; `null` without any.
    pub tpot_p95_seconds: Option<f64>,
    /// The median whole time; `null` without any.
    pub e2e_p50_seconds: Option<f64>,
    /// Its 0.95 quantile.
    pub e2e_p95_seconds: Option<f64>,
    /// Its 0.99 quantile.
    pub e2e_p99_seconds: Option<f64>,
    /// The 0.95 quantile of the wait; `null` without any.
    pub wait_p95_seconds: Option<f64>,
    /// Tokens of the answers.
    pub output_tokens: u64,
}

impl Window {
    /// The share of arrived requests that met every limit; `None` without requests.
    #[must_use]
    pub fn attainment(&self) -> Option<f64> {
        (self.counts.arrived > 0).then(|| self.good as f64 / self.counts.arrived as f64)
    }
}

/// How many are in a system, with its integral over time. Exact; nothing depends on the order in which entries and exits
/// are told.
///
/// ```
/// use scaletwin_core::record::Population;
/// use scaletwin_core::units::{Span, Time};
/// let at = |secs| Time::ZERO + Span::from_secs(secs);
/// let mut requests = Population::default();
/// requests.enter(at(1));
/// requests.enter(at(2));
/// requests.leave(at(4));
/// assert_eq!((requests.value(), requests.integral(at(5))), (1, 6_000_000_000));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    value: u64,
    /// The sums of the instants of all entries and of all exits, nanoseconds.
    entered: u128,
    left: u128,
}

impl Population {
    /// One enters at `at`.
    #[inline]
    pub fn enter(&mut self, at: Time) {
        self.value += 1;
        self.entered += u128::from(at.as_nanos());
    }

    /// One leaves at `at`.
    #[inline]
    pub fn leave(&mut self, at: Time) {
        self.value -= 1;
        self.left += u128::from(at.as_nanos());
    }

    /// How many are there.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// The integral up to `now`, which is not before any entry or exit, in nanoseconds.
    #[must_use]
    pub fn integral(&self, now: Time) -> u128 {
        u128::from(self.value) * u128::from(now.as_nanos()) + self.left - self.entered
    }
}

/// The average over time of a number that changes in steps, with its extremes. Exact: it sums integers.
///
/// ```
/// use scaletwin_core::record::TimeAverage;
/// use scaletwin_core::units::{Span, Time};
/// let mut replicas = TimeAverage::start(Time::ZERO, 2);
/// replicas.set(Time::ZERO + Span::from_secs(30), 4);
/// assert_eq!(replicas.mean(Time::ZERO + Span::from_secs(60)), 3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeAverage {
    start: Time,
    since: Time,
    value: u64,
    integral: u128,
    min: u64,
    max: u64,
}

impl TimeAverage {
    /// The average from `start` on, of a number that is `value` then.
    #[must_use]
    pub fn start(start: Time, value: u64) -> TimeAverage {
        TimeAverage { start, since: start, value, integral: 0, min: value, max: value }
    }

    /// The number is `value` from `now` on.
    pub fn set(&mut self, now: Time, value: u64) {
        self.integral = self.integral(now);
        self.since = self.since.max(now);
        if now == self.start {
            (self.min, self.max) = (value, value);
        }
        self.value = value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// The number now.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// The integral up to `now`, in nanoseconds.
    #[must_use]
    pub fn integral(&self, now: Time) -> u128 {
        self.integral + u128::from(now.since(self.since).as_nanos()) * u128::from(self.value)
    }

    /// The average up to `now`; the value itself if no time has passed.
    #[must_use]
    pub fn mean(&self, now: Time) -> f64 {
        match now.since(self.start) {
            Span::ZERO => self.value as f64,
            span => self.integral(now) as f64 / span.as_nanos() as f64,
        }
    }

    /// The smallest value.
    #[must_use]
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// The largest value.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Forgets what was before `now`, such as a warm-up.
    pub fn restart(&mut self, now: Time) {
        *self = TimeAverage::start(now, self.value);
    }
}

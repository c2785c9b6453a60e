//! Averages over a window of one-second buckets: `pkg/autoscaler/aggregation/bucketing.go`.

use scaletwin_core::units::exact::Exact;
use serde::{Deserialize, Serialize};

use crate::numerics::go;

scaletwin_core::names! {
    /// How the buckets of a window become one value: `autoscaling.knative.dev/metric-aggregation-algorithm`.
    pub enum Aggregation {
        /// The mean over the window.
        Linear = "linear",
        /// Later buckets count more, by a factor that decays with each second.
        WeightedExponential = "weighted-exponential",
    }
}

/// A window of buckets of one second each. Instants are whole Unix seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Buckets {
    aggregation: Aggregation,
    /// The sum of each second, by the second modulo their number.
    sums: Vec<Exact>,
    /// The sum of all, kept as the original keeps it: rounding included.
    total: Exact,
    /// The seconds of the first and the last write.
    written: Option<(i64, i64)>,
}

/// What the weights of a weighted average lack to one at most, unless that makes it slower than [`SLOWEST`].
const LACK: f64 = 0.0001;
/// The least decay for each bucket.
const SLOWEST: f64 = 0.2;

impl Buckets {
    /// Empty buckets for a window of `seconds`, at least 1.
    #[must_use]
    pub fn new(aggregation: Aggregation, seconds: u32) -> Buckets {
        let sums = vec![Exact(0.0); seconds.max(1) as usize];
        Buckets { aggregation, sums, total: Exact(0.0), written: None }
    }

    /// Adds `value` to the bucket of `second`, unless that is a window or more before the last write.
    pub fn record(&mut self, second: i64, value: f64) {
        match self.written {
            Some((_, last)) if second == last => {}
            Some((_, last)) if second.saturating_add(self.window()) <= last => return,
            Some((first, last)) if second < last => self.written = Some((first.min(second), last)),
            Some((first, last)) if second.saturating_sub(last) < self.window() => {
                self.clear(last, second);
                self.written = Some((first, second));
            }
            _ => {
                self.sums.fill(Exact(0.0));
                self.total.0 = 0.0;
                self.written = Some((second, second));
            }
        }
        let place = self.place(second);
        self.sums[place].0 += value;
        self.total.0 += value;
    }

    /// Whether nothing was written for longer than the window.
    #[must_use]
    pub fn is_empty(&self, second: i64) -> bool {
        self.written.is_none_or(|(_, last)| second.saturating_sub(last) > self.window())
    }

    /// The average over the window that ends with `second`.
    #[must_use]
    pub fn average(&self, second: i64) -> f64 {
        let Some((first, last)) = self.written else { return 0.0 };
        match self.aggregation {
            Aggregation::Linear => self.linear(first, last, second),
            Aggregation::WeightedExponential => self.weighted(last, second),
        }
    }

    /// The mean over the seconds since the first write, without those for which nothing was written yet.
    fn linear(&self, first: i64, last: i64, second: i64) -> f64 {
        let silent = second.saturating_sub(last).max(0);
        if silent >= self.window() {
            return 0.0;
        }
        let mut total = self.total.0;
        for outdated in last + 1..=last + silent {
            total -= self.sums[self.place(outdated)].0;
        }
        let buckets = (last - first + 1).min(self.window() - silent);
        round_to_millionths(total / buckets as f64)
    }

    fn weighted(&self, last: i64, second: i64) -> f64 {
        let silent = second.saturating_sub(last).max(0);
        if silent > self.window() {
            return 0.0;
        }
        let coefficient = smoothing(self.sums.len());
        let mut weight = coefficient;
        if silent > 0 {
            weight *= go::pow(1.0 - coefficient, silent as f64);
        }
        let mut average = 0.0;
        for back in 0..self.window() - silent {
            average += self.sums[self.place(last - back)].0 * weight;
            weight *= 1.0 - coefficient;
        }
        average
    }

    /// Empties the buckets after `last` up to `second`, which is less than a window later.
    fn clear(&mut self, last: i64, second: i64) {
        for outdated in last + 1..=second {
            let place = self.place(outdated);
            self.total.0 -= self.sums[place].0;
            self.sums[place].0 = 0.0;
        }
    }

    fn window(&self) -> i64 {
        i64::try_from(self.sums.len()).unwrap_or(i64::MAX)
    }

    fn place(&self, second: i64) -> usize {
        usize::try_from(second.rem_euclid(self.window())).expect("a remainder is not negative")
    }
}

/// How fast older buckets lose weight in a window of so many.
fn smoothing(buckets: usize) -> f64 {
    f64::max(1.0 - go::pow(LACK, 1.0 / buckets as f64), SLOWEST)
}

fn round_to_millionths(value: f64) -> f64 {
    // What is rounded up to nothing has no sign.
    (value * 1e6).round() / 1e6 + 0.0
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "means of whole numbers over a window are exact to six decimals")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn linear(seconds: u32, writes: &[(i64, f64)]) -> Buckets {
        let mut buckets = Buckets::new(Aggregation::Linear, seconds);
        for (second, value) in writes {
            buckets.record(*second, *value);
        }
        buckets
    }

    #[test]
    fn a_young_window_averages_over_what_it_has_seen() {
        let buckets = linear(60, &[(100, 4.0), (101, 8.0)]);
        assert_eq!(buckets.average(101), 6.0);
        assert_eq!(buckets.average(103), 6.0, "seconds without a later write do not count");
    }

    #[test]
    fn gaps_count_as_zero_and_a_gap_of_a_window_begins_anew() {
        assert_eq!(linear(6, &[(100, 6.0), (102, 6.0)]).average(102), 4.0);
        assert_eq!(linear(6, &[(100, 6.0), (106, 5.0)]).average(106), 5.0);
    }

    #[test]
    fn a_window_is_empty_only_after_more_than_itself() {
        let buckets = linear(6, &[(100, 6.0)]);
        assert!(!buckets.is_empty(106) && buckets.is_empty(107));
        assert_eq!(buckets.average(106), 0.0);
    }

    #[test]
    fn late_samples_count_until_they_are_a_window_late() {
        let mut buckets = linear(4, &[(100, 4.0), (102, 4.0)]);
        buckets.record(101, 4.0);
        assert_eq!(buckets.average(102), 4.0);
        buckets.record(98, 9.0);
        assert_eq!(buckets.average(102), 4.0);
    }

    #[test]
    fn later_seconds_weigh_more_when_weights_decay() {
        let mut buckets = Buckets::new(Aggregation::WeightedExponential, 60);
        buckets.record(100, 10.0);
        assert!((buckets.average(100) - 2.0).abs() < 1e-12, "a fifth for the last second");
        assert!((buckets.average(101) - 1.6).abs() < 1e-12);
    }

    proptest! {
        /// A linear average is the mean of the values within the window, gaps as zero.
        #[test]
        fn a_linear_average_is_a_mean(values in prop::collection::vec(0u16..500, 1..200), seconds in 1u32..90) {
            let mut buckets = Buckets::new(Aggregation::Linear, seconds);
            for (second, value) in (0i64..).zip(&values) {
                buckets.record(second, f64::from(*value));
            }
            let window = values.len().min(seconds as usize);
            let sum: f64 = values[values.len() - window..].iter().map(|value| f64::from(*value)).sum();
            let last = i64::try_from(values.len()).unwrap() - 1;
            prop_assert!((buckets.average(last) - sum / window as f64).abs() <= 5.1e-7);
        }
    }
}

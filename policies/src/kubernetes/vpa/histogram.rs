//! Histograms of usage that forget: `pkg/recommender/util`.

use serde::{Deserialize, Serialize};

use crate::numerics::go::{self, math};

/// By how much each bucket is wider than the one before.
const RATIO: f64 = 1.0 + 0.05;
/// Below this weight a bucket counts as empty.
const EPSILON: f64 = 0.001 * 0.1;
/// After so many half-lives the weights are taken relative to a later instant, so that they stay finite.
const MAX_DECAY_EXPONENT: i64 = 100;
/// From the first of January of the year 1, from which Go rounds instants, to 1970. Seconds.
const YEAR_ONE_TO_UNIX: i128 = 62_135_596_800;

/// Buckets that grow exponentially: bucket n begins at `first (1.05^n − 1) / 0.05`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Buckets {
    first: f64,
    count: usize,
}

impl Buckets {
    /// The buckets for CPU, in cores: the first 0.01 wide, the last from 1000 on.
    #[must_use]
    pub fn cpu() -> Buckets {
        Buckets::new(0.01, 1_000.0)
    }

    /// The buckets for memory, in bytes: the first 10 MB wide, the last from 1 TB on.
    #[must_use]
    pub fn memory() -> Buckets {
        Buckets::new(1e7, 1e12)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "176 buckets")]
    fn new(first: f64, max: f64) -> Buckets {
        let count = log_ratio(max * (RATIO - 1.0) / first + 1.0).ceil() as usize + 1;
        Buckets { first, count }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The bucket that `value` falls in; the first or the last outside their range.
    #[must_use]
    pub fn find(&self, value: f64) -> usize {
        if value < self.first {
            return 0;
        }
        let bucket = go::int64(log_ratio(value * (RATIO - 1.0) / self.first + 1.0));
        usize::try_from(bucket).map_or(self.count - 1, |bucket| bucket.min(self.count - 1))
    }

    /// Where `bucket` begins.
    #[must_use]
    pub fn start(&self, bucket: usize) -> f64 {
        let n = i32::try_from(bucket).expect("176 buckets");
        if n == 0 { 0.0 } else { self.first * (math::pow(RATIO, n) - 1.0) / (RATIO - 1.0) }
    }
}

/// The logarithm to the base of [`RATIO`].
fn log_ratio(x: f64) -> f64 {
    math::log(x) / math::log(RATIO)
}

/// Weights of samples by bucket; with a half-life, newer samples weigh more.
///
/// ```
/// use scaletwin_policies::kubernetes::vpa::histogram::{Buckets, Histogram};
/// let mut usage = Histogram::new(Buckets::cpu(), 0);
/// usage.add(0.015, 1.0, 0);
/// assert_eq!(usage.percentile(0.9), Buckets::cpu().start(2)); // the end of its bucket
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    buckets: Buckets,
    /// Nanoseconds; 0: nothing is forgotten.
    half_life: i64,
    /// Where the weight is that of the sample, in nanoseconds since 1970; `None`: before anything.
    reference: Option<i64>,
    weights: Vec<f64>,
    total: f64,
    lowest: usize,
    highest: usize,
}

impl Histogram {
    /// An empty histogram whose samples lose half of their weight in `half_life` nanoseconds; 0: never.
    #[must_use]
    pub fn new(buckets: Buckets, half_life: i64) -> Histogram {
        let weights = vec![0.0; buckets.count];
        let lowest = buckets.count - 1;
        Histogram { buckets, half_life, reference: None, weights, total: 0.0, lowest, highest: 0 }
    }

    /// Adds a sample taken at `at`, nanoseconds since 1970.
    pub fn add(&mut self, value: f64, weight: f64, at: i64) {
        let weight = weight * self.decay(at);
        let bucket = self.buckets.find(value);
        self.weights[bucket] += weight;
        self.total += weight;
        if self.weights[bucket] >= EPSILON {
            self.lowest = self.lowest.min(bucket);
            self.highest = self.highest.max(bucket);
        }
    }

    /// Takes a sample back that was added with the same instant.
    pub fn subtract(&mut self, value: f64, weight: f64, at: i64) {
        let weight = weight * self.decay(at);
        let bucket = self.buckets.find(value);
        self.total = less(self.total, weight);
        self.weights[bucket] = less(self.weights[bucket], weight);
        self.drop_empty_ends();
    }

    /// The end of the first bucket up to which at least `share` of the weight lies; 0 if there is none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        let (mut sum, threshold) = (0.0, share * self.total);
        let mut bucket = self.lowest;
        while bucket < self.highest {
            sum += self.weights[bucket];
            if sum >= threshold {
                break;
            }
            bucket += 1;
        }
        self.buckets.start((bucket + 1).min(self.buckets.count - 1))
    }

    /// Whether it holds no weight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights[self.lowest] < EPSILON
    }

    /// By how much a sample at `at` weighs more than one at the reference.
    fn decay(&mut self, at: i64) -> f64 {
        if self.half_life == 0 {
            return 1.0;
        }
        let limit = self.half_life.saturating_mul(MAX_DECAY_EXPONENT);
        let reference = match self.reference {
            Some(reference) if at <= reference.saturating_add(limit) => reference,
            _ => self.shift_reference(at),
        };
        math::exp2(at.saturating_sub(reference) as f64 / self.half_life as f64)
    }

    /// Moves the reference to the multiple of the half-life nearest to `at`.
    fn shift_reference(&mut self, at: i64) -> i64 {
        let to = round_to(at, self.half_life);
        if let Some(from) = self.reference {
            let half_lives = from.saturating_sub(to) as f64 / self.half_life as f64;
            self.scale(libm::ldexp(1.0, go::int32((half_lives + 0.5).floor())));
        }
        self.reference = Some(to);
        to
    }

    fn scale(&mut self, factor: f64) {
        for weight in self.weights.iter_mut().take(self.highest + 1).skip(self.lowest) {
            *weight *= factor;
        }
        self.total *= factor;
        self.drop_empty_ends();
    }

    fn drop_empty_ends(&mut self) {
        while self.weights[self.lowest] < EPSILON && self.lowest < self.buckets.count - 1 {
            self.lowest += 1;
        }
        while self.weights[self.highest] < EPSILON && self.highest > 0 {
            self.highest -= 1;
        }
    }
}

/// `value − taken`, and nothing if hardly anything is left.
fn less(value: f64, taken: f64) -> f64 {
    let left = value - taken;
    if left < EPSILON { 0.0 } else { left }
}

/// `at` to the nearest multiple of `step` since the year 1, half way up: `time.Round`.
fn round_to(at: i64, step: i64) -> i64 {
    let since = i128::from(at) + YEAR_ONE_TO_UNIX * 1_000_000_000;
    let step = i128::from(step);
    let past = since.rem_euclid(step);
    let rounded = if past + past < step { -past } else { step - past };
    at.saturating_add(i64::try_from(rounded).expect("less than the step"))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "both are the start of the same bucket, or nothing")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn a_half_life_halves_the_weight() {
        let mut histogram = Histogram::new(Buckets::cpu(), HOUR);
        histogram.add(0.5, 1.0, 0);
        histogram.add(5.0, 1.0, HOUR);
        let (low, high) = (Buckets::cpu().find(0.5), Buckets::cpu().find(5.0));
        assert_eq!(histogram.percentile(1.0 / 3.0 - 1e-9), Buckets::cpu().start(low + 1));
        assert_eq!(histogram.percentile(1.0 / 3.0 + 1e-9), Buckets::cpu().start(high + 1));
    }

    #[test]
    fn instants_round_half_up_to_multiples_since_the_year_one() {
        assert_eq!(round_to(HOUR / 2, HOUR), HOUR);
        assert_eq!(round_to(HOUR / 2 - 1, HOUR), 0);
        let week = 7 * 24 * HOUR;
        // 1970 began on a Thursday, and the year 1 on a Monday.
        assert_eq!(round_to(0, week), -3 * 24 * HOUR);
    }

    proptest! {
        #[test]
        fn values_lie_within_their_bucket(value in 0.0..2_000.0f64) {
            let buckets = Buckets::cpu();
            let bucket = buckets.find(value);
            prop_assert!(buckets.start(bucket) <= value * (1.0 + 1e-12));
            prop_assert!(bucket + 1 == buckets.count() || value <= buckets.start(bucket + 1) * (1.0 + 1e-12));
        }

        #[test]
        fn percentiles_ascend_and_what_is_subtracted_leaves_no_trace(
            samples in proptest::collection::vec((0.0..2_000.0f64, 0.01..5.0f64, 0..400 * HOUR), 1..40),
        ) {
            let mut histogram = Histogram::new(Buckets::cpu(), HOUR);
            for (value, weight, at) in &samples {
                histogram.add(*value, *weight, *at);
            }
            let percentiles: Vec<f64> = (0..=10u8).map(|p| histogram.percentile(f64::from(p) / 10.0)).collect();
            prop_assert!(percentiles.windows(2).all(|pair| pair[0] <= pair[1]));
            let mut plain = Histogram::new(Buckets::cpu(), 0);
            for (value, weight, at) in &samples {
                plain.add(*value, *weight, *at);
            }
            for (value, weight, at) in &samples {
                plain.subtract(*value, *weight, *at);
            }
            prop_assert!(plain.is_empty());
            prop_assert_eq!(plain.percentile(0.9), 0.0);
        }
    }
}

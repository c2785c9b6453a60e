//! Counts by magnitude, from which quantiles come in bounded memory.

use serde::{Deserialize, Serialize};

/// Sub-buckets per power of two, as a power of two: 2^9 bounds the relative error of a quantile by 0.1 %.
const FINE: u32 = 9;

/// Counts of u64 values in logarithmic buckets with linear sub-buckets, after Gil Tene's HdrHistogram.
///
/// The sum, the smallest and the largest value are exact; a quantile is the middle of its bucket, at most 0.1 % off.
///
/// ```
/// use scaletwin_core::record::Histogram;
/// let mut histogram = Histogram::default();
/// (1..=1000).for_each(|value| histogram.add(value));
/// assert_eq!(histogram.quantile(0.5), Some(500));
/// assert_eq!(histogram.sum(), 500_500);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
    /// Blocks of 2^FINE buckets, one a power of two, there only where something was counted.
    blocks: Vec<Vec<u64>>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { count: 0, sum: 0, min: u64::MAX, max: 0, blocks: Vec::new() }
    }
}

/// Block and bucket of a value.
#[inline]
fn place(value: u64) -> (usize, usize) {
    let octave = (u64::BITS - value.leading_zeros()).saturating_sub(FINE + 1);
    let low = value >> octave;
    let block = octave as usize + usize::from(low >> FINE != 0);
    (block, (low & ((1 << FINE) - 1)) as usize)
}

/// The smallest value of a bucket, and how many values it holds.
fn range(block: usize, bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    match block.checked_sub(1) {
        None => (bucket, 1),
        Some(octave) => (((1 << FINE) + bucket) << octave, 1 << octave),
    }
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.add_times(value, 1);
    }

    /// Counts a value `times` times.
    #[inline]
    pub fn add_times(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        self.count += times;
        self.sum += u128::from(value) * u128::from(times);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        *self.bucket(value) += times;
    }

    /// Counts `first`, `first + step`, … `steps` values in all, each `times` times: the same as one by one.
    pub fn add_run(&mut self, first: u64, step: u64, steps: u64, times: u64) {
        if steps == 1 {
            return self.add_times(first, times);
        }
        if steps == 0 || times == 0 {
            return;
        }
        let last = first + step * (steps - 1);
        self.count += steps * times;
        let double = (u128::from(first) + u128::from(last)) * u128::from(steps);
        self.sum += double / 2 * u128::from(times);
        self.min = self.min.min(first);
        self.max = self.max.max(last);
        let (mut value, mut left) = (first, steps);
        while left > 0 {
            let (block, bucket) = place(value);
            let (low, width) = range(block, bucket);
            let room = low + (width - 1) - value;
            // Mostly all that is left lies in one bucket; a division takes longer than to see that.
            let inside = match last - value <= room {
                true => left,
                false => room / step + 1,
            };
            *self.bucket(value) += inside * times;
            left -= inside;
            value += step * inside;
        }
    }

    #[inline]
    fn bucket(&mut self, value: u64) -> &mut u64 {
        let (block, bucket) = place(value);
        if block >= self.blocks.len() {
            self.blocks.resize_with(block + 1, Vec::new);
        }
        let counts = &mut self.blocks[block];
        if counts.is_empty() {
            counts.resize(1 << FINE, 0);
        }
        &mut counts[bucket]
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Histogram) {
        for (block, counts) in other.blocks.iter().enumerate().filter(|(_, counts)| !counts.is_empty()) {
            *self.bucket(range(block, 0).0) += 0;
            for (mine, theirs) in self.blocks[block].iter_mut().zip(counts) {
                *mine += theirs;
            }
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, exact.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Their mean; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The largest, exact; `None` without values.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The smallest value that at least the share `q` (0 to 1) of all do not exceed, to the bucket; `None` without
    /// values.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank between 0 and the count"
    )]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (block, counts) in self.blocks.iter().enumerate() {
            for (bucket, count) in counts.iter().enumerate() {
                seen += count;
                if *count > 0 && seen >= rank {
                    let (low, width) = range(block, bucket);
                    return Some((low + width / 2).clamp(self.min, self.max));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_within_a_thousandth(mut values in prop::collection::vec(0u64..1 << 50, 1..300), q in 0.0..=1.0f64) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            values.sort_unstable();
            let needed = q * values.len() as f64;
            let rank = (1..values.len()).find(|rank| *rank as f64 >= needed).unwrap_or(values.len());
            let exact = values[rank - 1] as f64;
            let found = histogram.quantile(q).unwrap() as f64;
            prop_assert!((found - exact).abs() <= exact * 0.001 + 0.5, "{} {}", found, exact);
        }

        #[test]
        fn a_run_is_the_same_as_its_values(first in 0u64..1 << 44, step in 0u64..1 << 30, steps in 0u64..400, times in 0u64..5) {
            let (mut run, mut single) = (Histogram::default(), Histogram::default());
            run.add_run(first, step, steps, times);
            (0..steps).for_each(|at| single.add_times(first + at * step, times));
            prop_assert_eq!(run, single);
        }

        #[test]
        fn buckets_tile_the_numbers(value: u64) {
            let (block, bucket) = place(value);
            let (low, width) = range(block, bucket);
            prop_assert!(low <= value && value - low < width);
        }

        #[test]
        fn merging_is_counting_all(a in prop::collection::vec(any::<u64>(), 0..50), b in prop::collection::vec(any::<u64>(), 0..50)) {
            let of = |values: &[u64]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|value| histogram.add(*value));
                histogram
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let mut all = a.clone();
            all.extend(&b);
            let all = of(&all);
            prop_assert_eq!((merged.count(), merged.sum(), merged.quantile(0.7)), (all.count(), all.sum(), all.quantile(0.7)));
        }
    }
}

//! Functions of the samples of one series over a time, as `promql/functions.go` works them out.

use super::PrometheusVersion;
use super::plan::OverRange;
use super::quantile::quantile;
use super::sums::{Sum, stays_infinite};

/// The samples of one series over a time. There is at least one.
pub(super) struct Run<'a> {
    pub(super) points: &'a [(i64, f64)],
    /// Where the time begins and ends, ms.
    pub(super) from: i64,
    pub(super) to: i64,
    /// When the function is evaluated, ms.
    pub(super) at: i64,
    pub(super) version: PrometheusVersion,
}

/// What a function makes of changes between samples.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    Counter { per_second: bool },
    Gauge,
}

impl Run<'_> {
    /// The function's value, if the samples are enough for it.
    pub(super) fn apply(&self, function: &OverRange, parameter: f64) -> Option<f64> {
        #[expect(clippy::float_cmp, reason = "whether a value is another one")]
        let changed = |one: f64, other: f64| one != other && !(one.is_nan() && other.is_nan());
        let values = || self.points.iter().map(|(_, value)| *value);
        match function {
            OverRange::Rate => self.extrapolated(Change::Counter { per_second: true }),
            OverRange::Increase => self.extrapolated(Change::Counter { per_second: false }),
            OverRange::Delta => self.extrapolated(Change::Gauge),
            OverRange::Irate => self.last_change(true),
            OverRange::Idelta => self.last_change(false),
            OverRange::Avg => Some(mean(values(), self.version)),
            OverRange::Min => {
                values().reduce(|least, value| if value < least || least.is_nan() { value } else { least })
            }
            OverRange::Max => {
                values().reduce(|most, value| if value > most || most.is_nan() { value } else { most })
            }
            OverRange::Sum => Some(sum(values())),
            OverRange::Count => Some(self.points.len() as f64),
            OverRange::Last => values().next_back(),
            OverRange::Present => Some(1.0),
            OverRange::Stddev => Some(variance(values()).sqrt()),
            OverRange::Stdvar => Some(variance(values())),
            OverRange::Quantile(_) => Some(quantile(parameter, values().collect())),
            OverRange::Changes => Some(self.count_pairs(changed)),
            OverRange::Resets => Some(self.count_pairs(|one, other| other < one)),
            OverRange::Deriv => self.line(self.points.first()?.0).map(|(slope, _)| slope),
            OverRange::PredictLinear(_) => {
                self.line(self.at).map(|(slope, intercept)| slope * parameter + intercept)
            }
        }
    }

    fn count_pairs(&self, holds: impl Fn(f64, f64) -> bool) -> f64 {
        self.points.windows(2).filter(|pair| holds(pair[0].1, pair[1].1)).count() as f64
    }

    /// The change over the samples, extrapolated to the edges as far as a sample may be expected there.
    fn extrapolated(&self, change: Change) -> Option<f64> {
        let [first, .., last] = self.points else { return None };
        let seconds = |from: i64, to: i64| (to - from) as f64 / 1e3;
        let mut result = last.1 - first.1;
        if change != Change::Gauge {
            let mut before = 0.0;
            for (_, value) in self.points {
                if *value < before {
                    result += before;
                }
                before = *value;
            }
        }
        let sampled = seconds(first.0, last.0);
        let between = sampled / (self.points.len() - 1) as f64;
        let reach = |gap: f64| if gap < between * 1.1 { gap } else { between / 2.0 };
        let to_zero = match change {
            Change::Counter { .. } if result > 0.0 && first.1 >= 0.0 => sampled * (first.1 / result),
            _ => f64::INFINITY,
        };
        let to_start = self.reach_back(seconds(self.from, first.0), to_zero, reach);
        let mut factor = (sampled + to_start + reach(seconds(last.0, self.to))) / sampled;
        if change == (Change::Counter { per_second: true }) {
            factor /= seconds(self.from, self.to);
        }
        Some(result * factor)
    }

    /// How far the change is extrapolated to the left: not to where a counter would be negative. Up to 2.51 the distance to
    /// zero replaced the whole gap before its length was judged.
    fn reach_back(&self, gap: f64, to_zero: f64, reach: impl Fn(f64) -> f64) -> f64 {
        match self.version {
            PrometheusVersion::V2 => reach(if to_zero < gap { to_zero } else { gap }),
            PrometheusVersion::V3 => {
                let to_start = reach(gap);
                if to_zero < to_start { to_zero } else { to_start }
            }
        }
    }

    /// The change between the last two samples, of a counter per second.
    fn last_change(&self, of_counter: bool) -> Option<f64> {
        let [.., before, last] = self.points else { return None };
        if last.0 == before.0 {
            return None;
        }
        let change = if of_counter && last.1 < before.1 { last.1 } else { last.1 - before.1 };
        Some(if of_counter { change / ((last.0 - before.0) as f64 / 1e3) } else { change })
    }

    /// Slope per second and value at `at` of the line of least squares.
    #[expect(clippy::float_cmp, reason = "whether all values are one and the same")]
    fn line(&self, at: i64) -> Option<(f64, f64)> {
        let [first, _, ..] = self.points else { return None };
        if self.points.iter().all(|(_, value)| *value == first.1) {
            return Some(if first.1.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first.1) });
        }
        let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = <(Sum, Sum, Sum, Sum)>::default();
        for (time, y) in self.points {
            let x = (time - at) as f64 / 1e3;
            x_sum.add(x);
            y_sum.add(*y);
            xy_sum.add(x * y);
            xx_sum.add(x * x);
        }
        let n = self.points.len() as f64;
        let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(|sum| sum.sum + sum.lost);
        let slope = (xy - x * y / n) / (xx - x * x / n);
        Some((slope, y / n - slope * x / n))
    }
}

pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    values.for_each(|value| sum.add(value));
    sum.total()
}

/// The mean over time. In version 3 the sum is divided, unless it is infinite; before, the mean was moved step by step.
fn mean(values: impl Iterator<Item = f64>, version: PrometheusVersion) -> f64 {
    let (mut mean, mut count, mut steps) = (Sum::default(), 0.0, version == PrometheusVersion::V2);
    for value in values {
        count += 1.0;
        if !steps {
            let mut next = mean;
            next.add(value);
            if count < 2.0 || !next.sum.is_infinite() {
                mean = next;
                continue;
            }
            steps = true;
            mean = Sum { sum: mean.sum / (count - 1.0), lost: mean.lost / (count - 1.0) };
        }
        if mean.sum.is_infinite() && stays_infinite(mean.sum, value) {
            continue;
        }
        let now = if version == PrometheusVersion::V2 { mean.sum } else { mean.sum + mean.lost };
        mean.add(value / count - now / count);
    }
    match (steps, version) {
        (true, _) => mean.total(),
        (false, _) if mean.sum.is_infinite() => mean.sum,
        (false, _) => (mean.sum + mean.lost) / count,
    }
}

/// The variance over time, of the whole population.
fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (Sum::default(), Sum::default(), 0.0);
    for value in values {
        count += 1.0;
        let distance = value - (mean.sum + mean.lost);
        mean.add(distance / count);
        squares.add(distance * (value - (mean.sum + mean.lost)));
    }
    (squares.sum + squares.lost) / count
}

//! Rates that change over time, with what they add up to and when that is reached.

use std::f64::consts::TAU;

use serde::Serialize;

/// A rate of requests over time, per second; time in seconds from 0 on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// mean × (1 + amplitude × cos(2π (t - peak) / period)).
    Sinus {
        /// The rate over a whole period.
        mean: f64,
        /// How much the peak is above the mean, as a share of it, 0 to 1.
        amplitude: f64,
        /// Seconds from one peak to the next.
        period: f64,
        /// The instant of a peak, seconds.
        peak: f64,
    },
    /// Straight lines from point to point.
    Lines(Lines),
}

/// Straight lines from point to point; two points at one instant are a jump.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lines {
    /// Instant and rate, from 0 on, in the order of time.
    points: Vec<(f64, f64)>,
    /// What the rate adds up to up to each point.
    upto: Vec<f64>,
    /// Whether the curve begins again after its last point; else it goes on with the last rate.
    again: bool,
}

impl Lines {
    /// The lines through `points`: at least one, the first at 0, in the order of time, with rates of at least 0.
    #[must_use]
    pub fn new(points: Vec<(f64, f64)>, again: bool) -> Lines {
        let mut sum = 0.0;
        let mut upto = vec![0.0];
        for pair in points.windows(2) {
            sum += (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1);
            upto.push(sum);
        }
        Lines { points, upto, again }
    }

    fn end(&self) -> (f64, f64) {
        let last = self.points.last().map_or(0.0, |(at, _)| *at);
        (last, self.upto.last().copied().unwrap_or(0.0))
    }

    /// The last point that `holds`, and how the rate changes after it.
    fn from(&self, place: usize) -> (f64, f64, f64, f64) {
        let place = place.saturating_sub(1).min(self.points.len() - 1);
        let (at, rate) = self.points[place];
        let slope = match self.points.get(place + 1) {
            Some((next, then)) if *next > at => (then - rate) / (next - at),
            _ => 0.0,
        };
        (at, rate, slope, self.upto[place])
    }

    fn expected(&self, time: f64) -> f64 {
        let (end, total) = self.end();
        let rounds = if self.again && end > 0.0 { (time / end).floor() } else { 0.0 };
        let time = time - rounds * end;
        let (at, rate, slope, upto) = self.from(self.points.partition_point(|(at, _)| *at <= time));
        let past = time - at;
        rounds * total + upto + past * (rate + slope * past / 2.0)
    }

    fn when(&self, expected: f64) -> Option<f64> {
        let (end, total) = self.end();
        let rounds = if self.again { (expected / total).floor() } else { 0.0 };
        if !rounds.is_finite() {
            return None;
        }
        let left = (expected - rounds * total).max(0.0);
        let (at, rate, slope, upto) = self.from(self.upto.partition_point(|upto| *upto <= left));
        let left = left - upto;
        // The root of slope t²/2 + rate t = left, in the form that does not cancel.
        let root = libm::sqrt((rate * rate + 2.0 * slope * left).max(0.0));
        let past = if left > 0.0 { 2.0 * left / (rate + root) } else { 0.0 };
        let when = rounds * end + at + past;
        when.is_finite().then_some(when)
    }
}

impl Curve {
    /// A rate that goes from `base` up to `peak` and back: it begins to rise at `at`, within `ramp`, stays for `hold`, and
    /// is back after `decay`; all in seconds.
    #[must_use]
    pub fn flash_crowd(base: f64, peak: f64, at: f64, ramp: f64, hold: f64, decay: f64) -> Curve {
        let times = [0.0, at, at + ramp, at + ramp + hold, at + ramp + hold + decay];
        Curve::Lines(Lines::new(times.into_iter().zip([base, base, peak, peak, base]).collect(), false))
    }

    /// Rates that are even over a period and come again: steps, or the values at the beginning of each part, joined by
    /// straight lines.
    #[must_use]
    pub fn profile(rates: &[f64], period: f64, joined: bool) -> Curve {
        let part = period / rates.len() as f64;
        let at = |place: usize| part * place as f64;
        let next = |place: usize| if joined { rates[(place + 1) % rates.len()] } else { rates[place] };
        let pairs =
            (0..rates.len()).flat_map(|place| [(at(place), rates[place]), (at(place + 1), next(place))]);
        Curve::Lines(Lines::new(pairs.collect(), true))
    }

    /// How many requests are expected from 0 to `time` seconds.
    #[must_use]
    pub fn expected(&self, time: f64) -> f64 {
        match self {
            Curve::Sinus { mean, amplitude, period, peak } => {
                let turn = TAU / period;
                mean * (time + amplitude / turn * (libm::sin(turn * (time - peak)) + libm::sin(turn * peak)))
            }
            Curve::Lines(lines) => lines.expected(time),
        }
    }

    /// The rate at `time` seconds.
    #[must_use]
    pub fn rate(&self, time: f64) -> f64 {
        match self {
            Curve::Sinus { mean, amplitude, period, peak } => {
                mean * (1.0 + amplitude * libm::cos(TAU / period * (time - peak)))
            }
            Curve::Lines(lines) => {
                let (end, _) = lines.end();
                let time = if lines.again && end > 0.0 { time - (time / end).floor() * end } else { time };
                let (at, rate, slope, _) = lines.from(lines.points.partition_point(|(at, _)| *at <= time));
                rate + slope * (time - at)
            }
        }
    }

    /// When so many requests are expected, in seconds; `None` if never.
    #[must_use]
    pub fn when(&self, expected: f64) -> Option<f64> {
        match self {
            Curve::Sinus { mean, amplitude, period, .. } => {
                // The sinus shifts this by at most 2 amplitude / (2π / period).
                let (middle, reach) = (expected / mean, amplitude * period / TAU * 2.0);
                let (mut low, mut high) = ((middle - reach).max(0.0), middle + reach + 1e-9);
                let mut time = middle;
                for _ in 0..80 {
                    let over = self.expected(time) - expected;
                    if over > 0.0 {
                        high = time
                    } else {
                        low = time
                    }
                    // Newton's step where it stays between, halving otherwise.
                    let step = time - over / self.rate(time);
                    let next = if low < step && step < high { step } else { f64::midpoint(low, high) };
                    let done = (next - time).abs() <= 1e-10;
                    time = next;
                    if done {
                        break;
                    }
                }
                time.is_finite().then_some(time)
            }
            Curve::Lines(lines) => lines.when(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_has_the_requests_of_its_mean() {
        let day = Curve::Sinus { mean: 3.0, amplitude: 0.8, period: 86_400.0, peak: 50_000.0 };
        assert!((day.expected(86_400.0) - 3.0 * 86_400.0).abs() < 1e-6);
        assert!((day.rate(50_000.0) - 5.4).abs() < 1e-12);
        let profile = Curve::profile(&[1.0, 3.0, 0.0, 4.0], 400.0, false);
        assert!((profile.expected(800.0) - 1_600.0).abs() < 1e-9);
        assert!((profile.rate(150.0) - 3.0).abs() < 1e-12);
        let joined = Curve::profile(&[1.0, 3.0], 200.0, true);
        assert!((joined.rate(150.0) - 2.0).abs() < 1e-12 && (joined.expected(200.0) - 400.0).abs() < 1e-9);
    }

    #[test]
    fn a_flash_crowd_is_its_trapezium() {
        let crowd = Curve::flash_crowd(2.0, 10.0, 100.0, 20.0, 50.0, 40.0);
        assert!((crowd.expected(300.0) - (600.0 + 8.0 * (10.0 + 50.0 + 20.0))).abs() < 1e-9);
        assert!((crowd.rate(110.0) - 6.0).abs() < 1e-12 && (crowd.rate(1e6) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn what_ends_is_never_reached() {
        let over = Curve::Lines(Lines::new(vec![(0.0, 1.0), (10.0, 0.0)], false));
        assert!(over.when(4.9).is_some_and(|at| at < 10.0));
        assert_eq!(over.when(5.1), None);
        assert_eq!(Curve::profile(&[0.0], 10.0, false).when(1.0), None);
    }

    fn curves() -> impl Strategy<Value = Curve> {
        prop_oneof![
            (0.1f64..100.0, 0.0f64..1.0, 1.0f64..1e5, 0.0f64..1e5)
                .prop_map(|(mean, amplitude, period, peak)| Curve::Sinus { mean, amplitude, period, peak }),
            (prop::collection::vec(0.0f64..50.0, 1..9), 1.0f64..1e5, any::<bool>()).prop_map(
                |(mut rates, period, joined)| {
                    rates[0] += 0.1;
                    Curve::profile(&rates, period, joined)
                }
            ),
            (0.1f64..9.0, 0.1f64..90.0, 0.0f64..1e3, 0.0f64..1e3).prop_map(|(base, peak, at, last)| {
                Curve::flash_crowd(base, peak, at, last, last / 2.0, last)
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_expected_is_reached_then(curve in curves(), expected in 0.0f64..1e6) {
            let at = curve.when(expected).unwrap();
            prop_assert!((curve.expected(at) - expected).abs() < 1e-6 * (1.0 + expected), "{curve:?} {at}");
        }
    }
}

//! What a trace is like: rate, variation, dispersion, lengths, the cycle of a day. In one pass and in bounded memory.

use std::collections::BTreeMap;

use scaletwin_core::random::Law;

use super::trace::{Row, RowTime};

/// The widths of the windows whose counts are looked at, seconds.
pub const WIDTHS: [f64; 3] = [1.0, 10.0, 60.0];

/// The most windows of the rate over time.
const WINDOWS: usize = 2_000;

/// Seconds of a day, and of an hour.
const DAY: f64 = 86_400.0;
const HOUR: f64 = 3_600.0;

/// What a trace is like.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    first: Option<RowTime>,
    last: f64,
    requests: u64,
    gaps: Sums,
    gap_sizes: Sizes,
    counts: [Counts; 3],
    over_time: OverTime,
    hours: [u64; 24],
    /// Tokens of prompts.
    pub prompt: Tally,
    /// Tokens of answers.
    pub output: Tally,
}

impl Facts {
    /// Notes a row. They come in the order of time.
    pub fn add(&mut self, row: &Row) {
        let first = *self.first.get_or_insert(row.at);
        let at = seconds_between(first, row.at);
        if self.requests > 0 {
            self.gaps.add(at - self.last, 1.0);
            self.gap_sizes.add(at - self.last);
        }
        for (counts, width) in self.counts.iter_mut().zip(WIDTHS) {
            counts.add(whole(at / width));
        }
        self.over_time.add(at);
        let clock = match row.at {
            RowTime::Offset(at) => at.as_secs_f64(),
            RowTime::Civil(at) => at.as_unix_nanos().rem_euclid(86_400_000_000_000) as f64 / 1e9,
        };
        let hour = whole(clock % DAY / HOUR);
        self.hours[usize::try_from(hour).map_or(23, |hour| hour.min(23))] += 1;
        self.prompt.add(row.prompt_tokens);
        self.output.add(row.output_tokens);
        (self.last, self.requests) = (at, self.requests + 1);
    }

    /// The instant of the first request; `None` before it.
    #[must_use]
    pub fn first(&self) -> Option<RowTime> {
        self.first
    }

    /// How many requests there are.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// From the first to the last request, seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.last
    }

    /// Requests per second after the first up to the last, which is one by the mean gap; `None` where they are at one instant.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.last > 0.0).then(|| self.requests.saturating_sub(1) as f64 / self.last)
    }

    /// Mean of the gaps in seconds and their coefficient of variation; `None` without gaps.
    #[must_use]
    pub fn gaps(&self) -> Option<(f64, f64)> {
        let (mean, variance) = self.gaps.moments()?;
        (mean > 0.0).then(|| (mean, libm::sqrt(variance) / mean))
    }

    /// The most requests in a second, from the first request on.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.counts[0].most.max(self.counts[0].current.1)
    }

    /// The index of dispersion of the counts in windows of [`WIDTHS`]: variance over mean, 1 for Poisson. `None` with
    /// less than two whole windows.
    #[must_use]
    pub fn dispersion(&self) -> [Option<f64>; 3] {
        self.counts.each_ref().map(Counts::dispersion)
    }

    /// Requests per second in windows over time, and the width of a window in seconds.
    #[must_use]
    pub fn over_time(&self) -> (Vec<f64>, f64) {
        let width = self.over_time.width;
        (self.over_time.counts.iter().map(|count| *count as f64 / width).collect(), width)
    }

    /// Requests in each hour of the day, UTC; for traces without civil instants from their start.
    #[must_use]
    pub fn hours(&self) -> &[u64; 24] {
        &self.hours
    }

    /// Mean rates of the hours of a day, where the trace has a whole day.
    #[must_use]
    pub fn day(&self) -> Option<Vec<f64>> {
        (self.last >= DAY)
            .then(|| self.hours.iter().map(|count| *count as f64 / (self.last / 24.0)).collect())
    }

    /// The largest difference between the gaps' distribution and a law's (Kolmogorov and Smirnov), to the width of a bin.
    #[must_use]
    pub fn distance(&self, law: &Law) -> f64 {
        self.gap_sizes.distance(law)
    }
}

fn seconds_between(first: RowTime, at: RowTime) -> f64 {
    match (first, at) {
        (RowTime::Offset(first), RowTime::Offset(at)) => at.saturating_sub(first).as_secs_f64(),
        (RowTime::Civil(first), RowTime::Civil(at)) => at.since(first).map_or(0.0, |span| span.as_secs_f64()),
        _ => 0.0,
    }
}

/// The whole part of a number that is not negative.
fn whole(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative; beyond is the most"
    )]
    let whole = value as u64;
    whole
}

/// Number, sum, and sum of squares.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n: f64,
    sum: f64,
    square: f64,
}

impl Sums {
    fn add(&mut self, value: f64, times: f64) {
        self.n += times;
        self.sum += value * times;
        self.square += value * value * times;
    }

    /// Mean and variance.
    fn moments(&self) -> Option<(f64, f64)> {
        let mean = self.sum / self.n;
        (self.n > 0.0).then(|| (mean, (self.square / self.n - mean * mean).max(0.0)))
    }
}

/// Counts in windows.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// The present window and its count.
    current: (u64, u64),
    most: u64,
    whole: Sums,
}

impl Counts {
    fn add(&mut self, window: u64) {
        if window > self.current.0 {
            self.whole.add(self.current.1 as f64, 1.0);
            self.whole.add(0.0, (window - self.current.0 - 1) as f64);
            self.most = self.most.max(self.current.1);
            self.current = (window, 0);
        }
        self.current.1 += 1;
    }

    fn dispersion(&self) -> Option<f64> {
        let (mean, variance) = self.whole.moments()?;
        (self.whole.n >= 2.0 && mean > 0.0).then(|| variance / mean)
    }
}

/// Counts over time, in windows that grow with it.
#[derive(Debug, Clone)]
struct OverTime {
    width: f64,
    counts: Vec<u64>,
}

impl Default for OverTime {
    fn default() -> OverTime {
        OverTime { width: 1.0, counts: Vec::new() }
    }
}

impl OverTime {
    fn add(&mut self, at: f64) {
        while at / self.width >= WINDOWS as f64 {
            self.width *= 2.0;
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        let window = usize::try_from(whole(at / self.width)).expect("below the most windows");
        if self.counts.len() <= window {
            self.counts.resize(window + 1, 0);
        }
        self.counts[window] += 1;
    }
}

/// How often each number of tokens stands in a trace.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counts: BTreeMap<u32, u64>,
    total: u64,
    absent: u64,
}

impl Tally {
    fn add(&mut self, tokens: Option<u32>) {
        match tokens {
            Some(tokens) => {
                *self.counts.entry(tokens).or_default() += 1;
                self.total += 1;
            }
            None => self.absent += 1,
        }
    }

    /// How many requests have a number of tokens.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.total
    }

    /// The least number that a share of all is not above; `None` without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u32> {
        let rank = whole((share * self.total as f64).ceil()).clamp(1, self.total.max(1));
        let mut upto = 0;
        self.counts.iter().find_map(|(tokens, count)| {
            upto += count;
            (upto >= rank).then_some(*tokens)
        })
    }

    /// The means of `parts` parts of all, each as large, in the order of size: their mean is that of all. `None` without any.
    #[must_use]
    pub fn means_of_parts(&self, parts: u32) -> Option<Vec<f64>> {
        // Each request counts `parts` times, so that a part has as many as there are requests.
        let (mut means, mut sum, mut room) = (Vec::new(), 0.0, self.total);
        for (tokens, count) in &self.counts {
            let mut left = count * u64::from(parts);
            while left > 0 {
                let taken = left.min(room);
                sum += taken as f64 * f64::from(*tokens);
                (left, room) = (left - taken, room - taken);
                if room == 0 {
                    means.push(sum / self.total as f64);
                    (sum, room) = (0.0, self.total);
                }
            }
        }
        (self.total > 0).then_some(means)
    }

    /// The mean; `None` without any.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let sum: f64 = self.counts.iter().map(|(tokens, count)| f64::from(*tokens) * *count as f64).sum();
        (self.total > 0).then(|| sum / self.total as f64)
    }
}

/// Bins of gaps, by their logarithm.
#[derive(Debug, Clone)]
struct Sizes {
    bins: Vec<u64>,
    total: u64,
}

/// Bins for each factor of e, and the logarithm of the least gap told apart: a nanosecond.
const BINS: f64 = 40.0;
const LEAST: f64 = -20.72;
const NUMBER: usize = 1_700;

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { bins: vec![0; NUMBER], total: 0 }
    }
}

impl Sizes {
    fn add(&mut self, gap: f64) {
        let bin = if gap > 0.0 { ((libm::log(gap) - LEAST) * BINS).max(0.0) } else { 0.0 };
        self.bins[usize::try_from(whole(bin)).map_or(NUMBER - 1, |bin| bin.min(NUMBER - 1))] += 1;
        self.total += 1;
    }

    fn distance(&self, law: &Law) -> f64 {
        let mut upto = 0;
        let distances = self.bins.iter().enumerate().map(|(bin, count)| {
            upto += count;
            let edge = libm::exp(LEAST + (bin + 1) as f64 / BINS);
            (upto as f64 / self.total.max(1) as f64 - below(law, edge)).abs()
        });
        distances.fold(0.0, f64::max)
    }
}

/// The probability that a law of gaps is at most `x`.
fn below(law: &Law, x: f64) -> f64 {
    match law {
        Law::Exponential { mean } => 1.0 - libm::exp(-x / mean),
        Law::Weibull { shape, scale } => 1.0 - libm::exp(-libm::pow(x / scale, *shape)),
        Law::Gamma { shape, scale } => lower_gamma(*shape, x / scale),
        Law::HyperExponential { p, first, second } => {
            1.0 - p * libm::exp(-x / first) - (1.0 - p) * libm::exp(-x / second)
        }
        Law::LogNormal { median, sigma } => {
            0.5 * libm::erfc(-libm::log(x / median) / sigma / std::f64::consts::SQRT_2)
        }
        other => f64::from(u8::from(other.mean() <= x)),
    }
}

/// The regularised lower incomplete gamma function: its series for small `x`, the continued fraction of its complement
/// (Lentz's method) for large ones.
fn lower_gamma(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = libm::exp(shape * libm::log(x) - x - libm::lgamma(shape));
    if x < shape + 1.0 {
        let (mut term, mut sum) = (1.0 / shape, 1.0 / shape);
        for n in 1..2_000 {
            term *= x / (shape + f64::from(n));
            sum += term;
            if term < sum * 1e-15 {
                break;
            }
        }
        return (front * sum).min(1.0);
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - shape;
    let (mut c, mut d) = (1.0 / tiny, 1.0 / b);
    let mut fraction = d;
    for n in 1..2_000 {
        let a = -f64::from(n) * (f64::from(n) - shape);
        b += 2.0;
        d = a * d + b;
        d = 1.0 / if d.abs() < tiny { tiny } else { d };
        c = b + a / c;
        c = if c.abs() < tiny { tiny } else { c };
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (1.0 - front * fraction).clamp(0.0, 1.0)
}

/// The Weibull law of this mean and coefficient of variation.
#[must_use]
pub fn weibull(mean: f64, cv: f64) -> Law {
    let square = |shape: f64| {
        // Γ(1 + 2/k) / Γ(1 + 1/k)², by logarithms: the factors overflow long before the quotient does.
        libm::exp(libm::lgamma(1.0 + 2.0 / shape) - 2.0 * libm::lgamma(1.0 + 1.0 / shape)) - 1.0
    };
    let (mut low, mut high) = (0.02, 100.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if square(middle) > cv * cv { low = middle } else { high = middle }
    }
    let shape = f64::midpoint(low, high);
    Law::Weibull { shape, scale: mean / libm::exp(libm::lgamma(1.0 + 1.0 / shape)) }
}

#[cfg(test)]
mod tests {
    use scaletwin_core::random::Seed;
    use scaletwin_core::units::Span;

    use super::*;

    fn facts(instants: impl IntoIterator<Item = f64>) -> Facts {
        let mut facts = Facts::default();
        for at in instants {
            let at = RowTime::Offset(Span::from_secs_f64(at).unwrap());
            facts.add(&Row {
                at,
                prompt_tokens: Some(7),
                output_tokens: None,
                priority: None,
                service: None,
                prefix: None,
                line: 1,
            });
        }
        facts
    }

    #[test]
    fn poisson_arrivals_have_a_variation_and_a_dispersion_of_one() {
        let (luck, mut at) = (Seed(1).component("t"), 0.0);
        let law = Law::Exponential { mean: 0.1 };
        let facts = facts((0..200_000).map(|number| {
            at += law.draw(&mut luck.entity(number));
            at
        }));
        let (mean, cv) = facts.gaps().unwrap();
        assert!(
            (mean * 10.0 - 1.0).abs() < 5.0 / 200_000f64.sqrt() && (cv - 1.0).abs() < 0.02,
            "{mean} {cv}"
        );
        for (index, width) in facts.dispersion().into_iter().zip(WIDTHS) {
            let windows = 20_000.0 / width;
            assert!((index.unwrap() - 1.0).abs() < 5.0 * (2.0 / windows).sqrt(), "{width}: {index:?}");
        }
        assert!(facts.distance(&law) < 0.05, "{}", facts.distance(&law));
        assert!(facts.distance(&Law::Exponential { mean: 0.2 }) > 0.15);
    }

    #[test]
    fn empty_windows_count() {
        // One request a second in the first of every four windows of 10 s.
        let instants = (0..40).flat_map(|block| (0..10).map(move |at| f64::from(block * 40 + at)));
        let facts = facts(instants.chain([1_600.0]));
        // Counts 10, 0, 0, 0: mean 2.5, variance 18.75.
        assert!((facts.dispersion()[1].unwrap() - 7.5).abs() < 1e-9, "{:?}", facts.dispersion());
        assert_eq!((facts.peak(), facts.requests()), (1, 401));
    }

    #[test]
    fn windows_over_time_grow_with_the_trace() {
        let facts = facts((0..10_000).map(f64::from));
        let (rates, width) = facts.over_time();
        assert!((width - 8.0).abs() < 1e-12 && rates.len() == 1_250, "{width} {}", rates.len());
        assert!(rates.iter().all(|rate| (rate - 1.0).abs() < 1e-12));
    }

    #[test]
    fn quantiles_are_values_of_the_trace() {
        let mut tally = Tally::default();
        (1..=100).for_each(|tokens| tally.add(Some(tokens)));
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| tally.quantile(share)), [1, 50, 99, 100].map(Some));
        assert_eq!((tally.mean(), Tally::default().quantile(0.5)), (Some(50.5), None));
    }

    #[test]
    fn the_incomplete_gamma_function_is_that_of_erlang() {
        for x in [0.1, 1.0, 3.0, 9.0, 30.0] {
            let erlang = 1.0 - libm::exp(-x) * (1.0 + x + x * x / 2.0);
            assert!((lower_gamma(3.0, x) - erlang).abs() < 1e-12, "{x}");
            assert!((lower_gamma(0.5, x) - libm::erf(libm::sqrt(x))).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn a_weibull_law_has_the_variation_asked_for() {
        let Law::Weibull { shape, scale } = weibull(2.0, 1.0) else { panic!("a Weibull law") };
        assert!((shape - 1.0).abs() < 1e-9 && (scale - 2.0).abs() < 1e-9);
        assert!((weibull(2.0, 13.2).mean() / 2.0 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn means_of_parts_have_the_mean_of_all() {
        let mut tally = Tally::default();
        [1, 1, 1, 2, 9, 100].into_iter().for_each(|tokens| tally.add(Some(tokens)));
        assert_eq!(tally.means_of_parts(3), Some(vec![1.0, 1.5, 54.5]));
        for parts in [1, 2, 4, 5, 7, 50] {
            let means = tally.means_of_parts(parts).unwrap();
            let mean = means.iter().sum::<f64>() / f64::from(parts);
            assert_eq!(means.len(), parts as usize);
            assert!((mean - tally.mean().unwrap()).abs() < 1e-9 && means.is_sorted(), "{means:?}");
        }
        assert_eq!(Tally::default().means_of_parts(3), None);
    }
}

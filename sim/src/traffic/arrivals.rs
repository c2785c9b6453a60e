//! Arrival processes with lengths.

use scaletwin_core::random::{Component, Law, Seed};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::curve::Curve;

/// An arrival process with independent lengths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneratorSettings {
    /// When requests arrive.
    pub process: Process,
    /// Tokens of a prompt.
    pub prompt_tokens: Law,
    /// Tokens of an answer.
    pub output_tokens: Law,
    /// The most tokens of a prompt and an answer.
    pub most_tokens: (u32, u32),
    /// How many requests; `None`: any number.
    pub requests: Option<u64>,
}

/// When requests arrive.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// With independent gaps.
    Renewal {
        /// The gaps in seconds.
        gaps: Law,
    },
    /// A Poisson process whose rate goes from state to state, in their order and round again, after an exponential time
    /// in each (MMPP). It begins in a state with the probability of a long run.
    Modulated {
        /// Rate per second and mean stay in seconds of each state.
        states: Vec<(f64, f64)>,
    },
    /// At a rate that changes over time: a renewal process in the time in which the rate is 1 (Gerhardt and Nelson 2009).
    Varying {
        /// The rate.
        curve: Curve,
        /// The gaps at a rate of 1, of mean 1; exponential is Poisson.
        gaps: Law,
    },
}

/// A week, over which the rate of a curve is averaged.
const WEEK_SECONDS: f64 = 604_800.0;

impl Process {
    /// Requests per second in the long run; of a curve, over its first week.
    #[must_use]
    pub fn mean_rate(&self) -> f64 {
        match self {
            Process::Renewal { gaps } => 1.0 / gaps.mean().max(1e-9),
            Process::Modulated { states } => {
                let requests: f64 = states.iter().map(|(rate, stay)| rate * stay).sum();
                requests / states.iter().map(|(_, stay)| stay).sum::<f64>().max(1e-9)
            }
            Process::Varying { curve, .. } => curve.expected(WEEK_SECONDS) / WEEK_SECONDS,
        }
    }
}

/// The luck of a generator and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorState {
    gaps: Component,
    prompt: Component,
    output: Component,
    stays: Component,
    /// Tokens of a prompt and of an answer, where they are always the same.
    fixed: [Option<u32>; 2],
    from: Time,
    /// Of a modulated process the number of stays so far, the state, and when it ends.
    stay: (u64, usize, Time),
    /// Of a varying process the instant of its last request in the time in which the rate is 1.
    passed: f64,
    /// The next request's number and instant; `None` after the last.
    next: Option<(u64, Time)>,
}

impl GeneratorState {
    /// The start, at `from`, of the generator of stream `name`.
    #[must_use]
    pub fn new(settings: &GeneratorSettings, seed: Seed, name: &str, from: Time) -> GeneratorState {
        let component = |what: &str| seed.component(&format!("{what}/{name}"));
        let mut state = GeneratorState {
            gaps: component("arrivals"),
            prompt: component("prompt-tokens"),
            output: component("output-tokens"),
            stays: component("arrival-states"),
            fixed: [
                fixed_tokens(&settings.prompt_tokens, settings.most_tokens.0),
                fixed_tokens(&settings.output_tokens, settings.most_tokens.1),
            ],
            from,
            stay: (0, 0, from),
            passed: 0.0,
            next: None,
        };
        if let Process::Modulated { states } = &settings.process {
            state.stay = state.first_stay(states);
        }
        state.next = state.arrival(settings, 0, from);
        state
    }

    /// The request of this number, after one at `before`.
    #[inline]
    fn arrival(&mut self, settings: &GeneratorSettings, number: u64, before: Time) -> Option<(u64, Time)> {
        if settings.requests.is_some_and(|most| number >= most) {
            return None;
        }
        let at = match &settings.process {
            Process::Renewal { gaps } => {
                let gap = Span::from_secs_f64(gaps.draw(&mut self.gaps.entity(number))).ok()?;
                before.saturating_add(gap)
            }
            Process::Modulated { states } => self.modulated(states, number, before),
            Process::Varying { curve, gaps } => {
                self.passed += gaps.draw(&mut self.gaps.entity(number));
                let after = Span::from_secs_f64(curve.when(self.passed)?).ok()?;
                // Rounding never lets one overtake another.
                self.from.saturating_add(after).max(before)
            }
        };
        (at < Time::NEVER).then_some((number, at))
    }

    /// The first state, by the share of time that is spent in it.
    fn first_stay(&self, states: &[(f64, f64)]) -> (u64, usize, Time) {
        let total: f64 = states.iter().map(|(_, stay)| stay).sum();
        let mut left = self.stays.entity(0).uniform() * total;
        let first = states.iter().position(|(_, stay)| {
            left -= stay;
            left < 0.0
        });
        let first = first.unwrap_or(0);
        (1, first, self.from.saturating_add(self.length(1, states[first].1)))
    }

    /// The length of stay `number`, of this mean.
    fn length(&self, number: u64, mean: f64) -> Span {
        let secs = Law::Exponential { mean }.draw(&mut self.stays.entity(number));
        Span::from_secs_f64(secs).map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
    }

    fn modulated(&mut self, states: &[(f64, f64)], number: u64, before: Time) -> Time {
        let mut draws = self.gaps.entity(number);
        let mut now = before;
        loop {
            let (stays, state, end) = self.stay;
            let (rate, _) = states[state];
            if rate > 0.0 {
                let gap = Span::from_secs_f64(Law::Exponential { mean: 1.0 / rate }.draw(&mut draws));
                let at = gap.map_or(Time::NEVER, |gap| now.saturating_add(gap));
                if at < end || end == Time::NEVER {
                    return at;
                }
            }
            if end == Time::NEVER {
                return Time::NEVER;
            }
            // Gaps have no memory: what is left of this one begins anew in the next state.
            let next = (state + 1) % states.len();
            self.stay = (stays + 1, next, end.saturating_add(self.length(stays + 1, states[next].1)));
            now = end;
        }
    }

    /// When the next request arrives.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.next.map(|(_, at)| at)
    }

    /// Takes the next request: number, instant, tokens of prompt and answer.
    #[inline]
    pub fn take(&mut self, settings: &GeneratorSettings) -> Option<(u64, Time, u32, u32)> {
        let (number, at) = self.next?;
        self.next = self.arrival(settings, number + 1, at);
        let (laws, most) = ((&settings.prompt_tokens, &settings.output_tokens), settings.most_tokens);
        let prompt = self.fixed[0].unwrap_or_else(|| tokens(laws.0, self.prompt, number, most.0));
        let output = self.fixed[1].unwrap_or_else(|| tokens(laws.1, self.output, number, most.1));
        Some((number, at, prompt, output))
    }
}

/// The whole number below `mean`, at least 0, or by chance the next, so that `mean` is the mean; the draw is that of entity
/// `number`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of traffic are checked"
)]
pub(super) fn stochastic_round(mean: f64, luck: Component, number: u64) -> u64 {
    let below = mean.floor();
    let more = mean > below && luck.entity(number).uniform() < mean - below;
    below as u64 + u64::from(more)
}

/// A whole number of tokens, at least 1 and at most `most`.
#[must_use]
pub fn tokens(law: &Law, luck: Component, number: u64, most: u32) -> u32 {
    fixed_tokens(law, most).unwrap_or_else(|| whole(law.draw(&mut luck.entity(number)), most))
}

/// The same where it is no matter of luck.
fn fixed_tokens(law: &Law, most: u32) -> Option<u32> {
    match law {
        Law::Constant { value } => Some(whole(*value, most)),
        _ => None,
    }
}

/// The nearest whole number from 1 to `most`, halves up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of u32")]
fn whole(drawn: f64, most: u32) -> u32 {
    let below = drawn.clamp(0.0, f64::from(most)) as u32;
    let rounded = if drawn - f64::from(below) >= 0.5 { below.saturating_add(1) } else { below };
    rounded.clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(requests: Option<u64>) -> GeneratorSettings {
        GeneratorSettings {
            process: Process::Renewal { gaps: Law::Exponential { mean: 0.1 } },
            prompt_tokens: Law::LogNormal { median: 500.0, sigma: 1.0 },
            output_tokens: Law::Constant { value: 7.0 },
            most_tokens: (4_096, 4_096),
            requests,
        }
    }

    #[test]
    fn it_ends_after_its_requests() {
        let settings = settings(Some(3));
        let mut state = GeneratorState::new(&settings, Seed(1), "s", Time::ZERO);
        let all: Vec<_> = std::iter::from_fn(|| state.take(&settings)).collect();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|(_, _, prompt, output)| (1..=4_096).contains(prompt) && *output == 7));
        assert!(all.is_sorted_by_key(|(_, at, ..)| *at));
    }

    #[test]
    fn its_rate_is_that_of_its_gaps() {
        let settings = settings(Some(100_000));
        let mut state = GeneratorState::new(&settings, Seed(1), "s", Time::ZERO);
        let last = std::iter::from_fn(|| state.take(&settings)).last().unwrap().1.as_secs_f64();
        assert!((last / 10_000.0 - 1.0).abs() < 5.0 / 100_000f64.sqrt(), "{last}");
    }

    #[test]
    fn streams_have_their_own_luck() {
        let settings = settings(None);
        let first = |name| GeneratorState::new(&settings, Seed(1), name, Time::ZERO).next_at();
        assert_ne!(first("a"), first("b"));
        assert_eq!(first("a"), first("a"));
    }

    /// The instants, in seconds, of the first `requests` requests.
    fn instants(process: Process, requests: u64) -> Vec<f64> {
        let settings = GeneratorSettings { process, ..settings(Some(requests)) };
        let mut state = GeneratorState::new(&settings, Seed(11), "s", Time::ZERO);
        std::iter::from_fn(|| state.take(&settings)).map(|(_, at, ..)| at.as_secs_f64()).collect()
    }

    /// Mean, variance, and number of values.
    fn moments(values: &[f64]) -> (f64, f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n, n)
    }

    /// The numbers of requests in windows of `width` seconds.
    fn counts(instants: &[f64], width: f64) -> Vec<f64> {
        let window = |at: f64| {
            let whole = Span::from_secs_f64(at / width).expect("an instant").as_secs();
            usize::try_from(whole).expect("a number of windows")
        };
        let mut counts = vec![0.0; window(instants.last().copied().unwrap_or(0.0))];
        for at in instants {
            if let Some(count) = counts.get_mut(window(*at)) {
                *count += 1.0;
            }
        }
        counts
    }

    #[test]
    fn gaps_have_the_variation_of_their_law() {
        // The cv of Weibull gaps of shape k is sqrt(Γ(1 + 2/k) / Γ(1 + 1/k)² - 1).
        let weibull = |k: f64| {
            let first = libm::tgamma(1.0 + 1.0 / k);
            libm::sqrt(libm::tgamma(1.0 + 2.0 / k) / (first * first) - 1.0)
        };
        let laws = [
            (Law::Weibull { shape: 0.6, scale: 0.2 / libm::tgamma(1.0 + 1.0 / 0.6) }, weibull(0.6)),
            (Law::hyperexponential(0.2, 3.0), 3.0),
        ];
        for (gaps, cv) in laws {
            let at = instants(Process::Renewal { gaps: gaps.clone() }, 400_000);
            let gaps_seen: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (mean, variance, n) = moments(&gaps_seen);
            assert!((mean / 0.2 - 1.0).abs() < 5.0 * cv / n.sqrt(), "{gaps:?} {mean}");
            assert!((variance.sqrt() / mean / cv - 1.0).abs() < 0.03, "{gaps:?} {}", variance.sqrt() / mean);
        }
    }

    #[test]
    fn a_modulated_process_has_its_rate_and_its_dispersion() {
        // Fischer and Meier-Hellstern, "The MMPP cookbook" (1993), of two states: with leaving rates r and s and
        // λ = (a s + b r)/(r + s), the index of dispersion of counts over t is
        // 1 + 2 (a - b)² r s / ((r + s)² (a s + b r)) × (1 - (1 - exp(-(r + s) t)) / ((r + s) t)).
        let (a, stay_a, b, stay_b) = (20.0, 5.0, 2.0, 15.0);
        let (r, s) = (1.0 / stay_a, 1.0 / stay_b);
        let rate: f64 = (a * s + b * r) / (r + s);
        let limit = 2.0 * (a - b) * (a - b) * r * s / ((r + s) * (r + s) * (a * s + b * r));
        let at = instants(Process::Modulated { states: vec![(a, stay_a), (b, stay_b)] }, 1_000_000);
        let long = at.last().unwrap() * rate / 1e6 - 1.0;
        // The relative error of the rate is sqrt(index / requests).
        assert!(long.abs() < 5.0 * ((1.0 + limit) / 1e6).sqrt(), "{long}");
        for width in [1.0, 10.0, 60.0] {
            let (mean, variance, n) = moments(&counts(&at, width));
            let decay = (r + s) * width;
            let theory = 1.0 + limit * (1.0 - (1.0 - libm::exp(-decay)) / decay);
            // Correlated windows: their effective number is that of the stays.
            let error = 5.0 * (2.0 / n.min(1e6 / rate / (stay_a + stay_b))).sqrt();
            assert!((variance / mean / theory - 1.0).abs() < error, "{width}: {} {theory}", variance / mean);
        }
    }

    #[test]
    fn a_varying_rate_is_followed_window_by_window() {
        let curve = Curve::Sinus { mean: 40.0, amplitude: 0.9, period: 1_000.0, peak: 300.0 };
        let gaps = Law::Exponential { mean: 1.0 };
        let at = instants(Process::Varying { curve: curve.clone(), gaps }, 400_000);
        assert!(at.is_sorted());
        // Poisson: each count has the variance of its mean, so their sum of squares over the mean is a χ².
        let seen = counts(&at, 10.0);
        let square: f64 = seen
            .iter()
            .enumerate()
            .map(|(window, count)| {
                let mean = curve.expected(10.0 * (window + 1) as f64) - curve.expected(10.0 * window as f64);
                (count - mean) * (count - mean) / mean
            })
            .sum();
        let n = seen.len() as f64;
        assert!((square / n - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{square} of {n}");
    }

    #[test]
    fn a_varying_rate_keeps_the_variation_of_its_gaps() {
        // At a constant rate the time change is a plain scaling: the gaps have the cv asked for.
        let curve = Curve::profile(&[5.0], 10.0, false);
        let at = instants(Process::Varying { curve, gaps: Law::Gamma { shape: 0.25, scale: 4.0 } }, 200_000);
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (mean, variance, _) = moments(&gaps);
        assert!((mean * 5.0 - 1.0).abs() < 5.0 * 2.0 / 200_000f64.sqrt(), "{mean}");
        assert!((variance.sqrt() / mean - 2.0).abs() < 0.05, "{}", variance.sqrt() / mean);
    }
}

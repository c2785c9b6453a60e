//! Arrival processes with lengths.

use scaletwin_core::random::{Component, Law, Seed};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

/// A renewal process: independent gaps between arrivals, and independent lengths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneratorSettings {
    /// The gaps between arrivals in seconds.
    pub gaps: Law,
    /// Tokens of a prompt.
    pub prompt_tokens: Law,
    /// Tokens of an answer.
    pub output_tokens: Law,
    /// The most tokens of a prompt and an answer.
    pub most_tokens: (u32, u32),
    /// How many requests; `None`: any number.
    pub requests: Option<u64>,
}

/// The luck of a generator and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorState {
    gaps: Component,
    prompt: Component,
    output: Component,
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
            next: None,
        };
        state.next = state.arrival(settings, 0, from);
        state
    }

    /// The request of this number, after one at `before`.
    fn arrival(&self, settings: &GeneratorSettings, number: u64, before: Time) -> Option<(u64, Time)> {
        if settings.requests.is_some_and(|most| number >= most) {
            return None;
        }
        let gap = Span::from_secs_f64(settings.gaps.draw(&mut self.gaps.entity(number))).ok()?;
        let at = before.saturating_add(gap);
        (at < Time::NEVER).then_some((number, at))
    }

    /// When the next request arrives.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.next.map(|(_, at)| at)
    }

    /// Takes the next request: number, instant, tokens of prompt and answer.
    pub fn take(&mut self, settings: &GeneratorSettings) -> Option<(u64, Time, u32, u32)> {
        let (number, at) = self.next?;
        self.next = self.arrival(settings, number + 1, at);
        let prompt = tokens(&settings.prompt_tokens, self.prompt, number, settings.most_tokens.0);
        let output = tokens(&settings.output_tokens, self.output, number, settings.most_tokens.1);
        Some((number, at, prompt, output))
    }
}

/// A whole number of tokens, at least 1 and at most `most`.
#[must_use]
pub fn tokens(law: &Law, luck: Component, number: u64, most: u32) -> u32 {
    let drawn = match law {
        Law::Constant { value } => *value,
        law => law.draw(&mut luck.entity(number)),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range of u32"
    )]
    let rounded = drawn.round().clamp(1.0, f64::from(most)) as u32;
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(requests: Option<u64>) -> GeneratorSettings {
        GeneratorSettings {
            gaps: Law::Exponential { mean: 0.1 },
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
}

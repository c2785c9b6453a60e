//! Clients: closed loops that wait for answers, time-outs, and retries with back-off and a budget.

use scaletwin_core::random::{Component, Law, Seed};
use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

/// A fixed number of clients, each of which sends its next request a think time after its last has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClosedLoopSettings {
    /// How many clients.
    pub clients: u32,
    /// From the end of a request to the next, in seconds; also before the first.
    pub think: Law,
    /// Tokens of a prompt.
    pub prompt_tokens: Law,
    /// Tokens of an answer.
    pub output_tokens: Law,
    /// The most tokens of a prompt and an answer.
    pub most_tokens: (u32, u32),
    /// How many requests in all; `None`: any number.
    pub requests: Option<u64>,
}

/// The luck of a closed loop and what it has sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedLoopState {
    think: Component,
    prompt: Component,
    output: Component,
    /// Requests sent, per client.
    sent: Vec<u32>,
    /// Requests sent or about to be.
    begun: u64,
}

/// The number of a request of a closed loop: of client `client` the request `turn`.
fn number(client: u32, turn: u32) -> u64 {
    u64::from(client) << 32 | u64::from(turn)
}

/// The client that a request of a closed loop belongs to.
#[must_use]
pub fn client_of(number: u64) -> u32 {
    u32::try_from(number >> 32).expect("the upper half of a u64")
}

impl ClosedLoopState {
    /// The start of the closed loop of stream `name`.
    #[must_use]
    pub fn new(settings: &ClosedLoopSettings, seed: Seed, name: &str) -> ClosedLoopState {
        let component = |what: &str| seed.component(&format!("{what}/{name}"));
        ClosedLoopState {
            think: component("think"),
            prompt: component("prompt-tokens"),
            output: component("output-tokens"),
            sent: vec![0; settings.clients as usize],
            begun: 0,
        }
    }

    /// When client `client`, free since `since`, sends its next request; `None` when there are no more to send.
    pub fn next(&mut self, settings: &ClosedLoopSettings, client: u32, since: Time) -> Option<Time> {
        if settings.requests.is_some_and(|most| self.begun >= most) {
            return None;
        }
        self.begun += 1;
        let turn = self.sent[client as usize];
        let think = settings.think.draw(&mut self.think.entity(number(client, turn)));
        Some(
            since.saturating_add(
                Span::from_secs_f64(think).map_or(Span::CENTURY, |span| span.min(Span::CENTURY)),
            ),
        )
    }

    /// The request that client `client` sends now: number, tokens of prompt and answer.
    pub fn send(&mut self, settings: &ClosedLoopSettings, client: u32) -> (u64, u32, u32) {
        let turn = &mut self.sent[client as usize];
        let number = number(client, *turn);
        *turn += 1;
        let prompt =
            super::arrivals::tokens(&settings.prompt_tokens, self.prompt, number, settings.most_tokens.0);
        let output =
            super::arrivals::tokens(&settings.output_tokens, self.output, number, settings.most_tokens.1);
        (number, prompt, output)
    }
}

/// What a client does when an answer does not come, or comes late.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ClientSettings {
    /// After this the client gives up: the request has timed out.
    pub timeout: Option<Law>,
    /// After this the client goes away: the request is aborted.
    pub patience: Option<Law>,
    /// From its arrival, the request has to be complete: else it is given up as timed out.
    pub deadline: Option<Span>,
    /// How it tries again.
    pub retries: Option<RetrySettings>,
}

/// How a client tries again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetrySettings {
    /// The most retries of one request.
    pub most: u16,
    /// The delay before the first retry.
    pub initial: Span,
    /// By what each further delay is longer.
    pub factor: f64,
    /// The longest delay.
    pub longest: Span,
    /// The share of the delay that is drawn at random, 0 to 1.
    pub jitter: f64,
    /// Retries earned by each first attempt; `None`: without a budget.
    pub budget: Option<f64>,
    /// The most retries that can be saved up, and the number at the start.
    pub burst: f64,
    /// After which outcomes.
    pub on: Vec<Outcome>,
}

/// The budget of retries of a stream, in millionths of a retry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryState {
    luck: Component,
    saved: u64,
}

/// Millionths.
const MILLION: f64 = 1e6;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares and bursts are checked")]
fn millionths(value: f64) -> u64 {
    (value * MILLION).round() as u64
}

impl RetryState {
    /// The start of stream `name`.
    #[must_use]
    pub fn new(settings: &RetrySettings, seed: Seed, name: &str) -> RetryState {
        RetryState { luck: seed.component(&format!("retry/{name}")), saved: millionths(settings.burst) }
    }

    /// Notes a first attempt, which earns a part of a retry.
    pub fn earn(&mut self, settings: &RetrySettings) {
        if let Some(budget) = settings.budget {
            self.saved = (self.saved + millionths(budget)).min(millionths(settings.burst));
        }
    }

    /// The delay after which attempt `attempt` of request `number`, which ended with `outcome`, is tried again; `None`
    /// when it is not.
    pub fn retry(
        &mut self,
        settings: &RetrySettings,
        number: u64,
        attempt: u16,
        outcome: Outcome,
    ) -> Option<Span> {
        if attempt >= settings.most || !settings.on.contains(&outcome) {
            return None;
        }
        if settings.budget.is_some() {
            self.saved = self.saved.checked_sub(millionths(1.0))?;
        }
        let mut draws = self.luck.entity(number);
        let mut delay = settings.initial.as_secs_f64();
        let mut share = draws.uniform();
        for _ in 0..attempt {
            delay *= settings.factor;
            share = draws.uniform();
        }
        let delay = delay.min(settings.longest.as_secs_f64()) * (1.0 - settings.jitter * share);
        Span::from_secs_f64(delay).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RetrySettings {
        RetrySettings {
            most: 3,
            initial: Span::from_secs(1),
            factor: 2.0,
            longest: Span::from_secs(3),
            jitter: 0.0,
            budget: None,
            burst: 2.0,
            on: vec![Outcome::TimedOut],
        }
    }

    #[test]
    fn delays_grow_to_the_longest_and_end() {
        let settings = settings();
        let mut state = RetryState::new(&settings, Seed(1), "s");
        let delays: Vec<_> =
            (0..4).map(|attempt| state.retry(&settings, 9, attempt, Outcome::TimedOut)).collect();
        assert_eq!(
            delays,
            [Some(Span::from_secs(1)), Some(Span::from_secs(2)), Some(Span::from_secs(3)), None]
        );
        assert_eq!(state.retry(&settings, 9, 0, Outcome::Rejected), None);
    }

    #[test]
    fn a_budget_ends_retries_until_it_is_earned_again() {
        let settings = RetrySettings { budget: Some(0.5), ..settings() };
        let mut state = RetryState::new(&settings, Seed(1), "s");
        let retry = |state: &mut RetryState| state.retry(&settings, 1, 0, Outcome::TimedOut).is_some();
        assert_eq!([retry(&mut state), retry(&mut state), retry(&mut state)], [true, true, false]);
        state.earn(&settings);
        state.earn(&settings);
        assert!(retry(&mut state));
    }

    #[test]
    fn a_closed_loop_sends_its_requests_and_no_more() {
        let settings = ClosedLoopSettings {
            clients: 2,
            think: Law::Constant { value: 1.0 },
            prompt_tokens: Law::Constant { value: 5.0 },
            output_tokens: Law::Constant { value: 5.0 },
            most_tokens: (9, 9),
            requests: Some(3),
        };
        let mut state = ClosedLoopState::new(&settings, Seed(1), "s");
        let at = |secs| Time::ZERO + Span::from_secs(secs);
        assert_eq!(state.next(&settings, 0, at(0)), Some(at(1)));
        assert_eq!(state.next(&settings, 1, at(0)), Some(at(1)));
        let (number, ..) = state.send(&settings, 1);
        assert_eq!(client_of(number), 1);
        assert_eq!(state.next(&settings, 1, at(5)), Some(at(6)));
        assert_eq!(state.next(&settings, 0, at(9)), None);
    }
}

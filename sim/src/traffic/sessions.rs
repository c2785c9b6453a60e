//! Sessions of several turns: a user reads the answer, thinks, and asks again, with all that was said before in the prompt.

use std::collections::BTreeMap;

use scaletwin_core::random::{Component, Law, Seed};
use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::arrivals::{GeneratorSettings, GeneratorState, tokens};
use crate::serving::continuous::content::Run;

/// Sessions that begin by an arrival process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionSettings {
    /// When sessions begin, how many, and the tokens of each message and each answer.
    pub starts: GeneratorSettings,
    /// How many turns a session has.
    pub turns: Law,
    /// From an answer to the next message, in seconds.
    pub think: Law,
    /// Tokens at the beginning of every prompt, the same for all sessions.
    pub system_tokens: u32,
    /// The most tokens of a prompt: a session ends before one that would be longer.
    pub longest_prompt: u32,
}

/// The luck of sessions, and those that go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    starts: GeneratorState,
    turns: Component,
    think: Component,
    message: Component,
    answer: Component,
    live: BTreeMap<u32, Session>,
}

/// A session under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Session {
    /// The turn that is under way, from 0, and how many there are.
    turn: u32,
    turns: u32,
    /// What has been said.
    said: Vec<Run>,
    /// Tokens of the answer under way.
    answer: u32,
}

/// A turn of a session, as a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Its number: the session in the upper half, the turn in the lower.
    pub number: u64,
    /// Tokens of the prompt: all that was said, and the new message.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// The whole prompt.
    pub prompt: Box<[Run]>,
    /// The group of the answer's tokens.
    pub answer: u64,
}

/// The group of the tokens that all sessions begin with.
const SYSTEM: u64 = u64::MAX;

/// The most turns of a session.
const MOST_TURNS: u32 = 100_000;

/// The groups of the message and the answer of a turn.
fn groups(session: u32, turn: u32) -> (u64, u64) {
    let message = u64::from(session) << 32 | u64::from(turn) << 1;
    (message, message | 1)
}

fn number(session: u32, turn: u32) -> u64 {
    u64::from(session) << 32 | u64::from(turn)
}

/// The session and the turn of a request.
fn of_number(number: u64) -> (u32, u32) {
    let half = |half: u64| u32::try_from(half).expect("half of a u64");
    (half(number >> 32), half(number & 0xffff_ffff))
}

impl SessionState {
    /// The start, at `from`, of the sessions of stream `name`.
    #[must_use]
    pub fn new(settings: &SessionSettings, seed: Seed, name: &str, from: Time) -> SessionState {
        let component = |what: &str| seed.component(&format!("{what}/{name}"));
        SessionState {
            starts: GeneratorState::new(&settings.starts, seed, name, from),
            turns: component("turns"),
            think: component("think"),
            message: component("message-tokens"),
            answer: component("answer-tokens"),
            live: BTreeMap::new(),
        }
    }

    /// When the next session begins.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.starts.next_at()
    }

    /// Begins the next session: when, and its first turn.
    pub fn begin(&mut self, settings: &SessionSettings) -> Option<(Time, Turn)> {
        let (begun, at, message, answer) = self.starts.take(&settings.starts)?;
        let session = u32::try_from(begun & 0xffff_ffff).expect("the lower half of a u64");
        let turns = tokens(&settings.turns, self.turns, begun, MOST_TURNS);
        let said = match settings.system_tokens {
            0 => Vec::new(),
            length => vec![Run { group: SYSTEM, offset: 0, length }],
        };
        self.live.insert(session, Session { turn: 0, turns, said, answer });
        let turn = self.turn(session, message, answer);
        Some((at, turn))
    }

    /// The present turn of a session, with a message of so many tokens.
    fn turn(&mut self, session: u32, message: u32, answer: u32) -> Turn {
        let live = self.live.get_mut(&session).expect("a session that sends is under way");
        let (group, answers) = groups(session, live.turn);
        live.said.push(Run { group, offset: 0, length: message });
        live.answer = answer;
        Turn {
            number: number(session, live.turn),
            prompt_tokens: live.said.iter().map(|run| run.length).sum(),
            output_tokens: answer,
            prompt: live.said.clone().into(),
            answer: answers,
        }
    }

    /// What follows from the end of a turn: when the session asks again. A turn without an answer ends its session.
    pub fn on_outcome(
        &mut self,
        settings: &SessionSettings,
        ended: u64,
        outcome: Outcome,
        now: Time,
    ) -> Option<(Time, u32)> {
        let (session, turn) = of_number(ended);
        let live = self.live.get_mut(&session)?;
        if outcome != Outcome::Completed || turn + 1 >= live.turns {
            self.live.remove(&session);
            return None;
        }
        live.said.push(Run { group: groups(session, turn).1, offset: 0, length: live.answer });
        live.turn += 1;
        let think = settings.think.draw(&mut self.think.entity(ended));
        let think = Span::from_secs_f64(think).map_or(Span::CENTURY, |span| span.min(Span::CENTURY));
        Some((now.saturating_add(think), session))
    }

    /// The next turn of a session; `None` if its prompt would be too long, which ends it.
    pub fn send(&mut self, settings: &SessionSettings, session: u32) -> Option<Turn> {
        let live = self.live.get(&session)?;
        let number = number(session, live.turn);
        let before: u64 = live.said.iter().map(|run| u64::from(run.length)).sum();
        let most = settings.starts.most_tokens;
        let message = tokens(&settings.starts.prompt_tokens, self.message, number, most.0);
        if before + u64::from(message) > u64::from(settings.longest_prompt) {
            self.live.remove(&session);
            return None;
        }
        let answer = tokens(&settings.starts.output_tokens, self.answer, number, most.1);
        Some(self.turn(session, message, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::Process;
    use super::*;

    fn settings() -> SessionSettings {
        SessionSettings {
            starts: GeneratorSettings {
                process: Process::Renewal { gaps: Law::Constant { value: 1.0 } },
                prompt_tokens: Law::Constant { value: 10.0 },
                output_tokens: Law::Constant { value: 20.0 },
                most_tokens: (1_000, 1_000),
                requests: Some(2),
            },
            turns: Law::Constant { value: 3.0 },
            think: Law::Constant { value: 5.0 },
            system_tokens: 100,
            longest_prompt: 1_000,
        }
    }

    #[test]
    fn a_prompt_has_all_that_was_said_before() {
        let settings = settings();
        let mut state = SessionState::new(&settings, Seed(1), "s", Time::ZERO);
        let (at, first) = state.begin(&settings).unwrap();
        assert_eq!((at.as_secs_f64(), first.prompt_tokens), (1.0, 110));
        let ended = Time::ZERO + Span::from_secs(7);
        let next = state.on_outcome(&settings, first.number, Outcome::Completed, ended);
        assert_eq!(next, Some((Time::ZERO + Span::from_secs(12), 0)));
        let second = state.send(&settings, 0).unwrap();
        assert_eq!((second.prompt_tokens, second.number), (140, 1));
        let answer = Run { group: first.answer, offset: 0, length: 20 };
        assert_eq!(second.prompt[..3], [&first.prompt[..], &[answer]].concat()[..]);
        state.on_outcome(&settings, 1, Outcome::Completed, ended);
        let third = state.send(&settings, 0).unwrap();
        assert_eq!(third.prompt_tokens, 170);
        assert_eq!(state.on_outcome(&settings, third.number, Outcome::Completed, ended), None);
        assert!(state.live.is_empty());
    }

    #[test]
    fn a_session_without_an_answer_ends() {
        let settings = settings();
        let mut state = SessionState::new(&settings, Seed(1), "s", Time::ZERO);
        let (_, first) = state.begin(&settings).unwrap();
        assert_eq!(state.on_outcome(&settings, first.number, Outcome::TimedOut, Time::ZERO), None);
        assert!(state.live.is_empty() && state.send(&settings, 0).is_none());
    }

    #[test]
    fn a_session_ends_before_its_prompt_is_too_long() {
        let settings = SessionSettings { longest_prompt: 139, ..settings() };
        let mut state = SessionState::new(&settings, Seed(1), "s", Time::ZERO);
        let (_, first) = state.begin(&settings).unwrap();
        assert!(state.on_outcome(&settings, first.number, Outcome::Completed, Time::ZERO).is_some());
        assert!(state.send(&settings, 0).is_none() && state.live.is_empty());
    }

    #[test]
    fn the_turns_of_sessions_have_their_mean() {
        // Of exponential turns, rounded and at least 1, P(n >= k) = exp(-(k - 1/2)/4) from 2 on.
        let turns = Law::Exponential { mean: 4.0 };
        let starts = GeneratorSettings { requests: Some(20_000), ..settings().starts };
        let settings = SessionSettings { turns, starts, longest_prompt: u32::MAX, ..settings() };
        let mut state = SessionState::new(&settings, Seed(1), "s", Time::ZERO);
        let mut requests = 0.0;
        while let Some((_, mut turn)) = state.begin(&settings) {
            requests += 1.0;
            while state.on_outcome(&settings, turn.number, Outcome::Completed, Time::ZERO).is_some() {
                turn = state.send(&settings, of_number(turn.number).0).unwrap();
                requests += 1.0;
            }
        }
        let theory: f64 = 1.0 + (2..400).map(|k| libm::exp(-(f64::from(k) - 0.5) / 4.0)).sum::<f64>();
        assert!((requests / 20_000.0 / theory - 1.0).abs() < 5.0 / 20_000f64.sqrt(), "{requests} {theory}");
    }
}

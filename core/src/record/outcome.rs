//! How a request ended.

use serde::{Deserialize, Serialize};

use crate::units::{Span, Time};

/// How a request ended: exactly one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its answer was complete.
    Completed,
    /// It was refused: a queue was full, or admission was closed.
    Rejected,
    /// Its time was over: the client's, its place's in a queue, or its deadline.
    TimedOut,
    /// The client went away.
    Aborted,
    /// The replica that served it went away.
    Failed,
    /// The run ended first.
    Unfinished,
}

impl Outcome {
    /// All outcomes, in the order of the record.
    pub const ALL: [Outcome; 6] = [
        Outcome::Completed,
        Outcome::Rejected,
        Outcome::TimedOut,
        Outcome::Aborted,
        Outcome::Failed,
        Outcome::Unfinished,
    ];

    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Rejected => "rejected",
            Outcome::TimedOut => "timed_out",
            Outcome::Aborted => "aborted",
            Outcome::Failed => "failed",
            Outcome::Unfinished => "unfinished",
        }
    }
}

/// How many requests arrived and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCounts {
    /// Requests that arrived, retries included.
    pub arrived: u64,
    /// Of these, retries.
    pub retries: u64,
    /// Ended so.
    pub completed: u64,
    /// Ended so.
    pub rejected: u64,
    /// Ended so.
    pub timed_out: u64,
    /// Ended so.
    pub aborted: u64,
    /// Ended so.
    pub failed: u64,
    /// Ended so.
    pub unfinished: u64,
}

impl OutcomeCounts {
    /// Counts an outcome.
    pub fn count(&mut self, outcome: Outcome) {
        *self.of_mut(outcome) += 1;
    }

    /// How many ended so.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        let mut copy = *self;
        *copy.of_mut(outcome)
    }

    fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Rejected => &mut self.rejected,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Aborted => &mut self.aborted,
            Outcome::Failed => &mut self.failed,
            Outcome::Unfinished => &mut self.unfinished,
        }
    }

    /// Requests that have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.of(*outcome)).sum()
    }
}

/// The life of a request that has ended, with its instants in causal order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Its number in its service, from 0.
    pub number: u64,
    /// When it arrived at the gateway.
    pub arrived: Time,
    /// When a replica began with it.
    pub started: Option<Time>,
    /// When its first token came, of an engine that has tokens.
    pub first_token: Option<Time>,
    /// When it ended.
    pub ended: Time,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Tokens of its answer that came.
    pub output_tokens: u32,
    /// Its priority; lower is more urgent.
    pub priority: i32,
    /// How it ended.
    pub outcome: Outcome,
}

impl Finished {
    /// From arrival to end.
    #[must_use]
    pub fn e2e(&self) -> Span {
        self.ended.since(self.arrived)
    }

    /// From arrival to the beginning of service.
    #[must_use]
    pub fn wait(&self) -> Option<Span> {
        self.started.map(|started| started.since(self.arrived))
    }

    /// From arrival to the first token.
    #[must_use]
    pub fn ttft(&self) -> Option<Span> {
        self.first_token.map(|first| first.since(self.arrived))
    }

    /// (E2E − TTFT) / (output tokens − 1), rounded down; absent for one token.
    #[must_use]
    pub fn tpot(&self) -> Option<Span> {
        let first = self.first_token?;
        (self.output_tokens > 1).then(|| self.ended.since(first) / u64::from(self.output_tokens - 1))
    }
}

//! What comes back of a step: tokens, first ones and last ones.

use super::super::sequence::{Finish, Key, Sequence, Status};
use super::{Batch, Blocked, Scheduler};

/// What an update brings back for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Output {
    /// Its first token.
    FirstToken {
        /// The caller's number.
        request: u32,
    },
    /// A further token, of a request that did not decode steadily.
    Token {
        /// The caller's number.
        request: u32,
        /// When its token before came back.
        last: u128,
    },
    /// Its end, after its last token.
    Finished {
        /// The caller's number.
        request: u32,
        /// The sequence, which is gone.
        key: Key,
        /// How it ended.
        finish: Finish,
        /// The tokens of its answer.
        outputs: u32,
    },
}

impl Scheduler {
    /// Brings back the tokens of the oldest step in flight at `now` (in the caller's unit). Gives how many steady
    /// sequences got one; what concerns single requests goes to `outputs`.
    pub fn update(&mut self, now: u128, outputs: &mut Vec<Output>) -> u32 {
        let Some(mut batch) = self.in_flight.pop_front() else { return 0 };
        let steady = self.bring_back_batch(&mut batch, now, outputs);
        self.spare = Some(batch);
        steady
    }

    /// The tokens of a step, which is empty then. Gives how many steady sequences got one.
    #[inline]
    pub(super) fn bring_back_batch(
        &mut self,
        batch: &mut Batch,
        now: u128,
        outputs: &mut Vec<Output>,
    ) -> u32 {
        self.last_update = now;
        let steady = batch.steady;
        if !batch.entries.is_empty() || self.group.may_end_by(batch.clock) {
            self.bring_back_all(batch, now, outputs);
        }
        batch.clear();
        steady
    }

    /// The tokens of a step that was not one of steady decodes alone, or after which some of these may end.
    #[inline(never)]
    fn bring_back_all(&mut self, batch: &Batch, now: u128, outputs: &mut Vec<Output>) {
        while let Some(key) = self.group.take_ending(batch.clock, &self.sequences) {
            self.finished.push((self.sequences[key].ticket, key));
        }
        for entry in batch.entries.iter().filter(|entry| entry.samples) {
            if self.bring_back(entry.key, now, outputs) {
                self.finished.push((self.sequences[entry.key].ticket, entry.key));
            }
        }
        self.finished.sort_unstable();
        for place in 0..self.finished.len() {
            self.finish(self.finished[place].1, outputs);
        }
        self.finished.clear();
    }

    /// One sampled token of a sequence that was looked at individually. Whether it was its last.
    fn bring_back(&mut self, key: Key, now: u128, outputs: &mut Vec<Output>) -> bool {
        let Some(sequence) = self.sequences.get_mut(key) else { return false };
        if sequence.steady {
            // It was sampled individually and joined the group since: its length follows from the clock.
            outputs.push(first_or_next(sequence, now));
            return false;
        }
        sequence.length += 1;
        if sequence.stale > 0 {
            sequence.stale -= 1;
        } else if self.config.async_scheduling {
            sequence.placeholders -= 1;
        }
        outputs.push(first_or_next(sequence, now));
        let done = sequence.length - sequence.prompt >= sequence.last_output;
        if self.config.async_scheduling && sequence.status == Status::Running {
            let known = sequence.computed - sequence.placeholders;
            self.register(key, known);
        }
        done
    }

    /// Lets a request go whose answer is complete.
    fn finish(&mut self, key: Key, outputs: &mut Vec<Output>) {
        let Sequence { status, request, finish, last_output, .. } = self.sequences[key];
        if status == Status::Running {
            self.drop_from_flight(key);
            self.leave_running(key);
            self.release(key);
            self.sequences.free(key);
        } else if let Some(sequence) = self.sequences.remove(key) {
            self.waiting.remove(&sequence, &self.sequences);
        }
        self.blocked = Blocked::Unknown;
        outputs.push(Output::Finished { request, key, finish, outputs: last_output });
    }
}

/// Notes that a token came back, and gives its output.
fn first_or_next(sequence: &mut Sequence, now: u128) -> Output {
    let request = sequence.request;
    match sequence.last_token.replace(now) {
        None => Output::FirstToken { request },
        Some(last) => Output::Token { request, last },
    }
}

//! Many steps at once, and steps whose end nobody sees.

use scaletwin_core::model::StepShape;

use super::batch::{Batch, Entry};
use super::{Blocked, Output, Scheduler};

/// What the coming pairs of (update of the oldest step in flight, schedule of one more) bring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quiet {
    /// How many bring nothing but one token to each steady decode: no first token, no end, no admission, no preemption.
    pub steps: u64,
    /// Whether the update after these brings no end either.
    pub then_no_end: bool,
}

/// What comes when all that run decode steadily from the next schedule on, and nothing but that happens in it and in the
/// one after.
#[derive(Debug, Clone, Copy)]
pub struct Settling {
    /// The shape of the step that is scheduled next.
    pub shape: StepShape,
    /// What follows the two.
    pub then: Quiet,
    /// Whether the two are [turns](Scheduler::turn), unless somebody arrives or leaves.
    pub by_turns: bool,
}

impl Scheduler {
    /// What the coming pairs of (update of the oldest step in flight, schedule of one more) bring.
    pub fn quiet_steps(&mut self) -> Quiet {
        if self.walk_always {
            return Quiet::default();
        }
        self.forget_gone();
        let steady = |batch: &Batch| batch.entries.is_empty() && batch.steady == self.group.len();
        // A step from which a request was withdrawn still computes its token; those after the oldest are alike.
        let pure = |batch: &Batch| steady(batch) && batch.shape.decode_sequences == self.group.len();
        let waits = match self.blocked {
            Blocked::Unknown => self.waiting.is_empty(),
            Blocked::Slots => true,
            Blocked::Blocks => !self.config.enable_prefix_caching,
        };
        let idle = self.in_flight.is_empty() || self.group.is_empty();
        if idle || !waits || !self.irregular.is_empty() || !self.joining.is_empty() {
            return Quiet::default();
        }
        let alone = self.config.prefill_schedule_interval == 1
            && self.group.len() <= self.config.max_num_batched_tokens
            && self.in_flight().next().is_some_and(steady)
            && self.in_flight().next_back().is_some_and(pure);
        if alone { self.quiet_steps_after(0).unwrap_or_default() } else { Quiet::default() }
    }

    /// What the pairs bring that follow on `taken` pairs, as far as steady decodes and blocks decide; `None` if it is
    /// those already that bring more than tokens.
    fn quiet_steps_after(&mut self, taken: u64) -> Option<Quiet> {
        let oldest = self.in_flight.front()?.clock;
        let end = self.group.next_end(&self.sequences).map(|at| at - oldest);
        let leave = self.group.next_leave(&self.sequences).map(|at| at + 1 - self.group.clock());
        let until = end.into_iter().chain(leave).min()?;
        let steps = self.group.steps_within(self.blocks.free(), until);
        Some(Quiet { steps: steps.checked_sub(taken)?, then_no_end: end.is_none_or(|end| steps < end) })
    }

    /// Whether the end of the oldest step in flight and the schedule after it bring nothing that has to be looked at: no
    /// end, no admission. The step after it is then in flight already.
    #[must_use]
    pub fn ends_silently(&self) -> bool {
        let silent = |entry: &Entry| match self.sequences.get(entry.key) {
            Some(sequence) if entry.samples => {
                sequence.steady || sequence.length + 1 - sequence.prompt < sequence.last_output
            }
            _ => true,
        };
        !self.walk_always
            && self.in_flight.len() > 1
            && self.in_flight.iter().all(|batch| !batch.is_empty())
            && self.admits_nobody()
            && !self.group.may_end_by(self.in_flight[0].clock)
            && self.in_flight[0].entries.iter().all(silent)
    }

    /// Whether all that run decode steadily from the next schedule on, and nothing but that happens in it and in the one
    /// after: then what comes. To be asked when the oldest of two steps in flight
    /// [ends silently](Scheduler::ends_silently).
    pub fn settling(&mut self) -> Option<Settling> {
        if !self.config.async_scheduling || self.config.prefill_schedule_interval > 1 {
            return None;
        }
        // What the next schedule would do first.
        self.join_group();
        let steady = |entry: &Entry| self.sequences.get(entry.key).is_none_or(|sequence| sequence.steady);
        let all_steady = self.irregular.is_empty() && self.in_flight.back()?.entries.iter().all(steady);
        if !all_steady || self.group.len() > self.config.max_num_batched_tokens {
            return None;
        }
        let then = self.quiet_steps_after(2)?;
        let (decode_sequences, decode_context) = (self.group.len(), self.group.context());
        let shape = StepShape { decode_sequences, decode_context, ..StepShape::default() };
        let by_turns = self.has_only_group() && self.blocked == Blocked::Unknown;
        Some(Settling { shape, then, by_turns })
    }

    /// An [update](Scheduler::update) and a [schedule](Scheduler::schedule) that is known to be one of steady decodes alone.
    pub fn turn(&mut self, now: u128, outputs: &mut Vec<Output>) -> u32 {
        debug_assert!(self.has_only_group() && self.joining.is_empty(), "it was known");
        let Some(mut batch) = self.in_flight.pop_front() else { return 0 };
        let steady = self.bring_back_batch(&mut batch, now, outputs);
        batch.clock = self.group.clock();
        self.schedule_group(&mut batch);
        self.in_flight.push_back(batch);
        steady
    }

    /// Whether the waiting pass of the next schedule is known to admit nobody, unless somebody ends before.
    #[must_use]
    pub fn admits_nobody(&self) -> bool {
        self.waiting.is_empty() || self.blocked == Blocked::Slots
    }

    /// Passes over those that are gone since the oldest step in flight was scheduled; it still computes their tokens.
    fn forget_gone(&mut self) {
        if let Some(batch) = self.in_flight.front_mut() {
            batch.entries.retain(|entry| self.sequences.get(entry.key).is_some());
        }
    }

    /// The shapes of the next two steps that end. The second one is that of the first with one token more, if it is not
    /// scheduled yet.
    #[must_use]
    pub fn coming(&self) -> [StepShape; 2] {
        match (self.in_flight.front(), self.in_flight.get(1)) {
            (Some(first), Some(next)) => [first.shape, next.shape],
            (Some(first), None) => [first.shape, first.shape.after(1)],
            (None, _) => [StepShape::default(); 2],
        }
    }

    /// Takes `steps` of the [quiet steps](Scheduler::quiet_steps) at once, at least one; the last of their updates was at
    /// `now`. Gives the shapes of the first two of them.
    pub fn take_quiet_steps(&mut self, steps: u64, now: u128) -> [StepShape; 2] {
        if self.group.watched() == 0 {
            let needed = self.group.blocks_for(steps);
            self.take_for_group(u32::try_from(needed).expect("quiet steps fit into the free blocks"));
            self.group.advance(steps);
        } else {
            for _ in 0..steps {
                self.take_for_group(self.group.due(0));
                let turns = self.group_turns();
                for (_, key, _) in &turns {
                    self.take_turn(*key);
                }
                self.turns = turns;
                self.group.advance(1);
            }
        }
        let [first, next] = self.coming();
        for (batch, shape) in self.in_flight.iter_mut().zip([next.after(steps - 1), next.after(steps)]) {
            batch.clock += steps;
            batch.shape = shape;
        }
        self.hold.executed += i64::try_from(steps).expect("fewer than 2^63 steps");
        self.last_update = now;
        [first, next]
    }
}

//! Many steps at once.

use super::batch::Batch;
use super::{Blocked, Scheduler};

impl Scheduler {
    /// How many pairs of (update of the oldest step in flight, schedule of one more) would bring nothing but one token
    /// to each steady decode: no first token, no end, no admission, no preemption.
    pub fn quiet_steps(&mut self) -> u64 {
        // A step from which a request was withdrawn still computes its token.
        let pure = |batch: &Batch| {
            batch.entries.is_empty()
                && batch.steady == self.group.len()
                && batch.shape.decode_sequences == self.group.len()
        };
        let waits = match self.blocked {
            Blocked::Unknown => self.waiting.is_empty(),
            Blocked::Slots => true,
            Blocked::Blocks => !self.config.enable_prefix_caching,
        };
        let idle = self.in_flight.is_empty() || self.group.is_empty();
        if self.walk_always || idle || !waits || !self.irregular.is_empty() || !self.joining.is_empty() {
            return 0;
        }
        let alone = self.config.prefill_schedule_interval == 1
            && self.group.len() <= self.config.max_num_batched_tokens
            && self.in_flight.iter().all(pure);
        let Some(last) = self.group.next_finish(&self.sequences).filter(|_| alone) else { return 0 };
        let until_finish = last + 1 - self.group.clock();
        self.group.steps_within(self.blocks.free(), until_finish)
    }

    /// Takes `steps` of the [quiet steps](Scheduler::quiet_steps) at once; the last of their updates was at `now`.
    pub fn take_quiet_steps(&mut self, steps: u64, now: u128) {
        if steps == 0 {
            return;
        }
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
        for batch in &mut self.in_flight {
            batch.clock += steps;
            batch.shape = batch.shape.after(steps);
        }
        self.hold.executed += i64::try_from(steps).expect("fewer than 2^63 steps");
        self.last_update = now;
    }
}

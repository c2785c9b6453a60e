//! The running pass: who of those that run computes how much, and who is preempted for it.

use super::super::config::QueuePolicy;
use super::super::sequence::{Key, Sequence, Status};
use super::batch::{Batch, add_to_shape};
use super::{Pass, Scheduler};

impl Scheduler {
    /// How many tokens a running sequence gets of `budget`; 0: it is passed over.
    pub(super) fn wanted(&self, sequence: &Sequence, pass: Pass, budget: u32) -> u32 {
        let computed = self.computed(sequence);
        if sequence.steady {
            return budget.min(1);
        }
        let placeholders = sequence.placeholders;
        let last_in_flight = placeholders > 0 && computed + 2 - placeholders >= sequence.horizon;
        if (pass.held && sequence.is_prefill_chunk) || (self.config.async_scheduling && last_in_flight) {
            return 0;
        }
        let mut tokens = sequence.length + placeholders - computed;
        if 0 < pass.threshold && pass.threshold < tokens {
            tokens = pass.threshold;
        }
        tokens.min(budget).min((self.config.max_model_len - 1).saturating_sub(computed))
    }

    /// Whether tokens and blocks suffice for all that run, so that the order of the list does not matter.
    pub(super) fn group_fits(&self, pass: Pass, budget: u32) -> bool {
        if self.walk_always || self.config.prefill_schedule_interval > 1 {
            return false;
        }
        let Some(mut left) = budget.checked_sub(self.group.len()) else { return false };
        let steady_first = self.running.len() >= self.irregular.len()
            && self.running[self.running.len() - self.irregular.len()..] == self.irregular[..];
        let mut needed = self.group.due(0);
        for key in &self.irregular {
            let sequence = &self.sequences[*key];
            let tokens = self.wanted(sequence, pass, left);
            if !steady_first && tokens < self.wanted(sequence, pass, u32::MAX) {
                return false;
            }
            needed += self.blocks_needed(sequence, tokens);
            left -= tokens;
        }
        needed <= self.blocks.free()
    }

    /// The running pass when everybody gets what it wants. Gives the tokens left.
    pub(super) fn pass_by_group(&mut self, pass: Pass, budget: u32, batch: &mut Batch) -> u32 {
        let mut left = budget - self.group.len();
        batch.steady = self.group.len();
        batch.shape.decode_sequences = self.group.len();
        batch.shape.decode_context = self.group.context();
        self.take_for_group(self.group.due(0));
        if self.group.watched() == 0 {
            for place in 0..self.irregular.len() {
                left -= self.schedule_running(self.irregular[place], pass, left, batch);
            }
        } else {
            let mut turns = self.group_turns();
            let individual = |key: &Key| (self.sequences[*key].ticket, *key, Turn::Individual);
            turns.extend(self.irregular.iter().map(individual));
            if !self.irregular.is_empty() {
                turns.sort_unstable_by_key(|(ticket, ..)| *ticket);
            }
            for (_, key, turn) in &turns {
                match turn {
                    Turn::Individual => left -= self.schedule_running(*key, pass, left, batch),
                    Turn::Steady => self.take_turn(*key),
                }
            }
            self.turns = turns;
        }
        left
    }

    /// The steady ones whose blocks change in the next step, by ticket.
    pub(super) fn group_turns(&mut self) -> Vec<TurnOf> {
        let mut turns = std::mem::take(&mut self.turns);
        turns.clear();
        let steady = |(ticket, key): &(u64, Key)| (*ticket, *key, Turn::Steady);
        turns.extend(self.group.members_due().iter().map(steady));
        // With async scheduling a block is known to be full one step later, when the next one is needed.
        if !self.config.async_scheduling && self.config.block_size > 1 {
            turns.extend(self.group.members_filling().iter().map(steady));
            turns.sort_unstable_by_key(|(ticket, ..)| *ticket);
        }
        turns
    }

    /// Schedules one that is not steady, its blocks being there. Gives its tokens.
    fn schedule_running(&mut self, key: Key, pass: Pass, left: u32, batch: &mut Batch) -> u32 {
        let tokens = self.wanted(&self.sequences[key], pass, left);
        if tokens > 0 {
            let allocated = self.allocate(key, tokens);
            debug_assert!(allocated, "blocks were counted before");
            self.enter(key, tokens, batch);
        }
        tokens
    }

    /// The running pass in the order of the list, with preemption. Gives the tokens left.
    pub(super) fn pass_one_by_one(&mut self, pass: Pass, budget: u32, batch: &mut Batch) -> u32 {
        let mut left = budget;
        let mut at = 0;
        while at < self.running.len() && left > 0 {
            let key = self.running[at];
            let tokens = self.wanted(&self.sequences[key], pass, left);
            if tokens == 0 {
                at += 1;
                continue;
            }
            let mut itself = false;
            while !self.allocate(key, tokens) {
                let victim = self.victim();
                let place = self.running.iter().position(|other| *other == victim).expect("a victim runs");
                let scheduled = place < at;
                if scheduled {
                    at -= 1;
                    left += self.unschedule(victim, batch);
                }
                itself = victim == key;
                self.preempt(victim, scheduled, batch);
                if itself {
                    break;
                }
            }
            if itself {
                match self.config.policy {
                    QueuePolicy::Fcfs => break,
                    QueuePolicy::Priority => continue,
                }
            }
            if self.sequences[key].steady {
                batch.steady += 1;
                batch.shape.decode_sequences += 1;
                batch.shape.decode_context += u64::from(self.group.computed(&self.sequences[key])) + 1;
            } else {
                self.enter(key, tokens, batch);
            }
            left -= tokens;
            at += 1;
        }
        let passed_over: Vec<_> =
            self.running[at..].iter().copied().filter(|key| self.sequences[*key].steady).collect();
        for key in passed_over {
            self.leave_group(key);
        }
        left
    }

    /// Who is preempted next.
    fn victim(&self) -> Key {
        let youngest = *self.running.last().expect("somebody runs");
        match self.config.policy {
            QueuePolicy::Fcfs => youngest,
            QueuePolicy::Priority => {
                let urgency = |key: &Key| (self.sequences[*key].priority, self.sequences[*key].arrived);
                let mut worst = self.running[0];
                for key in &self.running[1..] {
                    if urgency(key) > urgency(&worst) {
                        worst = *key;
                    }
                }
                worst
            }
        }
    }

    /// Takes a victim's tokens out of the step being scheduled. Gives them back.
    fn unschedule(&mut self, victim: Key, batch: &mut Batch) -> u32 {
        let sequence = &self.sequences[victim];
        if sequence.steady {
            batch.steady -= 1;
            batch.shape.decode_sequences -= 1;
            batch.shape.decode_context -= u64::from(self.group.computed(sequence)) + 1;
            return 1;
        }
        let Some(place) = batch.entries.iter().position(|entry| entry.key == victim) else { return 0 };
        let entry = batch.entries.remove(place);
        add_to_shape(&mut batch.shape, sequence, entry.tokens, false);
        entry.tokens
    }

    /// Frees a victim's blocks and puts it back into the waiting queue.
    fn preempt(&mut self, victim: Key, scheduled: bool, batch: &mut Batch) {
        if self.sequences[victim].steady {
            let scheduled = u32::from(scheduled);
            let grown = self.blocks_of(self.group.computed(&self.sequences[victim]) + scheduled);
            let full = self.full(&self.sequences[victim], scheduled);
            self.leave_group(victim);
            (self.sequences[victim].held, self.sequences[victim].registered) = (grown, full);
        }
        self.leave_running(victim);
        self.register_private(victim);
        self.release(victim);
        let sequence = &mut self.sequences[victim];
        sequence.status = Status::Preempted;
        sequence.computed = 0;
        sequence.stale += sequence.placeholders;
        sequence.placeholders = 0;
        sequence.is_prefill_chunk = false;
        self.waiting.push_front(victim, &self.sequences[victim]);
        self.counters.preemptions += 1;
        batch.preempted.push(victim);
    }
}

/// Whose turn it is in a running pass, by ticket.
pub(super) type TurnOf = (u64, Key, Turn);

/// Whether a turn of the running pass is that of a steady sequence.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Steady,
    Individual,
}

//! In and out of the running list and the group of steady decodes.

use super::super::blocks::Blocks;
use super::super::config::SchedulerConfig;
use super::super::sequence::{Key, Status};
use super::Scheduler;
use super::batch::Entry;

impl Scheduler {
    /// Those sampled individually in the step before are steady from now on, if they still want one token a step.
    pub(super) fn join_group(&mut self) {
        let SchedulerConfig { async_scheduling, max_model_len, .. } = self.config;
        for key in self.joining.drain(..) {
            let Some(sequence) = self.sequences.get_mut(key) else { continue };
            let wants_one = sequence.length + sequence.placeholders == sequence.computed + 1;
            if sequence.status == Status::Running
                && !sequence.steady
                && wants_one
                && sequence.computed <= sequence.last_useful()
            {
                let watch = match &self.blocks {
                    Blocks::Counted { .. } => false,
                    Blocks::Cached(_) => sequence.registered < sequence.shared,
                    Blocks::Identified(_) => true,
                };
                let leaves = async_scheduling && !sequence.overruns(max_model_len);
                self.group.join(key, sequence, watch, leaves);
                self.irregular.retain(|other| *other != key);
            }
        }
    }

    /// Those that get no token after the one in flight are looked at one by one.
    #[inline]
    pub(super) fn leave_ending(&mut self) {
        let Some(before) = self.group.clock().checked_sub(1) else { return };
        while let Some(key) = self.group.take_leaving(before, &self.sequences) {
            self.leave_group(key);
        }
    }

    /// Writes down what a steady sequence knows through the group, between an update and the next schedule.
    pub(super) fn leave_group(&mut self, key: Key) {
        let sequence = &self.sequences[key];
        let computed = self.group.computed(sequence);
        let length = self.known_length(sequence);
        let (held, full) = (self.blocks_of(computed), self.full(sequence, 0));
        let since = sequence.steady_since;
        // A token that was sampled before it was steady comes back by itself, and may be its first.
        let came_back = self.in_flight().all(|batch| since <= batch.clock);
        for batch in self.in_flight.iter_mut().filter(|batch| since <= batch.clock) {
            batch.steady -= 1;
            batch.entries.push(Entry { key, tokens: 1, samples: true });
        }
        let sequence = &mut self.sequences[key];
        sequence.computed = computed;
        sequence.length = length;
        sequence.placeholders = u32::from(self.config.async_scheduling);
        (sequence.held, sequence.registered) = (held, full);
        sequence.is_prefill_chunk = false;
        if came_back {
            sequence.last_token = Some(self.last_update);
        }
        self.group.leave(key, sequence);
        let ticket = sequence.ticket;
        let place = self.irregular.partition_point(|other| self.sequences[*other].ticket < ticket);
        self.irregular.insert(place, key);
    }

    /// Takes a sequence out of the running list, steady or not, its blocks still held.
    pub(super) fn leave_running(&mut self, key: Key) {
        let sequence = &self.sequences[key];
        if sequence.steady {
            let known = (self.held(sequence), self.full(sequence, 0));
            let sequence = &mut self.sequences[key];
            (sequence.held, sequence.registered) = known;
            self.group.leave(key, sequence);
        } else if let Some(place) = self.irregular.iter().position(|other| *other == key) {
            self.irregular.remove(place);
        }
        let ticket = self.sequences[key].ticket;
        let place = self.running.binary_search_by_key(&ticket, |other| self.sequences[*other].ticket);
        self.running.remove(place.expect("it runs"));
    }

    /// Drops the tokens that steps in flight sample for a sequence. Individual entries are dropped by their key.
    pub(super) fn drop_from_flight(&mut self, key: Key) {
        let sequence = &self.sequences[key];
        if sequence.steady {
            let since = sequence.steady_since;
            for batch in self.in_flight.iter_mut().filter(|batch| since <= batch.clock) {
                batch.steady -= 1;
            }
        }
    }
}

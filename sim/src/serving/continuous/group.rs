//! The steady decodes.
//!
//! A sequence that computes exactly one token in every step needs no work of its own: its progress is the group's
//! clock, its next block comes due when the clock plus its offset is a multiple of the block size, and its last step
//! is known in advance. So a step costs nothing per steady decode, and many steps in a row are one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::sequence::{Key, Sequence, Sequences};

/// The steady decodes of a scheduler.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Steps scheduled so far.
    clock: u64,
    /// The remainder of offsets whose block comes due in the next step: minus the clock, modulo the block size.
    due_next: usize,
    count: u32,
    /// The sum of the members' offsets.
    offsets: i64,
    /// How many members have each remainder of their offset by the block size.
    remainders: Vec<u32>,
    /// The watched members of each remainder by ticket: those whose blocks have to be looked at one by one.
    members: Vec<Vec<(u64, Key)>>,
    /// How many are watched.
    watched: u32,
    /// Members whose answers end when the token of their last step comes back.
    ending: Ends,
    /// Members that get no token more than they need: they leave once their last step is scheduled.
    leaving: Ends,
}

/// (clock of the last step that the answer needs, ticket, member); those that left the group are passed over.
type Ends = BinaryHeap<Reverse<(u64, u64, Key)>>;

impl Group {
    /// An empty group, of which members can be watched or not.
    #[must_use]
    pub fn new(block_size: u32, may_watch: bool) -> Group {
        Group {
            clock: 0,
            due_next: 0,
            count: 0,
            offsets: 0,
            remainders: vec![0; block_size as usize],
            members: vec![Vec::new(); if may_watch { block_size as usize } else { 0 }],
            watched: 0,
            ending: Ends::new(),
            leaving: Ends::new(),
        }
    }

    /// Steps scheduled so far.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The clock as a signed number, to be added to offsets.
    fn now(&self) -> i64 {
        i64::try_from(self.clock).expect("fewer than 2^63 steps")
    }

    /// `computed` of a member.
    #[must_use]
    pub fn computed(&self, sequence: &Sequence) -> u32 {
        u32::try_from(self.now() + sequence.offset).expect("a member has computed at least its prompt")
    }

    /// The tokens that all members look at in the next step: the sum of `computed` + 1.
    #[must_use]
    pub fn context(&self) -> u64 {
        u64::try_from((self.now() + 1) * i64::from(self.count) + self.offsets)
            .expect("sums of positive numbers")
    }

    /// Moves the clock by `steps`.
    pub fn advance(&mut self, steps: u64) {
        self.clock += steps;
        self.due_next = self.due_remainder(steps);
    }

    fn remainder(&self, offset: i64) -> usize {
        let size = i64::try_from(self.remainders.len()).expect("a block size is a u32");
        usize::try_from(offset.rem_euclid(size)).expect("a remainder is not negative")
    }

    /// How many members are watched.
    #[must_use]
    pub fn watched(&self) -> u32 {
        self.watched
    }

    /// Takes a sequence in, from the next step on; `watch`: its blocks have to be looked at one by one; `leaves`: it gets
    /// no token after the one that its answer ends with, even while that is on its way.
    pub fn join(&mut self, key: Key, sequence: &mut Sequence, watch: bool, leaves: bool) {
        sequence.steady = true;
        sequence.steady_since = self.clock;
        sequence.offset = i64::from(sequence.computed) - self.now();
        self.count += 1;
        self.offsets += sequence.offset;
        let remainder = self.remainder(sequence.offset);
        self.remainders[remainder] += 1;
        if let Some(members) = self.members.get_mut(remainder).filter(|_| watch) {
            let place = members.partition_point(|(ticket, _)| *ticket < sequence.ticket);
            members.insert(place, (sequence.ticket, key));
            self.watched += 1;
        }
        let ends = if leaves { &mut self.leaving } else { &mut self.ending };
        ends.push(Reverse((last_step(sequence), sequence.ticket, key)));
    }

    /// Lets a member go; what it knows only through the group, the caller has to write down.
    pub fn leave(&mut self, key: Key, sequence: &mut Sequence) {
        sequence.steady = false;
        self.count -= 1;
        self.offsets -= sequence.offset;
        let remainder = self.remainder(sequence.offset);
        self.remainders[remainder] -= 1;
        if let Some(members) = self.members.get_mut(remainder).filter(|_| self.watched > 0) {
            let before = members.len();
            members.retain(|(_, member)| *member != key);
            self.watched -= u32::from(members.len() < before);
        }
    }

    /// The clock of the next step that brings the end of an answer.
    pub fn next_end(&mut self, sequences: &Sequences) -> Option<u64> {
        next_of(&mut self.ending, sequences)
    }

    /// The clock of the next step after which a member leaves.
    pub fn next_leave(&mut self, sequences: &Sequences) -> Option<u64> {
        next_of(&mut self.leaving, sequences)
    }

    /// Takes the next of the members whose answers end with the step of `clock`, in the order of their tickets.
    #[inline]
    pub fn take_ending(&mut self, clock: u64, sequences: &Sequences) -> Option<Key> {
        take_of(&mut self.ending, clock, sequences)
    }

    /// Takes the next of the members that leave after the step of `clock`, in the order of their tickets.
    #[inline]
    pub fn take_leaving(&mut self, clock: u64, sequences: &Sequences) -> Option<Key> {
        take_of(&mut self.leaving, clock, sequences)
    }

    /// Whether the answer of anybody who ever was a member and is not passed over yet ends with a step up to `clock`.
    #[must_use]
    #[inline]
    pub fn may_end_by(&self, clock: u64) -> bool {
        is_due(&self.ending, clock)
    }

    /// How many members need a block in the step `ahead` steps after the next one.
    #[must_use]
    pub fn due(&self, ahead: u64) -> u32 {
        self.remainders[self.due_remainder(ahead)]
    }

    /// How many members needed a block in the step before.
    #[must_use]
    pub fn due_before(&self) -> u32 {
        let size = self.remainders.len() as u64;
        self.due(size - 1)
    }

    /// The remainder of offsets whose block comes due `ahead` steps after the next one.
    fn due_remainder(&self, ahead: u64) -> usize {
        let size = self.remainders.len();
        let back = match usize::try_from(ahead) {
            Ok(ahead) if ahead < size => ahead,
            _ => usize::try_from(ahead % size as u64).expect("a remainder of a small number"),
        };
        if back <= self.due_next { self.due_next - back } else { self.due_next + size - back }
    }

    /// How many members need a block in one of the next steps, fewer than once around.
    fn due_within(&self, steps: usize) -> u64 {
        let next = self.due_next + 1;
        let sum = |range: std::ops::Range<usize>| {
            self.remainders[range].iter().map(|due| u64::from(*due)).sum::<u64>()
        };
        match next.checked_sub(steps) {
            Some(last) => sum(last..next),
            None => sum(0..next) + sum(self.remainders.len() + next - steps..self.remainders.len()),
        }
    }

    /// How many members need a block in the next step, in the one after it, and so on, once around.
    fn due_in_turn(&self) -> impl Iterator<Item = u32> {
        let (up_to_next, after) = self.remainders.split_at(self.due_next + 1);
        up_to_next.iter().rev().chain(after.iter().rev()).copied()
    }

    /// The watched members that need a block in the next step, by ticket. Only where members can be watched.
    #[must_use]
    pub fn members_due(&self) -> &[(u64, Key)] {
        &self.members[self.due_remainder(0)]
    }

    /// The watched members that fill a block with the next step, by ticket. Only where members can be watched.
    #[must_use]
    pub fn members_filling(&self) -> &[(u64, Key)] {
        &self.members[self.due_remainder(1)]
    }

    /// How many blocks `steps` steps need.
    #[must_use]
    pub fn blocks_for(&self, steps: u64) -> u64 {
        let size = self.remainders.len() as u64;
        let rest = usize::try_from(steps % size).expect("a remainder of a small number");
        steps / size * u64::from(self.count) + self.due_within(rest)
    }

    /// How many of `most` steps can be taken with `free` blocks.
    #[must_use]
    pub fn steps_within(&self, free: u32, most: u64) -> u64 {
        let size = self.remainders.len() as u64;
        // Every member needs a block once around.
        if self.count == 0 || (most / size + 1).saturating_mul(u64::from(self.count)) <= u64::from(free) {
            return most;
        }
        let rounds = u64::from(free / self.count);
        let mut left = free % self.count;
        let mut steps = 0;
        for due in self.due_in_turn() {
            match left.checked_sub(due) {
                Some(rest) => left = rest,
                None => break,
            }
            steps += 1;
        }
        most.min(rounds * size + steps)
    }
}

/// The clock of the last step that a member's answer needs.
fn last_step(sequence: &Sequence) -> u64 {
    u64::try_from(i64::from(sequence.last_useful()) - sequence.offset).expect("members have steps to go")
}

#[inline]
fn is_due(ends: &Ends, clock: u64) -> bool {
    ends.peek().is_some_and(|Reverse((at, ..))| *at <= clock)
}

/// The clock of the next last step of a member.
fn next_of(ends: &mut Ends, sequences: &Sequences) -> Option<u64> {
    while let Some(Reverse((at, _, key))) = ends.peek() {
        if sequences.get(*key).is_some_and(|s| s.steady && last_step(s) == *at) {
            return Some(*at);
        }
        ends.pop();
    }
    None
}

/// Takes the next of the members whose last step is that of `clock`.
#[inline]
fn take_of(ends: &mut Ends, clock: u64, sequences: &Sequences) -> Option<Key> {
    if !is_due(ends, clock) || next_of(ends, sequences) != Some(clock) {
        return None;
    }
    ends.pop().map(|Reverse((_, _, key))| key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_for_some_steps_are_those_due_in_each(
            remainders in prop::collection::vec(0u32..5, 1..20),
            before in 0u64..50,
            steps in 0u64..70,
        ) {
            let size = u32::try_from(remainders.len()).unwrap();
            let mut group = Group::new(size, false);
            (group.count, group.remainders) = (remainders.iter().sum(), remainders);
            group.advance(before);
            let each: u64 = (0..steps).map(|ahead| u64::from(group.due(ahead))).sum();
            prop_assert_eq!(group.blocks_for(steps), each);
        }
    }
}

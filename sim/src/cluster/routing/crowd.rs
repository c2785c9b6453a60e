//! Replicas that are drawn: one at random, or the one with the fewest requests of several.

use scaletwin_core::random::Draws;
use serde::{Deserialize, Serialize};

use super::Slot;

/// Replicas that are drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Crowd {
    choices: u32,
    members: Vec<Slot>,
    /// Of each slot its place among the members, if it is one, and its requests.
    known: Vec<(Option<u32>, u32)>,
}

impl Crowd {
    pub(super) fn new(choices: u32) -> Crowd {
        Crowd { choices, members: Vec::new(), known: Vec::new() }
    }

    pub(super) fn add(&mut self, slot: Slot) {
        if self.known.len() <= slot as usize {
            self.known.resize(slot as usize + 1, (None, 0));
        }
        self.known[slot as usize] = (u32::try_from(self.members.len()).ok(), 0);
        self.members.push(slot);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        let Some((place, _)) = self.known.get_mut(slot as usize) else { return };
        let Some(place) = place.take() else { return };
        self.members.swap_remove(place as usize);
        if let Some(moved) = self.members.get(place as usize) {
            self.known[*moved as usize].0 = Some(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The one with the fewest requests of the first `choices` that are drawn and accept; the first of equals.
    pub(super) fn pick(&mut self, mut draws: Draws, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let (mut best, mut found): (Option<Slot>, u32) = (None, 0);
        // Drawn ones go to the back, so that none is drawn twice; the order of the members means nothing.
        for left in (1..=self.members.len()).rev() {
            let place = usize::try_from(draws.below(left as u64)).expect("below a length");
            let slot = self.members[place];
            self.swap(place, left - 1);
            if accepts(slot) {
                found += 1;
                let fewer = best.is_none_or(|best| self.requests(slot) < self.requests(best));
                best = if fewer { Some(slot) } else { best };
                if found == self.choices {
                    break;
                }
            }
        }
        best
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.members.swap(one, other);
        for place in [one, other] {
            self.known[self.members[place] as usize].0 = u32::try_from(place).ok();
        }
    }

    fn requests(&self, slot: Slot) -> u32 {
        self.known[slot as usize].1
    }

    pub(super) fn given(&mut self, slot: Slot) {
        if let Some((Some(_), requests)) = self.known.get_mut(slot as usize) {
            *requests += 1;
        }
    }

    pub(super) fn ended(&mut self, slot: Slot) {
        if let Some((Some(_), requests)) = self.known.get_mut(slot as usize) {
            *requests -= 1;
        }
    }
}

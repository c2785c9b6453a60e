//! Replicas by their number of requests, the one with the fewest in O(1).

use serde::{Deserialize, Serialize};

use super::Slot;

/// Marks the end of a list.
const NONE: Slot = Slot::MAX;

/// Replicas in lists by their number of requests, each list in the order of joining.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Buckets {
    links: Vec<Link>,
    /// For each number of requests the first and last replica.
    ends: Vec<(Slot, Slot)>,
    /// No list below this holds anything.
    least: usize,
    members: usize,
    /// Requests of all members.
    total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    before: Slot,
    after: Slot,
    requests: u32,
    member: bool,
}

impl Buckets {
    pub(super) fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// Requests of a replica.
    pub(super) fn requests(&self, slot: Slot) -> u32 {
        self.links.get(slot as usize).map_or(0, |link| link.requests)
    }

    /// The most requests that a replica may have with one more among all: `factor_milli` thousandths of the mean.
    pub(super) fn fair(&self, factor_milli: u32) -> u64 {
        let members = (self.members as u64).max(1);
        (u64::from(factor_milli) * (self.total + 1)).div_ceil(1_000 * members)
    }

    pub(super) fn add(&mut self, slot: Slot) {
        let place = slot as usize;
        let empty = Link { before: NONE, after: NONE, requests: 0, member: false };
        if place >= self.links.len() {
            self.links.resize(place + 1, empty);
        }
        self.links[place] = Link { member: true, ..empty };
        self.members += 1;
        self.join(slot);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        if self.links.get(slot as usize).is_some_and(|link| link.member) {
            self.leave(slot);
            let link = &mut self.links[slot as usize];
            link.member = false;
            self.total -= u64::from(link.requests);
            self.members -= 1;
        }
    }

    pub(super) fn first(&mut self, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        if self.members == 0 {
            return None;
        }
        while self.ends[self.least].0 == NONE {
            self.least += 1;
        }
        // Replicas of one service may have different limits, so a full one does not mean that all are.
        for (slot, _) in &self.ends[self.least..] {
            let mut slot = *slot;
            while slot != NONE {
                if accepts(slot) {
                    return Some(slot);
                }
                slot = self.links[slot as usize].after;
            }
        }
        None
    }

    pub(super) fn move_by(&mut self, slot: Slot, up: bool) {
        let Some(link) = self.links.get(slot as usize).copied().filter(|link| link.member) else { return };
        self.leave(slot);
        self.links[slot as usize].requests = if up { link.requests + 1 } else { link.requests - 1 };
        self.total = if up { self.total + 1 } else { self.total - 1 };
        self.join(slot);
    }

    fn leave(&mut self, slot: Slot) {
        let Link { before, after, requests, .. } = self.links[slot as usize];
        let ends = &mut self.ends[requests as usize];
        if before == NONE {
            ends.0 = after;
        }
        if after == NONE {
            ends.1 = before;
        }
        if before != NONE {
            self.links[before as usize].after = after;
        }
        if after != NONE {
            self.links[after as usize].before = before;
        }
    }

    fn join(&mut self, slot: Slot) {
        let requests = self.links[slot as usize].requests as usize;
        if requests >= self.ends.len() {
            self.ends.resize(requests + 1, (NONE, NONE));
        }
        let last = std::mem::replace(&mut self.ends[requests].1, slot);
        if last == NONE {
            self.ends[requests].0 = slot;
        } else {
            self.links[last as usize].after = slot;
        }
        let link = &mut self.links[slot as usize];
        (link.before, link.after) = (last, NONE);
        self.least = self.least.min(requests);
    }
}

//! Sessions stay with the replica that had their last request, as with a cookie.

use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::remembered::Remembered;
use super::{Member, Slot};

/// Replicas and their sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sessions {
    loads: Buckets,
    members: Members,
    bound: Remembered<(Slot, u32)>,
}

/// The numbers of the replicas that are members, by slot: a slot has several replicas one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Members(Vec<Option<u32>>);

impl Members {
    pub(super) fn add(&mut self, member: &Member) {
        if self.0.len() <= member.slot as usize {
            self.0.resize(member.slot as usize + 1, None);
        }
        self.0[member.slot as usize] = Some(member.id);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(id) = self.0.get_mut(slot as usize) {
            *id = None;
        }
    }

    /// The number of the replica of a slot.
    pub(super) fn id(&self, slot: Slot) -> Option<u32> {
        self.0.get(slot as usize).copied().flatten()
    }
}

impl Sessions {
    pub(super) fn new(remembered: u32) -> Sessions {
        Sessions {
            loads: Buckets::default(),
            members: Members::default(),
            bound: Remembered::new(remembered),
        }
    }

    pub(super) fn add(&mut self, member: &Member) {
        self.loads.add(member.slot);
        self.members.add(member);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.loads.remove(slot);
        self.members.remove(slot);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.loads.is_empty()
    }

    /// The session's own replica if it accepts; else the one with the fewest requests.
    pub(super) fn pick(&mut self, session: u64, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let own = self.bound.get(session).filter(|(slot, id)| self.members.id(*slot) == Some(*id));
        match own.map(|(slot, _)| *slot).filter(|slot| accepts(*slot)) {
            Some(slot) => Some(slot),
            None => self.loads.first(accepts),
        }
    }

    pub(super) fn given(&mut self, slot: Slot, session: u64) {
        self.loads.move_by(slot, true);
        if let Some(id) = self.members.id(slot) {
            *self.bound.touch(session) = (slot, id);
        }
    }

    pub(super) fn ended(&mut self, slot: Slot) {
        self.loads.move_by(slot, false);
    }
}

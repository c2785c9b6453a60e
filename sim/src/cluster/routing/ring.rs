//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with Bounded Loads",
//! 2016): a session goes to the first replica after it on a ring that has less than its share.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::random::Component;
use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::{Member, Slot};

/// Points of a replica on the ring. Shares of the ring then differ by about 1/√128, a tenth.
const POINTS: u64 = 128;

/// Replicas on a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    load_factor_milli: u32,
    points: BTreeMap<u64, Slot>,
    /// The points of each slot.
    of_slot: Vec<Vec<u64>>,
    loads: Buckets,
    members: usize,
}

impl Ring {
    pub(super) fn new(load_factor_milli: u32) -> Ring {
        Ring {
            load_factor_milli,
            points: BTreeMap::new(),
            of_slot: Vec::new(),
            loads: Buckets::default(),
            members: 0,
        }
    }

    /// The points depend on the number of the replica alone, so those of others stay where they are.
    pub(super) fn add(&mut self, member: &Member, luck: Component) {
        let first = u64::from(member.id) * POINTS;
        let points: Vec<u64> = (0..POINTS).map(|point| luck.entity(first + point).bits()).collect();
        if self.of_slot.len() <= member.slot as usize {
            self.of_slot.resize(member.slot as usize + 1, Vec::new());
        }
        self.points.extend(points.iter().map(|point| (*point, member.slot)));
        self.of_slot[member.slot as usize] = points;
        self.loads.add(member.slot);
        self.members += 1;
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        let points = self.of_slot.get_mut(slot as usize).map(std::mem::take).unwrap_or_default();
        if !points.is_empty() {
            for point in points {
                self.points.remove(&point);
            }
            self.loads.remove(slot);
            self.members -= 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// The first replica after the session that accepts and has room by its share; if none has, the first that accepts.
    pub(super) fn pick(
        &self,
        session: u64,
        luck: Component,
        mut accepts: impl FnMut(Slot) -> bool,
    ) -> Option<Slot> {
        let most = self.loads.fair(self.load_factor_milli);
        // Keys of sessions must not be those of points.
        let start = luck.entity(!session).bits();
        let mut seen = BTreeSet::new();
        let mut over = None;
        for (_, slot) in self.points.range(start..).chain(self.points.range(..start)) {
            if !seen.insert(*slot) {
                continue;
            }
            if accepts(*slot) {
                if u64::from(self.loads.requests(*slot)) < most {
                    return Some(*slot);
                }
                over = over.or(Some(*slot));
            }
            if seen.len() == self.members {
                break;
            }
        }
        over
    }

    pub(super) fn given(&mut self, slot: Slot) {
        self.loads.move_by(slot, true);
    }

    pub(super) fn ended(&mut self, slot: Slot) {
        self.loads.move_by(slot, false);
    }
}

//! Prompts go where their leading blocks have gone before, unless that replica has too much to do.
//!
//! The router does not know the caches; it remembers where it sent which blocks, as SGLang's router (approximate tree)
//! and the prefix scorer of the Gateway API inference extension (hashes of blocks) do.

use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::remembered::Remembered;
use super::sessions::Members;
use super::{Member, Slot};
use crate::serving::continuous::content::{Run, mix};

/// Replicas that are remembered for a block, the latest.
const HOLDERS: usize = 8;

/// Replicas and the blocks that they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prefixes {
    load_factor_milli: u32,
    load_slack: u32,
    loads: Buckets,
    members: Members,
    /// Of each block, by its hash, the replicas that were sent it, the latest first.
    blocks: Remembered<Vec<(Slot, u32)>>,
}

impl Prefixes {
    pub(super) fn new(remembered: u32, load_factor_milli: u32, load_slack: u32) -> Prefixes {
        Prefixes {
            load_factor_milli,
            load_slack,
            loads: Buckets::default(),
            members: Members::default(),
            blocks: Remembered::new(remembered),
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

    /// Of the replicas with the longest match, the one with the fewest requests; if none accepts and has room by its
    /// share, the one with the fewest requests of all.
    pub(super) fn pick(&mut self, prefix: &[u64], mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let most = self.loads.fair(self.load_factor_milli) + u64::from(self.load_slack);
        let load = |slot: Slot| u64::from(self.loads.requests(slot));
        let holders = self.longest_match(prefix).into_iter();
        let open = holders.filter(|slot| load(*slot) < most && accepts(*slot));
        match open.min_by_key(|slot| load(*slot)) {
            Some(slot) => Some(slot),
            None => self.loads.first(accepts),
        }
    }

    /// The replicas that were sent the longest part of a prompt, the latest first.
    fn longest_match(&self, prefix: &[u64]) -> Vec<Slot> {
        let mut longest = Vec::new();
        for block in prefix {
            let Some(holders) = self.blocks.get(*block) else { break };
            let living = holders.iter().filter(|(slot, id)| self.members.id(*slot) == Some(*id));
            let living: Vec<Slot> = living.map(|(slot, _)| *slot).collect();
            if living.is_empty() {
                break;
            }
            longest = living;
        }
        longest
    }

    pub(super) fn given(&mut self, slot: Slot, prefix: &[u64]) {
        self.loads.move_by(slot, true);
        let Some(id) = self.members.id(slot) else { return };
        for block in prefix {
            let holders = self.blocks.touch(*block);
            holders.retain(|holder| holder.0 != slot);
            holders.insert(0, (slot, id));
            holders.truncate(HOLDERS);
        }
    }

    pub(super) fn ended(&mut self, slot: Slot) {
        self.loads.move_by(slot, false);
    }
}

/// The hashes of the leading blocks of `tokens` that a prompt may share with others of its stream, at most `most`: each
/// covers all before it.
#[must_use]
pub fn block_hashes(stream: u16, runs: &[Run], tokens: u32, most: u32) -> Vec<u64> {
    let mut hashes = Vec::new();
    let (mut hash, mut filled) = (mix(!u64::from(stream)), 0);
    for run in runs {
        let (mut offset, mut left) = (run.offset, run.length);
        while left > 0 && hashes.len() < most as usize {
            let part = left.min(tokens - filled);
            let place = (u64::from(offset) << 32) | u64::from(part);
            hash = mix(hash ^ mix(run.group ^ mix(place)));
            (offset, left, filled) = (offset.saturating_add(part), left - part, filled + part);
            if filled == tokens {
                hashes.push(hash);
                filled = 0;
            }
        }
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(slot: Slot) -> Member {
        Member { slot, id: slot + 100, deployment: 0, zone: None }
    }

    #[test]
    fn blocks_are_alike_as_far_as_prompts_are() {
        let run = |group, length| Run { group, offset: 0, length };
        let one = block_hashes(0, &[run(1, 128), run(2, 70)], 64, 100);
        let other = block_hashes(0, &[run(1, 128), run(3, 70)], 64, 100);
        assert_eq!((one.len(), one[..2] == other[..2], one[2] == other[2]), (3, true, false));
        assert_ne!(one[0], block_hashes(1, &[run(1, 128)], 64, 100)[0]);
        assert_eq!(block_hashes(0, &[run(1, 1000)], 64, 4).len(), 4);
    }

    #[test]
    fn the_longest_match_wins_until_its_replica_is_over_its_share() {
        let mut prefixes = Prefixes::new(100, 1_000, 1);
        (0..3).for_each(|slot| prefixes.add(&member(slot)));
        prefixes.given(1, &[7, 8]);
        prefixes.given(2, &[7]);
        assert_eq!(prefixes.pick(&[7, 8, 9], |_| true), Some(1));
        // Its share of 3 among 3 is 1, and 1 more is allowed.
        prefixes.given(1, &[7, 8, 9]);
        prefixes.given(1, &[7, 8, 9]);
        assert_eq!(prefixes.pick(&[7, 8, 9], |_| true), Some(0));
        (0..3).for_each(|_| prefixes.ended(1));
        assert_eq!(prefixes.pick(&[7, 8, 9], |slot| slot != 1), Some(0));
        prefixes.remove(1);
        assert_eq!(prefixes.pick(&[7, 8, 9], |_| true), Some(2));
    }
}

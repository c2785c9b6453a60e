//! Which blocks hold which content.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{BlockId, NONE};

/// Blocks by the hash of their tokens and all before them. Several may hold the same: the oldest is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Twins>", into = "Vec<Twins>")]
pub(super) struct Index {
    twins: Vec<Twins>,
    /// For each hash, the first and last of the blocks that hold it, oldest first.
    ends: FxHashMap<u64, (BlockId, BlockId)>,
}

/// A block in the index: its hash, and its neighbours among the blocks of the same hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Twins {
    hash: u64,
    older: u32,
    newer: u32,
    is_there: bool,
}

const ABSENT: Twins = Twins { hash: 0, older: NONE, newer: NONE, is_there: false };

impl From<Index> for Vec<Twins> {
    fn from(index: Index) -> Vec<Twins> {
        index.twins
    }
}

impl From<Vec<Twins>> for Index {
    fn from(twins: Vec<Twins>) -> Index {
        let mut ends = FxHashMap::default();
        for (id, twin) in (0u32..).zip(&twins).filter(|(_, twin)| twin.is_there) {
            let entry = ends.entry(twin.hash).or_insert((NONE, NONE));
            if twin.older == NONE {
                entry.0 = id;
            }
            if twin.newer == NONE {
                entry.1 = id;
            }
        }
        Index { twins, ends }
    }
}

impl Index {
    /// Lets a block be found by `hash`.
    pub(super) fn add(&mut self, id: BlockId, hash: u64) {
        let place = id as usize;
        if place >= self.twins.len() {
            self.twins.resize(place + 1, ABSENT);
        }
        debug_assert!(!self.twins[place].is_there, "a block holds one hash");
        let entry = self.ends.entry(hash).or_insert((id, NONE));
        let newest = std::mem::replace(&mut entry.1, id);
        if newest != NONE {
            self.twins[newest as usize].newer = id;
        }
        self.twins[place] = Twins { hash, older: newest, newer: NONE, is_there: true };
    }

    /// Forgets a block that is there.
    pub(super) fn remove(&mut self, id: BlockId) {
        let Twins { hash, older, newer, .. } = std::mem::replace(&mut self.twins[id as usize], ABSENT);
        if older == NONE && newer == NONE {
            self.ends.remove(&hash);
            return;
        }
        let entry = self.ends.get_mut(&hash).expect("a held hash is in the index");
        if older == NONE {
            entry.0 = newer;
        } else {
            self.twins[older as usize].newer = newer;
        }
        if newer == NONE {
            entry.1 = older;
        } else {
            self.twins[newer as usize].older = older;
        }
    }

    /// The oldest block that holds `hash`.
    pub(super) fn find(&self, hash: u64) -> Option<BlockId> {
        self.ends.get(&hash).map(|(oldest, _)| *oldest)
    }

    /// How many different hashes are held.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The hash of a block, if it is there.
    pub(super) fn hash(&self, id: BlockId) -> Option<u64> {
        self.twins.get(id as usize).filter(|twin| twin.is_there).map(|twin| twin.hash)
    }
}

//! The KV blocks of a replica.
//!
//! Without prefix caching only their number matters, and they are counted. With it, each has an identity: which hash
//! it holds, who refers to it, and its place in the queue of free blocks, which is also the order of eviction.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// A block's number. Block 0 is never used; here it is the head of the queue of free blocks.
pub type BlockId = u32;

/// The blocks of a replica.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Blocks {
    /// Only how many are free.
    Counted {
        /// Free blocks.
        free: u32,
        /// All blocks that can be used.
        usable: u32,
    },
    /// Each with its identity.
    Identified(IdentifiedBlocks),
}

impl Blocks {
    /// `num_gpu_blocks` blocks, all but one of which can be used.
    #[must_use]
    pub fn new(num_gpu_blocks: u32, identified: bool) -> Blocks {
        if identified {
            Blocks::Identified(IdentifiedBlocks::new(num_gpu_blocks))
        } else {
            let usable = num_gpu_blocks.saturating_sub(1);
            Blocks::Counted { free: usable, usable }
        }
    }

    /// How many blocks are free, those with a reusable content included.
    #[must_use]
    pub fn free(&self) -> u32 {
        match self {
            Blocks::Counted { free, .. } => *free,
            Blocks::Identified(blocks) => blocks.free,
        }
    }

    /// How many blocks can be used.
    #[must_use]
    pub fn usable(&self) -> u32 {
        match self {
            Blocks::Counted { usable, .. } => *usable,
            Blocks::Identified(blocks) => blocks.usable(),
        }
    }

    /// The blocks with their identities, if they have any.
    #[must_use]
    pub fn identified(&self) -> Option<&IdentifiedBlocks> {
        match self {
            Blocks::Counted { .. } => None,
            Blocks::Identified(blocks) => Some(blocks),
        }
    }

    /// The same, to change.
    pub fn identified_mut(&mut self) -> Option<&mut IdentifiedBlocks> {
        match self {
            Blocks::Counted { .. } => None,
            Blocks::Identified(blocks) => Some(blocks),
        }
    }
}

/// Marks the end of a list, or a block in no list.
const NONE: u32 = u32::MAX;

/// Blocks with identities: a queue of free ones, and a cache by hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "SavedBlocks", into = "SavedBlocks")]
pub struct IdentifiedBlocks {
    blocks: Vec<Block>,
    free: u32,
    /// For each hash, the first and last of the blocks that hold it, oldest first.
    cache: FxHashMap<u64, (BlockId, BlockId)>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Block {
    /// Neighbours in the queue of free blocks; `NONE` while in use.
    before: u32,
    after: u32,
    /// Neighbours among the blocks of the same hash.
    older: u32,
    newer: u32,
    references: u32,
    hash: Option<u64>,
}

/// What is written of the blocks: the cache follows from the blocks' own lists.
#[derive(Serialize, Deserialize)]
struct SavedBlocks {
    blocks: Vec<Block>,
    free: u32,
}

impl From<IdentifiedBlocks> for SavedBlocks {
    fn from(blocks: IdentifiedBlocks) -> SavedBlocks {
        SavedBlocks { blocks: blocks.blocks, free: blocks.free }
    }
}

impl From<SavedBlocks> for IdentifiedBlocks {
    fn from(saved: SavedBlocks) -> IdentifiedBlocks {
        let mut cache = FxHashMap::default();
        for (id, block) in (0u32..).zip(&saved.blocks) {
            if let Some(hash) = block.hash {
                let entry = cache.entry(hash).or_insert((NONE, NONE));
                if block.older == NONE {
                    entry.0 = id;
                }
                if block.newer == NONE {
                    entry.1 = id;
                }
            }
        }
        IdentifiedBlocks { blocks: saved.blocks, free: saved.free, cache }
    }
}

impl IdentifiedBlocks {
    fn new(num_gpu_blocks: u32) -> IdentifiedBlocks {
        let last = num_gpu_blocks.saturating_sub(1);
        let block = |id: u32| Block {
            before: if id == 0 { last } else { id - 1 },
            after: if id == last { 0 } else { id + 1 },
            older: NONE,
            newer: NONE,
            references: 0,
            hash: None,
        };
        IdentifiedBlocks {
            blocks: (0..num_gpu_blocks.max(1)).map(block).collect(),
            free: last,
            cache: FxHashMap::default(),
        }
    }

    fn usable(&self) -> u32 {
        u32::try_from(self.blocks.len() - 1).expect("blocks are numbered by u32")
    }

    fn block(&mut self, id: BlockId) -> &mut Block {
        &mut self.blocks[id as usize]
    }

    /// Takes the first free block, forgetting what it held. The caller has checked that there is one.
    ///
    /// # Panics
    /// When no block is free.
    pub fn take(&mut self) -> BlockId {
        let id = self.blocks[0].after;
        assert!(id != 0, "a block was taken though none is free");
        self.unlink(id);
        self.forget(id);
        self.block(id).references = 1;
        id
    }

    /// Refers to a cached block once more; takes it out of the queue if it was free.
    pub fn touch(&mut self, id: BlockId) {
        if self.blocks[id as usize].references == 0 {
            self.unlink(id);
        }
        self.block(id).references += 1;
    }

    /// Whether nobody refers to the block.
    #[must_use]
    pub fn is_idle(&self, id: BlockId) -> bool {
        self.blocks[id as usize].references == 0
    }

    /// Gives back the blocks of a request, its last block first: those that hold a hash to the tail of the queue, the
    /// others to its head as a group.
    pub fn release(&mut self, table: &[BlockId]) {
        let mut place = 0;
        for &id in table.iter().rev() {
            let block = self.block(id);
            block.references -= 1;
            if block.references > 0 {
                continue;
            }
            if block.hash.is_some() {
                let tail = self.blocks[0].before;
                self.link_after(tail, id);
            } else {
                self.link_after(place, id);
                place = id;
            }
        }
    }

    /// Lets the block be found by `hash`.
    pub fn register(&mut self, id: BlockId, hash: u64) {
        debug_assert!(self.blocks[id as usize].hash.is_none(), "a block holds one hash");
        let entry = self.cache.entry(hash).or_insert((id, NONE));
        let newest = std::mem::replace(&mut entry.1, id);
        if newest != NONE {
            self.block(newest).newer = id;
        }
        let block = self.block(id);
        block.older = newest;
        block.newer = NONE;
        block.hash = Some(hash);
    }

    /// The oldest block that holds `hash`.
    #[must_use]
    pub fn find(&self, hash: u64) -> Option<BlockId> {
        self.cache.get(&hash).map(|(oldest, _)| *oldest)
    }

    /// How many different hashes are held.
    #[must_use]
    pub fn hashes(&self) -> usize {
        self.cache.len()
    }

    /// How often requests refer to blocks.
    ///
    /// # Panics
    /// When the queue does not hold exactly the blocks that nobody refers to.
    #[must_use]
    pub fn check(&self) -> u64 {
        let idle = self.blocks.iter().skip(1).filter(|block| block.references == 0).count();
        assert_eq!(idle, self.free as usize, "free blocks are those that nobody refers to");
        assert_eq!(idle, self.queue().count(), "free blocks are queued");
        self.blocks.iter().map(|block| u64::from(block.references)).sum()
    }

    /// The free blocks, the next to be taken first.
    pub fn queue(&self) -> impl Iterator<Item = BlockId> {
        let mut at = 0;
        std::iter::from_fn(move || {
            at = self.blocks[at as usize].after;
            (at != 0).then_some(at)
        })
    }

    fn forget(&mut self, id: BlockId) {
        let Block { older, newer, hash, .. } = self.blocks[id as usize];
        let Some(hash) = hash else { return };
        match (older, newer) {
            (NONE, NONE) => {
                self.cache.remove(&hash);
            }
            _ => {
                let entry = self.cache.get_mut(&hash).expect("a held hash is in the cache");
                if older == NONE {
                    entry.0 = newer;
                }
                if newer == NONE {
                    entry.1 = older;
                }
                if older != NONE {
                    self.block(older).newer = newer;
                }
                if newer != NONE {
                    self.block(newer).older = older;
                }
            }
        }
        let block = self.block(id);
        (block.older, block.newer, block.hash) = (NONE, NONE, None);
    }

    fn unlink(&mut self, id: BlockId) {
        let Block { before, after, .. } = self.blocks[id as usize];
        self.block(before).after = after;
        self.block(after).before = before;
        let block = self.block(id);
        (block.before, block.after) = (NONE, NONE);
        self.free -= 1;
    }

    fn link_after(&mut self, place: u32, id: BlockId) {
        let after = self.blocks[place as usize].after;
        self.block(place).after = id;
        self.block(after).before = id;
        let block = self.block(id);
        (block.before, block.after) = (place, after);
        self.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same rules on plain lists: the oracle.
    #[derive(Default)]
    struct Plain {
        queue: Vec<BlockId>,
        held: Vec<(BlockId, u64)>,
        references: Vec<u32>,
    }

    impl Plain {
        fn take(&mut self) -> BlockId {
            let id = self.queue.remove(0);
            self.held.retain(|(block, _)| *block != id);
            self.references[id as usize] = 1;
            id
        }

        fn touch(&mut self, id: BlockId) {
            self.queue.retain(|block| *block != id);
            self.references[id as usize] += 1;
        }

        fn release(&mut self, table: &[BlockId]) {
            let mut head = Vec::new();
            for &id in table.iter().rev() {
                self.references[id as usize] -= 1;
                if self.references[id as usize] > 0 {
                    continue;
                }
                if self.held.iter().any(|(block, _)| *block == id) {
                    self.queue.push(id);
                } else {
                    head.push(id);
                }
            }
            head.append(&mut self.queue);
            self.queue = head;
        }
    }

    proptest! {
        #[test]
        fn the_lists_agree_with_plain_ones(steps in prop::collection::vec((0u8..4, 0usize..8, 0u64..6), 1..120)) {
            let mut blocks = IdentifiedBlocks::new(13);
            let mut plain = Plain { queue: (1..13).collect(), references: vec![0; 13], ..Plain::default() };
            let mut tables: Vec<Vec<BlockId>> = vec![Vec::new(); 8];
            for (what, who, hash) in steps {
                match what {
                    0 if blocks.free > 0 => {
                        let id = blocks.take();
                        prop_assert_eq!(id, plain.take());
                        tables[who].push(id);
                    }
                    1 => {
                        if let Some(id) = blocks.find(hash).filter(|id| !tables[who].contains(id)) {
                            let oldest = plain.held.iter().find(|(_, held)| *held == hash).map(|(id, _)| *id);
                            prop_assert_eq!(Some(id), oldest);
                            blocks.touch(id);
                            plain.touch(id);
                            tables[who].push(id);
                        }
                    }
                    2 => {
                        let id = tables[who].last().copied();
                        if let Some(id) = id.filter(|id| blocks.blocks[*id as usize].hash.is_none()) {
                            blocks.register(id, hash);
                            plain.held.push((id, hash));
                        }
                    }
                    _ => {
                        let table = std::mem::take(&mut tables[who]);
                        blocks.release(&table);
                        plain.release(&table);
                    }
                }
                prop_assert_eq!(blocks.queue().collect::<Vec<_>>(), plain.queue.clone());
                prop_assert_eq!(blocks.free as usize, plain.queue.len());
            }
            let text = serde_json::to_string(&blocks).unwrap();
            let back: IdentifiedBlocks = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&back.cache, &blocks.cache);
        }
    }
}

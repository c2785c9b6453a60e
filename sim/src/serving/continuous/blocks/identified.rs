//! Blocks with an identity each: which hash each one holds, who refers to it, and its place in the queue of free blocks.

use serde::{Deserialize, Serialize};

use super::index::Index;
use super::{BlockId, NONE};

/// Blocks with identities: a queue of free ones, and a cache by hash.
///
/// What every block needs lies apart from what only those in the cache need, so that little memory is walked over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdentifiedBlocks {
    links: Vec<Links>,
    uses: Vec<Use>,
    index: Index,
    pub(super) free: u32,
}

/// The neighbours of a block in the queue of free blocks; `NONE` while it is in use.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Links {
    before: u32,
    after: u32,
}

/// Who refers to a block, and what it can be found by.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Use {
    references: u32,
    held: Held,
}

/// What a block can be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Held {
    /// It is not full.
    Nothing,
    /// It is full, and nobody looks for it.
    Private,
    /// The hash of its tokens and all before them, which is in the index.
    Hash,
}

impl IdentifiedBlocks {
    pub(super) fn new(num_gpu_blocks: u32) -> IdentifiedBlocks {
        let last = num_gpu_blocks.saturating_sub(1);
        let count = num_gpu_blocks.max(1) as usize;
        let links = |id: u32| Links {
            before: if id == 0 { last } else { id - 1 },
            after: if id == last { 0 } else { id + 1 },
        };
        IdentifiedBlocks {
            links: (0..num_gpu_blocks.max(1)).map(links).collect(),
            uses: vec![Use { references: 0, held: Held::Nothing }; count],
            index: Index::default(),
            free: last,
        }
    }

    pub(super) fn usable(&self) -> u32 {
        u32::try_from(self.links.len() - 1).expect("blocks are numbered by u32")
    }

    fn link(&mut self, id: BlockId) -> &mut Links {
        &mut self.links[id as usize]
    }

    /// Takes the first free block, forgetting what it held. The caller has checked that there is one.
    ///
    /// # Panics
    /// When no block is free.
    pub fn take(&mut self) -> BlockId {
        let id = self.links[0].after;
        assert!(id != 0, "a block was taken though none is free");
        self.unlink(id);
        if self.uses[id as usize].held == Held::Hash {
            self.index.remove(id);
        }
        self.uses[id as usize] = Use { references: 1, held: Held::Nothing };
        id
    }

    /// Refers to a cached block once more; takes it out of the queue if it was free.
    pub fn touch(&mut self, id: BlockId) {
        if self.is_idle(id) {
            self.unlink(id);
        }
        self.uses[id as usize].references += 1;
    }

    /// Whether nobody refers to the block.
    #[must_use]
    pub fn is_idle(&self, id: BlockId) -> bool {
        self.uses[id as usize].references == 0
    }

    /// Gives back the blocks of a request, its last block first: those that are full to the tail of the queue, the
    /// others to its head as a group.
    pub fn release(&mut self, table: &[BlockId]) {
        let mut place = 0;
        for &id in table.iter().rev() {
            let block = &mut self.uses[id as usize];
            block.references -= 1;
            if block.references > 0 {
                continue;
            }
            if block.held == Held::Nothing {
                self.link_after(place, id);
                place = id;
            } else {
                let tail = self.links[0].before;
                self.link_after(tail, id);
            }
        }
    }

    /// Lets the block be found by `hash`.
    pub fn register(&mut self, id: BlockId, hash: u64) {
        self.index.add(id, hash);
        self.uses[id as usize].held = Held::Hash;
    }

    /// Marks a full block for which nobody but its owner will look.
    pub fn keep_private(&mut self, id: BlockId) {
        self.uses[id as usize].held = Held::Private;
    }

    /// Whether the block is full and nobody can find it.
    #[must_use]
    pub fn is_private(&self, id: BlockId) -> bool {
        self.uses[id as usize].held == Held::Private
    }

    /// The oldest block that holds `hash`.
    #[must_use]
    pub fn find(&self, hash: u64) -> Option<BlockId> {
        self.index.find(hash)
    }

    /// The hash that the block can be found by.
    #[must_use]
    pub fn hash(&self, id: BlockId) -> Option<u64> {
        self.index.hash(id)
    }

    /// How many different hashes are held.
    #[must_use]
    pub fn hashes(&self) -> usize {
        self.index.len()
    }

    /// How often requests refer to blocks.
    ///
    /// # Panics
    /// When the queue does not hold exactly the blocks that nobody refers to.
    #[must_use]
    pub fn check(&self) -> u64 {
        let idle = self.uses.iter().skip(1).filter(|block| block.references == 0).count();
        assert_eq!(idle, self.free as usize, "free blocks are those that nobody refers to");
        assert_eq!(idle, self.queue().count(), "free blocks are queued");
        self.uses.iter().map(|block| u64::from(block.references)).sum()
    }

    /// The free blocks, the next to be taken first.
    pub fn queue(&self) -> impl Iterator<Item = BlockId> {
        let mut at = 0;
        std::iter::from_fn(move || {
            at = self.links[at as usize].after;
            (at != 0).then_some(at)
        })
    }

    fn unlink(&mut self, id: BlockId) {
        let Links { before, after } = self.links[id as usize];
        self.link(before).after = after;
        self.link(after).before = before;
        *self.link(id) = Links { before: NONE, after: NONE };
        self.free -= 1;
    }

    fn link_after(&mut self, place: u32, id: BlockId) {
        let after = self.links[place as usize].after;
        self.link(place).after = id;
        self.link(after).before = id;
        *self.link(id) = Links { before: place, after };
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
                        if let Some(id) = id.filter(|id| blocks.uses[*id as usize].held == Held::Nothing) {
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
            prop_assert_eq!(&back.index, &blocks.index);
        }
    }
}

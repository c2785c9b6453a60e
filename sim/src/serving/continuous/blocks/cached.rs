//! Blocks of which only those that can be found have an identity.
//!
//! Of a request, the first blocks may be like those of another; of all others nobody can tell one from another. So those
//! are counted, and the queue of free blocks is a list of runs of them with cached blocks between.

use serde::{Deserialize, Serialize};

use super::index::Index;
use super::{BlockId, NONE};

/// A queue of free blocks, and a cache by hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CachedBlocks {
    usable: u32,
    free: u32,
    /// Cached blocks, and runs of others in the queue. Entry 0 is the head of the queue.
    entries: Vec<Entry>,
    /// Entries that stand for nothing.
    spare: Vec<BlockId>,
    index: Index,
}

/// A cached block, or a run of free blocks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Entry {
    /// The neighbours in the queue; `NONE` for a cached block in use.
    before: u32,
    after: u32,
    /// The length of a run; 0 for a cached block.
    run: u32,
    /// Who refers to a cached block.
    references: u32,
}

impl CachedBlocks {
    pub(super) fn new(num_gpu_blocks: u32) -> CachedBlocks {
        let usable = num_gpu_blocks.saturating_sub(1);
        let head = Entry { before: 0, after: 0, run: 0, references: 0 };
        let (entries, spare, index) = (vec![head], Vec::new(), Index::default());
        let mut blocks = CachedBlocks { usable, free: 0, entries, spare, index };
        blocks.free_to_tail(usable);
        blocks
    }

    /// How many blocks are free.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.free
    }

    /// How many blocks can be used.
    #[must_use]
    pub fn usable(&self) -> u32 {
        self.usable
    }

    /// Takes the first free blocks, forgetting what they held. The caller has checked that there are so many.
    ///
    /// # Panics
    /// When there are not.
    pub fn take(&mut self, mut count: u32) {
        self.free -= count;
        while count > 0 {
            let first = self.entries[0].after;
            assert!(first != 0, "a block was taken though none is free");
            let run = self.entries[first as usize].run;
            if run > count {
                self.entries[first as usize].run -= count;
                return;
            }
            if run == 0 {
                self.index.remove(first);
            }
            self.unlink(first);
            self.spare.push(first);
            count -= run.max(1);
        }
    }

    /// Gives back the blocks of a request: first, to the head of the queue, those that are not full; then to its tail those
    /// that nobody can find, and those that can be found, the last one first.
    pub fn release(&mut self, not_full: u32, private: u32, cached: &[BlockId]) {
        self.free_to_head(not_full);
        self.free_to_tail(private);
        for &id in cached.iter().rev() {
            self.entries[id as usize].references -= 1;
            if self.is_idle(id) {
                self.link_after(self.entries[0].before, id);
                self.free += 1;
            }
        }
    }

    /// Lets a block in use be found by `hash`. Gives its identity.
    pub fn register(&mut self, hash: u64) -> BlockId {
        let id = self.entry(Entry { before: NONE, after: NONE, run: 0, references: 1 });
        self.index.add(id, hash);
        id
    }

    /// Refers to a cached block once more; takes it out of the queue if it was free.
    pub fn touch(&mut self, id: BlockId) {
        if self.is_idle(id) {
            self.unlink(id);
            self.free -= 1;
        }
        self.entries[id as usize].references += 1;
    }

    /// Whether nobody refers to a cached block.
    #[must_use]
    pub fn is_idle(&self, id: BlockId) -> bool {
        self.entries[id as usize].references == 0
    }

    /// The oldest block that holds `hash`.
    #[must_use]
    pub fn find(&self, hash: u64) -> Option<BlockId> {
        self.index.find(hash)
    }

    /// The queue of free blocks: the hash of a cached one, or the length of a run of others.
    pub fn queue(&self) -> impl Iterator<Item = Result<u64, u32>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            at = self.entries[at as usize].after;
            (at != 0).then(|| self.index.hash(at).ok_or(self.entries[at as usize].run))
        })
    }

    /// How often requests refer to cached blocks, and how many of these there are in use.
    ///
    /// # Panics
    /// When the queue does not hold as many blocks as are free.
    #[must_use]
    pub fn check(&self) -> (u64, u32) {
        let queued: u32 = self.queue().map(|entry| entry.map_or_else(|run| run, |_| 1)).sum();
        assert_eq!(queued, self.free, "free blocks are queued");
        let used = self.entries.iter().filter(|entry| entry.references > 0);
        let references = used.clone().map(|entry| u64::from(entry.references)).sum();
        (references, u32::try_from(used.count()).expect("blocks are numbered by u32"))
    }

    fn free_to_head(&mut self, count: u32) {
        self.free_beside(self.entries[0].after, 0, count);
    }

    fn free_to_tail(&mut self, count: u32) {
        let last = self.entries[0].before;
        self.free_beside(last, last, count);
    }

    /// Frees `count` blocks: into the run `near`, if it is one, else into a new one after `place`.
    fn free_beside(&mut self, near: u32, place: u32, count: u32) {
        if count == 0 {
            return;
        }
        self.free += count;
        if near != 0 && self.entries[near as usize].run > 0 {
            self.entries[near as usize].run += count;
        } else {
            let id = self.entry(Entry { before: NONE, after: NONE, run: count, references: 0 });
            self.link_after(place, id);
        }
    }

    fn entry(&mut self, entry: Entry) -> BlockId {
        if let Some(id) = self.spare.pop() {
            self.entries[id as usize] = entry;
            return id;
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).expect("blocks are numbered by u32")
    }

    fn unlink(&mut self, id: BlockId) {
        let Entry { before, after, .. } = self.entries[id as usize];
        self.entries[before as usize].after = after;
        self.entries[after as usize].before = before;
    }

    fn link_after(&mut self, place: u32, id: BlockId) {
        let after = self.entries[place as usize].after;
        self.entries[place as usize].after = id;
        self.entries[after as usize].before = id;
        (self.entries[id as usize].before, self.entries[id as usize].after) = (place, after);
    }
}

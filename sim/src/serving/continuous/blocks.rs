//! The KV blocks of a replica.
//!
//! Without prefix caching only their number matters, and they are counted. With it, those that another request could have
//! too are found by the hash of their tokens; free blocks stand in a queue, which is also the order of eviction.
//!
//! A block whose tokens no other request can have is *private*: it is full and evicted like any other, but as nobody
//! could look for it, it has no place in the cache. A request that is preempted may look for its own: it then registers
//! its private blocks before it gives them back.
//!
//! vLLM gives every block an identity. [`IdentifiedBlocks`] do as well: they are the reference that [`CachedBlocks`],
//! where only blocks in the cache have one, are compared with.

mod cached;
mod identified;
mod index;

use serde::{Deserialize, Serialize};

pub use cached::CachedBlocks;
pub use identified::IdentifiedBlocks;

/// A block's number. Number 0 is never used for a block; it is the head of the queue of free blocks.
pub type BlockId = u32;

/// Marks the end of a list, or a block in no list.
const NONE: u32 = u32::MAX;

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
    /// Those in the prefix cache with their identities, the others counted.
    Cached(CachedBlocks),
    /// Each with its identity.
    Identified(IdentifiedBlocks),
}

impl Blocks {
    /// `num_gpu_blocks` blocks, all but one of which can be used; with a prefix cache, or each with its identity.
    #[must_use]
    pub fn new(num_gpu_blocks: u32, cached: bool, identified: bool) -> Blocks {
        if identified {
            Blocks::Identified(IdentifiedBlocks::new(num_gpu_blocks))
        } else if cached {
            Blocks::Cached(CachedBlocks::new(num_gpu_blocks))
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
            Blocks::Cached(blocks) => blocks.free(),
            Blocks::Identified(blocks) => blocks.free,
        }
    }

    /// How many blocks can be used.
    #[must_use]
    pub fn usable(&self) -> u32 {
        match self {
            Blocks::Counted { usable, .. } => *usable,
            Blocks::Cached(blocks) => blocks.usable(),
            Blocks::Identified(blocks) => blocks.usable(),
        }
    }

    /// The blocks with their identities, if all have one.
    #[must_use]
    pub fn identified(&self) -> Option<&IdentifiedBlocks> {
        match self {
            Blocks::Identified(blocks) => Some(blocks),
            Blocks::Counted { .. } | Blocks::Cached(_) => None,
        }
    }

    /// The oldest block that holds `hash`, and whether nobody refers to it.
    pub(super) fn find(&self, hash: u64) -> Option<(BlockId, bool)> {
        match self {
            Blocks::Counted { .. } => None,
            Blocks::Cached(blocks) => blocks.find(hash).map(|id| (id, blocks.is_idle(id))),
            Blocks::Identified(blocks) => blocks.find(hash).map(|id| (id, blocks.is_idle(id))),
        }
    }

    /// Refers to a block that was found once more.
    pub(super) fn touch(&mut self, id: BlockId) {
        match self {
            Blocks::Counted { .. } => {}
            Blocks::Cached(blocks) => blocks.touch(id),
            Blocks::Identified(blocks) => blocks.touch(id),
        }
    }
}

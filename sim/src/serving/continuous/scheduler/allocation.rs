//! KV blocks of sequences: taken, found by their content, freed.

use super::super::blocks::Blocks;
use super::super::sequence::{Key, Sequence};
use super::Scheduler;

impl Scheduler {
    pub(super) fn blocks_of(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.config.block_size)
    }

    /// Blocks held, for a steady one by its progress.
    pub(super) fn held(&self, sequence: &Sequence) -> u32 {
        if self.blocks.identified().is_some() {
            u32::try_from(sequence.table.len()).expect("blocks are numbered by u32")
        } else if sequence.steady {
            self.blocks_of(self.group.computed(sequence))
        } else {
            sequence.held
        }
    }

    /// Checks that every block is free or held by exactly those that refer to it.
    ///
    /// # Panics
    /// When one is not.
    pub fn check(&self) {
        let held: u64 = self.running.iter().map(|key| u64::from(self.held(&self.sequences[*key]))).sum();
        let references = match &self.blocks {
            Blocks::Counted { free, usable } => u64::from(usable - free),
            Blocks::Identified(blocks) => blocks.check(),
        };
        assert_eq!(held, references, "blocks held by running requests are blocks in use");
    }

    /// Blocks that a running sequence needs for so many more tokens.
    pub(super) fn blocks_needed(&self, sequence: &Sequence, tokens: u32) -> u32 {
        let slots = (self.computed(sequence) + tokens).min(self.config.max_model_len);
        self.blocks_of(slots).saturating_sub(self.held(sequence))
    }

    /// Gives a running sequence the blocks for so many more tokens and lets its full blocks be found. Whether there
    /// were enough; if not, nothing changed.
    pub(super) fn allocate(&mut self, key: Key, tokens: u32) -> bool {
        let sequence = &self.sequences[key];
        let needed = self.blocks_needed(sequence, tokens);
        if needed > self.blocks.free() {
            return false;
        }
        let full = if sequence.steady {
            self.group.computed(sequence) + u32::from(!self.config.async_scheduling)
        } else {
            (sequence.computed + tokens).min(sequence.length)
        };
        self.take_blocks(key, needed);
        self.register(key, full);
        true
    }

    fn take_blocks(&mut self, key: Key, needed: u32) {
        let sequence = &mut self.sequences[key];
        match &mut self.blocks {
            Blocks::Counted { free, .. } => {
                *free -= needed;
                sequence.held += needed;
            }
            Blocks::Identified(blocks) => {
                for _ in 0..needed {
                    sequence.table.push(blocks.take());
                }
            }
        }
    }

    /// Lets the full blocks among the first `tokens` tokens be found by their content.
    pub(super) fn register(&mut self, key: Key, tokens: u32) {
        if !self.config.enable_prefix_caching {
            return;
        }
        let Blocks::Identified(blocks) = &mut self.blocks else { return };
        let sequence = &mut self.sequences[key];
        for block in sequence.registered..tokens / self.config.block_size {
            if block < sequence.shared {
                let hash = hash_of(sequence, block, self.config.block_size);
                blocks.register(sequence.table[block as usize], hash);
            } else {
                blocks.keep_private(sequence.table[block as usize]);
            }
            sequence.registered = block + 1;
        }
    }

    /// Lets the private blocks of a sequence be found: it will look for them itself when it comes back.
    pub(super) fn register_private(&mut self, key: Key) {
        let Blocks::Identified(blocks) = &mut self.blocks else { return };
        let sequence = &mut self.sequences[key];
        for block in sequence.shared..sequence.registered {
            let id = sequence.table[block as usize];
            if blocks.is_private(id) {
                blocks.register(id, hash_of(sequence, block, self.config.block_size));
            }
        }
    }

    /// Frees all blocks of a sequence that is not steady.
    pub(super) fn release(&mut self, key: Key) {
        let sequence = &mut self.sequences[key];
        match &mut self.blocks {
            Blocks::Counted { free, .. } => *free += std::mem::take(&mut sequence.held),
            Blocks::Identified(blocks) => {
                blocks.release(&sequence.table);
                sequence.table.clear();
                sequence.registered = 0;
            }
        }
    }
}

/// The hash of a block of a sequence, those before it computed as needed.
pub(super) fn hash_of(sequence: &mut Sequence, block: u32, size: u32) -> u64 {
    for next in u32::try_from(sequence.hashes.len()).expect("blocks are numbered by u32")..=block {
        let before = sequence.hashes.last().copied();
        let hash = sequence.content.block_hash(before, next * size, size);
        sequence.hashes.push(hash);
    }
    sequence.hashes[block as usize]
}

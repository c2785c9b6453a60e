//! KV blocks of sequences: taken, found by their content, freed.

use super::super::blocks::{BlockId, Blocks};
use super::super::sequence::{Key, Sequence};
use super::Scheduler;

impl Scheduler {
    pub(super) fn blocks_of(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.config.block_size)
    }

    /// Blocks held, for a steady one by its progress.
    pub(super) fn held(&self, sequence: &Sequence) -> u32 {
        if let Blocks::Identified(_) = self.blocks {
            number(&sequence.table)
        } else if sequence.steady {
            self.blocks_of(self.group.computed(sequence))
        } else {
            sequence.held
        }
    }

    /// Leading blocks of a steady sequence that are known to be full; `scheduled` counts its token in the step being
    /// scheduled. With async scheduling that is known one step later.
    pub(super) fn full(&self, sequence: &Sequence, scheduled: u32) -> u32 {
        if let Blocks::Identified(_) = self.blocks {
            return sequence.registered;
        }
        let known = self.group.computed(sequence) + scheduled - u32::from(self.config.async_scheduling);
        sequence.registered.max(known / self.config.block_size)
    }

    /// Checks that every block is free or held by exactly those that refer to it.
    ///
    /// # Panics
    /// When one is not.
    pub fn check(&self) {
        let held: u64 = self.running.iter().map(|key| u64::from(self.held(&self.sequences[*key]))).sum();
        let references = match &self.blocks {
            Blocks::Counted { free, usable } => u64::from(usable - free),
            Blocks::Cached(blocks) => {
                let (references, used) = blocks.check();
                references + u64::from(blocks.usable() - blocks.free() - used)
            }
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

    /// Takes so many blocks for steady sequences, which follow from their progress. Where blocks have identities, those
    /// whose [turn](Self::take_turn) it is take them one by one instead.
    pub(super) fn take_for_group(&mut self, count: u32) {
        match &mut self.blocks {
            Blocks::Counted { free, .. } => *free -= count,
            Blocks::Cached(blocks) => blocks.take(count),
            Blocks::Identified(_) => {}
        }
    }

    /// What a steady sequence does about its blocks in a step where it needs or fills one.
    pub(super) fn take_turn(&mut self, key: Key) {
        if let Blocks::Identified(_) = self.blocks {
            self.allocate(key, 1);
        } else {
            let computed = self.group.computed(&self.sequences[key]);
            self.register(key, computed + u32::from(!self.config.async_scheduling));
        }
    }

    fn take_blocks(&mut self, key: Key, needed: u32) {
        let sequence = &mut self.sequences[key];
        match &mut self.blocks {
            Blocks::Counted { free, .. } => {
                *free -= needed;
                sequence.held += needed;
            }
            Blocks::Cached(blocks) => {
                blocks.take(needed);
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
        let (sequence, size) = (&mut self.sequences[key], self.config.block_size);
        let full = sequence.registered..tokens / size;
        match &mut self.blocks {
            Blocks::Counted { .. } => {}
            Blocks::Cached(blocks) => {
                for block in full.start..full.end.min(sequence.shared) {
                    let id = blocks.register(hash_of(sequence, block, size));
                    sequence.table.push(id);
                }
            }
            Blocks::Identified(blocks) => {
                for block in full.clone() {
                    let id = sequence.table[block as usize];
                    if block < sequence.shared {
                        blocks.register(id, hash_of(sequence, block, size));
                    } else {
                        blocks.keep_private(id);
                    }
                }
            }
        }
        sequence.registered = full.end.max(full.start);
    }

    /// Lets the private blocks of a sequence be found: it will look for them itself when it comes back.
    pub(super) fn register_private(&mut self, key: Key) {
        let (sequence, size) = (&mut self.sequences[key], self.config.block_size);
        match &mut self.blocks {
            Blocks::Counted { .. } => {}
            Blocks::Cached(blocks) => {
                for block in number(&sequence.table)..sequence.registered {
                    let id = blocks.register(hash_of(sequence, block, size));
                    sequence.table.push(id);
                }
            }
            Blocks::Identified(blocks) => {
                for block in sequence.shared..sequence.registered {
                    let id = sequence.table[block as usize];
                    if blocks.is_private(id) {
                        blocks.register(id, hash_of(sequence, block, size));
                    }
                }
            }
        }
    }

    /// Frees all blocks of a sequence that is not steady.
    pub(super) fn release(&mut self, key: Key) {
        let sequence = &mut self.sequences[key];
        match &mut self.blocks {
            Blocks::Counted { free, .. } => *free += sequence.held,
            Blocks::Cached(blocks) => {
                let full = sequence.registered;
                blocks.release(sequence.held - full, full - number(&sequence.table), &sequence.table);
            }
            Blocks::Identified(blocks) => blocks.release(&sequence.table),
        }
        sequence.table.clear();
        (sequence.held, sequence.registered) = (0, 0);
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

fn number(table: &[BlockId]) -> u32 {
    u32::try_from(table.len()).expect("blocks are numbered by u32")
}

//! The waiting pass: who of those that wait begins to run.

use super::super::blocks::Blocks;
use super::super::sequence::{Key, Sequence, Status};
use super::allocation::hash_of;
use super::batch::{Admission, Batch};
use super::{Blocked, Pass, Scheduler};

impl Scheduler {
    pub(super) fn admit(&mut self, pass: Pass, mut left: u32, batch: &mut Batch) {
        let mut deferred = Vec::new();
        while left > 0 && !self.waiting.is_empty() {
            if self.running.len() >= self.config.running_limit() {
                self.blocked = Blocked::Slots;
                break;
            }
            let Some(key) = self.waiting.front(&self.sequences) else { break };
            if self.sequences[key].stale > 0 {
                self.waiting.pop(&self.sequences);
                deferred.push(key);
                continue;
            }
            match self.admit_one(key, pass, left, batch) {
                Some(tokens) => left -= tokens,
                None => break,
            }
        }
        if !pass.held {
            self.hold.capacity_bound = !self.waiting.is_empty();
        }
        if !deferred.is_empty() {
            self.blocked = Blocked::Unknown;
            for key in deferred.into_iter().rev() {
                self.waiting.push_front(key, &self.sequences[key]);
            }
        }
    }

    /// Admits the head of the waiting queue. Gives its tokens, or `None` when the pass ends.
    fn admit_one(&mut self, key: Key, pass: Pass, left: u32, batch: &mut Batch) -> Option<u32> {
        let (hits, idle) = self.look_up(key);
        let sequence = &self.sequences[key];
        let cached = hits * self.config.block_size;
        if pass.held && cached + 1 < sequence.length {
            return None;
        }
        let mut tokens = sequence.length - cached;
        if 0 < pass.threshold && pass.threshold < tokens {
            tokens = pass.threshold;
        }
        if !self.config.enable_chunked_prefill && tokens > left {
            return None;
        }
        let tokens = tokens.min(left);
        if !self.fits(sequence, hits, idle, cached + tokens) {
            self.blocked = Blocked::Blocks;
            return None;
        }
        self.waiting.pop(&self.sequences);
        self.start(key, hits, tokens, batch);
        Some(tokens)
    }

    /// The longest cached prefix in blocks, and how many of those blocks count as free. At least the last token is
    /// always computed.
    fn look_up(&mut self, key: Key) -> (u32, u32) {
        if !self.config.enable_prefix_caching {
            return (0, 0);
        }
        let sequence = &mut self.sequences[key];
        // Before it ran, nobody can have computed what is its own.
        let known = if sequence.status == Status::Preempted { u32::MAX } else { sequence.shared };
        let (mut hits, mut idle) = (0, 0);
        for block in 0..((sequence.length - 1) / self.config.block_size).min(known) {
            let hash = hash_of(sequence, block, self.config.block_size);
            let Some((_, is_idle)) = self.blocks.find(hash) else { break };
            hits += 1;
            idle += u32::from(is_idle);
        }
        (hits, idle)
    }

    /// The checks of an admission: the whole prompt, then the first `slots` tokens.
    fn fits(&self, sequence: &Sequence, hits: u32, idle: u32, slots: u32) -> bool {
        let free = u64::from(self.blocks.free());
        let spare = if self.running.is_empty() { 0 } else { self.config.watermark_blocks() };
        let fixed = u64::from(idle) + u64::from(spare);
        let whole = self.blocks_of(sequence.length.min(self.config.max_model_len)).saturating_sub(hits);
        if self.config.scheduler_reserve_full_isl && u64::from(whole) + fixed > free {
            return false;
        }
        let first = self.blocks_of(slots.min(self.config.max_model_len)).saturating_sub(hits);
        u64::from(first) + fixed <= free
    }

    /// Lets an admitted sequence run, with its cached blocks and those for its first tokens.
    fn start(&mut self, key: Key, hits: u32, tokens: u32, batch: &mut Batch) {
        let cached = hits * self.config.block_size;
        let most = self.blocks_of(self.sequences[key].last_useful() + 1) as usize;
        let sequence = &mut self.sequences[key];
        if let Blocks::Identified(_) = self.blocks {
            sequence.table.reserve_exact(most);
        }
        for block in 0..hits {
            let found = self.blocks.find(sequence.hashes[block as usize]);
            let (id, _) = found.expect("found a moment ago");
            self.blocks.touch(id);
            sequence.table.push(id);
        }
        (sequence.held, sequence.registered) = (hits, hits);
        let resumed = sequence.status == Status::Preempted;
        if !resumed {
            self.counters.prefix_queries += u64::from(sequence.length);
            self.counters.prefix_hits += u64::from(cached);
        }
        sequence.status = Status::Running;
        sequence.computed = cached;
        sequence.is_prefill_chunk = true;
        sequence.ticket = self.tickets;
        self.tickets += 1;
        batch.admitted.push(Admission { key, request: sequence.request, cached, resumed });
        let allocated = self.allocate(key, tokens);
        debug_assert!(allocated, "the admission was checked");
        self.running.push(key);
        self.irregular.push(key);
        self.enter(key, tokens, batch);
    }
}

//! Schedule, update, abort: vLLM's V1 scheduler.
//!
//! A step is [`Scheduler::schedule`], which picks tokens and blocks, then its execution, then
//! [`Scheduler::update`], which brings the sampled tokens back. With async scheduling the next step is scheduled before
//! the one before it is updated. Steady decodes are not looked at one by one as long as tokens and blocks suffice for
//! all; when they do not, the running list is walked in its order.

use std::collections::VecDeque;

use scaletwin_core::model::StepShape;
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::config::{QueuePolicy, SchedulerConfig};
use super::group::Group;
use super::sequence::{Arriving, Finish, Key, Sequence, Sequences, Status};
use super::waiting::Waiting;

/// The scheduler of one replica.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scheduler {
    config: SchedulerConfig,
    sequences: Sequences,
    /// All that run, in the order of admission.
    running: Vec<Key>,
    /// Those of `running` that are not steady, in the same order.
    irregular: Vec<Key>,
    waiting: Waiting,
    group: Group,
    blocks: Blocks,
    /// Steps scheduled and not yet updated, the oldest first.
    in_flight: VecDeque<Batch>,
    /// Sequences that were sampled individually in the last step: they may become steady.
    joining: Vec<Key>,
    /// A step that is over, whose lists are used again.
    #[serde(skip)]
    spare: Option<Batch>,
    /// Kept to save allocations.
    #[serde(skip)]
    turns: Vec<TurnOf>,
    tickets: u64,
    /// When the last update was, in the caller's unit.
    last_update: u128,
    hold: Hold,
    blocked: Blocked,
    counters: Counters,
    /// Whether every step walks the running list. It changes no decision; tests compare both ways.
    walk_always: bool,
}

/// The state of the prefill interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hold {
    executed: i64,
    last_prefill: i64,
    capacity_bound: bool,
}

/// Why the waiting pass of the last schedule ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Blocked {
    /// Nobody waits, or it is not known.
    Unknown,
    /// As many run as may.
    Slots,
    /// The next one did not get its blocks.
    Blocks,
}

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Tokens looked up in the prefix cache at first admissions.
    pub prefix_queries: u64,
    /// Tokens found there.
    pub prefix_hits: u64,
    /// Preemptions.
    pub preemptions: u64,
}

/// A scheduled step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    clock: u64,
    /// Steady decodes in it.
    steady: u32,
    entries: Vec<Entry>,
    /// Requests admitted in it.
    pub admitted: Vec<Admission>,
    /// Requests preempted in it, in the order of eviction.
    pub preempted: Vec<Key>,
    /// What its execution takes.
    pub shape: StepShape,
}

/// A sequence scheduled individually.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Entry {
    key: Key,
    tokens: u32,
    samples: bool,
}

/// A request admitted in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// The sequence.
    pub key: Key,
    /// The caller's number.
    pub request: u32,
    /// Tokens found in the prefix cache.
    pub cached: u32,
    /// Whether it had run before and was preempted.
    pub resumed: bool,
}

/// What an update brings back for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Output {
    /// Its first token.
    FirstToken {
        /// The caller's number.
        request: u32,
    },
    /// A further token, of a request that did not decode steadily.
    Token {
        /// The caller's number.
        request: u32,
        /// When its token before came back.
        last: u128,
    },
    /// Its end, after its last token.
    Finished {
        /// The caller's number.
        request: u32,
        /// The sequence, which is gone.
        key: Key,
        /// How it ended.
        finish: Finish,
        /// The tokens of its answer.
        outputs: u32,
    },
}

/// The bounds of one schedule.
#[derive(Clone, Copy)]
struct Pass {
    threshold: u32,
    held: bool,
}

impl Batch {
    /// An empty step with the lists of this one.
    fn emptied(self) -> Batch {
        let Batch { mut entries, mut admitted, mut preempted, .. } = self;
        entries.clear();
        admitted.clear();
        preempted.clear();
        Batch { clock: 0, steady: 0, entries, admitted, preempted, shape: StepShape::default() }
    }

    /// Whether nothing is computed in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.tokens() == 0
    }

    /// Steady decodes in it.
    #[must_use]
    pub fn steady(&self) -> u32 {
        self.steady
    }
}

impl Scheduler {
    /// A scheduler without requests.
    #[must_use]
    pub fn new(config: SchedulerConfig) -> Scheduler {
        let identified = config.enable_prefix_caching || config.identify_blocks;
        Scheduler {
            sequences: Sequences::default(),
            running: Vec::new(),
            irregular: Vec::new(),
            waiting: Waiting::new(config.policy),
            group: Group::new(config.block_size, identified),
            blocks: Blocks::new(config.num_gpu_blocks, identified),
            in_flight: VecDeque::new(),
            joining: Vec::new(),
            spare: None,
            turns: Vec::new(),
            tickets: 0,
            last_update: 0,
            hold: Hold {
                executed: 0,
                last_prefill: -i64::from(config.prefill_schedule_interval),
                capacity_bound: false,
            },
            blocked: Blocked::Unknown,
            counters: Counters::default(),
            walk_always: false,
            config,
        }
    }

    /// A scheduler without requests, with the sums of this one.
    #[must_use]
    pub fn emptied(&self) -> Scheduler {
        Scheduler { counters: self.counters, ..Scheduler::new(self.config.clone()) }
    }

    /// Lets every step walk the running list, as the reference that the fast way is compared with.
    pub fn walk_always(&mut self) {
        self.walk_always = true;
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// The KV blocks.
    #[must_use]
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many wait, those preempted included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sums since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Steps scheduled and not yet updated, the oldest first.
    pub fn in_flight(&self) -> impl ExactSizeIterator<Item = &Batch> {
        self.in_flight.iter()
    }

    /// The share of usable blocks that were in use after the last update, 0 to 1: before the last schedule, if that had
    /// only steady decodes.
    #[must_use]
    pub fn used_share_before_steady_schedule(&self) -> f64 {
        let taken = self.group.due_before();
        share(self.blocks.free() + taken, self.blocks.usable())
    }

    /// The share of usable blocks in use, 0 to 1.
    #[must_use]
    pub fn used_share(&self) -> f64 {
        share(self.blocks.free(), self.blocks.usable())
    }

    /// All requests that run or wait, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<Key> {
        let mut keys = self.waiting.in_order(&self.sequences);
        keys.extend(&self.running);
        keys
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// The sequence of `key`, if it is still there.
    #[must_use]
    pub fn sequence(&self, key: Key) -> Option<&Sequence> {
        self.sequences.get(key)
    }

    /// The caller's numbers of those that run, in the order of admission.
    #[must_use]
    pub fn running_requests(&self) -> Vec<u32> {
        self.running.iter().map(|key| self.sequences[*key].request).collect()
    }

    /// The caller's numbers of those that wait, in the order in which they are taken.
    #[must_use]
    pub fn waiting_requests(&self) -> Vec<u32> {
        self.waiting.in_order(&self.sequences).iter().map(|key| self.sequences[*key].request).collect()
    }

    /// The caller's numbers and tokens of the step scheduled last, in the scheduler's order.
    #[must_use]
    pub fn scheduled(&self) -> Vec<(u32, u32)> {
        let Some(batch) = self.in_flight.back() else { return Vec::new() };
        let tokens = |key: Key, sequence: &Sequence| {
            if sequence.steady {
                return Some(1);
            }
            batch.entries.iter().find(|entry| entry.key == key).map(|entry| entry.tokens)
        };
        let mut list = Vec::new();
        for &key in &self.running {
            let sequence = &self.sequences[key];
            if let Some(tokens) = tokens(key, sequence) {
                list.push((sequence.request, tokens));
            }
        }
        list
    }

    /// Takes a request in: it waits.
    pub fn add(&mut self, arriving: Arriving) -> Key {
        let key = self.announce(arriving);
        self.enqueue(key);
        key
    }

    /// Keeps a request that has not come to the scheduler yet: nothing is changed by it until it is enqueued.
    pub fn announce(&mut self, arriving: Arriving) -> Key {
        let mut sequence = Sequence::new(arriving, self.config.max_model_len);
        if !self.walk_always {
            sequence.shared = sequence.content.shared_tokens() / self.config.block_size;
        }
        self.sequences.insert(sequence)
    }

    /// Lets a request that was announced wait; one that was withdrawn since is passed over.
    pub fn enqueue(&mut self, key: Key) {
        let Some(sequence) = self.sequences.get(key) else { return };
        // Behind a head that cannot be admitted, nobody is; and with no slot free, nobody is at all.
        if self.blocked == Blocked::Blocks && self.config.policy != QueuePolicy::Fcfs {
            self.blocked = Blocked::Unknown;
        }
        self.waiting.push(key, sequence);
    }

    /// Whether a request that is enqueued now could change what the next schedule does with the others.
    #[must_use]
    pub fn would_notice_arrival(&self) -> bool {
        match self.blocked {
            Blocked::Unknown => true,
            Blocked::Slots => false,
            Blocked::Blocks => self.config.policy != QueuePolicy::Fcfs,
        }
    }

    /// Lets a request go that was announced and not enqueued.
    pub fn withdraw(&mut self, key: Key) {
        self.sequences.remove(key);
    }

    /// The tokens of an answer that have come back.
    #[must_use]
    pub fn outputs(&self, key: Key) -> Option<u32> {
        let sequence = self.sequences.get(key)?;
        Some(self.known_length(sequence) - sequence.prompt)
    }

    /// Takes a request out wherever it is; what steps in flight sampled for it is dropped. Whether it was there, and the
    /// tokens of its answer that had come back.
    pub fn abort(&mut self, key: Key) -> Option<u32> {
        let sequence = self.sequences.get(key)?;
        let outputs = self.known_length(sequence) - sequence.prompt;
        if sequence.status == Status::Running {
            self.drop_from_flight(key);
            self.leave_running(key);
            self.release(key);
        }
        let sequence = self.sequences.remove(key)?;
        if sequence.status != Status::Running {
            self.waiting.remove(&sequence, &self.sequences);
        }
        self.blocked = Blocked::Unknown;
        Some(outputs)
    }

    // ---- what is known of a sequence, steady or not ----

    fn computed(&self, sequence: &Sequence) -> u32 {
        if sequence.steady { self.group.computed(sequence) } else { sequence.computed }
    }

    /// Tokens known. For a steady one, between an update and the next schedule.
    fn known_length(&self, sequence: &Sequence) -> u32 {
        match (sequence.steady, self.config.async_scheduling) {
            (false, _) => sequence.length,
            (true, true) => self.group.computed(sequence) - self.returned_late(sequence),
            (true, false) => self.group.computed(sequence) + 1 - self.returned_late(sequence),
        }
    }

    /// Tokens of a steady sequence beyond the one that is always on its way: those of steps in flight that would not be
    /// in flight at the start of a schedule.
    fn returned_late(&self, sequence: &Sequence) -> u32 {
        let usual = usize::from(self.config.async_scheduling);
        let steady = |batch: &&Batch| sequence.steady_since <= batch.clock;
        u32::from(self.in_flight.len() > usual && self.in_flight.back().as_ref().is_some_and(steady))
    }

    fn blocks_of(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.config.block_size)
    }

    /// Blocks held, for a steady one by its progress.
    fn held(&self, sequence: &Sequence) -> u32 {
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

    // ---- one schedule ----

    /// Schedules the next step. It is in flight until [`Scheduler::update`].
    pub fn schedule(&mut self) -> &Batch {
        self.join_group();
        if self.config.async_scheduling {
            self.leave_ending();
        }
        let pass = self.pass();
        let mut batch = self.spare.take().unwrap_or_default();
        batch.clock = self.group.clock();
        let budget = self.config.max_num_batched_tokens;
        let left = if self.group_fits(pass, budget) {
            self.pass_by_group(pass, budget, &mut batch)
        } else {
            self.pass_one_by_one(pass, budget, &mut batch)
        };
        let chunk_before = self.had_prefill(&batch);
        self.blocked = Blocked::Unknown;
        if batch.preempted.is_empty() {
            self.admit(pass, left, &mut batch);
        }
        self.after_schedule(&mut batch, chunk_before);
        self.in_flight.push_back(batch);
        self.in_flight.back().expect("just pushed")
    }

    /// Those sampled individually in the step before are steady from now on, if they still want one token a step.
    fn join_group(&mut self) {
        for key in self.joining.drain(..) {
            let Some(sequence) = self.sequences.get_mut(key) else { continue };
            let wants_one = sequence.length + sequence.placeholders == sequence.computed + 1;
            if sequence.status == Status::Running
                && !sequence.steady
                && wants_one
                && sequence.computed <= sequence.last_useful()
            {
                self.group.join(key, sequence);
                self.irregular.retain(|other| *other != key);
            }
        }
    }

    /// With async scheduling, those whose last token is in flight are looked at one by one.
    fn leave_ending(&mut self) {
        let Some(before) = self.group.clock().checked_sub(1) else { return };
        for key in self.group.take_finishing(before, &self.sequences) {
            self.leave_group(key);
        }
    }

    fn pass(&self) -> Pass {
        let count = self.running.len() + self.waiting.len();
        let mut threshold = if count > 1 { self.config.long_prefill_token_threshold } else { 0 };
        if self.config.long_prefill_token_threshold_adaptive && threshold > 0 {
            let share = self.config.max_num_batched_tokens / u32::try_from(count).unwrap_or(u32::MAX);
            threshold = threshold.max(share);
        }
        let interval = i64::from(self.config.prefill_schedule_interval);
        let decodes = || {
            !self.group.is_empty() || self.irregular.iter().any(|key| !self.sequences[*key].is_prefill_chunk)
        };
        let held = interval > 1
            && !self.hold.capacity_bound
            && self.hold.executed + 1 - self.hold.last_prefill < interval
            && decodes();
        Pass { threshold, held }
    }

    /// How many tokens a running sequence gets of `budget`; 0: it is passed over.
    fn wanted(&self, sequence: &Sequence, pass: Pass, budget: u32) -> u32 {
        let computed = self.computed(sequence);
        if sequence.steady {
            return budget.min(1);
        }
        let placeholders = sequence.placeholders;
        let last_in_flight = placeholders > 0 && computed + 2 - placeholders >= sequence.horizon;
        if (pass.held && sequence.is_prefill_chunk) || (self.config.async_scheduling && last_in_flight) {
            return 0;
        }
        let mut tokens = sequence.length + placeholders - computed;
        if 0 < pass.threshold && pass.threshold < tokens {
            tokens = pass.threshold;
        }
        tokens.min(budget).min((self.config.max_model_len - 1).saturating_sub(computed))
    }

    /// Whether tokens and blocks suffice for all that run, so that the order of the list does not matter.
    fn group_fits(&self, pass: Pass, budget: u32) -> bool {
        if self.walk_always || self.config.prefill_schedule_interval > 1 {
            return false;
        }
        let Some(mut left) = budget.checked_sub(self.group.len()) else { return false };
        let steady_first = self.running.len() >= self.irregular.len()
            && self.running[self.running.len() - self.irregular.len()..] == self.irregular[..];
        let mut needed = self.group.due(0);
        for key in &self.irregular {
            let sequence = &self.sequences[*key];
            let tokens = self.wanted(sequence, pass, left);
            if !steady_first && tokens < self.wanted(sequence, pass, u32::MAX) {
                return false;
            }
            needed += self.blocks_needed(sequence, tokens);
            left -= tokens;
        }
        needed <= self.blocks.free()
    }

    /// Blocks that a running sequence needs for so many more tokens.
    fn blocks_needed(&self, sequence: &Sequence, tokens: u32) -> u32 {
        let slots = (self.computed(sequence) + tokens).min(self.config.max_model_len);
        self.blocks_of(slots).saturating_sub(self.held(sequence))
    }

    /// The running pass when everybody gets what it wants. Gives the tokens left.
    fn pass_by_group(&mut self, pass: Pass, budget: u32, batch: &mut Batch) -> u32 {
        let mut left = budget - self.group.len();
        batch.steady = self.group.len();
        batch.shape.decode_sequences = self.group.len();
        batch.shape.decode_context = self.group.context();
        let irregular = std::mem::take(&mut self.irregular);
        if let Blocks::Counted { free, .. } = &mut self.blocks {
            *free -= self.group.due(0);
            for key in &irregular {
                left -= self.schedule_running(*key, pass, left, batch);
            }
        } else {
            let mut turns = self.group_turns();
            turns.extend(irregular.iter().map(|key| (self.sequences[*key].ticket, *key, Turn::Individual)));
            if !irregular.is_empty() {
                turns.sort_unstable_by_key(|(ticket, ..)| *ticket);
            }
            for (_, key, turn) in &turns {
                match turn {
                    Turn::Individual => left -= self.schedule_running(*key, pass, left, batch),
                    Turn::Steady => {
                        self.allocate(*key, 1);
                    }
                }
            }
            self.turns = turns;
        }
        self.irregular = irregular;
        left
    }

    /// The steady ones whose blocks change in the next step, by ticket.
    fn group_turns(&mut self) -> Vec<TurnOf> {
        let mut turns = std::mem::take(&mut self.turns);
        turns.clear();
        let steady = |(ticket, key): &(u64, Key)| (*ticket, *key, Turn::Steady);
        turns.extend(self.group.members_due().iter().map(steady));
        // With async scheduling a block is known to be full one step later, when the next one is needed.
        if !self.config.async_scheduling && self.config.block_size > 1 {
            turns.extend(self.group.members_filling().iter().map(steady));
            turns.sort_unstable_by_key(|(ticket, ..)| *ticket);
        }
        turns
    }

    /// Schedules one that is not steady, its blocks being there. Gives its tokens.
    fn schedule_running(&mut self, key: Key, pass: Pass, left: u32, batch: &mut Batch) -> u32 {
        let tokens = self.wanted(&self.sequences[key], pass, left);
        if tokens > 0 {
            let allocated = self.allocate(key, tokens);
            debug_assert!(allocated, "blocks were counted before");
            self.enter(key, tokens, batch);
        }
        tokens
    }

    /// The running pass in the order of the list, with preemption. Gives the tokens left.
    fn pass_one_by_one(&mut self, pass: Pass, budget: u32, batch: &mut Batch) -> u32 {
        let mut left = budget;
        let mut at = 0;
        while at < self.running.len() && left > 0 {
            let key = self.running[at];
            let tokens = self.wanted(&self.sequences[key], pass, left);
            if tokens == 0 {
                at += 1;
                continue;
            }
            let mut itself = false;
            while !self.allocate(key, tokens) {
                let victim = self.victim();
                let place = self.running.iter().position(|other| *other == victim).expect("a victim runs");
                let scheduled = place < at;
                if scheduled {
                    at -= 1;
                    left += self.unschedule(victim, batch);
                }
                itself = victim == key;
                self.preempt(victim, scheduled, batch);
                if itself {
                    break;
                }
            }
            if itself {
                match self.config.policy {
                    QueuePolicy::Fcfs => break,
                    QueuePolicy::Priority => continue,
                }
            }
            if self.sequences[key].steady {
                batch.steady += 1;
                batch.shape.decode_sequences += 1;
                batch.shape.decode_context += u64::from(self.group.computed(&self.sequences[key])) + 1;
            } else {
                self.enter(key, tokens, batch);
            }
            left -= tokens;
            at += 1;
        }
        let passed_over: Vec<_> =
            self.running[at..].iter().copied().filter(|key| self.sequences[*key].steady).collect();
        for key in passed_over {
            self.leave_group(key);
        }
        left
    }

    /// Who is preempted next.
    fn victim(&self) -> Key {
        let youngest = *self.running.last().expect("somebody runs");
        match self.config.policy {
            QueuePolicy::Fcfs => youngest,
            QueuePolicy::Priority => {
                let urgency = |key: &Key| (self.sequences[*key].priority, self.sequences[*key].arrived);
                let mut worst = self.running[0];
                for key in &self.running[1..] {
                    if urgency(key) > urgency(&worst) {
                        worst = *key;
                    }
                }
                worst
            }
        }
    }

    /// Takes a victim's tokens out of the step being scheduled. Gives them back.
    fn unschedule(&mut self, victim: Key, batch: &mut Batch) -> u32 {
        let sequence = &self.sequences[victim];
        if sequence.steady {
            batch.steady -= 1;
            batch.shape.decode_sequences -= 1;
            batch.shape.decode_context -= u64::from(self.group.computed(sequence)) + 1;
            return 1;
        }
        let Some(place) = batch.entries.iter().position(|entry| entry.key == victim) else { return 0 };
        let entry = batch.entries.remove(place);
        add_to_shape(&mut batch.shape, sequence, entry.tokens, false);
        entry.tokens
    }

    /// Frees a victim's blocks and puts it back into the waiting queue.
    fn preempt(&mut self, victim: Key, scheduled: bool, batch: &mut Batch) {
        if self.sequences[victim].steady {
            let grown = self.blocks_of(self.group.computed(&self.sequences[victim]) + u32::from(scheduled));
            self.leave_group(victim);
            self.sequences[victim].held = grown;
        }
        self.leave_running(victim);
        self.register_private(victim);
        self.release(victim);
        let sequence = &mut self.sequences[victim];
        sequence.status = Status::Preempted;
        sequence.computed = 0;
        sequence.stale += sequence.placeholders;
        sequence.placeholders = 0;
        sequence.is_prefill_chunk = false;
        self.waiting.push_front(victim, &self.sequences[victim]);
        self.counters.preemptions += 1;
        batch.preempted.push(victim);
    }

    /// Gives a running sequence the blocks for so many more tokens and lets its full blocks be found. Whether there
    /// were enough; if not, nothing changed.
    fn allocate(&mut self, key: Key, tokens: u32) -> bool {
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
    fn register(&mut self, key: Key, tokens: u32) {
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
    fn register_private(&mut self, key: Key) {
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
    fn release(&mut self, key: Key) {
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

    /// Counts a sequence that is not steady into the step.
    fn enter(&mut self, key: Key, tokens: u32, batch: &mut Batch) {
        batch.entries.push(Entry { key, tokens, samples: false });
        add_to_shape(&mut batch.shape, &self.sequences[key], tokens, true);
    }

    // ---- the waiting pass ----

    fn admit(&mut self, pass: Pass, mut left: u32, batch: &mut Batch) {
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
        }
        for key in deferred.into_iter().rev() {
            self.waiting.push_front(key, &self.sequences[key]);
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
        let Blocks::Identified(blocks) = &self.blocks else { return (0, 0) };
        if !self.config.enable_prefix_caching {
            return (0, 0);
        }
        let sequence = &mut self.sequences[key];
        // Before it ran, nobody can have computed what is its own.
        let known = if sequence.status == Status::Preempted { u32::MAX } else { sequence.shared };
        let (mut hits, mut idle) = (0, 0);
        for block in 0..((sequence.length - 1) / self.config.block_size).min(known) {
            let Some(id) = blocks.find(hash_of(sequence, block, self.config.block_size)) else { break };
            hits += 1;
            idle += u32::from(blocks.is_idle(id));
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
        if let Blocks::Identified(blocks) = &mut self.blocks {
            sequence.table.reserve_exact(most);
            for block in 0..hits {
                let id = blocks.find(sequence.hashes[block as usize]).expect("found a moment ago");
                blocks.touch(id);
                sequence.table.push(id);
            }
            sequence.registered = hits;
        }
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

    // ---- after the passes ----

    /// Whether a running sequence went on with its prompt in this step. To be asked before admissions are counted.
    fn had_prefill(&self, batch: &Batch) -> bool {
        batch.entries.iter().any(|entry| self.sequences[entry.key].is_prefill_chunk)
    }

    fn after_schedule(&mut self, batch: &mut Batch, chunk_before: bool) {
        for entry in &mut batch.entries {
            let sequence = &mut self.sequences[entry.key];
            sequence.computed += entry.tokens;
            sequence.is_prefill_chunk = sequence.computed < sequence.length + sequence.placeholders;
            entry.samples = !sequence.is_prefill_chunk;
            if entry.samples {
                sequence.placeholders += u32::from(self.config.async_scheduling);
                self.joining.push(entry.key);
            }
        }
        if batch.steady > 0 || !batch.entries.is_empty() {
            self.hold.executed += 1;
            let long_admission = batch.admitted.iter().any(|admission| {
                let length = self.sequences[admission.key].length;
                admission.cached + 1 < length
            });
            if chunk_before || long_admission {
                self.hold.last_prefill = self.hold.executed;
            }
        }
        self.group.advance(1);
    }

    // ---- update ----

    /// Brings back the tokens of the oldest step in flight at `now` (in the caller's unit). Gives how many steady
    /// sequences got one; what concerns single requests goes to `outputs`.
    pub fn update(&mut self, now: u128, outputs: &mut Vec<Output>) -> u32 {
        let Some(batch) = self.in_flight.pop_front() else { return 0 };
        let mut finished: Vec<(u64, Key)> = Vec::new();
        if !self.config.async_scheduling {
            for key in self.group.take_finishing(batch.clock, &self.sequences) {
                self.leave_group_finished(key);
                finished.push((self.sequences[key].ticket, key));
            }
        }
        for entry in batch.entries.iter().filter(|entry| entry.samples) {
            if self.bring_back(entry.key, now, outputs) {
                finished.push((self.sequences[entry.key].ticket, entry.key));
            }
        }
        finished.sort_unstable();
        for (_, key) in finished {
            self.finish(key, outputs);
        }
        self.last_update = now;
        let steady = batch.steady;
        self.spare = Some(batch.emptied());
        steady
    }

    /// One sampled token of a sequence that was looked at individually. Whether it was its last.
    fn bring_back(&mut self, key: Key, now: u128, outputs: &mut Vec<Output>) -> bool {
        let Some(sequence) = self.sequences.get_mut(key) else { return false };
        if sequence.steady {
            // It was sampled individually and joined the group since: its length follows from the clock.
            outputs.push(first_or_next(sequence, now));
            return false;
        }
        sequence.length += 1;
        if sequence.stale > 0 {
            sequence.stale -= 1;
        } else if self.config.async_scheduling {
            sequence.placeholders -= 1;
        }
        outputs.push(first_or_next(sequence, now));
        let done = sequence.length - sequence.prompt >= sequence.last_output;
        if self.config.async_scheduling && sequence.status == Status::Running {
            let known = sequence.computed - sequence.placeholders;
            self.register(key, known);
        }
        done
    }

    /// Lets a request go whose answer is complete.
    fn finish(&mut self, key: Key, outputs: &mut Vec<Output>) {
        let status = self.sequences[key].status;
        if status == Status::Running {
            self.leave_running(key);
            self.release(key);
        }
        let Some(sequence) = self.sequences.remove(key) else { return };
        if status != Status::Running {
            self.waiting.remove(&sequence, &self.sequences);
        }
        self.blocked = Blocked::Unknown;
        outputs.push(Output::Finished {
            request: sequence.request,
            key,
            finish: sequence.finish,
            outputs: sequence.last_output,
        });
    }

    // ---- in and out of the group and the lists ----

    /// Writes down what a steady sequence knows through the group, between an update and the next schedule.
    fn leave_group(&mut self, key: Key) {
        let sequence = &self.sequences[key];
        let computed = self.group.computed(sequence);
        let length = self.known_length(sequence);
        let held = self.blocks_of(computed);
        let since = sequence.steady_since;
        for batch in self.in_flight.iter_mut().filter(|batch| since <= batch.clock) {
            batch.steady -= 1;
            batch.entries.push(Entry { key, tokens: 1, samples: true });
        }
        let sequence = &mut self.sequences[key];
        sequence.computed = computed;
        sequence.length = length;
        sequence.placeholders = u32::from(self.config.async_scheduling);
        sequence.held = held;
        sequence.is_prefill_chunk = false;
        sequence.last_token = Some(self.last_update);
        self.group.leave(key, sequence);
        let ticket = sequence.ticket;
        let place = self.irregular.partition_point(|other| self.sequences[*other].ticket < ticket);
        self.irregular.insert(place, key);
    }

    /// Writes down what a steady sequence knows through the group after its last step (sync scheduling).
    fn leave_group_finished(&mut self, key: Key) {
        let sequence = &mut self.sequences[key];
        sequence.computed = self.group.computed(sequence);
        sequence.length = sequence.computed + 1;
        sequence.held = sequence.computed.div_ceil(self.config.block_size);
        self.group.leave(key, sequence);
    }

    /// Takes a sequence out of the running list, steady or not, its blocks still held.
    fn leave_running(&mut self, key: Key) {
        let held = self.held(&self.sequences[key]);
        let sequence = &mut self.sequences[key];
        if sequence.steady {
            sequence.held = held;
            self.group.leave(key, sequence);
        } else if let Some(place) = self.irregular.iter().position(|other| *other == key) {
            self.irregular.remove(place);
        }
        let ticket = self.sequences[key].ticket;
        let place = self.running.binary_search_by_key(&ticket, |other| self.sequences[*other].ticket);
        self.running.remove(place.expect("it runs"));
    }

    /// Drops the tokens that steps in flight sample for a sequence. Individual entries are dropped by their key.
    fn drop_from_flight(&mut self, key: Key) {
        let sequence = &self.sequences[key];
        if sequence.steady {
            let since = sequence.steady_since;
            for batch in self.in_flight.iter_mut().filter(|batch| since <= batch.clock) {
                batch.steady -= 1;
            }
        }
    }

    // ---- many steps at once ----

    /// How many pairs of (update of the oldest step in flight, schedule of one more) would bring nothing but one token
    /// to each steady decode: no first token, no end, no admission, no preemption.
    pub fn quiet_steps(&mut self) -> u64 {
        // A step from which a request was withdrawn still computes its token.
        let pure = |batch: &Batch| {
            batch.entries.is_empty()
                && batch.steady == self.group.len()
                && batch.shape.decode_sequences == self.group.len()
        };
        let waits = match self.blocked {
            Blocked::Unknown => self.waiting.is_empty(),
            Blocked::Slots => true,
            Blocked::Blocks => !self.config.enable_prefix_caching,
        };
        let idle = self.in_flight.is_empty() || self.group.is_empty();
        if self.walk_always || idle || !waits || !self.irregular.is_empty() || !self.joining.is_empty() {
            return 0;
        }
        let alone = self.config.prefill_schedule_interval == 1
            && self.group.len() <= self.config.max_num_batched_tokens
            && self.in_flight.iter().all(pure);
        let Some(last) = self.group.next_finish(&self.sequences).filter(|_| alone) else { return 0 };
        let until_finish = last + 1 - self.group.clock();
        self.group.steps_within(self.blocks.free(), until_finish)
    }

    /// Takes `steps` of the [quiet steps](Scheduler::quiet_steps) at once; the last of their updates was at `now`.
    pub fn take_quiet_steps(&mut self, steps: u64, now: u128) {
        if steps == 0 {
            return;
        }
        if let Blocks::Counted { free, .. } = &mut self.blocks {
            let needed = self.group.blocks_for(steps);
            *free -= u32::try_from(needed).expect("quiet steps fit into the free blocks");
            self.group.advance(steps);
        } else {
            for _ in 0..steps {
                let turns = self.group_turns();
                for (_, key, _) in &turns {
                    self.allocate(*key, 1);
                }
                self.turns = turns;
                self.group.advance(1);
            }
        }
        for batch in &mut self.in_flight {
            batch.clock += steps;
            batch.shape = batch.shape.after(steps);
        }
        self.hold.executed += i64::try_from(steps).expect("fewer than 2^63 steps");
        self.last_update = now;
    }
}

/// The share of blocks in use.
fn share(free: u32, usable: u32) -> f64 {
    if usable == 0 { 0.0 } else { 1.0 - f64::from(free) / f64::from(usable) }
}

/// Whose turn it is in a running pass, by ticket.
type TurnOf = (u64, Key, Turn);

/// Whether a turn of the running pass is that of a steady sequence.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Steady,
    Individual,
}

/// The hash of a block of a sequence, those before it computed as needed.
fn hash_of(sequence: &mut Sequence, block: u32, size: u32) -> u64 {
    for next in u32::try_from(sequence.hashes.len()).expect("blocks are numbered by u32")..=block {
        let before = sequence.hashes.last().copied();
        let hash = sequence.content.block_hash(before, next * size, size);
        sequence.hashes.push(hash);
    }
    sequence.hashes[block as usize]
}

/// Notes that a token came back, and gives its output.
fn first_or_next(sequence: &mut Sequence, now: u128) -> Output {
    let request = sequence.request;
    match sequence.last_token.replace(now) {
        None => Output::FirstToken { request },
        Some(last) => Output::Token { request, last },
    }
}

/// Adds the tokens of a sequence to a shape, or takes them out.
fn add_to_shape(shape: &mut StepShape, sequence: &Sequence, tokens: u32, add: bool) {
    let (computed, count) = (u64::from(sequence.computed), u64::from(tokens));
    let signed = |total: &mut u64, value: u64| *total = if add { *total + value } else { *total - value };
    let one = if add { 1i64 } else { -1 };
    let step = |total: u32| u32::try_from(i64::from(total) + one).expect("a count of sequences");
    if sequence.is_prefill_chunk {
        signed(&mut shape.prefill_tokens, count);
        signed(&mut shape.prefill_attention, count * (2 * computed + count + 1) / 2);
        signed(&mut shape.prefill_context, computed + count);
        shape.prefill_sequences = step(shape.prefill_sequences);
    } else {
        signed(&mut shape.decode_context, computed + count);
        shape.decode_sequences = step(shape.decode_sequences);
    }
}

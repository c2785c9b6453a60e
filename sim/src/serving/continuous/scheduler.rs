//! Schedule, update, abort: vLLM's V1 scheduler.
//!
//! A step is [`Scheduler::schedule`], which picks tokens and blocks, then its execution, then
//! [`Scheduler::update`], which brings the sampled tokens back. With async scheduling the next step is scheduled before
//! the one before it is updated. Steady decodes are not looked at one by one as long as tokens and blocks suffice for
//! all; when they do not, the running list is walked in its order.
//!
//! | module | what it holds |
//! |---|---|
//! | `running` | the running pass, with preemption |
//! | `admission` | the waiting pass |
//! | `allocation` | KV blocks of sequences |
//! | `membership` | in and out of the running list and the group of steady decodes |
//! | `update` | what comes back of a step |
//! | `quiet` | many steps at once |
//! | `batch` | a step as it was scheduled |

mod admission;
mod allocation;
mod batch;
mod membership;
mod quiet;
mod running;
mod update;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::config::{QueuePolicy, SchedulerConfig};
use super::group::Group;
use super::sequence::{Arriving, Key, Sequence, Sequences, Status};
use super::waiting::Waiting;
pub use batch::{Admission, Batch};
use batch::{Entry, add_to_shape};
pub use quiet::{Quiet, Settling};
use running::TurnOf;
pub use update::Output;

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
    /// Steps scheduled and not yet updated, the oldest first. Boxed, because they come and go at every step.
    in_flight: VecDeque<Box<Batch>>,
    /// Sequences that were sampled individually in the last step: they may become steady.
    joining: Vec<Key>,
    /// A step that is over, whose lists are used again.
    #[serde(skip)]
    spare: Option<Box<Batch>>,
    /// Kept to save allocations.
    #[serde(skip)]
    turns: Vec<TurnOf>,
    /// Those whose answers are complete, by ticket; kept to save allocations.
    #[serde(skip)]
    finished: Vec<(u64, Key)>,
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

/// The bounds of one schedule.
#[derive(Clone, Copy)]
struct Pass {
    threshold: u32,
    held: bool,
}

impl Scheduler {
    /// A scheduler without requests.
    #[must_use]
    pub fn new(config: SchedulerConfig) -> Scheduler {
        let (cached, identified) = (config.enable_prefix_caching, config.identify_blocks);
        Scheduler {
            sequences: Sequences::default(),
            running: Vec::new(),
            irregular: Vec::new(),
            waiting: Waiting::new(config.policy),
            group: Group::new(config.block_size, cached || identified),
            blocks: Blocks::new(config.num_gpu_blocks, cached, identified),
            in_flight: VecDeque::new(),
            joining: Vec::new(),
            spare: None,
            turns: Vec::new(),
            finished: Vec::new(),
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

    /// Lets every step walk the running list, and every block of a prefix cache have an identity, as the reference that
    /// the fast way is compared with. To be called before the first request.
    pub fn walk_always(&mut self) {
        self.walk_always = true;
        let SchedulerConfig { num_gpu_blocks, enable_prefix_caching, identify_blocks, .. } = self.config;
        self.blocks = Blocks::new(num_gpu_blocks, false, enable_prefix_caching || identify_blocks);
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

    /// How many decode steadily.
    #[must_use]
    pub fn steady(&self) -> u32 {
        self.group.len()
    }

    /// Steps scheduled and not yet updated, the oldest first.
    pub fn in_flight(&self) -> impl ExactSizeIterator<Item = &Batch> + DoubleEndedIterator {
        self.in_flight.iter().map(Box::as_ref)
    }

    /// The oldest step scheduled and not yet updated.
    #[must_use]
    pub fn oldest(&self) -> Option<&Batch> {
        self.in_flight.front().map(Box::as_ref)
    }

    /// How many steps are scheduled and not yet updated.
    #[must_use]
    pub fn steps_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many blocks were in use after the last update: before the last schedule, if that had only steady decodes.
    #[must_use]
    pub fn used_blocks_before_steady_schedule(&self) -> u32 {
        self.used_blocks() - self.group.due_before()
    }

    /// How many blocks are in use.
    #[must_use]
    pub fn used_blocks(&self) -> u32 {
        self.blocks.usable() - self.blocks.free()
    }

    /// The share of usable blocks that so many are, 0 to 1.
    #[must_use]
    pub fn share_of(&self, blocks: u32) -> f64 {
        let usable = self.blocks.usable();
        if usable == 0 { 0.0 } else { 1.0 - f64::from(usable - blocks) / f64::from(usable) }
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
        let steady = |batch: &Batch| sequence.steady_since <= batch.clock;
        u32::from(self.in_flight.len() > usual && self.in_flight().next_back().is_some_and(steady))
    }

    /// Schedules the next step. It is in flight until [`Scheduler::update`].
    pub fn schedule(&mut self) -> &Batch {
        if !self.joining.is_empty() {
            self.join_group();
        }
        self.leave_ending();
        let mut batch = self.spare.take().unwrap_or_default();
        batch.clock = self.group.clock();
        if self.has_only_group() {
            self.schedule_group(&mut batch);
        } else {
            self.schedule_all(&mut batch);
        }
        self.in_flight.push_back(batch);
        self.in_flight.back().expect("just pushed")
    }

    /// Whether the next schedule is one token for each steady decode, and nothing else.
    fn has_only_group(&self) -> bool {
        self.irregular.is_empty()
            && self.waiting.is_empty()
            && !self.group.is_empty()
            && self.group.watched() == 0
            && self.config.prefill_schedule_interval == 1
            && self.group.len() <= self.config.max_num_batched_tokens
            && self.group.due(0) <= self.blocks.free()
            && !self.walk_always
    }

    /// That schedule.
    fn schedule_group(&mut self, batch: &mut Batch) {
        batch.steady = self.group.len();
        batch.shape.decode_sequences = self.group.len();
        batch.shape.decode_context = self.group.context();
        self.take_for_group(self.group.due(0));
        self.blocked = Blocked::Unknown;
        self.hold.capacity_bound = false;
        self.hold.executed += 1;
        self.group.advance(1);
    }

    /// Any schedule: the running pass, then the waiting pass.
    #[inline(never)]
    fn schedule_all(&mut self, batch: &mut Batch) {
        let pass = self.pass();
        let budget = self.config.max_num_batched_tokens;
        let left = if self.group_fits(pass, budget) {
            self.pass_by_group(pass, budget, batch)
        } else {
            self.pass_one_by_one(pass, budget, batch)
        };
        let chunk_before = self.had_prefill(batch);
        self.blocked = Blocked::Unknown;
        if batch.preempted.is_empty() {
            self.admit(pass, left, batch);
        }
        self.after_schedule(batch, chunk_before);
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

    /// Counts a sequence that is not steady into the step.
    fn enter(&mut self, key: Key, tokens: u32, batch: &mut Batch) {
        batch.entries.push(Entry { key, tokens, samples: false });
        add_to_shape(&mut batch.shape, &self.sequences[key], tokens, true);
    }

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
}

//! Dynamic batching: a server that gathers requests into batches, as Triton's dynamic batcher does.
//!
//! A batch leaves for a free instance when it is full or of a preferred size, or when its oldest request has waited
//! long enough; who joins later waits for the next one. `docs/models/dynamic-batching.md` has the rules and their source.

mod batch_time;

pub use batch_time::BatchTime;

use std::collections::BTreeMap;

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::Happened;
use super::concurrency::{Offered, QueueOrder};

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynamicConfig {
    /// The most requests of a batch, at least 1.
    pub max_batch_size: u32,
    /// Sizes of batches that leave at once, ascending, none above `max_batch_size`; at least one.
    pub preferred_batch_sizes: Vec<u32>,
    /// How long a request may wait for others to join it.
    pub max_queue_delay: Span,
    /// Batches computed at once, at least 1.
    pub instances: u32,
    /// Whose turn it is in the queue.
    pub order: QueueOrder,
    /// Requests that may wait; `None`: any number.
    pub queue: Option<u32>,
}

/// A server that batches dynamically.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DynamicReplica {
    config: DynamicConfig,
    /// Those that wait, by priority (0 without) and ticket.
    #[serde(with = "pairs")]
    queue: BTreeMap<(i32, u64), Waiting>,
    /// Batches under way, at most one an instance, in the order of their beginning.
    running: Vec<Batch>,
    /// How many requests came.
    tickets: u64,
    /// How many batches began.
    batches: u64,
    work: BatchWork,
    busy: Busy,
}

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    request: u32,
    arrived: Time,
}

/// A batch under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    began: Time,
    end: Time,
    size: u32,
    /// Those of its requests that nobody has given up, with their tickets.
    requests: Vec<(u64, Waiting)>,
}

/// Sums over all batches that have ended, as the server counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchWork {
    /// Batches.
    pub executions: u64,
    /// Requests in them, those given up meanwhile included.
    pub inferences: u64,
    /// The time that answered requests waited for their batches, nanoseconds.
    pub queue_nanos: u128,
    /// The time that their batches took, nanoseconds, once for each request.
    pub compute_nanos: u128,
}

/// The integral over time of the instances in use, and of whether any is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Busy {
    instance_nanos: u128,
    any_nanos: u128,
    since: Time,
}

/// What is due for those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Nothing: nobody waits, or no instance is free.
    Nothing,
    /// A batch of so many.
    Batch(usize),
    /// A batch at that instant, if none has left before.
    Later(Time),
}

impl DynamicReplica {
    /// A server without requests.
    ///
    /// # Panics
    /// When a batch has no room or there is no instance.
    #[must_use]
    pub fn new(config: DynamicConfig) -> DynamicReplica {
        assert!(config.max_batch_size > 0 && config.instances > 0, "a server can serve");
        DynamicReplica {
            config,
            queue: BTreeMap::new(),
            running: Vec::new(),
            tickets: 0,
            batches: 0,
            work: BatchWork::default(),
            busy: Busy::default(),
        }
    }

    /// Requests in batches under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.iter().map(|batch| batch.requests.len()).sum()
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is room for one more request.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.config.queue.is_none_or(|most| self.queue.len() < most as usize)
    }

    /// When its next event is due, seen from `now`: a batch ends, or those that wait have waited long enough.
    #[must_use]
    pub fn next_event(&self, now: Time) -> Option<Time> {
        let end = self.running.iter().map(|batch| batch.end).min();
        match self.due(now) {
            Due::Later(at) => Some(end.map_or(at, |end| end.min(at))),
            Due::Nothing | Due::Batch(_) => end,
        }
    }

    /// Whether a batch is to begin at `now`.
    #[must_use]
    pub fn wants_to_begin(&self, now: Time) -> bool {
        matches!(self.due(now), Due::Batch(_))
    }

    fn due(&self, now: Time) -> Due {
        if self.queue.is_empty() || self.running.len() >= self.config.instances as usize {
            return Due::Nothing;
        }
        let there = self.queue.len().min(self.config.max_batch_size as usize);
        let preferred = self.config.preferred_batch_sizes.iter().rev().map(|size| *size as usize);
        let preferred = preferred.into_iter().find(|size| *size <= there);
        let waits = !self.config.max_queue_delay.is_zero();
        let until = self.oldest(there).saturating_add(self.config.max_queue_delay);
        match preferred {
            Some(size) if !waits || now < until => Due::Batch(size),
            None if waits && now < until => Due::Later(until),
            _ => Due::Batch(there),
        }
    }

    /// When the oldest of the first `there` that wait came.
    fn oldest(&self, there: usize) -> Time {
        let first = match self.config.order {
            QueueOrder::Fcfs => 1,
            QueueOrder::Priority => there,
        };
        self.queue.values().take(first).map(|waiting| waiting.arrived).min().unwrap_or(Time::NEVER)
    }

    /// Takes a request in at `now`, if there is room. [`DynamicReplica::begin`] is due at the same instant.
    pub fn offer(&mut self, now: Time, request: u32, priority: i32) -> Offered {
        if !self.has_room() {
            return Offered::Full;
        }
        let ticket = self.tickets;
        self.tickets += 1;
        self.queue.insert((self.rank(priority), ticket), Waiting { request, arrived: now });
        Offered::Taken { ticket }
    }

    fn rank(&self, priority: i32) -> i32 {
        match self.config.order {
            QueueOrder::Fcfs => 0,
            QueueOrder::Priority => priority,
        }
    }

    /// Begins the batches that are due at `now`. `time` gives how long a batch takes, by its number and size.
    pub fn begin(&mut self, now: Time, mut time: impl FnMut(u64, u32) -> Span, happened: &mut Vec<Happened>) {
        self.count_busy(now);
        while let Due::Batch(size) = self.due(now) {
            let requests: Vec<(u64, Waiting)> = (0..size)
                .map_while(|_| self.queue.pop_first())
                .map(|((_, ticket), waiting)| (ticket, waiting))
                .collect();
            happened.extend(requests.iter().map(|(_, w)| Happened::Started { request: w.request }));
            let size = u32::try_from(size).expect("no larger than max_batch_size");
            let end = now.saturating_add(time(self.batches, size).max(Span::from_nanos(1)));
            self.batches += 1;
            self.running.push(Batch { began: now, end, size, requests });
        }
    }

    /// Its event at `now`: batches end. [`DynamicReplica::begin`] is due at the same instant.
    pub fn complete(&mut self, now: Time, happened: &mut Vec<Happened>) {
        self.count_busy(now);
        for batch in self.running.extract_if(.., |batch| batch.end <= now) {
            self.work.executions += 1;
            self.work.inferences += u64::from(batch.size);
            for (_, waiting) in batch.requests {
                self.work.queue_nanos += u128::from(batch.began.since(waiting.arrived).as_nanos());
                self.work.compute_nanos += u128::from(batch.end.since(batch.began).as_nanos());
                happened.push(Happened::Finished { request: waiting.request, outputs: 0 });
            }
        }
    }

    /// Gives a request up. A batch that it is in goes on as long as it would have.
    pub fn give_up(&mut self, ticket: u64, priority: i32) {
        if self.queue.remove(&(self.rank(priority), ticket)).is_none() {
            for batch in &mut self.running {
                batch.requests.retain(|(other, _)| *other != ticket);
            }
        }
    }

    /// Ends everything at `now`. Gives the requests that it had, in the order of their arrival.
    pub fn kill(&mut self, now: Time) -> Vec<u32> {
        self.count_busy(now);
        let served = self.running.drain(..).flat_map(|batch| batch.requests);
        let queued = std::mem::take(&mut self.queue).into_iter();
        let queued = queued.map(|((_, ticket), waiting)| (ticket, waiting));
        let mut lost: Vec<(u64, Waiting)> = served.chain(queued).collect();
        lost.sort_unstable_by_key(|(ticket, _)| *ticket);
        lost.into_iter().map(|(_, waiting)| waiting.request).collect()
    }

    /// Sums over all batches that have ended.
    #[must_use]
    pub fn work(&self) -> BatchWork {
        self.work
    }

    fn count_busy(&mut self, now: Time) {
        let (instances, any) = self.busy_nanos(now);
        self.busy = Busy { instance_nanos: instances, any_nanos: any, since: now };
    }

    /// The integral up to `now` of the instances in use, and of whether any is, in nanoseconds.
    #[must_use]
    pub fn busy_nanos(&self, now: Time) -> (u128, u128) {
        let span = u128::from(now.since(self.busy.since).as_nanos());
        let any = u128::from(!self.running.is_empty());
        (self.busy.instance_nanos + span * self.running.len() as u128, self.busy.any_nanos + span * any)
    }
}

/// A map with keys that are no texts, as a list of pairs.
mod pairs {
    use super::{BTreeMap, Waiting};
    use serde::{Deserialize, Deserializer, Serializer};

    type Map = BTreeMap<(i32, u64), Waiting>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Vec::<((i32, u64), Waiting)>::deserialize(deserializer).map(Map::from_iter)
    }
}

#[cfg(test)]
mod tests;

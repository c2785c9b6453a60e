//! Replicas at work, in dense arrays.

use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::event::{Event, Handle};
use super::halted::Halted;
use super::settings::UsageSettings;
use crate::cluster::entities::ReplicaId;
use crate::engine::{Calendar, Phase, Ticket};
use crate::scrape::exporter::ReplicaCounters;
use crate::serving::concurrency::ConcurrencyReplica;
use crate::serving::continuous::replica::{ContinuousReplica, Work};
use crate::serving::dynamic::DynamicReplica;

/// A replica at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Serving {
    pub id: ReplicaId,
    /// Its number within its deployment.
    pub ordinal: u32,
    pub deployment: u32,
    pub engine: Engine,
    /// Since when its container runs.
    pub started: Time,
    /// Whether it takes requests.
    pub ready: bool,
    /// From when on it will, once that is known.
    pub ready_at: Option<Time>,
    /// Whether it is being deleted.
    pub draining: bool,
    /// Requests in it.
    pub outstanding: u64,
    /// Its next event, with the instant.
    pub due: Option<(Time, Ticket)>,
    /// Whether it is going to begin a step at this instant.
    pub begins: bool,
    /// Whether its requests end without an event: nobody has to look at them then.
    pub unseen: bool,
    pub counters: ReplicaCounters,
    /// What it had worked at the last scrape, and at the end of the warm-up.
    pub scraped: (Time, Work, u128),
    pub busy_before: u128,
    /// The CPU that it had used at the end of the warm-up, core nanoseconds.
    pub cpu_before: u64,
    pub preemptions_before: u64,
}

/// The engine of a replica.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Engine {
    /// Continuous batching.
    Continuous(Box<ContinuousReplica>),
    /// Concurrency slots.
    Slots(Box<ConcurrencyReplica>),
    /// Dynamic batching.
    Dynamic(Box<DynamicReplica>),
    /// None any more: its node has failed.
    Halted(Box<Halted>),
}

impl Engine {
    /// When its next event is due, seen from `now`.
    #[inline]
    pub(crate) fn next_event(&self, now: Time) -> Option<Time> {
        match self {
            Engine::Continuous(replica) => replica.next_event(),
            Engine::Slots(replica) => replica.next_event(),
            Engine::Dynamic(replica) => replica.next_event(now),
            Engine::Halted(_) => None,
        }
    }

    /// Whether it stands still and has something to begin at `now`.
    #[inline]
    pub(crate) fn wants_to_begin(&self, now: Time) -> bool {
        match self {
            Engine::Continuous(replica) => replica.is_idle(),
            Engine::Slots(_) | Engine::Halted(_) => false,
            Engine::Dynamic(replica) => replica.wants_to_begin(now),
        }
    }

    /// Preemptions so far.
    pub(crate) fn preemptions(&self) -> u64 {
        match self {
            Engine::Continuous(replica) => replica.scheduler().counters().preemptions,
            Engine::Slots(_) | Engine::Dynamic(_) => 0,
            Engine::Halted(halted) => halted.preemptions(),
        }
    }

    /// Checks what must hold of its resources.
    ///
    /// # Panics
    /// When it does not.
    pub(crate) fn check(&self) {
        if let Engine::Continuous(replica) = self {
            replica.scheduler().check();
        }
    }

    /// The time in which it has worked up to `now`: at all, and weighted by the share of its slots, in nanoseconds.
    pub(crate) fn busy_nanos(&self, now: Time, limit: u32) -> (u128, u128) {
        match self {
            Engine::Continuous(replica) => {
                let nanos = replica.busy_femtos(now) / 1_000_000;
                (nanos, nanos)
            }
            Engine::Slots(replica) => {
                let (slots, any) = replica.busy_nanos(now);
                (any, slots / u128::from(limit.max(1)))
            }
            Engine::Dynamic(replica) => {
                let (instances, any) = replica.busy_nanos(now);
                (any, instances / u128::from(limit.max(1)))
            }
            Engine::Halted(halted) => halted.busy_nanos(),
        }
    }
}

impl Serving {
    /// Brings its event in line with its engine.
    #[inline]
    pub(crate) fn plan_next(&mut self, handle: Handle, calendar: &mut Calendar<Event>) {
        match (self.engine.next_event(calendar.now()), self.due) {
            (Some(at), Some((due, _))) if at == due => {}
            (Some(at), Some((_, ticket))) => {
                calendar.reschedule(ticket, at, Phase::Complete);
                self.due = Some((at, ticket));
            }
            (Some(at), None) => {
                let ticket = calendar.at(at, Phase::Complete, Event::Engine(handle));
                self.due = Some((at, ticket));
            }
            (None, Some((_, ticket))) => {
                calendar.cancel(ticket, Phase::Complete);
                self.due = None;
            }
            (None, None) => {}
        }
    }

    /// What is left of it, if its node has failed.
    pub(crate) fn halted(&self) -> Option<&Halted> {
        match &self.engine {
            Engine::Halted(halted) => Some(halted),
            Engine::Continuous(_) | Engine::Slots(_) | Engine::Dynamic(_) => None,
        }
    }

    /// CPU used from its start up to `now`, in core nanoseconds.
    pub(crate) fn cpu_core_nanos(&self, now: Time, limit: u32, usage: &UsageSettings) -> u64 {
        let until = self.halted().map_or(now, Halted::at);
        let lived = u128::from(until.since(self.started).as_nanos());
        let (_, weighted) = self.engine.busy_nanos(now, limit);
        let extra = usage.cpu_busy_milli.saturating_sub(usage.cpu_idle_milli);
        let milli = lived * u128::from(usage.cpu_idle_milli) + weighted * u128::from(extra);
        u64::try_from(milli / 1_000).unwrap_or(u64::MAX)
    }

    /// Memory in use, bytes.
    pub(crate) fn memory_bytes(&self, usage: &UsageSettings) -> u64 {
        usage.memory_bytes + self.outstanding * usage.memory_per_request_bytes
    }
}

/// Replicas at work by slot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Replicas {
    slots: Vec<(u32, Option<Serving>)>,
    empty: Vec<u32>,
    /// The slot of each replica that has one, in the order of their numbers.
    by_id: std::collections::BTreeMap<ReplicaId, u32>,
}

impl Replicas {
    pub(crate) fn insert(&mut self, serving: Serving) -> Handle {
        let id = serving.id;
        let handle = if let Some(slot) = self.empty.pop() {
            let (generation, place) = &mut self.slots[slot as usize];
            *place = Some(serving);
            Handle { slot, generation: *generation }
        } else {
            let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 replicas at once");
            self.slots.push((0, Some(serving)));
            Handle { slot, generation: 0 }
        };
        self.by_id.insert(id, handle.slot);
        handle
    }

    /// The replica of a slot that is known to be taken.
    #[inline]
    pub(crate) fn at(&mut self, slot: u32) -> &mut Serving {
        self.slots[slot as usize].1.as_mut().expect("a replica that is at work")
    }

    /// Whether the replica of a handle is still at work.
    #[inline]
    pub(crate) fn is_there(&self, handle: Handle) -> bool {
        let (generation, place) = &self.slots[handle.slot as usize];
        *generation == handle.generation && place.is_some()
    }

    /// The same, with its handle.
    #[inline]
    pub(crate) fn with_handle(&mut self, slot: u32) -> (Handle, &mut Serving) {
        let (generation, serving) = &mut self.slots[slot as usize];
        let serving = serving.as_mut().expect("a replica that is at work");
        (Handle { slot, generation: *generation }, serving)
    }

    pub(crate) fn slot_of(&self, id: ReplicaId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, id: ReplicaId) -> Option<&Serving> {
        self.slots[self.slot_of(id)? as usize].1.as_ref()
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Serving {
        let (generation, place) = &mut self.slots[slot as usize];
        *generation = generation.wrapping_add(1);
        self.empty.push(slot);
        let serving = place.take().expect("a replica that is at work");
        self.by_id.remove(&serving.id);
        serving
    }

    /// The slots of all replicas at work, in the order of their numbers.
    pub(crate) fn slots(&self) -> Vec<u32> {
        self.by_id.values().copied().collect()
    }

    /// All replicas at work, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Serving> {
        self.by_id.values().filter_map(|slot| self.slots[*slot as usize].1.as_ref())
    }
}

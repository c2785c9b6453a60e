//! What is left of a replica whose node has failed.

use std::collections::BTreeMap;

use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::replica::Engine;
use crate::cluster::settings::Lost;

/// An engine that works no more, and the requests that hang in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Halted {
    /// When it stopped.
    at: Time,
    /// The time in which it had worked by then, as [`Engine::busy_nanos`] counts it.
    busy: (u128, u128),
    preemptions: u64,
    /// What becomes of requests.
    lost: Lost,
    /// Requests that it may have, as its gateway knows; `None`: any number.
    room: Option<usize>,
    /// Failures since the last ejection.
    failures: u32,
    ejections: u32,
    /// When its last ejection is over.
    pub(super) ejected_until: Option<Time>,
    /// When its gateway's probes have got no answer for long enough.
    pub(super) probed_at: Option<Time>,
    /// Whether probes have taken it out for good.
    pub(super) out: bool,
    /// Requests that hang in it, by place, each with its turn and the tokens that it had got.
    requests: BTreeMap<u32, (u64, u32)>,
    /// How many have hung in it.
    turns: u64,
}

impl Halted {
    /// What is left of an engine that stops at `at`, after its requests were taken out.
    pub(super) fn of(engine: &Engine, at: Time, slots: u32, lost: Lost, room: Option<usize>) -> Halted {
        let busy = (engine.busy_nanos(at, 1).0, engine.busy_nanos(at, slots).1);
        Halted {
            at,
            busy,
            preemptions: engine.preemptions(),
            lost,
            room,
            failures: 0,
            ejections: 0,
            ejected_until: None,
            probed_at: None,
            out: false,
            requests: BTreeMap::new(),
            turns: 0,
        }
    }

    pub(super) fn at(&self) -> Time {
        self.at
    }

    pub(super) fn lost(&self) -> Lost {
        self.lost
    }

    pub(super) fn busy_nanos(&self) -> (u128, u128) {
        self.busy
    }

    pub(super) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// How many requests hang in it.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether its gateway would send it one more.
    pub(super) fn has_room(&self) -> bool {
        self.room.is_none_or(|room| self.requests.len() < room)
    }

    /// A request fails. The number of the ejection that follows, if this is one failure too many.
    pub(super) fn fails(&mut self, most: u32) -> Option<u32> {
        self.failures += 1;
        if self.failures < most {
            return None;
        }
        self.failures = 0;
        self.ejections += 1;
        Some(self.ejections)
    }

    /// A request hangs, with so many tokens.
    pub(super) fn hold(&mut self, place: u32, outputs: u32) {
        self.requests.insert(place, (self.turns, outputs));
        self.turns += 1;
    }

    /// The tokens that a request had got.
    pub(super) fn outputs(&self, place: u32) -> u32 {
        self.requests.get(&place).map_or(0, |(_, outputs)| *outputs)
    }

    /// A request is given up. The tokens that it had got.
    pub(super) fn give_up(&mut self, place: u32) -> u32 {
        self.requests.remove(&place).map_or(0, |(_, outputs)| outputs)
    }

    /// All requests, with their tokens, in the order in which they came to hang: places say nothing of that.
    pub(super) fn take_all(&mut self) -> Vec<(u32, u32)> {
        let requests = std::mem::take(&mut self.requests);
        let mut requests: Vec<_> =
            requests.into_iter().map(|(place, (turn, outputs))| (turn, place, outputs)).collect();
        requests.sort_unstable();
        requests.into_iter().map(|(_, place, outputs)| (place, outputs)).collect()
    }
}

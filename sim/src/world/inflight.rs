//! Requests in the system, in a slab.

use scaletwin_core::record::{Finished, Outcome};
use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::event::RequestRef;
use crate::engine::Ticket;
use crate::serving::continuous::sequence::Key;
use crate::traffic::request::Request;

/// A request in the system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InFlight {
    pub request: Request,
    /// The place of its service.
    pub service: u16,
    /// Its number within its service.
    pub serial: u64,
    /// When it was last offered to a replica.
    pub offered: Time,
    pub started: Option<Time>,
    pub first_token: Option<Time>,
    pub place: Place,
    /// When its client gives it up, and how that counts.
    pub give_up: Option<(Ticket, Outcome)>,
    /// When it has waited as long as it may.
    pub queue_timeout: Option<Ticket>,
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// Before the replicas, with its number in that queue.
    Gateway(u64),
    /// In a replica that batches, under its key.
    Continuous(u32, Key),
    /// In a replica with slots or dynamic batches, under its ticket.
    Slots(u32, u64),
}

impl InFlight {
    /// The life of the request, ended at `now`.
    #[inline]
    pub(super) fn finished(&self, now: Time, outcome: Outcome, output_tokens: u32) -> Finished {
        let finished = Finished {
            number: self.serial,
            arrived: self.request.at,
            started: self.started,
            first_token: self.first_token,
            ended: now,
            prompt_tokens: self.request.prompt_tokens,
            output_tokens,
            priority: self.request.priority,
            outcome,
        };
        let begun = finished.started.unwrap_or(finished.arrived);
        let spoke = finished.first_token.unwrap_or(begun);
        assert!(
            finished.arrived <= begun && begun <= spoke && spoke <= finished.ended,
            "instants in causal order: {finished:?}"
        );
        let answered = outcome == Outcome::Completed && matches!(self.place, Place::Continuous(..));
        assert!(!answered || self.first_token.is_some(), "an answer has a first token: {finished:?}");
        finished
    }
}

/// The slab of requests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Requests {
    places: Vec<(u32, Option<InFlight>)>,
    empty: Vec<u32>,
}

impl Requests {
    #[inline]
    pub(super) fn insert(&mut self, request: InFlight) -> RequestRef {
        if let Some(place) = self.empty.pop() {
            let (generation, slot) = &mut self.places[place as usize];
            *slot = Some(request);
            return RequestRef { place, generation: *generation };
        }
        let place = u32::try_from(self.places.len()).expect("fewer than 2^32 requests at once");
        self.places.push((0, Some(request)));
        RequestRef { place, generation: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many requests are in the system.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.empty.len()
    }

    /// The request at a place that is known to be taken.
    #[inline]
    pub(super) fn at(&mut self, place: u32) -> &mut InFlight {
        self.places[place as usize].1.as_mut().expect("a request that is in the system")
    }

    /// A request, if it is still in the system.
    pub(super) fn get(&self, request: RequestRef) -> Option<&InFlight> {
        let (generation, slot) = self.places.get(request.place as usize)?;
        if *generation == request.generation { slot.as_ref() } else { None }
    }

    pub(super) fn remove(&mut self, place: u32) -> InFlight {
        let request = self.places[place as usize].1.take().expect("a request that is in the system");
        self.free(place);
        request
    }

    /// Lets a request go.
    #[inline]
    pub(super) fn free(&mut self, place: u32) {
        let (generation, slot) = &mut self.places[place as usize];
        *generation = generation.wrapping_add(1);
        *slot = None;
        self.empty.push(place);
    }

    /// The prompt tokens of a service's requests in replicas whose first token has not come.
    pub(super) fn prefill_tokens(&self, service: usize) -> u64 {
        let prefills = |request: &&InFlight| {
            usize::from(request.service) == service
                && request.first_token.is_none()
                && !matches!(request.place, Place::Gateway(_))
        };
        let requests = self.places.iter().filter_map(|(_, slot)| slot.as_ref());
        requests.filter(prefills).map(|request| u64::from(request.request.prompt_tokens)).sum()
    }

    /// All requests in the system, in the order of their arrival.
    pub(super) fn all(&self) -> Vec<u32> {
        let mut places: Vec<(Time, u16, u64, u32)> = (0u32..)
            .zip(&self.places)
            .filter_map(|(place, (_, slot))| {
                let request = slot.as_ref()?;
                Some((request.request.at, request.service, request.serial, place))
            })
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(.., place)| place).collect()
    }
}

/// Requests that will be tried again, by the place that their event names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Later {
    places: Vec<Option<Request>>,
    empty: Vec<u32>,
}

impl Later {
    pub(super) fn keep(&mut self, request: Request) -> u32 {
        if let Some(place) = self.empty.pop() {
            self.places[place as usize] = Some(request);
            return place;
        }
        self.places.push(Some(request));
        u32::try_from(self.places.len() - 1).expect("fewer than 2^32 retries at once")
    }

    pub(super) fn take(&mut self, place: u32) -> Option<Request> {
        let request = self.places[place as usize].take()?;
        self.empty.push(place);
        Some(request)
    }
}

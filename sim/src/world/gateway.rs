//! Arrival, routing, the queue before the replicas, and the ends of requests. What engines do is in `engines`.

use std::collections::BTreeMap;

use scaletwin_core::control::{Admission, Poke};
use scaletwin_core::record::{Finished, Outcome};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::engines::Offer;
use super::event::{Event, RequestRef};
use super::inflight::{InFlight, Place};
use super::replica::Engine;
use super::settings::EngineSettings;
use super::{ServiceState, State, World};
use crate::cluster::routing::Ask;
use crate::engine::{Calendar, Phase};
use crate::scrape::exporter::Left;
use crate::scrape::exporter::front::FlowOutcome;
use crate::traffic::request::Request;
use crate::traffic::stream::Next;

/// Requests that no replica has taken yet: the most urgent first, first come among equals.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct GatewayQueue {
    #[serde(with = "pairs")]
    requests: BTreeMap<(i32, u64), u32>,
    next: u64,
}

impl GatewayQueue {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    fn push(&mut self, priority: i32, place: u32) -> u64 {
        let number = self.next;
        self.next += 1;
        self.requests.insert((priority, number), place);
        number
    }

    fn first(&self) -> Option<u32> {
        self.requests.first_key_value().map(|(_, place)| *place)
    }

    fn remove(&mut self, priority: i32, number: u64) {
        self.requests.remove(&(priority, number));
    }
}

impl World {
    /// A request arrives at the gateway.
    pub(super) fn request_arrives(&mut self, request: Request, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        debug_assert!(request.at == now, "a request arrives at its instant");
        let stream = &self.traffic.streams()[usize::from(request.stream)];
        let service = stream.settings().service;
        let give_up = stream.gives_up(&request);
        let queue_timeout = stream.settings().queue_timeout;
        let priority = request.priority;
        let state = &mut self.state.services[service];
        let serial = state.serial;
        state.serial += 1;
        state.population.enter(now);
        let admitted = match state.admission {
            Admission::Admit => true,
            Admission::Shed { keep_priority } => priority <= keep_priority,
            Admission::Stop => false,
        };
        self.state.recorder.services[service].arrived(now, request.attempt > 0);
        self.state.last_progress = now;
        let placed = self.state.requests.insert(InFlight {
            request,
            service: u16::try_from(service).expect("services are few"),
            serial,
            offered: now,
            started: None,
            first_token: None,
            place: Place::Gateway(0),
            give_up: None,
            queue_timeout: None,
        });
        if !admitted {
            self.state.services[service].front.leaves_flow(FlowOutcome::RejectedOther);
            return self.end_request(placed.place, Outcome::Rejected, 0, calendar);
        }
        if let Some((at, outcome)) = give_up {
            let ticket = calendar.at(at, Phase::Fail, Event::GiveUp(placed));
            self.state.requests.at(placed.place).give_up = Some((ticket, outcome));
        }
        if !self.offer_to_replica(service, placed.place, calendar) {
            self.hold(service, placed, queue_timeout, calendar);
        } else if let Some(limit) = queue_timeout {
            self.watch_queue(placed, limit, calendar);
        }
    }

    /// Ends the wait of a request that has not begun after `limit`.
    fn watch_queue(&mut self, placed: RequestRef, limit: Span, calendar: &mut Calendar<Event>) {
        if let Some(request) = self.state.requests.get(placed).filter(|request| request.started.is_none()) {
            let at = request.request.at.saturating_add(limit).max(calendar.now());
            let ticket = calendar.at(at, Phase::Fail, Event::QueueTimeout(placed));
            self.state.requests.at(placed.place).queue_timeout = Some(ticket);
        }
    }

    /// Holds a request before the replicas, if there is room.
    fn hold(
        &mut self,
        service: usize,
        placed: RequestRef,
        limit: Option<Span>,
        calendar: &mut Calendar<Event>,
    ) {
        // A request that can never be served has ended already.
        let Some(priority) = self.state.requests.get(placed).map(|request| request.request.priority) else {
            return;
        };
        let most = self.settings.services[service].queue;
        let queue = &mut self.state.services[service].queue;
        if most.is_some_and(|most| queue.len() >= most as usize) {
            // Without a queue before the replicas, the one whose turn it is refuses.
            if most == Some(0) {
                let ask = self.ask(service, placed.place);
                if let Some(slot) = self.state.services[service].router.turn(&ask) {
                    self.state.replicas.at(slot).counters.refused += 1;
                }
            }
            let ServiceState { router, front, .. } = &mut self.state.services[service];
            front.leaves_flow(if router.is_empty() {
                FlowOutcome::RejectedNoEndpoints
            } else {
                FlowOutcome::RejectedCapacity
            });
            return self.end_request(placed.place, Outcome::Rejected, 0, calendar);
        }
        let number = queue.push(priority, placed.place);
        self.state.requests.at(placed.place).place = Place::Gateway(number);
        if let Some(limit) = limit {
            self.watch_queue(placed, limit, calendar);
        }
        self.poke_if_empty(service, calendar);
    }

    /// Wakes controllers that wait for requests for a target without replicas.
    fn poke_if_empty(&mut self, service: usize, calendar: &mut Calendar<Event>) {
        for place in 0..self.settings.deployments.len() {
            let deployment = &self.settings.deployments[place].settings;
            if deployment.service == service && self.fleet.wanted(place) == 0 {
                let poke = Poke::RequestAtZero { target: deployment.target.clone() };
                if self.controllers.poke(&poke, calendar.now()) {
                    self.plan_control(calendar);
                }
            }
        }
    }

    /// Offers a request to the replica that the router picks. Whether it was taken, or ended for good.
    fn offer_to_replica(&mut self, service: usize, place: u32, calendar: &mut Calendar<Event>) -> bool {
        let ask = self.ask(service, place);
        let Some(slot) = self.pick(service, &ask) else { return false };
        self.take_unseen_ends(slot, calendar);
        self.count_request(service, slot, place);
        let State { services, replicas, requests, .. } = &mut self.state;
        let ServiceState { router, front, .. } = &mut services[service];
        router.given(slot, &ask);
        front.leaves_flow(FlowOutcome::Dispatched);
        let serving = replicas.at(slot);
        serving.outstanding += 1;
        let (now, inflight) = (calendar.now(), requests.at(place));
        let offer = Offer { now, slot, place, inflight, happened: &mut self.happened };
        let deployment = serving.deployment as usize;
        let taken = match &mut serving.engine {
            Engine::Continuous(replica) => offer.into_batcher(replica),
            Engine::Slots(replica) => {
                let engine = &self.settings.deployments[deployment].engine;
                offer.into_slots(replica, engine, &self.luck, (deployment, serving.ordinal))
            }
            Engine::Dynamic(replica) => offer.into_batches(replica),
            Engine::Halted(_) => return self.offer_to_halted(slot, place, calendar),
        };
        if taken {
            serving.counters.taken += 1;
            self.take_happened(slot, calendar);
            self.refresh(slot, calendar);
        } else {
            serving.outstanding -= 1;
            serving.counters.invalid += 1;
            router.ended(slot, None);
            self.take_happened(slot, calendar);
            self.end_request(place, Outcome::Rejected, 0, calendar);
        }
        true
    }

    /// The replica that is to get a request.
    fn pick(&mut self, service: usize, ask: &Ask) -> Option<u32> {
        let State { services, replicas, .. } = &mut self.state;
        let settings = &self.settings;
        let accepts = |slot: u32| {
            let serving = replicas.at(slot);
            match &serving.engine {
                Engine::Slots(replica) => replica.has_room(),
                Engine::Dynamic(replica) => replica.has_room(),
                Engine::Halted(halted) => halted.has_room(),
                Engine::Continuous(replica) => match settings.deployments[serving.deployment as usize].engine
                {
                    EngineSettings::Continuous { queue: Some(most), .. } => replica.waiting() < most as usize,
                    _ => true,
                },
            }
        };
        services[service].router.pick(ask, accepts)
    }

    pub(super) fn request_starts(&mut self, place: u32, now: Time, calendar: &mut Calendar<Event>) {
        let request = self.state.requests.at(place);
        request.started = Some(now);
        if let Some(ticket) = request.queue_timeout.take() {
            calendar.cancel(ticket, Phase::Fail);
        }
    }

    pub(super) fn first_token_comes(&mut self, slot: u32, place: u32, now: Time) {
        let request = self.state.requests.at(place);
        request.first_token = Some(now);
        let (service, arrived) = (usize::from(request.service), request.request.at);
        let seconds = now.since(request.offered).as_secs_f64();
        self.state.replicas.at(slot).counters.first_token(request.request.prompt_tokens, seconds);
        self.state.services[service].front.first_token(arrived, now);
    }

    /// A request leaves its replica, complete or not.
    pub(super) fn request_leaves(&mut self, slot: u32, place: u32, outputs: Option<u32>, now: Time) {
        let request = self.state.requests.at(place);
        let service = usize::from(request.service);
        let serving = self.state.replicas.at(slot);
        serving.outstanding -= 1;
        let left = match outputs {
            None => Left::Abort,
            Some(outputs) if outputs < request.request.output_tokens || request.request.cut => Left::Length,
            Some(_) => Left::Stop,
        };
        serving.counters.left[left as usize] += 1;
        let took = outputs.map(|_| now.since(request.offered));
        if let Some(outputs) = outputs {
            serving.counters.count_end(request.request.prompt_tokens, outputs);
            if serving.counters.has_histograms() {
                // The server knows the request since it was offered to it.
                let finished = request.finished(now, Outcome::Completed, outputs);
                serving.counters.observe_end(&Finished { arrived: request.offered, ..finished });
            }
            self.count_answer(service, slot, place, outputs);
        }
        self.state.services[service].router.ended(slot, took);
    }

    /// A request ends now. Its client may go on.
    pub(super) fn end_request(
        &mut self,
        place: u32,
        outcome: Outcome,
        outputs: u32,
        calendar: &mut Calendar<Event>,
    ) {
        self.end_request_at(calendar.now(), place, outcome, outputs, calendar);
    }

    /// A request has ended at `now`, which is the present or before.
    #[inline]
    pub(super) fn end_request_at(
        &mut self,
        now: Time,
        place: u32,
        outcome: Outcome,
        outputs: u32,
        calendar: &mut Calendar<Event>,
    ) {
        let inflight = self.state.requests.at(place);
        if let Some((ticket, _)) = inflight.give_up {
            calendar.cancel(ticket, Phase::Fail);
        }
        if let Some(ticket) = inflight.queue_timeout {
            calendar.cancel(ticket, Phase::Fail);
        }
        let service = usize::from(inflight.service);
        let Request { stream, number, attempt, .. } = inflight.request;
        let finished = inflight.finished(now, outcome, outputs);
        self.note_end(service, finished);
        self.state.last_progress = self.state.last_progress.max(now);
        match self.traffic.stream_mut(stream).on_outcome(number, attempt, outcome, now) {
            Next::Nothing => self.state.requests.free(place),
            Next::Retry(at) => {
                let request = self.state.requests.remove(place).request;
                self.plan_again(Request { at, attempt: attempt + 1, ..request }, calendar);
            }
            Next::Client(at, client) => {
                self.state.requests.free(place);
                self.state.planned += 1;
                calendar.at(at, Phase::Arrive, Event::Client { stream, client });
            }
        }
    }

    /// Notes how a request has ended.
    #[inline]
    pub(super) fn note_end(&mut self, service: usize, finished: Finished) {
        self.state.recorder.services[service].ended(&finished);
        let ServiceState { population, front, .. } = &mut self.state.services[service];
        population.leave(finished.ended);
        front.ended(&finished);
        if let Some(kept) = &mut self.kept {
            kept.push((service, finished));
        }
    }

    fn plan_again(&mut self, request: Request, calendar: &mut Calendar<Event>) {
        let at = request.at;
        let place = self.state.later.keep(request);
        self.state.planned += 1;
        calendar.at(at, Phase::Arrive, Event::Later(place));
    }

    /// A request is tried again.
    pub(super) fn request_comes_again(&mut self, place: u32, calendar: &mut Calendar<Event>) {
        if let Some(request) = self.state.later.take(place) {
            self.state.planned -= 1;
            self.request_arrives(request, calendar);
        }
    }

    /// A client of a closed loop sends its next request.
    pub(super) fn client_sends(&mut self, stream: u16, client: u32, calendar: &mut Calendar<Event>) {
        self.state.planned -= 1;
        if let Some(request) = self.traffic.stream_mut(stream).send(client, calendar.now()) {
            self.request_arrives(request, calendar);
        }
    }

    /// The client of a request gives it up.
    pub(super) fn client_gives_up(&mut self, request: RequestRef, calendar: &mut Calendar<Event>) {
        let Some(outcome) =
            self.state.requests.get(request).and_then(|r| r.give_up).map(|(_, outcome)| outcome)
        else {
            return;
        };
        self.state.requests.at(request.place).give_up = None;
        self.leaves_flow(request.place, FlowOutcome::EvictedContextCancelled);
        self.take_out(request.place, outcome, calendar);
    }

    /// A request has waited as long as it may.
    pub(super) fn queue_time_is_over(&mut self, request: RequestRef, calendar: &mut Calendar<Event>) {
        if self.state.requests.get(request).is_some_and(|request| request.started.is_none()) {
            self.state.requests.at(request.place).queue_timeout = None;
            self.leaves_flow(request.place, FlowOutcome::EvictedTtl);
            self.take_out(request.place, Outcome::TimedOut, calendar);
        }
    }

    /// Counts a request that leaves the queue before the replicas, if it is there.
    fn leaves_flow(&mut self, place: u32, outcome: FlowOutcome) {
        let InFlight { place, service, .. } = self.state.requests.at(place);
        let (in_queue, service) = (matches!(place, Place::Gateway(_)), usize::from(*service));
        let ServiceState { router, front, .. } = &mut self.state.services[service];
        let outcome = match outcome {
            FlowOutcome::EvictedTtl if router.is_empty() => FlowOutcome::EvictedNoEndpoints,
            other => other,
        };
        if in_queue {
            front.leaves_flow(outcome);
        }
    }

    /// Takes a request out wherever it is, and ends it.
    fn take_out(&mut self, place: u32, outcome: Outcome, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let inflight = self.state.requests.at(place);
        let (service, priority) = (usize::from(inflight.service), inflight.request.priority);
        match inflight.place {
            Place::Gateway(number) => {
                self.state.services[service].queue.remove(priority, number);
                self.end_request(place, outcome, 0, calendar);
            }
            Place::Continuous(slot, key) => {
                let Engine::Continuous(replica) = &mut self.state.replicas.at(slot).engine else { return };
                let outputs = replica.give_up(now, key, &mut self.happened);
                self.take_happened(slot, calendar);
                // Its last token may have come at this very instant: then it has ended already.
                if let Some(outputs) = outputs {
                    self.request_leaves(slot, place, None, now);
                    self.end_request(place, outcome, outputs, calendar);
                }
                self.after_departure(slot, service, calendar);
            }
            Place::Slots(slot, ticket) => {
                let mut outputs = 0;
                match &mut self.state.replicas.at(slot).engine {
                    Engine::Slots(replica) => replica.give_up(now, ticket, priority, &mut self.happened),
                    Engine::Dynamic(replica) => replica.give_up(ticket, priority),
                    Engine::Halted(halted) => outputs = halted.give_up(place),
                    Engine::Continuous(_) => return,
                }
                self.take_happened(slot, calendar);
                self.request_leaves(slot, place, None, now);
                self.end_request(place, outcome, outputs, calendar);
                self.after_departure(slot, service, calendar);
            }
        }
    }

    /// Offers held requests to replicas as long as one takes them.
    pub(super) fn empty_queue(&mut self, service: usize, calendar: &mut Calendar<Event>) {
        while let Some(place) = self.state.services[service].queue.first() {
            let inflight = self.state.requests.at(place);
            inflight.offered = calendar.now();
            let (priority, held) = (inflight.request.priority, inflight.place);
            if !self.offer_to_replica(service, place, calendar) {
                break;
            }
            if let Place::Gateway(number) = held {
                self.state.services[service].queue.remove(priority, number);
            }
        }
    }
}

/// A map with keys that are no texts, as a list of pairs.
mod pairs {
    use super::BTreeMap;
    use serde::{Deserialize, Deserializer, Serializer};

    type Map = BTreeMap<(i32, u64), u32>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Vec::<((i32, u64), u32)>::deserialize(deserializer).map(Map::from_iter)
    }
}

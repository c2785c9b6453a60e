//! Arrival, routing, the queue before the replicas, and the ends of requests.

use std::collections::BTreeMap;

use scaletwin_core::control::{Admission, Poke};
use scaletwin_core::record::{Finished, Outcome};
use scaletwin_core::units::{Femtos, Span, Time};
use serde::{Deserialize, Serialize};

use super::event::{Event, Handle, RequestRef};
use super::inflight::{InFlight, Place};
use super::replica::Engine;
use super::settings::EngineSettings;
use super::{ServiceState, World};
use crate::engine::{Calendar, Phase};
use crate::scrape::exporter::Left;
use crate::serving::Happened;
use crate::serving::concurrency::{Job, Offered};
use crate::serving::continuous::content::{Content, mix};
use crate::serving::continuous::sequence::Arriving;
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
        state.population.set(now, state.population.value() + 1);
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
        let now = calendar.now();
        let ask = self.ask(service, place);
        let replicas = &mut self.state.replicas;
        let settings = &self.settings;
        let accepts = |slot: u32| {
            let serving = replicas.at(slot);
            match (&serving.engine, &settings.deployments[serving.deployment as usize].engine) {
                (Engine::Slots(replica), _) => replica.has_room(),
                (Engine::Dynamic(replica), _) => replica.has_room(),
                (Engine::Halted(halted), _) => halted.has_room(),
                (Engine::Continuous(replica), EngineSettings::Continuous { queue, .. }) => {
                    queue.is_none_or(|most| replica.waiting() < most as usize)
                }
                _ => true,
            }
        };
        let router = &mut self.state.services[service].router;
        let Some(slot) = router.pick(&ask, accepts) else { return false };
        router.given(slot, &ask);
        self.state.requests.at(place).offered = now;
        self.state.replicas.at(slot).outstanding += 1;
        let taken = match &self.state.replicas.at(slot).engine {
            Engine::Continuous(_) => self.offer_to_batcher(slot, place, now),
            Engine::Slots(_) => self.offer_to_slots(slot, place, now),
            Engine::Dynamic(_) => self.offer_to_batches(slot, place, now),
            Engine::Halted(_) => return self.offer_to_halted(slot, place, calendar),
        };
        self.take_happened(slot, calendar);
        if taken {
            self.state.replicas.at(slot).counters.taken += 1;
            self.refresh(slot, calendar);
        } else {
            let serving = self.state.replicas.at(slot);
            serving.outstanding -= 1;
            serving.counters.invalid += 1;
            self.state.services[service].router.ended(slot, None);
            self.end_request(place, Outcome::Rejected, 0, calendar);
        }
        true
    }

    /// Offers a request to a replica that batches. It refuses prompts that are too long for its model.
    fn offer_to_batcher(&mut self, slot: u32, place: u32, now: Time) -> bool {
        let serving = self.state.replicas.at(slot);
        let Engine::Continuous(replica) = &mut serving.engine else { return false };
        let inflight = self.state.requests.at(place);
        let request = &inflight.request;
        let config = replica.scheduler().config();
        if request.prompt_tokens >= config.max_model_len {
            return false;
        }
        // A number that no other request has, over all streams; a retry sends the same prompt again.
        let unique = mix(mix(u64::from(request.stream)) ^ request.number) >> 2;
        let content = match &request.prefix {
            Some(prefix) if config.enable_prefix_caching => {
                let stream = u64::from(request.stream);
                Content::with_prefix(prefix, request.prompt_tokens, unique, stream, request.answer)
            }
            _ => Content::unique(unique, request.prompt_tokens),
        };
        let arriving = Arriving {
            request: place,
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            max_tokens: if request.cut { request.output_tokens } else { u32::MAX },
            priority: request.priority,
            arrived: request.at.as_nanos(),
            number: inflight.serial,
            content,
        };
        let key = replica.offer(now, arriving, &mut self.happened);
        inflight.place = Place::Continuous(slot, key);
        true
    }

    fn offer_to_slots(&mut self, slot: u32, place: u32, now: Time) -> bool {
        let serving = self.state.replicas.at(slot);
        let deployment = serving.deployment as usize;
        let EngineSettings::Concurrency { service, set_up, .. } =
            &self.settings.deployments[deployment].engine
        else {
            return false;
        };
        let Engine::Slots(replica) = &mut serving.engine else { return false };
        let inflight = self.state.requests.at(place);
        let request = &inflight.request;
        let time = request.service.unwrap_or_else(|| {
            let luck = self.luck.service[usize::from(request.stream)];
            Span::from_secs_f64(service.draw(&mut luck.entity(request.number)))
                .map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
        });
        let job = Job { request: place, priority: request.priority, service: time };
        let luck = self.luck.set_up[deployment];
        let replica_number = u64::from(serving.ordinal) << 32;
        let draw = |number: u64| {
            let law = set_up.as_ref().map_or(0.0, |law| law.draw(&mut luck.entity(replica_number | number)));
            Span::from_secs_f64(law).map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
        };
        // The engine reports the start at once, so the place is noted before.
        match replica.offer(now, job, draw, &mut self.happened) {
            Offered::Taken { ticket } => {
                inflight.place = Place::Slots(slot, ticket);
                true
            }
            Offered::Full => false,
        }
    }

    fn offer_to_batches(&mut self, slot: u32, place: u32, now: Time) -> bool {
        let inflight = self.state.requests.at(place);
        let Engine::Dynamic(replica) = &mut self.state.replicas.at(slot).engine else { return false };
        match replica.offer(now, place, inflight.request.priority) {
            Offered::Taken { ticket } => {
                inflight.place = Place::Slots(slot, ticket);
                true
            }
            Offered::Full => false,
        }
    }

    /// Takes in what a replica has reported.
    pub(super) fn take_happened(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        if self.happened.is_empty() {
            return;
        }
        let now = calendar.now();
        let mut happened = std::mem::take(&mut self.happened);
        for happened in happened.drain(..) {
            match happened {
                Happened::Started { request } => self.request_starts(request, now, calendar),
                Happened::FirstToken { request } => self.first_token_comes(slot, request, now),
                Happened::Finished { request, outputs } => {
                    self.request_leaves(slot, request, Some(outputs), now);
                    self.end_request(request, Outcome::Completed, outputs, calendar);
                }
                Happened::Gaps { first, increase, steps, sequences } => {
                    self.count_gaps(slot, first, increase, steps, sequences);
                }
            }
        }
        self.happened = happened;
    }

    /// Takes in what a replica has reported when nothing but quiet steps can have happened.
    pub(super) fn take_gaps(&mut self, slot: u32) {
        for happened in std::mem::take(&mut self.happened) {
            if let Happened::Gaps { first, increase, steps, sequences } = happened {
                self.count_gaps(slot, first, increase, steps, sequences);
            }
        }
    }

    fn count_gaps(&mut self, slot: u32, first: Femtos, increase: Femtos, steps: u64, sequences: u64) {
        let serving = self.state.replicas.at(slot);
        serving.counters.observe_gaps(first, increase, steps, sequences);
        if self.state.measuring {
            let service = self.settings.deployments[serving.deployment as usize].settings.service;
            self.state.recorder.services[service].gaps(first, increase, steps, sequences);
        }
    }

    fn request_starts(&mut self, place: u32, now: Time, calendar: &mut Calendar<Event>) {
        let request = self.state.requests.at(place);
        request.started = Some(now);
        if let Some(ticket) = request.queue_timeout.take() {
            calendar.cancel(ticket, Phase::Fail);
        }
    }

    fn first_token_comes(&mut self, slot: u32, place: u32, now: Time) {
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
        if outputs.is_some() {
            // The server knows the request since it was offered to it.
            let finished = request.finished(now, Outcome::Completed, outputs.unwrap_or(0));
            serving.counters.observe_end(&Finished { arrived: request.offered, ..finished });
        }
        let took = outputs.map(|_| now.since(self.state.requests.at(place).offered));
        self.state.services[service].router.ended(slot, took);
    }

    /// A request has ended. Its client may go on.
    pub(super) fn end_request(
        &mut self,
        place: u32,
        outcome: Outcome,
        outputs: u32,
        calendar: &mut Calendar<Event>,
    ) {
        let now = calendar.now();
        let inflight = self.state.requests.remove(place);
        if let Some((ticket, _)) = inflight.give_up {
            calendar.cancel(ticket, Phase::Fail);
        }
        if let Some(ticket) = inflight.queue_timeout {
            calendar.cancel(ticket, Phase::Fail);
        }
        let service = usize::from(inflight.service);
        self.note_end(service, inflight.finished(now, outcome, outputs));
        self.state.last_progress = now;
        let Request { stream, number, attempt, .. } = inflight.request;
        match self.traffic.stream_mut(stream).on_outcome(number, attempt, outcome, now) {
            Next::Nothing => {}
            Next::Retry(at) => {
                let again = Request { at, attempt: attempt + 1, ..inflight.request };
                self.plan_again(again, calendar);
            }
            Next::Client(at, client) => {
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
        population.set(finished.ended, population.value() - 1);
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
        self.take_out(request.place, outcome, calendar);
    }

    /// A request has waited as long as it may.
    pub(super) fn queue_time_is_over(&mut self, request: RequestRef, calendar: &mut Calendar<Event>) {
        if self.state.requests.get(request).is_some_and(|request| request.started.is_none()) {
            self.state.requests.at(request.place).queue_timeout = None;
            self.take_out(request.place, Outcome::TimedOut, calendar);
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

    /// A replica's next event is due.
    pub(super) fn engine_event(&mut self, handle: Handle, calendar: &mut Calendar<Event>) {
        if !self.state.replicas.is_there(handle) {
            return;
        }
        let serving = self.state.replicas.at(handle.slot);
        serving.due = None;
        let service = self.settings.deployments[serving.deployment as usize].settings.service;
        match &mut serving.engine {
            Engine::Continuous(replica) => replica.complete(&mut self.happened),
            Engine::Slots(replica) => replica.complete(calendar.now(), &mut self.happened),
            Engine::Dynamic(replica) => replica.complete(calendar.now(), &mut self.happened),
            Engine::Halted(_) => {}
        }
        self.take_happened(handle.slot, calendar);
        self.after_departure(handle.slot, service, calendar);
    }

    /// Requests may have left a replica: others may come, and one that is being deleted may go.
    fn after_departure(&mut self, slot: u32, service: usize, calendar: &mut Calendar<Event>) {
        self.refresh(slot, calendar);
        if self.state.services[service].queue.len() > 0 {
            self.empty_queue(service, calendar);
        }
        let serving = self.state.replicas.at(slot);
        if serving.draining && serving.outstanding == 0 {
            self.replica_is_done(slot, calendar);
        }
    }

    /// Offers held requests to replicas as long as one takes them.
    pub(super) fn empty_queue(&mut self, service: usize, calendar: &mut Calendar<Event>) {
        while let Some(place) = self.state.services[service].queue.first() {
            let inflight = self.state.requests.at(place);
            let (priority, held) = (inflight.request.priority, inflight.place);
            if !self.offer_to_replica(service, place, calendar) {
                break;
            }
            if let Place::Gateway(number) = held {
                self.state.services[service].queue.remove(priority, number);
            }
        }
    }

    /// A replica begins its next step.
    pub(super) fn engine_begins(&mut self, handle: Handle, calendar: &mut Calendar<Event>) {
        if !self.state.replicas.is_there(handle) {
            return;
        }
        let now = calendar.now();
        let serving = self.state.replicas.at(handle.slot);
        serving.begins = false;
        let deployment = serving.deployment as usize;
        match (&mut serving.engine, &self.settings.deployments[deployment].engine) {
            (Engine::Continuous(replica), EngineSettings::Continuous { step_time, .. }) => {
                replica.begin(now, step_time, &mut self.happened);
            }
            (Engine::Dynamic(replica), EngineSettings::Dynamic { time, .. }) => {
                let luck = self.luck.batch[deployment];
                let first = u64::from(serving.ordinal) << 32;
                let time = |batch, size| time.of(size, &mut luck.entity(first | batch));
                replica.begin(now, time, &mut self.happened);
            }
            _ => {}
        }
        let service = self.settings.deployments[serving.deployment as usize].settings.service;
        self.take_happened(handle.slot, calendar);
        self.plan_next(handle.slot, calendar);
        // Requests that waited in the replica may have begun: there is room for others.
        if self.state.services[service].queue.len() > 0 {
            self.empty_queue(service, calendar);
        }
    }

    /// Brings a replica's events in line with its engine: it begins a step if it stands still.
    pub(super) fn refresh(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let handle = self.state.replicas.handle(slot);
        let serving = self.state.replicas.at(slot);
        let begins = match &serving.engine {
            Engine::Continuous(replica) => replica.is_idle(),
            Engine::Slots(_) | Engine::Halted(_) => false,
            Engine::Dynamic(replica) => replica.wants_to_begin(calendar.now()),
        };
        if begins && !serving.begins {
            serving.begins = true;
            calendar.soon(Phase::Step, Event::Begin(handle));
        }
        self.plan_next(slot, calendar);
    }

    fn plan_next(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let handle = self.state.replicas.handle(slot);
        let serving = self.state.replicas.at(slot);
        match (serving.engine.next_event(calendar.now()), serving.due) {
            (Some(at), Some((due, _))) if at == due => {}
            (Some(at), Some((_, ticket))) => {
                calendar.reschedule(ticket, at, Phase::Complete);
                serving.due = Some((at, ticket));
            }
            (Some(at), None) => {
                let ticket = calendar.at(at, Phase::Complete, Event::Engine(handle));
                serving.due = Some((at, ticket));
            }
            (None, Some((_, ticket))) => {
                calendar.cancel(ticket, Phase::Complete);
                serving.due = None;
            }
            (None, None) => {}
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

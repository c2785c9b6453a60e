//! Engines at work: requests are given to them, their events are due, and what they report is taken in.

use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Span, Time};

use super::event::{Event, Handle};
use super::inflight::{InFlight, Place};
use super::replica::Engine;
use super::settings::EngineSettings;
use super::{Luck, World};
use crate::engine::{Calendar, Model, Phase};
use crate::serving::concurrency::{ConcurrencyReplica, Job, Offered};
use crate::serving::continuous::content::{Content, mix};
use crate::serving::continuous::replica::ContinuousReplica;
use crate::serving::continuous::sequence::Arriving;
use crate::serving::dynamic::DynamicReplica;
use crate::serving::{Gaps, Happened};

/// How many gaps between tokens are counted at a time, which is quicker than one by one.
const GAPS_AT_A_TIME: usize = 16;

/// A request that is offered to an engine.
pub(super) struct Offer<'a> {
    pub now: Time,
    pub slot: u32,
    pub place: u32,
    pub inflight: &'a mut InFlight,
    pub happened: &'a mut Vec<Happened>,
}

impl Offer<'_> {
    /// Offers it to an engine that batches continuously. It refuses prompts that are too long for its model.
    pub(super) fn into_batcher(self, replica: &mut ContinuousReplica) -> bool {
        let request = &self.inflight.request;
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
            request: self.place,
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            max_tokens: if request.cut { request.output_tokens } else { u32::MAX },
            priority: request.priority,
            arrived: request.at.as_nanos(),
            number: self.inflight.serial,
            content,
        };
        let key = replica.offer(self.now, arriving, self.happened);
        self.inflight.place = Place::Continuous(self.slot, key);
        true
    }

    /// Offers it to the slots of the replica number `ordinal` of a deployment.
    pub(super) fn into_slots(
        mut self,
        replica: &mut ConcurrencyReplica,
        engine: &EngineSettings,
        luck: &Luck,
        (deployment, ordinal): (usize, u32),
    ) -> bool {
        let EngineSettings::Concurrency { service, set_up, .. } = engine else { return false };
        let request = &self.inflight.request;
        let time = request.service.unwrap_or_else(|| {
            let luck = luck.service[usize::from(request.stream)];
            within_a_century(service.draw(&mut luck.entity(request.number)))
        });
        let job = Job { request: self.place, priority: request.priority, service: time };
        let draw = |number: u64| {
            let luck = luck.set_up[deployment];
            let number = u64::from(ordinal) << 32 | number;
            within_a_century(set_up.as_ref().map_or(0.0, |law| law.draw(&mut luck.entity(number))))
        };
        // The engine reports the start at once, and the place is noted before anybody hears of it.
        let offered = replica.offer(self.now, job, draw, self.happened);
        self.is_taken(offered)
    }

    /// Offers it to an engine that batches dynamically.
    pub(super) fn into_batches(mut self, replica: &mut DynamicReplica) -> bool {
        let offered = replica.offer(self.now, self.place, self.inflight.request.priority);
        self.is_taken(offered)
    }

    fn is_taken(&mut self, offered: Offered) -> bool {
        match offered {
            Offered::Taken { ticket } => {
                self.inflight.place = Place::Slots(self.slot, ticket);
                true
            }
            Offered::Full => false,
        }
    }
}

/// A drawn time in seconds, at most a century.
fn within_a_century(secs: f64) -> Span {
    Span::from_secs_f64(secs).map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
}

impl World {
    /// Takes in what a replica has reported.
    #[inline]
    pub(super) fn take_happened(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        if !self.happened.is_empty() {
            self.take_happened_at(calendar.now(), slot, calendar);
        }
    }

    /// Takes in what a replica has reported that happened at `now`, which is the present or before.
    #[inline(never)]
    pub(super) fn take_happened_at(&mut self, now: Time, slot: u32, calendar: &mut Calendar<Event>) {
        for place in 0..self.happened.len() {
            match self.happened[place] {
                Happened::Started { request } => self.request_starts(request, now, calendar),
                Happened::FirstToken { request, at } => self.first_token_comes(slot, request, at),
                Happened::Finished { request, outputs } => {
                    self.request_leaves(slot, request, Some(outputs), now);
                    self.end_request_at(now, request, Outcome::Completed, outputs, calendar);
                }
            }
        }
        self.happened.clear();
    }

    /// Takes in what a replica has reported of steps that nobody had to look at.
    pub(super) fn take_unseen(&mut self, slot: u32) {
        for happened in std::mem::take(&mut self.happened) {
            match happened {
                Happened::FirstToken { request, at } => self.first_token_comes(slot, request, at),
                Happened::Started { .. } | Happened::Finished { .. } => {
                    unreachable!("a step in which a request begins or ends is looked at: {happened:?}")
                }
            }
        }
    }

    /// Counts the gaps between tokens of a replica if there are many.
    fn count_many_gaps(&mut self, slot: u32) {
        if let Engine::Continuous(replica) = &self.state.replicas.at(slot).engine
            && replica.gaps().len() >= GAPS_AT_A_TIME
        {
            self.count_gaps(slot);
        }
    }

    /// Counts the gaps between tokens of a replica.
    pub(super) fn count_gaps(&mut self, slot: u32) {
        let serving = self.state.replicas.at(slot);
        let Engine::Continuous(replica) = &mut serving.engine else { return };
        let service = self.settings.deployments[serving.deployment as usize].settings.service;
        let meter = &mut self.state.recorder.services[service];
        for Gaps { first, increase, steps, sequences } in replica.take_gaps() {
            if serving.counters.has_histograms() {
                serving.counters.observe_gaps(first, increase, steps, sequences);
            }
            if self.state.measuring {
                meter.gaps(first, increase, steps, sequences);
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
        self.count_many_gaps(handle.slot);
        if self.begins_next(handle.slot, service, calendar) {
            self.engine_begins(handle, calendar);
        } else {
            self.after_departure(handle.slot, service, calendar);
        }
    }

    /// Whether a replica whose step has ended is going to begin another before anything else happens. Then it is time.
    fn begins_next(&mut self, slot: u32, service: usize, calendar: &mut Calendar<Event>) -> bool {
        let now = calendar.now();
        let serving = self.state.replicas.at(slot);
        !serving.begins
            && !serving.draining
            && serving.engine.wants_to_begin(now)
            && self.state.services[service].queue.len() == 0
            && self.traffic.next_at() != Some(now)
            && !self.is_done()
            && calendar.go_on_to(Phase::Step)
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
        self.state.replicas.at(handle.slot).plan_next(handle, calendar);
        // Requests that waited in the replica may have begun: there is room for others.
        if self.state.services[service].queue.len() > 0 {
            self.empty_queue(service, calendar);
        }
    }

    /// Requests may have left a replica: others may come, and one that is being deleted may go.
    pub(super) fn after_departure(&mut self, slot: u32, service: usize, calendar: &mut Calendar<Event>) {
        self.refresh(slot, calendar);
        if self.state.services[service].queue.len() > 0 {
            self.empty_queue(service, calendar);
        }
        let serving = self.state.replicas.at(slot);
        if serving.draining && serving.outstanding == 0 {
            self.replica_is_done(slot, calendar);
        }
    }

    /// Brings a replica's events in line with its engine: it begins a step if it stands still.
    #[inline]
    pub(super) fn refresh(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        if !self.state.replicas.at(slot).unseen {
            self.plan_events(slot, calendar);
        }
    }

    fn plan_events(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let (handle, serving) = self.state.replicas.with_handle(slot);
        if !serving.begins && serving.engine.wants_to_begin(calendar.now()) {
            serving.begins = true;
            calendar.soon(Phase::Step, Event::Begin(handle));
        }
        serving.plan_next(handle, calendar);
    }
}

//! Requests that end without an event of their own.
//!
//! The end of a request in a replica with slots has an event if it decides what comes next: the router asks who is busy, a
//! client waits for the answer, there is a bound on who may wait. Where it decides nothing, the replica's ends are taken in,
//! each at its own instant, when the replica gets its next request or before anything happens that may look at it. That
//! gives the same record, and saves the event. `docs/models/concurrency.md` has the conditions.

use scaletwin_core::units::Time;

use super::World;
use super::event::Event;
use super::replica::Engine;
use super::settings::{EngineSettings, RunSettings};
use crate::cluster::routing::Balance;
use crate::engine::Calendar;
use crate::serving::concurrency::Discipline;
use crate::traffic::clients::ClientSettings;
use crate::traffic::stream::SourceSettings;

/// Whether no end of a request of the service at place `service` decides anything.
pub(super) fn ends_decide_nothing(settings: &RunSettings, service: usize) -> bool {
    let routing = &settings.services[service].routing;
    let routes_blindly =
        matches!(routing.balance, Balance::RoundRobin | Balance::WeightedRoundRobin | Balance::Random);
    let takes_all = |engine: &EngineSettings| match engine {
        EngineSettings::Concurrency { config, .. } => {
            config.discipline == Discipline::Fifo && config.queue.is_none() && !config.stops_when_empty
        }
        EngineSettings::Continuous { .. } | EngineSettings::Dynamic { .. } => false,
    };
    let deployments = settings.deployments.iter().filter(|model| model.settings.service == service);
    let streams = settings.streams.iter().filter(|stream| stream.service == service);
    routes_blindly
        && deployments.into_iter().all(|model| takes_all(&model.engine))
        && streams.into_iter().all(|stream| {
            matches!(stream.source, SourceSettings::Trace(_) | SourceSettings::Generator(_))
                && stream.client == ClientSettings::default()
                && stream.queue_timeout.is_none()
        })
}

impl World {
    /// Whether requests in a new replica end without an event.
    pub(super) fn begins_unseen(&self, deployment: usize) -> bool {
        let service = self.settings.deployments[deployment].settings.service;
        self.decides_nothing[service]
            && !self.state.services[service].front.has_histograms()
            && self.kept.is_none()
            && self.traffic.next_at().is_some()
    }

    /// Takes in the requests of a replica that have ended unseen by now.
    #[inline]
    pub(super) fn take_unseen_ends(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        if self.state.replicas.at(slot).unseen {
            self.take_ends_up_to(calendar.completed(), slot, calendar);
        }
    }

    /// The same of all replicas, for ends up to `until`.
    pub(super) fn take_all_unseen_ends(&mut self, until: Time, calendar: &mut Calendar<Event>) {
        if !self.decides_nothing.contains(&true) {
            return;
        }
        for slot in self.state.replicas.slots() {
            if self.state.replicas.at(slot).unseen {
                self.take_ends_up_to(until, slot, calendar);
            }
        }
    }

    #[inline]
    fn take_ends_up_to(&mut self, until: Time, slot: u32, calendar: &mut Calendar<Event>) {
        loop {
            let Engine::Slots(replica) = &mut self.state.replicas.at(slot).engine else { return };
            let Some(at) = replica.next_event().filter(|at| *at <= until) else { return };
            replica.complete(at, &mut self.happened);
            self.take_happened_at(at, slot, calendar);
        }
    }

    /// From now on the requests of a replica end with an event.
    pub(super) fn watch(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        self.take_unseen_ends(slot, calendar);
        if std::mem::take(&mut self.state.replicas.at(slot).unseen) {
            self.refresh(slot, calendar);
        }
    }

    /// The same of all replicas.
    pub(super) fn watch_all(&mut self, calendar: &mut Calendar<Event>) {
        for slot in self.state.replicas.slots() {
            self.watch(slot, calendar);
        }
    }
}

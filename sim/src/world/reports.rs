//! What replicas report of themselves to gateways that route by it.

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use super::measure::slots_of;
use super::replica::{Engine, Serving};
use super::settings::UsageSettings;
use crate::cluster::entities::ReplicaId;
use crate::cluster::routing::{Balance, Report, WHOLE};
use crate::engine::{Calendar, Phase};

/// The last report of a replica.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Reported {
    at: Time,
    /// The CPU that it had used by then, core nanoseconds.
    cpu: u64,
    /// For how long it had worked by then, nanoseconds.
    busy: u128,
    /// When the next one is due.
    next: Time,
}

impl World {
    /// A replica takes requests: it reports at once, and from then on every `refresh`.
    pub(super) fn begin_reports(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let Some(refresh) = self.refresh_of(slot) else { return };
        let id = self.state.replicas.at(slot).id;
        // Where one is still due, from before it was taken out, it goes on with that.
        let due = self.state.reports.get(&id).map(|reported| reported.next);
        let next = due.unwrap_or(calendar.now().saturating_add(refresh));
        if due.is_none() {
            calendar.at(next, Phase::Scrape, Event::Report(id));
        }
        self.report(slot, next, None, calendar);
    }

    /// A replica reports, as long as it takes requests. One whose node has failed says nothing new.
    pub(super) fn replica_reports(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let last = self.state.reports.remove(&id);
        let slot = self.state.replicas.slot_of(id).filter(|slot| self.state.replicas.at(*slot).ready);
        let Some((slot, last)) = slot.zip(last) else { return };
        let Some(refresh) = self.refresh_of(slot) else { return };
        let next = calendar.now().saturating_add(refresh);
        calendar.at(next, Phase::Scrape, Event::Report(id));
        if self.state.replicas.at(slot).halted().is_some() {
            self.state.reports.insert(id, Reported { next, ..last });
        } else {
            self.report(slot, next, Some(last), calendar);
        }
    }

    /// How often replicas report to the gateway of their service, if it asks them.
    fn refresh_of(&mut self, slot: u32) -> Option<Span> {
        let deployment = self.state.replicas.at(slot).deployment as usize;
        let service = self.settings.deployments[deployment].settings.service;
        match self.settings.services[service].routing.balance {
            Balance::ResourceBased { refresh, .. } => Some(refresh),
            _ => None,
        }
    }

    fn report(&mut self, slot: u32, next: Time, last: Option<Reported>, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        self.advance(slot, calendar);
        let serving = self.state.replicas.at(slot);
        let model = &self.settings.deployments[serving.deployment as usize];
        let cpu = serving.cpu_core_nanos(now, slots_of(&model.engine), &model.usage);
        let this = Reported { at: now, cpu, busy: serving.engine.busy_nanos(now, 1).0, next };
        let report = Report {
            cpu: cpu_share(last.unwrap_or(this), this, &model.usage),
            gpu: share(this.busy - last.unwrap_or(this).busy, this.since(last)),
            ..load_of(serving)
        };
        self.state.reports.insert(serving.id, this);
        self.state.services[model.settings.service].router.reported(slot, report);
    }
}

impl Reported {
    fn since(&self, last: Option<Reported>) -> u128 {
        last.map_or(0, |last| u128::from(self.at.since(last.at).as_nanos()))
    }
}

/// What a replica has in it, and the share of its KV cache in use.
fn load_of(serving: &Serving) -> Report {
    let (waiting, running, kv_cache) = match &serving.engine {
        Engine::Continuous(replica) => {
            let gauges = replica.gauges();
            (gauges.waiting, gauges.running, millionths(gauges.kv_used_share))
        }
        Engine::Slots(replica) => (replica.waiting() as u64, replica.running() as u64, 0),
        Engine::Dynamic(replica) => (replica.waiting() as u64, replica.running() as u64, 0),
        Engine::Halted(_) => (0, 0, 0),
    };
    Report { waiting, running, kv_cache, ..Report::default() }
}

/// The CPU used between two reports, of what it is at work.
fn cpu_share(last: Reported, this: Reported, usage: &UsageSettings) -> u64 {
    let most = u128::from(usage.cpu_busy_milli.max(usage.cpu_idle_milli));
    share(u128::from(this.cpu - last.cpu) * 1_000, this.since(Some(last)) * most)
}

/// A share in millionths, rounded down; none of nothing.
fn share(part: u128, of: u128) -> u64 {
    let share = (part * u128::from(WHOLE)).checked_div(of).unwrap_or(0);
    u64::try_from(share).map_or(WHOLE, |share| share.min(WHOLE))
}

/// A share of 0 to 1 in millionths, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share times a million is far below 2^53"
)]
fn millionths(share: f64) -> u64 {
    ((share * 1e6).round() as u64).min(WHOLE)
}

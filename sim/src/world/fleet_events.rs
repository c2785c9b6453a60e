//! Replicas and nodes come and go.

use scaletwin_core::control::Poke;
use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Span, Time};

use super::World;
use super::event::Event;
use super::replica::{Engine, Serving};
use super::settings::EngineSettings;
use super::start_up::woken_after;
use crate::cluster::entities::{NodeId, ReplicaId};
use crate::cluster::lifecycle::Change;
use crate::engine::{Calendar, Phase};
use crate::scrape::exporter::ReplicaCounters;
use crate::serving::concurrency::ConcurrencyReplica;
use crate::serving::continuous::replica::{ContinuousReplica, Work};
use crate::serving::dynamic::DynamicReplica;

impl World {
    /// Lets replicas come, go and find nodes, and goes on with what changed.
    pub(super) fn settle_fleet(&mut self, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let changes = self.fleet.settle(now);
        let mut pending = false;
        for change in changes {
            match change {
                Change::Created { .. } => {}
                Change::Bound { replica, deployment, .. } => {
                    self.replica_is_bound(replica, deployment, calendar)
                }
                Change::Deleted { replica, .. } => self.replica_is_deleted(replica, calendar),
                Change::Preempted { replica, deployment } => {
                    self.state.deployments[deployment].preempted += u64::from(self.state.measuring);
                    self.replica_is_deleted(replica, calendar);
                    calendar.soon(Phase::Place, Event::Lifecycle);
                }
                Change::Called { replica, deployment, loaded } => {
                    self.standby_is_called(replica, deployment, loaded, calendar);
                }
                Change::Pending => pending = true,
            }
        }
        self.note_wanted(now);
        self.note_standby(now);
        if pending && self.controllers.poke(&Poke::PendingPods, now) {
            self.plan_control(calendar);
        }
        self.fleet.check(now);
    }

    /// A replica got its node: its container starts.
    fn replica_is_bound(&mut self, id: ReplicaId, deployment: usize, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        // The kubelet of a node that has failed starts nothing.
        if self.fleet.has_failed(id) {
            return;
        }
        let serving = self.serving(id, deployment, now);
        self.state.replicas.insert(serving);
        self.plan_scrapes_of(id, calendar);
        let settings = &self.settings.deployments[deployment].settings;
        let ordinal = self.fleet.replica(id).map_or(0, |replica| replica.ordinal);
        let standby = settings.standby.as_ref().map_or(0, |standby| standby.replicas);
        if i64::from(ordinal) < i64::from(settings.replicas) + i64::from(standby) && now == Time::ZERO {
            self.note_started(id, deployment);
            return self.will_be_ready(id, now, calendar);
        }
        self.begin_container(id, deployment, calendar);
    }

    /// A replica that does nothing yet. Its container runs from now on.
    pub(super) fn serving(&self, id: ReplicaId, deployment: usize, now: Time) -> Serving {
        let model = &self.settings.deployments[deployment];
        let engine = match &model.engine {
            EngineSettings::Continuous { config, .. } => {
                Engine::Continuous(Box::new(ContinuousReplica::new(config.clone())))
            }
            EngineSettings::Concurrency { config, .. } => {
                Engine::Slots(Box::new(ConcurrencyReplica::new(config.clone())))
            }
            EngineSettings::Dynamic { config, .. } => {
                Engine::Dynamic(Box::new(DynamicReplica::new(config.clone())))
            }
        };
        Serving {
            id,
            ordinal: self.fleet.replica(id).map_or(0, |replica| replica.ordinal),
            deployment: u32::try_from(deployment).expect("deployments are few"),
            engine,
            started: now,
            ready: false,
            ready_at: None,
            draining: false,
            outstanding: 0,
            due: None,
            begins: false,
            unseen: self.begins_unseen(deployment),
            counters: ReplicaCounters::for_series(self.board.series()),
            scraped: (now, Work::default(), 0),
            busy_before: 0,
            cpu_before: 0,
            preemptions_before: 0,
        }
    }

    /// The container of a replica starts: it goes through the stages of its start, or takes its time.
    pub(super) fn begin_container(
        &mut self,
        id: ReplicaId,
        deployment: usize,
        calendar: &mut Calendar<Event>,
    ) {
        let now = calendar.now();
        if self.state.replicas.slot_of(id).is_none() {
            let serving = self.serving(id, deployment, now);
            self.state.replicas.insert(serving);
            self.plan_scrapes_of(id, calendar);
        }
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        let settings = &self.settings.deployments[deployment].settings;
        let staged = settings.start_up.is_some();
        let restarts = self.restarts_of(id);
        let serving = self.state.replicas.at(slot);
        let draw = u64::from(restarts) << 32 | u64::from(serving.ordinal);
        serving.started = if staged { Time::NEVER } else { now };
        if staged {
            return self.begin_start(id, deployment, calendar);
        }
        let luck = self.luck.cold_start[deployment];
        let start = settings.cold_start.draw(&mut luck.entity(draw));
        let start = Span::from_secs_f64(start).map_or(Span::CENTURY, |span| span.min(Span::CENTURY));
        let found = settings.readiness.found_after(start);
        self.will_be_ready(id, now.saturating_add(found), calendar);
    }

    /// A replica takes requests from `at` on, unless it is gone or begins anew before.
    pub(super) fn will_be_ready(&mut self, id: ReplicaId, at: Time, calendar: &mut Calendar<Event>) {
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        self.state.replicas.at(slot).ready_at = Some(at);
        calendar.at(at, Phase::Complete, Event::ReplicaReady(id));
    }

    /// A replica takes requests, unless it is gone.
    pub(super) fn replica_is_ready(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let due = self.state.replicas.get(id).is_some_and(|serving| serving.ready_at == Some(now));
        if due && self.fleet.stands_by(id) {
            return self.replica_is_loaded(id, now);
        }
        if !due || !self.fleet.replica_ready(id, now) {
            return;
        }
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        let serving = self.state.replicas.at(slot);
        serving.ready = true;
        let deployment = serving.deployment as usize;
        let service = self.settings.deployments[deployment].settings.service;
        self.state.last_progress = now;
        let spans = self.end_start(id);
        if self.has_restarted(id) {
            self.state.deployments[deployment].note_back(now);
        } else if let Some(replica) = self.fleet.replica(id) {
            let (created, bound) = (replica.created, replica.bound.unwrap_or(now));
            let (created, bound) = (replica.since_called(created), replica.since_called(bound));
            let woken =
                replica.called.filter(|_| self.settings.deployments[deployment].settings.start_up.is_some());
            let spans = spans.or(woken.map(|called| woken_after(now.since(called))));
            self.state.deployments[deployment].note_ready(now, created, bound);
            spans.iter().for_each(|spans| self.state.deployments[deployment].stages.add(spans));
        }
        self.plan_crash(id, deployment, calendar);
        let member = self.member(slot);
        self.state.services[service].router.add(&member);
        self.begin_reports(slot, calendar);
        self.judge_deployments(service);
        self.empty_queue(service, calendar);
        if self.fleet.is_rolling(deployment) {
            calendar.soon(Phase::Place, Event::Lifecycle);
        }
    }

    /// A rollout of a deployment begins, with a new image.
    pub(super) fn rollout_begins(&mut self, deployment: usize, calendar: &mut Calendar<Event>) {
        self.fleet.roll_out(deployment);
        self.forget_image(deployment);
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// A replica is to go: at once if it has no requests, else when it has finished them or its grace is over.
    pub(super) fn replica_is_deleted(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some(slot) = self.state.replicas.slot_of(id) else {
            return self.forget_replica(id, now);
        };
        let serving = self.state.replicas.at(slot);
        serving.draining = true;
        let deployment = serving.deployment as usize;
        self.stop_routing_to(slot, now);
        self.watch(slot, calendar);
        if self.state.replicas.at(slot).outstanding == 0 {
            self.replica_is_done(slot, calendar);
        } else {
            let grace = self.settings.deployments[deployment].settings.grace;
            calendar.at(now.saturating_add(grace), Phase::Fail, Event::GraceOver(id));
        }
    }

    /// A replica takes no more requests, if it did.
    pub(super) fn stop_routing_to(&mut self, slot: u32, now: Time) {
        let serving = self.state.replicas.at(slot);
        if std::mem::take(&mut serving.ready) {
            let deployment = serving.deployment as usize;
            let service = self.settings.deployments[deployment].settings.service;
            self.state.services[service].router.remove(slot);
            self.state.deployments[deployment].note_not_ready(now);
            self.judge_deployments(service);
        }
    }

    /// A replica is killed: its requests have failed.
    pub(super) fn kill_replica(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some(slot) = self.state.replicas.slot_of(id) else {
            // One that never started, on a node that has failed.
            return self.forget_replica(id, now);
        };
        self.stop_routing_to(slot, now);
        for (request, outputs) in self.take_requests_of(slot, calendar) {
            self.state.replicas.at(slot).outstanding -= 1;
            self.end_request(request, Outcome::Failed, outputs, calendar);
        }
        self.remove_replica(slot, calendar);
    }

    /// Takes all requests out of a replica that stops, each with its tokens.
    pub(super) fn take_requests_of(&mut self, slot: u32, calendar: &mut Calendar<Event>) -> Vec<(u32, u32)> {
        let now = calendar.now();
        let requests = match &mut self.state.replicas.at(slot).engine {
            Engine::Continuous(replica) => replica.kill(now, &mut self.happened),
            Engine::Slots(replica) => replica.kill(now).into_iter().map(|request| (request, 0)).collect(),
            Engine::Dynamic(replica) => replica.kill(now).into_iter().map(|request| (request, 0)).collect(),
            Engine::Halted(halted) => halted.take_all(),
        };
        self.take_happened(slot, calendar);
        self.count_gaps(slot);
        requests
    }

    /// A replica that was to go has ended all its requests: its server may sleep.
    pub(super) fn replica_is_done(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let serving = self.state.replicas.at(slot);
        let (id, deployment, works) = (serving.id, serving.deployment as usize, serving.halted().is_none());
        if works {
            self.fall_asleep(id, deployment);
        }
        self.remove_replica(slot, calendar);
    }

    /// A replica without requests is gone.
    pub(super) fn remove_replica(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let id = self.state.replicas.at(slot).id;
        self.end_series(id, now);
        self.end_process(slot, calendar);
        self.end_start(id);
        self.forget_replica(id, now);
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// The process of a replica without requests has ended.
    pub(super) fn end_process(&mut self, slot: u32, calendar: &mut Calendar<Event>) -> Serving {
        self.count_gaps(slot);
        let serving = self.state.replicas.remove(slot);
        assert_eq!(serving.outstanding, 0, "a replica goes without requests");
        serving.engine.check();
        if let Some((_, ticket)) = serving.due {
            calendar.cancel(ticket, Phase::Complete);
        }
        self.note_departure(&serving, calendar.now());
        serving
    }

    /// A replica is gone.
    fn forget_replica(&mut self, id: ReplicaId, now: Time) {
        self.fleet.remove_replica(id, now);
        self.state.back_offs.remove(&id);
    }

    /// A node takes pods.
    pub(super) fn node_is_ready(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        if self.fleet.node_ready(node, calendar.now()) {
            self.state.last_progress = calendar.now();
            self.replacement_is_ready(node, calendar);
            self.judge_zones_soon(calendar);
            calendar.soon(Phase::Place, Event::Lifecycle);
            if let Some((pool, ordinal)) = self.fleet.place_of_node(node) {
                self.plan_reclaim(node, pool, ordinal, calendar);
                self.plan_failure(node, pool, ordinal, calendar);
            }
        }
    }

    /// Notes the launch of a node.
    pub(super) fn note_launch(&mut self, id: NodeId, pool: usize, ordinal: u32, now: Time) {
        let name = self.fleet.node_name(id).unwrap_or_default();
        self.state.recorder.node_launched(id.0, name, pool, ordinal, now);
    }

    /// Launches a node of a pool. Gives its number.
    pub(super) fn launch_node(
        &mut self,
        pool: usize,
        calendar: &mut Calendar<Event>,
    ) -> Result<NodeId, String> {
        let now = calendar.now();
        self.refuse_in_outage(pool, now)?;
        let (id, ordinal) = self.fleet.launch(pool, now)?;
        self.note_launch(id, pool, ordinal, now);
        let law = &self.fleet.pool(pool).1.provisioning;
        let seconds = law.draw(&mut self.luck.provisioning[pool].entity(u64::from(ordinal)));
        let ready = now.saturating_add(
            Span::from_secs_f64(seconds).map_or(Span::CENTURY, |span| span.min(Span::CENTURY)),
        );
        calendar.at(ready, Phase::Complete, Event::NodeReady(id));
        Ok(id)
    }

    /// Gives a node back with whatever runs on it.
    pub(super) fn delete_node(&mut self, name: &str, calendar: &mut Calendar<Event>) -> Result<(), String> {
        for id in self.fleet.replicas_on(name)? {
            self.kill_replica(id, calendar);
        }
        let node = self.fleet.delete_node(name, calendar.now())?;
        self.state.recorder.node_deleted(node.0, calendar.now());
        self.forget_node(node, calendar);
        self.state.evictions.forget(node);
        self.judge_zones_soon(calendar);
        self.replacements_without();
        if self.fleet.has_terms() {
            // A place less is counted, so that others may have room for one more.
            calendar.soon(Phase::Place, Event::Lifecycle);
        }
        Ok(())
    }
}

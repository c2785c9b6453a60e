//! Replicas and nodes come and go.

use scaletwin_core::control::Poke;
use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Span, Time};

use super::World;
use super::event::Event;
use super::replica::{Engine, Serving};
use super::settings::EngineSettings;
use crate::cluster::entities::{NodeId, ReplicaId};
use crate::cluster::lifecycle::Change;
use crate::engine::{Calendar, Phase};
use crate::scrape::exporter::ReplicaCounters;
use crate::scrape::history::Subject;
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
                Change::Pending => pending = true,
            }
        }
        self.note_wanted(now);
        if pending && self.controllers.poke(&Poke::PendingPods, now) {
            self.plan_control(calendar);
        }
        self.fleet.check(now);
    }

    /// A replica got its node: its container starts.
    fn replica_is_bound(&mut self, id: ReplicaId, deployment: usize, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
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
        let ordinal = self.fleet.replica(id).map_or(0, |replica| replica.ordinal);
        let first = i64::from(ordinal) < i64::from(model.settings.replicas) && now == Time::ZERO;
        let staged = !first && model.settings.start_up.is_some();
        self.state.replicas.insert(Serving {
            id,
            ordinal,
            deployment: u32::try_from(deployment).expect("deployments are few"),
            engine,
            started: if staged { Time::NEVER } else { now },
            ready: false,
            draining: false,
            outstanding: 0,
            due: None,
            begins: false,
            counters: ReplicaCounters::for_series(self.board.series()),
            scraped: (now, Work::default(), 0),
            busy_before: 0,
            cpu_before: 0,
            preemptions_before: 0,
        });
        self.plan_scrapes_of(id, calendar);
        if first {
            self.note_started(id, deployment);
        }
        if staged {
            return self.begin_start(id, deployment, calendar);
        }
        let settings = &self.settings.deployments[deployment].settings;
        let luck = self.luck.cold_start[deployment];
        let start = settings.cold_start.draw(&mut luck.entity(u64::from(ordinal)));
        let start = if first {
            Span::ZERO
        } else {
            Span::from_secs_f64(start).map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
        };
        let found = if first { Span::ZERO } else { settings.readiness.found_after(start) };
        calendar.at(now.saturating_add(found), Phase::Complete, Event::ReplicaReady(id));
    }

    /// A replica takes requests, unless it is gone.
    pub(super) fn replica_is_ready(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        if !self.fleet.replica_ready(id, now) {
            return;
        }
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        let serving = self.state.replicas.at(slot);
        serving.ready = true;
        let deployment = serving.deployment as usize;
        let service = self.settings.deployments[deployment].settings.service;
        self.state.last_progress = now;
        if let Some(replica) = self.fleet.replica(id) {
            self.state.deployments[deployment].note_ready(now, replica.created, replica.bound.unwrap_or(now));
        }
        if let Some(spans) = self.end_start(id) {
            self.state.deployments[deployment].stages.add(&spans);
        }
        let member = self.member(slot);
        self.state.services[service].router.add(&member);
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
    fn replica_is_deleted(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some(slot) = self.state.replicas.slot_of(id) else {
            self.fleet.remove_replica(id, now);
            return;
        };
        let serving = self.state.replicas.at(slot);
        serving.draining = true;
        let deployment = serving.deployment as usize;
        self.stop_routing_to(slot, now);
        if self.state.replicas.at(slot).outstanding == 0 {
            self.remove_replica(slot, calendar);
        } else {
            let grace = self.settings.deployments[deployment].settings.grace;
            calendar.at(now.saturating_add(grace), Phase::Fail, Event::GraceOver(id));
        }
    }

    /// A replica takes no more requests, if it did.
    fn stop_routing_to(&mut self, slot: u32, now: Time) {
        let serving = self.state.replicas.at(slot);
        if std::mem::take(&mut serving.ready) {
            let deployment = serving.deployment as usize;
            let service = self.settings.deployments[deployment].settings.service;
            self.state.services[service].router.remove(slot);
            self.state.deployments[deployment].note_not_ready(now);
        }
    }

    /// A replica is killed: its requests have failed.
    pub(super) fn kill_replica(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        self.stop_routing_to(slot, now);
        let serving = self.state.replicas.at(slot);
        let lost = match &mut serving.engine {
            Engine::Continuous(replica) => replica.kill(now, &mut self.happened),
            Engine::Slots(replica) => replica.kill(now).into_iter().map(|request| (request, 0)).collect(),
            Engine::Dynamic(replica) => replica.kill(now).into_iter().map(|request| (request, 0)).collect(),
        };
        self.take_happened(slot, calendar);
        for (request, outputs) in lost {
            self.state.replicas.at(slot).outstanding -= 1;
            self.end_request(request, Outcome::Failed, outputs, calendar);
        }
        self.remove_replica(slot, calendar);
    }

    /// A replica without requests is gone.
    pub(super) fn remove_replica(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let id = self.state.replicas.at(slot).id;
        let labels = self.labels_of(id).filter(|_| self.board.has_queries());
        let serving = self.state.replicas.remove(slot);
        assert_eq!(serving.outstanding, 0, "a replica goes without requests");
        serving.engine.check();
        self.end_start(serving.id);
        if let Some((_, ticket)) = serving.due {
            calendar.cancel(ticket, Phase::Complete);
        }
        self.note_departure(&serving, now);
        match labels {
            Some(labels) => self.state.history.end(labels, now),
            None => self.state.history.forget(Subject::Replica(serving.id.0)),
        }
        self.fleet.remove_replica(serving.id, now);
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// A node takes pods.
    pub(super) fn node_is_ready(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        if self.fleet.node_ready(node, calendar.now()) {
            self.state.last_progress = calendar.now();
            self.replacement_is_ready(node, calendar);
            calendar.soon(Phase::Place, Event::Lifecycle);
            if let Some((pool, ordinal)) = self.fleet.place_of_node(node) {
                self.plan_reclaim(node, pool, ordinal, calendar);
            }
        }
    }

    /// Plans when the provider takes a node back that is ready now. It never does so without its notice.
    pub(super) fn plan_reclaim(
        &mut self,
        node: NodeId,
        pool: usize,
        ordinal: u32,
        calendar: &mut Calendar<Event>,
    ) {
        let Some(spot) = &self.fleet.pool(pool).1.spot else { return };
        let Some(lifetime) = &spot.lifetime else { return };
        let seconds = lifetime.draw(&mut self.luck.reclaim[pool].entity(u64::from(ordinal)));
        let life = Span::from_secs_f64(seconds).map_or(Span::CENTURY, |span| span.min(Span::CENTURY));
        let told = calendar.now().saturating_add(life.saturating_sub(spot.notice));
        calendar.at(told, Phase::Fail, Event::NodeTold(node));
    }

    /// Plans the changes of a pool's capacity from `step` on.
    pub(super) fn plan_market(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        let spot = self.fleet.pool(pool as usize).1.spot.as_ref();
        if let Some((from, _)) = spot.and_then(|spot| spot.available.get(step as usize)) {
            let at = Time::ZERO + *from;
            calendar.at(at.max(calendar.now()), Phase::Fail, Event::Market { pool, step });
        }
    }

    /// Plans the changes of a pool's price from `step` on.
    pub(super) fn plan_price(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        if let Some((from, _)) = self.fleet.pool(pool as usize).1.prices.get(step as usize) {
            let at = Time::ZERO + *from;
            calendar.at(at.max(calendar.now()), Phase::Fail, Event::Price { pool, step });
        }
    }

    /// The price of a pool changes.
    pub(super) fn price_changes(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        if let Some((_, price)) = self.fleet.pool(pool as usize).1.prices.get(step as usize).copied() {
            self.fleet.reprice(pool as usize, calendar.now(), price);
        }
        self.plan_price(pool, step + 1, calendar);
    }

    /// The provider has more or less capacity: what is too much, it takes back.
    pub(super) fn capacity_changes(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        for node in self.fleet.beyond_capacity(pool as usize, calendar.now()) {
            self.node_is_told(node, calendar);
        }
        self.plan_market(pool, step + 1, calendar);
    }

    /// The provider says that it takes a node back: its replicas go, and others take their place elsewhere.
    pub(super) fn node_is_told(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some((pool, _)) = self.fleet.place_of_node(node) else { return };
        let notice = self.fleet.pool(pool).1.spot.as_ref().map_or(Span::ZERO, |spot| spot.notice);
        let Some(name) = self.fleet.tell(node, now.saturating_add(notice)) else { return };
        calendar.at(now.saturating_add(notice), Phase::Fail, Event::NodeReclaimed(node));
        for id in self.fleet.replicas_on(&name).unwrap_or_default() {
            if self.fleet.evict(id, now) {
                self.replica_is_deleted(id, calendar);
            }
        }
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// The provider takes a node back, with whatever still runs on it.
    pub(super) fn node_is_reclaimed(
        &mut self,
        node: NodeId,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), super::WorldError> {
        let Some(name) = self.fleet.interrupt(node) else { return Ok(()) };
        let at = calendar.now();
        self.state.recorder.node_reclaimed(node.0);
        self.delete_node(&name, calendar).map_err(|why| super::WorldError::Node { at, why })?;
        calendar.soon(Phase::Place, Event::Lifecycle);
        Ok(())
    }

    /// Launches a node of a pool. Gives its number.
    pub(super) fn launch_node(
        &mut self,
        pool: usize,
        calendar: &mut Calendar<Event>,
    ) -> Result<NodeId, String> {
        let now = calendar.now();
        let (id, ordinal) = self.fleet.launch(pool, now)?;
        self.state.recorder.node_launched(id.0, pool, ordinal, now);
        let law = &self.fleet.pool(pool).1.provisioning;
        let seconds = law.draw(&mut self.luck.provisioning[pool].entity(u64::from(ordinal)));
        let ready = now.saturating_add(
            Span::from_secs_f64(seconds).map_or(Span::CENTURY, |span| span.min(Span::CENTURY)),
        );
        calendar.at(ready, Phase::Complete, Event::NodeReady(id));
        Ok(id)
    }

    /// Takes a node out of scheduling and lets its replicas go.
    pub(super) fn drain_node(&mut self, name: &str, calendar: &mut Calendar<Event>) -> Result<(), String> {
        let replicas = self.fleet.replicas_on(name)?;
        self.fleet.cordon(name)?;
        for id in replicas {
            if self.fleet.evict(id, calendar.now()) {
                self.replica_is_deleted(id, calendar);
            }
        }
        Ok(())
    }

    /// Gives a node back with whatever runs on it.
    pub(super) fn delete_node(&mut self, name: &str, calendar: &mut Calendar<Event>) -> Result<(), String> {
        for id in self.fleet.replicas_on(name)? {
            self.kill_replica(id, calendar);
        }
        let node = self.fleet.delete_node(name, calendar.now())?;
        self.state.recorder.node_deleted(node.0, calendar.now());
        self.forget_node(node, calendar);
        self.replacements_without();
        Ok(())
    }
}

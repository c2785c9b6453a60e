//! Nodes fail, one by one or with their zone, and the cluster finds out.
//!
//! A failed node is a machine that answers nobody: `docs/models/cluster.md` has what follows from that, and when.

use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Span, Time};

use super::event::Event;
use super::halted::Halted;
use super::inflight::Place;
use super::measure::slots_of;
use super::replica::Engine;
use super::settings::EngineSettings;
use super::{World, WorldError};
use crate::cluster::entities::{NodeId, ReplicaId};
use crate::cluster::settings::{Detection, Lost};
use crate::engine::{Calendar, Phase};

impl World {
    /// Plans the failure of a node that is ready now.
    pub(super) fn plan_failure(
        &mut self,
        node: NodeId,
        pool: usize,
        ordinal: u32,
        calendar: &mut Calendar<Event>,
    ) {
        let failures = self.fleet.pool(pool).1.failures.as_ref();
        let Some(mtbf) = failures.and_then(|failures| failures.mtbf.as_ref()) else { return };
        // Above the draws that choose among nodes, which number their instants in the upper half.
        let returns = self.fleet.returns_of(node);
        let life = match returns {
            0 => u64::from(ordinal),
            returns => 1 << 63 | u64::from(returns) << 32 | u64::from(ordinal),
        };
        let seconds = mtbf.draw(&mut self.luck.failure[pool].entity(life));
        let life = Span::from_secs_f64(seconds).map_or(Span::CENTURY, |span| span.min(Span::CENTURY));
        calendar.at(calendar.now().saturating_add(life), Phase::Fail, Event::NodeFails { node, returns });
    }

    /// Plans the failures of a pool that the scenario names, from `step` on.
    pub(super) fn plan_failures(&mut self, pool: u32, step: u32, calendar: &mut Calendar<Event>) {
        let failures = self.fleet.pool(pool as usize).1.failures.as_ref();
        if let Some((at, _)) = failures.and_then(|failures| failures.at.get(step as usize)) {
            let at = Time::ZERO + *at;
            calendar.at(at.max(calendar.now()), Phase::Fail, Event::Failures { pool, step });
        }
    }

    /// Plans the outages.
    pub(super) fn plan_outages(&mut self, calendar: &mut Calendar<Event>) {
        for (number, outage) in (0u32..).zip(&self.settings.outages) {
            calendar.at(Time::ZERO + outage.at, Phase::Fail, Event::Outage(number));
        }
    }

    /// Nodes of a pool fail as planned. Chance says which.
    pub(super) fn failures_are_due(
        &mut self,
        pool: u32,
        step: u32,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), WorldError> {
        let place = pool as usize;
        let failures = self.fleet.pool(place).1.failures.as_ref();
        let Some((nodes, lost)) =
            failures.and_then(|failures| Some((failures.at.get(step as usize)?.1, failures.requests)))
        else {
            return Ok(());
        };
        let luck = self.luck.failure[place];
        let mut drawn: Vec<(u64, NodeId)> = self
            .fleet
            .working_nodes(place)
            .into_iter()
            .filter(|(node, _)| self.fleet.answers(*node).is_some())
            .map(|(node, ordinal)| {
                let draw = u64::from(step + 1) << 32 | u64::from(ordinal);
                (luck.entity(draw).bits(), node)
            })
            .collect();
        drawn.sort_unstable();
        for (_, node) in drawn.into_iter().take(nodes as usize) {
            self.node_fails(node, lost, calendar)?;
        }
        self.plan_failures(pool, step + 1, calendar);
        Ok(())
    }

    /// A zone is out: all its nodes fail.
    pub(super) fn outage_begins(
        &mut self,
        number: u32,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), WorldError> {
        let outage = self.settings.outages[number as usize].clone();
        for place in 0..self.fleet.accounts().len() {
            if outage.is_of(self.fleet.cluster_of_pool(place), self.fleet.pool(place).1) {
                for (node, _) in self.fleet.working_nodes(place) {
                    self.node_fails(node, outage.requests, calendar)?;
                }
            }
        }
        Ok(())
    }

    /// When the outage is over in which a node is; `None` if it is in none.
    pub(super) fn outage_of(&self, node: NodeId, now: Time) -> Option<Time> {
        let (pool, _) = self.fleet.place_of_node(node)?;
        self.outages_over(pool, now).max()
    }

    /// When the outages are over in which the zone of a pool is.
    fn outages_over(&self, pool: usize, now: Time) -> impl Iterator<Item = Time> {
        let (cluster, settings) = (self.fleet.cluster_of_pool(pool), self.fleet.pool(pool).1);
        let holding = self.settings.outages.iter().filter(move |outage| outage.holds(cluster, settings, now));
        holding.map(|outage| (Time::ZERO + outage.at).saturating_add(outage.duration))
    }

    /// Whether a pool can have no node now, because its zone is out.
    pub(super) fn refuse_in_outage(&mut self, pool: usize, now: Time) -> Result<(), String> {
        if self.outages_over(pool, now).next().is_none() {
            return Ok(());
        }
        let settings = self.fleet.pool(pool).1;
        let message =
            format!("the provider has no capacity for {}: zone {} is out", settings.name, settings.zone);
        self.fleet.note_stock_out(pool, now);
        Err(message)
    }

    /// The time of a node has come, unless it failed before and has come back.
    pub(super) fn failure_is_due(
        &mut self,
        node: NodeId,
        returns: u32,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), WorldError> {
        if self.fleet.returns_of(node) != returns {
            return Ok(());
        }
        let pool = self.fleet.place_of_node(node).map(|(pool, _)| pool);
        let failures = pool.and_then(|pool| self.fleet.pool(pool).1.failures.as_ref());
        let lost = failures.map_or(Lost::Hang, |failures| failures.requests);
        self.node_fails(node, lost, calendar)
    }

    /// A node fails: nothing on it works any more, and nobody knows yet. One that was on its way never comes: it is given
    /// back, and another launched in its place where failed nodes are repaired.
    fn node_fails(
        &mut self,
        node: NodeId,
        lost: Lost,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), WorldError> {
        let now = calendar.now();
        let Some((name, was_ready)) = self.fleet.fail_node(node, now) else { return Ok(()) };
        if !was_ready {
            let repairs = self.failures_of(node).is_some_and(|failures| failures.repair.is_some());
            return self.give_back(node, &name, repairs, calendar);
        }
        match self.failures_of(node).is_some_and(|failures| failures.recovery.is_some()) {
            true => self.stop_downloads_of(node, calendar),
            false => self.forget_node(node, calendar),
        }
        self.plan_return(node, calendar);
        for id in self.fleet.replicas_on(&name).unwrap_or_default() {
            self.end_start(id);
            if let Some(slot) = self.state.replicas.slot_of(id) {
                self.replica_halts(slot, lost, calendar);
            }
        }
        let grace = self.detection_of(node).grace_period;
        calendar.at(now.saturating_add(grace), Phase::Fail, Event::NodeUnready(node));
        Ok(())
    }

    fn detection_of(&self, node: NodeId) -> Detection {
        let pool = self.fleet.place_of_node(node).map(|(pool, _)| self.fleet.cluster_of_pool(pool));
        pool.map_or(Detection::default(), |cluster| self.settings.clusters[cluster].detection)
    }

    /// A replica stops with its node. Its router does not know, and goes on sending it requests.
    fn replica_halts(&mut self, slot: u32, lost: Lost, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let requests = self.take_requests_of(slot, calendar);
        let serving = self.state.replicas.at(slot);
        if let Some((_, ticket)) = serving.due.take() {
            calendar.cancel(ticket, Phase::Complete);
        }
        let engine = &self.settings.deployments[serving.deployment as usize].engine;
        let halted = Halted::of(&serving.engine, now, slots_of(engine), lost, room_of(engine));
        serving.engine = Engine::Halted(Box::new(halted));
        for (place, outputs) in requests {
            match lost {
                Lost::Hang => self.hang(slot, place, outputs),
                Lost::Fail => {
                    self.request_leaves(slot, place, None, now);
                    self.end_request(place, Outcome::Failed, outputs, calendar);
                    self.note_failure(slot, calendar);
                }
            }
        }
        let serving = self.state.replicas.at(slot);
        if serving.draining && serving.outstanding == 0 {
            return self.remove_replica(slot, calendar);
        }
        self.plan_health_checks(slot, lost, calendar);
    }

    /// Plans when the gateway's probes of a replica that has failed have got no answer for long enough.
    fn plan_health_checks(&mut self, slot: u32, lost: Lost, calendar: &mut Calendar<Event>) {
        let serving = self.state.replicas.at(slot);
        let service = self.settings.deployments[serving.deployment as usize].settings.service;
        let Some(check) = self.settings.services[service].health_check else { return };
        let id = serving.id;
        if let Some(ready) = self.fleet.replica(id).and_then(|replica| replica.ready) {
            let out = check.taken_out(ready, calendar.now(), lost);
            if let Engine::Halted(halted) = &mut self.state.replicas.at(slot).engine {
                halted.probed_at = Some(out);
            }
            calendar.at(out, Phase::Fail, Event::Unhealthy(id));
        }
    }

    /// The gateway takes a replica out that does not answer its probes, unless these were of a failure before.
    pub(super) fn replica_is_unhealthy(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        let Engine::Halted(halted) = &mut self.state.replicas.at(slot).engine else { return };
        if halted.probed_at != Some(calendar.now()) {
            return;
        }
        halted.out = true;
        self.stop_routing_to(slot, calendar.now());
    }

    /// A replica has failed a request: the gateway may eject it for a while.
    fn note_failure(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        let serving = self.state.replicas.at(slot);
        let service = self.settings.deployments[serving.deployment as usize].settings.service;
        let Some(outlier) = self.settings.services[service].outlier_detection.filter(|_| serving.ready)
        else {
            return;
        };
        let id = serving.id;
        let Engine::Halted(halted) = &mut serving.engine else { return };
        if let Some(number) = halted.fails(outlier.consecutive_failures) {
            let back = calendar.now().saturating_add(outlier.lasts(number));
            halted.ejected_until = Some(back);
            self.stop_routing_to(slot, calendar.now());
            calendar.at(back, Phase::Fail, Event::EjectionOver(id));
        }
    }

    /// A gateway tries a replica again that it ejected, unless somebody knows by now that it does not answer, or the
    /// ejection was of a failure before.
    pub(super) fn ejection_is_over(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        let is_ready = self.fleet.replica(id).is_some_and(|replica| replica.ready.is_some());
        let serving = self.state.replicas.at(slot);
        let is_over = |halted: &Halted| !halted.out && halted.ejected_until == Some(calendar.now());
        let comes_back = !serving.draining && !serving.ready && serving.halted().is_some_and(is_over);
        if !comes_back || !is_ready {
            return;
        }
        serving.ready = true;
        let deployment = serving.deployment as usize;
        let service = self.settings.deployments[deployment].settings.service;
        self.state.deployments[deployment].note_back(calendar.now());
        let member = self.member(slot);
        self.state.services[service].router.add(&member);
        self.judge_deployments(service);
        self.empty_queue(service, calendar);
    }

    /// Offers a request to a replica whose node has failed, which its router does not know. It is dealt with at once.
    pub(super) fn offer_to_halted(&mut self, slot: u32, place: u32, calendar: &mut Calendar<Event>) -> bool {
        let now = calendar.now();
        match self.state.replicas.at(slot).halted().map(Halted::lost) {
            Some(Lost::Hang) => self.hang(slot, place, 0),
            Some(Lost::Fail) | None => {
                self.request_leaves(slot, place, None, now);
                self.end_request(place, Outcome::Failed, 0, calendar);
                self.note_failure(slot, calendar);
            }
        }
        true
    }

    /// A request hangs in a replica whose node has failed, with so many tokens.
    fn hang(&mut self, slot: u32, place: u32, outputs: u32) {
        if let Engine::Halted(halted) = &mut self.state.replicas.at(slot).engine {
            halted.hold(place, outputs);
            self.state.requests.at(place).place = Place::Slots(slot, u64::from(place));
        }
    }

    /// The cluster has missed a node's heartbeats for long enough: its replicas are endpoints no more.
    pub(super) fn node_is_found_unready(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let grace = self.detection_of(node).grace_period;
        let silent = self.fleet.failed_at(node).is_some_and(|at| at.saturating_add(grace) <= now);
        if !silent {
            return;
        }
        let Some(name) = self.fleet.node_unready(node, now) else { return };
        for id in self.fleet.replicas_on(&name).unwrap_or_default() {
            if let Some(slot) = self.state.replicas.slot_of(id) {
                self.stop_routing_to(slot, now);
            }
        }
        self.taint_later(node, calendar);
        let pool = self.fleet.place_of_node(node).map(|(pool, _)| pool);
        let failures = pool.and_then(|pool| self.fleet.pool(pool).1.failures.as_ref());
        if let Some(repair) = failures.and_then(|failures| failures.repair) {
            calendar.at(now.saturating_add(repair), Phase::Fail, Event::NodeRepaired(node));
        }
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// The pods of a failed node are deleted, and others are created for them.
    pub(super) fn node_was_tolerated(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let (now, toleration) = (calendar.now(), self.detection_of(node).toleration);
        let over = self.state.evictions.tainted(node).is_some_and(|at| at.saturating_add(toleration) <= now);
        let Some(name) = self.fleet.node_name(node).filter(|_| over) else { return };
        for id in self.fleet.replicas_on(&name).unwrap_or_default() {
            self.fleet.evict(id, calendar.now());
            self.kill_replica(id, calendar);
        }
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// A failed node is given back, and another one comes.
    pub(super) fn node_is_repaired(
        &mut self,
        node: NodeId,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), WorldError> {
        let Some(name) = self.fleet.node_name(node) else { return Ok(()) };
        let at = calendar.now();
        let unready = self.fleet.unready_since(node);
        let repair = self.failures_of(node).and_then(|failures| failures.repair);
        if unready.zip(repair).is_none_or(|(unready, repair)| unready.saturating_add(repair) > at) {
            return Ok(());
        }
        self.give_back(node, &name, true, calendar)
    }

    /// Gives a node back, and launches another one in its place or not.
    fn give_back(
        &mut self,
        node: NodeId,
        name: &str,
        again: bool,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), WorldError> {
        let (at, pool) = (calendar.now(), self.fleet.place_of_node(node).map(|(pool, _)| pool));
        self.delete_node(name, calendar).map_err(|why| WorldError::Node { at, why })?;
        if let Some(pool) = pool.filter(|_| again) {
            self.node_is_launched_again(u32::try_from(pool).expect("pools are few"), calendar);
        }
        calendar.soon(Phase::Place, Event::Lifecycle);
        Ok(())
    }

    /// A node is launched in the place of one that failed. If the provider refuses, it is tried again when it has more.
    pub(super) fn node_is_launched_again(&mut self, pool: u32, calendar: &mut Calendar<Event>) {
        if self.launch_node(pool as usize, calendar).is_ok() {
            return;
        }
        if let Some(next) = self.more_capacity(pool as usize, calendar.now()) {
            calendar.at(next, Phase::Actuate, Event::Relaunch { pool });
        }
    }

    /// When the provider's capacity for a pool changes next.
    fn more_capacity(&self, pool: usize, now: Time) -> Option<Time> {
        let ends = self.outages_over(pool, now);
        let available = self.fleet.pool(pool).1.spot.iter().flat_map(|spot| &spot.available);
        ends.chain(available.map(|(from, _)| Time::ZERO + *from)).filter(|at| *at > now).min()
    }
}

/// Requests that a gateway gives to a replica at most; `None`: any number.
fn room_of(engine: &EngineSettings) -> Option<usize> {
    let (served, waiting) = match engine {
        EngineSettings::Continuous { .. } => return None,
        EngineSettings::Concurrency { config, .. } => (config.limit, config.queue),
        EngineSettings::Dynamic { config, .. } => (config.max_batch_size * config.instances, config.queue),
    };
    waiting.map(|waiting| served as usize + waiting as usize)
}

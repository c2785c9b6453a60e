//! Containers crash, and the kubelet starts them again in place; nodes that failed come back. `docs/models/failures.md`.

use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use crate::cluster::entities::{NodeId, ReplicaId};
use crate::cluster::settings::{CrashSettings, FailureSettings};
use crate::engine::{Calendar, Phase};

/// What the kubelet remembers of a container that has crashed: `flowcontrol.Backoff` of Kubernetes' `client-go`, as
/// `doBackOff` of the kubelet asks it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BackOff {
    /// How often it was started again, whatever ended it.
    restarts: u32,
    /// How long it waits after the next crash.
    wait: Span,
    /// When it was last started again.
    last: Option<Time>,
}

impl BackOff {
    /// The container has crashed at `now`. How long it waits until it is started again.
    fn crashes(&mut self, now: Time, settings: &CrashSettings) -> Span {
        let forgotten = settings.max_back_off * 2;
        let fresh = self.last.is_none_or(|last| now.since(last) > forgotten);
        let wait = if fresh { Span::ZERO } else { self.wait };
        self.wait = if fresh { settings.back_off } else { (self.wait * 2).min(settings.max_back_off) };
        self.last = Some(now.saturating_add(wait));
        wait
    }
}

impl World {
    /// Plans the next crash of a replica that is ready now.
    pub(super) fn plan_crash(&mut self, id: ReplicaId, deployment: usize, calendar: &mut Calendar<Event>) {
        let crashes = self.settings.deployments[deployment].settings.crashes.as_ref();
        let Some(mtbf) = crashes.and_then(|crashes| crashes.mtbf.as_ref()) else { return };
        let Some(ordinal) = self.fleet.replica(id).map(|replica| replica.ordinal) else { return };
        let restart = self.restarts_of(id);
        let draw = u64::from(restart) << 32 | u64::from(ordinal);
        let seconds = mtbf.draw(&mut self.luck.crash[deployment].entity(draw));
        let life = Span::from_secs_f64(seconds).map_or(Span::CENTURY, |span| span.min(Span::CENTURY));
        let at = calendar.now().saturating_add(life);
        calendar.at(at, Phase::Fail, Event::Crash { replica: id, restart });
    }

    /// Plans the crashes of a deployment that the scenario names, from `step` on.
    pub(super) fn plan_crashes(&mut self, deployment: u32, step: u32, calendar: &mut Calendar<Event>) {
        let crashes = self.settings.deployments[deployment as usize].settings.crashes.as_ref();
        if let Some((at, _)) = crashes.and_then(|crashes| crashes.at.get(step as usize)) {
            let at = Time::ZERO + *at;
            calendar.at(at.max(calendar.now()), Phase::Fail, Event::Crashes { deployment, step });
        }
    }

    /// Replicas of a deployment crash as planned. Chance says which of those that are ready.
    pub(super) fn crashes_are_due(&mut self, deployment: u32, step: u32, calendar: &mut Calendar<Event>) {
        let place = deployment as usize;
        let crashes = self.settings.deployments[place].settings.crashes.as_ref();
        let Some((_, count)) = crashes.and_then(|crashes| crashes.at.get(step as usize)).copied() else {
            return;
        };
        let luck = self.luck.crash[place];
        let works = |id: &ReplicaId| self.state.replicas.get(*id).is_some_and(|serving| serving.ready);
        let replicas = self.fleet.replicas_of(place).into_iter().map(|replica| (replica.id, replica.ordinal));
        let mut drawn: Vec<(u64, ReplicaId)> = replicas
            .filter(|(id, _)| works(id))
            .map(|(id, ordinal)| {
                // Beyond the draws of lives, whose upper half counts restarts.
                let draw = (1 << 63) | u64::from(step) << 32 | u64::from(ordinal);
                (luck.entity(draw).bits(), id)
            })
            .collect();
        drawn.sort_unstable();
        for (_, id) in drawn.into_iter().take(count as usize) {
            self.container_crashes(id, calendar);
        }
        self.plan_crashes(deployment, step + 1, calendar);
    }

    /// Whether the container of a replica was started again.
    pub(super) fn has_restarted(&self, id: ReplicaId) -> bool {
        self.restarts_of(id) > 0
    }

    /// How often the container of a replica was started again.
    pub(super) fn restarts_of(&self, id: ReplicaId) -> u32 {
        self.state.back_offs.get(&id).map_or(0, |back_off| back_off.restarts)
    }

    /// The time of a replica has come, unless it crashed before.
    pub(super) fn crash_is_due(&mut self, id: ReplicaId, restart: u32, calendar: &mut Calendar<Event>) {
        if self.restarts_of(id) == restart {
            self.container_crashes(id, calendar);
        }
    }

    /// The process of a replica dies with its requests. One that is being deleted is gone; another one starts again.
    fn container_crashes(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let Some(serving) = self.state.replicas.get(id) else { return };
        if serving.halted().is_some() {
            return;
        }
        if serving.draining {
            return self.kill_replica(id, calendar);
        }
        let deployment = serving.deployment as usize;
        let Some(settings) = self.settings.deployments[deployment].settings.crashes.clone() else { return };
        let now = calendar.now();
        let wait = self.state.back_offs.entry(id).or_default().crashes(now, &settings);
        self.start_container_after(id, wait, calendar);
        if self.state.measuring {
            self.state.deployments[deployment].restarts += 1;
        }
    }

    /// A container ends, its requests have failed, and it is started again after `wait`.
    fn start_container_after(&mut self, id: ReplicaId, wait: Span, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        self.fleet.replica_unready(id, now);
        if let Some(slot) = self.state.replicas.slot_of(id) {
            self.stop_routing_to(slot, now);
            for (request, outputs) in self.take_requests_of(slot, calendar) {
                self.state.replicas.at(slot).outstanding -= 1;
                self.end_request(request, Outcome::Failed, outputs, calendar);
            }
            let ended = self.end_process(slot, calendar);
            let mut anew = self.serving(id, ended.deployment as usize, now);
            anew.started = Time::NEVER;
            self.state.replicas.insert(anew);
        }
        self.end_start(id);
        let back_off = self.state.back_offs.entry(id).or_default();
        back_off.restarts += 1;
        let restart = back_off.restarts;
        calendar.at(
            now.saturating_add(wait),
            Phase::Complete,
            Event::ContainerStarts { replica: id, restart },
        );
        // What waits for a ready replica to go on (a rollout, a drain) looks again.
        calendar.soon(Phase::Place, Event::Lifecycle);
    }

    /// The kubelet starts a container again, unless its replica is gone or its node has failed.
    pub(super) fn container_starts_again(
        &mut self,
        id: ReplicaId,
        restart: u32,
        calendar: &mut Calendar<Event>,
    ) {
        let there = self.fleet.replica(id).is_some_and(|replica| replica.deleted.is_none());
        let Some(deployment) = self.fleet.deployment_of(id).filter(|_| there) else { return };
        if !self.fleet.has_failed(id) && self.restarts_of(id) == restart {
            self.begin_container(id, deployment, calendar);
        }
    }

    /// Plans the return of a node that has failed.
    pub(super) fn plan_return(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        if let Some(recovery) = self.failures_of(node).and_then(|failures| failures.recovery) {
            calendar.at(calendar.now().saturating_add(recovery), Phase::Complete, Event::NodeReturns(node));
        }
    }

    pub(super) fn failures_of(&self, node: NodeId) -> Option<&FailureSettings> {
        let (pool, _) = self.fleet.place_of_node(node)?;
        self.fleet.pool(pool).1.failures.as_ref()
    }

    /// A node that failed has started again, unless its zone is out: its pods do too, as far as they have not been evicted.
    pub(super) fn node_returns(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        if let Some(end) = self.outage_of(node, calendar.now()) {
            calendar.at(end, Phase::Complete, Event::NodeReturns(node));
            return;
        }
        let Some(name) = self.fleet.node_returns(node) else { return };
        self.forget_memory_of(node);
        self.state.evictions.forget(node);
        for id in self.fleet.replicas_on(&name).unwrap_or_default() {
            match self.fleet.replica(id).is_some_and(|replica| replica.deleted.is_some()) {
                true => self.kill_replica(id, calendar),
                false => self.start_container_after(id, Span::ZERO, calendar),
            }
        }
        if let Some((pool, ordinal)) = self.fleet.place_of_node(node) {
            self.plan_failure(node, pool, ordinal, calendar);
        }
        self.judge_zones_soon(calendar);
        calendar.soon(Phase::Place, Event::Lifecycle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_is_forgotten() {
        let settings = CrashSettings {
            mtbf: None,
            at: Vec::new(),
            back_off: Span::from_secs(10),
            max_back_off: Span::from_secs(300),
        };
        let mut back_off = BackOff::default();
        let mut now = Time::ZERO;
        let mut wait = |after: u64| {
            now = now.saturating_add(Span::from_secs(after));
            let wait = back_off.crashes(now, &settings);
            now = now.saturating_add(wait);
            wait.as_secs()
        };
        assert_eq!([1; 8].map(&mut wait), [0, 10, 20, 40, 80, 160, 300, 300]);
        // 600 s after its last start it is remembered, later it is not.
        assert_eq!([600, 601, 1].map(wait), [300, 0, 10]);
    }
}

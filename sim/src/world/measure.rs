//! Windows of the timeline, and what is counted from them to the figures of the end.

use scaletwin_core::record::{CapacityRow, Histogram, PoolRow, ReplicaStates, TimeAverage};
use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::replica::{Engine, Serving};
use super::settings::EngineSettings;
use super::standby::StandbyMeter;
use super::start_up::StageMeter;
use super::{MOST_WINDOWS, World, WorldError};
use crate::engine::{Calendar, Phase};

/// What is counted of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeploymentMeter {
    pub ready: TimeAverage,
    pub wanted: TimeAverage,
    /// The integrals of both at the start of the window. Below 0 after a warm-up that ended within it.
    pub window: (i128, i128),
    /// For how long replicas that are gone have worked, nanoseconds.
    pub(super) busy_gone: u128,
    /// For how long all had worked at the start of the window.
    pub(super) busy_before: u128,
    pub(super) scale_ups: u64,
    pub(super) scale_downs: u64,
    pub(super) cold_starts: Histogram,
    pub stages: StageMeter,
    pub standby: StandbyMeter,
    pub(super) scale_up_latency: Histogram,
    pub(super) preemptions: u64,
    pub(super) restarts: u64,
    pub(super) preempted: u64,
}

impl DeploymentMeter {
    pub(super) fn new(replicas: i32) -> DeploymentMeter {
        let wanted = u64::try_from(replicas).unwrap_or(0);
        DeploymentMeter {
            ready: TimeAverage::start(Time::ZERO, 0),
            wanted: TimeAverage::start(Time::ZERO, wanted),
            window: (0, 0),
            busy_gone: 0,
            busy_before: 0,
            scale_ups: 0,
            scale_downs: 0,
            cold_starts: Histogram::default(),
            stages: StageMeter::default(),
            standby: StandbyMeter::start(Time::ZERO, 0),
            scale_up_latency: Histogram::default(),
            preemptions: 0,
            restarts: 0,
            preempted: 0,
        }
    }

    pub(super) fn note_ready(&mut self, now: Time, created: Time, bound: Time) {
        self.ready.set(now, self.ready.value() + 1);
        if now > Time::ZERO {
            self.cold_starts.add(now.since(bound).as_nanos());
            self.scale_up_latency.add(now.since(created).as_nanos());
        }
    }

    /// A replica that was ready before takes requests again.
    pub(super) fn note_back(&mut self, now: Time) {
        self.ready.set(now, self.ready.value() + 1);
    }

    pub(super) fn note_not_ready(&mut self, now: Time) {
        self.ready.set(now, self.ready.value() - 1);
    }

    pub(super) fn note_scaled(&mut self, before: i32, after: i32) {
        self.scale_ups += u64::from(after > before);
        self.scale_downs += u64::from(after < before);
    }

    /// The integrals of what is wanted and ready.
    fn integrals(&self, now: Time) -> (i128, i128) {
        (self.wanted.integral(now).cast_signed(), self.ready.integral(now).cast_signed())
    }

    /// Forgets what was before `now`, but for the part of the window.
    fn restart(&mut self, now: Time) {
        let (wanted, ready) = self.integrals(now);
        *self = DeploymentMeter {
            ready: TimeAverage::start(now, self.ready.value()),
            wanted: TimeAverage::start(now, self.wanted.value()),
            window: (self.window.0 - wanted, self.window.1 - ready),
            standby: self.standby.restarted(now),
            busy_gone: self.busy_gone,
            busy_before: self.busy_before,
            ..DeploymentMeter::new(0)
        };
    }
}

impl World {
    pub(super) fn note_wanted(&mut self, now: Time) {
        for place in 0..self.settings.deployments.len() {
            let wanted = u64::try_from(self.fleet.wanted(place)).unwrap_or(0);
            let meter = &mut self.state.deployments[place];
            if meter.wanted.value() != wanted {
                meter.wanted.set(now, wanted);
            }
        }
        for service in 0..self.settings.services.len() {
            self.judge_deployments(service);
        }
    }

    /// Notes what a replica that goes has done.
    pub(super) fn note_departure(&mut self, serving: &Serving, now: Time) {
        let deployment = serving.deployment as usize;
        self.state.deployments[deployment].preemptions +=
            serving.engine.preemptions() - serving.preemptions_before;
        if let Engine::Continuous(replica) = &serving.engine {
            let scheduler = replica.scheduler();
            if scheduler.is_idle() {
                let blocks = scheduler.blocks();
                assert_eq!(blocks.free(), blocks.usable(), "an idle replica has all its KV blocks free");
            }
        }
        let limit = slots_of(&self.settings.deployments[deployment].engine);
        self.state.deployments[deployment].busy_gone += serving.engine.busy_nanos(now, limit).1;
        self.count_usage(serving, now);
    }

    fn count_usage(&mut self, serving: &Serving, now: Time) {
        let model = &self.settings.deployments[serving.deployment as usize];
        let Some(place) = self.fleet.pool_of_replica(serving.id) else { return };
        let cpu = serving.cpu_core_nanos(now, slots_of(&model.engine), &model.usage) - serving.cpu_before;
        self.state.cpu_used[place] += u128::from(cpu);
        if model.usage.gpu.is_some() {
            // A slice that works is a part of a GPU that works.
            let busy = serving.engine.busy_nanos(now, 1).0 - serving.busy_before;
            self.state.gpu_busy[place] +=
                busy * u128::from(model.settings.requests.gpu_milli.unsigned_abs()) / 1_000;
        }
    }

    /// A window of the timeline ends.
    pub(super) fn window_ends(&mut self, calendar: &mut Calendar<Event>) -> Result<(), WorldError> {
        let now = calendar.now();
        if now.since(Time::ZERO).as_nanos() / self.settings.window.as_nanos() > MOST_WINDOWS {
            return Err(WorldError::Long { at: now });
        }
        self.advance_each(calendar);
        self.note_window(now);
        self.check_engines();
        calendar.at(now + self.settings.window, Phase::Scrape, Event::Window);
        Ok(())
    }

    /// Checks what must hold of every engine.
    pub(super) fn check_engines(&self) {
        self.state.replicas.iter().for_each(|serving| serving.engine.check());
        self.check_standby();
    }

    /// Notes the capacity since the start of the window.
    pub(super) fn note_window(&mut self, now: Time) {
        let length = now.since(self.state.window_start).as_nanos();
        if length == 0 {
            return;
        }
        let spent = self.spent(now);
        let usd_per_hour = spent.map(|spent| (spent - self.state.window_bill) * 3.6e12 / length as f64);
        let (busy, waiting) = self.busy_and_waiting(now);
        for (place, service) in self.state.services.iter().enumerate() {
            let (mut wanted, mut ready, mut worked) = (0, 0, 0);
            let (mut states, mut in_queues) = (ReplicaStates::default(), service.queue.len() as u64);
            for (deployment, meter) in self.state.deployments.iter().enumerate() {
                if self.settings.deployments[deployment].settings.service == place {
                    let integrals = meter.integrals(now);
                    wanted += integrals.0 - meter.window.0;
                    ready += integrals.1 - meter.window.1;
                    worked += busy[deployment] - meter.busy_before;
                    in_queues += waiting[deployment];
                    self.count_states(deployment, &mut states);
                }
            }
            // Replicas that drain work as well, and are not ready.
            let busy_share = (ready > 0).then(|| (worked as f64 / ready as f64).min(1.0));
            self.state.recorder.capacity(CapacityRow {
                start_seconds: self.state.window_start.as_secs_f64(),
                service: place,
                replicas_wanted: wanted as f64 / length as f64,
                replicas_ready: ready as f64 / length as f64,
                states,
                busy_share,
                kv_used_share: self.kv_used_share(place),
                in_system: service.population.value(),
                waiting: in_queues,
                usd_per_hour,
            });
        }
        for (meter, busy) in self.state.deployments.iter_mut().zip(busy) {
            meter.window = meter.integrals(now);
            meter.busy_before = busy;
        }
        self.note_pools(now, length);
        self.state.window_bill = spent.unwrap_or(0.0);
        self.state.window_start = now;
    }

    /// For how long the replicas of each deployment have worked, nanoseconds, and how many requests wait in them.
    fn busy_and_waiting(&self, now: Time) -> (Vec<u128>, Vec<u64>) {
        let mut busy: Vec<u128> = self.state.deployments.iter().map(|meter| meter.busy_gone).collect();
        let mut waiting = vec![0; busy.len()];
        for serving in self.state.replicas.iter() {
            let deployment = serving.deployment as usize;
            let limit = slots_of(&self.settings.deployments[deployment].engine);
            busy[deployment] += serving.engine.busy_nanos(now, limit).1;
            waiting[deployment] += match &serving.engine {
                Engine::Continuous(replica) => replica.waiting() as u64,
                Engine::Slots(replica) => replica.waiting() as u64,
                Engine::Dynamic(replica) => replica.waiting() as u64,
                Engine::Halted(replica) => replica.len() as u64,
            };
        }
        (busy, waiting)
    }

    /// The share of KV blocks in use, on average over the ready replicas of a service.
    fn kv_used_share(&self, service: usize) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0u32);
        for serving in self.state.replicas.iter().filter(|serving| serving.ready) {
            let of = self.settings.deployments[serving.deployment as usize].settings.service;
            if let (Engine::Continuous(replica), true) = (&serving.engine, of == service) {
                sum += replica.gauges().kv_used_share;
                count += 1;
            }
        }
        (count > 0).then(|| sum / f64::from(count))
    }

    fn count_states(&self, deployment: usize, states: &mut ReplicaStates) {
        for replica in self.fleet.replicas_of(deployment) {
            let state = match (replica.deleted, replica.ready, replica.bound) {
                (Some(_), ..) => &mut states.draining,
                (None, Some(_), _) => &mut states.ready,
                (None, None, Some(_)) => &mut states.starting,
                (None, None, None) => &mut states.pending,
            };
            *state += 1;
        }
    }

    /// Notes the pools since the start of the window.
    fn note_pools(&mut self, now: Time, length: u64) {
        let start_seconds = self.state.window_start.as_secs_f64();
        let costs: Vec<Option<f64>> = self.fleet.accounts().iter().map(|account| account.cost(now)).collect();
        self.state.window_costs.resize(costs.len(), 0.0);
        for (pool, cost) in costs.into_iter().enumerate() {
            let before = std::mem::replace(&mut self.state.window_costs[pool], cost.unwrap_or(0.0));
            let usd_per_hour = cost.map(|cost| (cost - before) * 3.6e12 / length as f64);
            let nodes = self.fleet.accounts()[pool].nodes();
            self.state.recorder.pool(PoolRow { start_seconds, pool, nodes, usd_per_hour });
        }
    }

    /// What all nodes have cost up to `now`, dollars, if every pool has a price.
    pub(super) fn spent(&self, now: Time) -> Option<f64> {
        let accounts = self.fleet.accounts();
        let costs: Option<Vec<f64>> = accounts.iter().map(|account| account.cost(now)).collect();
        costs.filter(|costs| !costs.is_empty()).map(|costs| costs.iter().sum())
    }

    /// From now on it counts.
    pub(super) fn warm_up_is_over(&mut self, calendar: &mut Calendar<Event>) {
        self.advance_each(calendar);
        self.begin_to_count(calendar.now());
    }

    /// Forgets all figures before `now`.
    pub(super) fn begin_to_count(&mut self, now: Time) {
        for slot in self.state.replicas.slots() {
            let serving = self.state.replicas.at(slot);
            serving.busy_before = serving.engine.busy_nanos(now, 1).0;
            let model = &self.settings.deployments[serving.deployment as usize];
            serving.cpu_before = serving.cpu_core_nanos(now, slots_of(&model.engine), &model.usage);
            serving.preemptions_before = serving.engine.preemptions();
        }
        self.state.measuring = true;
        self.state.window_bill -= self.spent(now).unwrap_or(0.0);
        self.state.window_costs.resize(self.fleet.accounts().len(), 0.0);
        for (before, account) in self.state.window_costs.iter_mut().zip(self.fleet.accounts()) {
            *before -= account.cost(now).unwrap_or(0.0);
        }
        self.fleet.reopen_accounts(now);
        self.state.gpu_busy.iter_mut().for_each(|busy| *busy = 0);
        self.state.cpu_used.iter_mut().for_each(|used| *used = 0);
        self.state.deployments.iter_mut().for_each(|meter| meter.restart(now));
        self.forget_crossings();
        self.state.recorder.decisions.begin_to_count();
    }

    // ---- the end ----

    /// Whether every pool has a price.
    pub(super) fn priced(&self) -> bool {
        let pools = self.fleet.accounts().len();
        pools > 0 && (0..pools).all(|place| self.fleet.pool(place).1.terms.usd_per_hour.is_some())
    }

    /// The cost of the node time that a deployment held.
    pub(super) fn held_cost(&self, deployment: usize, now: Time) -> f64 {
        self.fleet.accounts().iter().map(|account| account.held_cost(deployment, now)).sum()
    }

    /// Whether something makes nodes of a pool fail.
    pub(super) fn may_fail(&self, place: usize) -> bool {
        let (cluster, pool) = (self.fleet.cluster_of_pool(place), self.fleet.pool(place).1);
        pool.failures.is_some() || self.settings.outages.iter().any(|outage| outage.is_of(cluster, pool))
    }
}

/// The slots of an engine, for the share of them in use.
pub(super) fn slots_of(engine: &EngineSettings) -> u32 {
    match engine {
        EngineSettings::Concurrency { config, .. } => config.limit,
        EngineSettings::Dynamic { config, .. } => config.instances,
        EngineSettings::Continuous { .. } => 1,
    }
}

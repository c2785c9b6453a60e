//! Scrapes, windows of the timeline, and the figures of the fleet.

use scaletwin_core::control::{SignalScope, signal};
use scaletwin_core::record::{
    CapacityRow, ColdStarts, DeploymentSummary, Elasticity, Extent, FleetFigures, Histogram, LatencySummary,
    NodePoolSummary, PoolRow, ReplicaStates, TimeAverage,
};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use super::replica::{Engine, Serving};
use super::settings::{EngineSettings, GpuSettings};
use super::start_up::StageMeter;
use crate::cluster::entities::ReplicaId;
use crate::engine::{Calendar, Phase};
use crate::scrape::exporter::front::{self, Front};
use crate::scrape::exporter::{Exposed, GpuFigures, LlmServer, from_start, values};
use crate::scrape::history::{SeriesKey, Subject};
use crate::scrape::metrics_server::Usage;
use crate::scrape::signals::ScrapedSeries;
use crate::serving::continuous::replica::Work;

/// What is counted of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeploymentMeter {
    pub ready: TimeAverage,
    pub wanted: TimeAverage,
    /// The integrals of both at the start of the window. Below 0 after a warm-up that ended within it.
    pub window: (i128, i128),
    /// For how long replicas that are gone have worked, nanoseconds.
    busy_gone: u128,
    /// For how long all had worked at the start of the window.
    busy_before: u128,
    scale_ups: u64,
    scale_downs: u64,
    cold_starts: Histogram,
    pub stages: StageMeter,
    scale_up_latency: Histogram,
    preemptions: u64,
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
            scale_up_latency: Histogram::default(),
            preemptions: 0,
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
        let Some(gpu) = &model.usage.gpu else { return };
        let busy = serving.engine.busy_nanos(now, 1).0 - serving.busy_before;
        self.state.gpu_busy[place] += busy * u128::from(gpu.gpus);
    }

    // ---- scrapes ----

    /// Plans the scrapes of a replica, if anybody looks at its exporters.
    pub(super) fn plan_scrapes_of(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        if self.board.series().is_empty() {
            return;
        }
        let interval = self.settings.scrape.interval;
        let Some(serving) = self.state.replicas.get(id) else { return };
        let luck = self.luck.scrape[serving.deployment as usize];
        // Prometheus spreads its targets over the interval, each on a grid of its own.
        let offset = Span::from_nanos(luck.entity(u64::from(serving.ordinal)).below(interval.as_nanos()));
        let next = next_on_grid(calendar.now(), offset, interval);
        calendar.at(next, Phase::Scrape, Event::Scrape(id));
    }

    /// A replica's exporters are scraped.
    pub(super) fn scrape_replica(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some(slot) = self.state.replicas.slot_of(id) else { return };
        if self.state.replicas.at(slot).halted().is_some() {
            return self.end_series(id, now);
        }
        self.advance(slot, calendar);
        let serving = self.state.replicas.at(slot);
        let model = &self.settings.deployments[serving.deployment as usize];
        let limit = slots_of(&model.engine);
        let engine = match &serving.engine {
            Engine::Continuous(replica) => {
                let server = match &model.engine {
                    EngineSettings::Continuous { server, .. } => *server,
                    _ => LlmServer::Vllm,
                };
                Some((server, replica.gauges(), replica.work(), replica.scheduler().counters()))
            }
            Engine::Slots(_) | Engine::Dynamic(_) | Engine::Halted(_) => None,
        };
        let batches = match &serving.engine {
            Engine::Dynamic(replica) => Some((replica.waiting() as u64, replica.work())),
            Engine::Continuous(_) | Engine::Slots(_) | Engine::Halted(_) => None,
        };
        let exposed = Exposed {
            counters: &serving.counters,
            engine,
            batches,
            outstanding: serving.outstanding,
            cpu_seconds: serving.cpu_core_nanos(now, limit, &model.usage) as f64 / 1e9,
            memory_bytes: serving.memory_bytes(&model.usage) as f64,
            gpu: model.usage.gpu.as_ref().map(|gpu| gpu_figures(gpu, serving, now)),
        };
        let mut samples = Vec::new();
        for (series, scraped) in (0u16..).zip(self.board.series()) {
            // A server answers only once it is ready; the node's own exporters know its container from the start.
            let has_container = serving.started <= now && from_start(&scraped.name);
            if !(serving.ready || serving.draining || has_container) {
                continue;
            }
            for (variant, value) in (0u16..).zip(values(&scraped.name, &exposed)) {
                samples.push((SeriesKey { subject: Subject::Replica(id.0), series, variant }, value));
            }
        }
        let serving = self.state.replicas.at(slot);
        let work = match &serving.engine {
            Engine::Continuous(replica) => replica.work(),
            Engine::Slots(_) | Engine::Dynamic(_) | Engine::Halted(_) => Work::default(),
        };
        serving.scraped = (now, work, serving.engine.busy_nanos(now, 1).0);
        for (key, value) in samples {
            self.state.history.push(key, now, value);
        }
        calendar.at(now + self.settings.scrape.interval, Phase::Scrape, Event::Scrape(id));
    }

    /// A replica's exporters answer no more: its series end.
    pub(super) fn end_series(&mut self, id: ReplicaId, now: Time) {
        match self.labels_of(id).filter(|_| self.board.has_queries()) {
            Some(labels) => self.state.history.end(labels, now),
            None => self.state.history.forget(Subject::Replica(id.0)),
        }
    }

    /// Brings a replica's counters to the present.
    fn advance(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        if let Engine::Continuous(replica) = &mut self.state.replicas.at(slot).engine {
            replica.advance_to(calendar.now(), &mut self.happened);
            self.take_happened(slot, calendar);
        }
    }

    /// kube-state-metrics, what stands before the replicas, and controllers that publish signals are scraped.
    pub(super) fn scrape_deployments(&mut self, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        for place in 0..self.settings.deployments.len() {
            self.scrape_front(place, calendar);
            let view = self.fleet.target_view(place);
            let subject = Subject::Deployment(u32::try_from(place).expect("deployments are few"));
            for (series, scraped) in (0u16..).zip(self.board.series()) {
                let value = match scraped.name.as_str() {
                    "kube_deployment_spec_replicas" => f64::from(view.spec_replicas),
                    "kube_deployment_status_replicas" => f64::from(view.status_replicas),
                    "kube_deployment_status_replicas_ready" => f64::from(view.ready_replicas),
                    "interceptor_pending_request_count" => self.pending_requests(place) as f64,
                    published => match self.published_of(published, place) {
                        Some(value) => value,
                        None => continue,
                    },
                };
                self.state.history.push(SeriesKey { subject, series, variant: 0 }, now, value);
            }
        }
        calendar.at(now + self.settings.scrape.interval, Phase::Scrape, Event::ScrapeDeployments);
    }

    /// The exporters before a service are scraped: their series are those of its first deployment.
    fn scrape_front(&mut self, place: usize, calendar: &mut Calendar<Event>) {
        let of_service =
            |series: &ScrapedSeries| signal(&series.name).is_some_and(|of| of.scope == SignalScope::Service);
        let wanted = self.board.series().iter().any(of_service);
        let Some(service) = self.first_of_service(place).filter(|_| wanted) else { return };
        for slot in self.state.replicas.slots() {
            self.advance(slot, calendar);
        }
        let state = &self.state.services[service];
        let serves = |serving: &&Serving| {
            serving.ready
                && self.settings.deployments[serving.deployment as usize].settings.service == service
        };
        let ready: Vec<&Serving> = self.state.replicas.iter().filter(serves).collect();
        let front = Front {
            arrived: state.serial,
            under_way: state.population.value(),
            held: state.queue.len() as u64,
            counters: &state.front,
            ready: ready.len() as u64,
            means: means(&ready),
        };
        let subject = Subject::Deployment(u32::try_from(place).expect("deployments are few"));
        for (series, scraped) in (0u16..).zip(self.board.series()) {
            if of_service(scraped) {
                for (variant, value) in (0u16..).zip(front::values(&scraped.name, &front)) {
                    self.state.history.push(SeriesKey { subject, series, variant }, calendar.now(), value);
                }
            }
        }
    }

    /// The service of a deployment, if it is the first one of it.
    fn first_of_service(&self, place: usize) -> Option<usize> {
        let service = self.settings.deployments[place].settings.service;
        let first = self.settings.deployments.iter().position(|model| model.settings.service == service);
        (first == Some(place)).then_some(service)
    }

    /// Requests of a deployment: those in its replicas, and for the first one of its service those held at the gateway.
    fn pending_requests(&self, place: usize) -> u64 {
        let held = self.first_of_service(place).map_or(0, |service| self.state.services[service].queue.len());
        let held = held as u64;
        let replicas = self.state.replicas.iter().filter(|serving| serving.deployment as usize == place);
        held + replicas.map(|serving| serving.outstanding).sum::<u64>()
    }

    /// The metrics-server asks the kubelets.
    pub(super) fn metrics_server_looks(&mut self, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let usages: Vec<(u32, Usage)> = self
            .state
            .replicas
            .iter()
            .filter(|serving| serving.started <= now && serving.halted().is_none())
            .map(|serving| {
                let model = &self.settings.deployments[serving.deployment as usize];
                let limit = slots_of(&model.engine);
                let usage = Usage {
                    at: now,
                    started: serving.started,
                    cpu_core_nanos: serving.cpu_core_nanos(now, limit, &model.usage),
                    memory_bytes: serving.memory_bytes(&model.usage),
                };
                (serving.id.0, usage)
            })
            .collect();
        self.state.metrics_server.look(usages.into_iter());
        calendar.at(now + self.settings.metrics_resolution, Phase::Scrape, Event::Look);
    }

    // ---- windows and the warm-up ----

    /// A window of the timeline ends.
    pub(super) fn window_ends(&mut self, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        self.note_window(now);
        self.check_engines();
        calendar.at(now + self.settings.window, Phase::Scrape, Event::Window);
    }

    /// Checks what must hold of every engine.
    pub(super) fn check_engines(&self) {
        self.state.replicas.iter().for_each(|serving| serving.engine.check());
    }

    /// Notes the capacity since the start of the window.
    fn note_window(&mut self, now: Time) {
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
    fn spent(&self, now: Time) -> Option<f64> {
        let accounts = self.fleet.accounts();
        let costs: Option<Vec<f64>> = accounts.iter().map(|account| account.cost(now)).collect();
        costs.filter(|costs| !costs.is_empty()).map(|costs| costs.iter().sum())
    }

    /// From now on it counts.
    pub(super) fn warm_up_is_over(&mut self, calendar: &mut Calendar<Event>) {
        for slot in self.state.replicas.slots() {
            self.advance(slot, calendar);
        }
        self.begin_to_count(calendar.now());
    }

    /// Forgets all figures before `now`.
    fn begin_to_count(&mut self, now: Time) {
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
        self.state.recorder.decisions.begin_to_count();
    }

    // ---- the end ----

    /// What the fleet adds to the summary of a run that ends at `now`.
    pub(super) fn figures(&mut self, now: Time) -> FleetFigures {
        self.note_window(now);
        if !self.state.measuring {
            self.begin_to_count(now);
        }
        for slot in self.state.replicas.slots() {
            let serving = self.state.replicas.at(slot).clone();
            self.note_departure(&serving, now);
        }
        let priced = self.priced();
        let services = (0..self.settings.services.len()).map(|service| {
            let deployments: Vec<DeploymentSummary> = (0..self.settings.deployments.len())
                .filter(|place| self.settings.deployments[*place].settings.service == service)
                .map(|place| self.deployment_summary(place, now, priced))
                .collect();
            let cost = deployments.iter().map(|deployment| deployment.cost_usd).sum::<Option<f64>>();
            (deployments, cost.filter(|_| priced))
        });
        let services = services.collect();
        let node_pools: Vec<NodePoolSummary> =
            (0..self.fleet.accounts().len()).map(|place| self.pool_summary(place, now)).collect();
        let total: Option<f64> = node_pools.iter().map(|pool| pool.cost_usd).sum();
        let energy_kwh: Option<f64> = node_pools.iter().map(|pool| pool.energy_kwh).sum();
        let energy_kwh = energy_kwh.filter(|_| !node_pools.is_empty());
        let held: f64 = (0..self.settings.deployments.len()).map(|place| self.held_cost(place, now)).sum();
        FleetFigures {
            services,
            node_pools,
            cost: total.filter(|_| priced).map(|total| (total, (total - held).max(0.0))),
            not_modelled: self.not_modelled(priced, energy_kwh.is_some()),
            energy_kwh,
        }
    }

    /// Whether every pool has a price.
    fn priced(&self) -> bool {
        let pools = self.fleet.accounts().len();
        pools > 0 && (0..pools).all(|place| self.fleet.pool(place).1.terms.usd_per_hour.is_some())
    }

    fn not_modelled(&self, priced: bool, powered: bool) -> Vec<String> {
        let mut names = Vec::new();
        if !powered {
            names.push("energy_kwh");
        }
        let capacities = &self.settings.capacities;
        if capacities.is_empty() || capacities.iter().any(Option::is_none) {
            names.push("services[].deployments[].elasticity");
        }
        if (0..self.fleet.accounts().len()).any(|place| self.fleet.pool(place).1.spot.is_none()) {
            names.push("node_pools[].interruptions");
        }
        if !priced {
            names.push("cost");
        }
        names.into_iter().map(str::to_owned).collect()
    }

    /// The cost of the node time that a deployment held.
    fn held_cost(&self, deployment: usize, now: Time) -> f64 {
        self.fleet.accounts().iter().map(|account| account.held_cost(deployment, now)).sum()
    }

    /// How well the replicas of a deployment followed demand, if its capacity is known.
    fn elasticity(&self, place: usize, now: Time) -> Option<Elasticity> {
        let capacity = self.settings.capacities.get(place).copied().flatten()?;
        let service = self.settings.deployments[place].settings.service;
        Elasticity::of(&self.state.recorder.provisions(service, capacity, now), capacity)
    }

    fn deployment_summary(&self, place: usize, now: Time, priced: bool) -> DeploymentSummary {
        let model = &self.settings.deployments[place];
        let meter = &self.state.deployments[place];
        let seconds = |value: Option<u64>| value.map(|value| value as f64 / 1e9);
        let batches = matches!(model.engine, EngineSettings::Continuous { .. });
        DeploymentSummary {
            name: model.settings.name.clone(),
            cluster: model
                .settings
                .cluster
                .map_or(String::new(), |cluster| self.settings.clusters[cluster].name.clone()),
            role: model.settings.role.clone(),
            replicas: Extent { mean: meter.ready.mean(now), min: meter.ready.min(), max: meter.ready.max() },
            cold_starts: ColdStarts {
                count: meter.cold_starts.count(),
                mean_seconds: meter.cold_starts.mean().map(|mean| mean / 1e9),
                p95_seconds: seconds(meter.cold_starts.quantile(0.95)),
                stages: meter.stages.summary(),
            },
            scale_ups: meter.scale_ups,
            scale_downs: meter.scale_downs,
            scale_up_latency_seconds: LatencySummary::of(&meter.scale_up_latency, 1e9, 0),
            preemptions: batches.then_some(meter.preemptions),
            elasticity: self.elasticity(place, now),
            cost_usd: priced.then(|| self.held_cost(place, now)),
        }
    }

    /// Whether something makes nodes of a pool fail.
    fn may_fail(&self, place: usize) -> bool {
        let (cluster, pool) = (self.fleet.cluster_of_pool(place), self.fleet.pool(place).1);
        pool.failures.is_some() || self.settings.outages.iter().any(|outage| outage.is_of(cluster, pool))
    }

    fn pool_summary(&self, place: usize, now: Time) -> NodePoolSummary {
        let (cluster, pool) = self.fleet.pool(place);
        let billed = self.fleet.accounts()[place].billed_nanos(now) as f64;
        let hours = billed / 3.6e12;
        let gpus = pool.allocatable.gpu_milli as f64 / 1e3;
        NodePoolSummary {
            cluster: cluster.to_owned(),
            name: pool.name.clone(),
            instance_type: pool.instance_type.clone(),
            capacity_type: pool.capacity_type,
            node_hours: hours,
            gpu_hours: hours * gpus,
            cost_usd: self.fleet.accounts()[place].cost(now),
            failures: self.may_fail(place).then(|| self.fleet.accounts()[place].failures()),
            interruptions: pool.spot.as_ref().map(|_| self.fleet.accounts()[place].interruptions()),
            energy_kwh: pool.power.map(|power| {
                let cores = pool.whole().cpu_milli as f64 / 1e3;
                let (cpu, gpu) = (self.state.cpu_used[place] as f64, self.state.gpu_busy[place] as f64);
                power.energy_kwh(billed / 1e9, (cpu / 1e9, cores), (gpu / 1e9, gpus))
            }),
            gpu_busy_share: (billed * gpus > 0.0)
                .then(|| self.state.gpu_busy[place] as f64 / (billed * gpus)),
        }
    }
}

/// The means over replicas that batch continuously, if there are any: running, waiting, share of KV cache.
fn means(ready: &[&Serving]) -> Option<[f64; 3]> {
    let gauges = ready.iter().filter_map(|serving| match &serving.engine {
        Engine::Continuous(replica) => Some(replica.gauges()),
        Engine::Slots(_) | Engine::Dynamic(_) | Engine::Halted(_) => None,
    });
    let each: Vec<[f64; 3]> =
        gauges.map(|gauges| [gauges.running as f64, gauges.waiting as f64, gauges.kv_used_share]).collect();
    let mean = |at: usize| each.iter().map(|gauges| gauges[at]).sum::<f64>() / each.len() as f64;
    (!each.is_empty()).then(|| [mean(0), mean(1), mean(2)])
}

/// The slots of an engine, for the share of them in use.
pub(super) fn slots_of(engine: &EngineSettings) -> u32 {
    match engine {
        EngineSettings::Concurrency { config, .. } => config.limit,
        EngineSettings::Dynamic { config, .. } => config.instances,
        EngineSettings::Continuous { .. } => 1,
    }
}

/// What a replica's GPUs did since the last scrape.
fn gpu_figures(gpu: &GpuSettings, serving: &Serving, now: Time) -> GpuFigures {
    let (since, before, busy_before) = serving.scraped;
    let span = now.since(since).as_secs_f64().max(1e-9);
    let busy = (serving.engine.busy_nanos(now, 1).0 - busy_before) as f64 / 1e9 / span;
    let work = match &serving.engine {
        Engine::Continuous(replica) => replica.work(),
        Engine::Slots(_) | Engine::Dynamic(_) | Engine::Halted(_) => Work::default(),
    };
    let since = |after: u64, before: u64| (after - before) as f64;
    let tokens =
        since(work.prefill_tokens + work.decode_tokens, before.prefill_tokens + before.decode_tokens);
    let attended =
        since(work.prefill_attention + work.decode_context, before.prefill_attention + before.decode_context);
    let context = since(work.decode_context, before.decode_context);
    let steps = since(work.steps, before.steps);
    let tensor = gpu.cost.map(|cost| {
        (cost.flops_per_token * tokens + cost.flops_per_attended * attended) / cost.peak_flops / span
    });
    let memory = gpu.cost.map(|cost| {
        (cost.bytes_per_step * steps + cost.bytes_per_context_token * context) / cost.peak_bytes / span
    });
    GpuFigures {
        busy_share: busy.min(1.0),
        tensor_share: tensor.map(|share| share.min(1.0)),
        memory_share: memory.map(|share| share.min(1.0)),
        memory_mib: gpu.memory_mib,
        used_mib: if serving.ready || serving.draining { gpu.reserved_mib } else { 0.0 },
    }
}

/// The first instant not before `now` on the grid of `offset` and `interval`.
pub(super) fn next_on_grid(now: Time, offset: Span, interval: Span) -> Time {
    let behind = now.since(Time::ZERO + offset).as_nanos();
    Time::ZERO + offset + interval * behind.div_ceil(interval.as_nanos())
}

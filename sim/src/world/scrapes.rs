//! Scrapes: exporters are read into the short history, and the metrics-server looks.

use scaletwin_core::control::{SignalScope, signal};
use scaletwin_core::units::{Span, Time};

use super::World;
use super::event::Event;
use super::measure::slots_of;
use super::replica::{Engine, Serving};
use super::settings::{EngineSettings, GpuSettings};
use crate::cluster::entities::ReplicaId;
use crate::engine::{Calendar, Phase};
use crate::scrape::exporter::front::{self, Front};
use crate::scrape::exporter::{Exposed, GpuFigures, LlmServer, from_start, values};
use crate::scrape::history::{SeriesKey, Subject};
use crate::scrape::metrics_server::Usage;
use crate::scrape::signals::ScrapedSeries;
use crate::serving::continuous::replica::Work;

impl World {
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
    pub(super) fn advance(&mut self, slot: u32, calendar: &mut Calendar<Event>) {
        self.take_unseen_ends(slot, calendar);
        if let Engine::Continuous(replica) = &mut self.state.replicas.at(slot).engine {
            replica.advance_to(calendar.now(), &mut self.happened);
            self.take_happened(slot, calendar);
            self.count_gaps(slot);
        }
    }

    /// Brings all replicas' counters to the present.
    pub(super) fn advance_each(&mut self, calendar: &mut Calendar<Event>) {
        for slot in self.state.replicas.slots() {
            self.advance(slot, calendar);
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
        // It takes a look at every request, so that it is only counted for whoever asks.
        let counts_tokens = self.board.series().iter().any(|of| of.name == "llm_d_epp_inflight_tokens");
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
            saturation: saturation(&ready),
            prefill_tokens: if counts_tokens { self.state.requests.prefill_tokens(service) } else { 0 },
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

/// The mean saturation of replicas that batch continuously; 1 where there is none at all.
fn saturation(ready: &[&Serving]) -> Option<f64> {
    let each = |serving: &&Serving| match &serving.engine {
        Engine::Continuous(replica) => {
            let gauges = replica.gauges();
            Some(front::saturation(gauges.waiting as f64, gauges.kv_used_share))
        }
        Engine::Slots(_) | Engine::Dynamic(_) | Engine::Halted(_) => None,
    };
    if ready.is_empty() {
        return Some(1.0);
    }
    let each: Vec<f64> = ready.iter().filter_map(each).collect();
    (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
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

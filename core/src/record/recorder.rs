//! The recorder of a run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    CostSummary, CrossZoneSummary, DeploymentSummary, Digest, LatencyMetric, NodePoolSummary, Provision,
    ServiceMeter, ServiceSettings, ServiceSummary, SloSummary, Summary, Window,
};
use crate::control::{Action, Cause, Guarded, Reason, TickReport};
use crate::random::Seed;
use crate::units::{Civil, Span, Time};

/// What a recorder has to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecorderSettings {
    /// The name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: Seed,
    /// The civil instant of t = 0.
    pub start: Civil,
    /// What does not count at the start.
    pub warm_up: Span,
    /// The length of a window of the timeline.
    pub window: Span,
    /// The services.
    pub services: Vec<ServiceSettings>,
    /// Manifest fields that were waived.
    pub waived: Vec<String>,
}

/// Everything that a run records while it goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorder {
    settings: RecorderSettings,
    /// One meter a service, in their order.
    pub services: Vec<ServiceMeter>,
    /// The controllers' decisions.
    pub decisions: DecisionLog,
    capacity: Vec<CapacityRow>,
    pools: Vec<PoolRow>,
    /// By the number of the node.
    nodes: BTreeMap<u32, NodeRow>,
}

/// Capacity during one window, of one service.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CapacityRow {
    /// When the window began.
    pub start_seconds: f64,
    /// The service's place.
    pub service: usize,
    /// Replicas wanted, on average.
    pub replicas_wanted: f64,
    /// Replicas that took requests, on average.
    pub replicas_ready: f64,
    /// Replicas by state at the end of the window.
    pub states: ReplicaStates,
    /// The share of the time of ready replicas in which they worked, 0 to 1: of an engine that batches continuously its
    /// time, of others that of their slots or instances. `None` without a ready replica.
    pub busy_share: Option<f64>,
    /// The share of their KV blocks in use, on average over ready replicas, at the end of the window; `None` for engines
    /// without, and without a ready replica.
    pub kv_used_share: Option<f64>,
    /// Requests in the system at the end of the window.
    pub in_system: u64,
    /// Those of them that wait, at the gateway or in a replica.
    pub waiting: u64,
    /// Dollars per hour of all nodes, on average; `None` without prices.
    pub usd_per_hour: Option<f64>,
}

/// Replicas by state, at an instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStates {
    /// Without a node.
    pub pending: u64,
    /// On a node, and not ready yet.
    pub starting: u64,
    /// Ready.
    pub ready: u64,
    /// Deleted, while they finish their requests.
    pub draining: u64,
}

/// A node pool during one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PoolRow {
    /// When the window began.
    pub start_seconds: f64,
    /// The pool's place among [`Summary::node_pools`].
    pub pool: usize,
    /// Nodes at the end of the window, from launch to deletion.
    pub nodes: u64,
    /// Dollars per hour, on average; `None` without a price.
    pub usd_per_hour: Option<f64>,
}

/// The life of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its name in its cluster, which decisions use.
    pub name: String,
    /// Its pool's place among [`Summary::node_pools`].
    pub pool: usize,
    /// How many nodes its pool had launched before it.
    pub number: u32,
    /// When it was launched: its bill begins.
    pub launched_seconds: f64,
    /// When it was given back or taken back; `None` where it is there at the end.
    pub deleted_seconds: Option<f64>,
    /// Whether the provider took it back.
    pub reclaimed: bool,
}

/// What the fleet adds to the summary at the end.
#[derive(Debug, Clone, Default)]
pub struct FleetFigures {
    /// The deployments of each service, with its cost.
    pub services: Vec<(Vec<DeploymentSummary>, Option<f64>)>,
    /// What has crossed from zone to zone, by service.
    pub cross_zone: Vec<Option<CrossZoneSummary>>,
    /// The node pools.
    pub node_pools: Vec<NodePoolSummary>,
    /// The cost of all pools and its idle part; `None` without prices.
    pub cost: Option<(f64, f64)>,
    /// The energy of all pools, kilowatt hours; `None` where it is not known.
    pub energy_kwh: Option<f64>,
    /// Figures that are `null` because their model is not built.
    pub not_modelled: Vec<String>,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// The figures.
    pub summary: Summary,
    /// Per service, what happened in each window.
    pub windows: Vec<Vec<Window>>,
    /// Capacity by window and service.
    pub capacity: Vec<CapacityRow>,
    /// Node pools by window and pool.
    pub pools: Vec<PoolRow>,
    /// All nodes in the order of their launch.
    pub nodes: Vec<NodeRow>,
    /// `decisions.jsonl`, as far as it was not taken away during the run.
    pub decisions: String,
}

impl Recorder {
    /// Demand and supply of a service whose replicas each serve `capacity` requests per second, by the windows that
    /// begin after the warm-up, for a run that ends at `end`: the replicas that the arrivals of a window need, and those
    /// ready.
    #[must_use]
    pub fn provisions(&self, service: usize, capacity: f64, end: Time) -> Vec<Provision> {
        let windows = self.services[service].windows();
        let arrived: BTreeMap<u64, u64> =
            windows.iter().map(|window| (window.start_seconds.to_bits(), window.counts.arrived)).collect();
        let counts = |row: &&CapacityRow| {
            row.service == service && row.start_seconds >= self.settings.warm_up.as_secs_f64()
        };
        let rows: Vec<&CapacityRow> = self.capacity.iter().filter(counts).collect();
        let ends = rows.iter().skip(1).map(|row| row.start_seconds).chain([end.as_secs_f64()]);
        let provision = |(row, end): (&&CapacityRow, f64)| {
            let seconds = end - row.start_seconds;
            let arrived = arrived.get(&row.start_seconds.to_bits()).copied().unwrap_or(0);
            Provision {
                seconds,
                demand: (arrived as f64 / seconds / capacity).ceil(),
                supply: row.replicas_ready,
            }
        };
        rows.iter().zip(ends).filter(|(row, end)| *end > row.start_seconds).map(provision).collect()
    }

    /// A recorder at the start of a run.
    #[must_use]
    pub fn new(settings: RecorderSettings) -> Recorder {
        let from = Time::ZERO + settings.warm_up;
        let meter = |service: &ServiceSettings| ServiceMeter::new(service.clone(), from, settings.window);
        Recorder {
            services: settings.services.iter().map(meter).collect(),
            decisions: DecisionLog::default(),
            capacity: Vec::new(),
            pools: Vec::new(),
            nodes: BTreeMap::new(),
            settings,
        }
    }

    /// What it knows.
    #[must_use]
    pub fn settings(&self) -> &RecorderSettings {
        &self.settings
    }

    /// The manifest fields that the policy of the rest of the run waives.
    pub fn set_waived(&mut self, waived: Vec<String>) {
        self.settings.waived = waived;
    }

    /// Notes the capacity during a window.
    pub fn capacity(&mut self, row: CapacityRow) {
        self.capacity.push(row);
    }

    /// Notes a node pool during a window.
    pub fn pool(&mut self, row: PoolRow) {
        self.pools.push(row);
    }

    /// Notes that node `id`, the `number`th of a pool, is launched.
    pub fn node_launched(&mut self, id: u32, name: String, pool: usize, number: u32, now: Time) {
        let launched_seconds = now.as_secs_f64();
        let row = NodeRow { name, pool, number, launched_seconds, deleted_seconds: None, reclaimed: false };
        self.nodes.insert(id, row);
    }

    /// Notes that node `id` is gone.
    pub fn node_deleted(&mut self, id: u32, now: Time) {
        if let Some(row) = self.nodes.get_mut(&id) {
            row.deleted_seconds = Some(now.as_secs_f64());
        }
    }

    /// Notes that the provider takes node `id` back.
    pub fn node_reclaimed(&mut self, id: u32) {
        if let Some(row) = self.nodes.get_mut(&id) {
            row.reclaimed = true;
        }
    }

    /// The record of a run that ended at `end`.
    #[must_use]
    pub fn finish(self, end: Time, fleet: FleetFigures) -> RunRecord {
        let measured = end.since(Time::ZERO + self.settings.warm_up).as_secs_f64();
        let mut figures = fleet.services.into_iter();
        let mut services: Vec<ServiceSummary> = self
            .services
            .iter()
            .map(|meter| service_summary(meter, measured, figures.next().unwrap_or_default()))
            .collect();
        for (service, crossed) in services.iter_mut().zip(fleet.cross_zone) {
            service.cross_zone = crossed;
        }
        let mut summary = Summary {
            scenario: self.settings.scenario.clone(),
            seed: self.settings.seed.0,
            start: self.settings.start.to_string(),
            record_hash: String::new(),
            simulated_seconds: end.as_secs_f64(),
            warm_up_seconds: self.settings.warm_up.as_secs_f64(),
            cost: cost_summary(fleet.cost, &services),
            services,
            node_pools: fleet.node_pools,
            energy_kwh: fleet.energy_kwh,
            decisions: self.decisions.count,
            waived: self.settings.waived.clone(),
            not_modelled: fleet.not_modelled,
        };
        let windows: Vec<_> = self.services.iter().map(ServiceMeter::windows).collect();
        let nodes: Vec<NodeRow> = self.nodes.into_values().collect();
        let fleet = (&self.capacity[..], &self.pools[..], &nodes[..]);
        summary.record_hash = hash(&summary, &windows, fleet, &self.decisions, &self.services);
        let (capacity, pools) = (self.capacity, self.pools);
        RunRecord { summary, windows, capacity, pools, nodes, decisions: self.decisions.text }
    }
}

fn service_summary(
    meter: &ServiceMeter,
    measured: f64,
    (deployments, cost_usd): (Vec<DeploymentSummary>, Option<f64>),
) -> ServiceSummary {
    let objectives = meter.objectives();
    let arrived = meter.counts().arrived;
    let judged = !objectives.is_empty() && arrived > 0;
    ServiceSummary {
        name: meter.settings().name.clone(),
        requests: *meter.counts(),
        warm_up_requests: meter.warm_up_arrived(),
        prompt_tokens: meter.prompt_tokens(),
        output_tokens: meter.output_tokens(),
        ttft_seconds: meter.latency(LatencyMetric::Ttft),
        itl_seconds: meter.latency(LatencyMetric::Itl),
        tpot_seconds: meter.latency(LatencyMetric::Tpot),
        e2e_seconds: meter.latency(LatencyMetric::E2e),
        wait_seconds: meter.latency(LatencyMetric::Wait),
        slo: SloSummary {
            attainment: judged.then(|| meter.good() as f64 / arrived as f64),
            met: judged.then(|| objectives.iter().all(|objective| objective.met != Some(false))),
            objectives,
        },
        priorities: meter.priorities(),
        goodput_per_second: if measured > 0.0 { meter.good() as f64 / measured } else { 0.0 },
        cost_usd,
        cross_zone: None,
        deployments,
    }
}

fn cost_summary(cost: Option<(f64, f64)>, services: &[ServiceSummary]) -> CostSummary {
    let per = |total: f64, count: u64, unit: f64| (count > 0).then(|| total / (count as f64 / unit));
    let completed = services.iter().map(|service| service.requests.completed).sum();
    let tokens = services.iter().map(|service| service.output_tokens).sum();
    let crossed = services.iter().filter_map(|service| service.cross_zone);
    let cross_zone_usd = crossed.map(|crossed| crossed.cost_usd).reduce(|a, b| a + b);
    let cost = cost.map(|(nodes, idle)| (nodes + cross_zone_usd.unwrap_or(0.0), idle));
    CostSummary {
        total_usd: cost.map(|(total, _)| total),
        cross_zone_usd,
        idle_usd: cost.map(|(_, idle)| idle),
        usd_per_1k_requests: cost.and_then(|(total, _)| per(total, completed, 1e3)),
        usd_per_1m_output_tokens: cost.and_then(|(total, _)| per(total, tokens, 1e6)),
    }
}

/// SHA-256 over the figures, the windows, capacity and node pools by window, nodes, and the digests of decisions and requests.
fn hash(
    summary: &Summary,
    windows: &[Vec<Window>],
    fleet: (&[CapacityRow], &[PoolRow], &[NodeRow]),
    decisions: &DecisionLog,
    services: &[ServiceMeter],
) -> String {
    let requests: Vec<_> = services.iter().map(|meter| meter.digest().hex()).collect();
    let parts = (summary, windows, fleet, decisions.digest.hex(), requests);
    let text = serde_json::to_string(&parts).expect("a record is plain data");
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        write!(hex, "{byte:02x}").expect("a String takes everything");
    }
    hex
}

/// The decisions as JSON lines: one a controller and tick, and one where guards or the plant changed something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionLog {
    text: String,
    digest: Digest,
    count: u64,
}

impl DecisionLog {
    /// Notes what happened in a tick.
    ///
    /// # Panics
    /// When a decision does not serialise: a mistake in the policy.
    pub fn push(&mut self, report: &TickReport) {
        let t_seconds = report.at.as_secs_f64();
        for taken in &report.taken {
            self.line(&DecisionLine {
                t_seconds,
                controller: Cow::Borrowed(&taken.controller),
                cause: Cow::Borrowed(&taken.cause),
                actions: Cow::Borrowed(&taken.decision.actions),
                reasons: Cow::Borrowed(&taken.decision.reasons),
            });
            self.count += 1;
        }
        if report.guarded.is_some() || !report.applied.refused.is_empty() {
            let guarded = report.guarded.as_ref();
            self.line(&ChangedLine { t_seconds, guarded, refused: &report.applied.refused });
        }
    }

    fn line(&mut self, line: &impl Serialize) {
        let text = serde_json::to_string(line).expect("a decision is plain data");
        self.digest.bytes(text.as_bytes());
        self.text.push_str(&text);
        self.text.push('\n');
    }

    /// Counts decisions from now on; the lines stay.
    pub fn begin_to_count(&mut self) {
        self.count = 0;
    }

    /// Takes the lines away, so that they need no memory. The record's hash covers them all the same.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

/// What one controller decided: a line of `decisions.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionLine<'a> {
    /// When.
    pub t_seconds: f64,
    /// Who.
    pub controller: Cow<'a, str>,
    /// Why it was asked.
    pub cause: Cow<'a, Cause>,
    /// What it wanted done, in order.
    pub actions: Cow<'a, [Action]>,
    /// Why: its own codes.
    pub reasons: Cow<'a, [Reason]>,
}

/// What became of a tick's actions, where that differs from what was decided.
#[derive(Serialize)]
struct ChangedLine<'a> {
    t_seconds: f64,
    guarded: Option<&'a Guarded>,
    refused: &'a [(Action, String)],
}

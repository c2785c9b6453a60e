//! The figures of a run, as `summary.json` holds them. A figure whose model is not built is `null` and named in
//! `not_modelled`, never 0.

use serde::{Deserialize, Serialize};

use super::{Elasticity, LatencySummary, ObjectiveResult, OutcomeCounts, PrioritySummary};
use crate::control::CapacityType;

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The civil instant of t = 0.
    pub start: String,
    /// A hash over the whole record: this summary, the timeline, the decisions and every request.
    pub record_hash: String,
    /// The simulated time.
    pub simulated_seconds: f64,
    /// The part of it that does not count.
    pub warm_up_seconds: f64,
    /// The services.
    pub services: Vec<ServiceSummary>,
    /// The node pools.
    pub node_pools: Vec<NodePoolSummary>,
    /// The cost.
    pub cost: CostSummary,
    /// Energy of all nodes, kilowatt hours; `null` without nodes, or where the power of some is not known.
    pub energy_kwh: Option<f64>,
    /// How many decisions the controllers took after the warm-up.
    pub decisions: u64,
    /// Manifest fields that were waived: they would matter, and are not modelled.
    pub waived: Vec<String>,
    /// Figures above that are `null` because their model is not built.
    pub not_modelled: Vec<String>,
}

/// The figures of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// Arrivals and outcomes after the warm-up.
    pub requests: OutcomeCounts,
    /// Requests that arrived during the warm-up.
    pub warm_up_requests: u64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    pub output_tokens: u64,
    /// Time to first token; `null` for engines without tokens.
    pub ttft_seconds: Option<LatencySummary>,
    /// Each gap between tokens; `null` for engines without tokens.
    pub itl_seconds: Option<LatencySummary>,
    /// (E2E − TTFT) / (output tokens − 1); `null` for engines without tokens.
    pub tpot_seconds: Option<LatencySummary>,
    /// Arrival to end.
    pub e2e_seconds: Option<LatencySummary>,
    /// Arrival to the beginning of service.
    pub wait_seconds: Option<LatencySummary>,
    /// The objectives.
    pub slo: SloSummary,
    /// The figures of each priority; absent where all requests have the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<PrioritySummary>,
    /// Requests per second that met every limit.
    pub goodput_per_second: f64,
    /// The cost of the nodes that it held; `null` without prices.
    pub cost_usd: Option<f64>,
    /// What has crossed from zone to zone; absent where nothing says what that costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_zone: Option<CrossZoneSummary>,
    /// Its deployments.
    pub deployments: Vec<DeploymentSummary>,
}

/// What has crossed between a gateway and replicas of other zones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CrossZoneSummary {
    /// Requests given to a replica of another zone, each try by itself.
    pub requests: u64,
    /// Requests and answers, 10^9 bytes.
    pub gigabytes: f64,
    /// Its price.
    pub cost_usd: f64,
}

/// What became of the objectives of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloSummary {
    /// The share of arrived requests that met every limit; `null` without requests or objectives.
    pub attainment: Option<f64>,
    /// Whether every objective is met; `null` without requests or objectives.
    pub met: Option<bool>,
    /// The objectives.
    pub objectives: Vec<ObjectiveResult>,
}

/// Mean and extremes of a number over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    /// The average over time.
    pub mean: f64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

/// Replicas that became ready during the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColdStarts {
    /// How many.
    pub count: u64,
    /// The mean time from node to ready.
    pub mean_seconds: Option<f64>,
    /// Its 0.95 quantile.
    pub p95_seconds: Option<f64>,
    /// What the time from the decision to ready was made of, in order; empty where starts have no stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageSummary>,
}

/// A stage of starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Its name: `node`, `image`, `start`, `weights`, `load`, `compile`, `warm_up` or `probe`.
    pub name: String,
    /// Its mean over all starts; a start that finds what it needs on its node counts as 0.
    pub mean_seconds: f64,
    /// Its 0.95 quantile.
    pub p95_seconds: f64,
}

/// The figures of a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentSummary {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// Its role.
    pub role: String,
    /// Replicas that take requests.
    pub replicas: Extent,
    /// Starts of replicas.
    pub cold_starts: ColdStarts,
    /// How often it was scaled up.
    pub scale_ups: u64,
    /// How often it was scaled down.
    pub scale_downs: u64,
    /// From the decision for a replica to its being ready.
    pub scale_up_latency_seconds: LatencySummary,
    /// Preemptions in its engines; `null` for engines without.
    pub preemptions: Option<u64>,
    /// Containers that crashed; absent where nothing makes them crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    /// Replicas that had to go for more important ones; absent where all are as important.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_preempted: Option<u64>,
    /// Replicas that stood by; absent where none is to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbySummary>,
    /// How well its replicas followed demand; `null` where its capacity was not asked for or is not known.
    pub elasticity: Option<Elasticity>,
    /// The cost of the nodes that it held; `null` without prices.
    pub cost_usd: Option<f64>,
}

/// Replicas that stood by: started, without requests until one more was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StandbySummary {
    /// How many of them were loaded, on average over time.
    pub loaded_mean: f64,
    /// How many were called that were loaded, and took requests after their wake.
    pub called: u64,
    /// How many were called before they were loaded, and went on with their start.
    pub called_early: u64,
}

/// The figures of a node pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodePoolSummary {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Its instance type.
    pub instance_type: String,
    /// How it is bought.
    pub capacity_type: CapacityType,
    /// The sum of the lifetimes of its nodes, from launch to deletion.
    pub node_hours: f64,
    /// The same times the GPUs of a node.
    pub gpu_hours: f64,
    /// Its price; `null` if it has none.
    pub cost_usd: Option<f64>,
    /// Nodes taken back; `null` where reclaims are not modelled.
    pub interruptions: Option<u64>,
    /// Nodes that failed; absent where nothing makes them fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
    /// The energy of its nodes, kilowatt hours; `null` where their power is not known.
    pub energy_kwh: Option<f64>,
    /// The share of its GPUs' time in which they worked; `null` without GPUs.
    pub gpu_busy_share: Option<f64>,
}

/// The cost of a run after its warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CostSummary {
    /// All node pools, and what crosses zones; `null` without prices.
    pub total_usd: Option<f64>,
    /// What crosses zones; absent where nothing says what that costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_zone_usd: Option<f64>,
    /// The part that no replica held.
    pub idle_usd: Option<f64>,
    /// The total per 1000 completed requests.
    pub usd_per_1k_requests: Option<f64>,
    /// The total per million output tokens.
    pub usd_per_1m_output_tokens: Option<f64>,
}

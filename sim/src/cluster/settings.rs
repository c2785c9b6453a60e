//! What is known of clusters and deployments beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;

use scaletwin_core::control::{CapacityType, ContainerRequests, PodTerms, Resources, TargetName};
use scaletwin_core::random::Law;
use scaletwin_core::units::{Span, Time};
use serde::Serialize;

use super::budgets::DisruptionBudget;
use super::ledger::Terms;
use super::placement::Placement;
use super::preferences::Preferences;
use super::rollout::UpdateStrategy;
use super::standby::StandbySettings;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterSettings {
    /// Its name.
    pub name: String,
    /// What its nodes can download together from registry and object store, bytes per second, if it is limited.
    pub registry_bandwidth: Option<f64>,
    /// Which of the nodes with room a replica gets.
    pub placement: Placement,
    /// What it may have at most, all pools together.
    pub quota: Quota,
    /// How it finds out that a node has failed.
    pub detection: Detection,
    /// Its node pools.
    pub pools: Vec<PoolSettings>,
}

/// What a provider lets a customer have at most in a region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// Thousandths of a core; `None`: any number.
    pub cpu_milli: Option<i64>,
    /// Thousandths of a GPU; `None`: any number.
    pub gpu_milli: Option<i64>,
}

impl Quota {
    /// Whether `used` and a node of the size `more` are within it.
    ///
    /// # Errors
    /// Which of both is not.
    pub fn check(&self, used: &Resources, more: &Resources) -> Result<(), String> {
        let of = [
            ("cores", self.cpu_milli, used.cpu_milli, more.cpu_milli),
            ("GPUs", self.gpu_milli, used.gpu_milli, more.gpu_milli),
        ];
        for (what, most, used, more) in of {
            if let Some(most) = most.filter(|most| more > 0 && used.saturating_add(more) > *most) {
                let shown = [used, most, more].map(|milli| milli as f64 / 1e3);
                let [used, most, more] = shown;
                return Err(format!(
                    "the quota is {most} {what}: {used} are in use, and the node has {more}"
                ));
            }
        }
        Ok(())
    }
}

/// How a cluster finds out that a node has failed: it misses the node's heartbeats, and tolerates that for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// From the failure of a node to its being `NotReady` (`--node-monitor-grace-period`).
    pub grace_period: Span,
    /// From there to the deletion of its pods (`tolerationSeconds` of `node.kubernetes.io/unreachable`).
    pub toleration: Span,
}

impl Default for Detection {
    /// Kubernetes' own since 1.32: 50 s, and 5 minutes by its admission plugin `DefaultTolerationSeconds`.
    fn default() -> Detection {
        Detection { grace_period: Span::from_secs(50), toleration: Span::from_secs(300) }
    }
}

/// The names of all zones, in order.
#[must_use]
pub fn zones(clusters: &[ClusterSettings]) -> Vec<&str> {
    let pools = clusters.iter().flat_map(|cluster| &cluster.pools);
    let mut zones: Vec<&str> = pools.map(|pool| pool.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    zones
}

/// A node pool: nodes of one instance type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolSettings {
    /// Its name.
    pub name: String,
    /// The instance type of its nodes.
    pub instance_type: String,
    /// How they are bought.
    pub capacity_type: CapacityType,
    /// Their zone.
    pub zone: String,
    /// Labels of its nodes besides those that follow from the above.
    pub labels: BTreeMap<String, String>,
    /// What pods can use of a node.
    pub allocatable: Resources,
    /// What the kubelet, the system and DaemonSets take of it besides.
    pub reserved: Resources,
    /// What pods may request more than it has.
    pub overcommitted: Resources,
    /// How its GPUs are shared; `None`: pods have whole ones.
    pub gpu_sharing: Option<GpuSharing>,
    /// What its GPUs are, if it has any.
    pub accelerator: Option<String>,
    /// What its nodes cost.
    pub terms: Terms,
    /// Later prices from an instant on, ascending.
    pub prices: Vec<(Span, f64)>,
    /// The fewest nodes, which are there at the start.
    pub min_nodes: u32,
    /// The most nodes.
    pub max_nodes: u32,
    /// From the launch of a node to its being ready, seconds.
    pub provisioning: Law,
    /// What a node can download, bytes per second.
    pub download: f64,
    /// How the provider takes them back; `None`: it does not.
    pub spot: Option<SpotSettings>,
    /// How they fail; `None`: only in an outage.
    pub failures: Option<FailureSettings>,
    /// The power of a node; `None`: it is not known.
    pub power: Option<NodePower>,
}

impl PoolSettings {
    /// What a node has, for pods and for all else.
    #[must_use]
    pub fn whole(&self) -> Resources {
        self.allocatable.plus(&self.reserved).minus(&self.overcommitted)
    }
}

/// Slices of a GPU, all alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GpuSharing {
    /// How many of each GPU.
    pub slices: u32,
    /// How many times as long as on a whole GPU computation and memory traffic take.
    pub slowdown: f64,
    /// The share of a GPU's memory that one has.
    pub memory: f64,
}

impl GpuSharing {
    /// What a pod requests that wants one, thousandths of a GPU, rounded down.
    #[must_use]
    pub fn slice_milli(&self) -> i64 {
        1_000 / i64::from(self.slices.max(1))
    }
}

/// The power of a node. `docs/models/energy.md` has the equations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NodePower {
    /// Of the host without its GPUs, idle, watts.
    pub host_idle_watts: f64,
    /// The same with all cores busy, watts.
    pub host_peak_watts: f64,
    /// Of each GPU, idle, watts.
    pub gpu_idle_watts: f64,
    /// The same while it works, watts.
    pub gpu_peak_watts: f64,
}

impl NodePower {
    /// The energy of nodes that were billed for `node_seconds`, kilowatt hours. `cores_seconds` were used of `cores` a
    /// node, and `gpu_seconds` worked of `gpus` a node.
    #[must_use]
    pub fn energy_kwh(
        &self,
        node_seconds: f64,
        (cores_seconds, cores): (f64, f64),
        (gpu_seconds, gpus): (f64, f64),
    ) -> f64 {
        let busy = if cores > 0.0 { (cores_seconds / cores).min(node_seconds) } else { 0.0 };
        let host = self.host_idle_watts * node_seconds + (self.host_peak_watts - self.host_idle_watts) * busy;
        let gpu = self.gpu_idle_watts * node_seconds * gpus
            + (self.gpu_peak_watts - self.gpu_idle_watts) * gpu_seconds;
        (host + gpu) / 3.6e6
    }
}

/// How a provider takes nodes back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpotSettings {
    /// From a node's being ready to its being taken back, seconds.
    pub lifetime: Option<Law>,
    /// How long before that its replicas are told to go.
    pub notice: Span,
    /// How long before that notice it recommends to move, and the node is drained; `None`: it does not.
    pub rebalance: Option<Span>,
    /// Shocks, which take many at once.
    pub shocks: Option<Shocks>,
    /// How many nodes can be had from an instant on, ascending; before the first and without any: as many as one wants.
    pub available: Vec<(Span, u32)>,
}

/// Instants at which the provider takes each node of a pool back with the same probability: the common shocks of Marshall
/// and Olkin, "A multivariate exponential distribution", JASA 62 (1967) 30-44.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shocks {
    /// From one to the next, seconds.
    pub every: Law,
    /// The probability that one takes a node.
    pub share: f64,
}

/// How nodes fail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureSettings {
    /// The mean time from a node's being ready to its failure, which is memoryless, seconds.
    pub mtbf: Option<Law>,
    /// How many nodes fail besides, and when, ascending.
    pub at: Vec<(Span, u32)>,
    /// What becomes of requests.
    pub requests: Lost,
    /// From a node's being found `NotReady` to its being given back, with another launched in its place; `None`: nobody
    /// does that.
    pub repair: Option<Span>,
    /// From a node's failure to its working again; `None`: it never does.
    pub recovery: Option<Span>,
}

/// How containers crash, and how long the kubelet waits before it starts one again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CrashSettings {
    /// The mean time from a replica's being ready to its crash, which is memoryless, seconds.
    pub mtbf: Option<Law>,
    /// How many replicas crash besides, and when, ascending.
    pub at: Vec<(Span, u32)>,
    /// The wait before the second start of several in a row; each is twice as long as the one before.
    pub back_off: Span,
    /// The longest wait. After twice that without a crash it begins anew.
    pub max_back_off: Span,
}

scaletwin_core::names! {
    /// What becomes of requests that are in a replica whose node has failed, or that are sent to it before anybody knows.
    pub enum Lost {
        /// They fail at once: connections are refused.
        Fail = "fail",
        /// They hang until their clients give them up, or the replica is deleted.
        Hang = "hang",
    }
}

/// A zone of a cluster is out for a while: its nodes fail, and none can be launched in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outage {
    /// The place of the cluster.
    pub cluster: usize,
    /// The zone.
    pub zone: String,
    /// When it begins.
    pub at: Span,
    /// How long it lasts.
    pub duration: Span,
    /// What becomes of requests.
    pub requests: Lost,
}

impl Outage {
    /// Whether a pool is out at `now`.
    #[must_use]
    pub fn holds(&self, cluster: usize, pool: &PoolSettings, now: Time) -> bool {
        let from = Time::ZERO + self.at;
        let lasts = from <= now && now < from.saturating_add(self.duration);
        lasts && self.is_of(cluster, pool)
    }

    /// Whether it is about a pool.
    #[must_use]
    pub fn is_of(&self, cluster: usize, pool: &PoolSettings) -> bool {
        self.cluster == cluster && self.zone == pool.zone
    }
}

impl SpotSettings {
    /// How many nodes can be had at `now`; `None`: as many as one wants.
    #[must_use]
    pub fn available_at(&self, now: Time) -> Option<u32> {
        let begun = self.available.iter().rev().find(|(from, _)| Time::ZERO + *from <= now);
        begun.map(|(_, nodes)| *nodes)
    }
}

/// A deployment: replicas of one server, which is a scale target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentSettings {
    /// Its name as a scale target.
    pub target: TargetName,
    /// Its own name.
    pub name: String,
    /// The place of its service.
    pub service: usize,
    /// The place of its cluster; `None`: it has room for any number of replicas at no price.
    pub cluster: Option<usize>,
    /// The node pool that its replicas have to run in, if it names one.
    pub pool: Option<String>,
    /// The node pools of its cluster that its replicas may not run in, by their labels and taints.
    pub barred: Vec<String>,
    /// What has to hold of where its replicas are, with regard to others. Targets are the places of deployments.
    pub terms: PodTerms,
    /// Which of the nodes that they may get they would rather have.
    pub preferences: Preferences,
    /// How important its replicas are to the scheduler; the higher goes first.
    pub priority: i32,
    /// Whether they may take the room of those of lower priority.
    pub preempts: bool,
    /// The largest share of its replicas that may be on spot nodes; `None`: all.
    pub max_spot_share: Option<f64>,
    /// Its role.
    pub role: String,
    /// What a replica requests.
    pub requests: Resources,
    /// What its containers request.
    pub containers: Arc<[ContainerRequests]>,
    /// Replicas at the start, ready then.
    pub replicas: i32,
    /// From its node to its being ready, seconds, unless its start has stages.
    pub cold_start: Law,
    /// The stages of its start.
    pub start_up: Option<StartUp>,
    /// The probe that says when a replica is ready.
    pub readiness: Readiness,
    /// How long a replica that is deleted may finish its requests.
    pub grace: Span,
    /// How its containers crash; `None`: they do not.
    pub crashes: Option<CrashSettings>,
    /// How many of its replicas evictions leave; `None`: they leave none.
    pub disruption_budget: Option<DisruptionBudget>,
    /// How rollouts go.
    pub update: UpdateStrategy,
    /// When rollouts begin, ascending.
    pub rollouts: Vec<Span>,
    /// Replicas that stand by; `None`: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbySettings>,
}

impl DeploymentSettings {
    /// Whether its replicas may run in the pool of this name.
    #[must_use]
    pub fn may_run_in(&self, pool: &str) -> bool {
        let named = self.pool.as_ref().is_none_or(|wanted| wanted == pool);
        named && !self.barred.iter().any(|barred| barred == pool)
    }

    /// Whether one more of its replicas may be on a spot node, when so many are and so many are wanted.
    #[must_use]
    pub fn may_use_spot(&self, on_spot: usize, wanted: i32) -> bool {
        self.max_spot_share.is_none_or(|share| (on_spot + 1) as f64 <= share * f64::from(wanted))
    }

    /// The name of its replica number `ordinal` as a pod: no other deployment's replica has it.
    #[must_use]
    pub fn pod_name(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.target.to_string().replace('/', "-"))
    }
}

/// The stages of a replica's start, in their order. What is not given takes no time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StartUp {
    /// The container image, pulled once on each node.
    pub image: Option<Image>,
    /// From the start of the container to its asking for weights, seconds.
    pub start: Option<Law>,
    /// The weights, downloaded once on each node.
    pub weights: Option<Weights>,
    /// Compilation, once on each node, seconds.
    pub compile: Option<Law>,
    /// From there to its being able to serve, seconds.
    pub warm_up: Option<Law>,
    /// Servers that sleep instead of ending; `None`: none does.
    pub sleep: Option<Sleep>,
}

/// Servers that sleep on their node when their replicas are deleted, with the weights in the host's memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sleep {
    /// How long a replica takes that wakes one, instead of all stages, seconds.
    pub wake: Law,
    /// The most of a deployment that sleep on a node.
    pub per_node: u32,
}

/// Something that a node keeps once it has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Artifact {
    /// Its name: deployments that name the same share it.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether nodes have it from their start.
    pub present: bool,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Image {
    /// What is pulled.
    pub artifact: Artifact,
    /// How fast it is unpacked then, bytes per second.
    pub extract: f64,
}

/// Weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weights {
    /// What is downloaded.
    pub artifact: Artifact,
    /// How fast they are read from the node's disk, bytes per second.
    pub disk: f64,
    /// How fast, once a replica on the node has read them.
    pub page_cache: f64,
    /// How fast they come from another node of the cluster that has them, bytes per second; `None`: they come from the
    /// store alone.
    pub peer: Option<f64>,
}

/// A readiness probe: after `initial_delay`, every `period`. A period of zero notices at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The first probe, after the start of the container.
    pub initial_delay: Span,
    /// From one probe to the next.
    pub period: Span,
}

impl Readiness {
    /// When a container that can answer after `start` is found ready, both from the start of the container.
    #[must_use]
    pub fn found_after(&self, start: Span) -> Span {
        if start <= self.initial_delay {
            return self.initial_delay;
        }
        if self.period.is_zero() {
            return start;
        }
        let probes = (start - self.initial_delay).as_nanos().div_ceil(self.period.as_nanos());
        self.initial_delay + self.period * probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_computed_by_hand() {
        let power = NodePower {
            host_idle_watts: 40.0,
            host_peak_watts: 100.0,
            gpu_idle_watts: 50.0,
            gpu_peak_watts: 300.0,
        };
        // Two node hours: 80 Wh of idle hosts and 200 Wh of idle GPUs (two a node); half an hour of all 8 cores adds
        // 30 Wh; three hours of one GPU add 750 Wh.
        let kwh = power.energy_kwh(7_200.0, (4.0 * 3_600.0, 8.0), (10_800.0, 2.0));
        assert!((kwh - 1.06).abs() < 1e-12, "{kwh}");
    }

    #[test]
    fn a_probe_finds_a_replica_ready_at_its_next_turn() {
        let probe = Readiness { initial_delay: Span::from_secs(5), period: Span::from_secs(10) };
        let found = |secs| probe.found_after(Span::from_secs(secs)).as_secs();
        assert_eq!([found(0), found(5), found(6), found(15), found(16)], [5, 5, 15, 15, 25]);
        assert_eq!(Readiness::default().found_after(Span::from_secs(7)).as_secs(), 7);
    }
}

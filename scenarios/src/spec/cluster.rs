//! Clusters and node pools as written.

use scaletwin_core::control::CapacityType;
use scaletwin_core::input::{At, Node, NonNegative, Problems, Read, Shape, Value};
use scaletwin_core::random::Distributed;
use scaletwin_core::units::{Bandwidth, Bytes, Civil, Quantity, Share, Span};
use scaletwin_sim::cluster::placement::Placement;
use serde_json::json;

use super::failures::{DetectionSpec, FailuresSpec};
use super::scheduling::{GpuSharingSpec, Labels, OvercommitSpec, QuotaSpec, ReservedSpec, TaintSpec};

scaletwin_core::keys! {
    /// A cluster.
    #[derive(Debug, Clone)]
    pub struct ClusterSpec {
        /// Its name.
        pub name: At<String>,
        /// Its provider, for people.
        pub provider: Option<String> = None,
        /// Its region, for people.
        pub region: Option<String> = None,
        /// What its nodes can download together from image registry and object store. Default: no limit but that of each
        /// node.
        pub registry_bandwidth: Option<Bandwidth> = None,
        /// Which of the nodes with room a pod gets.
        pub placement: Placement = Placement::FirstFit,
        /// What the provider lets one have at most here. A launch beyond it is refused. Default: no limit.
        pub quota: At<QuotaSpec> = QuotaSpec::default(),
        /// How it finds out that a node has failed.
        pub detection: DetectionSpec = DetectionSpec::default(),
        /// Its node pools. Nodes are tried in the order of their launch.
        pub node_pools: At<Vec<At<NodePoolSpec>>>,
    }
}

scaletwin_core::keys! {
    /// Nodes of one instance type.
    #[derive(Debug, Clone)]
    pub struct NodePoolSpec {
        /// Its name.
        pub name: At<String>,
        /// The instance type. A known one brings cpu, memory, gpus, accelerator and list price along; the keys below
        /// replace them.
        pub instance_type: At<String>,
        /// How nodes are bought.
        pub capacity_type: Capacity = Capacity::OnDemand,
        /// How many nodes: a number, or the fewest and the most. The fewest are there, and ready, at the start.
        pub nodes: At<Nodes>,
        /// The zone.
        pub zone: String = "a".to_owned(),
        /// From the launch of a node to its being ready. Default: 45 s to 90 s, evenly, as published for Karpenter on AWS.
        pub provisioning: Option<Distributed<Span>> = None,
        /// Cores of a node.
        pub cpu: Option<Quantity> = None,
        /// Memory of a node.
        pub memory: Option<Bytes> = None,
        /// GPUs of a node.
        pub gpus: Option<u32> = None,
        /// How its GPUs are shared: pods get slices of them, and no whole ones. Default: whole GPUs.
        pub gpu_sharing: Option<At<GpuSharingSpec>> = None,
        /// How much more pods may request together than there is of a node.
        pub overcommit: At<OvercommitSpec> = OvercommitSpec::default(),
        /// What the kubelet, the system and DaemonSets take of a node; pods have the rest.
        pub reserved: At<ReservedSpec> = ReservedSpec::default(),
        /// Labels of its nodes, besides `topology.kubernetes.io/zone`, `node.kubernetes.io/instance-type`,
        /// `karpenter.sh/capacity-type` and `cloud.google.com/gke-nodepool`, which they have anyway.
        pub labels: Labels = Labels::new(),
        /// Taints of its nodes: only pods that tolerate them run there.
        pub taints: Vec<TaintSpec> = Vec::new(),
        /// What its GPUs are.
        pub accelerator: Option<At<String>> = None,
        /// The price of a node, dollars per hour.
        pub price_usd_per_hour: Option<NonNegative> = None,
        /// What a node can download from image registry and object store. Default: 16 GB in 61 s, as Tensorfuse measured.
        pub download: Bandwidth = Bandwidth::bytes_per_second(262_000_000),
        /// The price over time, from a file; it begins at t = 0.
        pub prices: Option<At<PricesSpec>> = None,
        /// How the provider counts a node's time.
        pub billing: BillingSpec = BillingSpec::default(),
        /// Nodes paid for in advance, as with reserved instances and savings plans.
        pub commitment: Option<At<CommitmentSpec>> = None,
        /// The power of a node without its GPUs. Default: that of the instance type's provider, by cores and memory.
        pub host_power: Option<At<HostPowerSpec>> = None,
        /// How the provider takes spot nodes back. Without it, it does not.
        pub spot: Option<At<SpotSpec>> = None,
        /// How its nodes fail. Without it, they fail only in an outage.
        pub failures: Option<At<FailuresSpec>> = None,
    }
}

scaletwin_core::keys! {
    /// The power of a node without its GPUs.
    #[derive(Debug, Clone)]
    pub struct HostPowerSpec {
        /// Without work, watts.
        pub idle_watts: NonNegative,
        /// With all cores busy, watts.
        pub peak_watts: NonNegative,
    }
}

scaletwin_core::keys! {
    /// How the provider takes spot nodes back.
    #[derive(Debug, Clone)]
    pub struct SpotSpec {
        /// From a node's being ready to its being taken back, such as `{exponential: {mean: 10h}}`. Default: only when the
        /// capacity sinks.
        pub lifetime: Option<Distributed<Span>> = None,
        /// How long before that its replicas are told to go. AWS gives 2 minutes, GCP and Azure 30 seconds.
        pub notice: Span = Span::from_secs(120),
        /// How long before that notice the provider recommends to move, and the node is drained: AWS' rebalance
        /// recommendation, as its node termination handler follows it. Default: no recommendation.
        pub rebalance: Option<Span> = None,
        /// Shocks, each of which takes many nodes back at once. Default: nodes go one by one.
        pub shocks: Option<At<ShocksSpec>> = None,
        /// How many nodes can be had from an instant on. Before the first: as many as one wants. What is above, the provider
        /// takes back, the youngest first.
        pub available: At<Vec<AvailableSpec>> = Vec::new(),
        /// The same from a file.
        pub availability: Option<At<AvailabilitySpec>> = None,
    }
}

scaletwin_core::keys! {
    /// Instants at which the provider takes each node of the pool back with the same probability, with its notice.
    #[derive(Debug, Clone)]
    pub struct ShocksSpec {
        /// From one to the next, such as `{exponential: {mean: 6h}}`.
        pub every: Distributed<Span>,
        /// The probability that one takes a node.
        pub share: Share,
    }
}

scaletwin_core::keys! {
    /// A series of what could be had: CSV, also with `.gz`, with a column `t_s` of seconds and one for each zone.
    #[derive(Debug, Clone)]
    pub struct AvailabilitySpec {
        /// The file, relative to the scenario's folder.
        pub path: At<String>,
        /// The column.
        pub column: At<String>,
        /// Nodes that can be had for each 1 in the column; rounded down to whole nodes.
        pub nodes: u32 = 1,
        /// The instant of the series that is t = 0.
        pub from: Span = Span::ZERO,
    }
}

scaletwin_core::keys! {
    /// A history of prices: CSV, also with `.gz`, with the columns `timestamp`, `availability_zone`, `instance_type` and
    /// `spot_price_usd_per_hour`.
    #[derive(Debug, Clone)]
    pub struct PricesSpec {
        /// The file, relative to the scenario's folder.
        pub path: At<String>,
        /// The zone. Default: that of the pool.
        pub zone: Option<At<String>> = None,
        /// The instance type. Default: that of the pool.
        pub instance_type: Option<At<String>> = None,
        /// The instant of the history that is t = 0. Default: `start` of the scenario, if it is written and the history has
        /// it, otherwise the first price.
        pub from: Option<Civil> = None,
    }
}

scaletwin_core::keys! {
    /// How the provider counts a node's time. Clouds bill by the second; AWS and GCP bill a minute at least.
    #[derive(Debug, Clone, Default)]
    pub struct BillingSpec {
        /// The least that is billed of a node.
        pub minimum: Span = Span::ZERO,
        /// What is billed of a node is a multiple of this. Default: its time to the nanosecond.
        pub granularity: Span = Span::ZERO,
    }
}

scaletwin_core::keys! {
    /// Nodes paid for in advance: so many of the pool cost this all the time, whether they are there or not. Those beyond
    /// cost the pool's price.
    #[derive(Debug, Clone)]
    pub struct CommitmentSpec {
        /// How many.
        pub nodes: u32,
        /// What one costs, dollars per hour.
        pub usd_per_hour: NonNegative,
    }
}

scaletwin_core::keys! {
    /// A provider's capacity from an instant on.
    #[derive(Debug, Clone)]
    pub struct AvailableSpec {
        /// From when on.
        pub from: Span,
        /// How many nodes.
        pub nodes: u32,
    }
}

scaletwin_core::names! {
    /// How nodes are bought.
    pub enum Capacity {
        /// By the hour, kept until given back.
        OnDemand = "on-demand",
        /// Committed in advance.
        Reserved = "reserved",
        /// Cheaper, and taken back at short notice.
        Spot = "spot",
    }
}

impl Capacity {
    /// The word of the control seam.
    #[must_use]
    pub const fn capacity_type(self) -> CapacityType {
        match self {
            Capacity::OnDemand => CapacityType::OnDemand,
            Capacity::Reserved => CapacityType::Reserved,
            Capacity::Spot => CapacityType::Spot,
        }
    }
}

/// How many nodes a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nodes {
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
}

scaletwin_core::keys! {
    /// The fewest and the most nodes.
    struct Range {
        /// The fewest.
        min: u32 = 0,
        /// The most.
        max: u32,
    }
}

impl Read for Nodes {
    fn read(node: &Node, problems: &mut Problems) -> Option<Nodes> {
        if let Value::Int(_) = node.value {
            return u32::read(node, problems).map(|number| Nodes { min: number, max: number });
        }
        let range = Range::read(node, problems)?;
        if range.min > range.max {
            problems.error(&node.place, format!("at least {} nodes, but at most {}", range.min, range.max));
            return None;
        }
        Some(Nodes { min: range.min, max: range.max })
    }

    fn shape() -> Shape {
        let schema = json!({"anyOf": [u32::shape().schema, Range::shape().schema]});
        Shape::new("a number of nodes, or {min: 1, max: 8}", schema)
    }
}

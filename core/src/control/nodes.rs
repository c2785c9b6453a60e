//! What a node autoscaler sees: nodes, pods without a node, and what could be bought.

use serde::{Deserialize, Serialize};

use super::{PodTerms, TargetName};
use crate::units::Time;

/// Nodes, pending pods and offers of the clusters in scope.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodesView {
    /// The nodes, oldest first, those on their way included.
    pub nodes: Vec<NodeView>,
    /// Pods without a node, oldest first.
    pub pending: Vec<PendingPod>,
    /// What could be launched, with prices.
    pub offers: Vec<Offer>,
    /// What has to hold of where the pods of all targets are; empty where nothing has to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<PodTerms>,
}

/// Amounts of resources that pods request and nodes have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Thousandths of a GPU.
    pub gpu_milli: i64,
}

impl Resources {
    /// Whether `self` fits into `room`.
    #[must_use]
    pub fn fits(&self, room: &Resources) -> bool {
        self.cpu_milli <= room.cpu_milli
            && self.memory_bytes <= room.memory_bytes
            && self.gpu_milli <= room.gpu_milli
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Resources) -> Resources {
        Resources {
            cpu_milli: self.cpu_milli + other.cpu_milli,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            gpu_milli: self.gpu_milli + other.gpu_milli,
        }
    }

    /// The difference; negative where `other` is larger.
    #[must_use]
    pub fn minus(&self, other: &Resources) -> Resources {
        Resources {
            cpu_milli: self.cpu_milli - other.cpu_milli,
            memory_bytes: self.memory_bytes - other.memory_bytes,
            gpu_milli: self.gpu_milli - other.gpu_milli,
        }
    }
}

/// How capacity is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityType {
    /// By the hour, kept until given back.
    OnDemand,
    /// Committed in advance.
    Reserved,
    /// Cheaper, and taken back at short notice.
    Spot,
}

impl CapacityType {
    /// The name in scenarios and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CapacityType::OnDemand => "on-demand",
            CapacityType::Reserved => "reserved",
            CapacityType::Spot => "spot",
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// Its node pool.
    pub pool: String,
    /// Its instance type.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// How it is bought.
    pub capacity_type: CapacityType,
    /// When it was asked for.
    pub created: Time,
    /// Since when it takes pods; `None` while it is on its way.
    pub ready_since: Option<Time>,
    /// Since when it does not answer (`NotReady`), if it has been ready; it is tainted, and takes no more pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready_since: Option<Time>,
    /// Whether it takes no more pods.
    pub cordoned: bool,
    /// Its price per hour in US dollars, if known.
    pub price_usd_per_hour: Option<f64>,
    /// What it has, the system's share included.
    pub capacity: Resources,
    /// What pods can use of it.
    pub allocatable: Resources,
    /// The pods on it.
    pub pods: Vec<PlacedPod>,
}

/// A pod on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedPod {
    /// Its name.
    pub name: String,
    /// The target it belongs to.
    pub target: TargetName,
    /// The node pool it has to run in, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The node pools of its cluster that it may not run in: their labels do not match, or it does not tolerate their taints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<String>,
    /// What it requests.
    pub requests: Resources,
    /// How many pods of its target may be evicted now (`disruptionsAllowed` of its budget); `None` without a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruptions_allowed: Option<u32>,
    /// The place of its target in [`NodesView::terms`], if terms are about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tied: Option<usize>,
    /// Whether it is being deleted.
    pub deleted: bool,
}

/// A pod that waits for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingPod {
    /// Its name.
    pub name: String,
    /// The target it belongs to.
    pub target: TargetName,
    /// The cluster it has to run in.
    pub cluster: String,
    /// The node pool it has to run in, if it names one.
    pub pool: Option<String>,
    /// The node pools of its cluster that it may not run in: their labels do not match, or it does not tolerate their taints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<String>,
    /// The place of its target in [`NodesView::terms`], if terms are about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tied: Option<usize>,
    /// Since when it waits.
    pub since: Time,
    /// What it requests.
    pub requests: Resources,
}

/// Something that can be launched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Its cluster.
    pub cluster: String,
    /// The node pool that a launch joins.
    pub pool: String,
    /// The instance type.
    pub instance_type: String,
    /// The zone.
    pub zone: String,
    /// How it is bought.
    pub capacity_type: CapacityType,
    /// Its price per hour in US dollars, if known.
    pub price_usd_per_hour: Option<f64>,
    /// What one has, the system's share included.
    pub capacity: Resources,
    /// What pods can use of one.
    pub allocatable: Resources,
    /// The fewest nodes that the pool keeps.
    pub min_nodes: u32,
    /// How many more the pool may have.
    pub room: u32,
    /// When the provider last had no capacity for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stocked_out: Option<Time>,
}

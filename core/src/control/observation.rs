//! What a controller sees.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MetricQuery, NodesView, PokeKind, Reading, Values};
use crate::units::{Civil, Time};

/// The name of a scale target, `service/deployment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetName(Arc<str>);

impl TargetName {
    /// The target of this name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> TargetName {
        TargetName(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a controller sees when it is due: only what the real one could see.
///
/// Serialises to JSON and back exactly, so that a decision can be repeated from a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The version of this layout.
    pub version: u16,
    /// The instant.
    pub now: Time,
    /// The civil instant of t = 0.
    pub start: Civil,
    /// Why the controller is asked.
    pub cause: Cause,
    /// The scale targets of its scope, in the order of its scope.
    pub targets: Vec<TargetView>,
    /// The answers to its queries, in the order of its scope.
    pub metrics: Vec<(MetricQuery, Reading<Values>)>,
    /// Nodes, pending pods and offers, if its scope has them.
    pub nodes: Option<NodesView>,
}

impl Observation {
    /// The version of the layout written now.
    pub const VERSION: u16 = 1;

    /// An observation of nothing at `now`, to be filled.
    #[must_use]
    pub fn at(now: Time, start: Civil) -> Observation {
        Observation {
            version: Self::VERSION,
            now,
            start,
            cause: Cause::Periodic,
            targets: Vec::new(),
            metrics: Vec::new(),
            nodes: None,
        }
    }

    /// The view of `target`, if it is in scope.
    #[must_use]
    pub fn target(&self, target: &TargetName) -> Option<&TargetView> {
        self.targets.iter().find(|view| view.name == *target)
    }

    /// The answer to `query`, if it was asked.
    #[must_use]
    pub fn metric(&self, query: &MetricQuery) -> Option<&Reading<Values>> {
        self.metrics.iter().find(|(asked, _)| asked == query).map(|(_, answer)| answer)
    }
}

/// Why a controller is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its period came round.
    Periodic,
    /// The instant that it asked for came.
    Wake,
    /// Something happened.
    Poke(Poke),
}

/// Something that wakes a controller between its periods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Poke {
    /// A request arrived for a target without replicas.
    RequestAtZero {
        /// The target.
        target: TargetName,
    },
    /// A pod found no node.
    PendingPods,
}

impl Poke {
    /// Its kind, by which controllers subscribe.
    #[must_use]
    pub fn kind(&self) -> PokeKind {
        match self {
            Poke::RequestAtZero { .. } => PokeKind::RequestAtZero,
            Poke::PendingPods => PokeKind::PendingPods,
        }
    }
}

/// A scale target: three different numbers of replicas, and the pods behind them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its name.
    pub name: TargetName,
    /// `spec.replicas`: what is wanted.
    pub spec_replicas: i32,
    /// `status.replicas`: pods that exist and are not being deleted.
    pub status_replicas: i32,
    /// `status.readyReplicas`: pods that take requests.
    pub ready_replicas: i32,
    /// Bounds that a slower planner has set for a faster controller.
    pub bounds: Bounds,
    /// Its pods, oldest first, those being deleted included.
    pub pods: Vec<PodView>,
}

/// Bounds on replicas set by a planner, both inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// At least so many.
    pub min: Option<i32>,
    /// At most so many.
    pub max: Option<i32>,
}

/// A pod as the Kubernetes API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Its name.
    pub name: Arc<str>,
    /// `status.phase`.
    pub phase: PodPhase,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleted: bool,
    /// `status.startTime`: when its node took it on.
    pub start: Option<Time>,
    /// The Ready condition, if there is one.
    pub ready: Option<ReadyCondition>,
    /// What its containers request, one entry a container.
    pub containers: Arc<[ContainerRequests]>,
}

impl PodView {
    /// Whether the pod is Running with Ready = True.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == PodPhase::Running
            && self.ready.is_some_and(|ready| ready.status == ConditionStatus::True)
    }
}

/// `status.phase` of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// No node yet, or its containers are not started.
    Pending,
    /// Its containers were started.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// Its node does not answer.
    Unknown,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows.
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The Ready condition of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyCondition {
    /// Its status.
    pub status: ConditionStatus,
    /// `lastTransitionTime`.
    pub since: Time,
}

/// What one container requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRequests {
    /// The container's name.
    pub name: Arc<str>,
    /// Milli-units by resource: milli-cores, milli-bytes, thousandths of a GPU.
    pub requests: Vec<(Resource, i64)>,
}

impl ContainerRequests {
    /// The request for `resource` in milli-units, if there is one.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Option<i64> {
        self.requests.iter().find(|(of, _)| *of == resource).map(|(_, milli)| *milli)
    }
}

/// A resource of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Resource {
    /// CPU, in cores.
    #[serde(rename = "cpu")]
    Cpu,
    /// Memory, in bytes.
    #[serde(rename = "memory")]
    Memory,
    /// GPUs.
    #[serde(rename = "nvidia.com/gpu")]
    Gpu,
}

impl Resource {
    /// The name in Kubernetes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Gpu => "nvidia.com/gpu",
        }
    }
}

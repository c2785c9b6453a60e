//! What a controller wants done, and why.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CapacityType, Resource, TargetName};
use crate::units::Time;
use crate::units::exact::{self, Exact};

/// What a controller wants done, why, and when it wants to be asked again besides its period.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// Why: the controller's own codes.
    pub reasons: Vec<Reason>,
    /// When it wants to be asked again, besides its period; after the present instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Time>,
}

impl Decision {
    /// Nothing to do, for one reason.
    #[must_use]
    pub fn nothing(reason: Reason) -> Decision {
        Decision { reasons: vec![reason], ..Decision::default() }
    }
}

/// One reason of a decision, in the controller's own words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The target it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// What it is about: a condition such as `AbleToScale`.
    pub subject: String,
    /// Whether that holds, where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// The controller's code, such as `ScaleDownStabilized`.
    pub code: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The figures behind it, by name with unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, Exact>,
}

/// Something that a plant can be asked to do. The set is closed: a plant refuses by name what it cannot do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sets `spec.replicas` of a target.
    SetReplicas {
        /// The target.
        target: TargetName,
        /// How many, at least 0.
        replicas: i32,
    },
    /// Publishes a signal that other controllers read.
    PublishSignal {
        /// Its name.
        name: String,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Its value.
        #[serde(with = "exact")]
        value: f64,
    },
    /// Bounds the replicas that a faster controller may set.
    SetBounds {
        /// The target.
        target: TargetName,
        /// At least so many.
        min: Option<i32>,
        /// At most so many.
        max: Option<i32>,
    },
    /// Sets the requests of a container, for pods created from now on.
    SetRequests {
        /// The target.
        target: TargetName,
        /// The container.
        container: String,
        /// Milli-units by resource.
        requests: Vec<(Resource, i64)>,
    },
    /// Evicts a pod, as far as its disruption budget lets it go: its deployment puts another in its place.
    Evict {
        /// Its target.
        target: TargetName,
        /// The pod.
        pod: String,
    },
    /// Launches nodes.
    LaunchNodes(Launch),
    /// Takes a node out of scheduling and evicts its pods.
    DrainNode {
        /// Its cluster.
        cluster: String,
        /// The node.
        node: String,
    },
    /// Gives a node back, with whatever still runs on it.
    DeleteNode {
        /// Its cluster.
        cluster: String,
        /// The node.
        node: String,
    },
    /// Launches nodes, and drains others once those are ready.
    ReplaceNodes {
        /// What comes.
        launch: Launch,
        /// The nodes of the same cluster that go.
        drain: Vec<String>,
    },
    /// Sets what requests a service takes.
    SetAdmission {
        /// The service.
        service: String,
        /// What it takes.
        admission: Admission,
    },
    /// Does nothing, on purpose.
    Hold {
        /// The target it is about.
        target: Option<TargetName>,
        /// Why.
        reason: String,
    },
}

/// Nodes to launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The cluster.
    pub cluster: String,
    /// The node pool that they join.
    pub pool: String,
    /// Instance types in order of preference; the plant takes the first that it can get. Empty: the pool's own.
    pub instance_types: Vec<String>,
    /// How many, at least 1.
    pub count: u32,
    /// The zone, if it matters.
    pub zone: Option<String>,
    /// How to buy them, if it matters.
    pub capacity_type: Option<CapacityType>,
}

/// What requests a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// All.
    Admit,
    /// Only those at least as urgent as this priority (lower is more urgent).
    Shed {
        /// The least urgent priority that is still taken.
        keep_priority: i32,
    },
    /// None.
    Stop,
}

/// What an action changes: each may have one writer, unless layers are declared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// `spec.replicas` of a target.
    Replicas(TargetName),
    /// The bounds of a target.
    Bounds(TargetName),
    /// The requests of a target's containers, and which pods are evicted for them.
    Requests(TargetName),
    /// A signal, with its labels.
    Signal(String),
    /// The nodes of a cluster.
    Nodes(String),
    /// What a service takes.
    Admission(String),
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aspect::Replicas(target) => write!(f, "the replicas of {target}"),
            Aspect::Bounds(target) => write!(f, "the bounds of {target}"),
            Aspect::Requests(target) => write!(f, "the requests of {target}"),
            Aspect::Signal(name) => write!(f, "the signal {name}"),
            Aspect::Nodes(cluster) => write!(f, "the nodes of {cluster}"),
            Aspect::Admission(service) => write!(f, "the admission of {service}"),
        }
    }
}

impl Action {
    /// What it changes; `None` if nothing.
    #[must_use]
    pub fn aspect(&self) -> Option<Aspect> {
        Some(match self {
            Action::SetReplicas { target, .. } => Aspect::Replicas(target.clone()),
            Action::PublishSignal { name, labels, .. } => Aspect::Signal(series(name, labels)),
            Action::SetBounds { target, .. } => Aspect::Bounds(target.clone()),
            Action::SetRequests { target, .. } | Action::Evict { target, .. } => {
                Aspect::Requests(target.clone())
            }
            Action::LaunchNodes(Launch { cluster, .. })
            | Action::DrainNode { cluster, .. }
            | Action::DeleteNode { cluster, .. }
            | Action::ReplaceNodes { launch: Launch { cluster, .. }, .. } => Aspect::Nodes(cluster.clone()),
            Action::SetAdmission { service, .. } => Aspect::Admission(service.clone()),
            Action::Hold { .. } => return None,
        })
    }

    /// Whether its numbers make sense.
    ///
    /// # Errors
    /// Which number does not.
    pub fn check(&self) -> Result<(), InvalidAction> {
        let wrong = |what: String| Err(InvalidAction { what });
        match self {
            Action::SetReplicas { target, replicas } if *replicas < 0 => {
                wrong(format!("{replicas} replicas of {target}"))
            }
            Action::PublishSignal { name, value, .. } if !value.is_finite() => {
                wrong(format!("the value {value} of the signal {name}"))
            }
            Action::SetBounds { target, min, max } => {
                let negative = min.is_some_and(|min| min < 0) || max.is_some_and(|max| max < 0);
                let crossed = min.zip(*max).is_some_and(|(min, max)| min > max);
                if negative || crossed {
                    wrong(format!("bounds {min:?} to {max:?} of {target}"))
                } else {
                    Ok(())
                }
            }
            Action::SetRequests { target, requests, .. } if requests.iter().any(|(_, milli)| *milli < 0) => {
                wrong(format!("a negative request of {target}"))
            }
            Action::LaunchNodes(launch) | Action::ReplaceNodes { launch, .. } if launch.count == 0 => {
                wrong(format!("a launch of no nodes in {}/{}", launch.cluster, launch.pool))
            }
            _ => Ok(()),
        }
    }
}

/// A series as Prometheus writes it: its name, and its labels if it has any.
fn series(name: &str, labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// An action whose numbers make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} make no sense")]
pub struct InvalidAction {
    what: String,
}

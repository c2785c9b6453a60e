//! Components and relations of the fleet.

use std::sync::Arc;

use bevy_ecs::prelude::*;
use scaletwin_core::control::{Bounds, ContainerRequests, Resources};
use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::rollout::ReplicaSet;
use super::settings::DeploymentSettings;
use super::standby::Standby;

/// The number of a node, in the order of launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// The number of a replica, in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId(pub u32);

/// A node pool, by its place among all pools.
#[derive(Component, Debug, Clone, Copy)]
pub struct Pool {
    /// Its place.
    pub place: usize,
}

/// A node.
#[derive(Component, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// When it was launched.
    pub launched: Time,
    /// Since when it takes pods; `None` while it is on its way.
    pub ready: Option<Time>,
    /// Whether it takes no more pods.
    pub cordoned: bool,
    /// How many nodes its pool had launched before it.
    pub ordinal: u32,
    /// When the provider takes it back, once it has said so.
    pub reclaim: Option<Time>,
    /// When it failed, if it has: nothing on it works any more.
    pub failed: Option<Time>,
    /// Since when the cluster knows that.
    pub unready: Option<Time>,
    /// How often it has come back from a failure.
    pub returns: u32,
    /// What is left of it for pods.
    pub free: Resources,
}

/// The pool that a node is in.
#[derive(Component, Debug)]
#[relationship(relationship_target = PoolNodes)]
pub struct InPool(pub Entity);

/// The nodes of a pool.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = InPool)]
pub struct PoolNodes(Vec<Entity>);

/// A deployment, by its place among all deployments.
#[derive(Component, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its place.
    pub place: usize,
    /// Replicas wanted.
    pub wanted: i32,
    /// Replicas created so far.
    pub created: u32,
    /// Bounds set by a planner.
    pub bounds: Bounds,
    /// Its ReplicaSets, the oldest first; the last is that of the present revision.
    pub sets: Vec<ReplicaSet>,
    /// The wanted number that they were last in line with.
    pub in_line_with: i32,
    /// What a replica created from now on requests, where a controller has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Arc<Requests>>,
}

/// What a replica requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// In all.
    pub pod: Resources,
    /// By container.
    pub containers: Arc<[ContainerRequests]>,
}

/// A replica.
#[derive(Component, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    /// Its number.
    pub id: ReplicaId,
    /// Its number within its deployment.
    pub ordinal: u32,
    /// The revision of its deployment that it is of.
    pub revision: u32,
    /// When it was created.
    pub created: Time,
    /// When it got its node.
    pub bound: Option<Time>,
    /// Since when it is ready.
    pub ready: Option<Time>,
    /// Since when it is not ready any more.
    pub unready: Option<Time>,
    /// When it was deleted.
    pub deleted: Option<Time>,
    /// What it requests, where a controller had set that when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Arc<Requests>>,
    /// The node where others have to go for it, while it waits for them.
    pub nominated: Option<NodeId>,
    /// How far it has come, if it stands by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,
    /// When it was called, if it stood by before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<Time>,
}

impl Replica {
    /// An instant of its life, or that of its call if it was called later.
    #[must_use]
    pub fn since_called(&self, at: Time) -> Time {
        self.called.map_or(at, |called| at.max(called))
    }

    /// What it requests in all.
    #[must_use]
    pub fn requests(&self, settings: &DeploymentSettings) -> Resources {
        self.requests.as_ref().map_or(settings.requests, |requests| requests.pod)
    }

    /// What its containers request.
    #[must_use]
    pub fn containers(&self, settings: &DeploymentSettings) -> Arc<[ContainerRequests]> {
        let own = self.requests.as_ref().map(|requests| &requests.containers);
        Arc::clone(own.unwrap_or(&settings.containers))
    }
}

/// The deployment that a replica belongs to.
#[derive(Component, Debug)]
#[relationship(relationship_target = DeploymentReplicas)]
pub struct OfDeployment(pub Entity);

/// The replicas of a deployment.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = OfDeployment)]
pub struct DeploymentReplicas(Vec<Entity>);

/// The node that a replica runs on.
#[derive(Component, Debug)]
#[relationship(relationship_target = NodeReplicas)]
pub struct OnNode(pub Entity);

/// The replicas on a node.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = OnNode)]
pub struct NodeReplicas(Vec<Entity>);

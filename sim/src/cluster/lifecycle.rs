//! The systems that create and delete replicas: what a Deployment's ReplicaSet does. `placement` is the scheduler's part.
//!
//! They run in this order whenever the structure may have changed, at one instant.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bevy_ecs::prelude::*;
use scaletwin_core::control::PodTerms;
use scaletwin_core::units::Time;

use super::entities::{
    Deployment, DeploymentReplicas, NodeId, NodeReplicas, OfDeployment, OnNode, Replica, ReplicaId,
};
use super::placement::{Placement, place_pending};
use super::rollout;
use super::settings::{DeploymentSettings, PoolSettings};
use super::standby::{Standby, call_standby};

/// The present instant.
#[derive(Resource, Debug, Clone, Copy, Default)]
pub struct Now(pub Time);

/// All deployments and pools as they were set, by place.
#[derive(Resource, Debug, Default)]
pub struct Settings {
    /// The deployments.
    pub deployments: Vec<DeploymentSettings>,
    /// The pools of all clusters, each with the place of its cluster.
    pub pools: Vec<(usize, PoolSettings)>,
    /// Which nodes replicas get, by cluster.
    pub placements: Vec<Placement>,
    /// What has to hold of where replicas are, by deployment; empty if neither that nor any preference is about others.
    pub terms: Vec<PodTerms>,
}

/// Entities by number, in the order of numbers: iteration never depends on storage.
#[derive(Resource, Debug, Default)]
pub struct Index {
    /// The deployments by place.
    pub deployments: Vec<Entity>,
    /// The pools by place.
    pub pools: Vec<Entity>,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, Entity>,
    /// The replicas, those being deleted included.
    pub replicas: BTreeMap<ReplicaId, Entity>,
    /// The replicas without a node.
    pub pending: BTreeMap<ReplicaId, Entity>,
    /// The number of the next replica.
    pub next_replica: u32,
    /// The number of the next node.
    pub next_node: u32,
    /// Nodes that each pool has launched, by place.
    pub launches: Vec<u32>,
    /// When the provider last had no capacity for a pool, by place.
    pub stock_outs: Vec<Option<Time>>,
}

/// What the systems did, for the world to go on with.
#[derive(Resource, Debug, Default)]
pub struct Changes(pub Vec<Change>);

/// A change of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A replica was created.
    Created {
        /// The replica.
        replica: ReplicaId,
        /// The place of its deployment.
        deployment: usize,
    },
    /// A replica got a node.
    Bound {
        /// The replica.
        replica: ReplicaId,
        /// The place of its deployment.
        deployment: usize,
        /// The pool that it is billed to and the millionths of a node that it holds.
        held: Option<(usize, u64)>,
    },
    /// A replica is to go.
    Deleted {
        /// The replica.
        replica: ReplicaId,
        /// The place of its deployment.
        deployment: usize,
    },
    /// A replica that stood by is wanted.
    Called {
        /// The replica.
        replica: ReplicaId,
        /// The place of its deployment.
        deployment: usize,
        /// Whether it is loaded.
        loaded: bool,
    },
    /// A replica is to go for one of a higher priority.
    Preempted {
        /// The replica.
        replica: ReplicaId,
        /// The place of its deployment.
        deployment: usize,
    },
    /// A replica found no node.
    Pending,
}

/// The schedule of the systems.
#[must_use]
pub fn schedule() -> Schedule {
    let mut schedule = Schedule::default();
    schedule.set_executor(bevy_ecs::schedule::SingleThreadedExecutor::new());
    schedule.add_systems((roll, delete_surplus, call_standby, create_missing, place_pending).chain());
    schedule
}

/// Brings the ReplicaSets of each deployment in line with what is wanted and ready.
fn roll(
    index: Res<Index>,
    settings: Res<Settings>,
    mut deployments: Query<(&mut Deployment, Option<&DeploymentReplicas>)>,
    replicas: Query<&Replica>,
) {
    for entity in &index.deployments {
        let Ok((mut deployment, of)) = deployments.get_mut(*entity) else { continue };
        let ready = |revision: u32| {
            let counts = |entity: &Entity| {
                replicas.get(*entity).is_ok_and(|replica| {
                    replica.deleted.is_none() && replica.ready.is_some() && replica.revision == revision
                })
            };
            of.map_or(0, |of| of.iter().filter(counts).count())
        };
        let count = |replicas: i32| usize::try_from(replicas).unwrap_or(0);
        let change = (count(deployment.in_line_with), count(deployment.wanted));
        deployment.in_line_with = deployment.wanted;
        let strategy = &settings.deployments[deployment.place].update;
        rollout::reconcile(&mut deployment.sets, change, strategy, ready);
    }
}

/// Which of two replicas of a deployment goes first: ReplicaSet's ranking. Without a node before with one, starting
/// before ready, on the fuller node before the emptier, the one ready for the shorter time, the younger.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    has_node: bool,
    is_ready: bool,
    neighbours: Reverse<usize>,
    ready_for: u32,
    created: Reverse<(Time, ReplicaId)>,
}

/// Times are compared by their magnitude in powers of two, as ReplicaSet does.
fn magnitude(span_nanos: u64) -> u32 {
    u64::BITS - span_nanos.leading_zeros()
}

/// Deletes replicas that are too many, and those that stand by with an older revision.
fn delete_surplus(
    now: Res<Now>,
    index: Res<Index>,
    deployments: Query<(&Deployment, Option<&DeploymentReplicas>)>,
    mut replicas: Query<(&mut Replica, Option<&OnNode>, &OfDeployment)>,
    nodes: Query<&NodeReplicas>,
    mut changes: ResMut<Changes>,
) {
    for entity in &index.deployments {
        let Ok((deployment, Some(of))) = deployments.get(*entity) else { continue };
        let mut living: Vec<(Rank, Entity, u32)> = Vec::new();
        for living_one in of.iter() {
            let Ok((replica, node, _)) = replicas.get(living_one) else { continue };
            if replica.deleted.is_none() && replica.standby.is_none() {
                // Of its own deployment, and not being deleted.
                let counts = |other: &Entity| {
                    replicas
                        .get(*other)
                        .is_ok_and(|(replica, _, of)| of.0 == *entity && replica.deleted.is_none())
                };
                let neighbours = node
                    .and_then(|node| nodes.get(node.0).ok())
                    .map_or(0, |on| on.iter().filter(counts).count());
                living.push((rank(replica, node.is_some(), neighbours, now.0), living_one, replica.revision));
            }
        }
        living.sort_by(|a, b| a.0.cmp(&b.0));
        let mut surplus: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, _, revision) in &living {
            *surplus.entry(*revision).or_default() += 1;
        }
        for set in &deployment.sets {
            surplus.entry(set.revision).and_modify(|living| *living = living.saturating_sub(set.spec));
        }
        let present = deployment.sets.last().map_or(0, |set| set.revision);
        for living_one in of.iter() {
            let Ok((mut replica, ..)) = replicas.get_mut(living_one) else { continue };
            let old = replica.standby.is_some() && replica.revision != present;
            if old && replica.deleted.is_none() {
                replica.deleted = Some(now.0);
                changes.0.push(Change::Deleted { replica: replica.id, deployment: deployment.place });
            }
        }
        for (_, entity, revision) in living {
            let Some(left) = surplus.get_mut(&revision).filter(|left| **left > 0) else { continue };
            if let Ok((mut replica, ..)) = replicas.get_mut(entity) {
                *left -= 1;
                replica.deleted = Some(now.0);
                changes.0.push(Change::Deleted { replica: replica.id, deployment: deployment.place });
            }
        }
    }
}

fn rank(replica: &Replica, has_node: bool, neighbours: usize, now: Time) -> Rank {
    Rank {
        has_node: has_node || replica.bound.is_some(),
        is_ready: replica.ready.is_some(),
        neighbours: Reverse(neighbours),
        ready_for: replica.ready.map_or(0, |since| magnitude(now.since(since).as_nanos())),
        created: Reverse((replica.created, replica.id)),
    }
}

/// Creates replicas that are missing, and then those that stand by.
fn create_missing(
    mut commands: Commands,
    now: Res<Now>,
    mut index: ResMut<Index>,
    settings: Res<Settings>,
    mut deployments: Query<(&mut Deployment, Option<&DeploymentReplicas>)>,
    replicas: Query<&Replica>,
    mut changes: ResMut<Changes>,
) {
    for entity in index.deployments.clone() {
        let Ok((mut deployment, of)) = deployments.get_mut(entity) else { continue };
        let mut missing: Vec<(u32, Option<Standby>)> = Vec::new();
        let standby = settings.deployments[deployment.place].standby.as_ref();
        for set in &deployment.sets {
            let living = |stands_by: bool| {
                let counts = |entity: &Entity| {
                    replicas.get(*entity).is_ok_and(|replica| {
                        replica.deleted.is_none()
                            && replica.revision == set.revision
                            && replica.standby.is_some() == stands_by
                    })
                };
                of.map_or(0, |of| of.iter().filter(counts).count())
            };
            missing.extend((living(false)..set.spec).map(|_| (set.revision, None)));
            if let (Some(standby), Some(last)) = (standby, deployment.sets.last())
                && last.revision == set.revision
            {
                let starting = (set.revision, Some(Standby::Starting));
                missing.extend((living(true)..standby.replicas as usize).map(|_| starting));
            }
        }
        for (revision, standby) in missing {
            let id = ReplicaId(index.next_replica);
            index.next_replica += 1;
            let replica = Replica {
                id,
                ordinal: deployment.created,
                revision,
                created: now.0,
                bound: None,
                ready: None,
                unready: None,
                deleted: None,
                requests: deployment.requests.clone(),
                nominated: None,
                standby,
                called: None,
            };
            deployment.created += 1;
            let created = commands.spawn((replica, OfDeployment(entity))).id();
            index.replicas.insert(id, created);
            index.pending.insert(id, created);
            changes.0.push(Change::Created { replica: id, deployment: deployment.place });
        }
    }
}

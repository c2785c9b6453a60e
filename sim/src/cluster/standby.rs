//! Replicas that stand by: started and loaded like the others, without requests until one more is wanted.

use bevy_ecs::prelude::*;
use scaletwin_core::random::Law;
use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::entities::{Deployment, DeploymentReplicas, Node, OnNode, Replica, ReplicaId};
use super::lifecycle::{Change, Changes, Index, Now, Settings};

/// Replicas that stand by, beyond those that are wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StandbySettings {
    /// How many.
    pub replicas: u32,
    /// From the call of one that is loaded to its taking requests, seconds.
    pub wake: Law,
}

/// How far a replica that stands by has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standby {
    /// It is loaded.
    Loaded,
    /// It starts, or waits for a node.
    Starting,
}

/// Which of several is called first: one that is loaded, then one that has its node, and of these the oldest.
fn turn(state: Standby, replica: &Replica) -> (Standby, bool, Time, ReplicaId) {
    (state, replica.bound.is_none(), replica.created, replica.id)
}

/// Calls replicas that stand by where one more is wanted, but for those on nodes that are known to have failed.
pub(super) fn call_standby(
    now: Res<Now>,
    index: Res<Index>,
    settings: Res<Settings>,
    deployments: Query<(&Deployment, Option<&DeploymentReplicas>)>,
    mut replicas: Query<(&mut Replica, Option<&OnNode>)>,
    nodes: Query<&Node>,
    mut changes: ResMut<Changes>,
) {
    for entity in &index.deployments {
        let Ok((deployment, Some(of))) = deployments.get(*entity) else { continue };
        if settings.deployments[deployment.place].standby.is_none() {
            continue;
        }
        for set in &deployment.sets {
            let (mut serving, mut waiting) = (0, Vec::new());
            for one in of.iter() {
                let Ok((replica, on)) = replicas.get(one) else { continue };
                let lost = on.and_then(|on| nodes.get(on.0).ok()).is_some_and(|node| node.unready.is_some());
                match replica.standby {
                    _ if replica.deleted.is_some() || replica.revision != set.revision => {}
                    None => serving += 1,
                    Some(state) if !lost => waiting.push((turn(state, replica), one)),
                    Some(_) => {}
                }
            }
            waiting.sort_unstable_by_key(|(turn, _)| *turn);
            for (_, one) in waiting.into_iter().take(set.spec.saturating_sub(serving)) {
                let Ok((mut replica, _)) = replicas.get_mut(one) else { continue };
                let loaded = replica.standby.take() == Some(Standby::Loaded);
                replica.called = Some(now.0);
                let (replica, deployment) = (replica.id, deployment.place);
                changes.0.push(Change::Called { replica, deployment, loaded });
            }
        }
    }
}

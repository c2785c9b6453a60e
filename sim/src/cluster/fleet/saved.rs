//! The fleet as plain data.

use bevy_ecs::prelude::*;
use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::Fleet;
use crate::cluster::entities::{Deployment, InPool, Node, NodeId, OfDeployment, OnNode, Replica};
use crate::cluster::ledger::Account;
use crate::cluster::lifecycle::Index;
use crate::cluster::settings::{ClusterSettings, DeploymentSettings};

/// The fleet as plain data, from which it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedFleet {
    deployments: Vec<Deployment>,
    /// Each node with the place of its pool.
    nodes: Vec<(Node, usize)>,
    /// Each replica with the place of its deployment and its node.
    replicas: Vec<(Replica, usize, Option<NodeId>)>,
    next_replica: u32,
    next_node: u32,
    /// Nodes that each pool has launched.
    launches: Vec<u32>,
    stock_outs: Vec<Option<Time>>,
    accounts: Vec<Account>,
}

impl Fleet {
    /// The fleet as plain data.
    #[must_use]
    pub fn save(&self) -> SavedFleet {
        let index = self.index();
        let node_of = |entity: Entity| {
            let node = self.world.get::<OnNode>(entity)?.0;
            Some(self.world.get::<Node>(node)?.id)
        };
        let replicas = index.replicas.values().filter_map(|entity| {
            let of = self.world.get::<OfDeployment>(*entity)?.0;
            let place = self.world.get::<Deployment>(of)?.place;
            Some((self.world.get::<Replica>(*entity)?.clone(), place, node_of(*entity)))
        });
        let nodes = index
            .nodes
            .values()
            .filter_map(|e| Some((self.world.get::<Node>(*e)?.clone(), self.pool_of(*e))));
        SavedFleet {
            deployments: (0..index.deployments.len())
                .map(|place| self.deployment_entity(place).clone())
                .collect(),
            nodes: nodes.collect(),
            replicas: replicas.collect(),
            next_replica: index.next_replica,
            next_node: index.next_node,
            launches: index.launches.clone(),
            stock_outs: index.stock_outs.clone(),
            accounts: self.accounts.clone(),
        }
    }

    /// The fleet that was saved.
    #[must_use]
    pub fn restore(
        clusters: &[ClusterSettings],
        deployments: &[DeploymentSettings],
        saved: &SavedFleet,
    ) -> Fleet {
        let mut fleet = Fleet::empty(clusters, deployments);
        fleet.accounts.clone_from(&saved.accounts);
        for deployment in &saved.deployments {
            let entity = fleet.index().deployments[deployment.place];
            fleet.world.entity_mut(entity).insert(deployment.clone());
        }
        for (node, pool) in &saved.nodes {
            let pool = fleet.index().pools[*pool];
            let entity = fleet.world.spawn((node.clone(), InPool(pool))).id();
            fleet.world.resource_mut::<Index>().nodes.insert(node.id, entity);
        }
        for (replica, place, node) in &saved.replicas {
            let of = fleet.index().deployments[*place];
            let entity = fleet.world.spawn((replica.clone(), OfDeployment(of))).id();
            if let Some(node) = node.and_then(|id| fleet.index().nodes.get(&id).copied()) {
                fleet.world.entity_mut(entity).insert(OnNode(node));
            }
            let mut index = fleet.world.resource_mut::<Index>();
            index.replicas.insert(replica.id, entity);
            if replica.bound.is_none() {
                index.pending.insert(replica.id, entity);
            }
        }
        let mut index = fleet.world.resource_mut::<Index>();
        (index.next_replica, index.next_node) = (saved.next_replica, saved.next_node);
        index.launches.clone_from(&saved.launches);
        index.stock_outs.clone_from(&saved.stock_outs);
        fleet
    }
}

//! Nodes of the fleet: launched, found by name, taken out of scheduling, given back.

use bevy_ecs::prelude::*;
use scaletwin_core::control::Resources;
use scaletwin_core::units::Time;

use super::{Fleet, Refusal};
use crate::cluster::entities::{
    InPool, Node, NodeId, NodeReplicas, OnNode, Pool, PoolNodes, Replica, ReplicaId,
};
use crate::cluster::lifecycle::Index;

impl Fleet {
    pub(super) fn pool_of(&self, node: Entity) -> usize {
        let pool = self.world.get::<InPool>(node).map(|pool| pool.0);
        pool.and_then(|pool| self.world.get::<Pool>(pool)).map_or(0, |pool| pool.place)
    }

    /// The place of the pool that a replica runs in, if it runs in one.
    #[must_use]
    pub fn pool_of_replica(&self, id: ReplicaId) -> Option<usize> {
        let node = self.world.get::<OnNode>(self.replica_entity(id)?)?.0;
        Some(self.pool_of(node))
    }

    /// The node that a replica runs on, if it runs on one.
    #[must_use]
    pub fn node_of(&self, id: ReplicaId) -> Option<NodeId> {
        let node = self.world.get::<OnNode>(self.replica_entity(id)?)?.0;
        Some(self.world.get::<Node>(node)?.id)
    }

    /// The place of the cluster of the pool at this place.
    #[must_use]
    pub fn cluster_of_pool(&self, pool: usize) -> usize {
        self.settings().pools[pool].0
    }

    pub(super) fn add_node(&mut self, pool: usize, now: Time) -> NodeId {
        let entity = self.index().pools[pool];
        let (name, free) = {
            let settings = &self.settings().pools[pool].1;
            (settings.name.clone(), settings.allocatable)
        };
        let mut index = self.world.resource_mut::<Index>();
        let id = NodeId(index.next_node);
        index.next_node += 1;
        let ordinal = index.launches[pool];
        index.launches[pool] += 1;
        let name = format!("{name}-{}", id.0);
        let node = Node {
            id,
            name,
            launched: now,
            ready: None,
            cordoned: false,
            ordinal,
            reclaim: None,
            failed: None,
            unready: None,
            returns: 0,
            free,
        };
        let node = self.world.spawn((node, InPool(entity))).id();
        self.world.resource_mut::<Index>().nodes.insert(id, node);
        self.accounts[pool].launched(now);
        id
    }

    /// The pool of this name in the cluster of this name.
    #[must_use]
    pub fn find_pool(&self, cluster: &str, name: &str) -> Option<usize> {
        let pools = &self.settings().pools;
        pools.iter().position(|(place, pool)| self.clusters[*place] == cluster && pool.name == name)
    }

    /// Whether a pool may have so many nodes more.
    ///
    /// # Errors
    /// When it may not.
    pub fn check_room(&self, pool: usize, count: u32) -> Result<(), Refusal> {
        let settings = &self.settings().pools[pool].1;
        let (name, most, now) = (&settings.name, settings.max_nodes, self.accounts[pool].nodes());
        if now + u64::from(count) > u64::from(most) {
            return Err(format!(
                "pool {name} has {now} nodes and may have {most}: {count} more are too many"
            ));
        }
        Ok(())
    }

    /// Launches a node of a pool. It is ready after its provisioning. Gives its number among all nodes, and how many the
    /// pool had launched before it.
    ///
    /// # Errors
    /// When the pool has as many nodes as it may, or the provider has no capacity.
    pub fn launch(&mut self, pool: usize, now: Time) -> Result<(NodeId, u32), Refusal> {
        self.check_room(pool, 1)?;
        let available = self.settings().pools[pool].1.spot.as_ref().and_then(|spot| spot.available_at(now));
        if available.is_some_and(|available| self.kept_nodes(pool).len() >= available as usize) {
            self.note_stock_out(pool, now);
            return Err(format!("the provider has no capacity for {}", self.settings().pools[pool].1.name));
        }
        self.check_quota(pool).inspect_err(|_| self.note_stock_out(pool, now))?;
        let before = self.index().launches[pool];
        Ok((self.add_node(pool, now), before))
    }

    /// Whether one more node of a pool is within the quota of its cluster.
    fn check_quota(&self, pool: usize) -> Result<(), Refusal> {
        let cluster = self.settings().pools[pool].0;
        let mut used = Resources::default();
        for (account, (of, settings)) in self.accounts.iter().zip(&self.settings().pools) {
            for _ in (0..account.nodes()).filter(|_| *of == cluster) {
                used = used.plus(&settings.whole());
            }
        }
        let settings = &self.settings().pools[pool].1;
        let more = settings.whole();
        self.quotas[cluster].check(&used, &more).map_err(|why| format!("quota for {}: {why}", settings.name))
    }

    /// The nodes of a pool that the provider has not said to take back, oldest first.
    fn kept_nodes(&self, pool: usize) -> Vec<NodeId> {
        let of = self.world.get::<PoolNodes>(self.index().pools[pool]);
        let nodes = of.iter().flat_map(|of| of.iter()).filter_map(|node| self.world.get::<Node>(node));
        let mut kept: Vec<NodeId> = nodes.filter(|node| node.reclaim.is_none()).map(|node| node.id).collect();
        kept.sort_unstable();
        kept
    }

    /// The nodes of a pool that the provider has no capacity for any more: the youngest.
    #[must_use]
    pub fn beyond_capacity(&self, pool: usize, now: Time) -> Vec<NodeId> {
        let kept = self.kept_nodes(pool);
        let available = self.settings().pools[pool].1.spot.as_ref().and_then(|spot| spot.available_at(now));
        available.map_or(Vec::new(), |available| kept.into_iter().skip(available as usize).collect())
    }

    /// Whether a node that is there takes no more pods, because somebody has cordoned it.
    #[must_use]
    pub fn is_cordoned(&self, id: NodeId) -> bool {
        let node = self.index().nodes.get(&id).and_then(|entity| self.world.get::<Node>(*entity));
        node.is_some_and(|node| node.cordoned)
    }

    /// The nodes of a pool that are ready, and that the provider has not said to take back, each with its number within the
    /// pool.
    #[must_use]
    pub fn open_to_shocks(&self, pool: usize) -> Vec<(NodeId, u32)> {
        let nodes = self.kept_nodes(pool).into_iter().filter_map(|id| {
            let node = self.world.get::<Node>(*self.index().nodes.get(&id)?)?;
            node.ready.is_some().then_some((id, node.ordinal))
        });
        nodes.collect()
    }

    /// The provider says that it takes a node back at `at`: it takes no more pods. Its name, unless it is gone or was told
    /// before.
    pub fn tell(&mut self, id: NodeId, at: Time) -> Option<String> {
        let entity = self.index().nodes.get(&id).copied()?;
        let mut node = self.world.get_mut::<Node>(entity).filter(|node| node.reclaim.is_none())?;
        (node.cordoned, node.reclaim) = (true, Some(at));
        Some(node.name.clone())
    }

    /// The provider takes a node back: counts it. Its name, unless it is gone.
    pub fn interrupt(&mut self, id: NodeId) -> Option<String> {
        let entity = self.index().nodes.get(&id).copied()?;
        let pool = self.pool_of(entity);
        self.accounts[pool].interrupted();
        Some(self.world.get::<Node>(entity)?.name.clone())
    }

    /// The number of the node of this name, unless it is gone.
    #[must_use]
    pub fn node_id(&self, name: &str) -> Option<NodeId> {
        Some(self.world.get::<Node>(self.find_node(name).ok()?)?.id)
    }

    /// The name of a node, unless it is gone.
    #[must_use]
    pub fn node_name(&self, id: NodeId) -> Option<String> {
        Some(self.world.get::<Node>(*self.index().nodes.get(&id)?)?.name.clone())
    }

    /// The place of a node's pool, and its number within it.
    #[must_use]
    pub fn place_of_node(&self, id: NodeId) -> Option<(usize, u32)> {
        let entity = self.index().nodes.get(&id).copied()?;
        Some((self.pool_of(entity), self.world.get::<Node>(entity)?.ordinal))
    }

    /// All nodes, each with the place of its pool and its number within it.
    #[must_use]
    pub fn nodes(&self) -> Vec<(NodeId, usize, u32)> {
        let nodes = self.index().nodes.iter();
        nodes
            .filter_map(|(id, e)| Some((*id, self.pool_of(*e), self.world.get::<Node>(*e)?.ordinal)))
            .collect()
    }

    /// A node fails: its name, and whether it was ready; unless it is gone or has failed before.
    pub fn fail_node(&mut self, id: NodeId, now: Time) -> Option<(String, bool)> {
        let entity = self.index().nodes.get(&id).copied()?;
        let pool = self.pool_of(entity);
        let mut node = self.world.get_mut::<Node>(entity).filter(|node| node.failed.is_none())?;
        node.failed = Some(now);
        let failed = (node.name.clone(), node.ready.is_some());
        self.accounts[pool].failed();
        Some(failed)
    }

    /// The cluster finds out that a node has failed: it takes no more pods, and its replicas are not ready. Its name,
    /// unless it is gone.
    pub fn node_unready(&mut self, id: NodeId, now: Time) -> Option<String> {
        let entity = self.index().nodes.get(&id).copied()?;
        for replica in self.replicas_at(entity) {
            let found = self.replica_entity(replica).and_then(|found| self.world.get_mut::<Replica>(found));
            if let Some(mut replica) = found.filter(|replica| replica.ready.is_some()) {
                (replica.ready, replica.unready) = (None, Some(now));
            }
        }
        let mut node = self.world.get_mut::<Node>(entity)?;
        node.unready = Some(now);
        Some(node.name.clone())
    }

    /// A node that had failed works again: its name, if it had.
    pub fn node_returns(&mut self, id: NodeId) -> Option<String> {
        let entity = self.index().nodes.get(&id).copied()?;
        let mut node = self.world.get_mut::<Node>(entity).filter(|node| node.failed.is_some())?;
        (node.failed, node.unready, node.returns) = (None, None, node.returns + 1);
        Some(node.name.clone())
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.world.get::<Node>(*self.index().nodes.get(&id)?)
    }

    /// How often a node has come back from a failure.
    #[must_use]
    pub fn returns_of(&self, id: NodeId) -> u32 {
        self.node(id).map_or(0, |node| node.returns)
    }

    /// When a node failed, if it has.
    #[must_use]
    pub fn failed_at(&self, id: NodeId) -> Option<Time> {
        self.node(id)?.failed
    }

    /// Since when the cluster knows that a node has failed.
    #[must_use]
    pub fn unready_since(&self, id: NodeId) -> Option<Time> {
        self.node(id)?.unready
    }

    /// Whether a node answers, as far as the cluster knows; `None` if it has never been ready.
    #[must_use]
    pub fn answers(&self, id: NodeId) -> Option<bool> {
        self.node(id).filter(|node| node.ready.is_some()).map(|node| node.unready.is_none())
    }

    /// Whether the node that a replica is on has failed.
    #[must_use]
    pub fn has_failed(&self, id: ReplicaId) -> bool {
        let node = self.replica_entity(id).and_then(|replica| self.world.get::<OnNode>(replica));
        let node = node.and_then(|on| self.world.get::<Node>(on.0));
        node.is_some_and(|node| node.failed.is_some())
    }

    /// The nodes of a pool that have not failed, those on their way included, oldest first, each with its number within the
    /// pool.
    #[must_use]
    pub fn working_nodes(&self, pool: usize) -> Vec<(NodeId, u32)> {
        let of = self.world.get::<PoolNodes>(self.index().pools[pool]);
        let nodes = of.iter().flat_map(|of| of.iter()).filter_map(|node| self.world.get::<Node>(node));
        let mut working: Vec<(NodeId, u32)> =
            nodes.filter(|node| node.failed.is_none()).map(|node| (node.id, node.ordinal)).collect();
        working.sort_unstable();
        working
    }

    /// The provider refuses a launch in a pool for want of capacity.
    pub fn note_stock_out(&mut self, pool: usize, now: Time) {
        self.world.resource_mut::<Index>().stock_outs[pool] = Some(now);
    }

    /// A node takes pods, unless it is gone or has failed. Whether it does.
    pub fn node_ready(&mut self, id: NodeId, now: Time) -> bool {
        let Some(entity) = self.index().nodes.get(&id).copied() else { return false };
        match self.world.get_mut::<Node>(entity) {
            Some(mut node) if node.failed.is_none() => {
                node.ready = Some(now);
                true
            }
            _ => false,
        }
    }

    /// The node of this name, which ends with its number.
    fn find_node(&self, name: &str) -> Result<Entity, Refusal> {
        let number = name.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        let entity = number.and_then(|number| self.index().nodes.get(&NodeId(number)).copied());
        let is_it = |entity: &Entity| self.world.get::<Node>(*entity).is_some_and(|node| node.name == name);
        entity.filter(is_it).ok_or_else(|| format!("there is no node {name}"))
    }

    /// The replicas on a node, in the order of creation.
    pub(super) fn replicas_at(&self, node: Entity) -> Vec<ReplicaId> {
        let on = self.world.get::<NodeReplicas>(node);
        let replicas = on.iter().flat_map(|on| on.iter());
        let mut ids: Vec<ReplicaId> =
            replicas.filter_map(|replica| Some(self.world.get::<Replica>(replica)?.id)).collect();
        ids.sort_unstable();
        ids
    }

    /// The replicas on a node, in the order of creation.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn replicas_on(&self, name: &str) -> Result<Vec<ReplicaId>, Refusal> {
        Ok(self.replicas_at(self.find_node(name)?))
    }

    /// The name of the node that a replica runs on, if it runs on one.
    #[must_use]
    pub fn node_name_of(&self, id: ReplicaId) -> Option<&str> {
        let node = self.world.get::<OnNode>(self.replica_entity(id)?)?.0;
        Some(&self.world.get::<Node>(node)?.name)
    }

    /// Takes a node out of scheduling.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn cordon(&mut self, name: &str) -> Result<(), Refusal> {
        let entity = self.find_node(name)?;
        if let Some(mut node) = self.world.get_mut::<Node>(entity) {
            node.cordoned = true;
        }
        Ok(())
    }

    /// Whether the provider has said that it takes a node back.
    #[must_use]
    pub fn is_told(&self, id: NodeId) -> bool {
        let entity = self.index().nodes.get(&id);
        entity.and_then(|entity| self.world.get::<Node>(*entity)).is_some_and(|node| node.reclaim.is_some())
    }

    /// Lets a node take pods again, unless it is gone or the provider takes it back.
    pub fn uncordon(&mut self, name: &str) {
        let Ok(entity) = self.find_node(name) else { return };
        if let Some(mut node) = self.world.get_mut::<Node>(entity).filter(|node| node.reclaim.is_none()) {
            node.cordoned = false;
        }
    }

    /// Gives a node back. Its replicas have been removed before. Its number.
    ///
    /// # Errors
    /// When there is no such node.
    ///
    /// # Panics
    /// When replicas are still on it.
    pub fn delete_node(&mut self, name: &str, now: Time) -> Result<NodeId, Refusal> {
        let entity = self.find_node(name)?;
        let on = self.world.get::<NodeReplicas>(entity).map_or(0, |on| on.iter().count());
        assert_eq!(on, 0, "a node is given back with replicas on it");
        let pool = self.pool_of(entity);
        let node = self.world.get::<Node>(entity).cloned().expect("a node that was found");
        self.accounts[pool].deleted(now, node.launched);
        self.world.resource_mut::<Index>().nodes.remove(&node.id);
        self.world.despawn(entity);
        Ok(node.id)
    }
}

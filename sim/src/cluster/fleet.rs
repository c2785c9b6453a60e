//! The fleet behind one door.

use std::sync::Arc;

use bevy_ecs::prelude::*;
use scaletwin_core::control::{
    Bounds, ConditionStatus, NodeView, NodesView, Offer, PendingPod, PlacedPod, PodPhase, PodView,
    ReadyCondition, TargetName, TargetView,
};
use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::entities::{
    Deployment, DeploymentReplicas, InPool, Node, NodeId, NodeReplicas, OfDeployment, OnNode, Pool, Replica,
    ReplicaId,
};
use super::ledger::Account;
use super::lifecycle::{Change, Changes, Index, Now, Settings, schedule, share_of_node};
use super::rollout::ReplicaSet;
use super::settings::{ClusterSettings, DeploymentSettings, PoolSettings};

/// The modelled fleet.
pub struct Fleet {
    world: World,
    schedule: Schedule,
    clusters: Vec<String>,
    accounts: Vec<Account>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("clusters", &self.clusters).finish_non_exhaustive()
    }
}

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

/// Why something cannot be done.
pub type Refusal = String;

impl Fleet {
    /// The fleet at the start: the fewest nodes of each pool are ready, and no replica is there yet.
    #[must_use]
    pub fn new(clusters: &[ClusterSettings], deployments: &[DeploymentSettings]) -> Fleet {
        let mut fleet = Fleet::empty(clusters, deployments);
        let fewest: Vec<u32> = fleet.settings().pools.iter().map(|(_, pool)| pool.min_nodes).collect();
        for (pool, nodes) in fewest.into_iter().enumerate() {
            for _ in 0..nodes {
                let id = fleet.add_node(pool, Time::ZERO);
                fleet.node_ready(id, Time::ZERO);
            }
        }
        for (place, settings) in deployments.iter().enumerate() {
            fleet.set_wanted(place, settings.replicas);
        }
        fleet
    }

    fn empty(clusters: &[ClusterSettings], deployments: &[DeploymentSettings]) -> Fleet {
        let mut world = World::new();
        let pools: Vec<(usize, PoolSettings)> = clusters
            .iter()
            .enumerate()
            .flat_map(|(place, cluster)| cluster.pools.iter().map(move |pool| (place, pool.clone())))
            .collect();
        let mut index = Index::default();
        for place in 0..pools.len() {
            index.pools.push(world.spawn(Pool { place }).id());
            index.launches.push(0);
            index.stock_outs.push(None);
        }
        for place in 0..deployments.len() {
            let deployment = Deployment {
                place,
                wanted: 0,
                created: 0,
                bounds: Bounds::default(),
                sets: vec![ReplicaSet { revision: 0, spec: 0 }],
                in_line_with: 0,
            };
            index.deployments.push(world.spawn(deployment).id());
        }
        let account =
            |pool: &PoolSettings| Account::new(deployments.len(), pool.price_usd_per_hour, pool.billing);
        let accounts = pools.iter().map(|(_, pool)| account(pool)).collect();
        world.insert_resource(index);
        world.insert_resource(Settings { deployments: deployments.to_vec(), pools });
        world.insert_resource(Now::default());
        world.insert_resource(Changes::default());
        let clusters = clusters.iter().map(|cluster| cluster.name.clone()).collect();
        Fleet { world, schedule: schedule(), clusters, accounts }
    }

    fn settings(&self) -> &Settings {
        self.world.resource::<Settings>()
    }

    fn index(&self) -> &Index {
        self.world.resource::<Index>()
    }

    /// The settings of a deployment.
    #[must_use]
    pub fn deployment(&self, place: usize) -> &DeploymentSettings {
        &self.settings().deployments[place]
    }

    /// The settings of a pool, with the name of its cluster.
    #[must_use]
    pub fn pool(&self, place: usize) -> (&str, &PoolSettings) {
        let (cluster, pool) = &self.settings().pools[place];
        (&self.clusters[*cluster], pool)
    }

    /// The account of each pool.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// From `now` on a node of a pool costs so much.
    pub fn reprice(&mut self, pool: usize, now: Time, usd_per_hour: f64) {
        self.accounts[pool].reprice(now, usd_per_hour);
    }

    /// Forgets what was billed before `now`.
    pub fn reopen_accounts(&mut self, now: Time) {
        self.accounts.iter_mut().for_each(|account| account.reopen(now));
    }

    // ---- deployments and replicas ----

    fn deployment_entity(&self, place: usize) -> &Deployment {
        let entity = self.index().deployments[place];
        self.world.get::<Deployment>(entity).expect("a deployment is never removed")
    }

    /// Replicas wanted of a deployment.
    #[must_use]
    pub fn wanted(&self, place: usize) -> i32 {
        self.deployment_entity(place).wanted
    }

    /// Wants so many replicas of a deployment. They come and go with the next [`Fleet::settle`].
    pub fn set_wanted(&mut self, place: usize, replicas: i32) {
        let entity = self.index().deployments[place];
        if let Some(mut deployment) = self.world.get_mut::<Deployment>(entity) {
            deployment.wanted = replicas;
        }
    }

    /// Begins a rollout: replicas of a new revision take the place of those there are, with the next [`Fleet::settle`]s.
    pub fn roll_out(&mut self, place: usize) {
        let entity = self.index().deployments[place];
        if let Some(mut deployment) = self.world.get_mut::<Deployment>(entity) {
            let revision = deployment.sets.last().map_or(0, |set| set.revision + 1);
            deployment.sets.push(ReplicaSet { revision, spec: 0 });
        }
    }

    /// Whether a rollout of a deployment is under way.
    #[must_use]
    pub fn is_rolling(&self, place: usize) -> bool {
        self.deployment_entity(place).sets.len() > 1
    }

    /// Bounds what may be wanted of a deployment.
    pub fn set_bounds(&mut self, place: usize, bounds: Bounds) {
        let entity = self.index().deployments[place];
        if let Some(mut deployment) = self.world.get_mut::<Deployment>(entity) {
            deployment.bounds = bounds;
        }
    }

    /// Lets replicas come, go and find nodes. Gives what changed.
    pub fn settle(&mut self, now: Time) -> Vec<Change> {
        self.world.insert_resource(Now(now));
        self.schedule.run(&mut self.world);
        let changes = std::mem::take(&mut self.world.resource_mut::<Changes>().0);
        for change in &changes {
            if let Change::Bound { deployment, held: Some((pool, parts)), .. } = change {
                self.accounts[*pool].take(now, *deployment, *parts);
            }
        }
        changes
    }

    fn replica_entity(&self, id: ReplicaId) -> Option<Entity> {
        self.index().replicas.get(&id).copied()
    }

    /// A replica, if it is there.
    #[must_use]
    pub fn replica(&self, id: ReplicaId) -> Option<&Replica> {
        self.world.get::<Replica>(self.replica_entity(id)?)
    }

    /// The place of the deployment that a replica belongs to.
    #[must_use]
    pub fn deployment_of(&self, id: ReplicaId) -> Option<usize> {
        let of = self.world.get::<OfDeployment>(self.replica_entity(id)?)?.0;
        Some(self.world.get::<Deployment>(of)?.place)
    }

    /// The name of a replica.
    #[must_use]
    pub fn replica_name(&self, id: ReplicaId) -> Option<String> {
        let entity = self.replica_entity(id)?;
        let place = self.world.get::<Deployment>(self.world.get::<OfDeployment>(entity)?.0)?.place;
        let ordinal = self.world.get::<Replica>(entity)?.ordinal;
        Some(self.deployment(place).pod_name(ordinal))
    }

    /// A replica is ready, unless it is gone or being deleted. Whether it is.
    pub fn replica_ready(&mut self, id: ReplicaId, now: Time) -> bool {
        let Some(entity) = self.replica_entity(id) else { return false };
        match self.world.get_mut::<Replica>(entity) {
            Some(mut replica) if replica.deleted.is_none() => {
                replica.ready = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Lets a replica go that was not chosen by its deployment: a new one takes its place. Whether it was there.
    pub fn evict(&mut self, id: ReplicaId, now: Time) -> bool {
        let Some(entity) = self.replica_entity(id) else { return false };
        match self.world.get_mut::<Replica>(entity) {
            Some(mut replica) if replica.deleted.is_none() => {
                replica.deleted = Some(now);
                true
            }
            _ => false,
        }
    }

    /// A replica is gone: its node has room again.
    pub fn remove_replica(&mut self, id: ReplicaId, now: Time) {
        let Some(entity) = self.replica_entity(id) else { return };
        let of = self.world.get::<OfDeployment>(entity).map(|of| of.0);
        let place =
            of.and_then(|of| self.world.get::<Deployment>(of)).map_or(0, |deployment| deployment.place);
        if let Some(node) = self.world.get::<OnNode>(entity).map(|on| on.0) {
            let requests = self.deployment(place).requests;
            let pool = self.pool_of(node);
            let parts = share_of_node(&requests, &self.settings().pools[pool].1.allocatable);
            self.accounts[pool].give(now, place, parts);
            if let Some(mut node) = self.world.get_mut::<Node>(node) {
                node.free = node.free.plus(&requests);
            }
        }
        self.world.despawn(entity);
        let mut index = self.world.resource_mut::<Index>();
        index.replicas.remove(&id);
        index.pending.remove(&id);
    }

    /// Replicas of all deployments, those being deleted included, in the order of creation.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaId> {
        self.index().replicas.keys().copied().collect()
    }

    /// How many replicas wait for a node.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.index().pending.len()
    }

    /// How many replicas wait for a node of the cluster at this place.
    #[must_use]
    pub fn pending_in(&self, cluster: usize) -> usize {
        let there = |id: &ReplicaId| {
            let place = self.deployment_of(*id);
            place.is_some_and(|place| self.deployment(place).cluster == Some(cluster))
        };
        self.index().pending.keys().filter(|id| there(id)).count()
    }

    // ---- nodes ----

    fn pool_of(&self, node: Entity) -> usize {
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

    fn add_node(&mut self, pool: usize, now: Time) -> NodeId {
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
        let node =
            Node { id, name, launched: now, ready: None, cordoned: false, ordinal, reclaim: None, free };
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
            self.world.resource_mut::<Index>().stock_outs[pool] = Some(now);
            return Err(format!("the provider has no capacity for {}", self.settings().pools[pool].1.name));
        }
        let before = self.index().launches[pool];
        Ok((self.add_node(pool, now), before))
    }

    /// The nodes of a pool that the provider has not said to take back, oldest first.
    fn kept_nodes(&self, pool: usize) -> Vec<NodeId> {
        let kept = self.index().nodes.iter().filter(|(_, entity)| {
            self.pool_of(**entity) == pool
                && self.world.get::<Node>(**entity).is_some_and(|node| node.reclaim.is_none())
        });
        kept.map(|(id, _)| *id).collect()
    }

    /// The nodes of a pool that the provider has no capacity for any more: the youngest.
    #[must_use]
    pub fn beyond_capacity(&self, pool: usize, now: Time) -> Vec<NodeId> {
        let kept = self.kept_nodes(pool);
        let available = self.settings().pools[pool].1.spot.as_ref().and_then(|spot| spot.available_at(now));
        available.map_or(Vec::new(), |available| kept.into_iter().skip(available as usize).collect())
    }

    /// The provider says that it takes a node back at `at`: it takes no more pods. Its name, unless it is gone or was told
    /// before.
    pub fn tell(&mut self, id: NodeId, at: Time) -> Option<String> {
        let entity = self.index().nodes.get(&id).copied()?;
        let mut node = self.world.get_mut::<Node>(entity).filter(|node| node.reclaim.is_none())?;
        (node.cordoned, node.reclaim) = (true, Some(at));
        Some(node.name.clone())
    }

    /// Whether the provider has said that it takes a node back.
    #[must_use]
    pub fn is_told(&self, id: NodeId) -> bool {
        let entity = self.index().nodes.get(&id);
        entity.and_then(|entity| self.world.get::<Node>(*entity)).is_some_and(|node| node.reclaim.is_some())
    }

    /// The provider takes a node back: counts it. Its name, unless it is gone.
    pub fn interrupt(&mut self, id: NodeId) -> Option<String> {
        let entity = self.index().nodes.get(&id).copied()?;
        let pool = self.pool_of(entity);
        self.accounts[pool].interrupted();
        Some(self.world.get::<Node>(entity)?.name.clone())
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

    /// A node takes pods, unless it is gone. Whether it does.
    pub fn node_ready(&mut self, id: NodeId, now: Time) -> bool {
        let Some(entity) = self.index().nodes.get(&id).copied() else { return false };
        match self.world.get_mut::<Node>(entity) {
            Some(mut node) => {
                node.ready = Some(now);
                true
            }
            None => false,
        }
    }

    fn find_node(&self, name: &str) -> Result<Entity, Refusal> {
        let mut nodes = self.index().nodes.values();
        let found =
            nodes.find(|entity| self.world.get::<Node>(**entity).is_some_and(|node| node.name == name));
        found.copied().ok_or_else(|| format!("there is no node {name}"))
    }

    /// The replicas on a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn replicas_on(&self, name: &str) -> Result<Vec<ReplicaId>, Refusal> {
        let node = self.find_node(name)?;
        let on = self.world.get::<NodeReplicas>(node);
        let entities = on.iter().flat_map(|on| on.iter());
        let mut ids: Vec<_> =
            entities.filter_map(|entity| Some(self.world.get::<Replica>(entity)?.id)).collect();
        ids.sort_unstable();
        Ok(ids)
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

    // ---- what controllers see ----

    /// The place of a target.
    #[must_use]
    pub fn find_target(&self, name: &TargetName) -> Option<usize> {
        self.settings().deployments.iter().position(|deployment| deployment.target == *name)
    }

    /// The replicas of a deployment in the order of creation, those being deleted included.
    #[must_use]
    pub fn replicas_of(&self, place: usize) -> Vec<&Replica> {
        let of = self.world.get::<DeploymentReplicas>(self.index().deployments[place]);
        let mut replicas: Vec<&Replica> = of
            .iter()
            .flat_map(|of| of.iter())
            .filter_map(|entity| self.world.get::<Replica>(entity))
            .collect();
        replicas.sort_unstable_by_key(|replica| replica.id);
        replicas
    }

    /// A scale target as the Kubernetes API shows it.
    #[must_use]
    pub fn target_view(&self, place: usize) -> TargetView {
        let settings = self.deployment(place);
        let deployment = self.deployment_entity(place);
        let replicas = self.replicas_of(place);
        let count = |holds: fn(&Replica) -> bool| {
            i32::try_from(replicas.iter().filter(|replica| holds(replica)).count()).unwrap_or(i32::MAX)
        };
        TargetView {
            name: settings.target.clone(),
            spec_replicas: deployment.wanted,
            status_replicas: count(|replica| replica.deleted.is_none()),
            ready_replicas: count(|replica| replica.deleted.is_none() && replica.ready.is_some()),
            bounds: deployment.bounds,
            pods: replicas.iter().map(|replica| pod_view(settings, replica)).collect(),
        }
    }

    /// All nodes, pods without one, and what could be launched.
    #[must_use]
    pub fn nodes_view(&self) -> NodesView {
        let index = self.index();
        NodesView {
            nodes: index.nodes.values().filter_map(|entity| self.node_view(*entity)).collect(),
            pending: index.pending.iter().filter_map(|(id, entity)| self.pending_pod(*id, *entity)).collect(),
            offers: (0..index.pools.len()).map(|pool| self.offer(pool)).collect(),
        }
    }

    fn node_view(&self, entity: Entity) -> Option<NodeView> {
        let node = self.world.get::<Node>(entity)?;
        let (cluster, pool) = self.pool(self.pool_of(entity));
        let replicas = self.replicas_on(&node.name).unwrap_or_default();
        let pods = replicas.into_iter().filter_map(|id| {
            let entity = self.replica_entity(id)?;
            let place = self.world.get::<Deployment>(self.world.get::<OfDeployment>(entity)?.0)?.place;
            Some(PlacedPod {
                name: self.replica_name(id)?,
                target: self.deployment(place).target.clone(),
                pool: self.deployment(place).pool.clone(),
                requests: self.deployment(place).requests,
                deleted: self.world.get::<Replica>(entity)?.deleted.is_some(),
            })
        });
        Some(NodeView {
            name: node.name.clone(),
            cluster: cluster.to_owned(),
            pool: pool.name.clone(),
            instance_type: pool.instance_type.clone(),
            zone: pool.zone.clone(),
            capacity_type: pool.capacity_type,
            created: node.launched,
            ready_since: node.ready,
            cordoned: node.cordoned,
            price_usd_per_hour: self.accounts[self.pool_of(entity)].price(),
            allocatable: pool.allocatable,
            pods: pods.collect(),
        })
    }

    fn pending_pod(&self, id: ReplicaId, entity: Entity) -> Option<PendingPod> {
        let place = self.world.get::<Deployment>(self.world.get::<OfDeployment>(entity)?.0)?.place;
        let settings = self.deployment(place);
        Some(PendingPod {
            name: self.replica_name(id)?,
            target: settings.target.clone(),
            cluster: self.clusters[settings.cluster?].clone(),
            pool: settings.pool.clone(),
            since: self.world.get::<Replica>(entity)?.created,
            requests: settings.requests,
        })
    }

    fn offer(&self, place: usize) -> Offer {
        let (cluster, pool) = self.pool(place);
        let nodes = u32::try_from(self.accounts[place].nodes()).unwrap_or(u32::MAX);
        Offer {
            cluster: cluster.to_owned(),
            pool: pool.name.clone(),
            instance_type: pool.instance_type.clone(),
            zone: pool.zone.clone(),
            capacity_type: pool.capacity_type,
            price_usd_per_hour: self.accounts[place].price(),
            allocatable: pool.allocatable,
            min_nodes: pool.min_nodes,
            room: pool.max_nodes.saturating_sub(nodes),
            stocked_out: self.index().stock_outs[place],
        }
    }

    /// Checks that what is free of each node is what its replicas leave, and that billed time is the sum of lifetimes.
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&self, now: Time) {
        let mut living: Vec<Vec<Time>> = vec![Vec::new(); self.accounts.len()];
        for entity in self.index().nodes.values() {
            let Some(node) = self.world.get::<Node>(*entity) else { continue };
            let pool = self.pool_of(*entity);
            living[pool].push(node.launched);
            let mut left = self.pool(pool).1.allocatable;
            for id in self.replicas_on(&node.name).unwrap_or_default() {
                let entity = self.replica_entity(id).expect("a replica on a node is there");
                let of = self.world.get::<OfDeployment>(entity).expect("a replica has a deployment").0;
                let place = self.world.get::<Deployment>(of).expect("a deployment is never removed").place;
                left = left.minus(&self.deployment(place).requests);
            }
            assert_eq!(node.free, left, "what is free of node {} is what its replicas leave", node.name);
            assert!(
                left.cpu_milli >= 0 && left.memory_bytes >= 0 && left.gpu_milli >= 0,
                "node {} is full",
                node.name
            );
        }
        for (account, living) in self.accounts.iter().zip(living) {
            account.check(now, living.into_iter());
        }
    }

    // ---- snapshots ----

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

/// A replica as a pod of the Kubernetes API: pending without a node, then running, ready once its probe says so.
fn pod_view(settings: &DeploymentSettings, replica: &Replica) -> PodView {
    let ready = replica.bound.map(|bound| match replica.ready {
        Some(since) => ReadyCondition { status: ConditionStatus::True, since },
        None => ReadyCondition { status: ConditionStatus::False, since: bound },
    });
    PodView {
        name: Arc::from(settings.pod_name(replica.ordinal)),
        phase: if replica.bound.is_some() { PodPhase::Running } else { PodPhase::Pending },
        deleted: replica.deleted.is_some(),
        start: replica.bound,
        ready,
        containers: Arc::clone(&settings.containers),
    }
}

#[cfg(test)]
mod tests;

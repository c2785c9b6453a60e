//! The fleet behind one door.

mod nodes;
mod requests;
mod saved;
mod views;

pub use saved::SavedFleet;

use bevy_ecs::prelude::*;
use scaletwin_core::control::{Bounds, PodTerms};
use scaletwin_core::units::Time;

use super::entities::{Deployment, Node, OfDeployment, OnNode, Pool, Replica, ReplicaId};
use super::ledger::Account;
use super::lifecycle::{Change, Changes, Index, Now, Settings, schedule};
use super::placement::share_of_node;
use super::rollout::ReplicaSet;
use super::settings::{ClusterSettings, DeploymentSettings, PoolSettings, Quota};
use super::standby::Standby;

/// The modelled fleet.
pub struct Fleet {
    world: World,
    schedule: Schedule,
    clusters: Vec<String>,
    quotas: Vec<Quota>,
    accounts: Vec<Account>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("clusters", &self.clusters).finish_non_exhaustive()
    }
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
                requests: None,
            };
            index.deployments.push(world.spawn(deployment).id());
        }
        let account = |pool: &PoolSettings| Account::new(deployments.len(), pool.terms);
        let accounts = pools.iter().map(|(_, pool)| account(pool)).collect();
        world.insert_resource(index);
        let placements = clusters.iter().map(|cluster| cluster.placement).collect();
        let terms = terms(deployments);
        world.insert_resource(Settings { deployments: deployments.to_vec(), pools, placements, terms });
        world.insert_resource(Now::default());
        world.insert_resource(Changes::default());
        let quotas = clusters.iter().map(|cluster| cluster.quota).collect();
        let clusters = clusters.iter().map(|cluster| cluster.name.clone()).collect();
        Fleet { world, schedule: schedule(), clusters, quotas, accounts }
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

    /// Whether where a replica may be, or would rather be, can depend on where others are.
    #[must_use]
    pub fn has_terms(&self) -> bool {
        !self.settings().terms.is_empty()
    }

    /// Whether some replicas are more important than others.
    #[must_use]
    pub fn has_priorities(&self) -> bool {
        let mut priorities = self.settings().deployments.iter().map(|settings| settings.priority);
        let first = priorities.next();
        priorities.any(|other| Some(other) != first)
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

    /// Whether a replica is of the present revision of its deployment.
    #[must_use]
    pub fn is_up_to_date(&self, id: ReplicaId) -> bool {
        let present = self.deployment_of(id).and_then(|place| self.deployment_entity(place).sets.last());
        let revision = self.replica(id).map(|replica| replica.revision);
        present.is_some_and(|present| Some(present.revision) == revision)
    }

    /// The name of a replica.
    #[must_use]
    pub fn replica_name(&self, id: ReplicaId) -> Option<String> {
        let entity = self.replica_entity(id)?;
        let place = self.world.get::<Deployment>(self.world.get::<OfDeployment>(entity)?.0)?.place;
        let ordinal = self.world.get::<Replica>(entity)?.ordinal;
        Some(self.deployment(place).pod_name(ordinal))
    }

    /// A replica is ready, unless it is gone or being deleted, or its node has failed. Whether it is.
    pub fn replica_ready(&mut self, id: ReplicaId, now: Time) -> bool {
        let Some(entity) = self.replica_entity(id).filter(|_| !self.has_failed(id)) else { return false };
        match self.world.get_mut::<Replica>(entity) {
            Some(mut replica) if replica.deleted.is_none() => {
                replica.ready = Some(now);
                true
            }
            _ => false,
        }
    }

    /// A replica is not ready any more, or not loaded if it stands by.
    pub fn replica_unready(&mut self, id: ReplicaId, now: Time) {
        let Some(entity) = self.replica_entity(id) else { return };
        let Some(mut replica) = self.world.get_mut::<Replica>(entity) else { return };
        if replica.ready.is_some() {
            (replica.ready, replica.unready) = (None, Some(now));
        }
        if replica.standby.is_some() {
            replica.standby = Some(Standby::Starting);
        }
    }

    /// A replica has started. Whether it stands by, loaded from now on.
    pub fn stands_by(&mut self, id: ReplicaId) -> bool {
        let Some(entity) = self.replica_entity(id).filter(|_| !self.has_failed(id)) else { return false };
        match self.world.get_mut::<Replica>(entity) {
            Some(mut replica) if replica.deleted.is_none() && replica.standby.is_some() => {
                replica.standby = Some(Standby::Loaded);
                true
            }
            _ => false,
        }
    }

    /// How many replicas of a deployment stand by.
    #[must_use]
    pub fn standby(&self, place: usize) -> usize {
        self.standing_by(place).count()
    }

    /// How many of them are loaded.
    #[must_use]
    pub fn loaded_standby(&self, place: usize) -> usize {
        self.standing_by(place).filter(|replica| replica.standby == Some(Standby::Loaded)).count()
    }

    fn standing_by(&self, place: usize) -> impl Iterator<Item = &Replica> {
        let all = self.all_replicas_of(place).into_iter();
        all.filter(|replica| replica.standby.is_some() && replica.deleted.is_none())
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

    /// Whether the disruption budget of a replica's deployment lets it be evicted.
    #[must_use]
    pub fn may_be_evicted(&self, id: ReplicaId) -> bool {
        let budget = |place: usize| Some((place, self.deployment(place).disruption_budget?));
        let Some((place, budget)) = self.deployment_of(id).and_then(budget) else { return true };
        let is_ready = self.replica(id).is_some_and(|replica| replica.ready.is_some());
        let (wanted, ready) = self.wanted_and_ready(place);
        budget.allows(wanted, ready, is_ready)
    }

    /// How many replicas of a deployment are wanted, and how many are ready and not being deleted.
    fn wanted_and_ready(&self, place: usize) -> (usize, usize) {
        let counts = |replica: &&Replica| replica.deleted.is_none() && replica.ready.is_some();
        let ready = self.replicas_of(place).into_iter().filter(counts).count();
        (usize::try_from(self.wanted(place)).unwrap_or(0), ready)
    }

    /// How many replicas of a deployment may be evicted now; `None` without a budget.
    fn disruptions_allowed(&self, place: usize) -> Option<u32> {
        let budget = self.deployment(place).disruption_budget?;
        let (wanted, ready) = self.wanted_and_ready(place);
        Some(u32::try_from(budget.allowed(wanted, ready)).unwrap_or(u32::MAX))
    }

    /// A replica is gone: its node has room again.
    pub fn remove_replica(&mut self, id: ReplicaId, now: Time) {
        let Some(entity) = self.replica_entity(id) else { return };
        let of = self.world.get::<OfDeployment>(entity).map(|of| of.0);
        let place =
            of.and_then(|of| self.world.get::<Deployment>(of)).map_or(0, |deployment| deployment.place);
        if let Some(node) = self.world.get::<OnNode>(entity).map(|on| on.0) {
            let settings = self.deployment(place);
            let own = self.world.get::<Replica>(entity).map(|replica| replica.requests(settings));
            let requests = own.unwrap_or(settings.requests);
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
}

/// What has to hold of where replicas are, by deployment; nothing if nobody asks for others.
fn terms(deployments: &[DeploymentSettings]) -> Vec<PodTerms> {
    let asks =
        |settings: &DeploymentSettings| !settings.terms.is_empty() || settings.preferences.are_of_pods();
    match deployments.iter().any(asks) {
        true => deployments.iter().map(|settings| settings.terms.clone()).collect(),
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests;

//! What controllers see of the fleet, and what must hold of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bevy_ecs::prelude::*;
use scaletwin_core::control::{
    CapacityType, ConditionStatus, NodeView, NodesView, Offer, PendingPod, PlacedPod, PodPhase, PodView,
    ReadyCondition, TargetName, TargetView, TopologyKey, are_about,
};
use scaletwin_core::units::Time;

use super::Fleet;
use crate::cluster::entities::{
    Deployment, DeploymentReplicas, Node, NodeId, OfDeployment, Replica, ReplicaId,
};
use crate::cluster::settings::DeploymentSettings;

impl Fleet {
    /// The place of a target.
    #[must_use]
    pub fn find_target(&self, name: &TargetName) -> Option<usize> {
        self.settings().deployments.iter().position(|deployment| deployment.target == *name)
    }

    /// The replicas of a deployment in the order of creation, those being deleted included. Those that stand by are no part of
    /// it yet.
    #[must_use]
    pub fn replicas_of(&self, place: usize) -> Vec<&Replica> {
        let mut replicas = self.all_replicas_of(place);
        replicas.retain(|replica| replica.standby.is_none());
        replicas
    }

    /// The same with those that stand by.
    #[must_use]
    pub fn all_replicas_of(&self, place: usize) -> Vec<&Replica> {
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
        let allowed: Vec<Option<u32>> =
            (0..index.deployments.len()).map(|place| self.disruptions_allowed(place)).collect();
        NodesView {
            nodes: index.nodes.values().filter_map(|entity| self.node_view(*entity, &allowed)).collect(),
            pending: self.pending_pods(),
            offers: (0..index.pools.len()).map(|pool| self.offer(pool)).collect(),
            terms: self.settings().terms.clone(),
        }
    }

    /// A node, when so many replicas of each deployment may be evicted.
    fn node_view(&self, entity: Entity, allowed: &[Option<u32>]) -> Option<NodeView> {
        let node = self.world.get::<Node>(entity)?;
        let (cluster, pool) = self.pool(self.pool_of(entity));
        let pods = self.replicas_at(entity).into_iter().filter_map(|id| {
            let entity = self.replica_entity(id)?;
            let place = self.world.get::<Deployment>(self.world.get::<OfDeployment>(entity)?.0)?.place;
            self.placed_pod(id, place, allowed[place], &pool.name)
        });
        let coming = self
            .nominated_to(node.id)
            .into_iter()
            .filter_map(|(id, place)| self.placed_pod(id, place, allowed[place], &pool.name));
        Some(NodeView {
            name: node.name.clone(),
            cluster: cluster.to_owned(),
            pool: pool.name.clone(),
            instance_type: pool.instance_type.clone(),
            zone: pool.zone.clone(),
            capacity_type: pool.capacity_type,
            created: node.launched,
            ready_since: node.ready,
            unready_since: node.unready,
            cordoned: node.cordoned || node.unready.is_some(),
            price_usd_per_hour: self.accounts[self.pool_of(entity)].price(),
            capacity: pool.whole(),
            allocatable: pool.allocatable,
            pods: pods.chain(coming).collect(),
        })
    }

    /// A pod on a node of a pool, or one that will be.
    fn placed_pod(&self, id: ReplicaId, place: usize, allowed: Option<u32>, pool: &str) -> Option<PlacedPod> {
        let barred = self.barred(place, 1).filter(|barred| *barred != pool).map(str::to_owned);
        let replica = self.replica(id)?;
        Some(PlacedPod {
            name: self.replica_name(id)?,
            target: self.deployment(place).target.clone(),
            pool: self.deployment(place).pool.clone(),
            barred: barred.collect(),
            requests: replica.requests(self.deployment(place)),
            disruptions_allowed: allowed,
            tied: self.tied(place),
            deleted: replica.deleted.is_some(),
        })
    }

    /// The replicas for which others have to go from a node, each with the place of its deployment.
    fn nominated_to(&self, node: NodeId) -> Vec<(ReplicaId, usize)> {
        if !self.has_priorities() {
            return Vec::new();
        }
        let waits = |id: &ReplicaId| self.replica(*id).is_some_and(|replica| replica.nominated == Some(node));
        let pending = self.index().pending.keys().copied().filter(waits);
        pending.filter_map(|id| Some((id, self.deployment_of(id)?))).collect()
    }

    /// The pods without a node, oldest first, but for those whose room others are leaving.
    fn pending_pods(&self) -> Vec<PendingPod> {
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let pods = self.index().pending.iter().filter_map(|(id, entity)| {
            if self.world.get::<Replica>(*entity)?.nominated.is_some() {
                return None;
            }
            let place = self.world.get::<Deployment>(self.world.get::<OfDeployment>(*entity)?.0)?.place;
            let ahead = before.entry(place).or_default();
            *ahead += 1;
            self.pending_pod(*id, *entity, place, *ahead)
        });
        pods.collect()
    }

    /// The pools of its cluster that a deployment's replica may not run in, when `more` of them would take spot nodes.
    fn barred(&self, place: usize, more: usize) -> impl Iterator<Item = &str> {
        let settings = self.deployment(place);
        let used_up = settings.max_spot_share.is_some()
            && !settings.may_use_spot(self.on_spot(place) + more - 1, self.wanted(place));
        let spot = self.settings().pools.iter().filter(move |(cluster, pool)| {
            used_up && settings.cluster == Some(*cluster) && pool.capacity_type == CapacityType::Spot
        });
        settings.barred.iter().map(String::as_str).chain(spot.map(|(_, pool)| pool.name.as_str()))
    }

    /// Replicas of a deployment on spot nodes, those being deleted aside.
    fn on_spot(&self, place: usize) -> usize {
        let counts = |replica: &&Replica| {
            let pool = self.pool_of_replica(replica.id).map(|pool| self.pool(pool).1.capacity_type);
            replica.deleted.is_none() && pool == Some(CapacityType::Spot)
        };
        self.replicas_of(place).into_iter().filter(counts).count()
    }

    /// The place of a deployment, if terms are about where its replicas are.
    fn tied(&self, place: usize) -> Option<usize> {
        are_about(&self.settings().terms, place).then_some(place)
    }

    fn pending_pod(&self, id: ReplicaId, entity: Entity, place: usize, ahead: usize) -> Option<PendingPod> {
        let (settings, replica) = (self.deployment(place), self.world.get::<Replica>(entity)?);
        Some(PendingPod {
            name: self.replica_name(id)?,
            target: settings.target.clone(),
            cluster: self.clusters[settings.cluster?].clone(),
            pool: settings.pool.clone(),
            barred: self.barred(place, ahead).map(str::to_owned).collect(),
            tied: self.tied(place),
            since: replica.created,
            requests: replica.requests(settings),
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
            capacity: pool.whole(),
            allocatable: pool.allocatable,
            min_nodes: pool.min_nodes,
            room: pool.max_nodes.saturating_sub(nodes),
            stocked_out: self.index().stock_outs[place],
        }
    }

    /// Checks that what is free of each node is what its replicas leave, that replicas are apart that have to be, and that
    /// billed time is the sum of lifetimes.
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
            for id in self.replicas_at(*entity) {
                let entity = self.replica_entity(id).expect("a replica on a node is there");
                let of = self.world.get::<OfDeployment>(entity).expect("a replica has a deployment").0;
                let place = self.world.get::<Deployment>(of).expect("a deployment is never removed").place;
                let replica = self.world.get::<Replica>(entity).expect("a replica is one");
                left = left.minus(&replica.requests(self.deployment(place)));
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
        self.check_apart();
    }

    /// Nobody moves once it is placed, so what was apart then stays apart.
    fn check_apart(&self) {
        let settings = self.settings();
        let terms = settings.terms.iter().enumerate();
        for (place, term) in
            terms.flat_map(|(place, own)| own.anti_affinity.iter().map(move |term| (place, term)))
        {
            let where_of = |place: usize| {
                let replicas = self.all_replicas_of(place).into_iter();
                let placed = replicas.filter_map(|replica| Some((replica.id, self.node_of(replica.id)?)));
                placed.filter_map(|(id, node)| {
                    let pool = self.pool_of_replica(id)?;
                    let (cluster, settings) = self.pool(pool);
                    Some(match term.key {
                        TopologyKey::Hostname => (id, format!("node {}", node.0)),
                        TopologyKey::Zone => (id, format!("zone {} of {cluster}", settings.zone)),
                    })
                })
            };
            let mut taken: BTreeMap<String, Vec<ReplicaId>> = BTreeMap::new();
            where_of(term.with).for_each(|(id, at)| taken.entry(at).or_default().push(id));
            for (id, at) in where_of(place) {
                let alone = taken.get(&at).is_none_or(|others| others.iter().all(|other| *other == id));
                assert!(alone, "a replica of {} is not apart: {at}", settings.deployments[place].target);
            }
        }
    }
}

/// A replica as a pod of the Kubernetes API: pending without a node, then running, ready once its probe says so.
fn pod_view(settings: &DeploymentSettings, replica: &Replica) -> PodView {
    let ready = replica.bound.map(|bound| match replica.ready {
        Some(since) => ReadyCondition { status: ConditionStatus::True, since },
        None => ReadyCondition { status: ConditionStatus::False, since: replica.unready.unwrap_or(bound) },
    });
    PodView {
        name: Arc::from(settings.pod_name(replica.ordinal)),
        phase: if replica.bound.is_some() { PodPhase::Running } else { PodPhase::Pending },
        deleted: replica.deleted.is_some(),
        start: replica.bound,
        ready,
        containers: replica.containers(settings),
    }
}

//! What Karpenter sees of its cluster at an instant.

use std::collections::BTreeSet;

use scaletwin_core::control::{CapacityType, NodeView, NodesView, PodTerms};
use scaletwin_core::units::Time;

use super::catalogue::{Catalogue, PREFERENCE};
use super::consolidation::Candidate;
use super::scheduler::{self, Schedule};
use super::spec::{Labels, NodePoolSettings, PoolLimits};
use crate::kubernetes::placement::{Pod, Rooms, nodes_of, waiting_for};

/// A cluster at an instant.
pub(super) struct Cluster<'a> {
    pub now: Time,
    pub node_pools: &'a [NodePoolSettings],
    pub spot_to_spot: bool,
    /// All nodes, in the order of their launch.
    pub nodes: Vec<&'a NodeView>,
    /// The nodes that go.
    pub leaving: BTreeSet<String>,
    /// The pods without a node.
    pub waiting: Vec<Pod<'a>>,
    pub catalogue: Catalogue<'a>,
    /// What has to hold of where the pods of all targets are.
    pub terms: &'a [PodTerms],
    /// The nodes of NodePools that are there and stay.
    pub all: Vec<Candidate<'a>>,
}

/// Whether a disruption budget lets no pod go of which the node has one.
fn is_held_back(node: &NodeView) -> bool {
    node.pods.iter().any(|pod| !pod.deleted && pod.disruptions_allowed == Some(0))
}

impl<'a> Cluster<'a> {
    pub(super) fn new(
        view: &'a NodesView,
        name: &str,
        node_pools: &'a [NodePoolSettings],
        spot_to_spot: bool,
        leaving: BTreeSet<String>,
        now: Time,
    ) -> Cluster<'a> {
        let offers = view.offers.iter().filter(|offer| offer.cluster == name).collect();
        let mut cluster = Cluster {
            now,
            node_pools,
            spot_to_spot,
            nodes: nodes_of(view, name),
            leaving,
            waiting: waiting_for(view, name),
            catalogue: Catalogue::new(offers, node_pools, now),
            terms: &view.terms,
            all: Vec::new(),
        };
        let owned = cluster.nodes.iter().filter_map(|node| Some((*node, cluster.owner(node)?)));
        let staying = owned
            .filter(|(node, _)| node.ready_since.is_some() && !cluster.leaves(node) && !is_held_back(node));
        cluster.all =
            staying.map(|(node, owner)| Candidate::new(node, owner, &node_pools[owner], now)).collect();
        cluster
    }

    /// Whether a node goes, or the provider takes it back.
    pub(super) fn leaves(&self, node: &NodeView) -> bool {
        node.cordoned || self.leaving.contains(&node.name)
    }

    /// The place of the NodePool that a node belongs to: the first by weight that could have launched it. The oldest nodes
    /// of a pool that keeps some belong to nobody.
    pub(super) fn owner(&self, node: &NodeView) -> Option<usize> {
        let offer = self.catalogue.offers.iter().find(|offer| offer.pool == node.pool)?;
        let mates = self.nodes.iter().filter(|other| other.pool == node.pool);
        if mates.take(offer.min_nodes as usize).any(|other| other.name == node.name) {
            return None;
        }
        let labels = Labels {
            pool: &node.pool,
            instance_type: &node.instance_type,
            zone: &node.zone,
            capacity_type: node.capacity_type,
            capacity: node.capacity,
        };
        self.node_pools.iter().position(|node_pool| node_pool.takes(&labels))
    }

    /// The room on nodes that stay, besides those named: ready ones first, then by name.
    pub(super) fn rooms(&self, without: &[&str]) -> Rooms<'a> {
        let named = |node: &&&NodeView| !without.contains(&node.name.as_str());
        let (mut nodes, others): (Vec<&'a NodeView>, Vec<&'a NodeView>) =
            self.nodes.iter().filter(named).copied().partition(|node| !self.leaves(node));
        nodes.sort_by(|a, b| a.ready_since.is_none().cmp(&b.ready_since.is_none()).then(a.name.cmp(&b.name)));
        let mut rooms = Rooms::new(nodes, others, self.terms);
        if let Some(census) = &mut rooms.census {
            // To Karpenter every zone that it could launch in counts for a spread, and so does a node that is not there yet.
            for offer in &self.catalogue.offers {
                census.add_node(&offer.zone, &offer.pool);
            }
        }
        rooms
    }

    /// Where `pods` would go, the nodes named being gone.
    pub(super) fn schedule(&self, rooms: Rooms<'a>, pods: Vec<Pod<'a>>, without: &[&str]) -> Schedule<'a> {
        scheduler::schedule(rooms, pods, &self.catalogue, self.remaining(without))
    }

    /// What each NodePool may still have besides its nodes that stay, those named aside.
    fn remaining(&self, without: &[&str]) -> Vec<PoolLimits> {
        let mut remaining: Vec<PoolLimits> =
            self.node_pools.iter().map(|node_pool| node_pool.limits).collect();
        let staying = |node: &&&NodeView| !self.leaves(node) && !without.contains(&node.name.as_str());
        for node in self.nodes.iter().filter(staying) {
            if let Some(owner) = self.owner(node) {
                remaining[owner].take(&node.capacity);
            }
        }
        remaining
    }

    /// The offers to launch for planned nodes, each with how many.
    pub(super) fn launches(&self, schedule: &Schedule<'a>) -> Vec<(usize, u32)> {
        let mut left = self.catalogue.room();
        let mut launches: Vec<(usize, u32)> = Vec::new();
        for claim in &schedule.claims {
            let kinds: &[CapacityType] = &PREFERENCE;
            let offer = self.catalogue.cheapest(claim.node_pool, &claim.types, &claim.within, kinds, &left);
            let Some(offer) = offer else { continue };
            left[offer] -= 1;
            match launches.iter_mut().find(|(known, _)| *known == offer) {
                Some((_, count)) => *count += 1,
                None => launches.push((offer, 1)),
            }
        }
        launches
    }
}

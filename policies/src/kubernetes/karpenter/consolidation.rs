//! Which nodes could go or be replaced for less: `pkg/controllers/disruption`.

use std::collections::BTreeMap;

use scaletwin_core::control::{CapacityType, NodeView};
use scaletwin_core::units::{Span, Time};

use super::catalogue::PREFERENCE;
use super::cluster::Cluster;
use super::scheduler::{Claim, Spot};
use super::spec::{ConsolidationPolicy, NodePoolSettings};
use crate::kubernetes::placement::Pod;

/// How many cheaper instance types there have to be before one spot node replaces another.
const SPOT_TYPES: usize = 15;
/// The most nodes that one move removes together.
const MOST_TOGETHER: usize = 100;

/// A node that may be disrupted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub node: &'a NodeView,
    /// The place of its NodePool.
    pub node_pool: usize,
    /// Its price per hour in US dollars; infinite if it is not known.
    pub price: f64,
    /// What its removal disturbs: 1, and 1 for each pod. Deletion costs and priorities are not in the view.
    pub disruption: f64,
    /// The share of its life that is left.
    pub life_left: f64,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(
        node: &'a NodeView,
        node_pool: usize,
        settings: &NodePoolSettings,
        now: Time,
    ) -> Candidate<'a> {
        let age = now.since(node.created).as_secs_f64();
        let left = |life: Span| ((life.as_secs_f64() - age) / life.as_secs_f64()).clamp(0.0, 1.0);
        Candidate {
            node,
            node_pool,
            price: node.price_usd_per_hour.unwrap_or(f64::INFINITY),
            disruption: 1.0 + Pod::on(node).count() as f64,
            life_left: settings.expire_after.filter(|life| !life.is_zero()).map_or(1.0, left),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        Pod::on(self.node).next().is_none()
    }

    /// What is saved for what is disturbed.
    fn worth(&self) -> f64 {
        self.price / (self.disruption * self.life_left)
    }
}

/// The candidates that save the most for what they disturb first; of equals the older.
pub(super) fn sorted(mut candidates: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    candidates.sort_by(|a, b| b.worth().total_cmp(&a.worth()));
    candidates
}

/// What to do with nodes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Move<'a> {
    /// Those that go.
    pub nodes: Vec<&'a str>,
    /// The place of the offer that comes for them, if one has to.
    pub replacement: Option<usize>,
    /// What is saved per hour in US dollars.
    pub savings: f64,
}

impl<'a> Cluster<'a> {
    /// What could be done with these nodes together: nothing, remove them, or replace them by one that is cheaper.
    pub(super) fn consolidate(&self, nodes: &[Candidate<'a>]) -> Option<Move<'a>> {
        let names: Vec<&'a str> = nodes.iter().map(|candidate| candidate.node.name.as_str()).collect();
        let claims = self.without(&names)?;
        let price: f64 = nodes.iter().map(|candidate| candidate.price).sum();
        let found = match claims.as_slice() {
            [] => Move { nodes: names, replacement: None, savings: price },
            [claim] if price.is_finite() => {
                let offer = self.replacement(claim, nodes, price)?;
                Move { nodes: names, replacement: Some(offer), savings: price - self.catalogue.price(offer) }
            }
            _ => return None,
        };
        self.approves(&found, nodes).then_some(found)
    }

    /// The nodes that would have to come if these went; `None` where a pod of theirs would find no place, or one on a node
    /// that is not ready.
    fn without(&self, names: &[&str]) -> Option<Vec<Claim<'a>>> {
        let leaving = self.nodes.iter().filter(|node| names.contains(&node.name.as_str()));
        let moving: Vec<Pod<'a>> = leaving.flat_map(|node| Pod::on(node)).collect();
        let pods = self.waiting.iter().copied().chain(moving.iter().copied()).collect();
        let rooms = self.rooms(names);
        let ready: Vec<bool> = rooms.rooms.iter().map(|room| room.node.ready_since.is_some()).collect();
        let found = self.schedule(rooms, pods, names);
        let moves: std::collections::BTreeSet<&str> = moving.iter().map(|pod| pod.name).collect();
        let settled =
            found.placed.iter().filter(|(pod, _)| moves.contains(pod.name)).all(|(_, spot)| match spot {
                Spot::Room(room) => ready[*room],
                Spot::Claim(_) => true,
                Spot::Nowhere => false,
            });
        settled.then_some(found.claims)
    }

    /// The offer that replaces nodes of this price: strictly cheaper, whatever of it is launched.
    fn replacement(&self, claim: &Claim<'a>, nodes: &[Candidate<'a>], price: f64) -> Option<usize> {
        let all_spot = nodes.iter().all(|candidate| candidate.node.capacity_type == CapacityType::Spot);
        let may_be_spot = self.may_be(claim, CapacityType::Spot);
        let spot_to_spot = all_spot && may_be_spot;
        if spot_to_spot && !self.spot_to_spot {
            return None;
        }
        // Prices were compared on the assumption that spot is launched: so it must not become anything dearer.
        let pinned = spot_to_spot || (may_be_spot && self.may_be(claim, CapacityType::OnDemand));
        let kinds: &[CapacityType] = if pinned { &[CapacityType::Spot] } else { &PREFERENCE };
        let cost = |place: usize| self.catalogue.worst_price(claim.node_pool, place, &claim.within, kinds);
        let mut most = price;
        if nodes.len() > 1 {
            most = most.min(self.cheapest_of_same_type(claim, nodes, price, &cost));
        }
        let mut types: Vec<usize> = claim.types.iter().copied().filter(|place| cost(*place) < most).collect();
        types.sort_by(|a, b| cost(*a).total_cmp(&cost(*b)));
        if spot_to_spot && nodes.len() == 1 {
            if types.len() < SPOT_TYPES {
                return None;
            }
            types.truncate(SPOT_TYPES);
        }
        let room = self.catalogue.room();
        self.catalogue.cheapest(claim.node_pool, &types, &claim.within, kinds, &room)
    }

    /// Whether a planned node may be bought so, whether or not the provider has it now: its NodePool says so, or says
    /// nothing and there are such offers.
    fn may_be(&self, claim: &Claim<'a>, kind: CapacityType) -> bool {
        let settings = &self.node_pools[claim.node_pool];
        let offered = || {
            let of_kind = self.catalogue.offers.iter().filter(|offer| offer.capacity_type == kind);
            of_kind.copied().any(|offer| settings.takes(&offer.into()) && claim.within.allows(offer))
        };
        match settings.may_be(kind) {
            Some(may) if claim.within.is_anywhere() => may,
            Some(false) => false,
            _ => offered(),
        }
    }

    /// Where several nodes go and the one that comes could be of the type of one of them, it has to be cheaper than that
    /// one: else that one could stay.
    fn cheapest_of_same_type(
        &self,
        claim: &Claim<'a>,
        nodes: &[Candidate<'a>],
        price: f64,
        cost: &impl Fn(usize) -> f64,
    ) -> f64 {
        let types = claim.types.iter().filter(|place| cost(**place) < price);
        let names = types.map(|place| self.catalogue.types[claim.node_pool][*place].name.as_str());
        let same =
            names.flat_map(|name| nodes.iter().filter(move |candidate| candidate.node.instance_type == name));
        same.map(|candidate| candidate.price).min_by(f64::total_cmp).unwrap_or(f64::INFINITY)
    }

    /// Whether every NodePool with the policy Balanced finds that the move saves enough for what it disturbs.
    fn approves(&self, found: &Move<'a>, nodes: &[Candidate<'a>]) -> bool {
        let price = |candidates: &mut dyn Iterator<Item = &Candidate<'a>>| -> f64 {
            candidates.map(|candidate| candidate.price).filter(|price| price.is_finite()).sum()
        };
        self.node_pools.iter().enumerate().all(|(place, settings)| {
            let own = || nodes.iter().filter(move |candidate| candidate.node_pool == place);
            if settings.consolidation_policy != ConsolidationPolicy::Balanced || own().next().is_none() {
                return true;
            }
            let all = || {
                self.all
                    .iter()
                    .filter(move |candidate| candidate.node_pool == place && candidate.price.is_finite())
            };
            let whole: f64 = price(&mut all());
            let disturbed: f64 = own().map(|candidate| candidate.disruption).sum();
            let disturbable: f64 = all().map(|candidate| candidate.disruption).sum();
            let savings = found.savings * (price(&mut own()) / price(&mut nodes.iter()));
            // (savings / whole) / (disturbed / disturbable) >= 1 / k, without divisions by zero.
            let k = f64::from(settings.consolidation_threshold);
            savings > 0.0 && whole > 0.0 && savings / whole / (disturbed / disturbable) >= 1.0 / k
        })
    }

    /// The largest number of the first candidates that can go or be replaced together, and how: found by halving.
    pub(super) fn several(&self, candidates: &[Candidate<'a>]) -> Option<Move<'a>> {
        let (mut low, mut high) = (1, candidates.len().checked_sub(1)?.min(MOST_TOGETHER));
        let mut best = None;
        while low <= high {
            let middle = usize::midpoint(low, high);
            match self.consolidate(&candidates[..=middle]) {
                Some(found) => (best, low) = (Some(found), middle + 1),
                None => high = middle - 1,
            }
        }
        best
    }

    /// The first candidate that can go or be replaced, and how; NodePools take turns.
    pub(super) fn single(&self, candidates: &[Candidate<'a>]) -> Option<Move<'a>> {
        let mut turns: BTreeMap<usize, usize> = BTreeMap::new();
        let mut order: Vec<(usize, usize, &Candidate<'a>)> = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let turn = turns.entry(candidate.node_pool).or_default();
            order.push((*turn, candidate.node_pool, candidate));
            *turn += 1;
        }
        order.sort_by_key(|(turn, node_pool, _)| (*turn, *node_pool));
        order.into_iter().find_map(|(_, _, candidate)| self.consolidate(&[*candidate]))
    }
}

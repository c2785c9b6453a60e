//! Where pods may be with regard to each other: required affinity, anti-affinity and topology spread, as the filters
//! `InterPodAffinity` and `PodTopologySpread` of Kubernetes' scheduler have them.
//!
//! The scheduler of a cluster and the simulations of its node autoscalers count pods in the same way, so that what is
//! launched for a pod can take it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TargetName;

crate::names! {
    /// The label whose values are the places among which pods are counted.
    pub enum TopologyKey {
        /// Each node is a place.
        Hostname = "kubernetes.io/hostname",
        /// Each zone is a place.
        Zone = "topology.kubernetes.io/zone",
    }
}

/// A place that has pods of a target, or has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityTerm {
    /// The place of the target in the list of all [`PodTerms`].
    pub with: usize,
    /// What a place is.
    pub key: TopologyKey,
}

/// A target's pods are spread over places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpreadTerm {
    /// How many more a place may have than that with the fewest.
    pub max_skew: u32,
    /// What a place is.
    pub key: TopologyKey,
    /// The node pools whose nodes are not counted, because the labels that the pods want are not theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<String>,
}

/// What has to hold of the places of a target's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTerms {
    /// The target.
    pub target: TargetName,
    /// Each of these places has a pod of that target. All name the same one.
    pub affinity: Vec<AffinityTerm>,
    /// None of these places has a pod of that target.
    pub anti_affinity: Vec<AffinityTerm>,
    /// How evenly they are spread.
    pub spread: Vec<SpreadTerm>,
}

impl PodTerms {
    /// A target that wants nothing.
    #[must_use]
    pub fn none(target: TargetName) -> PodTerms {
        PodTerms { target, affinity: Vec::new(), anti_affinity: Vec::new(), spread: Vec::new() }
    }

    /// Whether it wants nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.affinity.is_empty() && self.anti_affinity.is_empty() && self.spread.is_empty()
    }
}

/// Whether the terms of a list are about the target at `place`: its own, or those that name it.
#[must_use]
pub fn are_about(terms: &[PodTerms], place: usize) -> bool {
    let named = |term: &AffinityTerm| term.with == place;
    terms.get(place).is_some_and(|own| !own.is_empty())
        || terms.iter().any(|other| other.affinity.iter().chain(&other.anti_affinity).any(named))
}

/// Pods of a target in a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pods {
    /// All, those being deleted included: affinity and anti-affinity see them.
    pub all: u32,
    /// Those that stay: a spread counts them alone.
    pub staying: u32,
}

#[derive(Debug, Clone)]
struct Seat {
    zone: usize,
    pool: String,
    is_open: bool,
    pods: BTreeMap<usize, Pods>,
}

/// The pods of each target on each node and in each zone of a cluster.
#[derive(Debug, Clone)]
pub struct Census<'t> {
    terms: &'t [PodTerms],
    seats: Vec<Seat>,
    zones: BTreeMap<String, usize>,
    in_zone: Vec<BTreeMap<usize, Pods>>,
}

/// What a target's pods are held to while no pod comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    target: usize,
    /// Whether it is the first of its kind, whose affinity is to itself alone: it may be anywhere.
    is_first: bool,
    /// The fewest pods of a place, for each spread.
    fewest: Vec<u32>,
}

impl<'t> Census<'t> {
    /// A cluster without nodes, whose pods are held to these terms.
    #[must_use]
    pub fn new(terms: &'t [PodTerms]) -> Census<'t> {
        Census { terms, seats: Vec::new(), zones: BTreeMap::new(), in_zone: Vec::new() }
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &'t [PodTerms] {
        self.terms
    }

    /// One node more. Its number.
    pub fn add_node(&mut self, zone: &str, pool: &str) -> usize {
        let next = self.zones.len();
        let zone = *self.zones.entry(zone.to_owned()).or_insert(next);
        if zone == next {
            self.in_zone.push(BTreeMap::new());
        }
        self.seats.push(Seat { zone, pool: pool.to_owned(), is_open: true, pods: BTreeMap::new() });
        self.seats.len() - 1
    }

    /// A node goes, or comes back. Pods are not put on one that is gone.
    pub fn set_open(&mut self, node: usize, is_open: bool) {
        self.seats[node].is_open = is_open;
    }

    /// A pod of a target is on a node.
    pub fn put(&mut self, node: usize, target: usize, stays: bool) {
        let seat = &mut self.seats[node];
        for pods in [&mut seat.pods, &mut self.in_zone[seat.zone]] {
            let pods = pods.entry(target).or_default();
            (pods.all, pods.staying) = (pods.all + 1, pods.staying + u32::from(stays));
        }
    }

    /// A pod of a target that was put on a node is on it no more.
    pub fn take(&mut self, node: usize, target: usize, stays: bool) {
        let seat = &mut self.seats[node];
        for pods in [&mut seat.pods, &mut self.in_zone[seat.zone]] {
            let pods = pods.entry(target).or_default();
            (pods.all, pods.staying) =
                (pods.all.saturating_sub(1), pods.staying.saturating_sub(u32::from(stays)));
        }
    }

    /// The pods of a target in the place that a node belongs to.
    #[must_use]
    pub fn pods(&self, node: usize, key: TopologyKey, target: usize) -> Pods {
        let seat = &self.seats[node];
        let place = match key {
            TopologyKey::Hostname => &seat.pods,
            TopologyKey::Zone => &self.in_zone[seat.zone],
        };
        place.get(&target).copied().unwrap_or_default()
    }

    /// How many places these nodes are in.
    #[must_use]
    pub fn places(&self, nodes: &[usize], key: TopologyKey) -> usize {
        match key {
            TopologyKey::Hostname => nodes.len(),
            TopologyKey::Zone => {
                let zones: std::collections::BTreeSet<usize> =
                    nodes.iter().map(|node| self.seats[*node].zone).collect();
                zones.len()
            }
        }
    }

    /// What pods of a target are held to now.
    #[must_use]
    pub fn filter(&self, target: usize) -> Filter {
        let own = &self.terms[target];
        let of_its_own = !own.affinity.is_empty() && own.affinity.iter().all(|term| term.with == target);
        let there = |pods: &BTreeMap<usize, Pods>| pods.get(&target).is_some_and(|pods| pods.all > 0);
        let is_first = of_its_own && !self.in_zone.iter().any(there);
        let fewest = own.spread.iter().map(|spread| self.fewest(target, spread)).collect();
        Filter { target, is_first, fewest }
    }

    /// The fewest pods of a target in a place that counts.
    fn fewest(&self, target: usize, spread: &SpreadTerm) -> u32 {
        let counts = |seat: &&Seat| seat.is_open && !spread.outside.contains(&seat.pool);
        let pods = |place: &BTreeMap<usize, Pods>| place.get(&target).map_or(0, |pods| pods.staying);
        let seats = self.seats.iter().filter(counts);
        let fewest = match spread.key {
            TopologyKey::Hostname => seats.map(|seat| pods(&seat.pods)).min(),
            TopologyKey::Zone => seats.map(|seat| pods(&self.in_zone[seat.zone])).min(),
        };
        fewest.unwrap_or(0)
    }

    /// Whether a pod that is held to a filter may be on a node, room aside.
    #[must_use]
    pub fn allows(&self, filter: &Filter, node: usize) -> bool {
        let own = &self.terms[filter.target];
        let has = |term: &AffinityTerm| self.pods(node, term.key, term.with).all > 0;
        let mut spreads = own.spread.iter().zip(&filter.fewest);
        (filter.is_first || own.affinity.iter().all(has))
            && !own.anti_affinity.iter().any(has)
            && !self.keeps_away(filter.target, node)
            && spreads.all(|(spread, fewest)| self.is_even(filter.target, spread, *fewest, node))
    }

    /// Whether a pod of another target is there that wants none of this one around it.
    fn keeps_away(&self, target: usize, node: usize) -> bool {
        self.terms.iter().enumerate().any(|(other, terms)| {
            let about = |term: &&AffinityTerm| term.with == target;
            let mut terms = terms.anti_affinity.iter().filter(about);
            terms.any(|term| self.pods(node, term.key, other).all > 0)
        })
    }

    fn is_even(&self, target: usize, spread: &SpreadTerm, fewest: u32, node: usize) -> bool {
        let there = self.pods(node, spread.key, target).staying;
        !spread.outside.contains(&self.seats[node].pool) && there < fewest.saturating_add(spread.max_skew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TopologyKey::{Hostname, Zone};

    fn terms(affinity: &[(usize, TopologyKey)], anti: &[(usize, TopologyKey)]) -> PodTerms {
        let list = |of: &[(usize, TopologyKey)]| {
            of.iter().map(|(with, key)| AffinityTerm { with: *with, key: *key }).collect()
        };
        PodTerms {
            affinity: list(affinity),
            anti_affinity: list(anti),
            ..PodTerms::none(TargetName::new("s/d"))
        }
    }

    /// The nodes of zones a, a, b that a pod of a target may be on, when pods of targets are on nodes.
    fn allowed(terms: &[PodTerms], pods: &[(usize, usize)], target: usize) -> Vec<usize> {
        let mut census = Census::new(terms);
        let nodes: Vec<usize> = ["a", "a", "b"].iter().map(|zone| census.add_node(zone, "pool")).collect();
        pods.iter().for_each(|(node, of)| census.put(*node, *of, true));
        let filter = census.filter(target);
        nodes.into_iter().filter(|node| census.allows(&filter, *node)).collect()
    }

    #[test]
    fn anti_affinity_holds_both_ways() {
        let both = [terms(&[], &[(0, Hostname), (1, Zone)]), terms(&[], &[])];
        assert_eq!(allowed(&both, &[(0, 0)], 0), [1, 2]);
        assert_eq!(allowed(&both, &[(0, 1)], 0), [2]);
        // Target 1 wants nothing, and is kept away all the same.
        assert_eq!(allowed(&both, &[(0, 0)], 1), [2]);
    }

    #[test]
    fn affinity_to_itself_lets_the_first_pod_be_anywhere() {
        let own = [terms(&[(0, Zone)], &[]), terms(&[(0, Hostname)], &[])];
        assert_eq!(allowed(&own, &[], 0), [0, 1, 2]);
        assert_eq!(allowed(&own, &[(1, 0)], 0), [0, 1]);
        // Affinity to another target wants one of it.
        assert_eq!(allowed(&own, &[], 1), [] as [usize; 0]);
        assert_eq!(allowed(&own, &[(1, 0)], 1), [1]);
    }

    #[test]
    fn a_spread_allows_so_many_more_than_the_fewest() {
        let spread = |max_skew, key, outside: &[&str]| {
            let outside = outside.iter().map(ToString::to_string).collect();
            let spread = vec![SpreadTerm { max_skew, key, outside }];
            [PodTerms { spread, ..terms(&[], &[]) }]
        };
        // Zone a has two, zone b none.
        assert_eq!(allowed(&spread(1, Zone, &[]), &[(0, 0), (1, 0)], 0), [2]);
        assert_eq!(allowed(&spread(3, Zone, &[]), &[(0, 0), (1, 0)], 0), [0, 1, 2]);
        assert_eq!(allowed(&spread(1, Hostname, &[]), &[(0, 0), (2, 0)], 0), [1]);
        assert_eq!(allowed(&spread(1, Hostname, &["pool"]), &[], 0), [] as [usize; 0]);
    }

    #[test]
    fn pods_that_are_being_deleted_keep_others_away_and_do_not_count_for_a_spread() {
        let spread = vec![SpreadTerm { max_skew: 1, key: Hostname, outside: Vec::new() }];
        let both = [PodTerms { spread, ..terms(&[], &[]) }, terms(&[], &[(1, Hostname)])];
        let mut census = Census::new(&both);
        let node = census.add_node("a", "pool");
        census.add_node("a", "pool");
        (0..2).for_each(|target| census.put(node, target, false));
        assert!(census.allows(&census.filter(0), node));
        assert!(!census.allows(&census.filter(1), node));
        census.take(node, 1, false);
        assert!(census.allows(&census.filter(1), node));
    }
}

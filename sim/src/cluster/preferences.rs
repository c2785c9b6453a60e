//! What a deployment would rather have of the nodes that its replicas get: the scores of Kubernetes' scheduler besides
//! those of room. `docs/models/cluster.md` has the equations.

use scaletwin_core::control::{AffinityTerm, Census, SpreadTerm};
use serde::Serialize;

/// The score of the best node.
const MOST: i64 = 100;
/// The weight of an affinity that is required of pods which are there, for pods to come: `hardPodAffinityWeight`.
const HARD: i64 = 1;

/// What a deployment would rather have.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Preferences {
    /// Node pools with the weight of the labels that it prefers.
    pub pools: Vec<(String, i64)>,
    /// Node pools with the number of their `PreferNoSchedule` taints that it does not tolerate.
    pub tainted: Vec<(String, i64)>,
    /// Places with replicas of a deployment, with a weight that is below 0 for those to avoid.
    pub pods: Vec<(AffinityTerm, i64)>,
    /// How it would rather be spread.
    pub spread: Vec<SpreadTerm>,
}

impl Preferences {
    /// Whether replicas around a node matter.
    #[must_use]
    pub fn are_of_pods(&self) -> bool {
        !self.pods.is_empty() || !self.spread.is_empty()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty() && self.tainted.is_empty() && !self.are_of_pods()
    }

    fn of_pool(list: &[(String, i64)], pool: &str) -> i64 {
        list.iter().find(|(name, _)| name == pool).map_or(0, |(_, amount)| *amount)
    }
}

/// A node that could be taken: the name of its pool, and its number in the census.
pub(super) type Open<'a> = (&'a str, usize);

/// How much each of these nodes is preferred for a replica of the deployment at `place`: the sum of the scheduler's scores
/// with its default weights, `TaintToleration` 3, `NodeAffinity` 2, `PodTopologySpread` 2, `InterPodAffinity` 2.
pub(super) fn scores(
    all: &[&Preferences],
    place: usize,
    census: Option<&Census<'_>>,
    nodes: &[Open<'_>],
) -> Vec<i64> {
    let own = all[place];
    let pool = |list: &[(String, i64)]| -> Vec<i64> {
        nodes.iter().map(|(pool, _)| Preferences::of_pool(list, pool)).collect()
    };
    let tainted = upside_down(&pool(&own.tainted));
    let labelled = up_to_the_most(&pool(&own.pools));
    let pods = census.map(|census| {
        let around: Vec<i64> = nodes.iter().map(|(_, node)| around(all, place, census, *node)).collect();
        (spread_scores(own, place, census, nodes), between(&around))
    });
    let pods = |at: usize| pods.as_ref().map_or(0, |(spread, around)| spread[at] + around[at]);
    let sum = |at: usize| 3 * tainted[at] + 2 * (labelled[at] + pods(at));
    (0..nodes.len()).map(sum).collect()
}

/// The weights of all that prefers, or avoids, replicas around a node: those of the deployment, and those of the others
/// that are there about it.
fn around(all: &[&Preferences], place: usize, census: &Census<'_>, node: usize) -> i64 {
    let there = |term: &AffinityTerm, of: usize| i64::from(census.pods(node, term.key, of).all);
    let own: i64 = all[place].pods.iter().map(|(term, weight)| weight * there(term, term.with)).sum();
    let about = |term: &AffinityTerm| term.with == place;
    let others = all.iter().enumerate().flat_map(|(other, preferences)| {
        preferences.pods.iter().filter(move |(term, _)| about(term)).map(move |found| (other, found))
    });
    let of_others: i64 = others.map(|(other, (term, weight))| weight * there(term, other)).sum();
    let required = census.terms().iter().enumerate().flat_map(|(other, terms)| {
        terms.affinity.iter().filter(move |term| about(term)).map(move |term| there(term, other) * HARD)
    });
    own + of_others + required.sum::<i64>()
}

/// `PodTopologySpread` for the constraints that do not have to hold: the fewer replicas in a place, the better.
fn spread_scores(own: &Preferences, place: usize, census: &Census<'_>, nodes: &[Open<'_>]) -> Vec<i64> {
    let seats: Vec<usize> = nodes.iter().map(|(_, node)| *node).collect();
    let weight = |spread: &SpreadTerm| libm::log(census.places(&seats, spread.key) as f64 + 2.0);
    let weights: Vec<f64> = own.spread.iter().map(weight).collect();
    let crowd = |node: &usize| {
        let terms = own.spread.iter().zip(&weights);
        let sum: f64 = terms
            .map(|(spread, weight)| {
                let there = census.pods(*node, spread.key, place).staying;
                f64::from(there) * weight + f64::from(spread.max_skew.saturating_sub(1))
            })
            .sum();
        rounded(sum)
    };
    let crowds: Vec<i64> = seats.iter().map(crowd).collect();
    let (least, most) =
        (crowds.iter().min().copied().unwrap_or(0), crowds.iter().max().copied().unwrap_or(0));
    crowds.iter().map(|crowd| if most == 0 { MOST } else { MOST * (most + least - crowd) / most }).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a float saturates, which is meant")]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

/// `DefaultNormalizeScore`: shares of the most.
fn up_to_the_most(raw: &[i64]) -> Vec<i64> {
    let most = raw.iter().max().copied().unwrap_or(0);
    raw.iter().map(|raw| if most == 0 { 0 } else { MOST * raw / most }).collect()
}

/// The same, the fewer the better.
fn upside_down(raw: &[i64]) -> Vec<i64> {
    up_to_the_most(raw).into_iter().map(|score| MOST - score).collect()
}

/// From 0 for the least to the most.
fn between(raw: &[i64]) -> Vec<i64> {
    let (least, most) = (raw.iter().min().copied().unwrap_or(0), raw.iter().max().copied().unwrap_or(0));
    raw.iter().map(|raw| if most == least { 0 } else { MOST * (raw - least) / (most - least) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::control::{PodTerms, TargetName, TopologyKey};

    /// Nodes of zones a, a, b in pools p, q, q.
    fn found(own: &Preferences, pods: &[(usize, u32)]) -> Vec<i64> {
        let terms = [PodTerms::none(TargetName::new("s/d"))];
        let mut census = Census::new(&terms);
        let nodes = [("a", "p"), ("a", "q"), ("b", "q")];
        let nodes: Vec<Open<'_>> =
            nodes.iter().map(|(zone, pool)| (*pool, census.add_node(zone, pool))).collect();
        for (node, count) in pods {
            (0..*count).for_each(|_| census.put(*node, 0, true));
        }
        scores(&[own], 0, Some(&census), &nodes)
    }

    #[test]
    fn each_kind_of_preference_has_its_weight() {
        // Without taints 3 x 100, without a spread 2 x 100; labels and pods add nothing.
        let none = Preferences::default();
        assert_eq!(found(&none, &[]), [500, 500, 500]);
        let pools = vec![("p".to_owned(), 20), ("q".to_owned(), 10)];
        assert_eq!(found(&Preferences { pools, ..none.clone() }, &[]), [700, 600, 600]);
        let tainted = vec![("q".to_owned(), 1)];
        assert_eq!(found(&Preferences { tainted, ..none.clone() }, &[]), [500, 200, 200]);
        let term = AffinityTerm { with: 0, key: TopologyKey::Zone };
        let pods = |weight| Preferences { pods: vec![(term, weight)], ..none.clone() };
        assert_eq!(found(&pods(5), &[(0, 1)]), [700, 700, 500]);
        assert_eq!(found(&pods(-5), &[(0, 1)]), [500, 500, 700]);
    }

    #[test]
    fn a_spread_that_does_not_have_to_hold_prefers_the_emptier_place() {
        let term = |key| SpreadTerm { max_skew: 1, key, outside: Vec::new() };
        let spread = |key| Preferences { spread: vec![term(key)], ..Preferences::default() };
        // Two zones weigh ln 4: round(3 ln 4) = 4 in a, round(ln 4) = 1 in b; 100 (4 + 1 - 4) / 4 = 25 and 100.
        assert_eq!(found(&spread(TopologyKey::Zone), &[(0, 2), (1, 1), (2, 1)]), [350, 350, 500]);
        // Three nodes weigh ln 5: round(2 ln 5) = 3, round(ln 5) = 2: 100 (3 + 2 - 3) / 3 = 66.
        assert_eq!(found(&spread(TopologyKey::Hostname), &[(0, 2), (1, 1), (2, 1)]), [432, 500, 500]);
    }
}

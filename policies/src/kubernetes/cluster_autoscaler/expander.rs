//! Which of several ways to grow is taken: `expander/{waste,mostpods,leastnodes,price,priority,random}`.
//!
//! Expanders are filters: each leaves the options that are best to it, in the order given, and chance chooses among what
//! is left.

use std::collections::BTreeMap;

use regex::Regex;
use scaletwin_core::control::Resources;
use scaletwin_core::random::Draws;
use serde::{Serialize, Serializer};

use crate::kubernetes::placement::Pod;

/// A way to grow: so many nodes of a group, for these pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion<'a> {
    /// The node group.
    pub group: &'a str,
    /// What a node of it has.
    pub node: Resources,
    /// The price of a node per hour in US dollars, if known.
    pub price_usd_per_hour: Option<f64>,
    /// How many nodes.
    pub nodes: u32,
    /// The pods that they would take.
    pub pods: Vec<Pod<'a>>,
}

scaletwin_core::names! {
    /// A rule to choose among ways to grow.
    pub enum ExpanderName {
        /// The fewest idle cores and the least idle memory.
        LeastWaste = "least-waste",
        /// The most pods.
        MostPods = "most-pods",
        /// The fewest nodes.
        LeastNodes = "least-nodes",
        /// The lowest price, with a liking for nodes that suit the size of the cluster.
        Price = "price",
        /// The highest tier of `priorities`.
        Priority = "priority",
        /// Chance.
        Random = "random",
    }
}

/// Tiers of the priority expander: expressions for names of groups by number; the highest number counts.
#[derive(Debug, Clone, Default)]
pub struct Priorities(pub BTreeMap<i64, Vec<Regex>>);

impl Serialize for Priorities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts =
            self.0.iter().map(|(tier, list)| (tier, list.iter().map(Regex::as_str).collect::<Vec<_>>()));
        serializer.collect_map(texts)
    }
}

/// The expanders of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Chain {
    /// In this order.
    pub expanders: Vec<ExpanderName>,
    /// For the priority expander.
    pub priorities: Priorities,
}

impl Chain {
    /// The option to take; `None` where there is none. `cluster_nodes` is how many nodes there are.
    #[must_use]
    pub fn choose<'a>(
        &self,
        mut options: Vec<Expansion<'a>>,
        cluster_nodes: usize,
        draws: &mut Draws,
    ) -> Option<Expansion<'a>> {
        for expander in &self.expanders {
            if options.len() > 1 {
                options = self.best(*expander, options, cluster_nodes);
            }
        }
        let count = u64::try_from(options.len()).ok().filter(|count| *count > 0)?;
        let chosen = if count == 1 { 0 } else { draws.below(count) };
        Some(options.swap_remove(usize::try_from(chosen).expect("a place in a list")))
    }

    fn best<'a>(
        &self,
        expander: ExpanderName,
        options: Vec<Expansion<'a>>,
        cluster_nodes: usize,
    ) -> Vec<Expansion<'a>> {
        match expander {
            ExpanderName::LeastWaste => lowest(options, |option| Some(waste(option))),
            ExpanderName::MostPods => lowest(options, |option| Some(-(option.pods.len() as f64))),
            ExpanderName::LeastNodes => lowest(options, |option| Some(f64::from(option.nodes))),
            ExpanderName::Price => lowest(options, |option| price(option, cluster_nodes)),
            ExpanderName::Priority => {
                let tier = |option: &Expansion<'_>| self.priorities.tier(option.group);
                if options.iter().all(|option| tier(option).is_none()) {
                    return options;
                }
                lowest(options, |option| tier(option).map(|tier| -(tier as f64)))
            }
            ExpanderName::Random => options,
        }
    }
}

impl Priorities {
    /// The highest tier that names the group.
    fn tier(&self, group: &str) -> Option<i64> {
        let tiers = self.0.iter().rev();
        let mut naming = tiers.filter(|(_, list)| list.iter().any(|expression| expression.is_match(group)));
        naming.next().map(|(tier, _)| *tier)
    }
}

/// The options with the lowest score; those without one only if none has one.
fn lowest<'a>(
    options: Vec<Expansion<'a>>,
    score: impl Fn(&Expansion<'a>) -> Option<f64>,
) -> Vec<Expansion<'a>> {
    let scores: Vec<Option<f64>> = options.iter().map(&score).collect();
    let Some(least) = scores.iter().flatten().copied().min_by(f64::total_cmp) else { return options };
    let best = options.into_iter().zip(scores);
    best.filter(|(_, score)| score.is_some_and(|score| score.total_cmp(&least).is_eq()))
        .map(|(option, _)| option)
        .collect()
}

/// The shares of cores and memory that stay idle, added.
fn waste(option: &Expansion<'_>) -> f64 {
    let asked = requested(option);
    let idle = |asked: i64, each: i64| {
        let all = each.saturating_mul(i64::from(option.nodes));
        if all > 0 { all.saturating_sub(asked) as f64 / all as f64 } else { 0.0 }
    };
    idle(asked.cpu_milli, option.node.cpu_milli) + idle(asked.memory_bytes, option.node.memory_bytes)
}

fn requested(option: &Expansion<'_>) -> Resources {
    option.pods.iter().fold(Resources::default(), |sum, pod| sum.plus(&pod.shape.requests))
}

/// What the price expander takes pods to be worth per hour: `gce_price.go`.
const CORE_USD: f64 = 0.033_174;
const GIB_USD: f64 = 0.004_446;
const GPU_USD: f64 = 0.700;
const GIB: f64 = 1_073_741_824.0;

fn worth(resources: &Resources) -> f64 {
    resources.cpu_milli as f64 / 1_000.0 * CORE_USD
        + resources.memory_bytes as f64 / GIB * GIB_USD
        + resources.gpu_milli as f64 / 1_000.0 * GPU_USD
}

/// The price of the nodes over the worth of the pods, times how badly the node suits the cluster: `price.go`.
fn price(option: &Expansion<'_>, cluster_nodes: usize) -> Option<f64> {
    let nodes = option.price_usd_per_hour? * f64::from(option.nodes);
    // A small pod on both sides keeps the ratio of tiny options from running away.
    let steady = worth(&Resources { cpu_milli: 500, memory_bytes: 500 << 20, gpu_milli: 0 });
    let ratio = (nodes + steady) / (worth(&requested(option)) + steady);
    Some(ratio * unfitness(option, cluster_nodes))
}

/// How badly a node suits the size of the cluster; the more nodes are added, the less that matters.
fn unfitness(option: &Expansion<'_>, cluster_nodes: usize) -> f64 {
    if option.node.gpu_milli > 0 {
        return 1_000.0;
    }
    // Nodes double in size whenever a cluster grows threefold: `preferred.go`.
    let cores = match cluster_nodes {
        0..=2 => 1.0,
        3..=6 => 2.0,
        7..=20 => 4.0,
        21..=60 => 8.0,
        61..=200 => 16.0,
        _ => 32.0,
    };
    let own = option.node.cpu_milli as f64 / 1_000.0;
    let misfit = (cores / own).max(own / cores);
    (misfit - 1.0) * (1.0 - libm::tanh((f64::from(option.nodes) - 1.0) / 15.0)) + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::placement::Shape;
    use scaletwin_core::random::Seed;
    use scaletwin_core::units::Time;

    fn option(group: &'static str, cpu: i64, memory: i64, nodes: u32, pods: usize) -> Expansion<'static> {
        let requests = Resources { cpu_milli: 1_000, memory_bytes: 1 << 30, gpu_milli: 0 };
        let pod = Pod {
            name: "",
            target: "t",
            since: Time::ZERO,
            shape: Shape { requests, pool: None, barred: &[], tied: None },
        };
        let node = Resources { cpu_milli: cpu * 1_000, memory_bytes: memory << 30, gpu_milli: 0 };
        Expansion { group, node, price_usd_per_hour: None, nodes, pods: vec![pod; pods] }
    }

    fn chosen(
        expanders: &[ExpanderName],
        priorities: Priorities,
        options: &[Expansion<'static>],
    ) -> &'static str {
        let chain = Chain { expanders: expanders.to_vec(), priorities };
        let mut draws = Seed(1).component("expander").entity(0);
        chain.choose(options.to_vec(), 3, &mut draws).expect("there are options").group
    }

    #[test]
    fn least_waste_adds_the_idle_shares_of_cores_and_memory() {
        // Four pods of 1 core and 1 GiB. a: 0 + 12/16 = 0.75. b: 4/8 + 0 = 0.5. c: 4/8 + 4/8 = 1.
        let options = [option("a", 4, 16, 1, 4), option("b", 8, 4, 1, 4), option("c", 8, 8, 1, 4)];
        assert_eq!(chosen(&[ExpanderName::LeastWaste], Priorities::default(), &options), "b");
    }

    #[test]
    fn expanders_are_filters_one_after_the_other() {
        // a and b take the most pods; of them b needs fewer nodes.
        let options = [option("a", 4, 4, 3, 5), option("b", 8, 8, 2, 5), option("c", 8, 8, 1, 4)];
        let chain = [ExpanderName::MostPods, ExpanderName::LeastNodes];
        assert_eq!(chosen(&chain, Priorities::default(), &options), "b");
        assert_eq!(chosen(&[ExpanderName::LeastNodes], Priorities::default(), &options), "c");
    }

    #[test]
    fn price_weighs_the_bill_against_the_pods_and_the_size_of_the_cluster() {
        // At 3 nodes, 2 cores are preferred. Both options cost $0.4 an hour and take the same pods; a's nodes have twice
        // the preferred cores, b's have eight times as many.
        let with =
            |option: Expansion<'static>, price| Expansion { price_usd_per_hour: Some(price), ..option };
        let a = with(option("a", 4, 16, 4, 4), 0.1);
        let b = with(option("b", 16, 64, 1, 4), 0.4);
        assert_eq!(chosen(&[ExpanderName::Price], Priorities::default(), &[b.clone(), a.clone()]), "a");
        assert!((unfitness(&b, 3) - 8.0).abs() < 1e-12);
        assert!((unfitness(&a, 3) - (1.0 + 1.0 - libm::tanh(0.2))).abs() < 1e-12);
        // Cheap enough, b wins all the same; without a price it never does.
        assert_eq!(
            chosen(&[ExpanderName::Price], Priorities::default(), &[with(b.clone(), 0.01), a.clone()]),
            "b"
        );
        assert_eq!(
            chosen(
                &[ExpanderName::Price],
                Priorities::default(),
                &[Expansion { price_usd_per_hour: None, ..b }, a]
            ),
            "a"
        );
    }

    #[test]
    fn the_highest_tier_that_names_a_group_counts() {
        let tier = |text: &str| vec![Regex::new(text).expect("an expression")];
        let priorities = Priorities(BTreeMap::from([(10, tier(".*")), (50, tier("^spot-"))]));
        let options = [option("dear", 8, 8, 1, 4), option("spot-1", 8, 8, 1, 4)];
        assert_eq!(chosen(&[ExpanderName::Priority], priorities, &options), "spot-1");
    }

    #[test]
    fn chance_chooses_evenly_among_what_is_left() {
        let chain = Chain { expanders: vec![ExpanderName::Random], priorities: Priorities::default() };
        let options = [option("a", 8, 8, 1, 4), option("b", 8, 8, 1, 4)];
        let luck = Seed(5).component("expander");
        let picks = (0..1_000).filter_map(|n| chain.choose(options.to_vec(), 3, &mut luck.entity(n)));
        let first = picks.filter(|option| option.group == "a").count();
        assert!((440..560).contains(&first), "{first}");
    }
}

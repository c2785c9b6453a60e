//! How many nodes of a group pods need: `binpacking_estimator.go` and `decreasing_pod_orderer.go`.

use scaletwin_core::control::{Census, Resources};

use crate::kubernetes::placement::Pod;

/// Pods of one owner that are alike: the first stands for all.
pub type PodGroup<'a> = Vec<Pod<'a>>;

/// Pods by what they are alike in, in the order of the first of each.
#[must_use]
pub fn equivalence_groups<'a>(pods: &[Pod<'a>]) -> Vec<PodGroup<'a>> {
    let mut groups: Vec<PodGroup<'a>> = Vec::new();
    for pod in pods {
        let alike = |group: &&mut PodGroup<'a>| {
            let first = &group[0];
            first.target == pod.target && first.shape == pod.shape
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(*pod),
            None => groups.push(vec![*pod]),
        }
    }
    groups
}

/// What an estimate found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate<'a> {
    /// New nodes with at least one pod.
    pub nodes: u32,
    /// The pods on them.
    pub pods: Vec<Pod<'a>>,
}

/// Who is where, besides the new nodes, which are of one zone and pool.
#[derive(Debug, Clone)]
pub struct Around<'a> {
    /// The nodes that are there.
    pub census: Census<'a>,
    /// The zone of new ones.
    pub zone: &'a str,
    /// Their pool.
    pub pool: &'a str,
}

impl Around<'_> {
    /// Whether a pod may be on a node, room aside.
    #[must_use]
    pub fn allows(&self, pod: &Pod<'_>, seat: usize) -> bool {
        pod.shape.tied.is_none_or(|target| self.census.allows(&self.census.filter(target), seat))
    }

    /// One node more. Its number.
    pub fn add(&mut self) -> usize {
        self.census.add_node(self.zone, self.pool)
    }
}

/// Packs groups of pods onto at most `limit` new nodes with so much each: the largest pods first, each on the first new
/// node that fits. Pods of one group keep their order. `around` is who else is there, if that matters.
#[must_use]
pub fn estimate<'a>(
    groups: &[PodGroup<'a>],
    node: &Resources,
    limit: u32,
    around: Option<Around<'a>>,
) -> Estimate<'a> {
    let mut order: Vec<&PodGroup<'a>> = groups.iter().collect();
    order.sort_by(|a, b| score(&b[0], node).total_cmp(&score(&a[0], node)));
    let seats = Vec::new();
    let mut packing = Packing { node: *node, limit, nodes: Vec::new(), pods: Vec::new(), around, seats };
    for group in order {
        let rest = packing.on_nodes_there(group);
        packing.on_new_nodes(rest);
    }
    let nodes = packing.nodes.iter().filter(|(_, used)| *used).count();
    Estimate { nodes: u32::try_from(nodes).unwrap_or(u32::MAX), pods: packing.pods }
}

/// How large a pod is: its shares of a node's cores and memory. GPUs do not count.
fn score(pod: &Pod<'_>, node: &Resources) -> f64 {
    let share = |part: i64, whole: i64| if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
    share(pod.shape.requests.cpu_milli, node.cpu_milli)
        + share(pod.shape.requests.memory_bytes, node.memory_bytes)
}

struct Packing<'a> {
    node: Resources,
    limit: u32,
    /// What is left of each new node, and whether a pod is on it.
    nodes: Vec<(Resources, bool)>,
    pods: Vec<Pod<'a>>,
    around: Option<Around<'a>>,
    /// The number of each new node there.
    seats: Vec<usize>,
}

impl<'a> Packing<'a> {
    /// Pods onto any new node, up to the first that finds none; gives those that are left.
    fn on_nodes_there<'g>(&mut self, group: &'g [Pod<'a>]) -> &'g [Pod<'a>] {
        for (place, pod) in group.iter().enumerate() {
            let fitting = (0..self.nodes.len()).find(|node| self.fits(pod, *node));
            match fitting {
                Some(node) => self.put(pod, node),
                None => return &group[place..],
            }
        }
        &[]
    }

    /// Pods onto the newest node or one more, as long as there may be more.
    fn on_new_nodes(&mut self, pods: &[Pod<'a>]) {
        for pod in pods {
            let newest = self.nodes.len().checked_sub(1);
            if let Some(newest) = newest.filter(|at| self.fits(pod, *at)) {
                self.put(pod, newest);
                continue;
            }
            // A pod that does not fit on an empty node fits on no other either.
            let newest_is_empty = self.nodes.last().is_some_and(|(_, used)| !used);
            if newest_is_empty || self.nodes.len() >= self.limit as usize {
                return;
            }
            self.nodes.push((self.node, false));
            self.seats.extend(self.around.as_mut().map(Around::add));
            if !self.fits(pod, self.nodes.len() - 1) {
                return;
            }
            self.put(pod, self.nodes.len() - 1);
        }
    }

    fn fits(&self, pod: &Pod<'a>, node: usize) -> bool {
        let around = self.around.as_ref().zip(self.seats.get(node));
        pod.shape.requests.fits(&self.nodes[node].0)
            && around.is_none_or(|(around, seat)| around.allows(pod, *seat))
    }

    fn put(&mut self, pod: &Pod<'a>, node: usize) {
        if let (Some(around), Some(target)) = (&mut self.around, pod.shape.tied) {
            around.census.put(self.seats[node], target, true);
        }
        let (free, used) = &mut self.nodes[node];
        (*free, *used) = (free.minus(&pod.shape.requests), true);
        self.pods.push(*pod);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::placement::Shape;
    use proptest::prelude::*;
    use scaletwin_core::units::Time;

    fn size(cpu_milli: i64, memory_bytes: i64) -> Resources {
        Resources { cpu_milli, memory_bytes, gpu_milli: 0 }
    }

    fn pod(target: &'static str, cpu: i64, memory: i64) -> Pod<'static> {
        Pod {
            name: "",
            target,
            since: Time::ZERO,
            shape: Shape { requests: size(cpu, memory), pool: None, barred: &[], tied: None },
        }
    }

    #[test]
    fn the_largest_pods_are_packed_first() {
        // On 10 cores: 6 | 6 | 4 beside the first 6 | 4 beside the second. In the order given, 4 4 | 6 | 6 takes three.
        let pods = [pod("small", 4, 0), pod("small", 4, 0), pod("large", 6, 0), pod("large", 6, 0)];
        let found = estimate(&equivalence_groups(&pods), &size(10, 1), 9, None);
        assert_eq!((found.nodes, found.pods.len()), (2, 4));
        assert_eq!(found.pods[0].target, "large");
    }

    #[test]
    fn size_is_the_sum_of_the_shares_of_cores_and_memory() {
        // a: 0.5 + 0.1, b: 0.1 + 0.6.
        let pods = [pod("a", 5, 10), pod("b", 1, 60)];
        let found = estimate(&equivalence_groups(&pods), &size(10, 100), 9, None);
        assert_eq!(found.pods.iter().map(|pod| pod.target).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn the_limit_of_nodes_leaves_pods_over() {
        let pods = [pod("a", 6, 0), pod("a", 6, 0), pod("a", 6, 0)];
        let found = estimate(&equivalence_groups(&pods), &size(10, 1), 2, None);
        assert_eq!((found.nodes, found.pods.len()), (2, 2));
    }

    #[test]
    fn a_pod_larger_than_a_node_adds_none() {
        let found = estimate(&equivalence_groups(&[pod("a", 11, 0)]), &size(10, 1), 9, None);
        assert_eq!(found, Estimate::default());
    }

    proptest! {
        #[test]
        fn no_more_nodes_than_first_fit_needs(sizes in prop::collection::vec(1i64..=10, 1..60)) {
            let names: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            let pods: Vec<Pod<'_>> = sizes
                .iter()
                .zip(&names)
                .map(|(cpu, name)| Pod { target: name, ..pod("", *cpu, 0) })
                .collect();
            let found = estimate(&equivalence_groups(&pods), &size(10, 1), u32::MAX, None);
            prop_assert_eq!(found.pods.len(), sizes.len());
            // First fit leaves at most one node half empty, and no packing needs fewer than the sum.
            let sum: i64 = sizes.iter().sum();
            prop_assert!(i64::from(found.nodes) * 10 >= sum);
            prop_assert!(i64::from(found.nodes) <= (2 * sum).div_euclid(10) + 1);
        }
    }
}

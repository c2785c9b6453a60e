//! Which nodes are not needed: `core/scaledown/{eligibility,planner,unneeded,budgets}`.

use std::collections::BTreeMap;

use scaletwin_core::control::{NodeView, Offer, PodTerms};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::limits::total;
use super::spec::CaSettings;
use crate::kubernetes::placement::{Budgets, Pod, Rooms};

/// What a planner remembers of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unneeded {
    /// Since when each has been unneeded without a break.
    pub since: BTreeMap<String, Time>,
    /// Until when each that could not be emptied is not looked at.
    pub unremovable: BTreeMap<String, Time>,
}

/// A node that is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leaving {
    /// Since when.
    pub since: Time,
    /// Whether pods had to move.
    pub drained: bool,
}

/// Nodes that are going, by name.
pub(super) type Deletions = BTreeMap<String, Leaving>;

/// How much of a node its pods request: the larger of the shares of cores and memory, or on a node with GPUs that of
/// GPUs alone.
pub(super) fn utilization(node: &NodeView) -> f64 {
    let used = total_requests(node);
    let share = |part: i64, whole: i64| if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
    if node.allocatable.gpu_milli > 0 {
        return share(used.gpu_milli, node.allocatable.gpu_milli);
    }
    share(used.cpu_milli, node.allocatable.cpu_milli)
        .max(share(used.memory_bytes, node.allocatable.memory_bytes))
}

fn total_requests(node: &NodeView) -> scaletwin_core::control::Resources {
    node.pods.iter().fold(scaletwin_core::control::Resources::default(), |sum, pod| sum.plus(&pod.requests))
}

fn is_empty(node: &NodeView) -> bool {
    Pod::on(node).next().is_none()
}

impl Unneeded {
    /// Looks which nodes could go, all together, and keeps the clocks of those that still could.
    pub(super) fn update(
        &mut self,
        nodes: &[&NodeView],
        terms: &[PodTerms],
        deletions: &Deletions,
        settings: &CaSettings,
        now: Time,
    ) {
        let there = |name: &String| nodes.iter().any(|node| node.name == *name);
        self.unremovable.retain(|name, until| *until > now && there(name));
        let (open, others): (Vec<&NodeView>, Vec<&NodeView>) = nodes.iter().copied().partition(|node| {
            let stays = !node.cordoned || node.unready_since.is_some();
            node.ready_since.is_some() && stays && !deletions.contains_key(&node.name)
        });
        let mut rooms = Rooms::new(open.clone(), others, terms);
        let mut budgets = Budgets::of(nodes);
        let mut removable: BTreeMap<String, Time> = BTreeMap::new();
        let mut with_pods = 0;
        for place in self.candidates(&open, settings) {
            let node = open[place];
            let most = settings.scale_down_non_empty_candidates_count;
            if !is_empty(node) && most > 0 && with_pods >= most {
                continue;
            }
            let may =
                |other: &NodeView| other.unready_since.is_none() && !removable.contains_key(&other.name);
            if budgets.allow(node) && rooms.move_all(place, may) {
                budgets.take(node);
                with_pods += u32::from(!is_empty(node));
                removable.insert(node.name.clone(), self.since.get(&node.name).copied().unwrap_or(now));
            } else {
                let until = now.saturating_add(settings.unremovable_node_recheck_timeout);
                self.unremovable.insert(node.name.clone(), until);
            }
        }
        self.since = removable;
    }

    /// The nodes to look at: empty ones, those unneeded before, then some of the others.
    fn candidates(&self, open: &[&NodeView], settings: &CaSettings) -> Vec<usize> {
        let eligible = |node: &NodeView| {
            let gpu = node.allocatable.gpu_milli > 0;
            let threshold = if gpu {
                settings.scale_down_gpu_utilization_threshold
            } else {
                settings.scale_down_utilization_threshold
            };
            utilization(node) <= threshold && !self.unremovable.contains_key(&node.name)
        };
        let mut order: Vec<usize> = (0..open.len()).filter(|place| eligible(open[*place])).collect();
        let rank = |place: &usize| (!is_empty(open[*place]), !self.since.contains_key(&open[*place].name));
        order.sort_by_key(rank);
        let pool = (open.len() as f64 * settings.scale_down_candidates_pool_ratio).ceil();
        let pool = pool.max(f64::from(settings.scale_down_candidates_pool_min_count));
        let known = order.iter().filter(|place| rank(place) != (true, true)).count();
        order
            .into_iter()
            .enumerate()
            .filter(|(at, _)| ((at - known.min(*at)) as f64) < pool)
            .map(|(_, place)| place)
            .collect()
    }

    /// The nodes that may go now: unneeded for long enough, the group keeps its fewest, the cluster its least.
    pub(super) fn removable<'a>(
        &self,
        nodes: &[&'a NodeView],
        groups: &[&Offer],
        deletions: &Deletions,
        settings: &CaSettings,
        now: Time,
    ) -> Vec<&'a NodeView> {
        let long = |node: &&&NodeView| {
            let time = match node.unready_since {
                None => settings.scale_down_unneeded_time,
                Some(_) => settings.scale_down_unready_time,
            };
            self.since.get(&node.name).is_some_and(|since| since.saturating_add(time) < now)
        };
        let staying = |node: &&&NodeView| !deletions.contains_key(&node.name);
        let mut left = total(nodes.iter().filter(staying).copied());
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for node in nodes.iter().filter(staying) {
            *sizes.entry(node.pool.as_str()).or_default() += 1;
        }
        let mut removable = Vec::new();
        for node in nodes.iter().filter(long) {
            let fewest = groups.iter().find(|group| group.pool == node.pool).map(|group| group.min_nodes);
            let size = sizes.entry(node.pool.as_str()).or_default();
            let above = fewest.is_some_and(|fewest| *size > fewest as usize);
            if above && settings.limits.may_lose(&left, &node.capacity) {
                *size -= 1;
                left = left.minus(&node.capacity);
                removable.push(*node);
            }
        }
        removable
    }
}

/// As many of these as may go at once: `--max-scale-down-parallelism`, of them `--max-drain-parallelism` with pods.
pub(super) fn crop<'a>(
    removable: &[&'a NodeView],
    deletions: &Deletions,
    settings: &CaSettings,
) -> Vec<(&'a NodeView, bool)> {
    let going = u32::try_from(deletions.len()).unwrap_or(u32::MAX);
    let drained = deletions.values().filter(|leaving| leaving.drained).count();
    let mut all = settings.max_scale_down_parallelism.saturating_sub(going);
    let mut drains =
        settings.max_drain_parallelism.saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX));
    let (empty, full): (Vec<&NodeView>, Vec<&NodeView>) =
        removable.iter().copied().partition(|node| is_empty(node));
    let mut chosen = Vec::new();
    for node in empty.into_iter().chain(full) {
        let drain = !is_empty(node);
        if all == 0 || (drain && drains == 0) {
            break;
        }
        all -= 1;
        drains -= u32::from(drain);
        chosen.push((node, drain));
    }
    chosen
}

/// How long a drained node may take to lose its pods before it is deleted all the same.
pub(super) fn overdue(leaving: &Leaving, longest: Span, now: Time) -> bool {
    now.since(leaving.since) >= longest
}

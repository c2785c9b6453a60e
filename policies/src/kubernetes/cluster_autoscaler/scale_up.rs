//! What to add for pods that find no node: `core/scaleup/orchestrator`.

use scaletwin_core::control::{Census, NodeView, Offer, PodTerms};
use scaletwin_core::random::Draws;
use scaletwin_core::units::{Span, Time};

use super::estimator::{Around, PodGroup, equivalence_groups, estimate};
use super::expander::Expansion;
use super::limits::{Limits, total};
use super::spec::CaSettings;
use crate::kubernetes::placement::{Pod, Rooms};

/// How old the oldest pod has to be before anything is added: `unschedulablePodTimeBuffer`.
const BUFFER: Span = Span::from_secs(2);
/// The same for the oldest pod with a GPU, whose nodes are dear: `unschedulablePodWithGpuTimeBuffer`.
const GPU_BUFFER: Span = Span::from_secs(30);

/// What a loop sees.
pub(super) struct Growth<'s, 'a> {
    pub settings: &'s CaSettings,
    /// All nodes of the cluster.
    pub nodes: &'s [&'a NodeView],
    /// The groups that may be grown: not backed off.
    pub groups: Vec<&'a Offer>,
    /// Who is where, once the other pods have gone where there is room, if that matters.
    pub census: Option<Census<'a>>,
}

/// Nodes to add, by group.
pub(super) type Launches<'a> = Vec<(&'a str, u32)>;

/// The pods that no node has room for, those on their way included; and who is where then, if that matters.
pub(super) fn without_room<'a>(
    pods: Vec<Pod<'a>>,
    nodes: &[&'a NodeView],
    terms: &'a [PodTerms],
    leaving: impl Fn(&str) -> bool,
) -> (Vec<Pod<'a>>, Option<Census<'a>>) {
    let (open, closed): (Vec<&NodeView>, Vec<&NodeView>) =
        nodes.iter().copied().partition(|node| !node.cordoned && !leaving(&node.name));
    let (there, coming): (Vec<&NodeView>, Vec<&NodeView>) =
        open.into_iter().partition(|node| node.ready_since.is_some());
    let mut rooms = Rooms::new(there.into_iter().chain(coming).collect(), closed, terms);
    let left = pods.into_iter().filter(|pod| !rooms.take(&pod.shape)).collect();
    (left, rooms.census)
}

/// Whether all these pods came so lately that more may come.
pub(super) fn all_new(pods: &[Pod<'_>], now: Time) -> bool {
    let new = |oldest: Option<Time>, buffer| oldest.is_some_and(|oldest| now.since(oldest) < buffer);
    let with_gpu = pods.iter().filter(|pod| pod.shape.requests.gpu_milli > 0);
    new(pods.iter().map(|pod| pod.since).min(), BUFFER)
        || new(with_gpu.map(|pod| pod.since).min(), GPU_BUFFER)
}

impl<'a> Growth<'_, 'a> {
    /// The best way to grow for these pods; `None` where no group helps.
    pub(super) fn best(&self, pods: &[Pod<'a>], draws: &mut Draws) -> Option<Launches<'a>> {
        let pod_groups = equivalence_groups(pods);
        let options: Vec<Expansion<'a>> =
            self.groups.iter().filter_map(|group| self.option(group, &pod_groups)).collect();
        let best = self.settings.chain.choose(options, self.nodes.len(), draws)?;
        let group = self.groups.iter().find(|group| group.pool == best.group)?;
        let count = best.nodes.min(self.may_add(group));
        let launches = self.spread(group, count, &pod_groups);
        (!launches.is_empty()).then_some(launches)
    }

    /// How many nodes the limits of the cluster let it add.
    fn may_add(&self, group: &Offer) -> u32 {
        let limits: &Limits = &self.settings.limits;
        limits
            .more(&total(self.nodes.iter().copied()), &group.capacity)
            .min(limits.more_nodes(self.nodes.len()))
    }

    fn option(&self, group: &'a Offer, pods: &[PodGroup<'a>]) -> Option<Expansion<'a>> {
        if group.room == 0 || self.may_add(group) == 0 {
            return None;
        }
        let fitting: Vec<PodGroup<'a>> =
            pods.iter().filter(|pods| self.helps(group, pods)).cloned().collect();
        let room: u32 = self.similar(group, pods).iter().map(|group| group.room).fold(0, u32::saturating_add);
        let most = match self.settings.max_nodes_per_scaleup {
            0 => u32::MAX,
            most => most,
        };
        let limit = most.min(self.settings.limits.more_nodes(self.nodes.len())).min(room);
        let found = estimate(&fitting, &group.allocatable, limit, self.around(group));
        (found.nodes > 0).then(|| Expansion {
            group: &group.pool,
            node: group.capacity,
            price_usd_per_hour: group.price_usd_per_hour,
            nodes: found.nodes,
            pods: found.pods,
        })
    }

    /// The group and, where that is wanted, those that differ only in their zone and take the same pods.
    fn similar(&self, group: &'a Offer, pods: &[PodGroup<'a>]) -> Vec<&'a Offer> {
        if !self.settings.balance_similar_node_groups {
            return vec![group];
        }
        let alike = |other: &Offer| {
            (&other.instance_type, other.capacity_type, other.allocatable)
                == (&group.instance_type, group.capacity_type, group.allocatable)
                && pods.iter().all(|pods| !self.helps(group, pods) || self.helps(other, pods))
        };
        self.groups.iter().filter(|other| alike(other)).copied().collect()
    }

    /// Nodes over the group and those similar to it, always to the smallest.
    fn spread(&self, group: &'a Offer, count: u32, pods: &[PodGroup<'a>]) -> Launches<'a> {
        let size = |group: &Offer| self.nodes.iter().filter(|node| node.pool == group.pool).count();
        let mut groups: Vec<(&'a Offer, usize, u32)> =
            self.similar(group, pods).into_iter().map(|group| (group, size(group), 0)).collect();
        for _ in 0..count {
            let open = groups.iter_mut().filter(|(group, _, added)| *added < group.room);
            let Some((_, size, added)) = open.min_by_key(|(_, size, _)| *size) else { break };
            (*size, *added) = (*size + 1, *added + 1);
        }
        let grown = groups.into_iter().filter(|(_, _, added)| *added > 0);
        grown.map(|(group, _, added)| (group.pool.as_str(), added)).collect()
    }

    fn around(&self, group: &'a Offer) -> Option<Around<'a>> {
        let census = self.census.clone()?;
        Some(Around { census, zone: &group.zone, pool: &group.pool })
    }

    /// Whether pods like these fit on an empty node of the group.
    fn helps(&self, group: &'a Offer, pods: &PodGroup<'_>) -> bool {
        let Some(pod) = pods.first() else { return false };
        let around = self.around(group).filter(|_| pod.shape.tied.is_some());
        pod.shape.fits(&group.pool, &group.allocatable)
            && around.is_none_or(|mut around| {
                let seat = around.add();
                around.allows(pod, seat)
            })
    }
}

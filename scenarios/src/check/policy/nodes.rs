//! Node autoscalers: from flags, keys and manifests to what a run needs.

use scaletwin_core::control::{Policy, Schedule};
use scaletwin_core::input::{At, Place, Problem, Problems};
use scaletwin_core::random::Seed;
use scaletwin_core::units::Span;
use scaletwin_policies::kubernetes::cluster_autoscaler::spec::{
    CaSettings, ClusterAutoscalerSpec, FlagsSpec,
};
use scaletwin_policies::kubernetes::cluster_autoscaler::{ClusterAutoscaler, args};
use scaletwin_policies::kubernetes::karpenter::spec::{KarpenterSpec, NodePoolSettings};
use scaletwin_policies::kubernetes::karpenter::{DISRUPTION_PERIOD, Karpenter, KarpenterSettings, manifest};
use scaletwin_policies::kubernetes::manifest::only;
use scaletwin_sim::cluster::settings::{ClusterSettings, PoolSettings};
use serde::Serialize;

use super::manifests::Written;
use super::{CheckedController, Checking, Kind, Seen};
use crate::check::{choose, unknown};

/// A node autoscaler, checked.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckedNodes {
    ClusterAutoscaler { cluster: String, loop_duration: Span, settings: Box<CaSettings> },
    Karpenter { cluster: String, settings: KarpenterSettings },
}

impl CheckedNodes {
    /// The cluster whose nodes it adds and removes.
    pub(super) fn cluster(&self) -> &str {
        match self {
            CheckedNodes::ClusterAutoscaler { cluster, .. } | CheckedNodes::Karpenter { cluster, .. } => {
                cluster
            }
        }
    }

    pub(super) fn policy(&self, schedule: Schedule, seed: Seed) -> Box<dyn Policy> {
        match self {
            CheckedNodes::ClusterAutoscaler { cluster, loop_duration, settings } => {
                let luck = seed.component(&format!("controller/cluster-autoscaler/{cluster}/expander"));
                let settings = (**settings).clone();
                Box::new(ClusterAutoscaler::new(cluster.clone(), settings, *loop_duration, schedule, luck))
            }
            CheckedNodes::Karpenter { cluster, settings } => {
                Box::new(Karpenter::new(cluster.clone(), settings.clone(), schedule))
            }
        }
    }
}

pub(super) fn cluster_autoscaler(
    spec: &ClusterAutoscalerSpec,
    mut cx: Checking<'_>,
) -> Option<CheckedController> {
    let flags = cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| refuse(spec.flags.as_ref().map(|at| &at.place), "flags", problems),
        |nodes, place| args::read(nodes, only(nodes, "Deployment", place)?, &spec.waive),
        |_| Some(spec.flags.as_ref().map_or_else(FlagsSpec::defaults, |flags| flags.value.clone())),
    )?;
    let Checking { place, seen, problems, .. } = cx;
    let settings = flags.check(problems);
    let cluster = cluster(spec.cluster.as_ref(), place, seen, problems)?.name.clone();
    let settings = Box::new(settings?);
    let period = settings.scan_interval;
    let name = format!("cluster-autoscaler/{cluster}");
    let loop_duration = spec.loop_duration.0;
    let kind = Kind::Nodes(CheckedNodes::ClusterAutoscaler { cluster, loop_duration, settings });
    Some(CheckedController { name, place: place.clone(), period, offset: spec.offset, kind })
}

pub(super) fn karpenter(spec: &KarpenterSpec, mut cx: Checking<'_>) -> Option<CheckedController> {
    let own_place = cx.place;
    let cluster = cluster(spec.cluster.as_ref(), cx.place, cx.seen, cx.problems)?;
    let mut node_pools = cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| refuse(spec.node_pools.as_ref().map(|_| own_place), "node_pools", problems),
        |nodes, place| manifest::read(nodes, &spec.waive, place),
        |problems| own_pools(spec, cluster, problems),
    )?;
    node_pools.retain_mut(|node_pool| hold_to_labels(node_pool, cluster, own_place, cx.problems));
    let (idle, max) = (spec.batch_idle_duration.0, spec.batch_max_duration.0);
    let settings = KarpenterSettings::new(node_pools, idle, max, spec.spot_to_spot_consolidation);
    let cluster = cluster.name.clone();
    let name = format!("karpenter/{cluster}");
    let kind = Kind::Nodes(CheckedNodes::Karpenter { cluster, settings });
    let period = DISRUPTION_PERIOD;
    Some(CheckedController { name, place: cx.place.clone(), period, offset: spec.offset, kind })
}

/// Leaves a NodePool the node pools of the scenario whose labels are not others than those that it gives to its nodes. Whether
/// there are any.
fn hold_to_labels(
    node_pool: &mut NodePoolSettings,
    cluster: &ClusterSettings,
    place: &Place,
    problems: &mut Problems,
) -> bool {
    let agrees = |pool: &PoolSettings| {
        node_pool.labels.iter().all(|(key, value)| pool.labels.get(key).is_none_or(|own| own == value))
    };
    let named = |pool: &PoolSettings| node_pool.pools.is_empty() || node_pool.pools.contains(&pool.name);
    if cluster.pools.iter().filter(|pool| named(pool)).all(&agrees) {
        return true;
    }
    let left: Vec<String> = cluster
        .pools
        .iter()
        .filter(|pool| named(pool) && agrees(pool))
        .map(|pool| pool.name.clone())
        .collect();
    if left.is_empty() {
        let message = format!(
            "the NodePool {} launches nothing: every node pool has another value of a label that it gives its nodes",
            node_pool.name
        );
        let hint =
            "give node pools of the scenario the labels of its spec.template.metadata, or none of these keys";
        problems.push(Problem::warning(place, message).hint(hint));
    }
    node_pool.pools = left;
    !node_pool.pools.is_empty()
}

/// The NodePools by our own keys.
fn own_pools(
    spec: &KarpenterSpec,
    cluster: &ClusterSettings,
    problems: &mut Problems,
) -> Option<Vec<NodePoolSettings>> {
    let Some(written) = &spec.node_pools else { return Some(vec![NodePoolSettings::default_pool()]) };
    for pool in written.iter().flat_map(|node_pool| &node_pool.pools) {
        check_pool(pool, cluster, problems);
    }
    crate::check::check_names("NodePool", written.iter().map(|pool| &pool.name), problems);
    let found: Vec<Option<NodePoolSettings>> = written.iter().map(|pool| pool.check(problems)).collect();
    found.into_iter().collect()
}

fn cluster<'a>(
    written: Option<&At<String>>,
    place: &Place,
    seen: &Seen<'a>,
    problems: &mut Problems,
) -> Option<&'a ClusterSettings> {
    let names: Vec<&str> = seen.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    choose("cluster", written, place, &names, problems).map(|found| &seen.clusters[found])
}

fn check_pool(written: &At<String>, cluster: &ClusterSettings, problems: &mut Problems) {
    let names: Vec<&str> = cluster.pools.iter().map(|pool| pool.name.as_str()).collect();
    if !names.contains(&written.value.as_str()) {
        problems.push(unknown(&written.place, "node pool", written, &names));
    }
}

/// Refuses own keys beside a manifest.
fn refuse(own: Option<&Place>, key: &str, problems: &mut Problems) {
    if let Some(place) = own {
        let problem = Problem::error(place, format!("manifest: and {key}: exclude each other"));
        problems.push(problem.hint("remove one of them"));
    }
}

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
use scaletwin_sim::cluster::settings::ClusterSettings;
use serde::Serialize;

use super::manifests::{manifest_of, refuse_waivers};
use super::{CheckedController, Kind, Seen};
use crate::check::{PolicyText, choose, unknown};

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
    place: &Place,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    if spec.manifest.is_none() {
        refuse_waivers(&spec.waive, place, problems);
    }
    let flags = match (&spec.manifest, &spec.flags) {
        (Some(path), None) => manifest_of(path, policy, waived, problems, |nodes| {
            let deployment = only(nodes, "Deployment", &path.place)?;
            args::read(nodes, deployment, &spec.waive)
        })?,
        (None, Some(flags)) => flags.value.clone(),
        (None, None) => FlagsSpec::defaults(),
        (Some(path), Some(_)) => return both(path, "flags", problems),
    };
    let settings = flags.check(problems);
    let cluster = cluster(spec.cluster.as_ref(), place, seen, problems)?.name.clone();
    let settings = Box::new(settings?);
    let period = settings.scan_interval;
    let name = format!("cluster-autoscaler/{cluster}");
    let loop_duration = spec.loop_duration.0;
    let kind = Kind::Nodes(CheckedNodes::ClusterAutoscaler { cluster, loop_duration, settings });
    Some(CheckedController { name, place: place.clone(), period, offset: spec.offset, kind })
}

pub(super) fn karpenter(
    spec: &KarpenterSpec,
    place: &Place,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    if spec.manifest.is_none() {
        refuse_waivers(&spec.waive, place, problems);
    }
    let cluster = cluster(spec.cluster.as_ref(), place, seen, problems)?;
    let node_pools = match (&spec.manifest, &spec.node_pools) {
        (Some(path), None) => manifest_of(path, policy, waived, problems, |nodes| {
            manifest::read(nodes, &spec.waive, &path.place)
        })?,
        (None, Some(written)) => {
            for pool in written.iter().flat_map(|node_pool| &node_pool.pools) {
                check_pool(pool, cluster, problems);
            }
            crate::check::check_names("NodePool", written.iter().map(|pool| &pool.name), problems);
            let found: Vec<Option<NodePoolSettings>> =
                written.iter().map(|pool| pool.check(problems)).collect();
            found.into_iter().collect::<Option<Vec<_>>>()?
        }
        (None, None) => vec![NodePoolSettings::default_pool()],
        (Some(path), Some(_)) => return both(path, "node_pools", problems),
    };
    let (idle, max) = (spec.batch_idle_duration.0, spec.batch_max_duration.0);
    let settings = KarpenterSettings::new(node_pools, idle, max, spec.spot_to_spot_consolidation);
    let cluster = cluster.name.clone();
    let name = format!("karpenter/{cluster}");
    let kind = Kind::Nodes(CheckedNodes::Karpenter { cluster, settings });
    let period = DISRUPTION_PERIOD;
    Some(CheckedController { name, place: place.clone(), period, offset: spec.offset, kind })
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

fn both<T>(path: &At<String>, own: &str, problems: &mut Problems) -> Option<T> {
    let problem = Problem::error(&path.place, format!("manifest: and {own}: exclude each other"));
    problems.push(problem.hint("remove one of them"));
    None
}

//! Where pods may run, and how much there may be.

use scaletwin_core::control::Resources;
use scaletwin_core::input::{At, Positive, Problem, Problems, suggestion};
use scaletwin_core::units::Quantity;
use scaletwin_sim::cluster::settings::{GpuSharing, PoolSettings, Quota};

use super::affinity;
use crate::spec::cluster::{ClusterSpec, NodePoolSpec};
use crate::spec::scheduling::{
    Effect, GpuSharingSpec, Labels, OvercommitSpec, QuotaSpec, ReservedSpec, TaintSpec,
};
use crate::spec::service::DeploymentSpec;

pub(super) fn quota(spec: &At<QuotaSpec>, pools: &[PoolSettings], problems: &mut Problems) -> Quota {
    let quota = Quota {
        cpu_milli: spec.cpu.map(Quantity::milli_value),
        gpu_milli: spec.gpus.map(|gpus| i64::from(gpus) * 1_000),
    };
    let mut at_start = Resources::default();
    for pool in pools {
        let nodes = i64::from(pool.min_nodes);
        let whole = pool.whole();
        at_start.cpu_milli = at_start.cpu_milli.saturating_add(whole.cpu_milli.saturating_mul(nodes));
        at_start.gpu_milli = at_start.gpu_milli.saturating_add(whole.gpu_milli.saturating_mul(nodes));
    }
    let beyond = |most: Option<i64>, used: i64| most.is_some_and(|most| used > most);
    if beyond(quota.cpu_milli, at_start.cpu_milli) || beyond(quota.gpu_milli, at_start.gpu_milli) {
        problems.error(&spec.place, "the nodes of the start are beyond the quota");
    }
    quota
}

/// What pods have of a node with so much, and what is taken before.
pub(super) fn divide(
    whole: Resources,
    spec: &At<ReservedSpec>,
    problems: &mut Problems,
) -> (Resources, Resources) {
    let reserved = Resources {
        cpu_milli: spec.cpu.map_or(0, Quantity::milli_value),
        memory_bytes: i64::try_from(spec.memory.0).unwrap_or(i64::MAX),
        gpu_milli: 0,
    };
    if reserved.cpu_milli < 0 || !reserved.fits(&whole) {
        problems.error(&spec.place, "reserved: is at least 0 and at most what a node has");
        return (whole, Resources::default());
    }
    (whole.minus(&reserved), reserved)
}

/// What pods may request of a node more than they have.
pub(super) fn overcommitted(
    allocatable: &Resources,
    spec: &At<OvercommitSpec>,
    problems: &mut Problems,
) -> Resources {
    let mut more = |amount: i64, ratio: Option<Positive>| {
        let ratio = ratio.map_or(1.0, |ratio| ratio.0);
        if ratio < 1.0 {
            problems.push(
                Problem::error(&spec.place, "pods may request at least what they have")
                    .hint("write a ratio of 1 or more, or reserved: for what is taken of a node"),
            );
        }
        rounded_down(amount as f64 * (ratio - 1.0).max(0.0))
    };
    Resources {
        cpu_milli: more(allocatable.cpu_milli, spec.cpu),
        memory_bytes: more(allocatable.memory_bytes, spec.memory),
        gpu_milli: 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float saturates, which is meant")]
fn rounded_down(value: f64) -> i64 {
    value as i64
}

/// The most slices of a GPU: with more, thousandths do not tell them apart. MIG has seven at most.
const MOST_SLICES: u32 = 10;

/// How the GPUs of a pool are shared.
pub(super) fn sharing(spec: &At<GpuSharingSpec>, gpus: u32, problems: &mut Problems) -> Option<GpuSharing> {
    if gpus == 0 {
        problems.error(&spec.place, "a node without GPUs shares none");
    }
    let slices = spec.slices.value.0;
    if !(2..=MOST_SLICES).contains(&slices) {
        problems.error(&spec.slices.place, format!("a GPU has 2 to {MOST_SLICES} slices"));
        return None;
    }
    let slowdown = spec.slowdown.as_ref().map_or(f64::from(slices), |written| written.value.0);
    let memory = spec.memory.as_ref().map_or(1.0 / f64::from(slices), |written| written.value.get());
    if let Some(written) = spec.slowdown.as_ref().filter(|_| slowdown < 1.0) {
        problems.error(&written.place, "a slice is not faster than the whole");
    }
    if let Some(written) = spec.memory.as_ref().filter(|_| memory * f64::from(slices) > 1.0 + 1e-9) {
        problems.error(&written.place, "the slices have more memory than the GPU");
    }
    if let Some(written) = spec.memory.as_ref().filter(|_| memory <= 0.0) {
        problems.error(&written.place, "a slice has some memory");
    }
    Some(GpuSharing { slices, slowdown, memory })
}

/// Whether a pool has what a replica requests of GPUs: slices of its kind, whole ones, or none.
pub(super) fn has_gpus(pool: &PoolSettings, gpu_milli: i64) -> bool {
    match pool.gpu_sharing {
        _ if gpu_milli == 0 => true,
        Some(sharing) => sharing.slice_milli() == gpu_milli,
        None => gpu_milli % 1_000 == 0,
    }
}

/// The pools of its cluster that a deployment may not run in, by their labels and taints.
pub(super) fn barred(
    spec: &At<DeploymentSpec>,
    cluster: Option<&At<ClusterSpec>>,
    problems: &mut Problems,
) -> Vec<String> {
    let Some(cluster) = cluster else {
        let keys = [
            !spec.node_selector.is_empty(),
            !spec.tolerations.is_empty(),
            spec.max_spot_share.is_some(),
            affinity::is_written(spec),
        ];
        if keys.contains(&true) {
            let message = "what says where its pods run needs a cluster";
            problems.push(Problem::error(&spec.place, message).hint("add clusters:"));
        }
        return Vec::new();
    };
    let pools = &cluster.node_pools.value;
    check_labels(&spec.node_selector, pools, problems);
    let closed = pools.iter().filter(|pool| !admits(pool, spec));
    let barred: Vec<String> = closed.map(|pool| pool.name.value.clone()).collect();
    let mut named =
        pools.iter().filter(|pool| spec.node_pool.as_ref().is_none_or(|name| name.value == pool.name.value));
    if !pools.is_empty() && named.all(|pool| barred.contains(&pool.name.value)) {
        let problem =
            Problem::error(&spec.place, "no node pool takes its pods: their labels and taints bar them");
        problems.push(problem.hint("add tolerations:, or change node_selector:"));
    }
    barred
}

/// Each of these labels is that of a pool.
pub(super) fn check_labels(labels: &Labels, pools: &[At<NodePoolSpec>], problems: &mut Problems) {
    for (key, value) in labels {
        let known: Vec<&str> = pools.iter().filter_map(|pool| label(pool, key)).collect();
        if !known.contains(&value.value.as_str()) {
            let message = format!("no node pool has the label {key}: {}", value.value);
            let hint = suggestion(&value.value, &known).unwrap_or_else(|| format!("add {key} to labels:"));
            problems.push(Problem::error(&value.place, message).hint(hint));
        }
    }
}

fn admits(pool: &NodePoolSpec, spec: &DeploymentSpec) -> bool {
    let hard = |taint: &&TaintSpec| taint.effect != Effect::PreferNoSchedule;
    has_labels(pool, &spec.node_selector)
        && pool.taints.iter().filter(hard).all(|taint| tolerates(spec, taint))
}

/// Whether a pool's nodes have all these labels.
pub(super) fn has_labels(pool: &NodePoolSpec, labels: &Labels) -> bool {
    labels.iter().all(|(key, value)| label(pool, key) == Some(value.value.as_str()))
}

/// Whether a deployment's pods tolerate a taint.
pub(super) fn tolerates(spec: &DeploymentSpec, taint: &TaintSpec) -> bool {
    spec.tolerations.iter().any(|toleration| toleration.tolerates(taint))
}

/// The value of a label of a pool's nodes: one of its own, or one that Kubernetes and the provisioners set.
fn label<'a>(pool: &'a NodePoolSpec, key: &str) -> Option<&'a str> {
    if let Some(own) = pool.labels.get(key) {
        return Some(&own.value);
    }
    match key {
        "topology.kubernetes.io/zone" => Some(&pool.zone),
        "node.kubernetes.io/instance-type" => Some(&pool.instance_type.value),
        "karpenter.sh/capacity-type" => Some(pool.capacity_type.name()),
        "cloud.google.com/gke-nodepool" => Some(&pool.name.value),
        _ => None,
    }
}

//! Clusters and node pools.

use std::path::Path;

use scaletwin_core::control::Resources;
use scaletwin_core::input::{At, Place, Problem, Problems, suggestion};
use scaletwin_core::random::Law;
use scaletwin_core::units::{Bandwidth, Bytes, Civil, Quantity, Span};
use scaletwin_hardware::{InstanceType, accelerators, host, instance_type, instance_types};
use scaletwin_sim::cluster::ledger::{Billing, Commitment, Terms};
use scaletwin_sim::cluster::settings::{
    ClusterSettings, GpuSharing, NodePower, PoolSettings, Shocks, SpotSettings,
};

use super::market::Beginning;
use super::{check_names, failures, market, scheduling};
use crate::spec::cluster::{Capacity, ClusterSpec, CommitmentSpec, NodePoolSpec, SpotSpec};

/// From launch to ready, seconds: Karpenter on AWS (devfloor9 playbook).
const PROVISIONING: Law = Law::Uniform { min: 45.0, max: 90.0 };

pub(super) fn clusters(
    specs: &[At<ClusterSpec>],
    start: Option<Civil>,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<ClusterSettings> {
    check_names("cluster", specs.iter().map(|spec| &spec.name), problems);
    let mut beginning = Beginning { start, first: None };
    let cluster = |spec: &At<ClusterSpec>| {
        let pools = &spec.node_pools;
        check_names("node pool", pools.value.iter().map(|pool| &pool.name), problems);
        if pools.value.is_empty() {
            problems.error(&pools.place, "a cluster has at least one node pool");
        }
        let pools: Vec<PoolSettings> =
            pools.value.iter().filter_map(|spec| pool(spec, &mut beginning, folder, problems)).collect();
        let registry_bandwidth = spec.registry_bandwidth.map(Bandwidth::as_bytes_per_second);
        let detection = failures::detection(&spec.detection);
        let quota = scheduling::quota(&spec.quota, &pools, problems);
        let placement = spec.placement;
        ClusterSettings {
            name: spec.name.value.clone(),
            registry_bandwidth,
            placement,
            quota,
            detection,
            pools,
        }
    };
    specs.iter().map(cluster).collect()
}

fn pool(
    spec: &At<NodePoolSpec>,
    beginning: &mut Beginning,
    folder: &Path,
    problems: &mut Problems,
) -> Option<PoolSettings> {
    let known = instance_type(&spec.instance_type);
    if known.is_none() && (spec.cpu.is_none() || spec.memory.is_none()) {
        let names: Vec<_> = instance_types().iter().map(|known| known.name.as_str()).collect();
        let message = format!("unknown instance type {:?}", spec.instance_type.value);
        let near = suggestion(&spec.instance_type, &names).filter(|hint| hint.starts_with("did"));
        let hint = near.unwrap_or_else(|| "or describe it with cpu, memory, gpus, accelerator".to_owned());
        problems.push(Problem::error(&spec.instance_type.place, message).hint(hint));
        return None;
    }
    if spec.cpu.is_some_and(|cpu| cpu.milli_value() < 0) {
        problems.error(&spec.place, "cores are at least 0");
    }
    let fewest = u64::from(spec.nodes.value.min);
    super::check_count(&spec.nodes.place, fewest, super::MOST, "nodes", problems);
    let gpus = spec.gpus.unwrap_or_else(|| known.map_or(0, |known| known.gpus));
    let history =
        spec.prices.as_ref().map(|prices| market::prices(prices, spec, beginning, folder, problems));
    if let (Some(_), Some(prices)) = (spec.price_usd_per_hour, &spec.prices) {
        let problem = Problem::error(&prices.place, "a price is one number or a history, not both");
        problems.push(problem.hint("remove price_usd_per_hour: or prices:"));
    }
    let at_start = history.as_ref().and_then(|prices| prices.first()).map(|(_, price)| *price);
    let accelerator = accelerator(spec, known, gpus, problems);
    let whole = Resources {
        cpu_milli: spec.cpu.map_or_else(|| cores(known), Quantity::milli_value),
        memory_bytes: memory(spec.memory, known),
        gpu_milli: i64::from(gpus) * 1_000,
    };
    let (allocatable, reserved) = scheduling::divide(whole, &spec.reserved, problems);
    let overcommitted = scheduling::overcommitted(&allocatable, &spec.overcommit, problems);
    let gpu_sharing =
        spec.gpu_sharing.as_ref().and_then(|written| scheduling::sharing(written, gpus, problems));
    let usd_per_hour = at_start.or_else(|| price(spec, known));
    if let (Some(commitment), None) = (&spec.commitment, usd_per_hour) {
        let problem = Problem::error(&commitment.place, "nodes beyond the commitment have no price");
        problems.push(problem.hint("add price_usd_per_hour:"));
    }
    Some(PoolSettings {
        power: power(spec, known, accelerator.as_deref(), problems),
        name: spec.name.value.clone(),
        instance_type: spec.instance_type.value.clone(),
        capacity_type: spec.capacity_type.capacity_type(),
        zone: spec.zone.clone(),
        labels: spec.labels.iter().map(|(key, at)| (key.clone(), at.value.clone())).collect(),
        allocatable: allocatable.plus(&overcommitted),
        reserved,
        overcommitted,
        gpu_sharing,
        accelerator,
        terms: Terms {
            usd_per_hour,
            billing: Billing { minimum: spec.billing.minimum, granularity: spec.billing.granularity },
            commitment: spec.commitment.as_ref().map(|written| commitment(spec, written, problems)),
        },
        prices: history.unwrap_or_default().into_iter().skip(1).collect(),
        min_nodes: spec.nodes.min,
        max_nodes: spec.nodes.max,
        provisioning: spec.provisioning.as_ref().map_or(PROVISIONING, |written| written.law.clone()),
        download: spec.download.as_bytes_per_second(),
        failures: spec.failures.as_ref().map(|written| failures::failures(written, problems)),
        spot: spec.spot.as_ref().map(|written| spot(spec, written, folder, problems)),
    })
}

fn commitment(pool: &NodePoolSpec, spec: &At<CommitmentSpec>, problems: &mut Problems) -> Commitment {
    if pool.capacity_type == Capacity::Spot {
        let problem = Problem::error(&spec.place, "nobody commits to spot nodes in advance");
        problems.push(problem.hint("write capacity_type: reserved, or remove commitment:"));
    }
    Commitment { nodes: spec.nodes, usd_per_hour: spec.usd_per_hour.0 }
}

fn spot(pool: &NodePoolSpec, spec: &At<SpotSpec>, folder: &Path, problems: &mut Problems) -> SpotSettings {
    if pool.capacity_type != Capacity::Spot {
        let problem = Problem::error(&spec.place, "only spot nodes are taken back");
        problems.push(problem.hint("write capacity_type: spot, or remove spot:"));
    }
    let takes = spec.lifetime.is_some() || spec.shocks.is_some();
    if !takes && spec.available.value.is_empty() && spec.availability.is_none() {
        let problem = Problem::error(&spec.place, "nothing says when nodes are taken back");
        problems.push(
            problem.hint("add lifetime: {exponential: {mean: 10h}}, or available: [{from: 1h, nodes: 0}]"),
        );
    }
    let available: Vec<(Span, u32)> = match &spec.availability {
        Some(series) => market::availability(series, folder, problems),
        None => spec.available.value.iter().map(|step| (step.from, step.nodes)).collect(),
    };
    if let (Some(series), false) = (&spec.availability, spec.available.value.is_empty()) {
        let problem = Problem::error(&series.place, "the capacity is a list or a series, not both");
        problems.push(problem.hint("remove available: or availability:"));
    }
    if spec.availability.is_none() && !available.is_sorted_by(|a, b| a.0 < b.0) {
        problems.error(&spec.available.place, "the instants of available: ascend");
    }
    if available.first().is_some_and(|(from, nodes)| from.is_zero() && *nodes < pool.nodes.value.min) {
        problems.error(&pool.nodes.place, "the pool keeps more nodes than are available at the start");
    }
    SpotSettings {
        lifetime: spec.lifetime.as_ref().map(|law| law.law.clone()),
        notice: spec.notice,
        rebalance: spec.rebalance,
        shocks: spec
            .shocks
            .as_ref()
            .map(|shocks| Shocks { every: shocks.every.law.clone(), share: shocks.share.get() }),
        available,
    }
}

/// The power of a node, if that of its host and of its GPUs is known.
fn power(
    spec: &NodePoolSpec,
    known: Option<&InstanceType>,
    gpus: Option<&str>,
    problems: &mut Problems,
) -> Option<NodePower> {
    let (host_idle_watts, host_peak_watts) = match (&spec.host_power, known) {
        (Some(written), _) => {
            if written.peak_watts.0 < written.idle_watts.0 {
                problems.error(&written.place, "the peak is below the power without work");
            }
            (written.idle_watts.0, written.peak_watts.0)
        }
        (None, Some(known)) => {
            let host = host(&known.provider)?;
            let cores = spec.cpu.map_or_else(|| cores(Some(known)), Quantity::milli_value) as f64 / 1e3;
            let memory = memory(spec.memory, Some(known)) as f64 / 1e9 * host.watts_per_gb.get();
            let watts = |per_core: f64| per_core * cores + memory;
            (watts(host.idle_watts_per_vcpu.get()), watts(host.peak_watts_per_vcpu.get()))
        }
        (None, None) => return None,
    };
    let (gpu_idle_watts, gpu_peak_watts) = match gpus {
        None => (0.0, 0.0),
        Some(name) => {
            let gpu = scaletwin_hardware::accelerator(name)?;
            (gpu.idle_watts?.get(), gpu.peak_watts?.get())
        }
    };
    Some(NodePower { host_idle_watts, host_peak_watts, gpu_idle_watts, gpu_peak_watts })
}

fn cores(known: Option<&InstanceType>) -> i64 {
    known.map_or(0, |known| i64::from(known.vcpus) * 1_000)
}

fn memory(written: Option<Bytes>, known: Option<&InstanceType>) -> i64 {
    let bytes = written.map_or_else(|| known.map_or(0, |known| u64::from(known.memory_gib) << 30), |b| b.0);
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn price(spec: &NodePoolSpec, known: Option<&InstanceType>) -> Option<f64> {
    let listed = known.and_then(|known| match spec.capacity_type {
        Capacity::Spot => known.spot_usd_per_hour,
        Capacity::OnDemand | Capacity::Reserved => Some(known.on_demand_usd_per_hour),
    });
    spec.price_usd_per_hour.map(|price| price.0).or(listed)
}

fn accelerator(
    spec: &At<NodePoolSpec>,
    known: Option<&InstanceType>,
    gpus: u32,
    problems: &mut Problems,
) -> Option<String> {
    if let Some(written) = &spec.accelerator {
        if gpus == 0 {
            problems.error(&written.place, "a node without GPUs has no accelerator");
        }
        check_accelerator(written, problems);
        return Some(written.value.clone());
    }
    let listed = known.and_then(|known| known.accelerator.clone());
    if gpus > 0 && listed.is_none() {
        let problem = Problem::error(&spec.place, "the accelerator of these GPUs is not known");
        problems.push(problem.hint(format!("add accelerator: one of {}", accelerators().join(", "))));
    }
    listed.filter(|_| gpus > 0)
}

/// Refuses an accelerator that is not in the catalogue.
pub(super) fn check_accelerator(written: &At<String>, problems: &mut Problems) {
    if scaletwin_hardware::accelerator(written).is_none() {
        problems.push(super::unknown(&written.place, "accelerator", written, &accelerators()));
    }
}

/// How the GPUs of the pools are shared that a deployment can run in: in one way.
pub(super) fn sharing_of(
    cluster: &ClusterSettings,
    may_run_in: impl Fn(&str) -> bool,
    place: &Place,
    problems: &mut Problems,
) -> Option<GpuSharing> {
    let pools = cluster.pools.iter().filter(|known| may_run_in(&known.name));
    let mut found = pools.filter_map(|pool| pool.gpu_sharing);
    let first = found.next();
    if found.any(|other| Some(other) != first) {
        let problem = Problem::error(place, "its nodes share their GPUs in different ways");
        problems.push(problem.hint("add node_pool:, so that one remains"));
    }
    first
}

/// The one accelerator of the pools that a deployment can run in.
pub(super) fn accelerator_of(
    cluster: &ClusterSettings,
    may_run_in: impl Fn(&str) -> bool,
    place: &Place,
    problems: &mut Problems,
) -> Option<String> {
    let pools = cluster.pools.iter().filter(|known| may_run_in(&known.name));
    let mut found: Vec<&String> = pools.filter_map(|pool| pool.accelerator.as_ref()).collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [] => None,
        [one] => Some((*one).clone()),
        several => {
            let names: Vec<_> = several.iter().map(|name| name.as_str()).collect();
            let message = format!("its nodes have different accelerators: {}", names.join(", "));
            problems.push(Problem::error(place, message).hint("add node_pool:, so that one remains"));
            None
        }
    }
}

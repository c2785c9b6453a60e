//! Failures of nodes and outages of zones.

use scaletwin_core::input::{At, Problem, Problems};
use scaletwin_core::random::Law;
use scaletwin_sim::cluster::settings::{ClusterSettings, CrashSettings, Detection, FailureSettings, Outage};

use super::{choose, unknown};
use crate::spec::failures::{CrashesSpec, DetectionSpec, FailuresSpec, OutageSpec};

pub(super) fn detection(spec: &DetectionSpec) -> Detection {
    Detection { grace_period: spec.grace_period, toleration: spec.toleration }
}

pub(super) fn failures(spec: &At<FailuresSpec>, problems: &mut Problems) -> FailureSettings {
    let at: Vec<_> = spec.at.value.iter().map(|failure| (failure.at, failure.nodes.0)).collect();
    if !at.is_sorted_by(|a, b| a.0 < b.0) {
        problems.error(&spec.at.place, "the instants of failures ascend");
    }
    FailureSettings {
        mtbf: spec.mtbf.map(|mtbf| Law::Exponential { mean: mtbf.0.as_secs_f64() }),
        at,
        requests: spec.requests,
        repair: spec.repair,
        recovery: spec.recovery,
    }
}

pub(super) fn crashes(spec: &At<CrashesSpec>, problems: &mut Problems) -> CrashSettings {
    let at: Vec<_> = spec.at.value.iter().map(|crash| (crash.at, crash.replicas.0)).collect();
    if !at.is_sorted_by(|a, b| a.0 < b.0) {
        problems.error(&spec.at.place, "the instants of crashes ascend");
    }
    if spec.max_back_off.0 < spec.back_off.0 {
        problems.error(&spec.place, "the longest wait is shorter than the first");
    }
    CrashSettings {
        mtbf: spec.mtbf.map(|mtbf| Law::Exponential { mean: mtbf.0.as_secs_f64() }),
        at,
        back_off: spec.back_off.0,
        max_back_off: spec.max_back_off.0,
    }
}

pub(super) fn outages(
    specs: &[At<OutageSpec>],
    clusters: &[ClusterSettings],
    problems: &mut Problems,
) -> Vec<Outage> {
    specs.iter().filter_map(|spec| outage(spec, clusters, problems)).collect()
}

fn outage(spec: &At<OutageSpec>, clusters: &[ClusterSettings], problems: &mut Problems) -> Option<Outage> {
    if clusters.is_empty() {
        problems.push(Problem::error(&spec.place, "an outage needs a cluster").hint("add clusters:"));
        return None;
    }
    let names: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let cluster = choose("cluster", spec.cluster.as_ref(), &spec.place, &names, problems)?;
    let zones: Vec<&str> = clusters[cluster].pools.iter().map(|pool| pool.zone.as_str()).collect();
    if !zones.contains(&spec.zone.value.as_str()) {
        problems.push(unknown(&spec.zone.place, "zone", &spec.zone, &zones));
        return None;
    }
    let zone = spec.zone.value.clone();
    Some(Outage { cluster, zone, at: spec.at, duration: spec.duration.0, requests: spec.requests })
}

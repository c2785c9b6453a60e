//! Services and deployments.

use std::sync::Arc;

use scaletwin_core::control::{ContainerRequests, PodTerms, Resource, Resources, TargetName};
use scaletwin_core::input::{At, Problem, Problems};
use scaletwin_core::random::Law;
use scaletwin_core::record::LatencyMetric;
use scaletwin_core::units::{Quantity, Share};
use scaletwin_sim::cluster::budgets::DisruptionBudget;
use scaletwin_sim::cluster::preferences::Preferences;
use scaletwin_sim::cluster::rollout::UpdateStrategy;
use scaletwin_sim::cluster::settings::{ClusterSettings, DeploymentSettings, PoolSettings, Readiness};
use scaletwin_sim::cluster::standby::StandbySettings;
use scaletwin_sim::world::cross_zone::CrossZone;
use scaletwin_sim::world::settings::{
    DeploymentModel, EngineSettings, HealthCheck, OutlierDetection, ServiceModel,
};

use super::affinity::Others;
use super::{affinity, check_names, choose, cluster, engine, failures, routing, scheduling, start_up};
use crate::spec::ScenarioSpec;
use crate::spec::cluster::ClusterSpec;
use crate::spec::engine::EngineSpec;
use crate::spec::scheduling::PreemptionPolicy;
use crate::spec::service::{BudgetSpec, DeploymentSpec, ServiceSpec};

/// From node to ready, seconds, of an LLM server: `spin_up` of Microsoft's SageServe simulator.
const LLM_COLD_START: Law = Law::Constant { value: 155.0 };
/// The same of anything else: assumed.
const COLD_START: Law = Law::Constant { value: 10.0 };

pub(super) fn services(
    spec: &ScenarioSpec,
    clusters: &[ClusterSettings],
    problems: &mut Problems,
) -> (Vec<ServiceModel>, Vec<DeploymentModel>) {
    check_names("service", spec.services.value.iter().map(|service| &service.name), problems);
    if spec.services.value.is_empty() {
        problems.error(&spec.services.place, "a scenario has at least one service");
    }
    let (mut services, mut deployments, mut specs) = (Vec::new(), Vec::new(), Vec::new());
    let others = Others::of(spec);
    let mut own = 0..;
    for (place, written) in spec.services.value.iter().enumerate() {
        services.push(service(written, problems));
        let first = deployments.len();
        for (written_deployment, own) in written.deployments.value.iter().zip(&mut own) {
            let Some(mut model) =
                deployment(written_deployment, written, place, clusters, &spec.clusters, problems)
            else {
                continue;
            };
            let cluster = model.settings.cluster.map(|place| &spec.clusters[place]);
            (model.settings.terms, model.settings.preferences) =
                affinity::affinity(written_deployment, own, &others, cluster, problems);
            deployments.push(model);
            specs.push(written_deployment);
        }
        let balance = &services[place].routing.balance;
        routing::check_reports(&written.routing, balance, &deployments[first..], problems);
    }
    start_up::check_shared(&deployments, &specs, problems);
    (services, deployments)
}

fn has_tokens(engine: &EngineSpec) -> bool {
    matches!(engine, EngineSpec::ContinuousBatching(_))
}

fn service(spec: &At<ServiceSpec>, problems: &mut Problems) -> ServiceModel {
    let deployments = &spec.deployments.value;
    check_names("deployment", deployments.iter().map(|deployment| &deployment.name), problems);
    if deployments.is_empty() {
        problems.error(&spec.deployments.place, "a service has at least one deployment");
    }
    let tokens = deployments.first().is_some_and(|first| has_tokens(&first.engine));
    if let Some(other) = deployments.iter().find(|deployment| has_tokens(&deployment.engine) != tokens) {
        let problem =
            Problem::error(&other.engine.place, "the deployments of a service have engines of one kind");
        problems.push(problem.hint("make it a service of its own"));
    }
    let slo = spec.slo.value.0.clone();
    let of_tokens = [LatencyMetric::Ttft, LatencyMetric::Itl, LatencyMetric::Tpot];
    if let Some(objective) = slo.objectives.iter().find(|o| !tokens && of_tokens.contains(&o.metric)) {
        let message = format!("{} needs an engine that produces tokens", objective.metric.name());
        problems.push(Problem::error(&spec.slo.place, message).hint("use e2e or wait"));
    }
    ServiceModel {
        name: spec.name.value.clone(),
        slo,
        routing: routing::routing(spec, problems),
        cross_zone: spec.cross_zone.as_ref().map(|written| CrossZone {
            usd_per_gb: written.usd_per_gb.0,
            request: written.request.0,
            response: written.response.0,
            prompt_token: written.prompt_token.0,
            output_token: written.output_token.0,
        }),
        health_check: spec.health_check.as_ref().map(|check| HealthCheck {
            interval: check.interval.0,
            timeout: check.timeout,
            unhealthy_threshold: check.unhealthy_threshold.0,
        }),
        outlier_detection: spec.outlier_detection.as_ref().map(|outlier| OutlierDetection {
            consecutive_failures: outlier.consecutive_failures.0,
            ejection: outlier.ejection.0,
        }),
        queue: match &spec.queue {
            None => Some(0),
            Some(queue) => queue.limit,
        },
        has_tokens: tokens,
    }
}

fn deployment(
    spec: &At<DeploymentSpec>,
    service: &ServiceSpec,
    service_place: usize,
    clusters: &[ClusterSettings],
    written: &[At<ClusterSpec>],
    problems: &mut Problems,
) -> Option<DeploymentModel> {
    let names: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let cluster = match (&spec.cluster, clusters.is_empty()) {
        (None, true) => None,
        (written, _) => Some(choose("cluster", written.as_ref(), &spec.place, &names, problems)?),
    };
    if let (Some(pool), Some(cluster)) = (&spec.node_pool, cluster) {
        let pools: Vec<&str> = clusters[cluster].pools.iter().map(|pool| pool.name.as_str()).collect();
        choose("node pool", Some(pool), &spec.place, &pools, problems)?;
    }
    if let (Some(pool), None) = (&spec.node_pool, cluster) {
        problems.error(&pool.place, "a node pool needs a cluster");
    }
    if let Some(written) = &spec.accelerator {
        cluster::check_accelerator(written, problems);
    }
    let gpu_milli = gpu_milli(spec, problems);
    let gpus = u32::try_from((gpu_milli + 999) / 1_000).unwrap_or(u32::MAX);
    let mut barred = scheduling::barred(spec, cluster.map(|place| &written[place]), problems);
    let pools = cluster.map_or(&[][..], |place| &clusters[place].pools);
    for pool in pools.iter().filter(|pool| !scheduling::has_gpus(pool, gpu_milli)) {
        if !barred.contains(&pool.name) {
            barred.push(pool.name.clone());
        }
    }
    let may_run_in = |pool: &str| {
        let named = spec.node_pool.as_ref().is_none_or(|written| written.value == pool);
        named && !barred.iter().any(|barred| barred == pool)
    };
    if let (Some(written), Some(place)) = (&spec.accelerator, cluster)
        && gpus > 0
        && !clusters[place].pools.iter().any(|pool| pool.accelerator.as_ref() == Some(&written.value))
    {
        let message =
            format!("no node pool of {} has the accelerator {:?}", clusters[place].name, written.value);
        problems.push(
            Problem::error(&written.place, message)
                .hint("remove accelerator:, and that of the pool is taken"),
        );
    }
    let quantities = [spec.replica.cpu, spec.usage.cpu_idle, spec.usage.cpu_busy];
    if quantities.into_iter().flatten().any(|cpu| cpu.milli_value() < 0) {
        problems.error(&spec.replica.place, "cores are at least 0");
    }
    let accelerator = match (&spec.accelerator, cluster) {
        (Some(written), _) => Some(written.value.clone()),
        (None, Some(place)) if gpus > 0 => {
            cluster::accelerator_of(&clusters[place], may_run_in, &spec.place, problems)
        }
        _ => None,
    };
    let requests = Resources {
        cpu_milli: spec.replica.cpu.map_or(0, Quantity::milli_value),
        memory_bytes: spec.replica.memory.map_or(0, |bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX)),
        gpu_milli,
    };
    if let Some(place) = cluster {
        check_fits(spec, &requests, &clusters[place], may_run_in, problems);
    }
    let sharing = match cluster {
        Some(place) if gpu_milli > 0 => {
            cluster::sharing_of(&clusters[place], may_run_in, &spec.place, problems)
        }
        _ => None,
    };
    let hardware = engine::Hardware { gpus, accelerator: accelerator.as_deref(), sharing };
    let engine = engine::engine(spec, &hardware, problems)?;
    let usage = engine::usage(spec, &engine, &hardware);
    let llm = matches!(engine, EngineSettings::Continuous { .. });
    let cold_start = spec.cold_start.as_ref().map(|written| written.law.clone());
    let target = format!("{}/{}", service.name.value, spec.name.value);
    let start_up = start_up::start_up(spec, &target, problems);
    if let (Some(written), None) = (&spec.start_up, cluster) {
        let problem = Problem::error(&written.place, "the stages of a start need nodes");
        problems.push(problem.hint("add clusters: with a node pool, or write cold_start:"));
    }
    if !spec.rollouts.value.is_sorted_by(|a, b| a < b) {
        problems.error(&spec.rollouts.place, "the instants of rollouts: ascend");
    }
    let settings = DeploymentSettings {
        target: TargetName::new(target.clone()),
        terms: PodTerms::none(TargetName::new(target)),
        preferences: Preferences::default(),
        priority: priority(&spec.priority, problems),
        preempts: spec.preemption_policy == PreemptionPolicy::PreemptLowerPriority,
        name: spec.name.value.clone(),
        service: service_place,
        cluster,
        pool: spec.node_pool.as_ref().map(|pool| pool.value.clone()),
        barred: barred.clone(),
        max_spot_share: spec.max_spot_share.map(Share::get),
        role: spec.role.name().to_owned(),
        requests,
        containers: containers(spec),
        replicas: i32::from(spec.replicas.value),
        start_up,
        cold_start: cold_start.unwrap_or(if llm { LLM_COLD_START } else { COLD_START }),
        readiness: Readiness { initial_delay: spec.readiness.initial_delay, period: spec.readiness.period },
        grace: spec.grace,
        crashes: spec.crashes.as_ref().map(|written| failures::crashes(written, problems)),
        disruption_budget: spec.disruption_budget.as_ref().and_then(|written| budget(written, problems)),
        update: UpdateStrategy {
            max_surge: spec.update.max_surge.0,
            max_unavailable: spec.update.max_unavailable.0,
        },
        rollouts: spec.rollouts.value.clone(),
        standby: spec
            .standby
            .as_ref()
            .map(|standby| StandbySettings { replicas: standby.replicas.0, wake: standby.wake.law.clone() }),
    };
    Some(DeploymentModel { settings, engine, usage })
}

/// Thousandths of GPUs that a replica requests: of whole ones, or of one slice.
fn gpu_milli(spec: &DeploymentSpec, problems: &mut Problems) -> i64 {
    let default = Quantity::from_milli(if spec.model.is_some() { 1_000 } else { 0 });
    let milli = spec.replica.gpus.unwrap_or(default).milli_value();
    let most = 1_000 * i64::from(u32::MAX);
    if !(0..=most).contains(&milli) || (milli > 1_000 && milli % 1_000 != 0) {
        let problem = Problem::error(&spec.replica.place, "a replica has whole GPUs, or one slice of one");
        problems.push(problem.hint("write gpus: 2, or gpus: 500m"));
        return 0;
    }
    milli
}

/// As high as Kubernetes lets users go.
pub(crate) const MOST_PRIORITY: i32 = 1_000_000_000;

fn priority(written: &At<i32>, problems: &mut Problems) -> i32 {
    if !(-MOST_PRIORITY..=MOST_PRIORITY).contains(&written.value) {
        problems.error(&written.place, "a priority is from -1000000000 to 1000000000");
    }
    written.value
}

fn budget(spec: &At<BudgetSpec>, problems: &mut Problems) -> Option<DisruptionBudget> {
    match (spec.min_available, spec.max_unavailable) {
        (Some(amount), None) => Some(DisruptionBudget::MinAvailable(amount.0)),
        (None, Some(amount)) => Some(DisruptionBudget::MaxUnavailable(amount.0)),
        _ => {
            let problem =
                Problem::error(&spec.place, "a budget has min_available or max_unavailable, one of both");
            problems.push(problem.hint("write disruption_budget: {max_unavailable: 1}"));
            None
        }
    }
}

/// The one container of a replica with what it requests; no request is no request.
fn containers(spec: &DeploymentSpec) -> Arc<[ContainerRequests]> {
    let cpu = spec.replica.cpu.map(|cpu| (Resource::Cpu, cpu.milli_value()));
    let milli = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(1_000);
    let memory = spec.replica.memory.map(|memory| (Resource::Memory, milli(memory.0)));
    let requests = [cpu, memory].into_iter().flatten().collect();
    [ContainerRequests { name: "main".into(), requests }].into()
}

/// A replica fits on an empty node.
fn check_fits(
    spec: &At<DeploymentSpec>,
    requests: &Resources,
    cluster: &ClusterSettings,
    may_run_in: impl Fn(&str) -> bool,
    problems: &mut Problems,
) {
    let pools: Vec<_> = cluster.pools.iter().filter(|pool| may_run_in(&pool.name)).collect();
    let sliced = |pool: &PoolSettings| scheduling::has_gpus(pool, requests.gpu_milli);
    if pools.is_empty() && !cluster.pools.iter().any(sliced) {
        let message = format!("no node pool has {} of GPUs", Quantity::from_milli(requests.gpu_milli));
        let problem = Problem::error(&spec.replica.place, message);
        problems.push(
            problem.hint("request whole GPUs, or one slice of a pool with gpu_sharing: {slices: 2} as 500m"),
        );
    }
    if pools.is_empty() || pools.iter().any(|pool| requests.fits(&pool.allocatable)) {
        return;
    }
    let show = |amount: &Resources| {
        let memory = amount.memory_bytes as f64 / f64::from(1 << 30);
        let [gpus, cores] = [amount.gpu_milli, amount.cpu_milli].map(|milli| milli as f64 / 1e3);
        format!("{gpus} GPUs, {cores} cores, {memory:.1} GiB")
    };
    let has: Vec<_> =
        pools.iter().map(|pool| format!("{} has {}", pool.name, show(&pool.allocatable))).collect();
    let message = format!("a replica fits on no node: it requests {}", show(requests));
    problems.push(Problem::error(&spec.replica.place, message).hint(has.join("; ")));
}

//! Routing.

use scaletwin_core::input::{At, NonNegative, Positive, Problem, Problems};
use scaletwin_sim::cluster::routing::{Across, Balance, RoutingSettings, Weights};
use scaletwin_sim::world::settings::{DeploymentModel, EngineSettings};

use crate::spec::routing::{BalanceSpec, ResourceBasedSpec, RoutingSpec};
use crate::spec::service::ServiceSpec;

pub(super) fn routing(spec: &ServiceSpec, problems: &mut Problems) -> RoutingSettings {
    let weighted =
        spec.across == Across::Split || matches!(spec.routing.value.0, BalanceSpec::WeightedRoundRobin(_));
    let deployments = &spec.deployments.value;
    let mut weights = deployments.iter().filter_map(|deployment| deployment.weight.as_ref());
    if let Some(weight) = weights.next().filter(|_| !weighted) {
        let problem = Problem::error(&weight.place, "nothing goes by this weight");
        problems.push(problem.hint("add across: split, or routing: weighted-round-robin, to the service"));
    }
    if let Some(share) = spec.min_ready_share.as_ref().filter(|_| spec.across != Across::Failover) {
        let problem = Problem::error(&share.place, "nothing fails over");
        problems.push(problem.hint("add across: failover, or remove min_ready_share:"));
    }
    RoutingSettings {
        balance: balance(spec, problems),
        across: spec.across,
        weights: deployments.iter().map(|d| d.weight.as_ref().map_or(1, |weight| weight.value.0)).collect(),
        prefers_zone: spec.prefer_zone,
        min_ready_milli: spec.min_ready_share.as_ref().map(|share| milli(share.get())),
    }
}

fn balance(spec: &ServiceSpec, problems: &mut Problems) -> Balance {
    let place = &spec.routing;
    match &spec.routing.value.0 {
        BalanceSpec::RoundRobin(_) => Balance::RoundRobin,
        BalanceSpec::LeastOutstanding(_) => Balance::LeastOutstanding,
        BalanceSpec::WeightedRoundRobin(_) => Balance::WeightedRoundRobin,
        BalanceSpec::Random(_) => Balance::Random,
        BalanceSpec::PowerOfTwoChoices(drawn) => Balance::PowerOfChoices { choices: drawn.choices.0 },
        BalanceSpec::LeastResponseTime(mean) => {
            Balance::LeastResponseTime { smoothing_milli: milli(mean.smoothing.get()) }
        }
        BalanceSpec::ConsistentHash(ring) => {
            Balance::ConsistentHash { load_factor_milli: load_factor(ring.load_factor, place, problems) }
        }
        BalanceSpec::SessionAffinity(sessions) => {
            Balance::SessionAffinity { remembered: sessions.remembered.0 }
        }
        BalanceSpec::PrefixAffinity(prefixes) => Balance::PrefixAffinity {
            block_tokens: prefixes.block_tokens.0,
            blocks: prefixes.blocks.0,
            remembered: prefixes.remembered.0,
            load_factor_milli: load_factor(prefixes.load_factor, place, problems),
            load_slack: prefixes.load_slack,
        },
        BalanceSpec::ResourceBased(reports) => {
            Balance::ResourceBased { refresh: reports.refresh.0, weights: weights(reports, place, problems) }
        }
    }
}

fn weights<T>(spec: &ResourceBasedSpec, place: &At<T>, problems: &mut Problems) -> Weights {
    let ResourceBasedSpec { waiting, running, kv_cache, cpu, gpu, .. } = spec;
    let written = [waiting, running, kv_cache, cpu, gpu];
    if written.iter().all(|weight| weight.is_none()) {
        return Weights { waiting: 1_000, running: 0, kv_cache: 1_000, cpu: 0, gpu: 0 };
    }
    let of = |weight: &Option<NonNegative>| weight.map_or(0, |weight| milli(weight.0));
    let weights = Weights {
        waiting: of(waiting),
        running: of(running),
        kv_cache: of(kv_cache),
        cpu: of(cpu),
        gpu: of(gpu),
    };
    if written.into_iter().all(|weight| of(weight) == 0) {
        problems.error(&place.place, "some figure weighs at least 0.001: all replicas score the same");
    }
    weights
}

/// Checks that the replicas of a service report what it routes by.
pub(super) fn check_reports(
    routing: &At<RoutingSpec>,
    balance: &Balance,
    deployments: &[DeploymentModel],
    problems: &mut Problems,
) {
    let Balance::ResourceBased { weights, .. } = balance else { return };
    let has_cache = |model: &DeploymentModel| matches!(model.engine, EngineSettings::Continuous { .. });
    if weights.kv_cache > 0 && !deployments.iter().all(has_cache) {
        let problem = Problem::error(&routing.place, "kv_cache: only continuous batching has a KV cache");
        problems.push(problem.hint("write what counts instead, such as {kind: resource-based, running: 1}"));
    }
    if weights.gpu > 0 && deployments.iter().any(|model| model.usage.gpu.is_none()) {
        let problem = Problem::error(&routing.place, "gpu: there are replicas without GPUs");
        problems
            .push(problem.hint("give every deployment of the service replica: {gpus: 1}, or remove gpu:"));
    }
}

/// Below the mean there is always nobody.
fn load_factor<T>(written: Positive, place: &At<T>, problems: &mut Problems) -> u32 {
    if written.0 < 1.0 {
        problems.error(&place.place, "load_factor is at least 1: not everybody can be below the mean");
    }
    milli(written.0)
}

/// In thousandths, rounded: the router counts in whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float saturates, which is meant"
)]
fn milli(value: f64) -> u32 {
    (value * 1_000.0).round() as u32
}

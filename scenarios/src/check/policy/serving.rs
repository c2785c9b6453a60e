//! Autoscalers of serving systems: from keys to settings.

use scaletwin_core::control::{MetricName, TargetName};
use scaletwin_core::input::{At, Place, Problem, Problems};
use scaletwin_policies::serving::aibrix::{AibrixSpec, manifest};
use scaletwin_policies::serving::dynamo::{self, DynamoSettings, DynamoSpec};
use scaletwin_policies::serving::wva::saturation::Thresholds;
use scaletwin_policies::serving::wva::tokens::Capacities;
use scaletwin_policies::serving::wva::{self, Analyzer, Metrics, VariantSettings, WvaSettings, WvaSpec};
use scaletwin_sim::world::settings::{DeploymentModel, EngineSettings};

use super::hpa::{check_bound, check_named};
use super::manifests::{Written, of_target};
use super::{CheckedController, Checking, Kind, Seen, target};

pub(super) fn wva(
    spec: &WvaSpec,
    Checking { place, seen, checked, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let before = problems.len();
    let mut variants: Vec<VariantSettings> = Vec::new();
    for written in &spec.variants.value {
        let Some(target) = target(&written.target, seen, problems) else { continue };
        if variants.iter().any(|variant| variant.target == target) {
            problems.error(&written.target.place, format!("{target} is there twice"));
        }
        let kv_tokens = kv_tokens(model(&target, seen));
        variants.push(VariantSettings { target, cost: written.cost.0, kv_tokens: kv_tokens.unwrap_or(0) });
    }
    if spec.variants.value.is_empty() {
        problems.error(&spec.variants.place, "a model has at least one variant");
    }
    let by_tokens = spec.analyzer == Analyzer::Tokens;
    let only_by_tokens = |written: &Option<At<String>>, problems: &mut Problems| {
        if let Some(at) = written.as_ref().filter(|_| !by_tokens) {
            problems.error(&at.place, "this key is only for analyzer: tokens");
        }
    };
    only_by_tokens(&spec.prompt_tokens, problems);
    only_by_tokens(&spec.output_tokens, problems);
    if by_tokens && variants.iter().any(|variant| variant.kv_tokens == 0) {
        problems.error(place, "analyzer: tokens needs variants that batch continuously");
    }
    let metric = |written: &Option<At<String>>, problems: &mut Problems| {
        written.as_ref().map(|at| bound(Some(at), "", &at.place, seen, problems))
    };
    let metrics = Metrics {
        kv_cache_usage: bound(spec.kv_cache_usage.as_ref(), wva::KV_CACHE_USAGE, place, seen, problems),
        queue_length: bound(spec.queue_length.as_ref(), wva::QUEUE_LENGTH, place, seen, problems),
        prompt_tokens: metric(&spec.prompt_tokens, problems),
        output_tokens: metric(&spec.output_tokens, problems),
    };
    let zero = spec.scale_to_zero.iter().map(|zero| &zero.requests);
    let requests = super::rules::bound(zero, seen, problems).pop();
    if problems.len() > before {
        return None;
    }
    let controller = CheckedController {
        name: format!("wva/{}", variants.first()?.target),
        place: place.clone(),
        period: spec.period.0,
        offset: spec.offset,
        kind: Kind::Wva {
            settings: WvaSettings {
                variants,
                thresholds: thresholds(spec),
                metrics,
                tokens: by_tokens.then(|| capacities(spec)),
                requests,
            },
        },
    };
    checked.layers.extend(layers(&controller));
    Some(controller)
}

/// WVA stands above whatever follows it, where it scales from zero itself.
fn layers(controller: &CheckedController) -> Vec<Vec<String>> {
    let Kind::Wva { settings } = &controller.kind else { return Vec::new() };
    let followers = |variant: &VariantSettings| {
        let follower = |kind: &str| format!("{kind}/{}", variant.target);
        let above = std::iter::once(controller.name.clone());
        above.chain(["hpa", "keda-hpa", "keda"].map(follower)).collect()
    };
    let scales = settings.variants.iter().filter(|variant| settings.scales(&variant.target));
    scales.map(followers).collect()
}

fn thresholds(spec: &WvaSpec) -> Thresholds {
    Thresholds {
        kv_cache: spec.kv_cache_threshold.get(),
        queue_length: spec.queue_length_threshold.0,
        kv_spare: spec.kv_spare_trigger.get(),
        queue_spare: spec.queue_spare_trigger.0,
    }
}

fn capacities(spec: &WvaSpec) -> Capacities {
    Capacities {
        scale_up_threshold: spec.scale_up_threshold.0,
        scale_down_boundary: spec.scale_down_boundary.0,
    }
}

pub(super) fn dynamo(
    spec: &DynamoSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let before = problems.len();
    let goal = spec.goal(problems);
    let kv_cache_usage = bound(spec.kv_cache_usage.as_ref(), dynamo::KV_CACHE_USAGE, place, seen, problems);
    let queue_length = bound(spec.queue_length.as_ref(), dynamo::QUEUE_LENGTH, place, seen, problems);
    let target = target(&spec.target, seen, problems)?;
    let model = model(&target, seen);
    let max_kv_tokens = spec.max_kv_tokens.map(|tokens| i64::from(tokens.0)).or_else(|| kv_tokens(model));
    let Some(max_kv_tokens) = max_kv_tokens else {
        let problem =
            Problem::error(place, format!("{target} does not batch continuously: it has no KV cache"));
        problems.push(problem.hint("set max_kv_tokens"));
        return None;
    };
    let settings = DynamoSettings {
        goal: goal?,
        min_endpoint: i32::try_from(spec.min_endpoint.0).unwrap_or(i32::MAX),
        max_gpu_budget: (spec.max_gpu_budget >= 0).then_some(spec.max_gpu_budget),
        gpus_per_replica: model.usage.gpu.as_ref().map_or(0, |gpu| i64::from(gpu.gpus)),
        max_kv_tokens: max_kv_tokens as f64,
        isl: f64::from(spec.isl.0),
        kv_cache_usage,
        queue_length,
        throughput: spec.throughput.as_ref().map(|throughput| throughput.value.settings()),
    };
    super::rules::bound(spec.throughput.iter().map(|at| &at.value.requests), seen, problems);
    (problems.len() == before).then(|| CheckedController {
        name: format!("dynamo-planner/{target}"),
        place: place.clone(),
        period: spec.period.0,
        offset: spec.offset,
        kind: Kind::Dynamo { target, settings },
    })
}

pub(super) fn aibrix(spec: &AibrixSpec, mut cx: Checking<'_>) -> Option<CheckedController> {
    let seen = cx.seen;
    let read = cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| spec.refuse_own_keys(problems),
        |documents, place| {
            let node = of_target(documents, "PodAutoscaler", &spec.target, seen, place)?;
            let (read, fields) = manifest::read(node, &spec.waive)?;
            Ok(((read.settings, Some(read.target)), fields))
        },
        |problems| Some((spec.settings(problems)?, None)),
    );
    let Checking { place, problems, .. } = cx;
    let target = target(&spec.target, seen, problems)?;
    let (settings, named) = read?;
    check_named(named.as_ref(), &target, &spec.target.place, problems);
    let metric = spec.metric.as_ref().map_or(place, |at| &at.place);
    bound(Some(&At { value: settings.metric.clone(), place: metric.clone() }), "", place, seen, problems);
    if settings.min_replicas > settings.max_replicas {
        problems.error(place, "min_replicas is above max_replicas");
    }
    if settings.panic_window > settings.stable_window {
        problems.error(place, "panic_window is longer than stable_window");
    }
    Some(CheckedController {
        name: format!("aibrix/{target}"),
        place: place.clone(),
        period: spec.period.0,
        offset: spec.offset,
        kind: Kind::Aibrix { target, settings },
    })
}

/// The name of a metric of each pod, which has to be bound.
fn bound(
    written: Option<&At<String>>,
    default: &str,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> String {
    let name = written.map_or(default, |at| at.value.as_str()).to_owned();
    let metric = MetricName { name: name.clone(), selector: std::collections::BTreeMap::new() };
    check_bound(&metric, true, false, written.map_or(place, |at| &at.place), seen, problems);
    name
}

/// The deployment of a target that was found.
pub(super) fn model<'a>(target: &TargetName, seen: &Seen<'a>) -> &'a DeploymentModel {
    let found = seen.deployments.iter().find(|model| model.settings.target == *target);
    found.expect("a target that was found is that of a deployment")
}

/// The KV cache of a replica, tokens, if it has one.
fn kv_tokens(model: &DeploymentModel) -> Option<i64> {
    match &model.engine {
        EngineSettings::Continuous { config, .. } => {
            Some(i64::from(config.num_gpu_blocks) * i64::from(config.block_size))
        }
        EngineSettings::Concurrency { .. } | EngineSettings::Dynamic { .. } => None,
    }
}

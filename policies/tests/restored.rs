//! A policy restored from its written state decides as the one that went on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scaletwin_core::control::{
    Bounds, ConditionStatus, ContainerRequests, MetricQuery, Observation, PodPhase, PodValues, PodView,
    Point, Policy, Reading, ReadyCondition, Resource, Sample, Schedule, State, TargetName, TargetView,
    Values,
};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_policies::kubernetes::vpa::Vpa;
use scaletwin_policies::kubernetes::vpa::recommendation::Resources;
use scaletwin_policies::kubernetes::vpa::spec::{Allowed, Controlled, UpdateMode, VpaSettings};
use scaletwin_policies::kubernetes::vpa::updater::UpdaterSettings;
use scaletwin_policies::serving::aibrix::algorithm::Limits;
use scaletwin_policies::serving::aibrix::{Aibrix, AibrixSettings, Strategy};
use scaletwin_policies::serving::dynamo::load::Goal;
use scaletwin_policies::serving::dynamo::{Dynamo, DynamoSettings};
use scaletwin_policies::serving::wva::saturation::Thresholds;
use scaletwin_policies::serving::wva::tokens::Capacities;
use scaletwin_policies::serving::wva::{Metrics, VariantSettings, Wva, WvaSettings};

/// What a look sees: replicas wanted, and the value of every metric in every pod.
type Look = (i32, Vec<f64>);

fn target() -> TargetName {
    TargetName::new("web/main")
}

fn schedule() -> Schedule {
    Schedule::every(Span::from_secs(15))
}

fn policies() -> Vec<fn() -> Box<dyn Policy>> {
    vec![
        || aibrix(Strategy::Apa),
        || aibrix(Strategy::Kpa),
        || wva(None),
        || wva(Some(Capacities::default())),
        dynamo,
        vpa,
    ]
}

fn aibrix(strategy: Strategy) -> Box<dyn Policy> {
    let settings = AibrixSettings {
        strategy,
        metric: "requests".into(),
        target_value: 4.0,
        min_replicas: 1,
        max_replicas: 10,
        limits: Limits::default(),
        panic_threshold: 2.0,
        stable_window: Span::from_secs(180),
        panic_window: Span::from_secs(60),
        scale_up_cooldown: Span::from_secs(30),
        scale_down_cooldown: Span::from_secs(300),
    };
    Box::new(Aibrix::new(target(), settings, schedule()))
}

fn wva(tokens: Option<Capacities>) -> Box<dyn Policy> {
    let metrics = Metrics {
        kv_cache_usage: "kv".into(),
        queue_length: "queue".into(),
        prompt_tokens: Some("prompt".into()),
        output_tokens: None,
    };
    let variants = vec![VariantSettings { target: target(), cost: 10.0, kv_tokens: 10_000 }];
    let settings =
        WvaSettings { variants, thresholds: Thresholds::default(), metrics, tokens, requests: None };
    Box::new(Wva::new(settings, schedule()))
}

fn dynamo() -> Box<dyn Policy> {
    let settings = DynamoSettings {
        goal: Goal::Latency,
        min_endpoint: 1,
        max_gpu_budget: Some(8),
        gpus_per_replica: 1,
        max_kv_tokens: 10_000.0,
        isl: 100.0,
        kv_cache_usage: "kv".into(),
        queue_length: "queue".into(),
        throughput: None,
    };
    Box::new(Dynamo::new(target(), settings, schedule()))
}

fn vpa() -> Box<dyn Policy> {
    let allowed = Allowed {
        min: Resources { cpu_milli: 0, memory_bytes: 0 },
        max: Resources { cpu_milli: i64::MAX, memory_bytes: i64::MAX },
    };
    let settings = VpaSettings {
        container: "main".into(),
        allowed,
        controlled: Controlled::BOTH,
        mode: UpdateMode::Recreate,
        updater: UpdaterSettings::default(),
    };
    Box::new(Vpa::new(target(), settings, schedule()))
}

fn pod(place: usize) -> PodView {
    PodView {
        name: format!("main-{place}").into(),
        phase: PodPhase::Running,
        deleted: false,
        start: Some(Time::ZERO),
        ready: Some(ReadyCondition { status: ConditionStatus::True, since: Time::ZERO }),
        containers: [ContainerRequests { name: "main".into(), requests: vec![(Resource::Cpu, 1_000)] }]
            .into(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "loads are small")]
fn answer(query: &MetricQuery, loads: &[f64], now: Time) -> Values {
    match query {
        MetricQuery::PodSamples { metric, .. } => {
            let scale = if metric.name == "kv" { 0.1 } else { 1.0 };
            let point = |(place, load): (usize, &f64)| Point {
                labels: BTreeMap::from([("pod".to_owned(), format!("main-{place}"))]),
                value: Exact(load * scale),
                at: now,
            };
            Values::Vector(loads.iter().enumerate().map(point).collect())
        }
        _ => {
            let sample =
                |load: &f64| Sample { milli: (load * 1e6) as i64, at: now, window: Span::from_secs(15) };
            Values::Pods(PodValues {
                by_pod: loads.iter().map(|load| Some(sample(load))).collect(),
                unlisted: Vec::new(),
            })
        }
    }
}

fn observation(policy: &dyn Policy, (spec, loads): &Look, place: usize) -> Observation {
    let now = Time::ZERO + Span::from_secs(15 * place as u64);
    let mut seen = Observation::at(now, Civil::DEFAULT_START);
    let count = i32::try_from(loads.len()).expect("few");
    seen.targets = vec![TargetView {
        name: target(),
        spec_replicas: *spec,
        status_replicas: count,
        ready_replicas: count,
        bounds: Bounds::default(),
        pods: (0..loads.len()).map(pod).collect(),
    }];
    let queries = policy.needs().scope.metrics;
    seen.metrics = queries
        .into_iter()
        .map(|query| (query.clone(), Reading::Known(answer(&query, loads, now))))
        .collect();
    seen
}

proptest! {
    #[test]
    fn a_policy_restored_in_mid_sequence_decides_as_the_one_that_went_on(
        looks in proptest::collection::vec((0i32..6, proptest::collection::vec(0.0..12.0f64, 0..5)), 2..30),
        cut in 0.0..1.0f64,
    ) {
        for build in policies() {
            let (mut policy, mut restored) = (build(), build());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
            let cut = (cut * looks.len() as f64) as usize;
            for (place, look) in looks.iter().enumerate() {
                let seen = observation(policy.as_ref(), look, place);
                if place == cut {
                    let text = serde_json::to_string(&policy.save()).expect("plain data");
                    let state: State = serde_json::from_str(&text).expect("what was written");
                    restored.restore(&state).map_err(|error| TestCaseError::fail(error.to_string()))?;
                }
                let decision = policy.decide(&seen);
                prop_assert!(decision.actions.iter().all(|action| action.check().is_ok()), "{:?}", decision);
                if place >= cut {
                    prop_assert_eq!(restored.decide(&seen), decision);
                }
            }
            prop_assert_eq!(restored.save(), policy.save());
        }
    }
}

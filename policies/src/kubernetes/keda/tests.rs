use scaletwin_core::control::{
    Action, Bounds, Cause, ConditionStatus, Decision, MetricQuery, Missing, Observation, PodPhase, PodView,
    Point, Poke, Policy, Reading, ReadyCondition, Schedule, TargetName, TargetView, Values,
};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Span, Time};

use super::activation::Activation;
use super::adapter::KedaHpa;
use super::trigger::SignalSource;
use super::*;
use crate::kubernetes::hpa::spec::ControllerSettings;

fn target() -> TargetName {
    TargetName::new("web/main")
}

fn object() -> ScaledObject {
    let source = SignalSource {
        signal: "queue".into(),
        threshold: 4_000,
        activation_threshold: 2.0,
        ignore_null_values: false,
        push: false,
        partitions: None,
    };
    let trigger = Trigger {
        kind: "prometheus".into(),
        name: Some("queue".into()),
        metric_type: MetricType::AverageValue,
        cached: false,
        source: Source::Signal(source),
    };
    ScaledObject {
        polling_interval: Span::from_secs(30),
        cooldown_period: Span::from_secs(60),
        initial_cooldown_period: Span::ZERO,
        idle_replicas: None,
        min_replicas: 0,
        max_replicas: 10,
        triggers: vec![trigger],
        modifiers: None,
        fallback: None,
        behavior: None,
        pause: Pause::default(),
    }
}

/// What is seen at `seconds` with so many replicas, and this value of the queue.
fn seen(seconds: u64, replicas: i32, queue: Option<f64>) -> Observation {
    let mut seen = Observation::at(Time::ZERO + Span::from_secs(seconds), Civil::DEFAULT_START);
    let pod = |number: i32| PodView {
        name: format!("main-{number}").into(),
        phase: PodPhase::Running,
        deleted: false,
        start: Some(Time::ZERO),
        ready: Some(ReadyCondition { status: ConditionStatus::True, since: Time::ZERO }),
        containers: [].into(),
    };
    seen.targets.push(TargetView {
        name: target(),
        spec_replicas: replicas,
        status_replicas: replicas,
        ready_replicas: replicas,
        bounds: Bounds::default(),
        pods: (0..replicas).map(pod).collect(),
    });
    let point = |value| Point { labels: BTreeMap::new(), value: Exact(value), at: seen.now };
    let reading = match queue {
        Some(value) => Reading::Known(Values::Vector(vec![point(value)])),
        None => Reading::Missing(Missing::NoData),
    };
    seen.metrics.push((MetricQuery::Signal { name: "queue".into() }, reading));
    seen
}

fn replicas(decision: &Decision) -> Option<i32> {
    decision.actions.iter().find_map(|action| match action {
        Action::SetReplicas { replicas, .. } => Some(*replicas),
        _ => None,
    })
}

fn schedule() -> Schedule {
    Schedule::every(Span::from_secs(30))
}

/// What one first poll sets, and the code that says why.
fn first_poll(object: ScaledObject, current: i32, queue: Option<f64>) -> (Option<i32>, String) {
    let decision = Activation::new(target(), object, schedule()).decide(&seen(0, current, queue));
    (replicas(&decision), decision.reasons[0].code.clone())
}

#[test]
fn activation_is_strictly_above_its_threshold() {
    assert_eq!(first_poll(object(), 0, Some(2.0)), (None, "ScalerNotActive".into()));
    assert_eq!(first_poll(object(), 0, Some(2.001)), (Some(1), "ScalerActive".into()));
}

#[test]
fn from_zero_or_idle_it_goes_to_the_fewest_replicas_at_once() {
    let fewest = ScaledObject { min_replicas: 3, ..object() };
    assert_eq!(first_poll(fewest.clone(), 0, Some(9.0)), (Some(3), "ScalerActive".into()));
    assert_eq!(first_poll(fewest.clone(), 1, Some(9.0)), (None, "ScalerActive".into()));
    assert_eq!(first_poll(fewest.clone(), 1, Some(0.0)), (Some(3), "MinReplicaCount".into()));
    let idle = ScaledObject { idle_replicas: Some(0), ..fewest };
    assert_eq!(first_poll(idle.clone(), 1, Some(9.0)), (Some(3), "ScalerActive".into()));
    assert_eq!(first_poll(idle.clone(), 3, Some(0.0)), (Some(0), "ScalerNotActive".into()));
    assert_eq!(first_poll(idle, 0, Some(0.0)), (None, "ScalerNotActive".into()));
}

#[test]
fn a_failing_trigger_without_a_fallback_leaves_everything_as_it_is() {
    assert_eq!(first_poll(object(), 4, None), (None, "FailedTriggers".into()));
    let fallback = |replicas| Fallback { failure_threshold: 3, replicas, behavior: FallbackBehavior::Static };
    let with = |replicas| ScaledObject { fallback: Some(fallback(replicas)), ..object() };
    assert_eq!(first_poll(with(2), 4, None), (None, "WaitsForFallback".into()));
    assert_eq!(
        first_poll(with(0), 4, None),
        (Some(0), "ScalerNotActive".into()),
        "a fallback of 0 lets it go to 0"
    );
}

#[test]
fn the_cooldown_counts_whole_seconds_since_the_last_active_poll() {
    let poll = |last_millis: u64, now: u64| {
        let mut keda = Activation::new(target(), object(), schedule());
        let mut first = seen(0, 1, Some(9.0));
        first.now = Time::ZERO + Span::from_millis(last_millis);
        keda.decide(&first);
        let text = serde_json::to_string(&keda.save()).expect("plain data");
        let mut restored = Activation::new(target(), object(), schedule());
        restored.restore(&serde_json::from_str(&text).expect("a state")).expect("its own state");
        replicas(&restored.decide(&seen(now, 5, Some(0.0))))
    };
    assert_eq!(poll(0, 60), None, "strictly more than the cooldown");
    assert_eq!(poll(0, 61), Some(0), "from five to none, whatever the HPA thinks");
    assert_eq!(poll(900, 61), Some(0), "0.9 s is kept as 0 s");
}

#[test]
fn annotations_pause_in_part_or_whole() {
    let with = |pause| ScaledObject { pause, ..object() };
    let scale_in = with(Pause { scale_in: true, ..Pause::default() });
    assert_eq!(first_poll(scale_in, 4, Some(0.0)), (None, "PausedScaleIn".into()));
    let scale_out = with(Pause { scale_out: true, ..Pause::default() });
    assert_eq!(first_poll(scale_out, 0, Some(9.0)), (None, "PausedScaleOut".into()));
    let forced = with(Pause { force_activation: true, ..Pause::default() });
    assert_eq!(first_poll(forced, 0, Some(0.0)), (Some(1), "ScalerActive".into()));
    let paused = with(Pause { paused: true, ..Pause::default() });
    assert_eq!(first_poll(paused, 0, Some(9.0)), (None, "ScaledObjectPaused".into()));
    let mut fixed =
        Activation::new(target(), with(Pause { paused_replicas: Some(3), ..Pause::default() }), schedule());
    assert_eq!(replicas(&fixed.decide(&seen(0, 1, Some(9.0)))), Some(3));
    assert_eq!(replicas(&fixed.decide(&seen(30, 1, Some(9.0)))), None, "once");
}

#[test]
fn a_request_activates_at_once_and_a_poll_with_the_same_values_does_not() {
    let mut object = object();
    let Source::Signal(signal) = &mut object.triggers[0].source else { panic!("a signal") };
    signal.push = true;
    let mut keda = Activation::new(target(), object, schedule());
    let mut at = seen(5, 0, None);
    assert_eq!(replicas(&keda.decide(&at)), None);
    at.cause = Cause::Poke(Poke::RequestAtZero { target: target() });
    assert_eq!(replicas(&keda.decide(&at)), Some(1));
}

/// What the HPA sets after so many failures in a row, with this fallback and metric type.
fn after_failures(
    count: u64,
    behavior: FallbackBehavior,
    metric_type: MetricType,
    current: i32,
) -> Option<i32> {
    let mut object = object();
    object.triggers[0].metric_type = metric_type;
    object.fallback = Some(Fallback { failure_threshold: 2, replicas: 6, behavior });
    let mut hpa = KedaHpa::new(target(), object, ControllerSettings::default(), schedule());
    let mut last = None;
    for look in 0..count {
        last = replicas(&hpa.decide(&seen(look * 15, current, None)));
    }
    last
}

#[test]
fn a_fallback_begins_after_more_failures_than_its_threshold_and_gives_its_replicas() {
    use FallbackBehavior::{CurrentReplicas, CurrentReplicasIfHigher, CurrentReplicasIfLower, Static};
    assert_eq!(after_failures(2, Static, MetricType::AverageValue, 4), None);
    for (behavior, want) in [
        (Static, Some(6)),
        (CurrentReplicas, None),
        (CurrentReplicasIfHigher, Some(6)),
        (CurrentReplicasIfLower, None),
    ] {
        assert_eq!(after_failures(3, behavior, MetricType::AverageValue, 4), want, "{behavior:?}");
        assert_eq!(after_failures(3, behavior, MetricType::Value, 4), want, "{behavior:?} by value");
    }
}

#[test]
fn a_success_forgets_failures_and_so_it_does_after_a_restart() {
    let fallback = Fallback { failure_threshold: 1, replicas: 6, behavior: FallbackBehavior::Static };
    let object = ScaledObject { fallback: Some(fallback), ..object() };
    let new = || KedaHpa::new(target(), object.clone(), ControllerSettings::default(), schedule());
    let mut hpa = new();
    assert_eq!(replicas(&hpa.decide(&seen(0, 4, None))), None);
    assert_eq!(replicas(&hpa.decide(&seen(15, 4, Some(16.0)))), None);
    assert_eq!(replicas(&hpa.decide(&seen(30, 4, None))), None, "the first failure again");
    let text = serde_json::to_string(&hpa.save()).expect("plain data");
    let mut restored = new();
    restored.restore(&serde_json::from_str(&text).expect("a state")).expect("its own state");
    assert_eq!(replicas(&restored.decide(&seen(45, 4, None))), Some(6), "the second");
}

#[test]
fn failures_do_not_count_while_the_hpa_does_not_ask() {
    let fallback = Fallback { failure_threshold: 0, replicas: 6, behavior: FallbackBehavior::Static };
    let object = ScaledObject { fallback: Some(fallback), ..object() };
    let mut hpa = KedaHpa::new(target(), object, ControllerSettings::default(), schedule());
    for look in 0..9 {
        let decision = hpa.decide(&seen(look * 15, 0, None));
        assert_eq!(
            (replicas(&decision), decision.reasons.last().map(|reason| reason.holds)),
            (None, Some(Some(false)))
        );
    }
}

#[test]
fn a_formula_to_which_a_failing_trigger_is_nil_goes_on_without_it() {
    let formula = |text: &str| Formula::parse(text, &["queue"]).expect("a formula");
    let with = |text: &str| ScaledObject {
        modifiers: Some(Modifiers {
            formula: formula(text),
            target: 2_000,
            activation_target: 0.0,
            metric_type: MetricType::AverageValue,
        }),
        fallback: Some(Fallback {
            failure_threshold: 0,
            replicas: 6,
            behavior: FallbackBehavior::ScalingModifiers,
        }),
        ..object()
    };
    let look = |object: ScaledObject| {
        let mut hpa = KedaHpa::new(target(), object, ControllerSettings::default(), schedule());
        replicas(&hpa.decide(&seen(0, 4, None)))
    };
    assert_eq!(look(with("queue ?? 10")), Some(5), "ten for two each");
    assert_eq!(look(with("queue")), Some(6), "nil is the fallback");
    assert_eq!(look(with("queue + 1")), None, "a formula that fails is a metric that fails");
}

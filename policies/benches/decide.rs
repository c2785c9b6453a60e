//! What one decision costs where a target has a thousand pods: `cargo bench -p scaletwin-policies --bench decide`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use scaletwin_core::control::{
    Bounds, ConditionStatus, ContainerRequests, LoadReport, LoadSample, MetricName, MetricQuery, Observation,
    PodPhase, PodValues, PodView, Point, Policy, Reading, ReadyCondition, Resource, Sample, Schedule,
    TargetName, TargetView, Values,
};
use scaletwin_core::input::{Place, Problems};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_policies::kubernetes::hpa::Hpa;
use scaletwin_policies::kubernetes::hpa::spec::{
    ControllerSettings, HpaSettings, MetricSource, ResourceTarget,
};
use scaletwin_policies::kubernetes::keda::activation::Activation;
use scaletwin_policies::kubernetes::keda::adapter::KedaHpa;
use scaletwin_policies::kubernetes::keda::trigger::{SignalSource, Source, Trigger};
use scaletwin_policies::kubernetes::keda::{MetricType, Pause, ScaledObject};
use scaletwin_policies::kubernetes::knative::spec::{ConfigSpec, Revision, resolve};
use scaletwin_policies::kubernetes::knative::{Kpa, TICK};

const PODS: i32 = 1_000;

fn target() -> TargetName {
    TargetName::new("web/main")
}

/// Its pods, all ready, each with one container that requests a core.
fn seen() -> Observation {
    let requests = ContainerRequests { name: "main".into(), requests: vec![(Resource::Cpu, 1_000)] };
    let containers: Arc<[ContainerRequests]> = Arc::new([requests]);
    let pod = |number: i32| PodView {
        name: format!("main-{number}").into(),
        phase: PodPhase::Running,
        deleted: false,
        start: Some(Time::ZERO),
        ready: Some(ReadyCondition { status: ConditionStatus::True, since: Time::ZERO }),
        containers: Arc::clone(&containers),
    };
    let mut seen = Observation::at(Time::ZERO + Span::from_secs(600), Civil::DEFAULT_START);
    seen.targets = vec![TargetView {
        name: target(),
        spec_replicas: PODS,
        status_replicas: PODS,
        ready_replicas: PODS,
        bounds: Bounds::default(),
        pods: (0..PODS).map(pod).collect(),
    }];
    seen
}

/// A policy that decides each `period` about what is seen, which the clock alone changes.
fn decides(
    criterion: &mut Criterion,
    name: &str,
    mut policy: impl Policy,
    mut seen: Observation,
    period: Span,
) {
    criterion.bench_function(&format!("{name} decides for {PODS} pods"), |bencher| {
        bencher.iter(|| {
            seen.now += period;
            black_box(policy.decide(&seen))
        });
    });
}

/// On CPU utilization, and on a metric of pods, in a steady state.
fn hpa(criterion: &mut Criterion) {
    let metric = || MetricName { name: "running".into(), selector: Default::default() };
    let cpu = MetricSource::Resource {
        resource: Resource::Cpu,
        container: None,
        target: ResourceTarget::Utilization(70),
    };
    let pods = MetricSource::Pods { metric: metric(), average_value: 16_000 };
    let values = |milli: i64| {
        let sample = Sample { milli, at: Time::ZERO + Span::from_secs(590), window: Span::from_secs(15) };
        let by_pod = (0..PODS).map(|_| Some(sample)).collect();
        Reading::Known(Values::Pods(PodValues { by_pod, unlisted: Vec::new() }))
    };
    let mut seen = seen();
    seen.metrics = vec![(cpu.query(&target()), values(700)), (pods.query(&target()), values(16_000))];
    let period = Span::from_secs(15);
    for (name, metric) in [("hpa on cpu", cpu), ("hpa on a metric of pods", pods)] {
        let settings =
            HpaSettings { min_replicas: 1, max_replicas: 2 * PODS, metrics: vec![metric], behavior: None };
        let hpa = Hpa::new(target(), settings, ControllerSettings::default(), Schedule::every(period));
        decides(criterion, name, hpa, seen.clone(), period);
    }
}

/// Both halves of a ScaledObject.
fn keda(criterion: &mut Criterion) {
    let source = SignalSource {
        signal: "waiting".into(),
        threshold: 4_000,
        activation_threshold: 0.0,
        ignore_null_values: true,
        push: false,
        partitions: None,
    };
    let trigger = Trigger {
        kind: "prometheus".into(),
        name: None,
        metric_type: MetricType::AverageValue,
        cached: false,
        source: Source::Signal(source),
    };
    let object = ScaledObject {
        polling_interval: Span::from_secs(30),
        cooldown_period: Span::from_secs(300),
        initial_cooldown_period: Span::ZERO,
        idle_replicas: None,
        min_replicas: 0,
        max_replicas: 2 * PODS,
        triggers: vec![trigger],
        modifiers: None,
        fallback: None,
        behavior: None,
        pause: Pause::default(),
    };
    let mut seen = seen();
    let value = Point {
        labels: Default::default(),
        value: Exact(f64::from(PODS) * 4.0),
        at: Time::ZERO + Span::from_secs(590),
    };
    let query = MetricQuery::Signal { name: "waiting".into() };
    seen.metrics = vec![(query, Reading::Known(Values::Vector(vec![value])))];
    let (poll, sync) = (Span::from_secs(30), Span::from_secs(15));
    let activation = Activation::new(target(), object.clone(), Schedule::every(poll));
    decides(criterion, "keda's activation", activation, seen.clone(), poll);
    let hpa = KedaHpa::new(target(), object, ControllerSettings::default(), Schedule::every(sync));
    decides(criterion, "keda's hpa", hpa, seen, sync);
}

/// With new samples each time, as many as a tick has.
fn knative(criterion: &mut Criterion) {
    let mut problems = Problems::default();
    let config = ConfigSpec::default();
    let settings = resolve(&Revision::default(), &config, &Place::nowhere(), &mut problems)
        .expect("the defaults are in range");
    let mut kpa = Kpa::new(target(), settings, Schedule::every(TICK));
    let query = kpa.needs().scope.metrics.remove(0);
    let mut seen = seen();
    criterion.bench_function(&format!("knative decides for {PODS} pods"), |bencher| {
        bencher.iter(|| {
            seen.now += TICK;
            let samples = [seen.now.saturating_sub(Span::from_secs(1)), seen.now]
                .map(|at| LoadSample { at, value: Exact(70_000.0) });
            let report = LoadReport { pod: None, at: seen.now, samples: Arc::new(samples) };
            seen.metrics = vec![(query.clone(), Reading::Known(Values::Load(vec![report])))];
            black_box(kpa.decide(&seen))
        });
    });
}

criterion_group!(benches, hpa, keda, knative);
criterion_main!(benches);

//! What one decision costs: `cargo bench -p scaletwin-policies`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use scaletwin_core::control::{
    Bounds, ConditionStatus, LoadReport, LoadSample, Observation, PodPhase, PodView, Policy, Reading,
    ReadyCondition, Schedule, TargetName, TargetView, Values,
};
use scaletwin_core::input::{Place, Problems};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_policies::kubernetes::knative::spec::{ConfigSpec, Revision, resolve};
use scaletwin_policies::kubernetes::knative::{Kpa, TICK};

/// A thousand ready pods.
fn view(target: &TargetName) -> TargetView {
    let pod = |number: i32| PodView {
        name: format!("main-{number}").into(),
        phase: PodPhase::Running,
        deleted: false,
        start: Some(Time::ZERO),
        ready: Some(ReadyCondition { status: ConditionStatus::True, since: Time::ZERO }),
        containers: Arc::new([]),
    };
    TargetView {
        name: target.clone(),
        spec_replicas: 1000,
        status_replicas: 1000,
        ready_replicas: 1000,
        bounds: Bounds::default(),
        pods: (0..1000).map(pod).collect(),
    }
}

fn knative(criterion: &mut Criterion) {
    let target = TargetName::new("web/main");
    let mut problems = Problems::default();
    let config = ConfigSpec::default();
    let settings = resolve(&Revision::default(), &config, &Place::nowhere(), &mut problems)
        .expect("the defaults are in range");
    let mut kpa = Kpa::new(target.clone(), settings, Schedule::every(TICK));
    let query = kpa.needs().scope.metrics.remove(0);
    let mut seen = Observation::at(Time::ZERO, Civil::DEFAULT_START);
    seen.targets = vec![view(&target)];
    criterion.bench_function("knative decides for 1000 pods", |bencher| {
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

criterion_group!(benches, knative);
criterion_main!(benches);

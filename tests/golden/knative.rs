//! Knative Serving's pod autoscaler, main of August 2026.

use libtest_mimic::Trial;
use scaletwin_core::control::{
    Bounds, LoadReport, LoadSample, Observation, Policy, Reading, Schedule, State, TargetName, TargetView,
    Values,
};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_policies::kubernetes::knative::buckets::Aggregation;
use scaletwin_policies::kubernetes::knative::scaler::{Scaler, ScalerSettings};
use scaletwin_policies::kubernetes::knative::spec::{KpaSettings, Metric};
use scaletwin_policies::kubernetes::knative::{Kpa, TICK};
use serde::Deserialize;

use crate::recording::{equal, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("knative_kpa_sequences.jsonl.gz", |record: &Sequence| {
        sequence(record).and_then(|()| policy(record))
    })]
}

#[derive(Deserialize)]
struct Sequence {
    aggregation: String,
    max_scale_up_rate: f64,
    max_scale_down_rate: f64,
    target_value: f64,
    total_value: f64,
    target_burst_capacity: f64,
    panic_threshold: f64,
    stable_window_s: u64,
    panic_window_s: u64,
    scale_down_delay_s: u64,
    activation_scale: i32,
    reachable: bool,
    initial_ready: i32,
    t0_unix_s: i64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    t_ms: u64,
    recorded: Option<Vec<Recorded>>,
    ready: i32,
    stable_avg: f64,
    panic_avg: f64,
    out_valid: bool,
    out_desired: i32,
    out_excess_burst_capacity: i32,
    out_in_panic: bool,
}

#[derive(Deserialize)]
struct Recorded {
    t_ms: u64,
    v: f64,
}

impl Sequence {
    fn settings(&self) -> ScalerSettings {
        ScalerSettings {
            aggregation: match self.aggregation.as_str() {
                "linear" => Aggregation::Linear,
                "weighted-exponential" => Aggregation::WeightedExponential,
                other => panic!("unknown aggregation {other}"),
            },
            max_scale_up_rate: self.max_scale_up_rate,
            max_scale_down_rate: self.max_scale_down_rate,
            target_value: self.target_value,
            total_value: self.total_value,
            target_burst_capacity: self.target_burst_capacity,
            panic_threshold: self.panic_threshold,
            stable_window: Span::from_secs(self.stable_window_s),
            panic_window: Span::from_secs(self.panic_window_s),
            scale_down_delay: Span::from_secs(self.scale_down_delay_s),
            activation_scale: self.activation_scale,
            reachable: self.reachable,
        }
    }

    fn civil(&self, t_ms: u64) -> Civil {
        Civil::from_unix_nanos(self.t0_unix_s * 1_000_000_000).at(instant(t_ms))
    }
}

fn instant(t_ms: u64) -> Time {
    Time::ZERO + Span::from_millis(t_ms)
}

fn sequence(record: &Sequence) -> Result<(), String> {
    let settings = record.settings();
    let mut scaler = Scaler::new(&settings, Time::ZERO, record.initial_ready);
    for (number, step) in record.steps.iter().enumerate() {
        for sample in step.recorded.iter().flatten() {
            scaler.record(record.civil(sample.t_ms), sample.v);
        }
        let scaled = scaler.scale(&settings, instant(step.t_ms), record.civil(step.t_ms), step.ready);
        let at = |what| format!("step {number}: {what}");
        equal(&at("valid"), scaled.is_some(), step.out_valid)?;
        equal(&at("panic"), scaler.is_panicking(), step.out_in_panic)?;
        let Some(scaled) = scaled else { continue };
        equal(&at("stable average"), scaled.stable, step.stable_avg)?;
        equal(&at("panic average"), scaled.panic, step.panic_avg)?;
        equal(&at("desired"), scaled.desired, step.out_desired)?;
        equal(&at("excess burst capacity"), scaled.excess_burst_capacity, step.out_excess_burst_capacity)?;
    }
    Ok(())
}

/// The same through the policy that the simulator runs, which is cut in the middle and goes on from its saved state.
fn policy(record: &Sequence) -> Result<(), String> {
    let start = Civil::from_unix_nanos(record.t0_unix_s * 1_000_000_000);
    let fresh = || Kpa::new(target(), record.settings_of_all(), Schedule::every(TICK));
    let mut kpa = fresh();
    kpa.decide(&record.observation(&kpa, start, Time::ZERO, record.initial_ready, Vec::new()));
    let (mut samples, mut last) = (Vec::new(), Time::ZERO);
    for (number, step) in record.steps.iter().enumerate() {
        for sample in step.recorded.iter().flatten() {
            // Samples of one instant are two all the same.
            last = instant(sample.t_ms).max(last + Span::from_nanos(1));
            samples.push(LoadSample { at: last, value: Exact(sample.v) });
        }
        if number % 30 == 29 {
            let text = serde_json::to_string(&kpa.save()).expect("plain data");
            kpa = fresh();
            let saved: State = serde_json::from_str(&text).expect("what was written");
            kpa.restore(&saved).map_err(|error| error.to_string())?;
        }
        let now = instant(step.t_ms);
        let seen = record.observation(&kpa, start, now, step.ready, samples.clone());
        let decision = kpa.decide(&seen);
        let reason = decision.reasons.iter().find(|reason| reason.subject == "Scale").expect("it decides");
        let at = |what| format!("step {number} of the policy: {what}");
        equal(&at("valid"), reason.holds, Some(step.out_valid))?;
        if !step.out_valid {
            continue;
        }
        equal(&at("panic"), reason.code == "Panic", step.out_in_panic)?;
        let figure = |name: &str| reason.figures[name].0;
        equal(&at("stable average"), figure("stable_average"), step.stable_avg)?;
        equal(&at("panic average"), figure("panic_average"), step.panic_avg)?;
        equal(&at("desired"), figure("desired_pods"), f64::from(step.out_desired))?;
        let burst = f64::from(step.out_excess_burst_capacity);
        equal(&at("excess burst capacity"), figure("excess_burst_capacity"), burst)?;
    }
    Ok(())
}

fn target() -> TargetName {
    TargetName::new("web/main")
}

impl Sequence {
    fn settings_of_all(&self) -> KpaSettings {
        KpaSettings {
            scaler: self.settings(),
            metric: Metric::Concurrency,
            min_scale: 0,
            max_scale: 0,
            initial_scale: 1,
            scale_to_zero: true,
            grace_period: Span::from_secs(30),
            pod_retention: Span::ZERO,
            progress_deadline: Span::from_secs(600),
        }
    }

    fn observation(
        &self,
        kpa: &Kpa,
        start: Civil,
        now: Time,
        ready: i32,
        samples: Vec<LoadSample>,
    ) -> Observation {
        let mut seen = Observation::at(now, start);
        let report = LoadReport { pod: None, at: now, samples: samples.into() };
        let query = kpa.needs().scope.metrics.remove(0);
        seen.metrics = vec![(query, Reading::Known(Values::Load(vec![report])))];
        seen.targets = vec![TargetView {
            name: target(),
            spec_replicas: ready,
            status_replicas: ready,
            ready_replicas: ready,
            bounds: Bounds::default(),
            pods: Vec::new(),
        }];
        seen
    }
}

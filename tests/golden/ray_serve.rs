//! Ray Serve's autoscaler, 2.60.

use std::sync::Arc;

use libtest_mimic::Trial;
use scaletwin_core::control::{
    Action, Bounds, ConditionStatus, LoadReport, LoadSample, Observation, PodPhase, PodView, Policy, Reading,
    ReadyCondition, Schedule, State, TargetName, TargetView, Values,
};
use scaletwin_core::input::{Place, parse};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_policies::serving::ray_serve::decide::{Decided, decide};
use scaletwin_policies::serving::ray_serve::metrics::{
    Aggregation, Point, aggregate, last_window, merge, ongoing, window_start,
};
use scaletwin_policies::serving::ray_serve::spec::RaySettings;
use scaletwin_policies::serving::ray_serve::{RayServe, manifest};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::recording::{equal, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("ray_serve_policy_sequences.jsonl.gz", |record: &Sequence| {
            sequence(record).and_then(|()| policy(record))
        }),
        trial("ray_serve_metric_merge.jsonl.gz", merging),
    ]
}

#[derive(Deserialize)]
struct Sequence {
    config: Json,
    upscaling_factor: f64,
    downscaling_factor: f64,
    target_capacity: Option<f64>,
    lower_bound: i32,
    upper_bound: i32,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    t: f64,
    running: i32,
    target: i32,
    total_requests: f64,
    policy_out: i64,
    out_target: i32,
    counter: Option<i64>,
    since: Option<f64>,
}

impl Sequence {
    /// The settings as a Serve config file gives them.
    fn settings(&self) -> Result<RaySettings, String> {
        let file = serde_json::json!({
            "target_capacity": self.target_capacity,
            "applications": [{"deployments": [{"name": "d", "autoscaling_config": self.config}]}],
        });
        let node = parse("recorded", &file.to_string()).expect("JSON");
        let read = manifest::read(&node, None, &[], &Place::nowhere());
        read.map(|(settings, _)| settings).map_err(|problems| problems.to_string())
    }
}

fn sequence(record: &Sequence) -> Result<(), String> {
    let settings = record.settings()?;
    equal("bounds", (settings.lower, settings.upper), (record.lower_bound, record.upper_bound))?;
    equal("upscaling factor", settings.upscaling_factor, record.upscaling_factor)?;
    equal("downscaling factor", settings.downscaling_factor, record.downscaling_factor)?;
    let mut memory = None;
    for (number, step) in record.steps.iter().enumerate() {
        let decided = decide(&settings, &mut memory, step.t, step.running, step.target, step.total_requests);
        let recorded = Decided { policy: step.policy_out, target: step.out_target };
        let at = |what| format!("step {number}: {what}");
        equal(&at("decision"), decided, recorded)?;
        equal(&at("counter"), memory.map(|memory| memory.counter), step.counter)?;
        equal(&at("since"), memory.and_then(|memory| memory.since), step.since)?;
    }
    Ok(())
}

/// The same through the policy that the simulator runs, which is cut now and then and goes on from its saved state.
fn policy(record: &Sequence) -> Result<(), String> {
    // The largest of one value is that value to the bit; a mean over time need not be.
    let settings = RaySettings { aggregation: Aggregation::Max, ..record.settings()? };
    let fresh = || RayServe::new(target(), settings, Schedule::every(Span::from_millis(100)));
    let mut ray = fresh();
    for (number, step) in record.steps.iter().enumerate() {
        if number % 40 == 39 {
            let text = serde_json::to_string(&ray.save()).expect("plain data");
            ray = fresh();
            let saved: State = serde_json::from_str(&text).expect("what was written");
            ray.restore(&saved).map_err(|error| error.to_string())?;
        }
        let decision = ray.decide(&step.observation(&ray));
        let set = decision.actions.iter().find_map(|action| match action {
            Action::SetReplicas { replicas, .. } => Some(*replicas),
            _ => None,
        });
        let at = format!("step {number} of the policy: target");
        equal(&at, set.unwrap_or(step.target), step.out_target)?;
    }
    Ok(())
}

fn target() -> TargetName {
    TargetName::new("web/main")
}

impl Step {
    fn observation(&self, ray: &RayServe) -> Observation {
        let now = Time::ZERO + Span::from_secs_f64(self.t).expect("recorded times are short");
        let mut seen = Observation::at(now, Civil::from_unix_nanos(0));
        let samples = Arc::new([LoadSample { at: now, value: Exact(self.total_requests) }]);
        let query = ray.needs().scope.metrics.remove(0);
        let report = LoadReport { pod: None, at: now, samples };
        seen.metrics = vec![(query, Reading::Known(Values::Load(vec![report])))];
        let pod = |number: i32| PodView {
            name: format!("main-{number}").into(),
            phase: PodPhase::Running,
            deleted: false,
            start: Some(Time::ZERO),
            ready: Some(ReadyCondition { status: ConditionStatus::True, since: Time::ZERO }),
            containers: Arc::new([]),
        };
        seen.targets = vec![TargetView {
            name: target(),
            spec_replicas: self.target,
            status_replicas: self.running,
            ready_replicas: self.running,
            bounds: Bounds::default(),
            pods: (0..self.running).map(pod).collect(),
        }];
        seen
    }
}

#[derive(Deserialize)]
struct Merging {
    now: f64,
    function: String,
    series: Vec<Vec<Point>>,
    merged: Vec<Point>,
    window_start: Option<f64>,
    last_window_s: Option<f64>,
    out: Option<f64>,
}

fn merging(record: &Merging) -> Result<(), String> {
    let how = match record.function.as_str() {
        "mean" => Aggregation::Mean,
        "max" => Aggregation::Max,
        "min" => Aggregation::Min,
        other => panic!("unknown function {other}"),
    };
    let merged = merge(&record.series);
    equal("merged", &merged, &record.merged)?;
    let start = window_start(&record.series, &merged);
    // Of a single series Ray looks at all.
    equal("window", start, record.window_start.or(merged.first().map(|(at, _)| *at)))?;
    let last = last_window(&merged, record.now);
    let value = start.and_then(|start| aggregate(&merged, how, start, last));
    if !merged.is_empty() {
        equal("last window", Some(last), record.last_window_s)?;
        equal("value", value, record.out)?;
    }
    // Where no series ever had another value than 0, nothing is merged, and there is no request.
    equal("ongoing", ongoing(&record.series, how, record.now), record.out.unwrap_or(0.0))
}

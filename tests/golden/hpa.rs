//! The HorizontalPodAutoscaler of Kubernetes 1.36.2.

use std::collections::BTreeMap;
use std::sync::Arc;

use libtest_mimic::Trial;
use scaletwin_core::control::{
    Bounds, ConditionStatus, ContainerRequests, MetricQuery, Missing, Observation, PodPhase, PodValues,
    PodView, Policy, Reading, ReadyCondition, Resource, Sample, Schedule, State, TargetName, TargetView,
    Values,
};
use scaletwin_core::input::parse;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_policies::kubernetes::hpa::normalize::{self, History};
use scaletwin_policies::kubernetes::hpa::pods::PodTimes;
use scaletwin_policies::kubernetes::hpa::replicas::{self, CalcError, Proposal, Tolerances};
use scaletwin_policies::kubernetes::hpa::spec::{Behavior, ControllerSettings, HpaSettings};
use scaletwin_policies::kubernetes::hpa::{Hpa, manifest};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::recording::{equal, trial};

/// Long after the start, so that all recorded ages lie within the run.
const NOW: Time = Time::from_nanos(1_000_000_000_000_000_000);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("hpa_resource_utilization.jsonl.gz", calculation),
        trial("hpa_plain_metric.jsonl.gz", calculation),
        trial("hpa_object_external.jsonl.gz", calculation),
        trial("hpa_normalize_sequences.jsonl.gz", normalization),
        trial("hpa_reconcile_sequences.jsonl.gz", reconciliation),
        trial("hpa_reconcile_sequences_scale_to_zero.jsonl.gz", reconciliation),
    ]
}

#[derive(Deserialize)]
struct Pod {
    name: Arc<str>,
    phase: PodPhase,
    deleted: bool,
    start_age_ms: Option<i64>,
    ready: Option<ConditionStatus>,
    ready_ltt_age_ms: i64,
    #[serde(default)]
    requests: Option<Vec<Request>>,
    metric: Option<Metric>,
}

#[derive(Deserialize)]
struct Request {
    container: Arc<str>,
    milli: Option<i64>,
}

#[derive(Deserialize, Clone, Copy)]
struct Metric {
    value: i64,
    age_ms: i64,
    window_ms: u64,
}

impl Metric {
    fn sample(self, now: Time) -> Sample {
        Sample { milli: self.value, at: ago(now, self.age_ms), window: Span::from_millis(self.window_ms) }
    }
}

/// The instant `age_ms` before `now`; recorded ages may lie in the future.
fn ago(now: Time, age_ms: i64) -> Time {
    let age = Span::from_millis(age_ms.unsigned_abs());
    if age_ms < 0 { now + age } else { now.checked_sub(age).expect("recorded ages lie within the run") }
}

impl Pod {
    fn view(&self, now: Time, resource: Resource) -> PodView {
        let containers = self.requests.iter().flatten().map(|request| ContainerRequests {
            name: request.container.clone(),
            requests: request.milli.map(|milli| (resource, milli)).into_iter().collect(),
        });
        PodView {
            name: self.name.clone(),
            phase: self.phase,
            deleted: self.deleted,
            start: self.start_age_ms.map(|age| ago(now, age)),
            ready: self.ready.map(|status| ReadyCondition { status, since: ago(now, self.ready_ltt_age_ms) }),
            containers: containers.collect(),
        }
    }
}

#[derive(Deserialize)]
struct Calculation {
    kind: String,
    resource: String,
    container: String,
    current_replicas: i32,
    target: i64,
    tol_down: f64,
    tol_up: f64,
    cpu_init_s: u64,
    initial_readiness_delay_s: u64,
    pods: Option<Vec<Pod>>,
    values: Option<Vec<i64>>,
    out_replicas: i32,
    out_utilization: i32,
    out_usage: i64,
    out_err: Option<String>,
}

fn calculation(record: &Calculation) -> Result<(), String> {
    let ours = calculate(record);
    equal("error", ours.is_err(), record.out_err.is_some())?;
    let Ok(proposal) = ours else { return Ok(()) };
    equal("replicas", proposal.replicas, record.out_replicas)?;
    equal("utilization", proposal.utilization.unwrap_or(0), record.out_utilization)?;
    equal("usage", proposal.usage, record.out_usage)
}

fn calculate(record: &Calculation) -> Result<Proposal, CalcError> {
    let resource = if record.resource == "memory" { Resource::Memory } else { Resource::Cpu };
    let recorded = record.pods.as_deref().unwrap_or_default();
    let pods: Vec<_> = recorded.iter().map(|pod| pod.view(NOW, resource)).collect();
    let by_pod = recorded.iter().map(|pod| pod.metric.map(|metric| metric.sample(NOW))).collect();
    let values = PodValues { by_pod, unlisted: Vec::new() };
    let tolerances = Tolerances { down: record.tol_down, up: record.tol_up };
    let times = PodTimes {
        now: NOW,
        cpu_initialization_period: Span::from_secs(record.cpu_init_s),
        initial_readiness_delay: Span::from_secs(record.initial_readiness_delay_s),
    };
    let (current, target) = (record.current_replicas, record.target);
    let series = record.values.as_deref().unwrap_or_default();
    let samples: Vec<_> =
        series.iter().map(|value| Sample { milli: *value, at: NOW, window: Span::ZERO }).collect();
    match record.kind.as_str() {
        "resource_utilization" => replicas::resource_utilization(
            &pods,
            &values,
            resource,
            (!record.container.is_empty()).then_some(record.container.as_str()),
            current,
            i32::try_from(target).expect("a percentage"),
            tolerances,
            times,
        ),
        "resource_average_value" => {
            replicas::plain(&pods, &values, Some(resource), current, target, tolerances, times)
        }
        "pods_metric" => replicas::plain(&pods, &values, None, current, target, tolerances, times),
        "object_value" => replicas::object_value(&pods, current, series[0], target, tolerances),
        "object_average" => Ok(replicas::object_average(current, series[0], target, tolerances)),
        "external_value" => replicas::external_value(&pods, current, &samples, target, tolerances),
        "external_average" => Ok(replicas::external_average(current, &samples, target, tolerances)),
        other => panic!("unknown kind {other}"),
    }
}

/// The settings that a recorded `behavior` and bounds give, read as from a manifest.
fn settings(spec: &Json, controller: &ControllerSettings) -> HpaSettings {
    let text = serde_json::json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "spec": spec,
    });
    let node = parse("recorded", &text.to_string()).expect("JSON");
    let (hpa, _) = manifest::read(&node, &[], controller).unwrap_or_else(|problems| panic!("{problems}"));
    hpa.settings
}

#[derive(Deserialize)]
struct Normalization {
    min: i32,
    max: i32,
    controller_downscale_window_s: u64,
    behavior_spec: Option<Json>,
    behavior_defaulted: Option<Json>,
    steps: Vec<NormalizationStep>,
}

#[derive(Deserialize)]
struct NormalizationStep {
    t_ms: u64,
    current: i32,
    proposed: i32,
    out: i32,
    able_reason: String,
    limited: String,
    limited_reason: String,
}

fn normalization(record: &Normalization) -> Result<(), String> {
    let window = Span::from_secs(record.controller_downscale_window_s);
    let controller = ControllerSettings {
        downscale_stabilization: window,
        scale_to_zero: true,
        ..ControllerSettings::default()
    };
    let behavior = |json: &Option<Json>| -> Option<Behavior> {
        let spec = serde_json::json!({
            "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "minReplicas": 1,
            "maxReplicas": 1_000_000,
            "behavior": json.as_ref()?,
        });
        settings(&spec, &controller).behavior
    };
    let ours = behavior(&record.behavior_spec);
    equal("defaulting", &ours, &behavior(&record.behavior_defaulted))?;
    let mut history = History::default();
    for (at, step) in record.steps.iter().enumerate() {
        let now = NOW + Span::from_millis(step.t_ms);
        history.seed(step.current, now);
        let (current, proposed) = (step.current, step.proposed);
        let out = match &ours {
            None => normalize::without_behavior(
                &mut history,
                now,
                window,
                current,
                proposed,
                record.min,
                record.max,
            ),
            Some(behavior) => normalize::with_behavior(
                &mut history,
                now,
                behavior,
                current,
                proposed,
                record.min,
                record.max,
            ),
        };
        if let Some(behavior) = ours.as_ref().filter(|_| out.replicas != current) {
            history.store_scale_event(now, behavior, current, out.replicas);
        }
        let at = |what| format!("step {at}: {what}");
        equal(&at("replicas"), out.replicas, step.out)?;
        equal(&at("AbleToScale"), out.able, &step.able_reason)?;
        equal(
            &at("ScalingLimited"),
            (out.limited.0, out.limited.1),
            (step.limited == "True", &step.limited_reason),
        )?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Reconciliation {
    #[serde(rename = "gate_HPAScaleToZero")]
    gate: bool,
    controller_downscale_window_s: u64,
    cpu_init_s: u64,
    initial_readiness_delay_s: u64,
    hpa_spec_defaulted: Json,
    ticks: Vec<ReconcileTick>,
}

#[derive(Deserialize)]
struct ReconcileTick {
    t_ms: u64,
    spec_replicas: i32,
    status_replicas: i32,
    pods: Option<Vec<Pod>>,
    pod_metrics: Option<BTreeMap<String, BTreeMap<Arc<str>, Metric>>>,
    object_metrics: Option<BTreeMap<String, i64>>,
    external_metrics: Option<BTreeMap<String, Vec<i64>>>,
    out_spec_replicas: i32,
    out_status_desired: i32,
    out_scaled: bool,
    out_conditions: BTreeMap<String, String>,
    out_err: Option<String>,
}

fn reconciliation(record: &Reconciliation) -> Result<(), String> {
    let controller = ControllerSettings {
        downscale_stabilization: Span::from_secs(record.controller_downscale_window_s),
        cpu_initialization_period: Span::from_secs(record.cpu_init_s),
        initial_readiness_delay: Span::from_secs(record.initial_readiness_delay_s),
        scale_to_zero: record.gate,
        ..ControllerSettings::default()
    };
    let settings = settings(&record.hpa_spec_defaulted, &controller);
    let target = TargetName::new("ns/d");
    let queries: Vec<_> = settings.metrics.iter().map(|metric| metric.query(&target)).collect();
    let mut hpa = Hpa::new(target.clone(), settings, controller, Schedule::every(Span::from_secs(15)));
    for (at, tick) in record.ticks.iter().enumerate() {
        let seen = tick.observation(&target, &queries);
        let mut repeated = hpa.clone();
        let journal = (hpa.save(), seen.clone());
        let outcome = hpa.reconcile(&seen, &seen.targets[0]);
        repeat_from_journal(&mut repeated, &journal, &hpa)?;
        let at = |what| format!("tick {at}: {what}");
        let replicas = outcome.rescale.unwrap_or(tick.spec_replicas);
        equal(&at("spec.replicas"), replicas, tick.out_spec_replicas)?;
        equal(&at("status.desiredReplicas"), outcome.desired_replicas, tick.out_status_desired)?;
        equal(&at("scaled"), outcome.rescale.is_some(), tick.out_scaled)?;
        equal(&at("error"), outcome.error.is_some(), tick.out_err.is_some())?;
        let conditions: BTreeMap<String, String> = hpa
            .conditions()
            .iter()
            .map(|(kind, condition)| {
                let status = if condition.holds { "True" } else { "False" };
                (kind.clone(), format!("{status}:{}", condition.reason))
            })
            .collect();
        equal(&at("conditions"), &conditions, &tick.out_conditions)?;
    }
    Ok(())
}

/// A decision repeated from the written state and observation leaves the same state behind.
fn repeat_from_journal(fresh: &mut Hpa, journal: &(State, Observation), after: &Hpa) -> Result<(), String> {
    let text = serde_json::to_string(journal).expect("plain data");
    let (state, seen): (State, Observation) = serde_json::from_str(&text).expect("what was written");
    equal("the journal", (&state, &seen), (&journal.0, &journal.1))?;
    fresh.restore(&state).map_err(|error| error.to_string())?;
    fresh.decide(&seen);
    equal("the state after a repeated decision", fresh.save(), after.save())
}

impl ReconcileTick {
    fn observation(&self, target: &TargetName, queries: &[MetricQuery]) -> Observation {
        let now = NOW + Span::from_millis(self.t_ms);
        let pods: Vec<_> = self.pods.iter().flatten().map(|pod| pod.view(now, Resource::Cpu)).collect();
        let mut seen = Observation::at(now, Civil::DEFAULT_START);
        seen.metrics = queries.iter().map(|query| (query.clone(), self.answer(query, &pods, now))).collect();
        seen.targets = vec![TargetView {
            name: target.clone(),
            spec_replicas: self.spec_replicas,
            status_replicas: self.status_replicas,
            ready_replicas: 0,
            bounds: Bounds::default(),
            pods,
        }];
        seen
    }

    fn answer(&self, query: &MetricQuery, pods: &[PodView], now: Time) -> Reading<Values> {
        let series = |values: &[i64]| {
            let sample = |value: &i64| Sample { milli: *value, at: now, window: Span::ZERO };
            Some(Values::Series(values.iter().map(sample).collect()))
        };
        let values = match query {
            MetricQuery::Resource { .. } => self.pod_values("cpu", pods, now),
            MetricQuery::Pods { metric, .. } => self.pod_values(&metric.name, pods, now),
            MetricQuery::Object { metric, .. } => {
                let value = self.object_metrics.as_ref().and_then(|metrics| metrics.get(&metric.name));
                value.and_then(|value| series(&[*value]))
            }
            MetricQuery::External { metric } => {
                let values = self.external_metrics.as_ref().and_then(|metrics| metrics.get(&metric.name));
                values.and_then(|values| series(values))
            }
            MetricQuery::PodSamples { .. } | MetricQuery::Signal { .. } | MetricQuery::Load { .. } => None,
        };
        values.map_or(Reading::Missing(Missing::NoData), Reading::Known)
    }

    fn pod_values(&self, metric: &str, pods: &[PodView], now: Time) -> Option<Values> {
        let samples = self.pod_metrics.as_ref()?.get(metric)?;
        let by_pod = pods.iter().map(|pod| samples.get(&pod.name).map(|metric| metric.sample(now))).collect();
        let listed = |name: &Arc<str>| pods.iter().any(|pod| pod.name == *name);
        let unlisted = samples.iter().filter(|(name, _)| !listed(name));
        let unlisted = unlisted.map(|(name, metric)| (name.clone(), metric.sample(now))).collect();
        Some(Values::Pods(PodValues { by_pod, unlisted }))
    }
}

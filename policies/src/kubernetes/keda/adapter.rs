//! KEDA's metrics server, and the generated HPA that asks it: values of triggers, fallback, formula.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Decision, MetricQuery, Missing, Needs, Observation, Policy, Reading, Reason, Sample, Schedule, State,
    StateMismatch, TargetName, TargetView, Values as Answer,
};
use scaletwin_core::units::Span;
use serde::{Deserialize, Serialize};

use super::trigger::{self, Source, Told, Trigger, TriggerError};
use super::{
    COMPOSITE, Fallback, FallbackBehavior, MetricType, Modifiers, ScaledObject, cached, cached_failure,
    external,
};
use crate::kubernetes::hpa::Hpa;
use crate::kubernetes::hpa::spec::ControllerSettings;
use crate::numerics::go;

/// The HPA that KEDA generates, with KEDA's metrics server before it.
#[derive(Debug, Clone)]
pub struct KedaHpa {
    target: TargetName,
    object: ScaledObject,
    hpa: Hpa,
    /// Failures in a row by metric: `status.health`.
    health: BTreeMap<String, u32>,
}

/// The state: that of the HPA, and the failures.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    hpa: State,
    health: BTreeMap<String, u32>,
}

/// The values of triggers by their places.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<usize, f64>);

impl Values {
    pub(super) fn push(&mut self, at: usize, value: Option<f64>) {
        self.0.extend(value.map(|value| (at, through_milli(value))));
    }

    /// One for each trigger, nil where there is none.
    pub(super) fn of(&self, triggers: usize) -> Vec<Option<f64>> {
        (0..triggers).map(|at| self.0.get(&at).copied()).collect()
    }
}

/// A value as a formula sees it: `int64(value * 1000)` thousandths.
fn through_milli(value: f64) -> f64 {
    trigger::milli(value) as f64 * 1e-3
}

impl KedaHpa {
    /// The HPA that KEDA generates for `object` on `target`, run by a controller with these flags at these times.
    #[must_use]
    pub fn new(
        target: TargetName,
        object: ScaledObject,
        controller: ControllerSettings,
        schedule: Schedule,
    ) -> KedaHpa {
        let hpa = Hpa::new(target.clone(), object.hpa(), controller, schedule);
        KedaHpa { target, object, hpa, health: BTreeMap::new() }
    }

    /// The HPA asks for no metric at 0 replicas or out of bounds.
    fn asks(&self, view: &TargetView) -> bool {
        let min = view.bounds.min.unwrap_or(self.object.min_replicas.max(1));
        let max = view.bounds.max.unwrap_or(self.object.max_replicas);
        view.spec_replicas != 0 && (min..=max).contains(&view.spec_replicas)
    }

    /// What the metrics server answers for each metric of the HPA from outside.
    fn answers(&mut self, seen: &Observation, view: &TargetView) -> Vec<(String, Result<i64, String>)> {
        let mut told = Vec::new();
        for (at, trigger) in self.object.triggers.iter().enumerate() {
            let metric = trigger.metric_name(at);
            if let Some(read) = self.read(trigger, &metric, seen) {
                let failures = self.health.entry(metric.clone()).or_default();
                *failures = if read.is_ok() { 0 } else { failures.saturating_add(1) };
                let over = read.is_err()
                    && self
                        .object
                        .valid_fallback()
                        .is_some_and(|fallback| *failures > fallback.failure_threshold);
                told.push((at, metric, read, over));
            }
        }
        match &self.object.modifiers {
            Some(modifiers) => vec![(COMPOSITE.to_owned(), self.composite(modifiers, &told, view))],
            None => told
                .into_iter()
                .map(|(at, metric, read, over)| {
                    let trigger = &self.object.triggers[at];
                    let answer = read.map(|told| trigger::milli(told.value)).or_else(|error| {
                        self.fallback(over, trigger.source.target(), trigger.metric_type, view)
                            .ok_or_else(|| error.to_string())
                    });
                    (metric, answer)
                })
                .collect(),
        }
    }

    /// The value of a trigger: that of the last poll if it is cached and there is one, or else a fresh one.
    fn read(
        &self,
        trigger: &Trigger,
        metric: &str,
        seen: &Observation,
    ) -> Option<Result<Told, TriggerError>> {
        let kept = |name: String| {
            let answer = seen.metric(&MetricQuery::Signal { name })?;
            trigger::one(answer).ok()
        };
        if trigger.cached && !matches!(trigger.source, Source::Resource(_)) {
            match kept(cached_failure(&self.target, metric)) {
                Some(failed) if failed > 0.0 => return Some(Err(TriggerError::Cached)),
                Some(_) => {
                    if let Some(value) = kept(cached(&self.target, metric)) {
                        return Some(Ok(Told { value, active: true }));
                    }
                }
                None => {}
            }
        }
        trigger.read(seen)
    }

    /// The value of the formula. One trigger on its fallback is enough for the fallback of all.
    fn composite(
        &self,
        modifiers: &Modifiers,
        told: &[(usize, String, Result<Told, TriggerError>, bool)],
        view: &TargetView,
    ) -> Result<i64, String> {
        let fallback = |over| self.fallback(over, modifiers.target, modifiers.metric_type, view);
        if let Some(milli) = fallback(told.iter().any(|(_, _, _, over)| *over)) {
            return Ok(milli);
        }
        let mut values = Values::default();
        for (at, _, read, _) in told {
            values.push(*at, read.as_ref().ok().map(|told| told.value));
        }
        match modifiers.formula.evaluate(&values.of(self.object.triggers.len())) {
            Ok(Some(value)) => Ok(trigger::milli(value)),
            Ok(None) => self
                .object
                .valid_fallback()
                .and_then(|fallback| amount(fallback.replicas, modifiers.target, modifiers.metric_type, view))
                .ok_or_else(|| "the formula gives nil, and there is no fallback".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The value that makes the HPA ask for the fallback's replicas, if the metric failed often enough.
    fn fallback(&self, over: bool, target: i64, metric_type: MetricType, view: &TargetView) -> Option<i64> {
        let fallback = self.object.valid_fallback().filter(|_| over)?;
        amount(replicas(fallback, view)?, target, metric_type, view)
    }

    fn reason(&self) -> Option<Reason> {
        let fallback = self.object.valid_fallback()?;
        let over = self.health.values().any(|failures| *failures > fallback.failure_threshold);
        Some(Reason {
            target: Some(self.target.clone()),
            subject: "Fallback".into(),
            holds: Some(over),
            code: if over { "FallbackExists" } else { "NoFallbackFound" }.into(),
            ..Reason::default()
        })
    }
}

/// How many replicas a fallback asks for; `None` where the formula decides.
fn replicas(fallback: Fallback, view: &TargetView) -> Option<i32> {
    let current = view.spec_replicas;
    Some(match fallback.behavior {
        FallbackBehavior::Static => fallback.replicas,
        FallbackBehavior::CurrentReplicas => current,
        FallbackBehavior::CurrentReplicasIfHigher => fallback.replicas.max(current),
        FallbackBehavior::CurrentReplicasIfLower => fallback.replicas.min(current),
        FallbackBehavior::ScalingModifiers => return None,
    })
}

/// `int64(target * 1000 * replicas)`; for a target of type Value divided by the ready pods, of which there has to be one.
fn amount(replicas: i32, target: i64, metric_type: MetricType, view: &TargetView) -> Option<i64> {
    let replicas = match metric_type {
        MetricType::AverageValue => f64::from(replicas),
        MetricType::Value => {
            let ready = view.pods.iter().filter(|pod| pod.is_ready()).count();
            (ready > 0).then(|| f64::from(replicas) / ready as f64)?
        }
    };
    Some(go::int64(target as f64 * 1e-3 * 1_000.0 * replicas))
}

impl Policy for KedaHpa {
    fn needs(&self) -> Needs {
        let mut needs = self.hpa.needs();
        needs.scope.metrics.retain(|query| !matches!(query, MetricQuery::External { .. }));
        for (at, trigger) in self.object.triggers.iter().enumerate() {
            needs.scope.metrics.extend(trigger.query());
            if trigger.cached {
                let metric = trigger.metric_name(at);
                let kept = [cached(&self.target, &metric), cached_failure(&self.target, &metric)];
                needs.scope.metrics.extend(kept.map(|name| MetricQuery::Signal { name }));
            }
        }
        needs
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut answered = Vec::new();
        if let Some(view) = seen.target(&self.target).filter(|view| self.asks(view)) {
            for (metric, answer) in self.answers(seen, view) {
                let reading = match answer {
                    Ok(milli) => Reading::Known(Answer::Series(vec![Sample {
                        milli,
                        at: seen.now,
                        window: Span::ZERO,
                    }])),
                    Err(detail) => Reading::Missing(Missing::Unreachable { detail }),
                };
                answered.push((MetricQuery::External { metric: external(&metric) }, reading));
            }
        }
        let mut decision = self.hpa.decide_with(seen, &answered);
        decision.reasons.extend(self.reason());
        decision
    }

    fn save(&self) -> State {
        State::of("keda-hpa", 1, &Saved { hpa: self.hpa.save(), health: self.health.clone() })
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        let saved: Saved = state.read("keda-hpa", 1)?;
        self.hpa.restore(&saved.hpa)?;
        self.health = saved.health;
        Ok(())
    }
}

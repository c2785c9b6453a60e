//! The HorizontalPodAutoscaler of Kubernetes 1.36, equal to recorded decisions of its controller.
//!
//! | module | part of the controller |
//! |---|---|
//! | [`pods`] | which pods count: `groupPods` |
//! | [`replicas`] | from one metric to a number of replicas: `replica_calculator.go` |
//! | [`normalize`] | stabilisation, scaling policies, limits |
//! | [`settings`] | what it does, with the defaults of the API |
//! | [`spec`] | what a user sets by our own keys |
//! | [`manifest`] | `autoscaling/v2` and `v1` |
//!
//! and here the reconcile loop. All values are integer milli-units, and the arithmetic is Go's.

pub mod manifest;
pub mod normalize;
pub mod pods;
pub mod replicas;
pub mod settings;
pub mod spec;

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Decision, MetricQuery, Needs, Observation, Policy, Reading, Reason, Schedule, State,
    StateMismatch, TargetName, TargetView, Values,
};
use scaletwin_core::units::Time;
use scaletwin_core::units::exact::Exact;
use serde::{Deserialize, Serialize};

use normalize::{History, Normalized};
use pods::PodTimes;
use replicas::{CalcError, Proposal, Tolerances};
use spec::{ControllerSettings, HpaSettings, MetricSource, ResourceTarget, ValueTarget};

/// One HorizontalPodAutoscaler with its controller.
#[derive(Debug, Clone)]
pub struct Hpa {
    target: TargetName,
    settings: HpaSettings,
    controller: ControllerSettings,
    schedule: Schedule,
    status: Status,
}

/// What a metrics API answers to a query.
pub(super) type Answer = (MetricQuery, Reading<Values>);

/// What the controller remembers: in memory, and in the object's status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Status {
    history: History,
    desired_replicas: i32,
    conditions: BTreeMap<String, Condition>,
}

/// A condition of the object's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it holds.
    pub holds: bool,
    /// The controller's reason code.
    pub reason: String,
}

/// What one reconcile did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The new `spec.replicas`, if it changes.
    pub rescale: Option<i32>,
    /// `status.desiredReplicas`.
    pub desired_replicas: i32,
    /// The first metric that could not be used, if any.
    pub error: Option<CalcError>,
    /// Each metric with what it proposes.
    pub proposals: Vec<Result<Proposal, CalcError>>,
}

const ABLE_TO_SCALE: &str = "AbleToScale";
const SCALING_ACTIVE: &str = "ScalingActive";
const SCALING_LIMITED: &str = "ScalingLimited";
const SCALED_TO_ZERO: &str = "ScaledToZero";

impl Hpa {
    /// The HPA `settings` on `target`, run by a controller with these flags, looking at these times.
    #[must_use]
    pub fn new(
        target: TargetName,
        settings: HpaSettings,
        controller: ControllerSettings,
        schedule: Schedule,
    ) -> Hpa {
        Hpa { target, settings, controller, schedule, status: Status::default() }
    }

    /// The conditions of its status, by type.
    #[must_use]
    pub fn conditions(&self) -> &BTreeMap<String, Condition> {
        &self.status.conditions
    }

    /// One run of the controller's reconcile.
    pub fn reconcile(&mut self, seen: &Observation, view: &TargetView) -> Outcome {
        self.reconcile_with(seen, view, &[])
    }

    /// The same with answers to metrics from elsewhere, which go before those of the observation.
    fn reconcile_with(&mut self, seen: &Observation, view: &TargetView, more: &[Answer]) -> Outcome {
        let now = seen.now;
        let current = view.spec_replicas;
        let min = view.bounds.min.unwrap_or(self.settings.min_replicas);
        let max = view.bounds.max.unwrap_or(self.settings.max_replicas);
        self.set(ABLE_TO_SCALE, true, "SucceededGetScale");
        self.status.history.seed(current, now);

        let mut outcome =
            Outcome { rescale: None, desired_replicas: current, error: None, proposals: Vec::new() };
        if current == 0 && !self.wakes_from_zero(min) {
            self.set(SCALING_ACTIVE, false, "ScalingDisabled");
        } else if current > max {
            outcome.rescale = Some(max);
        } else if current < min && current != 0 {
            outcome.rescale = Some(min);
        } else {
            outcome.proposals = self.propose(seen, view, more);
            let errors = outcome.proposals.iter().filter_map(|proposal| proposal.as_ref().err());
            outcome.error = errors.clone().next().cloned();
            let (proposed, invalid) = (highest(&outcome.proposals), errors.count());
            if invalid >= outcome.proposals.len() || (invalid > 0 && proposed < current) {
                let first = outcome.proposals.iter().position(Result::is_err).unwrap_or(0);
                self.set(SCALING_ACTIVE, false, self.settings.metrics[first].failure_reason());
                outcome.desired_replicas = self.status.desired_replicas;
                return outcome;
            }
            self.set(SCALING_ACTIVE, true, "ValidMetricFound");
            let desired = self.normalize(now, current, proposed.max(0), min, max);
            let desired = if current == 0 && min != 0 { desired.max(min) } else { desired };
            outcome.rescale = (desired != current).then_some(desired);
        }
        if let Some(desired) = outcome.rescale {
            self.rescaled(now, current, desired, min);
            outcome.desired_replicas = desired;
        }
        self.status.desired_replicas = outcome.desired_replicas;
        outcome
    }

    /// Whether a target at zero is looked at: only one that this HPA has scaled to zero itself.
    fn wakes_from_zero(&self, min: i32) -> bool {
        let asleep = self.status.conditions.get(SCALED_TO_ZERO).is_some_and(|condition| condition.holds);
        self.controller.scale_to_zero && asleep && (min != 0 || self.settings.has_outside_metric())
    }

    fn normalize(&mut self, now: Time, current: i32, proposed: i32, min: i32, max: i32) -> i32 {
        let history = &mut self.status.history;
        let Normalized { replicas, able, limited } = match &self.settings.behavior {
            None => {
                let window = self.controller.downscale_stabilization;
                normalize::without_behavior(history, now, window, current, proposed, min, max)
            }
            Some(behavior) => normalize::with_behavior(history, now, behavior, current, proposed, min, max),
        };
        self.set(ABLE_TO_SCALE, true, able);
        self.set(SCALING_LIMITED, limited.0, limited.1);
        replicas
    }

    fn rescaled(&mut self, now: Time, current: i32, desired: i32, min: i32) {
        self.set(ABLE_TO_SCALE, true, "SucceededRescale");
        if let Some(behavior) = &self.settings.behavior {
            self.status.history.store_scale_event(now, behavior, current, desired);
        }
        if self.controller.scale_to_zero {
            let asleep = desired == 0 && current > 0 && min == 0 && self.settings.has_outside_metric();
            self.set(SCALED_TO_ZERO, asleep, if asleep { "ScaledToZero" } else { "NotScaledToZero" });
        }
    }

    fn set(&mut self, kind: &str, holds: bool, reason: impl Into<String>) {
        self.status.conditions.insert(kind.to_owned(), Condition { holds, reason: reason.into() });
    }

    /// What each metric proposes, in order.
    fn propose(
        &self,
        seen: &Observation,
        view: &TargetView,
        more: &[Answer],
    ) -> Vec<Result<Proposal, CalcError>> {
        let answer = |source: &MetricSource| {
            let query = source.query(&self.target);
            let elsewhere = more.iter().find(|(asked, _)| *asked == query).map(|(_, answer)| answer);
            elsewhere.or_else(|| seen.metric(&query)).ok_or(CalcError::NotAsked)
        };
        let one = |source| self.propose_one(source, answer(source)?, seen.now, view);
        self.settings.metrics.iter().map(one).collect()
    }

    fn propose_one(
        &self,
        source: &MetricSource,
        answer: &Reading<Values>,
        now: Time,
        view: &TargetView,
    ) -> Result<Proposal, CalcError> {
        let tolerances = self.tolerances();
        let times = PodTimes {
            now,
            cpu_initialization_period: self.controller.cpu_initialization_period,
            initial_readiness_delay: self.controller.initial_readiness_delay,
        };
        let values = answer.known().map_err(|why| CalcError::Missing(why.clone()))?;
        let spec = view.spec_replicas;
        let status = view.status_replicas;
        match (source, values) {
            (MetricSource::Resource { resource, container, target }, Values::Pods(values)) => match target {
                ResourceTarget::Utilization(percent) => replicas::resource_utilization(
                    &view.pods,
                    values,
                    *resource,
                    container.as_deref(),
                    spec,
                    *percent,
                    tolerances,
                    times,
                ),
                ResourceTarget::AverageValue(milli) => {
                    replicas::plain(&view.pods, values, Some(*resource), spec, *milli, tolerances, times)
                }
            },
            (MetricSource::Pods { average_value, .. }, Values::Pods(values)) => {
                replicas::plain(&view.pods, values, None, spec, *average_value, tolerances, times)
            }
            (MetricSource::Object { target, .. }, Values::Series(series)) => {
                let usage = series.first().ok_or(CalcError::NoSeries)?.milli;
                match target {
                    ValueTarget::Value(milli) => {
                        replicas::object_value(&view.pods, spec, usage, *milli, tolerances)
                    }
                    ValueTarget::AverageValue(milli) => {
                        Ok(replicas::object_average(status, usage, *milli, tolerances))
                    }
                }
            }
            (MetricSource::External { target, .. }, Values::Series(series)) => {
                if series.is_empty() {
                    return Err(CalcError::NoSeries);
                }
                match target {
                    ValueTarget::Value(milli) => {
                        replicas::external_value(&view.pods, spec, series, *milli, tolerances)
                    }
                    ValueTarget::AverageValue(milli) => {
                        Ok(replicas::external_average(status, series, *milli, tolerances))
                    }
                }
            }
            _ => Err(CalcError::NotAsked),
        }
    }

    /// The tolerances of the behavior, or else of the controller.
    fn tolerances(&self) -> Tolerances {
        let of = |tolerance: Option<f64>| tolerance.unwrap_or(self.controller.tolerance);
        let behavior = self.settings.behavior.as_ref();
        Tolerances {
            down: of(behavior.and_then(|behavior| behavior.scale_down.tolerance)),
            up: of(behavior.and_then(|behavior| behavior.scale_up.tolerance)),
        }
    }

    fn reasons(&self, outcome: &Outcome) -> Vec<Reason> {
        let conditions = self.status.conditions.iter().map(|(kind, condition)| Reason {
            target: Some(self.target.clone()),
            subject: kind.clone(),
            holds: Some(condition.holds),
            code: condition.reason.clone(),
            ..Reason::default()
        });
        let metrics = self.settings.metrics.iter().zip(&outcome.proposals).map(|(source, proposal)| {
            let subject = format!("metric {}", source.name());
            let target = Some(self.target.clone());
            match proposal {
                Ok(proposal) => Reason {
                    target,
                    subject,
                    code: "Proposed".into(),
                    figures: proposal.figures(),
                    ..Reason::default()
                },
                Err(error) => Reason {
                    target,
                    subject,
                    holds: Some(false),
                    code: source.failure_reason().into(),
                    detail: error.to_string(),
                    ..Reason::default()
                },
            }
        });
        conditions.chain(metrics).collect()
    }
}

/// The highest valid proposal, the first of equals; 0 if there is none.
fn highest(proposals: &[Result<Proposal, CalcError>]) -> i32 {
    let mut replicas = 0;
    for proposal in proposals.iter().flatten() {
        if replicas == 0 || proposal.replicas > replicas {
            replicas = proposal.replicas;
        }
    }
    replicas
}

impl Proposal {
    fn figures(&self) -> BTreeMap<String, Exact> {
        let mut figures = BTreeMap::from([
            ("proposed_replicas".to_owned(), Exact(f64::from(self.replicas))),
            ("usage_milli".to_owned(), Exact(self.usage as f64)),
        ]);
        if let Some(percent) = self.utilization {
            figures.insert("utilization_percent".to_owned(), Exact(f64::from(percent)));
        }
        figures
    }
}

impl Policy for Hpa {
    fn needs(&self) -> Needs {
        let metrics: Vec<MetricQuery> =
            self.settings.metrics.iter().map(|source| source.query(&self.target)).collect();
        Needs::of_replicas(&self.target, metrics, self.schedule)
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        self.decide_with(seen, &[])
    }

    fn save(&self) -> State {
        State::of("hpa", 1, &self.status)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.status = state.read("hpa", 1)?;
        Ok(())
    }
}

impl Hpa {
    /// Decides with answers to metrics from elsewhere, which go before those of the observation.
    pub(super) fn decide_with(&mut self, seen: &Observation, more: &[Answer]) -> Decision {
        let Some(view) = seen.target(&self.target) else {
            return Decision::nothing(Reason {
                target: Some(self.target.clone()),
                subject: ABLE_TO_SCALE.into(),
                holds: Some(false),
                code: "FailedGetScale".into(),
                ..Reason::default()
            });
        };
        let outcome = self.reconcile_with(seen, view, more);
        let action =
            outcome.rescale.map(|replicas| Action::SetReplicas { target: self.target.clone(), replicas });
        Decision { reasons: self.reasons(&outcome), actions: action.into_iter().collect(), wake_at: None }
    }
}

//! The scale executor: between 0 (or idle) and the fewest replicas, every polling interval.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Aspect, Cause, Decision, MetricQuery, Needs, Observation, Poke, PokeKind, Policy, Reason,
    Schedule, Scope, State, StateMismatch, TargetName,
};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Time};
use serde::{Deserialize, Serialize};

use super::adapter::Values;
use super::trigger::{Source, Told, TriggerError};
use super::{ScaledObject, cached, cached_failure};

/// The part of KEDA that switches a target on and off.
#[derive(Debug, Clone)]
pub struct Activation {
    target: TargetName,
    object: ScaledObject,
    schedule: Schedule,
    status: Status,
}

/// What the object's status keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Status {
    /// When the object was seen first.
    created: Option<Time>,
    /// `status.lastActiveTime`, in whole seconds, as the API keeps it.
    last_active: Option<Civil>,
    /// Whether `paused-replicas` has been set.
    paused: bool,
}

/// What all triggers say together.
struct Polled {
    active: bool,
    failed: bool,
    reasons: Vec<Reason>,
    publish: Vec<Action>,
}

impl Activation {
    /// The activation of `target` by `object`, polling at these times.
    #[must_use]
    pub fn new(target: TargetName, object: ScaledObject, schedule: Schedule) -> Activation {
        Activation { target, object, schedule, status: Status::default() }
    }

    /// Asks all triggers.
    fn poll(&self, seen: &Observation) -> Polled {
        let pushed = matches!(&seen.cause, Cause::Poke(Poke::RequestAtZero { .. }));
        let mut polled = Polled { active: pushed, failed: false, reasons: Vec::new(), publish: Vec::new() };
        let mut values = Values::default();
        for (at, trigger) in self.object.triggers.iter().enumerate() {
            let Some(told) = trigger.read(seen) else { continue };
            let metric = trigger.metric_name(at);
            polled.reasons.push(self.told(&metric, &told));
            if trigger.cached {
                polled.publish.extend(self.publish(&metric, &told));
            }
            polled.failed |= told.is_err();
            polled.active |= self.object.modifiers.is_none() && told.as_ref().is_ok_and(|told| told.active);
            values.push(at, told.ok().map(|told| told.value));
        }
        if let Some(modifiers) = self.object.modifiers.as_ref().filter(|_| !polled.failed) {
            match modifiers.formula.evaluate(&values.of(self.object.triggers.len())) {
                Ok(value) => polled.active |= value.is_some_and(|value| value > modifiers.activation_target),
                Err(_) => polled.failed = true,
            }
        }
        polled.active |= self.object.resources_only() || self.object.pause.force_activation;
        polled
    }

    fn told(&self, metric: &str, told: &Result<Told, TriggerError>) -> Reason {
        let reason = self.reason(&format!("trigger {metric}"), None, "");
        match told {
            Ok(told) => Reason {
                holds: Some(told.active),
                code: if told.active { "Active" } else { "Inactive" }.into(),
                figures: BTreeMap::from([("value".to_owned(), Exact(told.value))]),
                ..reason
            },
            Err(error) => Reason {
                holds: Some(false),
                code: "FailedTrigger".into(),
                detail: error.to_string(),
                ..reason
            },
        }
    }

    /// Keeps the value of a cached metric for the HPA, or that it could not be had.
    fn publish(&self, metric: &str, told: &Result<Told, TriggerError>) -> Vec<Action> {
        let signal =
            |name: String, value: f64| Action::PublishSignal { name, labels: BTreeMap::new(), value };
        let failure = cached_failure(&self.target, metric);
        match told {
            Ok(told) => vec![signal(cached(&self.target, metric), told.value), signal(failure, 0.0)],
            Err(_) => vec![signal(failure, 1.0)],
        }
    }

    /// `RequestScale`: the new number of replicas, if it changes, and the code that says why.
    fn request(
        &mut self,
        seen: &Observation,
        current: i32,
        active: bool,
        failed: bool,
    ) -> (Option<i32>, &'static str) {
        let ScaledObject { idle_replicas: idle, min_replicas: min, fallback, .. } = self.object;
        if active {
            if (idle.is_some() && current < min) || current == 0 {
                if self.object.pause.scale_out {
                    return (None, "PausedScaleOut");
                }
                self.note_active(seen);
                return (Some(min.max(1)), "ScalerActive");
            }
            if failed {
                return (None, "PartialTriggerError");
            }
            self.note_active(seen);
            return (None, "ScalerActive");
        }
        if failed && fallback.is_some_and(|fallback| fallback.replicas != 0) {
            return (None, "WaitsForFallback");
        }
        if failed && fallback.is_none() {
            return (None, "FailedTriggers");
        }
        if idle.is_some_and(|idle| current > idle) || (current > 0 && min == 0) {
            if self.object.pause.scale_in {
                return (None, "PausedScaleIn");
            }
            return match self.cooled_down(seen) {
                true => (Some(idle.unwrap_or(min)), "ScalerNotActive"),
                false => (None, "ScalerCooldown"),
            };
        }
        if idle.is_none() && current < min {
            return (Some(min), "MinReplicaCount");
        }
        (None, "ScalerNotActive")
    }

    /// The API keeps times in whole seconds, and the next poll reads what it keeps.
    fn note_active(&mut self, seen: &Observation) {
        let nanos = seen.start.at(seen.now).as_unix_nanos();
        self.status.last_active = Some(Civil::from_unix_nanos(nanos - nanos.rem_euclid(1_000_000_000)));
    }

    /// Strictly longer than the cooldown since it was last active; if it never was, since its creation, which lies just
    /// before the first poll.
    fn cooled_down(&self, seen: &Observation) -> bool {
        match self.status.last_active {
            Some(last) => {
                let idle = seen.start.at(seen.now).since(last);
                idle.is_some_and(|idle| idle > self.object.cooldown_period)
            }
            None => {
                let created = self.status.created.unwrap_or(seen.now);
                seen.now.since(created) >= self.object.initial_cooldown_period
            }
        }
    }

    /// A paused object scales once to the number that its annotation names, and nothing else.
    fn paused(&mut self, current: i32) -> Decision {
        let wanted = self.object.pause.paused_replicas.filter(|_| !self.status.paused);
        self.status.paused = true;
        let reason = self.reason("Paused", Some(true), "ScaledObjectPaused");
        self.decision(wanted.filter(|wanted| *wanted != current), vec![reason], Vec::new())
    }

    fn decision(&self, replicas: Option<i32>, reasons: Vec<Reason>, mut actions: Vec<Action>) -> Decision {
        actions
            .extend(replicas.map(|replicas| Action::SetReplicas { target: self.target.clone(), replicas }));
        Decision { actions, reasons, wake_at: None }
    }

    fn reason(&self, subject: &str, holds: Option<bool>, code: &str) -> Reason {
        Reason {
            target: Some(self.target.clone()),
            subject: subject.into(),
            holds,
            code: code.into(),
            ..Reason::default()
        }
    }
}

impl Policy for Activation {
    fn needs(&self) -> Needs {
        let triggers = || self.object.triggers.iter().enumerate();
        let push =
            |trigger: &super::Trigger| matches!(&trigger.source, Source::Signal(signal) if signal.push);
        let pokes = if triggers().any(|(_, trigger)| push(trigger)) {
            vec![PokeKind::RequestAtZero]
        } else {
            Vec::new()
        };
        let kept = triggers().filter(|(_, trigger)| trigger.cached).flat_map(|(at, trigger)| {
            let metric = trigger.metric_name(at);
            [cached(&self.target, &metric), cached_failure(&self.target, &metric)].map(Aspect::Signal)
        });
        let metrics: Vec<MetricQuery> = triggers().filter_map(|(_, trigger)| trigger.query()).collect();
        Needs {
            scope: Scope { targets: vec![self.target.clone()], metrics, nodes: false },
            schedule: self.schedule,
            pokes,
            writes: std::iter::once(Aspect::Replicas(self.target.clone())).chain(kept).collect(),
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(current) = seen.target(&self.target).map(|view| view.spec_replicas) else {
            return Decision::nothing(self.reason("Ready", Some(false), "FailedGettingCurrentReplicas"));
        };
        self.status.created.get_or_insert(seen.now);
        if self.object.pause.whole() {
            return self.paused(current);
        }
        let Polled { active, failed, mut reasons, publish } = self.poll(seen);
        let (replicas, code) = self.request(seen, current, active, failed);
        reasons.insert(0, self.reason("Active", Some(active), code));
        self.decision(replicas.filter(|replicas| *replicas != current), reasons, publish)
    }

    fn save(&self) -> State {
        State::of("keda", 1, &self.status)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.status = state.read("keda", 1)?;
        Ok(())
    }
}

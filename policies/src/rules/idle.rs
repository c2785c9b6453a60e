//! To zero when nothing happens, after checks; back at the first request.

use scaletwin_core::control::{
    Cause, Decision, Needs, Observation, Poke, PokeKind, Policy, State, StateMismatch, TargetView,
};
use scaletwin_core::input::{At, Count, Period};
use scaletwin_core::units::{Span, Time};
use serde::Serialize;

use super::subject::Subject;

scaletwin_core::keys! {
    /// Scales a target that is idle to zero, and back at the first request. It leaves every other number alone.
    #[derive(Debug, Clone)]
    pub struct IdleSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// The signal that is above 0 while there is work, by its name under `signals`. Without data nothing is done.
        pub signal: At<String>,
        /// How long it has to be 0.
        pub idle_for: Span = Span::from_secs(600),
        /// Signals that have to be at most their value before the target goes to zero. One without data forbids it.
        pub checks: Vec<CheckSpec> = Vec::new(),
        /// Whether it waits until no replica is starting.
        pub wait_for_ready: bool = true,
        /// How many replicas at the first request.
        pub wake_replicas: Count = Count(1),
        /// From one look to the next.
        pub period: Period = Period(Span::from_secs(15)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
    }
}

scaletwin_core::keys! {
    /// A check before a target goes to zero.
    #[derive(Debug, Clone)]
    pub struct CheckSpec {
        /// The signal, by its name under `signals`.
        pub signal: At<String>,
        /// The most that it may be.
        pub at_most: f64,
    }
}

/// What the rule needs to know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdleSettings {
    /// The signal of work.
    pub signal: String,
    /// How long it has to be 0.
    pub idle_for: Span,
    /// Signals and the most that they may be.
    pub checks: Vec<(String, f64)>,
    /// Whether it waits until no replica is starting.
    pub wait_for_ready: bool,
    /// How many replicas at the first request.
    pub wake_replicas: i32,
}

impl IdleSpec {
    /// The settings.
    #[must_use]
    pub fn settings(&self) -> IdleSettings {
        let check = |spec: &CheckSpec| (spec.signal.value.clone(), spec.at_most);
        IdleSettings {
            signal: self.signal.value.clone(),
            idle_for: self.idle_for,
            checks: self.checks.iter().map(check).collect(),
            wait_for_ready: self.wait_for_ready,
            wake_replicas: i32::try_from(self.wake_replicas.0).unwrap_or(i32::MAX),
        }
    }
}

/// Scale to zero of one target.
#[derive(Debug, Clone)]
pub struct Idle {
    subject: Subject,
    settings: IdleSettings,
    /// Since when there has been no work.
    since: Option<Time>,
}

impl Idle {
    /// The rule `settings` on this subject.
    #[must_use]
    pub fn new(subject: Subject, settings: IdleSettings) -> Idle {
        Idle { subject, settings, since: None }
    }

    /// Why the target may not go to zero yet; `None` if it may.
    fn forbids(&mut self, seen: &Observation, view: &TargetView) -> Option<&'static str> {
        match self.subject.value(seen, &self.settings.signal) {
            Err(_) => return Some("FailedSignal"),
            Ok(work) if work > 0.0 => {
                self.since = None;
                return Some("Busy");
            }
            Ok(_) => {}
        }
        let since = *self.since.get_or_insert(seen.now);
        if seen.now.since(since) < self.settings.idle_for {
            return Some("NotIdleForLongEnough");
        }
        if self.settings.wait_for_ready && view.ready_replicas < view.spec_replicas {
            return Some("ReplicaStarting");
        }
        let fails = |(signal, most): &(String, f64)| {
            !self.subject.value(seen, signal).is_ok_and(|value| value <= *most)
        };
        self.settings.checks.iter().any(fails).then_some("CheckForbids")
    }
}

impl Policy for Idle {
    fn needs(&self) -> Needs {
        Needs { pokes: vec![PokeKind::RequestAtZero], ..self.subject.needs() }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(view) = self.subject.view(seen) else {
            return Decision::nothing(self.subject.reason("target", Some(false), "FailedGetScale"));
        };
        let current = view.spec_replicas;
        let asked = matches!(&seen.cause, Cause::Poke(Poke::RequestAtZero { .. }));
        if asked && current == 0 {
            self.since = None;
            let reason = self.subject.reason("idle", Some(false), "RequestAtZero");
            return self.subject.set(current, self.settings.wake_replicas, reason);
        }
        if current == 0 {
            return Decision::nothing(self.subject.reason("idle", Some(true), "AtZero"));
        }
        let forbids = self.forbids(seen, view);
        let reason = self.subject.reason("idle", Some(forbids.is_none()), forbids.unwrap_or("Idle"));
        self.subject.set(current, if forbids.is_none() { 0 } else { current }, reason)
    }

    fn save(&self) -> State {
        State::of("idle", 1, &self.since)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.since = state.read("idle", 1)?;
        Ok(())
    }
}

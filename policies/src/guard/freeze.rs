//! No change while maintenance goes on.

use scaletwin_core::control::{
    Action, Decision, Guard, Observation, Scope, State, StateMismatch, TargetName,
};
use scaletwin_core::input::{At, Problems};
use scaletwin_core::units::Civil;
use serde::Serialize;

use super::{reason, target_of};
use crate::calendar::Between;
use crate::rules::schedule::between;

scaletwin_core::keys! {
    /// No change of replicas, requests and nodes in a time of the day, or between two instants.
    #[derive(Debug, Clone)]
    pub struct FreezeSpec {
        /// When it begins, as a schedule: minute, hour, day, month, weekday.
        pub start: Option<At<String>> = None,
        /// When it ends, as a schedule.
        pub end: Option<At<String>> = None,
        /// The IANA name of the time zone of both.
        pub timezone: At<String> = "UTC".to_owned(),
        /// When it begins, once.
        pub from: Option<At<Civil>> = None,
        /// When it ends, once.
        pub until: Option<At<Civil>> = None,
        /// Whether replicas and nodes may still be added.
        pub allow_up: bool = false,
    }
}

/// When nothing changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Frozen {
    /// Over and over.
    Recurring(Box<Between>),
    /// Once, the end excluded.
    Once(Civil, Civil),
}

/// A freeze, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Freeze {
    frozen: Frozen,
    allow_up: bool,
}

impl FreezeSpec {
    /// The freeze. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<Freeze> {
        let frozen = match (&self.start, &self.end, &self.from, &self.until) {
            (Some(start), Some(end), None, None) => {
                Frozen::Recurring(Box::new(between(start, end, &self.timezone, problems)?))
            }
            (None, None, Some(from), Some(until)) if from.value < until.value => {
                Frozen::Once(from.value, until.value)
            }
            _ => {
                let message = "a freeze needs start and end, or from and a later until";
                problems.error(&self.timezone.place, message);
                return None;
            }
        };
        Some(Freeze { frozen, allow_up: self.allow_up })
    }
}

/// A freeze over these targets.
#[derive(Debug, Clone)]
pub struct FreezeGuard {
    freeze: Freeze,
    targets: Vec<TargetName>,
}

impl FreezeGuard {
    /// This freeze over these targets and all nodes.
    #[must_use]
    pub fn new(freeze: Freeze, targets: Vec<TargetName>) -> FreezeGuard {
        FreezeGuard { freeze, targets }
    }

    fn holds(&self, now: Civil) -> bool {
        match &self.freeze.frozen {
            Frozen::Recurring(between) => between.holds(now),
            Frozen::Once(from, until) => *from <= now && now < *until,
        }
    }

    /// Whether an action waits for the end of the freeze.
    fn stops(&self, seen: &Observation, action: &Action) -> bool {
        match action {
            Action::SetReplicas { target, replicas } => {
                let now = seen.target(target).map(|view| view.spec_replicas);
                !(self.freeze.allow_up && now.is_some_and(|now| *replicas > now))
            }
            Action::LaunchNodes(_) => !self.freeze.allow_up,
            Action::SetRequests { .. }
            | Action::Evict { .. }
            | Action::DrainNode { .. }
            | Action::DeleteNode { .. }
            | Action::ReplaceNodes { .. } => true,
            Action::PublishSignal { .. }
            | Action::SetBounds { .. }
            | Action::SetAdmission { .. }
            | Action::Hold { .. } => false,
        }
    }
}

impl Guard for FreezeGuard {
    fn scope(&self) -> Scope {
        Scope { targets: self.targets.clone(), ..Scope::default() }
    }

    fn review(&mut self, seen: &Observation, mut wanted: Decision) -> Decision {
        if !self.holds(seen.start.at(seen.now)) {
            return wanted;
        }
        let (stopped, kept) =
            std::mem::take(&mut wanted.actions).into_iter().partition(|action| self.stops(seen, action));
        wanted.actions = kept;
        let stopped: Vec<Action> = stopped;
        let reasons = stopped.iter().map(|action| {
            reason("freeze", target_of(action), "Frozen", "no change while maintenance goes on".to_owned())
        });
        wanted.reasons.extend(reasons);
        wanted
    }

    fn save(&self) -> State {
        State::of("freeze", 1, &())
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        state.read("freeze", 1)
    }
}

//! How fast the replicas of each target may change.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Decision, Guard, Observation, Scope, State, StateMismatch, TargetName,
};
use scaletwin_core::input::{Count, Period};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::reason;

scaletwin_core::keys! {
    /// How many replicas of each target may come or go in a period.
    #[derive(Debug, Clone)]
    pub struct RateSpec {
        /// The most that come in a period. Default: any number.
        pub up: Option<Count> = None,
        /// The most that go in a period. Default: any number.
        pub down: Option<Count> = None,
        /// The period, a window that slides.
        pub per: Period = Period(Span::from_secs(60)),
    }
}

/// A limit on the rate of change of each target.
#[derive(Debug, Clone)]
pub struct RateGuard {
    spec: Rate,
    targets: Vec<TargetName>,
    changes: BTreeMap<String, Vec<(Time, i32)>>,
}

/// The rate, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    up: i32,
    down: i32,
    per: Span,
}

impl RateSpec {
    /// The rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        let count =
            |count: Option<Count>| count.map_or(i32::MAX, |count| i32::try_from(count.0).unwrap_or(i32::MAX));
        Rate { up: count(self.up), down: count(self.down), per: self.per.0 }
    }
}

impl RateGuard {
    /// This rate for each of these targets.
    #[must_use]
    pub fn new(spec: Rate, targets: Vec<TargetName>) -> RateGuard {
        RateGuard { spec, targets, changes: BTreeMap::new() }
    }

    /// How much of a change is left in the period before `now`.
    fn allowed(&self, target: &TargetName, change: i32, now: Time) -> i32 {
        let recent = self.changes.get(target.as_str()).into_iter().flatten();
        let recent = recent.filter(|(at, _)| now.since(*at) < self.spec.per).map(|(_, change)| *change);
        if change > 0 {
            let used: i32 = recent.filter(|change| *change > 0).fold(0, i32::saturating_add);
            change.min(self.spec.up.saturating_sub(used).max(0))
        } else {
            let used: i32 = recent.filter(|change| *change < 0).fold(0, i32::saturating_add);
            change.max(-self.spec.down.saturating_add(used).max(0))
        }
    }

    fn note(&mut self, target: &TargetName, change: i32, now: Time) {
        let changes = self.changes.entry(target.as_str().to_owned()).or_default();
        changes.retain(|(at, _)| now.since(*at) < self.spec.per);
        if change != 0 {
            changes.push((now, change));
        }
    }
}

impl Guard for RateGuard {
    fn scope(&self) -> Scope {
        Scope { targets: self.targets.clone(), ..Scope::default() }
    }

    fn review(&mut self, seen: &Observation, mut wanted: Decision) -> Decision {
        for action in &mut wanted.actions {
            let Action::SetReplicas { target, replicas } = action else { continue };
            let Some(now) = seen.target(target).map(|view| view.spec_replicas) else { continue };
            let change = replicas.saturating_sub(now);
            let allowed = self.allowed(target, change, seen.now);
            self.note(target, allowed, seen.now);
            if allowed != change {
                let detail = format!("{replicas} replicas wanted, a change of {allowed} from {now} allowed");
                wanted.reasons.push(reason("rate-of-change", Some(target), "ChangeLimited", detail));
                *replicas = now.saturating_add(allowed);
            }
        }
        wanted
    }

    fn save(&self) -> State {
        State::of("rate-of-change", 1, &self.changes)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.changes = state.read("rate-of-change", 1)?;
        Ok(())
    }
}

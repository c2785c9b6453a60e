//! What a simple policy is about: one target, and the signals that it looks at.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Decision, MetricQuery, Needs, Observation, Reason, Schedule, TargetName, TargetView,
};
use scaletwin_core::units::exact::Exact;

/// One target with signals and a schedule.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The target.
    pub target: TargetName,
    /// Signals by their names under `signals`.
    pub signals: Vec<String>,
    /// When the policy looks.
    pub schedule: Schedule,
    /// The fewest and most replicas.
    pub bounds: (i32, i32),
}

impl Subject {
    /// What a policy on it needs.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let query = |name: &String| MetricQuery::Signal { name: name.clone() };
        let metrics = self.signals.iter().map(query).collect();
        Needs::of_replicas(&self.target, metrics, self.schedule)
    }

    /// The target's view.
    #[must_use]
    pub fn view<'a>(&self, seen: &'a Observation) -> Option<&'a TargetView> {
        seen.target(&self.target)
    }

    /// The value of a signal; one for each pod counts together. NaN and infinity are no values.
    ///
    /// # Errors
    /// Why there is none.
    pub fn value(&self, seen: &Observation, name: &str) -> Result<f64, String> {
        let answer = seen.metric(&MetricQuery::Signal { name: name.to_owned() });
        let values = answer.ok_or("it was not observed")?.known().map_err(ToString::to_string)?.floats();
        let sum: f64 = values.iter().sum();
        match values.is_empty() {
            false if sum.is_finite() => Ok(sum),
            true => Err("no data".to_owned()),
            false => Err(format!("its value is {sum}")),
        }
    }

    /// A decision for `wanted` replicas within the bounds, if that changes anything.
    #[must_use]
    pub fn set(&self, current: i32, wanted: i32, reason: Reason) -> Decision {
        let (min, max) = self.bounds;
        let replicas = wanted.min(max).max(min);
        let action = Action::SetReplicas { target: self.target.clone(), replicas };
        let actions = (replicas != current).then_some(action).into_iter().collect();
        Decision { actions, reasons: vec![reason], wake_at: None }
    }

    /// A reason about the target.
    #[must_use]
    pub fn reason(&self, subject: &str, holds: Option<bool>, code: &str) -> Reason {
        Reason {
            target: Some(self.target.clone()),
            subject: subject.to_owned(),
            holds,
            code: code.to_owned(),
            ..Reason::default()
        }
    }

    /// A reason about a signal with its value, or why there is none.
    #[must_use]
    pub fn told(&self, name: &str, value: &Result<f64, String>) -> Reason {
        let reason = self.reason(&format!("signal {name}"), None, "");
        match value {
            Ok(value) => Reason {
                code: "Seen".into(),
                figures: BTreeMap::from([("value".to_owned(), Exact(*value))]),
                ..reason
            },
            Err(why) => {
                Reason { holds: Some(false), code: "FailedSignal".into(), detail: why.clone(), ..reason }
            }
        }
    }
}

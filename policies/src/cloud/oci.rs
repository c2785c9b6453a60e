//! Metric-based autoscaling of Oracle Cloud's instance pools, from its documentation: approximate.

use scaletwin_core::control::{Decision, Needs, Observation, Policy, State, StateMismatch};
use scaletwin_core::input::{At, Count, Period, Problems};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::Points;
use crate::rules::subject::Subject;

scaletwin_core::keys! {
    /// Autoscaling of Oracle Cloud's instance pools by a metric: a step when three points in a row are beyond a threshold.
    /// Approximate: from the documentation.
    #[derive(Debug, Clone)]
    pub struct OciSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// The metric, by its name under `signals`: CPU or memory in percent, as a rule.
        pub signal: At<String>,
        /// Scales out strictly above this.
        pub scale_out_above: f64,
        /// How many instances it adds.
        pub add: Count = Count(1),
        /// Scales in strictly below this.
        pub scale_in_below: f64,
        /// How many instances it removes.
        pub remove: Count = Count(1),
        /// The fewest instances.
        pub min_replicas: u16 = 1u16,
        /// The most instances.
        pub max_replicas: Count,
        /// How long it rests after a step, at least 5 min.
        pub cooldown: At<Span> = Span::from_secs(300),
        /// Points in a row beyond a threshold.
        pub points: Count = Count(3),
        /// From one data point to the next.
        pub period: Period = Period(Span::from_secs(60)),
        /// The first data point, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
    }
}

/// The policy, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OciSettings {
    signal: String,
    scale_out_above: f64,
    add: i32,
    scale_in_below: f64,
    remove: i32,
    cooldown: Span,
    points: usize,
}

impl OciSpec {
    /// The policy with its bounds. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<(OciSettings, (i32, i32))> {
        let before = problems.len();
        let count = |count: Count| i32::try_from(count.0).unwrap_or(i32::MAX);
        let bounds = (i32::from(self.min_replicas), count(self.max_replicas));
        if bounds.0 > bounds.1 {
            problems.error(&self.target.place, "min_replicas is above max_replicas");
        }
        if self.scale_in_below >= self.scale_out_above {
            problems.error(&self.target.place, "scale_in_below is not below scale_out_above");
        }
        if self.cooldown.value < Span::from_secs(300) {
            problems.error(&self.cooldown.place, "the cooldown is at least 5m");
        }
        let settings = OciSettings {
            signal: self.signal.value.clone(),
            scale_out_above: self.scale_out_above,
            add: count(self.add),
            scale_in_below: self.scale_in_below,
            remove: count(self.remove),
            cooldown: self.cooldown.value,
            points: self.points.0 as usize,
        };
        (problems.len() == before).then_some((settings, bounds))
    }
}

/// The autoscaling of one target.
#[derive(Debug, Clone)]
pub struct Oci {
    subject: Subject,
    settings: OciSettings,
    state: Memory,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    points: Points,
    acted: Option<Time>,
}

impl Oci {
    /// This policy on this subject.
    #[must_use]
    pub fn new(subject: Subject, settings: OciSettings) -> Oci {
        Oci { subject, settings, state: Memory::default() }
    }

    fn wanted(&self, now: Time, current: i32) -> (i32, &'static str) {
        let OciSettings { scale_out_above, scale_in_below, points, cooldown, .. } = self.settings;
        let cooling = self.state.acted.is_some_and(|at| now.since(at) < cooldown);
        let change = if self.state.points.all(points, |value| value > scale_out_above) {
            self.settings.add
        } else if self.state.points.all(points, |value| value < scale_in_below) {
            -self.settings.remove
        } else {
            return (current, "WithinThresholds");
        };
        if cooling { (current, "Cooldown") } else { (current.saturating_add(change), "ThresholdCrossed") }
    }
}

impl Policy for Oci {
    fn needs(&self) -> Needs {
        self.subject.needs()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(current) = self.subject.view(seen).map(|view| view.spec_replicas) else {
            return Decision::nothing(self.subject.reason("target", Some(false), "FailedGetScale"));
        };
        let value = self.subject.value(seen, &self.settings.signal);
        self.state.points.push(value.as_ref().ok().copied(), self.settings.points);
        let (wanted, code) = self.wanted(seen.now, current);
        let mut decision = self.subject.set(current, wanted, self.subject.reason("thresholds", None, code));
        if !decision.actions.is_empty() {
            self.state.acted = Some(seen.now);
        }
        decision.reasons.push(self.subject.told(&self.settings.signal, &value));
        decision
    }

    fn save(&self) -> State {
        State::of("oci", 1, &self.state)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.state = state.read("oci", 1)?;
        Ok(())
    }
}

//! Threshold rules: above or below a value, a step up or down, then a pause.

use std::collections::BTreeMap;

use scaletwin_core::control::{Decision, Needs, Observation, Policy, State, StateMismatch};
use scaletwin_core::input::{At, Count, Period, Place, Positive, Problems};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::subject::Subject;
use crate::numerics::go;

scaletwin_core::keys! {
    /// Threshold rules on one target: the first that holds and does not pause acts.
    #[derive(Debug, Clone)]
    pub struct ThresholdSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// The rules, the more important first.
        pub rules: At<Vec<RuleSpec>>,
        /// The fewest replicas.
        pub min_replicas: u16 = 1u16,
        /// The most replicas.
        pub max_replicas: Count,
        /// From one look to the next.
        pub period: Period = Period(Span::from_secs(15)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
    }
}

scaletwin_core::keys! {
    /// A step when a signal is above or below a value: up when above, down when below.
    #[derive(Debug, Clone)]
    pub struct RuleSpec {
        /// The signal, by its name under `signals`; over several pods their sum.
        pub signal: At<String>,
        /// Scales up strictly above this.
        pub above: Option<f64> = None,
        /// Scales down strictly below this.
        pub below: Option<f64> = None,
        /// By so many replicas. Default: 1, if `percent` is not written.
        pub step: Option<Count> = None,
        /// By so many percent of the present replicas, rounded up, at least one replica.
        pub percent: Option<Positive> = None,
        /// How long it has to hold, look by look, before it acts.
        pub r#for: Span = Span::ZERO,
        /// How long the rule pauses after it has acted.
        pub cooldown: Span = Span::from_secs(60),
    }
}

/// A checked rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    signal: String,
    /// Up above it, or down below it.
    up: bool,
    threshold: f64,
    step: Step,
    holds_for: Span,
    cooldown: Span,
}

/// How far a rule goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// So many replicas.
    Replicas(i32),
    /// So many percent of the present replicas.
    Percent(f64),
}

impl Step {
    /// The replicas that it means at `current`, at least one.
    fn of(self, current: i32) -> i32 {
        match self {
            Step::Replicas(count) => count,
            Step::Percent(percent) => go::int32((f64::from(current) * percent / 100.0).ceil()).max(1),
        }
    }
}

impl ThresholdSpec {
    /// The checked rules. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<Vec<Rule>> {
        let before = problems.len();
        if i64::from(self.min_replicas) > i64::from(self.max_replicas.0) {
            problems.error(&self.target.place, "min_replicas is above max_replicas");
        }
        if self.rules.value.is_empty() {
            problems.error(&self.rules.place, "at least one rule is needed");
        }
        let rules =
            self.rules.value.iter().filter_map(|rule| rule.check(&rule.signal.place, problems)).collect();
        (problems.len() == before).then_some(rules)
    }

    /// The fewest and most replicas.
    #[must_use]
    pub fn bounds(&self) -> (i32, i32) {
        (i32::from(self.min_replicas), i32::try_from(self.max_replicas.0).unwrap_or(i32::MAX))
    }
}

impl RuleSpec {
    fn check(&self, place: &Place, problems: &mut Problems) -> Option<Rule> {
        let (up, threshold) = match (self.above, self.below) {
            (Some(above), None) => (true, above),
            (None, Some(below)) => (false, below),
            _ => {
                problems.error(place, "a rule needs either above or below");
                return None;
            }
        };
        let step = match (self.step, self.percent) {
            (Some(_), Some(_)) => {
                problems.error(place, "step and percent exclude each other");
                return None;
            }
            (step, None) => Step::Replicas(step.map_or(1, |step| i32::try_from(step.0).unwrap_or(i32::MAX))),
            (None, Some(percent)) => Step::Percent(percent.0),
        };
        let signal = self.signal.value.clone();
        Some(Rule { signal, up, threshold, step, holds_for: self.r#for, cooldown: self.cooldown })
    }
}

impl Rule {
    /// The signal that it looks at.
    #[must_use]
    pub fn signal(&self) -> &str {
        &self.signal
    }

    fn holds(&self, value: f64) -> bool {
        if self.up { value > self.threshold } else { value < self.threshold }
    }
}

/// The rules of one target.
#[derive(Debug, Clone)]
pub struct Threshold {
    subject: Subject,
    rules: Vec<Rule>,
    state: Memory,
}

/// What it remembers of each rule, by its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// Since when it holds.
    since: BTreeMap<usize, Time>,
    /// When it acted last.
    acted: BTreeMap<usize, Time>,
}

impl Threshold {
    /// These rules on this subject.
    #[must_use]
    pub fn new(subject: Subject, rules: Vec<Rule>) -> Threshold {
        Threshold { subject, rules, state: Memory::default() }
    }

    /// Whether the rule at `at` holds for long enough and does not pause.
    fn acts(&mut self, at: usize, value: &Result<f64, String>, now: Time) -> bool {
        let rule = &self.rules[at];
        if !value.as_ref().is_ok_and(|value| rule.holds(*value)) {
            self.state.since.remove(&at);
            return false;
        }
        let since = *self.state.since.entry(at).or_insert(now);
        let pausing = self.state.acted.get(&at).is_some_and(|last| now.since(*last) < rule.cooldown);
        now.since(since) >= rule.holds_for && !pausing
    }
}

impl Policy for Threshold {
    fn needs(&self) -> Needs {
        self.subject.needs()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(current) = self.subject.view(seen).map(|view| view.spec_replicas) else {
            return Decision::nothing(self.subject.reason("target", Some(false), "FailedGetScale"));
        };
        let mut reasons = Vec::new();
        let mut wanted = None;
        for at in 0..self.rules.len() {
            let signal = self.rules[at].signal.clone();
            let value = self.subject.value(seen, &signal);
            reasons.push(self.subject.told(&signal, &value));
            if self.acts(at, &value, seen.now) && wanted.is_none() {
                let step = self.rules[at].step.of(current);
                let change = if self.rules[at].up { step } else { -step };
                wanted = Some((at, current.saturating_add(change)));
            }
        }
        let code = if wanted.is_some() { "ThresholdCrossed" } else { "NoRuleActs" };
        let reason = self.subject.reason("rules", None, code);
        let mut decision = self.subject.set(current, wanted.map_or(current, |(_, wanted)| wanted), reason);
        if let Some((at, _)) = wanted.filter(|_| !decision.actions.is_empty()) {
            self.state.acted.insert(at, seen.now);
        }
        decision.reasons.extend(reasons);
        decision
    }

    fn save(&self) -> State {
        State::of("threshold", 1, &self.state)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.state = state.read("threshold", 1)?;
        Ok(())
    }
}

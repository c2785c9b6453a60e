//! Step scaling of AWS Application Auto Scaling, from its documentation: approximate.

use scaletwin_core::control::{Decision, Needs, Observation, Policy, State, StateMismatch};
use scaletwin_core::input::{At, Count, Period, Problems};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::Points;
use crate::numerics::go;
use crate::rules::subject::Subject;

scaletwin_core::keys! {
    /// Step scaling of AWS Application Auto Scaling: one alarm, and steps by how far the metric is beyond its threshold.
    /// Approximate: AWS does not publish it.
    #[derive(Debug, Clone)]
    pub struct AwsStepScalingSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// The metric, by its name under `signals`.
        pub signal: At<String>,
        /// The alarm's threshold.
        pub threshold: f64,
        /// On which side of the threshold the alarm is.
        pub side: Side = Side::Above,
        /// `EvaluationPeriods`: points that breach before it acts.
        pub evaluation_periods: Count = Count(1),
        /// `AdjustmentType`.
        pub adjustment: Adjustment = Adjustment::ChangeInCapacity,
        /// `StepAdjustments`.
        pub steps: At<Vec<StepSpec>>,
        /// `MinAdjustmentMagnitude`, for changes in percent.
        pub min_adjustment: Count = Count(1),
        /// `Cooldown`.
        pub cooldown: Span = Span::from_secs(300),
        /// `MinCapacity`.
        pub min_replicas: u16 = 1u16,
        /// `MaxCapacity`.
        pub max_replicas: Count,
        /// The period of the metric: from one data point to the next.
        pub period: Period = Period(Span::from_secs(60)),
        /// The first data point, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
    }
}

scaletwin_core::keys! {
    /// A step: its bounds are relative to the threshold.
    #[derive(Debug, Clone)]
    pub struct StepSpec {
        /// `MetricIntervalLowerBound`. Default: none.
        pub lower: Option<f64> = None,
        /// `MetricIntervalUpperBound`. Default: none.
        pub upper: Option<f64> = None,
        /// `ScalingAdjustment`.
        pub change: i32,
    }
}

scaletwin_core::names! {
    /// On which side of its threshold an alarm is.
    pub enum Side {
        /// At the threshold or above it.
        Above = "above",
        /// At the threshold or below it.
        Below = "below",
    }
}

scaletwin_core::names! {
    /// What the number of a step means.
    pub enum Adjustment {
        /// So many replicas more or fewer.
        ChangeInCapacity = "ChangeInCapacity",
        /// So many percent more or fewer.
        PercentChangeInCapacity = "PercentChangeInCapacity",
        /// So many replicas.
        ExactCapacity = "ExactCapacity",
    }
}

/// A step scaling policy, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepScaling {
    signal: String,
    threshold: f64,
    side: Side,
    evaluation_periods: usize,
    adjustment: Adjustment,
    steps: Vec<(Option<f64>, Option<f64>, i32)>,
    min_adjustment: i32,
    cooldown: Span,
}

impl AwsStepScalingSpec {
    /// The policy with its bounds. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<(StepScaling, (i32, i32))> {
        let before = problems.len();
        let bounds = (i32::from(self.min_replicas), i32::try_from(self.max_replicas.0).unwrap_or(i32::MAX));
        if bounds.0 > bounds.1 {
            problems.error(&self.target.place, "min_replicas is above max_replicas");
        }
        let steps: Vec<_> =
            self.steps.value.iter().map(|step| (step.lower, step.upper, step.change)).collect();
        if steps.is_empty() {
            problems.error(&self.steps.place, "at least one step is needed");
        }
        let empty = |(lower, upper, _): &(Option<f64>, Option<f64>, i32)| {
            lower.zip(*upper).is_some_and(|(lower, upper)| lower >= upper)
        };
        if steps.iter().any(empty) {
            problems.error(&self.steps.place, "the upper bound of a step is above its lower bound");
        }
        let mut sorted = steps.clone();
        sorted.sort_by(|one, other| low(one).total_cmp(&low(other)));
        if sorted.windows(2).any(|pair| high(&pair[0]) > low(&pair[1])) {
            problems.error(&self.steps.place, "two steps overlap");
        }
        let policy = StepScaling {
            signal: self.signal.value.clone(),
            threshold: self.threshold,
            side: self.side,
            evaluation_periods: self.evaluation_periods.0 as usize,
            adjustment: self.adjustment,
            steps,
            min_adjustment: i32::try_from(self.min_adjustment.0).unwrap_or(i32::MAX),
            cooldown: self.cooldown,
        };
        (problems.len() == before).then_some((policy, bounds))
    }
}

fn low(step: &(Option<f64>, Option<f64>, i32)) -> f64 {
    step.0.unwrap_or(f64::NEG_INFINITY)
}

fn high(step: &(Option<f64>, Option<f64>, i32)) -> f64 {
    step.1.unwrap_or(f64::INFINITY)
}

impl StepScaling {
    fn breaches(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value >= self.threshold,
            Side::Below => value <= self.threshold,
        }
    }

    /// The adjustment of the step that a value falls into. Above, the lower bound is in it; below, the upper one.
    fn change(&self, value: f64) -> Option<i32> {
        let by = value - self.threshold;
        let within = |step: &&(Option<f64>, Option<f64>, i32)| match self.side {
            Side::Above => low(step) <= by && by < high(step),
            Side::Below => low(step) < by && by <= high(step),
        };
        self.steps.iter().find(within).map(|step| step.2)
    }

    /// The replicas that an adjustment means. Percents are cut towards zero, but never to nothing.
    fn adjusted(&self, current: i32, change: i32) -> i32 {
        match self.adjustment {
            Adjustment::ExactCapacity => change,
            Adjustment::ChangeInCapacity => current.saturating_add(change),
            Adjustment::PercentChangeInCapacity => {
                let exact = f64::from(current) * f64::from(change) / 100.0;
                let size = go::int32(exact.abs().floor()).max(self.min_adjustment);
                current.saturating_add(if change < 0 { -size } else { size })
            }
        }
    }
}

/// Step scaling of one target.
#[derive(Debug, Clone)]
pub struct AwsStepScaling {
    subject: Subject,
    policy: StepScaling,
    state: Memory,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    points: Points,
    /// When it last acted, and how far it went.
    acted: Option<(Time, i32)>,
}

impl AwsStepScaling {
    /// This policy on this subject.
    #[must_use]
    pub fn new(subject: Subject, policy: StepScaling) -> AwsStepScaling {
        AwsStepScaling { subject, policy, state: Memory::default() }
    }

    fn wanted(&self, now: Time, current: i32, value: f64) -> (i32, &'static str) {
        if !self.state.points.all(self.policy.evaluation_periods, |value| self.policy.breaches(value)) {
            return (current, "AlarmOk");
        }
        let Some(change) = self.policy.change(value) else { return (current, "NoStep") };
        let wanted = self.policy.adjusted(current, change);
        match self.state.acted.filter(|(at, _)| now.since(*at) < self.policy.cooldown) {
            // What the last step added counts towards the next one.
            Some((_, added)) if added > 0 && wanted.saturating_sub(added) > current => {
                (wanted.saturating_sub(added), "Alarm")
            }
            Some(_) => (current, "Cooldown"),
            None => (wanted, "Alarm"),
        }
    }
}

impl Policy for AwsStepScaling {
    fn needs(&self) -> Needs {
        self.subject.needs()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(current) = self.subject.view(seen).map(|view| view.spec_replicas) else {
            return Decision::nothing(self.subject.reason("target", Some(false), "FailedGetScale"));
        };
        let value = self.subject.value(seen, &self.policy.signal);
        self.state.points.push(value.as_ref().ok().copied(), self.policy.evaluation_periods);
        let (wanted, code) = match &value {
            Ok(value) => self.wanted(seen.now, current, *value),
            Err(_) => (current, "InsufficientData"),
        };
        let mut decision = self.subject.set(current, wanted, self.subject.reason("alarm", None, code));
        if !decision.actions.is_empty() {
            self.state.acted = Some((seen.now, wanted.saturating_sub(current)));
        }
        decision.reasons.push(self.subject.told(&self.policy.signal, &value));
        decision
    }

    fn save(&self) -> State {
        State::of("aws-step-scaling", 1, &self.state)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.state = state.read("aws-step-scaling", 1)?;
        Ok(())
    }
}

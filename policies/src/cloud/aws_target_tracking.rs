//! Target tracking of AWS Application Auto Scaling, from its documentation: approximate.
//!
//! Two alarms on one metric: high after three points above the target, low after fifteen below nine tenths of it. Up by
//! proportion, down by a bounded step, because the exact formula is not published. Missing data never scales in.

use scaletwin_core::control::{Decision, Needs, Observation, Policy, State, StateMismatch};
use scaletwin_core::input::{At, Count, Period, Positive, Problems};
use scaletwin_core::units::{Share, Span, Time};
use serde::{Deserialize, Serialize};

use super::Points;
use crate::numerics::go;
use crate::rules::subject::Subject;

scaletwin_core::keys! {
    /// Target tracking of AWS Application Auto Scaling (ECS, SageMaker, custom). Approximate: AWS does not publish it.
    #[derive(Debug, Clone)]
    pub struct AwsTargetTrackingSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// The metric, by its name under `signals`: one value in proportion to the load of one replica.
        pub signal: At<String>,
        /// `TargetValue`.
        pub target_value: Positive,
        /// `MinCapacity`.
        pub min_replicas: u16 = 1u16,
        /// `MaxCapacity`.
        pub max_replicas: Count,
        /// `ScaleOutCooldown`.
        pub scale_out_cooldown: Span = Span::from_secs(300),
        /// `ScaleInCooldown`.
        pub scale_in_cooldown: Span = Span::from_secs(300),
        /// `DisableScaleIn`.
        pub disable_scale_in: bool = false,
        /// The period of the metric: from one data point to the next.
        pub period: Period = Period(Span::from_secs(60)),
        /// The first data point, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
        /// Points above the target before it scales out.
        pub high_points: Count = Count(3),
        /// Points below the lower margin before it scales in.
        pub low_points: Count = Count(15),
        /// The lower margin, a share of the target.
        pub low_share: Share = default_margin(),
        /// The most that it scales in at once, percent of the present replicas, at least one.
        pub scale_in_percent: Positive = Positive(10.0),
    }
}

/// Nine tenths.
fn default_margin() -> Share {
    Share::new(0.9).expect("nine tenths are a share")
}

/// A target tracking policy, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetTracking {
    signal: String,
    target_value: f64,
    scale_out_cooldown: Span,
    scale_in_cooldown: Span,
    disable_scale_in: bool,
    high_points: usize,
    low_points: usize,
    low_share: f64,
    scale_in_percent: f64,
}

impl AwsTargetTrackingSpec {
    /// The policy with its bounds. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<(TargetTracking, (i32, i32))> {
        let bounds = (i32::from(self.min_replicas), i32::try_from(self.max_replicas.0).unwrap_or(i32::MAX));
        if bounds.0 > bounds.1 {
            problems.error(&self.target.place, "min_replicas is above max_replicas");
            return None;
        }
        let tracking = TargetTracking {
            signal: self.signal.value.clone(),
            target_value: self.target_value.0,
            scale_out_cooldown: self.scale_out_cooldown,
            scale_in_cooldown: self.scale_in_cooldown,
            disable_scale_in: self.disable_scale_in,
            high_points: self.high_points.0 as usize,
            low_points: self.low_points.0 as usize,
            low_share: self.low_share.get(),
            scale_in_percent: self.scale_in_percent.0,
        };
        Some((tracking, bounds))
    }
}

/// Target tracking of one target.
#[derive(Debug, Clone)]
pub struct AwsTargetTracking {
    subject: Subject,
    policy: TargetTracking,
    state: Memory,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    points: Points,
    /// When it last scaled out, and from how many replicas.
    out: Option<(Time, i32)>,
    /// When it last scaled in.
    into: Option<Time>,
}

impl AwsTargetTracking {
    /// This policy on this subject.
    #[must_use]
    pub fn new(subject: Subject, policy: TargetTracking) -> AwsTargetTracking {
        AwsTargetTracking { subject, policy, state: Memory::default() }
    }

    /// The replicas that it wants, with the code that says why.
    fn wanted(&mut self, now: Time, current: i32, value: f64) -> (i32, &'static str) {
        let TargetTracking { target_value, high_points, low_points, low_share, .. } = self.policy;
        let of =
            |base: i32| go::int32((f64::from(base) * value / target_value).ceil().min(f64::from(i32::MAX)));
        if self.state.points.all(high_points, |value| value > target_value) {
            return self.scale_out(now, current, of);
        }
        if !self.state.points.all(low_points, |value| value < target_value * low_share) {
            return (current, "AlarmsOk");
        }
        if self.policy.disable_scale_in {
            return (current, "ScaleInDisabled");
        }
        if self.state.into.is_some_and(|at| now.since(at) < self.policy.scale_in_cooldown) {
            return (current, "ScaleInCooldown");
        }
        let step = go::int32((f64::from(current) * self.policy.scale_in_percent / 100.0).floor()).max(1);
        (of(current).max(current.saturating_sub(step)), "AlarmLow")
    }

    /// While it cools down, what the last step added counts towards the next one: only the difference is added.
    fn scale_out(&mut self, now: Time, current: i32, of: impl Fn(i32) -> i32) -> (i32, &'static str) {
        let cooling = self.state.out.filter(|(at, _)| now.since(*at) < self.policy.scale_out_cooldown);
        let wanted = of(cooling.map_or(current, |(_, from)| from));
        match cooling {
            Some(_) if wanted <= current => (current, "ScaleOutCooldown"),
            _ => (wanted.max(current), "AlarmHigh"),
        }
    }
}

impl Policy for AwsTargetTracking {
    fn needs(&self) -> Needs {
        self.subject.needs()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(current) = self.subject.view(seen).map(|view| view.spec_replicas) else {
            return Decision::nothing(self.subject.reason("target", Some(false), "FailedGetScale"));
        };
        let value = self.subject.value(seen, &self.policy.signal);
        let keep = self.policy.high_points.max(self.policy.low_points);
        self.state.points.push(value.as_ref().ok().copied(), keep);
        let (wanted, code) = match &value {
            Ok(value) => self.wanted(seen.now, current, *value),
            Err(_) => (current, "InsufficientData"),
        };
        let mut decision = self.subject.set(current, wanted, self.subject.reason("alarms", None, code));
        if !decision.actions.is_empty() {
            if wanted > current {
                self.state.out = Some((seen.now, current));
                self.state.into = None;
            } else {
                self.state.into = Some(seen.now);
            }
        }
        decision.reasons.push(self.subject.told(&self.policy.signal, &value));
        decision
    }

    fn save(&self) -> State {
        State::of("aws-target-tracking", 1, &self.state)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.state = state.read("aws-target-tracking", 1)?;
        Ok(())
    }
}

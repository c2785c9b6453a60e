//! Autoscalers of cloud providers on one target.

use scaletwin_core::control::{Policy, Schedule, TargetName};
use scaletwin_core::input::{At, Place, Problems};
use scaletwin_core::units::Span;
use scaletwin_policies::cloud::aws_step_scaling::{AwsStepScaling, AwsStepScalingSpec, StepScaling};
use scaletwin_policies::cloud::aws_target_tracking::{
    AwsTargetTracking, AwsTargetTrackingSpec, TargetTracking,
};
use scaletwin_policies::cloud::oci::{Oci, OciSettings, OciSpec};
use scaletwin_policies::rules::subject::Subject;
use serde::Serialize;

use super::rules::bound;
use super::{CheckedController, Checking, Kind, Seen, target};

/// An autoscaler with what it is about.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cloud {
    target: TargetName,
    signals: Vec<String>,
    bounds: (i32, i32),
    policy: Which,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    AwsTargetTracking(TargetTracking),
    AwsStepScaling(StepScaling),
    Oci(OciSettings),
}

impl Cloud {
    pub(super) fn policy(&self, schedule: Schedule) -> Box<dyn Policy> {
        let Cloud { target, signals, bounds, .. } = self;
        let subject = Subject { target: target.clone(), signals: signals.clone(), schedule, bounds: *bounds };
        match &self.policy {
            Which::AwsTargetTracking(policy) => Box::new(AwsTargetTracking::new(subject, policy.clone())),
            Which::AwsStepScaling(policy) => Box::new(AwsStepScaling::new(subject, policy.clone())),
            Which::Oci(settings) => Box::new(Oci::new(subject, settings.clone())),
        }
    }

    /// Whether it adds the first replica of a target: it keeps to its bounds.
    pub(super) fn wakes(&self, target: &TargetName) -> bool {
        self.bounds.0 > 0 && self.target == *target
    }
}

pub(super) fn target_tracking(
    spec: &AwsTargetTrackingSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let (policy, bounds) = spec.check(problems)?;
    let policy = Which::AwsTargetTracking(policy);
    let times = (spec.period.0, spec.offset);
    controller(
        "aws-target-tracking",
        &spec.target,
        &spec.signal,
        bounds,
        policy,
        times,
        place,
        seen,
        problems,
    )
}

pub(super) fn step_scaling(
    spec: &AwsStepScalingSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let (policy, bounds) = spec.check(problems)?;
    let policy = Which::AwsStepScaling(policy);
    let times = (spec.period.0, spec.offset);
    controller("aws-step-scaling", &spec.target, &spec.signal, bounds, policy, times, place, seen, problems)
}

pub(super) fn oci(
    spec: &OciSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let (settings, bounds) = spec.check(problems)?;
    let times = (spec.period.0, spec.offset);
    controller("oci", &spec.target, &spec.signal, bounds, Which::Oci(settings), times, place, seen, problems)
}

#[expect(clippy::too_many_arguments, reason = "what all three have in common")]
fn controller(
    kind: &str,
    written: &At<String>,
    signal: &At<String>,
    bounds: (i32, i32),
    policy: Which,
    (period, offset): (Span, Option<Span>),
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let signals = bound(std::iter::once(signal), seen, problems);
    let target = target(written, seen, problems)?;
    let name = format!("{kind}/{target}");
    let kind = Kind::Cloud(Cloud { target, signals, bounds, policy });
    Some(CheckedController { name, place: place.clone(), period, offset, kind })
}

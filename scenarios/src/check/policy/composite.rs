//! Several policies on one target as one.

use scaletwin_core::control::{Aspect, Policy, Schedule, TargetName};
use scaletwin_core::input::{At, Problem, Problems};
use scaletwin_core::random::Seed;
use scaletwin_policies::composite::{Combine, Composite, CompositeSpec};
use scaletwin_policies::registry::PolicySpec;
use serde::Serialize;

use super::{CheckedController, CheckedPolicy, Checking, Kind, PolicyText, Seen, controller};

/// Policies with what counts of what they want.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Parts {
    target: TargetName,
    combine: Combine,
    failures: u32,
    of: Vec<CheckedController>,
}

impl Parts {
    pub(super) fn policy(&self, schedule: Schedule, seed: Seed) -> Box<dyn Policy> {
        let parts = self.of.iter().map(|part| part.policy(seed)).collect();
        Box::new(Composite::new(self.target.clone(), self.combine, self.failures, schedule, parts))
    }

    /// Whether it adds the first replica of a target.
    pub(super) fn wakes(&self, target: &TargetName) -> bool {
        let wakes = |part: &CheckedController| part.kind.wakes(target);
        match self.combine {
            Combine::Largest => self.of.iter().any(wakes),
            Combine::Smallest => self.of.iter().all(wakes),
            Combine::PrimaryWithFallback => self.of.first().is_some_and(wakes),
        }
    }
}

pub(super) fn composite(
    spec: &CompositeSpec,
    Checking { place, policy, seen, checked, problems }: Checking<'_>,
) -> Option<CheckedController> {
    let of: Vec<CheckedController> =
        spec.of.value.iter().filter_map(|part| one(part, policy, seen, checked, problems)).collect();
    let needed = if spec.combine == Combine::PrimaryWithFallback { 2..=2 } else { 2..=usize::MAX };
    if !needed.contains(&spec.of.value.len()) {
        let many = if spec.combine == Combine::PrimaryWithFallback { "two" } else { "at least two" };
        problems.error(&spec.of.place, format!("{} takes {many} policies", spec.combine.name()));
        return None;
    }
    let target = same_target(&of, spec, problems)?;
    let name = format!("composite/{target}");
    let parts = Parts { target, combine: spec.combine, failures: spec.failures.0, of };
    let (period, offset) = (spec.period.0, spec.offset);
    Some(CheckedController { name, place: place.clone(), period, offset, kind: Kind::Composite(parts) })
}

/// One of the policies: neither several controllers nor another composite.
fn one(
    written: &At<scaletwin_policies::composite::Inner>,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    checked: &mut CheckedPolicy,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let inner = At { value: (*written.value.0).clone(), place: written.place.clone() };
    if matches!(inner.value, PolicySpec::Keda(_) | PolicySpec::Kserve(_) | PolicySpec::Composite(_)) {
        let problem =
            Problem::error(&written.place, "a composite holds policies that are one controller each");
        problems
            .push(problem.hint("keda and kserve add theirs themselves, and a composite cannot hold another"));
        return None;
    }
    controller(&inner, policy, seen, checked, problems)
}

/// The target that all write the replicas of, and nothing else.
fn same_target(
    of: &[CheckedController],
    spec: &CompositeSpec,
    problems: &mut Problems,
) -> Option<TargetName> {
    let mut targets = Vec::new();
    for part in of {
        match part.policy(Seed(0)).needs().writes.as_slice() {
            [Aspect::Replicas(target)] => targets.push(target.clone()),
            _ => problems.error(&part.place, format!("{} does more than set replicas", part.name)),
        }
    }
    let first = targets.first()?.clone();
    if let Some(other) = targets.iter().find(|target| **target != first) {
        let message = format!("all policies of a composite have one target, these have {first} and {other}");
        problems.error(&spec.of.place, message);
        return None;
    }
    Some(first)
}

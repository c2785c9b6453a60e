//! The ends of the coming steps, known in advance.

use scaletwin_core::units::Femtos;
use serde::{Deserialize, Serialize};

/// The ends of the coming steps: those of `lead` one after the other, then one after `first`, then each `second`,
/// `second + increase`, … later.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// How long the steps take that come first, the one under way at the head, whose ends nobody has to look at.
    pub(super) lead: (Option<Femtos>, Option<Femtos>),
    /// Whether a step of steady decodes alone is scheduled at the end of each step of `lead`.
    pub(super) by_turns: bool,
    pub(super) first: Femtos,
    pub(super) second: Femtos,
    pub(super) increase: Femtos,
    /// How many steps after those; all but the last are quiet.
    pub(super) steps: u64,
    /// How long one more step takes after these, which is in flight already, if nobody has to look at the end of the last
    /// of them.
    pub(super) tail: Option<Femtos>,
}

/// The longest part of a plan in femtoseconds, 38 minutes: all parts of it can be added up.
const LONGEST: u64 = 1 << 61;

impl Plan {
    /// A plan of one step.
    pub(super) fn single(first: Femtos) -> Plan {
        Plan {
            lead: (None, None),
            by_turns: false,
            first,
            second: first,
            increase: Femtos(0),
            steps: 1,
            tail: None,
        }
    }

    /// How long the step under way takes.
    pub(super) fn under_way(&self) -> Femtos {
        self.lead.0.unwrap_or(self.first)
    }

    /// Whether it ends with the step under way.
    pub(super) fn is_single(&self) -> bool {
        self.steps == 1 && self.tail.is_none() && self.lead.0.is_none()
    }

    /// The end of its last step after the last boundary.
    pub(super) fn length(&self) -> Femtos {
        let alone = |step: Option<Femtos>| step.map_or(0, |step| step.0);
        Femtos(self.end(self.steps) + alone(self.lead.0) + alone(self.lead.1) + alone(self.tail))
    }

    /// The end of step `steps` (1 is the first) after the last boundary, with no lead.
    pub(super) fn end(&self, steps: u64) -> u64 {
        let later = steps - 1;
        self.first.0 + later * self.second.0 + self.increase.0 * (later * later.saturating_sub(1) / 2)
    }

    /// How many steps end not later than `span` after the last boundary.
    pub(super) fn ends_within(&self, span: Femtos) -> u64 {
        let Some(rest) = span.0.checked_sub(self.first.0) else { return 0 };
        // The root of rest = n second + increase n (n − 1) / 2 in floats, put right in integers.
        let (slope, bend) = (self.second.0 as f64, self.increase.0 as f64 / 2.0);
        let linear = slope - bend;
        let root = 2.0 * rest as f64 / (linear + (linear * linear + 4.0 * bend * rest as f64).sqrt());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below the number of steps"
        )]
        let mut steps = (root.min(self.steps as f64) as u64 + 1).clamp(1, self.steps);
        while steps < self.steps && self.end(steps + 1) <= span.0 {
            steps += 1;
        }
        while steps > 0 && self.end(steps) > span.0 {
            steps -= 1;
        }
        steps
    }

    /// Gives it so many steps, or as many of them as can be added up.
    pub(super) fn set_steps(&mut self, steps: u64) {
        let longest = |steps| self.second.0.saturating_add(self.increase.0.saturating_mul(steps));
        let length = |steps: u64| self.first.0.saturating_add(steps.saturating_mul(longest(steps)));
        let mut fitting = steps;
        while fitting > 1 && length(fitting) > LONGEST {
            fitting /= 2;
        }
        self.steps = fitting;
    }

    /// Leaves only the step under way of a plan that cannot be added up.
    pub(super) fn shorten(&mut self) {
        let short = |part: Option<Femtos>| part.is_none_or(|part| part.0 <= LONGEST);
        let run = self.end(self.steps) <= LONGEST;
        if !(run && short(self.lead.0) && short(self.lead.1) && short(self.tail)) {
            *self = Plan::single(self.under_way());
        }
    }

    /// Takes `steps` of its steps out, fewer than all.
    pub(super) fn pass(&mut self, steps: u64) {
        let first = self.second.0 + (steps - 1) * self.increase.0;
        self.first = Femtos(first);
        self.second = Femtos(first + self.increase.0);
        self.steps -= steps;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step() -> impl Strategy<Value = Femtos> {
        prop_oneof![1u64..1_000, 1u64..1 << 50, 1u64..u64::MAX].prop_map(Femtos)
    }

    proptest! {
        #[test]
        fn whatever_is_planned_can_be_added_up(
            lead in (prop::option::of(step()), prop::option::of(step())),
            (first, second, increase) in (step(), step(), step()),
            steps in prop_oneof![1u64..5, 1u64..u64::MAX],
            tail in prop::option::of(step()),
        ) {
            let lead = (lead.0, lead.1.filter(|_| lead.0.is_some()));
            let mut plan = Plan { lead, second, increase, tail, ..Plan::single(first) };
            plan.set_steps(steps);
            plan.shorten();
            prop_assert!(plan.steps <= steps);
            let parts = [plan.lead.0, plan.lead.1, plan.tail].map(|part| u128::from(part.map_or(0, |part| part.0)));
            let later = u128::from(plan.steps - 1);
            let run = u128::from(plan.first.0)
                + later * u128::from(plan.second.0)
                + u128::from(plan.increase.0) * (later * later.saturating_sub(1) / 2);
            prop_assert_eq!(u128::from(plan.length().0), parts.iter().sum::<u128>() + run);
        }
    }
}

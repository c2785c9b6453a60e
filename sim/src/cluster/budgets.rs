//! Disruption budgets: how many replicas of a deployment evictions leave.
//!
//! What the eviction API and the disruption controller of Kubernetes 1.36 do (`pkg/registry/core/pod/storage/eviction.go`,
//! `pkg/controller/disruption/disruption.go`), for pods with `unhealthyPodEvictionPolicy: IfHealthyBudget`, the default.

use serde::Serialize;

use super::rollout::Amount;

/// A `PodDisruptionBudget` of all replicas of a deployment. Shares are of the wanted number, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisruptionBudget {
    /// So many stay ready.
    MinAvailable(Amount),
    /// So many may not be ready.
    MaxUnavailable(Amount),
}

impl DisruptionBudget {
    /// How many replicas have to stay ready of so many wanted.
    #[must_use]
    pub fn needed(&self, wanted: usize) -> usize {
        match self {
            DisruptionBudget::MinAvailable(amount) => amount.of(wanted, true),
            DisruptionBudget::MaxUnavailable(amount) => wanted.saturating_sub(amount.of(wanted, true)),
        }
    }

    /// How many replicas may be evicted, while `ready` of `wanted` are ready and not being deleted.
    #[must_use]
    pub fn allowed(&self, wanted: usize, ready: usize) -> usize {
        ready.saturating_sub(self.needed(wanted))
    }

    /// Whether one more replica may be evicted, while `ready` of `wanted` are ready and not being deleted. One that is not
    /// ready itself may as long as the budget is kept.
    #[must_use]
    pub fn allows(&self, wanted: usize, ready: usize, is_ready: bool) -> bool {
        let needed = self.needed(wanted);
        self.allowed(wanted, ready) > 0 || (!is_ready && ready == needed && needed > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_rounded_up_both_ways() {
        let needed = |budget: DisruptionBudget| [1, 3, 4, 10].map(|wanted| budget.needed(wanted));
        assert_eq!(needed(DisruptionBudget::MinAvailable(Amount::Percent(50))), [1, 2, 2, 5]);
        assert_eq!(needed(DisruptionBudget::MaxUnavailable(Amount::Percent(30))), [0, 2, 2, 7]);
        assert_eq!(needed(DisruptionBudget::MaxUnavailable(Amount::Number(3))), [0, 0, 1, 7]);
    }

    #[test]
    fn one_that_is_not_ready_goes_while_the_budget_is_kept() {
        let two = DisruptionBudget::MinAvailable(Amount::Number(2));
        assert_eq!([3, 2, 1].map(|ready| two.allows(3, ready, true)), [true, false, false]);
        assert_eq!([3, 2, 1].map(|ready| two.allows(3, ready, false)), [true, true, false]);
    }

    proptest! {
        #[test]
        fn evictions_one_after_another_never_break_a_budget(
            wanted in 0usize..40, percent in 0u32..101, number in 0u32..20, kind in 0u8..4,
        ) {
            let budget = match kind {
                0 => DisruptionBudget::MinAvailable(Amount::Percent(percent)),
                1 => DisruptionBudget::MaxUnavailable(Amount::Percent(percent)),
                2 => DisruptionBudget::MinAvailable(Amount::Number(number)),
                _ => DisruptionBudget::MaxUnavailable(Amount::Number(number)),
            };
            let mut ready = wanted;
            while budget.allows(wanted, ready, true) {
                ready -= 1;
            }
            prop_assert!(ready >= budget.needed(wanted).min(wanted));
        }
    }
}

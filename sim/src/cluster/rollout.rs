//! Rolling updates: what the Deployment controller does with its ReplicaSets.
//!
//! A rollout adds a ReplicaSet. From then on the newest one grows while all together have at most `max_surge` replicas too
//! many, and the older ones shrink while at least the wanted number less `max_unavailable` is ready. Source: Kubernetes
//! 1.36, `pkg/controller/deployment/{rolling,sync}.go` and `util/deployment_util.go`.

use serde::{Deserialize, Serialize};

/// The replicas of one revision of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSet {
    /// The revision.
    pub revision: u32,
    /// Replicas wanted of it.
    pub spec: usize,
}

/// How far a rollout may go from the wanted number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UpdateStrategy {
    /// Replicas too many.
    pub max_surge: Amount,
    /// Replicas not ready.
    pub max_unavailable: Amount,
}

impl Default for UpdateStrategy {
    fn default() -> UpdateStrategy {
        UpdateStrategy { max_surge: Amount::Percent(25), max_unavailable: Amount::Percent(25) }
    }
}

/// A number, or a share of the wanted number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// So many.
    Number(u32),
    /// So many hundredths.
    Percent(u32),
}

impl Amount {
    /// How many of a wanted number.
    pub(super) fn of(self, wanted: usize, round_up: bool) -> usize {
        match self {
            Amount::Number(number) => number as usize,
            Amount::Percent(percent) if round_up => (wanted * percent as usize).div_ceil(100),
            Amount::Percent(percent) => wanted * percent as usize / 100,
        }
    }
}

impl UpdateStrategy {
    /// Surge, rounded up, and unavailable, rounded down, of a wanted number; not both are 0.
    #[must_use]
    pub fn resolve(&self, wanted: usize) -> (usize, usize) {
        let (surge, unavailable) =
            (self.max_surge.of(wanted, true), self.max_unavailable.of(wanted, false).min(wanted));
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }
}

/// Brings the ReplicaSets (oldest first) in line with the wanted number, of which `ready` are ready by revision. The wanted
/// number was `before` when they were last in line.
pub fn reconcile(
    sets: &mut Vec<ReplicaSet>,
    (before, wanted): (usize, usize),
    strategy: &UpdateStrategy,
    ready: impl Fn(u32) -> usize,
) {
    if before != wanted {
        scale(sets, (before, wanted), strategy);
    }
    let (surge, unavailable) = strategy.resolve(wanted);
    grow(sets, wanted, surge);
    shrink(sets, wanted, unavailable, ready);
    grow(sets, wanted, surge);
    let newest = sets.len() - 1;
    let mut place = 0;
    sets.retain(|set| {
        place += 1;
        set.spec > 0 || place - 1 == newest
    });
}

/// Spreads a change of the wanted number over the ReplicaSets in proportion to their size.
fn scale(sets: &mut [ReplicaSet], (before, wanted): (usize, usize), strategy: &UpdateStrategy) {
    if sets.iter().filter(|set| set.spec > 0).count() <= 1 {
        let only = sets.iter().position(|set| set.spec > 0).unwrap_or(sets.len() - 1);
        sets[only].spec = wanted;
        return;
    }
    let size = |wanted: usize| if wanted == 0 { 0 } else { wanted + strategy.resolve(wanted).0 };
    let total: usize = sets.iter().map(|set| set.spec).sum();
    let (new, old) = (size(wanted), size(before).max(1));
    let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let to_add = signed(new) - signed(total);
    let mut order: Vec<usize> = (0..sets.len()).collect();
    // The larger first; among equals the newer when growing, the older when shrinking.
    order.sort_by_key(|place| {
        let age = if to_add > 0 { sets.len() - place } else { *place };
        (std::cmp::Reverse(sets[*place].spec), age)
    });
    let mut added = 0;
    for place in &order {
        let spec = sets[*place].spec;
        let share = signed((2 * spec * new + old) / (2 * old)) - signed(spec);
        let left = to_add - added;
        let part = if to_add > 0 { share.min(left).max(0) } else { share.max(left).min(0) };
        sets[*place].spec = usize::try_from(signed(spec) + part).unwrap_or(0);
        added += part;
    }
    let first = &mut sets[order[0]].spec;
    *first = usize::try_from(signed(*first) + to_add - added).unwrap_or(0);
}

/// Lets the newest ReplicaSet grow.
fn grow(sets: &mut [ReplicaSet], wanted: usize, surge: usize) {
    let total: usize = sets.iter().map(|set| set.spec).sum();
    let Some(newest) = sets.last_mut() else { return };
    let room = (wanted + surge).saturating_sub(total);
    newest.spec = if newest.spec > wanted { wanted } else { newest.spec + room.min(wanted - newest.spec) };
}

/// Lets the older ReplicaSets shrink: first replicas that are not ready, then as many as are not needed.
fn shrink(sets: &mut [ReplicaSet], wanted: usize, unavailable: usize, ready: impl Fn(u32) -> usize) {
    let total: usize = sets.iter().map(|set| set.spec).sum();
    let all_ready: usize = sets.iter().map(|set| ready(set.revision).min(set.spec)).sum();
    let fewest = wanted.saturating_sub(unavailable);
    let Some((newest, older)) = sets.split_last_mut() else { return };
    let new_unready = newest.spec - ready(newest.revision).min(newest.spec);
    let mut room = total.saturating_sub(fewest + new_unready);
    for set in older.iter_mut() {
        let unready = set.spec - ready(set.revision).min(set.spec);
        let part = unready.min(room);
        set.spec -= part;
        room -= part;
    }
    let mut spare = all_ready.saturating_sub(fewest);
    for set in older {
        let part = set.spec.min(spare);
        set.spec -= part;
        spare -= part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strategy(surge: Amount, unavailable: Amount) -> UpdateStrategy {
        UpdateStrategy { max_surge: surge, max_unavailable: unavailable }
    }

    fn sets(specs: &[usize]) -> Vec<ReplicaSet> {
        (0u32..).zip(specs).map(|(revision, spec)| ReplicaSet { revision, spec: *spec }).collect()
    }

    fn specs(sets: &[ReplicaSet]) -> Vec<usize> {
        sets.iter().map(|set| set.spec).collect()
    }

    #[test]
    fn a_surge_is_rounded_up_and_what_may_miss_down() {
        let quarter = UpdateStrategy::default();
        assert_eq!([1, 3, 4, 10].map(|wanted| quarter.resolve(wanted)), [(1, 0), (1, 0), (1, 1), (3, 2)]);
        assert_eq!(strategy(Amount::Number(0), Amount::Percent(10)).resolve(5), (0, 1), "not both are 0");
    }

    #[test]
    fn a_rollout_of_four_by_one() {
        let by_one = strategy(Amount::Number(1), Amount::Number(0));
        let mut present = sets(&[4, 0]);
        reconcile(&mut present, (4, 4), &by_one, |revision| if revision == 0 { 4 } else { 0 });
        assert_eq!(specs(&present), [4, 1], "one too many, and nobody goes before it is ready");
        reconcile(&mut present, (4, 4), &by_one, |revision| if revision == 0 { 4 } else { 1 });
        assert_eq!(specs(&present), [3, 2]);
    }

    #[test]
    fn replicas_that_are_not_ready_go_first() {
        let by_one = strategy(Amount::Number(0), Amount::Number(1));
        let mut present = sets(&[4, 0]);
        reconcile(&mut present, (4, 4), &by_one, |revision| if revision == 0 { 3 } else { 0 });
        assert_eq!(specs(&present), [3, 1], "the one that is not ready goes, and no other");
    }

    #[test]
    fn a_change_in_the_middle_is_spread_in_proportion() {
        let by_one = strategy(Amount::Number(2), Amount::Number(0));
        let mut present = sets(&[8, 4]);
        reconcile(&mut present, (10, 20), &by_one, |_| 0);
        // From 12 to 22: 8 becomes 15, 4 becomes 7. Nothing is ready, so no more may go.
        assert_eq!(specs(&present), [15, 7]);
    }

    proptest! {
        #[test]
        fn a_rollout_ends_and_keeps_its_bounds(
            wanted in 1usize..30,
            surge in 0u32..5,
            unavailable in 0u32..5,
            slow in 1usize..4,
        ) {
            let strategy = strategy(Amount::Number(surge), Amount::Number(unavailable));
            let (surge, unavailable) = strategy.resolve(wanted);
            let mut present = sets(&[wanted, 0]);
            let mut ready = [wanted, 0];
            for _ in 0..200 {
                reconcile(&mut present, (wanted, wanted), &strategy, |revision| ready[revision as usize]);
                let of = |revision: u32| present.iter().find(|set| set.revision == revision).map_or(0, |set| set.spec);
                ready[0] = ready[0].min(of(0));
                let total: usize = present.iter().map(|set| set.spec).sum();
                prop_assert!(total <= wanted + surge);
                prop_assert!(ready.iter().sum::<usize>() >= wanted - unavailable);
                ready[1] = of(1).min(ready[1] + slow);
            }
            prop_assert_eq!(specs(&present), [wanted]);
        }
    }
}

//! Turns in proportion to weights: the earliest deadline first, as Envoy and stride scheduling do.
//!
//! The n-th turn of weight w is due at n / w. Of any two that are always open, the turns by weight differ by at most one
//! turn of each.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Slot;

/// Places that take turns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turns {
    queue: BTreeSet<Turn>,
    /// The next turn of each place that has one.
    by_place: Vec<Option<Turn>>,
    /// When the last turn was due, as a fraction.
    now: (u64, u32),
    joined: u64,
}

/// The next turn of a place, due at `number / weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Turn {
    number: u64,
    weight: u32,
    /// Breaks ties by the order of joining.
    joined: u64,
    place: Slot,
}

impl Ord for Turn {
    fn cmp(&self, other: &Turn) -> Ordering {
        let (mine, others) = (u128::from(self.number), u128::from(other.number));
        let due = (mine * u128::from(other.weight)).cmp(&(others * u128::from(self.weight)));
        due.then(self.joined.cmp(&other.joined)).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Turns {
    /// A place joins: its first turn is due as if it had had all that were due so far.
    pub(super) fn add(&mut self, place: Slot, weight: u32) {
        let (number, of) = (u128::from(self.now.0), u128::from(self.now.1.max(1)));
        let had = u64::try_from(number * u128::from(weight) / of).unwrap_or(u64::MAX - 1);
        let turn = Turn { number: had + 1, weight, joined: self.joined, place };
        self.joined += 1;
        if self.by_place.len() <= place as usize {
            self.by_place.resize(place as usize + 1, None);
        }
        self.put(turn);
    }

    fn put(&mut self, turn: Turn) {
        self.by_place[turn.place as usize] = Some(turn);
        self.queue.insert(turn);
    }

    pub(super) fn remove(&mut self, place: Slot) {
        if let Some(turn) = self.by_place.get_mut(place as usize).and_then(Option::take) {
            self.queue.remove(&turn);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// All places in the order of their turns.
    pub(super) fn in_order(&self) -> impl Iterator<Item = Slot> {
        self.queue.iter().map(|turn| turn.place)
    }

    /// A place has taken its turn. Those before it could not, and lose the turns that were due by then.
    pub(super) fn took(&mut self, place: Slot) {
        let Some(taken) = self.by_place.get(place as usize).copied().flatten() else { return };
        while let Some(first) = self.queue.first().copied().filter(|first| *first < taken) {
            self.queue.remove(&first);
            let due = u128::from(taken.number) * u128::from(first.weight) / u128::from(taken.weight);
            let number = u64::try_from(due).unwrap_or(u64::MAX - 1).max(first.number) + 1;
            self.put(Turn { number, ..first });
        }
        self.now = (taken.number, taken.weight);
        self.queue.remove(&taken);
        self.put(Turn { number: taken.number + 1, ..taken });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_are_honoured_to_within_a_turn(
            weights in prop::collection::vec(1u32..20, 1..6),
            picks in 1u32..400,
        ) {
            let mut turns = Turns::default();
            for (place, weight) in (0..).zip(&weights) {
                turns.add(place, *weight);
            }
            let mut had = vec![0u32; weights.len()];
            for _ in 0..picks {
                let place = turns.in_order().next().unwrap();
                turns.took(place);
                had[place as usize] += 1;
            }
            let total: u32 = weights.iter().sum();
            for (had, weight) in had.iter().zip(&weights) {
                let due = f64::from(picks) * f64::from(*weight) / f64::from(total);
                prop_assert!(f64::from(*had) >= due - 1.0 - 1e-9, "{had} of {due}");
                // With more than two, one can be ahead of several that are each a little late.
                prop_assert!(f64::from(*had) <= due + (weights.len() as f64 - 1.0).max(1.0) + 1e-9, "{had} of {due}");
            }
        }
    }

    #[test]
    fn who_was_closed_does_not_catch_up() {
        let mut turns = Turns::default();
        turns.add(0, 9);
        turns.add(1, 1);
        for _ in 0..50 {
            let place = turns.in_order().find(|place| *place == 1).unwrap();
            turns.took(place);
        }
        let mut had = [0u32; 2];
        for _ in 0..20 {
            let place = turns.in_order().next().unwrap();
            turns.took(place);
            had[place as usize] += 1;
        }
        assert_eq!(had, [18, 2]);
    }
}

//! The latest of what was seen, up to a number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Values by key, of which the one not used for longest goes when there are too many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered<V> {
    most: u32,
    values: BTreeMap<u64, (V, u64)>,
    /// Keys by their last use.
    uses: BTreeMap<u64, u64>,
    next: u64,
}

impl<V: Default> Remembered<V> {
    pub(super) fn new(most: u32) -> Remembered<V> {
        Remembered { most, values: BTreeMap::new(), uses: BTreeMap::new(), next: 0 }
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.values.get(&key).map(|(value, _)| value)
    }

    /// The value of a key, to be changed; a new one if it was not there.
    pub(super) fn touch(&mut self, key: u64) -> &mut V {
        let (_, used) = self.values.entry(key).or_insert_with(|| (V::default(), u64::MAX));
        self.uses.remove(used);
        *used = self.next;
        self.uses.insert(self.next, key);
        self.next += 1;
        if self.values.len() > self.most as usize
            && let Some((_, oldest)) = self.uses.pop_first()
        {
            self.values.remove(&oldest);
        }
        &mut self.values.get_mut(&key).expect("the latest key stays").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_used_for_longest_is_forgotten() {
        let mut remembered = Remembered::new(2);
        for (key, value) in [(1, 10), (2, 20), (1, 11), (3, 30)] {
            *remembered.touch(key) = value;
        }
        assert_eq!([1, 2, 3].map(|key| remembered.get(key).copied()), [Some(11), None, Some(30)]);
    }
}

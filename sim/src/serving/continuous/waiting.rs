//! The waiting queue.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::config::QueuePolicy;
use super::sequence::{Key, Sequence, Sequences};

/// Sequences that wait for admission, those preempted included.
///
/// A sequence that is gone from the slab may still have its key in a first-come queue: it is passed over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Waiting {
    /// First come, first served; preempted ones in front.
    Fcfs {
        /// The queue, keys of those that are gone included.
        queue: VecDeque<Key>,
        /// How many are not gone.
        length: usize,
    },
    /// By priority, arrival and number.
    Priority(#[serde(with = "pairs")] BTreeMap<(i32, u64, u64), Key>),
}

impl Waiting {
    /// An empty queue.
    #[must_use]
    pub fn new(policy: QueuePolicy) -> Waiting {
        match policy {
            QueuePolicy::Fcfs => Waiting::Fcfs { queue: VecDeque::new(), length: 0 },
            QueuePolicy::Priority => Waiting::Priority(BTreeMap::new()),
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Waiting::Fcfs { length, .. } => *length,
            Waiting::Priority(map) => map.len(),
        }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one that arrives.
    pub fn push(&mut self, key: Key, sequence: &Sequence) {
        match self {
            Waiting::Fcfs { queue, length } => {
                queue.push_back(key);
                *length += 1;
            }
            Waiting::Priority(map) => {
                map.insert(order(sequence), key);
            }
        }
    }

    /// Adds one that was preempted or put back: in front, or in its place by priority.
    pub fn push_front(&mut self, key: Key, sequence: &Sequence) {
        match self {
            Waiting::Fcfs { queue, length } => {
                queue.push_front(key);
                *length += 1;
            }
            Waiting::Priority(map) => {
                map.insert(order(sequence), key);
            }
        }
    }

    /// Who is next.
    pub fn front(&mut self, sequences: &Sequences) -> Option<Key> {
        match self {
            Waiting::Fcfs { queue, .. } => {
                while queue.front().is_some_and(|key| sequences.get(*key).is_none()) {
                    queue.pop_front();
                }
                queue.front().copied()
            }
            Waiting::Priority(map) => map.first_key_value().map(|(_, key)| *key),
        }
    }

    /// Takes who is next.
    pub fn pop(&mut self, sequences: &Sequences) -> Option<Key> {
        let key = self.front(sequences)?;
        match self {
            Waiting::Fcfs { queue, length } => {
                queue.pop_front();
                *length -= 1;
            }
            Waiting::Priority(map) => {
                map.pop_first();
            }
        }
        Some(key)
    }

    /// Takes one out that is being removed from the slab.
    pub fn remove(&mut self, sequence: &Sequence, sequences: &Sequences) {
        match self {
            Waiting::Fcfs { queue, length } => {
                *length -= 1;
                if queue.len() > 2 * *length + 64 {
                    queue.retain(|key| sequences.get(*key).is_some());
                }
            }
            Waiting::Priority(map) => {
                map.remove(&order(sequence));
            }
        }
    }

    /// All in the order in which they are taken.
    #[must_use]
    pub fn in_order(&self, sequences: &Sequences) -> Vec<Key> {
        match self {
            Waiting::Fcfs { queue, .. } => {
                queue.iter().copied().filter(|key| sequences.get(*key).is_some()).collect()
            }
            Waiting::Priority(map) => map.values().copied().collect(),
        }
    }
}

fn order(sequence: &Sequence) -> (i32, u64, u64) {
    (sequence.priority, sequence.arrived, sequence.number)
}

/// A map with keys that are no texts, as a list of pairs.
mod pairs {
    use super::{BTreeMap, Key};
    use serde::{Deserialize, Deserializer, Serializer};

    type Map = BTreeMap<(i32, u64, u64), Key>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Vec::<((i32, u64, u64), Key)>::deserialize(deserializer).map(Map::from_iter)
    }
}

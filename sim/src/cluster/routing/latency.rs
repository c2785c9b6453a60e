//! The replica with the least product of mean response time and requests.
//!
//! The mean is exponentially weighted. A replica without an answer yet counts with the mean of the others, so that a new
//! one is neither flooded nor starved.

use std::collections::BTreeSet;

use scaletwin_core::units::Span;
use serde::{Deserialize, Serialize};

use super::Slot;

/// Replicas by their scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latencies {
    smoothing_milli: u32,
    members: Vec<Option<Speed>>,
    /// Those that have answered: (score, since when, slot).
    known: BTreeSet<(u64, u64, Slot)>,
    /// Those that have not: (requests, since when, slot).
    fresh: BTreeSet<(u64, u64, Slot)>,
    /// The sum of the means of those that have answered, nanoseconds.
    sum: u128,
    changes: u64,
}

/// What is known of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Speed {
    requests: u64,
    /// The mean response time, nanoseconds.
    mean: Option<u64>,
    since: u64,
}

impl Latencies {
    pub(super) fn new(smoothing_milli: u32) -> Latencies {
        Latencies {
            smoothing_milli,
            members: Vec::new(),
            known: BTreeSet::new(),
            fresh: BTreeSet::new(),
            sum: 0,
            changes: 0,
        }
    }

    pub(super) fn add(&mut self, slot: Slot) {
        if self.members.len() <= slot as usize {
            self.members.resize(slot as usize + 1, None);
        }
        self.put(slot, Speed { requests: 0, mean: None, since: 0 });
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.take(slot);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.fresh.is_empty()
    }

    fn put(&mut self, slot: Slot, speed: Speed) {
        let speed = Speed { since: self.changes, ..speed };
        self.changes += 1;
        self.members[slot as usize] = Some(speed);
        match speed.mean {
            Some(mean) => {
                self.sum += u128::from(mean);
                self.known.insert((score(mean, speed.requests), speed.since, slot));
            }
            None => {
                self.fresh.insert((speed.requests, speed.since, slot));
            }
        }
    }

    fn take(&mut self, slot: Slot) -> Option<Speed> {
        let speed = self.members.get_mut(slot as usize)?.take()?;
        match speed.mean {
            Some(mean) => {
                self.sum -= u128::from(mean);
                self.known.remove(&(score(mean, speed.requests), speed.since, slot));
            }
            None => {
                self.fresh.remove(&(speed.requests, speed.since, slot));
            }
        }
        Some(speed)
    }

    /// The mean of those that have answered; 1 ns while nobody has.
    fn mean(&self) -> u64 {
        let mean = self.sum / (self.known.len() as u128).max(1);
        u64::try_from(mean).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn pick(&self, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let mean = self.mean();
        let known = self.known.iter().find(|(.., slot)| accepts(*slot)).copied();
        let fresh = self.fresh.iter().find(|(.., slot)| accepts(*slot));
        let fresh = fresh.map(|(requests, since, slot)| (score(mean, *requests), *since, *slot));
        [known, fresh].into_iter().flatten().min().map(|(.., slot)| slot)
    }

    pub(super) fn given(&mut self, slot: Slot) {
        if let Some(speed) = self.take(slot) {
            self.put(slot, Speed { requests: speed.requests + 1, ..speed });
        }
    }

    pub(super) fn ended(&mut self, slot: Slot, took: Option<Span>) {
        let Some(speed) = self.take(slot) else { return };
        let mean = match (took, speed.mean) {
            (None, mean) => mean,
            (Some(took), None) => Some(took.as_nanos()),
            (Some(took), Some(mean)) => Some(self.smoothed(mean, took.as_nanos())),
        };
        self.put(slot, Speed { requests: speed.requests - 1, mean, ..speed });
    }

    fn smoothed(&self, mean: u64, took: u64) -> u64 {
        let new = u128::from(self.smoothing_milli.min(1_000));
        let nanos = (u128::from(took) * new + u128::from(mean) * (1_000 - new)) / 1_000;
        u64::try_from(nanos).expect("between two of them")
    }
}

/// What one more request would wait for: the response time of all that are there, one after the other.
fn score(mean: u64, requests: u64) -> u64 {
    mean.saturating_mul(requests + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_one_gets_more_until_it_is_as_busy_by_time() {
        let mut latencies = Latencies::new(300);
        latencies.add(0);
        latencies.add(1);
        for (slot, secs) in [(0, 1), (1, 3)] {
            latencies.given(slot);
            latencies.ended(slot, Some(Span::from_secs(secs)));
        }
        let mut picks = Vec::new();
        for _ in 0..5 {
            let slot = latencies.pick(|_| true).unwrap();
            latencies.given(slot);
            picks.push(slot);
        }
        // Scores of the first: 1, 2, 3 s. At 3 s against 3 s, the one that has had its score for longer goes.
        assert_eq!(picks, [0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_new_one_counts_with_the_mean_of_the_others() {
        let mut latencies = Latencies::new(500);
        for slot in 0..2 {
            latencies.add(slot);
            latencies.given(slot);
            latencies.ended(slot, Some(Span::from_secs(2 + 2 * u64::from(slot))));
        }
        latencies.given(0);
        // 4 s for the first, 4 s for the second, 3 s for the third: the mean.
        latencies.add(2);
        assert_eq!(latencies.pick(|_| true), Some(2));
        latencies.given(2);
        assert_eq!(latencies.pick(|_| true), Some(1));
        assert_eq!(latencies.smoothed(4, 8), 6);
    }
}

//! Jobs in service, in the order of their ends.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

/// A job in service. The first to end is the greatest, among equals the first that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InService {
    /// An instant in nanoseconds, or with processor sharing a virtual time.
    pub(super) end: u128,
    /// Its place in the order of arrivals.
    pub(super) ticket: u64,
    /// The caller's number.
    pub(super) request: u32,
}

impl Ord for InService {
    #[inline]
    fn cmp(&self, other: &InService) -> Ordering {
        other.end.cmp(&self.end).then_with(|| other.ticket.cmp(&self.ticket))
    }
}

impl PartialOrd for InService {
    #[inline]
    fn partial_cmp(&self, other: &InService) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The most jobs that are kept sorted.
const FEW: usize = 24;

/// Jobs in service, of which the first to end is at hand: few of them sorted, which is quicker, many in a heap.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Ends {
    /// The first to end comes last.
    Few(Vec<InService>),
    /// Once there have been more than a few.
    Many(BinaryHeap<InService>),
}

impl Default for Ends {
    fn default() -> Ends {
        Ends::Few(Vec::new())
    }
}

impl Ends {
    /// How many jobs there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Ends::Few(jobs) => jobs.len(),
            Ends::Many(jobs) => jobs.len(),
        }
    }

    /// Whether there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first to end.
    #[inline]
    pub(super) fn first(&self) -> Option<&InService> {
        match self {
            Ends::Few(jobs) => jobs.last(),
            Ends::Many(jobs) => jobs.peek(),
        }
    }

    /// Adds a job.
    #[inline]
    pub(super) fn push(&mut self, job: InService) {
        match self {
            Ends::Few(jobs) if jobs.len() < FEW => {
                let mut place = jobs.len();
                jobs.push(job);
                while let Some(before) = place.checked_sub(1)
                    && jobs[before] > job
                {
                    jobs[place] = jobs[before];
                    place = before;
                }
                jobs[place] = job;
            }
            Ends::Few(jobs) => {
                let mut jobs = BinaryHeap::from(std::mem::take(jobs));
                jobs.push(job);
                *self = Ends::Many(jobs);
            }
            Ends::Many(jobs) => jobs.push(job),
        }
    }

    /// Takes the first to end.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<InService> {
        match self {
            Ends::Few(jobs) => jobs.pop(),
            Ends::Many(jobs) => jobs.pop(),
        }
    }

    /// Takes the job of this ticket out, if it is there.
    pub(super) fn remove(&mut self, ticket: u64) {
        match self {
            Ends::Few(jobs) => jobs.retain(|job| job.ticket != ticket),
            Ends::Many(jobs) => jobs.retain(|job| job.ticket != ticket),
        }
    }

    /// Takes all jobs, in no particular order.
    pub(super) fn take_all(&mut self) -> Vec<InService> {
        match std::mem::take(self) {
            Ends::Few(jobs) => jobs,
            Ends::Many(jobs) => jobs.into_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_list(ops in prop::collection::vec((0u8..8, 0u128..40, any::<prop::sample::Index>()), 1..200)) {
            let mut ends = Ends::default();
            let mut list: Vec<(u128, u64)> = Vec::new();
            for (ticket, (op, end, who)) in (0u64..).zip(ops) {
                match op {
                    0..=4 => {
                        ends.push(InService { end, ticket, request: 7 });
                        list.push((end, ticket));
                        list.sort_unstable();
                    }
                    5 | 6 => {
                        let first = (!list.is_empty()).then(|| list.remove(0));
                        prop_assert_eq!(ends.pop().map(|job| (job.end, job.ticket)), first);
                    }
                    _ if list.is_empty() => {}
                    _ => ends.remove(list.remove(who.index(list.len())).1),
                }
                prop_assert_eq!(ends.len(), list.len());
                prop_assert_eq!(ends.first().map(|job| (job.end, job.ticket)), list.first().copied());
            }
            let mut rest: Vec<_> = ends.take_all().iter().map(|job| (job.end, job.ticket)).collect();
            rest.sort_unstable();
            prop_assert_eq!(rest, list);
        }
    }
}

//! The replica with the best score by what each last reported of itself.
//!
//! Nothing is known of what was given since: until the next report all requests go to the same one. A pick looks at every
//! replica, as the endpoint pickers of gateways do: counts are scored against the least and the most of all, so that one
//! report can change the order of the others, and an index would be built anew as often as it is asked.

use scaletwin_core::random::Draws;
use serde::{Deserialize, Serialize};

use super::Slot;

/// All of a share: reports count in millionths.
pub const WHOLE: u64 = 1_000_000;

/// What a replica reports of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Requests that wait in it.
    pub waiting: u64,
    /// Requests that it works at.
    pub running: u64,
    /// The share of its KV cache in use, millionths.
    pub kv_cache: u64,
    /// The CPU used since its last report, as a share of what it uses at work, millionths.
    pub cpu: u64,
    /// The share of the time since its last report in which its GPUs worked, millionths.
    pub gpu: u64,
}

/// What each figure of a report weighs, thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Requests that wait.
    pub waiting: u32,
    /// Requests under way.
    pub running: u32,
    /// The share of KV cache.
    pub kv_cache: u32,
    /// The share of CPU.
    pub cpu: u32,
    /// The share of GPU time.
    pub gpu: u32,
}

/// Replicas by what they reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reports {
    weights: Weights,
    members: Vec<(Slot, Report)>,
}

/// The least and the most of a figure.
#[derive(Debug, Clone, Copy)]
struct Range(u64, u64);

impl Range {
    fn of(values: impl Iterator<Item = u64> + Clone) -> Range {
        Range(values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
    }

    /// 1 for the least, 0 for the most, and 1 for all where they are equal; millionths.
    fn score(self, value: u64) -> u64 {
        let width = u128::from(self.1 - self.0);
        let part = (u128::from(self.1 - value) * u128::from(WHOLE)).checked_div(width);
        part.map_or(WHOLE, |part| u64::try_from(part).expect("a part of a whole"))
    }
}

impl Reports {
    pub(super) fn new(weights: Weights) -> Reports {
        Reports { weights, members: Vec::new() }
    }

    pub(super) fn add(&mut self, slot: Slot) {
        self.members.push((slot, Report::default()));
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.members.retain(|(other, _)| *other != slot);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn reported(&mut self, slot: Slot, report: Report) {
        if let Some((_, known)) = self.members.iter_mut().find(|(other, _)| *other == slot) {
            *known = report;
        }
    }

    /// The one with the highest score; of equals any, each as likely.
    pub(super) fn pick(&self, mut draws: Draws, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let waiting = Range::of(self.members.iter().map(|(_, report)| report.waiting));
        let running = Range::of(self.members.iter().map(|(_, report)| report.running));
        let (mut best, mut equals) = (0, Vec::new());
        for (slot, report) in self.members.iter().filter(|(slot, _)| accepts(*slot)) {
            let score = self.score(report, waiting, running);
            if score > best {
                best = score;
                equals.clear();
            }
            if score == best {
                equals.push(*slot);
            }
        }
        let drawn = if equals.len() > 1 { draws.below(equals.len() as u64) } else { 0 };
        equals.get(usize::try_from(drawn).expect("below a length")).copied()
    }

    fn score(&self, report: &Report, waiting: Range, running: Range) -> u64 {
        let Weights { waiting: of_waiting, running: of_running, kv_cache, cpu, gpu } = self.weights;
        let parts = [
            (of_waiting, waiting.score(report.waiting)),
            (of_running, running.score(report.running)),
            (kv_cache, WHOLE - report.kv_cache),
            (cpu, WHOLE - report.cpu),
            (gpu, WHOLE - report.gpu),
        ];
        parts.into_iter().map(|(weight, score)| u64::from(weight) * score).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::random::Seed;

    const NOTHING: Weights = Weights { waiting: 0, running: 0, kv_cache: 0, cpu: 0, gpu: 0 };

    fn pick(reports: &Reports, number: u64) -> Option<Slot> {
        reports.pick(Seed(1).component("reports").entity(number), |_| true)
    }

    #[test]
    fn the_weighted_sum_of_the_scores_decides() {
        // Waiting 0, 5 and 10 of them score 1, 0.5 and 0; the cache 0.2, 0.6 and 0.9.
        let told = [(0, 800_000), (5, 400_000), (10, 100_000)];
        let best = |waiting, kv_cache| {
            let mut reports = Reports::new(Weights { waiting, kv_cache, ..NOTHING });
            for (slot, (waiting, kv_cache)) in (0..).zip(told) {
                reports.add(slot);
                reports.reported(slot, Report { waiting, kv_cache, ..Report::default() });
            }
            pick(&reports, 0)
        };
        // Sums: 1.2, 1.1, 0.9; 1.4, 1.7, 1.8; with 2 to 3: 2.6, 2.8, 2.7.
        assert_eq!(best(1_000, 1_000), Some(0));
        assert_eq!(best(1_000, 2_000), Some(2));
        assert_eq!(best(2_000, 3_000), Some(1));
    }

    #[test]
    fn all_go_to_one_until_the_next_report_and_equals_are_drawn() {
        let mut reports = Reports::new(Weights { running: 1_000, ..NOTHING });
        reports.add(0);
        reports.add(1);
        reports.reported(0, Report { running: 3, ..Report::default() });
        assert!((0..50).all(|number| pick(&reports, number) == Some(1)));
        reports.reported(1, Report { running: 3, ..Report::default() });
        let first = (0..1_000).filter(|number| pick(&reports, *number) == Some(0)).count();
        assert!((450..550).contains(&first), "{first} of 1000");
    }
}

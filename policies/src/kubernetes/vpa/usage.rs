//! What the recommender remembers of the containers' usage: `pkg/recommender/model`.

use serde::{Deserialize, Serialize};

use super::histogram::{Buckets, Histogram};
use crate::numerics::go;

/// A day, in nanoseconds: the half-life of samples, and the window of which the memory peak counts.
pub(super) const DAY: i64 = 24 * 3_600 * 1_000_000_000;
/// The weight of a CPU sample, whatever is requested.
const CPU_WEIGHT: f64 = 0.1;
/// The weight of a memory peak.
const PEAK_WEIGHT: f64 = 1.0;
/// An amount that no recommendation exceeds.
const MAX_AMOUNT: f64 = 1e14;
/// What a container that ran out of memory is given at least, bytes.
const OOM_MIN_BUMP: i64 = 100 * 1024 * 1024;
/// By how much it is given more, if that is more.
const OOM_BUMP_RATIO: f64 = 1.2;

/// `x` as a whole amount: milli-cores or bytes, at least 0.
#[must_use]
pub fn amount(x: f64) -> i64 {
    if x < 0.0 { 0 } else { go::int64(if x > MAX_AMOUNT { MAX_AMOUNT } else { x }) }
}

/// `amount` times `factor`, cut to a whole amount.
#[must_use]
pub fn scale(of: i64, factor: f64) -> i64 {
    amount(of as f64 * factor)
}

/// The usage of all containers of one name of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Cores.
    pub(super) cpu: Histogram,
    /// Bytes: the peak of each container in each day.
    pub(super) memory: Histogram,
    /// The instants of the first and the last CPU sample, nanoseconds since 1970.
    pub(super) span: Option<(i64, i64)>,
    /// How many CPU samples there were.
    pub(super) samples: u64,
}

impl Default for Usage {
    fn default() -> Usage {
        Usage {
            cpu: Histogram::new(Buckets::cpu(), DAY),
            memory: Histogram::new(Buckets::memory(), DAY),
            span: None,
            samples: 0,
        }
    }
}

impl Usage {
    /// How many CPU samples there were.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    fn add_cpu(&mut self, milli: i64, at: i64) {
        self.cpu.add(milli as f64 / 1_000.0, CPU_WEIGHT, at);
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        self.samples += 1;
    }
}

/// What is remembered of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    last_cpu: Option<i64>,
    last_memory: Option<i64>,
    /// The end of the day whose peak is being looked for.
    window_end: Option<i64>,
    peak: i64,
    oom_peak: i64,
}

impl Container {
    /// Adds a CPU sample, milli-cores. Gives whether it was taken: one that is negative or not later than the last is not.
    pub fn add_cpu(&mut self, usage: &mut Usage, milli: i64, at: i64) -> bool {
        if milli < 0 || self.last_cpu.is_some_and(|last| at <= last) {
            return false;
        }
        usage.add_cpu(milli, at);
        self.last_cpu = Some(at);
        true
    }

    /// Adds a memory sample, bytes. Gives whether it was taken: one that is negative or earlier than the last is not.
    pub fn add_memory(&mut self, usage: &mut Usage, bytes: i64, at: i64) -> bool {
        if self.last_memory.is_some_and(|last| at < last) {
            return false;
        }
        self.memory_sample(usage, bytes, at, false)
    }

    /// Records that the container ran out of memory while it requested `requested` bytes. Gives whether that counts:
    /// an event from before the present day does not.
    pub fn add_oom(&mut self, usage: &mut Usage, requested: i64, at: i64) -> bool {
        if self.window_end.is_some_and(|end| at < end.saturating_sub(DAY)) {
            return false;
        }
        let used = requested.max(self.peak);
        let needed = used.saturating_add(OOM_MIN_BUMP).max(scale(used, OOM_BUMP_RATIO));
        self.memory_sample(usage, needed, at, true)
    }

    fn memory_sample(&mut self, usage: &mut Usage, bytes: i64, at: i64, oom: bool) -> bool {
        if bytes < 0 {
            return false;
        }
        self.last_memory = Some(at);
        let mut end = self.window_end.unwrap_or(at);
        let before = self.peak.max(self.oom_peak);
        if at >= end {
            end = end.saturating_add((at.saturating_sub(end) / DAY + 1).saturating_mul(DAY));
            (self.peak, self.oom_peak) = (0, 0);
        } else if before != 0 && bytes > before {
            usage.memory.subtract(before as f64, PEAK_WEIGHT, end);
        } else {
            return true;
        }
        self.window_end = Some(end);
        usage.memory.add(bytes as f64, PEAK_WEIGHT, end);
        if oom {
            self.oom_peak = bytes
        } else {
            self.peak = bytes
        }
        true
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "both are the start of the same bucket, or nothing")]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    fn peak(usage: &Usage) -> f64 {
        usage.memory.percentile(1.0)
    }

    #[test]
    fn one_memory_peak_counts_each_day() {
        let (mut usage, mut container) = (Usage::default(), Container::default());
        for (bytes, at) in [(GIB, 0), (4 * GIB, 1), (2 * GIB, 2)] {
            assert!(container.add_memory(&mut usage, bytes, at));
        }
        let bucket = Buckets::memory().find(4.0 * GIB as f64);
        assert_eq!(
            usage.memory.percentile(0.01),
            Buckets::memory().start(bucket + 1),
            "only the peak is there"
        );
        assert_eq!(peak(&usage), Buckets::memory().start(bucket + 1));
        container.add_memory(&mut usage, GIB, DAY);
        assert!(usage.memory.percentile(0.5) < peak(&usage), "a new day has a peak of its own");
    }

    #[test]
    fn samples_that_come_twice_or_late_are_left_out() {
        let (mut usage, mut container) = (Usage::default(), Container::default());
        let taken: Vec<bool> = [(100, 5), (100, 5), (100, 4), (-1, 6), (0, 6)]
            .map(|(m, at)| container.add_cpu(&mut usage, m, at))
            .into();
        assert_eq!(taken, [true, false, false, false, true]);
        assert_eq!(usage.samples(), 2);
        assert!(container.add_memory(&mut usage, 1, 5) && container.add_memory(&mut usage, 1, 5));
        assert!(!container.add_memory(&mut usage, 1, 4));
    }

    #[test]
    fn running_out_of_memory_asks_for_a_fifth_or_100_mib_more() {
        for (requested, wanted) in [(GIB, scale(GIB, 1.2)), (GIB / 4, GIB / 4 + OOM_MIN_BUMP)] {
            let (mut usage, mut container) = (Usage::default(), Container::default());
            assert!(container.add_oom(&mut usage, requested, 0));
            assert_eq!(container.oom_peak, wanted);
            assert!(!container.add_oom(&mut usage, requested, -1), "before the present day");
        }
    }
}

//! From usage to a recommendation: `pkg/recommender/logic`.

use serde::{Deserialize, Serialize};

use super::usage::{DAY, Usage, amount, scale};
use crate::numerics::go::math;

/// `--recommendation-margin-fraction`.
const MARGIN: f64 = 0.15;
/// `--pod-recommendation-min-cpu-millicores`, in cores.
const POD_MIN_CORES: f64 = 25.0 * 0.001;
/// `--pod-recommendation-min-memory-mb`, in bytes.
const POD_MIN_BYTES: f64 = 250.0 * 1024.0 * 1024.0;
/// The percentiles of usage behind the lower bound, the target and the upper bound.
const LOWER: f64 = 0.5;
const TARGET: f64 = 0.9;
const UPPER: f64 = 0.95;

/// What a container should request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Pods that request less are worth an eviction.
    pub lower: Resources,
    /// What a new pod should request.
    pub target: Resources,
    /// Pods that request more are worth an eviction.
    pub upper: Resources,
}

/// Amounts of CPU and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Milli-cores.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory_bytes: i64,
}

impl Resources {
    fn map(self, of: impl Fn(i64) -> i64) -> Resources {
        Resources { cpu_milli: of(self.cpu_milli), memory_bytes: of(self.memory_bytes) }
    }

    fn at_least(self, other: Resources) -> Resources {
        Resources {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
}

/// What each of the `containers` of a pod should request, by the usage of those of its name.
///
/// The further the history reaches, the closer the bounds come to the target.
#[must_use]
pub fn recommend(usage: &Usage, containers: u32) -> Recommendation {
    let share = 1.0 / f64::from(containers.max(1));
    let fewest = Resources {
        cpu_milli: scale(amount(POD_MIN_CORES * 1_000.0), share),
        memory_bytes: scale(amount(POD_MIN_BYTES), share),
    };
    let days = confidence(usage);
    let with_margin = |percentile: f64| {
        let base = Resources {
            cpu_milli: amount(usage.cpu.percentile(percentile) * 1_000.0),
            memory_bytes: amount(usage.memory.percentile(percentile)),
        };
        base.map(|base| base.saturating_add(scale(base, MARGIN)))
    };
    let lower = math::pow(1.0 + 0.001 / days, -2);
    let upper = 1.0 + 1.0 / days;
    Recommendation {
        lower: with_margin(LOWER).map(|base| scale(base, lower)).at_least(fewest),
        target: with_margin(TARGET).at_least(fewest),
        upper: with_margin(UPPER).map(|base| scale(base, upper)).at_least(fewest),
    }
}

/// For how many days a sample a minute was seen, at most: the least of the time covered and of the samples there are.
fn confidence(usage: &Usage) -> f64 {
    let covered = usage.span.map_or(0, |(first, last)| last.saturating_sub(first));
    let sampled = usage.samples as f64 / (60.0 * 24.0);
    (covered as f64 / DAY as f64).min(sampled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::vpa::usage::Container;

    const MINUTE: i64 = 60_000_000_000;

    fn steady(minutes: i64) -> Usage {
        let (mut usage, mut container) = (Usage::default(), Container::default());
        for minute in 0..minutes {
            container.add_cpu(&mut usage, 1_000, minute * MINUTE);
            container.add_memory(&mut usage, 8 << 30, minute * MINUTE);
        }
        usage
    }

    #[test]
    fn nothing_seen_gives_the_least() {
        let least = Resources { cpu_milli: 25, memory_bytes: 250 << 20 };
        let found = recommend(&Usage::default(), 1);
        assert_eq!(found, Recommendation { lower: least, target: least, upper: least });
        assert_eq!(recommend(&Usage::default(), 2).target.cpu_milli, 12);
    }

    #[test]
    fn bounds_close_in_on_the_target_as_history_grows() {
        let (hour, week) = (recommend(&steady(60), 1), recommend(&steady(7 * 1_440), 1));
        assert_eq!(hour.target, week.target);
        assert!(hour.lower.cpu_milli < week.lower.cpu_milli && week.lower.cpu_milli <= week.target.cpu_milli);
        assert!(hour.upper.cpu_milli > week.upper.cpu_milli && week.upper.cpu_milli > week.target.cpu_milli);
        let above = week.target.cpu_milli as f64 / 1_000.0;
        assert!(
            (1.15..1.15 * 1.05 + 0.002).contains(&above),
            "the end of the bucket and 15 percent: {above}"
        );
    }

    #[test]
    fn one_sample_says_nothing_of_the_upper_bound() {
        assert_eq!(recommend(&steady(1), 1).upper.cpu_milli, 100_000_000_000_000);
        assert_eq!(recommend(&steady(1), 1).lower.cpu_milli, 25);
    }
}

//! The largest of the last decisions, which delays scaling down: `pkg/autoscaler/aggregation/max`.

use std::collections::VecDeque;

use scaletwin_core::units::Span;
use serde::{Deserialize, Serialize};

use super::TICK;

/// The largest value of the last ticks. The ticks are those of the wall clock: two decisions within one count as one,
/// the larger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayWindow {
    ticks: i64,
    /// Ticks with their values, descending: what a later and larger value hides is not kept.
    maxima: VecDeque<(i64, i32)>,
}

impl DelayWindow {
    /// A window over `delay`, in whole ticks rounded up.
    #[must_use]
    pub fn new(delay: Span) -> DelayWindow {
        let ticks = delay.as_nanos().div_ceil(TICK.as_nanos()).max(1);
        DelayWindow { ticks: i64::try_from(ticks).unwrap_or(i64::MAX), maxima: VecDeque::new() }
    }

    /// Takes in the value decided in the Unix second `second`, and gives the largest of the window.
    pub fn record(&mut self, second: i64, value: i32) -> i32 {
        let tick = second.div_euclid(i64::try_from(TICK.as_secs()).unwrap_or(1));
        while self.maxima.back().is_some_and(|(_, last)| value >= *last) {
            self.maxima.pop_back();
        }
        while self.maxima.front().is_some_and(|(first, _)| tick.saturating_sub(*first) >= self.ticks) {
            self.maxima.pop_front();
        }
        if self.maxima.back().is_none_or(|(last, _)| *last != tick) {
            self.maxima.push_back((tick, value));
        }
        self.maxima.front().map_or(value, |(_, largest)| *largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_smaller_value_waits_for_the_window_of_the_wall_clock() {
        let mut window = DelayWindow::new(Span::from_secs(4));
        let values = [(10, 9), (12, 3), (13, 3), (14, 3), (15, 2), (18, 1)];
        assert_eq!(values.map(|(second, value)| window.record(second, value)), [9, 9, 9, 3, 3, 1]);
    }

    proptest! {
        /// It gives the largest value whose tick is within the window.
        #[test]
        fn it_equals_a_search(steps in prop::collection::vec((0i64..5, 0i32..9), 1..60), ticks in 1u64..9) {
            let mut window = DelayWindow::new(TICK * ticks);
            let (mut all, mut second) = (Vec::new(), 0);
            for (more, value) in steps {
                second += more;
                all.push((second.div_euclid(2), value));
                let first = second.div_euclid(2) - i64::try_from(ticks).unwrap();
                let want = all.iter().filter(|(tick, _)| *tick > first).map(|(_, value)| *value).max();
                prop_assert_eq!(Some(window.record(second, value)), want);
            }
        }
    }
}

//! The number of ongoing requests, of what replicas and handles have recorded: `serve/_private/metrics_utils` and
//! `autoscaling_state.py`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::numerics::python::c_round;

scaletwin_core::names! {
    /// How a series over time becomes one value: `aggregation_function`.
    pub enum Aggregation {
        /// The mean over time.
        Mean = "mean",
        /// The largest value.
        Max = "max",
        /// The smallest value.
        Min = "min",
    }
}

/// A value from an instant on. Instants are Unix seconds.
pub type Point = (f64, f64);

/// The total of several series, each of which holds its last value: a point for each change, at instants rounded to
/// 10 ms. A single series is taken as it is.
#[must_use]
pub fn merge(series: &[Vec<Point>]) -> Vec<Point> {
    let active: Vec<&Vec<Point>> = series.iter().filter(|points| !points.is_empty()).collect();
    if let [one] = active.as_slice() {
        return (*one).clone();
    }
    let mut heads: BinaryHeap<Head> = active
        .iter()
        .enumerate()
        .map(|(series, points)| Head { at: points[0].0, series, place: 0 })
        .collect();
    let mut values = vec![0.0; active.len()];
    let mut total = 0.0;
    let mut merged: Vec<Point> = Vec::new();
    while let Some(Head { at, series, place }) = heads.pop() {
        let (before, value) = (values[series], active[series][place].1);
        values[series] = value;
        total += value - before;
        if let Some((at, _)) = active[series].get(place + 1) {
            heads.push(Head { at: *at, series, place: place + 1 });
        }
        if value.total_cmp(&before) != Ordering::Equal {
            let at = c_round(at * 100.0) / 100.0;
            match merged.last_mut().filter(|last| last.0.total_cmp(&at) == Ordering::Equal) {
                Some(last) => last.1 = total,
                None => merged.push((at, total)),
            }
        }
    }
    merged
}

/// The next point of a series. The largest in the heap is the earliest, and of equals that of the first series.
struct Head {
    at: f64,
    series: usize,
    place: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        other.at.total_cmp(&self.at).then(other.series.cmp(&self.series))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// From when on the total `merged` of `series` counts: from the latest first point of a series on, when all are known, or
/// from its own first point where it begins later, or where it has ended before by rounding.
#[must_use]
pub fn window_start(series: &[Vec<Point>], merged: &[Point]) -> Option<f64> {
    let ((first, _), (last, _)) = (merged.first()?, merged.last()?);
    let all_known = series.iter().filter_map(|points| points.first()).map(|(at, _)| *at).reduce(f64::max)?;
    Some(if all_known > *last { *first } else { first.max(all_known) })
}

/// How long the last point of a merged series has held at `now`; clocks that run ahead count as a millisecond.
#[must_use]
pub fn last_window(merged: &[Point], now: f64) -> f64 {
    let held = merged.last().map_or(0.0, |(at, _)| now - at);
    if held <= 0.0 { 1e-3 } else { held }
}

/// One value of a merged series from `start` on, of which the last point holds for `last_window`. `None` without a
/// point there.
#[must_use]
pub fn aggregate(merged: &[Point], how: Aggregation, start: f64, last_window: f64) -> Option<f64> {
    let inside = || merged.iter().filter(|(at, _)| *at >= start).map(|(_, value)| *value);
    match how {
        Aggregation::Mean => mean(merged, start, merged.last()?.0 + last_window),
        Aggregation::Max => inside().reduce(f64::max),
        Aggregation::Min => inside().reduce(f64::min),
    }
}

/// The mean over time from `start` to `end`.
fn mean(merged: &[Point], start: f64, end: f64) -> Option<f64> {
    if end <= start {
        return None;
    }
    let (mut weighted, mut duration) = (0.0, 0.0);
    let (mut since, mut value) = (start, 0.0);
    for (at, next) in merged.iter().take_while(|(at, _)| *at < end) {
        if *at > start {
            weighted += value * (at - since);
            duration += at - since;
            since = *at;
        }
        value = *next;
    }
    if since < end {
        weighted += value * (end - since);
        duration += end - since;
    }
    (duration > 0.0).then(|| weighted / duration)
}

/// The ongoing requests at `now`: 0 where nothing was recorded.
#[must_use]
pub fn ongoing(series: &[Vec<Point>], how: Aggregation, now: f64) -> f64 {
    let merged = merge(series);
    let start = window_start(series, &merged);
    start.and_then(|start| aggregate(&merged, how, start, last_window(&merged, now))).unwrap_or(0.0)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are sums of few whole numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn series_hold_their_last_value_and_add_up() {
        let series = [vec![(0.1, 5.0), (0.2, 7.0)], vec![(0.2, 3.0), (0.3, 1.0)], Vec::new()];
        assert_eq!(merge(&series), [(0.1, 5.0), (0.2, 10.0), (0.3, 8.0)]);
        assert_eq!(window_start(&series, &merge(&series)), Some(0.2));
        assert_eq!(aggregate(&merge(&series), Aggregation::Max, 0.2, 1.0), Some(10.0));
        assert_eq!(aggregate(&merge(&series), Aggregation::Min, 0.2, 1.0), Some(8.0));
    }

    #[test]
    fn nothing_recorded_is_no_request() {
        assert_eq!(ongoing(&[], Aggregation::Mean, 9.0), 0.0);
        assert_eq!(ongoing(&[Vec::new(), Vec::new()], Aggregation::Max, 9.0), 0.0);
    }

    #[test]
    fn the_last_value_holds_until_now() {
        assert_eq!(ongoing(&[vec![(1.0, 4.0), (2.0, 0.0)]], Aggregation::Mean, 5.0), 1.0);
        assert_eq!(last_window(&[(3.0, 1.0)], 2.0), 1e-3, "a clock that runs ahead");
    }

    proptest! {
        /// The total at the end is the sum of the last values, and the mean lies between the extremes.
        #[test]
        fn totals_and_means_are_consistent(
            series in prop::collection::vec(prop::collection::vec((1u32..400, 0u32..50), 1..12), 1..6),
        ) {
            let points = |steps: &Vec<(u32, u32)>| {
                let mut at = 0.0;
                steps.iter().map(|(gap, value)| { at += f64::from(*gap) / 100.0; (at, f64::from(*value)) }).collect()
            };
            let series: Vec<Vec<Point>> = series.iter().map(points).collect();
            let merged = merge(&series);
            let total: f64 = series.iter().filter_map(|points| points.last()).map(|(_, value)| value).sum();
            if let Some((_, last)) = merged.last() {
                prop_assert_eq!(*last, total);
            }
            let start = window_start(&series, &merged);
            if let Some(mean) = start.and_then(|start| aggregate(&merged, Aggregation::Mean, start, 1.0)) {
                let most = merged.iter().map(|(_, value)| *value).fold(0.0, f64::max);
                prop_assert!((0.0..=most + 1e-9).contains(&mean));
            }
        }
    }
}

//! Samples of the last minutes.

use std::collections::{BTreeMap, VecDeque};

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::signals::TargetLabels;

/// How far back Prometheus looks for the last sample of a series.
pub const LOOKBACK: Span = Span::from_secs(300);

/// What a series is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// A replica, by its number.
    Replica(u32),
    /// A deployment, by its place.
    Deployment(u32),
}

/// A series: what it is about, which of the series asked for, and which of its label sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// What it is about.
    pub subject: Subject,
    /// The place of its name among those that are scraped.
    pub series: u16,
    /// The place of its label set.
    pub variant: u16,
}

/// Samples by series, kept as long as anybody looks back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    keep: Span,
    #[serde(with = "pairs")]
    series: BTreeMap<SeriesKey, VecDeque<(Time, f64)>>,
    /// Subjects that are gone, whose past a range can still see, with their labels.
    ended: Vec<(Time, TargetLabels)>,
}

impl History {
    /// A history that answers for ranges up to `range`, seen with a delay of `lag`.
    #[must_use]
    pub fn new(range: Span, lag: Span) -> History {
        History { keep: range.max(LOOKBACK) + lag, series: BTreeMap::new(), ended: Vec::new() }
    }

    /// Adds a sample.
    pub fn push(&mut self, key: SeriesKey, at: Time, value: f64) {
        let samples = self.series.entry(key).or_default();
        samples.push_back((at, value));
        while samples.front().is_some_and(|(first, _)| first.saturating_add(self.keep) < at) {
            samples.pop_front();
        }
    }

    /// Forgets all series of a subject that is gone: Prometheus marks them stale.
    pub fn forget(&mut self, subject: Subject) {
        let keys: Vec<_> = self.of(subject, 0, u16::MAX).map(|(key, _)| key).collect();
        for key in keys {
            self.series.remove(&key);
        }
    }

    /// Ends all series of a subject that is gone at `at`: an instant sees them no more, a range still does until they are
    /// too old for any. What has ended before stays as it is.
    pub fn end(&mut self, target: TargetLabels, at: Time) {
        if self.ended_at(target.subject).is_some() {
            return;
        }
        let is_old = |(ended, _): &(Time, TargetLabels)| ended.saturating_add(self.keep) < at;
        let (old, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.ended).into_iter().partition(is_old);
        self.ended = kept;
        for (_, target) in old {
            self.forget(target.subject);
        }
        self.ended.push((at, target));
    }

    /// The subjects that are gone and still seen by ranges.
    pub fn ended(&self) -> impl Iterator<Item = &TargetLabels> {
        self.ended.iter().map(|(_, target)| target)
    }

    /// When a subject was gone, if it is.
    #[must_use]
    pub fn ended_at(&self, subject: Subject) -> Option<Time> {
        self.ended.iter().find(|(_, target)| target.subject == subject).map(|(at, _)| *at)
    }

    /// All series of a subject with their samples.
    pub fn series_of(&self, subject: Subject) -> impl Iterator<Item = (SeriesKey, &VecDeque<(Time, f64)>)> {
        self.of(subject, 0, u16::MAX)
    }

    fn of(
        &self,
        subject: Subject,
        first: u16,
        last: u16,
    ) -> impl Iterator<Item = (SeriesKey, &VecDeque<(Time, f64)>)> {
        let low = SeriesKey { subject, series: first, variant: 0 };
        let high = SeriesKey { subject, series: last, variant: u16::MAX };
        self.series.range(low..=high).map(|(key, samples)| (*key, samples))
    }

    /// For each label set of a series, its value at `at`: the last sample, if it is at most [`LOOKBACK`] old.
    pub fn instant(&self, subject: Subject, series: u16, at: Time) -> impl Iterator<Item = (u16, f64)> {
        self.of(subject, series, series).filter_map(move |(key, samples)| {
            let (time, value) = samples.iter().rev().find(|(time, _)| *time <= at)?;
            (at.since(*time) < LOOKBACK).then_some((key.variant, *value))
        })
    }

    /// For each label set of a counter, its rate per second over `range` before `at`, as Prometheus extrapolates it.
    pub fn rate(
        &self,
        subject: Subject,
        series: u16,
        at: Time,
        range: Span,
    ) -> impl Iterator<Item = (u16, f64)> {
        self.of(subject, series, series).filter_map(move |(key, samples)| {
            let inside = samples.iter().filter(|(time, _)| *time <= at && time.saturating_add(range) > at);
            Some((key.variant, extrapolated_rate(&inside.copied().collect::<Vec<_>>(), at, range)?))
        })
    }
}

/// `rate()` of Prometheus: the increase over the samples, resets added, extrapolated to the edges of the range as far
/// as a sample may be expected there, and never below zero. At least two samples are needed.
#[must_use]
pub fn extrapolated_rate(samples: &[(Time, f64)], at: Time, range: Span) -> Option<f64> {
    let [first, .., last] = samples else { return None };
    let mut increase = last.1 - first.1;
    for pair in samples.windows(2) {
        if pair[1].1 < pair[0].1 {
            increase += pair[0].1;
        }
    }
    let sampled = last.0.since(first.0).as_secs_f64();
    let between = sampled / (samples.len() - 1) as f64;
    let threshold = between * 1.1;
    let edge = |gap: f64| if gap >= threshold { between / 2.0 } else { gap };
    // The gap from the left edge of the range to the first sample.
    let mut to_start = edge(range.as_secs_f64() - at.since(first.0).as_secs_f64());
    if increase > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / increase));
    }
    let to_end = edge(at.since(last.0).as_secs_f64());
    let factor = (sampled + to_start + to_end) / sampled;
    Some(increase * factor / range.as_secs_f64())
}

/// A map with keys that are no texts, as a list of pairs.
mod pairs {
    use super::{BTreeMap, SeriesKey, Time, VecDeque};
    use serde::{Deserialize, Deserializer, Serializer};

    type Map = BTreeMap<SeriesKey, VecDeque<(Time, f64)>>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Vec::<(SeriesKey, VecDeque<(Time, f64)>)>::deserialize(deserializer).map(Map::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    const KEY: SeriesKey = SeriesKey { subject: Subject::Replica(3), series: 0, variant: 0 };

    #[test]
    fn the_last_sample_counts_for_five_minutes() {
        let mut history = History::new(Span::ZERO, Span::from_secs(30));
        history.push(KEY, at(10), 1.0);
        history.push(KEY, at(25), 2.0);
        let value = |secs| history.instant(KEY.subject, 0, at(secs)).next().map(|(_, value)| value);
        assert_eq!(
            [value(9), value(24), value(25), value(324), value(325)],
            [None, Some(1.0), Some(2.0), Some(2.0), None]
        );
    }

    #[test]
    fn a_subject_that_is_gone_has_no_series() {
        let mut history = History::new(Span::ZERO, Span::ZERO);
        history.push(KEY, at(10), 1.0);
        history.push(SeriesKey { subject: Subject::Replica(4), ..KEY }, at(10), 1.0);
        history.forget(KEY.subject);
        assert_eq!(history.instant(KEY.subject, 0, at(11)).count(), 0);
        assert_eq!(history.instant(Subject::Replica(4), 0, at(11)).count(), 1);
    }

    #[test]
    fn rates_are_extrapolated_as_prometheus_does() {
        let minute = Span::from_secs(60);
        // Every 15 s by 30 from 300: 90 in 45 s, extrapolated by 10 s and 5 s to the edges.
        let samples = [(at(10), 300.0), (at(25), 330.0), (at(40), 360.0), (at(55), 390.0)];
        assert_eq!(extrapolated_rate(&samples, at(60), minute), Some(2.0));
        // A counter that began at 0 is not extrapolated below 0.
        let young = [(at(10), 0.0), (at(25), 30.0), (at(40), 60.0), (at(55), 90.0)];
        assert_eq!(extrapolated_rate(&young, at(60), minute), Some(90.0 * (50.0 / 45.0) / 60.0));
        // A gap longer than 1.1 intervals counts as half an interval.
        let late = [(at(40), 300.0), (at(55), 330.0)];
        assert_eq!(extrapolated_rate(&late, at(60), minute), Some(30.0 * ((15.0 + 7.5 + 5.0) / 15.0) / 60.0));
        // A reset is added.
        let reset = [(at(10), 300.0), (at(25), 330.0), (at(40), 20.0), (at(55), 50.0)];
        assert_eq!(extrapolated_rate(&reset, at(60), minute), Some(80.0 * (60.0 / 45.0) / 60.0));
        assert_eq!(extrapolated_rate(&samples[..1], at(60), minute), None);
    }
}

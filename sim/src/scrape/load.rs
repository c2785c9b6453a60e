//! The load that sources report to controllers that collect for themselves: Knative's activator and queue-proxies, Ray
//! Serve's handles.
//!
//! All sources of a target share one grid, as behind a single activator or proxy: a record every so often, and a report of
//! what was recorded lately every so often.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use scaletwin_core::control::{LoadReport, LoadSample};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

/// A source: a replica by its number and name, or `None` for the gateway.
pub type SourceName = Option<(u32, String)>;

/// When load is recorded and reported, and how far back a report goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadTimes {
    /// From one record to the next.
    pub record: Span,
    /// From one report to the next.
    pub push: Span,
    /// How far back a report goes.
    pub over: Span,
}

/// What the sources of one target have recorded and reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadRecorder {
    times: LoadTimes,
    next_record: Time,
    next_push: Time,
    /// By source: `None` is the gateway, otherwise a replica by its number.
    #[serde(with = "pairs")]
    sources: BTreeMap<Option<u32>, Source>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Source {
    pod: Option<Arc<str>>,
    recorded: VecDeque<LoadSample>,
    reported: Option<(Time, Arc<[LoadSample]>)>,
}

impl LoadRecorder {
    /// A recorder whose first report comes `offset` after `now`. Records keep the grid of the reports as far as one fits
    /// the other.
    ///
    /// # Panics
    /// When a time is zero: a mistake in a policy.
    #[must_use]
    pub fn new(times: LoadTimes, now: Time, offset: Span) -> LoadRecorder {
        assert!(!times.record.is_zero() && !times.push.is_zero(), "records and reports take their time");
        let first = Span::from_nanos(offset.as_nanos() % times.record.as_nanos());
        LoadRecorder { times, next_record: now + first, next_push: now + offset, sources: BTreeMap::new() }
    }

    /// When it has something to do next.
    #[must_use]
    pub fn next(&self) -> Time {
        self.next_record.min(self.next_push)
    }

    /// Whether a record is due at `now`.
    #[must_use]
    pub fn records_at(&self, now: Time) -> bool {
        self.next_record <= now
    }

    /// Takes in what each source has at `now`; one that says nothing stays, one that is not among them is gone.
    pub fn record(&mut self, now: Time, values: Vec<(SourceName, Option<f64>)>) {
        self.next_record = now + self.times.record;
        let ids: Vec<Option<u32>> =
            values.iter().map(|(source, _)| source.as_ref().map(|(id, _)| *id)).collect();
        self.sources.retain(|id, _| ids.contains(id));
        for (source, value) in values {
            let id = source.as_ref().map(|(id, _)| *id);
            let new = || Source {
                pod: source.map(|(_, name)| name.into()),
                recorded: VecDeque::new(),
                reported: None,
            };
            let recorded = &mut self.sources.entry(id).or_insert_with(new).recorded;
            recorded.extend(value.map(|value| LoadSample { at: now, value: Exact(value) }));
            while recorded.front().is_some_and(|sample| sample.at.saturating_add(self.times.over) < now) {
                recorded.pop_front();
            }
        }
    }

    /// Reports what was recorded, if a report is due at `now`.
    pub fn push(&mut self, now: Time) {
        if self.next_push <= now {
            self.next_push = now + self.times.push;
            for source in self.sources.values_mut() {
                source.reported = Some((now, source.recorded.iter().copied().collect()));
            }
        }
    }

    /// The last report of each source that has reported.
    #[must_use]
    pub fn reports(&self) -> Vec<LoadReport> {
        let report = |source: &Source| {
            let (at, samples) = source.reported.as_ref()?;
            Some(LoadReport { pod: source.pod.clone(), at: *at, samples: Arc::clone(samples) })
        };
        self.sources.values().filter_map(report).collect()
    }
}

/// A map with keys that are no texts, as a list of pairs.
mod pairs {
    use super::{BTreeMap, Source};
    use serde::{Deserialize, Deserializer, Serializer};

    type Map = BTreeMap<Option<u32>, Source>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Vec::<(Option<u32>, Source)>::deserialize(deserializer).map(Map::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    fn run(recorder: &mut LoadRecorder, until: Time, replica: impl Fn(Time) -> bool) {
        while recorder.next() <= until {
            let now = recorder.next();
            if recorder.records_at(now) {
                let pod = replica(now).then(|| (Some((7, "web-7".to_owned())), Some(2.0)));
                recorder.record(now, [(None, Some(now.as_secs_f64()))].into_iter().chain(pod).collect());
            }
            recorder.push(now);
        }
    }

    #[test]
    fn a_report_stands_until_the_next_and_goes_back_as_far_as_it_should() {
        let times =
            LoadTimes { record: Span::from_millis(500), push: Span::from_secs(10), over: Span::from_secs(3) };
        let mut recorder = LoadRecorder::new(times, Time::ZERO, Span::from_millis(4_200));
        run(&mut recorder, at(14_100), |_| true);
        let reports = recorder.reports();
        assert_eq!(reports.len(), 2);
        assert_eq!((reports[0].pod.as_deref(), reports[0].at), (None, at(4_200)));
        assert_eq!(reports[1].pod.as_deref(), Some("web-7"));
        let instants: Vec<Time> = reports[0].samples.iter().map(|sample| sample.at).collect();
        assert_eq!(instants, [1_200, 1_700, 2_200, 2_700, 3_200, 3_700, 4_200].map(at));
        run(&mut recorder, at(14_200), |_| true);
        assert_eq!(recorder.reports()[0].at, at(14_200));
    }

    #[test]
    fn a_replica_that_is_gone_reports_nothing_and_one_that_came_has_to_report_first() {
        let second = Span::from_secs(1);
        let times = LoadTimes { record: second, push: second * 4, over: second * 4 };
        let mut recorder = LoadRecorder::new(times, Time::ZERO, Span::ZERO);
        run(&mut recorder, at(3_000), |now| now >= at(1_000));
        assert_eq!(recorder.reports().len(), 1);
        run(&mut recorder, at(4_000), |_| true);
        assert_eq!(recorder.reports()[1].samples.len(), 4);
        run(&mut recorder, at(5_000), |_| false);
        assert_eq!(recorder.reports().len(), 1);
    }
}

//! Signals that are PromQL queries, and the scraped history as a source of series for them.

use std::collections::BTreeMap;

use scaletwin_core::control::{CATALOGUE, Kind, signal};
use scaletwin_core::units::{Civil, Time};
use serde::Serialize;

use super::history::{History, SeriesKey};
use super::promql::{EvalError, Labels, Matcher, Point, Query, Sample, Samples, Series, Value};
use super::signals::{Per, Reduce, ScrapedSeries, TargetLabels, scraped_labels};

/// A signal that is the answer to a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuerySignal {
    /// The name that controllers use.
    pub name: String,
    /// The query.
    #[serde(serialize_with = "text")]
    pub query: Query,
    /// Of what it has one value: for `pod`, the series of the answer have the label `pod`.
    pub per: Per,
    /// How several series become one value; without it they stay several.
    pub reduce: Option<Reduce>,
}

fn text<S: serde::Serializer>(query: &Query, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(query.text())
}

impl QuerySignal {
    /// The answer at `now`: the values of its series, those with the label values `more` only, reduced if that is asked
    /// for.
    ///
    /// # Errors
    /// Those of the query.
    pub fn series(
        &self,
        scraped: &Scraped<'_>,
        more: &BTreeMap<String, String>,
        now: Time,
    ) -> Result<Vec<f64>, EvalError> {
        let fits = |sample: &Sample| more.iter().all(|(name, value)| sample.labels.get(name) == value);
        let samples = self.answer(scraped, now)?.into_iter().filter(fits);
        let values = samples.map(|sample| sample.value).collect();
        Ok(match self.reduce {
            None => values,
            Some(how) => how.of(values).into_iter().collect(),
        })
    }

    /// The answer at `now` for each pod by its name; several series of one pod are reduced, by their sum unless it says
    /// otherwise.
    ///
    /// # Errors
    /// Those of the query.
    pub fn by_pod(
        &self,
        scraped: &Scraped<'_>,
        more: &BTreeMap<String, String>,
        pods: &[String],
        now: Time,
    ) -> Result<Vec<Option<f64>>, EvalError> {
        let samples = self.answer(scraped, now)?;
        let fits = |sample: &&Sample| more.iter().all(|(name, value)| sample.labels.get(name) == value);
        let of = |pod: &String| {
            let own = samples.iter().filter(fits).filter(|sample| sample.labels.get("pod") == pod);
            self.reduce.unwrap_or(Reduce::Sum).of(own.map(|sample| sample.value).collect())
        };
        Ok(pods.iter().map(of).collect())
    }

    fn answer(&self, scraped: &Scraped<'_>, now: Time) -> Result<Vec<Sample>, EvalError> {
        match self.query.evaluate(scraped, scraped.millis(now))? {
            Value::Vector(vector) => Ok(vector),
            Value::Scalar(value) => Ok(vec![Sample { labels: Labels::default(), value }]),
            Value::Matrix(_) | Value::Text(_) => {
                unreachable!("a signal is a scalar or a vector: it is checked")
            }
        }
    }
}

/// The names of all series that exporters can show.
#[must_use]
pub fn series_names() -> Vec<String> {
    let names = |signal: &scaletwin_core::control::Signal| match signal.kind {
        Kind::Histogram(_) => {
            ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", signal.name)).to_vec()
        }
        _ => vec![signal.name.to_owned()],
    };
    CATALOGUE.iter().flat_map(names).collect()
}

/// The series that a selector with these matchers can find, by their names.
#[must_use]
pub fn names_found(matchers: &[Matcher]) -> Vec<String> {
    let fits = |name: &String| {
        matchers.iter().filter(|matcher| matcher.name == "__name__").all(|matcher| matcher.fits_value(name))
    };
    series_names().into_iter().filter(fits).collect()
}

/// What was scraped, as Prometheus holds it: with the series of pods that are gone.
#[derive(Debug, Clone, Copy)]
pub struct Scraped<'a> {
    /// The series that are scraped.
    pub series: &'a [ScrapedSeries],
    /// Their samples.
    pub history: &'a History,
    /// What is scraped now.
    pub targets: &'a [TargetLabels],
    /// The civil instant of t = 0.
    pub start: Civil,
}

impl Scraped<'_> {
    /// An instant in ms since 1970, as Prometheus keeps it.
    fn millis(&self, at: Time) -> i64 {
        self.start.at(at).as_unix_nanos().div_euclid(1_000_000)
    }

    /// The series of one target with these matchers.
    fn of_target(&self, target: &TargetLabels, matchers: &[Matcher], from: i64, to: i64) -> Vec<Series> {
        let ended = self.history.ended_at(target.subject).map(|at| self.millis(at));
        let mut found = Vec::new();
        for (key, samples) in self.history.series_of(target.subject) {
            let Some(labels) = self.labels(key, target, matchers) else { continue };
            let points =
                samples.iter().map(|(at, value)| Point { at: self.millis(*at), value: Some(*value) });
            let end = ended.map(|at| Point { at, value: None });
            let points = points.filter(|point| Some(point.at) != ended).chain(end);
            let points: Vec<Point> = points.filter(|point| point.at >= from && point.at <= to).collect();
            if !points.is_empty() {
                found.push(Series { labels, points });
            }
        }
        found
    }

    /// The labels of a series, if they fit: its own, those that the scrape adds to all, and of the others of its target
    /// those that the catalogue gives it.
    fn labels(&self, key: SeriesKey, target: &TargetLabels, matchers: &[Matcher]) -> Option<Labels> {
        let series = self.series.get(usize::from(key.series))?;
        let own = series.variants.get(usize::from(key.variant))?;
        let known = signal(&series.name)?;
        let has = |name: &str| scraped_labels(known.scope).contains(&name) || known.labels.contains(&name);
        let of_target = || target.labels.iter().filter(|(name, _)| has(name));
        let value = |label: &str| {
            let mut all = own.iter().chain(of_target());
            all.find(|(name, _)| name == label).map_or("", |(_, value)| value.as_str())
        };
        let fits = |matcher: &Matcher| match matcher.name.as_str() {
            "__name__" => matcher.fits_value(&series.name),
            label => matcher.fits_value(value(label)),
        };
        if !matchers.iter().all(fits) {
            return None;
        }
        let others = own.iter().chain(of_target()).map(|(name, value)| (name.as_str(), value.as_str()));
        Some(Labels::new(others.chain([("__name__", series.name.as_str())])))
    }
}

impl Samples for Scraped<'_> {
    fn select(&self, matchers: &[Matcher], from: i64, to: i64) -> Vec<Series> {
        let targets = self.targets.iter().chain(self.history.ended());
        let mut found: Vec<Series> =
            targets.flat_map(|target| self.of_target(target, matchers, from, to)).collect();
        found.sort_by(|one, other| one.labels.cmp(&other.labels));
        found
    }
}

#[cfg(test)]
mod tests {
    use scaletwin_core::units::Span;

    use super::super::history::Subject;
    use super::super::promql::PrometheusVersion;
    use super::*;

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    fn target(pod: u32) -> TargetLabels {
        let labels = [("pod", format!("main-{pod}")), ("model_name", "m".to_owned())];
        let labels = labels.map(|(name, value)| (name.to_owned(), value)).to_vec();
        TargetLabels { subject: Subject::Replica(pod), labels }
    }

    /// Two pods that are scraped every 15 s; the second is gone at 100 s.
    fn history() -> History {
        let mut history = History::new(Span::from_secs(60), Span::ZERO);
        for step in 0..20 {
            for pod in 0..2u32 {
                if pod == 0 || step * 15 < 100 {
                    let key = SeriesKey { subject: Subject::Replica(pod), series: 0, variant: 0 };
                    history.push(key, at(step * 15), f64::from(pod + 1));
                }
            }
            if step == 6 {
                history.end(target(1), at(100));
            }
        }
        history
    }

    fn answers(query: &str, now: u64) -> Vec<f64> {
        let name = "envoy_cluster_upstream_rq_active";
        let series =
            [ScrapedSeries { name: name.to_owned(), variants: super::super::exporter::variants(name) }];
        let (history, targets) = (history(), [target(0)]);
        let start = Civil::DEFAULT_START;
        let scraped = Scraped { series: &series, history: &history, targets: &targets, start };
        let query = Query::new(query, PrometheusVersion::V3).expect("it is right");
        let signal = QuerySignal { name: "s".to_owned(), query, per: Per::Deployment, reduce: None };
        signal.series(&scraped, &BTreeMap::new(), at(now)).expect("it has an answer")
    }

    #[test]
    fn a_pod_that_is_gone_stays_in_ranges_until_it_is_too_old() {
        let name = "envoy_cluster_upstream_rq_active";
        assert_eq!(answers(&format!("sum({name})"), 99), [3.0]);
        assert_eq!(answers(&format!("sum({name})"), 100), [1.0]);
        assert_eq!(answers(&format!("count(max_over_time({name}[1m]))"), 120), [2.0]);
        assert_eq!(answers(&format!("count(max_over_time({name}[1m]))"), 150), [1.0]);
        assert_eq!(answers(&format!("{name}{{pod=\"main-1\"}} or vector(9)"), 150), [9.0]);
    }

    #[test]
    fn only_series_of_servers_carry_the_model() {
        let name = "envoy_cluster_upstream_rq_active";
        assert_eq!(answers(&format!("count({name}{{model_name=\"\"}})"), 60), [2.0]);
        assert_eq!(answers(&format!("count({name}{{envoy_cluster_name=\"inbound|8000||\"}})"), 60), [2.0]);
    }

    #[test]
    fn time_is_civil() {
        assert_eq!(answers("time()", 5), [1_704_067_205.0]);
        let name = "envoy_cluster_upstream_rq_active";
        assert_eq!(answers(&format!("timestamp({name}{{pod=\"main-0\"}})"), 50), [1_704_067_245.0]);
    }

    #[test]
    fn names_of_the_catalogue_are_found_by_patterns() {
        let query = Query::new("{__name__=~\"vllm:e2e_.*_(sum|count)\"}", PrometheusVersion::V3);
        let query = query.expect("it is right");
        let found: Vec<String> = query.selectors().into_iter().flat_map(names_found).collect();
        let both = ["vllm:e2e_request_latency_seconds_sum", "vllm:e2e_request_latency_seconds_count"];
        assert_eq!(found, both);
    }
}

//! The names under `signals:` and how they are worked out from scraped series.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::control::{SignalScope, signal};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::history::{History, Subject};
use super::queries::QuerySignal;

scaletwin_core::names! {
    /// Of what a signal has one value.
    pub enum Per {
        /// Of each pod.
        Pod = "pod",
        /// Of all pods that match, together.
        Deployment = "deployment",
    }
}

scaletwin_core::names! {
    /// How several series become one value.
    pub enum Reduce {
        /// Their sum.
        Sum = "sum",
        /// Their mean.
        Avg = "avg",
        /// The largest.
        Max = "max",
    }
}

/// A signal: a metric name that a controller uses, and the series behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SignalSettings {
    /// The name that controllers use.
    pub name: String,
    /// The series, by its real name.
    pub series: String,
    /// Labels that must match, all of them.
    pub matches: BTreeMap<String, String>,
    /// Of what it has one value.
    pub per: Per,
    /// How several series become one value.
    pub reduce: Reduce,
    /// Its rate per second over this time, instead of its value.
    pub rate_over: Option<Span>,
}

/// How series are scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScrapeSettings {
    /// From one scrape of a target to the next.
    pub interval: Span,
    /// How old what is seen is besides.
    pub lag: Span,
}

/// A series that is scraped, with the labels of each of its label sets.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapedSeries {
    /// Its real name.
    pub name: String,
    /// Its own labels, by variant.
    pub variants: Vec<Vec<(String, String)>>,
}

/// The labels that a scrape adds to the series of a target of this scope.
#[must_use]
pub const fn scraped_labels(scope: SignalScope) -> &'static [&'static str] {
    match scope {
        SignalScope::Replica => &["namespace", "service", "deployment", "pod"],
        SignalScope::Deployment => &["namespace", "service", "deployment"],
        SignalScope::Service => &["namespace", "service"],
    }
}

/// The labels that the scrape adds to the series of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetLabels {
    /// What the labels are of.
    pub subject: Subject,
    /// The labels: those of [`scraped_labels`], and what series of some exporters say besides, such as the model.
    pub labels: Vec<(String, String)>,
}

/// The series that are scraped, and what has been seen of them.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalBoard {
    signals: Vec<SignalSettings>,
    queries: Vec<QuerySignal>,
    series: Vec<ScrapedSeries>,
    /// The labels that the catalogue gives these series.
    labels: BTreeSet<&'static str>,
    lag: Span,
}

impl SignalBoard {
    /// A board for these signals, which need these series.
    #[must_use]
    pub fn new(signals: Vec<SignalSettings>, series: Vec<ScrapedSeries>, lag: Span) -> SignalBoard {
        let known = series.iter().filter_map(|series| signal(&series.name));
        let labels: BTreeSet<&str> = known.flat_map(|signal| signal.labels.iter().copied()).collect();
        SignalBoard { signals, queries: Vec::new(), series, labels, lag }
    }

    /// Whether a series that is scraped has this label, besides those that the scrape adds to all.
    #[must_use]
    pub fn says(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// The board with queries besides, which need no further series.
    #[must_use]
    pub fn with_queries(self, queries: Vec<QuerySignal>) -> SignalBoard {
        SignalBoard { queries, ..self }
    }

    /// The query of this name.
    #[must_use]
    pub fn find_query(&self, name: &str) -> Option<&QuerySignal> {
        self.queries.iter().find(|query| query.name == name)
    }

    /// Whether any signal is a query.
    #[must_use]
    pub fn has_queries(&self) -> bool {
        !self.queries.is_empty()
    }

    /// How old what is seen is.
    #[must_use]
    pub fn lag(&self) -> Span {
        self.lag
    }

    /// The series that are scraped.
    #[must_use]
    pub fn series(&self) -> &[ScrapedSeries] {
        &self.series
    }

    /// The longest range that a signal looks at.
    #[must_use]
    pub fn range(&self) -> Span {
        let reach =
            |query: &QuerySignal| Span::from_millis(query.query.reach().unwrap_or(u64::MAX / 1_000_000));
        let rates = self.signals.iter().filter_map(|signal| signal.rate_over);
        rates.chain(self.queries.iter().map(reach)).max().unwrap_or(Span::ZERO)
    }

    /// The signal of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&SignalSettings> {
        self.signals.iter().find(|signal| signal.name == name)
    }

    /// The value of a signal for each of `targets` at `now`, with further labels to match.
    #[must_use]
    pub fn by_target(
        &self,
        signal: &SignalSettings,
        more: &BTreeMap<String, String>,
        targets: &[TargetLabels],
        history: &History,
        now: Time,
    ) -> Vec<Option<f64>> {
        let of = |target| signal.reduce.of(self.values(signal, more, target, history, now));
        targets.iter().map(of).collect()
    }

    /// The value of a signal over all of `targets` together.
    #[must_use]
    pub fn over_targets(
        &self,
        signal: &SignalSettings,
        more: &BTreeMap<String, String>,
        targets: &[TargetLabels],
        history: &History,
        now: Time,
    ) -> Option<f64> {
        let all = targets.iter().flat_map(|target| self.values(signal, more, target, history, now));
        signal.reduce.of(all.collect())
    }

    fn values(
        &self,
        signal: &SignalSettings,
        more: &BTreeMap<String, String>,
        target: &TargetLabels,
        history: &History,
        now: Time,
    ) -> Vec<f64> {
        let Some(place) = self.series.iter().position(|series| series.name == signal.series) else {
            return Vec::new();
        };
        let Some(seen) = now.checked_sub(self.lag) else { return Vec::new() };
        let variants = &self.series[place].variants;
        let fits = |variant: u16| {
            let own = variants.get(usize::from(variant)).map_or(&[][..], Vec::as_slice);
            let label = |name: &str| own.iter().chain(&target.labels).find(|(known, _)| known == name);
            let holds =
                |(name, value): (&String, &String)| label(name).is_some_and(|(_, found)| found == value);
            signal.matches.iter().all(holds) && more.iter().all(holds)
        };
        let series = u16::try_from(place).expect("few series are scraped");
        let keep = |(variant, value): (u16, f64)| fits(variant).then_some(value);
        match signal.rate_over {
            Some(range) => history.rate(target.subject, series, seen, range).filter_map(keep).collect(),
            None => history.instant(target.subject, series, seen).filter_map(keep).collect(),
        }
    }
}

impl Reduce {
    /// The values as one; nothing of none.
    #[must_use]
    pub fn of(self, values: Vec<f64>) -> Option<f64> {
        let count = values.len() as f64;
        match self {
            _ if values.is_empty() => None,
            Reduce::Sum => Some(values.iter().sum()),
            Reduce::Avg => Some(values.iter().sum::<f64>() / count),
            Reduce::Max => values.into_iter().reduce(f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::history::SeriesKey;

    fn signal(per: Per, reduce: Reduce, rate_over: Option<Span>) -> SignalSettings {
        SignalSettings {
            name: "s".into(),
            series: "x_total".into(),
            matches: BTreeMap::from([("reason".to_owned(), "stop".to_owned())]),
            per,
            reduce,
            rate_over,
        }
    }

    fn board(signal: SignalSettings, lag: u64) -> SignalBoard {
        let variant = |reason: &str| vec![("reason".to_owned(), reason.to_owned())];
        let series =
            ScrapedSeries { name: "x_total".into(), variants: vec![variant("stop"), variant("abort")] };
        SignalBoard::new(vec![signal], vec![series], Span::from_secs(lag))
    }

    fn targets() -> Vec<TargetLabels> {
        let of = |pod: u32| TargetLabels {
            subject: Subject::Replica(pod),
            labels: vec![("pod".to_owned(), format!("main-{pod}"))],
        };
        (0..3).map(of).collect()
    }

    fn history() -> History {
        let mut history = History::new(Span::from_secs(60), Span::from_secs(60));
        for pod in 0..2 {
            for variant in 0..2 {
                for step in 0..9u32 {
                    let key = SeriesKey { subject: Subject::Replica(pod), series: 0, variant };
                    let value = f64::from(100 + step * 30 * (pod + 1)) + f64::from(variant) * 1e6;
                    history.push(key, Time::ZERO + Span::from_secs(u64::from(step) * 15), value);
                }
            }
        }
        history
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    #[test]
    fn matching_series_are_reduced_per_pod_and_over_all() {
        let none = BTreeMap::new();
        let board = board(signal(Per::Pod, Reduce::Sum, None), 0);
        let of = board.find("s").unwrap();
        let (history, targets) = (history(), targets());
        assert_eq!(board.by_target(of, &none, &targets, &history, at(121)), [Some(340.0), Some(580.0), None]);
        assert_eq!(board.over_targets(of, &none, &targets, &history, at(121)), Some(920.0));
        let one = BTreeMap::from([("pod".to_owned(), "main-1".to_owned())]);
        assert_eq!(board.over_targets(of, &one, &targets, &history, at(121)), Some(580.0));
    }

    #[test]
    fn lag_hides_the_latest_and_rates_are_per_second() {
        let none = BTreeMap::new();
        let lagging = board(signal(Per::Pod, Reduce::Max, None), 20);
        let of = lagging.find("s").unwrap();
        assert_eq!(lagging.by_target(of, &none, &targets()[..1], &history(), at(121)), [Some(280.0)]);
        let rates = board(signal(Per::Deployment, Reduce::Avg, Some(Span::from_secs(60))), 0);
        let of = rates.find("s").unwrap();
        assert_eq!(rates.over_targets(of, &none, &targets(), &history(), at(120)), Some(3.0));
    }
}

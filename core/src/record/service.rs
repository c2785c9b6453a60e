//! The meter of one service: every request passes it twice, when it arrives and when it has ended.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::priority::{Class, Priorities};
use super::{
    BagDigest, Finished, Histogram, LatencyMetric, LatencySummary, ObjectiveResult, Outcome, OutcomeCounts,
    PrioritySummary, Slo, Window,
};
use crate::units::{Femtos, Span, Time};

/// What a meter has to know of its service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSettings {
    /// Its name.
    pub name: String,
    /// Its objectives.
    pub slo: Slo,
    /// Whether its engines produce tokens: TTFT, ITL and TPOT apply.
    pub has_tokens: bool,
}

/// Counts and latencies of one service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceMeter {
    settings: ServiceSettings,
    /// Requests that arrive before this do not count.
    measured_from: Time,
    window: Span,
    counts: OutcomeCounts,
    /// Requests that arrived during the warm-up, and how many of them have ended.
    warm_up: (u64, u64),
    good: u64,
    itl: Histogram,
    /// The latencies of measured requests; those of whole windows are added when these close.
    latencies: Latencies,
    prompt_tokens: u64,
    output_tokens: u64,
    /// For each objective, how many were within its limit.
    within: Vec<u64>,
    /// The limits of single requests in nanoseconds: TTFT, TPOT, E2E, wait.
    limits: [u64; 4],
    open: Vec<OpenWindow>,
    closed: Vec<Window>,
    digest: BagDigest,
    priorities: Priorities,
    /// The sum of all times in the system: Little's law, with the warm-up.
    residence: u128,
}

/// A window whose requests have not all ended, or whose time is not over.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OpenWindow {
    start: Time,
    /// Whether all its requests count: it is not one of the warm-up.
    measured: bool,
    counts: OutcomeCounts,
    good: u64,
    latencies: Latencies,
    output_tokens: u64,
}

/// The latencies of completed requests, in nanoseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Latencies {
    ttft: Histogram,
    tpot: Histogram,
    e2e: Histogram,
    wait: Histogram,
}

impl Latencies {
    #[inline]
    fn add(&mut self, [ttft, tpot, e2e, wait]: [Option<u64>; 4]) {
        let Latencies { ttft: ttfts, tpot: tpots, e2e: e2es, wait: waits } = self;
        for (counts, value) in [(ttfts, ttft), (tpots, tpot), (e2es, e2e), (waits, wait)] {
            if let Some(value) = value {
                counts.add(value);
            }
        }
    }

    fn merge(&mut self, other: &Latencies) {
        self.ttft.merge(&other.ttft);
        self.tpot.merge(&other.tpot);
        self.e2e.merge(&other.e2e);
        self.wait.merge(&other.wait);
    }
}

impl OpenWindow {
    fn close(&self) -> Window {
        let Latencies { ttft, tpot, e2e, wait } = &self.latencies;
        let quantile =
            |counts: &Histogram, share: f64| counts.quantile(share).map(|value| value as f64 / 1e9);
        Window {
            start_seconds: self.start.as_secs_f64(),
            counts: self.counts,
            good: self.good,
            ttft_p50_seconds: quantile(ttft, 0.5),
            ttft_p95_seconds: quantile(ttft, 0.95),
            ttft_p99_seconds: quantile(ttft, 0.99),
            tpot_p95_seconds: quantile(tpot, 0.95),
            e2e_p50_seconds: quantile(e2e, 0.5),
            e2e_p95_seconds: quantile(e2e, 0.95),
            e2e_p99_seconds: quantile(e2e, 0.99),
            wait_p95_seconds: quantile(wait, 0.95),
            output_tokens: self.output_tokens,
        }
    }
}

impl ServiceMeter {
    /// A meter that counts requests that arrive from `measured_from` on, in windows of this length.
    ///
    /// # Panics
    /// When the window has no length.
    #[must_use]
    pub fn new(settings: ServiceSettings, measured_from: Time, window: Span) -> ServiceMeter {
        assert!(!window.is_zero(), "a window has a length");
        let limit = |metric| settings.slo.request_limit(metric).map_or(u64::MAX, Span::as_nanos);
        let limits =
            [LatencyMetric::Ttft, LatencyMetric::Tpot, LatencyMetric::E2e, LatencyMetric::Wait].map(limit);
        ServiceMeter {
            within: vec![0; settings.slo.objectives.len()],
            settings,
            measured_from,
            window,
            counts: OutcomeCounts::default(),
            warm_up: (0, 0),
            good: 0,
            itl: Histogram::default(),
            latencies: Latencies::default(),
            prompt_tokens: 0,
            output_tokens: 0,
            limits,
            open: Vec::new(),
            closed: Vec::new(),
            digest: BagDigest::default(),
            priorities: Priorities::default(),
            residence: 0,
        }
    }

    /// What it knows of its service.
    #[must_use]
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Counts an arrival at `now`. Arrivals come in the order of time.
    #[inline]
    pub fn arrived(&mut self, now: Time, retry: bool) {
        let retries = u64::from(retry);
        if now >= self.measured_from {
            self.counts.arrived += 1;
            self.counts.retries += retries;
        } else {
            self.warm_up.0 += 1;
        }
        let window = self.window_at(now);
        window.counts.arrived += 1;
        window.counts.retries += retries;
    }

    /// The window that `now`, not before any window that is open, lies in.
    #[inline]
    fn window_at(&mut self, now: Time) -> &mut OpenWindow {
        let fits = self.open.last().is_some_and(|last| now.since(last.start) < self.window);
        if !fits {
            self.open_window(now);
        }
        self.open.last_mut().expect("a window was opened")
    }

    #[cold]
    fn open_window(&mut self, now: Time) {
        let length = self.window.as_nanos();
        let start = Time::from_nanos(now.as_nanos() / length * length);
        self.close_before(start);
        self.open.push(OpenWindow {
            start,
            measured: start >= self.measured_from,
            counts: OutcomeCounts::default(),
            good: 0,
            latencies: Latencies::default(),
            output_tokens: 0,
        });
    }

    /// Closes the leading windows that end by `now` and have no request left.
    fn close_before(&mut self, now: Time) {
        let is_over = |window: &&OpenWindow| {
            window.start + self.window <= now && window.counts.ended() == window.counts.arrived
        };
        let over = self.open.iter().take_while(is_over).count();
        for window in self.open.drain(..over) {
            self.closed.push(window.close());
            if window.measured {
                self.latencies.merge(&window.latencies);
            }
        }
    }

    /// Counts a request that has ended.
    #[inline]
    pub fn ended(&mut self, request: &Finished) {
        self.digest.add([request.ended.as_nanos(), request.number << 3 | request.outcome as u64]);
        self.residence += u128::from(request.e2e().as_nanos());
        let [ttft, tpot, e2e, wait] = [request.ttft(), request.tpot(), Some(request.e2e()), request.wait()];
        let completed = request.outcome == Outcome::Completed;
        let values = [ttft, tpot, e2e, wait].map(|span| span.map(Span::as_nanos));
        let within = |(value, limit): (&Option<u64>, &u64)| value.is_none_or(|value| value <= *limit);
        let good = completed && (self.within.is_empty() || values.iter().zip(&self.limits).all(within));
        let measured = request.arrived >= self.measured_from;
        if measured && self.priorities.becomes_several(request) {
            self.priorities.begin(self.so_far());
        }
        let mut counted = false;
        if let Some(window) = self.open_window_of(request.arrived) {
            window.counts.count(request.outcome);
            window.good += u64::from(good);
            window.output_tokens += u64::from(request.output_tokens);
            if completed {
                window.latencies.add(values);
            }
            counted = window.measured;
        }
        if !measured {
            self.warm_up.1 += 1;
            return;
        }
        self.counts.count(request.outcome);
        self.good += u64::from(good);
        self.priorities.ended(request, good);
        self.prompt_tokens += u64::from(request.prompt_tokens);
        self.output_tokens += u64::from(request.output_tokens);
        if completed {
            if !counted {
                self.latencies.add(values);
            }
            self.count_within(values);
        }
    }

    /// What has been counted of all requests.
    #[cold]
    fn so_far(&self) -> Class {
        let (ttft, e2e) = (self.counted(LatencyMetric::Ttft), self.counted(LatencyMetric::E2e));
        Class {
            arrived: self.counts.ended(),
            completed: self.counts.completed,
            good: self.good,
            spoke: (ttft.count(), ttft.sum()),
            e2e: e2e.sum(),
        }
    }

    /// The open window in which a request arrived. Most have arrived in the last one or the one before.
    #[inline]
    fn open_window_of(&mut self, arrived: Time) -> Option<&mut OpenWindow> {
        self.open.iter_mut().rev().find(|window| window.start <= arrived)
    }

    #[inline]
    fn count_within(&mut self, [ttft, tpot, e2e, wait]: [Option<u64>; 4]) {
        for (within, objective) in self.within.iter_mut().zip(&self.settings.slo.objectives) {
            let value = match objective.metric {
                LatencyMetric::Ttft => ttft,
                LatencyMetric::Tpot => tpot,
                LatencyMetric::E2e => e2e,
                LatencyMetric::Wait => wait,
                LatencyMetric::Itl => continue,
            };
            *within += u64::from(value.is_none_or(|value| value <= objective.limit.as_nanos()));
        }
    }

    /// Counts gaps between tokens: `steps` gaps of `first`, `first + increase`, …, each of `sequences` sequences.
    pub fn gaps(&mut self, first: Femtos, increase: Femtos, steps: u64, sequences: u64) {
        self.itl.add_run(first.0, increase.0, steps, sequences);
        for (within, objective) in self.within.iter_mut().zip(&self.settings.slo.objectives) {
            if objective.metric == LatencyMetric::Itl {
                let limit = u128::from(objective.limit.as_nanos()) * 1_000_000;
                let room = u64::try_from(limit).unwrap_or(u64::MAX).checked_sub(first.0);
                let kept = match room {
                    None => 0,
                    Some(_) if increase.0 == 0 => steps,
                    Some(room) => (room / increase.0 + 1).min(steps),
                };
                *within += kept * sequences;
            }
        }
    }

    /// Requests that have arrived and not ended, the warm-up included.
    #[must_use]
    pub fn in_system(&self) -> u64 {
        self.counts.arrived - self.counts.ended() + self.warm_up.0 - self.warm_up.1
    }

    /// All arrivals, the warm-up included.
    #[must_use]
    pub fn all_arrived(&self) -> u64 {
        self.counts.arrived + self.warm_up.0
    }

    /// The sum of the times that all ended requests spent in the system, in nanoseconds.
    #[must_use]
    pub fn residence_nanos(&self) -> u128 {
        self.residence
    }

    /// Counts of requests that arrived after the warm-up.
    #[must_use]
    pub fn counts(&self) -> &OutcomeCounts {
        &self.counts
    }

    /// Requests that arrived during the warm-up.
    #[must_use]
    pub fn warm_up_arrived(&self) -> u64 {
        self.warm_up.0
    }

    /// Requests that completed within all limits.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.good
    }

    /// Tokens of all answers, as far as they came.
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        self.output_tokens
    }

    /// Tokens of all prompts.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens
    }

    /// The figures of each priority, if there are several.
    #[must_use]
    pub fn priorities(&self) -> Vec<PrioritySummary> {
        self.priorities.summary(!self.settings.slo.objectives.is_empty())
    }

    /// The digest of how and when each request ended.
    #[must_use]
    pub fn digest(&self) -> BagDigest {
        self.digest
    }

    /// The figures of a latency; `None` where the service has none of the kind.
    #[must_use]
    pub fn latency(&self, metric: LatencyMetric) -> Option<LatencySummary> {
        let needs_tokens = matches!(metric, LatencyMetric::Ttft | LatencyMetric::Itl | LatencyMetric::Tpot);
        if needs_tokens && !self.settings.has_tokens {
            return None;
        }
        let (counts, per_second) = (self.counted(metric), per_second(metric));
        let excluded = match metric {
            LatencyMetric::Itl => 0,
            _ => self.counts.ended() - counts.count(),
        };
        Some(LatencySummary::of(&counts, per_second, excluded))
    }

    fn counted(&self, metric: LatencyMetric) -> Cow<'_, Histogram> {
        let of: fn(&Latencies) -> &Histogram = match metric {
            LatencyMetric::Itl => return Cow::Borrowed(&self.itl),
            LatencyMetric::Ttft => |latencies| &latencies.ttft,
            LatencyMetric::Tpot => |latencies| &latencies.tpot,
            LatencyMetric::E2e => |latencies| &latencies.e2e,
            LatencyMetric::Wait => |latencies| &latencies.wait,
        };
        let mut all = of(&self.latencies).clone();
        for window in self.open.iter().filter(|window| window.measured) {
            all.merge(of(&window.latencies));
        }
        Cow::Owned(all)
    }

    /// What became of each objective.
    #[must_use]
    pub fn objectives(&self) -> Vec<ObjectiveResult> {
        let results = self.settings.slo.objectives.iter().zip(&self.within).map(|(objective, within)| {
            let counts = self.counted(objective.metric);
            let of = match objective.metric {
                LatencyMetric::Itl => counts.count(),
                _ => self.counts.arrived,
            };
            let share = (of > 0).then(|| *within as f64 / of as f64);
            ObjectiveResult {
                metric: objective.metric,
                quantile: objective.quantile,
                limit_seconds: objective.limit.as_secs_f64(),
                observed_seconds: counts
                    .quantile(objective.quantile)
                    .map(|value| value as f64 / per_second(objective.metric)),
                within_share: share,
                met: share.map(|share| share >= objective.quantile),
            }
        });
        results.collect()
    }

    /// All windows in order, those still open as they stand.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        self.closed.iter().cloned().chain(self.open.iter().map(OpenWindow::close)).collect()
    }
}

/// How many units of its histogram a second has.
fn per_second(metric: LatencyMetric) -> f64 {
    if metric == LatencyMetric::Itl { 1e15 } else { 1e9 }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "means of one value are exact")]
mod tests {
    use super::*;
    use crate::record::Objective;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    fn meter(objectives: Vec<Objective>) -> ServiceMeter {
        let settings = ServiceSettings { name: "s".into(), slo: Slo { objectives }, has_tokens: true };
        ServiceMeter::new(settings, at(1_000), Span::from_secs(60))
    }

    fn request(number: u64, arrived: u64, outcome: Outcome) -> Finished {
        Finished {
            number,
            arrived: at(arrived),
            started: Some(at(arrived + 100)),
            first_token: Some(at(arrived + 300)),
            ended: at(arrived + 1_300),
            prompt_tokens: 10,
            output_tokens: 11,
            priority: 0,
            outcome,
        }
    }

    #[test]
    fn latencies_are_those_of_the_glossary() {
        let mut meter = meter(Vec::new());
        meter.arrived(at(2_000), false);
        meter.ended(&request(0, 2_000, Outcome::Completed));
        let mean = |metric| meter.latency(metric).unwrap().mean.unwrap();
        assert_eq!(mean(LatencyMetric::Ttft), 0.3);
        assert_eq!(mean(LatencyMetric::Tpot), 0.1);
        assert_eq!(mean(LatencyMetric::E2e), 1.3);
        assert_eq!(mean(LatencyMetric::Wait), 0.1);
    }

    #[test]
    fn one_token_has_no_tpot() {
        let one = Finished { output_tokens: 1, ..request(0, 2_000, Outcome::Completed) };
        assert_eq!(one.tpot(), None);
    }

    #[test]
    fn what_did_not_complete_has_missed() {
        let objective = Objective { metric: LatencyMetric::E2e, quantile: 0.5, limit: Span::from_secs(2) };
        let mut meter = meter(vec![objective]);
        for (number, outcome) in (0..).zip([Outcome::Completed, Outcome::Rejected, Outcome::Failed]) {
            meter.arrived(at(2_000), false);
            meter.ended(&request(number, 2_000, outcome));
        }
        let result = meter.objectives()[0];
        assert_eq!((result.met, meter.good(), meter.counts().ended()), (Some(false), 1, 3));
        assert_eq!(meter.latency(LatencyMetric::E2e).unwrap().excluded, 2);
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let mut meter = meter(Vec::new());
        meter.arrived(at(10), false);
        meter.arrived(at(2_000), false);
        meter.ended(&request(0, 10, Outcome::Completed));
        assert_eq!((meter.counts().arrived, meter.warm_up_arrived(), meter.in_system()), (1, 1, 1));
    }

    #[test]
    fn a_looser_limit_never_lowers_attainment() {
        let attainment = |limit| {
            let objective =
                Objective { metric: LatencyMetric::E2e, quantile: 0.9, limit: Span::from_millis(limit) };
            let mut meter = meter(vec![objective]);
            for number in 0..50 {
                meter.arrived(at(2_000), false);
                let ended = at(2_000 + number * 37 % 1_000);
                meter.ended(&Finished { ended, ..request(number, 2_000, Outcome::Completed) });
            }
            meter.good()
        };
        assert!((0..40).map(|step| attainment(step * 50)).is_sorted());
    }

    #[test]
    fn gaps_within_the_limit_are_counted_in_runs() {
        let objective = Objective { metric: LatencyMetric::Itl, quantile: 0.9, limit: Span::from_millis(10) };
        let milli = 1_000_000_000_000;
        let mut meter = meter(vec![objective]);
        meter.gaps(Femtos(9 * milli), Femtos(milli / 2), 5, 3);
        assert_eq!(meter.objectives()[0].within_share, Some(0.6));
    }

    #[test]
    fn windows_close_when_their_requests_have_ended() {
        let mut meter = meter(Vec::new());
        for (number, arrived) in (0..).zip([1_000, 59_000, 61_000, 200_000]) {
            meter.arrived(at(arrived), false);
            if number != 1 {
                meter.ended(&request(number, arrived, Outcome::Completed));
            }
        }
        assert!(meter.closed.is_empty(), "the first window still has a request");
        meter.ended(&request(1, 59_000, Outcome::TimedOut));
        meter.arrived(at(300_000), false);
        let windows = meter.windows();
        let arrived: Vec<_> =
            windows.iter().map(|w| (w.start_seconds, w.counts.arrived, w.counts.completed)).collect();
        assert_eq!(arrived, [(0.0, 2, 1), (60.0, 1, 1), (180.0, 1, 1), (300.0, 1, 0)]);
    }
}

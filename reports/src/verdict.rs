//! The verdict of a run: whether its objectives are met, its worst window, and what was wrong then.

use scaletwin_core::record::{CapacityRow, LatencyMetric, RunRecord, Window};

/// The window in which the most requests missed.
#[derive(Debug, Clone, PartialEq)]
pub struct Worst<'a> {
    /// The window.
    pub window: &'a Window,
    /// The capacity during it.
    pub capacity: Option<&'a CapacityRow>,
    /// What was wrong.
    pub cause: Cause,
}

/// What was wrong in a window, as far as its figures tell. The first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Most of those that missed were refused.
    Refused,
    /// Most of those that missed lost their replica.
    Lost,
    /// Replicas that were wanted were not there yet: they waited for nodes, or started.
    CapacityOnItsWay,
    /// Requests waited for a place in a replica, and no more replicas were wanted.
    TooFewWanted,
    /// Requests were given up by their clients, without a long wait for service.
    GivenUp,
    /// No replica was asked for.
    NobodyWanted,
    /// The run ended first.
    CutOff,
    /// Service itself took long: long prompts, large batches, slow hardware.
    SlowService,
}

impl Cause {
    /// The cause in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Cause::Refused => {
                "requests were refused: no replica was ready, queues were full, or prompts too long"
            }
            Cause::Lost => "replicas went away with their requests",
            Cause::CapacityOnItsWay => "replicas that were asked for were not ready yet",
            Cause::TooFewWanted => "requests queued, and no more replicas were asked for",
            Cause::GivenUp => "requests were given up before they were done",
            Cause::NobodyWanted => "no replica was asked for",
            Cause::CutOff => "the run ended before they were done",
            Cause::SlowService => "service itself was slow",
        }
    }
}

/// Whether every objective of every service is met; `None` without any.
#[must_use]
pub fn met(record: &RunRecord) -> Option<bool> {
    let judged: Vec<bool> = record.summary.services.iter().filter_map(|service| service.slo.met).collect();
    (!judged.is_empty()).then(|| judged.iter().all(|met| *met))
}

/// The verdict in words.
#[must_use]
pub fn words(record: &RunRecord) -> &'static str {
    let objectives = record.summary.services.iter().flat_map(|service| &service.slo.objectives).count();
    match met(record) {
        Some(true) => "SLO met",
        Some(false) => "SLO missed",
        None if objectives == 0 => "no SLO was set",
        None => "no request arrived that could be judged",
    }
}

/// The worst window of a service after the warm-up; `None` if no request missed.
#[must_use]
pub fn worst(record: &RunRecord, service: usize) -> Option<Worst<'_>> {
    let from = record.summary.warm_up_seconds;
    let counted = record.windows[service].iter().filter(|window| window.start_seconds >= from);
    // The first of those in which the most requests missed.
    let missed = |window: &Window| window.counts.arrived - window.good;
    let window = counted.rev().max_by_key(|window| missed(window)).filter(|window| missed(window) > 0)?;
    let capacity = record
        .capacity
        .iter()
        .rfind(|row| row.service == service && row.start_seconds <= window.start_seconds);
    Some(Worst { window, capacity, cause: cause(record, service, window, capacity) })
}

fn cause(record: &RunRecord, service: usize, window: &Window, capacity: Option<&CapacityRow>) -> Cause {
    let missed = window.counts.arrived - window.good;
    let most = |part: u64| 2 * part > missed;
    if capacity.is_some_and(|row| row.replicas_wanted <= 0.0) {
        return Cause::NobodyWanted;
    }
    let starting = capacity.is_some_and(|row| row.replicas_ready < 0.9 * row.replicas_wanted);
    if most(window.counts.failed) {
        return Cause::Lost;
    }
    if starting {
        return Cause::CapacityOnItsWay;
    }
    if most(window.counts.rejected) {
        return Cause::Refused;
    }
    // A wait that alone uses up half of the tightest limit that begins with it.
    let objectives = &record.summary.services[service].slo.objectives;
    let limits = objectives.iter().filter(|objective| {
        matches!(objective.metric, LatencyMetric::Ttft | LatencyMetric::E2e | LatencyMetric::Wait)
    });
    let tightest = limits.map(|objective| objective.limit_seconds).fold(f64::INFINITY, f64::min);
    let waited = window.wait_p95_seconds.is_some_and(|wait| wait > 0.5 * tightest);
    match (waited, most(window.counts.timed_out + window.counts.aborted)) {
        (true, _) => Cause::TooFewWanted,
        (_, true) => Cause::GivenUp,
        _ if most(window.counts.unfinished) => Cause::CutOff,
        _ => Cause::SlowService,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::random::Seed;
    use scaletwin_core::record::ReplicaStates;
    use scaletwin_core::record::{
        Finished, FleetFigures, Objective, Outcome, Recorder, RecorderSettings, ServiceSettings, Slo,
    };
    use scaletwin_core::units::{Civil, Span, Time};

    fn record(outcomes: &[(u64, u64, Outcome)], wanted: f64, ready: f64) -> RunRecord {
        let limit = Span::from_secs(1);
        let objective = Objective { metric: LatencyMetric::E2e, quantile: 0.95, limit };
        let mut recorder = Recorder::new(RecorderSettings {
            scenario: "s".into(),
            seed: Seed(1),
            start: Civil::DEFAULT_START,
            warm_up: Span::ZERO,
            window: Span::from_secs(60),
            services: vec![ServiceSettings {
                name: "s".into(),
                slo: Slo { objectives: vec![objective] },
                has_tokens: false,
            }],
            waived: Vec::new(),
        });
        for (number, (arrived, waited, outcome)) in (0..).zip(outcomes) {
            let at = |seconds: u64| Time::ZERO + Span::from_secs(seconds);
            recorder.services[0].arrived(at(*arrived), false);
            recorder.services[0].ended(&Finished {
                number,
                arrived: at(*arrived),
                started: Some(at(arrived + waited)),
                first_token: None,
                ended: at(arrived + waited) + Span::from_millis(500),
                prompt_tokens: 1,
                output_tokens: 1,
                priority: 0,
                outcome: *outcome,
            });
        }
        for start in [0.0, 60.0] {
            recorder.capacity(CapacityRow {
                start_seconds: start,
                service: 0,
                replicas_wanted: wanted,
                replicas_ready: ready,
                states: ReplicaStates::default(),
                busy_share: None,
                kv_used_share: None,
                in_system: 0,
                waiting: 0,
                usd_per_hour: None,
            });
        }
        recorder.finish(Time::ZERO + Span::from_secs(120), FleetFigures::default())
    }

    #[test]
    fn the_worst_window_is_the_one_with_the_most_misses() {
        let done = Outcome::Completed;
        let record = record(&[(1, 0, done), (2, 9, done), (61, 9, done), (62, 9, done)], 1.0, 1.0);
        let worst = worst(&record, 0).unwrap();
        assert!((worst.window.start_seconds - 60.0).abs() < 1e-9);
        assert_eq!(worst.cause, Cause::TooFewWanted);
        assert_eq!(met(&record), Some(false));
    }

    #[test]
    fn causes_follow_from_outcomes_and_capacity() {
        let cause = |outcome, wanted, ready| {
            let record = record(&[(1, 0, outcome)], wanted, ready);
            worst(&record, 0).unwrap().cause
        };
        assert_eq!(cause(Outcome::Rejected, 1.0, 1.0), Cause::Refused);
        assert_eq!(cause(Outcome::Rejected, 4.0, 1.0), Cause::CapacityOnItsWay);
        assert_eq!(cause(Outcome::Failed, 4.0, 1.0), Cause::Lost);
        assert_eq!(cause(Outcome::TimedOut, 1.0, 1.0), Cause::GivenUp);
        assert_eq!(cause(Outcome::Unfinished, 1.0, 1.0), Cause::CutOff);
    }

    #[test]
    fn without_misses_there_is_no_worst_window() {
        assert_eq!(worst(&record(&[(1, 0, Outcome::Completed)], 1.0, 1.0), 0), None);
    }
}

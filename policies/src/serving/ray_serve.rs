//! The autoscaler of Ray Serve 2.60, equal to recorded decisions of its code.
//!
//! | module | part of Ray |
//! |---|---|
//! | [`metrics`] | series over time and their total: `serve/_private/metrics_utils` |
//! | [`mod@decide`] | the default policy with delays and bounds: `serve/autoscaling_policy.py` |
//! | [`spec`] | what a user sets: `serve/config.py` |
//! | [`manifest`] | Serve config files |
//!
//! and here the controller's loop: the handle in the proxy records twice a second how many requests it holds and how many it has
//! sent to each replica, and reports what it recorded; the controller looks ten times a second at the last report.

pub mod decide;
pub mod manifest;
pub mod metrics;
pub mod spec;

use std::collections::BTreeMap;
use std::sync::Arc;

use scaletwin_core::control::{
    Action, Cause, Decision, Load, LoadReport, MetricQuery, Needs, Observation, PodView, PokeKind, Policy,
    Reading, Reason, Schedule, State, StateMismatch, TargetName, TargetView, Values,
};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Civil, Span, Time};
use serde::{Deserialize, Serialize};

use decide::{Decided, Memory, decide};
use metrics::Point;
use spec::RaySettings;

/// From one record of a handle to the next, at most.
const RECORD: Span = Span::from_millis(500);

/// The autoscaler of one deployment.
#[derive(Debug, Clone)]
pub struct RayServe {
    target: TargetName,
    settings: RaySettings,
    schedule: Schedule,
    status: Status,
    /// The merged series of the last reports. It follows from them.
    merged: Option<Merged>,
}

/// What the controller remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Status {
    /// Whether the deployment has been registered, which sets its first target.
    registered: bool,
    /// The memory of the policy.
    memory: Option<Memory>,
    /// When the handle reported besides its interval, because there was no replica for a request.
    pushed: Option<Time>,
}

/// The merged series of some reports.
#[derive(Debug, Clone, PartialEq)]
struct Merged {
    of: Vec<(Option<Arc<str>>, Time)>,
    series: Vec<Point>,
    start: Option<f64>,
}

impl RayServe {
    /// The autoscaler of `target`, looking at these times.
    #[must_use]
    pub fn new(target: TargetName, settings: RaySettings, schedule: Schedule) -> RayServe {
        RayServe { target, settings, schedule, status: Status::default(), merged: None }
    }

    /// What it asks for.
    fn query(&self) -> MetricQuery {
        MetricQuery::Load {
            target: self.target.clone(),
            load: Load::Ongoing,
            record: RECORD.min(self.settings.metrics_interval),
            push: self.settings.metrics_interval,
            over: self.settings.look_back,
        }
    }

    /// The ongoing requests by the last reports on the handle's queue and on the replicas that run.
    fn ongoing(&mut self, reports: &[LoadReport], view: &TargetView, civil: Civil, start: Civil) -> f64 {
        let is_running = |name: &Arc<str>| view.pods.iter().any(|pod| runs(pod) && pod.name == *name);
        let counts = |report: &&LoadReport| report.pod.as_ref().is_none_or(is_running);
        // The queue comes last, as the controller adds it.
        let pods = reports.iter().filter(|report| report.pod.is_some()).filter(counts);
        let counted: Vec<&LoadReport> =
            pods.chain(reports.iter().filter(|report| report.pod.is_none())).collect();
        let of = counted.iter().map(|report| (report.pod.clone(), report.at)).collect();
        if self.merged.as_ref().is_none_or(|merged| merged.of != of) {
            let points = |report: &&LoadReport| {
                let samples = report.samples.iter();
                samples.map(|sample| (unix_seconds(start.at(sample.at)), sample.value.0)).collect()
            };
            let series: Vec<Vec<Point>> = counted.iter().map(points).collect();
            let merged = metrics::merge(&series);
            let start = metrics::window_start(&series, &merged);
            self.merged = Some(Merged { of, series: merged, start });
        }
        let merged = self.merged.as_ref().expect("it was merged just now");
        let now = unix_seconds(civil);
        let last = metrics::last_window(&merged.series, now);
        let value = |start| metrics::aggregate(&merged.series, self.settings.aggregation, start, last);
        merged.start.and_then(value).unwrap_or(0.0)
    }

    /// Whether this is a look of the controller's loop, and not only something that happened between two.
    fn looks(&self, seen: &Observation) -> bool {
        let since = seen.now.since(Time::ZERO + self.schedule.offset).as_nanos();
        let on_grid = self.schedule.period.is_some_and(|period| since.is_multiple_of(period.as_nanos()));
        seen.cause == Cause::Periodic || on_grid
    }

    fn reason(&self, code: &str, figures: BTreeMap<String, Exact>) -> Reason {
        Reason {
            target: Some(self.target.clone()),
            subject: "Autoscaling".into(),
            code: code.into(),
            figures,
            ..Reason::default()
        }
    }

    /// Why, when anything changed: the loop is far too fast to say the same each time.
    fn reasons(
        &self,
        before: Option<Memory>,
        view: &TargetView,
        decided: Decided,
        ongoing: f64,
    ) -> Vec<Reason> {
        let wants = |memory: Option<Memory>| memory.map_or(0, |memory| memory.counter.signum());
        let (was, is) = (wants(before), wants(self.status.memory));
        let code = match is {
            _ if decided.target > view.spec_replicas => "Upscaled",
            _ if decided.target < view.spec_replicas => "Downscaled",
            same if same == was => return Vec::new(),
            1 => "UpscaleDelayed",
            -1 => "DownscaleDelayed",
            _ => "OnTarget",
        };
        let figures = BTreeMap::from([
            ("ongoing_requests".to_owned(), Exact(ongoing)),
            ("running_replicas".to_owned(), Exact(f64::from(running(view)))),
            ("policy_replicas".to_owned(), Exact(decided.policy as f64)),
        ]);
        vec![self.reason(code, figures)]
    }
}

/// Whether a replica is running for the controller.
fn runs(pod: &PodView) -> bool {
    pod.is_ready() && !pod.deleted
}

fn running(view: &TargetView) -> i32 {
    i32::try_from(view.pods.iter().filter(|pod| runs(pod)).count()).unwrap_or(i32::MAX)
}

/// `time.time()`.
fn unix_seconds(at: Civil) -> f64 {
    at.as_unix_nanos() as f64 / 1e9
}

impl Policy for RayServe {
    fn needs(&self) -> Needs {
        let needs = Needs::of_replicas(&self.target, vec![self.query()], self.schedule);
        Needs { pokes: vec![PokeKind::RequestAtZero], ..needs }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(view) = seen.target(&self.target) else {
            return Decision::nothing(self.reason("NotSeen", BTreeMap::new()));
        };
        if matches!(seen.cause, Cause::Poke(_)) {
            self.status.pushed = Some(seen.now);
        }
        if !self.looks(seen) {
            return Decision::nothing(self.reason("HandleReported", BTreeMap::new()));
        }
        let Some(Reading::Known(Values::Load(reports))) = seen.metric(&self.query()) else {
            return Decision::nothing(self.reason("NoReports", BTreeMap::new()));
        };
        let settings = RaySettings {
            lower: view.bounds.min.unwrap_or(self.settings.lower),
            upper: view.bounds.max.unwrap_or(self.settings.upper),
            ..self.settings
        };
        let mut target = view.spec_replicas;
        if !std::mem::replace(&mut self.status.registered, true) {
            target = settings.bounded(i64::from(settings.initial.unwrap_or(target)));
        }
        let civil = seen.start.at(seen.now);
        let mut ongoing = self.ongoing(reports, view, civil, seen.start);
        let queue = reports.iter().find(|report| report.pod.is_none());
        if self.status.pushed.is_some_and(|pushed| queue.is_none_or(|queue| pushed >= queue.at)) {
            ongoing = ongoing.max(1.0);
        }
        let before = self.status.memory;
        let (now, running) = (unix_seconds(civil), running(view));
        let decided = decide(&settings, &mut self.status.memory, now, running, target, ongoing);
        let reasons = self.reasons(before, view, decided, ongoing);
        let action = (decided.target != view.spec_replicas)
            .then(|| Action::SetReplicas { target: self.target.clone(), replicas: decided.target });
        Decision { actions: action.into_iter().collect(), reasons, wake_at: None }
    }

    fn save(&self) -> State {
        State::of("ray-serve", 1, &self.status)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.status = state.read("ray-serve", 1)?;
        self.merged = None;
        Ok(())
    }
}

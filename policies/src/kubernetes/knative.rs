//! Knative's pod autoscaler (KPA), main of August 2026, equal to recorded decisions of its code.
//!
//! | module | part of Knative Serving |
//! |---|---|
//! | [`buckets`] | averages over time: `pkg/autoscaler/aggregation` |
//! | [`delay_window`] | the delay of scaling down: `pkg/autoscaler/aggregation/max` |
//! | [`scaler`] | the decision: `pkg/autoscaler/scaling` |
//! | [`pod_autoscaler`] | bounds and scaling to zero: `pkg/reconciler/autoscaling/kpa` |
//! | [`spec`] | what a user sets, with Knative's defaults and ranges |
//! | [`manifest`] | `serving.knative.dev/v1` |
//!
//! and here what joins them: samples of each second are collected, a decision is made every [`TICK`], or at once when a
//! request comes while it wants no pods, and the reconciler runs when something has changed or a time is over.

pub mod buckets;
pub mod delay_window;
pub mod manifest;
pub mod pod_autoscaler;
pub mod scaler;
pub mod spec;

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Cause, Decision, Load, LoadSample, MetricQuery, Needs, Observation, PokeKind, Policy, Reading,
    Reason, Schedule, State, StateMismatch, TargetName, TargetView, Values,
};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use pod_autoscaler::{Active, Look, PodAutoscaler, UNKNOWN};
use scaler::{Scaled, Scaler};
use spec::{KpaSettings, Metric};

/// From one decision to the next: Knative's `tickInterval`.
pub const TICK: Span = Span::from_secs(2);
/// From one scrape, and one report of the activator, to the next.
const SCRAPE: Span = Span::from_secs(1);

/// The autoscaler of one revision with its reconciler.
#[derive(Debug, Clone)]
pub struct Kpa {
    target: TargetName,
    settings: KpaSettings,
    schedule: Schedule,
    status: Option<Status>,
}

/// What it remembers: the autoscaler's memory, and the object's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Status {
    scaler: Scaler,
    autoscaler: PodAutoscaler,
    /// Up to when samples were taken in.
    collected: Option<Time>,
    /// When the activator last reported a first request at once, which it takes off its next report.
    reported: Option<Time>,
    /// The last decision; below 0 before the first.
    desired: i32,
    excess_burst_capacity: i32,
    /// What the reconciler saw last: ready and wanted pods.
    seen: Option<(i32, i32)>,
    /// When the reconciler wants to look again.
    again: Option<Time>,
}

impl Kpa {
    /// The autoscaler of `target`, deciding at these times, which are to be [`TICK`] apart.
    #[must_use]
    pub fn new(target: TargetName, settings: KpaSettings, schedule: Schedule) -> Kpa {
        Kpa { target, settings, schedule, status: None }
    }

    /// What it asks for.
    fn query(&self) -> MetricQuery {
        let load = match self.settings.metric {
            Metric::Concurrency => Load::AverageConcurrency,
            Metric::Rps => Load::Arrivals,
        };
        // Twice what it needs: a decision that comes late misses nothing.
        MetricQuery::Load { target: self.target.clone(), load, record: SCRAPE, push: SCRAPE, over: TICK * 2 }
    }

    /// Whether the ticker is due, and not only something else.
    fn ticks(&self, seen: &Observation) -> bool {
        let since = seen.now.since(Time::ZERO + self.schedule.offset).as_nanos();
        let on_grid = self.schedule.period.is_some_and(|period| since.is_multiple_of(period.as_nanos()));
        seen.cause == Cause::Periodic || on_grid
    }

    fn bounds(&self, view: &TargetView) -> (i32, i32) {
        let max = view.bounds.max.unwrap_or(self.settings.max_scale);
        (view.bounds.min.unwrap_or(self.settings.min_scale), max)
    }
}

impl Status {
    fn new(settings: &KpaSettings, now: Time, view: &TargetView) -> Status {
        let burst = settings.scaler.target_burst_capacity;
        let initial = f64::from(settings.initial_scale) * settings.scaler.total_value;
        let asleep = view.spec_replicas == 0 && settings.initial_scale <= 1;
        Status {
            scaler: Scaler::new(&settings.scaler, now, view.ready_replicas),
            autoscaler: PodAutoscaler::new(now, asleep),
            collected: None,
            reported: None,
            // It sleeps because nothing was wanted.
            desired: if asleep { 0 } else { UNKNOWN },
            excess_burst_capacity: crate::numerics::go::int32(if burst > 0.0 {
                initial - burst
            } else {
                burst
            }),
            seen: None,
            again: None,
        }
    }

    /// Takes in what was sampled since the last time; whether the activator had requests.
    fn collect(&mut self, seen: &Observation, samples: &[LoadSample]) -> bool {
        let mut busy = false;
        let new = |sample: &&LoadSample| self.collected.is_none_or(|until| sample.at > until);
        for sample in samples.iter().filter(new).copied().collect::<Vec<_>>() {
            self.collected = Some(sample.at);
            let early = self.reported.take().is_some_and(|at| sample.at.since(at) <= SCRAPE);
            let load = if early { (sample.value.0 - 1.0).max(0.0) } else { sample.value.0 };
            self.scaler.record(seen.start.at(sample.at), load);
            busy |= sample.value.0 > 0.0;
        }
        let known = busy || self.reported.is_some_and(|at| seen.now.since(at) <= SCRAPE);
        if matches!(seen.cause, Cause::Poke(_)) && !known {
            self.reported = Some(seen.now);
            self.scaler.record(seen.start.at(seen.now), 1.0);
            busy = true;
        }
        busy
    }

    /// Decides. Whether the reconciler has to know.
    fn tick(&mut self, settings: &KpaSettings, seen: &Observation, ready: i32) -> (Option<Scaled>, bool) {
        let civil = seen.start.at(seen.now);
        let Some(scaled) = self.scaler.scale(&settings.scaler, seen.now, civil, ready) else {
            return (None, false);
        };
        let sign = self.excess_burst_capacity < 0;
        let changed = self.desired != scaled.desired || sign != (scaled.excess_burst_capacity < 0);
        self.desired = scaled.desired;
        self.excess_burst_capacity = scaled.excess_burst_capacity;
        (Some(scaled), changed)
    }

    /// Runs the reconciler if there is a reason to; the new `spec.replicas`, if it changes.
    fn reconcile(
        &mut self,
        settings: &KpaSettings,
        now: Time,
        view: &TargetView,
        bounds: (i32, i32),
        changed: bool,
    ) -> Option<i32> {
        let counts = (view.ready_replicas, view.spec_replicas);
        let due = self.again.is_some_and(|at| at <= now);
        if !changed && !due && self.seen == Some(counts) {
            return None;
        }
        let look = Look {
            now,
            desired: self.desired,
            excess_burst_capacity: self.excess_burst_capacity,
            ready: view.ready_replicas,
            replicas: view.spec_replicas,
            bounds,
        };
        let ready_since = ready_since(view, self.autoscaler.enough(settings, bounds.0)).unwrap_or(now);
        let done = self.autoscaler.reconcile(settings, &look, ready_since);
        self.again = self.again.filter(|at| *at > now).into_iter().chain(done.again).min();
        self.seen = Some((view.ready_replicas, done.replicas.unwrap_or(view.spec_replicas)));
        done.replicas
    }
}

/// Since when so many pods are ready, if they are.
fn ready_since(view: &TargetView, enough: i32) -> Option<Time> {
    let ready = view.pods.iter().filter(|pod| pod.is_ready() && !pod.deleted);
    let mut since: Vec<Time> = ready.filter_map(|pod| pod.ready.map(|ready| ready.since)).collect();
    since.sort_unstable();
    since.get(usize::try_from(enough.max(1)).ok()? - 1).copied()
}

/// The samples of the target, which come from the gateway for all of it.
fn samples(reading: Option<&Reading<Values>>) -> Option<&[LoadSample]> {
    match reading? {
        Reading::Known(Values::Load(reports)) => {
            Some(reports.iter().find(|report| report.pod.is_none()).map_or(&[], |report| &report.samples))
        }
        _ => None,
    }
}

impl Policy for Kpa {
    fn needs(&self) -> Needs {
        let needs = Needs::of_replicas(&self.target, vec![self.query()], self.schedule);
        Needs { pokes: vec![PokeKind::RequestAtZero], ..needs }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let reason = |code: &str, detail: String| Reason {
            target: Some(self.target.clone()),
            subject: "Scale".into(),
            code: code.into(),
            detail,
            ..Reason::default()
        };
        let Some(view) = seen.target(&self.target) else {
            return Decision::nothing(reason("NotSeen", String::new()));
        };
        let reading = seen.metric(&self.query());
        let Some(samples) = samples(reading) else {
            let why = reading.and_then(|reading| reading.known().err());
            let detail = why.map_or_else(|| "the load was not given".into(), ToString::to_string);
            return Decision::nothing(reason("FailedScrape", detail));
        };
        let (ticks, bounds, settings) = (self.ticks(seen), self.bounds(view), &self.settings);
        let status = self.status.get_or_insert_with(|| Status::new(settings, seen.now, view));
        let ready = view.ready_replicas;
        let busy = status.collect(seen, samples);
        let asked = ticks || (busy && status.desired == 0);
        let (scaled, changed) = if asked { status.tick(settings, seen, ready) } else { (None, false) };
        let replicas = status.reconcile(settings, seen.now, view, bounds, changed);
        let action = replicas.map(|replicas| Action::SetReplicas { target: self.target.clone(), replicas });
        let mut reasons = vec![status.active_reason(&self.target)];
        if asked {
            reasons.insert(0, status.scale_reason(&self.target, scaled));
        }
        let wake_at = status.again.filter(|at| *at > seen.now);
        Decision { actions: action.into_iter().collect(), reasons, wake_at }
    }

    fn save(&self) -> State {
        State::of("knative", 1, &self.status)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.status = state.read("knative", 1)?;
        Ok(())
    }
}

impl Status {
    fn scale_reason(&self, target: &TargetName, scaled: Option<Scaled>) -> Reason {
        let code = match scaled {
            None => "NoData",
            Some(_) if self.scaler.is_panicking() => "Panic",
            Some(_) => "Stable",
        };
        let figures = scaled.map_or_else(BTreeMap::new, |scaled| {
            BTreeMap::from([
                ("desired_pods".to_owned(), Exact(f64::from(scaled.desired))),
                ("excess_burst_capacity".to_owned(), Exact(f64::from(scaled.excess_burst_capacity))),
                ("panic_average".to_owned(), Exact(scaled.panic)),
                ("stable_average".to_owned(), Exact(scaled.stable)),
            ])
        });
        Reason {
            target: Some(target.clone()),
            subject: "Scale".into(),
            holds: Some(scaled.is_some()),
            code: code.into(),
            figures,
            ..Reason::default()
        }
    }

    fn active_reason(&self, target: &TargetName) -> Reason {
        let active = self.autoscaler.active();
        Reason {
            target: Some(target.clone()),
            subject: "Active".into(),
            holds: match active {
                Active::Activating => None,
                active => Some(active == Active::Active),
            },
            code: active.code().into(),
            ..Reason::default()
        }
    }
}

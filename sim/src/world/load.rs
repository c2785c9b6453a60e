//! Load as it is reported to controllers that collect for themselves.

use scaletwin_core::control::{Load, LoadReport, MetricQuery};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use crate::engine::{Calendar, Phase};
use crate::scrape::load::{LoadRecorder, LoadTimes, SourceName};

/// The collection that answers one query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Collection {
    query: MetricQuery,
    /// The place of the deployment.
    deployment: u32,
    recorder: LoadRecorder,
    /// When it was last recorded, and what its service had counted by then.
    before: (Time, u128),
}

/// All collections of a run, by number; numbers are never used again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Collections {
    list: Vec<(u32, Collection)>,
    next: u32,
}

impl Collections {
    fn find(&mut self, number: u32) -> Option<&mut Collection> {
        self.list.iter_mut().find(|(known, _)| *known == number).map(|(_, collection)| collection)
    }

    /// The last reports on a query, if somebody collects for it.
    pub(super) fn answer(&self, query: &MetricQuery) -> Option<Vec<LoadReport>> {
        let found = self.list.iter().find(|(_, collection)| collection.query == *query);
        found.map(|(_, collection)| collection.recorder.reports())
    }
}

impl World {
    /// Begins to collect what the controllers ask for, and nothing else.
    pub(super) fn plan_collections(&mut self, calendar: &mut Calendar<Event>) {
        let mut queries: Vec<MetricQuery> =
            self.controllers.scopes().flat_map(|scope| scope.metrics).collect();
        queries.sort();
        queries.dedup();
        self.state.collections.list.clear();
        for query in queries {
            if let MetricQuery::Load { target, record, push, over, .. } = &query
                && let Some(deployment) = self.fleet.find_target(target)
            {
                let times = LoadTimes { record: *record, push: *push, over: *over };
                let luck = self.settings.seed.component(&format!("load/{target}"));
                let offset = Span::from_nanos(luck.entity(0).below(push.as_nanos()));
                let recorder = LoadRecorder::new(times, calendar.now(), offset);
                self.collect(query, deployment, recorder, calendar);
            }
        }
    }

    fn collect(
        &mut self,
        query: MetricQuery,
        deployment: usize,
        recorder: LoadRecorder,
        calendar: &mut Calendar<Event>,
    ) {
        let now = calendar.now();
        let before = (now, self.counted(&query, deployment, now));
        let number = self.state.collections.next;
        self.state.collections.next += 1;
        calendar.at(recorder.next(), Phase::Scrape, Event::Collect(number));
        let deployment = u32::try_from(deployment).expect("deployments are few");
        self.state.collections.list.push((number, Collection { query, deployment, recorder, before }));
    }

    /// Load is recorded or reported.
    pub(super) fn load_is_collected(&mut self, number: u32, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some(collection) = self.state.collections.find(number) else { return };
        if collection.recorder.records_at(now) {
            let (query, deployment) = (collection.query.clone(), collection.deployment as usize);
            let before = collection.before;
            let counted = self.counted(&query, deployment, now);
            let values = self.loads(&query, deployment, counted - before.1, now.since(before.0));
            let Some(collection) = self.state.collections.find(number) else { return };
            collection.before = (now, counted);
            collection.recorder.record(now, values);
        }
        let Some(collection) = self.state.collections.find(number) else { return };
        collection.recorder.push(now);
        calendar.at(collection.recorder.next(), Phase::Scrape, Event::Collect(number));
    }

    /// What a service has counted so far of what is asked: time spent by requests in nanoseconds, or arrivals.
    fn counted(&self, query: &MetricQuery, deployment: usize, now: Time) -> u128 {
        let service = &self.state.services[self.settings.deployments[deployment].settings.service];
        match query {
            MetricQuery::Load { load: Load::AverageConcurrency, .. } => service.population.integral(now),
            MetricQuery::Load { load: Load::Arrivals, .. } => u128::from(service.serial),
            _ => 0,
        }
    }

    /// What each source has now: the gateway, and each replica that takes requests or still has some.
    fn loads(
        &self,
        query: &MetricQuery,
        deployment: usize,
        counted: u128,
        span: Span,
    ) -> Vec<(SourceName, Option<f64>)> {
        let MetricQuery::Load { load, .. } = query else { return Vec::new() };
        let service = &self.state.services[self.settings.deployments[deployment].settings.service];
        // Without pods nobody is scraped, and an activator without requests reports nothing.
        let serves = || {
            let mut replicas = self.state.replicas.iter();
            replicas.any(|serving| serving.deployment as usize == deployment && serving.ready)
        };
        let heard = |value: f64| (value > 0.0 || serves()).then_some(value);
        match load {
            Load::AverageConcurrency => {
                let nanos = span.as_nanos();
                let average = if nanos == 0 {
                    service.population.value() as f64
                } else {
                    counted as f64 / nanos as f64
                };
                vec![(None, heard(average))]
            }
            Load::Arrivals => vec![(None, heard(counted as f64))],
            Load::Ongoing => {
                let replicas = self.state.replicas.iter().filter(|serving| {
                    serving.deployment as usize == deployment
                        && (serving.ready || serving.draining)
                        && serving.halted().is_none()
                });
                let of_replicas = replicas.filter_map(|serving| {
                    let name = self.fleet.replica_name(serving.id)?;
                    Some((Some((serving.id.0, name)), Some(serving.outstanding as f64)))
                });
                std::iter::once((None, Some(service.queue.len() as f64))).chain(of_replicas).collect()
            }
        }
    }
}

//! What controllers see and do: the simulated plant.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Admission, Applied, Bounds, Decision, Launch, MetricName, MetricQuery, Missing, Observation,
    Plant, PodValues, Point, Reading, Resource, Sample, Scope, TargetName, Values,
};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Span, Time};

use super::event::Event;
use super::settings::{DeploymentModel, EngineSettings};
use super::{World, WorldError};
use crate::cluster::entities::{NodeId, ReplicaId};
use crate::engine::{Calendar, Phase};
use crate::scrape::history::Subject;
use crate::scrape::promql::EvalError;
use crate::scrape::queries::Scraped;
use crate::scrape::signals::{Per, SignalSettings, TargetLabels};

/// The window that the HPA assumes for custom metrics without one.
const CUSTOM_WINDOW: Span = Span::from_secs(60);

/// Why the simulated plant cannot be asked: a controller names something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlantError {
    /// No such target.
    #[error("there is no scale target {0}")]
    NoTarget(TargetName),
}

/// The world as a plant, at an instant.
struct SimPlant<'a> {
    world: &'a mut World,
    calendar: &'a mut Calendar<Event>,
}

/// Labels by which series of some exporters call their service.
const SERVICE_LABELS: [&str; 6] =
    ["service_name", "kn_service_name", "inference_pool", "name", "ingress", "exported_service"];

impl World {
    /// Controllers are due.
    pub(super) fn control(&mut self, calendar: &mut Calendar<Event>) -> Result<(), WorldError> {
        let now = calendar.now();
        self.state.control = None;
        let mut controllers = self.take_controllers();
        let report = controllers.tick(now, &mut SimPlant { world: self, calendar });
        self.controllers = controllers;
        let report = report.map_err(|error| WorldError::Control { at: now, error: Box::new(error) })?;
        if let Some(report) = report {
            self.state.recorder.decisions.push(&report);
        }
        self.plan_control(calendar);
        Ok(())
    }

    fn target(&self, name: &TargetName) -> Result<usize, PlantError> {
        self.fleet.find_target(name).ok_or_else(|| PlantError::NoTarget(name.clone()))
    }

    /// The labels that the scrape adds to a replica's series.
    pub(super) fn labels_of(&self, id: ReplicaId) -> Option<TargetLabels> {
        let serving = self.state.replicas.get(id)?;
        let pod = self.fleet.replica_name(id)?;
        let mut labels = self.deployment_labels(serving.deployment as usize);
        if self.board.says("replica") {
            labels.push(("replica".to_owned(), pod.clone()));
        }
        labels.push(("pod".to_owned(), pod));
        Some(TargetLabels { subject: Subject::Replica(id.0), labels })
    }

    fn deployment_labels(&self, place: usize) -> Vec<(String, String)> {
        let DeploymentModel { settings, engine, .. } = &self.settings.deployments[place];
        let service = &self.settings.services[settings.service].name;
        let mut labels = vec![
            ("namespace".to_owned(), "default".to_owned()),
            ("service".to_owned(), service.clone()),
            ("deployment".to_owned(), settings.name.clone()),
        ];
        // Which series has which of these, its signal says.
        let mut add = |names: &[&str], value: &str| {
            let said = names.iter().filter(|name| self.board.says(name));
            labels.extend(said.map(|name| ((*name).to_owned(), value.to_owned())));
        };
        if let EngineSettings::Continuous { model, .. } | EngineSettings::Dynamic { model, .. } = engine {
            add(&["model_name", "model", "target_model_name"], model);
        }
        if let EngineSettings::Continuous { config, .. } = engine {
            add(&["num_gpu_blocks"], &config.num_gpu_blocks.to_string());
            add(&["block_size"], &config.block_size.to_string());
        }
        add(&SERVICE_LABELS, service);
        labels
    }

    /// All that is scraped: replicas in the order of their numbers, and the deployments.
    fn all_labels(&self) -> Vec<TargetLabels> {
        let gone = |id: ReplicaId| self.state.history.ended_at(Subject::Replica(id.0)).is_some();
        let shown = self.state.replicas.iter().filter(|one| one.halted().is_none() || !gone(one.id));
        let replicas = shown.filter_map(|serving| self.labels_of(serving.id));
        let deployments = (0..self.settings.deployments.len()).map(|place| {
            let mut labels = self.deployment_labels(place);
            // What WVA's series say of themselves.
            labels.push(("variant_name".to_owned(), self.settings.deployments[place].settings.name.clone()));
            labels.push(("exported_namespace".to_owned(), "default".to_owned()));
            let subject = Subject::Deployment(u32::try_from(place).expect("deployments are few"));
            TargetLabels { subject, labels }
        });
        replicas.chain(deployments).collect()
    }

    /// What queries are evaluated on at `now`, and the instant that they see.
    fn scraped<'a>(&'a self, targets: &'a [TargetLabels], now: Time) -> Result<(Scraped<'a>, Time), Missing> {
        let seen = now.checked_sub(self.board.lag()).ok_or(Missing::NoData)?;
        let (history, start) = (&self.state.history, self.settings.start);
        Ok((Scraped { series: self.board.series(), history, targets, start }, seen))
    }

    fn answer(&self, query: &MetricQuery, now: Time) -> Result<Reading<Values>, PlantError> {
        let values = match query {
            MetricQuery::Resource { target, resource, .. } => {
                self.resource_values(self.target(target)?, *resource).map(Values::Pods)
            }
            MetricQuery::Pods { target, metric } => {
                self.pod_values(self.target(target)?, metric, now).map(Values::Pods)
            }
            MetricQuery::PodSamples { target, metric } => {
                self.pod_points(self.target(target)?, metric, now).map(Values::Vector)
            }
            MetricQuery::Object { metric, .. } | MetricQuery::External { metric } => {
                self.series_values(metric, now).map(Values::Series)
            }
            MetricQuery::Signal { name } => {
                let metric = MetricName { name: name.clone(), selector: BTreeMap::new() };
                let point = |value| Point { labels: BTreeMap::new(), value: Exact(value), at: now };
                self.signal_values(&metric, now)
                    .map(|values| Values::Vector(values.into_iter().map(point).collect()))
            }
            MetricQuery::Load { .. } => {
                self.state.collections.answer(query).map(Values::Load).ok_or(Missing::Unbound)
            }
        };
        Ok(match values {
            Ok(values) => Reading::Known(values),
            Err(why) => Reading::Missing(why),
        })
    }

    /// The samples of the metrics-server for the pods of a target.
    fn resource_values(&self, place: usize, resource: Resource) -> Result<PodValues, Missing> {
        let server = &self.state.metrics_server;
        let sample = |id: u32| match resource {
            Resource::Cpu => server.cpu(id),
            Resource::Memory => server.memory(id),
            Resource::Gpu => None,
        };
        let by_pod: Vec<_> =
            self.fleet.replicas_of(place).iter().map(|replica| sample(replica.id.0)).collect();
        some(by_pod)
    }

    /// A signal for each pod of a target.
    fn pod_values(&self, place: usize, metric: &MetricName, now: Time) -> Result<PodValues, Missing> {
        let (_, values) = self.pod_floats(place, metric, now)?;
        let sample = |value: f64| Sample { milli: milli(value), at: now, window: CUSTOM_WINDOW };
        some(values.into_iter().map(|value| value.map(sample)).collect())
    }

    /// A signal for each pod of a target that has one, as floats.
    fn pod_points(&self, place: usize, metric: &MetricName, now: Time) -> Result<Vec<Point>, Missing> {
        let (labels, values) = self.pod_floats(place, metric, now)?;
        let point = |(target, value): (TargetLabels, Option<f64>)| {
            let labels = target.labels.into_iter().collect();
            value.map(|value| Point { labels, value: Exact(value), at: now })
        };
        let points: Vec<Point> = labels.into_iter().zip(values).filter_map(point).collect();
        if points.is_empty() { Err(Missing::NoData) } else { Ok(points) }
    }

    /// The labels of each pod of a target, and the value of a signal for it.
    fn pod_floats(
        &self,
        place: usize,
        metric: &MetricName,
        now: Time,
    ) -> Result<(Vec<TargetLabels>, Vec<Option<f64>>), Missing> {
        let replicas = self.fleet.replicas_of(place);
        let labels: Vec<TargetLabels> = replicas
            .iter()
            .map(|replica| {
                let none = TargetLabels { subject: Subject::Replica(replica.id.0), labels: Vec::new() };
                self.labels_of(replica.id).unwrap_or(none)
            })
            .collect();
        if let Some(query) = self.board.find_query(&metric.name) {
            let name = |id| self.fleet.replica_name(id).unwrap_or_default();
            let pods: Vec<String> = replicas.iter().map(|replica| name(replica.id)).collect();
            let all = self.all_labels();
            let (scraped, seen) = self.scraped(&all, now)?;
            let values = query.by_pod(&scraped, &metric.selector, &pods, seen).map_err(refused)?;
            return Ok((labels, values));
        }
        let signal = self.board.find(&metric.name).ok_or(Missing::Unbound)?;
        let values = self.board.by_target(signal, &metric.selector, &labels, &self.state.history, now);
        Ok((labels, values))
    }

    /// What controllers have published under a name, with labels that match.
    fn published(&self, metric: &MetricName) -> impl Iterator<Item = f64> {
        let fits = |labels: &BTreeMap<String, String>| {
            metric.selector.iter().all(|(label, value)| labels.get(label) == Some(value))
        };
        let named = self.state.published.iter().filter(|(name, ..)| *name == metric.name);
        named.filter(move |(_, labels, _)| fits(labels)).map(|(.., value)| *value)
    }

    /// What controllers have published under `series` about a deployment.
    pub(super) fn published_of(&self, series: &str, place: usize) -> Option<f64> {
        let DeploymentModel { settings, .. } = &self.settings.deployments[place];
        let service = &self.settings.services[settings.service].name;
        let about = [("service", service), ("variant_name", &settings.name)];
        let selector = about.map(|(label, value)| (label.to_owned(), value.clone())).into();
        self.published(&MetricName { name: series.to_owned(), selector }).next()
    }

    /// A signal as one series, or one a pod, in milli-units.
    fn series_values(&self, metric: &MetricName, now: Time) -> Result<Vec<Sample>, Missing> {
        let sample = |value: f64| Sample { milli: milli(value), at: now, window: CUSTOM_WINDOW };
        Ok(self.signal_values(metric, now)?.into_iter().map(sample).collect())
    }

    /// A signal as one value, or one a pod or series.
    fn signal_values(&self, metric: &MetricName, now: Time) -> Result<Vec<f64>, Missing> {
        let labels = self.all_labels();
        if let Some(query) = self.board.find_query(&metric.name) {
            let (scraped, seen) = self.scraped(&labels, now)?;
            let values = query.series(&scraped, &metric.selector, seen).map_err(refused)?;
            return if values.is_empty() { Err(Missing::NoData) } else { Ok(values) };
        }
        let Some(signal): Option<&SignalSettings> = self.board.find(&metric.name) else {
            let published: Vec<f64> = self.published(metric).collect();
            return if published.is_empty() { Err(Missing::Unbound) } else { Ok(published) };
        };
        let (more, history) = (&metric.selector, &self.state.history);
        let values: Vec<f64> = match signal.per {
            Per::Pod => {
                self.board.by_target(signal, more, &labels, history, now).into_iter().flatten().collect()
            }
            Per::Deployment => {
                self.board.over_targets(signal, more, &labels, history, now).into_iter().collect()
            }
        };
        if values.is_empty() { Err(Missing::NoData) } else { Ok(values) }
    }
}

/// A query that cannot be answered: whoever asks Prometheus gets its error.
fn refused(error: EvalError) -> Missing {
    Missing::Unreachable { detail: error.to_string() }
}

/// Values by pod, if there is any: an API without a value for any pod answers with nothing.
fn some(by_pod: Vec<Option<Sample>>) -> Result<PodValues, Missing> {
    if by_pod.iter().all(Option::is_none) {
        return Err(Missing::NoData);
    }
    Ok(PodValues { by_pod, unlisted: Vec::new() })
}

/// A float as milli-units, cut as the Prometheus adapter cuts it.
#[expect(clippy::cast_possible_truncation, reason = "saturating is what is wanted")]
fn milli(value: f64) -> i64 {
    (value * 1_000.0) as i64
}

impl Plant for SimPlant<'_> {
    type Error = PlantError;

    fn observe(&mut self, scope: &Scope) -> Result<Observation, PlantError> {
        let now = self.calendar.now();
        let world = &*self.world;
        let mut seen = Observation::at(now, world.settings.start);
        for target in &scope.targets {
            seen.targets.push(world.fleet.target_view(world.target(target)?));
        }
        for query in &scope.metrics {
            seen.metrics.push((query.clone(), world.answer(query, now)?));
        }
        if scope.nodes {
            seen.nodes = Some(world.fleet.nodes_view());
        }
        Ok(seen)
    }

    fn apply(&mut self, wanted: &Decision) -> Result<Applied, PlantError> {
        let mut applied = Applied::default();
        for action in &wanted.actions {
            match self.carry_out(action) {
                Ok(()) => applied.done.push(action.clone()),
                Err(why) => applied.refused.push((action.clone(), why)),
            }
        }
        if !applied.done.is_empty() {
            self.calendar.soon(Phase::Actuate, Event::Lifecycle);
        }
        Ok(applied)
    }
}

impl SimPlant<'_> {
    /// Does one action, or says why not.
    fn carry_out(&mut self, action: &Action) -> Result<(), String> {
        let world = &mut *self.world;
        match action {
            Action::SetReplicas { target, replicas } => {
                let place = world.target(target).map_err(|error| error.to_string())?;
                let before = world.fleet.wanted(place);
                world.state.deployments[place].note_scaled(before, *replicas);
                world.fleet.set_wanted(place, *replicas);
                Ok(())
            }
            Action::SetBounds { target, min, max } => {
                let place = world.target(target).map_err(|error| error.to_string())?;
                world.fleet.set_bounds(place, Bounds { min: *min, max: *max });
                Ok(())
            }
            Action::PublishSignal { name, labels, value } => {
                let published = &mut world.state.published;
                match published.iter_mut().find(|(known, with, _)| known == name && with == labels) {
                    Some((.., shown)) => *shown = *value,
                    None => published.push((name.clone(), labels.clone(), *value)),
                }
                Ok(())
            }
            Action::LaunchNodes(launch) => self.launch(launch).map(drop),
            Action::DrainNode { node, .. } => world.drain_node(node, self.calendar),
            Action::DeleteNode { node, .. } => world.delete_node(node, self.calendar),
            Action::SetAdmission { service, admission } => {
                let found = world.settings.services.iter().position(|known| known.name == *service);
                let place = found.ok_or_else(|| format!("there is no service {service}"))?;
                world.state.services[place].admission = *admission;
                Ok(())
            }
            Action::Hold { .. } => Ok(()),
            Action::SetRequests { target, container, requests } => {
                let place = world.target(target).map_err(|error| error.to_string())?;
                world.fleet.set_requests(place, container, requests)
            }
            Action::Evict { target, pod } => {
                let place = world.target(target).map_err(|error| error.to_string())?;
                world.evict_pod(place, pod, self.calendar)
            }
            Action::ReplaceNodes { launch, drain } => {
                for name in drain {
                    self.world.fleet.replicas_on(name)?;
                }
                let coming = self.launch(launch)?;
                self.world.replace_nodes(coming, drain)
            }
        }
    }

    /// Launches nodes. Gives their numbers.
    fn launch(&mut self, launch: &Launch) -> Result<Vec<NodeId>, String> {
        let found = self.world.fleet.find_pool(&launch.cluster, &launch.pool);
        let pool = found.ok_or_else(|| format!("there is no pool {}/{}", launch.cluster, launch.pool))?;
        let settings = self.world.fleet.pool(pool).1;
        if !launch.instance_types.is_empty() && !launch.instance_types.contains(&settings.instance_type) {
            return Err(format!("pool {} has only {}", launch.pool, settings.instance_type));
        }
        if launch.zone.as_ref().is_some_and(|zone| *zone != settings.zone) {
            return Err(format!("pool {} is in zone {}", launch.pool, settings.zone));
        }
        if launch.capacity_type.is_some_and(|capacity_type| capacity_type != settings.capacity_type) {
            return Err(format!("pool {} is {}", launch.pool, settings.capacity_type.name()));
        }
        self.world.fleet.check_room(pool, launch.count)?;
        let mut nodes = Vec::new();
        for launched in 0..launch.count {
            let node = self.world.launch_node(pool, self.calendar);
            nodes.push(node.map_err(|why| format!("launched {launched} of {}: {why}", launch.count))?);
        }
        Ok(nodes)
    }
}

/// What a service takes at the start.
pub(super) const OPEN: Admission = Admission::Admit;

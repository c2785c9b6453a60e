//! Policies: from controllers as written to controllers that can be built for a seed.

mod cloud;
mod composite;
mod guards;
mod keda;
mod nodes;
mod rules;
mod serving;

use scaletwin_core::control::{
    Controller, Controllers, Layering, LayeringError, MetricName, MetricQuery, ObjectName, Policy, Schedule,
    TargetName,
};
use scaletwin_core::input::{At, Node, Place, Problem, Problems, parse_documents};
use scaletwin_core::random::Seed;
use scaletwin_core::units::Span;
use scaletwin_policies::kubernetes::hpa::Hpa;
use scaletwin_policies::kubernetes::hpa::manifest::{self, ManifestHpa};
use scaletwin_policies::kubernetes::hpa::spec::{
    ControllerSettings, HpaSettings, HpaSpec, MetricSource, ResourceTarget,
};
use scaletwin_policies::kubernetes::knative::spec::{KpaSettings, KpaSpec, Revision, resolve};
use scaletwin_policies::kubernetes::knative::{self, Kpa};
use scaletwin_policies::kubernetes::manifest::{Coverage, FieldCoverage, documents as manifests, only};
use scaletwin_policies::kubernetes::vpa::{Allowed, Vpa};
use scaletwin_policies::registry::PolicySpec;
use scaletwin_policies::rules::fixed::{Fixed, FixedSpec};
use scaletwin_policies::rules::node_provisioner::{NodeProvisioner, NodeProvisionerSpec};
use scaletwin_policies::serving::aibrix::{Aibrix, AibrixSettings};
use scaletwin_policies::serving::dynamo::{Dynamo, DynamoSettings};
use scaletwin_policies::serving::ray_serve::spec::{RaySettings, RaySpec};
use scaletwin_policies::serving::ray_serve::{self, RayServe};
use scaletwin_policies::serving::wva::{Wva, WvaSettings};
use scaletwin_sim::cluster::settings::ClusterSettings;
use scaletwin_sim::scrape::queries::QuerySignal;
use scaletwin_sim::scrape::signals::{Per, SignalSettings};
use scaletwin_sim::world::settings::{DeploymentModel, ServiceModel};
use serde::Serialize;

use super::{PolicyText, choose, unknown};

/// What a policy can be about.
pub(super) struct Seen<'a> {
    pub clusters: &'a [ClusterSettings],
    pub services: &'a [ServiceModel],
    pub deployments: &'a [DeploymentModel],
    pub signals: &'a [SignalSettings],
    pub queries: &'a [QuerySignal],
}

/// A policy, checked.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct CheckedPolicy {
    controllers: Vec<CheckedController>,
    /// Controllers that work on the same by design, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guards: Vec<guards::Checked>,
    /// Manifest fields that were waived.
    pub waived: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct CheckedController {
    name: String,
    #[serde(skip)]
    place: Place,
    period: Span,
    /// The first look; `None`: drawn from the seed, below the period.
    offset: Option<Span>,
    kind: Kind,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Hpa { target: TargetName, settings: HpaSettings, controller: ControllerSettings },
    Knative { target: TargetName, settings: KpaSettings },
    RayServe { target: TargetName, settings: RaySettings },
    Vpa { target: TargetName, container: String, allowed: Allowed },
    Wva { settings: WvaSettings },
    Dynamo { target: TargetName, settings: DynamoSettings },
    Aibrix { target: TargetName, settings: AibrixSettings },
    Fixed { target: TargetName, replicas: i32 },
    NodeProvisioner { cluster: String, idle_timeout: Span },
    Keda(keda::Part),
    Rule(rules::Rule),
    Cloud(cloud::Cloud),
    Composite(composite::Parts),
    Nodes(nodes::CheckedNodes),
}

impl CheckedController {
    fn policy(&self, seed: Seed) -> Box<dyn Policy> {
        let luck =
            || seed.component(&format!("controller/{}", self.name)).entity(0).below(self.period.as_nanos());
        let offset = self.offset.unwrap_or_else(|| Span::from_nanos(luck()));
        let schedule = Schedule { period: Some(self.period), offset };
        match &self.kind {
            Kind::Hpa { target, settings, controller } => {
                Box::new(Hpa::new(target.clone(), settings.clone(), *controller, schedule))
            }
            Kind::Knative { target, settings } => Box::new(Kpa::new(target.clone(), *settings, schedule)),
            Kind::RayServe { target, settings } => {
                Box::new(RayServe::new(target.clone(), *settings, schedule))
            }
            Kind::Vpa { target, container, allowed } => {
                Box::new(Vpa::new(target.clone(), container.clone(), *allowed, schedule))
            }
            Kind::Wva { settings } => Box::new(Wva::new(settings.clone(), schedule)),
            Kind::Dynamo { target, settings } => {
                Box::new(Dynamo::new(target.clone(), settings.clone(), schedule))
            }
            Kind::Aibrix { target, settings } => {
                Box::new(Aibrix::new(target.clone(), settings.clone(), schedule))
            }
            Kind::Fixed { target, replicas } => Box::new(Fixed::new(target.clone(), *replicas, schedule)),
            Kind::NodeProvisioner { cluster, idle_timeout } => {
                Box::new(NodeProvisioner::new(cluster.clone(), schedule, *idle_timeout))
            }
            Kind::Keda(part) => part.policy(schedule),
            Kind::Rule(rule) => rule.policy(schedule),
            Kind::Cloud(cloud) => cloud.policy(schedule),
            Kind::Composite(parts) => parts.policy(schedule, seed),
            Kind::Nodes(checked) => checked.policy(schedule, seed),
        }
    }
}

impl CheckedPolicy {
    /// A controller, having noted what was waived in its manifest.
    fn take(&mut self, controller: CheckedController, waived: Vec<String>) -> CheckedController {
        self.waived.extend(waived);
        controller
    }

    /// Whether nothing scales.
    pub(super) fn is_empty(&self) -> bool {
        self.controllers.is_empty()
    }

    /// The controllers for a seed.
    pub(crate) fn build(&self, seed: Seed) -> Result<Controllers, LayeringError> {
        let build = |checked: &CheckedController| Controller {
            name: checked.name.clone(),
            policy: checked.policy(seed),
        };
        let mut layering = Layering::default();
        for stack in &self.layers {
            layering.declare(stack.iter().cloned());
        }
        let guards = self.guards.iter().map(guards::Checked::guard).collect();
        Controllers::new(self.controllers.iter().map(build).collect(), guards, &layering)
    }

    /// Whether a controller adds nodes to this cluster.
    pub(super) fn adds_nodes(&self, name: &str) -> bool {
        let adds = |kind: &Kind| match kind {
            Kind::NodeProvisioner { cluster, .. } => cluster == name,
            Kind::Nodes(checked) => checked.cluster() == name,
            // These are about replicas.
            _ => false,
        };
        self.controllers.iter().any(|controller| adds(&controller.kind))
    }

    /// Whether a controller adds the first replica of a target.
    pub(super) fn wakes(&self, target: &TargetName) -> bool {
        self.controllers.iter().any(|controller| controller.kind.wakes(target))
    }
}

impl Kind {
    fn wakes(&self, target: &TargetName) -> bool {
        match self {
            // It leaves a target at zero alone that it has not scaled to zero itself.
            Kind::Hpa { .. } => false,
            Kind::Knative { target: of, .. } | Kind::RayServe { target: of, .. } => of == target,
            // These look at pods, and there are none.
            Kind::Dynamo { .. } | Kind::Aibrix { .. } => false,
            // These change no number of replicas.
            Kind::Vpa { .. } | Kind::Wva { .. } => false,
            Kind::Fixed { target: of, replicas } => of == target && *replicas > 0,
            Kind::NodeProvisioner { .. } | Kind::Nodes(_) => false,
            Kind::Keda(part) => part.wakes(target),
            Kind::Rule(rule) => rule.wakes(target),
            Kind::Cloud(cloud) => cloud.wakes(target),
            Kind::Composite(parts) => parts.wakes(target),
        }
    }
}

pub(super) fn check(policy: &PolicyText<'_>, seen: &Seen<'_>, problems: &mut Problems) -> CheckedPolicy {
    let mut checked = CheckedPolicy::default();
    for written in &policy.spec.controllers {
        let controller = controller(written, policy, seen, &mut checked, problems);
        checked.controllers.extend(controller);
    }
    checked.guards = guards::guards(&policy.spec.guards, seen, problems);
    check_layers(&checked, problems);
    checked
}

/// One controller; those that are several add themselves.
fn controller(
    written: &At<PolicySpec>,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    checked: &mut CheckedPolicy,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let place = &written.place;
    match &written.value {
        PolicySpec::Hpa(spec) => hpa(spec, place, policy, seen, &mut checked.waived, problems),
        PolicySpec::Keda(spec) => {
            keda::keda(spec, place, policy, seen, checked, problems);
            None
        }
        PolicySpec::Knative(spec) => knative(spec, place, policy, seen, &mut checked.waived, problems),
        PolicySpec::RayServe(spec) => ray_serve(spec, place, policy, seen, &mut checked.waived, problems),
        PolicySpec::Vpa(spec) => serving::vpa(spec, place, seen, problems),
        PolicySpec::Wva(spec) => serving::wva(spec, place, seen, problems),
        PolicySpec::Dynamo(spec) => serving::dynamo(spec, place, seen, problems),
        PolicySpec::Aibrix(spec) => serving::aibrix(spec, place, seen, problems),
        PolicySpec::Fixed(spec) => fixed(spec, place, seen, problems),
        PolicySpec::AwsTargetTracking(spec) => cloud::target_tracking(spec, place, seen, problems),
        PolicySpec::AwsStepScaling(spec) => cloud::step_scaling(spec, place, seen, problems),
        PolicySpec::Oci(spec) => cloud::oci(spec, place, seen, problems),
        PolicySpec::Composite(spec) => composite::composite(spec, place, policy, seen, checked, problems),
        PolicySpec::Threshold(spec) => rules::threshold(spec, place, seen, problems),
        PolicySpec::Condition(spec) => rules::condition(spec, place, seen, problems),
        PolicySpec::Schedule(spec) => rules::schedule(spec, place, seen, problems),
        PolicySpec::Idle(spec) => rules::idle(spec, place, seen, problems),
        PolicySpec::NodeProvisioner(spec) => node_provisioner(spec, place, seen, problems),
        PolicySpec::ClusterAutoscaler(spec) => {
            let found = nodes::cluster_autoscaler(spec, place, policy, seen, problems);
            found.map(|(controller, waived)| checked.take(controller, waived))
        }
        PolicySpec::Karpenter(spec) => {
            let found = nodes::karpenter(spec, place, policy, seen, problems);
            found.map(|(controller, waived)| checked.take(controller, waived))
        }
    }
}

/// One writer for each number.
fn check_layers(checked: &CheckedPolicy, problems: &mut Problems) {
    if let Err(error) = checked.build(Seed(0)) {
        let of = |name: &str| checked.controllers.iter().rev().find(|controller| controller.name == name);
        let problem = match of(&error.second) {
            Some(second) => Problem::error(&second.place, error.to_string()),
            None => Problem::without_place(error.to_string()),
        };
        problems.push(problem.hint("remove one of them"));
    }
}

/// The target that is meant: `service/deployment`, or the service where it has one deployment.
fn target(written: &At<String>, seen: &Seen<'_>, problems: &mut Problems) -> Option<TargetName> {
    let names: Vec<&str> = seen.deployments.iter().map(|model| model.settings.target.as_str()).collect();
    if let Some(found) = names.iter().find(|name| **name == written.value) {
        return Some(TargetName::new(*found));
    }
    let of_service: Vec<&&str> =
        names.iter().filter(|name| name.split('/').next() == Some(written.value.as_str())).collect();
    match of_service.as_slice() {
        [one] => Some(TargetName::new(**one)),
        [] => {
            problems.push(unknown(&written.place, "scale target", written, &names));
            None
        }
        several => {
            let message = format!("service {} has {} deployments", written.value, several.len());
            let list: Vec<&str> = several.iter().map(|name| **name).collect();
            problems
                .push(Problem::error(&written.place, message).hint(format!("one of {}", list.join(", "))));
            None
        }
    }
}

fn fixed(
    spec: &FixedSpec,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let target = target(&spec.target, seen, problems)?;
    super::check_count(place, u64::from(spec.replicas.0), super::MOST, "replicas", problems);
    Some(CheckedController {
        name: format!("static/{target}"),
        place: place.clone(),
        period: Span::from_secs(15),
        offset: Some(spec.from),
        kind: Kind::Fixed { target, replicas: i32::try_from(spec.replicas.0).unwrap_or(i32::MAX) },
    })
}

fn node_provisioner(
    spec: &NodeProvisionerSpec,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let names: Vec<&str> = seen.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let cluster = names[choose("cluster", spec.cluster.as_ref(), place, &names, problems)?].to_owned();
    Some(CheckedController {
        name: format!("node-provisioner/{cluster}"),
        place: place.clone(),
        period: spec.period.0,
        offset: spec.offset,
        kind: Kind::NodeProvisioner { cluster, idle_timeout: spec.idle_timeout },
    })
}

fn hpa(
    spec: &HpaSpec,
    place: &Place,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let controller = spec.controller.settings();
    let mut named = None;
    let settings = match &spec.manifest {
        Some(path) => {
            spec.refuse_own_keys(problems);
            match read_manifest(spec, path, policy, &controller) {
                Ok((hpa, waivers)) => {
                    waived.extend(waivers);
                    named = Some(hpa.target);
                    Some(hpa.settings)
                }
                Err(more) => {
                    problems.extend(more);
                    None
                }
            }
        }
        None => {
            refuse_waivers(&spec.waive, place, problems);
            spec.check(&controller, problems)
        }
    };
    let target = target(&spec.target, seen, problems)?;
    let settings = settings?;
    check_named(named.as_ref(), &target, &spec.target.place, problems);
    check_metrics(&settings, &target, place, seen, problems);
    let most = u64::try_from(settings.max_replicas).unwrap_or(0);
    super::check_count(place, most, super::MOST, "replicas", problems);
    Some(CheckedController {
        name: format!("hpa/{target}"),
        place: place.clone(),
        period: spec.controller.sync_period.0,
        offset: spec.controller.offset,
        kind: Kind::Hpa { target, settings, controller },
    })
}

/// The one document of `kind`; of several, the one that scales the target.
fn of_target<'a>(
    documents: &'a [Node],
    kind: &str,
    target: &str,
    place: &Place,
) -> Result<&'a Node, Problem> {
    let name = target.rsplit('/').next();
    let scales = |node: &&Node| {
        let named = |key| node.get("spec")?.get("scaleTargetRef")?.get(key)?.as_text();
        node.get("kind").and_then(Node::as_text) == Some(kind) && named("name") == name
    };
    let all = manifests(documents);
    let found: Vec<&Node> = all.into_iter().filter(scales).collect();
    match found.as_slice() {
        [one] => Ok(one),
        _ => only(documents, kind, place),
    }
}

/// The settings of a manifest, and the fields that were waived in it.
fn read_manifest(
    spec: &HpaSpec,
    path: &At<String>,
    policy: &PolicyText<'_>,
    controller: &ControllerSettings,
) -> Result<(ManifestHpa, Vec<String>), Problems> {
    let documents = read_documents(path, policy)?;
    let node = of_target(&documents, "HorizontalPodAutoscaler", &spec.target, &path.place)?;
    let (hpa, coverage) = manifest::read(node, &spec.waive, controller)?;
    Ok((hpa, waivers(path, coverage)))
}

fn knative(
    spec: &KpaSpec,
    place: &Place,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let revision = match &spec.manifest {
        Some(path) => {
            spec.refuse_own_keys(problems);
            let read = read_revision(spec, path, policy);
            taken(read.map(|(revision, fields)| (revision, waivers(path, fields))), waived, problems)
        }
        None => {
            refuse_waivers(&spec.waive, place, problems);
            Some(spec.revision())
        }
    };
    let settings = revision.and_then(|revision| resolve(&revision, &spec.config, place, problems));
    let target = target(&spec.target, seen, problems)?;
    let settings = settings?;
    check_collected(&target, settings.may_sleep(), &spec.target.place, seen, problems);
    Some(CheckedController {
        name: format!("knative/{target}"),
        place: place.clone(),
        period: knative::TICK,
        offset: spec.offset,
        kind: Kind::Knative { target, settings },
    })
}

fn read_revision(
    spec: &KpaSpec,
    path: &At<String>,
    policy: &PolicyText<'_>,
) -> Result<(Revision, FieldCoverage), Problems> {
    let documents = read_documents(path, policy)?;
    let node = knative::manifest::find(&documents, &path.place)?;
    let (found, fields) = knative::manifest::read(node, &spec.waive)?;
    Ok((found.revision, fields))
}

fn ray_serve(
    spec: &RaySpec,
    place: &Place,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let settings = match &spec.manifest {
        Some(path) => {
            spec.refuse_own_keys(problems);
            let read = read_serve_config(spec, path, policy);
            taken(read.map(|(settings, fields)| (settings, waivers(path, fields))), waived, problems)
        }
        None => {
            refuse_waivers(&spec.waive, place, problems);
            spec.check(place, problems)
        }
    };
    let target = target(&spec.target, seen, problems)?;
    let settings = settings?;
    check_collected(&target, settings.may_sleep(), &spec.target.place, seen, problems);
    Some(CheckedController {
        name: format!("ray-serve/{target}"),
        place: place.clone(),
        period: spec.control_loop_interval.0,
        offset: spec.offset,
        kind: Kind::RayServe { target, settings },
    })
}

fn read_serve_config(
    spec: &RaySpec,
    path: &At<String>,
    policy: &PolicyText<'_>,
) -> Result<(RaySettings, FieldCoverage), Problems> {
    let documents = read_documents(path, policy)?;
    let [node] = documents.as_slice() else {
        return Err(Problem::error(&path.place, "a Serve config is one document").into());
    };
    ray_serve::manifest::read(node, spec.deployment.as_ref(), &spec.waive, &path.place)
}

/// The documents of a file that a controller names.
fn read_documents(path: &At<String>, policy: &PolicyText<'_>) -> Result<Vec<Node>, Problems> {
    let file = policy.folder.join(&path.value);
    let text =
        policy.files.read(&file).map_err(|problem| Problem { place: Some(path.place.clone()), ..problem })?;
    Ok(parse_documents(&file.display().to_string(), &text)?)
}

/// The waived fields of a file, each with its name.
fn waivers(path: &At<String>, fields: FieldCoverage) -> Vec<String> {
    let waived = fields.into_iter().filter(|(_, coverage)| *coverage == Coverage::Waived);
    waived.map(|(field, _)| format!("{}: {field}", path.value)).collect()
}

/// What was read of a file, with its waivers noted, or its problems.
fn taken<T>(
    read: Result<(T, Vec<String>), Problems>,
    waived: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<T> {
    match read {
        Ok((value, waivers)) => {
            waived.extend(waivers);
            Some(value)
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

fn refuse_waivers(waive: &[String], place: &Place, problems: &mut Problems) {
    if !waive.is_empty() {
        problems.error(place, "waive: is about a manifest, and there is none");
    }
}

/// What a controller that collects load for itself needs of its target: a service of its own, whose requests can wait while
/// there is no replica.
fn check_collected(
    target: &TargetName,
    may_sleep: bool,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    let Some(model) = seen.deployments.iter().find(|model| model.settings.target == *target) else { return };
    let service = model.settings.service;
    if seen.deployments.iter().filter(|model| model.settings.service == service).count() > 1 {
        let message =
            format!("the service of {target} has other deployments, whose load would count as well");
        problems.push(Problem::error(place, message).hint("give it a service of its own"));
    }
    if may_sleep && seen.services[service].queue == Some(0) {
        let message = format!("{target} may go to zero, and its service rejects requests without a replica");
        let problem = Problem::warning(place, message);
        problems.push(problem.hint("add queue: {} to the service, or keep a replica"));
    }
}

/// Says so where a manifest is of another target.
fn check_named(named: Option<&ObjectName>, target: &TargetName, place: &Place, problems: &mut Problems) {
    let deployment = target.as_str().rsplit('/').next();
    if let Some(named) = named.filter(|named| Some(named.name.as_str()) != deployment) {
        let message = format!("the manifest scales {} {:?}; here it scales {target}", named.kind, named.name);
        problems.push(Problem::warning(place, message));
    }
}

/// Every metric that the HPA asks for by name is bound to a signal of the right kind.
fn check_metrics(
    settings: &HpaSettings,
    target: &TargetName,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    for metric in &settings.metrics {
        check_resource(metric, target, place, seen, problems);
        let per_pod = matches!(metric, MetricSource::Pods { .. });
        let (MetricQuery::Pods { metric: name, .. }
        | MetricQuery::Object { metric: name, .. }
        | MetricQuery::External { metric: name }) = metric.query(target)
        else {
            continue;
        };
        check_bound(&name, per_pod, matches!(metric, MetricSource::Object { .. }), place, seen, problems);
    }
}

/// What an HPA on a resource needs of the pods: the container that it names, and a request where it asks for a utilization.
fn check_resource(
    metric: &MetricSource,
    target: &TargetName,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    let MetricSource::Resource { resource, container, target: wanted } = metric else { return };
    let Some(model) = seen.deployments.iter().find(|model| model.settings.target == *target) else { return };
    let containers = &model.settings.containers;
    if let Some(name) =
        container.as_ref().filter(|name| !containers.iter().any(|known| *known.name == ***name))
    {
        let names: Vec<&str> = containers.iter().map(|known| &*known.name).collect();
        problems.push(super::unknown(place, "container", name, &names));
        return;
    }
    let asked = containers.iter().filter(|known| container.as_ref().is_none_or(|name| *known.name == **name));
    let requested =
        asked.flat_map(|known| &known.requests).any(|(known, milli)| known == resource && *milli > 0);
    if matches!(wanted, ResourceTarget::Utilization(_)) && !requested {
        let name = resource.name();
        let message = format!(
            "{target} requests no {name}, so that its {name} utilization cannot be told: the HPA will fail to scale"
        );
        problems.push(Problem::warning(place, message).hint(format!("add {name}: to its replica:")));
    }
}

fn check_bound(
    metric: &MetricName,
    per_pod: bool,
    single: bool,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    let name = &metric.name;
    if let Some(query) = seen.queries.iter().find(|query| query.name == *name) {
        return super::queries::check_bound(query, per_pod, single, place, problems);
    }
    let Some(signal) = seen.signals.iter().find(|signal| signal.name == *name) else {
        let per = if per_pod { "pod" } else { "deployment" };
        let stanza =
            format!("signals:\n            {name}: {{series: vllm:num_requests_waiting, per: {per}}}");
        let message = format!("the metric {name:?} is bound to no signal");
        problems.push(
            Problem::error(place, message)
                .hint(format!("add to the scenario, with its series:\n          {stanza}")),
        );
        return;
    };
    let services: std::collections::BTreeSet<usize> =
        seen.deployments.iter().map(|model| model.settings.service).collect();
    if !per_pod && signal.per == Per::Pod && services.len() > 1 && signal.matches.is_empty() {
        let problem =
            Problem::error(place, format!("the metric {name:?} would be taken over all services together"));
        problems.push(
            problem
                .hint(format!("add match: {{service: …}} to the signal {name}, or make it per: deployment")),
        );
    }
    if per_pod && signal.per != Per::Pod {
        let problem = Problem::error(place, format!("the metric {name:?} needs one value for each pod"));
        problems.push(problem.hint(format!("add per: pod to the signal {name}")));
    }
    if single && signal.per != Per::Deployment {
        let problem =
            Problem::error(place, format!("the metric {name:?} is one value, not one for each pod"));
        problems.push(problem.hint(format!("remove per: pod from the signal {name}")));
    }
}

//! Policies: from controllers as written to controllers that can be built for a seed.

use scaletwin_core::control::{
    Controller, Controllers, Layering, LayeringError, MetricName, MetricQuery, Policy, Schedule, TargetName,
};
use scaletwin_core::input::{At, Place, Problem, Problems, parse_documents};
use scaletwin_core::random::Seed;
use scaletwin_core::units::Span;
use scaletwin_policies::kubernetes::hpa::Hpa;
use scaletwin_policies::kubernetes::hpa::manifest::{self, ManifestHpa};
use scaletwin_policies::kubernetes::hpa::spec::{
    ControllerSettings, HpaSettings, HpaSpec, MetricSource, ResourceTarget,
};
use scaletwin_policies::kubernetes::manifest::{Coverage, only};
use scaletwin_policies::registry::PolicySpec;
use scaletwin_policies::rules::fixed::{Fixed, FixedSpec};
use scaletwin_policies::rules::node_provisioner::{NodeProvisioner, NodeProvisionerSpec};
use scaletwin_sim::cluster::settings::ClusterSettings;
use scaletwin_sim::scrape::signals::{Per, SignalSettings};
use scaletwin_sim::world::settings::DeploymentModel;
use serde::Serialize;

use super::{PolicyText, choose, unknown};

mod nodes;

/// What a policy can be about.
pub(super) struct Seen<'a> {
    pub clusters: &'a [ClusterSettings],
    pub deployments: &'a [DeploymentModel],
    pub signals: &'a [SignalSettings],
}

/// A policy, checked.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct CheckedPolicy {
    controllers: Vec<CheckedController>,
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
    Fixed { target: TargetName, replicas: i32 },
    NodeProvisioner { cluster: String, idle_timeout: Span },
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
            Kind::Fixed { target, replicas } => Box::new(Fixed::new(target.clone(), *replicas, schedule)),
            Kind::NodeProvisioner { cluster, idle_timeout } => {
                Box::new(NodeProvisioner::new(cluster.clone(), schedule, *idle_timeout))
            }
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

    /// The controllers for a seed.
    pub(crate) fn build(&self, seed: Seed) -> Result<Controllers, LayeringError> {
        let build = |checked: &CheckedController| Controller {
            name: checked.name.clone(),
            policy: checked.policy(seed),
        };
        Controllers::new(self.controllers.iter().map(build).collect(), Vec::new(), &Layering::default())
    }

    /// Whether a controller adds nodes to this cluster.
    pub(super) fn adds_nodes(&self, name: &str) -> bool {
        let adds = |kind: &Kind| match kind {
            Kind::NodeProvisioner { cluster, .. } => cluster == name,
            Kind::Nodes(checked) => checked.cluster() == name,
            Kind::Hpa { .. } | Kind::Fixed { .. } => false,
        };
        self.controllers.iter().any(|controller| adds(&controller.kind))
    }

    /// Whether a controller adds the first replica of a target.
    pub(super) fn wakes(&self, target: &TargetName) -> bool {
        let wakes = |kind: &Kind| match kind {
            // It leaves a target at zero alone that it has not scaled to zero itself.
            Kind::Hpa { .. } => false,
            Kind::Fixed { target: of, replicas } => of == target && *replicas > 0,
            Kind::NodeProvisioner { .. } | Kind::Nodes(_) => false,
        };
        self.controllers.iter().any(|controller| wakes(&controller.kind))
    }
}

pub(super) fn check(policy: &PolicyText<'_>, seen: &Seen<'_>, problems: &mut Problems) -> CheckedPolicy {
    let mut checked = CheckedPolicy::default();
    for written in &policy.spec.controllers {
        let controller = match &written.value {
            PolicySpec::Hpa(spec) => hpa(spec, &written.place, policy, seen, &mut checked.waived, problems),
            PolicySpec::Fixed(spec) => fixed(spec, &written.place, seen, problems),
            PolicySpec::NodeProvisioner(spec) => node_provisioner(spec, &written.place, seen, problems),
            PolicySpec::ClusterAutoscaler(spec) => {
                let found = nodes::cluster_autoscaler(spec, &written.place, policy, seen, problems);
                found.map(|(controller, waived)| checked.take(controller, waived))
            }
            PolicySpec::Karpenter(spec) => {
                let found = nodes::karpenter(spec, &written.place, policy, seen, problems);
                found.map(|(controller, waived)| checked.take(controller, waived))
            }
        };
        checked.controllers.extend(controller);
    }
    check_layers(&checked, problems);
    checked
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
    Some(CheckedController {
        name: format!("static/{target}"),
        place: place.clone(),
        period: Span::from_secs(15),
        offset: Some(Span::ZERO),
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
        offset: None,
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
            if !spec.waive.is_empty() {
                problems.error(place, "waive: is about a manifest, and there is none");
            }
            spec.check(&controller, problems)
        }
    };
    let target = target(&spec.target, seen, problems)?;
    let settings = settings?;
    let deployment = target.to_string().rsplit('/').next().map(str::to_owned);
    if let Some(named) = named.filter(|named| Some(&named.name) != deployment.as_ref()) {
        let message = format!("the manifest scales {} {:?}; here it scales {target}", named.kind, named.name);
        problems.push(Problem::warning(&spec.target.place, message));
    }
    check_metrics(&settings, &target, place, seen, problems);
    Some(CheckedController {
        name: format!("hpa/{target}"),
        place: place.clone(),
        period: spec.controller.sync_period.0,
        offset: spec.controller.offset,
        kind: Kind::Hpa { target, settings, controller },
    })
}

/// The settings of a manifest, and the fields that were waived in it.
fn read_manifest(
    spec: &HpaSpec,
    path: &At<String>,
    policy: &PolicyText<'_>,
    controller: &ControllerSettings,
) -> Result<(ManifestHpa, Vec<String>), Problems> {
    let file = policy.folder.join(&path.value);
    let text =
        policy.files.read(&file).map_err(|problem| Problem { place: Some(path.place.clone()), ..problem })?;
    let documents = parse_documents(&file.display().to_string(), &text)?;
    let node = only(&documents, "HorizontalPodAutoscaler", &path.place)?;
    let (hpa, coverage) = manifest::read(node, &spec.waive, controller)?;
    let waived = coverage.into_iter().filter(|(_, coverage)| *coverage == Coverage::Waived);
    Ok((hpa, waived.map(|(field, _)| format!("{}: {field}", path.value)).collect()))
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

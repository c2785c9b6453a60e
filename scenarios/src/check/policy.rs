//! Policies: from controllers as written to controllers that can be built for a seed.

mod cloud;
mod composite;
mod guards;
mod hpa;
mod keda;
mod kserve;
mod load;
mod manifests;
mod nodes;
mod rules;
mod serving;
mod vpa;

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Controller, Controllers, Layering, LayeringError, Policy, Schedule, TargetName,
};
use scaletwin_core::input::{At, Place, Problem, Problems};
use scaletwin_core::random::Seed;
use scaletwin_core::units::Span;
use scaletwin_policies::kubernetes::hpa::Hpa;
use scaletwin_policies::kubernetes::hpa::spec::{ControllerSettings, HpaSettings};
use scaletwin_policies::kubernetes::knative::Kpa;
use scaletwin_policies::kubernetes::knative::spec::KpaSettings;
use scaletwin_policies::kubernetes::vpa::Vpa;
use scaletwin_policies::kubernetes::vpa::spec::VpaSettings;
use scaletwin_policies::registry::PolicySpec;
use scaletwin_policies::rules::fixed::{Fixed, FixedSpec};
use scaletwin_policies::rules::node_provisioner::{NodeProvisioner, NodeProvisionerSpec};
use scaletwin_policies::serving::aibrix::{Aibrix, AibrixSettings};
use scaletwin_policies::serving::dynamo::{Dynamo, DynamoSettings};
use scaletwin_policies::serving::ray_serve::RayServe;
use scaletwin_policies::serving::ray_serve::spec::RaySettings;
use scaletwin_policies::serving::wva::{Wva, WvaSettings};
use scaletwin_sim::cluster::settings::ClusterSettings;
use scaletwin_sim::scrape::queries::QuerySignal;
use scaletwin_sim::scrape::signals::SignalSettings;
use scaletwin_sim::world::settings::{DeploymentModel, ServiceModel};
use serde::Serialize;

use super::{PolicyText, choose, unknown};
use crate::spec::SignalSpec;

/// What a policy can be about.
pub(super) struct Seen<'a> {
    pub clusters: &'a [ClusterSettings],
    pub services: &'a [ServiceModel],
    pub deployments: &'a [DeploymentModel],
    pub signals: &'a [SignalSettings],
    pub queries: &'a [QuerySignal],
    /// The names of all signals as they are written: one that is in neither list is wrong, which has been said.
    pub written: &'a BTreeMap<String, At<SignalSpec>>,
}

impl Seen<'_> {
    /// The names of all signals: series and queries.
    fn signal_names(&self) -> Vec<&str> {
        let queries = self.queries.iter().map(|query| query.name.as_str());
        self.signals.iter().map(|signal| signal.name.as_str()).chain(queries).collect()
    }

    /// Whether a signal is written and cannot be read, of which there is a problem already.
    fn is_wrong(&self, name: &str) -> bool {
        self.written.contains_key(name) && !self.signal_names().contains(&name)
    }
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
    Vpa { target: TargetName, settings: VpaSettings },
    Wva { settings: WvaSettings },
    Dynamo { target: TargetName, settings: DynamoSettings },
    Aibrix { target: TargetName, settings: AibrixSettings },
    Fixed { target: TargetName, replicas: i32 },
    NodeProvisioner { cluster: String, idle_timeout: Span, spare: u32 },
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
            Kind::Vpa { target, settings } => Box::new(Vpa::new(target.clone(), settings.clone(), schedule)),
            Kind::Wva { settings } => Box::new(Wva::new(settings.clone(), schedule)),
            Kind::Dynamo { target, settings } => {
                Box::new(Dynamo::new(target.clone(), settings.clone(), schedule))
            }
            Kind::Aibrix { target, settings } => {
                Box::new(Aibrix::new(target.clone(), settings.clone(), schedule))
            }
            Kind::Fixed { target, replicas } => Box::new(Fixed::new(target.clone(), *replicas, schedule)),
            Kind::NodeProvisioner { cluster, idle_timeout, spare } => {
                Box::new(NodeProvisioner::new(cluster.clone(), schedule, *idle_timeout).keeping(*spare))
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
            // It changes no number of replicas.
            Kind::Vpa { .. } => false,
            Kind::Wva { settings } => settings.scales(target),
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
    if names_are_unique(&checked, problems) {
        check_layers(&checked, problems);
    }
    checked
}

/// One controller while it is checked.
struct Checking<'c> {
    /// Where it is written.
    place: &'c Place,
    policy: &'c PolicyText<'c>,
    seen: &'c Seen<'c>,
    /// The policy so far, for what it adds besides itself.
    checked: &'c mut CheckedPolicy,
    problems: &'c mut Problems,
}

/// One controller; those that are several add themselves.
fn controller(
    written: &At<PolicySpec>,
    policy: &PolicyText<'_>,
    seen: &Seen<'_>,
    checked: &mut CheckedPolicy,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let cx = Checking { place: &written.place, policy, seen, checked, problems };
    match &written.value {
        PolicySpec::Hpa(spec) => hpa::hpa(spec, cx),
        PolicySpec::Keda(spec) => keda::keda(spec, cx),
        PolicySpec::Kserve(spec) => kserve::kserve(spec, cx),
        PolicySpec::Knative(spec) => load::knative(spec, cx),
        PolicySpec::RayServe(spec) => load::ray_serve(spec, cx),
        PolicySpec::Vpa(spec) => vpa::vpa(spec, cx),
        PolicySpec::Wva(spec) => serving::wva(spec, cx),
        PolicySpec::Dynamo(spec) => serving::dynamo(spec, cx),
        PolicySpec::Aibrix(spec) => serving::aibrix(spec, cx),
        PolicySpec::Fixed(spec) => fixed(spec, cx),
        PolicySpec::AwsTargetTracking(spec) => cloud::target_tracking(spec, cx),
        PolicySpec::AwsStepScaling(spec) => cloud::step_scaling(spec, cx),
        PolicySpec::Oci(spec) => cloud::oci(spec, cx),
        PolicySpec::Composite(spec) => composite::composite(spec, cx),
        PolicySpec::Threshold(spec) => rules::threshold(spec, cx),
        PolicySpec::Condition(spec) => rules::condition(spec, cx),
        PolicySpec::Schedule(spec) => rules::schedule(spec, cx),
        PolicySpec::Idle(spec) => rules::idle(spec, cx),
        PolicySpec::NodeProvisioner(spec) => node_provisioner(spec, cx),
        PolicySpec::ClusterAutoscaler(spec) => nodes::cluster_autoscaler(spec, cx),
        PolicySpec::Karpenter(spec) => nodes::karpenter(spec, cx),
    }
}

/// A controller is told by its name: in what it decided, in snapshots, and by its draws.
fn names_are_unique(checked: &CheckedPolicy, problems: &mut Problems) -> bool {
    let mut known: BTreeMap<&str, &Place> = BTreeMap::new();
    for controller in &checked.controllers {
        if let Some(first) = known.insert(&controller.name, &controller.place) {
            let message = format!("there is a controller {} already", controller.name);
            let hint = format!("it is in line {}: remove one of them", first.line_column().0);
            problems.push(Problem::error(&controller.place, message).hint(hint));
            return false;
        }
    }
    true
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
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let target = target(&spec.target, seen, problems)?;
    super::check_count(place, u64::from(spec.replicas.0), super::MOST, "replicas", problems);
    let replicas = i32::try_from(spec.replicas.0).unwrap_or(i32::MAX);
    Some(fixed_at(target, replicas, spec.from, place))
}

/// So many replicas from this instant on.
fn fixed_at(target: TargetName, replicas: i32, from: Span, place: &Place) -> CheckedController {
    CheckedController {
        name: format!("static/{target}"),
        place: place.clone(),
        period: Span::from_secs(15),
        offset: Some(from),
        kind: Kind::Fixed { target, replicas },
    }
}

fn node_provisioner(
    spec: &NodeProvisionerSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let names: Vec<&str> = seen.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let cluster = names[choose("cluster", spec.cluster.as_ref(), place, &names, problems)?].to_owned();
    Some(CheckedController {
        name: format!("node-provisioner/{cluster}"),
        place: place.clone(),
        period: spec.period.0,
        offset: spec.offset,
        kind: Kind::NodeProvisioner { cluster, idle_timeout: spec.idle_timeout, spare: spec.spare },
    })
}

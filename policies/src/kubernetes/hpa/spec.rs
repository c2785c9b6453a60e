//! What a user sets of an HPA by our own keys, and how it becomes settings.

use std::collections::BTreeMap;

use scaletwin_core::control::{MetricName, ObjectName, Resource};
use scaletwin_core::input::{At, Count, NonNegative, Period, Problem, Problems};
use scaletwin_core::units::{Quantity, Span};

pub use super::settings::{
    Behavior, ControllerSettings, HpaSettings, MetricSource, PolicyType, ResourceTarget, Rules,
    ScalingPolicy, SelectPolicy, ValueTarget,
};
use crate::kubernetes::manifest::refuse_beside;

scaletwin_core::keys! {
    /// The flags of the HPA controller in kube-controller-manager.
    #[derive(Debug, Clone)]
    pub struct ControllerSpec {
        /// `--horizontal-pod-autoscaler-sync-period`: from one look at an HPA to the next.
        pub sync_period: Period = Period(Span::from_secs(15)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the sync period.
        pub offset: Option<Span> = None,
        /// `--horizontal-pod-autoscaler-tolerance`.
        pub tolerance: NonNegative = NonNegative(0.1),
        /// `--horizontal-pod-autoscaler-downscale-stabilization`.
        pub downscale_stabilization: Span = Span::from_secs(300),
        /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
        pub cpu_initialization_period: Span = Span::from_secs(300),
        /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
        pub initial_readiness_delay: Span = Span::from_secs(30),
        /// The feature gate HPAScaleToZero (alpha, off by default).
        pub scale_to_zero: bool = false,
    }
}

impl ControllerSpec {
    /// The flags that decisions depend on.
    #[must_use]
    pub fn settings(&self) -> ControllerSettings {
        ControllerSettings {
            tolerance: self.tolerance.0,
            downscale_stabilization: self.downscale_stabilization,
            cpu_initialization_period: self.cpu_initialization_period,
            initial_readiness_delay: self.initial_readiness_delay,
            scale_to_zero: self.scale_to_zero,
        }
    }
}

scaletwin_core::keys! {
    /// The HorizontalPodAutoscaler of Kubernetes: by a manifest as people run it, or by our own keys.
    #[derive(Debug, Clone)]
    pub struct HpaSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// A file with an `autoscaling/v2` or `v1` manifest, as `kubectl get -o yaml` prints it. Our own keys below are
        /// not used then.
        pub manifest: Option<At<String>> = None,
        /// Fields of the manifest that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// The fewest replicas. Default: 1.
        pub min_replicas: Option<At<u16>> = None,
        /// The most replicas.
        pub max_replicas: Option<At<Count>> = None,
        /// What it scales on; the largest proposal counts. Default: CPU at 80 percent of the requests.
        pub metrics: Option<At<Vec<MetricSpec>>> = None,
        /// How fast it scales. Where it is written at all, both directions get the API's defaults.
        pub behavior: Option<At<BehaviorSpec>> = None,
        /// The flags of the controller.
        pub controller: ControllerSpec = ControllerSpec::default(),
    }
}

impl Default for ControllerSpec {
    fn default() -> ControllerSpec {
        let settings = ControllerSettings::default();
        ControllerSpec {
            sync_period: Period(Span::from_secs(15)),
            offset: None,
            tolerance: NonNegative(settings.tolerance),
            downscale_stabilization: settings.downscale_stabilization,
            cpu_initialization_period: settings.cpu_initialization_period,
            initial_readiness_delay: settings.initial_readiness_delay,
            scale_to_zero: settings.scale_to_zero,
        }
    }
}

scaletwin_core::variants! {
    /// A metric of an HPA.
    #[derive(Debug, Clone)]
    pub enum MetricSpec {
        /// CPU or memory of the pods.
        Resource(ResourceMetricSpec) = "resource",
        /// CPU or memory of one container of the pods.
        ContainerResource(ContainerMetricSpec) = "container_resource",
        /// A metric of each pod.
        Pods(PodsMetricSpec) = "pods",
        /// A metric of an object.
        Object(ObjectMetricSpec) = "object",
        /// A metric from outside.
        External(ExternalMetricSpec) = "external",
    }
}

scaletwin_core::names! {
    /// A resource that metrics-server reports.
    pub enum ResourceName {
        /// CPU.
        Cpu = "cpu",
        /// Memory.
        Memory = "memory",
    }
}

impl ResourceName {
    /// The resource.
    #[must_use]
    pub const fn resource(self) -> Resource {
        match self {
            ResourceName::Cpu => Resource::Cpu,
            ResourceName::Memory => Resource::Memory,
        }
    }
}

scaletwin_core::keys! {
    /// Use of a resource against a target: percent of the requests, or a mean per pod.
    #[derive(Debug, Clone)]
    pub struct ResourceMetricSpec {
        /// `cpu` or `memory`.
        pub name: ResourceName,
        /// Percent of the requests aimed at.
        pub utilization: Option<Count> = None,
        /// The mean per pod aimed at.
        pub average_value: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// Use of a resource by one container against a target.
    #[derive(Debug, Clone)]
    pub struct ContainerMetricSpec {
        /// `cpu` or `memory`.
        pub name: ResourceName,
        /// The container.
        pub container: String,
        /// Percent of the requests aimed at.
        pub utilization: Option<Count> = None,
        /// The mean per pod aimed at.
        pub average_value: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// A metric of each pod, against a mean.
    #[derive(Debug, Clone)]
    pub struct PodsMetricSpec {
        /// Its name, bound under `signals`.
        pub metric: String,
        /// Labels that select its series.
        pub selector: BTreeMap<String, String> = BTreeMap::new(),
        /// The mean per pod aimed at.
        pub average_value: At<Quantity>,
    }
}

scaletwin_core::keys! {
    /// An object of the cluster.
    #[derive(Debug, Clone)]
    pub struct ObjectSpec {
        /// Its kind.
        pub kind: String,
        /// Its name.
        pub name: String,
    }
}

scaletwin_core::keys! {
    /// A metric of an object, against a value or a mean per pod.
    #[derive(Debug, Clone)]
    pub struct ObjectMetricSpec {
        /// Its name, bound under `signals`.
        pub metric: String,
        /// Labels that select its series.
        pub selector: BTreeMap<String, String> = BTreeMap::new(),
        /// The object described.
        pub object: ObjectSpec,
        /// The value aimed at.
        pub value: Option<At<Quantity>> = None,
        /// The value per pod aimed at.
        pub average_value: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// A metric from outside, against a value or a mean per pod.
    #[derive(Debug, Clone)]
    pub struct ExternalMetricSpec {
        /// Its name, bound under `signals`.
        pub metric: String,
        /// Labels that select its series.
        pub selector: BTreeMap<String, String> = BTreeMap::new(),
        /// The value aimed at.
        pub value: Option<At<Quantity>> = None,
        /// The value per pod aimed at.
        pub average_value: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// How fast an HPA scales.
    #[derive(Debug, Clone)]
    pub struct BehaviorSpec {
        /// Upwards.
        pub scale_up: Option<RulesSpec> = None,
        /// Downwards.
        pub scale_down: Option<RulesSpec> = None,
    }
}

scaletwin_core::keys! {
    /// The rules of one direction; what is not written gets the API's default.
    #[derive(Debug, Clone)]
    pub struct RulesSpec {
        /// The time over which recommendations are smoothed, 0 to 1 h.
        pub stabilization_window: Option<At<Span>> = None,
        /// Which of several policies counts.
        pub select_policy: Option<SelectPolicy> = None,
        /// Budgets of change.
        pub policies: Option<At<Vec<ScalingPolicySpec>>> = None,
        /// How far usage may be from the target without a change, a fraction.
        pub tolerance: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// A budget of change in a period.
    #[derive(Debug, Clone)]
    pub struct ScalingPolicySpec {
        /// In what it counts.
        pub r#type: PolicyType,
        /// How much.
        pub value: Count,
        /// In which time, 1 s to 30 min.
        pub period: At<Span>,
    }
}

impl HpaSpec {
    /// The checked settings by our own keys. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, controller: &ControllerSettings, problems: &mut Problems) -> Option<HpaSettings> {
        let before = problems.len();
        let Some(max) = &self.max_replicas else {
            let problem = Problem::error(&self.target.place, "the key \"max_replicas\" is missing");
            problems.push(problem.hint("or name a file with manifest:"));
            return None;
        };
        let min = self.min_replicas.clone().unwrap_or(At { value: 1, place: max.place.clone() });
        let metrics = match &self.metrics {
            Some(list) if !list.value.is_empty() => {
                list.value.iter().filter_map(|metric| metric.check(list, problems)).collect()
            }
            _ => vec![default_metric()],
        };
        let settings = HpaSettings {
            min_replicas: i32::from(min.value),
            max_replicas: i32::try_from(max.0).unwrap_or(i32::MAX),
            metrics,
            behavior: self.behavior.as_ref().map(|behavior| behavior.check(controller, problems)),
        };
        check_bounds(&settings, controller, &min, max, problems);
        (problems.len() == before).then_some(settings)
    }

    /// Refuses our own keys beside a manifest.
    pub fn refuse_own_keys(&self, problems: &mut Problems) {
        let own = [
            self.min_replicas.as_ref().map(|at| &at.place),
            self.max_replicas.as_ref().map(|at| &at.place),
            self.metrics.as_ref().map(|at| &at.place),
            self.behavior.as_ref().map(|at| &at.place),
        ];
        refuse_beside(own, problems);
    }
}

/// The metric of an HPA that names none: CPU at 80 percent of the requests.
pub(in crate::kubernetes) fn default_metric() -> MetricSource {
    MetricSource::Resource {
        resource: Resource::Cpu,
        container: None,
        target: ResourceTarget::Utilization(80),
    }
}

/// What the API checks of the bounds.
pub(super) fn check_bounds<A, B>(
    settings: &HpaSettings,
    controller: &ControllerSettings,
    min: &At<A>,
    max: &At<B>,
    problems: &mut Problems,
) {
    if settings.max_replicas < settings.min_replicas {
        problems.error(
            &max.place,
            format!("at most {} replicas, but at least {}", settings.max_replicas, settings.min_replicas),
        );
    }
    if settings.min_replicas == 0 && !(controller.scale_to_zero && settings.has_outside_metric()) {
        let problem = Problem::error(&min.place, "an HPA keeps at least 1 replica");
        problems.push(problem.hint(
            "0 needs the feature gate (controller: {scale_to_zero: true}) and an object or external metric",
        ));
    }
}

impl MetricSpec {
    fn check(&self, list: &At<Vec<MetricSpec>>, problems: &mut Problems) -> Option<MetricSource> {
        let resource = |name: ResourceName,
                        container: Option<String>,
                        utilization: Option<Count>,
                        average: &Option<At<Quantity>>,
                        problems: &mut Problems| {
            let target = match (utilization, average) {
                (Some(percent), None) => {
                    ResourceTarget::Utilization(i32::try_from(percent.0).unwrap_or(i32::MAX))
                }
                (None, Some(value)) => ResourceTarget::AverageValue(positive_milli(value, problems)?),
                _ => {
                    problems.error(
                        &list.place,
                        format!("the metric {} needs either utilization or average_value", name.name()),
                    );
                    return None;
                }
            };
            Some(MetricSource::Resource { resource: name.resource(), container, target })
        };
        match self {
            MetricSpec::Resource(spec) => {
                resource(spec.name, None, spec.utilization, &spec.average_value, problems)
            }
            MetricSpec::ContainerResource(spec) => resource(
                spec.name,
                Some(spec.container.clone()),
                spec.utilization,
                &spec.average_value,
                problems,
            ),
            MetricSpec::Pods(spec) => Some(MetricSource::Pods {
                metric: MetricName { name: spec.metric.clone(), selector: spec.selector.clone() },
                average_value: positive_milli(&spec.average_value, problems)?,
            }),
            MetricSpec::Object(spec) => Some(MetricSource::Object {
                object: ObjectName { kind: spec.object.kind.clone(), name: spec.object.name.clone() },
                metric: MetricName { name: spec.metric.clone(), selector: spec.selector.clone() },
                target: value_target(&spec.metric, &spec.value, &spec.average_value, list, problems)?,
            }),
            MetricSpec::External(spec) => Some(MetricSource::External {
                metric: MetricName { name: spec.metric.clone(), selector: spec.selector.clone() },
                target: value_target(&spec.metric, &spec.value, &spec.average_value, list, problems)?,
            }),
        }
    }
}

fn value_target(
    name: &str,
    value: &Option<At<Quantity>>,
    average: &Option<At<Quantity>>,
    list: &At<Vec<MetricSpec>>,
    problems: &mut Problems,
) -> Option<ValueTarget> {
    match (value, average) {
        (Some(value), None) => positive_milli(value, problems).map(ValueTarget::Value),
        (None, Some(value)) => positive_milli(value, problems).map(ValueTarget::AverageValue),
        _ => {
            problems.error(&list.place, format!("the metric {name} needs either value or average_value"));
            None
        }
    }
}

/// A target in milli-units; the API wants it above 0.
pub(in crate::kubernetes) fn positive_milli(value: &At<Quantity>, problems: &mut Problems) -> Option<i64> {
    let milli = value.milli_value();
    if milli > 0 {
        return Some(milli);
    }
    problems.error(&value.place, "a target is above 0");
    None
}

impl BehaviorSpec {
    pub(in crate::kubernetes) fn check(
        &self,
        controller: &ControllerSettings,
        problems: &mut Problems,
    ) -> Behavior {
        let defaults = Behavior::defaults(controller.downscale_stabilization);
        let rules = |spec: &Option<RulesSpec>, default: Rules, problems: &mut Problems| match spec {
            Some(spec) => spec.check(default, problems),
            None => default,
        };
        Behavior {
            scale_up: rules(&self.scale_up, defaults.scale_up, problems),
            scale_down: rules(&self.scale_down, defaults.scale_down, problems),
        }
    }
}

impl RulesSpec {
    fn check(&self, default: Rules, problems: &mut Problems) -> Rules {
        if let Some(window) = &self.stabilization_window
            && window.value > Span::from_secs(3600)
        {
            problems.error(&window.place, "a stabilization window is at most 1h");
        }
        if let Some(policies) = &self.policies {
            if policies.value.is_empty() {
                problems.error(&policies.place, "at least one policy is needed");
            }
            for policy in &policies.value {
                if !(Span::from_secs(1)..=Span::from_secs(1800)).contains(&policy.period.value) {
                    problems.error(&policy.period.place, "a period is 1s to 30m");
                }
            }
        }
        if let Some(tolerance) = &self.tolerance
            && tolerance.milli_value() < 0
        {
            problems.error(&tolerance.place, "a tolerance is at least 0");
        }
        let policies = self.policies.as_ref().map(|list| {
            let policy = |spec: &ScalingPolicySpec| ScalingPolicy {
                kind: spec.r#type,
                value: i32::try_from(spec.value.0).unwrap_or(i32::MAX),
                period: spec.period.value,
            };
            list.value.iter().map(policy).collect()
        });
        Rules {
            stabilization_window: self
                .stabilization_window
                .as_ref()
                .map_or(default.stabilization_window, |w| w.value),
            select_policy: self.select_policy.unwrap_or(default.select_policy),
            policies: policies.unwrap_or(default.policies),
            tolerance: self
                .tolerance
                .as_ref()
                .map(|tolerance| approximate(tolerance.place.text(), tolerance.value)),
        }
    }
}

/// A quantity as a float, as `Quantity.AsApproximateFloat64` computes it: digits times a power of ten.
#[must_use]
pub fn approximate(text: &str, value: Quantity) -> f64 {
    let text = text.trim().trim_matches(['"', '\'']);
    let (digits, power) = match text.strip_suffix('m') {
        Some(digits) => (digits, 3),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa = format!("{whole}{fraction}").parse::<i64>();
    let power = format!("1e-{}", fraction.len() + power).parse::<f64>();
    match (mantissa, power) {
        (Ok(mantissa), Ok(power)) => mantissa as f64 * power,
        _ => value.as_f64(),
    }
}

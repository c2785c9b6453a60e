//! What an HPA does: its settings, with the defaults of the API filled in, and the flags of its controller.

use scaletwin_core::control::{MetricName, MetricQuery, ObjectName, Resource, TargetName};
use scaletwin_core::units::Span;
use serde::Serialize;

/// The settings of an HPA, with the defaults of the API filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HpaSettings {
    /// `minReplicas`, at least 0.
    pub min_replicas: i32,
    /// `maxReplicas`, at least 1.
    pub max_replicas: i32,
    /// `metrics`, at least one.
    pub metrics: Vec<MetricSource>,
    /// `behavior`, both directions filled; `None` if it is absent, which takes another path.
    pub behavior: Option<Behavior>,
}

impl HpaSettings {
    /// Whether a metric can be had without pods, so that the target can be woken from zero.
    #[must_use]
    pub fn has_outside_metric(&self) -> bool {
        self.metrics
            .iter()
            .any(|metric| matches!(metric, MetricSource::Object { .. } | MetricSource::External { .. }))
    }
}

/// One of the metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricSource {
    /// `Resource`, or `ContainerResource` with a container.
    Resource {
        /// Of what.
        resource: Resource,
        /// One container only.
        container: Option<String>,
        /// Against what.
        target: ResourceTarget,
    },
    /// `Pods`.
    Pods {
        /// Which metric.
        metric: MetricName,
        /// The mean per pod aimed at, milli-units.
        average_value: i64,
    },
    /// `Object`.
    Object {
        /// The object described.
        object: ObjectName,
        /// Which metric.
        metric: MetricName,
        /// Against what.
        target: ValueTarget,
    },
    /// `External`.
    External {
        /// Which metric.
        metric: MetricName,
        /// Against what.
        target: ValueTarget,
    },
}

impl MetricSource {
    /// What the controller asks for it.
    #[must_use]
    pub fn query(&self, target: &TargetName) -> MetricQuery {
        match self {
            MetricSource::Resource { resource, container, .. } => MetricQuery::Resource {
                target: target.clone(),
                resource: *resource,
                container: container.clone(),
            },
            MetricSource::Pods { metric, .. } => {
                MetricQuery::Pods { target: target.clone(), metric: metric.clone() }
            }
            MetricSource::Object { object, metric, .. } => {
                MetricQuery::Object { object: object.clone(), metric: metric.clone() }
            }
            MetricSource::External { metric, .. } => MetricQuery::External { metric: metric.clone() },
        }
    }

    /// The name of the metric.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            MetricSource::Resource { resource, .. } => resource.name(),
            MetricSource::Pods { metric, .. }
            | MetricSource::Object { metric, .. }
            | MetricSource::External { metric, .. } => &metric.name,
        }
    }

    /// The controller's reason code when the metric cannot be had.
    #[must_use]
    pub const fn failure_reason(&self) -> &'static str {
        match self {
            MetricSource::Resource { container: None, .. } => "FailedGetResourceMetric",
            MetricSource::Resource { .. } => "FailedGetContainerResourceMetric",
            MetricSource::Pods { .. } => "FailedGetPodsMetric",
            MetricSource::Object { .. } => "FailedGetObjectMetric",
            MetricSource::External { .. } => "FailedGetExternalMetric",
        }
    }
}

/// The target of a resource metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceTarget {
    /// Percent of the requests.
    Utilization(i32),
    /// A mean per pod, milli-units.
    AverageValue(i64),
}

/// The target of an object or external metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueTarget {
    /// The value itself, milli-units.
    Value(i64),
    /// The value divided by the pods, milli-units.
    AverageValue(i64),
}

/// `behavior` with both directions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Behavior {
    /// `scaleUp`.
    pub scale_up: Rules,
    /// `scaleDown`.
    pub scale_down: Rules,
}

impl Behavior {
    /// The behavior of the API's defaults, which hold as soon as `behavior` is present.
    #[must_use]
    pub fn defaults(downscale_stabilization: Span) -> Behavior {
        let policy = |kind, value| ScalingPolicy { kind, value, period: Span::from_secs(15) };
        Behavior {
            scale_up: Rules {
                stabilization_window: Span::ZERO,
                select_policy: SelectPolicy::Max,
                policies: vec![policy(PolicyType::Pods, 4), policy(PolicyType::Percent, 100)],
                tolerance: None,
            },
            scale_down: Rules {
                stabilization_window: downscale_stabilization,
                select_policy: SelectPolicy::Max,
                policies: vec![policy(PolicyType::Percent, 100)],
                tolerance: None,
            },
        }
    }
}

/// The rules of one direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rules {
    /// `stabilizationWindowSeconds`, 0 to 1 h.
    pub stabilization_window: Span,
    /// `selectPolicy`.
    pub select_policy: SelectPolicy,
    /// `policies`, at least one.
    pub policies: Vec<ScalingPolicy>,
    /// `tolerance`, at least 0; `None`: the controller's.
    pub tolerance: Option<f64>,
}

/// A budget of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScalingPolicy {
    /// In what it counts.
    pub kind: PolicyType,
    /// How much, above 0.
    pub value: i32,
    /// In which time, 1 s to 30 min.
    pub period: Span,
}

scaletwin_core::names! {
    /// Which of several scaling policies counts.
    pub enum SelectPolicy {
        /// The one that allows the largest change.
        Max = "Max",
        /// The one that allows the smallest change.
        Min = "Min",
        /// No change in this direction.
        Disabled = "Disabled",
    }
}

scaletwin_core::names! {
    /// In what a scaling policy counts.
    pub enum PolicyType {
        /// In pods.
        Pods = "Pods",
        /// In percent of the pods at the start of the period.
        Percent = "Percent",
    }
}

/// The flags of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ControllerSettings {
    /// `--horizontal-pod-autoscaler-tolerance`.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: Span,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period: Span,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay: Span,
    /// The feature gate HPAScaleToZero.
    pub scale_to_zero: bool,
}

impl Default for ControllerSettings {
    fn default() -> ControllerSettings {
        ControllerSettings {
            tolerance: 0.1,
            downscale_stabilization: Span::from_secs(300),
            cpu_initialization_period: Span::from_secs(300),
            initial_readiness_delay: Span::from_secs(30),
            scale_to_zero: false,
        }
    }
}

//! The predictor of an InferenceService, and what KServe makes of it.

use scaletwin_core::control::{ObjectName, Resource};
use scaletwin_core::input::{At, Node, Problems, Read};
use scaletwin_core::units::Span;

use super::manifest::Installation;
use super::metrics::{AutoScaling, read_autoscaling};
use super::spec::DeploymentMode;
use super::{DEFAULT_CPU_UTILIZATION, DEFAULT_MIN_REPLICAS};
use crate::kubernetes::hpa::spec::{
    Behavior, ControllerSettings, HpaSettings, MetricSource, ResourceTarget, default_metric,
};
use crate::kubernetes::keda::bindings::{Bindings, Names};
use crate::kubernetes::keda::manifest::ManifestKeda;
use crate::kubernetes::keda::{Pause, ScaledObject};
use crate::kubernetes::knative::spec::{Annotations, ConfigSpec, Metric, Revision};
use crate::kubernetes::manifest::{Reader, value};

/// What the predictor says about scaling.
#[derive(Debug)]
pub struct Component {
    min_replicas: Option<At<u16>>,
    /// 0 where it is not written, as in the source.
    max_replicas: At<u16>,
    scale_target: Option<At<u16>>,
    scale_metric: Option<Node>,
    container_concurrency: u32,
    autoscaling: Option<AutoScaling>,
}

/// Reads `spec.predictor`. What changes requests or splits them is not modelled; how pods are made has no effect.
pub(super) fn read_component(reader: &mut Reader, node: &Node, mode: DeploymentMode) -> Option<Component> {
    let mut fields = reader.fields(node, "spec.predictor")?;
    let min_replicas = value(&mut fields, reader, "minReplicas");
    let max: Option<At<u16>> = value(&mut fields, reader, "maxReplicas");
    let scale_target = value(&mut fields, reader, "scaleTarget");
    let scale_metric = fields.honour(reader, "scaleMetric").cloned();
    let container_concurrency = match mode {
        DeploymentMode::Knative => value(&mut fields, reader, "containerConcurrency").unwrap_or(0),
        DeploymentMode::Standard => {
            fields.without_effect(reader, &["containerConcurrency"]);
            0
        }
    };
    let autoscaling = match mode {
        DeploymentMode::Knative => None,
        DeploymentMode::Standard => {
            fields.honour(reader, "autoScaling").and_then(|node| read_autoscaling(reader, node))
        }
    };
    fields.without_effect_where(reader, |key| !MATTERS.contains(&key));
    fields.finish(reader);
    let max_replicas = max.unwrap_or(At { value: 0, place: node.place.clone() });
    Some(Component {
        min_replicas,
        max_replicas,
        scale_target,
        scale_metric,
        container_concurrency,
        autoscaling,
    })
}

/// Fields that would matter and are not modelled, where they have not been taken.
const MATTERS: [&str; 6] =
    ["annotations", "autoScaling", "batcher", "canaryTrafficPercent", "scaleMetricType", "workerSpec"];

impl Component {
    fn min(&self) -> i32 {
        self.min_replicas.as_ref().map_or(DEFAULT_MIN_REPLICAS, |min| i32::from(min.value))
    }

    fn max(&self) -> i32 {
        i32::from(self.max_replicas.value)
    }

    /// `setAutoScalingAnnotations`: what the manifest writes goes before its annotations.
    pub(super) fn revision(
        &self,
        annotated: Annotations,
        config: &ConfigSpec,
        problems: &mut Problems,
    ) -> Option<Revision> {
        let place = &self.max_replicas.place;
        let at = |value: i32| Some(At { value, place: place.clone() });
        let metric = match &self.scale_metric {
            Some(node) => Some(Metric::read(node, problems)?),
            None => annotated.metric,
        };
        let target = self.scale_target.as_ref();
        let target = target.map(|target| At { value: f64::from(target.value), place: target.place.clone() });
        let (min, max) = (self.min(), self.max());
        let annotations = Annotations {
            metric,
            target: target.or(annotated.target),
            min_scale: at(min),
            max_scale: if max == 0 { annotated.max_scale } else { at(max) },
            initial_scale: match min == 0 && config.allow_zero_initial_scale {
                true => at(0),
                false => annotated.initial_scale,
            },
            ..annotated
        };
        let container_concurrency = self.container_concurrency;
        Some(Revision { annotations, container_concurrency, unreachable: false })
    }

    /// `createHPA`: with an empty `behavior`, which the API fills with its defaults.
    pub(super) fn hpa(
        &self,
        controller: &ControllerSettings,
        problems: &mut Problems,
    ) -> Option<HpaSettings> {
        let min_replicas = self.min().max(DEFAULT_MIN_REPLICAS);
        let metrics = match &self.autoscaling {
            Some(scaling) => scaling.of_hpa(problems)?,
            None => self.scale_metric(problems)?.into_iter().collect(),
        };
        Some(HpaSettings {
            min_replicas,
            max_replicas: self.max().max(min_replicas),
            metrics: if metrics.is_empty() { vec![default_metric()] } else { metrics },
            behavior: Some(Behavior::defaults(controller.downscale_stabilization)),
        })
    }

    /// `scaleMetric` with `scaleTarget`. Memory has no default: without a target there is no metric.
    fn scale_metric(&self, problems: &mut Problems) -> Option<Option<MetricSource>> {
        let target = self.scale_target.as_ref().map(|target| i32::from(target.value));
        let percent = |resource, percent| MetricSource::Resource {
            resource,
            container: None,
            target: ResourceTarget::Utilization(percent),
        };
        match self.scale_metric.as_ref().map(|node| (node, node.as_text().unwrap_or(""))) {
            None | Some((_, "cpu")) => {
                Some(Some(percent(Resource::Cpu, target.unwrap_or(DEFAULT_CPU_UTILIZATION))))
            }
            Some((_, "memory")) => Some(target.map(|target| percent(Resource::Memory, target))),
            Some((node, other)) => {
                let message = format!(
                    "spec.predictor.scaleMetric: a raw deployment has cpu or memory, found {other:?}"
                );
                problems.error(&node.place, message);
                None
            }
        }
    }

    /// `createKedaScaledObject`.
    pub(super) fn keda(&self, reader: &mut Reader, installed: Installation<'_>) -> Option<ManifestKeda> {
        let bindings = Bindings { signals: installed.bind.clone(), ..Bindings::default() };
        let mut names = Names::new(&bindings);
        let scaling = self.autoscaling.as_ref();
        let triggers = match scaling {
            Some(scaling) => scaling.of_keda(&mut names, reader.problems())?,
            None => Vec::new(),
        };
        let behavior = scaling.and_then(|scaling| scaling.behavior.as_ref());
        let object = ScaledObject {
            polling_interval: Span::from_secs(30),
            cooldown_period: Span::from_secs(300),
            initial_cooldown_period: Span::ZERO,
            idle_replicas: None,
            min_replicas: self.min(),
            max_replicas: self.max().max(self.min()),
            triggers,
            modifiers: None,
            fallback: None,
            behavior: behavior.map(|spec| spec.check(installed.controller, reader.problems())),
            pause: Pause::default(),
        };
        object.check(&self.max_replicas.place, reader.problems());
        let stands_for = names.finish(reader);
        Some(ManifestKeda {
            target: ObjectName { kind: "InferenceService".into(), name: String::new() },
            object,
            stands_for,
        })
    }
}

//! `autoscaling/v2` and `autoscaling/v1` manifests of an HPA.
//!
//! `v1` carries everything beyond CPU in annotations, as the API server writes them; they are honoured as well.

use std::collections::BTreeMap;

use scaletwin_core::control::{MetricName, ObjectName, Resource};
use scaletwin_core::input::{At, Count, Node, Problem, Problems, Value, parse};
use scaletwin_core::units::{Quantity, Span};

use super::spec::{
    Behavior, BehaviorSpec, ControllerSettings, HpaSettings, MetricSource, PolicyType, ResourceTarget,
    RulesSpec, ScalingPolicySpec, SelectPolicy, ValueTarget, check_bounds, default_metric, positive_milli,
};
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, read_target, required, spec_of, value};

/// An HPA as a manifest gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestHpa {
    /// `spec.scaleTargetRef`: kind and name.
    pub target: ObjectName,
    /// The settings.
    pub settings: HpaSettings,
}

/// Reads the manifest `node` of an HPA.
///
/// # Errors
/// All problems: a field that is wrong, missing, or neither modelled nor waived.
pub fn read(
    node: &Node,
    waived: &[String],
    controller: &ControllerSettings,
) -> Result<(ManifestHpa, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let hpa = read_object(&mut reader, node, controller);
    reader.finish(hpa, &node.place)
}

/// The annotations in which v1 carries what it has no fields for.
const V1_METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const V1_BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn read_object(reader: &mut Reader, node: &Node, controller: &ControllerSettings) -> Option<ManifestHpa> {
    let (version, spec) =
        spec_of(reader, node, "HorizontalPodAutoscaler", &["autoscaling/v2", "autoscaling/v1"])?;
    let v1 = version == "autoscaling/v1";
    let annotations = node.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let mut fields = reader.fields(spec, "spec")?;
    let target = fields.honour(reader, "scaleTargetRef");
    let target = target.and_then(|target| read_target(reader, target, "spec.scaleTargetRef"));
    let min: Option<At<i32>> = value(&mut fields, reader, "minReplicas");
    let max: Option<At<i32>> = required(&mut fields, reader, "maxReplicas");
    let (metrics, behavior) = if v1 {
        let percent = value::<At<Count>>(&mut fields, reader, "targetCPUUtilizationPercentage");
        read_v1(reader, annotations, percent)
    } else {
        let metrics = fields.honour(reader, "metrics");
        let metrics = metrics.map(|list| read_list(reader, list, "spec.metrics", read_metric));
        let behavior = fields.honour(reader, "behavior").map(|node| read_behavior(reader, node, BEHAVIOR));
        (metrics.unwrap_or_default(), behavior)
    };
    fields.finish(reader);
    let metrics = if metrics.is_empty() { vec![default_metric()] } else { metrics };
    let behavior: Option<Behavior> = behavior.map(|spec| spec.check(controller, reader.problems()));
    let max = max?;
    let min = min.unwrap_or(At { value: 1, place: max.place.clone() });
    let settings = HpaSettings { min_replicas: min.value, max_replicas: max.value, metrics, behavior };
    if min.value < 0 || max.value < 1 {
        reader.problems().error(&max.place, "replicas are counted from 0, and at most means at least 1");
    }
    check_bounds(&settings, controller, &min, &max, reader.problems());
    Some(ManifestHpa { target: target?, settings })
}

/// Reads one node at a path.
pub(crate) type ReadOne<T> = fn(&mut Reader, &Node, &str) -> Option<T>;

pub(crate) fn read_list<T>(reader: &mut Reader, node: &Node, path: &str, read: ReadOne<T>) -> Vec<T> {
    let Value::List(nodes) = &node.value else {
        reader.problems().error(&node.place, format!("{path}: expected a list, found {}", node.kind()));
        return Vec::new();
    };
    let nodes = nodes.iter().enumerate();
    nodes.filter_map(|(at, node)| read(reader, node, &format!("{path}[{at}]"))).collect()
}

/// One entry of `spec.metrics` in v2.
fn read_metric(reader: &mut Reader, node: &Node, path: &str) -> Option<MetricSource> {
    let mut fields = reader.fields(node, path)?;
    let kind: String = required(&mut fields, reader, "type")?;
    let (key, read): (&'static str, ReadOne<MetricSource>) = match kind.as_str() {
        "Resource" => ("resource", read_resource),
        "ContainerResource" => ("containerResource", read_resource),
        "Pods" => ("pods", read_pods),
        "Object" => ("object", read_object_metric),
        "External" => ("external", read_external),
        other => {
            reader.problems().error(
                fields.place,
                format!("{path}.type: expected Resource, ContainerResource, Pods, Object or External, found {other:?}"),
            );
            return None;
        }
    };
    let inner = fields.honour(reader, key);
    let inner_path = fields.path_of(key);
    let Some(inner) = inner else {
        reader.problems().error(fields.place, format!("{inner_path} is missing"));
        return None;
    };
    let metric = read(reader, inner, &inner_path);
    fields.finish(reader);
    metric
}

/// A `target` of v2.
struct Target {
    kind: String,
    value: Option<At<Quantity>>,
    average_value: Option<At<Quantity>>,
    average_utilization: Option<At<Count>>,
}

fn read_target_of(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<(Target, String)> {
    let path = fields.path_of("target");
    let Some(node) = fields.honour(reader, "target") else {
        reader.problems().error(fields.place, format!("{path} is missing"));
        return None;
    };
    let mut fields = reader.fields(node, &path)?;
    let kind: Option<String> = required(&mut fields, reader, "type");
    let target = Target {
        kind: kind?,
        value: value(&mut fields, reader, "value"),
        average_value: value(&mut fields, reader, "averageValue"),
        average_utilization: value(&mut fields, reader, "averageUtilization"),
    };
    fields.finish(reader);
    Some((target, path))
}

impl Target {
    /// The value target, for object and external metrics.
    fn value_target(&self, path: &str, reader: &mut Reader, place: &Node) -> Option<ValueTarget> {
        let (given, make): (_, fn(i64) -> ValueTarget) = match self.kind.as_str() {
            "Value" => (&self.value, ValueTarget::Value),
            "AverageValue" => (&self.average_value, ValueTarget::AverageValue),
            other => {
                let message = format!("{path}.type: expected Value or AverageValue, found {other:?}");
                reader.problems().error(&place.place, message);
                return None;
            }
        };
        match given {
            Some(value) => positive_milli(value, reader.problems()).map(make),
            None => {
                reader
                    .problems()
                    .error(&place.place, format!("{path}: the value of type {} is missing", self.kind));
                None
            }
        }
    }
}

fn read_resource(reader: &mut Reader, node: &Node, path: &str) -> Option<MetricSource> {
    let before = reader.problems().len();
    let mut fields = reader.fields(node, path)?;
    let name: Option<At<String>> = required(&mut fields, reader, "name");
    let container: Option<String> =
        if path.ends_with("containerResource") { required(&mut fields, reader, "container") } else { None };
    let target = read_target_of(&mut fields, reader);
    fields.finish(reader);
    let (target, target_path) = target?;
    let resource = resource_of(&name?, reader.problems())?;
    if target.average_utilization.is_some() && target.average_value.is_some() {
        let message = format!("{target_path}: averageUtilization and averageValue exclude each other");
        reader.problems().error(&node.place, message);
    }
    let target = match (target.kind.as_str(), &target.average_utilization, &target.average_value) {
        ("Utilization", Some(percent), _) => {
            ResourceTarget::Utilization(i32::try_from(percent.0).unwrap_or(i32::MAX))
        }
        ("AverageValue", _, Some(value)) => {
            ResourceTarget::AverageValue(positive_milli(value, reader.problems())?)
        }
        // What cannot be read is missing, and has been said.
        _ if reader.problems().len() > before => return None,
        (kind, ..) => {
            let message = format!(
                "{target_path}: expected type Utilization with averageUtilization, or AverageValue with averageValue, found {kind:?}"
            );
            reader.problems().error(&node.place, message);
            return None;
        }
    };
    Some(MetricSource::Resource { resource, container, target })
}

fn resource_of(name: &At<String>, problems: &mut Problems) -> Option<Resource> {
    match name.as_str() {
        "cpu" => Some(Resource::Cpu),
        "memory" => Some(Resource::Memory),
        other => {
            let problem = Problem::error(&name.place, format!("metrics-server does not report {other:?}"));
            problems.push(
                problem.hint("it reports cpu and memory; other figures come as Pods or External metrics"),
            );
            None
        }
    }
}

fn read_pods(reader: &mut Reader, node: &Node, path: &str) -> Option<MetricSource> {
    let mut fields = reader.fields(node, path)?;
    let metric = read_metric_name(&mut fields, reader);
    let target = read_target_of(&mut fields, reader);
    fields.finish(reader);
    let (metric, (target, target_path)) = (metric?, target?);
    let Some(value) = target.average_value.filter(|_| target.kind == "AverageValue") else {
        reader
            .problems()
            .error(&node.place, format!("{target_path}: expected type AverageValue with averageValue"));
        return None;
    };
    Some(MetricSource::Pods { metric, average_value: positive_milli(&value, reader.problems())? })
}

fn read_object_metric(reader: &mut Reader, node: &Node, path: &str) -> Option<MetricSource> {
    let mut fields = reader.fields(node, path)?;
    let metric = read_metric_name(&mut fields, reader);
    let described = fields.honour(reader, "describedObject");
    let described_path = fields.path_of("describedObject");
    let object = described.and_then(|node| read_target(reader, node, &described_path));
    if described.is_none() {
        reader.problems().error(fields.place, format!("{described_path} is missing"));
    }
    let target = read_target_of(&mut fields, reader);
    fields.finish(reader);
    let (metric, object, (target, target_path)) = (metric?, object?, target?);
    Some(MetricSource::Object { object, metric, target: target.value_target(&target_path, reader, node)? })
}

fn read_external(reader: &mut Reader, node: &Node, path: &str) -> Option<MetricSource> {
    let mut fields = reader.fields(node, path)?;
    let metric = read_metric_name(&mut fields, reader);
    let target = read_target_of(&mut fields, reader);
    fields.finish(reader);
    let (metric, (target, target_path)) = (metric?, target?);
    if target.value.is_some() && target.average_value.is_some() {
        let message = format!("{target_path}: value and averageValue exclude each other");
        reader.problems().error(&node.place, message);
    }
    Some(MetricSource::External { metric, target: target.value_target(&target_path, reader, node)? })
}

/// `metric: {name, selector: {matchLabels}}`.
fn read_metric_name(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<MetricName> {
    let path = fields.path_of("metric");
    let Some(node) = fields.honour(reader, "metric") else {
        reader.problems().error(fields.place, format!("{path} is missing"));
        return None;
    };
    let mut fields = reader.fields(node, &path)?;
    let name: Option<String> = required(&mut fields, reader, "name");
    let selector = fields.honour(reader, "selector");
    fields.finish(reader);
    let selector = match selector {
        Some(node) => read_selector(reader, node, &format!("{path}.selector"))?,
        None => BTreeMap::new(),
    };
    Some(MetricName { name: name?, selector })
}

fn read_selector(reader: &mut Reader, node: &Node, path: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = reader.fields(node, path)?;
    let labels = value::<BTreeMap<String, String>>(&mut fields, reader, "matchLabels");
    let is_empty = |node: &Node| matches!(&node.value, Value::List(nodes) if nodes.is_empty());
    fields.without_effect_when(reader, "matchExpressions", |node| node.is_null() || is_empty(node));
    fields.finish(reader);
    Some(labels.unwrap_or_default())
}

/// Where v2 has the behavior.
const BEHAVIOR: &str = "spec.behavior";

/// A behavior as v2 writes it, at `path`.
pub(in crate::kubernetes) fn read_behavior(reader: &mut Reader, node: &Node, path: &str) -> BehaviorSpec {
    let mut behavior = BehaviorSpec { scale_up: None, scale_down: None };
    if let Some(mut fields) = reader.fields(node, path) {
        let up = fields.honour(reader, "scaleUp");
        behavior.scale_up = up.and_then(|node| read_rules(reader, node, &format!("{path}.scaleUp")));
        let down = fields.honour(reader, "scaleDown");
        behavior.scale_down = down.and_then(|node| read_rules(reader, node, &format!("{path}.scaleDown")));
        fields.finish(reader);
    }
    behavior
}

fn read_rules(reader: &mut Reader, node: &Node, path: &str) -> Option<RulesSpec> {
    let mut fields = reader.fields(node, path)?;
    let window = value::<At<u32>>(&mut fields, reader, "stabilizationWindowSeconds");
    let select_policy = value::<SelectPolicy>(&mut fields, reader, "selectPolicy");
    let tolerance = value::<At<Quantity>>(&mut fields, reader, "tolerance");
    let policies = fields.honour(reader, "policies").and_then(|node| {
        let value = read_list(reader, node, &format!("{path}.policies"), read_policy);
        // Where none could be read, that has been said.
        let said = value.is_empty() && !matches!(&node.value, Value::List(nodes) if nodes.is_empty());
        (!said).then(|| At { value, place: node.place.clone() })
    });
    fields.finish(reader);
    Some(RulesSpec { stabilization_window: window.map(seconds), select_policy, policies, tolerance })
}

fn seconds(value: At<u32>) -> At<Span> {
    At { value: Span::from_secs(u64::from(value.value)), place: value.place }
}

fn read_policy(reader: &mut Reader, node: &Node, path: &str) -> Option<ScalingPolicySpec> {
    let mut fields = reader.fields(node, path)?;
    let kind = required::<PolicyType>(&mut fields, reader, "type");
    let amount = required::<Count>(&mut fields, reader, "value");
    let period = required::<At<u32>>(&mut fields, reader, "periodSeconds");
    fields.finish(reader);
    Some(ScalingPolicySpec { r#type: kind?, value: amount?, period: seconds(period?) })
}

/// What v1 says: a CPU percentage, and two annotations.
fn read_v1(
    reader: &mut Reader,
    annotations: Option<&Node>,
    percent: Option<At<Count>>,
) -> (Vec<MetricSource>, Option<BehaviorSpec>) {
    let mut metrics: Vec<_> = percent
        .map(|percent| MetricSource::Resource {
            resource: Resource::Cpu,
            container: None,
            target: ResourceTarget::Utilization(i32::try_from(percent.0).unwrap_or(i32::MAX)),
        })
        .into_iter()
        .collect();
    if let Some(node) = annotation(reader, annotations, V1_METRICS) {
        metrics.extend(read_list(reader, &node, V1_METRICS, read_v1_metric));
    }
    let behavior = annotation(reader, annotations, V1_BEHAVIOR);
    (metrics, behavior.map(|node| read_behavior(reader, &in_v2_spelling(&node), BEHAVIOR)))
}

/// The JSON of an annotation as a tree of its own.
fn annotation(reader: &mut Reader, annotations: Option<&Node>, key: &str) -> Option<Node> {
    let node = annotations?.get(key)?;
    match parse(key, node.as_text().unwrap_or("")) {
        Ok(tree) => Some(tree),
        Err(problem) => {
            reader.problems().error(&node.place, format!("the annotation is no JSON: {}", problem.message));
            None
        }
    }
}

/// The behavior annotation has Go's field names; those of v2 begin with a small letter.
fn in_v2_spelling(node: &Node) -> Node {
    let value = match &node.value {
        Value::Map(entries) => {
            let entries = entries.iter().map(|entry| {
                let mut entry = entry.clone();
                let mut letters = entry.key.chars();
                let first = letters.next().map(|letter| letter.to_ascii_lowercase());
                entry.key = first.into_iter().chain(letters).collect();
                entry.node = in_v2_spelling(&entry.node);
                entry
            });
            Value::Map(entries.collect())
        }
        Value::List(nodes) => Value::List(nodes.iter().map(in_v2_spelling).collect()),
        other => other.clone(),
    };
    Node { value, place: node.place.clone() }
}

/// One entry of the metrics annotation: the fields of `autoscaling/v1` have other names.
fn read_v1_metric(reader: &mut Reader, node: &Node, path: &str) -> Option<MetricSource> {
    let mut fields = reader.fields(node, path)?;
    let kind: String = required(&mut fields, reader, "type")?;
    let key: &'static str = match kind.as_str() {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        other => {
            reader.problems().error(fields.place, format!("{path}.type: unknown metric type {other:?}"));
            return None;
        }
    };
    let inner_path = fields.path_of(key);
    let Some(inner) = fields.honour(reader, key) else {
        reader.problems().error(fields.place, format!("{inner_path} is missing"));
        return None;
    };
    fields.finish(reader);
    let mut fields = reader.fields(inner, &inner_path)?;
    let metric = match key {
        "resource" | "containerResource" => {
            let name: Option<At<String>> = required(&mut fields, reader, "name");
            let container: Option<String> = value(&mut fields, reader, "container");
            let percent: Option<Count> = value(&mut fields, reader, "targetAverageUtilization");
            let average: Option<At<Quantity>> = value(&mut fields, reader, "targetAverageValue");
            let target = match (percent, average) {
                (Some(percent), _) => {
                    ResourceTarget::Utilization(i32::try_from(percent.0).unwrap_or(i32::MAX))
                }
                (None, Some(value)) => {
                    ResourceTarget::AverageValue(positive_milli(&value, reader.problems())?)
                }
                (None, None) => {
                    reader.problems().error(fields.place, format!("{inner_path} has no target"));
                    return None;
                }
            };
            MetricSource::Resource { resource: resource_of(&name?, reader.problems())?, container, target }
        }
        "pods" => {
            let metric = v1_name(&mut fields, reader, "selector");
            let average: Option<At<Quantity>> = required(&mut fields, reader, "targetAverageValue");
            MetricSource::Pods {
                metric: metric?,
                average_value: positive_milli(&average?, reader.problems())?,
            }
        }
        "object" => {
            let target = fields.honour(reader, "target");
            let object = target.and_then(|node| read_target(reader, node, &format!("{inner_path}.target")));
            let metric = v1_name(&mut fields, reader, "selector");
            let target = v1_target(&mut fields, reader, "averageValue");
            MetricSource::Object { object: object?, metric: metric?, target: target? }
        }
        _ => {
            let metric = v1_name(&mut fields, reader, "metricSelector");
            let target = v1_target(&mut fields, reader, "targetAverageValue");
            MetricSource::External { metric: metric?, target: target? }
        }
    };
    fields.finish(reader);
    Some(metric)
}

fn v1_name(fields: &mut Fields<'_>, reader: &mut Reader, selector: &'static str) -> Option<MetricName> {
    let name: Option<String> = required(fields, reader, "metricName");
    let path = fields.path_of(selector);
    let selector = match fields.honour(reader, selector) {
        Some(node) => read_selector(reader, node, &path)?,
        None => BTreeMap::new(),
    };
    Some(MetricName { name: name?, selector })
}

/// The target of an object or external metric in v1: an average that is set counts before the value, which object
/// metrics carry as "0" then.
fn v1_target(fields: &mut Fields<'_>, reader: &mut Reader, average: &'static str) -> Option<ValueTarget> {
    let whole: Option<At<Quantity>> = value(fields, reader, "targetValue");
    match value::<At<Quantity>>(fields, reader, average) {
        Some(average) => positive_milli(&average, reader.problems()).map(ValueTarget::AverageValue),
        None => match whole {
            Some(whole) => positive_milli(&whole, reader.problems()).map(ValueTarget::Value),
            None => {
                let message = format!("{} is missing", fields.path_of("targetValue"));
                reader.problems().error(fields.place, message);
                None
            }
        },
    }
}

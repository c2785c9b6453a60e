//! `spec.predictor.autoScaling`: the metrics of a raw deployment.

use scaletwin_core::control::Resource;
use scaletwin_core::input::{At, Node, Place, Problem, Problems};
use scaletwin_core::units::Quantity;

use super::DEFAULT_CPU_UTILIZATION;
use crate::kubernetes::hpa::manifest::read_list;
use crate::kubernetes::hpa::spec::{
    BehaviorSpec, MetricSource, ResourceName, ResourceTarget, RulesSpec, positive_milli,
};
use crate::kubernetes::keda::MetricType;
use crate::kubernetes::keda::bindings::{Names, StandsFor};
use crate::kubernetes::keda::spec::resource;
use crate::kubernetes::keda::trigger::{SignalSource, Source, Trigger, metric_name, milli};
use crate::kubernetes::manifest::{Reader, required, value};

/// `autoScaling`.
#[derive(Debug)]
pub(super) struct AutoScaling {
    metrics: Vec<ScaleMetric>,
    /// Of it KServe hands on the windows alone, and to KEDA alone.
    pub behavior: Option<BehaviorSpec>,
}

/// One of its metrics.
#[derive(Debug)]
enum ScaleMetric {
    Resource {
        name: At<ResourceName>,
        target: Target,
    },
    /// A query to Prometheus.
    Query {
        query: String,
        target: Target,
    },
    /// A metric of pods, which the OpenTelemetry add-on of KEDA adds up.
    Pods {
        query: String,
        target: Target,
    },
}

/// A `target`.
#[derive(Debug)]
struct Target {
    kind: At<String>,
    value: Option<At<Quantity>>,
    average_value: Option<At<Quantity>>,
    average_utilization: Option<At<u16>>,
}

pub(super) fn read_autoscaling(reader: &mut Reader, node: &Node) -> Option<AutoScaling> {
    let mut fields = reader.fields(node, "spec.predictor.autoScaling")?;
    let list = fields.honour(reader, "metrics");
    let behavior = fields.honour(reader, "behavior");
    fields.finish(reader);
    let metrics = list.map(|list| read_list(reader, list, "spec.predictor.autoScaling.metrics", read_metric));
    let behavior = behavior.and_then(|node| read_behavior(reader, node));
    Some(AutoScaling { metrics: metrics.unwrap_or_default(), behavior })
}

fn read_behavior(reader: &mut Reader, node: &Node) -> Option<BehaviorSpec> {
    let path = "spec.predictor.autoScaling.behavior";
    let mut fields = reader.fields(node, path)?;
    let [up, down] = ["scaleUp", "scaleDown"].map(|key| fields.honour(reader, key).map(|node| (key, node)));
    fields.finish(reader);
    let mut rules = |written: Option<(&str, &Node)>| {
        let (key, node) = written?;
        let mut fields = reader.fields(node, &format!("{path}.{key}"))?;
        let window = value::<At<u32>>(&mut fields, reader, "stabilizationWindowSeconds");
        fields.without_effect_where(reader, |_| true);
        let stabilization_window = window.map(|at| At {
            value: scaletwin_core::units::Span::from_secs(u64::from(at.value)),
            place: at.place,
        })?;
        Some(RulesSpec {
            stabilization_window: Some(stabilization_window),
            select_policy: None,
            policies: None,
            tolerance: None,
        })
    };
    let (scale_up, scale_down) = (rules(up), rules(down));
    (scale_up.is_some() || scale_down.is_some()).then_some(BehaviorSpec { scale_up, scale_down })
}

fn read_metric(reader: &mut Reader, node: &Node, path: &str) -> Option<ScaleMetric> {
    let mut fields = reader.fields(node, path)?;
    let kind: At<String> = required(&mut fields, reader, "type")?;
    let key = match kind.as_str() {
        "Resource" => "resource",
        "External" => "external",
        "PodMetric" => "podmetric",
        other => {
            let message = format!("{path}.type: expected Resource, External or PodMetric, found {other:?}");
            reader.problems().error(&kind.place, message);
            return None;
        }
    };
    let inner = fields.honour(reader, key);
    let inner_path = fields.path_of(key);
    fields.finish(reader);
    let Some(inner) = inner else {
        reader.problems().error(&node.place, format!("{inner_path} is missing"));
        return None;
    };
    let mut fields = reader.fields(inner, &inner_path)?;
    let target = fields.honour(reader, "target");
    let target = read_target(reader, target, &inner_path, &inner.place);
    let metric = if key == "resource" {
        let name = required(&mut fields, reader, "name");
        name.zip(target).map(|(name, target)| ScaleMetric::Resource { name, target })
    } else {
        fields.without_effect(reader, &["authenticationRef", "authentication"]);
        let query =
            fields.honour(reader, "metric").and_then(|node| read_query(reader, node, key, &inner_path));
        query.zip(target).map(|(query, target)| match key {
            "external" => ScaleMetric::Query { query, target },
            _ => ScaleMetric::Pods { query, target },
        })
    };
    fields.finish(reader);
    metric
}

/// `metric` of an external metric or of one of pods: its query, where the backend is the one that is modelled.
fn read_query(reader: &mut Reader, node: &Node, key: &str, path: &str) -> Option<String> {
    let path = format!("{path}.metric");
    let mut fields = reader.fields(node, &path)?;
    let backend: Option<At<String>> = required(&mut fields, reader, "backend");
    let query = required(&mut fields, reader, "query");
    fields.without_effect(reader, &["serverAddress", "namespace"]);
    let over: Option<At<String>> = value(&mut fields, reader, "operationOverTime");
    fields.finish(reader);
    if let Some(over) = over.filter(|over| over.value != "last_one") {
        let message = format!("{path}.operationOverTime: only last_one is modelled, found {:?}", over.value);
        reader.problems().error(&over.place, message);
        return None;
    }
    let modelled = if key == "external" { "prometheus" } else { "opentelemetry" };
    let backend = backend?;
    if backend.value != modelled {
        let message = format!("{path}.backend: {modelled} is modelled, found {:?}", backend.value);
        reader.problems().error(&backend.place, message);
        return None;
    }
    query
}

fn read_target(reader: &mut Reader, node: Option<&Node>, path: &str, place: &Place) -> Option<Target> {
    let path = format!("{path}.target");
    let Some(node) = node else {
        reader.problems().error(place, format!("{path} is missing"));
        return None;
    };
    let mut fields = reader.fields(node, &path)?;
    let kind = required(&mut fields, reader, "type");
    let value_of = value(&mut fields, reader, "value");
    let average_value = value(&mut fields, reader, "averageValue");
    let average_utilization = value(&mut fields, reader, "averageUtilization");
    fields.finish(reader);
    Some(Target { kind: kind?, value: value_of, average_value, average_utilization })
}

impl AutoScaling {
    /// `getHPAMetrics`: resources alone.
    pub(super) fn of_hpa(&self, problems: &mut Problems) -> Option<Vec<MetricSource>> {
        let one = |metric: &ScaleMetric| match metric {
            ScaleMetric::Resource { name, target } => target.of_hpa(name.value, problems),
            ScaleMetric::Query { target, .. } | ScaleMetric::Pods { target, .. } => {
                let problem =
                    Problem::error(&target.kind.place, "the HPA that KServe makes has resources alone");
                problems.push(problem.hint("annotate serving.kserve.io/autoscalerClass: keda"));
                None
            }
        };
        self.metrics.iter().map(one).collect()
    }

    /// `getKedaMetrics`.
    pub(super) fn of_keda(&self, names: &mut Names<'_>, problems: &mut Problems) -> Option<Vec<Trigger>> {
        let one = |(at, metric): (usize, &ScaleMetric)| match metric {
            ScaleMetric::Resource { name, target } => {
                let metric = target.of_keda(name.value, problems)?;
                Some(resource(name.value.name(), metric))
            }
            ScaleMetric::Query { query, target } => {
                target.trigger("prometheus", at, query, true, names, problems)
            }
            ScaleMetric::Pods { query, target } => {
                let sum = format!("sum({query})");
                target.trigger("external", at, &sum, false, names, problems)
            }
        };
        self.metrics.iter().enumerate().map(one).collect()
    }
}

impl Target {
    fn utilization(&self, name: ResourceName, problems: &mut Problems) -> Option<ResourceTarget> {
        let default = (name == ResourceName::Cpu).then_some(DEFAULT_CPU_UTILIZATION);
        let percent = self.average_utilization.as_ref().map(|at| i32::from(at.value)).or(default);
        let percent = percent.filter(|percent| *percent > 0);
        if percent.is_none() {
            problems.error(&self.kind.place, "averageUtilization is missing, or 0");
        }
        percent.map(ResourceTarget::Utilization)
    }

    fn average(&self, problems: &mut Problems) -> Option<ResourceTarget> {
        let Some(value) = &self.average_value else {
            problems.error(&self.kind.place, "averageValue is missing");
            return None;
        };
        positive_milli(value, problems).map(ResourceTarget::AverageValue)
    }

    /// CPU is taken in percent whatever the type.
    fn of_hpa(&self, name: ResourceName, problems: &mut Problems) -> Option<MetricSource> {
        let average = name == ResourceName::Memory && self.kind.value == "AverageValue";
        let target = if average { self.average(problems) } else { self.utilization(name, problems) };
        Some(MetricSource::Resource { resource: name.resource(), container: None, target: target? })
    }

    fn of_keda(&self, name: ResourceName, problems: &mut Problems) -> Option<MetricSource> {
        let target = match self.kind.as_str() {
            "Utilization" => self.utilization(name, problems),
            "AverageValue" => self.average(problems),
            other => {
                let message =
                    format!("KEDA takes Utilization or AverageValue of a resource, found {other:?}");
                problems.error(&self.kind.place, message);
                None
            }
        };
        let resource: Resource = name.resource();
        Some(MetricSource::Resource { resource, container: None, target: target? })
    }

    /// The trigger of a query, with the value of its target as the threshold, which KServe writes with six decimals.
    fn trigger(
        &self,
        kind: &str,
        at: usize,
        query: &str,
        ignore_null_values: bool,
        names: &mut Names<'_>,
        problems: &mut Problems,
    ) -> Option<Trigger> {
        let written = self.value.as_ref().map_or(0.0, |value| value.as_f64());
        let threshold = format!("{written:.6}").parse().map_or(0, milli);
        if threshold <= 0 {
            let message = "KServe hands on target.value as the threshold: it is above 0";
            problems.error(&self.kind.place, message);
            return None;
        }
        let signal = names.signal(None, &metric_name(at, kind), StandsFor::Query(query.to_owned()));
        let source = SignalSource {
            signal,
            threshold,
            activation_threshold: 0.0,
            ignore_null_values,
            push: false,
            partitions: None,
        };
        Some(Trigger {
            kind: kind.to_owned(),
            name: None,
            metric_type: MetricType::AverageValue,
            cached: false,
            source: Source::Signal(source),
        })
    }
}

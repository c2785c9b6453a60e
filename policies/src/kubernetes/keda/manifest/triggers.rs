//! The triggers of a ScaledObject.

use scaletwin_core::input::{At, Node, Problem};
use scaletwin_core::units::Quantity;

use super::super::bindings::{Names, StandsFor};
use super::super::scalers::{Nothing, SCALERS};
use super::super::spec::resource;
use super::super::trigger::{Partitions, SignalSource, Source, Trigger, metric_name};
use super::super::{MetricType, trigger};
use super::truth;
use crate::kubernetes::hpa::manifest::read_list;
use crate::kubernetes::hpa::spec::{MetricSource, ResourceName, ResourceTarget, positive_milli};
use crate::kubernetes::manifest::{Fields, Reader, required, value};
use crate::rules::schedule::between;

/// Triggers in their order. Their places name their metrics, so that one that cannot be read still counts.
pub(super) fn read_triggers(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    names: &mut Names<'_>,
) -> Vec<Trigger> {
    let nodes = read_list(reader, node, path, |_, node, path| Some((node.clone(), path.to_owned())));
    let nodes = nodes.iter().enumerate();
    nodes.filter_map(|(at, (node, path))| read_trigger(reader, node, path, at, names)).collect()
}

/// What is asked for by a trigger that a signal stands for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    kind: &'a At<String>,
    name: Option<&'a str>,
    /// The name of its metric in the HPA.
    metric: &'a str,
}

fn read_trigger(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    at: usize,
    names: &mut Names<'_>,
) -> Option<Trigger> {
    let mut fields = reader.fields(node, path)?;
    let kind: Option<At<String>> = required(&mut fields, reader, "type");
    let name: Option<String> = value(&mut fields, reader, "name");
    let metric_type: Option<At<String>> = value(&mut fields, reader, "metricType");
    let cached = value(&mut fields, reader, "useCachedMetrics").unwrap_or(false);
    // How KEDA may ask is no matter here.
    fields.without_effect(reader, &["authenticationRef"]);
    let metadata = fields.honour(reader, "metadata");
    let metadata_path = fields.path_of("metadata");
    fields.finish(reader);
    let kind = kind?;
    let Some(metadata) = metadata else {
        reader.problems().error(&node.place, format!("{metadata_path} is missing"));
        return None;
    };
    let mut fields = reader.fields(metadata, &metadata_path)?;
    if cached && matches!(kind.as_str(), "cpu" | "memory" | "cron") {
        let message = format!("useCachedMetrics is not supported for the {} scaler", kind.value);
        reader.problems().error(&kind.place, message);
    }
    if let "cpu" | "memory" = kind.as_str() {
        let read = read_resource(&mut fields, reader, &kind, metric_type.as_ref());
        fields.finish(reader);
        return read.map(|trigger| Trigger { name, ..trigger });
    }
    let metric_type = match metric_type.as_ref().map(|at| (at, at.as_str())) {
        None | Some((_, "AverageValue")) => MetricType::AverageValue,
        Some((_, "Value")) => MetricType::Value,
        Some((at, other)) => {
            reader.problems().error(&at.place, format!("expected AverageValue or Value, found {other:?}"));
            return None;
        }
    };
    let metric = metric_name(at, &kind);
    let asked = Asked { kind: &kind, name: name.as_deref(), metric: &metric };
    let source = match kind.as_str() {
        "cron" => read_cron(&mut fields, reader),
        "external" | "external-push" => read_external(&mut fields, reader, &asked, names),
        _ => read_scaler(&mut fields, reader, &asked, names),
    };
    fields.finish(reader);
    Some(Trigger { kind: kind.value, name, metric_type, cached, source: source? })
}

/// A number written as a text.
pub(super) fn number(fields: &mut Fields<'_>, reader: &mut Reader, key: &'static str) -> Option<f64> {
    let written: At<String> = value(fields, reader, key)?;
    match written.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Some(number),
        _ => {
            let message = format!("{}: {:?} is no number", fields.path_of(key), written.value);
            reader.problems().error(&written.place, message);
            None
        }
    }
}

fn read_cron(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Source> {
    let zone: Option<At<String>> = required(fields, reader, "timezone");
    let start: Option<At<String>> = required(fields, reader, "start");
    let end: Option<At<String>> = required(fields, reader, "end");
    let replicas: Option<At<String>> = required(fields, reader, "desiredReplicas");
    let between = between(&start?, &end?, &zone?, reader.problems())?;
    let replicas = replicas?;
    match replicas.trim().parse::<u16>() {
        Ok(count) => Some(Source::Cron { between, desired_replicas: i64::from(count) }),
        Err(_) => {
            reader.problems().error(&replicas.place, "desiredReplicas: expected a whole number");
            None
        }
    }
}

fn read_resource(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    kind: &At<String>,
    metric_type: Option<&At<String>>,
) -> Option<Trigger> {
    let written: At<String> = required(fields, reader, "value")?;
    let container: Option<String> = value(fields, reader, "containerName");
    let target = match metric_type.map(|at| at.as_str()) {
        Some("Utilization") => {
            written.trim().parse().ok().filter(|n| *n > 0).map(ResourceTarget::Utilization)
        }
        Some("AverageValue") => {
            let quantity = written.trim().parse::<Quantity>().ok();
            quantity.map(Quantity::milli_value).filter(|n| *n > 0).map(ResourceTarget::AverageValue)
        }
        other => {
            let found = other.unwrap_or("none");
            let message =
                format!("a {} trigger has metricType Utilization or AverageValue, found {found}", kind.value);
            let problem = Problem::error(&kind.place, message);
            let hint = "write metricType: beside type:; KEDA takes it from metadata no longer";
            reader.problems().push(problem.hint(hint));
            return None;
        }
    };
    let Some(target) = target else {
        reader.problems().error(&written.place, "value: expected a number above 0");
        return None;
    };
    let name = if kind.value == "cpu" { ResourceName::Cpu } else { ResourceName::Memory };
    Some(resource(&kind.value, MetricSource::Resource { resource: name.resource(), container, target }))
}

fn read_scaler(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    asked: &Asked<'_>,
    names: &mut Names<'_>,
) -> Option<Source> {
    let Asked { kind, name, metric } = *asked;
    let Some(scaler) = SCALERS.iter().find(|scaler| scaler.kind == kind.value) else {
        let problem = Problem::error(
            &kind.place,
            format!("a trigger of type {:?} is not modelled in a manifest", kind.value),
        );
        let known: Vec<&str> = SCALERS.iter().map(|scaler| scaler.kind).collect();
        reader.problems().push(problem.hint(format!(
            "cpu, memory, cron, {} are; with our own keys any other is queue:, external: or external_push: with a signal",
            known.join(", ")
        )));
        fields.without_effect_where(reader, |_| true);
        return None;
    };
    let partitions =
        if PARTITIONED.contains(&scaler.kind) { read_partitions(fields, reader, asked, names) } else { None };
    let prometheus = scaler.kind == "prometheus";
    let query: Option<String> = if prometheus { required(fields, reader, "query") } else { None };
    let target_key = scaler.target(|key| fields.has(key));
    let target = number(fields, reader, target_key).or(scaler.default);
    let activation = scaler.activation(|key| fields.has(key));
    let activation_threshold = number(fields, reader, activation).unwrap_or(0.0);
    let ignore_null_values = read_nothing(fields, reader, scaler.nothing);
    fields.without_effect_where(reader, |key| scaler.measured.contains(&key));
    let threshold = target.map(trigger::milli).filter(|milli| *milli > 0);
    let Some(threshold) = threshold else {
        let message = format!("{}: expected a number above 0", fields.path_of(target_key));
        reader.problems().error(fields.place, message);
        return None;
    };
    let stands_for = query.map_or_else(|| StandsFor::Scaler(scaler.kind.to_owned()), StandsFor::Query);
    let signal = names.signal(name, metric, stands_for);
    Some(Source::Signal(SignalSource {
        signal,
        threshold,
        activation_threshold,
        ignore_null_values,
        push: false,
        partitions,
    }))
}

/// Whether an empty answer counts as 0.
fn read_nothing(fields: &mut Fields<'_>, reader: &mut Reader, nothing: Nothing) -> bool {
    let ignored = match nothing {
        Nothing::Fails => false,
        Nothing::CountsAs(_) => true,
        Nothing::Ignored | Nothing::CountsAsUnlessRefused(_) => {
            value::<String>(fields, reader, "ignoreNullValues").is_none_or(|text| truth(&text))
        }
    };
    let (Nothing::CountsAs(key) | Nothing::CountsAsUnlessRefused(key)) = nothing else { return ignored };
    let Some(counts_as) = number(fields, reader, key) else { return false };
    if ignored && counts_as != 0.0 {
        let message = format!("{}: an empty answer counts as 0 or as an error here", fields.path_of(key));
        let problem = Problem::error(fields.place, message);
        reader.problems().push(problem.hint("write 0, and bind a signal that always has a value"));
    }
    ignored
}

/// The scalers whose lag is limited by partitions.
const PARTITIONED: [&str; 3] = ["kafka", "apache-kafka", "azure-eventhub"];

/// The partitions that limit what a lag asks for, where the scenario says how many there are.
fn read_partitions(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    asked: &Asked<'_>,
    names: &mut Names<'_>,
) -> Option<Partitions> {
    let mut holds = |key| value::<String>(fields, reader, key).is_some_and(|text| truth(&text));
    let (idle, even) = (holds("allowIdleConsumers"), holds("ensureEvenDistributionOfPartitions"));
    // Which partitions lag, and by messages that nobody takes, one number does not say.
    for key in ["limitToPartitionsWithLag", "excludePersistentLag"] {
        fields.without_effect_when(reader, key, |node| node.as_text().is_some_and(|text| !truth(text)));
    }
    let count = names.partitions(asked.name, asked.metric);
    if even && count.is_none() {
        let problem = Problem::error(fields.place, "an even distribution needs the number of partitions");
        reader
            .problems()
            .push(problem.hint(format!("add partitions: {{{}: 12}} to the controller", asked.metric)));
    }
    count.filter(|_| even || !idle).map(|count| Partitions { count: i64::from(count), even })
}

/// A scaler outside KEDA. Its own server says what is measured and what one replica is to have of it.
fn read_external(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    asked: &Asked<'_>,
    names: &mut Names<'_>,
) -> Option<Source> {
    let Asked { kind, name, metric } = *asked;
    required::<String>(fields, reader, "scalerAddress");
    fields.without_effect_where(reader, |_| true);
    let Some(target) = names.target(name, metric) else {
        let message =
            format!("only the server of an {} scaler knows what one replica is to have", kind.value);
        let problem = Problem::error(&kind.place, message);
        reader.problems().push(problem.hint(format!("add targets: {{{metric}: 10}} to the controller")));
        return None;
    };
    let threshold = positive_milli(&target, reader.problems())?;
    let signal = names.signal(name, metric, StandsFor::Scaler(kind.value.clone()));
    Some(Source::Signal(SignalSource {
        signal,
        threshold,
        activation_threshold: 0.0,
        ignore_null_values: false,
        push: kind.value == "external-push",
        partitions: None,
    }))
}

//! `keda.sh/v1alpha1` manifests of a ScaledObject.
//!
//! What a trigger measures is bound by name: its query, queue or address has no effect here, the signal of the scenario
//! stands for it. Values in `metadata` of a trigger are texts, as the API has it.

use std::collections::BTreeMap;

use scaletwin_core::control::ObjectName;
use scaletwin_core::input::{At, Node, Problem, Problems, Value};
use scaletwin_core::units::{Quantity, Span};

use super::bindings::{Bindings, Names, StandsFor};
use super::scalers::SCALERS;
use super::spec::{formula, resource};
use super::trigger::{Partitions, SignalSource, Source, Trigger, metric_name};
use super::{Fallback, FallbackBehavior, MetricType, Modifiers, Pause, ScaledObject, trigger};
use crate::kubernetes::hpa::manifest::{read_behavior, read_list};
use crate::kubernetes::hpa::spec::{
    ControllerSettings, MetricSource, ResourceName, ResourceTarget, positive_milli,
};
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, required, unexpected, value};
use crate::rules::schedule::between;

/// A ScaledObject as a manifest gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestKeda {
    /// `spec.scaleTargetRef`: kind and name.
    pub target: ObjectName,
    /// The object.
    pub object: ScaledObject,
    /// What each signal stands for.
    pub stands_for: BTreeMap<String, StandsFor>,
}

/// Reads the manifest `node` of a ScaledObject, of whose triggers `bindings` says more.
///
/// # Errors
/// All problems: a field that is wrong, missing, or neither modelled nor waived.
pub fn read(
    node: &Node,
    waived: &[String],
    bindings: &Bindings,
    controller: &ControllerSettings,
) -> Result<(ManifestKeda, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let keda = read_object(&mut reader, node, bindings, controller);
    reader.finish(keda, &node.place)
}

fn read_object(
    reader: &mut Reader,
    node: &Node,
    bindings: &Bindings,
    controller: &ControllerSettings,
) -> Option<ManifestKeda> {
    let mut fields = reader.fields(node, "")?;
    let version = fields.honour(reader, "apiVersion").and_then(Node::as_text).unwrap_or("");
    let kind = fields.honour(reader, "kind").and_then(Node::as_text).unwrap_or("");
    if kind != "ScaledObject" || version != "keda.sh/v1alpha1" {
        let expected = "a ScaledObject of keda.sh/v1alpha1";
        reader.problems().push(unexpected(node, expected, kind, version));
        return None;
    }
    let pause = fields.honour(reader, "metadata").map(|node| read_metadata(reader, node));
    fields.without_effect(reader, &["status"]);
    let spec = fields.honour(reader, "spec");
    fields.finish(reader);
    let Some(spec) = spec else {
        reader.problems().error(&node.place, "spec is missing");
        return None;
    };
    let mut fields = reader.fields(spec, "spec")?;
    let target = fields.honour(reader, "scaleTargetRef").and_then(|node| read_target(reader, node));
    let mut replicas = |key| value::<u16>(&mut fields, reader, key).map(i32::from);
    let (min, max) = (replicas("minReplicaCount"), replicas("maxReplicaCount"));
    let mut names = Names::new(bindings);
    let bounds = (min.unwrap_or(0), max.unwrap_or(100));
    let object = read_scaling(reader, &mut fields, &mut names, bounds, controller);
    fields.finish(reader);
    let stands_for = names.finish(reader);
    let object = ScaledObject { pause: pause.unwrap_or_default(), ..object? };
    object.check(&spec.place, reader.problems());
    Some(ManifestKeda { target: target?, object, stands_for })
}

/// The fields of a ScaledObject that KServe takes up into a service of its own as well. `None` where no trigger could be read.
pub(in crate::kubernetes) fn read_scaling(
    reader: &mut Reader,
    fields: &mut Fields<'_>,
    names: &mut Names<'_>,
    (min_replicas, max_replicas): (i32, i32),
    controller: &ControllerSettings,
) -> Option<ScaledObject> {
    let mut seconds = |key, default: u64| {
        let seconds = value::<At<u32>>(fields, reader, key);
        Span::from_secs(seconds.map_or(default, |seconds| u64::from(seconds.value)))
    };
    let polling_interval = seconds("pollingInterval", 30);
    let cooldown_period = seconds("cooldownPeriod", 300);
    let initial_cooldown_period = seconds("initialCooldownPeriod", 0);
    let idle_replicas = value::<u16>(fields, reader, "idleReplicaCount").map(i32::from);
    let path = fields.path_of("triggers");
    let written = fields.honour(reader, "triggers");
    let are_written =
        written.is_some_and(|node| !matches!(&node.value, Value::List(nodes) if nodes.is_empty()));
    let triggers = match written {
        Some(node) => read_triggers(reader, node, &path, names),
        None => Vec::new(),
    };
    let path = fields.path_of("advanced");
    let advanced = fields.honour(reader, "advanced");
    let (behavior, modifiers) =
        advanced.map_or((None, None), |node| read_advanced(reader, node, &path, &triggers, controller));
    let path = fields.path_of("fallback");
    let fallback = fields.honour(reader, "fallback").and_then(|node| read_fallback(reader, node, &path));
    if polling_interval.is_zero() {
        let message = format!("{} is at least 1", fields.path_of("pollingInterval"));
        reader.problems().error(fields.place, message);
    }
    (!are_written || !triggers.is_empty()).then_some(ScaledObject {
        polling_interval,
        cooldown_period,
        initial_cooldown_period,
        idle_replicas,
        min_replicas,
        max_replicas,
        triggers,
        modifiers,
        fallback,
        behavior,
        pause: Pause::default(),
    })
}

fn read_metadata(reader: &mut Reader, node: &Node) -> Pause {
    let mut pause = Pause::default();
    let Some(mut fields) = reader.fields(node, "metadata") else { return pause };
    if let Some(node) = fields.honour(reader, "annotations")
        && let Some(mut fields) = reader.fields(node, "metadata.annotations")
    {
        let mut holds = |key| value::<String>(&mut fields, reader, key).is_some_and(|text| truth(&text));
        pause.paused = holds("autoscaling.keda.sh/paused");
        pause.scale_in = holds("autoscaling.keda.sh/paused-scale-in");
        pause.scale_out = holds("autoscaling.keda.sh/paused-scale-out");
        pause.force_activation = holds("autoscaling.keda.sh/force-activation");
        pause.paused_replicas = number(&mut fields, reader, "autoscaling.keda.sh/paused-replicas")
            .map(|count| crate::numerics::go::int32(count).max(0));
        fields.without_effect_where(reader, |_| true);
    }
    fields.without_effect_where(reader, |_| true);
    pause
}

/// `strconv.ParseBool`, with anything else taken as true.
fn truth(text: &str) -> bool {
    !matches!(text, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

fn read_target(reader: &mut Reader, node: &Node) -> Option<ObjectName> {
    let mut fields = reader.fields(node, "spec.scaleTargetRef")?;
    fields.without_effect(reader, &["apiVersion", "envSourceContainerName"]);
    let kind = value(&mut fields, reader, "kind").unwrap_or_else(|| "Deployment".to_owned());
    let name = required(&mut fields, reader, "name");
    fields.finish(reader);
    Some(ObjectName { kind, name: name? })
}

fn read_advanced(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    triggers: &[Trigger],
    controller: &ControllerSettings,
) -> (Option<super::Behavior>, Option<Modifiers>) {
    let Some(mut fields) = reader.fields(node, path) else { return (None, None) };
    // It acts when the object is deleted, which does not happen here.
    fields.without_effect(reader, &["restoreToOriginalReplicaCount"]);
    let (of_hpa, of_modifiers) =
        (fields.path_of("horizontalPodAutoscalerConfig"), fields.path_of("scalingModifiers"));
    let behavior = fields.honour(reader, "horizontalPodAutoscalerConfig").and_then(|node| {
        let mut fields = reader.fields(node, &of_hpa)?;
        fields.without_effect(reader, &["name"]);
        let behavior = fields
            .honour(reader, "behavior")
            .map(|node| read_behavior(reader, node, &format!("{of_hpa}.behavior")));
        fields.finish(reader);
        behavior.map(|spec| spec.check(controller, reader.problems()))
    });
    let modifiers = fields
        .honour(reader, "scalingModifiers")
        .and_then(|node| read_modifiers(reader, node, &of_modifiers, triggers));
    fields.finish(reader);
    (behavior, modifiers)
}

fn read_modifiers(reader: &mut Reader, node: &Node, path: &str, triggers: &[Trigger]) -> Option<Modifiers> {
    let mut fields = reader.fields(node, path)?;
    let written: Option<At<String>> = required(&mut fields, reader, "formula");
    let target: Option<At<Quantity>> = required(&mut fields, reader, "target");
    let activation_target = number(&mut fields, reader, "activationTarget").unwrap_or(0.0);
    let metric_type = value(&mut fields, reader, "metricType").unwrap_or(MetricType::AverageValue);
    fields.finish(reader);
    let target = positive_milli(&target?, reader.problems())?;
    let formula = formula(&written?, triggers, reader.problems())?;
    Some(Modifiers { formula, target, activation_target, metric_type })
}

fn read_fallback(reader: &mut Reader, node: &Node, path: &str) -> Option<Fallback> {
    let mut fields = reader.fields(node, path)?;
    let failure_threshold = required(&mut fields, reader, "failureThreshold");
    let replicas: Option<u16> = required(&mut fields, reader, "replicas");
    let behavior = value(&mut fields, reader, "behavior").unwrap_or(FallbackBehavior::Static);
    fields.finish(reader);
    Some(Fallback { failure_threshold: failure_threshold?, replicas: i32::from(replicas?), behavior })
}

/// Triggers in their order. Their places name their metrics, so that one that cannot be read still counts.
fn read_triggers(reader: &mut Reader, node: &Node, path: &str, names: &mut Names<'_>) -> Vec<Trigger> {
    let nodes = read_list(reader, node, path, |_, node, path| Some((node.clone(), path.to_owned())));
    let nodes = nodes.iter().enumerate();
    nodes.filter_map(|(at, (node, path))| read_trigger(reader, node, path, at, names)).collect()
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
    let source = match kind.as_str() {
        "cron" => read_cron(&mut fields, reader),
        "external" | "external-push" => {
            read_external(&mut fields, reader, &kind, name.as_deref(), &metric, names)
        }
        _ => read_scaler(&mut fields, reader, &kind, name.as_deref(), &metric, names),
    };
    fields.finish(reader);
    Some(Trigger { kind: kind.value, name, metric_type, cached, source: source? })
}

/// A number written as a text.
fn number(fields: &mut Fields<'_>, reader: &mut Reader, key: &'static str) -> Option<f64> {
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
    kind: &At<String>,
    name: Option<&str>,
    metric: &str,
    names: &mut Names<'_>,
) -> Option<Source> {
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
    let partitions = if PARTITIONED.contains(&scaler.kind) {
        read_partitions(fields, reader, name, metric, names)
    } else {
        None
    };
    let prometheus = scaler.kind == "prometheus";
    let query: Option<String> = if prometheus { required(fields, reader, "query") } else { None };
    let ignore: Option<String> = if prometheus { value(fields, reader, "ignoreNullValues") } else { None };
    let target = number(fields, reader, scaler.target).or(scaler.default);
    let activation_threshold = number(fields, reader, scaler.activation).unwrap_or(0.0);
    fields.without_effect_where(reader, |key| scaler.measured.contains(&key));
    let threshold = target.map(trigger::milli).filter(|milli| *milli > 0);
    let Some(threshold) = threshold else {
        let message = format!("{}: expected a number above 0", fields.path_of(scaler.target));
        reader.problems().error(fields.place, message);
        return None;
    };
    let stands_for = query.map_or_else(|| StandsFor::Scaler(scaler.kind.to_owned()), StandsFor::Query);
    let signal = names.signal(name, metric, stands_for);
    let ignore_null_values = prometheus && ignore.is_none_or(|text| truth(&text));
    Some(Source::Signal(SignalSource {
        signal,
        threshold,
        activation_threshold,
        ignore_null_values,
        push: false,
        partitions,
    }))
}

/// The scalers whose lag is limited by partitions.
const PARTITIONED: [&str; 3] = ["kafka", "apache-kafka", "azure-eventhub"];

/// The partitions that limit what a lag asks for, where the scenario says how many there are.
fn read_partitions(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    name: Option<&str>,
    metric: &str,
    names: &mut Names<'_>,
) -> Option<Partitions> {
    let mut holds = |key| value::<String>(fields, reader, key).is_some_and(|text| truth(&text));
    let (idle, even) = (holds("allowIdleConsumers"), holds("ensureEvenDistributionOfPartitions"));
    // Which partitions lag, and by messages that nobody takes, one number does not say.
    for key in ["limitToPartitionsWithLag", "excludePersistentLag"] {
        fields.without_effect_when(reader, key, |node| node.as_text().is_some_and(|text| !truth(text)));
    }
    let count = names.partitions(name, metric);
    if even && count.is_none() {
        let problem = Problem::error(fields.place, "an even distribution needs the number of partitions");
        reader.problems().push(problem.hint(format!("add partitions: {{{metric}: 12}} to the controller")));
    }
    count.filter(|_| even || !idle).map(|count| Partitions { count: i64::from(count), even })
}

/// A scaler outside KEDA. Its own server says what is measured and what one replica is to have of it.
fn read_external(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    kind: &At<String>,
    name: Option<&str>,
    metric: &str,
    names: &mut Names<'_>,
) -> Option<Source> {
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

#[cfg(test)]
mod tests {
    use scaletwin_core::input::{Count, Place, parse};

    use super::*;

    const MANIFEST: &str = "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: llm
  annotations:
    autoscaling.keda.sh/paused-scale-in: \"true\"
    team: a
spec:
  scaleTargetRef: {name: llm, apiVersion: apps/v1, kind: Deployment}
  pollingInterval: 15
  minReplicaCount: 0
  maxReplicaCount: 8
  fallback: {failureThreshold: 3, replicas: 2}
  advanced:
    restoreToOriginalReplicaCount: true
    horizontalPodAutoscalerConfig:
      behavior: {scaleUp: {stabilizationWindowSeconds: 30}}
    scalingModifiers: {formula: \"waiting + office\", target: \"5\"}
  triggers:
    - type: prometheus
      name: waiting
      metadata: {serverAddress: \"http://p:9090\", query: \"sum(w)\", threshold: \"4.5\", ignoreNullValues: \"false\"}
    - type: cron
      name: office
      metadata: {timezone: UTC, start: 0 8 * * *, end: 0 18 * * *, desiredReplicas: \"3\"}
    - type: cpu
      metricType: Utilization
      metadata: {value: \"60\"}
";

    fn read_text(text: &str, waived: &[&str]) -> Result<(ManifestKeda, FieldCoverage), String> {
        let node = parse("so.yaml", text).unwrap();
        let waived: Vec<String> = waived.iter().map(|path| (*path).to_owned()).collect();
        read(&node, &waived, &Bindings::default(), &ControllerSettings::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_manifest_becomes_an_object_with_its_hpa() {
        let (read, _) = read_text(MANIFEST, &[]).unwrap();
        let object = read.object;
        assert_eq!(
            (object.polling_interval, object.cooldown_period),
            (Span::from_secs(15), Span::from_secs(300))
        );
        assert_eq!(read.stands_for["waiting"], StandsFor::Query("sum(w)".into()));
        assert!(object.pause.scale_in && !object.pause.scale_out);
        let hpa = object.hpa();
        assert_eq!((hpa.min_replicas, hpa.max_replicas), (1, 8));
        let names: Vec<&str> = hpa.metrics.iter().map(MetricSource::name).collect();
        assert_eq!(names, [super::super::COMPOSITE, "cpu"]);
        let down = hpa.behavior.unwrap().scale_down;
        assert_eq!(down.select_policy, crate::kubernetes::hpa::spec::SelectPolicy::Disabled);
        let Source::Signal(signal) = &object.triggers[0].source else { panic!("a signal") };
        assert_eq!((signal.threshold, signal.ignore_null_values), (4_500, false));
    }

    #[test]
    fn what_is_not_modelled_is_an_error_unless_waived() {
        let text = MANIFEST.replace("ignoreNullValues", "ignoreNulValues");
        let error = read_text(&text, &[]).unwrap_err();
        assert!(error.contains("spec.triggers[0].metadata.ignoreNulValues is not modelled"), "{error}");
        assert!(error.contains("did you mean \"ignoreNullValues\"?"), "{error}");
        assert!(read_text(&text, &["spec.triggers[0].metadata.ignoreNulValues"]).is_ok());
        assert!(read_text(MANIFEST, &["spec.jobTargetRef"]).unwrap_err().contains("is not needed"));
    }

    #[test]
    fn queues_have_the_names_and_defaults_of_their_scalers() {
        for (kind, metadata, want) in [
            ("kafka", "topic: a, lagThreshold: \"50\", activationLagThreshold: \"5\"", (50_000, 5.0)),
            ("kafka", "topic: a", (10_000, 0.0)),
            ("redis-sentinel", "listName: a, activationListLength: \"1\"", (5_000, 1.0)),
            ("azure-eventhub", "eventHubName: a", (64_000, 0.0)),
            ("postgresql", "query: select 1, targetQueryValue: \"2.5\"", (2_500, 0.0)),
        ] {
            let text = format!(
                "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nspec:\n  scaleTargetRef: {{name: a}}\n  minReplicaCount: 1\n  triggers: [{{type: {kind}, metadata: {{{metadata}}}}}]\n"
            );
            let node = parse("so.yaml", &text).expect("YAML");
            let (keda, _) = read(&node, &[], &Bindings::default(), &ControllerSettings::default())
                .unwrap_or_else(|problems| panic!("{kind}: {problems}"));
            let Source::Signal(signal) = &keda.object.triggers[0].source else { panic!("a signal") };
            assert_eq!(signal.threshold, want.0, "{kind}");
            assert!((signal.activation_threshold - want.1).abs() < 1e-9, "{kind}");
            assert_eq!(keda.stands_for[&format!("s0-{kind}")], StandsFor::Scaler(kind.to_owned()));
        }
    }

    const KAFKA: &str = "apiVersion: keda.sh/v1alpha1
kind: ScaledObject
spec:
  scaleTargetRef: {name: a}
  minReplicaCount: 1
  triggers:
    - {type: kafka, metadata: {topic: a, limitToPartitionsWithLag: \"false\", OWN}}
    - {type: external-push, metadata: {scalerAddress: \"s:9090\", any: thing}}
";

    #[test]
    fn partitions_and_targets_come_from_the_scenario() {
        let at = |value: u32| At { value: Count(value), place: Place::nowhere() };
        let ten = At { value: "10".parse::<Quantity>().expect("ten"), place: Place::nowhere() };
        let bindings = Bindings {
            partitions: BTreeMap::from([("s0-kafka".to_owned(), at(6))]),
            targets: BTreeMap::from([("s1-external-push".to_owned(), ten)]),
            ..Bindings::default()
        };
        let triggers = |own: &str| {
            let node = parse("so.yaml", &KAFKA.replace("OWN", own)).expect("YAML");
            let read = read(&node, &[], &bindings, &ControllerSettings::default());
            read.map(|(keda, _)| keda.object.triggers).map_err(|problems| problems.to_string())
        };
        let partitions = |own: &str| match &triggers(own).expect("a ScaledObject")[0].source {
            Source::Signal(signal) => signal.partitions,
            other => panic!("{other:?}"),
        };
        let six = Partitions { count: 6, even: false };
        assert_eq!(partitions("version: 1.0.0"), Some(six));
        assert_eq!(partitions("allowIdleConsumers: \"true\""), None);
        let even = "allowIdleConsumers: \"true\", ensureEvenDistributionOfPartitions: \"true\"";
        assert_eq!(partitions(even), Some(Partitions { even: true, ..six }));
        let Source::Signal(push) = &triggers("version: 1.0.0").expect("a ScaledObject")[1].source else {
            panic!("a signal")
        };
        assert_eq!((push.threshold, push.push), (10_000, true));
        let refused = triggers("excludePersistentLag: \"true\"").expect_err("it is not modelled");
        assert!(refused.contains("metadata.excludePersistentLag is not modelled"), "{refused}");
    }

    #[test]
    fn mistakes_are_named() {
        for (old, new, want) in [
            ("threshold: \"4.5\"", "threshold: \"0\"", "expected a number above 0"),
            ("threshold: \"4.5\"", "threshold: \"x\"", "\"x\" is no number"),
            ("minReplicaCount: 0", "minReplicaCount: 9", "must be at most maxReplicaCount=8"),
            ("minReplicaCount: 0", "idleReplicaCount: 0", "must be less than minReplicaCount=0"),
            ("waiting + office", "waiting + ofice", "there is no trigger named \"ofice\""),
            ("start: 0 8 * * *", "start: 0 25 * * *", "is not within 0 to 23"),
            ("type: prometheus", "type: datadog", "with our own keys"),
            ("type: prometheus", "type: external", "add targets: {s0-external: 10}"),
            ("type: cron", "type: cron\n      useCachedMetrics: true", "not supported for the cron scaler"),
            ("metricType: Utilization", "metricType: Value", "Utilization or AverageValue"),
            ("v1alpha1", "v1beta1", "expected a ScaledObject"),
        ] {
            assert!(MANIFEST.contains(old), "{old}");
            let error = read_text(&MANIFEST.replacen(old, new, 1), &[]).unwrap_err();
            assert!(error.contains(want), "{new}: {error}");
        }
    }
}

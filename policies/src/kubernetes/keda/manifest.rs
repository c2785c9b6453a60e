//! `keda.sh/v1alpha1` manifests of a ScaledObject.
//!
//! What a trigger measures is bound by name: its query, queue or address has no effect here, the signal of the scenario
//! stands for it. Values in `metadata` of a trigger are texts, as the API has it.

mod triggers;

use std::collections::BTreeMap;

use scaletwin_core::control::ObjectName;
use scaletwin_core::input::{At, Node, Problems, Read, Value};
use scaletwin_core::units::{Quantity, Span};

use super::bindings::{Bindings, Names, StandsFor};
use super::spec::formula;
use super::trigger::Trigger;
use super::{Fallback, FallbackBehavior, MetricType, Modifiers, Pause, ScaledObject};
use crate::kubernetes::hpa::manifest::read_behavior;
use crate::kubernetes::hpa::spec::{ControllerSettings, positive_milli};
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, required, unexpected, value};
use triggers::{number, read_triggers};

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
        let mut holds = |key| {
            let Some(node) = fields.honour(reader, key) else { return false };
            let mut read = |node| <String as Read>::read(node, reader.problems());
            node.as_text() == Some("") || read(node).is_some_and(|text| truth(&text))
        };
        pause.paused = holds("autoscaling.keda.sh/paused");
        pause.scale_in = holds("autoscaling.keda.sh/paused-scale-in");
        pause.scale_out = holds("autoscaling.keda.sh/paused-scale-out");
        pause.force_activation = holds("autoscaling.keda.sh/force-activation");
        pause.paused_replicas = number(&mut fields, reader, "autoscaling.keda.sh/paused-replicas")
            .map(|count| crate::numerics::go::int32(count).max(0));
        fields.without_effect_where(reader, |key| !key.starts_with("autoscaling.keda.sh/"));
        fields.finish(reader);
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

#[cfg(test)]
mod tests {
    use scaletwin_core::input::{Count, Place, parse};

    use super::super::trigger::{Partitions, Source};
    use super::*;
    use crate::kubernetes::hpa::spec::MetricSource;

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
    fn annotations_of_keda_are_honoured_or_named() {
        let with = |line: &str| read_text(&MANIFEST.replace("    team: a", &format!("    {line}")), &[]);
        assert!(with("autoscaling.keda.sh/paused: \"\"").unwrap().0.object.pause.paused, "it is no boolean");
        assert!(!with("autoscaling.keda.sh/paused: \"False\"").unwrap().0.object.pause.paused);
        let error = with("autoscaling.keda.sh/paused-scale-inn: \"true\"").unwrap_err();
        assert!(
            error.contains("annotations.autoscaling.keda.sh/paused-scale-inn is not modelled"),
            "{error}"
        );
    }

    #[test]
    fn queues_have_the_names_and_defaults_of_their_scalers() {
        for (kind, metadata, want) in [
            ("kafka", "topic: a, lagThreshold: \"50\", activationLagThreshold: \"5\"", (50_000, 5.0)),
            ("kafka", "topic: a", (10_000, 0.0)),
            ("redis-sentinel", "listName: a, activationListLength: \"1\"", (5_000, 1.0)),
            ("azure-eventhub", "eventHubName: a", (64_000, 0.0)),
            ("postgresql", "query: select 1, targetQueryValue: \"2.5\"", (2_500, 0.0)),
            ("mysql", "query: select 1, queryValue: \"4\", activationQueryValue: \"1\"", (4_000, 1.0)),
            ("redis-streams", "stream: a, consumerGroup: g, pendingEntriesCount: \"9\"", (9_000, 0.0)),
            (
                "redis-streams",
                "stream: a, consumerGroup: g, lagCount: \"7\", activationLagCount: \"2\"",
                (7_000, 2.0),
            ),
            ("redis-cluster-streams", "stream: a, streamLength: \"3\"", (3_000, 0.0)),
            ("redis-streams", "stream: a, consumerGroup: g", (5_000, 0.0)),
            (
                "datadog",
                "query: \"avg:q{*}\", queryValue: \"7\", activationQueryValue: \"1.5\"",
                (7_000, 1.5),
            ),
            ("gcp-stackdriver", "projectId: p, filter: f", (5_000, 0.0)),
            ("azure-monitor", "metricName: m, targetValue: \"12\"", (12_000, 0.0)),
            ("loki", "query: q, threshold: \"0.5\", activationThreshold: \"0.1\"", (500, 0.1)),
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

    #[test]
    fn an_empty_answer_counts_as_what_the_scaler_says() {
        let read = |kind: &str, metadata: &str| {
            let text = format!(
                "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nspec:\n  scaleTargetRef: {{name: a}}\n  minReplicaCount: 1\n  triggers: [{{type: {kind}, metadata: {{{metadata}}}}}]\n"
            );
            let node = parse("so.yaml", &text).expect("YAML");
            let (keda, _) = super::read(&node, &[], &Bindings::default(), &ControllerSettings::default())
                .map_err(|problems| problems.to_string())?;
            let Source::Signal(signal) = &keda.object.triggers[0].source else { panic!("a signal") };
            Ok::<_, String>(signal.ignore_null_values)
        };
        let cloudwatch = "namespace: n, metricName: m, targetMetricValue: \"4\"";
        for (kind, metadata, want) in [
            ("loki", "query: q, threshold: \"1\"".to_owned(), true),
            ("loki", "query: q, threshold: \"1\", ignoreNullValues: \"false\"".to_owned(), false),
            ("aws-cloudwatch", format!("{cloudwatch}, minMetricValue: \"0\""), true),
            (
                "aws-cloudwatch",
                format!("{cloudwatch}, minMetricValue: \"1\", ignoreNullValues: \"false\""),
                false,
            ),
            ("gcp-stackdriver", "projectId: p, filter: f".to_owned(), false),
            ("gcp-stackdriver", "projectId: p, filter: f, valueIfNull: \"0\"".to_owned(), true),
            ("rabbitmq", "queueName: q, value: \"3\"".to_owned(), false),
        ] {
            assert_eq!(read(kind, &metadata), Ok(want), "{kind}: {metadata}");
        }
        let refused = read("aws-cloudwatch", &format!("{cloudwatch}, minMetricValue: \"3\"")).unwrap_err();
        assert!(refused.contains("minMetricValue: an empty answer counts as 0"), "{refused}");
        let refused = read("redis-streams", "stream: a, pendingEntriesCount: \"9\"").unwrap_err();
        assert!(refused.contains("metadata.pendingEntriesCount is not modelled"), "{refused}");
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
            ("start: 0 8 * * *", "start: 0 18 * * *", "start and end are the same"),
            ("type: prometheus", "type: etcd", "with our own keys"),
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

//! `autoscaling.aibrix.ai/v1alpha1` manifests of a PodAutoscaler: strategies APA and KPA over one metric of the pods.

use scaletwin_core::control::ObjectName;
use scaletwin_core::input::{At, Node, Problem, Problems};
use scaletwin_core::units::Span;

use super::{AibrixSettings, Strategy};
use crate::kubernetes::hpa::manifest::read_list;
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, read_target, required, spec_of, value};

/// A PodAutoscaler as a manifest gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestAibrix {
    /// `spec.scaleTargetRef`: kind and name.
    pub target: ObjectName,
    /// The settings.
    pub settings: AibrixSettings,
}

/// Whether it goes to zero, which is not modelled.
const SCALE_TO_ZERO: &str = "autoscaling.aibrix.ai/scale-to-zero";

/// Reads the manifest `node` of a PodAutoscaler.
///
/// # Errors
/// All problems: a field that is wrong, missing, or neither modelled nor waived.
pub fn read(node: &Node, waived: &[String]) -> Result<(ManifestAibrix, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let autoscaler = read_object(&mut reader, node);
    reader.finish(autoscaler, &node.place)
}

fn read_object(reader: &mut Reader, node: &Node) -> Option<ManifestAibrix> {
    let (_, spec) = spec_of(reader, node, "PodAutoscaler", &["autoscaling.aibrix.ai/v1alpha1"])?;
    let mut fields = reader.fields(spec, "spec")?;
    let target = fields.honour(reader, "scaleTargetRef");
    let strategy = required::<At<String>>(&mut fields, reader, "scalingStrategy");
    let min = value::<At<i32>>(&mut fields, reader, "minReplicas");
    let max = required::<At<i32>>(&mut fields, reader, "maxReplicas");
    let sources = fields.honour(reader, "metricsSources");
    let stable_window = window(&mut fields, reader, "observeWindowSeconds");
    let panic_window = window(&mut fields, reader, "panicWindowSeconds");
    // A forecast that is only shown decides nothing.
    fields.without_effect_when(reader, "predictive", |node| {
        node.get("mode").is_none_or(|mode| mode.as_text() == Some("Preview"))
    });
    fields.finish(reader);
    let target = match target {
        Some(target) => read_target(reader, target, "spec.scaleTargetRef"),
        None => {
            reader.problems().error(&spec.place, "spec.scaleTargetRef is missing");
            None
        }
    };
    let source = sources.and_then(|list| read_sources(reader, list));
    if sources.is_none() {
        reader.problems().error(&spec.place, "spec.metricsSources is missing");
    }
    let (strategy, (metric, target_value)) = (read_strategy(reader, &strategy?)?, source?);
    let mut settings = AibrixSettings {
        min_replicas: min.as_ref().map_or(1, |min| min.value),
        max_replicas: max?.value,
        ..AibrixSettings::of(strategy, metric, target_value)
    };
    settings.stable_window = stable_window.unwrap_or(settings.stable_window);
    settings.panic_window = panic_window.unwrap_or(settings.panic_window);
    if settings.min_replicas < 0 || settings.max_replicas < 1 {
        reader.problems().error(&spec.place, "spec: minReplicas is at least 0, and maxReplicas at least 1");
    }
    let annotations = node.get("metadata").and_then(|metadata| metadata.get("annotations"));
    if let Some(annotations) = annotations.filter(|node| !node.is_null()) {
        read_annotations(reader, annotations, &mut settings);
    }
    Some(ManifestAibrix { target: target?, settings })
}

fn read_strategy(reader: &mut Reader, written: &At<String>) -> Option<Strategy> {
    let problem = match written.as_str() {
        "APA" => return Some(Strategy::Apa),
        "KPA" => return Some(Strategy::Kpa),
        "HPA" => Problem::error(&written.place, "spec.scalingStrategy: AIBrix makes an HPA of this")
            .hint("take that one: kubectl get hpa -o yaml, and {kind: hpa, manifest: …}"),
        other => Problem::error(
            &written.place,
            format!("spec.scalingStrategy: expected APA, KPA or HPA, found {other:?}"),
        ),
    };
    reader.problems().push(problem);
    None
}

/// A window in whole seconds, of which the API server takes 1 to 3600.
fn window(fields: &mut Fields<'_>, reader: &mut Reader, key: &'static str) -> Option<Span> {
    let seconds: At<u32> = value(fields, reader, key)?;
    if !(1..=3600).contains(&seconds.value) {
        reader.problems().error(&seconds.place, format!("{}: from 1 to 3600 seconds", fields.path_of(key)));
        return None;
    }
    Some(Span::from_secs(u64::from(seconds.value)))
}

/// The one metric and its target.
fn read_sources(reader: &mut Reader, list: &Node) -> Option<(String, f64)> {
    let sources = read_list(reader, list, "spec.metricsSources", |reader, node, path| {
        Some(read_source(reader, node, path).map(|source| (source, node.place.clone())))
    });
    match sources.as_slice() {
        [Some((source, _))] => Some(source.clone()),
        [_, Some((_, place)), ..] => {
            let problem = Problem::error(place, "spec.metricsSources: one metric is modelled");
            reader.problems().push(
                problem.hint("AIBrix takes the most that any of them wants: leave the one that decides"),
            );
            None
        }
        [] => {
            reader.problems().error(&list.place, "spec.metricsSources: at least one metric is needed");
            None
        }
        _ => None,
    }
}

fn read_source(reader: &mut Reader, node: &Node, path: &str) -> Option<(String, f64)> {
    let mut fields = reader.fields(node, path)?;
    let kind = required::<At<String>>(&mut fields, reader, "metricSourceType");
    let metric = required::<String>(&mut fields, reader, "targetMetric");
    let target = required::<At<String>>(&mut fields, reader, "targetValue");
    // How a pod is asked: the bound signal stands for what it answers.
    fields.without_effect(reader, &["protocolType", "port", "path"]);
    fields.finish(reader);
    let (kind, target) = (kind?, target?);
    if kind.as_str() != "pod" {
        let problem =
            Problem::error(&kind.place, format!("{path}.metricSourceType: {:?} is not modelled", kind.value));
        reader.problems().push(problem.hint("a metric of each pod is: pod"));
        return None;
    }
    match target.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Some((metric?, number)),
        _ => {
            let message = format!("{path}.targetValue: expected a number above 0, found {:?}", target.value);
            reader.problems().error(&target.place, message);
            None
        }
    }
}

/// Rates, tolerances, the panic threshold and cooldowns. Other annotations AIBrix does not read.
fn read_annotations(reader: &mut Reader, node: &Node, settings: &mut AibrixSettings) {
    let Some(mut fields) = reader.fields(node, "metadata.annotations") else { return };
    let limits = &mut settings.limits;
    for (key, place, above_zero) in [
        ("autoscaling.aibrix.ai/max-scale-up-rate", &mut limits.max_scale_up_rate, true),
        ("autoscaling.aibrix.ai/max-scale-down-rate", &mut limits.max_scale_down_rate, true),
        ("autoscaling.aibrix.ai/scale-up-tolerance", &mut limits.up_tolerance, false),
        ("autoscaling.aibrix.ai/scale-down-tolerance", &mut limits.down_tolerance, false),
        ("autoscaling.aibrix.ai/panic-threshold", &mut settings.panic_threshold, true),
    ] {
        *place = read_number(&mut fields, reader, key, above_zero).unwrap_or(*place);
    }
    for (key, place) in [
        ("autoscaling.aibrix.ai/scale-up-cooldown-window", &mut settings.scale_up_cooldown),
        ("autoscaling.aibrix.ai/scale-down-cooldown-window", &mut settings.scale_down_cooldown),
    ] {
        *place = value(&mut fields, reader, key).unwrap_or(*place);
    }
    for (key, now) in OLD_NAMES.iter().filter(|(key, _)| fields.has(key)) {
        let problem = Problem::warning(fields.place, format!("AIBrix reads {key} no longer"));
        reader.problems().push(problem.hint(format!("write {now}")));
    }
    fields.without_effect_when(reader, SCALE_TO_ZERO, |node| node.as_text() == Some("false"));
    fields.without_effect_where(reader, |key| key != SCALE_TO_ZERO);
    fields.finish(reader);
}

/// Annotations of older versions, and their names today.
const OLD_NAMES: [(&str, &str); 2] = [
    ("autoscaling.aibrix.ai/up-fluctuation-tolerance", "autoscaling.aibrix.ai/scale-up-tolerance"),
    ("autoscaling.aibrix.ai/down-fluctuation-tolerance", "autoscaling.aibrix.ai/scale-down-tolerance"),
];

/// A number written as a text, of at least 0 or above it.
fn read_number(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    key: &'static str,
    above_zero: bool,
) -> Option<f64> {
    let written: At<String> = value(fields, reader, key)?;
    let least = if above_zero { f64::MIN_POSITIVE } else { 0.0 };
    let number = written.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= least);
    if number.is_none() {
        let range = if above_zero { "above 0" } else { "of at least 0" };
        let message = format!("{key}: expected a number {range}, found {:?}", written.value);
        reader.problems().error(&written.place, message);
    }
    number
}

#[cfg(test)]
mod tests {
    use scaletwin_core::input::parse;

    use super::*;

    const MANIFEST: &str = "apiVersion: autoscaling.aibrix.ai/v1alpha1
kind: PodAutoscaler
metadata:
  name: chat
  annotations:
    autoscaling.aibrix.ai/max-scale-up-rate: \"3\"
    autoscaling.aibrix.ai/scale-down-tolerance: \"0.2\"
    autoscaling.aibrix.ai/scale-up-cooldown-window: 1m30s
    kpa.autoscaling.aibrix.ai/scale-down-delay: 3m
spec:
  scalingStrategy: KPA
  minReplicas: 2
  maxReplicas: 8
  panicWindowSeconds: 20
  metricsSources:
    - {metricSourceType: pod, protocolType: http, port: \"8000\", path: metrics, targetMetric: kv_cache_usage_perc, targetValue: \"0.5\"}
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
";

    fn settings(text: &str) -> Result<AibrixSettings, String> {
        let node = parse("pa.yaml", text).expect("YAML");
        read(&node, &[]).map(|(read, _)| read.settings).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_manifest_says_what_our_own_keys_say() {
        let mut want = AibrixSettings::of(Strategy::Kpa, "kv_cache_usage_perc".into(), 0.5);
        (want.min_replicas, want.max_replicas) = (2, 8);
        want.panic_window = Span::from_secs(20);
        (want.limits.max_scale_up_rate, want.limits.down_tolerance) = (3.0, 0.2);
        want.scale_up_cooldown = Span::from_secs(90);
        assert_eq!(settings(MANIFEST), Ok(want));
    }

    #[test]
    fn what_is_wrong_or_not_modelled_is_named() {
        for (old, new, want) in [
            ("scalingStrategy: KPA", "scalingStrategy: HPA", "AIBrix makes an HPA of this"),
            ("scalingStrategy: KPA", "scalingStrategy: X", "expected APA, KPA or HPA, found \"X\""),
            ("targetValue: \"0.5\"", "targetValue: \"0\"", "targetValue: expected a number above 0"),
            ("metricSourceType: pod", "metricSourceType: resource", "\"resource\" is not modelled"),
            ("panicWindowSeconds: 20", "panicWindowSeconds: 0", "from 1 to 3600 seconds"),
            ("panicWindowSeconds: 20", "predictive: {mode: Auto}", "spec.predictive is not modelled"),
            ("panicWindowSeconds: 20", "schedules: []", "spec.schedules is not modelled"),
            ("rate: \"3\"", "rate: \"0\"", "max-scale-up-rate: expected a number above 0"),
            (
                "kpa.autoscaling",
                "autoscaling.aibrix.ai/scale-to-zero: \"true\"\n    kpa.autoscaling",
                "scale-to-zero is not modelled",
            ),
            ("v1alpha1", "v1beta1", "expected a PodAutoscaler"),
            ("maxReplicas: 8", "maxReplicas: 0", "maxReplicas at least 1"),
        ] {
            assert!(MANIFEST.contains(old), "{old}");
            let error = settings(&MANIFEST.replacen(old, new, 1)).unwrap_err();
            assert!(error.contains(want), "{new}: {error}");
        }
        let source = MANIFEST.lines().find(|line| line.contains("metricSourceType")).expect("a source");
        let twice = MANIFEST.replace(source, &format!("{source}\n{source}"));
        assert!(settings(&twice).unwrap_err().contains("one metric is modelled"));
    }
}

//! Manifests of KServe: an InferenceService of `serving.kserve.io/v1beta1`, or an LLMInferenceService.

use std::collections::BTreeMap;

use scaletwin_core::input::{At, Node, Place, Problem, Problems};

use super::component::{Component, read_component};
use super::spec::DeploymentMode;
use super::{Autoscaler, llm};
use crate::kubernetes::hpa::spec::ControllerSettings;
use crate::kubernetes::knative;
use crate::kubernetes::knative::spec::{Annotations, ConfigSpec};
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, documents, only, unexpected, value};

/// What a manifest depends on besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Installation<'a> {
    /// The mode of a manifest that names none.
    pub default_mode: DeploymentMode,
    /// `config-autoscaler` of Knative.
    pub config: &'a ConfigSpec,
    /// The flags of the HPA controller.
    pub controller: &'a ControllerSettings,
    /// Which signal stands for a metric.
    pub bind: &'a BTreeMap<String, At<String>>,
}

/// The document of a manifest that is one of KServe's services.
///
/// # Errors
/// When there is none, or more than one.
pub fn find<'a>(nodes: &'a [Node], place: &Place) -> Result<&'a Node, Problem> {
    let is_llm = |node: &&Node| node.get("kind").and_then(Node::as_text) == Some(llm::KIND);
    let kind = if documents(nodes).iter().any(is_llm) { llm::KIND } else { "InferenceService" };
    only(nodes, kind, place)
}

/// Reads the manifest `node` of an InferenceService or an LLMInferenceService.
///
/// # Errors
/// All problems: a field that is wrong, missing, or neither modelled nor waived.
pub fn read(
    node: &Node,
    waived: &[String],
    installed: Installation<'_>,
) -> Result<(Autoscaler, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let is_llm = node.get("kind").and_then(Node::as_text) == Some(llm::KIND);
    let read = if is_llm { llm::read_object } else { read_object };
    let autoscaler = read(&mut reader, node, installed);
    reader.finish(autoscaler, &node.place)
}

fn read_object(reader: &mut Reader, node: &Node, installed: Installation<'_>) -> Option<Autoscaler> {
    let mut fields = reader.fields(node, "")?;
    let version = fields.honour(reader, "apiVersion").and_then(Node::as_text).unwrap_or("");
    let kind = fields.honour(reader, "kind").and_then(Node::as_text).unwrap_or("");
    if kind != "InferenceService" || version != "serving.kserve.io/v1beta1" {
        let expected = "an InferenceService of serving.kserve.io/v1beta1";
        reader.problems().push(unexpected(node, expected, kind, version));
        return None;
    }
    let metadata = fields.honour(reader, "metadata");
    let spec = fields.honour(reader, "spec");
    fields.without_effect(reader, &["status"]);
    fields.finish(reader);
    let Some(spec) = spec else {
        reader.problems().error(&node.place, "spec is missing");
        return None;
    };
    let said =
        metadata.map_or_else(Said::default, |node| read_metadata(reader, node, installed.default_mode));
    let mode = said.mode.unwrap_or(installed.default_mode);
    let mut fields = reader.fields(spec, "spec")?;
    let predictor = fields.honour(reader, "predictor");
    fields.finish(reader);
    let Some(predictor) = predictor else {
        reader.problems().error(&spec.place, "spec.predictor is missing");
        return None;
    };
    let component = read_component(reader, predictor, mode)?;
    autoscaler(reader, &component, mode, said, installed)
}

fn autoscaler(
    reader: &mut Reader,
    component: &Component,
    mode: DeploymentMode,
    said: Said,
    installed: Installation<'_>,
) -> Option<Autoscaler> {
    match (mode, said.class) {
        (DeploymentMode::Knative, _) => {
            let revision = component.revision(said.annotations, installed.config, reader.problems())?;
            Some(Autoscaler::Knative(Box::new(revision)))
        }
        (DeploymentMode::Standard, Class::Hpa) => {
            component.hpa(installed.controller, reader.problems()).map(Autoscaler::Hpa)
        }
        (DeploymentMode::Standard, Class::Keda) => {
            component.keda(reader, installed).map(|keda| Autoscaler::Keda(Box::new(keda)))
        }
        (DeploymentMode::Standard, Class::Nothing) => Some(Autoscaler::Nothing),
    }
}

/// What the metadata say.
#[derive(Default)]
struct Said {
    mode: Option<DeploymentMode>,
    class: Class,
    /// Those of Knative's autoscaler.
    annotations: Annotations,
}

/// `serving.kserve.io/autoscalerClass`.
#[derive(Clone, Copy, Default)]
enum Class {
    #[default]
    Hpa,
    Keda,
    Nothing,
}

fn read_metadata(reader: &mut Reader, node: &Node, default_mode: DeploymentMode) -> Said {
    let mut said = Said::default();
    let Some(mut fields) = reader.fields(node, "metadata") else { return said };
    if let Some(node) = fields.honour(reader, "annotations")
        && let Some(mut fields) = reader.fields(node, "metadata.annotations")
    {
        said.mode = one_of(&mut fields, reader, "serving.kserve.io/deploymentMode", &MODES);
        let class = one_of(&mut fields, reader, "serving.kserve.io/autoscalerClass", &CLASSES);
        said.class = class.unwrap_or_default();
        check_stop(&mut fields, reader);
        fields.without_effect_where(reader, |key| !key.starts_with(knative::manifest::DOMAIN));
        if said.mode.unwrap_or(default_mode) == DeploymentMode::Knative {
            said.annotations = knative::manifest::read_annotations(reader, fields);
        } else {
            fields.without_effect_where(reader, |_| true);
        }
    }
    fields.without_effect_where(reader, |_| true);
    said
}

/// Reads metadata of which only the annotation counts that takes a service away.
pub(super) fn is_stopped(reader: &mut Reader, node: &Node) {
    let Some(mut fields) = reader.fields(node, "metadata") else { return };
    if let Some(node) = fields.honour(reader, "annotations")
        && let Some(mut fields) = reader.fields(node, "metadata.annotations")
    {
        check_stop(&mut fields, reader);
        fields.without_effect_where(reader, |_| true);
    }
    fields.without_effect_where(reader, |_| true);
}

fn check_stop(fields: &mut Fields<'_>, reader: &mut Reader) {
    let stop: Option<At<String>> = value(fields, reader, "serving.kserve.io/stop");
    if let Some(stop) = stop.filter(|stop| stop.value == "true") {
        let message = "serving.kserve.io/stop: KServe takes the service away, and there is nothing to scale";
        reader.problems().error(&stop.place, message);
    }
}

const MODES: [(&str, DeploymentMode); 4] = [
    ("Knative", DeploymentMode::Knative),
    ("Serverless", DeploymentMode::Knative),
    ("Standard", DeploymentMode::Standard),
    ("RawDeployment", DeploymentMode::Standard),
];

const CLASSES: [(&str, Class); 4] =
    [("hpa", Class::Hpa), ("keda", Class::Keda), ("external", Class::Nothing), ("none", Class::Nothing)];

/// An annotation with one of these values.
fn one_of<T: Copy>(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    key: &'static str,
    values: &[(&str, T)],
) -> Option<T> {
    let written: At<String> = value(fields, reader, key)?;
    let found = values.iter().find(|(name, _)| *name == written.value).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let message = format!("{}: {:?} is not modelled", fields.path_of(key), written.value);
        let problem = Problem::error(&written.place, message);
        reader.problems().push(problem.hint(format!("one of {}", names.join(", "))));
    }
    found
}

#[cfg(test)]
mod tests {
    use scaletwin_core::control::Resource;
    use scaletwin_core::input::{Place, parse};
    use scaletwin_core::units::Span;

    use super::*;
    use crate::kubernetes::hpa::spec::{Behavior, HpaSettings, MetricSource, ResourceTarget};
    use crate::kubernetes::keda::bindings::StandsFor;
    use crate::kubernetes::keda::manifest::ManifestKeda;
    use crate::kubernetes::keda::trigger::Source;
    use crate::kubernetes::knative::spec::{KpaSettings, Metric, resolve};

    fn service(annotations: &str, predictor: &str) -> String {
        format!(
            "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: llm, annotations: {{{annotations}}}}}
spec:
  predictor:
    model: {{modelFormat: {{name: huggingface}}, storageUri: hf://a/b}}
    {predictor}
"
        )
    }

    fn autoscaler(text: &str) -> Result<Autoscaler, String> {
        let node = parse("isvc.yaml", text).expect("YAML");
        let (config, controller) = (ConfigSpec::default(), ControllerSettings::default());
        let installed = Installation {
            default_mode: DeploymentMode::Knative,
            config: &config,
            controller: &controller,
            bind: &BTreeMap::new(),
        };
        read(&node, &[], installed).map(|(read, _)| read).map_err(|problems| problems.to_string())
    }

    fn knative(annotations: &str, predictor: &str) -> KpaSettings {
        match autoscaler(&service(annotations, predictor)) {
            Ok(Autoscaler::Knative(revision)) => {
                let mut problems = Problems::default();
                let config = ConfigSpec::default();
                resolve(&revision, &config, &Place::nowhere(), &mut problems).expect("in range")
            }
            other => panic!("{other:?}"),
        }
    }

    const RAW: &str = "serving.kserve.io/deploymentMode: RawDeployment";
    const KEDA: &str = "serving.kserve.io/deploymentMode: Standard, serving.kserve.io/autoscalerClass: keda";

    fn hpa(predictor: &str) -> HpaSettings {
        match autoscaler(&service(RAW, predictor)) {
            Ok(Autoscaler::Hpa(settings)) => settings,
            other => panic!("{other:?}"),
        }
    }

    fn keda(predictor: &str) -> ManifestKeda {
        match autoscaler(&service(KEDA, predictor)) {
            Ok(Autoscaler::Keda(keda)) => *keda,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn serverless_becomes_annotations_of_knative() {
        let plain = knative("", "minReplicas: 0");
        assert_eq!((plain.min_scale, plain.max_scale, plain.initial_scale), (0, 0, 1));
        assert_eq!(knative("", "maxReplicas: 4").min_scale, 1, "KServe's default is 1, not Knative's 0");
        let set = knative(
            "autoscaling.knative.dev/target: '5', autoscaling.knative.dev/window: 30s",
            "{minReplicas: 2, maxReplicas: 6, scaleTarget: 8, scaleMetric: rps, containerConcurrency: 3}"
                .trim_matches(['{', '}'])
                .replace(", ", "\n    ")
                .as_str(),
        );
        assert_eq!((set.min_scale, set.max_scale, set.metric), (2, 6, Metric::Rps));
        assert!((set.scaler.total_value - 8.0).abs() < 1e-9, "scaleTarget goes before the annotation");
        assert_eq!(set.scaler.stable_window, Span::from_secs(30));
        let limited = knative("", "containerConcurrency: 10");
        assert!((limited.scaler.target_value - 7.0).abs() < 1e-9);
    }

    #[test]
    fn raw_deployments_become_an_hpa_with_the_defaults_of_behavior() {
        let settings = hpa("minReplicas: 0");
        assert_eq!((settings.min_replicas, settings.max_replicas), (1, 1), "an HPA keeps one replica");
        let cpu = |percent| MetricSource::Resource {
            resource: Resource::Cpu,
            container: None,
            target: ResourceTarget::Utilization(percent),
        };
        assert_eq!(settings.metrics, [cpu(80)]);
        assert_eq!(settings.behavior, Some(Behavior::defaults(Span::from_secs(300))));
        let settings = hpa("maxReplicas: 5\n    scaleMetric: cpu\n    scaleTarget: 60");
        assert_eq!((settings.max_replicas, settings.metrics), (5, vec![cpu(60)]));
        let metrics =
            "autoScaling: {metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization}}}]}";
        assert_eq!(hpa(metrics).metrics, [cpu(80)]);
    }

    #[test]
    fn the_class_keda_becomes_a_scaled_object() {
        let metric = "{type: External, external: {metric: {backend: prometheus, serverAddress: http://p, query: sum(vllm:num_requests_running)}, target: {type: Value, value: '2.5'}}}";
        let behavior = "behavior: {scaleDown: {stabilizationWindowSeconds: 60}}";
        let read = keda(&format!("maxReplicas: 4\n    autoScaling: {{metrics: [{metric}], {behavior}}}"));
        let object = &read.object;
        assert_eq!((object.min_replicas, object.max_replicas), (1, 4));
        assert_eq!(object.cooldown_period, Span::from_secs(300));
        let Source::Signal(signal) = &object.triggers[0].source else { panic!("a signal") };
        assert_eq!((signal.signal.as_str(), signal.threshold), ("s0-prometheus", 2_500));
        let query = StandsFor::Query("sum(vllm:num_requests_running)".into());
        assert_eq!(read.stands_for["s0-prometheus"], query);
        let window = object.behavior.as_ref().map(|behavior| behavior.scale_down.stabilization_window);
        assert_eq!(window, Some(Span::from_secs(60)));
    }

    #[test]
    fn the_classes_external_and_none_leave_the_target_alone() {
        let text = service(&format!("{RAW}, serving.kserve.io/autoscalerClass: none"), "maxReplicas: 3");
        assert!(matches!(autoscaler(&text), Ok(Autoscaler::Nothing)));
    }

    #[test]
    fn what_kserve_refuses_or_is_not_modelled_is_named() {
        for (annotations, predictor, want) in [
            ("", "scaleMetric: cpu", "concurrency"),
            ("", "canaryTrafficPercent: 10", "spec.predictor.canaryTrafficPercent is not modelled"),
            ("", "batcher: {maxBatchSize: 8}", "spec.predictor.batcher is not modelled"),
            (RAW, "scaleMetric: rps", "cpu or memory"),
            (KEDA, "maxReplicas: 3", "at least one trigger"),
            (
                "serving.kserve.io/deploymentMode: ModelMesh",
                "maxReplicas: 3",
                "\"ModelMesh\" is not modelled",
            ),
            ("serving.kserve.io/stop: 'true'", "maxReplicas: 3", "nothing to scale"),
        ] {
            let error = autoscaler(&service(annotations, predictor)).expect_err("refused");
            assert!(error.contains(want), "{predictor}: {error}");
        }
    }
}

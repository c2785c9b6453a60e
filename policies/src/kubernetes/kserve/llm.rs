//! `serving.kserve.io/v1alpha1` and `v1alpha2` manifests of an LLMInferenceService.
//!
//! Source: `pkg/apis/serving/{v1alpha1,v1alpha2}/llm_inference_service_types.go`.

use scaletwin_core::control::ObjectName;
use scaletwin_core::input::{Node, Problem};

use super::manifest::{Installation, is_stopped};
use super::{Autoscaler, DEFAULT_MIN_REPLICAS};
use crate::kubernetes::keda::bindings::{Bindings, Names};
use crate::kubernetes::keda::manifest::{ManifestKeda, read_scaling};
use crate::kubernetes::manifest::{Fields, Reader, required, unexpected, value};

/// Its kind.
pub const KIND: &str = "LLMInferenceService";

/// How pods are made, found and watched.
const PODS: [&str; 13] = [
    "model",
    "runtime",
    "trustRemoteCode",
    "storageInitializer",
    "parallelism",
    "labels",
    "annotations",
    "template",
    "rolloutStrategy",
    "router",
    "tracing",
    "modelRef",
    "modelName",
];

/// The service is a Deployment of so many replicas, or with a ScaledObject. What splits it into several, or takes its fields from
/// elsewhere, is not modelled: `worker`, `prefill`, `baseRefs`.
pub(super) fn read_object(
    reader: &mut Reader,
    node: &Node,
    installed: Installation<'_>,
) -> Option<Autoscaler> {
    let mut fields = reader.fields(node, "")?;
    let version = fields.honour(reader, "apiVersion").and_then(Node::as_text).unwrap_or("");
    fields.honour(reader, "kind");
    if !["serving.kserve.io/v1alpha1", "serving.kserve.io/v1alpha2"].contains(&version) {
        let expected = format!("an {KIND} of serving.kserve.io/v1alpha1 or v1alpha2");
        reader.problems().push(unexpected(node, &expected, KIND, version));
        return None;
    }
    let metadata = fields.honour(reader, "metadata");
    fields.without_effect(reader, &["status"]);
    let spec = fields.honour(reader, "spec");
    fields.finish(reader);
    if let Some(metadata) = metadata {
        is_stopped(reader, metadata);
    }
    let Some(spec) = spec else {
        reader.problems().error(&node.place, "spec is missing");
        return None;
    };
    let mut fields = reader.fields(spec, "spec")?;
    let replicas = value::<u16>(&mut fields, reader, "replicas");
    let scaling = fields.honour(reader, "scaling");
    fields.without_effect(reader, &PODS);
    fields.finish(reader);
    match (replicas, scaling) {
        (Some(_), Some(scaling)) => {
            reader.problems().error(&scaling.place, "spec.replicas and spec.scaling exclude each other");
            None
        }
        (replicas, None) => Some(Autoscaler::Static(replicas.map_or(DEFAULT_MIN_REPLICAS, i32::from))),
        (None, Some(scaling)) => {
            let fields = reader.fields(scaling, "spec.scaling")?;
            read_scaled(reader, fields, installed)
        }
    }
}

/// `spec.scaling`: a ScaledObject with triggers of the user's own.
fn read_scaled(
    reader: &mut Reader,
    mut fields: Fields<'_>,
    installed: Installation<'_>,
) -> Option<Autoscaler> {
    let min = value::<u16>(&mut fields, reader, "minReplicas").map_or(DEFAULT_MIN_REPLICAS, i32::from);
    let max = required::<u16>(&mut fields, reader, "maxReplicas").map(i32::from);
    let keda = fields.honour(reader, "keda");
    let (place, path) = (fields.place, fields.path_of("keda"));
    fields.finish(reader);
    let Some(keda) = keda else {
        let problem = Problem::error(place, "spec.scaling without keda: nothing scales it");
        reader.problems().push(problem.hint("write {kind: wva} for what wva: configured, or spec.replicas"));
        return None;
    };
    let bindings = Bindings { signals: installed.bind.clone(), ..Bindings::default() };
    let mut names = Names::new(&bindings);
    let mut fields = reader.fields(keda, &path)?;
    let object = read_scaling(reader, &mut fields, &mut names, (min, max?), installed.controller);
    fields.finish(reader);
    let stands_for = names.finish(reader);
    let object = object?;
    object.check(&keda.place, reader.problems());
    let target = ObjectName { kind: KIND.into(), name: String::new() };
    Some(Autoscaler::Keda(Box::new(ManifestKeda { target, object, stands_for })))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use scaletwin_core::input::parse;
    use scaletwin_core::units::Span;

    use super::*;
    use crate::kubernetes::hpa::spec::ControllerSettings;
    use crate::kubernetes::knative::spec::ConfigSpec;
    use crate::kubernetes::kserve::spec::DeploymentMode;

    fn read(spec: &str) -> Result<Autoscaler, String> {
        let text = format!(
            "apiVersion: serving.kserve.io/v1alpha1\nkind: LLMInferenceService\nmetadata: {{name: qwen}}\nspec:\n  \
             model: {{uri: hf://Qwen/Qwen3-32B}}\n  template: {{containers: []}}\n{spec}"
        );
        let node = parse("llm.yaml", &text).expect("YAML");
        let installed = Installation {
            default_mode: DeploymentMode::Knative,
            config: &ConfigSpec::default(),
            controller: &ControllerSettings::default(),
            bind: &BTreeMap::new(),
        };
        let read = super::super::manifest::read(&node, &[], installed);
        read.map(|(read, _)| read).map_err(|problems| problems.to_string())
    }

    #[test]
    fn replicas_are_fixed_and_one_where_nothing_is_said() {
        for (spec, replicas) in [("", 1), ("  replicas: 3\n  router: {scheduler: {}}\n", 3)] {
            assert!(matches!(read(spec), Ok(Autoscaler::Static(found)) if found == replicas), "{spec}");
        }
    }

    #[test]
    fn scaling_is_a_scaled_object() {
        let trigger = "{type: prometheus, metadata: {query: sum(w), threshold: \"5\"}}";
        let spec = format!(
            "  scaling:\n    maxReplicas: 6\n    keda: {{cooldownPeriod: 60, idleReplicaCount: 0, triggers: [{trigger}]}}\n"
        );
        let Ok(Autoscaler::Keda(keda)) = read(&spec) else { panic!("a ScaledObject") };
        let object = &keda.object;
        assert_eq!((object.min_replicas, object.max_replicas, object.idle_replicas), (1, 6, Some(0)));
        assert_eq!(object.cooldown_period, Span::from_secs(60));
        assert!(keda.stands_for.contains_key("s0-prometheus"));
    }

    #[test]
    fn what_makes_it_several_is_refused_by_name() {
        for (spec, said) in [
            ("  worker: {containers: []}\n", "spec.worker is not modelled"),
            ("  prefill: {replicas: 2}\n", "spec.prefill is not modelled"),
            ("  baseRefs: [{name: a}]\n", "spec.baseRefs is not modelled"),
            ("  replicas: 1\n  scaling: {maxReplicas: 2}\n", "exclude each other"),
            ("  scaling: {maxReplicas: 2, wva: {hpa: {}}}\n", "spec.scaling.wva is not modelled"),
            (
                "  scaling: {maxReplicas: 2, keda: {triggers: [{type: cron}]}}\n",
                "spec.scaling.keda.triggers[0].metadata is missing",
            ),
        ] {
            let found = read(spec).expect_err("refused");
            assert!(found.contains(said), "{spec}: {found}");
        }
    }
}

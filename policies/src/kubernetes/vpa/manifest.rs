//! `autoscaling.k8s.io/v1` manifests of a VerticalPodAutoscaler.

use scaletwin_core::control::ObjectName;
use scaletwin_core::input::{At, Node, Problem};
use scaletwin_core::input::{Problems, Value};

use super::spec::{Allowed, AllowedSpec, Controlled, UpdateMode};
use crate::kubernetes::hpa::manifest::read_list;
use crate::kubernetes::manifest::{FieldCoverage, Reader, read_target, required, spec_of, value};

/// A VPA as a manifest gives it, for one container.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestVpa {
    /// `spec.targetRef`: kind and name.
    pub target: ObjectName,
    /// `updateMode`.
    pub mode: UpdateMode,
    /// `minReplicas`, where it is written.
    pub min_replicas: Option<u16>,
    /// `minAllowed` and `maxAllowed`.
    pub allowed: Allowed,
    /// `controlledResources`.
    pub controlled: Controlled,
}

/// Reads the manifest `node` of a VPA, as far as it is about `container`.
///
/// # Errors
/// All problems: a field that is wrong, missing, or neither modelled nor waived.
pub fn read(
    node: &Node,
    waived: &[String],
    container: &str,
) -> Result<(ManifestVpa, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let vpa = read_object(&mut reader, node, container);
    reader.finish(vpa, &node.place)
}

fn read_object(reader: &mut Reader, node: &Node, container: &str) -> Option<ManifestVpa> {
    let (_, spec) = spec_of(reader, node, "VerticalPodAutoscaler", &["autoscaling.k8s.io/v1"])?;
    let mut fields = reader.fields(spec, "spec")?;
    let target = fields.honour(reader, "targetRef");
    if target.is_none() {
        reader.problems().error(&spec.place, "spec.targetRef is missing");
    }
    let update = fields.honour(reader, "updatePolicy").and_then(|node| read_update(reader, node));
    let policies = fields.honour(reader, "resourcePolicy").and_then(|node| {
        let mut fields = reader.fields(node, "spec.resourcePolicy")?;
        let list = fields.honour(reader, "containerPolicies");
        fields.finish(reader);
        Some(read_list(reader, list?, "spec.resourcePolicy.containerPolicies", read_policy))
    });
    fields.finish(reader);
    let target = read_target(reader, target?, "spec.targetRef");
    let policies = policies.unwrap_or_default();
    let named = |name: &str| policies.iter().find(|policy| policy.container.as_str() == name);
    let policy = named(container).or_else(|| named("*"));
    if let Some(off) = policy.filter(|policy| policy.off) {
        let message = format!("the manifest leaves the container {container} alone (mode: Off)");
        reader.problems().error(&off.container.place, message);
    }
    let (mode, min_replicas) = update.unwrap_or((UpdateMode::Recreate, None));
    Some(ManifestVpa {
        target: target?,
        mode,
        min_replicas,
        allowed: Allowed::of(
            policy.and_then(|policy| policy.min.as_ref()),
            policy.and_then(|policy| policy.max.as_ref()),
        ),
        controlled: policy.map_or(Controlled::BOTH, |policy| policy.controlled),
    })
}

/// `updatePolicy`: the mode, Recreate where none is written, and the fewest replicas.
fn read_update(reader: &mut Reader, node: &Node) -> Option<(UpdateMode, Option<u16>)> {
    let mut fields = reader.fields(node, "spec.updatePolicy")?;
    let mode = fields.honour(reader, "updateMode");
    let min_replicas = value::<u16>(&mut fields, reader, "minReplicas");
    fields.finish(reader);
    // YAML 1.1 reads a bare Off as false, and that is how the API server takes it for a wrong type.
    let written = mode.map(|node| (node, node.as_text().unwrap_or("false")));
    let mode = match written {
        None | Some((_, "Recreate" | "Auto")) => UpdateMode::Recreate,
        Some((_, "Initial")) => UpdateMode::Initial,
        Some((_, "Off")) => UpdateMode::Off,
        Some((node, "InPlaceOrRecreate" | "InPlace")) => {
            let problem =
                Problem::error(&node.place, "spec.updatePolicy.updateMode: pods are not resized in place");
            reader.problems().push(problem.hint("write Recreate, which evicts where this one resizes first"));
            return None;
        }
        Some((node, other)) => {
            let message = format!("spec.updatePolicy.updateMode: unknown mode {other:?}");
            let problem = Problem::error(&node.place, message);
            reader.problems().push(problem.hint("it is \"Off\", Initial, Recreate or Auto"));
            return None;
        }
    };
    Some((mode, min_replicas))
}

/// An entry of `containerPolicies`.
struct Policy {
    container: At<String>,
    off: bool,
    min: Option<AllowedSpec>,
    max: Option<AllowedSpec>,
    controlled: Controlled,
}

fn read_policy(reader: &mut Reader, node: &Node, path: &str) -> Option<Policy> {
    let mut fields = reader.fields(node, path)?;
    let container = required::<At<String>>(&mut fields, reader, "containerName");
    let mode = value::<At<String>>(&mut fields, reader, "mode");
    let min = fields.honour(reader, "minAllowed");
    let min_path = fields.path_of("minAllowed");
    let max = fields.honour(reader, "maxAllowed");
    let max_path = fields.path_of("maxAllowed");
    let controlled = fields.honour(reader, "controlledResources");
    let controlled_path = fields.path_of("controlledResources");
    // Limits are not modelled, so that nothing scales with the requests.
    fields.without_effect(reader, &["controlledValues"]);
    fields.finish(reader);
    if let Some(mode) = mode.as_ref().filter(|mode| !matches!(mode.as_str(), "Auto" | "Off")) {
        reader
            .problems()
            .error(&mode.place, format!("{path}.mode: expected Auto or \"Off\", found {:?}", mode.value));
    }
    Some(Policy {
        container: container?,
        off: mode.is_some_and(|mode| mode.as_str() == "Off"),
        min: min.and_then(|node| read_allowed(reader, node, &min_path)),
        max: max.and_then(|node| read_allowed(reader, node, &max_path)),
        controlled: controlled
            .map_or(Controlled::BOTH, |node| read_controlled(reader, node, &controlled_path)),
    })
}

fn read_allowed(reader: &mut Reader, node: &Node, path: &str) -> Option<AllowedSpec> {
    let mut fields = reader.fields(node, path)?;
    let cpu = value(&mut fields, reader, "cpu");
    let memory = value(&mut fields, reader, "memory");
    fields.finish(reader);
    Some(AllowedSpec { cpu, memory })
}

fn read_controlled(reader: &mut Reader, node: &Node, path: &str) -> Controlled {
    let Value::List(_) = &node.value else {
        reader.problems().error(&node.place, format!("{path}: expected a list, found {}", node.kind()));
        return Controlled::BOTH;
    };
    let names = read_list(reader, node, path, |reader, node, path| {
        let name = node.as_text().filter(|name| matches!(*name, "cpu" | "memory"));
        if name.is_none() {
            reader.problems().error(&node.place, format!("{path}: expected cpu or memory"));
        }
        name.map(str::to_owned)
    });
    let has = |name: &str| names.iter().any(|known| known == name);
    Controlled { cpu: has("cpu"), memory: has("memory") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::input::parse;

    fn read_spec(spec: &str) -> Result<ManifestVpa, String> {
        let text = format!(
            "apiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {{name: web}}\nspec:\n{spec}"
        );
        let node = parse("vpa.yaml", &text).expect("YAML");
        read(&node, &[], "main").map(|(vpa, _)| vpa).map_err(|problems| problems.to_string())
    }

    const TARGET: &str = "  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n";

    #[test]
    fn the_policy_of_the_container_goes_before_that_of_all() {
        let spec = format!(
            "{TARGET}  updatePolicy: {{updateMode: \"Off\", minReplicas: 1}}\n  resourcePolicy:\n    containerPolicies:\n    \
             - {{containerName: '*', maxAllowed: {{cpu: 1}}}}\n    - {{containerName: istio-proxy, mode: \"Off\"}}\n    \
             - {{containerName: main, minAllowed: {{memory: 1Gi}}, controlledResources: [memory]}}\n"
        );
        let vpa = read_spec(&spec).expect("a VPA");
        assert_eq!((vpa.mode, vpa.min_replicas), (UpdateMode::Off, Some(1)));
        assert_eq!(vpa.allowed.min.memory_bytes, 1 << 30);
        assert_eq!(vpa.allowed.max.cpu_milli, i64::MAX);
        assert_eq!(vpa.controlled, Controlled { cpu: false, memory: true });
    }

    #[test]
    fn without_a_policy_it_evicts() {
        assert_eq!(read_spec(TARGET).expect("a VPA").mode, UpdateMode::Recreate);
    }

    #[test]
    fn what_is_not_modelled_is_named() {
        for (spec, said) in [
            ("  updatePolicy: {updateMode: InPlaceOrRecreate}\n", "pods are not resized in place"),
            ("  updatePolicy: {updateMode: false}\n", "unknown mode \"false\""),
            (
                "  updatePolicy: {evictionRequirements: []}\n",
                "spec.updatePolicy.evictionRequirements is not modelled",
            ),
            ("  recommenders: [{name: own}]\n", "spec.recommenders is not modelled"),
            (
                "  resourcePolicy: {containerPolicies: [{containerName: main, mode: \"Off\"}]}\n",
                "leaves the container main alone",
            ),
        ] {
            let found = read_spec(&format!("{TARGET}{spec}")).expect_err("not modelled");
            assert!(found.contains(said), "{found}");
        }
    }
}

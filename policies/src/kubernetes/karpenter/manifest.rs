//! `karpenter.sh/v1` NodePools.

use std::collections::BTreeMap;

use scaletwin_core::input::{At, Node, Place, Problem, Problems, Read, Value};
use scaletwin_core::units::{Bytes, Quantity, Span};

use super::spec::{
    BudgetSpec, ConsolidationPolicy, DisruptionSpec, Label, Lasting, LimitsSpec, NodePoolSettings,
    NodePoolSpec, Operator, ReasonName, RequirementSpec,
};
use crate::kubernetes::manifest::{FieldCoverage, Fields, Reader, documents, unexpected};

/// Reads the NodePools among a manifest's documents; EC2NodeClasses and the like beside them are left alone.
///
/// # Errors
/// All problems: a field that is wrong, missing, or neither modelled nor waived; or no NodePool at all.
pub fn read(
    nodes: &[Node],
    waived: &[String],
    place: &Place,
) -> Result<(Vec<NodePoolSettings>, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let all = documents(nodes);
    let pools = all.iter().filter(|node| node.get("kind").and_then(Node::as_text) == Some("NodePool"));
    let found: Vec<Option<NodePoolSettings>> = pools.map(|node| read_pool(&mut reader, node)).collect();
    if found.is_empty() {
        reader.problems().error(place, "the manifest holds no NodePool");
    }
    reader.finish(found.into_iter().collect(), place)
}

fn read_pool(reader: &mut Reader, node: &Node) -> Option<NodePoolSettings> {
    let mut fields = reader.fields(node, "")?;
    let version = fields.honour(reader, "apiVersion").and_then(Node::as_text).unwrap_or("");
    fields.honour(reader, "kind");
    fields.without_effect(reader, &["status"]);
    let name = fields.honour(reader, "metadata").and_then(|metadata| metadata.get("name"));
    let spec = fields.honour(reader, "spec");
    fields.finish(reader);
    if version != "karpenter.sh/v1" {
        reader.problems().push(unexpected(node, "a NodePool of karpenter.sh/v1", "NodePool", version));
        return None;
    }
    let (Some(name), Some(spec)) = (name, spec) else {
        reader.problems().error(&node.place, "metadata.name or spec is missing");
        return None;
    };
    let name = At::<String>::read(name, reader.problems())?;
    let mut fields = reader.fields(spec, "spec")?;
    let weight = value::<u32>(&mut fields, reader, "weight");
    let limits = fields.honour(reader, "limits").and_then(|node| read_limits(reader, node));
    let disruption = fields.honour(reader, "disruption").and_then(|node| read_disruption(reader, node));
    let template = fields.honour(reader, "template").and_then(|node| read_template(reader, node));
    fields.finish(reader);
    let template = template.unwrap_or_default();
    let spec = NodePoolSpec {
        name,
        pools: Vec::new(),
        requirements: template.requirements,
        labels: template.labels,
        weight: weight.unwrap_or(0),
        limits: limits.unwrap_or_default(),
        disruption: At { value: disruption.unwrap_or_default(), place: node.place.clone() },
        expire_after: template.expire_after.unwrap_or(Lasting(Some(Span::from_secs(720 * 3_600)))),
        termination_grace_period: template.termination_grace_period,
    };
    spec.check(reader.problems())
}

/// Takes and reads a field.
fn value<T: Read>(fields: &mut Fields<'_>, reader: &mut Reader, key: &'static str) -> Option<T> {
    let node = fields.honour(reader, key)?;
    T::read(node, reader.problems())
}

/// Reads each node of a list.
fn list<T>(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    read: impl Fn(&mut Reader, &Node, &str) -> Option<T>,
) -> Vec<T> {
    let Value::List(nodes) = &node.value else {
        reader.problems().error(&node.place, format!("{path}: expected a list, found {}", node.kind()));
        return Vec::new();
    };
    let nodes = nodes.iter().enumerate();
    nodes.filter_map(|(at, node)| read(reader, node, &format!("{path}[{at}]"))).collect()
}

fn read_limits(reader: &mut Reader, node: &Node) -> Option<LimitsSpec> {
    let mut fields = reader.fields(node, "spec.limits")?;
    let limits = LimitsSpec {
        cpu: value::<Quantity>(&mut fields, reader, "cpu"),
        memory: value::<Bytes>(&mut fields, reader, "memory"),
        gpus: value::<Quantity>(&mut fields, reader, "nvidia.com/gpu")
            .and_then(|gpus| u32::try_from(gpus.value()).ok()),
        nodes: value::<Quantity>(&mut fields, reader, "nodes")
            .and_then(|nodes| u32::try_from(nodes.value()).ok()),
    };
    fields.finish(reader);
    Some(limits)
}

fn read_disruption(reader: &mut Reader, node: &Node) -> Option<DisruptionSpec> {
    let mut fields = reader.fields(node, "spec.disruption")?;
    let defaults = DisruptionSpec::default();
    let policy = value::<ConsolidationPolicy>(&mut fields, reader, "consolidationPolicy");
    let after = value::<Lasting>(&mut fields, reader, "consolidateAfter");
    let threshold = value(&mut fields, reader, "consolidationThreshold");
    let budgets = fields.honour(reader, "budgets");
    let budgets = budgets.map(|node| list(reader, node, "spec.disruption.budgets", read_budget));
    fields.finish(reader);
    Some(DisruptionSpec {
        consolidation_policy: policy.unwrap_or(defaults.consolidation_policy),
        consolidate_after: after.unwrap_or(defaults.consolidate_after),
        consolidation_threshold: threshold.unwrap_or(defaults.consolidation_threshold),
        budgets,
    })
}

fn read_budget(reader: &mut Reader, node: &Node, path: &str) -> Option<At<BudgetSpec>> {
    let mut fields = reader.fields(node, path)?;
    let nodes = fields.honour(reader, "nodes");
    let schedule = value::<At<String>>(&mut fields, reader, "schedule");
    let duration = value::<Span>(&mut fields, reader, "duration");
    let reasons = value::<Vec<ReasonName>>(&mut fields, reader, "reasons");
    let nodes = match nodes {
        Some(nodes) => At::<String>::read(nodes, reader.problems()),
        None => {
            reader.problems().error(&node.place, format!("{} is missing", fields.path_of("nodes")));
            None
        }
    };
    fields.finish(reader);
    let spec = BudgetSpec { nodes: nodes?, schedule, duration, reasons: reasons.unwrap_or_default() };
    Some(At { value: spec, place: node.place.clone() })
}

#[derive(Default)]
struct Template {
    requirements: Vec<At<RequirementSpec>>,
    labels: BTreeMap<String, String>,
    expire_after: Option<Lasting>,
    termination_grace_period: Option<Span>,
}

/// `spec.template`.
fn read_template(reader: &mut Reader, node: &Node) -> Option<Template> {
    let mut fields = reader.fields(node, "spec.template")?;
    let metadata = fields.honour(reader, "metadata");
    let labels = metadata.and_then(|node| read_labels(reader, node)).unwrap_or_default();
    let spec = fields.honour(reader, "spec");
    fields.finish(reader);
    let mut fields = reader.fields(spec?, "spec.template.spec")?;
    fields.without_effect(reader, &["nodeClassRef", "startupTaints"]);
    let expire_after = value(&mut fields, reader, "expireAfter");
    let termination_grace_period = value(&mut fields, reader, "terminationGracePeriod");
    let requirements = fields.honour(reader, "requirements");
    fields.finish(reader);
    let path = "spec.template.spec.requirements";
    let requirements =
        requirements.map(|node| list(reader, node, path, read_requirement)).unwrap_or_default();
    Some(Template { requirements, labels, expire_after, termination_grace_period })
}

fn read_labels(reader: &mut Reader, node: &Node) -> Option<BTreeMap<String, String>> {
    let mut fields = reader.fields(node, "spec.template.metadata")?;
    fields.without_effect(reader, &["annotations"]);
    let labels = value(&mut fields, reader, "labels");
    fields.finish(reader);
    labels
}

/// Reads a requirement. One on a label that is not modelled can be waived by its path, as any field.
fn read_requirement(reader: &mut Reader, node: &Node, path: &str) -> Option<At<RequirementSpec>> {
    let modelled = node.get("key").is_none_or(|key| Label::read(key, &mut Problems::default()).is_some());
    let mut fields = reader.fields(node, path)?;
    if !modelled && fields.is_waived(reader) {
        return None;
    }
    let key = value::<At<String>>(&mut fields, reader, "key");
    let operator = value::<Operator>(&mut fields, reader, "operator");
    let values = value::<Vec<String>>(&mut fields, reader, "values");
    fields.finish(reader);
    let (Some(key), Some(operator)) = (key, operator) else {
        reader.problems().error(&node.place, format!("{path}: expected key, operator and values"));
        return None;
    };
    if !modelled {
        let message = format!("{path}: the label {} is not modelled", key.value);
        let hint = format!("modelled are {}; run without it by waive: ['{path}']", Label::shape().phrase);
        reader.problems().push(Problem::error(&key.place, message).hint(hint));
        return None;
    }
    let spec = RequirementSpec { key, operator, values: values.unwrap_or_default() };
    Some(At { value: spec, place: node.place.clone() })
}

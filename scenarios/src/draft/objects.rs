//! The objects of a dump.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::input::{Node, Value, parse_documents};
use scaletwin_policies::kubernetes::manifest::documents;

use super::ManifestFile;
use super::page::Origin;

/// An object: what has a kind and a name.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    pub namespace: &'a str,
    pub node: &'a Node,
    /// The file that it is in, as the scenario names it.
    pub file: &'a str,
}

impl<'a> Object<'a> {
    fn of(node: &'a Node, file: &'a str) -> Option<Object<'a>> {
        let metadata = |key| node.get("metadata").and_then(|metadata| metadata.get(key)?.as_text());
        Some(Object {
            kind: node.get("kind")?.as_text()?,
            name: metadata("name")?,
            namespace: metadata("namespace").unwrap_or("default"),
            node,
            file,
        })
    }

    /// What lies at a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&'a Node> {
        at(self.node, path)
    }

    /// A label.
    pub(super) fn label(&self, key: &str) -> Option<String> {
        self.at(&["metadata", "labels", key]).and_then(scalar)
    }

    /// That a value is read from a field of this object.
    pub(super) fn read(&self, field: &str) -> Option<Origin> {
        Some(Origin::Read(format!("{}/{} {field}", self.kind, self.name)))
    }
}

/// What lies at a path of keys.
pub(super) fn at<'a>(node: &'a Node, path: &[&str]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, key| node.get(key))
}

/// A text, or a number or truth value as it is written.
pub(super) fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(holds) => Some(holds.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// The elements of a list; none of anything else.
pub(super) fn elements(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(nodes)) => nodes,
        _ => &[],
    }
}

/// All objects of some files.
pub(super) struct Objects<'a> {
    files: Vec<(&'a str, Vec<Node>)>,
    taken: RefCell<BTreeSet<String>>,
}

/// Kinds that say nothing about capacity or its scaling, besides what is known of them elsewhere.
const SILENT: [&str; 14] = [
    "ConfigMap",
    "EC2NodeClass",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "Ingress",
    "Namespace",
    "Pod",
    "ReplicaSet",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
];

impl<'a> Objects<'a> {
    /// Reads the files; what is no YAML is left out.
    pub(super) fn read(files: &'a [ManifestFile], left_out: &mut Vec<String>) -> Objects<'a> {
        let mut read = Vec::new();
        for file in files {
            match parse_documents(&file.path, &file.text) {
                Ok(nodes) => read.push((file.path.as_str(), nodes)),
                Err(problem) => left_out.push(format!("{}: {}", file.path, problem.message)),
            }
        }
        Objects { files: read, taken: RefCell::new(BTreeSet::new()) }
    }

    /// All of them, in the order of the files.
    pub(super) fn all(&self) -> Vec<Object<'_>> {
        let objects = self
            .files
            .iter()
            .flat_map(|(file, nodes)| documents(nodes).into_iter().filter_map(|node| Object::of(node, file)));
        objects.collect()
    }

    /// Those of a kind; they count as dealt with.
    pub(super) fn of_kind(&self, kind: &str) -> Vec<Object<'_>> {
        self.taken.borrow_mut().insert(kind.to_owned());
        self.all().into_iter().filter(|object| object.kind == kind).collect()
    }

    /// Lists those of kinds that nobody has asked for.
    pub(super) fn rest(&self, left_out: &mut Vec<String>) {
        let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let all = self.all();
        for object in all.iter().filter(|object| !self.taken.borrow().contains(object.kind)) {
            others.entry(object.kind).or_default().push(object.name.to_owned());
        }
        for (kind, names) in others {
            let names = names.join(", ");
            left_out.push(match (SILENT.contains(&kind), hint(kind)) {
                (true, _) => format!("{kind} {names}: nothing in a scenario stands for it"),
                (false, Some(hint)) => format!("{kind} {names}: {hint}"),
                (false, None) => format!("{kind} {names}: not read by `scaletwin init`"),
            });
        }
        let unnamed = self.files.iter().flat_map(|(_, nodes)| documents(nodes)).count() - all.len();
        if unnamed > 0 {
            left_out.push(format!("{unnamed} of the documents: without kind or name"));
        }
    }
}

/// What to do about a kind by hand.
fn hint(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "PodAutoscaler" => {
            "write a service for it, and {kind: aibrix, manifest: …} if it is AIBrix's, {kind: knative} if it is Knative's"
        }
        "InferenceService" | "LLMInferenceService" => {
            "write a service for it, and {kind: kserve, manifest: …}"
        }
        "RayService" => "write a service for it, and {kind: ray-serve, manifest: …} with its serveConfigV2",
        "VerticalPodAutoscaler" => "add {kind: vpa, target: …, manifest: …}",
        "PodDisruptionBudget" | "ResourceQuota" | "LimitRange" => "not modelled by this draft",
        "StatefulSet" | "LeaderWorkerSet" | "DaemonSet" | "Job" | "CronJob" => "only Deployments are read",
        _ => return None,
    })
}

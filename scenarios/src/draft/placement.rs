//! What pods want of the nodes and pods around them, and how important they are.

use scaletwin_core::control::TopologyKey;
use scaletwin_core::input::Node;

use super::containers::pod;
use super::labels::{Labels, labels, selects, single_values};
use super::named;
use super::objects::{Object, Objects, at, elements, scalar};
use super::page::{Keyed, Line, Origin, guessed, inferred, plain, quoted};
use super::pools::Pool;
use crate::check::service::MOST_PRIORITY;
use crate::spec::scheduling::{Effect, Operator, TaintSpec, TolerationSpec};

/// What is around the pods of a Deployment.
pub(super) struct Around<'a> {
    /// Those of all that become services.
    pub pods: Vec<Pods>,
    pub classes: Vec<Class<'a>>,
    pub pools: &'a [Pool],
}

/// The pods of a Deployment that becomes a service.
pub(super) struct Pods {
    target: String,
    namespace: String,
    labels: Labels,
}

impl Pods {
    pub(super) fn of(object: &Object<'_>, target: String) -> Pods {
        let labels = labels(object.at(&["spec", "template", "metadata", "labels"]));
        Pods { target, namespace: object.namespace.to_owned(), labels }
    }
}

/// A `PriorityClass`.
pub(super) struct Class<'a> {
    object: Object<'a>,
    value: i32,
}

/// All classes of a dump.
pub(super) fn classes<'a>(objects: &'a Objects<'_>) -> Vec<Class<'a>> {
    let class = |object: Object<'a>| {
        let value = object.at(&["value"]).and_then(scalar)?.parse().ok()?;
        Some(Class { object, value })
    };
    objects.of_kind("PriorityClass").into_iter().filter_map(class).collect()
}

/// The classes that every cluster has.
const BUILT_IN: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// What is carried over.
#[derive(Debug, Clone, Default)]
pub(super) struct Placement {
    tolerations: Vec<(TolerationSpec, Keyed)>,
    priority: Vec<Keyed>,
    spread: Vec<Keyed>,
    nodes: Vec<Keyed>,
    /// Pods to be with and apart from, each required and preferred.
    pods: [Vec<Term>; 4],
}

/// A term about pods.
#[derive(Debug, Clone)]
struct Term {
    /// The target, if it is not the own one.
    with: Option<String>,
    text: String,
    origin: Option<Origin>,
}

/// The fields of a pod that `Placement::pods` is read from, with their keys here.
const PODS: [(&str, &str, &str, &str); 4] = [
    ("podAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "pod_affinity", "required"),
    ("podAffinity", "preferredDuringSchedulingIgnoredDuringExecution", "pod_affinity", "preferred"),
    ("podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "pod_anti_affinity", "required"),
    ("podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution", "pod_anti_affinity", "preferred"),
];

impl Placement {
    /// That of the Deployment whose pods are at `own`.
    pub(super) fn of(
        object: &Object<'_>,
        own: usize,
        around: &Around<'_>,
        left_out: &mut Vec<String>,
    ) -> Placement {
        let Some(pod) = pod(object) else { return Placement::default() };
        let mut reader = Reader { object, pod, own, around, left_out };
        let required = at(pod, &["affinity", "nodeAffinity", PODS[0].1]);
        if required.is_some_and(|node| !node.is_null()) && required_labels(object).is_empty() {
            reader.leaves("required nodeAffinity");
        }
        Placement {
            tolerations: reader.tolerations(),
            priority: reader.priority(),
            spread: reader.spread(),
            nodes: reader.nodes(),
            pods: [0, 1, 2, 3].map(|place| reader.pods(place)),
        }
    }

    /// Whether its pods tolerate the taints of a pool that keep pods away.
    pub(super) fn tolerates(&self, pool: &Pool) -> bool {
        let hard = pool.taints().filter(|taint| taint.effect != Effect::PreferNoSchedule);
        let mut hard =
            hard.map(|taint| self.tolerations.iter().any(|(toleration, _)| toleration.tolerates(taint)));
        hard.all(|tolerated| tolerated)
    }

    /// Its lines in a scenario that has the targets of `present`.
    pub(super) fn lines(&self, present: &[String]) -> Vec<Line> {
        let mut lines: Vec<Line> =
            self.priority.iter().map(|(text, origin)| Line::of(4, text, origin.clone())).collect();
        let tolerations: Vec<Keyed> = self.tolerations.iter().map(|(_, keyed)| keyed.clone()).collect();
        lines.extend(list(4, "tolerations", &tolerations));
        lines.extend(list(4, "topology_spread_constraints", &self.spread));
        let mut affinity = list(6, "preferred", &self.nodes);
        if !affinity.is_empty() {
            affinity.insert(0, Line::of(5, "node_affinity:", None));
        }
        let mut before = "";
        for ((_, _, kind, strength), terms) in PODS.iter().zip(&self.pods) {
            let here =
                terms.iter().filter(|term| term.with.as_ref().is_none_or(|with| present.contains(with)));
            let keyed: Vec<Keyed> = here.map(|term| (term.text.clone(), term.origin.clone())).collect();
            if !keyed.is_empty() && *kind != before {
                affinity.push(Line::of(5, format!("{kind}:"), None));
                before = kind;
            }
            affinity.extend(list(6, strength, &keyed));
        }
        if !affinity.is_empty() {
            lines.push(Line::of(4, "affinity:", None));
        }
        lines.extend(affinity);
        lines
    }

    /// What is left of it where the rest does not work: who is more important, and pods that may run anywhere.
    pub(super) fn anywhere(&self, pools: &[Pool]) -> Vec<Line> {
        let mut lines: Vec<Line> =
            self.priority.iter().map(|(text, origin)| Line::of(4, text, origin.clone())).collect();
        if pools.iter().any(|pool| pool.taints().next().is_some()) {
            let why = guessed("nodes have taints; set which of them its pods tolerate");
            lines.extend(list(4, "tolerations", &[("- {operator: Exists}".to_owned(), why)]));
        }
        lines
    }
}

fn list(depth: usize, key: &str, items: &[Keyed]) -> Vec<Line> {
    let head = (!items.is_empty()).then(|| Line::of(depth, format!("{key}:"), None));
    let items = items.iter().map(|(text, origin)| Line::of(depth + 1, text, origin.clone()));
    head.into_iter().chain(items).collect()
}

/// The labels that the nodes of a Deployment's pods must have: those of its selector, and what its node affinity requires as
/// far as each requirement allows one value.
pub(super) fn node_labels(object: &Object<'_>) -> Vec<(String, String)> {
    let selector = labels(pod(object).and_then(|pod| pod.get("nodeSelector")));
    let all = selector.into_iter().chain(required_labels(object));
    all.map(|(label, value)| (plain(&label), plain(&value))).collect()
}

/// What node affinity requires, if that are labels of one value each.
fn required_labels(object: &Object<'_>) -> Vec<(String, String)> {
    let path = ["affinity", "nodeAffinity", PODS[0].1, "nodeSelectorTerms"];
    match elements(pod(object).and_then(|pod| at(pod, &path))) {
        [term] if term.get("matchFields").is_none() => {
            single_values(elements(term.get("matchExpressions"))).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Reads a pod template, and notes what it cannot carry over.
struct Reader<'a> {
    object: &'a Object<'a>,
    pod: &'a Node,
    own: usize,
    around: &'a Around<'a>,
    left_out: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn leaves(&mut self, what: &str) {
        self.left_out.push(format!("{}: {} of its pods", named(self.object), plain(what)));
    }

    /// Notes keys that have a value.
    fn leaves_keys(&mut self, node: &Node, whose: &str, keys: &[&str]) {
        for key in keys.iter().filter(|key| node.get(key).is_some_and(|node| !node.is_null())) {
            self.leaves(&format!("{key} of {whose}"));
        }
    }

    fn tolerations(&mut self) -> Vec<(TolerationSpec, Keyed)> {
        let mut found = Vec::new();
        for node in elements(self.pod.get("tolerations")) {
            match toleration(node) {
                Some(toleration) => {
                    let text = written(&toleration);
                    found.push((toleration, (text, self.object.read("tolerations"))));
                    self.leaves_keys(node, "tolerations", &["tolerationSeconds"]);
                }
                None => self.leaves("a toleration"),
            }
        }
        found
    }

    fn priority(&mut self) -> Vec<Keyed> {
        let text = |node: Option<&Node>| node.and_then(scalar).filter(|text| !text.is_empty());
        let classes = &self.around.classes;
        let asked = text(self.pod.get("priorityClassName"));
        let class = match &asked {
            Some(name) => classes.iter().find(|class| class.object.name == name),
            None => classes.iter().find(|class| {
                class.object.at(&["globalDefault"]).and_then(scalar).as_deref() == Some("true")
            }),
        };
        let own = text(self.pod.get("priority")).and_then(|text| text.parse::<i32>().ok());
        let built_in = BUILT_IN.iter().find(|(name, _)| asked.as_deref() == Some(name));
        let (value, origin) = match (class, built_in, own) {
            (Some(class), ..) => (class.value, class.object.read("value")),
            (None, Some((_, value)), _) => (*value, inferred("a class that every cluster has")),
            (None, None, Some(value)) => (value, self.object.read("priority")),
            (None, None, None) => {
                if let Some(name) = asked {
                    self.leaves(&format!("priorityClassName {name}, whose PriorityClass is not there,"));
                }
                return Vec::new();
            }
        };
        // Those of the system are beyond what users and scenarios may write.
        let most = value.clamp(-MOST_PRIORITY, MOST_PRIORITY);
        let origin = match most == value {
            true => origin,
            false => guessed(format!("the highest there is; it has {value}")),
        };
        let mut keys = vec![(format!("priority: {most}"), origin)];
        let of_class = class.and_then(|class| text(class.object.at(&["preemptionPolicy"])));
        if text(self.pod.get("preemptionPolicy")).or(of_class).as_deref() == Some("Never") {
            keys.push((
                "preemption_policy: Never".to_owned(),
                self.object.read("preemptionPolicy or its class"),
            ));
        }
        keys
    }

    fn spread(&mut self) -> Vec<Keyed> {
        let mut found = Vec::new();
        for node in elements(self.pod.get("topologySpreadConstraints")) {
            let whose = "topologySpreadConstraints";
            let Some(key) = self.topology_key(node, whose) else { continue };
            let selected = self.selected(node);
            if !selected.contains(&self.own) {
                self.leaves("topologySpreadConstraints that count other pods");
                continue;
            }
            if selected.len() > 1 {
                self.leaves("pods of other Deployments that topologySpreadConstraints count too,");
            }
            self.leaves_keys(
                node,
                whose,
                &["minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy", "matchLabelKeys"],
            );
            let skew = node.get("maxSkew").and_then(scalar).and_then(|text| text.parse::<u32>().ok());
            let mut parts = vec![
                format!("max_skew: {}", skew.unwrap_or(1).max(1)),
                format!("topology_key: {}", key.name()),
            ];
            if node.get("whenUnsatisfiable").and_then(scalar).as_deref() == Some("ScheduleAnyway") {
                parts.push("when_unsatisfiable: ScheduleAnyway".to_owned());
            }
            found.push((item(&parts), self.object.read(whose)));
        }
        found
    }

    /// Nodes that it would rather have.
    fn nodes(&mut self) -> Vec<Keyed> {
        let mut found = Vec::new();
        let path = ["affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"];
        for node in elements(at(self.pod, &path)) {
            let wanted = node.get("preference").filter(|preference| preference.get("matchFields").is_none());
            let wanted = wanted.and_then(|node| single_values(elements(node.get("matchExpressions"))));
            let pools = self.around.pools;
            let told = |(label, value): &(String, String)| pools.iter().any(|pool| pool.has(label, value));
            match wanted.filter(|labels| !labels.is_empty() && labels.iter().all(told)) {
                Some(labels) => {
                    let labels: Vec<String> = labels
                        .iter()
                        .map(|(label, value)| format!("{}: {}", quoted(label), quoted(value)))
                        .collect();
                    let text =
                        format!("- {{weight: {}, match_labels: {{{}}}}}", weight(node), labels.join(", "));
                    found.push((text, self.object.read("affinity.nodeAffinity")));
                }
                None => self.leaves("a preferred nodeAffinity to labels that no pool tells,"),
            }
        }
        found
    }

    /// The terms about pods of one of `PODS`.
    fn pods(&mut self, place: usize) -> Vec<Term> {
        let (field, strength, ..) = PODS[place];
        let preferred = strength.starts_with("preferred");
        let mut found: Vec<Term> = Vec::new();
        for node in elements(at(self.pod, &["affinity", field, strength])) {
            let Some(term) = (if preferred { node.get("podAffinityTerm") } else { Some(node) }) else {
                continue;
            };
            let Some(key) = self.topology_key(term, field) else { continue };
            let elsewhere = ["namespaces", "namespaceSelector"];
            if elsewhere.iter().any(|key| term.get(key).is_some_and(|node| !node.is_null())) {
                self.leaves(&format!("{field} in other namespaces"));
                continue;
            }
            self.leaves_keys(term, field, &["matchLabelKeys", "mismatchLabelKeys"]);
            let selected = self.selected(term);
            let target = |other: usize| (other != self.own).then(|| self.around.pods[other].target.clone());
            let with: Vec<Option<String>> = selected.into_iter().map(target).collect();
            // One pod has to be what all required terms are about.
            let one = place != 0 || (with.len() == 1 && found.iter().all(|other| other.with == with[0]));
            if with.is_empty() || !one {
                let whom =
                    if one { "pods that are of no service here" } else { "pods of several Deployments" };
                self.leaves(&format!("{field} to {whom}"));
                continue;
            }
            for with in with {
                let mut parts = Vec::new();
                parts.extend(preferred.then(|| format!("weight: {}", weight(node))));
                parts.extend(with.as_ref().map(|with| format!("deployment: {}", quoted(with))));
                parts.push(format!("topology_key: {}", key.name()));
                let origin = self.object.read(&format!("affinity.{field}"));
                found.push(Term { with, text: item(&parts), origin });
            }
        }
        found
    }

    fn topology_key(&mut self, node: &Node, whose: &str) -> Option<TopologyKey> {
        let written = node.get("topologyKey").and_then(scalar).unwrap_or_default();
        let known = [TopologyKey::Hostname, TopologyKey::Zone].into_iter().find(|key| key.name() == written);
        if known.is_none() {
            self.leaves(&format!("{whose} by topologyKey {written}"));
        }
        known
    }

    /// The Deployments of its namespace whose pods the selector of a node selects.
    fn selected(&self, node: &Node) -> Vec<usize> {
        let selector = node.get("labelSelector");
        let fits = |pods: &Pods| pods.namespace == self.object.namespace && selects(selector, &pods.labels);
        let all = self.around.pods.iter().enumerate();
        all.filter(|(_, pods)| fits(pods)).map(|(place, _)| place).collect()
    }
}

fn item(parts: &[String]) -> String {
    format!("- {{{}}}", parts.join(", "))
}

/// A weight of 1 to 100.
fn weight(node: &Node) -> u32 {
    node.get("weight").and_then(scalar).and_then(|text| text.parse::<u32>().ok()).unwrap_or(1).clamp(1, 100)
}

fn effect(text: &str) -> Option<Effect> {
    [Effect::NoSchedule, Effect::NoExecute, Effect::PreferNoSchedule]
        .into_iter()
        .find(|effect| effect.name() == text)
}

/// A toleration as Kubernetes takes it.
fn toleration(node: &Node) -> Option<TolerationSpec> {
    let text = |key| node.get(key).and_then(scalar).filter(|text| !text.is_empty());
    let operator = match text("operator").as_deref() {
        Some("Exists") => Operator::Exists,
        None | Some("Equal") => Operator::Equal,
        Some(_) => return None,
    };
    let key = text("key");
    if key.is_none() && operator == Operator::Equal {
        return None;
    }
    let effect = match text("effect") {
        Some(text) => Some(effect(&text)?),
        None => None,
    };
    Some(TolerationSpec { key, operator, value: text("value").unwrap_or_default(), effect })
}

fn written(toleration: &TolerationSpec) -> String {
    let mut parts = Vec::new();
    parts.extend(toleration.key.as_ref().map(|key| format!("key: {}", quoted(key))));
    parts.push(format!("operator: {}", toleration.operator.name()));
    if toleration.operator == Operator::Equal {
        parts.push(format!("value: {}", quoted(&toleration.value)));
    }
    parts.extend(toleration.effect.map(|effect| format!("effect: {}", effect.name())));
    item(&parts)
}

/// The taints of a node that it keeps: those that come and go with its state are none of its pool.
pub(super) fn taints(object: &Object<'_>) -> Vec<(TaintSpec, String)> {
    const PASSING: [&str; 5] = [
        "node.kubernetes.io/",
        "node.cloudprovider.kubernetes.io/",
        "karpenter.sh/",
        "ToBeDeletedByClusterAutoscaler",
        "DeletionCandidateOfClusterAutoscaler",
    ];
    let taint = |node: &Node| {
        let text = |key| node.get(key).and_then(scalar).filter(|text| !text.is_empty());
        let key = text("key").filter(|key| !PASSING.iter().any(|passing| key.starts_with(passing)))?;
        let taint =
            TaintSpec { key, value: text("value").unwrap_or_default(), effect: effect(&text("effect")?)? };
        let mut parts = vec![format!("key: {}", quoted(&taint.key))];
        if !taint.value.is_empty() {
            parts.push(format!("value: {}", quoted(&taint.value)));
        }
        parts.push(format!("effect: {}", taint.effect.name()));
        Some((taint, item(&parts)))
    };
    elements(object.at(&["spec", "taints"])).iter().filter_map(taint).collect()
}

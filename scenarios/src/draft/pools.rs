//! Nodes and NodePools as node pools.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::control::{CapacityType, Resources};
use scaletwin_core::input::{Node, Problems, Read};
use scaletwin_core::units::{Bytes, Quantity};
use scaletwin_hardware::{InstanceType, accelerator, instance_type, instance_types};
use scaletwin_policies::kubernetes::karpenter::spec::{Label, Labels, Operator, Requirement};

use super::named;
use super::objects::{Object, Objects, at, elements, scalar};
use super::page::{Keyed, Line, Origin, guessed, inferred, name, quoted};
use super::placement::taints;
use super::servers::Server;
use crate::spec::scheduling::TaintSpec;

/// A node pool.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    /// Its name in the scenario.
    pub name: String,
    /// GPUs of a node.
    pub gpus: u32,
    instance_type: String,
    capacity: &'static str,
    zone: String,
    /// Where instance type, way of being bought and zone are from.
    origins: [Option<Origin>; 3],
    accelerator: Option<String>,
    /// Keys that describe a node, with where they are from.
    node: Vec<Keyed>,
    /// Labels of its nodes, as far as they are known.
    labels: BTreeMap<String, String>,
    /// What keeps pods away from them, with how it is written.
    taints: Vec<(TaintSpec, String)>,
    tainted: Option<Origin>,
    /// Nodes that were there.
    seen: u32,
    /// Whether Karpenter launches its nodes, so that none has to be there.
    launched: bool,
    most: (u32, Option<Origin>),
}

const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
const GPU_NAME: &str = "karpenter.k8s.aws/instance-gpu-name";
const ZONE: &str = "topology.kubernetes.io/zone";
const CAPACITY: &str = "karpenter.sh/capacity-type";
const PRODUCT: &str = "nvidia.com/gpu.product";

/// Whether a label of nodes is told by the pools of a scenario.
pub(super) fn is_known(label: &str) -> bool {
    [INSTANCE_TYPE, ZONE, CAPACITY, PRODUCT, "kubernetes.io/os", "kubernetes.io/arch"].contains(&label)
}

/// The most node pools that are drafted: a dump of every type of a provider is no scenario.
const MOST_POOLS: usize = 40;

/// The node pools that nodes and NodePools tell of.
pub(super) fn pools(objects: &Objects<'_>, left_out: &mut Vec<String>) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for object in objects.of_kind("Node") {
        let labels = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
        if labels.iter().any(|label| object.label(label).is_some()) {
            left_out.push(format!("{}: it is of the control plane", named(&object)));
            continue;
        }
        let pool = Pool::of_node(&object);
        match pools.iter_mut().find(|known| known.name == pool.name) {
            Some(known) => {
                known.seen = known.seen.saturating_add(1);
                if !known.taints.iter().map(|(_, text)| text).eq(pool.taints.iter().map(|(_, text)| text)) {
                    left_out.push(format!(
                        "{}: its taints are not those of other nodes of its pool",
                        named(&object)
                    ));
                }
            }
            None => pools.push(pool),
        }
    }
    let mut zones: Vec<String> = pools.iter().map(|pool| pool.zone.clone()).collect();
    zones.sort();
    zones.dedup();
    for object in objects.of_kind("NodePool") {
        for pool in offerings(&object, &zones, left_out) {
            match pools.iter_mut().find(|known| known.name == pool.name) {
                Some(known) => known.launched = true,
                None => pools.push(pool),
            }
        }
    }
    for pool in pools.drain(MOST_POOLS.min(pools.len())..) {
        left_out.push(format!("node pool {}: a draft has at most {MOST_POOLS}", pool.name));
    }
    pools
}

/// How many different accelerators there are.
pub(super) fn accelerators(pools: &[Pool]) -> usize {
    pools.iter().filter_map(|pool| pool.accelerator.as_ref()).collect::<BTreeSet<_>>().len()
}

/// Adds pools for replicas that no pool has the GPUs for, and one for the others where there is none at all.
pub(super) fn add_guessed(pools: &mut Vec<Pool>, servers: &[Server]) {
    for server in servers.iter().filter(|server| server.gpus > 0) {
        if !pools.iter().any(|pool| pool.gpus >= server.gpus) {
            let pool = Pool::guessed(smallest(server, &provider(pools)), &server.object);
            pools.push(pool);
        }
    }
    if pools.is_empty() {
        let known = instance_type("m6i.xlarge").or(instance_types().first());
        pools.push(Pool::guessed(known.expect("there are instance types"), "the services"));
    }
    let mut names = BTreeSet::new();
    pools.retain(|pool| names.insert(pool.name.clone()));
}

/// The provider of the pools that there are; without any, the one whose types the catalogue has most of.
fn provider(pools: &[Pool]) -> String {
    let known = pools.iter().find_map(|pool| instance_type(&pool.instance_type));
    known.map_or_else(|| "aws".to_owned(), |known| known.provider.clone())
}

/// The cheapest instance type of a provider with the GPUs of a server, memory for its model, and, if there is one, the cores
/// and memory that a replica requests.
fn smallest(server: &Server, provider: &str) -> &'static InstanceType {
    let need = server.profile.as_ref().map_or(0.0, |profile| profile.billions * 2.0);
    let asked = server.selector.iter().find(|(label, _)| label == INSTANCE_TYPE);
    if let Some(known) = asked.and_then(|(_, name)| instance_type(name)).filter(|known| known.gpus > 0) {
        return known;
    }
    let product = server.selector.iter().find(|(label, _)| label == PRODUCT);
    let product = product.and_then(|(_, name)| accelerator_of(name));
    let has = |known: &&InstanceType| {
        let memory =
            known.accelerator.as_deref().and_then(accelerator).map_or(0.0, |gpu| gpu.memory_gb.get());
        let fits = memory * f64::from(server.gpus) * 0.8 > need;
        known.provider == provider
            && known.gpus >= server.gpus
            && fits
            && product.is_none_or(|name| known.accelerator.as_deref() == Some(name))
    };
    let (cpu, memory) = server.requests;
    let holds = |known: &&InstanceType| {
        i64::from(known.vcpus) * 1_000 >= cpu && (i64::from(known.memory_gib) << 30) >= memory / 1_000
    };
    let price = |known: &&InstanceType| known.on_demand_usd_per_hour;
    let cheapest = |found: &mut dyn Iterator<Item = &'static InstanceType>| {
        found.min_by(|a, b| price(a).total_cmp(&price(b)))
    };
    let any = || cheapest(&mut instance_types().iter().filter(|known| known.gpus > 0));
    cheapest(&mut instance_types().iter().filter(has).filter(holds))
        .or_else(|| cheapest(&mut instance_types().iter().filter(has)))
        .or_else(any)
        .expect("there are types with GPUs")
}

/// Says how many nodes a pool may have: room for all replicas that the controllers may ask for.
pub(super) fn make_room(pools: &mut [Pool], servers: &[Server], objects: &Objects<'_>) {
    let most: u32 = servers.iter().map(|server| most_replicas(server, objects)).sum::<u32>().max(1);
    for pool in pools {
        let room = most.saturating_add(pool.seen).min(1_000);
        pool.most =
            (room, inferred("room for all replicas that controllers may ask for; set what you may have"));
    }
}

fn most_replicas(server: &Server, objects: &Objects<'_>) -> u32 {
    let all = objects.all().into_iter();
    let of = all.filter(|object| {
        object.namespace == server.namespace
            && object.at(&["spec", "scaleTargetRef", "name"]).and_then(scalar).as_deref()
                == Some(&server.named)
    });
    let most = of.filter_map(|object| {
        let spec = object.at(&["spec"])?;
        let node = at(spec, &["maxReplicas"]).or_else(|| at(spec, &["maxReplicaCount"]))?;
        scalar(node)?.parse::<u32>().ok()
    });
    let now = u32::try_from(server.replicas.min(1_000)).unwrap_or(1_000);
    most.max().unwrap_or(0).max(now).min(1_000)
}

impl Pool {
    fn of_node(node: &Object<'_>) -> Pool {
        let read = |label: &str| node.read(&format!("metadata.labels {label}"));
        let kind = node.label(INSTANCE_TYPE).or_else(|| node.label("beta.kubernetes.io/instance-type"));
        let zone = node.label(ZONE).or_else(|| node.label("failure-domain.beta.kubernetes.io/zone"));
        let capacity = capacity_of(node);
        let product = node.label(PRODUCT);
        let (gpus, keys, named) = allocatable(node, kind.as_deref(), product.as_deref());
        let (zone, zoned) = match zone {
            Some(zone) => (zone, read(ZONE)),
            None => ("a".to_owned(), guessed("the node has no label of its zone")),
        };
        let bought = match node.label(CAPACITY) {
            Some(_) => read(CAPACITY),
            None => inferred("the labels of its provider"),
        };
        let (kind, origin) = match kind {
            Some(kind) => (kind, read(INSTANCE_TYPE)),
            None => ("unknown".to_owned(), guessed("the node has no label of its instance type; set it")),
        };
        Pool {
            name: pool_name(&kind, capacity, &zone),
            gpus,
            labels: labels(&kind, capacity, &zone, product),
            accelerator: named,
            instance_type: kind,
            capacity,
            zone,
            origins: [origin, bought, zoned],
            node: keys,
            taints: taints(node),
            tainted: node.read("spec.taints"),
            seen: 1,
            launched: node.label("karpenter.sh/nodepool").is_some(),
            most: (1, None),
        }
    }

    fn of_type(known: &InstanceType, capacity: &'static str, zone: &str, origin: Option<Origin>) -> Pool {
        Pool {
            name: pool_name(&known.name, capacity, zone),
            gpus: known.gpus,
            labels: labels(&known.name, capacity, zone, None),
            instance_type: known.name.clone(),
            capacity,
            zone: zone.to_owned(),
            origins: [origin.clone(), origin.clone(), origin],
            accelerator: known.accelerator.clone(),
            node: Vec::new(),
            taints: Vec::new(),
            tainted: None,
            seen: 0,
            launched: true,
            most: (1, None),
        }
    }

    fn guessed(known: &InstanceType, whom: &str) -> Pool {
        Pool::of_type(known, "on-demand", "a", guessed(format!("no node tells what {whom} runs on; set it")))
    }

    /// Whether its nodes have what these labels ask for, as far as pools tell.
    pub(super) fn fits(&self, selector: &[(String, String)]) -> bool {
        let product = |text: &String| accelerator_of(text).map(str::to_owned) == self.accelerator;
        selector.iter().filter(|(label, _)| is_known(label)).all(|(label, value)| match label.as_str() {
            PRODUCT => self.labels.get(PRODUCT) == Some(value) || product(value),
            _ => self.labels.get(label).is_none_or(|known| known == value),
        })
    }

    /// Its taints.
    pub(super) fn taints(&self) -> impl Iterator<Item = &TaintSpec> {
        self.taints.iter().map(|(taint, _)| taint)
    }

    /// Whether its nodes tell this label with this value.
    pub(super) fn has(&self, label: &str, value: &str) -> bool {
        label != PRODUCT && self.labels.get(label).is_some_and(|known| known == value)
    }

    /// Its lines.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line::of(3, format!("- name: {}", quoted(&self.name)), None)];
        let mut key = |text: String, origin: Option<Origin>| lines.push(Line::of(4, text, origin));
        let [kind, bought, zoned] = self.origins.clone();
        key(format!("instance_type: {}", quoted(&self.instance_type)), kind);
        key(format!("capacity_type: {}", self.capacity), bought);
        key(format!("zone: {}", quoted(&name(&self.zone))), zoned);
        for (text, origin) in &self.node {
            key(text.clone(), origin.clone());
        }
        if !self.taints.is_empty() {
            key("taints:".to_owned(), None);
        }
        for (_, text) in &self.taints {
            key(format!("  {text}"), self.tainted.clone());
        }
        if instance_type(&self.instance_type).is_none() {
            let priced =
                instance_types().iter().find(|known| known.accelerator == self.accelerator && known.gpus > 0);
            let price = priced.map_or(0.2, |known| {
                known.on_demand_usd_per_hour / f64::from(known.gpus) * f64::from(self.gpus.max(1))
            });
            let why = match priced {
                Some(known) => format!("no list price of it; by that of {} for each GPU; set it", known.name),
                None => "no list price of it; set it".to_owned(),
            };
            key(format!("price_usd_per_hour: {price:.4}"), guessed(why));
        }
        let (fewest, most) = (self.fewest(), self.most.0.max(self.seen));
        let origin = match (self.seen, self.launched) {
            (0, _) | (_, true) => self.most.1.clone(),
            (seen, false) => inferred(format!(
                "{seen} were there; room for all replicas that controllers may ask for; set what you may have"
            )),
        };
        key(format!("nodes: {{min: {fewest}, max: {most}}}"), origin);
        if self.capacity == "spot" {
            let why = "how long a spot node lives; set it, or write what is available over time";
            key("spot: {lifetime: {exponential: {mean: 10h}}}".to_owned(), guessed(why));
        }
        lines
    }

    fn fewest(&self) -> u32 {
        if self.launched { 0 } else { self.seen }
    }
}

fn pool_name(kind: &str, capacity: &str, zone: &str) -> String {
    name(&format!("{kind}-{capacity}-{zone}"))
}

fn labels(kind: &str, capacity: &str, zone: &str, product: Option<String>) -> BTreeMap<String, String> {
    let known = [(INSTANCE_TYPE, kind), (CAPACITY, capacity), (ZONE, zone)];
    let known = known.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned()));
    known.chain(product.map(|product| (PRODUCT.to_owned(), product))).collect()
}

/// How a node is bought, as the labels of providers tell it.
fn capacity_of(node: &Object<'_>) -> &'static str {
    const SPOT: [(&str, &str); 6] = [
        (CAPACITY, "spot"),
        ("eks.amazonaws.com/capacityType", "SPOT"),
        ("cloud.google.com/gke-spot", "true"),
        ("cloud.google.com/gke-provisioning", "spot"),
        ("kubernetes.azure.com/scalesetpriority", "spot"),
        ("node.kubernetes.io/lifecycle", "spot"),
    ];
    let is = |label: &str, value: &str| node.label(label).as_deref() == Some(value);
    match () {
        () if SPOT.iter().any(|(label, value)| is(label, value)) => "spot",
        () if is(CAPACITY, "reserved") => "reserved",
        () => "on-demand",
    }
}

/// The accelerator that a product name of NVIDIA's device plugin means.
fn accelerator_of(product: &str) -> Option<&'static str> {
    let product = product.to_ascii_uppercase();
    let has = |part: &str| product.contains(part);
    Some(match () {
        () if has("B200") => "b200-sxm",
        () if has("H200") => "h200-sxm",
        () if has("H100") && has("PCIE") => "h100-pcie",
        () if has("H100") => "h100-sxm",
        () if has("A100") && has("40GB") => "a100-sxm-40gb",
        () if has("A100") => "a100-sxm-80gb",
        () if has("A10G") => "a10g",
        () if has("L40S") => "l40s",
        () if has("V100") && has("16GB") => "v100-sxm2-16gb",
        () if product.ends_with("L4") => "l4",
        () if product.ends_with("T4") => "t4",
        () => return None,
    })
}

/// What pods can use of a node: GPUs, the keys that say so, and the accelerator.
fn allocatable(
    node: &Object<'_>,
    kind: Option<&str>,
    product: Option<&str>,
) -> (u32, Vec<Keyed>, Option<String>) {
    let known = kind.and_then(instance_type);
    let read = |resource: &str| node.at(&["status", "allocatable", resource]).and_then(scalar);
    let field = |resource: &str| node.read(&format!("status.allocatable {resource}"));
    let mut keys = Vec::new();
    let cpu = read("cpu").and_then(|text| text.parse::<Quantity>().ok()).filter(|cpu| cpu.milli_value() > 0);
    match (cpu, known) {
        (Some(cpu), _) => keys.push((format!("cpu: {}m", cpu.milli_value()), field("cpu"))),
        (None, None) => keys.push(("cpu: 4".to_owned(), guessed("the node does not say; set it"))),
        (None, Some(_)) => {}
    }
    let memory = read("memory").and_then(|text| text.parse::<Bytes>().ok()).filter(|memory| memory.0 > 0);
    match (memory, known) {
        (Some(memory), _) => keys.push((format!("memory: {memory}"), field("memory"))),
        (None, None) => keys.push(("memory: 16Gi".to_owned(), guessed("the node does not say; set it"))),
        (None, Some(_)) => {}
    }
    let asked = read("nvidia.com/gpu").and_then(|text| text.parse::<u32>().ok()).map(|gpus| gpus.min(64));
    let gpus = asked.or_else(|| known.map(|known| known.gpus)).unwrap_or(0);
    if asked.is_some() {
        keys.push((format!("gpus: {gpus}"), field("nvidia.com/gpu")));
    }
    let listed = known.and_then(|known| known.accelerator.clone());
    let told = product.and_then(accelerator_of).map(str::to_owned);
    let gpu = match (gpus, told, listed) {
        (0, ..) => None,
        (_, Some(told), listed) => {
            if listed.as_deref() != Some(told.as_str()) {
                keys.push((format!("accelerator: {told}"), node.read(&format!("metadata.labels {PRODUCT}"))));
            }
            Some(told)
        }
        (_, None, Some(listed)) => Some(listed),
        (_, None, None) => {
            keys.push((
                "accelerator: l4".to_owned(),
                guessed("the node does not say what its GPUs are; set it"),
            ));
            Some("l4".to_owned())
        }
    };
    (gpus, keys, gpu)
}

/// What a NodePool may launch, as far as its requirements name it and the catalogue has it.
fn offerings(object: &Object<'_>, seen: &[String], left_out: &mut Vec<String>) -> Vec<Pool> {
    let requirements = elements(object.at(&["spec", "template", "spec", "requirements"]));
    let values = |wanted: &str| requirements.iter().find_map(|node| listed(node, wanted));
    let kinds = match values(INSTANCE_TYPE) {
        Some(names) => names,
        None => by_what_they_are(requirements),
    };
    let capacities = values(CAPACITY).unwrap_or_else(|| vec!["on-demand".to_owned()]);
    let zones = match (values(ZONE), seen) {
        (Some(zones), _) => zones,
        (None, []) => vec!["a".to_owned()],
        (None, seen) => seen.to_vec(),
    };
    let mut pools = Vec::new();
    for kind in &kinds {
        let Some(known) = instance_type(kind) else {
            left_out.push(format!(
                "{}: {kind} is not in the catalogue; describe it as a node pool",
                named(object)
            ));
            continue;
        };
        for capacity in
            ["on-demand", "spot", "reserved"].into_iter().filter(|kind| capacities.iter().any(|c| c == kind))
        {
            for zone in &zones {
                let origin = object.read("spec.template.spec.requirements");
                pools.push(Pool::of_type(known, capacity, zone, origin));
            }
        }
    }
    if pools.is_empty() {
        left_out.push(format!("{}: its requirements name no instance type of the catalogue", named(object)));
    }
    pools
}

/// The instance types of the catalogue that requirements on what a type is allow, if there is such a requirement.
fn by_what_they_are(requirements: &[Node]) -> Vec<String> {
    let known: Vec<Requirement> = requirements.iter().filter_map(requirement).collect();
    let gpus: Vec<Vec<String>> = requirements.iter().filter_map(|node| listed(node, GPU_NAME)).collect();
    if known.is_empty() && gpus.is_empty() {
        return Vec::new();
    }
    let fits = |known_type: &&InstanceType| {
        let labels = Labels {
            pool: "",
            instance_type: &known_type.name,
            zone: "",
            capacity_type: CapacityType::OnDemand,
            capacity: Resources {
                cpu_milli: i64::from(known_type.vcpus) * 1_000,
                memory_bytes: i64::from(known_type.memory_gib) << 30,
                gpu_milli: i64::from(known_type.gpus) * 1_000,
            },
        };
        let is_named = |names: &Vec<String>| {
            known_type.accelerator.as_ref().is_some_and(|gpu| names.iter().any(|name| gpu.starts_with(name)))
        };
        known_type.provider == "aws"
            && known.iter().all(|requirement| requirement.is_met(&labels))
            && gpus.iter().all(is_named)
    };
    instance_types().iter().filter(fits).map(|known| known.name.clone()).collect()
}

/// A requirement on what an instance type is, as Karpenter compares it.
fn requirement(node: &Node) -> Option<Requirement> {
    let mut unread = Problems::default();
    let label = Label::read(node.get("key")?, &mut unread)?;
    let of_type = !matches!(label, Label::Zone | Label::CapacityType | Label::Arch | Label::Os);
    let operator = Operator::read(node.get("operator")?, &mut unread)?;
    let values = elements(node.get("values")).iter().filter_map(scalar).collect();
    of_type.then_some(Requirement { label, operator, values })
}

/// The values of a requirement that lists what `label` may be.
fn listed(node: &Node, label: &str) -> Option<Vec<String>> {
    let text = |key| node.get(key).and_then(scalar);
    let lists = text("key").as_deref() == Some(label) && text("operator").as_deref() == Some("In");
    lists.then(|| elements(node.get("values")).iter().filter_map(scalar).collect())
}

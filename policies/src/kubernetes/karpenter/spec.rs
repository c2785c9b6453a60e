//! NodePools and flags of Karpenter, as our own keys and as checked settings.

use std::collections::BTreeMap;

use scaletwin_core::control::{CapacityType, Offer};
use scaletwin_core::input::{At, Count, Node, Period, Place, Problem, Problems, Read, Shape, Value};
use scaletwin_core::units::{Bytes, Quantity, Span};
use serde::Serialize;
use serde_json::json;

use super::budget::{Budget, BudgetNodes, Cron, Window};

scaletwin_core::keys! {
    /// Karpenter on one cluster. It chooses among the node pools of the scenario: each is an offering, an instance type in
    /// a zone, bought in one way. The fewest nodes of a pool are a managed group, which Karpenter uses and leaves alone.
    #[derive(Debug, Clone)]
    pub struct KarpenterSpec {
        /// The cluster. Default: the only one.
        pub cluster: Option<At<String>> = None,
        /// Its NodePools. Default: one with all offerings and Karpenter's defaults.
        pub node_pools: Option<At<Vec<At<NodePoolSpec>>>> = None,
        /// A file with `karpenter.sh/v1` NodePools, as `kubectl get -o yaml` prints them.
        pub manifest: Option<At<String>> = None,
        /// Fields of the manifest that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// The first look for nodes to disrupt, after the start of the run. Default: drawn from the seed, below 10 s.
        pub offset: Option<Span> = None,
        /// `BATCH_IDLE_DURATION`: a batch of pods ends when none has come for so long.
        pub batch_idle_duration: Period = Period(Span::from_secs(1)),
        /// `BATCH_MAX_DURATION`: a batch ends after so long.
        pub batch_max_duration: Period = Period(Span::from_secs(10)),
        /// The feature gate SpotToSpotConsolidation.
        pub spot_to_spot_consolidation: bool = false,
    }
}

scaletwin_core::keys! {
    /// A NodePool.
    #[derive(Debug, Clone)]
    pub struct NodePoolSpec {
        /// Its name.
        pub name: At<String>,
        /// The node pools of the scenario that it may launch. Default: all.
        pub pools: Vec<At<String>> = Vec::new(),
        /// What its nodes have to be.
        pub requirements: Vec<At<RequirementSpec>> = Vec::new(),
        /// Labels that it gives to its nodes: it launches no node pool of the scenario that has another value of one.
        pub labels: BTreeMap<String, String> = BTreeMap::new(),
        /// NodePools with more weight are tried first.
        pub weight: u32 = 0,
        /// How much it may have.
        pub limits: LimitsSpec = LimitsSpec::default(),
        /// When nodes are removed or replaced.
        pub disruption: At<DisruptionSpec> = DisruptionSpec::default(),
        /// How old a node may become.
        pub expire_after: Lasting = Lasting(Some(Span::from_secs(720 * 3_600))),
        /// How long a node may take to lose its pods. Default: as long as it takes.
        pub termination_grace_period: Option<Span> = None,
    }
}

scaletwin_core::keys! {
    /// What a label of a node has to be.
    #[derive(Debug, Clone)]
    pub struct RequirementSpec {
        /// The label.
        pub key: At<String>,
        /// How it is compared.
        pub operator: Operator,
        /// With what.
        pub values: Vec<String> = Vec::new(),
    }
}

scaletwin_core::keys! {
    /// How much a NodePool may have.
    #[derive(Debug, Clone, Default)]
    pub struct LimitsSpec {
        /// Cores.
        pub cpu: Option<Quantity> = None,
        /// Memory.
        pub memory: Option<Bytes> = None,
        /// GPUs.
        pub gpus: Option<u32> = None,
        /// Nodes.
        pub nodes: Option<u32> = None,
    }
}

scaletwin_core::keys! {
    /// When nodes are removed or replaced.
    #[derive(Debug, Clone)]
    pub struct DisruptionSpec {
        /// Which nodes are.
        pub consolidation_policy: ConsolidationPolicy = ConsolidationPolicy::WhenEmptyOrUnderutilized,
        /// How long after its last change of pods a node is.
        pub consolidate_after: Lasting = Lasting(Some(Span::ZERO)),
        /// How little a move may save for what it disturbs, under the policy Balanced: 1 / k.
        pub consolidation_threshold: Count = Count(2),
        /// How many nodes at once. Default: 10 % of the NodePool.
        pub budgets: Option<Vec<At<BudgetSpec>>> = None,
    }
}

impl Default for DisruptionSpec {
    fn default() -> DisruptionSpec {
        DisruptionSpec {
            consolidation_policy: ConsolidationPolicy::WhenEmptyOrUnderutilized,
            consolidate_after: Lasting(Some(Span::ZERO)),
            consolidation_threshold: Count(2),
            budgets: None,
        }
    }
}

scaletwin_core::keys! {
    /// How many nodes may be disrupted at once.
    #[derive(Debug, Clone)]
    pub struct BudgetSpec {
        /// A number, or percent of the NodePool.
        pub nodes: At<String>,
        /// When it is active, as cron in UTC. Default: always.
        pub schedule: Option<At<String>> = None,
        /// For how long from then on.
        pub duration: Option<Span> = None,
        /// For which reasons. Default: for all.
        pub reasons: Vec<ReasonName> = Vec::new(),
    }
}

scaletwin_core::names! {
    /// Which nodes are removed or replaced.
    pub enum ConsolidationPolicy {
        /// Those without pods.
        WhenEmpty = "WhenEmpty",
        /// Those whose pods can be had for less.
        WhenEmptyOrUnderutilized = "WhenEmptyOrUnderutilized",
        /// The same, where it saves enough for what it disturbs.
        Balanced = "Balanced",
    }
}

scaletwin_core::names! {
    /// Why a node is disrupted.
    pub enum ReasonName {
        /// It has no pods.
        Empty = "Empty",
        /// Its pods can be had for less.
        Underutilized = "Underutilized",
        /// It is not as its NodePool says. No node of a scenario is.
        Drifted = "Drifted",
    }
}

scaletwin_core::names! {
    /// How a label is compared.
    pub enum Operator {
        /// It is one of the values.
        In = "In",
        /// It is none of them.
        NotIn = "NotIn",
        /// The label is there.
        Exists = "Exists",
        /// The label is not there.
        DoesNotExist = "DoesNotExist",
        /// It is a larger number.
        Gt = "Gt",
        /// It is a smaller number.
        Lt = "Lt",
        /// It is as large a number, or larger.
        Gte = "Gte",
        /// It is as small a number, or smaller.
        Lte = "Lte",
    }
}

/// A length of time, or `Never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting(pub Option<Span>);

impl Read for Lasting {
    fn read(node: &Node, problems: &mut Problems) -> Option<Lasting> {
        if node.as_text() == Some("Never") {
            return Some(Lasting(None));
        }
        Span::read(node, problems).map(|span| Lasting(Some(span)))
    }

    fn shape() -> Shape {
        Shape::new("a length of time such as 30s, or Never", json!({"type": "string"}))
    }

    fn written(&self) -> Option<String> {
        Some(self.0.map_or_else(|| "Never".to_owned(), |span| span.to_string()))
    }
}

/// A NodePool, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodePoolSettings {
    /// Its name.
    pub name: String,
    /// The node pools of the scenario that it may launch; none: all.
    pub pools: Vec<String>,
    /// What its nodes have to be.
    pub requirements: Vec<Requirement>,
    /// Labels that it gives to its nodes.
    pub labels: BTreeMap<String, String>,
    /// Those with more are tried first.
    pub weight: u32,
    /// How much it may have.
    pub limits: PoolLimits,
    /// Which nodes are removed or replaced.
    pub consolidation_policy: ConsolidationPolicy,
    /// How long after its last change of pods a node is; `None`: never.
    pub consolidate_after: Option<Span>,
    /// For the policy Balanced.
    pub consolidation_threshold: u32,
    /// How many at once.
    pub budgets: Vec<Budget>,
    /// How old a node may become; `None`: any age.
    pub expire_after: Option<Span>,
    /// How long a node may take to lose its pods; `None`: as long as it takes.
    pub termination_grace_period: Option<Span>,
}

/// How much a NodePool may have; `None`: any amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PoolLimits {
    /// Thousandths of a core.
    pub cpu_milli: Option<i64>,
    /// Bytes.
    pub memory_bytes: Option<i64>,
    /// Thousandths of a GPU.
    pub gpu_milli: Option<i64>,
    /// Nodes.
    pub nodes: Option<i64>,
}

/// What a label of a node has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The label.
    pub label: Label,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub values: Vec<String>,
}

scaletwin_core::names! {
    /// A label of nodes that follows from their instance type, zone and way of being bought.
    pub enum Label {
        /// The instance type.
        InstanceType = "node.kubernetes.io/instance-type",
        /// The zone.
        Zone = "topology.kubernetes.io/zone",
        /// How it is bought.
        CapacityType = "karpenter.sh/capacity-type",
        /// What stands before the point of the instance type.
        Family = "karpenter.k8s.aws/instance-family",
        /// Its first letters.
        Category = "karpenter.k8s.aws/instance-category",
        /// The number in the family.
        Generation = "karpenter.k8s.aws/instance-generation",
        /// What stands after the point of the instance type.
        Size = "karpenter.k8s.aws/instance-size",
        /// Cores.
        Cpu = "karpenter.k8s.aws/instance-cpu",
        /// Memory in MiB.
        Memory = "karpenter.k8s.aws/instance-memory",
        /// GPUs.
        Gpus = "karpenter.k8s.aws/instance-gpu-count",
        /// Who made its GPUs.
        GpuMaker = "karpenter.k8s.aws/instance-gpu-manufacturer",
        /// The architecture of its CPU.
        Arch = "kubernetes.io/arch",
        /// Its operating system: Linux, always.
        Os = "kubernetes.io/os",
    }
}

/// What a launch or a node is, as far as labels say it.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// The node pool of the scenario.
    pub pool: &'a str,
    /// The instance type.
    pub instance_type: &'a str,
    /// The zone.
    pub zone: &'a str,
    /// How it is bought.
    pub capacity_type: CapacityType,
    /// What it has.
    pub capacity: scaletwin_core::control::Resources,
}

impl<'a> From<&'a Offer> for Labels<'a> {
    fn from(offer: &'a Offer) -> Labels<'a> {
        Labels {
            pool: &offer.pool,
            instance_type: &offer.instance_type,
            zone: &offer.zone,
            capacity_type: offer.capacity_type,
            capacity: offer.capacity,
        }
    }
}

impl Labels<'_> {
    /// The value of a label; `None` where the node has none.
    fn value(&self, label: Label) -> Option<String> {
        let (family, size) = self.instance_type.split_once('.').unwrap_or((self.instance_type, ""));
        let there = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match label {
            Label::InstanceType => there(self.instance_type),
            Label::Zone => there(self.zone),
            Label::CapacityType => there(self.capacity_type.name()),
            Label::Family => there(family),
            Label::Category => there(
                family
                    .trim_end_matches(|c: char| !c.is_ascii_alphabetic())
                    .split(|c: char| c.is_ascii_digit())
                    .next()
                    .unwrap_or(""),
            ),
            Label::Generation => there(generation_of(family)),
            Label::Size => there(size),
            Label::Cpu => Some((self.capacity.cpu_milli / 1_000).to_string()),
            Label::Memory => Some((self.capacity.memory_bytes >> 20).to_string()),
            Label::Gpus => {
                (self.capacity.gpu_milli > 0).then(|| (self.capacity.gpu_milli / 1_000).to_string())
            }
            Label::GpuMaker => (self.capacity.gpu_milli > 0).then(|| "nvidia".to_owned()),
            Label::Arch => there(if is_graviton(family, size) { "arm64" } else { "amd64" }),
            Label::Os => there("linux"),
        }
    }
}

/// The digits in the name of a family: `6` of `g6e`.
fn generation_of(family: &str) -> &str {
    let from = family.find(|c: char| c.is_ascii_digit()).unwrap_or(family.len());
    let digits = &family[from..];
    &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())]
}

/// Whether the name is that of an AWS instance with a Graviton processor, which has a `g` after the generation: `m7g.large`.
fn is_graviton(family: &str, size: &str) -> bool {
    let generation = generation_of(family);
    let after = family.rsplit_once(generation).map_or("", |(_, after)| after);
    !size.is_empty() && !generation.is_empty() && after.contains('g')
}

impl Requirement {
    /// Whether a node with these labels meets it.
    #[must_use]
    pub fn is_met(&self, labels: &Labels<'_>) -> bool {
        let value = labels.value(self.label);
        let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
        let (own, wanted) = (number(value.as_ref()), number(self.values.first()));
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(&value)),
            Operator::NotIn => !value.is_some_and(|value| self.values.contains(&value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => own.zip(wanted).is_some_and(|(own, wanted)| own > wanted),
            Operator::Lt => own.zip(wanted).is_some_and(|(own, wanted)| own < wanted),
            Operator::Gte => own.zip(wanted).is_some_and(|(own, wanted)| own >= wanted),
            Operator::Lte => own.zip(wanted).is_some_and(|(own, wanted)| own <= wanted),
        }
    }
}

impl NodePoolSettings {
    /// Whether a node with these labels could be its own.
    #[must_use]
    pub fn takes(&self, labels: &Labels<'_>) -> bool {
        (self.pools.is_empty() || self.pools.iter().any(|pool| pool == labels.pool))
            && self.requirements.iter().all(|requirement| requirement.is_met(labels))
    }

    /// Whether its nodes may be bought so, if a requirement says anything about it.
    #[must_use]
    pub fn may_be(&self, kind: CapacityType) -> Option<bool> {
        let name = kind.name();
        let says = |requirement: &Requirement| match requirement.operator {
            Operator::In => Some(requirement.values.iter().any(|value| value == name)),
            Operator::NotIn => Some(requirement.values.iter().all(|value| value != name)),
            Operator::DoesNotExist => Some(false),
            _ => None,
        };
        let written = self.requirements.iter().filter(|requirement| requirement.label == Label::CapacityType);
        written.filter_map(says).reduce(|a, b| a && b)
    }

    /// The NodePool that nobody wrote.
    ///
    /// # Panics
    /// Never: nothing in it can be wrong.
    #[must_use]
    pub fn default_pool() -> NodePoolSettings {
        let place = Place::nowhere();
        let spec = NodePoolSpec {
            name: At { value: "default".to_owned(), place: place.clone() },
            pools: Vec::new(),
            requirements: Vec::new(),
            labels: BTreeMap::new(),
            weight: 0,
            limits: LimitsSpec::default(),
            disruption: At { value: DisruptionSpec::default(), place },
            expire_after: Lasting(Some(Span::from_secs(720 * 3_600))),
            termination_grace_period: None,
        };
        spec.check(&mut Problems::default()).expect("the defaults are right")
    }
}

impl NodePoolSpec {
    /// The settings, unless something is wrong with them.
    pub fn check(&self, problems: &mut Problems) -> Option<NodePoolSettings> {
        let requirements: Vec<Option<Requirement>> =
            self.requirements.iter().map(|written| written.check(problems)).collect();
        let disruption = &self.disruption.value;
        let budgets: Vec<Option<Budget>> = match &disruption.budgets {
            Some(written) => written.iter().map(|budget| budget.check(problems)).collect(),
            None => vec![Some(Budget { nodes: BudgetNodes::Percent(10), window: None, reasons: Vec::new() })],
        };
        let bytes = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
        Some(NodePoolSettings {
            name: self.name.value.clone(),
            pools: self.pools.iter().map(|pool| pool.value.clone()).collect(),
            requirements: requirements.into_iter().collect::<Option<Vec<_>>>()?,
            labels: self.labels.clone(),
            weight: self.weight,
            limits: PoolLimits {
                cpu_milli: self.limits.cpu.map(Quantity::milli_value),
                memory_bytes: self.limits.memory.map(bytes),
                gpu_milli: self.limits.gpus.map(|gpus| i64::from(gpus) * 1_000),
                nodes: self.limits.nodes.map(i64::from),
            },
            consolidation_policy: disruption.consolidation_policy,
            consolidate_after: disruption.consolidate_after.0,
            consolidation_threshold: disruption.consolidation_threshold.0,
            budgets: budgets.into_iter().collect::<Option<Vec<_>>>()?,
            expire_after: self.expire_after.0,
            termination_grace_period: self.termination_grace_period,
        })
    }
}

impl RequirementSpec {
    fn check(&self, problems: &mut Problems) -> Option<Requirement> {
        let node = Node { value: Value::Text(self.key.value.clone()), place: self.key.place.clone() };
        let label = Label::read(&node, problems)?;
        let wanted = match self.operator {
            Operator::In | Operator::NotIn => !self.values.is_empty(),
            Operator::Exists | Operator::DoesNotExist => self.values.is_empty(),
            Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte => {
                matches!(self.values.as_slice(), [one] if one.parse::<i64>().is_ok())
            }
        };
        if !wanted {
            let name = self.operator.name();
            let problem =
                Problem::error(&self.key.place, format!("the values do not go with the operator {name}"));
            problems.push(problem.hint(
                "In and NotIn take some, Exists and DoesNotExist none, Gt, Lt, Gte and Lte one whole number",
            ));
            return None;
        }
        Some(Requirement { label, operator: self.operator, values: self.values.clone() })
    }
}

impl BudgetSpec {
    fn check(&self, problems: &mut Problems) -> Option<Budget> {
        let nodes = BudgetNodes::read(&self.nodes);
        if nodes.is_none() {
            let message =
                format!("expected a number of nodes such as 5 or 10%, found {:?}", self.nodes.value);
            problems.error(&self.nodes.place, message);
        }
        let window = match (&self.schedule, self.duration) {
            (None, None) => Some(None),
            (Some(written), Some(duration)) => {
                let schedule = Cron::read(written);
                if schedule.is_none() {
                    let message = format!("{:?} is no cron schedule of five fields", written.value);
                    problems.error(&written.place, message);
                }
                schedule.map(|schedule| Some(Window { schedule, duration }))
            }
            _ => {
                problems.error(&self.nodes.place, "schedule and duration of a budget go together");
                None
            }
        };
        Some(Budget { nodes: nodes?, window: window?, reasons: self.reasons.clone() })
    }
}

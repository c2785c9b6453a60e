//! What decides where pods run, as written: labels, taints, quotas.

use std::collections::BTreeMap;

use scaletwin_core::control::TopologyKey;
use scaletwin_core::input::{At, Count, Positive};
use scaletwin_core::units::{Bytes, Quantity, Share};

/// Labels by their keys.
pub type Labels = BTreeMap<String, At<String>>;

scaletwin_core::keys! {
    /// A taint of a pool's nodes.
    #[derive(Debug, Clone)]
    pub struct TaintSpec {
        /// Its key.
        pub key: String,
        /// Its value.
        pub value: String = String::new(),
        /// What it does to pods that do not tolerate it.
        pub effect: Effect = Effect::NoSchedule,
    }
}

scaletwin_core::names! {
    /// What a taint does to pods that do not tolerate it. The first two are the same where nodes have their taints from the
    /// start.
    pub enum Effect {
        /// They are not placed there.
        NoSchedule = "NoSchedule",
        /// They are not placed there, and evicted.
        NoExecute = "NoExecute",
        /// They are placed there if there is no better node.
        PreferNoSchedule = "PreferNoSchedule",
    }
}

scaletwin_core::keys! {
    /// A toleration of a deployment's pods.
    #[derive(Debug, Clone)]
    pub struct TolerationSpec {
        /// The key of the taints that it is about. Default: all, with `operator: Exists`.
        pub key: Option<String> = None,
        /// How the value is compared.
        pub operator: Operator = Operator::Equal,
        /// The value of the taints that it is about, with `operator: Equal`.
        pub value: String = String::new(),
        /// The effect that it is about. Default: all.
        pub effect: Option<Effect> = None,
    }
}

scaletwin_core::names! {
    /// How a toleration compares values.
    pub enum Operator {
        /// Key and value are the same.
        Equal = "Equal",
        /// The key is the same, the value does not matter.
        Exists = "Exists",
    }
}

impl TolerationSpec {
    /// Whether it tolerates a taint: `ToleratesTaint` of Kubernetes.
    #[must_use]
    pub fn tolerates(&self, taint: &TaintSpec) -> bool {
        let key = self.key.as_ref().is_none_or(|key| *key == taint.key);
        let value = self.operator == Operator::Exists || self.value == taint.value;
        key && value && self.effect.is_none_or(|effect| effect == taint.effect)
    }
}

scaletwin_core::keys! {
    /// What the kubelet, the system and DaemonSets take of each node, together.
    #[derive(Debug, Clone, Default)]
    pub struct ReservedSpec {
        /// Cores.
        pub cpu: Option<Quantity> = None,
        /// Memory.
        pub memory: Bytes = Bytes(0),
    }
}

scaletwin_core::keys! {
    /// What the provider lets one have at most in the region, all node pools together.
    #[derive(Debug, Clone, Default)]
    pub struct QuotaSpec {
        /// Cores. Default: any number.
        pub cpu: Option<Quantity> = None,
        /// GPUs. Default: any number.
        pub gpus: Option<u32> = None,
    }
}

scaletwin_core::names! {
    /// What pods do that find no room.
    pub enum PreemptionPolicy {
        /// Pods of lower priority have to go for them.
        PreemptLowerPriority = "PreemptLowerPriority",
        /// They wait.
        Never = "Never",
    }
}

scaletwin_core::keys! {
    /// What a deployment's pods want of the nodes and pods around them (`affinity` of a pod).
    #[derive(Debug, Clone, Default)]
    pub struct AffinitySpec {
        /// Nodes that they would rather have. `node_selector` has those that they must have.
        pub node_affinity: NodeAffinitySpec = NodeAffinitySpec::default(),
        /// Pods that they are placed with.
        pub pod_affinity: PodAffinitySpec = PodAffinitySpec::default(),
        /// Pods that they are placed apart from.
        pub pod_anti_affinity: PodAffinitySpec = PodAffinitySpec::default(),
    }
}

scaletwin_core::keys! {
    /// Nodes that pods would rather have.
    #[derive(Debug, Clone, Default)]
    pub struct NodeAffinitySpec {
        /// Labels with their weights (`preferredDuringSchedulingIgnoredDuringExecution`).
        pub preferred: Vec<At<PreferredLabelsSpec>> = Vec::new(),
    }
}

scaletwin_core::keys! {
    /// Labels that nodes rather have.
    #[derive(Debug, Clone)]
    pub struct PreferredLabelsSpec {
        /// How much that counts, 1 to 100.
        pub weight: At<Count>,
        /// The labels: a node has all of them, or it does not count.
        pub match_labels: Labels,
    }
}

scaletwin_core::keys! {
    /// Pods that pods are placed with, or apart from.
    #[derive(Debug, Clone, Default)]
    pub struct PodAffinitySpec {
        /// What has to be (`requiredDuringSchedulingIgnoredDuringExecution`).
        pub required: Vec<At<PodAffinityTermSpec>> = Vec::new(),
        /// What would be better, with weights (`preferredDuringSchedulingIgnoredDuringExecution`).
        pub preferred: Vec<At<PreferredPodsSpec>> = Vec::new(),
    }
}

scaletwin_core::keys! {
    /// Pods of a deployment in the same place.
    #[derive(Debug, Clone)]
    pub struct PodAffinityTermSpec {
        /// The deployment: `service/name`, or the name of one of the same service. Default: the deployment itself.
        pub deployment: Option<At<String>> = None,
        /// What a place is.
        pub topology_key: TopologyKey,
    }
}

scaletwin_core::keys! {
    /// Pods of a deployment in the same place, with a weight.
    #[derive(Debug, Clone)]
    pub struct PreferredPodsSpec {
        /// How much each of these pods counts, 1 to 100.
        pub weight: At<Count>,
        /// The deployment: `service/name`, or the name of one of the same service. Default: the deployment itself.
        pub deployment: Option<At<String>> = None,
        /// What a place is.
        pub topology_key: TopologyKey,
    }
}

scaletwin_core::keys! {
    /// How evenly a deployment's pods are spread over places.
    #[derive(Debug, Clone)]
    pub struct SpreadSpec {
        /// How many more pods a place may have than that with the fewest.
        pub max_skew: Count = Count(1),
        /// What a place is.
        pub topology_key: TopologyKey,
        /// What happens to a pod that finds no such place.
        pub when_unsatisfiable: Unsatisfiable = Unsatisfiable::DoNotSchedule,
    }
}

scaletwin_core::names! {
    /// What happens to a pod that cannot be spread evenly.
    pub enum Unsatisfiable {
        /// It waits.
        DoNotSchedule = "DoNotSchedule",
        /// It is placed all the same, rather where fewer are.
        ScheduleAnyway = "ScheduleAnyway",
    }
}

scaletwin_core::keys! {
    /// Slices of a GPU, all alike: instances of MIG, or turns of time-slicing.
    #[derive(Debug, Clone)]
    pub struct GpuSharingSpec {
        /// How many of each GPU, 2 to 10. A pod that requests one writes `gpus: 500m` for one of two, `333m` for one of three.
        pub slices: At<Count>,
        /// How many times as long as on a whole GPU computation and memory traffic take on a slice, at least 1. Default: as
        /// many times as there are slices, as if the others always worked.
        pub slowdown: Option<At<Positive>> = None,
        /// The share of a GPU's memory that a slice has. Default: one of the slices.
        pub memory: Option<At<Share>> = None,
    }
}

scaletwin_core::keys! {
    /// How many times what pods have of a node they may request together. It changes what is placed, not what work costs.
    #[derive(Debug, Clone, Default)]
    pub struct OvercommitSpec {
        /// Of cores, at least 1. Default: 1.
        pub cpu: Option<Positive> = None,
        /// Of memory, at least 1. Default: 1.
        pub memory: Option<Positive> = None,
    }
}

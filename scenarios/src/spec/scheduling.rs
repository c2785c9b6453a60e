//! What decides where pods run, as written: labels, taints, quotas.

use std::collections::BTreeMap;

use scaletwin_core::input::At;
use scaletwin_core::units::{Bytes, Quantity};

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
    /// What a taint does to pods that do not tolerate it: they do not run there. Both are the same where nodes have their
    /// taints from the start.
    pub enum Effect {
        /// They are not placed there.
        NoSchedule = "NoSchedule",
        /// They are not placed there, and evicted.
        NoExecute = "NoExecute",
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

//! All policies by the name under which a scenario asks for them.

use scaletwin_core::input::{Fields, ReadKeys};

use crate::kubernetes::cluster_autoscaler::spec::ClusterAutoscalerSpec;
use crate::kubernetes::hpa::spec::HpaSpec;
use crate::kubernetes::karpenter::spec::KarpenterSpec;
use crate::rules::fixed::FixedSpec;
use crate::rules::node_provisioner::NodeProvisionerSpec;

/// How it is known that a policy decides as the real controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// It equals recorded decisions.
    Verified,
    /// It is read from the source of the version stated.
    FromSource,
    /// Its maker is silent.
    Approximate,
    /// It is a rule of ours.
    Own,
}

impl Label {
    /// The label as shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Label::Verified => "verified",
            Label::FromSource => "from source",
            Label::Approximate => "approximate",
            Label::Own => "own rule",
        }
    }
}

/// What is known of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its `kind` in a scenario.
    pub kind: &'static str,
    /// The controller that it is, with its version.
    pub version: &'static str,
    /// How it is known to decide as that controller.
    pub label: Label,
    /// Its keys.
    pub fields: Fields,
}

/// All policies.
#[must_use]
pub fn policies() -> Vec<Entry> {
    let entry = |kind, version, label, fields| Entry { kind, version, label, fields };
    vec![
        entry("hpa", "HorizontalPodAutoscaler, Kubernetes 1.36.2", Label::Verified, HpaSpec::fields()),
        entry("static", "a fixed number of replicas", Label::Own, FixedSpec::fields()),
        entry(
            "node-provisioner",
            "a node for each pod that finds none",
            Label::Own,
            NodeProvisionerSpec::fields(),
        ),
        entry(
            "cluster-autoscaler",
            "Cluster Autoscaler, Kubernetes 1.36.1",
            Label::FromSource,
            ClusterAutoscalerSpec::fields(),
        ),
        entry("karpenter", "Karpenter core 1.14", Label::FromSource, KarpenterSpec::fields()),
    ]
}

scaletwin_core::kinds! {
    /// A controller of a policy.
    #[derive(Debug, Clone)]
    pub enum PolicySpec {
        /// The HorizontalPodAutoscaler of Kubernetes.
        Hpa(HpaSpec) = "hpa",
        /// A fixed number of replicas.
        Fixed(FixedSpec) = "static",
        /// A simple node autoscaler.
        NodeProvisioner(NodeProvisionerSpec) = "node-provisioner",
        /// The Cluster Autoscaler of Kubernetes.
        ClusterAutoscaler(ClusterAutoscalerSpec) = "cluster-autoscaler",
        /// Karpenter.
        Karpenter(KarpenterSpec) = "karpenter",
    }
}

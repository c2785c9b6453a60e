//! All policies by the name under which a scenario asks for them.

use scaletwin_core::input::{Fields, ReadKeys};

use crate::kubernetes::hpa::spec::HpaSpec;
use crate::kubernetes::knative::spec::KpaSpec;
use crate::rules::fixed::FixedSpec;
use crate::rules::node_provisioner::NodeProvisionerSpec;
use crate::serving::ray_serve::spec::RaySpec;

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
        entry(
            "knative",
            "pod autoscaler (KPA), Knative Serving main of August 2026",
            Label::Verified,
            KpaSpec::fields(),
        ),
        entry("ray-serve", "default autoscaling policy, Ray Serve 2.60", Label::Verified, RaySpec::fields()),
        entry("static", "a fixed number of replicas", Label::Own, FixedSpec::fields()),
        entry(
            "node-provisioner",
            "a node for each pod that finds none",
            Label::Own,
            NodeProvisionerSpec::fields(),
        ),
    ]
}

scaletwin_core::kinds! {
    /// A controller of a policy.
    #[derive(Debug, Clone)]
    pub enum PolicySpec {
        /// The HorizontalPodAutoscaler of Kubernetes.
        Hpa(HpaSpec) = "hpa",
        /// Knative's pod autoscaler.
        Knative(KpaSpec) = "knative",
        /// The autoscaler of Ray Serve.
        RayServe(RaySpec) = "ray-serve",
        /// A fixed number of replicas.
        Fixed(FixedSpec) = "static",
        /// A simple node autoscaler.
        NodeProvisioner(NodeProvisionerSpec) = "node-provisioner",
    }
}

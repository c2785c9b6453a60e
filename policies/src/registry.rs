//! All policies by the name under which a scenario asks for them.

pub mod examples;

use scaletwin_core::input::{Fields, ReadKeys};

use crate::cloud::aws_step_scaling::AwsStepScalingSpec;
use crate::cloud::aws_target_tracking::AwsTargetTrackingSpec;
use crate::cloud::oci::OciSpec;
use crate::composite::CompositeSpec;
use crate::kubernetes::cluster_autoscaler::spec::ClusterAutoscalerSpec;
use crate::kubernetes::hpa::spec::HpaSpec;
use crate::kubernetes::karpenter::spec::KarpenterSpec;
use crate::kubernetes::keda::spec::KedaSpec;
use crate::kubernetes::knative::spec::KpaSpec;
use crate::kubernetes::kserve::spec::KserveSpec;
use crate::kubernetes::vpa::spec::VpaSpec;
use crate::rules::condition::ConditionSpec;
use crate::rules::fixed::FixedSpec;
use crate::rules::idle::IdleSpec;
use crate::rules::node_provisioner::NodeProvisionerSpec;
use crate::rules::schedule::ScheduleSpec;
use crate::rules::threshold::ThresholdSpec;
use crate::serving::aibrix::AibrixSpec;
use crate::serving::dynamo::DynamoSpec;
use crate::serving::ray_serve::spec::RaySpec;
use crate::serving::wva::WvaSpec;

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
        entry(
            "vpa",
            "VerticalPodAutoscaler 1.7.1: recommender, and updater where asked for",
            Label::Verified,
            VpaSpec::fields(),
        ),
        entry(
            "wva",
            "llm-d Workload Variant Autoscaler 0.5.1 (analyzer: tokens is from source)",
            Label::Verified,
            WvaSpec::fields(),
        ),
        entry(
            "dynamo-planner",
            "NVIDIA Dynamo planner 1.6.1: its load loop without latency targets (throughput is from source)",
            Label::Verified,
            DynamoSpec::fields(),
        ),
        entry("aibrix", "AIBrix PodAutoscaler 0.7: APA and KPA", Label::FromSource, AibrixSpec::fields()),
        entry("keda", "ScaledObject, KEDA 2.20", Label::FromSource, KedaSpec::fields()),
        entry(
            "kserve",
            "InferenceService, KServe 0.20: what it makes of one",
            Label::FromSource,
            KserveSpec::fields(),
        ),
        entry(
            "aws-target-tracking",
            "Application Auto Scaling, by its documentation of 2025",
            Label::Approximate,
            AwsTargetTrackingSpec::fields(),
        ),
        entry(
            "aws-step-scaling",
            "Application Auto Scaling, by its documentation of 2025",
            Label::Approximate,
            AwsStepScalingSpec::fields(),
        ),
        entry(
            "oci",
            "instance pool autoscaling, by its documentation of 2025",
            Label::Approximate,
            OciSpec::fields(),
        ),
        entry("composite", "several policies on one target as one", Label::Own, CompositeSpec::fields()),
        entry("static", "a fixed number of replicas", Label::Own, FixedSpec::fields()),
        entry("threshold", "steps above or below a value", Label::Own, ThresholdSpec::fields()),
        entry(
            "condition",
            "an alert or a change, by a condition in CEL",
            Label::Own,
            ConditionSpec::fields(),
        ),
        entry("schedule", "replicas by the time of the day", Label::Own, ScheduleSpec::fields()),
        entry("idle", "to zero when nothing happens", Label::Own, IdleSpec::fields()),
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
        /// Knative's pod autoscaler.
        Knative(KpaSpec) = "knative",
        /// The autoscaler of Ray Serve.
        RayServe(RaySpec) = "ray-serve",
        /// The recommender of the VerticalPodAutoscaler.
        Vpa(VpaSpec) = "vpa",
        /// The Workload Variant Autoscaler of llm-d.
        Wva(WvaSpec) = "wva",
        /// The planner of NVIDIA Dynamo.
        Dynamo(DynamoSpec) = "dynamo-planner",
        /// The PodAutoscaler of AIBrix.
        Aibrix(AibrixSpec) = "aibrix",
        /// A ScaledObject of KEDA.
        Keda(KedaSpec) = "keda",
        /// An InferenceService of KServe.
        Kserve(KserveSpec) = "kserve",
        /// A fixed number of replicas.
        Fixed(FixedSpec) = "static",
        /// Target tracking of AWS.
        AwsTargetTracking(AwsTargetTrackingSpec) = "aws-target-tracking",
        /// Step scaling of AWS.
        AwsStepScaling(AwsStepScalingSpec) = "aws-step-scaling",
        /// Instance pool autoscaling of Oracle Cloud.
        Oci(OciSpec) = "oci",
        /// Several policies as one.
        Composite(CompositeSpec) = "composite",
        /// Steps above or below a value.
        Threshold(ThresholdSpec) = "threshold",
        /// A condition in CEL.
        Condition(ConditionSpec) = "condition",
        /// Replicas by the time of the day.
        Schedule(ScheduleSpec) = "schedule",
        /// To zero when nothing happens.
        Idle(IdleSpec) = "idle",
        /// A simple node autoscaler.
        NodeProvisioner(NodeProvisionerSpec) = "node-provisioner",
        /// The Cluster Autoscaler of Kubernetes.
        ClusterAutoscaler(ClusterAutoscalerSpec) = "cluster-autoscaler",
        /// Karpenter.
        Karpenter(KarpenterSpec) = "karpenter",
    }
}

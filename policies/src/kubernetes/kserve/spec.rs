//! What a user sets: the manifest, and how KServe and what it uses are installed.

use std::collections::BTreeMap;

use scaletwin_core::input::At;
use scaletwin_core::units::Span;

use crate::kubernetes::hpa::spec::ControllerSpec;
use crate::kubernetes::knative::spec::ConfigSpec;

scaletwin_core::names! {
    /// How KServe deploys an InferenceService.
    pub enum DeploymentMode {
        /// As a Service of Knative, called Serverless before.
        Knative = "Knative",
        /// As a Deployment, called RawDeployment before.
        Standard = "Standard",
    }
}

scaletwin_core::keys! {
    /// KServe: an InferenceService as people apply it, scaled by the pod autoscaler of Knative, the HorizontalPodAutoscaler
    /// or the ScaledObject that KServe makes of it.
    #[derive(Debug, Clone)]
    pub struct KserveSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// A file with an InferenceService of `serving.kserve.io/v1beta1`, or an LLMInferenceService of `v1alpha1` or
        /// `v1alpha2`.
        pub manifest: At<String>,
        /// Fields of the manifest that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// Which signal stands for an external metric, by the name of its trigger in the ScaledObject, such as
        /// `s0-prometheus`; without it the signal of that name.
        pub bind: BTreeMap<String, At<String>> = BTreeMap::new(),
        /// `defaultDeploymentMode` of KServe's ConfigMap, for a manifest that names none.
        pub default_deployment_mode: DeploymentMode = DeploymentMode::Knative,
        /// The ConfigMap `config-autoscaler` of Knative.
        pub config: ConfigSpec = ConfigSpec::default(),
        /// The flags of the HPA controller.
        pub controller: ControllerSpec = ControllerSpec::default(),
        /// The first decision of Knative's autoscaler, or the first poll of KEDA, after the start of the run. Default: drawn
        /// from the seed, below its period.
        pub offset: Option<Span> = None,
    }
}

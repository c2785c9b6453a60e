//! KServe 0.20: an InferenceService is scaled by what KServe makes of it.
//!
//! | deployment mode | `serving.kserve.io/autoscalerClass` | what KServe makes |
//! |---|---|---|
//! | Knative (Serverless) | – | a Service of Knative with annotations: the pod autoscaler ([`super::knative`]) |
//! | Standard (RawDeployment) | `hpa`, or none written | a HorizontalPodAutoscaler ([`super::hpa`]) |
//! | | `keda` | a ScaledObject ([`super::keda`]) |
//! | | `external`, `none` | nothing |
//!
//! An LLMInferenceService ([`llm`]) has a fixed number of replicas, or a ScaledObject.
//!
//! So there is no algorithm here, only the translation. Source: `pkg/controller/v1beta1/inferenceservice/reconcilers`:
//! `knative/ksvc_reconciler.go`, `hpa/hpa_reconciler.go`, `keda/keda_reconciler.go`, `autoscaler/autoscaler_reconciler.go`.

pub mod component;
pub mod llm;
pub mod manifest;
pub mod metrics;
pub mod spec;

use super::hpa::spec::HpaSettings;
use super::keda::manifest::ManifestKeda;
use super::knative::spec::Revision;

/// What scales the predictor of an InferenceService, or the pods of an LLMInferenceService.
#[derive(Debug, Clone)]
pub enum Autoscaler {
    /// Knative's pod autoscaler.
    Knative(Box<Revision>),
    /// A HorizontalPodAutoscaler.
    Hpa(HpaSettings),
    /// A ScaledObject.
    Keda(Box<ManifestKeda>),
    /// Nothing: so many replicas.
    Static(i32),
    /// Nothing of KServe's.
    Nothing,
}

/// The fewest replicas where the manifest says nothing.
const DEFAULT_MIN_REPLICAS: i32 = 1;
/// Percent of the requested CPU aimed at where the manifest says nothing.
const DEFAULT_CPU_UTILIZATION: i32 = 80;

//! Kubernetes' own autoscalers and those built on them.

pub mod cluster_autoscaler;
pub mod hpa;
pub mod karpenter;
pub mod keda;
pub mod knative;
pub mod kserve;
pub mod manifest;
pub mod placement;
pub mod vpa;

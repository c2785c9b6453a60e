//! Kubernetes' own autoscalers and those built on them.

pub mod hpa;
pub mod keda;
pub mod knative;
pub mod manifest;
pub mod vpa;

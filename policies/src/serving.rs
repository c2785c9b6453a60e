//! Autoscalers of serving frameworks.

pub mod ray_serve;

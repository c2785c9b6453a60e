//! Autoscalers that belong to serving systems.

pub mod aibrix;
pub mod dynamo;
pub mod pods;
pub mod ray_serve;
pub mod wva;

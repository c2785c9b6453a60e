//! The recommender of the VerticalPodAutoscaler.

pub mod histogram;
pub mod recommendation;
pub mod usage;

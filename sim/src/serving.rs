//! What one replica does with its requests: state machines that know of batches and blocks, not of clusters.

pub mod continuous;

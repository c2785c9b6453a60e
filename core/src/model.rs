//! What simulator, policies and twin exchange: how long a step takes, and the snapshot of a run.

mod snapshot;
mod step_time;

pub use snapshot::{Known, NodeState, ReplicaPhase, ReplicaState, Snapshot, SnapshotError};
pub use step_time::{DecodeRun, StepShape, StepTime};

//! The state of a run at an instant, as plain data.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::control::{CapacityType, SavedControllers, TargetName};
use crate::random::Seed;
use crate::record::Digest;
use crate::units::{Civil, Span, Time};

/// A run cut at an instant.
///
/// The simulator fills all of it, the exact part included, and goes on from it as if it had never been cut. A live
/// bridge fills what it can see; what it cannot see is [`Known::Unknown`], and there is no exact part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of this layout.
    pub version: u16,
    /// The name of the scenario.
    pub scenario: String,
    /// A digest of what the run was built from: another scenario does not fit.
    pub fingerprint: String,
    /// A digest of the policy. Under the same one its controllers go on; others join at the cut.
    pub policy: String,
    /// The seed of the run.
    pub seed: Seed,
    /// The civil instant of t = 0.
    pub start: Civil,
    /// The instant of the cut: everything before it has happened, nothing at it.
    pub at: Time,
    /// The nodes.
    pub nodes: Vec<NodeState>,
    /// The replicas.
    pub replicas: Vec<ReplicaState>,
    /// The controllers with their memory.
    pub controllers: SavedControllers,
    /// All that the simulator needs besides, in its own layout.
    pub exact: Option<Box<RawValue>>,
}

/// A figure of a snapshot, with how well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known<T> {
    /// Seen.
    Known(T),
    /// Worked out from what was seen.
    Estimated(T),
    /// Not to be had.
    Unknown,
}

/// A node at the cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// Its node pool.
    pub pool: String,
    /// Its instance type.
    pub instance_type: Known<String>,
    /// How it is bought.
    pub capacity_type: Known<CapacityType>,
    /// How long ago it was launched.
    pub age: Known<Span>,
    /// Whether it takes pods.
    pub ready: bool,
}

/// A replica at the cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// Its name.
    pub name: String,
    /// The target it belongs to.
    pub target: TargetName,
    /// Its node, if it has one.
    pub node: Option<String>,
    /// Where it is in its life.
    pub phase: ReplicaPhase,
    /// How long ago it was created.
    pub age: Known<Span>,
    /// Requests that run in it.
    pub running: Known<u64>,
    /// Requests that wait in it.
    pub waiting: Known<u64>,
    /// The share of its KV blocks in use, 0 to 1.
    pub kv_used_share: Known<f64>,
}

/// Where a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaPhase {
    /// It waits for a node.
    Pending,
    /// It starts on a node.
    Starting,
    /// It takes requests.
    Ready,
    /// It takes no more requests and finishes those it has.
    Draining,
}

impl Snapshot {
    /// The version of the layout written now.
    pub const VERSION: u16 = 4;

    /// The snapshot as text, sealed with a digest.
    ///
    /// # Errors
    /// When it does not serialise: a mistake in the simulator.
    pub fn to_json(&self) -> Result<String, SnapshotError> {
        let unreadable = |error: serde_json::Error| SnapshotError::Unreadable(error.to_string());
        let snapshot = serde_json::value::to_raw_value(self).map_err(unreadable)?;
        let sealed =
            Sealed { version: u64::from(Self::VERSION), digest: Digest::of(snapshot.get()), snapshot };
        serde_json::to_string(&sealed).map_err(unreadable)
    }

    /// Reads what [`Snapshot::to_json`] wrote.
    ///
    /// # Errors
    /// When the text is no snapshot, or one of another version, or was changed.
    pub fn from_json(text: &str) -> Result<Snapshot, SnapshotError> {
        let unreadable = |error: serde_json::Error| SnapshotError::Unreadable(error.to_string());
        let Version { version } = serde_json::from_str(text).map_err(unreadable)?;
        if version != u64::from(Self::VERSION) {
            return Err(SnapshotError::Version { found: version, wanted: Self::VERSION });
        }
        let sealed: Sealed = serde_json::from_str(text).map_err(unreadable)?;
        if sealed.digest != Digest::of(sealed.snapshot.get()) {
            return Err(SnapshotError::Changed);
        }
        serde_json::from_str(sealed.snapshot.get()).map_err(unreadable)
    }

    /// The exact part as `T`.
    ///
    /// # Errors
    /// When there is none, or it is another layout.
    pub fn exact<T: DeserializeOwned>(&self) -> Result<T, SnapshotError> {
        let exact = self.exact.as_ref().ok_or(SnapshotError::NotExact)?;
        serde_json::from_str(exact.get()).map_err(|error| SnapshotError::Unreadable(error.to_string()))
    }
}

/// A snapshot as it is written.
#[derive(Serialize, Deserialize)]
struct Sealed {
    version: u64,
    digest: String,
    snapshot: Box<RawValue>,
}

/// The part of a snapshot that every version has.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// Why a run cannot go on from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The text is no snapshot.
    #[error("this is no snapshot: {0}")]
    Unreadable(String),
    /// It has another version.
    #[error("this is a snapshot of version {found}; this program reads version {wanted}")]
    Version {
        /// The version found.
        found: u64,
        /// The version that is read.
        wanted: u16,
    },
    /// Its digest is another one.
    #[error("this snapshot has been changed since it was written")]
    Changed,
    /// It was written by a live bridge, which cannot see enough to go on exactly.
    #[error("this snapshot has no exact part")]
    NotExact,
    /// It belongs to another run.
    #[error("this snapshot does not fit: {0}")]
    Other(String),
}

//! Policies and guards, what they need, and their state between decisions.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Aspect, Decision, MetricQuery, Observation, Schedule, TargetName};

/// A scaling policy: from what is seen to what is wanted. No clock, no I/O, no hidden randomness.
///
/// Two policies in the same state that see the same observation decide the same, and [`Policy::save`] holds all of
/// the state: a policy restored from it goes on as if nothing had happened.
///
/// ```
/// use scaletwin_core::control::*;
///
/// /// Keeps a target at one number of replicas.
/// struct Keep { target: TargetName, replicas: i32 }
///
/// impl Policy for Keep {
///     fn needs(&self) -> Needs {
///         Needs {
///             scope: Scope { targets: vec![self.target.clone()], ..Scope::default() },
///             schedule: Schedule::every(scaletwin_core::units::Span::from_secs(15)),
///             writes: vec![Aspect::Replicas(self.target.clone())],
///             ..Needs::default()
///         }
///     }
///     fn decide(&mut self, seen: &Observation) -> Decision {
///         let wrong = seen.target(&self.target).is_some_and(|view| view.spec_replicas != self.replicas);
///         let action = Action::SetReplicas { target: self.target.clone(), replicas: self.replicas };
///         Decision { actions: wrong.then_some(action).into_iter().collect(), ..Decision::default() }
///     }
///     fn save(&self) -> State { State::of("keep", 1, &()) }
///     fn restore(&mut self, state: &State) -> Result<(), StateMismatch> { state.read("keep", 1) }
/// }
/// ```
pub trait Policy: Send {
    /// What it needs to see, when it wants to be asked, and what it may change.
    fn needs(&self) -> Needs;

    /// Decides. "I do not know" is an empty decision with a reason.
    fn decide(&mut self, seen: &Observation) -> Decision;

    /// Its whole state.
    fn save(&self) -> State;

    /// Takes up a state that [`Policy::save`] gave.
    ///
    /// # Errors
    /// When the state is that of another policy or version.
    fn restore(&mut self, state: &State) -> Result<(), StateMismatch>;
}

/// A safety limit over the merged actions of all controllers, the same in simulation and live.
pub trait Guard: Send {
    /// What it needs to see.
    fn scope(&self) -> Scope;

    /// Gives back what may be done of what is wanted, with a reason for each change.
    fn review(&mut self, seen: &Observation, wanted: Decision) -> Decision;

    /// Its whole state.
    fn save(&self) -> State;

    /// Takes up a state that [`Guard::save`] gave.
    ///
    /// # Errors
    /// When the state is that of another guard or version.
    fn restore(&mut self, state: &State) -> Result<(), StateMismatch>;
}

/// What a controller needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// What it has to see.
    pub scope: Scope,
    /// When it is asked.
    pub schedule: Schedule,
    /// What wakes it besides.
    pub pokes: Vec<PokeKind>,
    /// All that it may change.
    pub writes: Vec<Aspect>,
}

impl Needs {
    /// Those of a node autoscaler: it sees the nodes and may change those of `cluster`, and a pod without a node wakes it.
    #[must_use]
    pub fn of_nodes(cluster: &str, schedule: Schedule) -> Needs {
        Needs {
            scope: Scope { nodes: true, ..Scope::default() },
            schedule,
            pokes: vec![PokeKind::PendingPods],
            writes: vec![Aspect::Nodes(cluster.to_owned())],
        }
    }

    /// Those of an autoscaler of one target: it sees the target and these metrics, and may change its replicas.
    #[must_use]
    pub fn of_replicas(target: &TargetName, metrics: Vec<MetricQuery>, schedule: Schedule) -> Needs {
        Needs {
            scope: Scope { targets: vec![target.clone()], metrics, nodes: false },
            schedule,
            pokes: Vec::new(),
            writes: vec![Aspect::Replicas(target.clone())],
        }
    }
}

/// What has to be seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// Scale targets with their pods.
    pub targets: Vec<TargetName>,
    /// Queries to the metrics APIs.
    pub metrics: Vec<MetricQuery>,
    /// Nodes, pending pods and offers.
    pub nodes: bool,
}

/// The kinds of events that can wake a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PokeKind {
    /// A request for a target of its scope that is without replicas.
    RequestAtZero,
    /// A pod without a node.
    PendingPods,
}

/// The state of a policy or guard: whose, which version, and its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    owner: String,
    version: u32,
    data: serde_json::Value,
}

impl State {
    /// The state `data` of `owner`. Floats in it must be finite or use [`crate::units::exact`].
    ///
    /// # Panics
    /// When `data` does not serialise, such as a map whose keys are no texts: a mistake in the policy.
    #[must_use]
    pub fn of(owner: &str, version: u32, data: &impl Serialize) -> State {
        let data = serde_json::to_value(data).expect("a state is plain data");
        State { owner: owner.to_owned(), version, data }
    }

    /// The data, if it is that of `owner` in `version`.
    ///
    /// # Errors
    /// When it is another's, or does not read.
    pub fn read<T: DeserializeOwned>(&self, owner: &str, version: u32) -> Result<T, StateMismatch> {
        let mismatch = |detail: String| StateMismatch::new(format!("{owner} {version}"), detail);
        if self.owner != owner || self.version != version {
            return Err(mismatch(format!("this is the state of {} {}", self.owner, self.version)));
        }
        T::deserialize(&self.data).map_err(|error| mismatch(error.to_string()))
    }
}

/// A state that does not belong to the policy that is to take it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMismatch {
    wanted: String,
    detail: String,
}

impl StateMismatch {
    /// A mismatch: whose state was wanted, and what is there instead.
    #[must_use]
    pub fn new(wanted: impl Into<String>, detail: impl Into<String>) -> StateMismatch {
        StateMismatch { wanted: wanted.into(), detail: detail.into() }
    }
}

impl fmt::Display for StateMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no state for {}: {}", self.wanted, self.detail)
    }
}

impl std::error::Error for StateMismatch {}

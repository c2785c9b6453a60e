//! The world that is scaled.

use serde::{Deserialize, Serialize};

use super::{Action, Decision, Observation, Scope};

/// A world that can be observed and scaled: simulated, or a Kubernetes cluster.
///
/// The effect of [`Plant::apply`] shows in a later observation. Setting the same again does no
/// harm; launching nodes twice launches twice.
pub trait Plant {
    /// Why it could not be asked at all.
    type Error: std::error::Error;

    /// What is to be seen of `scope` now.
    ///
    /// # Errors
    /// When the plant cannot be reached. A signal without a value is no error: it is a missing reading.
    fn observe(&mut self, scope: &Scope) -> Result<Observation, Self::Error>;

    /// Does what is `wanted`, as far as it can.
    ///
    /// # Errors
    /// When the plant cannot be reached. An action that it cannot do is no error: it is refused by name.
    fn apply(&mut self, wanted: &Decision) -> Result<Applied, Self::Error>;
}

/// What became of a decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// What was done.
    pub done: Vec<Action>,
    /// What was not, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<(Action, String)>,
}

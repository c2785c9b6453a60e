//! Autoscalers of cloud providers. Their makers are silent about the code: these follow the documentation, and where that
//! is silent too a key says what is assumed.

pub mod aws_step_scaling;
pub mod aws_target_tracking;
pub mod oci;

use serde::{Deserialize, Serialize};

/// The last data points of an alarm, the newest last; a missing one is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Points(Vec<Option<f64>>);

impl Points {
    /// Adds a point and forgets those beyond `keep`.
    fn push(&mut self, point: Option<f64>, keep: usize) {
        self.0.push(point);
        self.0.drain(..self.0.len().saturating_sub(keep));
    }

    /// Whether the last `count` points are all there and all breach.
    fn all(&self, count: usize, breaches: impl Fn(f64) -> bool) -> bool {
        let last = self.0.len().checked_sub(count).map(|from| &self.0[from..]);
        last.is_some_and(|last| last.iter().all(|point| point.is_some_and(&breaches)))
    }
}

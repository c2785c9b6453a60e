//! The discrete-event engine: order, queue and run loop. It knows nothing of clusters.

mod order;
mod queue;
mod run;

pub use order::{Key, Phase};
pub use queue::{EventQueue, Ticket};
pub use run::{Calendar, Limits, Model, RunError, Waiter, run};

//! Accelerators, models and instance types, each figure with its basis and source, and how long a step takes on them.
//!
//! The data lie beside this crate as YAML and CSV and are compiled in. A figure without a basis does not load.

mod accelerator;
mod figure;
mod host;
mod instance;
mod model;
pub mod step_time;

pub use accelerator::{Accelerator, accelerator, accelerators};
pub use figure::{Basis, Figure};
pub use host::{Host, host};
pub use instance::{InstanceType, instance_type, instance_types};
pub use model::{Model, model, models};

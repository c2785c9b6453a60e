//! Rules of our own, for what no controller of the field does or where a simple one will do.

pub mod condition;
pub mod fixed;
pub mod idle;
pub mod node_provisioner;
pub mod schedule;
pub mod subject;
pub mod threshold;

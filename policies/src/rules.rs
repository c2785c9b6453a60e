//! Rules of our own, for what no controller of the field does or where a simple one will do.

pub mod fixed;
pub mod node_provisioner;
pub mod schedule;
pub mod subject;

//! The words that all parts of scaletwin share.
//!
//! This crate simulates nothing and opens no socket. It holds, in the order in which a newcomer meets them:
//!
//! - [`units`]: instants, spans, bytes, shares, rates, Kubernetes quantities, and how people write them;
//! - [`input`]: text with places, problems with hints, and keys that are read and described from one declaration;
//! - [`random`]: draws keyed by (seed, component, entity), and samplers with the same bits everywhere;
//! - [`control`]: the seam between policies and the world they scale, simulated or live;
//! - [`record`]: what a run leaves behind, and the definitions of its figures;
//! - [`model`]: the traits and the snapshot that simulator, policies and twin exchange.

pub mod control;
pub mod input;
pub mod model;
pub mod random;
pub mod record;
pub mod units;

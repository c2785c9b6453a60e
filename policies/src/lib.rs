//! Scaling policies, as the simulator and the live bridge run them: one code for both.
//!
//! Each policy decides exactly as the controller of its name does, in the version stated; `docs/models/policies.md`
//! says how that is known. Nothing here knows which world it scales.

pub mod calendar;
pub mod cloud;
pub mod composite;
pub mod guard;
pub mod kubernetes;
pub mod numerics;
pub mod registry;
pub mod rules;
pub mod serving;

//! The discrete-event engine and the modelled fleet.

pub mod serving;

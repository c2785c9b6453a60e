//! The discrete-event engine and the modelled fleet.

pub mod cluster;
pub mod engine;
pub mod scrape;
pub mod serving;
pub mod traffic;
pub mod world;

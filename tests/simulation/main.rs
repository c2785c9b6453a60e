//! Whole runs: a timeline checked by hand, cuts and continuations, relations between runs, and random scenarios.

mod elasticity;
mod energy;
mod library;
mod luck;
mod random;
mod relations;
mod routing;
mod running;
mod snapshots;
mod spot;
mod timeline;

//! Whole runs: a timeline checked by hand, cuts and continuations, relations between runs, and random scenarios.

mod keda;
mod library;
mod luck;
mod random;
mod relations;
mod rules;
mod running;
mod snapshots;
mod spot;
mod timeline;

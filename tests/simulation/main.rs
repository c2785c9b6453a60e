//! Whole runs: a timeline checked by hand, cuts and continuations, relations between runs, and random scenarios.

mod cold_start;
mod library;
mod luck;
mod random;
mod relations;
mod rollout;
mod running;
mod snapshots;
mod spot;
mod timeline;

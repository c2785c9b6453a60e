//! Whole runs: a timeline checked by hand, cuts and continuations, relations between runs, and random scenarios.

mod library;
mod luck;
mod nodes;
mod random;
mod relations;
mod running;
mod snapshots;
mod spot;
mod timeline;

//! Whole runs: a timeline checked by hand, cuts and continuations, relations between runs, and random scenarios.

mod cold_start;
mod elasticity;
mod energy;
mod exporters;
mod incidents;
mod keda;
mod knative;
mod library;
mod luck;
mod nodes;
mod promql;
mod random;
mod ray_serve;
mod relations;
mod rollout;
mod routing;
mod rules;
mod running;
mod serving;
mod snapshots;
mod spot;
mod timeline;
mod wva;

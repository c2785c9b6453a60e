//! What a run leaves behind, and the definitions of its figures.
//!
//! Simulator and live bridge fill a [`Recorder`]; scores and reports read only the [`RunRecord`] that it gives.
//!
//! - Each request has exactly one [`Outcome`].
//! - Latencies cover completed requests that arrived after the warm-up; each says how many others there were. The gaps
//!   between tokens (ITL) are those of all requests, from the end of the warm-up on.
//! - The *attainment* of an SLO is the share of arrived requests that met every limit: a request that was rejected,
//!   timed out, aborted, failed or is unfinished has missed.

mod digest;
mod elasticity;
mod histogram;
mod latency;
mod outcome;
mod priority;
mod recorder;
mod service;
mod slo;
mod study;
mod summary;
mod timeline;

pub use digest::{BagDigest, Digest};
pub use elasticity::{Elasticity, Provision};
pub use histogram::Histogram;
pub use latency::LatencySummary;
pub use outcome::{Finished, Outcome, OutcomeCounts};
pub use priority::PrioritySummary;
pub use recorder::{
    CapacityRow, DecisionLine, DecisionLog, FleetFigures, NodeRow, PoolRow, Recorder, RecorderSettings,
    ReplicaStates, RunRecord,
};
pub use service::{ServiceMeter, ServiceSettings};
pub use slo::{LatencyMetric, Objective, ObjectiveResult, Slo};
pub use study::{Estimate, Study, student_quantile};
pub use summary::{
    ColdStarts, CostSummary, CrossZoneSummary, DeploymentSummary, Extent, NodePoolSummary, ServiceSummary,
    SloSummary, StageSummary, StandbySummary, Summary,
};
pub use timeline::{Population, TimeAverage, Window};

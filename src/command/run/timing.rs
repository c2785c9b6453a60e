//! How long it took: the only output that varies from run to run.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "wall time is told to people, never to a record"
)]

use std::fmt;
use std::time::{Duration, Instant};

use scaletwin_core::record::Summary;
use serde::Serialize;

/// A stopwatch.
pub(super) struct Timer(Instant);

/// How long it took, as `timing.json` holds it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Timing {
    /// Wall time.
    wall_seconds: f64,
    /// Simulated requests.
    requests: u64,
    /// Requests by wall time.
    requests_per_second: f64,
    /// Simulated time by wall time.
    speed: f64,
    /// The version of the program.
    version: &'static str,
}

impl Timer {
    pub(super) fn start() -> Timer {
        Timer(Instant::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// How long these runs took.
    pub(super) fn stop(&self, runs: &[&Summary]) -> Timing {
        let wall = self.elapsed().as_secs_f64();
        let services = runs.iter().flat_map(|summary| &summary.services);
        let requests = services.map(|service| service.requests.arrived + service.warm_up_requests).sum();
        let simulated: f64 = runs.iter().map(|summary| summary.simulated_seconds).sum();
        Timing {
            wall_seconds: wall,
            requests,
            requests_per_second: requests as f64 / wall,
            speed: simulated / wall,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timing { wall_seconds, requests, requests_per_second, speed, .. } = self;
        write!(
            f,
            "{requests} requests in {wall_seconds:.2} s: {requests_per_second:.0} a second, {speed:.0} times faster than time"
        )
    }
}

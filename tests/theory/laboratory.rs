//! Replications, intervals, and the decision.

use std::path::Path;

use scaletwin_core::random::Seed;
use scaletwin_core::record::{Estimate, ServiceSummary, student_quantile};
use scaletwin_scenarios::Scenario;

/// Assertions in this suite; a test below keeps the number.
pub(crate) const CASES: usize = 32;
/// Runs of a case.
pub(crate) const REPLICATIONS: u64 = 20;
/// Requests of a run.
const REQUESTS: u64 = 50_000;
/// The seeds of the first set, and of the second, which decides.
const SEEDS: [u64; 2] = [1_000, 9_000];

/// A case of theory.
pub(crate) struct Case<'a> {
    /// The engine of the one replica, or of each.
    pub engine: &'a str,
    /// Replicas.
    pub replicas: u32,
    /// The lines of the traffic stream besides its name and the number of requests.
    pub traffic: &'a str,
    /// Further lines of the service.
    pub service: &'a str,
    /// The figure.
    pub figure: fn(&ServiceSummary) -> f64,
    /// What theory says it is.
    pub theory: f64,
    /// The widest half interval that means something, relative to it.
    pub narrow: f64,
}

impl Case<'_> {
    /// Asserts that the simulator agrees with theory.
    pub(crate) fn agrees(&self) {
        let first = self.measure(SEEDS[0], REQUESTS);
        if self.holds(&first).is_ok() {
            return;
        }
        let second = self.measure(SEEDS[1], 4 * REQUESTS);
        self.holds(&second).unwrap_or_else(|why| panic!("{why}; before: {first:?}"));
    }

    fn holds(&self, estimate: &Estimate) -> Result<(), String> {
        let freedom = REPLICATIONS - 1;
        let to_95 = student_quantile(0.975, freedom);
        let level = 1.0 - 0.01 / CASES as f64;
        let half = estimate.half_width_95.expect("several replications") / to_95
            * student_quantile(0.5 + level / 2.0, freedom);
        let off = (estimate.mean - self.theory).abs();
        if off > half + 1e-12 * self.theory {
            return Err(format!("{} ± {half}, but theory says {}", estimate.mean, self.theory));
        }
        if half > self.narrow * self.theory {
            return Err(format!("± {half} of {} is too wide to mean something", self.theory));
        }
        Ok(())
    }

    pub(crate) fn measure(&self, first_seed: u64, requests: u64) -> Estimate {
        let text = self.scenario(requests);
        let scenario = Scenario::parse("theory.yaml", &text, Path::new("")).unwrap_or_else(|e| panic!("{e}"));
        let values: Vec<f64> = (0..REPLICATIONS)
            .map(|more| {
                let run = scenario.start(Seed(first_seed + more)).expect("a run without traces starts");
                let record = run.finish().expect("a run of theory comes to its end");
                (self.figure)(&record.summary.services[0])
            })
            .collect();
        Estimate::of(&values)
    }

    fn scenario(&self, requests: u64) -> String {
        let Case { engine, replicas, traffic, service, .. } = self;
        format!(
            "name: theory
warm_up: 200s
services:
  - name: station
    {service}
    deployments: [{{name: server, replicas: {replicas}, engine: {engine}}}]
traffic:
  - name: customers
    requests: {requests}
    {traffic}
"
        )
    }
}

/// The mean time in the system.
pub(crate) fn residence(service: &ServiceSummary) -> f64 {
    service.e2e_seconds.as_ref().and_then(|latency| latency.mean).expect("requests completed")
}

/// The mean wait for service.
pub(crate) fn wait(service: &ServiceSummary) -> f64 {
    service.wait_seconds.as_ref().and_then(|latency| latency.mean).expect("requests completed")
}

#[test]
fn the_number_of_cases_is_the_one_that_the_levels_are_made_from() {
    let texts = [
        include_str!("queues.rs"),
        include_str!("losses.rs"),
        include_str!("sharing.rs"),
        include_str!("setup.rs"),
        include_str!("closed.rs"),
        include_str!("batches.rs"),
        include_str!("routing.rs"),
    ];
    let cases: usize = texts.iter().map(|text| text.matches("#[test]").count()).sum();
    assert_eq!(cases, CASES);
}

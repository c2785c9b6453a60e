//! Runs of scenarios given as text.

use std::path::Path;

use scaletwin_core::record::{Finished, RunRecord};
use scaletwin_core::units::Time;
use scaletwin_scenarios::Scenario;
use scaletwin_sim::world::run::Run;

/// The scenario of this text.
pub(crate) fn scenario(text: &str) -> Scenario {
    Scenario::parse("test.yaml", text, Path::new("")).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// A run of this scenario at its start, with its own seed.
pub(crate) fn start(scenario: &Scenario) -> Run {
    scenario.start(scenario.settings().seed).expect("a run starts")
}

/// Its record.
pub(crate) fn record(text: &str) -> RunRecord {
    start(&scenario(text)).finish().expect("a run comes to its end")
}

/// Its record with every request, in the order of their ends.
pub(crate) fn requests(text: &str) -> (RunRecord, Vec<(usize, Finished)>) {
    let mut run = start(&scenario(text));
    run.keep_requests();
    while !run.run_until(Time::NEVER).expect("a run comes to its end") {}
    let mut requests = run.take_requests();
    let (record, rest) = run.close();
    requests.extend(rest);
    (record, requests)
}

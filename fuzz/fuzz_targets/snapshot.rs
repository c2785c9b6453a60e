//! Any text as a snapshot: it is read or refused, and so is the run that would go on from it.
#![no_main]

use scaletwin_core::model::Snapshot;
use scaletwin_scenarios::{Request, Scenario};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(snapshot) = Snapshot::from_json(text) else { return };
    if let Ok(scenario) = Scenario::load(&Request::default()) {
        let _ = scenario.resume(&snapshot);
    }
});

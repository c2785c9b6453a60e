//! Any text as a scenario: it is read or refused.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = scaletwin_scenarios::Scenario::parse("fuzz.yaml", text, Path::new("/nonexistent"));
});

//! Any text as an autoscaling manifest of a scenario: it is read or refused.
#![no_main]

use scaletwin_scenarios::Scenario;

const SCENARIO: &str = "
name: fuzz
services:
  - {name: web, deployments: [{name: main, engine: {kind: concurrency, limit: 1, service_time: 1s}}]}
traffic: [{name: all, requests: 1, arrivals: {poisson: {rate: 1/s}}}]
signals: {s0-prometheus: {series: interceptor_pending_request_count}}
policy: {controllers: [{kind: hpa, target: web, manifest: it.yaml}]}
";

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(folder) = tempfile::tempdir() else { return };
    if std::fs::write(folder.path().join("it.yaml"), text).is_ok() {
        for kind in ["hpa", "keda", "knative", "kserve", "vpa"] {
            let _ = Scenario::parse("fuzz.yaml", &SCENARIO.replace("hpa", kind), folder.path());
        }
    }
});

//! The scenarios of the library: each runs, and shows what its first comment says.

use std::path::Path;

use scaletwin_core::record::RunRecord;
use scaletwin_scenarios::{Request, Scenario, library};

use crate::running::start;

fn run(name: &str, changes: &[&str]) -> RunRecord {
    let request = Request {
        scenario: Some(Path::new(name).to_owned()),
        policy: None,
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
    };
    let scenario = Scenario::load(&request).unwrap_or_else(|problems| panic!("{problems}"));
    start(&scenario).finish().expect("a scenario of the library comes to its end")
}

/// The share of requests that were good in the window that begins at `minute`.
fn good(record: &RunRecord, minute: u32) -> f64 {
    let start = f64::from(minute) * 60.0;
    let window = record.windows[0].iter().find(|window| (window.start_seconds - start).abs() < 1e-9);
    window.and_then(|window| window.attainment()).expect("requests arrived in this minute")
}

#[test]
fn every_scenario_is_listed_runs_and_says_what_it_teaches() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/library");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("the library")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    files.sort();
    let mut names: Vec<&str> = library::LIBRARY.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
    for entry in library::LIBRARY {
        assert!(entry.about().len() > 60, "{} says what it teaches", entry.name);
        let record = run(entry.name, &[]);
        assert_eq!(record.summary.scenario, entry.name);
        assert!(record.summary.services[0].requests.completed > 1_000);
    }
}

#[test]
fn a_surge_is_met_by_replicas_that_are_there_before_it() {
    let attainment =
        |changes: &[&str]| run("quickstart", changes).summary.services[0].slo.attainment.unwrap();
    let ready = ["policy.controllers[0].min_replicas=6", "clusters[0].node_pools[0].nodes.min=6"];
    assert!(attainment(&[]) < 0.9 && attainment(&ready) > 0.99);
}

#[test]
fn a_retry_storm_outlives_its_cause_without_a_budget_and_ends_with_one() {
    // The peak is over at minute 9; before it, nearly all are good.
    let storm = run("retry-storm", &[]);
    assert!(good(&storm, 7) > 0.98);
    assert!((20..30).all(|minute| good(&storm, minute) < 0.1), "it goes on by itself");
    let budget = ["traffic[0].client.retries.budget=0.1", "traffic[1].client.retries.budget=0.1"];
    let calmed = run("retry-storm", &budget);
    assert!((20..30).all(|minute| good(&calmed, minute) > 0.98), "it has ended");
}

#[test]
fn a_delay_for_batches_costs_everybody_while_instances_are_free() {
    let e2e = |delay: &str| {
        let change = format!("services[0].deployments[0].engine.max_queue_delay={delay}");
        let record = run("mixed-fleet", &[&change, "duration=3m"]);
        record.summary.services[0]
            .e2e_seconds
            .as_ref()
            .and_then(|latency| latency.mean)
            .expect("requests completed")
    };
    let [none, short, long] = ["0s", "5ms", "40ms"].map(e2e);
    assert!(none * 1.2 < short && short * 2.0 < long, "{none}, {short}, {long} s");
}

#[test]
fn in_an_outage_a_gateway_that_looks_for_itself_loses_less() {
    let without = run("zone-outage", &[]);
    let probes = ["services[0].health_check={interval: 5s, timeout: 1s}"];
    let with = run("zone-outage", &probes);
    // The zone is out from minute 15 on, and pods come elsewhere in minute 22.
    assert!((5..15).all(|minute| good(&without, minute) > 0.95));
    assert!(good(&without, 15) + 0.1 < good(&with, 15), "{} and {}", good(&without, 15), good(&with, 15));
    assert!((25..40).all(|minute| good(&without, minute) > 0.95 && good(&with, minute) > 0.95));
    let [zone_a, zone_b] = &without.summary.node_pools[..] else { panic!("two pools") };
    assert_eq!((zone_a.failures, zone_b.failures), (Some(3), None));
    assert!(zone_b.node_hours > 2.0, "nodes were added there: {}", zone_b.node_hours);
}

//! The scenarios of the library: each runs, and shows what its first comment says.

use std::path::Path;

use scaletwin_core::record::RunRecord;
use scaletwin_scenarios::{Request, Scenario, library};

use crate::running::start;

pub(crate) fn run(name: &str, changes: &[&str]) -> RunRecord {
    let request = Request {
        scenario: Some(Path::new(name).to_owned()),
        policy: None,
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
    };
    let scenario = Scenario::load(&request).unwrap_or_else(|problems| panic!("{problems}"));
    start(&scenario).finish().expect("a scenario of the library comes to its end")
}

/// The YAML files of a folder, sorted, without their ending.
fn files(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the library");
    names(
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned)),
    )
}

fn names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The share of requests that were good in the window that begins at `minute`.
fn good(record: &RunRecord, minute: u32) -> f64 {
    let start = f64::from(minute) * 60.0;
    let window = record.windows[0].iter().find(|window| (window.start_seconds - start).abs() < 1e-9);
    window.and_then(|window| window.attainment()).expect("requests arrived in this minute")
}

#[test]
fn every_scenario_is_listed_runs_and_says_what_it_teaches() {
    assert_eq!(files("scenarios/library"), names(library::LIBRARY.iter().map(|entry| entry.name.to_owned())));
    for entry in library::LIBRARY {
        assert!(entry.about().len() > 60, "{} says what it teaches", entry.name);
        let record = run(entry.name, &[]);
        assert_eq!(record.summary.scenario, entry.name);
        let requests = &record.summary.services[0].requests;
        // What goes wrong in an incident may be that nothing is answered.
        assert!(requests.completed > 1_000 || entry.name.starts_with("incident-"), "{}", entry.name);
        assert!(requests.arrived > 100, "{}", entry.name);
    }
}

#[test]
fn every_manifest_is_found_beside_the_scenarios() {
    let stem = |entry: &library::Entry| {
        let inside = entry.name.strip_prefix("manifests/").and_then(|name| name.strip_suffix(".yaml"));
        inside.expect("a path beside the scenarios").to_owned()
    };
    assert_eq!(files("scenarios/library/manifests"), names(library::MANIFESTS.iter().map(stem)));
    let named = |entry: &library::Entry| library::LIBRARY.iter().any(|other| other.text.contains(entry.name));
    assert!(library::MANIFESTS.iter().all(named), "each is of use to a scenario");
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
fn following_a_day_costs_less_than_standing_at_its_peak_and_full_replicas_are_within_the_tolerance() {
    let day = |change: &str| run("diurnal-week", &[change, "duration=25h"]).summary;
    let following = day("seed=11");
    let standing = day("policy.controllers[0].min_replicas=14");
    let cost =
        |summary: &scaletwin_core::record::Summary| summary.cost.total_usd.expect("all nodes have a price");
    assert!(cost(&following) < 0.7 * cost(&standing), "{} and {}", cost(&following), cost(&standing));
    assert!(following.services[0].slo.attainment > Some(0.99), "{:?}", following.services[0].slo);
    // CPU of a pod is at most 100 % of its request: 1.053 times 95 %, which is within 10 %.
    let near = day("policy.controllers[0].metrics[0].resource.utilization=95");
    assert_eq!(near.services[0].deployments[0].scale_ups, 0);
    assert!(near.services[0].slo.attainment < Some(0.5), "{:?}", near.services[0].slo);
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

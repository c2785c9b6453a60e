//! Relations between runs that must hold whatever the numbers are.

use std::fmt::Write as _;

use scaletwin_core::record::{LatencySummary, RunRecord};

use crate::running::{record, requests, scenario, start};

/// A queue with four servers, all of whose times are multiples of `unit` milliseconds.
fn scaled(unit: u64, replicas: u32) -> String {
    let (service, gap, warm_up) = (40 * unit, 8 * unit, 1000 * unit);
    format!(
        "
name: scaled
warm_up: {warm_up}ms
services:
  - name: one
    queue: {{}}
    deployments: [{{name: main, replicas: {replicas}, engine: {{kind: concurrency, queue: 0, limit: 2, service_time: {{exponential: {{mean: {service}ms}}}}}}}}]
traffic: [{{name: all, requests: 4000, arrivals: {{gaps: {{exponential: {{mean: {gap}ms}}}}}}}}]
"
    )
}

fn e2e(record: &RunRecord) -> LatencySummary {
    record.summary.services[0].e2e_seconds.expect("requests completed")
}

#[test]
fn all_times_doubled_double_all_latencies() {
    let (one, two) = (requests(&scaled(10, 3)).1, requests(&scaled(20, 3)).1);
    assert_eq!(one.len(), two.len());
    for ((_, one), (_, two)) in one.iter().zip(&two) {
        let (one, two) = (one.e2e().as_secs_f64(), two.e2e().as_secs_f64());
        // Each of up to 4000 gaps and services is rounded to a nanosecond.
        assert!((2.0 * one - two).abs() < 4000.0 * 3e-9, "{one} {two}");
    }
}

#[test]
fn more_servers_are_never_slower() {
    // M/M/c first come, first served, on common random numbers: every request, not only their mean.
    let sorted = |replicas| {
        let mut list = requests(&scaled(10, replicas)).1;
        list.sort_by_key(|(_, request)| request.number);
        list
    };
    for ((_, three), (_, four)) in sorted(3).iter().zip(&sorted(4)) {
        assert!(four.ended <= three.ended);
    }
}

fn priced(price: &str, policy: &str) -> String {
    format!(
        "
name: priced
duration: 10m
clusters: [{{name: c, node_pools: [{{name: p, instance_type: g6.xlarge, {price} nodes: 3}}]}}]
services:
  - name: one
    deployments:
      - name: main
        replicas: 2
        replica: {{gpus: 1}}
        engine: {{kind: concurrency, limit: 4, service_time: {{exponential: {{mean: 1s}}}}}}
traffic: [{{name: all, arrivals: {{poisson: {{rate: 5/s}}}}}}]
{policy}
"
    )
}

#[test]
fn a_price_doubled_doubles_the_cost_and_nothing_else() {
    let (mut one, mut two) =
        (record(&priced("price_usd_per_hour: 1.5,", "")), record(&priced("price_usd_per_hour: 3,", "")));
    assert_eq!(one.summary.cost.total_usd.map(|cost| 2.0 * cost), two.summary.cost.total_usd);
    for record in [&mut one, &mut two] {
        record.summary.cost = Default::default();
        record.summary.record_hash.clear();
        record.summary.node_pools[0].cost_usd = None;
        record.summary.services[0].cost_usd = None;
        record.summary.services[0].deployments[0].cost_usd = None;
    }
    assert_eq!(one.summary, two.summary);
}

#[test]
fn no_policy_is_a_static_one() {
    let idle = record(&priced("", ""));
    let fixed = record(&priced("", "policy: {controllers: [{kind: static, target: one, replicas: 2}]}"));
    assert_eq!((&idle.windows, &idle.capacity), (&fixed.windows, &fixed.capacity));
    assert_eq!(idle.summary.services, fixed.summary.services);
}

#[test]
fn names_do_not_matter_to_anything_but_luck() {
    let named = |name: &str| record(&priced("", "").replace("name: p,", &format!("name: {name},")));
    let (one, mut two) = (named("first"), named("second"));
    two.summary.node_pools[0].name = one.summary.node_pools[0].name.clone();
    two.summary.record_hash = one.summary.record_hash.clone();
    for node in &mut two.nodes {
        node.name = node.name.replace("second", "first");
    }
    assert_eq!(one, two);
}

#[test]
fn what_was_generated_and_written_down_replays_the_same() {
    let head = "
name: replay
services:
  - name: one
    deployments:
      - name: main
        model: llama-3.1-8b
        accelerator: l4
        engine: {kind: continuous-batching, max_num_seqs: 16, max_model_len: 8192, enable_prefix_caching: false}
";
    let generated = format!(
        "{head}traffic: [{{name: all, requests: 500, prompt_tokens: {{lognormal: {{mean: 300, cv: 1}}}}, output_tokens: {{lognormal: {{mean: 80, cv: 1}}}}, arrivals: {{poisson: {{rate: 2/s}}}}}}]"
    );
    let (_, mut first) = requests(&generated);
    first.sort_by_key(|(_, request)| request.number);
    let mut trace = String::from("arrival_seconds,prompt_tokens,output_tokens\n");
    for (_, request) in &first {
        let nanos = request.arrived.as_nanos();
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        writeln!(trace, "{seconds}.{rest:09},{},{}", request.prompt_tokens, request.output_tokens).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    std::fs::write(&path, trace).unwrap();
    let replayed =
        format!("{head}traffic: [{{name: all, trace: {{format: csv, path: '{}'}}}}]", path.display());
    let (_, mut second) = requests(&replayed);
    second.sort_by_key(|(_, request)| request.number);
    assert_eq!(first.len(), second.len());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second);
    }
}

#[test]
fn a_looser_slo_never_lowers_attainment() {
    let attainment = |limit: &str| {
        let text = scaled(10, 3)
            .replace("  - name: one\n", &format!("  - name: one\n    slo: {{e2e: {{p95: {limit}}}}}\n"));
        record(&text).summary.services[0].slo.attainment.unwrap()
    };
    let values: Vec<f64> = ["100ms", "400ms", "1s", "3s"].into_iter().map(attainment).collect();
    assert!(values.is_sorted() && values[0] < values[3], "{values:?}");
}

#[test]
fn slices_of_time_change_nothing() {
    let scenario = scenario(&scaled(10, 3));
    let whole = start(&scenario).finish().unwrap();
    let mut run = start(&scenario);
    let mut at = scaletwin_core::units::Time::ZERO;
    loop {
        at += scaletwin_core::units::Span::from_millis(777);
        if run.run_until(at).unwrap() {
            break;
        }
    }
    assert_eq!(whole, run.record());
    assert!(e2e(&whole).count > 0);
}

#[test]
fn a_warm_up_that_outlasts_the_run_leaves_nothing_that_counts() {
    let text = priced("", "")
        .replace("duration: 10m", "warm_up: 9m\nduration: 10m")
        .replace("arrivals:", "until: 5m, arrivals:");
    let record = record(&text);
    assert!(record.summary.simulated_seconds < 540.0);
    assert_eq!(record.summary.cost.total_usd, Some(0.0));
    let service = &record.summary.services[0];
    assert_eq!((service.requests.arrived, service.deployments[0].scale_ups), (0, 0));
    assert!(service.warm_up_requests > 0);
}

#[test]
fn windows_keep_their_grid_when_the_warm_up_ends_within_one() {
    let cost = |warm_up: &str| {
        let record =
            record(&priced("", "").replace("duration: 10m", &format!("warm_up: {warm_up}\nduration: 10m")));
        let starts: Vec<f64> = record.capacity.iter().map(|row| row.start_seconds).collect();
        assert!(
            starts.iter().take(10).enumerate().all(|(n, start)| (start - 60.0 * n as f64).abs() < 1e-9),
            "{starts:?}"
        );
        record.capacity.iter().take(9).map(|row| (row.replicas_ready, row.usd_per_hour)).collect::<Vec<_>>()
    };
    for ((ready, usd), (same_ready, same_usd)) in cost("0s").into_iter().zip(cost("90s")) {
        assert!((ready - same_ready).abs() < 1e-12, "{ready} is {same_ready}");
        assert!((usd.unwrap() - same_usd.unwrap()).abs() < 1e-9, "but for rounding, {usd:?} is {same_usd:?}");
    }
}

#[test]
fn requests_that_were_held_are_not_overtaken() {
    let text = "
name: held
services:
  - name: one
    queue: {}
    deployments:
      - name: main
        model: llama-3.1-8b
        accelerator: l4
        engine: {kind: continuous-batching, max_num_seqs: 2, max_model_len: 4096, max_num_queued_reqs: 1}
traffic:
  - name: all
    requests: 300
    prompt_tokens: 50
    output_tokens: {uniform: {min: 5, max: 60}}
    arrivals: {gamma: {rate: 2/s, cv: 3}}
";
    let mut list = requests(text).1;
    list.sort_by_key(|(_, request)| request.number);
    assert!(list.iter().map(|(_, request)| request.started).is_sorted(), "first come, first served");
    assert!(
        list.iter().any(|(_, request)| request.wait().is_some_and(|wait| wait.as_secs() > 1)),
        "some waited"
    );
}

#[test]
fn written_quantiles_and_times_are_meant_exactly() {
    let text = "
name: exact
services: [{name: s, slo: {e2e: {p99.9: 67ms, p10.3: 1s}}, deployments: [{name: d, engine: {kind: concurrency, limit: 100, service_time: 67ms}}]}]
traffic: [{name: a, requests: 200, arrivals: {poisson: {rate: 8/s}}}]
";
    let quantiles: Vec<String> =
        scenario(text).settings().services[0].slo.objectives.iter().map(|o| o.quantile.to_string()).collect();
    assert_eq!(quantiles, ["0.999", "0.103"]);
    assert_eq!(record(text).summary.services[0].slo.met, Some(true), "67 ms is within 67 ms");
}

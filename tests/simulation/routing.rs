//! Routing through whole runs.

use scaletwin_core::record::Outcome;
use scaletwin_core::units::Span;

use crate::running::{record, requests, scenario, start};

/// How many of 1000 requests, ten a second, went to the first of two deployments: it answers in 1 s, the other in 2 s.
fn went_to_the_first(service: &str, first: &str, second: &str) -> usize {
    let text = format!(
        "
name: routes
services:
  - name: web
    {service}
    deployments:
      - {{name: one, {first}, engine: {{kind: concurrency, limit: 5, queue: 0, service_time: 1s}}}}
      - {{name: two, {second}, engine: {{kind: concurrency, limit: 50, queue: 0, service_time: 2s}}}}
traffic:
  - {{name: users, requests: 1000, arrivals: {{constant: {{rate: 10/s}}}}}}
"
    );
    let (record, requests) = requests(&text);
    assert_eq!(record.summary.services[0].requests.completed, 1_000);
    let first = |(_, request): &&(usize, scaletwin_core::record::Finished)| {
        request.outcome == Outcome::Completed && request.e2e() == Span::from_secs(1)
    };
    requests.iter().filter(first).count()
}

#[test]
fn a_canary_gets_its_part() {
    let canary = went_to_the_first("across: split", "weight: 1, replicas: 1", "weight: 9");
    assert!((99..=101).contains(&canary), "{canary} of 1000 at 1 to 9");
}

#[test]
fn a_failover_begins_where_the_first_is_full() {
    // Of ten requests a second, each of which takes 1 s, five find room.
    let first = went_to_the_first("across: failover", "replicas: 1", "replicas: 1");
    assert!((495..=505).contains(&first), "{first} of 1000");
    assert_eq!(went_to_the_first("across: failover", "replicas: 3", "replicas: 1"), 1_000);
}

#[test]
fn prompts_that_go_where_their_beginnings_went_are_found_in_the_cache() {
    let folder = tempfile::tempdir().expect("a folder for a test");
    // 24 groups of 100 blocks each: a replica has room for 8 of them.
    let rows = (0..800u32)
        .map(|row| format!("{},1700,20,{},1600\n", f64::from(row) * 0.25, (row * row + row / 7) % 24));
    let header = "arrival_seconds,prompt_tokens,output_tokens,prefix_group,prefix_tokens\n";
    let trace: String = std::iter::once(header.to_owned()).chain(rows).collect();
    std::fs::write(folder.path().join("trace.csv"), trace).expect("a file of a test");
    let ttft = |routing: &str| {
        let text = format!(
            "
name: prefixes
services:
  - name: chat
    routing: {routing}
    deployments:
      - name: main
        replicas: 4
        engine: {{kind: continuous-batching, max_model_len: 4000, num_gpu_blocks: 800, max_num_seqs: 16, max_num_batched_tokens: 2048, step_time: {{linear: {{base: 5ms, per_prefill_token: 100us}}}}}}
traffic:
  - {{name: users, trace: {{format: csv, path: {}}}}}
",
            folder.path().join("trace.csv").display()
        );
        let summary = record(&text).summary;
        assert_eq!(summary.services[0].requests.completed, 800);
        summary.services[0].ttft_seconds.as_ref().and_then(|latency| latency.mean).expect("tokens came")
    };
    let (affine, random) = (ttft("prefix-affinity"), ttft("random"));
    assert!(affine * 2.0 < random, "{affine} s against {random} s");
}

#[test]
fn a_zone_that_is_full_spills_over() {
    let text = "
name: zones
clusters:
  - name: here
    node_pools:
      - {name: a, instance_type: m5.large, zone: a, nodes: 1}
      - {name: b, instance_type: m5.large, zone: b, nodes: 1}
services:
  - name: web
    prefer_zone: true
    deployments:
      - {name: near, node_pool: a, replica: {cpu: 1}, engine: {kind: concurrency, limit: 5, queue: 0, service_time: 1s}}
      - {name: far, node_pool: b, replica: {cpu: 1}, engine: {kind: concurrency, limit: 50, queue: 0, service_time: 2s}}
traffic:
  - {name: users, zone: a, requests: 1000, arrivals: {constant: {rate: 10/s}}}
";
    let mut run = start(&scenario(text));
    run.keep_requests();
    while !run.run_until(scaletwin_core::units::Time::NEVER).expect("a run goes on") {}
    let near = run.take_requests().iter().filter(|(_, request)| request.e2e() == Span::from_secs(1)).count();
    assert!((495..=505).contains(&near), "{near} of 1000");
}

#[test]
fn what_crosses_zones_is_billed_and_zone_aware_routing_saves_it() {
    let bill = |prefer: bool| {
        let text = format!(
            "
name: zones
clusters:
  - name: here
    node_pools:
      - {{name: a, instance_type: m5.large, zone: a, nodes: 1}}
      - {{name: b, instance_type: m5.large, zone: b, nodes: 1}}
services:
  - name: web
    prefer_zone: {prefer}
    routing: round-robin
    cross_zone: {{usd_per_gb: 0.02, request: 1MB, response: 3MB}}
    deployments:
      - {{name: main, replicas: 2, replica: {{cpu: 1500m}}, engine: {{kind: concurrency, limit: 50, service_time: 1s}}}}
traffic:
  - {{name: users, zone: a, requests: 1000, arrivals: {{constant: {{rate: 10/s}}}}}}
"
        );
        let summary = record(&text).summary;
        let crossed = summary.services[0].cross_zone.expect("it is billed");
        let nodes: f64 = summary.node_pools.iter().filter_map(|pool| pool.cost_usd).sum();
        assert!((summary.cost.total_usd.expect("a price") - nodes - crossed.cost_usd).abs() < 1e-9);
        assert_eq!(summary.cost.cross_zone_usd, Some(crossed.cost_usd));
        (crossed.requests, crossed.gigabytes, crossed.cost_usd)
    };
    // Every other request goes to zone b, and 4 MB cross with each: 2 GB.
    let (requests, gigabytes, usd) = bill(false);
    assert_eq!(requests, 500);
    assert!((gigabytes - 2.0).abs() < 1e-12 && (usd - 0.04).abs() < 1e-12, "{gigabytes} {usd}");
    assert_eq!(bill(true), (0, 0.0, 0.0));
}

/// To which of two deployments each request went, in the order of arrival: answers of the second take longer.
fn went_to_the_second(routing: &str, rate: u32, count: u32, seed: u32) -> Vec<bool> {
    let text = format!(
        "
name: reports
seed: {seed}
clusters:
  - {{name: here, node_pools: [{{name: gpus, instance_type: g6.xlarge, nodes: 2}}]}}
services:
  - name: web
    routing: {{kind: resource-based, {routing}}}
    deployments:
      - {{name: one, replica: {{gpus: 1}}, engine: {{kind: concurrency, limit: 1000, service_time: 100s}}}}
      - {{name: two, replica: {{gpus: 1}}, engine: {{kind: concurrency, limit: 1000, service_time: 200s}}}}
traffic:
  - {{name: users, requests: {count}, arrivals: {{constant: {{rate: {rate}/s}}}}}}
"
    );
    let mut requests = requests(&text).1;
    requests.sort_by_key(|(_, request)| request.arrived);
    requests.iter().map(|(_, request)| request.e2e() > Span::from_secs(150)).collect()
}

#[test]
fn until_the_next_report_all_requests_go_to_the_one_that_had_the_least() {
    // Ten requests between two reports: once one has fewer it gets all ten, and then the other one.
    let went = went_to_the_second("refresh: 1s, running: 1", 10, 60, 1);
    let first = went.iter().position(|second| *second != went[0]).expect("both are drawn");
    let herds: Vec<&[bool]> = went.chunk_by(|one, other| one == other).collect();
    let whole: Vec<usize> = herds.iter().rev().take(3).map(|herd| herd.len()).collect();
    assert!(first < 10 && whole.iter().all(|herd| *herd == 10), "{went:?}");
    // With a report between any two requests they take turns.
    let went = went_to_the_second("refresh: 20ms, running: 1", 10, 60, 1);
    assert!(went.chunks(2).all(|pair| pair[0] != pair[1]), "{went:?}");
}

#[test]
fn what_is_reported_of_cpu_and_gpu_keeps_requests_away() {
    for seed in 0..20 {
        for routing in ["refresh: 500ms, cpu: 1", "refresh: 500ms, gpu: 1", "refresh: 1ms, running: 0.5"] {
            let went = went_to_the_second(routing, 1, 2, seed);
            assert_ne!(went[0], went[1], "{routing}: the second request goes where nothing runs");
        }
    }
    let blind = |seed: &u32| {
        let went = went_to_the_second("refresh: 9s, cpu: 1", 1, 2, *seed);
        went[0] == went[1]
    };
    assert!((0..20).filter(blind).count() > 3, "without a report between them it is a draw");
}

#[test]
fn shares_of_kv_cache_are_evened_out() {
    // 28 requests that stay, where one replica has three times the blocks of the other one.
    let text = "
name: caches
services:
  - name: chat
    routing: {kind: resource-based, kv_cache: 1}
    deployments:
      - {name: small, engine: {kind: continuous-batching, num_gpu_blocks: 400, max_model_len: 2000, step_time: {linear: {base: 100ms}}}}
      - {name: large, engine: {kind: continuous-batching, num_gpu_blocks: 1200, max_model_len: 2000, step_time: {linear: {base: 90ms}}}}
traffic:
  - {name: users, requests: 28, prompt_tokens: 160, output_tokens: 500, arrivals: {constant: {rate: 1/s}}}
";
    let small =
        |(_, request): &&(usize, scaletwin_core::record::Finished)| request.e2e() > Span::from_secs(48);
    let small = requests(text).1.iter().filter(small).count();
    assert!((6..=8).contains(&small), "{small} of 28, a quarter of them");
}

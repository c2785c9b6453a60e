//! Whose luck depends on what: components draw from streams of their own.

use scaletwin_core::record::{Finished, Outcome};
use scaletwin_core::units::{Span, Time};

use crate::running::{requests, scenario, start};

const TWO_SERVICES: &str = "
name: luck
services:
  - name: chat
    deployments: [{name: main, replicas: 2, engine: {kind: concurrency, limit: 2, service_time: {exponential: {mean: 500ms}}}}]
";

fn of(service: usize, list: &[(usize, Finished)]) -> Vec<Finished> {
    list.iter().filter(|(of, _)| *of == service).map(|(_, request)| *request).collect()
}

#[test]
fn another_service_and_stream_shift_nobodys_draws() {
    let traffic = "traffic: [{name: chats, service: chat, requests: 3000, arrivals: {poisson: {rate: 6/s}}}";
    let (_, alone) = requests(&format!("{TWO_SERVICES}\n{traffic}]"));
    let (_, beside) = requests(&format!(
        "{TWO_SERVICES}
  - name: images
    deployments: [{{name: main, engine: {{kind: concurrency, limit: 9, service_time: {{gamma: {{mean: 2s, cv: 2}}}}}}}}]
{traffic}, {{name: pictures, service: images, requests: 900, arrivals: {{gamma: {{rate: 2/s, cv: 2}}}}}}]"
    ));
    assert_eq!(of(0, &alone), of(0, &beside));
}

#[test]
fn a_replica_more_changes_waits_but_neither_arrivals_nor_service_times() {
    let text = |replicas: u32| {
        format!(
            "{}\ntraffic: [{{name: chats, requests: 3000, arrivals: {{poisson: {{rate: 6/s}}}}}}]",
            TWO_SERVICES.replace("replicas: 2", &format!("replicas: {replicas}"))
        )
    };
    let by_number = |text: &str| {
        let mut list = of(0, &requests(text).1);
        list.sort_by_key(|request| request.number);
        let work = |request: &Finished| (request.arrived, request.started.map(|at| request.ended.since(at)));
        (list.iter().map(work).collect::<Vec<_>>(), list.iter().map(|r| r.e2e().as_nanos()).sum::<u64>())
    };
    let ((two, slow), (three, fast)) = (by_number(&text(2)), by_number(&text(3)));
    assert_eq!(two, three);
    assert!(fast < slow, "three replicas wait less than two");
}

/// A service under an HPA whose bounds can be changed.
fn under_hpa(most: u32) -> String {
    format!(
        "
name: continued
duration: 20m
services:
  - name: chat
    queue: {{}}
    deployments:
      - name: main
        cold_start: {{uniform: {{min: 20s, max: 60s}}}}
        engine: {{kind: concurrency, limit: 4, queue: 0, service_time: {{lognormal: {{mean: 1s, cv: 1}}}}}}
traffic:
  - {{name: chats, arrivals: {{gamma: {{rate: 9/s, cv: 1.5}}}}}}
signals:
  active: {{series: envoy_cluster_upstream_rq_active, reduce: sum}}
policy:
  controllers:
    - {{kind: hpa, target: chat, max_replicas: {most}, metrics: [{{external: {{metric: active, average_value: 3}}}}]}}
"
    )
}

#[test]
fn continuations_under_two_policies_share_their_past_and_their_later_luck() {
    let cut = Time::ZERO + Span::from_secs(400);
    let mut past = start(&scenario(&under_hpa(3)));
    past.keep_requests();
    assert!(!past.run_until(cut).unwrap());
    let before = past.take_requests();
    let snapshot = past.snapshot(cut).unwrap();
    let ends = |text: &str| {
        let mut run = scenario(text).resume(&snapshot).expect("the scenario fits its snapshot");
        run.keep_requests();
        while !run.run_until(Time::NEVER).unwrap() {}
        let mut list = run.take_requests();
        let (record, rest) = run.close();
        list.extend(rest);
        (record, list)
    };
    let ((own, few), (other, many)) = (ends(&under_hpa(3)), ends(&under_hpa(9)));
    let (uncut, all) = requests(&under_hpa(3));
    assert_eq!(
        own.summary.record_hash, uncut.summary.record_hash,
        "its own policy goes on as if it had not been cut"
    );
    assert_eq!([before, few.clone()].concat(), all);
    assert_ne!(own.summary.record_hash, other.summary.record_hash);
    let luck = |list: &[(usize, Finished)]| {
        let mut luck: Vec<_> = list
            .iter()
            .filter(|(_, request)| request.outcome == Outcome::Completed)
            .map(|(_, r)| (r.number, r.arrived, r.started.map(|at| r.ended.since(at))))
            .collect();
        luck.sort_unstable();
        luck
    };
    assert_eq!(luck(&few), luck(&many), "the same requests with the same service times");
    let mean = |record: &scaletwin_core::record::RunRecord| {
        record.summary.services[0].e2e_seconds.as_ref().and_then(|latency| latency.mean).unwrap()
    };
    assert!(mean(&other) < mean(&own), "more replicas, less waiting");
}

#[test]
fn nodes_of_one_pool_take_as_long_whatever_other_pools_do() {
    // Two services in two clusters, each with its own provisioner; the second one only shifts run-wide numbers.
    let service = |name: &str, rate: u32| {
        format!(
            "
  - name: {name}
    queue: {{}}
    deployments:
      - name: main
        cluster: {name}
        replica: {{cpu: 3}}
        engine: {{kind: concurrency, limit: 2, queue: 0, service_time: {{exponential: {{mean: 1s}}}}}}",
        ) + &format!("|  - {{name: {name}s, service: {name}, arrivals: {{poisson: {{rate: {rate}/s}}}}}}")
    };
    let text = |names: &[&str]| {
        let parts: Vec<String> = names.iter().map(|name| service(name, 6)).collect();
        let part = |place: usize| {
            parts.iter().map(|p| p.split('|').nth(place).unwrap()).collect::<Vec<_>>().join("\n")
        };
        let clusters: Vec<String> = names
            .iter()
            .map(|name| format!("  - {{name: {name}, node_pools: [{{name: p, instance_type: m6i.xlarge, nodes: {{min: 1, max: 9}}}}]}}"))
            .collect();
        let signals: Vec<String> = names
            .iter()
            .map(|name| format!("  {name}_active: {{series: envoy_cluster_upstream_rq_active, match: {{service: {name}}}}}"))
            .collect();
        let controllers: Vec<String> = names
            .iter()
            .map(|name| format!("    - {{kind: hpa, target: {name}, max_replicas: 6, controller: {{offset: 1s}}, metrics: [{{external: {{metric: {name}_active, average_value: 2}}}}]}}\n    - {{kind: node-provisioner, cluster: {name}}}"))
            .collect();
        format!(
            "name: pools\nduration: 5m\nclusters:\n{}\nservices:{}\ntraffic:\n{}\nsignals:\n{}\npolicy:\n  controllers:\n{}\n",
            clusters.join("\n"),
            part(0),
            part(1),
            signals.join("\n"),
            controllers.join("\n")
        )
    };
    let (_, alone) = requests(&text(&["zoo"]));
    let (_, beside) = requests(&text(&["ark", "zoo"]));
    assert_eq!(of(0, &alone), of(1, &beside));
}

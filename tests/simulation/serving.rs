//! Autoscalers of serving systems and the VPA through whole runs.

use scaletwin_core::control::{Action, Resource};
use scaletwin_core::record::DecisionLine;

use crate::running::record;
use crate::timeline::scaled;

fn web(controller: &str) -> String {
    format!(
        "
name: serving
seed: 3
duration: 600s
services:
  - name: web
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1000, service_time: 1s}}
        cold_start: 43s
        readiness: {{period: 10s}}
        replica: {{cpu: 2, memory: 4Gi}}
traffic:
  - {{name: steady, clients: {{count: 4}}}}
  - {{name: more, from: 100500ms, until: 400s, clients: {{count: 12}}}}
scrape: {{interval: 1s, lag: 20s}}
signals:
  requests: {{series: envoy_cluster_upstream_rq_active, per: pod}}
policy:
  controllers:
    - {controller}
"
    )
}

/// At 130 s it sees 110 s: 16 requests in one pod, four times the target. The pods that come do not report yet, so that it
/// doubles at each look up to its most.
#[test]
fn apa_doubles_at_each_look_until_new_pods_report() {
    let controller = "{kind: aibrix, target: web, strategy: APA, metric: requests, target_value: 4, max_replicas: 10, \
                      offset: 0s}";
    let scaled = scaled(&record(&web(controller)));
    assert_eq!(scaled[..4], [(130.0, 2), (140.0, 4), (150.0, 8), (160.0, 10)]);
    assert!(scaled.iter().all(|(_, replicas)| (1..=10).contains(replicas)));
}

/// The sum over the pods is four times its average over 3 minutes soon after the load comes: it panics, and what a panic
/// wanted once is never given back while it lasts.
#[test]
fn kpa_panics_by_its_short_window() {
    let controller = "{kind: aibrix, target: web, strategy: KPA, metric: requests, target_value: 4, max_replicas: 10, \
                      offset: 0s, stable_window: 180s, panic_window: 10s}";
    let scaled = scaled(&record(&web(controller)));
    assert_eq!(scaled[..2], [(130.0, 2), (140.0, 4)]);
}

#[test]
fn the_recommender_says_what_pods_should_request_and_changes_nothing() {
    let record = record(&web("{kind: vpa, target: web, offset: 0s, min_allowed: {memory: 5Gi}}"));
    assert_eq!(scaled(&record), []);
    let last = record.decisions.lines().last().expect("a decision each minute");
    assert!(last.contains("\"RecommendationProvided\"") && last.contains("\"container main\""), "{last}");
    assert!(last.contains("\"target_memory_bytes\":5368709120.0"), "{last}");
    assert!(record.decisions.lines().next().expect("a first look").contains("NoSamples"));
}

/// Four requests a second, sixteen from 100.5 s to 400 s, and a replica serves 2.1 of them. Each 180 s the planner sees those of the
/// 180 s up to 20 s before: at 180 s 640 and 714, 7.5 a second; at 360 s 16 a second; at 540 s 720 and 720, 8 a second.
#[test]
fn the_throughput_loop_of_dynamo_buys_what_the_last_interval_needed() {
    let throughput = "{requests: started, engine_requests_per_second: 2.1}";
    let controller = format!(
        "{{kind: dynamo-planner, target: web, offset: 0s, max_kv_tokens: 1000, max_gpu_budget: -1, \
         kv_cache_usage: requests, queue_length: requests, throughput: {throughput}}}"
    );
    let started =
        "  started: {promql: 'sum(increase(dynamo_component_router_requests_started_total[180s]))'}";
    let text = web(&controller).replace("policy:", &format!("{started}\npolicy:"));
    assert_eq!(scaled(&record(&text)), [(180.0, 4), (360.0, 8), (540.0, 4)]);
}

/// Four pods of six cores for a node of 14: two run, two wait. The recommendation is one core and 1 GiB from the first look that
/// has samples on, at 60 s. The two that wait go at once, and their successors fit. Of the four that run at 120 s two may be
/// missing, and those that ask for six go.
#[test]
fn pods_far_from_their_recommendation_are_evicted_and_their_successors_fit() {
    let one = "{cpu: 1, memory: 1Gi}";
    let controller = format!(
        "{{kind: vpa, target: web, offset: 0s, apply: recreate, min_allowed: {one}, max_allowed: {one}}}\n    - {{kind: static, target: web, replicas: 4}}"
    );
    let cluster = "clusters:
  - name: here
    node_pools: [{name: all, instance_type: own, cpu: 14, memory: 64Gi, nodes: 1, price_usd_per_hour: 1}]
services:";
    let text = web(&controller)
        .replace("services:", cluster)
        .replace("replica: {cpu: 2, memory: 4Gi}", "replicas: 2\n        replica: {cpu: 6, memory: 4Gi}");
    let record = record(&text);
    let mut told = Vec::new();
    let mut gone = Vec::new();
    for line in record.decisions.lines() {
        let line: DecisionLine<'_> = serde_json::from_str(line).expect("a decision");
        for action in line.actions.iter() {
            match action {
                Action::SetRequests { requests, .. } => told.push((line.t_seconds, requests.clone())),
                Action::Evict { pod, .. } => gone.push((line.t_seconds, pod.clone())),
                _ => {}
            }
        }
    }
    let new = vec![(Resource::Cpu, 1_000), (Resource::Memory, 1_000 << 30)];
    assert_eq!(told, [(60.0, new.clone()), (120.0, new)]);
    let gone: Vec<(f64, &str)> = gone.iter().map(|(at, pod)| (*at, &pod[pod.len() - 2..])).collect();
    assert_eq!(gone, [(60.0, "-2"), (60.0, "-3"), (120.0, "-0"), (120.0, "-1")]);
    let main = &record.summary.services[0].deployments[0];
    assert_eq!((main.replicas.min, main.replicas.max), (2, 4), "two are ready, and four in the end");
}

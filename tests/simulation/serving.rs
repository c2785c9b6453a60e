//! Autoscalers of serving systems and the recommender of the VPA through whole runs.

use scaletwin_core::control::Action;
use scaletwin_core::record::{DecisionLine, RunRecord};

use crate::running::record;

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

fn scaled(record: &RunRecord) -> Vec<(f64, i32)> {
    let mut list = Vec::new();
    for line in record.decisions.lines() {
        let line: DecisionLine<'_> = serde_json::from_str(line).expect("a decision");
        for action in line.actions.iter() {
            if let Action::SetReplicas { replicas, .. } = action {
                list.push((line.t_seconds, *replicas));
            }
        }
    }
    list
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

//! llm-d's Workload Variant Autoscaler over an HPA, checked by hand: the wanted number passes through scrapes, and the HPA
//! follows at its own pace, so that its windows damp what is damped already.
//!
//! Four clients from the start and four more from 100.5 s to 400 s always have one request each in the system. A replica is
//! saturated by ten requests, and fewer than three to spare call for one more. WVA looks at 0 s, 30 s, …, the HPA at 0 s,
//! 15 s, …; exporters are scraped each second, and what either sees is 20 s old.
//!
//! - At 120 s WVA sees 100 s: 4, six to spare. At 150 s it sees 130 s: 8, two to spare: it wants two replicas.
//! - At 165 s the HPA sees 145 s: one is wanted. At 180 s it sees 160 s: two.
//! - Without windows it scales up at 180 s. The second replica is ready at 230 s. WVA holds still while it does not see
//!   two: until 240 s, when it sees 220 s. From 270 s on it sees four requests in each, six to spare: it keeps two.
//! - At 420 s it sees 400 s, a scrape within the second before: 8. At 450 s it sees 4, and that one replica would have six
//!   to spare: it wants one. The HPA sees that at 480 s, and without windows scales down at once.
//! - With windows of 240 s one replica is recommended until 165 s, so that the HPA scales up at 405 s, when the load is gone.
//!   The second replica is ready at 455 s; WVA sees it at 480 s and wants one. The HPA sees two wanted until 495 s, and
//!   scales down at 735 s.

use scaletwin_core::control::Action;
use scaletwin_core::record::{DecisionLine, RunRecord};
use scaletwin_policies::numerics::go::int32;

use crate::running::record;

fn scenario(window: &str) -> String {
    format!(
        "
name: double-damping
seed: 3
duration: 900s
services:
  - name: web
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1000, service_time: 1s}}
        cold_start: 43s
        readiness: {{period: 10s}}
traffic:
  - {{name: steady, clients: {{count: 4}}}}
  - {{name: more, from: 100500ms, until: 400s, clients: {{count: 4}}}}
scrape: {{interval: 1s, lag: 20s}}
signals:
  requests: {{series: envoy_cluster_upstream_rq_active, per: pod}}
  no_cache: {{series: http_requests_total, match: {{status: 4xx}}, per: pod}}
  wva_desired_replicas: {{series: wva_desired_replicas}}
policy:
  controllers:
    - kind: wva
      variants: [{{target: web}}]
      offset: 0s
      kv_cache_usage: no_cache
      queue_length: requests
      queue_length_threshold: 10
    - kind: hpa
      target: web
      max_replicas: 10
      controller: {{offset: 0s}}
      metrics:
        - external: {{metric: wva_desired_replicas, selector: {{variant_name: main}}, average_value: 1}}
      behavior: {{scale_up: {{stabilization_window: {window}}}, scale_down: {{stabilization_window: {window}}}}}
"
    )
}

/// Numbers of replicas with the instants of their setting, seconds.
type Settings = Vec<(f64, i32)>;

/// What was decided when, and what it set: replicas by the HPA, wanted numbers by WVA where they change.
fn set(record: &RunRecord) -> (Settings, Settings) {
    let (mut scaled, mut wanted) = (Settings::new(), Settings::new());
    for line in record.decisions.lines() {
        let line: DecisionLine<'_> = serde_json::from_str(line).expect("a decision");
        for action in line.actions.iter() {
            match action {
                Action::SetReplicas { replicas, .. } => scaled.push((line.t_seconds, *replicas)),
                Action::PublishSignal { value, .. } => {
                    let value = int32(*value);
                    if wanted.last().is_none_or(|last| last.1 != value) {
                        wanted.push((line.t_seconds, value));
                    }
                }
                _ => {}
            }
        }
    }
    (scaled, wanted)
}

#[test]
fn without_windows_the_hpa_follows_one_metric_lag_behind() {
    let (scaled, wanted) = set(&record(&scenario("0s")));
    assert_eq!(wanted, [(0.0, 1), (150.0, 2), (450.0, 1)]);
    assert_eq!(scaled, [(180.0, 2), (480.0, 1)]);
}

#[test]
fn with_windows_it_scales_up_for_a_load_that_is_gone() {
    let (scaled, wanted) = set(&record(&scenario("240s")));
    assert_eq!(wanted, [(0.0, 1), (150.0, 2), (480.0, 1)]);
    assert_eq!(scaled, [(405.0, 2), (735.0, 1)]);
}

#[test]
fn a_selector_that_no_variant_has_finds_nothing() {
    let text = scenario("0s").replace("variant_name: main", "variant_name: other");
    let record = record(&text);
    assert_eq!(set(&record).0, []);
    assert!(record.decisions.contains("FailedGetExternalMetric"));
    assert!(!record.decisions.contains("ValidMetricFound"));
}

/// Four clients up to 100 s, and again from 400.5 s to 420 s. Answered in the last minute: some up to the look of 150 s, none at
/// 180 s, where WVA wants none. The HPA sees that at 195 s. At 400.5 s a request is held: WVA brings one replica up itself, ready at
/// 443.5 s; the four are answered at 444.5 s. At 480 s that was within a minute, at 510 s it was not, and the HPA follows at 525 s.
#[test]
fn it_scales_to_zero_when_nobody_asks_and_from_zero_by_itself() {
    let text = "
name: zero
seed: 3
duration: 600s
end: cut
services:
  - name: web
    queue: {}
    deployments:
      - {name: main, engine: {kind: concurrency, limit: 1000, service_time: 1s}, cold_start: 43s}
traffic:
  - {name: first, until: 100s, clients: {count: 4}}
  - {name: second, from: 400500ms, until: 420s, clients: {count: 4}}
scrape: {interval: 1s, lag: 0s}
signals:
  requests: {series: envoy_cluster_upstream_rq_active, per: pod}
  no_cache: {series: http_requests_total, match: {status: 4xx}, per: pod}
  answered: {promql: 'sum(increase(http_requests_total{status=\"2xx\"}[1m]))'}
  wva_desired_replicas: {series: wva_desired_replicas}
policy:
  controllers:
    - {kind: wva, variants: [{target: web}], offset: 0s, kv_cache_usage: no_cache, queue_length: requests,
       queue_length_threshold: 10, scale_to_zero: {requests: answered}}
    - kind: hpa
      target: web
      min_replicas: 0
      max_replicas: 10
      controller: {offset: 0s, scale_to_zero: true}
      metrics: [{external: {metric: wva_desired_replicas, selector: {variant_name: main}, average_value: 1}}]
      behavior: {scale_down: {stabilization_window: 0s}}
";
    let record = record(text);
    let (scaled, wanted) = set(&record);
    assert_eq!(wanted, [(0.0, 1), (180.0, 0), (400.5, 1), (510.0, 0)]);
    assert_eq!(scaled, [(195.0, 0), (400.5, 1), (525.0, 0)]);
    assert_eq!(record.summary.services[0].requests.unfinished, 0);
}

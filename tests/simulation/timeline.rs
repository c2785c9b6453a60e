//! A HorizontalPodAutoscaler through the whole simulator, checked by hand: metric lag, cold start, readiness, and a
//! stabilization window of 300 s.
//!
//! Four clients from the start and twelve more from 100.5 s to 400 s always have one request each in the system, so the
//! gauge summed over the pods is 4, then 16, then 4. The target is 4 for each replica. The controller looks at 0 s, 15 s, …;
//! exporters are scraped each second, and what the controller sees is 20 s old.
//!
//! - At 120 s it sees what was at 100 s: 4. At 135 s it sees 115 s: 16, four replicas.
//! - The three new replicas can serve after 43 s, at 178 s. Probes run every 10 s from 135 s on: ready at 185 s.
//! - At 420 s it sees 400 s, a scrape within the second before: 16 still. At 435 s it sees 415 s: 4, one replica.
//! - The last recommendation of four replicas is of 420 s. With `behavior`, a recommendation counts while it is younger than
//!   the window: four replicas until 705 s, one at 720 s. Without, one as old as the window counts, too: one at 735 s.

use scaletwin_core::control::Action;
use scaletwin_core::record::{DecisionLine, RunRecord};

use crate::running::record;

fn scenario(behavior: &str) -> String {
    format!(
        "
name: by-hand
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
  - {{name: more, from: 100500ms, until: 400s, clients: {{count: 12}}}}
scrape: {{interval: 1s, lag: 20s}}
signals:
  active: {{series: envoy_cluster_upstream_rq_active, reduce: sum}}
policy:
  controllers:
    - kind: hpa
      target: web
      max_replicas: 10
      controller: {{offset: 0s}}
      {behavior}
      metrics: [{{external: {{metric: active, average_value: 4}}}}]
"
    )
}

/// What was set when.
pub(crate) fn scaled(record: &RunRecord) -> Vec<(f64, i32)> {
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

/// The codes of the reasons about `subject`, each with its instant.
pub(crate) fn codes(record: &RunRecord, subject: &str) -> Vec<(f64, String)> {
    let lines = record.decisions.lines();
    let lines = lines.map(|line| serde_json::from_str::<DecisionLine<'_>>(line).expect("a decision"));
    let codes = |line: DecisionLine<'_>| -> Vec<(f64, String)> {
        let about = line.reasons.iter().filter(|reason| reason.subject == subject);
        about.map(|reason| (line.t_seconds, reason.code.clone())).collect()
    };
    lines.flat_map(codes).collect()
}

/// Replicas wanted and ready on average in the minute that begins at `start`.
fn replicas(record: &RunRecord, start: f64) -> (f64, f64) {
    let row = record.capacity.iter().find(|row| (row.start_seconds - start).abs() < 1e-9).expect("a window");
    (row.replicas_wanted, row.replicas_ready)
}

#[test]
fn a_window_of_300_s_holds_replicas_as_computed_by_hand() {
    let record = record(&scenario("behavior: {scale_down: {stabilization_window: 300s}}"));
    assert_eq!(scaled(&record), [(135.0, 4), (720.0, 1)]);
    assert_eq!(replicas(&record, 60.0), (1.0, 1.0));
    assert_eq!(replicas(&record, 120.0), ((15.0 + 4.0 * 45.0) / 60.0, 1.0));
    assert_eq!(replicas(&record, 180.0), (4.0, (5.0 + 4.0 * 55.0) / 60.0));
    assert_eq!(replicas(&record, 660.0), (4.0, 4.0));
    assert_eq!(replicas(&record, 720.0), (1.0, 1.0));
    let main = &record.summary.services[0].deployments[0];
    assert_eq!((main.scale_ups, main.scale_downs, main.cold_starts.count), (1, 1, 3));
    assert_eq!(main.scale_up_latency_seconds.max, Some(50.0));
}

#[test]
fn without_behavior_a_recommendation_as_old_as_the_window_still_counts() {
    assert_eq!(scaled(&record(&scenario(""))), [(135.0, 4), (735.0, 1)]);
}

#[test]
fn the_reasons_are_the_controllers_own() {
    let record = record(&scenario("behavior: {scale_down: {stabilization_window: 300s}}"));
    let at = |seconds: &str| {
        let start = format!("{{\"t_seconds\":{seconds},");
        record
            .decisions
            .lines()
            .find(|line| line.starts_with(&start))
            .expect("a decision at each look")
            .to_owned()
    };
    assert!(at("135.0").contains("SucceededRescale"));
    assert!(at("435.0").contains("ScaleDownStabilized"));
    assert!(at("705.0").contains("ScaleDownStabilized"));
    assert!(at("720.0").contains("SucceededRescale"));
}

#[test]
fn the_last_window_of_a_run_that_is_cut_has_the_requests_that_are_cut_off() {
    let text = "
name: cut
duration: 90s
end: cut
services:
  - name: one
    deployments: [{name: main, replicas: 1, engine: {kind: concurrency, limit: 2, service_time: 1h}}]
traffic: [{name: all, requests: 5, arrivals: {constant: {rate: 1/s}}}]
";
    let rows = record(text).capacity;
    let requests: Vec<_> = rows.iter().map(|row| (row.in_system, row.waiting)).collect();
    assert_eq!(requests, [(5, 3), (5, 3)]);
}

//! Our own rules, cloud autoscalers, composites and guards through whole runs, checked by hand.
//!
//! Four clients from the start and twelve more from 100.5 s to 400 s always have one request each in the system, so that
//! `pending` is 4, then 16, then 4. It is scraped each second and seen at once. Policies look at 0 s, 15 s, … or 0 s, 60 s, …;
//! before the first scrape there is no value.

use scaletwin_core::units::{Span, Time};

use crate::running::{record, scenario, start};
use crate::snapshots::bytes;
use crate::timeline::scaled;

fn text(policy: &str) -> String {
    format!(
        "
name: rules-by-hand
seed: 3
duration: 900s
start: 2024-01-01T00:00:00Z
clusters:
  - name: here
    node_pools:
      - {{name: box, instance_type: own, cpu: 8, memory: 64Gi, price_usd_per_hour: 3.6, nodes: {{min: 1, max: 4}}, provisioning: 30s}}
services:
  - name: web
    queue: {{}}
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1000, service_time: 1s}}
        cold_start: 20s
        replica: {{cpu: 1}}
traffic:
  - {{name: steady, clients: {{count: 4}}}}
  - {{name: more, from: 100500ms, until: 400s, clients: {{count: 12}}}}
scrape: {{interval: 1s, lag: 0s}}
signals:
  pending: {{series: interceptor_pending_request_count}}
policy:
{policy}
"
    )
}

fn acts(policy: &str) -> Vec<(f64, i32)> {
    scaled(&record(&text(policy)))
}

const THRESHOLD: &str = "  controllers:
    - kind: threshold
      target: web
      max_replicas: 6
      offset: 0s
      rules:
        - {signal: pending, above: 8, percent: 50, cooldown: 60s}
        - {signal: pending, below: 5, step: 2, for: 30s, cooldown: 5m}";

#[test]
fn thresholds_step_pause_and_keep_to_their_bounds() {
    // From 105 s on it is above 8: half of the present replicas, rounded up, once a minute, to 6 at most. Below 5 from 405 s on;
    // it has held for 30 s at 435 s, and again after a pause of 300 s.
    assert_eq!(acts(THRESHOLD), [(105.0, 2), (165.0, 3), (225.0, 5), (285.0, 6), (435.0, 4), (735.0, 2)]);
}

#[test]
fn a_schedule_sets_replicas_at_its_edges_and_restores_them() {
    let schedule = "  controllers:
    - kind: schedule
      target: web
      windows: [{start: 2 0 * * *, end: 5 0 * * *, replicas: 5}]";
    assert_eq!(acts(schedule), [(120.0, 5), (300.0, 1)]);
}

#[test]
fn an_idle_target_goes_to_zero_after_its_checks_and_comes_back_at_the_first_request() {
    let idle = "  controllers:
    - {kind: idle, target: web, signal: pending, idle_for: 60s, offset: 0s}";
    let quiet = text(idle)
        .replace("{name: steady, clients: {count: 4}}", "{name: steady, from: 600s, clients: {count: 4}}");
    // Idle from 405 s on; but first from 15 s to 75 s. Requests come at 100.5 s and at 600 s.
    assert_eq!(scaled(&record(&quiet)), [(75.0, 0), (100.5, 1), (465.0, 0), (600.0, 1)]);
}

#[test]
fn a_condition_in_cel_changes_replicas_or_only_says_so() {
    let condition = |what: &str| {
        format!(
            "  controllers:
    - kind: condition
      target: web
      name: late
      signals: [pending]
      when: pending > 8.0 && replicas < 3
      offset: 0s{what}"
        )
    };
    assert_eq!(acts(&condition("\n      add: 1")), [(105.0, 2), (165.0, 3)]);
    let alert = record(&text(&condition("")));
    assert_eq!(scaled(&alert), []);
    assert!(alert.decisions.contains("\"code\":\"Alert\""));
}

#[test]
fn target_tracking_waits_for_three_points_and_counts_what_its_last_step_added() {
    let tracking = "  controllers:
    - {kind: aws-target-tracking, target: web, signal: pending, target_value: 4, max_replicas: 9, offset: 0s,
       low_points: 3, low_share: 1}";
    // Points at 120 s, 180 s and 240 s are 16: 4 replicas. Until 540 s another 4 x would be 4 again. Never below 4.
    assert_eq!(acts(tracking), [(240.0, 4)]);
}

#[test]
fn steps_grow_with_the_distance_from_the_threshold() {
    let steps = "  controllers:
    - {kind: aws-step-scaling, target: web, signal: pending, threshold: 8, max_replicas: 9, offset: 0s,
       steps: [{lower: 0, upper: 5, change: 1}, {lower: 5, change: 3}]}";
    assert_eq!(acts(steps), [(120.0, 4)]);
    let percent =
        steps.replace("threshold: 8", "threshold: 8, adjustment: PercentChangeInCapacity, min_adjustment: 2");
    assert_eq!(acts(&percent), [(120.0, 3)]);
}

#[test]
fn an_instance_pool_steps_after_three_points_and_rests() {
    let oci = "  controllers:
    - {kind: oci, target: web, signal: pending, scale_out_above: 8, add: 2, scale_in_below: 5, max_replicas: 9, offset: 0s}";
    // Three points up to 240 s; it rests until 540 s, when three points up to there are low.
    assert_eq!(acts(oci), [(240.0, 3), (540.0, 2), (840.0, 1)]);
}

#[test]
fn of_several_policies_the_largest_or_the_smallest_counts() {
    let composite = |combine: &str| {
        format!(
            "  controllers:
    - kind: composite
      combine: {combine}
      offset: 0s
      of:
        - kind: threshold
          target: web
          max_replicas: 6
          rules: [{{signal: pending, above: 8, step: 3, cooldown: 10m}}, {{signal: pending, below: 5, step: 9}}]
        - {{kind: static, target: web, replicas: 2}}"
        )
    };
    assert_eq!(acts(&composite("largest")), [(0.0, 2), (105.0, 5), (405.0, 2)]);
    assert_eq!(acts(&composite("smallest")), [(105.0, 2), (405.0, 1)]);
}

#[test]
fn a_fallback_takes_over_while_the_primary_fails() {
    let composite = "  controllers:
    - kind: composite
      combine: primary-with-fallback
      failures: 2
      offset: 0s
      of:
        - {kind: hpa, target: web, max_replicas: 9, metrics: [{external: {metric: pending, average_value: 4}}]}
        - {kind: static, target: web, replicas: 3}";
    // Seen 60 s late, the metric fails at 0 s, 15 s, 30 s and 45 s; the second failure is at 15 s.
    let late = text(composite).replace("lag: 0s", "lag: 60s");
    assert_eq!(scaled(&record(&late))[0], (15.0, 3));
}

/// What the guards let through: replicas wanted on average in the minute that begins at `start`.
fn wanted(policy: &str, start: f64) -> f64 {
    let record = record(&text(policy));
    let row = record.capacity.iter().find(|row| (row.start_seconds - start).abs() < 1e-9).expect("a window");
    row.replicas_wanted
}

const TO_SIX: &str = "  controllers: [{kind: static, target: web, replicas: 6}]\n  guards: ";

#[test]
fn guards_cut_what_controllers_want() {
    let limited = |limit: &str| wanted(&format!("{TO_SIX}[{{kind: limits, {limit}}}]"), 60.0);
    assert_eq!((limited("replicas: 4"), limited("cores: 3"), limited("gpus: 3")), (4.0, 3.0, 6.0));
    // Two at 0 s, two more at 60 s, and the last one at 120 s.
    let slow = format!("{TO_SIX}[{{kind: rate-of-change, up: 2, per: 60s}}]");
    assert_eq!((wanted(&slow, 0.0), wanted(&slow, 60.0), wanted(&slow, 120.0)), (3.0, 5.0, 6.0));
    let frozen =
        format!("{TO_SIX}[{{kind: freeze, from: 2024-01-01T00:00:00Z, until: 2024-01-01T00:02:00Z}}]");
    assert_eq!((wanted(&frozen, 60.0), wanted(&frozen, 120.0)), (1.0, 6.0));
}

#[test]
fn a_budget_goes_through_its_stages_and_begins_anew() {
    // One node of 3.6 USD an hour is 0.06 USD a minute. A budget of 0.3 USD for 10 min: half is spent at 150 s, all at 300 s.
    let policy = "  controllers:
    - {kind: schedule, target: web, windows: [{start: 4 0 * * *, end: 6 0 * * *, replicas: 3}, {start: 11 0 * * *, end: 13 0 * * *, replicas: 2}]}
    - {kind: condition, target: web, name: look, when: replicas >= 0, offset: 0s}
  guards:
    - {kind: budget, usd: 0.3, per: 10m, stages: [{at: 0.5, do: notify}, {at: 0.7, do: require-approval}, {at: 1, do: stop}]}";
    let open = text(policy)
        .replace("clients: {count: 4}", "arrivals: {constant: {rate: 1/s}}")
        .replace("clients: {count: 12}", "arrivals: {constant: {rate: 1/s}}");
    let record = record(&open);
    let said = |code: &str| record.decisions.matches(&format!("\"code\":\"{code}\"")).count();
    assert_eq!((said("notify"), said("WaitsForApproval")), (2, 1), "once a period; once in all");
    assert!(record.decisions.contains("\"admission\":\"stop\""), "at 300 s");
    assert!(record.decisions.contains("\"admission\":\"admit\""), "at 600 s");
    assert!(record.summary.services[0].requests.rejected > 0);
    // What was wanted at 240 s was dropped; at 660 s a new period has begun.
    let row = |start: f64| {
        record.capacity.iter().find(|row| (row.start_seconds - start).abs() < 1e-9).expect("a window")
    };
    assert_eq!((row(300.0).replicas_wanted, row(660.0).replicas_wanted), (1.0, 2.0));
}

#[test]
fn rules_and_guards_go_on_from_a_snapshot_as_if_nothing_had_happened() {
    let guards = "\n  guards:
    - {kind: rate-of-change, up: 1, down: 1, per: 2m}
    - {kind: budget, usd: 0.3, per: 10m, stages: [{at: 0.5, do: shed}]}";
    let scenario = scenario(&text(&format!("{THRESHOLD}{guards}")));
    let whole = start(&scenario).finish().expect("a run comes to its end");
    for seconds in [50, 110, 170, 301, 440] {
        let at = Time::ZERO + Span::from_secs(seconds);
        let mut run = start(&scenario);
        run.run_until(at).expect("a run gets there");
        let snapshot = run.snapshot(at).expect("a run can be written");
        let resumed = scenario.resume(&snapshot).expect("its own snapshot fits").finish();
        assert_eq!(bytes(&resumed.expect("a run comes to its end")), bytes(&whole), "cut at {seconds} s");
    }
}

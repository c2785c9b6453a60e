//! KEDA through the whole simulator, checked by hand: from 0 to 1, to 4, and back to 0, by two controllers.
//!
//! Four clients come at 100.5 s and go at 400 s; sixteen in all from 200.5 s on. Requests wait at the gateway until there is a
//! replica, so `interceptor_pending_request_count` is 0, then 4, then 16, then 0 at once when the clients go. It is scraped each second,
//! and seen at once. KEDA polls at 0 s, 30 s, …; the HPA that it generates looks at 0 s, 15 s, …
//!
//! - At 0 s the object was never active and its initial cooldown is nothing: from 1 replica to 0.
//! - At 120 s the poll sees 4: to 1. The HPA saw 0 replicas at that instant and is inert.
//! - At 135 s the HPA sees 4 for 1 replica with a target of 4: stays. At 210 s it sees 16: 4 replicas.
//! - At 420 s the poll sees 0. The last active poll was at 390 s; strictly more than 60 s later is 480 s: to 0.

use scaletwin_core::units::{Span, Time};
use scaletwin_scenarios::Scenario;

use crate::running::{record, scenario, start};
use crate::snapshots::bytes;
use crate::timeline::scaled as acts;

fn text(more: &str) -> String {
    format!(
        "
name: keda-by-hand
seed: 3
duration: 900s
end: cut
services:
  - name: web
    queue: {{}}
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1000, service_time: 1s}}
        cold_start: 20s
traffic:
  - {{name: some, from: 100500ms, until: 400s, clients: {{count: 4}}}}
  - {{name: more, from: 200500ms, until: 400s, clients: {{count: 12}}}}
scrape: {{interval: 1s, lag: 0s}}
signals:
  pending: {{series: interceptor_pending_request_count}}
  active: {{series: envoy_cluster_upstream_rq_active, reduce: sum}}
policy:
  controllers:
    - kind: keda
      target: web
      max_replicas: 10
      offset: 0s
      controller: {{offset: 0s}}
      {more}
"
    )
}

const BY_HAND: &str = "cooldown_period: 60s\n      triggers: [{prometheus: {signal: pending, threshold: 4}}]";

#[test]
fn from_zero_to_one_to_four_to_zero_as_computed_by_hand() {
    let record = record(&text(BY_HAND));
    assert_eq!(acts(&record), [(0.0, 0), (120.0, 1), (210.0, 4), (480.0, 0)]);
    assert_eq!(record.summary.services[0].requests.unfinished, 0);
}

#[test]
fn a_push_trigger_wakes_at_the_first_request_and_does_not_wait_for_a_poll() {
    let trigger = "triggers: [{external_push: {signal: pending, threshold: 4}}]";
    let record = record(&text(&format!("cooldown_period: 60s\n      {trigger}")));
    // Without a first scrape the trigger fails, and without a fallback nothing is done.
    assert_eq!(acts(&record)[..2], [(30.0, 0), (100.5, 1)]);
}

#[test]
fn an_initial_cooldown_keeps_an_object_that_was_never_active() {
    let more = format!("initial_cooldown_period: 45s\n      {BY_HAND}");
    assert_eq!(acts(&record(&text(&more)))[..2], [(60.0, 0), (120.0, 1)]);
}

#[test]
fn an_empty_answer_reads_as_zero_and_takes_away_the_only_replica_that_could_answer() {
    let of_replicas = |more: &str| {
        let trigger = format!("triggers: [{{prometheus: {{signal: active, threshold: 4{more}}}}}]");
        text(&format!("cooldown_period: 60s\n      {trigger}")).replace("from: 100500ms", "from: 0s")
    };
    // At 0 s nothing has been scraped: the answer is empty, which is 0. From then on there is no exporter to scrape.
    let lost = scenario(&of_replicas(""));
    assert!(lost.warnings().to_string().contains("nothing wakes it"), "{}", lost.warnings());
    let lost = start(&lost).finish().expect("a run comes to its end");
    assert_eq!(acts(&lost), [(0.0, 0)]);
    assert!(lost.summary.services[0].requests.unfinished > 0);
    // As an error it does no harm.
    let kept = record(&of_replicas(", ignore_null_values: false"));
    assert_eq!(acts(&kept), [(210.0, 4), (480.0, 0)]);
    assert_eq!(kept.summary.services[0].requests.unfinished, 0);
}

#[test]
fn a_cooldown_shorter_than_the_cold_start_kills_each_replica_while_it_loads_its_model() {
    // A request each ten minutes, given up after 35 s. The poll 10 s after it wakes the target, which is loaded 240 s later.
    let text = |cooldown: &str| {
        format!(
            "
name: never-up
seed: 3
duration: 3600s
services:
  - name: web
    queue: {{}}
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 10, service_time: 1s}}
        cold_start: 240s
        replicas: 0
traffic:
  - {{name: user, arrivals: {{constant: {{rate: 6/h}}}}, client: {{timeout: 35s}}}}
scrape: {{interval: 1s, lag: 0s}}
signals:
  pending: {{series: interceptor_pending_request_count}}
policy:
  controllers:
    - {{kind: keda, target: web, offset: 10s, cooldown_period: {cooldown}, controller: {{offset: 0s}},
       triggers: [{{prometheus: {{signal: pending, threshold: 4}}}}]}}
"
        )
    };
    // Active at 610 s; strictly more than 100 s later it is 730 s, and the replica goes half loaded. So each time.
    let killed = record(&text("100s"));
    assert_eq!(acts(&killed)[..4], [(610.0, 1), (730.0, 0), (1210.0, 1), (1330.0, 0)]);
    let web = &killed.summary.services[0];
    assert_eq!((web.requests.completed, web.deployments[0].cold_starts.count), (0, 0));
    // One that outlasts the gap serves each second request. The request that is served in a second lies between two polls and
    // does not count as active: 610 s and 700 s later it is 1330 s.
    let kept = record(&text("700s"));
    assert_eq!(acts(&kept)[..3], [(610.0, 1), (1330.0, 0), (1810.0, 1)]);
    assert_eq!(kept.summary.services[0].requests.completed, 2);
}

#[test]
fn a_failing_trigger_falls_back_after_more_failures_than_its_threshold() {
    // The replica's exporter is seen 600 s late: no answer until then, which is an error.
    let more = "min_replicas: 1\n      fallback: {failure_threshold: 3, replicas: 6}\n      \
                triggers: [{prometheus: {signal: active, threshold: 4, ignore_null_values: false}}]";
    let late = text(more).replace("lag: 0s", "lag: 600s");
    // The HPA asks at 0 s, 15 s, 30 s and 45 s; the fourth failure is one more than three.
    assert_eq!(acts(&record(&late))[0], (45.0, 4), "six, but at most four at once without behavior");
    assert_eq!(acts(&record(&late))[1], (60.0, 6));
}

#[test]
fn the_hpa_sees_a_cached_metric_as_old_as_the_last_poll() {
    let cached = BY_HAND.replace("threshold: 4", "threshold: 4, use_cached_metrics: true");
    // The poll of 210 s comes after the look of the HPA at 210 s, which sees the 4 of the poll at 180 s; at 225 s it sees 16.
    assert_eq!(acts(&record(&text(&cached)))[..3], [(0.0, 0), (120.0, 1), (225.0, 4)]);
}

#[test]
fn a_formula_makes_one_metric_of_all_triggers() {
    let more = "cooldown_period: 60s\n      \
        scaling_modifiers: {formula: \"max(pending, office * 2)\", target: 4, activation_target: 3}\n      \
        triggers:\n        - {prometheus: {name: pending, signal: pending, threshold: 1}}\n        \
        - {cron: {name: office, timezone: UTC, start: 5 0 * * *, end: 10 0 * * *, desired_replicas: 4}}";
    // Outside its time the office counts 1, and 2 is not above 3. From 300 s to 600 s it counts 4 x 2 = 8: two replicas, held up
    // by the four of 390 s. The last active poll is that of 570 s.
    let acts = acts(&record(&text(more)));
    assert_eq!(acts, [(0.0, 0), (120.0, 1), (210.0, 4), (660.0, 0)]);
}

#[test]
fn keda_goes_on_from_a_snapshot_as_if_nothing_had_happened() {
    let scenario = scenario(&text(BY_HAND));
    let whole = start(&scenario).finish().expect("a run comes to its end");
    for seconds in [100, 130, 215, 470] {
        let mut run = start(&scenario);
        let at = Time::ZERO + Span::from_secs(seconds);
        run.run_until(at).expect("a run gets there");
        let snapshot = run.snapshot(at).expect("a run can be written");
        let resumed = scenario.resume(&snapshot).expect("its own snapshot fits").finish();
        assert_eq!(bytes(&resumed.expect("a run comes to its end")), bytes(&whole), "cut at {seconds} s");
    }
}

#[test]
fn a_trigger_decides_by_a_query_as_by_the_equal_series() {
    let query = text(BY_HAND).replace(
        "{series: interceptor_pending_request_count}",
        "{promql: 'sum(interceptor_pending_request_count)'}",
    );
    assert_eq!(record(&query).decisions, record(&text(BY_HAND)).decisions);
}

#[test]
fn an_inference_service_decides_as_the_scaled_object_that_it_becomes() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = "
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: web
  annotations: {serving.kserve.io/deploymentMode: RawDeployment, serving.kserve.io/autoscalerClass: keda}
spec:
  predictor:
    minReplicas: 0
    maxReplicas: 10
    model: {modelFormat: {name: huggingface}}
    autoScaling:
      metrics:
        - type: External
          external:
            metric: {backend: prometheus, query: sum(interceptor_pending_request_count)}
            target: {type: Value, value: '4'}
";
    std::fs::write(folder.path().join("isvc.yaml"), service).expect("a file");
    let read = |text: &str| {
        Scenario::parse("test.yaml", text, folder.path()).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let object = text("triggers: [{prometheus: {signal: pending, threshold: 4}}]");
    let kserve = object
        .replace(
            "kind: keda",
            "kind: kserve\n      manifest: isvc.yaml\n      bind: {s0-prometheus: pending}",
        )
        .replace("      max_replicas: 10\n", "")
        .replace("      triggers: [{prometheus: {signal: pending, threshold: 4}}]\n", "");
    let record = start(&read(&kserve)).finish().expect("a run comes to its end");
    assert_eq!(acts(&record)[..3], [(0.0, 0), (120.0, 1), (210.0, 4)]);
    assert_eq!(record.decisions, start(&read(&object)).finish().expect("it ends").decisions);
}

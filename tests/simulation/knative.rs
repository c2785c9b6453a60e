//! Knative's pod autoscaler through the whole simulator, checked by hand.
//!
//! Clients of a closed loop have one request each in the system all the time, so the concurrency of a second is the number
//! of clients. The autoscaler decides at 0 s, 2 s, …, of samples taken each second at an offset o below a second.

use scaletwin_core::record::RunRecord;

use crate::running::record;
use crate::timeline::{codes, scaled};

fn scenario(traffic: &str, more: &str) -> String {
    format!(
        "
name: knative
seed: 5
duration: 500s
end: cut
services:
  - name: web
    queue: {{}}
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1000, service_time: 1s}}
        cold_start: 5s
traffic: {traffic}
policy:
  controllers:
    - kind: knative
      target: web
      offset: 0s
      {more}
"
    )
}

fn replicas(record: &RunRecord) -> Vec<i32> {
    scaled(record).into_iter().map(|(_, replicas)| replicas).collect()
}

const TEN: &str = "annotations: {target: 10, target_utilization_percentage: 100}";

/// 25 requests at once are 3 pods of 10. With one pod ready that is three times as many: it panics until the pods are there
/// at 7 s, that is at 2 s, 4 s and 6 s, and for the 60 s after the last of these; at 66 s they are not over yet.
#[test]
fn steady_load_reaches_the_pods_that_it_needs() {
    let record = record(&scenario("[{name: steady, clients: {count: 25}}]", TEN));
    assert_eq!(scaled(&record), [(2.0, 3)]);
    let panics = codes(&record, "Scale");
    let at = |code: &str| panics.iter().filter(|(_, is)| is == code).map(|(t, _)| *t).collect::<Vec<_>>();
    assert_eq!(at("NoData"), [0.0]);
    assert_eq!(at("Panic"), (1..=33).map(|tick| f64::from(tick) * 2.0).collect::<Vec<_>>());
    assert_eq!(at("Stable").first(), Some(&68.0));
}

/// 175 more from 120 s to 150 s. At 122 s the panic window holds 3 seconds of 25, one of 25 + 175 o and one of 200, on
/// average 60 + 35 o: at least 6 pods, twice the 3 that are ready. In full it is 200: 20 pods, and in panic none go.
#[test]
fn a_burst_panics() {
    let traffic = "
  - {name: steady, clients: {count: 25}}
  - {name: burst, from: 120s, until: 150s, clients: {count: 175}}";
    let record = record(&scenario(traffic, TEN));
    let steps = scaled(&record);
    assert!((steps[1].0 - 122.0).abs() < 1e-9, "{steps:?}");
    let full = steps.iter().find(|(_, replicas)| *replicas == 20).expect("all pods of the burst");
    assert!(full.0 <= 128.0, "{steps:?}");
    assert_eq!(replicas(&record).into_iter().max(), Some(20));
    let down = steps.iter().find(|(t, replicas)| *t > full.0 && *replicas < 20).expect("it ends");
    // The last look over the threshold was at 130 s or before: pods came 5 s after they were wanted.
    assert!((184.0..=194.0).contains(&down.0), "{steps:?}");
    assert_eq!(replicas(&record).last(), Some(&3));
}

/// One client up to 30 s: the last second with load is that from 30 s on. At 90 s the stable window is empty for the first
/// time. The revision has been active for longer than that and becomes inactive. The activator has been in its path all the
/// time, since 10 requests a pod are less than the burst of 211: three seconds later the last pod goes. A request at 301.5 s
/// is held, wakes the autoscaler at once, and is served 5 s later.
#[test]
fn it_goes_to_zero_and_is_woken_by_a_request() {
    let traffic = "
  - {name: first, until: 30s, clients: {count: 1}}
  - {name: second, from: 301500ms, until: 302s, clients: {count: 1}}";
    let record = record(&scenario(traffic, TEN));
    assert_eq!(scaled(&record)[..2], [(93.0, 0), (301.5, 1)]);
    let web = &record.summary.services[0];
    assert_eq!(web.requests.completed, web.requests.arrived);
    let latest = web.e2e_seconds.as_ref().and_then(|e2e| e2e.max).expect("requests that completed");
    assert!((latest - 6.0).abs() < 1e-9, "{latest}");
}

/// Without burst capacity the activator comes into the path when the revision becomes inactive, and the grace period begins.
#[test]
fn the_grace_period_begins_with_the_activator_in_the_path() {
    let traffic = "[{name: first, until: 30s, clients: {count: 1}}]";
    let more = "annotations: {target: 10, target_burst_capacity: 0}";
    assert_eq!(scaled(&record(&scenario(traffic, more))), [(120.0, 0)]);
    let kept = "annotations: {target: 10, target_burst_capacity: 0, scale_to_zero_pod_retention_period: 45s}";
    assert_eq!(scaled(&record(&scenario(traffic, kept))), [(135.0, 0)]);
    let never = "annotations: {target: 10, min_scale: 1}";
    assert_eq!(scaled(&record(&scenario(traffic, never))), []);
}

/// At the start nothing runs and nothing comes. The smallest scale is brought about at the first look, and not by a request.
#[test]
fn a_smallest_scale_is_raised_without_a_request() {
    let asleep = |annotations: &str| {
        let text = scenario("[{name: late, from: 300s, until: 301s, clients: {count: 1}}]", annotations);
        record(&text.replace("cold_start: 5s", "cold_start: 5s\n        replicas: 0"))
    };
    let kept = asleep("annotations: {target: 10, min_scale: 2}");
    assert_eq!(scaled(&kept), [(0.0, 2)]);
    assert_eq!(scaled(&asleep("annotations: {target: 10}"))[..1], [(300.0, 1)]);
}

/// Two services sleep, and at one instant a request comes to each. Both wake at once, each for its own request.
#[test]
fn requests_of_one_instant_wake_each_its_own_service() {
    let service = "  - name: web
    queue: {}
    deployments:
      - name: main
        engine: {kind: concurrency, limit: 1000, service_time: 1s}
        cold_start: 5s
        replicas: 0
";
    let controller = "    - {kind: knative, target: web, offset: 0s, annotations: {target: 10}}\n";
    let other = |text: &str| text.replace("web", "other");
    let both = |first: &str, second: &str| {
        let (one, two) = (service, other(service));
        let controllers = format!("{controller}{}", other(controller));
        record(&format!(
            "name: two\nduration: 60s\nend: cut\nservices:\n{one}{two}traffic:\n  - {{name: a, service: web, from: {first}, until: 30s, clients: {{count: 1}}}}\n  \
             - {{name: b, service: other, from: {second}, until: 30s, clients: {{count: 1}}}}\npolicy:\n  controllers:\n{controllers}"
        ))
    };
    assert_eq!(scaled(&both("11500ms", "11500ms")), [(11.5, 1), (11.5, 1)]);
    assert_eq!(scaled(&both("11500ms", "21500ms")), [(11.5, 1), (21.5, 1)]);
}

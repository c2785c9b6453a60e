//! Replicas that stand by, with answers known beforehand.

use scaletwin_core::record::RunRecord;

use crate::running::record;

/// One replica, two from 120 s on and three from 180 s on, each on a node of its own at a dollar an hour.
fn run(deployment: &str) -> RunRecord {
    record(&format!(
        "
name: standby
duration: 10m
end: cut
clusters:
  - name: here
    node_pools: [{{name: all, instance_type: own, cpu: 1, memory: 4Gi, nodes: 4, price_usd_per_hour: 1}}]
services:
  - name: one
    queue: {{}}
    deployments:
      - name: main
        replica: {{cpu: 1}}
        {deployment}
        engine: {{kind: concurrency, limit: 9, service_time: 1s}}
traffic: [{{name: all, until: 9m, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy:
  controllers:
    - kind: schedule
      target: one
      windows: [{{start: 2 0 * * *, end: 3 0 * * *, replicas: 2}}, {{start: 3 0 * * *, end: 30 0 * * *, replicas: 3}}]
"
    ))
}

const STAGES: &str = "start_up: {start: 80s, warm_up: 10s}";

#[test]
fn one_that_is_loaded_takes_its_wake_and_one_that_starts_what_is_left() {
    let record = run(&format!("{STAGES}\n        standby: {{replicas: 1, wake: 2s}}"));
    let deployment = &record.summary.services[0].deployments[0];
    // Loaded from 0 to 120 s. The next one starts then, is called at 180 s, and is ready at 210 s. Another one is loaded from
    // 270 s on.
    assert_eq!(deployment.scale_up_latency_seconds.count, 2);
    assert_eq!(deployment.scale_up_latency_seconds.mean, Some((2.0 + 30.0) / 2.0));
    let stages: Vec<(&str, f64)> =
        deployment.cold_starts.stages.iter().map(|stage| (stage.name.as_str(), stage.mean_seconds)).collect();
    assert_eq!(stages, [("start", 10.0), ("warm_up", 5.0), ("wake", 1.0)]);
    let standby = deployment.standby.expect("it stands by");
    assert_eq!((standby.called, standby.called_early), (1, 1));
    assert!((standby.loaded_mean - (120.0 + 330.0) / 600.0).abs() < 1e-9, "{standby:?}");
    // Two nodes all the time, one from 120 s and one from 180 s on.
    let held = f64::from(600 + 600 + 480 + 420) / 3_600.0;
    assert!((deployment.cost_usd.expect("nodes have prices") - held).abs() < 1e-9);
    assert!((deployment.replicas.mean - (600.0 + 478.0 + 390.0) / 600.0).abs() < 1e-9);
}

#[test]
fn without_stages_it_is_the_same_and_without_standby_all_starts_are_whole() {
    let latency = |deployment: &str| {
        let record = run(deployment);
        record.summary.services[0].deployments[0].scale_up_latency_seconds.mean
    };
    assert_eq!(latency("cold_start: 90s\n        standby: {replicas: 1, wake: 2s}"), Some(16.0));
    assert_eq!(latency("cold_start: 90s\n        standby: {replicas: 2, wake: 0s}"), Some(0.0));
    assert_eq!(latency(STAGES), Some(90.0));
    // A rollout replaces those that stand by, so that the first one is called at 120 s and ready at 190 s.
    let rolled =
        "cold_start: 90s\n        rollouts: [100s]\n        update: {max_surge: 0, max_unavailable: 0}";
    let rolled = format!("{rolled}\n        standby: {{replicas: 1, wake: 2s}}");
    let record = run(&rolled);
    let standby = record.summary.services[0].deployments[0].standby.expect("it stands by");
    assert!(standby.called_early >= 1, "{standby:?}");
}

#[test]
fn one_that_stands_by_on_a_node_that_fails_is_replaced() {
    let text = "
name: standby
duration: 10m
end: cut
clusters:
  - name: here
    detection: {grace_period: 10s, toleration: 20s}
    node_pools:
      - {name: one, instance_type: own, cpu: 1, memory: 4Gi, zone: a, nodes: 1}
      - {name: two, instance_type: own, cpu: 1, memory: 4Gi, zone: b, nodes: 1, failures: {at: [{at: 60s, nodes: 1}]}}
      - {name: three, instance_type: own, cpu: 1, memory: 4Gi, zone: c, nodes: 2}
services:
  - name: one
    queue: {}
    deployments:
      - name: main
        replica: {cpu: 1}
        cold_start: 40s
        standby: {replicas: 1, wake: 3s}
        engine: {kind: concurrency, limit: 9, service_time: 1s}
traffic: [{name: all, until: 9m, arrivals: {constant: {rate: 1/s}}}]
policy:
  controllers: [{kind: static, target: one, replicas: 2, from: 300s}]
";
    let record = record(text);
    let deployment = &record.summary.services[0].deployments[0];
    // Its pod is deleted at 90 s, and another one is loaded at 130 s.
    assert_eq!(deployment.scale_up_latency_seconds.mean, Some(3.0));
    let standby = deployment.standby.expect("it stands by");
    let loaded = 90.0 + (300.0 - 130.0) + (600.0 - 340.0);
    assert!((standby.loaded_mean - loaded / 600.0).abs() < 1e-9, "{standby:?}");
    assert_eq!(record.summary.services[0].requests.failed, 0);
}

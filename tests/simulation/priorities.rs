//! Important replicas that take the room of others, and figures of requests by priority, with answers known beforehand.

use scaletwin_core::record::RunRecord;

use crate::running::{record, requests};
use crate::scheduling::homes;

/// Two deployments on nodes of two cores.
fn scenario(nodes: &str, low: &str, high: &str, controllers: &str) -> String {
    let engine = "engine: {kind: concurrency, limit: 50, service_time: 20s}";
    format!(
        "
name: priorities
duration: 20m
end: cut
window: 10s
clusters:
  - name: here
    node_pools:
      - {{name: main, instance_type: own, cpu: 2, memory: 8Gi, price_usd_per_hour: 3.6, provisioning: 60s, nodes: {nodes}}}
services:
  - name: one
    queue: {{}}
    deployments: [{{name: low, cold_start: 30s, {low}, {engine}}}]
  - name: two
    queue: {{}}
    deployments: [{{name: high, replicas: 1, cold_start: 30s, {high}, {engine}}}]
traffic:
  - {{name: all, service: one, until: 1000s, arrivals: {{constant: {{rate: 1/s}}}}}}
  - {{name: few, service: two, until: 1000s, arrivals: {{constant: {{rate: 0.1/s}}}}}}
policy: {{controllers: [{controllers}]}}
"
    )
}

fn preempted(record: &RunRecord) -> Vec<Option<u64>> {
    record.summary.services.iter().map(|service| service.deployments[0].replicas_preempted).collect()
}

const PROVISIONER: &str = "{kind: node-provisioner, offset: 0s}";
const FULL: &str = "replicas: 2, replica: {cpu: 1}";

#[test]
fn the_more_important_are_placed_first() {
    let text =
        scenario("1", "replicas: 2, replica: {cpu: 1}", "priority: 10, replica: {cpu: 2}", PROVISIONER);
    // Both cores go to the replica that was written last, and the others wait.
    assert_eq!(homes(&text, 1), [None, None, Some("main-0".to_owned())]);
    assert_eq!(preempted(&record(&text)), [Some(0), Some(0)]);
    let equal = scenario("1", FULL, "replica: {cpu: 2}", PROVISIONER);
    assert_eq!(homes(&equal, 1), [Some("main-0".to_owned()), Some("main-0".to_owned()), None]);
    assert_eq!(preempted(&record(&equal)), [None, None]);
}

#[test]
fn one_that_is_less_important_goes_after_its_grace_and_waits() {
    // The first node has a replica of each; a rollout of the important one at 100 s wants a second one, and one has to go.
    let high =
        "priority: 10, replica: {cpu: 1}, rollouts: [100s], update: {max_surge: 1, max_unavailable: 0}";
    let low = "replicas: 1, replica: {cpu: 1}, grace: 15s";
    let text = scenario("1", low, high, "");
    let (record, all) = requests(&text);
    assert_eq!(preempted(&record), [Some(1), Some(0)]);
    // At 100 s it goes; a request takes 20 s, so that those of the last 20 s fail at the end of its grace, at 115 s, but for the
    // five that came before 95 s and are done by then.
    let failed: Vec<f64> = all
        .iter()
        .filter(|(_, request)| request.outcome == scaletwin_core::record::Outcome::Failed)
        .map(|(_, request)| request.ended.as_secs_f64())
        .collect();
    assert!(failed.iter().all(|at| (*at - 115.0).abs() < 1e-9), "{failed:?}");
    assert!((4..=6).contains(&failed.len()), "{failed:?}");
    // The new one has its room at 115 s and is ready at 145 s; the old one goes when its own requests have ended, and the one that
    // was created for the victim is placed.
    let low = record.capacity.iter().filter(|row| row.service == 0);
    let ready: Vec<f64> = low.map(|row| row.replicas_ready).collect();
    assert_eq!((ready[9], ready[10], ready[13]), (1.0, 0.0, 0.0));
    assert_eq!(ready.last(), Some(&1.0));
}

#[test]
fn nobody_goes_where_preemption_is_off_or_the_priority_is_the_same() {
    let rollout = "replica: {cpu: 1}, rollouts: [100s], update: {max_surge: 1, max_unavailable: 0}";
    let low = "replicas: 1, replica: {cpu: 1}";
    for high in
        [format!("priority: 10, preemption_policy: Never, {rollout}"), format!("priority: 0, {rollout}")]
    {
        let record = record(&scenario("1", low, &high, ""));
        let last = record.capacity.iter().rfind(|row| row.service == 0).expect("a window");
        assert!((last.replicas_ready - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_placeholder_gives_its_node_up_and_gets_another_one() {
    // A node is held by a placeholder. At 100 s the second important replica gets it at once, and one more node is bought for the
    // placeholder, which is there 60 s after a look of the provisioner.
    let low = "priority: -1, replicas: 1, replica: {cpu: 2}, grace: 0s";
    let high = "priority: 0, replica: {cpu: 2}, rollouts: [100s], update: {max_surge: 1, max_unavailable: 0}";
    let text = scenario("{min: 2, max: 3}", low, high, PROVISIONER).replace(
        "{name: all, service: one, until: 1000s, arrivals: {constant: {rate: 1/s}}}",
        "{name: all, service: one, until: 1s, arrivals: {constant: {rate: 1/s}}}",
    );
    let found = homes(&text, 105);
    assert_eq!(found.iter().flatten().count(), 2, "{found:?}");
    assert_eq!(found.iter().filter(|home| home.is_none()).count(), 1, "{found:?}");
    let run = record(&text);
    assert_eq!(preempted(&run), [Some(1), Some(0)]);
    // The new one is ready at 130 s instead of at 190 s or later.
    let high = &run.summary.services[1].deployments[0].cold_starts;
    assert_eq!(high.count, 1);
    let latency = run.summary.services[1].deployments[0].scale_up_latency_seconds.mean.expect("a start");
    assert!((latency - 30.0).abs() < 1.0, "{latency}");
}

#[test]
fn each_priority_has_figures_of_its_own_where_there_are_several() {
    let text = |second: i32| {
        format!(
            "
name: classes
services:
  - name: one
    slo: {{e2e: {{p50: 1500ms}}}}
    queue: {{}}
    deployments: [{{name: main, engine: {{kind: concurrency, limit: 1, service_time: 1s}}}}]
traffic:
  - {{name: urgent, requests: 50, priority: -3, arrivals: {{constant: {{rate: 0.5/s}}}}}}
  - {{name: patient, requests: 40, priority: {second}, arrivals: {{constant: {{rate: 0.5/s}}}}}}
"
        )
    };
    let (several, all) = requests(&text(4));
    // Of two that arrive together the patient one waits for the other.
    let found: Vec<_> = several.summary.services[0]
        .priorities
        .iter()
        .map(|of| (of.priority, of.arrived, of.completed, of.attainment, of.e2e_mean_seconds))
        .collect();
    assert_eq!(found, [(-3, 50, 50, Some(1.0), Some(1.0)), (4, 40, 40, Some(0.0), Some(2.0))]);
    assert_eq!(all.iter().filter(|(_, request)| request.priority == 4).count(), 40);
    assert!(record(&text(-3)).summary.services[0].priorities.is_empty());
}

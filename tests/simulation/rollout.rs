//! Rollouts, with answers known beforehand: four replicas, each of which takes 30 s to start.

use scaletwin_core::record::RunRecord;

use crate::running::record;

fn run(update: &str, rollouts: &str) -> RunRecord {
    let rollouts = if rollouts.is_empty() { "rollouts: [100s]" } else { rollouts };
    record(&format!(
        "
name: rollout
duration: 10m
end: cut
window: 10s
services:
  - name: one
    queue: {{}}
    deployments:
      - name: main
        replicas: 4
        cold_start: 30s
        update: {update}
        {rollouts}
        engine: {{kind: concurrency, limit: 9, service_time: 1s}}
traffic: [{{name: all, until: 590s, arrivals: {{constant: {{rate: 3/s}}}}}}]
"
    ))
}

/// The fewest and the most replicas that were ready, and how many were started.
fn replicas(record: &RunRecord) -> (u64, u64, u64) {
    let main = &record.summary.services[0].deployments[0];
    (main.replicas.min, main.replicas.max, main.cold_starts.count)
}

#[test]
fn a_rollout_without_unavailable_replicas_never_dips() {
    let record = run("{max_surge: 1, max_unavailable: 0}", "");
    assert_eq!(replicas(&record), (4, 5, 4));
    let requests = &record.summary.services[0].requests;
    assert_eq!(requests.completed, requests.arrived, "those that go finish what they have");
}

#[test]
fn a_rollout_without_surge_dips_by_as_many_as_may_be_unavailable() {
    assert_eq!(replicas(&run("{max_surge: 0, max_unavailable: 2}", "")), (2, 4, 4));
    // A quarter of four each: one too many and one missing.
    assert_eq!(replicas(&run("{}", "")).0, 3);
}

#[test]
fn one_by_one_takes_as_long_as_all_starts_one_after_another() {
    let record = run("{max_surge: 0, max_unavailable: 1}", "");
    // From 100 s to 220 s three are ready, else four: 4 − 120/600 on average.
    let mean = record.summary.services[0].deployments[0].replicas.mean;
    assert!((mean - 3.8).abs() < 1e-9, "{mean}");
}

#[test]
fn a_rollout_in_the_middle_of_another_replaces_both() {
    // At 145 s one of the first new ones is ready and the second on its way: both go, and four of the third revision come.
    let record = run("{max_surge: 1, max_unavailable: 0}", "").summary;
    let twice = self::twice("[100s, 145s]");
    let count =
        |summary: &scaletwin_core::record::Summary| summary.services[0].deployments[0].cold_starts.count;
    assert_eq!((count(&record), count(&twice.summary)), (4, 5));
    assert_eq!(replicas(&twice).0, 4);
}

fn twice(rollouts: &str) -> RunRecord {
    run("{max_surge: 1, max_unavailable: 0}", &format!("rollouts: {rollouts}"))
}

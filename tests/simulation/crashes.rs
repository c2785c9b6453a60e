//! Containers that crash and nodes that come back, with answers known beforehand.

use scaletwin_core::record::{Outcome, RunRecord};

use crate::failures::{ONE, PROVISIONER, node_seconds, ready, scenario};
use crate::running::{record, requests};
use crate::scheduling::homes;

fn crashing(replicas: u32, hours: u32, crashes: &str, client: &str) -> String {
    format!(
        "
name: crashes
duration: {hours}h
end: cut
services:
  - name: one
    queue: {{}}
    deployments:
      - {{name: main, replicas: {replicas}, cold_start: 5s, crashes: {crashes}, engine: {{kind: concurrency, limit: 50, service_time: 2s}}}}
traffic: [{{name: all, until: 3000s, arrivals: {{constant: {{rate: 1/s}}}}, client: {client}}}]
"
    )
}

const FIVE: &str = "{at: [{at: 100s}, {at: 200s}, {at: 300s}, {at: 400s}, {at: 2000s}]}";

fn restarts(record: &RunRecord) -> Option<u64> {
    record.summary.services[0].deployments[0].restarts
}

#[test]
fn a_container_starts_again_at_once_then_after_10_20_and_40_seconds() {
    let record = record(&crashing(1, 1, FIVE, "{}"));
    // Each start takes 5 s; 1560 s after the last one the waits are forgotten: 5 + 15 + 25 + 45 + 5 s without a replica.
    let deployment = &record.summary.services[0].deployments[0];
    assert!((deployment.replicas.mean - (1.0 - 95.0 / 3600.0)).abs() < 1e-9, "{}", deployment.replicas.mean);
    assert_eq!((restarts(&record), deployment.cold_starts.count), (Some(5), 0));
}

#[test]
fn each_start_of_a_container_has_a_draw_of_its_own() {
    let law = "{uniform: {min: 1s, max: 50s}}";
    let nodes = "services:\n  - name: one";
    let clusters = "clusters: [{name: here, node_pools: [{name: all, instance_type: own, cpu: 1, memory: 4Gi, nodes: 1}]}]";
    for start in [format!("cold_start: {law}"), format!("start_up: {{start: {law}}}")] {
        let text = crashing(1, 1, "{at: [{at: 700s}, {at: 1400s}, {at: 2100s}, {at: 2800s}]}", "{}");
        let text = text.replace("cold_start: 5s", &start).replace(nodes, &format!("{clusters}\n{nodes}"));
        let mut waits = [0.0f64; 4];
        for (_, request) in
            requests(&text).1.iter().filter(|(_, request)| request.outcome == Outcome::Completed)
        {
            let arrived = request.arrived.as_secs_f64();
            let waited = request.e2e().as_secs_f64() - 2.0;
            for (crash, longest) in (1u8..).zip(&mut waits) {
                if (0.0..60.0).contains(&(arrived - 700.0 * f64::from(crash))) {
                    *longest = longest.max(waited);
                }
            }
        }
        let differ = |at: usize| waits[..at].iter().all(|other| (other - waits[at]).abs() > 0.01);
        assert!((0..4).all(differ) && waits.iter().all(|wait| *wait <= 50.0), "{start}: {waits:?}");
    }
}

#[test]
fn what_a_container_was_serving_has_failed_and_is_tried_again() {
    let (record, all) = requests(&crashing(1, 1, FIVE, "{}"));
    // A request takes 2 s: when the replica crashes it is serving the one that came a second before.
    let failed: Vec<f64> = all
        .iter()
        .filter(|(_, request)| request.outcome == Outcome::Failed)
        .map(|(_, request)| request.ended.as_secs_f64())
        .collect();
    assert_eq!(failed, [100.0, 200.0, 300.0, 400.0, 2000.0]);
    let counts = &record.summary.services[0].requests;
    assert_eq!(counts.arrived, counts.completed + 5);
    let (record, _) = requests(&crashing(1, 1, FIVE, "{retries: {max: 1}}"));
    let counts = &record.summary.services[0].requests;
    assert_eq!((counts.failed, counts.retries, counts.completed), (5, 5, 2999), "{counts:?}");
}

#[test]
fn memoryless_crashes_come_at_their_rate() {
    // 10 replicas for 20 hours at one an hour: 200, and the standard deviation is 14; waits take some seconds of each.
    let found = restarts(&record(&crashing(10, 20, "{mtbf: 1h}", "{}"))).expect("they crash");
    assert!((158..=242).contains(&found), "{found}");
}

#[test]
fn a_node_that_comes_back_before_anybody_knows_starts_its_pods_again() {
    let back = ONE.replace("at: [", "recovery: 20s, at: [");
    let record = record(&scenario(&back, "round-robin", PROVISIONER, ""));
    // The node fails at 100 s and works at 120 s; until then routers know nothing. Its replica takes 30 s.
    assert_eq!(ready(&record, &[110.0, 120.0, 140.0, 150.0, 430.0, 440.0]), [2.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    assert!((node_seconds(&record) - 3600.0).abs() < 1e-6);
}

#[test]
fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let back = ONE.replace("at: [", "recovery: 200s, at: [");
    let record = record(&scenario(&back, "round-robin", PROVISIONER, ""));
    // NotReady from 140 s on, and back at 300 s: the toleration of 300 s is not over, and nobody is evicted at 440 s.
    assert_eq!(ready(&record, &[130.0, 140.0, 320.0, 330.0, 440.0, 1700.0]), [2.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    assert_eq!(record.summary.services[0].deployments[0].cold_starts.count, 0);
    assert!((node_seconds(&record) - 3600.0).abs() < 1e-6);
}

#[test]
fn a_node_that_comes_back_late_has_lost_its_pods_and_takes_others() {
    let back = ONE.replace("at: [", "recovery: 600s, at: [");
    let record = record(&scenario(&back, "round-robin", "", ""));
    // The pod was evicted at 440 s and another one waits for room: it has the node at 700 s, and is ready at 730 s.
    assert_eq!(ready(&record, &[710.0, 720.0, 730.0]), [1.0, 1.0, 2.0]);
    assert_eq!(record.summary.services[0].deployments[0].cold_starts.count, 1);
}

#[test]
fn a_returned_node_has_its_disk_and_not_its_memory() {
    // 1 GB at 100 MB/s is downloaded in 10 s, read from disk in 4 s and from the page cache in 2 s.
    let staged = "start_up: {weights: {size: 1GB, disk: 250MB/s, page_cache: 500MB/s}}";
    let of = |recovery: &str| {
        let back = ONE.replace("at: [", &format!("{recovery} at: ["));
        let text = scenario(&back, "round-robin", "", "").replace("cold_start: 30s", staged);
        record(&text.replace("nodes: {min: 2, max: 3}", "nodes: {min: 2, max: 3}\n        download: 100MB/s"))
    };
    // It works again at 120 s, and serves at 124 s.
    let mean = |record: &RunRecord| ready(record, &[120.0])[0];
    assert!((mean(&of("recovery: 20s,")) - 1.6).abs() < 1e-9, "{}", mean(&of("recovery: 20s,")));
}

#[test]
fn nobody_is_evicted_while_most_of_a_small_zone_does_not_answer() {
    let waiting = |failing: u32, second: u64| {
        let failures = format!("failures: {{at: [{{at: 100s, nodes: {failing}}}]}}");
        let other = "      - {name: other, zone: b, instance_type: own, cpu: 1, memory: 4Gi, nodes: 1}";
        let text = scenario(&failures, "round-robin", "", other)
            .replace("nodes: {min: 2, max: 3}", "nodes: {min: 5, max: 5}")
            .replace("replicas: 2", "replicas: 6");
        homes(&text, second).iter().filter(|home| home.is_none()).count()
    };
    // Of five nodes two fail: one pod is evicted at 440 s, the next one 10 s later, and those created for them wait for room.
    assert_eq!([435, 445, 455, 1700].map(|second| waiting(2, second)), [0, 1, 2, 2]);
    // Three are more than 55 %: their pods stay where they are.
    assert_eq!([445, 1700].map(|second| waiting(3, second)), [0, 0]);
    // All five are a zone without power, and the other one works: one after the other.
    assert_eq!([445, 465, 485].map(|second| waiting(5, second)), [1, 3, 5]);
}

#[test]
fn a_zone_that_answers_again_waits_before_it_goes_on_evicting() {
    let other = "      - {name: other, instance_type: own, cpu: 1, memory: 4Gi, nodes: 2, failures: {at: [{at: 101s}]}}";
    let failures = "failures: {recovery: 500s, at: [{at: 100s, nodes: 5}]}";
    let text = scenario(failures, "round-robin", "", other)
        .replace("nodes: {min: 2, max: 3}", "nodes: {min: 5, max: 5}")
        .replace("replicas: 2", "replicas: 7");
    // Six of seven do not answer, and nobody is tainted until five come back at 600 s, and the sixth 10 s after that.
    let waiting = |second| homes(&text, second).iter().filter(|home| home.is_none()).count();
    assert_eq!([905, 915].map(waiting), [0, 1]);
}

#[test]
fn an_image_that_was_being_unpacked_is_downloaded_again() {
    // 10 GB at 100 MB/s take 100 s, unpacking at 50 MB/s 200 s, the start 7 s, after a launch of the pod at 10 s.
    let first = |fails: &str| {
        let text = format!(
            "
name: unpacking
duration: 600s
end: cut
clusters:
  - name: here
    node_pools: [{{name: all, instance_type: own, cpu: 4, memory: 16Gi, nodes: 1, download: 100MB/s, failures: {{at: [{{at: {fails}, nodes: 1}}], recovery: 5s}}}}]
services:
  - name: one
    queue: {{}}
    deployments: [{{name: main, replicas: 0, replica: {{cpu: 2}}, start_up: {{image: {{size: 10GB, extract: 50MB/s}}, start: 7s}}, engine: {{kind: concurrency, limit: 1000, service_time: 100ms}}}}]
traffic: [{{name: all, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy: {{controllers: [{{kind: static, target: one/main, replicas: 1, from: 10s}}]}}
"
        );
        let started = requests(&text).1.into_iter().filter_map(|(_, request)| request.started).min();
        started.map(|at| at.as_secs_f64())
    };
    assert_eq!(first("590s"), Some(317.0));
    assert_eq!(first("60s"), Some(65.0 + 307.0));
    assert_eq!(first("200s"), Some(205.0 + 307.0));
}

#[test]
fn nodes_come_back_from_an_outage_when_it_is_over() {
    let out = "outages: [{cluster: here, zone: a, at: 100s, duration: 300s}]\nservices:";
    let back = ONE.replace("at: [{at: 100s, nodes: 1}]", "recovery: 20s");
    let text = scenario(&back, "round-robin", "", "").replace("services:", out);
    let record =
        record(&text.replace(
            "name: main\n        instance_type",
            "name: main\n        zone: a\n        instance_type",
        ));
    // Back at 400 s, serving 30 s later.
    assert_eq!(ready(&record, &[90.0, 150.0, 420.0, 430.0]), [2.0, 0.0, 0.0, 2.0]);
}

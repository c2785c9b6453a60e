//! Nodes that fail, with answers known beforehand.
//!
//! Two replicas of one core, each on a node of one core. A request takes 2 s, one comes each second, and they are dealt out in
//! turn. Clients wait 10 s. One of the nodes fails at 100 s:
//!
//! | when | what |
//! |---|---|
//! | 100 s | what is in its replica hangs; every other request still goes there |
//! | 140 s | the cluster finds it `NotReady` (40 s without heartbeats): no more requests go there |
//! | 440 s | its pod has been tolerated for 300 s and is deleted; another one is pending, and a node is launched for it |
//! | 500 s | that node is ready after 60 s |
//! | 530 s | so is its replica, after 30 s |
//! | 1040 s | the failed node has been empty for 10 minutes, and the provisioner gives it back |
//!
//! One replica takes requests for 390 s, from 140 s to 530 s; the other one that does nothing counts up to 140 s. Nodes are
//! billed from launch to the end of the run at 1800 s, or to their being given back: 1800 s + 1040 s + 1360 s.

use scaletwin_core::record::{Finished, Outcome, RunRecord};
use scaletwin_core::units::Time;

use crate::running::{record, requests};

pub(crate) const PROVISIONER: &str = "{kind: node-provisioner, offset: 0s}";

pub(crate) fn scenario(failures: &str, routing: &str, controllers: &str, more: &str) -> String {
    format!(
        "
name: failures
duration: 30m
end: cut
window: 10s
clusters:
  - name: here
    detection: {{grace_period: 40s, toleration: 300s}}
    node_pools:
      - name: main
        instance_type: own
        cpu: 1
        memory: 4Gi
        price_usd_per_hour: 3.6
        nodes: {{min: 2, max: 3}}
        provisioning: 60s
        {failures}
{more}
services:
  - name: one
    routing: {routing}
    deployments:
      - {{name: main, replicas: 2, replica: {{cpu: 1}}, cold_start: 30s, engine: {{kind: concurrency, limit: 50, service_time: 2s}}}}
traffic: [{{name: all, until: 1780s, arrivals: {{constant: {{rate: 1/s}}}}, client: {{timeout: 10s}}}}]
policy: {{controllers: [{controllers}]}}
"
    )
}

pub(crate) const ONE: &str = "failures: {at: [{at: 100s, nodes: 1}]}";

pub(crate) fn node_seconds(record: &RunRecord) -> f64 {
    record.summary.node_pools.iter().map(|pool| pool.node_hours * 3600.0).sum()
}

/// Replicas that take requests, on average over the 10 s that begin at each of these instants.
pub(crate) fn ready(record: &RunRecord, starts: &[f64]) -> Vec<f64> {
    let of = |start: &f64| {
        let row = record.capacity.iter().find(|row| (row.start_seconds - start).abs() < 1e-9);
        row.expect("a window").replicas_ready
    };
    starts.iter().map(of).collect()
}

fn with(requests: &[(usize, Finished)], outcome: Outcome) -> Vec<&Finished> {
    requests.iter().map(|(_, request)| request).filter(|request| request.outcome == outcome).collect()
}

#[test]
fn a_failed_node_is_found_replaced_and_billed_as_computed_by_hand() {
    let record = record(&scenario(ONE, "round-robin", PROVISIONER, ""));
    assert_eq!(ready(&record, &[130.0, 140.0, 520.0, 530.0]), [2.0, 1.0, 1.0, 2.0]);
    assert!((node_seconds(&record) - 4200.0).abs() < 1e-6, "{}", node_seconds(&record));
    assert!((record.summary.cost.total_usd.expect("it has a price") - 4.2).abs() < 1e-9);
    assert_eq!(record.summary.node_pools[0].failures, Some(1));
    assert_eq!(record.summary.services[0].deployments[0].cold_starts.count, 1);
}

#[test]
fn requests_that_hang_are_given_up_by_their_clients_and_none_is_lost() {
    let (record, requests) = requests(&scenario(ONE, "round-robin", PROVISIONER, ""));
    let given_up = with(&requests, Outcome::TimedOut);
    // Half of the 40 that came before the failure was known, and the one that was being served.
    assert_eq!(given_up.len(), 21);
    for request in &given_up {
        let arrived = request.arrived.as_secs_f64();
        assert!((98.0..140.0).contains(&arrived), "{arrived}");
        assert!((request.ended.since(request.arrived).as_secs_f64() - 10.0).abs() < 1e-9);
    }
    let counts = &record.summary.services[0].requests;
    assert_eq!(counts.arrived, counts.completed + 21);
}

#[test]
fn requests_that_are_refused_draw_more_to_the_replica_that_answers_fastest() {
    let refusing = ONE.replace("at: [", "requests: fail, at: [");
    let failed = |routing: &str| {
        let (record, requests) = requests(&scenario(&refusing, routing, PROVISIONER, ""));
        let failed = with(&requests, Outcome::Failed);
        assert!(failed.iter().all(|request| request.ended.as_secs_f64() < 140.0));
        assert_eq!(record.summary.services[0].requests.timed_out, 0);
        failed.len()
    };
    assert_eq!(failed("round-robin"), 21);
    // The other replica always has a request: whoever refuses looks idle, and gets all the others.
    assert!(failed("least-outstanding") >= 26, "{}", failed("least-outstanding"));
}

#[test]
fn a_repaired_node_is_given_back_and_launched_again() {
    let repaired = ONE.replace("at: [", "repair: 10m, at: [");
    let record = record(&scenario(&repaired, "round-robin", "", ""));
    // Found at 140 s, given back at 740 s; the new one is ready at 800 s, its replica at 830 s.
    assert_eq!(ready(&record, &[820.0, 830.0]), [1.0, 2.0]);
    assert!((node_seconds(&record) - (1800.0 + 740.0 + 1060.0)).abs() < 1e-6, "{}", node_seconds(&record));
}

#[test]
fn a_node_that_is_lost_on_its_way_is_launched_again_where_nodes_are_repaired() {
    let repaired = ONE.replace("at: [", "repair: 10m, at: [");
    let out = "outages: [{zone: a, at: 750s, duration: 30s}]";
    let record = record(&scenario(&repaired, "round-robin", "", out));
    // Launched at 740 s, lost at 750 s, launched again at 780 s, ready at 840 s, its replica at 870 s. The other node is found at
    // 790 s and given back at 1390 s; the one in its place is ready at 1450 s, the replica at 1480 s.
    assert_eq!(ready(&record, &[860.0, 870.0, 1470.0, 1480.0]), [0.0, 1.0, 1.0, 2.0]);
    let billed = 740.0 + 10.0 + 1390.0 + 1020.0 + 410.0;
    assert!((node_seconds(&record) - billed).abs() < 1e-6, "{}", node_seconds(&record));
}

#[test]
fn a_failure_at_an_instant_is_one_of_a_node_that_works() {
    // At 110 s the only node that works fails, and not the one that the provisioner launched.
    let text = scenario("failures: {at: [{at: 110s}]}", "round-robin", PROVISIONER, "")
        .replace("{min: 2, max: 3}", "{min: 1, max: 3}")
        .replace("duration: 30m", "duration: 130s")
        .replace("until: 1780s", "until: 120s")
        .replace("provisioning: 60s", "provisioning: 300s");
    for seed in 0..20 {
        let record = record(&format!("{text}seed: {seed}\n"));
        assert_eq!(ready(&record, &[100.0]), [1.0]);
        assert!((node_seconds(&record) - 260.0).abs() < 1e-6, "{}", node_seconds(&record));
    }
}

#[test]
fn a_failed_node_that_nobody_gives_back_is_billed_to_the_end() {
    let record = record(&scenario(ONE, "round-robin", "", ""));
    assert!((node_seconds(&record) - 3600.0).abs() < 1e-6);
    assert_eq!(ready(&record, &[1790.0]), [1.0]);
}

#[test]
fn an_outage_takes_all_nodes_of_its_zone_and_lets_none_in() {
    let more = "      - {name: other, zone: b, instance_type: own, cpu: 1, memory: 4Gi, price_usd_per_hour: 9, nodes: {min: 1, max: 5}, provisioning: 60s}
outages: [{zone: a, at: 100s, duration: 20m}]";
    let (record, requests) = requests(&scenario("", "round-robin", PROVISIONER, more));
    let [main, other] = &record.summary.node_pools[..] else { panic!("two pools") };
    assert_eq!((main.failures, other.failures), (Some(2), None));
    // The pods are deleted at 440 s and 450 s, one node after the other. The first finds the empty node of the other zone. At 450 s
    // the zone that is out refuses; at its next look, at 460 s, the provisioner launches a node in the other one.
    assert!(record.decisions.contains("the provider has no capacity for main: zone a is out"));
    let seconds = other.node_hours * 3600.0;
    assert!((seconds - 1800.0 - 1340.0).abs() < 1e-6, "{seconds}");
    assert_eq!(ready(&record, &[460.0, 470.0, 540.0, 550.0]), [0.0, 1.0, 1.0, 2.0]);
    // From 140 s to 470 s nobody takes requests, and there is no queue.
    assert_eq!(with(&requests, Outcome::Rejected).len(), 330);
    // All 40 that came before that was known, and the one that was being served.
    assert_eq!(with(&requests, Outcome::TimedOut).len(), 41);
}

#[test]
fn nobody_is_evicted_while_all_zones_are_out() {
    let more = "outages: [{zone: a, at: 100s, duration: 20m}]";
    let record = record(&scenario("", "round-robin", PROVISIONER, more));
    assert_eq!(ready(&record, &[130.0, 140.0, 1790.0]), [2.0, 0.0, 0.0]);
    assert!((node_seconds(&record) - 3600.0).abs() < 1e-6);
}

#[test]
fn probes_of_the_gateway_find_a_failed_replica_before_or_after_the_cluster() {
    let given_up = |check: &str| {
        let text = scenario(ONE, "round-robin", PROVISIONER, "")
            .replace("routing:", &format!("{check}\n    routing:"));
        let (_, requests) = requests(&text);
        with(&requests, Outcome::TimedOut).len()
    };
    // Probes are at 100 s, 106 s and 112 s, and the last one has a second: every other request of 113 s to 140 s is served.
    assert_eq!(given_up("health_check: {interval: 6s, timeout: 1s, unhealthy_threshold: 3}"), 21 - 13);
    // The probes would need until 165 s: the cluster is faster.
    assert_eq!(given_up("health_check: {}"), 21);
}

#[test]
fn a_replica_that_refuses_is_ejected_and_tried_again() {
    let refusing = ONE.replace("at: [", "requests: fail, at: [");
    let ejecting = "outlier_detection: {consecutive_failures: 5, ejection: 30s}\n    routing:";
    let text = scenario(&refusing, "round-robin", PROVISIONER, "").replace("routing:", ejecting);
    let (_, requests) = requests(&text);
    let failed: Vec<f64> =
        with(&requests, Outcome::Failed).iter().map(|request| request.ended.as_secs_f64()).collect();
    // The one that was being served and four that come every other second; 30 s later it is tried again, up to 140 s.
    let last = failed[4];
    assert!((last - failed[1] - 6.0).abs() < 1e-9, "{failed:?}");
    assert!(failed[5..].iter().all(|at| (last + 30.0..140.0).contains(at)), "{failed:?}");
    assert!((6..=7).contains(&failed.len()), "{failed:?}");
}

#[test]
fn a_weak_cluster_is_passed_over_until_it_is_strong_again() {
    let of = |share: &str| {
        let second = "      - {name: away, cluster: there, replicas: 2, replica: {cpu: 1}, engine: {kind: concurrency, limit: 50, service_time: 3s}}
traffic:";
        let there = "  - {name: there, node_pools: [{name: main, instance_type: own, cpu: 1, memory: 4Gi, price_usd_per_hour: 1, nodes: 2}]}";
        let text = scenario(ONE, "round-robin", "", there)
            .replace("traffic:", second)
            .replace("{name: main, replicas: 2", "{name: main, cluster: here, replicas: 2")
            .replace("routing:", &format!("across: failover\n    {share}\n    routing:"))
            .replace("at: [", "repair: 10m, at: [");
        requests(&text).1
    };
    // A request takes 2 s at home and 3 s away.
    let away = |requests: &[(usize, Finished)], from: f64, until: f64| {
        let inside = requests.iter().map(|(_, request)| request).filter(|request| {
            let arrived = request.arrived.as_secs_f64();
            (from..until).contains(&arrived) && request.outcome == Outcome::Completed
        });
        inside.filter(|request| request.ended.since(request.arrived).as_secs_f64() > 2.5).count()
    };
    // Found at 140 s, repaired at 740 s, and ready again at 830 s: one of two replicas is less than 71 %.
    let strict = of("min_ready_share: 0.71");
    assert_eq!(
        [(0.0, 139.5), (140.0, 829.5), (830.5, 1700.0)].map(|(from, until)| away(&strict, from, until)),
        [0, 690, 0]
    );
    assert_eq!(away(&of(""), 0.0, 1700.0), 0, "without, one replica is enough");
}

#[test]
fn memoryless_failures_come_as_often_as_their_mean_says() {
    // Ten nodes for 10 h, each repaired within 2 minutes of its failure: about 98 of 100 h in which one can fail.
    let text = scenario("failures: {mtbf: 1h, repair: 0s}", "round-robin", "", "")
        .replace("nodes: {min: 2, max: 3}", "nodes: {min: 10, max: 10}")
        .replace("duration: 30m", "duration: 10h")
        .replace("until: 1780s", "until: 10s");
    let failures = record(&text).summary.node_pools[0].failures.expect("they fail") as f64;
    // Poisson with mean 98: within three standard deviations.
    assert!((failures - 98.0).abs() < 30.0, "{failures}");
}

/// One replica on one node that fails at these instants and comes back after `recovery`.
fn failing_again(failures: &str, service: &str) -> String {
    format!(
        "
name: again
duration: 300s
end: cut
window: 10s
clusters:
  - name: here
    detection: {{grace_period: 1000s}}
    node_pools: [{{name: main, instance_type: own, cpu: 1, memory: 4Gi, nodes: 1, failures: {{{failures}}}}}]
services:
  - name: one
    {service}
    deployments: [{{name: main, cold_start: 2s, replica: {{cpu: 1}}, engine: {{kind: concurrency, limit: 900, service_time: 100ms}}}}]
traffic: [{{name: all, arrivals: {{constant: {{rate: 1/s}}}}}}]
"
    )
}

#[test]
fn probes_of_one_failure_say_nothing_of_the_next() {
    let service = "health_check: {interval: 30s, timeout: 5s, unhealthy_threshold: 4}";
    let failures = "at: [{at: 100s, nodes: 1}, {at: 200s, nodes: 1}], recovery: 60s";
    let record = record(&failing_again(failures, service));
    // Of the first failure they would end at 0 + 30 (4 + 3) + 5 s = 215 s; it was over at 160 s. Of the second, at
    // 162 + 30 (2 + 3) + 5 s = 317 s; it is over at 260 s. Each time the server takes 2 s more.
    assert_eq!(ready(&record, &[150.0, 160.0, 210.0, 220.0, 250.0, 260.0]), [1.0, 0.8, 1.0, 1.0, 1.0, 0.8]);
}

#[test]
fn an_ejection_for_one_failure_says_nothing_of_the_next() {
    let service = "outlier_detection: {consecutive_failures: 5, ejection: 30s}";
    let failures = "at: [{at: 100s, nodes: 1}, {at: 125s, nodes: 1}], recovery: 20s, requests: fail";
    let (_, requests) = requests(&failing_again(failures, service));
    // Five requests fail from 100 s on, and five from 125 s on; the end of the first ejection at 134 s brings no more.
    let failed: Vec<u64> = with(&requests, Outcome::Failed)
        .iter()
        .map(|request| request.arrived.since(Time::ZERO).as_secs())
        .collect();
    assert_eq!(failed, [100, 101, 102, 103, 104, 125, 126, 127, 128, 129]);
}

#[test]
fn a_node_that_has_come_back_fails_once_in_its_mtbf() {
    let at: Vec<String> = (1..=10).map(|step| format!("{{at: {}s, nodes: 20}}", 10 * step)).collect();
    let failures = format!("mtbf: 10h, recovery: 1s, at: [{}]", at.join(", "));
    let text = failing_again(&failures, "").replace("nodes: 1, failures", "nodes: 20, failures");
    let record =
        record(&text.replace("duration: 300s", "duration: 10h").replace("window: 10s", "window: 1h"));
    // 200 as planned, and 20 by chance, with a standard deviation of 4.5.
    let failures = record.summary.node_pools[0].failures.expect("they fail");
    assert!((202..=238).contains(&failures), "{failures}");
}

#[test]
fn requests_that_hang_are_there_when_a_run_is_cut() {
    let text = failing_again("at: [{at: 100s, nodes: 1}]", "");
    let text = text.replace("name: all, arrivals", "name: all, until: 130s, arrivals");
    let requests = &record(&text).summary.services[0].requests;
    // Those of 100 s to 129 s.
    assert_eq!((requests.completed, requests.unfinished), (99, 30));
}

//! Disruption budgets, with instants computed by hand.
//!
//! Two replicas share a spot node, and an empty on-demand node has room for both. The provider says at 600 s that it takes the
//! spot node back at 1200 s. A start takes 33 s. With a budget of one unavailable:
//!
//! - at 600 s the first replica is evicted; the second is held back, and tried again every 5 s;
//! - at 633 s the first one's successor is ready, which the try at 635 s sees: the second is evicted;
//! - at 668 s its successor is ready.

use scaletwin_core::record::{Outcome, RunRecord};

use crate::running::{record, requests};

fn scenario(budget: &str) -> String {
    format!(
        "
name: budgets
duration: 30m
end: cut
window: 10s
clusters:
  - name: here
    node_pools:
      - {{name: cheap, instance_type: own, cpu: 2, memory: 4Gi, capacity_type: spot, nodes: 1, spot: {{lifetime: 20m, notice: 10m}}}}
      - {{name: dear, instance_type: own, cpu: 2, memory: 4Gi, nodes: 1}}
services:
  - name: one
    queue: {{}}
    deployments:
      - {{name: main, replicas: 2, replica: {{cpu: 1}}, cold_start: 33s, {budget} engine: {{kind: concurrency, limit: 50, service_time: 1s}}}}
traffic: [{{name: all, until: 1700s, arrivals: {{constant: {{rate: 2/s}}}}}}]
"
    )
}

/// Replicas that take requests, on average over the 10 s that begin at each of these instants.
fn ready(record: &RunRecord, starts: &[f64]) -> Vec<f64> {
    let of = |start: &f64| {
        let row = record.capacity.iter().find(|row| (row.start_seconds - start).abs() < 1e-9);
        row.expect("a window").replicas_ready
    };
    starts.iter().map(of).collect()
}

#[test]
fn a_drain_under_a_budget_of_one_is_sequential() {
    for budget in ["max_unavailable: 1", "min_available: 1", "max_unavailable: '50%'", "min_available: '26%'"]
    {
        let record = record(&scenario(&format!("disruption_budget: {{{budget}}},")));
        let seen = ready(&record, &[590.0, 600.0, 620.0, 630.0, 640.0, 660.0, 670.0]);
        assert_eq!(
            seen,
            [2.0, 1.0, 1.0, (3.0 + 2.0 * 2.0 + 5.0) / 10.0, 1.0, (8.0 + 2.0 * 2.0) / 10.0, 2.0],
            "{budget}"
        );
    }
}

#[test]
fn a_drain_without_a_budget_takes_all_at_once() {
    let record = record(&scenario(""));
    assert_eq!(ready(&record, &[590.0, 600.0, 630.0, 640.0]), [2.0, 0.0, 2.0 * 7.0 / 10.0, 2.0]);
}

#[test]
fn a_budget_that_lets_none_go_holds_until_the_node_is_taken_back() {
    let (record, requests) = requests(&scenario("disruption_budget: {max_unavailable: 0},"));
    assert_eq!(ready(&record, &[600.0, 1190.0, 1200.0, 1240.0]), [2.0, 2.0, 0.0, 2.0]);
    // Of a request each half second that takes a second, the last one is lost; the one before it ends at that very instant.
    let failed = requests.iter().filter(|(_, request)| request.outcome == Outcome::Failed).count();
    assert_eq!(failed, 1);
}

#[test]
fn a_rollout_asks_no_budget() {
    let rollout = "rollouts: [100s], update: {max_surge: 0, max_unavailable: 2}, disruption_budget: {max_unavailable: 0},";
    assert_eq!(ready(&record(&scenario(rollout)), &[90.0, 100.0, 120.0, 140.0]), [2.0, 0.0, 0.0, 2.0]);
}

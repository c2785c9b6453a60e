//! Bills of whole runs, computed by hand.

use crate::running::record;

/// Half an hour of a pool with one node of one core, of which one replica takes half.
fn bill(pool: &str) -> (f64, f64) {
    let text = format!(
        "
name: bill
duration: 30m
end: cut
clusters:
  - name: here
    node_pools:
      - {{name: pool, instance_type: own, cpu: 1, memory: 4Gi, price_usd_per_hour: 4, nodes: 1, {pool}}}
services:
  - name: web
    deployments: [{{name: main, replica: {{cpu: 500m}}, engine: {{kind: concurrency, limit: 9, service_time: 1s}}}}]
traffic: [{{name: all, arrivals: {{constant: {{rate: 1/s}}}}}}]
"
    );
    let cost = record(&text).summary.cost;
    let priced = "all nodes have a price";
    (cost.total_usd.expect(priced), cost.idle_usd.expect(priced))
}

#[test]
fn a_node_costs_its_price_and_what_nobody_holds_of_it_is_idle() {
    assert_eq!(bill("capacity_type: on-demand"), (2.0, 1.0));
}

#[test]
fn a_commitment_is_paid_for_whether_its_nodes_are_there_or_not() {
    // Three nodes at 1, of which one is there, half of it held.
    assert_eq!(bill("capacity_type: reserved, commitment: {nodes: 3, usd_per_hour: 1}"), (1.5, 1.25));
}

//! Energy of whole runs, by hand.

use crate::running::record;

fn scenario(pool: &str) -> String {
    format!(
        "
name: energy
end: cut
duration: 2h
warm_up: 1h
clusters:
  - name: here
    node_pools: [{{name: pool, instance_type: own, cpu: 8, memory: 32Gi, nodes: 2{pool}}}]
services:
  - name: web
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1, service_time: 30s}}
        replica: {{cpu: 4}}
        usage: {{cpu_busy: 4}}
traffic:
  - {{name: users, arrivals: {{constant: {{rate: 1/m}}}}}}
"
    )
}

#[test]
fn idle_nodes_and_busy_cores_draw_what_was_computed_by_hand() {
    // Two nodes at 40 W for the hour that counts: 80 Wh. One replica uses 4 of 8 cores half of the time: a quarter of a
    // node at 60 W more: 15 Wh.
    let record = record(&scenario(", host_power: {idle_watts: 40, peak_watts: 100}"));
    let pool = record.summary.node_pools[0].energy_kwh.expect("its power is known");
    assert!((pool - 0.095).abs() < 1e-9, "{pool}");
    assert_eq!(record.summary.energy_kwh, Some(pool));
    assert!(!record.summary.not_modelled.iter().any(|name| name == "energy_kwh"));
}

#[test]
fn without_a_basis_there_is_no_figure() {
    let record = record(&scenario(""));
    assert_eq!((record.summary.energy_kwh, record.summary.node_pools[0].energy_kwh), (None, None));
    assert!(record.summary.not_modelled.iter().any(|name| name == "energy_kwh"));
}

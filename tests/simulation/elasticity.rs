//! Capacity by probes, and elasticity of whole runs.

use scaletwin_scenarios::Scenario;

use crate::running::{scenario, start};

fn text(slo: &str, traffic: &str) -> String {
    format!(
        "
name: elastic
window: 10s
services:
  - name: web
    {slo}
    deployments:
      - name: main
        replicas: 3
        engine: {{kind: concurrency, limit: 1, service_time: {{exponential: {{mean: 100ms}}}}}}
traffic:
  - {{name: users, requests: 2000, {traffic}}}
"
    )
}

fn measured(slo: &str, traffic: &str) -> Scenario {
    let scenario = scenario(&text(slo, traffic));
    let capacities = scenario.capacities().expect("probes run");
    scenario.measured_with(&capacities)
}

#[test]
fn the_capacity_of_m_m_1_is_that_of_theory() {
    // The time in the system is exponential with rate μ − λ: its 0.9 quantile is 1 s at λ = 10 − ln 10. Ten thousand
    // requests know the share of slow ones to three in a hundred, and it grows by ten for one request a second more.
    let scenario = scenario(&text("slo: {e2e: {p90: 1s}}", "arrivals: {poisson: {rate: 20/s}}"));
    let capacity = &scenario.capacities().expect("probes run")[0];
    let rate = capacity.requests_per_second.expect("some rate is the last that meets the objective");
    assert!((rate - 7.697).abs() < 0.8, "{capacity:?}");
    assert_eq!((capacity.target.as_str(), &capacity.why), ("web/main", &None));
}

#[test]
fn demand_of_three_replicas_is_met_by_three() {
    // 20 requests a second need three replicas that serve 7.7 each, and there are three. The last window is shorter.
    let scenario = measured("slo: {e2e: {p90: 1s}}", "arrivals: {constant: {rate: 20/s}}");
    let summary = start(&scenario).finish().expect("a run comes to its end").summary;
    let elasticity = summary.services[0].deployments[0].elasticity.expect("it was asked for");
    assert!(elasticity.theta_u.abs() < 1e-12 && elasticity.tau_u.abs() < 1e-12, "{elasticity:?}");
    assert!(elasticity.tau_o < 0.05, "{elasticity:?}");
    assert!(!summary.not_modelled.iter().any(|name| name.contains("elasticity")));
}

#[test]
fn without_an_objective_or_a_rate_there_is_no_capacity() {
    for (slo, traffic, why) in [
        ("", "arrivals: {poisson: {rate: 20/s}}", "its service has no slo"),
        ("slo: {e2e: {p90: 1s}}", "clients: {count: 5}", "clients that wait for their answers have no rate"),
        ("slo: {e2e: {p90: 1ms}}", "arrivals: {poisson: {rate: 20/s}}", "no rate meets the objectives"),
    ] {
        let scenario = scenario(&text(slo, traffic));
        let capacities = scenario.capacities().expect("probes run");
        assert_eq!((capacities[0].requests_per_second, capacities[0].why.as_deref()), (None, Some(why)));
        let summary = start(&scenario.measured_with(&capacities)).finish().expect("it ends").summary;
        assert_eq!(summary.services[0].deployments[0].elasticity, None);
        assert!(summary.not_modelled.iter().any(|name| name.contains("elasticity")));
    }
}

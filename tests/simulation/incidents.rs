//! Incidents that people have had, each a scenario of the library: what goes wrong is claimed, and that its cure cures it.

use scaletwin_core::record::RunRecord;

use crate::library::run;
use crate::timeline::scaled;

/// The change that names another manifest.
fn manifest(name: &str) -> String {
    format!("policy.controllers[0].manifest=manifests/{name}.yaml")
}

/// Replicas wanted on average in the last whole window.
fn wanted_at_the_end(record: &RunRecord) -> f64 {
    let rows = record.capacity.iter().rev().skip(1);
    rows.map(|row| row.replicas_wanted).next().expect("a run of several windows")
}

/// Asked at 600 s, and each 600 s after. The poll at 610 s sees it, and the one at 640 s; at 660 s the client gives up. Five minutes
/// after 640 s is 940 s, not strictly more; 970 s is, and the replica of 610 s would be loaded at 1090 s.
#[test]
fn a_cooldown_shorter_than_the_start_kills_every_replica_while_it_loads() {
    let killed = run("incident-cooldown", &[]);
    let steps = scaled(&killed);
    assert_eq!(steps[..4], [(610.0, 1), (970.0, 0), (1210.0, 1), (1570.0, 0)]);
    assert!(steps.chunks(4).all(|step| step[0].1 == 1), "for ever");
    let chat = &killed.summary.services[0];
    assert_eq!((chat.requests.completed, chat.deployments[0].cold_starts.count), (0, 0));

    let cured = run("incident-cooldown", &[&manifest("keda-patient")]);
    assert_eq!(scaled(&cured), [(610.0, 1)], "each further question comes before the cooldown is over");
    let requests = &cured.summary.services[0].requests;
    assert_eq!((requests.timed_out, requests.completed + requests.unfinished + 1), (1, requests.arrived));
}

#[test]
fn gpu_utilization_buys_all_replicas_and_gives_none_back() {
    let bought = run("incident-gpu-utilization", &[]);
    assert!(scaled(&bought).windows(2).all(|pair| pair[0].1 < pair[1].1), "it never scales down");
    assert!((wanted_at_the_end(&bought) - 6.0).abs() < 1e-9);

    let cured = run("incident-gpu-utilization", &[&manifest("hpa-running")]);
    assert!(wanted_at_the_end(&cured) <= 2.0, "{}", wanted_at_the_end(&cured));
    for record in [&bought, &cured] {
        assert!(record.summary.services[0].slo.attainment.expect("objectives") > 0.99);
    }
    let cost = |record: &RunRecord| record.summary.node_pools[0].cost_usd.expect("a price");
    assert!(cost(&cured) * 2.0 < cost(&bought), "{} and {}", cost(&cured), cost(&bought));
}

/// 8 / 7.5 is 1.067. With a tolerance of 2 percent four replicas become ceil(4 x 1.067) = 5, and five 6.
#[test]
fn a_metric_that_saturates_within_the_tolerance_never_scales() {
    let stuck = run("incident-tolerance", &[]);
    assert_eq!(scaled(&stuck), []);
    let lost = |record: &RunRecord| record.summary.services[0].requests.timed_out;
    assert!(lost(&stuck) > 1_000, "{}", lost(&stuck));

    let cured = run("incident-tolerance", &[&manifest("hpa-own-tolerance")]);
    let steps: Vec<i32> = scaled(&cured).into_iter().map(|(_, replicas)| replicas).collect();
    assert_eq!(steps[..2], [5, 6]);
    assert!(lost(&cured) * 2 < lost(&stuck), "{}", lost(&cured));
}

#[test]
fn a_metric_that_fails_lets_an_hpa_grow_and_never_shrink() {
    let stuck = run("incident-failing-metric", &[]);
    let steps: Vec<i32> = scaled(&stuck).into_iter().map(|(_, replicas)| replicas).collect();
    assert!(steps.len() >= 2 && steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    assert!(stuck.decisions.contains("FailedGetExternalMetric"));

    let label =
        "signals.waiting.promql=sum(vllm:num_requests_waiting{model_name=\"meta-llama/Llama-3.1-8B\"})";
    let cured = run("incident-failing-metric", &[label]);
    assert!(wanted_at_the_end(&cured) <= 2.0);
    assert!(!cured.decisions.contains("FailedGetExternalMetric"));
}

#[test]
fn an_empty_answer_takes_a_busy_service_down_for_good() {
    let down = run("incident-empty-answer", &[]);
    assert_eq!(scaled(&down), [(0.0, 0)]);
    assert_eq!(down.summary.services[0].requests.completed, 0);

    let cured = run("incident-empty-answer", &[&manifest("keda-strict")]);
    assert!(scaled(&cured).iter().all(|(_, replicas)| *replicas >= 1));
    assert!(cured.summary.services[0].slo.attainment.expect("objectives") > 0.9);
}

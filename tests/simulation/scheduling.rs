//! Where pods run and how many nodes there may be: labels, taints, what is reserved, quotas, scores, spot shares.

use std::path::Path;

use scaletwin_core::record::RunRecord;
use scaletwin_core::units::{Span, Time};
use scaletwin_scenarios::Scenario;

use crate::running::{record, scenario, start};

/// The three node autoscalers.
pub(crate) const AUTOSCALERS: [&str; 3] =
    ["{kind: node-provisioner, offset: 0s}", "{kind: cluster-autoscaler}", "{kind: karpenter}"];

pub(crate) fn text(cluster: &str, pools: &[&str], deployment: &str, controller: &str) -> String {
    let pool = |keys: &&str| {
        format!(
            "      - {{instance_type: own, memory: 8Gi, price_usd_per_hour: 3.6, provisioning: 60s, {keys}}}"
        )
    };
    let pools: Vec<String> = pools.iter().map(pool).collect();
    format!(
        "
name: scheduling
duration: 20m
end: cut
clusters:
  - name: here
    {cluster}
    node_pools:
{}
services:
  - name: one
    queue: {{}}
    deployments:
      - {{name: main, cold_start: 30s, {deployment}, engine: {{kind: concurrency, limit: 50, service_time: 1s}}}}
traffic: [{{name: all, until: 1000s, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy: {{controllers: [{controller}]}}
",
        pools.join("\n")
    )
}

/// The nodes of each pool on average over the run.
pub(crate) fn nodes(record: &RunRecord) -> Vec<f64> {
    record.summary.node_pools.iter().map(|pool| pool.node_hours * 3.0).collect()
}

/// The nodes that replicas are on, in the order of their creation.
pub(crate) fn homes(text: &str, second: u64) -> Vec<Option<String>> {
    let mut run = start(&scenario(text));
    let at = Time::ZERO + Span::from_secs(second);
    run.run_until(at).expect("a run goes on");
    run.snapshot(at).expect("it can be written").replicas.into_iter().map(|replica| replica.node).collect()
}

/// What is wrong with a scenario.
pub(crate) fn problems(text: &str) -> String {
    Scenario::parse("test.yaml", text, Path::new("")).expect_err("it is wrong").to_string()
}

const TAINTED: &str = "name: special, cpu: 1, nodes: {min: 0, max: 5}, taints: [{key: gpu, value: present, effect: NoSchedule}]";
const PLAIN: &str = "name: plain, cpu: 1, nodes: {min: 0, max: 5}, zone: b, labels: {disk: ssd}";

#[test]
fn a_taint_keeps_out_whoever_does_not_tolerate_it() {
    let tolerating = [
        ("", false),
        ("tolerations: [{key: gpu, value: other}],", false),
        ("tolerations: [{key: gpu, value: present}],", true),
        ("tolerations: [{operator: Exists}],", true),
        ("tolerations: [{key: gpu, operator: Exists, effect: NoExecute}],", false),
    ];
    for controller in AUTOSCALERS {
        for (keys, comes_in) in tolerating {
            let text = text("", &[TAINTED, PLAIN], &format!("{keys} replica: {{cpu: 1}}"), controller);
            let nodes = nodes(&record(&text));
            // A pod that may run in both gets the first one; the Cluster Autoscaler draws among equals.
            let draws = comes_in && controller == AUTOSCALERS[1];
            let seen = (nodes[0] > 0.5, nodes[1] > 0.5);
            assert!(draws || seen == (comes_in, !comes_in), "{controller} {keys}: {nodes:?}");
        }
    }
}

#[test]
fn a_selector_wants_labels_of_its_own_and_well_known_ones() {
    let other = "name: other, cpu: 1, nodes: {min: 0, max: 5}";
    for controller in AUTOSCALERS {
        for selector in
            ["disk: ssd", "topology.kubernetes.io/zone: b", "cloud.google.com/gke-nodepool: plain"]
        {
            let text = text(
                "",
                &[other, PLAIN],
                &format!("node_selector: {{{selector}}}, replica: {{cpu: 1}}"),
                controller,
            );
            let nodes = nodes(&record(&text));
            assert!(nodes[0] < 1e-9 && nodes[1] > 0.5, "{controller} {selector}: {nodes:?}");
        }
    }
}

#[test]
fn pods_that_fit_nowhere_are_an_error() {
    let of =
        |keys: &str| problems(&text("", &[TAINTED], &format!("{keys} replica: {{cpu: 1}}"), AUTOSCALERS[0]));
    assert!(of("").contains("no node pool takes its pods"), "{}", of(""));
    let selector = of("tolerations: [{operator: Exists}], node_selector: {disk: ssd},");
    assert!(selector.contains("no node pool has the label disk: ssd"), "{selector}");
}

#[test]
fn what_is_reserved_is_not_for_pods() {
    let pool = |keys: &str| format!("name: main, cpu: 4, nodes: {{min: 1, max: 5}}, {keys}");
    let run = |keys: &str| {
        let pool = pool(keys);
        record(&text("", &[pool.as_str()], "replicas: 2, replica: {cpu: 2}", AUTOSCALERS[0]))
    };
    assert!((nodes(&run(""))[0] - 1.0).abs() < 1e-9);
    // Of 3.9 cores only one replica has two.
    assert!((nodes(&run("reserved: {cpu: 100m, memory: 1Gi}"))[0] - 2.0).abs() < 1e-9);
    let much = pool("reserved: {cpu: 5}");
    let much = problems(&text("", &[much.as_str()], "replica: {cpu: 2}", AUTOSCALERS[0]));
    assert!(much.contains("at most what a node has"), "{much}");
}

#[test]
fn a_launch_beyond_the_quota_is_refused_by_name() {
    let pool = "name: main, cpu: 1, nodes: {min: 1, max: 9}";
    for controller in AUTOSCALERS {
        let record = record(&text("quota: {cpu: 2}", &[pool], "replicas: 4, replica: {cpu: 1}", controller));
        let refusal = "quota for main: the quota is 2 cores: 2 are in use, and the node has 1";
        assert!(record.decisions.contains(refusal), "{controller}");
        assert!(nodes(&record)[0] <= 2.0 + 1e-9, "{controller}");
        assert_eq!(record.summary.services[0].deployments[0].replicas.max, 2);
    }
    let few = problems(&text("quota: {cpu: 500m}", &[pool], "replica: {cpu: 1}", AUTOSCALERS[0]));
    assert!(few.contains("beyond the quota"), "{few}");
}

#[test]
fn replicas_go_where_the_scores_of_the_scheduler_send_them() {
    // Two nodes of 4 cores and one of 8.
    let pools = ["name: small, cpu: 4, nodes: 2", "name: large, cpu: 8, nodes: 1"];
    let homes = |placement: &str| {
        let text = text(&format!("placement: {placement}"), &pools, "replicas: 3, replica: {cpu: 2}", "");
        let homes: Vec<String> =
            homes(&text, 10).into_iter().map(|home| home.expect("it has a node")).collect();
        homes.join(" ")
    };
    assert_eq!(homes("first-fit"), "small-0 small-0 small-1");
    assert_eq!(homes("best-fit"), "small-0 small-0 small-1");
    // Left are 50, 50 and 75 hundredths of the cores; then 50, 50, 50, and the first is taken.
    assert_eq!(homes("spread"), "large-2 small-0 small-1");
    assert_eq!(homes("pack"), "small-0 small-0 small-1");
}

#[test]
fn a_share_of_spot_nodes_is_kept_and_the_rest_is_bought() {
    let pools = [
        "name: cheap, cpu: 1, nodes: {min: 0, max: 9}, capacity_type: spot, spot: {lifetime: 10d}",
        "name: dear, cpu: 1, nodes: {min: 0, max: 9}",
    ];
    for (share, spot) in [("0.5", 2.0), ("0", 0.0), ("0.74", 2.0), ("0.75", 3.0), ("1", 4.0)] {
        for controller in AUTOSCALERS {
            let keys = format!("max_spot_share: {share}, replicas: 4, replica: {{cpu: 1}}");
            let nodes = nodes(&record(&text("", &pools, &keys, controller)));
            // The Cluster Autoscaler may well buy all in one group that takes all.
            let least = if controller == AUTOSCALERS[1] { 0.0 } else { spot - 0.1 };
            assert!(least <= nodes[0] && nodes[0] < spot + 1e-9, "{controller} {share}: {nodes:?}");
            let all = nodes[0] + nodes[1];
            assert!(3.9 < all && all < 4.0 + 1e-9, "{controller} {share}: {nodes:?}");
        }
    }
}

//! Replicas that are placed with others, or apart from them, with answers known beforehand.

use crate::running::{record, scenario, start};
use crate::scheduling::{AUTOSCALERS, homes, nodes, problems, text};

const ALONE: &str = "affinity: {pod_anti_affinity: {required: [{topology_key: kubernetes.io/hostname}]}}";
const ONE_A_ZONE: &str =
    "affinity: {pod_anti_affinity: {required: [{topology_key: topology.kubernetes.io/zone}]}}";
const EVEN: &str = "topology_spread_constraints: [{topology_key: topology.kubernetes.io/zone}]";

/// The pools of the nodes that replicas are on at 300 s, in the order of their creation; `-` without one.
fn pools(text: &str) -> String {
    let pool = |home: Option<String>| {
        home.map_or("-".to_owned(), |home| home.split('-').next().unwrap_or("").to_owned())
    };
    homes(text, 300).into_iter().map(pool).collect::<Vec<_>>().join(" ")
}

#[test]
fn replicas_that_want_to_be_alone_get_a_node_each() {
    // All three would fit on the one node that is there.
    let pool = "name: main, cpu: 4, nodes: {min: 1, max: 5}";
    for controller in AUTOSCALERS {
        let of =
            |keys: &str| text("", &[pool], &format!("{keys}, replicas: 3, replica: {{cpu: 1}}"), controller);
        assert!((nodes(&record(&of("weight: 1").replace("weight: 1, ", "")))[0] - 1.0).abs() < 1e-9);
        let mut alone: Vec<String> = homes(&of(ALONE), 300).into_iter().flatten().collect();
        alone.sort();
        assert_eq!(alone, ["main-0", "main-1", "main-2"], "{controller}");
        // Two are launched and no more; the first look of a controller is at 40 s at the latest.
        let mean = nodes(&record(&of(ALONE)))[0];
        assert!((1.0 + 2.0 * (1160.0 / 1200.0)..=3.0 + 1e-9).contains(&mean), "{controller}: {mean}");
    }
}

#[test]
fn no_node_is_promised_to_a_replica_that_none_can_take() {
    // One a zone, and there are two zones: the third waits, and nobody launches a node for it.
    let two = [
        "name: a, cpu: 4, zone: a, nodes: {min: 1, max: 5}",
        "name: b, cpu: 4, zone: b, nodes: {min: 0, max: 5}",
    ];
    for controller in AUTOSCALERS {
        let text = text("", &two, &format!("{ONE_A_ZONE}, replicas: 3, replica: {{cpu: 1}}"), controller);
        assert_eq!(pools(&text), "a b -", "{controller}");
        let nodes = nodes(&record(&text));
        assert!((nodes[0] - 1.0).abs() < 1e-9 && nodes[1] <= 1.0, "{controller}: {nodes:?}");
    }
}

#[test]
fn a_spread_over_zones_is_even_whoever_buys_the_nodes() {
    let two = [
        "name: a, cpu: 1, zone: a, nodes: {min: 1, max: 5}",
        "name: b, cpu: 1, zone: b, nodes: {min: 1, max: 5}",
    ];
    for controller in AUTOSCALERS {
        let keys = format!("{EVEN}, replicas: 6, replica: {{cpu: 1}}");
        let homes = pools(&text("", &two, &keys, controller));
        assert_eq!((homes.matches('a').count(), homes.matches('b').count()), (3, 3), "{controller}: {homes}");
    }
    // Where one zone can have no more, those that would be too many in the other one wait.
    let scarce = [two[0], "name: b, cpu: 1, zone: b, nodes: 1"];
    for controller in AUTOSCALERS {
        let keys = format!("{EVEN}, replicas: 6, replica: {{cpu: 1}}");
        let text = text("", &scarce, &keys, controller);
        let homes = pools(&text);
        assert_eq!((homes.matches('a').count(), homes.matches('b').count()), (2, 1), "{controller}: {homes}");
        assert!(nodes(&record(&text))[0] <= 2.0, "{controller}");
    }
}

#[test]
fn what_is_preferred_comes_before_the_rule_of_the_cluster() {
    let pools = ["name: small, cpu: 4, nodes: 2", "name: fast, cpu: 4, nodes: 1, labels: {disk: ssd}"];
    let homes = |keys: &str, first: &str| {
        let pools = [first, pools[1]];
        let homes = homes(&text("", &pools, &format!("{keys} replicas: 3, replica: {{cpu: 2}}"), ""), 10);
        homes.into_iter().map(|home| home.expect("it has a node")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(homes("", pools[0]), "small-0 small-0 small-1");
    // Two replicas fit on the node that is preferred.
    let labels = "affinity: {node_affinity: {preferred: [{weight: 1, match_labels: {disk: ssd}}]}},";
    assert_eq!(homes(labels, pools[0]), "fast-2 fast-2 small-0");
    let tainted = format!("{}, taints: [{{key: old, effect: PreferNoSchedule}}]", pools[0]);
    assert_eq!(homes("", &tainted), "fast-2 fast-2 small-0");
    assert_eq!(homes("tolerations: [{key: old, operator: Exists}],", &tainted), "small-0 small-0 small-1");
    let spread = "topology_spread_constraints: [{topology_key: kubernetes.io/hostname, when_unsatisfiable: ScheduleAnyway}],";
    assert_eq!(homes(spread, pools[0]), "small-0 small-1 fast-2");
    let apart =
        "affinity: {pod_anti_affinity: {preferred: [{weight: 1, topology_key: kubernetes.io/hostname}]}},";
    assert_eq!(homes(apart, pools[0]), "small-0 small-1 fast-2");
}

#[test]
fn a_replica_goes_where_that_of_another_deployment_is() {
    let pools = ["name: small, cpu: 4, nodes: 2", "name: large, cpu: 8, nodes: 1"];
    let side =
        "affinity: {pod_affinity: {required: [{deployment: main, topology_key: kubernetes.io/hostname}]}}";
    let engine = "engine: {kind: concurrency, limit: 50, service_time: 1s}";
    let first =
        format!("deployments:\n      - {{name: side, {side}, replicas: 2, replica: {{cpu: 1}}, {engine}}}");
    let text = text("placement: spread", &pools, "replicas: 1, replica: {cpu: 2}", "")
        .replace("deployments:", &first);
    // Those of the first deployment are older, and wait for that of the second.
    assert_eq!(
        homes(&text, 10),
        [Some("large-2".to_owned()), Some("large-2".to_owned()), Some("large-2".to_owned())]
    );
}

#[test]
fn a_rollout_of_replicas_that_are_alone_waits_for_room() {
    // Two nodes: the new replica has no node that is free of old ones, and with max_surge alone nothing would move.
    let pool = "name: main, cpu: 4, nodes: 2";
    let of = |update: &str| {
        let keys = format!("{ALONE}, replicas: 2, replica: {{cpu: 1}}, rollouts: [100s], update: {update}");
        let mut run = start(&scenario(&text("", &[pool], &keys, "")));
        run.run_until(scaletwin_core::units::Time::ZERO + scaletwin_core::units::Span::from_secs(600))
            .expect("it goes on");
        homes(&text("", &[pool], &keys, ""), 600)
    };
    let stuck = of("{max_surge: 1, max_unavailable: 0}");
    assert_eq!(stuck.len(), 3);
    assert_eq!(stuck.iter().filter(|home| home.is_none()).count(), 1);
    let moved = of("{max_surge: 0, max_unavailable: 1}");
    assert_eq!(moved.len(), 2);
    assert!(moved.iter().all(Option::is_some));
}

#[test]
fn terms_that_make_no_sense_are_errors() {
    let pools = ["name: main, cpu: 4, nodes: 2"];
    let of = |keys: &str| problems(&text("", &pools, &format!("{keys}, replica: {{cpu: 1}}"), ""));
    let unknown =
        of("affinity: {pod_affinity: {required: [{deployment: man, topology_key: kubernetes.io/hostname}]}}");
    assert!(unknown.contains("unknown deployment \"man\""), "{unknown}");
    let key = of("topology_spread_constraints: [{topology_key: rack}]");
    assert!(key.contains("expected one of kubernetes.io/hostname"), "{key}");
    let weight = of("affinity: {node_affinity: {preferred: [{weight: 101, match_labels: {disk: ssd}}]}}");
    assert!(
        weight.contains("a weight is from 1 to 100") && weight.contains("no node pool has the label"),
        "{weight}"
    );
}

//! Cluster Autoscaler and Karpenter through whole runs, to the second.
//!
//! Replicas of one core each. A node takes 60 s to come, a cold start 30 s, and each pool has nodes of one core.
//!
//! **The same pods.** Two of three replicas find no node at 0 s. The Cluster Autoscaler looks at 1 s and finds them too new
//! (under 2 s); its next loop is 10 s later. Karpenter's batch ends when no pod has come for 1 s. So nodes are launched at
//! 11 s and at 1 s.
//!
//! **No spot capacity from 600 s on.** A new pod is pending at 600 s, when the spot node is told to go. Cluster Autoscaler:
//! at 600 s too new; at 610 s the preferred group, which is refused; that was productive, so that the next loop is a second
//! later: the group is left alone, the other one grows. Karpenter: batch until 601 s, refused; the next offering at 602 s. From
//! 790 s on, 3 minutes after the refusal, it believes that spot can be had, and tries to move there each 3 minutes.
//!
//! **Consolidation.** No spot capacity up to 300 s. Karpenter tries spot at 1 s, is refused, and launches on demand at 2 s:
//! ready at 62 s. An offering that was refused is passed over for 3 minutes, so that at the look of 190 s spot would be
//! cheaper; that holds for 15 s; at 205 s it is refused again. At 385 s, 3 minutes later, it is planned again, and made at
//! 400 s: the spot node is ready at 460 s, the other is drained, and gone seconds later. The spot node is taken back 10 minutes after it was ready, with two
//! minutes' notice: told at 940 s. The next batch ends at 941 s.
//!
//! **A reclaim during consolidation.** The same up to 400 s, and no spot capacity from 430 s on: the node that comes in place of the
//! other is told to go before it is ready, and lives for 30 s and its notice of 120 s. The other one takes pods again and stays: from 2 s
//! to the end. Its replica is ready at 92 s, and nobody who comes later waits.

use scaletwin_core::control::Action;
use scaletwin_core::model::Snapshot;
use scaletwin_core::record::{DecisionLine, RunRecord};
use scaletwin_core::units::{Span, Time};

use crate::running::{self, record};

fn scenario(replicas: u32, spot: &str, fewest: u32, controller: &str) -> String {
    format!(
        "
name: nodes
duration: 20m
end: cut
clusters:
  - name: here
    node_pools:
      - name: cheap
        instance_type: own
        cpu: 1
        memory: 4Gi
        price_usd_per_hour: 3
        capacity_type: spot
        nodes: {{min: {fewest}, max: 5}}
        provisioning: 60s
        spot: {spot}
      - {{name: dear, instance_type: own, cpu: 1, memory: 4Gi, price_usd_per_hour: 9, nodes: {{min: 0, max: 5}}, provisioning: 60s}}
services:
  - name: one
    queue: {{}}
    deployments:
      - {{name: main, replicas: {replicas}, replica: {{cpu: 1}}, cold_start: 30s, grace: 100s, engine: {{kind: concurrency, limit: 50, service_time: 2s}}}}
traffic: [{{name: all, until: 1100s, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy: {{controllers: [{controller}]}}
"
    )
}

const AUTOSCALER: &str = "{kind: cluster-autoscaler, offset: 1s, flags: {expander: priority, priorities: {20: [cheap], 10: [dear]}}}";
const KARPENTER: &str = "{kind: karpenter, offset: 0s}";

/// What was asked for when: launches with their number, and replacements.
fn launches(record: &RunRecord) -> Vec<(f64, String)> {
    let mut list = Vec::new();
    // Lines without a controller are what became of the actions.
    for line in record.decisions.lines().filter(|line| line.contains("\"controller\":")) {
        let line: DecisionLine<'_> = serde_json::from_str(line).expect("a decision");
        for action in line.actions.iter() {
            match action {
                Action::LaunchNodes(launch) => {
                    list.push((line.t_seconds, format!("{} {}", launch.count, launch.pool)));
                }
                Action::ReplaceNodes { launch, drain } => {
                    list.push((line.t_seconds, format!("{} by {}", drain.join(" "), launch.pool)));
                }
                _ => {}
            }
        }
    }
    list
}

fn asked(list: &[(f64, &str)]) -> Vec<(f64, String)> {
    list.iter().map(|(at, what)| (*at, (*what).to_owned())).collect()
}

#[test]
fn two_autoscalers_help_the_same_pods_at_the_instants_computed_by_hand() {
    let plenty = "{lifetime: 10d}";
    let of = |controller: &str| record(&scenario(3, plenty, 1, controller));
    let autoscaler = of(AUTOSCALER);
    assert_eq!(launches(&autoscaler), asked(&[(11.0, "2 cheap")]));
    // 1200 s of the first node and 1189 s of the others.
    let hours = autoscaler.summary.node_pools[0].node_hours;
    assert!((hours * 3600.0 - 3578.0).abs() < 1e-6, "{hours}");
    let karpenter = of(KARPENTER);
    assert_eq!(launches(&karpenter), asked(&[(1.0, "2 cheap")]));
    assert!((karpenter.summary.node_pools[0].node_hours * 3600.0 - 3598.0).abs() < 1e-6);
}

#[test]
fn a_group_without_capacity_is_left_alone_for_another() {
    let gone = "{available: [{from: 10m, nodes: 0}], notice: 2m}";
    let looking = AUTOSCALER.replace("offset: 1s", "offset: 0s");
    assert_eq!(
        launches(&record(&scenario(1, gone, 1, &looking))),
        asked(&[(610.0, "1 cheap"), (611.0, "1 dear")])
    );
    assert_eq!(
        launches(&record(&scenario(1, gone, 1, KARPENTER))),
        asked(&[
            (601.0, "1 cheap"),
            (602.0, "1 dear"),
            (805.0, "dear-1 by cheap"),
            (1000.0, "dear-1 by cheap"),
            (1195.0, "dear-1 by cheap"),
        ])
    );
}

#[test]
fn karpenter_moves_to_spot_when_it_can_be_had_and_on_when_it_is_taken_back() {
    let late = "{lifetime: 10m, notice: 2m, available: [{from: 0s, nodes: 0}, {from: 5m, nodes: 5}]}";
    let record = record(&scenario(1, late, 0, KARPENTER));
    let want = [
        (1.0, "1 cheap"),
        (2.0, "1 dear"),
        (205.0, "dear-0 by cheap"),
        (400.0, "dear-0 by cheap"),
        (941.0, "1 cheap"),
    ];
    assert_eq!(launches(&record), asked(&want));
    let [cheap, dear] = &record.summary.node_pools[..] else { panic!("two pools") };
    assert_eq!(cheap.interruptions, Some(1));
    let lived = dear.node_hours * 3600.0;
    assert!(
        (458.0..=465.0).contains(&lived),
        "from 2 s to the end of its last requests after 460 s: {lived}"
    );
    assert!(record.decisions.contains("the provider has no capacity for cheap"));
    let requests = &record.summary.services[0].requests;
    assert_eq!((requests.failed, requests.completed), (0, requests.arrived));
}

#[test]
fn a_node_pool_launches_nothing_that_has_other_labels_than_it_gives() {
    // The heavier NodePool would take the node of 4 cores; it gives its nodes another tier than all that there are have.
    let text = |labels: &str| {
        format!(
            "
name: labels
duration: 5m
end: cut
clusters:
  - name: here
    node_pools:
      - {{name: small, instance_type: own, cpu: 4, memory: 8Gi, labels: {{tier: gpu}}, nodes: {{min: 0, max: 9}}, price_usd_per_hour: 1, provisioning: 30s}}
      - {{name: large, instance_type: own, cpu: 8, memory: 16Gi, labels: {{tier: gpu}}, nodes: {{min: 0, max: 9}}, price_usd_per_hour: 2, provisioning: 30s}}
services:
  - name: web
    queue: {{}}
    deployments:
      - name: main
        replica: {{cpu: 2}}
        node_selector: {{tier: gpu}}
        engine: {{kind: concurrency, limit: 9, service_time: 1s}}
traffic: [{{name: all, until: 5m, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy:
  controllers:
    - kind: karpenter
      offset: 0s
      node_pools:
        - name: cpu
          weight: 10
          requirements: [{{key: karpenter.k8s.aws/instance-cpu, operator: In, values: ['4']}}]
          {labels}
        - {{name: gpu, labels: {{tier: gpu}}, requirements: [{{key: karpenter.k8s.aws/instance-cpu, operator: In, values: ['8']}}]}}
"
        )
    };
    let first = |labels: &str| launches(&record(&text(labels))).first().map(|(_, what)| what.clone());
    assert_eq!(first("labels: {team: a}").as_deref(), Some("1 small"));
    assert_eq!(first("labels: {tier: cpu}").as_deref(), Some("1 large"));
}

#[test]
fn a_node_whose_replacement_is_taken_back_before_it_is_ready_stays() {
    let back =
        "{notice: 2m, available: [{from: 0s, nodes: 0}, {from: 5m, nodes: 5}, {from: 430s, nodes: 0}]}";
    let record = record(&scenario(1, back, 0, KARPENTER));
    let list = launches(&record);
    assert_eq!(list[3], (400.0, "dear-0 by cheap".to_owned()));
    assert!(list[4..].iter().all(|(_, what)| what == "dear-0 by cheap"), "it is tried again: {list:?}");
    let [cheap, dear] = &record.summary.node_pools[..] else { panic!("two pools") };
    assert_eq!(cheap.interruptions, Some(1));
    assert!((cheap.node_hours * 3600.0 - 150.0).abs() < 1e-6, "{}", cheap.node_hours);
    assert!((dear.node_hours * 3600.0 - 1198.0).abs() < 1e-6, "{}", dear.node_hours);
    let one = &record.summary.services[0];
    assert_eq!(one.requests.completed, one.requests.arrived);
    let longest = one.e2e_seconds.as_ref().and_then(|e2e| e2e.max).expect("requests that completed");
    assert!(longest < 94.0, "only those of the start wait: {longest}");
}

#[test]
fn a_run_cut_in_two_goes_on_as_if_it_were_one() {
    let late = "{lifetime: 10m, notice: 2m, available: [{from: 0s, nodes: 0}, {from: 5m, nodes: 5}]}";
    for controller in [AUTOSCALER, KARPENTER] {
        let scenario = running::scenario(&scenario(1, late, 0, controller));
        let whole = running::start(&scenario).finish().expect("a run comes to its end");
        for second in [10, 195, 430, 945] {
            let mut run = running::start(&scenario);
            let at = Time::ZERO + Span::from_secs(second);
            run.run_until(at).expect("a run goes on");
            let written =
                run.snapshot(at).and_then(|snapshot| snapshot.to_json()).expect("it can be written");
            let snapshot = Snapshot::from_json(&written).expect("what was written can be read");
            let rest = scenario.resume(&snapshot).expect("it fits").finish().expect("a run comes to its end");
            assert_eq!(rest.summary.record_hash, whole.summary.record_hash, "{controller} at {second} s");
        }
    }
}

//! Replicas come, go and find nodes.

use std::sync::Arc;

use scaletwin_core::control::{CapacityType, Resources, TargetName};
use scaletwin_core::random::Law;
use scaletwin_core::units::Span;

use super::*;
use crate::cluster::ledger::Terms;
use crate::cluster::placement::Placement;
use crate::cluster::settings::Readiness;
use crate::cluster::standby::StandbySettings;

fn at(secs: u64) -> Time {
    Time::ZERO + Span::from_secs(secs)
}

fn gpus(milli: i64) -> Resources {
    Resources { gpu_milli: milli, ..Resources::default() }
}

fn clusters(min_nodes: u32) -> Vec<ClusterSettings> {
    let pool = PoolSettings {
        name: "gpu".into(),
        instance_type: "x".into(),
        capacity_type: CapacityType::OnDemand,
        zone: "a".into(),
        labels: Default::default(),
        allocatable: gpus(2_000),
        reserved: Resources::default(),
        overcommitted: Resources::default(),
        gpu_sharing: None,
        accelerator: None,
        terms: Terms { usd_per_hour: Some(3.0), ..Terms::default() },
        prices: Vec::new(),
        min_nodes,
        max_nodes: 3,
        provisioning: Law::Constant { value: 60.0 },
        download: 250e6,
        spot: None,
        failures: None,
        power: None,
    };
    vec![ClusterSettings {
        name: "c".into(),
        registry_bandwidth: None,
        placement: Placement::FirstFit,
        quota: Quota::default(),
        detection: Default::default(),
        pools: vec![pool],
    }]
}

fn deployments(replicas: i32) -> Vec<DeploymentSettings> {
    vec![DeploymentSettings {
        target: TargetName::new("s/d"),
        name: "d".into(),
        service: 0,
        cluster: Some(0),
        pool: None,
        barred: Vec::new(),
        terms: PodTerms::none(TargetName::new("s/d")),
        preferences: Default::default(),
        priority: 0,
        preempts: true,
        crashes: None,
        max_spot_share: None,
        role: "both".into(),
        requests: gpus(1_000),
        containers: Arc::from([]),
        replicas,
        cold_start: Law::Constant { value: 30.0 },
        start_up: None,
        readiness: Readiness::default(),
        grace: Span::from_secs(30),
        disruption_budget: None,
        update: Default::default(),
        rollouts: Vec::new(),
        standby: None,
    }]
}

fn created(changes: &[Change]) -> usize {
    changes.iter().filter(|change| matches!(change, Change::Created { .. })).count()
}

fn bound(changes: &[Change]) -> Vec<u32> {
    let of = changes.iter().filter_map(|change| match change {
        Change::Bound { replica, .. } => Some(replica.0),
        _ => None,
    });
    of.collect()
}

fn deleted(changes: &[Change]) -> Vec<u32> {
    let of = changes.iter().filter_map(|change| match change {
        Change::Deleted { replica, .. } => Some(replica.0),
        _ => None,
    });
    of.collect()
}

#[test]
fn replicas_without_room_wait_for_a_node() {
    let mut fleet = Fleet::new(&clusters(1), &deployments(3));
    let changes = fleet.settle(at(0));
    assert_eq!((created(&changes), bound(&changes)), (3, vec![0, 1]));
    assert!(changes.contains(&Change::Pending));
    let (node, _) = fleet.launch(0, at(10)).unwrap();
    assert_eq!(bound(&fleet.settle(at(10))), [] as [u32; 0], "the node is not ready yet");
    fleet.node_ready(node, at(70));
    assert_eq!(bound(&fleet.settle(at(70))), [2]);
    fleet.check(at(100));
    assert_eq!(fleet.accounts()[0].billed_nanos(at(100)), 190_000_000_000);
}

#[test]
fn those_without_a_node_go_first_then_the_youngest() {
    let mut fleet = Fleet::new(&clusters(2), &deployments(3));
    fleet.settle(at(0));
    for id in 0..3 {
        fleet.replica_ready(ReplicaId(id), at(30 + u64::from(id) * 100));
    }
    fleet.set_wanted(0, 5);
    fleet.settle(at(1_000));
    fleet.set_wanted(0, 2);
    // 4 has no node, 3 is not ready, and the others have been ready for about as long.
    assert_eq!(deleted(&fleet.settle(at(1_001))), [4, 3, 2]);
}

#[test]
fn who_stands_by_is_called_first_and_replaced_and_no_controller_sees_it() {
    let mut settings = deployments(2);
    settings[0].standby = Some(StandbySettings { replicas: 2, wake: Law::Constant { value: 1.0 } });
    let mut fleet = Fleet::new(&clusters(3), &settings);
    let called = |changes: &[Change]| -> Vec<(u32, bool)> {
        let of = changes.iter().filter_map(|change| match change {
            Change::Called { replica, loaded, .. } => Some((replica.0, *loaded)),
            _ => None,
        });
        of.collect()
    };
    let changes = fleet.settle(at(0));
    assert_eq!((created(&changes), bound(&changes)), (4, vec![0, 1, 2, 3]));
    let pods = |fleet: &Fleet| (fleet.target_view(0).status_replicas, fleet.target_view(0).pods.len());
    assert_eq!((pods(&fleet), fleet.standby(0)), ((2, 2), 2));
    assert!(!fleet.stands_by(ReplicaId(0)) && fleet.stands_by(ReplicaId(3)));
    // The one that is loaded goes before the older one.
    fleet.set_wanted(0, 3);
    let changes = fleet.settle(at(10));
    assert_eq!((called(&changes), created(&changes), bound(&changes)), (vec![(3, true)], 1, vec![4]));
    assert_eq!((pods(&fleet), fleet.standby(0), fleet.loaded_standby(0)), ((3, 3), 2, 0));
    assert_eq!(fleet.nodes_view().nodes.iter().map(|node| node.pods.len()).sum::<usize>(), 5);
    // Those that are too many are of the others, and nobody is called in the place of one that stands by.
    fleet.set_wanted(0, 1);
    let changes = fleet.settle(at(20));
    assert_eq!((deleted(&changes).len(), called(&changes), fleet.standby(0)), (2, vec![], 2));
    assert!(deleted(&changes).iter().all(|id| [0, 1, 3].contains(id)));
    // A rollout replaces those that stand by as well.
    fleet.roll_out(0);
    let changes = fleet.settle(at(30));
    assert!(deleted(&changes).contains(&2) && deleted(&changes).contains(&4), "{changes:?}");
    assert_eq!(fleet.standby(0), 2);
    fleet.check(at(30));
}

#[test]
fn a_removed_replica_leaves_its_room() {
    let mut fleet = Fleet::new(&clusters(1), &deployments(2));
    fleet.settle(at(0));
    fleet.set_wanted(0, 1);
    let gone = deleted(&fleet.settle(at(5)));
    assert_eq!(fleet.target_view(0).pods.len(), 2, "a pod being deleted is still listed");
    assert_eq!(fleet.target_view(0).status_replicas, 1);
    fleet.remove_replica(ReplicaId(gone[0]), at(9));
    fleet.check(at(9));
    fleet.set_wanted(0, 2);
    assert_eq!(bound(&fleet.settle(at(9))), [2]);
}

#[test]
fn a_full_pool_refuses_by_name() {
    let mut fleet = Fleet::new(&clusters(3), &deployments(0));
    assert_eq!(
        fleet.launch(0, at(0)).unwrap_err(),
        "pool gpu has 3 nodes and may have 3: 1 more are too many"
    );
    assert_eq!(fleet.delete_node("gpu-9", at(0)).unwrap_err(), "there is no node gpu-9");
    fleet.delete_node("gpu-1", at(60)).unwrap();
    assert_eq!(fleet.accounts()[0].nodes(), 2);
    fleet.check(at(90));
}

#[test]
fn a_saved_fleet_goes_on() {
    let mut fleet = Fleet::new(&clusters(1), &deployments(3));
    fleet.settle(at(0));
    fleet.replica_ready(ReplicaId(0), at(30));
    let text = serde_json::to_string(&fleet.save()).unwrap();
    let saved: SavedFleet = serde_json::from_str(&text).unwrap();
    let mut back = Fleet::restore(&clusters(1), &deployments(3), &saved);
    assert_eq!(back.save(), fleet.save());
    for fleet in [&mut fleet, &mut back] {
        let (node, _) = fleet.launch(0, at(40)).unwrap();
        fleet.node_ready(node, at(50));
        fleet.settle(at(50));
        fleet.set_wanted(0, 1);
        fleet.settle(at(60));
        fleet.check(at(60));
    }
    assert_eq!(back.save(), fleet.save());
    assert_eq!(back.nodes_view(), fleet.nodes_view());
}

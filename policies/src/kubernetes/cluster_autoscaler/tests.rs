//! The loop on small views, by hand.

use super::spec::FlagsSpec;
use super::*;
use proptest::prelude::*;
use scaletwin_core::control::{CapacityType, PendingPod, PlacedPod, Resources, TargetName};
use scaletwin_core::input::{Problems, Read, parse};
use scaletwin_core::random::Seed;
use scaletwin_core::units::Civil;

fn size(cpu_milli: i64, gpu_milli: i64) -> Resources {
    Resources { cpu_milli, memory_bytes: 0, gpu_milli }
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

fn pending(name: &str, since: u64, requests: Resources) -> PendingPod {
    PendingPod {
        name: name.into(),
        target: TargetName::new("s/d"),
        cluster: "c".into(),
        pool: None,
        barred: Vec::new(),
        tied: None,
        since: at(since),
        requests,
    }
}

fn node(name: &str, ready: bool, allocatable: Resources, pods: &[i64]) -> NodeView {
    let pod = |(place, cpu): (usize, &i64)| PlacedPod {
        name: format!("{name}-{place}"),
        target: TargetName::new("s/d"),
        pool: None,
        barred: Vec::new(),
        tied: None,
        requests: size(*cpu, 0),
        disruptions_allowed: None,
        deleted: false,
    };
    NodeView {
        name: name.into(),
        cluster: "c".into(),
        pool: name.split('-').next().unwrap_or("").into(),
        instance_type: "x".into(),
        zone: "a".into(),
        capacity_type: CapacityType::OnDemand,
        created: Time::ZERO,
        ready_since: ready.then_some(Time::ZERO),
        unready_since: None,
        cordoned: false,
        price_usd_per_hour: None,
        capacity: allocatable,
        allocatable,
        pods: pods.iter().enumerate().map(pod).collect(),
    }
}

fn offer(pool: &str, allocatable: Resources, room: u32) -> Offer {
    Offer {
        cluster: "c".into(),
        pool: pool.into(),
        instance_type: "x".into(),
        zone: "a".into(),
        capacity_type: CapacityType::OnDemand,
        price_usd_per_hour: None,
        capacity: allocatable,
        allocatable,
        min_nodes: 0,
        room,
        stocked_out: None,
    }
}

fn autoscaler(flags: &str) -> ClusterAutoscaler {
    let mut problems = Problems::default();
    let flags = FlagsSpec::read(&parse("flags", flags).expect("YAML"), &mut problems).expect("flags");
    let settings = flags.check(&mut problems).expect("right flags");
    let schedule = Schedule::every(Span::from_secs(10));
    ClusterAutoscaler::new("c".into(), settings, Span::from_secs(1), schedule, Seed(1).component("ca"))
}

fn decide(autoscaler: &mut ClusterAutoscaler, now: u64, cause: Cause, view: &NodesView) -> Decision {
    let mut seen = Observation::at(at(now), Civil::DEFAULT_START);
    (seen.cause, seen.nodes) = (cause, Some(view.clone()));
    let decision = autoscaler.decide(&seen);
    assert!(decision.wake_at.is_none_or(|wake| wake > seen.now));
    decision
}

fn launched(decision: &Decision) -> Vec<(&str, u32)> {
    decision
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::LaunchNodes(launch) => Some((launch.pool.as_str(), launch.count)),
            _ => None,
        })
        .collect()
}

fn drained(decision: &Decision) -> Vec<&str> {
    decision
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::DrainNode { node, .. } => Some(node.as_str()),
            _ => None,
        })
        .collect()
}

fn view(nodes: Vec<NodeView>, pending: Vec<PendingPod>, offers: Vec<Offer>) -> NodesView {
    NodesView { nodes, pending, offers, terms: Vec::new() }
}

#[test]
fn with_too_many_silent_nodes_nothing_is_done() {
    let silent = |name: &str| NodeView {
        unready_since: Some(Time::ZERO),
        cordoned: true,
        ..node(name, true, size(4_000, 0), &[])
    };
    let there = |count: usize| {
        let mut nodes: Vec<NodeView> = (0..count).map(|n| silent(&format!("g-{n}"))).collect();
        nodes.extend((count..8).map(|n| node(&format!("g-{n}"), true, size(4_000, 0), &[4_000])));
        view(nodes, vec![pending("a", 0, size(1_000, 0))], vec![offer("g", size(4_000, 0), 9)])
    };
    // Three may always be; then more than 45 % of eight: four.
    for (count, acts) in [(3, true), (4, false)] {
        let decision = decide(&mut autoscaler("{}"), 30, Cause::Periodic, &there(count));
        assert_eq!(!launched(&decision).is_empty(), acts, "{count}");
        assert_eq!(decision.reasons.iter().any(|reason| reason.code == "ClusterUnhealthy"), !acts);
    }
    let lenient = "{max_total_unready_percentage: 50}";
    assert_eq!(launched(&decide(&mut autoscaler(lenient), 30, Cause::Periodic, &there(4))), [("g", 1)]);
}

#[test]
fn a_new_pod_calls_for_a_loop_and_waits_for_the_next_one() {
    let mut ca = autoscaler("{}");
    let empty = view(vec![], vec![], vec![offer("g", size(4_000, 0), 9)]);
    decide(&mut ca, 0, Cause::Periodic, &empty);
    let waiting = view(vec![], vec![pending("a", 3, size(1_000, 0))], empty.offers.clone());
    // The poke begins a loop, for which the pod is too new; the next one is 10 s after that.
    let first = decide(&mut ca, 3, Cause::Poke(Poke::PendingPods), &waiting);
    assert_eq!((launched(&first), first.wake_at), (vec![], Some(at(13))));
    assert!(launched(&decide(&mut ca, 10, Cause::Periodic, &waiting)).is_empty());
    assert_eq!(launched(&decide(&mut ca, 13, Cause::Wake, &waiting)), [("g", 1)]);
}

#[test]
fn pods_with_gpus_wait_for_more_of_their_kind_for_30_seconds() {
    let mut ca = autoscaler("{}");
    let waiting =
        view(vec![], vec![pending("a", 0, size(0, 1_000))], vec![offer("g", size(4_000, 8_000), 9)]);
    let times: Vec<u64> = (0..=4)
        .map(|n| n * 10)
        .filter(|now| !launched(&decide(&mut ca, *now, Cause::Periodic, &waiting)).is_empty())
        .collect();
    assert_eq!(times.first(), Some(&30));
}

#[test]
fn nodes_on_their_way_count() {
    let pods = || vec![pending("a", 0, size(3_000, 0)), pending("b", 0, size(3_000, 0))];
    let offers = || vec![offer("g", size(4_000, 0), 9)];
    let mut ca = autoscaler("{}");
    let coming = view(vec![node("g-0", false, size(4_000, 0), &[])], pods(), offers());
    assert_eq!(launched(&decide(&mut ca, 10, Cause::Periodic, &coming)), [("g", 1)]);
    assert_eq!(
        launched(&decide(&mut autoscaler("{}"), 10, Cause::Periodic, &view(vec![], pods(), offers()))),
        [("g", 2)]
    );
}

#[test]
fn limits_of_the_cluster_and_of_a_loop_cap_what_is_added() {
    let pods: Vec<PendingPod> = (0..9).map(|n| pending(&n.to_string(), 0, size(4_000, 0))).collect();
    let waiting = view(vec![], pods, vec![offer("g", size(4_000, 0), 7)]);
    let count = |flags: &str| {
        launched(&decide(&mut autoscaler(flags), 10, Cause::Periodic, &waiting))
            .first()
            .map_or(0, |(_, count)| *count)
    };
    assert_eq!(count("{}"), 7);
    assert_eq!(count("{max_nodes_per_scaleup: 5}"), 5);
    assert_eq!(count("{max_nodes_total: 3}"), 3);
    assert_eq!(count("{cores_total: '0:9'}"), 2);
    assert_eq!(count("{cores_total: '0:3'}"), 0);
}

#[test]
fn similar_groups_grow_evenly_where_that_is_wanted() {
    let pods: Vec<PendingPod> = (0..4).map(|n| pending(&n.to_string(), 0, size(4_000, 0))).collect();
    let other = Offer { zone: "b".into(), ..offer("h", size(4_000, 0), 9) };
    let there = vec![node("g-0", true, size(4_000, 0), &[4_000])];
    let waiting = view(there, pods, vec![offer("g", size(4_000, 0), 9), other]);
    let mut found =
        decide(&mut autoscaler("{balance_similar_node_groups: true}"), 10, Cause::Periodic, &waiting);
    found.actions.sort_by_key(|action| format!("{action:?}"));
    let mut counts: Vec<u32> = launched(&found).iter().map(|(_, count)| *count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 2], "1 + 2 and 0 + 2, or 1 + 1 and 0 + 3 would be less even");
}

#[test]
fn a_stock_out_leaves_the_group_alone_and_another_grows() {
    let mut ca = autoscaler("{expander: priority, priorities: {20: [cheap], 10: [dear]}}");
    let pods = vec![pending("a", 0, size(1_000, 0))];
    let offers = vec![offer("cheap", size(4_000, 0), 9), offer("dear", size(4_000, 0), 9)];
    let mut waiting = view(vec![], pods, offers);
    let first = decide(&mut ca, 10, Cause::Periodic, &waiting);
    assert_eq!(
        (launched(&first), first.wake_at),
        (vec![("cheap", 1)], Some(at(11))),
        "a productive loop is followed at once"
    );
    waiting.offers[0].stocked_out = Some(at(10));
    assert_eq!(launched(&decide(&mut ca, 11, Cause::Wake, &waiting)), [("dear", 1)]);
    // 5 minutes later the first group is tried again.
    waiting.pending = vec![pending("b", 300, size(1_000, 0))];
    assert_eq!(launched(&decide(&mut ca, 310, Cause::Periodic, &waiting)), [("dear", 1)]);
    assert_eq!(launched(&decide(&mut ca, 311, Cause::Wake, &waiting)), [("cheap", 1)]);
}

#[test]
fn a_node_that_never_gets_ready_is_given_up_after_15_minutes() {
    let mut ca = autoscaler("{}");
    let there =
        view(vec![node("g-0", false, size(4_000, 0), &[])], vec![], vec![offer("g", size(4_000, 0), 9)]);
    assert!(decide(&mut ca, 900, Cause::Periodic, &there).actions.is_empty());
    let delete = Action::DeleteNode { cluster: "c".into(), node: "g-0".into() };
    assert_eq!(decide(&mut ca, 910, Cause::Periodic, &there).actions, [delete]);
}

#[test]
fn utilization_is_the_larger_share_and_of_gpu_nodes_that_of_gpus() {
    let plain = node("g-0", true, Resources { memory_bytes: 100, ..size(4_000, 0) }, &[1_000]);
    assert!((scale_down::utilization(&plain) - 0.25).abs() < 1e-12);
    let gpu = node("g-0", true, size(4_000, 8_000), &[4_000]);
    assert!(scale_down::utilization(&gpu).abs() < 1e-12);
}

/// Loops every 10 s up to `until`; the first instants of drains and deletions.
fn drains(ca: &mut ClusterAutoscaler, there: &NodesView, until: u64) -> Vec<(u64, Vec<String>)> {
    let mut found = Vec::new();
    for now in (0..=until).step_by(10) {
        let decision = decide(ca, now, Cause::Periodic, there);
        let names: Vec<String> = drained(&decision).iter().map(ToString::to_string).collect();
        if !names.is_empty() {
            found.push((now, names));
        }
    }
    found
}

#[test]
fn a_node_goes_when_it_has_been_unneeded_for_longer_than_ten_minutes() {
    // 2 of 4 cores are half, which counts as unneeded; the pod fits on the other node, which is fuller.
    let nodes =
        vec![node("g-0", true, size(4_000, 0), &[2_000]), node("g-1", true, size(8_000, 0), &[5_000])];
    let there = view(nodes, vec![], vec![offer("g", size(4_000, 0), 9)]);
    assert_eq!(drains(&mut autoscaler("{}"), &there, 620), [(610, vec!["g-0".to_owned()])]);
}

#[test]
fn a_node_whose_pods_fit_nowhere_stays() {
    let nodes =
        vec![node("g-0", true, size(4_000, 0), &[2_000]), node("g-1", true, size(4_000, 0), &[3_000])];
    let there = view(nodes, vec![], vec![offer("g", size(4_000, 0), 9)]);
    assert_eq!(drains(&mut autoscaler("{}"), &there, 1_300), []);
}

#[test]
fn of_two_nodes_that_could_take_each_others_pods_one_stays() {
    let nodes =
        vec![node("g-0", true, size(4_000, 0), &[1_000]), node("g-1", true, size(4_000, 0), &[1_000])];
    let there = view(nodes, vec![], vec![offer("g", size(4_000, 0), 9)]);
    assert_eq!(
        drains(&mut autoscaler("{max_drain_parallelism: 9}"), &there, 620),
        [(610, vec!["g-0".to_owned()])]
    );
}

#[test]
fn empty_nodes_go_together_and_nodes_with_pods_one_by_one() {
    let mut nodes: Vec<NodeView> =
        (0..3).map(|n| node(&format!("g-{n}"), true, size(4_000, 0), &[])).collect();
    nodes.push(node("g-3", true, size(4_000, 0), &[1_000]));
    nodes.push(node("g-4", true, size(4_000, 0), &[1_000]));
    nodes.push(node("g-5", true, size(8_000, 0), &[5_000]));
    let there = view(nodes, vec![], vec![offer("g", size(4_000, 0), 9)]);
    let found = drains(&mut autoscaler("{}"), &there, 610);
    let names: Vec<&str> = found[0].1.iter().map(String::as_str).collect();
    assert_eq!((found[0].0, names), (610, vec!["g-0", "g-1", "g-2", "g-3"]));
}

#[test]
fn a_node_that_does_not_answer_goes_after_twenty_minutes() {
    let silent = NodeView {
        unready_since: Some(Time::ZERO),
        cordoned: true,
        ..node("g-0", true, size(4_000, 0), &[])
    };
    let full = node("g-1", true, size(4_000, 0), &[3_000]);
    let there = view(vec![silent, full], vec![], vec![offer("g", size(4_000, 0), 9)]);
    assert_eq!(drains(&mut autoscaler("{}"), &there, 1_210), [(1_210, vec!["g-0".to_owned()])]);
}

#[test]
fn a_node_stays_whose_pods_are_more_than_their_budget_allows() {
    let with = |allowed: Option<u32>| {
        let mut nodes = vec![
            node("g-0", true, size(4_000, 0), &[500, 500]),
            node("g-1", true, size(4_000, 0), &[500]),
            node("g-2", true, size(8_000, 0), &[5_000]),
        ];
        let pods = nodes.iter_mut().flat_map(|node| &mut node.pods);
        pods.for_each(|pod| pod.disruptions_allowed = allowed);
        let there = view(nodes, vec![], vec![offer("g", size(4_000, 0), 9)]);
        let found = drains(&mut autoscaler("{max_drain_parallelism: 9}"), &there, 610);
        found.into_iter().flat_map(|(_, names)| names).collect::<Vec<String>>()
    };
    assert_eq!(with(None), ["g-0", "g-1"]);
    assert_eq!(with(Some(3)), ["g-0", "g-1"]);
    // What the first one takes is not there for the second.
    assert_eq!(with(Some(2)), ["g-0"]);
    assert_eq!(with(Some(1)), ["g-1"]);
    assert!(with(Some(0)).is_empty());
}

#[test]
fn a_group_keeps_its_fewest_nodes() {
    let nodes = (0..3).map(|n| node(&format!("g-{n}"), true, size(4_000, 0), &[])).collect();
    let there = view(nodes, vec![], vec![Offer { min_nodes: 2, ..offer("g", size(4_000, 0), 9) }]);
    assert_eq!(drains(&mut autoscaler("{}"), &there, 610), [(610, vec!["g-0".to_owned()])]);
}

#[test]
fn after_a_scale_up_nothing_goes_for_ten_minutes_though_the_clocks_run() {
    let mut ca = autoscaler("{scale_down_unneeded_time: 1m}");
    let nodes = vec![node("g-0", true, size(4_000, 0), &[]), node("g-1", true, size(4_000, 0), &[3_000])];
    let offers = vec![offer("g", size(4_000, 0), 9)];
    let waiting = view(
        nodes.clone(),
        vec![pending("a", 0, size(4_000, 0)), pending("b", 0, size(4_000, 0))],
        offers.clone(),
    );
    assert_eq!(launched(&decide(&mut ca, 10, Cause::Periodic, &waiting)), [("g", 1)]);
    let there = view(nodes, vec![], offers);
    let goes = (2..70)
        .map(|n| n * 10)
        .find(|now| !drained(&decide(&mut ca, *now, Cause::Periodic, &there)).is_empty());
    assert_eq!(goes, Some(610));
}

#[test]
fn a_drained_node_is_deleted_when_its_pods_are_gone() {
    let mut ca = autoscaler("{scale_down_unneeded_time: 10s}");
    let full = node("g-1", true, size(8_000, 0), &[5_000]);
    let with = |pods: &[i64]| {
        view(
            vec![node("g-0", true, size(4_000, 0), pods), full.clone()],
            vec![],
            vec![offer("g", size(4_000, 0), 9)],
        )
    };
    for now in [0, 10, 20] {
        decide(&mut ca, now, Cause::Periodic, &with(&[1_000]));
    }
    assert!(ca.memory.deletions.contains_key("g-0"));
    assert!(decide(&mut ca, 25, Cause::Wake, &with(&[1_000])).actions.is_empty());
    let delete = Action::DeleteNode { cluster: "c".into(), node: "g-0".into() };
    assert_eq!(decide(&mut ca, 30, Cause::Wake, &with(&[])).actions, [delete]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_goes_leaves_room_for_its_pods_and_a_restored_autoscaler_decides_the_same(
        nodes in prop::collection::vec(prop::collection::vec(500i64..3_000, 0..3), 1..8),
        waiting in prop::collection::vec(500i64..5_000, 0..6),
        most in 1u32..6,
    ) {
        let mut ca = autoscaler(&format!("{{scale_down_unneeded_time: 20s, scale_down_delay_after_add: 0, max_drain_parallelism: 9, max_nodes_total: {most}}}"));
        let fit = |pods: &[i64]| pods.iter().sum::<i64>() <= 4_000;
        let nodes: Vec<NodeView> = nodes
            .iter()
            .filter(|pods| fit(pods))
            .enumerate()
            .map(|(n, pods)| node(&format!("g-{n}"), true, size(4_000, 0), pods))
            .collect();
        let offers = vec![offer("g", size(4_000, 0), 20)];
        let there = view(nodes.clone(), vec![], offers.clone());
        let mut gone = Vec::new();
        for now in (0..60).step_by(10) {
            let mut twin = autoscaler("{}");
            twin.settings = ca.settings.clone();
            twin.restore(&ca.save()).expect("its own state");
            let decision = decide(&mut ca, now, Cause::Periodic, &there);
            prop_assert_eq!(&decide(&mut twin, now, Cause::Periodic, &there), &decision);
            gone.extend(drained(&decision).iter().map(ToString::to_string));
        }
        // Everything fits on what stays: not node by node only, but all together.
        let staying = nodes.iter().filter(|node| !gone.contains(&node.name)).collect();
        let mut rooms = crate::kubernetes::placement::Rooms::new(staying, Vec::new(), &[]);
        let mut moving: Vec<Pod<'_>> = nodes.iter().filter(|node| gone.contains(&node.name)).flat_map(Pod::on).collect();
        moving.sort_by_key(|pod| gone.iter().position(|name| pod.name.starts_with(&format!("{name}-"))));
        let total: i64 = moving.iter().map(|pod| pod.shape.requests.cpu_milli).sum();
        let free: i64 = rooms.rooms.iter().map(|room| room.free.cpu_milli).sum();
        prop_assert!(total <= free, "{total} on {free}");
        if gone.len() == 1 {
            prop_assert!(moving.iter().all(|pod| rooms.take(&pod.shape)));
        }
        // And no more comes than the cluster may have.
        let pods = waiting.iter().enumerate().map(|(n, cpu)| pending(&n.to_string(), 0, size(*cpu, 0))).collect();
        let decision = decide(&mut ca, 100, Cause::Periodic, &view(nodes.clone(), pods, offers));
        let added: u32 = launched(&decision).iter().map(|(_, count)| *count).sum();
        prop_assert!(added as usize <= (most as usize).saturating_sub(nodes.len()));
        prop_assert!(added as usize <= waiting.len());
    }
}

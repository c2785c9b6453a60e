//! Batches, launches and consolidation on small views, by hand.

use super::spec::{KarpenterSpec, NodePoolSpec};
use super::*;
use proptest::prelude::*;
use scaletwin_core::control::{CapacityType, Cause, PendingPod, PlacedPod, Poke, Resources, TargetName};
use scaletwin_core::input::{Problems, Read, parse, parse_documents};

const POKE: Cause = Cause::Poke(Poke::PendingPods);

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

fn cores(cores: i64) -> Resources {
    Resources { cpu_milli: cores * 1_000, memory_bytes: cores << 30, gpu_milli: 0 }
}

fn pending(name: &str, since: u64, size: i64) -> PendingPod {
    PendingPod {
        name: name.into(),
        target: TargetName::new("s/d"),
        cluster: "c".into(),
        pool: None,
        barred: Vec::new(),
        tied: None,
        since: at(since),
        requests: cores(size),
    }
}

/// An offer of `size` cores at `price`; its pool has its name.
fn offer(pool: &str, size: i64, price: f64, capacity_type: CapacityType) -> Offer {
    Offer {
        cluster: "c".into(),
        pool: pool.into(),
        instance_type: format!("m.{size}"),
        zone: "a".into(),
        capacity_type,
        price_usd_per_hour: Some(price),
        capacity: cores(size),
        allocatable: cores(size),
        min_nodes: 0,
        room: 50,
        stocked_out: None,
    }
}

fn node(offer: &Offer, number: u32, pods: &[i64]) -> NodeView {
    let name = format!("{}-{number}", offer.pool);
    let pod = |(place, size): (usize, &i64)| PlacedPod {
        name: format!("{name}-{place}"),
        target: TargetName::new("s/d"),
        pool: None,
        barred: Vec::new(),
        tied: None,
        requests: cores(*size),
        disruptions_allowed: None,
        deleted: false,
    };
    NodeView {
        pods: pods.iter().enumerate().map(pod).collect(),
        name,
        cluster: "c".into(),
        pool: offer.pool.clone(),
        instance_type: offer.instance_type.clone(),
        zone: offer.zone.clone(),
        capacity_type: offer.capacity_type,
        created: Time::ZERO,
        ready_since: Some(Time::ZERO),
        unready_since: None,
        cordoned: false,
        price_usd_per_hour: offer.price_usd_per_hour,
        capacity: offer.capacity,
        allocatable: offer.allocatable,
    }
}

fn on_demand() -> Vec<Offer> {
    [(2, 0.1), (4, 0.2), (8, 0.4), (16, 0.8)]
        .map(|(size, price)| offer(&format!("od{size}"), size, price, CapacityType::OnDemand))
        .to_vec()
}

fn karpenter(node_pool: &str) -> Karpenter {
    let mut problems = Problems::default();
    let text = format!("{{name: default{node_pool}}}");
    let spec = NodePoolSpec::read(&parse("pool", &text).expect("YAML"), &mut problems);
    let settings = spec.and_then(|spec| spec.check(&mut problems));
    let settings = settings.unwrap_or_else(|| panic!("{problems}"));
    let settings = KarpenterSettings::new(vec![settings], Span::from_secs(1), Span::from_secs(10), false);
    Karpenter::new("c".into(), settings, Schedule::every(DISRUPTION_PERIOD))
}

/// With budgets that allow everything.
fn free(more: &str) -> Karpenter {
    karpenter(&format!(", disruption: {{budgets: [{{nodes: 100%}}]{more}}}"))
}

fn decide(karpenter: &mut Karpenter, now: u64, cause: Cause, view: &NodesView) -> Decision {
    let mut seen = Observation::at(at(now), Civil::DEFAULT_START);
    (seen.cause, seen.nodes) = (cause, Some(view.clone()));
    let decision = karpenter.decide(&seen);
    assert!(decision.wake_at.is_none_or(|wake| wake > seen.now));
    decision
}

fn view(nodes: Vec<NodeView>, pending: Vec<PendingPod>, offers: Vec<Offer>) -> NodesView {
    NodesView { nodes, pending, offers, terms: Vec::new() }
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

/// The nodes that go 15 s after the look at 0 s, and the pool of the one that comes.
fn moved(karpenter: &mut Karpenter, there: &NodesView) -> (Vec<String>, Option<String>) {
    assert!(decide(karpenter, 0, Cause::Periodic, there).actions.is_empty(), "a move has to hold for 15 s");
    let mut gone = Vec::new();
    for action in decide(karpenter, 15, Cause::Wake, there).actions {
        match action {
            Action::DrainNode { node, .. } => gone.push(node),
            Action::ReplaceNodes { launch, drain } => return (drain, Some(launch.pool)),
            other => panic!("{other:?}"),
        }
    }
    (gone, None)
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn a_batch_ends_a_second_after_its_last_pod_and_after_ten_in_any_case() {
    let mut one = karpenter("");
    let waiting =
        |count: u64| view(vec![], (0..count).map(|n| pending(&n.to_string(), n, 2)).collect(), on_demand());
    assert_eq!(decide(&mut one, 0, POKE, &waiting(1)).wake_at, Some(at(1)));
    assert_eq!(launched(&decide(&mut one, 1, Cause::Wake, &waiting(1))), [("od2", 1)]);

    let mut many = karpenter("");
    let mut ends = None;
    for now in 0..20 {
        // A pod each second: the batch never idles.
        let decision = decide(&mut many, now, POKE, &waiting(now + 1));
        if !launched(&decision).is_empty() {
            ends = ends.or(Some(now));
        }
    }
    assert_eq!(ends, Some(10));
}

#[test]
fn pods_are_packed_together_and_the_cheapest_type_that_fits_is_launched() {
    // 6 + 6 + 3 cores fit on 16; no type is cheaper per core, so that one node of 16 costs as much as two of 8.
    let pods = [("a", 6), ("b", 6), ("c", 3)].map(|(name, size)| pending(name, 0, size)).to_vec();
    let mut karpenter = karpenter("");
    decide(&mut karpenter, 0, POKE, &view(vec![], pods.clone(), on_demand()));
    assert_eq!(
        launched(&decide(&mut karpenter, 1, Cause::Wake, &view(vec![], pods, on_demand()))),
        [("od16", 1)]
    );
}

#[test]
fn spot_comes_before_on_demand_where_both_are_allowed() {
    let mut offers = on_demand();
    offers.push(offer("spot4", 4, 0.3, CapacityType::Spot));
    let waiting = view(vec![], vec![pending("a", 0, 2)], offers);
    let chosen = |node_pool: &str| {
        let mut karpenter = karpenter(node_pool);
        decide(&mut karpenter, 0, POKE, &waiting);
        launched(&decide(&mut karpenter, 1, Cause::Wake, &waiting))
            .first()
            .map(|(pool, _)| (*pool).to_owned())
    };
    assert_eq!(chosen("").as_deref(), Some("spot4"));
    let only = ", requirements: [{key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}]";
    assert_eq!(chosen(only).as_deref(), Some("od2"));
    let large = ", requirements: [{key: karpenter.k8s.aws/instance-cpu, operator: Gt, values: ['4']}]";
    assert_eq!(chosen(large).as_deref(), Some("od8"));
}

#[test]
fn limits_hold_for_the_largest_type_that_a_node_could_become() {
    // Three pods of 9 cores need a node of 16 each; 40 cores allow two.
    let pods: Vec<PendingPod> = (0..3).map(|n| pending(&n.to_string(), 0, 9)).collect();
    let waiting = view(vec![], pods, on_demand());
    let mut karpenter = karpenter(", limits: {cpu: 40}");
    decide(&mut karpenter, 0, POKE, &waiting);
    let decision = decide(&mut karpenter, 1, Cause::Wake, &waiting);
    assert_eq!(launched(&decision), [("od16", 2)]);
    assert!(decision.reasons.iter().any(|reason| reason.code == "FailedScheduling"));
}

#[test]
fn limits_count_whole_machines_and_not_those_that_would_go() {
    // A quarter of each machine is the system's: two nodes of 4 cores fill a limit of 8, though pods can use 6 of them.
    let mut offers = vec![offer("od4", 3, 0.2, CapacityType::OnDemand)];
    offers[0].capacity = cores(4);
    let pods: Vec<PendingPod> = (0..3).map(|n| pending(&n.to_string(), 0, 3)).collect();
    let waiting = view(vec![], pods, offers);
    let mut limited = karpenter(", limits: {cpu: 8}");
    decide(&mut limited, 0, POKE, &waiting);
    assert_eq!(launched(&decide(&mut limited, 1, Cause::Wake, &waiting)), [("od4", 2)]);
    // A NodePool at its limit can have a smaller node instead of the one it has.
    let offers = on_demand();
    let large = view(vec![node(&offers[3], 0, &[3])], vec![], offers);
    let full = ", limits: {cpu: 16}, disruption: {budgets: [{nodes: 100%}]}";
    assert_eq!(moved(&mut karpenter(full), &large).1.as_deref(), Some("od4"));
}

#[test]
fn what_may_be_spot_is_not_replaced_by_on_demand_because_there_is_no_spot_now() {
    let mut offers = on_demand();
    offers.push(Offer { room: 0, ..offer("spot4", 4, 0.1, CapacityType::Spot) });
    let there = |kind: usize| view(vec![node(&offers[kind], 0, &[1])], vec![], offers.clone());
    let with = |kinds: &str| {
        format!(
            ", requirements: [{{key: karpenter.sh/capacity-type, operator: In, values: [{kinds}]}}], \
             disruption: {{budgets: [{{nodes: 100%}}]}}"
        )
    };
    assert_eq!(moved(&mut karpenter(&with("spot, on-demand")), &there(3)).1, None);
    assert_eq!(moved(&mut karpenter(&with("on-demand")), &there(3)).1.as_deref(), Some("od2"));
    // Nothing written: there are spot offers, if none at the moment.
    assert_eq!(moved(&mut free(""), &there(3)).1, None);
}

#[test]
fn the_next_offering_is_tried_a_second_after_the_provider_had_no_capacity() {
    let mut karpenter = karpenter("");
    let mut waiting = view(vec![], vec![pending("a", 0, 2)], on_demand());
    decide(&mut karpenter, 0, POKE, &waiting);
    let first = decide(&mut karpenter, 1, Cause::Wake, &waiting);
    assert_eq!((launched(&first), first.wake_at), (vec![("od2", 1)], Some(at(2))));
    waiting.offers[0].stocked_out = Some(at(1));
    assert_eq!(launched(&decide(&mut karpenter, 2, Cause::Wake, &waiting)), [("od4", 1)]);
}

#[test]
fn empty_nodes_go_first_within_the_budget() {
    let offers = on_demand();
    let nodes: Vec<NodeView> = (0..4).map(|n| node(&offers[1], n, if n == 3 { &[4] } else { &[] })).collect();
    let there = view(nodes, vec![], offers);
    assert_eq!(moved(&mut free(""), &there), (names(&["od4-0", "od4-1", "od4-2"]), None));
    // 10 % of 4 nodes, rounded up.
    assert_eq!(moved(&mut karpenter(""), &there), (names(&["od4-0"]), None));
    let none = ", disruption: {budgets: [{nodes: '0', schedule: '@daily', duration: 1h}]}";
    assert_eq!(moved(&mut karpenter(none), &there).0, names(&[]));
}

#[test]
fn nodes_whose_pods_fit_elsewhere_go() {
    // Free: 3, 2 and 1 cores. The first by price over disruption (0.2 / 2, 0.2 / 3, 0.4 / 2) is the node of 8.
    let offers = on_demand();
    let nodes = vec![node(&offers[1], 0, &[1]), node(&offers[1], 1, &[1, 1]), node(&offers[2], 2, &[7])];
    let there = view(nodes, vec![], offers);
    // Neither two nodes nor the node of 8 can go; then the node with one pod does.
    assert_eq!(moved(&mut free(""), &there), (names(&["od4-0"]), None));
    assert_eq!(moved(&mut free(", consolidation_policy: WhenEmpty"), &there).0, names(&[]));
    assert_eq!(moved(&mut free(", consolidate_after: Never"), &there).0, names(&[]));
}

#[test]
fn a_node_stays_while_a_budget_lets_none_of_its_pods_go() {
    let offers = on_demand();
    let mut nodes = vec![node(&offers[1], 0, &[1]), node(&offers[1], 1, &[1, 1]), node(&offers[2], 2, &[7])];
    for (node, allowed) in nodes.iter_mut().zip([Some(0), Some(1), None]) {
        node.pods.iter_mut().for_each(|pod| pod.disruptions_allowed = allowed);
    }
    // Without budgets it would be the first one.
    assert_eq!(moved(&mut free(""), &view(nodes, vec![], offers)), (names(&["od4-1"]), None));
}

#[test]
fn a_node_is_replaced_by_one_that_is_strictly_cheaper() {
    let offers = on_demand();
    let large = view(vec![node(&offers[3], 0, &[3])], vec![], offers.clone());
    assert_eq!(moved(&mut free(""), &large), (names(&["od16-0"]), Some("od4".to_owned())));
    let fitting = view(vec![node(&offers[1], 0, &[3])], vec![], offers);
    assert_eq!(moved(&mut free(""), &fitting).0, names(&[]));
}

#[test]
fn several_nodes_become_one() {
    // Three nodes of 4 with 3 cores each: together 9 cores, which fit on 16 for 0.8, dearer than 0.6. Two of them: 6
    // cores on 8 for 0.4, not cheaper than 0.4. At 0.3 for 8 cores, two become one.
    let mut offers = on_demand();
    let nodes: Vec<NodeView> = (0..3).map(|n| node(&offers[1], n, &[3])).collect();
    assert_eq!(moved(&mut free(""), &view(nodes.clone(), vec![], offers.clone())).0, names(&[]));
    offers[2].price_usd_per_hour = Some(0.3);
    assert_eq!(
        moved(&mut free(""), &view(nodes, vec![], offers)),
        (names(&["od4-0", "od4-1"]), Some("od8".to_owned()))
    );
}

#[test]
fn one_spot_node_replaces_another_only_with_15_cheaper_types() {
    let spot = |size: i64| offer(&format!("spot{size}"), size, 0.05 * size as f64, CapacityType::Spot);
    let with = |types: i64, gate: bool| {
        let offers: Vec<Offer> = (1..=types).map(spot).collect();
        let there = view(vec![node(&offers[offers.len() - 1], 0, &[1])], vec![], offers);
        let mut karpenter = free("");
        karpenter.settings.spot_to_spot = gate;
        moved(&mut karpenter, &there).1
    };
    assert_eq!(with(16, false), None);
    assert_eq!(with(15, true), None, "14 are cheaper");
    assert_eq!(with(16, true).as_deref(), Some("spot1"));
}

#[test]
fn balanced_asks_for_savings_in_proportion_to_what_is_disturbed() {
    // Two nodes of 16 at 0.8: 1.6 as a whole. The first can be replaced by one of 8, which saves 0.4, the second is full
    // with one pod. With one pod on the first, 2 of 4 are disturbed: (0.4 / 1.6) / (2 / 4) is 1 / 2, which is enough.
    let offers = on_demand();
    let there = |pods: &[i64]| {
        let nodes = vec![node(&offers[3], 0, pods), node(&offers[3], 1, &[16])];
        view(nodes, vec![], offers.clone())
    };
    let balanced = ", consolidation_policy: Balanced";
    assert_eq!(moved(&mut free(balanced), &there(&[6])).1.as_deref(), Some("od8"));
    // With 6 pods, 7 of 9: (0.4 / 1.6) / (7 / 9) = 0.32, less than 1 / 2, but not than 1 / 4.
    assert_eq!(moved(&mut free(balanced), &there(&[1; 6])).1, None);
    let patient = format!("{balanced}, consolidation_threshold: 4");
    assert_eq!(moved(&mut free(&patient), &there(&[1; 6])).1.as_deref(), Some("od8"));
}

#[test]
fn a_move_that_does_not_hold_for_15_seconds_is_abandoned() {
    let offers = on_demand();
    let mut karpenter = free("");
    let empty = view(vec![node(&offers[1], 0, &[])], vec![], offers.clone());
    decide(&mut karpenter, 0, Cause::Periodic, &empty);
    let used = view(vec![node(&offers[1], 0, &[3])], vec![], offers);
    let decision = decide(&mut karpenter, 15, Cause::Wake, &used);
    assert!(decision.actions.is_empty());
    assert!(decision.reasons.iter().any(|reason| reason.code == "Abandoned"));
}

#[test]
fn nodes_promised_to_pods_and_the_fewest_of_a_pool_stay() {
    let mut offers = on_demand();
    let mut karpenter = free("");
    let waiting = view(vec![node(&offers[1], 0, &[])], vec![pending("a", 0, 3)], offers.clone());
    decide(&mut karpenter, 0, POKE, &waiting);
    decide(&mut karpenter, 1, Cause::Wake, &waiting);
    assert!(karpenter.memory.nominated.contains_key("od4-0"));
    offers[1].min_nodes = 1;
    assert_eq!(moved(&mut free(""), &view(vec![node(&offers[1], 0, &[])], vec![], offers)).0, names(&[]));
}

#[test]
fn old_nodes_expire_whatever_the_budgets_say() {
    let offers = on_demand();
    let there = view(vec![node(&offers[1], 0, &[4])], vec![], offers);
    let mut karpenter = karpenter(", expire_after: 1h, disruption: {budgets: [{nodes: '0'}]}");
    assert!(decide(&mut karpenter, 3_590, Cause::Periodic, &there).actions.is_empty());
    let drain = Action::DrainNode { cluster: "c".into(), node: "od4-0".into() };
    assert_eq!(decide(&mut karpenter, 3_600, Cause::Periodic, &there).actions, [drain]);
}

#[test]
fn a_node_is_deleted_when_its_replacement_is_ready_and_its_pods_are_gone() {
    let offers = on_demand();
    let mut karpenter = free("");
    let mut there = view(vec![node(&offers[3], 0, &[3])], vec![], offers.clone());
    assert_eq!(moved(&mut karpenter, &there).1.as_deref(), Some("od4"));
    there.nodes[0].cordoned = true;
    let coming = NodeView { created: at(15), ready_since: None, ..node(&offers[1], 1, &[]) };
    there.nodes.push(coming);
    there.nodes[0].pods.clear();
    assert!(decide(&mut karpenter, 20, Cause::Wake, &there).actions.is_empty());
    there.nodes[1].ready_since = Some(at(60));
    decide(&mut karpenter, 60, Cause::Wake, &there);
    let delete = Action::DeleteNode { cluster: "c".into(), node: "od16-0".into() };
    assert!(decide(&mut karpenter, 61, Cause::Wake, &there).actions.contains(&delete));
}

const MANIFEST: &str = "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: gpu}
spec:
  weight: 10
  limits: {cpu: '100', nvidia.com/gpu: 8}
  disruption:
    consolidationPolicy: WhenEmpty
    consolidateAfter: 30s
    budgets:
      - nodes: 20%
      - {nodes: '0', schedule: '0 9 * * mon-fri', duration: 8h, reasons: [Underutilized]}
  template:
    metadata: {labels: {a: b}}
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: Never
      requirements:
        - {key: kubernetes.io/arch, operator: In, values: [amd64]}
        - {key: karpenter.k8s.aws/instance-category, operator: In, values: [g, p]}
        - {key: karpenter.sh/capacity-type, operator: In, values: [spot, on-demand]}
";

fn read(text: &str, waive: &[&str]) -> Result<Vec<NodePoolSettings>, String> {
    let nodes = parse_documents("pool.yaml", text).expect("YAML");
    let waive: Vec<String> = waive.iter().map(ToString::to_string).collect();
    let place = nodes[0].place.clone();
    manifest::read(&nodes, &waive, &place).map(|(pools, _)| pools).map_err(|problems| problems.to_string())
}

#[test]
fn a_node_pool_is_read_as_people_write_it() {
    let pools = read(MANIFEST, &[]).expect("it reads");
    let pool = &pools[0];
    assert_eq!((pool.name.as_str(), pool.weight, pool.expire_after), ("gpu", 10, None));
    assert_eq!((pool.limits.cpu_milli, pool.limits.gpu_milli), (Some(100_000), Some(8_000)));
    assert_eq!(pool.consolidate_after, Some(Span::from_secs(30)));
    assert_eq!((pool.budgets.len(), pool.requirements.len()), (2, 3));
    let gpu = Offer { instance_type: "g6e.xlarge".into(), ..offer("x", 4, 1.0, CapacityType::Spot) };
    assert!(pool.takes(&(&gpu).into()));
    let others = ["m7i.xlarge", "g5g.xlarge"].map(|name| Offer { instance_type: name.into(), ..gpu.clone() });
    assert!(others.iter().all(|offer| !pool.takes(&offer.into())), "another category, another architecture");
}

#[test]
fn a_field_that_is_not_modelled_is_refused_by_name_unless_it_is_waived() {
    let text = MANIFEST.replace("      expireAfter: Never\n", "      expireAfter: Never\n      taints: []\n");
    let problems = read(&text, &[]).expect_err("taints are not modelled");
    assert!(problems.contains("spec.template.spec.taints is not modelled"), "{problems}");
    assert!(read(&text, &["spec.template.spec.taints"]).is_ok());
    let other = MANIFEST.replace("instance-category", "instance-hypervisor");
    assert!(read(&other, &[]).expect_err("an unknown label").contains("karpenter.k8s.aws/instance-family"));
    let waived = read(&other, &["spec.template.spec.requirements[1]"]).expect("waived as a whole");
    assert_eq!(waived[0].requirements.len(), 2);
}

#[test]
fn keys_without_node_pools_stand_for_karpenters_defaults() {
    let spec =
        KarpenterSpec::read(&parse("k", "{}").expect("YAML"), &mut Problems::default()).expect("defaults");
    assert!(spec.node_pools.is_none());
    let pool = NodePoolSettings::default_pool();
    assert_eq!(pool.expire_after, Some(Span::from_secs(2_592_000)));
    assert_eq!(pool.consolidate_after, Some(Span::ZERO));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn packing_is_bounded_limits_hold_and_a_restored_one_decides_the_same(
        sizes in prop::collection::vec(1i64..=16, 1..40),
        there in prop::collection::vec((0usize..4, prop::collection::vec(1i64..4, 0..3)), 0..6),
        limit in 16i64..200,
    ) {
        let offers = on_demand();
        let fits = |(kind, pods): &&(usize, Vec<i64>)| cores(pods.iter().sum()).fits(&offers[*kind].allocatable);
        let nodes: Vec<NodeView> = there.iter().filter(fits).zip(0u32..).map(|((kind, pods), n)| node(&offers[*kind], n, pods)).collect();
        let pods: Vec<PendingPod> = sizes.iter().enumerate().map(|(n, size)| pending(&n.to_string(), 0, *size)).collect();
        let had: i64 = nodes.iter().map(|node| node.allocatable.cpu_milli).sum();
        let text = format!(", limits: {{cpu: {limit}}}, disruption: {{budgets: [{{nodes: 100%}}]}}");
        let mut one = karpenter(&text);
        let waiting = view(nodes.clone(), pods, offers.clone());
        decide(&mut one, 0, POKE, &waiting);
        let mut twin = karpenter(&text);
        twin.restore(&one.save()).expect("its own state");
        let decision = decide(&mut one, 1, Cause::Wake, &waiting);
        prop_assert_eq!(&decide(&mut twin, 1, Cause::Wake, &waiting), &decision);
        let added: i64 = launched(&decision).iter().map(|(pool, count)| {
            let offer = offers.iter().find(|offer| offer.pool == *pool).expect("one of the offers");
            offer.allocatable.cpu_milli * i64::from(*count)
        }).sum();
        let launches: u32 = launched(&decision).iter().map(|(_, count)| *count).sum();
        prop_assert!(launches as usize <= sizes.len());
        prop_assert!(added == 0 || had + added <= limit * 1_000, "{had} + {added}");
        // No two planned nodes fit together on the largest type: each pair of them has more than 16 cores.
        let sum: i64 = sizes.iter().sum();
        prop_assert!(i64::from(launches) <= 2 * sum / 16 + 1, "{launches} for {sum} cores");

        // A node goes only if its pods fit on those that stay.
        let idle = view(nodes.clone(), vec![], offers.clone());
        let mut one = karpenter(&text);
        if let (gone, None) = moved(&mut one, &idle) {
            let staying = nodes.iter().filter(|node| !gone.contains(&node.name)).map(crate::kubernetes::placement::Room::of);
            let free: i64 = staying.map(|room| room.free.cpu_milli).sum();
            let moving = nodes.iter().filter(|node| gone.contains(&node.name)).flat_map(|node| &node.pods);
            prop_assert!(moving.map(|pod| pod.requests.cpu_milli).sum::<i64>() <= free);
        }
    }
}

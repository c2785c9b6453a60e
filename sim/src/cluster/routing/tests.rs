use super::*;
use proptest::prelude::*;
use scaletwin_core::random::Seed;

fn member(slot: Slot) -> Member {
    Member { slot, id: slot, deployment: 0, zone: None }
}

fn ask(number: u64) -> Ask {
    Ask { number, session: number, zone: None, prefix: Vec::new() }
}

fn settings(balance: Balance) -> RoutingSettings {
    RoutingSettings {
        balance,
        across: Across::Together,
        weights: vec![1],
        prefers_zone: false,
        min_ready_milli: None,
    }
}

fn router(balance: Balance) -> Router {
    Router::new(&settings(balance), Seed(1).component("routing"))
}

const AFFINE: Balance = Balance::PrefixAffinity {
    block_tokens: 64,
    blocks: 8,
    remembered: 50,
    load_factor_milli: 1_250,
    load_slack: 1,
};

const REPORTED: Balance = Balance::ResourceBased {
    refresh: Span::from_millis(50),
    weights: Weights { waiting: 1_000, running: 500, kv_cache: 1_000, cpu: 0, gpu: 0 },
};

fn balances() -> impl Strategy<Value = Balance> {
    prop::sample::select(vec![
        Balance::RoundRobin,
        Balance::LeastOutstanding,
        Balance::WeightedRoundRobin,
        Balance::Random,
        Balance::PowerOfChoices { choices: 2 },
        Balance::LeastResponseTime { smoothing_milli: 300 },
        Balance::ConsistentHash { load_factor_milli: 1_250 },
        Balance::SessionAffinity { remembered: 20 },
        AFFINE,
        REPORTED,
    ])
}

#[test]
fn turns_go_round_and_skip_the_full() {
    let mut router = router(Balance::RoundRobin);
    for slot in 0..3 {
        router.add(&member(slot));
    }
    let mut picks: Vec<_> = (0..4).filter_map(|_| router.pick(&ask(0), |_| true)).collect();
    picks.extend(router.pick(&ask(0), |slot| slot != 1));
    router.remove(0);
    picks.extend(router.pick(&ask(0), |_| true));
    assert_eq!(picks, [0, 1, 2, 0, 2, 1]);
    assert_eq!(router.pick(&ask(0), |_| false), None);
}

proptest! {
    #[test]
    fn the_least_loaded_is_found(ops in prop::collection::vec((0u8..4, 0u32..6), 1..200)) {
        let mut router = router(Balance::LeastOutstanding);
        // (slot, requests, since when it has that many)
        let mut list: Vec<(Slot, u32, usize)> = Vec::new();
        for (time, (op, slot)) in ops.into_iter().enumerate() {
            let place = list.iter().position(|(other, ..)| *other == slot);
            match (op, place) {
                (0, None) => {
                    router.add(&member(slot));
                    list.push((slot, 0, time));
                }
                (1, Some(place)) => {
                    router.remove(slot);
                    list.remove(place);
                }
                (2, Some(place)) if list[place].1 > 0 => {
                    router.ended(slot, None);
                    list[place] = (slot, list[place].1 - 1, time);
                }
                (3, _) => {
                    let want = list.iter().min_by_key(|(_, requests, since)| (*requests, *since)).map(|(s, ..)| *s);
                    let pick = router.pick(&ask(0), |_| true);
                    prop_assert_eq!(pick, want);
                    if let Some(slot) = pick {
                        router.given(slot, &ask(0));
                        let entry = list.iter_mut().find(|(other, ..)| *other == slot).unwrap();
                        *entry = (slot, entry.1 + 1, time);
                    }
                }
                _ => {}
            }
            prop_assert_eq!(router.is_empty(), list.is_empty());
        }
    }
}

proptest! {
    /// Whatever the rule: only replicas that take requests and have room are picked, one is picked whenever there is one,
    /// and a router read back goes on alike.
    #[test]
    fn only_open_replicas_are_picked_and_a_router_read_back_goes_on_alike(
        balance in balances(),
        across in prop::sample::select(vec![Across::Together, Across::Split, Across::Failover]),
        prefers_zone in any::<bool>(),
        ops in prop::collection::vec((0u8..5, 0u32..8, any::<u64>()), 1..150),
    ) {
        let settings = RoutingSettings { balance, across, weights: vec![3, 1], prefers_zone, min_ready_milli: None };
        let mut router = Router::new(&settings, Seed(2).component("routing"));
        let mut ready: BTreeMap<Slot, u32> = BTreeMap::new();
        let mut ids = 0;
        for (op, slot, number) in ops {
            match op {
                0 if !ready.contains_key(&slot) => {
                    let zone = (slot % 3 > 0).then_some(u16::from(slot % 3 == 1));
                    router.add(&Member { slot, id: ids, deployment: slot % 2, zone });
                    ready.insert(slot, 0);
                    ids += 1;
                }
                1 => {
                    router.remove(slot);
                    ready.remove(&slot);
                }
                2 => {
                    if let Some(requests) = ready.get_mut(&slot).filter(|requests| **requests > 0) {
                        router.ended(slot, Some(Span::from_nanos(number >> 40)));
                        *requests -= 1;
                    }
                }
                _ => {
                    let prefix = vec![number % 3, 10 + number % 5, 20 + number % 7];
                    let zone = (number % 4 > 0).then_some(u16::from(number % 2 == 0));
                    let ask = Ask { number, session: number % 9, zone, prefix };
                    let most = u32::from(op);
                    let open = |slot: Slot| ready.get(&slot).is_some_and(|requests| *requests < most);
                    let pick = router.pick(&ask, open);
                    prop_assert_eq!(pick.is_some(), ready.values().any(|requests| *requests < most));
                    prop_assert!(pick.is_none_or(open));
                    if let Some(slot) = pick {
                        router.given(slot, &ask);
                        *ready.get_mut(&slot).unwrap() += 1;
                        let waiting = number % 11;
                        router.reported(slot, Report { waiting, kv_cache: waiting, ..Report::default() });
                    }
                    let _ = router.turn(&ask);
                }
            }
            prop_assert_eq!(router.is_empty(), ready.is_empty());
            let text = serde_json::to_string(&router).expect("plain data");
            let read: Router = serde_json::from_str(&text).expect("what was written can be read");
            prop_assert_eq!(&read, &router);
            router = read;
        }
    }

    #[test]
    fn a_session_stays_when_others_come_and_go(sessions in prop::collection::vec(any::<u64>(), 1..40)) {
        for balance in [Balance::ConsistentHash { load_factor_milli: 1_000_000 }, Balance::SessionAffinity { remembered: 100 }] {
            let mut router = router(balance);
            (0..6).for_each(|slot| router.add(&member(slot)));
            let pick = |router: &mut Router, session| {
                let ask = Ask { session, ..ask(session) };
                let slot = router.pick(&ask, |_| true).unwrap();
                router.given(slot, &ask);
                slot
            };
            let homes: Vec<(u64, Slot)> = sessions.iter().map(|session| (*session, pick(&mut router, *session))).collect();
            router.remove(5);
            for (session, home) in homes.iter().filter(|(_, home)| *home != 5) {
                prop_assert_eq!(pick(&mut router, *session), *home);
            }
        }
    }
}

#[test]
fn a_replica_that_joins_the_ring_takes_only_its_share() {
    let mut router = router(Balance::ConsistentHash { load_factor_milli: 1_000_000 });
    (0..9).for_each(|slot| router.add(&member(slot)));
    let homes: Vec<Slot> = (0..10_000).map(|session| router.pick(&ask(session), |_| true).unwrap()).collect();
    router.add(&member(9));
    let mut moved = 0;
    for (session, home) in (0..).zip(homes) {
        let now = router.pick(&ask(session), |_| true).unwrap();
        assert!(now == home || now == 9, "nobody moves between the old ones");
        moved += u32::from(now == 9);
    }
    assert!((700..1_300).contains(&moved), "{moved} of 10 000, and a tenth is its share");
}

#[test]
fn loads_on_the_ring_are_bounded() {
    let mut router = router(Balance::ConsistentHash { load_factor_milli: 1_250 });
    (0..4).for_each(|slot| router.add(&member(slot)));
    let mut had = [0u32; 4];
    for _ in 0..100 {
        // One session for all.
        let ask = Ask { session: 7, ..ask(0) };
        let slot = router.pick(&ask, |_| true).unwrap();
        router.given(slot, &ask);
        had[slot as usize] += 1;
    }
    assert_eq!(had.iter().max(), Some(&32), "1.25 of the mean of 25, rounded up");
}

#[test]
fn a_split_honours_its_weights_and_a_failover_its_order() {
    let spread = |across, full: Option<Slot>| {
        let settings = RoutingSettings { across, weights: vec![9, 1], ..settings(Balance::RoundRobin) };
        let mut router = Router::new(&settings, Seed(1).component("routing"));
        for slot in 0..4 {
            router.add(&Member { deployment: slot / 2, ..member(slot) });
        }
        let mut had = [0u32; 4];
        for number in 0..100 {
            let accepts = |slot: Slot| full.is_none_or(|deployment| slot / 2 != deployment);
            let slot = router.pick(&ask(number), accepts).unwrap();
            router.given(slot, &ask(number));
            had[slot as usize] += 1;
        }
        had
    };
    assert_eq!(spread(Across::Split, None), [45, 45, 5, 5]);
    assert_eq!(spread(Across::Split, Some(0)), [0, 0, 50, 50]);
    assert_eq!(spread(Across::Failover, None), [50, 50, 0, 0]);
    assert_eq!(spread(Across::Failover, Some(0)), [0, 0, 50, 50]);
}

#[test]
fn the_own_zone_comes_first_and_others_when_it_is_full() {
    let settings = RoutingSettings { prefers_zone: true, ..settings(Balance::LeastOutstanding) };
    let mut router = Router::new(&settings, Seed(1).component("routing"));
    for slot in 0..3 {
        router.add(&Member { zone: Some(u16::from(slot > 0)), ..member(slot) });
    }
    let near = Ask { zone: Some(0), ..ask(0) };
    assert_eq!(router.pick(&near, |_| true), Some(0));
    assert_eq!(router.pick(&near, |slot| slot != 0), Some(1));
    router.remove(0);
    assert_eq!(router.pick(&near, |_| true), Some(1));
    assert_eq!(router.pick(&Ask { zone: Some(9), ..near }, |_| true), Some(1));
}

#[test]
fn draws_are_even_and_two_choices_level_the_load() {
    let spread = |balance| {
        let mut router = router(balance);
        (0..10).for_each(|slot| router.add(&member(slot)));
        let mut had = [0u32; 10];
        for number in 0..10_000 {
            let slot = router.pick(&ask(number), |_| true).unwrap();
            router.given(slot, &ask(number));
            had[slot as usize] += 1;
        }
        had
    };
    let random = spread(Balance::Random);
    // Binomial with a deviation of 30.
    assert!(random.iter().all(|had| (880..1_120).contains(had)), "{random:?}");
    let two = spread(Balance::PowerOfChoices { choices: 2 });
    assert!(two.iter().all(|had| (995..=1_005).contains(had)), "{two:?}");
}

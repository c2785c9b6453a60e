use super::*;
use proptest::prelude::*;

fn config(max: u32, delay_ms: u64) -> DynamicConfig {
    DynamicConfig {
        max_batch_size: max,
        preferred_batch_sizes: vec![max],
        max_queue_delay: Span::from_millis(delay_ms),
        instances: 1,
        order: QueueOrder::Fcfs,
        queue: None,
    }
}

fn at(millis: u64) -> Time {
    Time::ZERO + Span::from_millis(millis)
}

/// 10 ms and 1 ms for each request.
fn time(_: u64, size: u32) -> Span {
    Span::from_millis(10 + u64::from(size))
}

/// What a server did: (millisecond, its requests that began then), and the same of those that ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    began: Vec<(u64, Vec<u32>)>,
    ended: Vec<(u64, Vec<u32>)>,
}

impl Log {
    fn note(&mut self, now: Time, happened: &mut Vec<Happened>) {
        let millis = now.as_nanos() / 1_000_000;
        let push = |list: &mut Vec<(u64, Vec<u32>)>, request| match list.last_mut() {
            Some((last, requests)) if *last == millis => requests.push(request),
            _ => list.push((millis, vec![request])),
        };
        for happened in happened.drain(..) {
            match happened {
                Happened::Started { request } => push(&mut self.began, request),
                Happened::Finished { request, .. } => push(&mut self.ended, request),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Offers requests (number, priority) at their instants, as the world does: what ends at an instant before what arrives,
/// and batches begin after both. `each` sees the server before every instant.
fn drive(
    mut server: DynamicReplica,
    arrivals: &[(u64, i32)],
    mut each: impl FnMut(&mut DynamicReplica),
) -> (DynamicReplica, Log) {
    let (mut log, mut happened, mut now) = (Log::default(), Vec::new(), Time::ZERO);
    let mut arrivals = (0u32..).zip(arrivals).peekable();
    loop {
        let arrival = arrivals.peek().map(|(_, (millis, _))| at(*millis));
        let Some(next) = [server.next_event(now), arrival].into_iter().flatten().min() else {
            return (server, log);
        };
        now = next;
        each(&mut server);
        server.complete(now, &mut happened);
        while let Some((request, (_, priority))) = arrivals.next_if(|(_, (millis, _))| at(*millis) == now) {
            server.offer(now, request, *priority);
        }
        server.begin(now, time, &mut happened);
        log.note(now, &mut happened);
    }
}

fn run(config: DynamicConfig, arrivals: &[(u64, i32)]) -> Log {
    drive(DynamicReplica::new(config), arrivals, |_| {}).1
}

#[test]
fn a_full_batch_leaves_at_once_and_a_partial_one_when_its_oldest_has_waited() {
    // Full at 3 ms, done at 15. The next comes at 4 and may wait until 24; one joins at 20; done at 36.
    let log = run(config(2, 20), &[(0, 0), (3, 0), (4, 0), (20, 0), (40, 0)]);
    assert_eq!(log.began, [(3, vec![0, 1]), (20, vec![2, 3]), (60, vec![4])]);
    assert_eq!(log.ended, [(15, vec![0, 1]), (32, vec![2, 3]), (71, vec![4])]);
}

#[test]
fn one_that_comes_when_the_delay_ends_still_joins() {
    let log = run(config(8, 5), &[(0, 0), (5, 0)]);
    assert_eq!(log.began, [(5, vec![0, 1])]);
}

#[test]
fn without_delay_whoever_waits_when_an_instance_is_free_goes() {
    let log = run(config(4, 0), &[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
    assert_eq!(log.began, [(0, vec![0]), (11, vec![1, 2, 3, 4]), (25, vec![5])]);
}

#[test]
fn the_largest_preferred_size_leaves_and_the_rest_follows() {
    let preferring = DynamicConfig { preferred_batch_sizes: vec![2, 4], ..config(8, 0) };
    let arrivals = [(0, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0)];
    assert_eq!(
        run(preferring.clone(), &arrivals).began,
        [(0, vec![0]), (11, vec![1, 2, 3, 4]), (25, vec![5])]
    );
    // Once the oldest has waited long enough, the size does not matter any more.
    let late = DynamicConfig { max_queue_delay: Span::from_millis(9), ..preferring };
    assert_eq!(run(late, &arrivals).began, [(1, vec![0, 1, 2, 3]), (15, vec![4, 5])]);
}

#[test]
fn instances_work_side_by_side() {
    let two = DynamicConfig { instances: 2, ..config(1, 0) };
    let log = run(two, &[(0, 0), (1, 0), (2, 0)]);
    assert_eq!(log.began, [(0, vec![0]), (1, vec![1]), (11, vec![2])]);
}

#[test]
fn the_most_urgent_join_first() {
    let urgent = DynamicConfig { order: QueueOrder::Priority, ..config(2, 0) };
    let log = run(urgent, &[(0, 5), (1, 5), (2, 5), (3, 1)]);
    assert_eq!(log.began, [(0, vec![0]), (11, vec![3, 1]), (23, vec![2])]);
}

#[test]
fn who_leaves_a_batch_does_not_shorten_it() {
    let mut happened = Vec::new();
    let mut server = DynamicReplica::new(DynamicConfig { queue: Some(2), ..config(2, 0) });
    let mut tickets = Vec::new();
    for request in 0..3 {
        if let Offered::Taken { ticket } = server.offer(at(0), request, 0) {
            tickets.push(ticket);
        }
    }
    assert_eq!(tickets.len(), 2, "the third finds the queue full");
    server.begin(at(0), time, &mut happened);
    server.give_up(tickets[0], 0);
    server.offer(at(1), 3, 0);
    assert_eq!((server.running(), server.waiting(), server.next_event(at(1))), (1, 1, Some(at(12))));
    server.complete(at(12), &mut happened);
    let work = server.work();
    assert_eq!((work.executions, work.inferences, work.compute_nanos), (1, 2, 12_000_000));
    server.begin(at(12), time, &mut happened);
    assert_eq!(server.kill(at(14)), [3]);
    assert_eq!(server.busy_nanos(at(20)), (14_000_000, 14_000_000));
}

proptest! {
    #[test]
    fn every_request_is_served_once_in_a_batch_that_fits_and_a_server_read_back_goes_on_alike(
        gaps in prop::collection::vec((0u64..12, 0i32..3), 1..60),
        (max, delay, instances) in (1u32..6, 0u64..15, 1u32..4),
        preferred in 1u32..6,
        order in prop::sample::select(vec![QueueOrder::Fcfs, QueueOrder::Priority]),
    ) {
        let mut preferred = vec![preferred.min(max), max];
        preferred.dedup();
        let config = DynamicConfig {
            preferred_batch_sizes: preferred,
            instances,
            order,
            ..config(max, delay)
        };
        let mut clock = 0;
        let arrivals: Vec<(u64, i32)> = gaps.into_iter().map(|(gap, priority)| {
            clock += gap;
            (clock, priority)
        }).collect();
        let (server, log) = drive(DynamicReplica::new(config.clone()), &arrivals, |_| {});
        let mut served: Vec<u32> = log.ended.iter().flat_map(|(_, requests)| requests.clone()).collect();
        served.sort_unstable();
        prop_assert_eq!(served, (0u32..).take(arrivals.len()).collect::<Vec<_>>());
        prop_assert_eq!(server.work().inferences, arrivals.len() as u64);
        for (began, requests) in &log.began {
            prop_assert!(requests.len() <= (max * instances) as usize);
            for request in requests {
                prop_assert!(arrivals[*request as usize].0 <= *began);
            }
        }
        let again = |server: &mut DynamicReplica| {
            let text = serde_json::to_string(server).expect("plain data");
            *server = serde_json::from_str(&text).expect("what was written can be read");
        };
        prop_assert_eq!(drive(DynamicReplica::new(config), &arrivals, again).1, log);
    }
}

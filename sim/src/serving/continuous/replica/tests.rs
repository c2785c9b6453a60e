//! Jumps are steps: the same requests, interrupted at the same instants, give the same to the bit.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::serving::continuous::blocks::Blocks;
use crate::serving::continuous::config::QueuePolicy;
use crate::serving::continuous::content::{Content, Run};
use crate::serving::continuous::scheduler::Counters;

/// A linear step time whose context term makes durations grow from step to step.
#[derive(Debug)]
struct Linear;

impl StepTime for Linear {
    fn step(&self, shape: &StepShape) -> Femtos {
        let sequences = u64::from(shape.prefill_sequences + shape.decode_sequences);
        let context = shape.prefill_context + shape.decode_context;
        Femtos(7_000_000_000 + 91_000_333 * shape.prefill_tokens + 55_000_123 * sequences + 40_007 * context)
    }

    fn decode_run(&self, shape: &StepShape) -> DecodeRun {
        DecodeRun { increase: Femtos(40_007 * u64::from(shape.decode_sequences)), steps: u64::MAX }
    }
}

/// A step time that can say only a few steps ahead.
#[derive(Debug)]
struct Shortsighted;

impl StepTime for Shortsighted {
    fn step(&self, shape: &StepShape) -> Femtos {
        Linear.step(shape)
    }

    fn decode_run(&self, shape: &StepShape) -> DecodeRun {
        DecodeRun { steps: 1 + shape.decode_context % 5, ..Linear.decode_run(shape) }
    }
}

#[derive(Debug, Clone)]
struct Request {
    at: u64,
    prompt: u32,
    outputs: u32,
    cut: bool,
    priority: i32,
    group: u64,
    given_up_after: Option<u64>,
}

#[derive(Debug, Clone)]
struct Case {
    config: SchedulerConfig,
    requests: Vec<Request>,
    probes: Vec<u64>,
    kill_at: Option<u64>,
}

fn case() -> impl Strategy<Value = Case> {
    let config = (
        (1u32..6, 8u32..64, 1u32..6, 14u32..60),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (0u32..3, any::<bool>(), 0u32..2),
    );
    let request = (
        0u64..400_000,
        1u32..40,
        1u32..30,
        any::<bool>(),
        0i32..3,
        0u64..3,
        prop::option::weighted(0.2, 0u64..200_000),
    );
    let request = request.prop_map(|(at, prompt, outputs, cut, priority, group, given_up_after)| Request {
        at,
        prompt,
        outputs,
        cut,
        priority,
        group,
        given_up_after,
    });
    let times = prop::collection::vec(0u64..900_000, 0..12);
    (config, prop::collection::vec(request, 1..25), times, prop::option::weighted(0.2, 0u64..500_000))
        .prop_map(|(config, requests, probes, kill_at)| {
            let (
                (seqs, tokens, block, spare),
                (asynchronous, caching, priority, reserve),
                (threshold, watermark, identify),
            ) = config;
            let max_model_len = 70u32;
            let config = SchedulerConfig {
                max_num_seqs: seqs,
                max_num_batched_tokens: tokens,
                block_size: block,
                num_gpu_blocks: max_model_len.div_ceil(block) + spare,
                enable_chunked_prefill: true,
                enable_prefix_caching: caching,
                long_prefill_token_threshold: threshold * 9,
                long_prefill_token_threshold_adaptive: false,
                policy: if priority { QueuePolicy::Priority } else { QueuePolicy::Fcfs },
                max_model_len,
                watermark: if watermark { 0.1 } else { 0.0 },
                scheduler_reserve_full_isl: reserve,
                max_num_active_seqs: None,
                prefill_schedule_interval: 1,
                async_scheduling: asynchronous,
                identify_blocks: identify == 1,
            };
            Case { config, requests, probes, kill_at }
        })
}

/// What stands in the queue of free blocks.
#[derive(Debug, Clone, PartialEq)]
enum Free {
    /// A block by its number, where all have one.
    Block(u32),
    /// A block that other requests can find, by its hash.
    Cached(u64),
    /// So many others.
    Others(u32),
}

/// The queue, as far as it could matter to anybody.
fn queue(replica: &ContinuousReplica, findable: &BTreeSet<u64>) -> Vec<Free> {
    let scheduler = replica.scheduler();
    let all: Vec<Result<u64, u32>> = match scheduler.blocks() {
        Blocks::Counted { .. } => Vec::new(),
        Blocks::Identified(blocks) if scheduler.config().identify_blocks => {
            return blocks.queue().map(Free::Block).collect();
        }
        Blocks::Identified(blocks) => blocks.queue().map(|id| blocks.hash(id).ok_or(1)).collect(),
        Blocks::Cached(blocks) => blocks.queue().collect(),
    };
    let mut queue = Vec::new();
    for entry in all {
        match (
            entry.map_or_else(Err, |hash| if findable.contains(&hash) { Ok(hash) } else { Err(1) }),
            queue.last_mut(),
        ) {
            (Ok(hash), _) => queue.push(Free::Cached(hash)),
            (Err(run), Some(Free::Others(before))) => *before += run,
            (Err(run), _) => queue.push(Free::Others(run)),
        }
    }
    queue
}

/// The hashes of all blocks that two requests could have.
fn findable(case: &Case) -> BTreeSet<u64> {
    let size = case.config.block_size;
    let mut hashes = BTreeSet::new();
    for (number, request) in case.requests.iter().enumerate() {
        let content = arriving(number, request).content;
        let tokens = content.shared_tokens().min(request.prompt + request.outputs);
        let mut before = None;
        for block in 0..tokens / size {
            before = Some(content.block_hash(before, block * size, size));
            hashes.extend(before);
        }
    }
    hashes
}

/// All that can be seen from outside.
#[derive(Debug, Default, PartialEq)]
struct Trace {
    /// (instant, what, request)
    events: Vec<(u64, &'static str, u32)>,
    /// How often each gap occurred.
    gaps: BTreeMap<u64, u64>,
    /// Gauges, work and busy time at the probes.
    probes: Vec<(u64, Gauges, Work, u128)>,
    /// The queue of free blocks, and the scheduler's sums, at the probes.
    blocks: Vec<(Vec<Free>, Counters)>,
    lost: Vec<(u32, u32)>,
}

impl Trace {
    fn take(&mut self, now: u64, happened: &mut Vec<Happened>) {
        for happened in happened.drain(..) {
            match happened {
                Happened::Started { request } => self.events.push((now, "started", request)),
                Happened::FirstToken { request, at } => {
                    self.events.push((at.as_nanos(), "first token", request));
                }
                Happened::Finished { request, outputs } => {
                    self.events.push((now, "finished", request));
                    self.events.push((now, "outputs", outputs));
                }
            }
        }
    }
}

/// Runs a case as the world does: per instant complete, give up, arrive, begin, probe.
fn run(case: &Case, time: &dyn StepTime, stepping: bool) -> Trace {
    let mut replica = ContinuousReplica::new(case.config.clone());
    if stepping {
        replica.step_by_step();
    }
    let findable = findable(case);
    let mut trace = Trace::default();
    let mut happened = Vec::new();
    let mut keys: BTreeMap<usize, Key> = BTreeMap::new();
    let mut instants: Vec<u64> = case.probes.clone();
    instants.extend(case.requests.iter().map(|request| request.at));
    instants.extend(case.requests.iter().filter_map(|request| Some(request.at + request.given_up_after?)));
    instants.extend(case.kill_at);
    instants.sort_unstable();
    instants.dedup();
    let mut instants = instants.into_iter().peekable();
    loop {
        let planned = replica.next_event().map(Time::as_nanos);
        let Some(now) = [planned, instants.peek().copied()].into_iter().flatten().min() else { break };
        let at = Time::from_nanos(now);
        instants.next_if_eq(&now);
        if planned == Some(now) {
            replica.complete(&mut happened);
            trace.take(now, &mut happened);
        }
        for (number, request) in case.requests.iter().enumerate() {
            if request.given_up_after.is_some_and(|after| request.at + after == now)
                && let Some(key) = keys.get(&number)
                && let Some(outputs) = replica.give_up(at, *key, &mut happened)
            {
                trace.take(now, &mut happened);
                trace.events.push((now, "given up with", outputs));
            }
        }
        if case.kill_at == Some(now) {
            trace.lost = replica.kill(at, &mut happened);
            trace.take(now, &mut happened);
            let work = replica.work();
            trace.probes.push((now, Gauges::default(), work, replica.busy_femtos(at)));
            break;
        }
        for (number, request) in case.requests.iter().enumerate().filter(|(_, request)| request.at == now) {
            let key = replica.offer(at, arriving(number, request), &mut happened);
            keys.insert(number, key);
            trace.take(now, &mut happened);
        }
        replica.begin(at, time, &mut happened);
        trace.take(now, &mut happened);
        if case.probes.contains(&now) {
            replica.advance_to(at, &mut happened);
            trace.take(now, &mut happened);
            trace.probes.push((now, replica.gauges(), replica.work(), replica.busy_femtos(at)));
            replica.scheduler().check();
            trace.blocks.push((queue(&replica, &findable), replica.scheduler().counters()));
        }
        if now % 7 == 0 {
            let text = serde_json::to_string(&replica).unwrap();
            replica = serde_json::from_str(&text).unwrap();
        }
    }
    for Gaps { first, increase, steps, sequences } in replica.take_gaps() {
        for step in 0..steps {
            *trace.gaps.entry(first.0 + step * increase.0).or_default() += sequences;
        }
    }
    trace
}

fn arriving(number: usize, request: &Request) -> Arriving {
    let number = u32::try_from(number).unwrap();
    let shared = Run { group: request.group, offset: 0, length: request.prompt.min(20) };
    let own =
        Run { group: 100 + u64::from(number), offset: 0, length: request.prompt - request.prompt.min(20) };
    let content = match request.group {
        0 => Content::unique(u64::from(number), request.prompt),
        1 => Content::with_prefix(&[shared], request.prompt, u64::from(number), 7, None),
        _ => Content::new(&[shared, own], 1_000 + u64::from(number)),
    };
    Arriving {
        request: number,
        prompt_tokens: request.prompt,
        output_tokens: request.outputs,
        max_tokens: if request.cut { request.outputs } else { u32::MAX },
        priority: request.priority,
        arrived: request.at,
        number: u64::from(number),
        content,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn jumps_are_steps(case in case()) {
        prop_assert_eq!(run(&case, &Linear, false), run(&case, &Linear, true));
    }

    #[test]
    fn short_jumps_are_steps(case in case()) {
        prop_assert_eq!(run(&case, &Shortsighted, false), run(&case, &Shortsighted, true));
    }

    #[test]
    fn every_token_of_an_answer_but_the_first_comes_after_a_gap(mut case in case()) {
        case.kill_at = None;
        case.requests.iter_mut().for_each(|request| request.given_up_after = None);
        let trace = run(&case, &Linear, false);
        let count = |what| trace.events.iter().filter(|(_, event, _)| *event == what).count();
        let outputs = trace.events.iter().filter(|(_, event, _)| *event == "outputs");
        let tokens: u64 = outputs.map(|(_, _, tokens)| u64::from(*tokens)).sum();
        prop_assert_eq!(count("first token"), count("finished"));
        prop_assert_eq!(trace.gaps.values().sum::<u64>() + count("finished") as u64, tokens);
    }
}

/// A server with room for all.
fn roomy(async_scheduling: bool) -> SchedulerConfig {
    SchedulerConfig {
        max_num_seqs: 256,
        max_num_batched_tokens: 2048,
        block_size: 16,
        num_gpu_blocks: 7_000,
        enable_chunked_prefill: true,
        enable_prefix_caching: false,
        long_prefill_token_threshold: 0,
        long_prefill_token_threshold_adaptive: false,
        policy: QueuePolicy::Fcfs,
        max_model_len: 8_192,
        watermark: 0.0,
        scheduler_reserve_full_isl: true,
        max_num_active_seqs: None,
        prefill_schedule_interval: 1,
        async_scheduling,
        identify_blocks: false,
    }
}

/// Serves requests that arrive in this order. Gives the events and the steps that it took.
fn serve(config: SchedulerConfig, requests: &[Request]) -> (u64, u64) {
    let mut replica = ContinuousReplica::new(config);
    let mut happened = Vec::new();
    let mut requests = requests.iter().enumerate().peekable();
    let mut events = 0;
    loop {
        let next = replica.next_event();
        let arrival = requests.peek().map(|(_, request)| Time::from_nanos(request.at));
        let Some(now) = [next, arrival].into_iter().flatten().min() else { break };
        if next == Some(now) {
            replica.complete(&mut happened);
            events += 1;
        }
        if let Some((number, request)) = requests.next_if(|_| arrival == Some(now)) {
            replica.offer(now, arriving(number, request), &mut happened);
        }
        replica.begin(now, &Linear, &mut happened);
    }
    (events, replica.work().steps)
}

fn request(at: u64, outputs: u32) -> Request {
    Request { at, prompt: 100, outputs, cut: true, priority: 0, group: 0, given_up_after: None }
}

#[test]
fn a_lone_request_takes_one_event_and_with_synchronous_scheduling_another_for_its_prompt() {
    assert_eq!(serve(roomy(true), &[request(0, 500)]), (1, 500));
    assert_eq!(serve(roomy(false), &[request(0, 500)]), (2, 500));
}

#[test]
fn requests_that_overlap_take_at_most_two_events_each() {
    let requests: Vec<_> = (0u32..40).map(|n| request(u64::from(n) * 250_000, 100 + n)).collect();
    let (events, steps) = serve(roomy(true), &requests);
    assert!(events <= 2 * 40, "admission, end: {events} events");
    assert!(steps > 1_000);
}

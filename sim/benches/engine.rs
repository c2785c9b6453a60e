//! The event queue, the batcher and the step time, each alone. Whole processes are measured by `benches/whole_process.py`.
#![allow(missing_docs, reason = "the functions that criterion generates have none")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scaletwin_core::model::{StepShape, StepTime};
use scaletwin_core::random::Seed;
use scaletwin_core::units::{Femtos, Span, Time};
use scaletwin_hardware::step_time::{Linear, Roofline, RooflineSettings};
use scaletwin_sim::engine::{EventQueue, Key, Phase};
use scaletwin_sim::serving::continuous::config::{QueuePolicy, SchedulerConfig};
use scaletwin_sim::serving::continuous::content::Content;
use scaletwin_sim::serving::continuous::replica::ContinuousReplica;
use scaletwin_sim::serving::continuous::sequence::Arriving;

/// The hold model: take the next event, plan another some time later.
fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue/hold");
    for pending in [64u64, 1_000, 10_000] {
        let mut draws = Seed(1).component("bench").entity(pending);
        let mut queue = EventQueue::default();
        for number in 0..pending {
            queue
                .push(Key::new(Time::from_nanos(draws.below(1_000_000)), 0, Phase::Complete, number), number);
        }
        let mut number = pending;
        group.bench_function(BenchmarkId::from_parameter(pending), |bench| {
            bench.iter(|| {
                let (key, event) = queue.pop().expect("a full queue");
                number += 1;
                let later = key.at() + Span::from_nanos(draws.below(2_000_000));
                queue.push(Key::new(later, 0, Phase::Complete, number), event);
            });
        });
    }
    group.finish();
}

fn linear() -> Linear {
    Linear {
        base: Femtos(6_000_000_000_000),
        per_prefill_token: Femtos(25_000_000_000),
        per_sequence: Femtos(30_000_000_000),
        per_context_token: Femtos(20_000_000),
    }
}

/// One replica serves requests that come four a second, jumping over quiet steps and without.
fn batcher(criterion: &mut Criterion) {
    const REQUESTS: u64 = 2_000;
    let mut group = criterion.benchmark_group("batcher");
    group.throughput(Throughput::Elements(REQUESTS)).sample_size(20);
    for (name, caching, stepping) in
        [("jumps", false, false), ("prefix caching", true, false), ("steps", false, true)]
    {
        let config = SchedulerConfig {
            max_num_seqs: 256,
            max_num_batched_tokens: 2_048,
            block_size: 16,
            num_gpu_blocks: 7_248,
            enable_chunked_prefill: true,
            enable_prefix_caching: caching,
            long_prefill_token_threshold: 0,
            long_prefill_token_threshold_adaptive: false,
            policy: QueuePolicy::Fcfs,
            max_model_len: 32_768,
            watermark: 0.0,
            scheduler_reserve_full_isl: true,
            max_num_active_seqs: None,
            prefill_schedule_interval: 1,
            async_scheduling: true,
            identify_blocks: false,
        };
        group.bench_function(name, |bench| bench.iter(|| serve(&config, REQUESTS, stepping)));
    }
    group.finish();
}

fn serve(config: &SchedulerConfig, requests: u64, stepping: bool) -> Time {
    let time = linear();
    let mut replica = ContinuousReplica::new(config.clone());
    if stepping {
        replica.step_by_step();
    }
    let mut draws = Seed(2).component("bench").entity(0);
    let (mut happened, mut now, mut number) = (Vec::new(), Time::ZERO, 0);
    let mut arrival = Time::ZERO;
    loop {
        let next = replica.next_event();
        if number < requests && next.is_none_or(|at| arrival < at) {
            now = arrival;
            let (prompt, output) = (1 + draws.below(1_600), 1 + draws.below(340));
            let tokens = |count: u64| u32::try_from(count).expect("a few hundred");
            let content = Content::unique(number, tokens(prompt));
            let arriving = Arriving {
                request: tokens(number),
                prompt_tokens: tokens(prompt),
                output_tokens: tokens(output),
                max_tokens: u32::MAX,
                priority: 0,
                arrived: now.as_nanos(),
                number,
                content,
            };
            replica.offer(now, arriving, &mut happened);
            number += 1;
            arrival += Span::from_nanos(draws.below(500_000_000));
        } else if let Some(at) = next {
            now = at;
            replica.complete(&mut happened);
        } else {
            return now;
        }
        if replica.is_idle() {
            replica.begin(now, &time, &mut happened);
        }
        happened.clear();
    }
}

fn step_time(criterion: &mut Criterion) {
    let accelerator = scaletwin_hardware::accelerator("h100-sxm").expect("in the catalogue");
    let model = scaletwin_hardware::model("llama-3.1-8b").expect("in the catalogue");
    let settings = RooflineSettings {
        tensor_parallel: 1,
        weight_bytes: 2.0,
        kv_bytes: 2.0,
        overhead: Femtos(2_000_000_000_000),
        link_latency: Femtos(4_000_000_000),
    };
    let roofline = Roofline::of(&accelerator, &model, &settings);
    let shape = StepShape { decode_sequences: 32, decode_context: 40_000, ..StepShape::default() };
    criterion.bench_function("step time/linear", |bench| bench.iter(|| linear().step(black_box(&shape))));
    criterion.bench_function("step time/roofline run", |bench| {
        bench.iter(|| roofline.decode_run(black_box(&shape)))
    });
}

criterion_group!(benches, queue, batcher, step_time);
criterion_main!(benches);

//! What LLM servers other than vLLM show: SGLang 0.5.23 and TGI 3.3.7.

use super::{Kind, Signal, replica};

/// Labels of SGLang's scheduler.
const SCHEDULER: &[&str] = &["model_name", "engine_type", "tp_rank", "pp_rank", "moe_ep_rank", "priority"];
/// Labels of SGLang's front end.
const REQUEST: &[&str] = &["model_name", "engine_type", "is_streaming"];

/// SGLang's buckets of times to first token, seconds.
const TTFT: &[f64] =
    &[0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0];
/// SGLang's buckets of latencies of requests, seconds.
const E2E: &[f64] = &[
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
    600.0, 1_200.0, 1_800.0, 2_400.0,
];
/// SGLang's buckets of gaps between tokens, seconds.
const ITL: &[f64] = &[
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6,
    0.8, 1.0, 2.0, 4.0, 6.0, 8.0,
];
/// SGLang's buckets of tokens.
const TOKENS: &[f64] = &[
    100.0, 300.0, 500.0, 700.0, 1e3, 1.5e3, 2e3, 3e3, 4e3, 5e3, 6e3, 7e3, 8e3, 9e3, 1e4, 1.25e4, 1.5e4,
    1.75e4, 2e4, 2.25e4, 2.5e4, 2.75e4, 3e4, 3.5e4, 4e4, 6e4, 8e4, 1e5, 2e5, 3e5, 4e5, 6e5, 8e5, 1e6, 1.1e6,
];
/// TGI's buckets of durations, seconds: each half as large again as the one before, from 0.00015 on.
const DURATION: &[f64] = &durations();

const fn durations() -> [f64; 35] {
    let mut buckets = [0.0; 35];
    let (mut bound, mut at) = (0.0001, 0);
    while at < buckets.len() {
        bound *= 1.5;
        buckets[at] = bound;
        at += 1;
    }
    buckets
}

const fn scheduler(name: &'static str, unit: &'static str) -> Signal {
    replica(name, Kind::Gauge, unit, SCHEDULER, "after each engine step")
}

const fn finished(name: &'static str, kind: Kind, unit: &'static str) -> Signal {
    replica(name, kind, unit, REQUEST, "when a request finishes")
}

const fn tgi(name: &'static str, kind: Kind, unit: &'static str, moves: &'static str) -> Signal {
    replica(name, kind, unit, &[], moves)
}

const fn duration(name: &'static str) -> Signal {
    tgi(name, Kind::Histogram(DURATION), "seconds", "when a request finishes")
}

pub(super) const SIGNALS: &[Signal] = &[
    scheduler("sglang:num_running_reqs", "requests"),
    scheduler("sglang:num_queue_reqs", "requests"),
    scheduler("sglang:token_usage", "share, 0 to 1"),
    finished("sglang:prompt_tokens_total", Kind::Counter, "tokens"),
    finished("sglang:generation_tokens_total", Kind::Counter, "tokens"),
    finished("sglang:num_requests_total", Kind::Counter, "requests"),
    Signal {
        moves: "when a request is given up",
        ..finished("sglang:num_aborted_requests_total", Kind::Counter, "requests")
    },
    Signal {
        moves: "at a request's first token",
        ..finished("sglang:time_to_first_token_seconds", Kind::Histogram(TTFT), "seconds")
    },
    finished("sglang:e2e_request_latency_seconds", Kind::Histogram(E2E), "seconds"),
    Signal {
        moves: "at each further token",
        ..finished("sglang:inter_token_latency_seconds", Kind::Histogram(ITL), "seconds")
    },
    finished("sglang:prompt_tokens_histogram", Kind::Histogram(TOKENS), "tokens"),
    finished("sglang:generation_tokens_histogram", Kind::Histogram(TOKENS), "tokens"),
    tgi("tgi_queue_size", Kind::Gauge, "requests", "after each engine step"),
    tgi("tgi_batch_current_size", Kind::Gauge, "requests", "after each engine step"),
    tgi("tgi_request_count", Kind::Counter, "requests", "when a request arrives"),
    tgi("tgi_request_success", Kind::Counter, "requests", "when a request finishes"),
    duration("tgi_request_duration"),
    duration("tgi_request_queue_duration"),
    duration("tgi_request_inference_duration"),
    duration("tgi_request_mean_time_per_token_duration"),
];

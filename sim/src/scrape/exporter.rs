//! What one replica's exporters show, under their real names.

pub mod front;
pub mod histograms;
mod labels;

pub use labels::variants;

use scaletwin_core::control::SignalScope;
use scaletwin_core::record::Finished;
use scaletwin_core::units::{Femtos, Span, Time};
use serde::{Deserialize, Serialize};

use histograms::Histograms;

use super::signals::ScrapedSeries;
use crate::serving::continuous::replica::{Gauges, Work};
use crate::serving::continuous::scheduler::Counters;
use crate::serving::dynamic::BatchWork;

scaletwin_core::names! {
    /// Whose metrics a server that batches continuously shows. It schedules as vLLM in any case.
    pub enum LlmServer {
        /// vLLM.
        Vllm = "vllm",
        /// SGLang.
        Sglang = "sglang",
        /// Text Generation Inference.
        Tgi = "tgi",
    }
}

/// How a request left a replica, as vLLM's `finished_reason` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its answer was complete.
    Stop = 0,
    /// It was cut by its bound.
    Length = 1,
    /// The client went away.
    Abort = 2,
}

/// The names of [`Left`].
const REASONS: [&str; 3] = ["stop", "length", "abort"];

/// Triton's reasons of failures that are modelled: a full queue, and clients that went away.
const FAILURES: [&str; 2] = ["REJECTED", "CANCELED"];

/// Sums that a replica's exporters keep since its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaCounters {
    /// Tokens of prompts whose first answer token came.
    pub prompt_tokens: u64,
    /// Requests that left, by [`Left`].
    pub left: [u64; 3],
    /// Requests refused because the queue was full.
    pub refused: u64,
    /// Requests refused because their prompt was too long.
    pub invalid: u64,
    /// Requests that were taken.
    pub taken: u64,
    /// Tokens of the prompts and of the answers of requests that finished.
    pub finished_tokens: [u64; 2],
    /// The histograms that are scraped.
    pub histograms: Histograms,
}

impl ReplicaCounters {
    /// Counters with the histograms that `series` need.
    #[must_use]
    pub fn for_series(series: &[ScrapedSeries]) -> ReplicaCounters {
        let histograms = Histograms::for_series(series, SignalScope::Replica);
        ReplicaCounters { histograms, ..ReplicaCounters::default() }
    }

    /// Whether any histogram is scraped.
    #[must_use]
    #[inline]
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// Counts the first token of a request with so many prompt tokens, which was offered so many seconds ago.
    pub fn first_token(&mut self, prompt_tokens: u32, seconds: f64) {
        self.prompt_tokens += u64::from(prompt_tokens);
        if !self.histograms.is_empty() {
            for name in ["vllm:time_to_first_token_seconds", "sglang:time_to_first_token_seconds"] {
                self.histograms.observe(name, seconds, 1);
            }
        }
    }

    /// Counts the tokens of a request that has ended complete.
    #[inline]
    pub fn count_end(&mut self, prompt_tokens: u32, output_tokens: u32) {
        self.finished_tokens[0] += u64::from(prompt_tokens);
        self.finished_tokens[1] += u64::from(output_tokens);
    }

    /// Counts a request that has ended complete in the histograms that its end moves.
    pub fn observe_end(&mut self, request: &Finished) {
        let (prompt, answer) = (request.prompt_tokens, request.output_tokens);
        let e2e = request.e2e().as_secs_f64();
        for (name, value) in [
            ("istio_request_duration_milliseconds", e2e * 1e3),
            ("kn_serving_invocation_duration_seconds", e2e),
            ("revision_app_request_latencies", e2e * 1e3),
            ("ray_serve_deployment_processing_latency_ms", e2e * 1e3),
        ] {
            self.histograms.observe(name, value, 1);
        }
        let (Some(started), Some(first)) = (request.started, request.first_token) else { return };
        let between = |from: Time, to: Time| to.since(from).as_secs_f64();
        let tpot = request.tpot().map_or(0.0, Span::as_secs_f64);
        let (queued, served) = (between(request.arrived, started), between(started, request.ended));
        for (name, value) in [
            ("vllm:e2e_request_latency_seconds", e2e),
            ("vllm:request_queue_time_seconds", queued),
            ("vllm:request_prefill_time_seconds", between(started, first)),
            ("vllm:request_decode_time_seconds", between(first, request.ended)),
            ("vllm:request_inference_time_seconds", served),
            ("vllm:request_time_per_output_token_seconds", tpot),
            ("vllm:request_prompt_tokens", f64::from(prompt)),
            ("vllm:request_generation_tokens", f64::from(answer)),
            ("sglang:e2e_request_latency_seconds", e2e),
            ("sglang:prompt_tokens_histogram", f64::from(prompt)),
            ("sglang:generation_tokens_histogram", f64::from(answer)),
            ("tgi_request_duration", e2e),
            ("tgi_request_queue_duration", queued),
            ("tgi_request_inference_duration", served),
            ("tgi_request_mean_time_per_token_duration", served / f64::from(answer.max(1))),
        ] {
            self.histograms.observe(name, value, 1);
        }
    }

    /// Counts gaps between tokens: `steps` gaps of `first`, `first + increase`, …, each of `sequences` sequences.
    pub fn observe_gaps(&mut self, first: Femtos, increase: Femtos, steps: u64, sequences: u64) {
        for name in ["vllm:inter_token_latency_seconds", "sglang:inter_token_latency_seconds"] {
            if self.histograms.has(name) {
                for step in 0..steps {
                    let gap = Femtos(first.0 + step * increase.0).as_secs_f64();
                    self.histograms.observe(name, gap, sequences);
                }
            }
        }
    }
}

/// What is known of a replica when it is scraped.
#[derive(Debug, Clone, Copy)]
pub struct Exposed<'a> {
    /// Its counters.
    pub counters: &'a ReplicaCounters,
    /// What its engine shows, if it batches continuously, and as which server.
    pub engine: Option<(LlmServer, Gauges, Work, Counters)>,
    /// Requests that wait in it and what it has done, if it batches dynamically.
    pub batches: Option<(u64, BatchWork)>,
    /// Requests in it.
    pub outstanding: u64,
    /// CPU used since its start, core seconds.
    pub cpu_seconds: f64,
    /// Memory in use, bytes.
    pub memory_bytes: f64,
    /// Its GPUs, if it has any.
    pub gpu: Option<GpuFigures>,
}

/// What is known of a replica's GPUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuFigures {
    /// The share of the time since the last scrape in which they worked.
    pub busy_share: f64,
    /// The share of their tensor throughput that was achieved, if it is known.
    pub tensor_share: Option<f64>,
    /// The share of their memory bandwidth that was used, if it is known.
    pub memory_share: Option<f64>,
    /// Memory of each, MiB.
    pub memory_mib: f64,
    /// Memory in use of each, MiB.
    pub used_mib: f64,
}

/// The values of a series of a replica, one a label set; nothing where the replica does not expose it.
#[must_use]
pub fn values(name: &str, exposed: &Exposed<'_>) -> Vec<f64> {
    let one = |value: f64| vec![value];
    let count = |value: u64| vec![value as f64];
    let Exposed { counters, .. } = exposed;
    if server_of(name).is_some_and(|server| exposed.engine.is_none_or(|(shown, ..)| shown != server)) {
        return Vec::new();
    }
    if let Some(values) = counters.histograms.values(name) {
        return values;
    }
    let engine = |value: fn(&Gauges, &Work, &Counters) -> f64| {
        exposed.engine.as_ref().map_or(Vec::new(), |(_, gauges, work, sums)| vec![value(gauges, work, sums)])
    };
    let gpu =
        |value: fn(&GpuFigures) -> Option<f64>| exposed.gpu.as_ref().and_then(value).map_or(Vec::new(), one);
    match name {
        "vllm:num_requests_running" | "sglang:num_running_reqs" | "tgi_batch_current_size" => {
            engine(|gauges, _, _| gauges.running as f64)
        }
        "vllm:num_requests_waiting" | "sglang:num_queue_reqs" | "tgi_queue_size" => {
            engine(|gauges, _, _| gauges.waiting as f64)
        }
        "vllm:kv_cache_usage_perc" | "sglang:token_usage" => engine(|gauges, _, _| gauges.kv_used_share),
        "vllm:cache_config_info" => one(1.0),
        "vllm:prefix_cache_queries_total" => engine(|_, _, sums| sums.prefix_queries as f64),
        "vllm:prefix_cache_hits_total" => engine(|_, _, sums| sums.prefix_hits as f64),
        "vllm:num_preemptions_total" => engine(|_, _, sums| sums.preemptions as f64),
        "vllm:generation_tokens_total" => engine(|_, work, _| work.generated_tokens as f64),
        "vllm:prompt_tokens_total" => count(counters.prompt_tokens),
        "vllm:request_success_total" => counters.left.iter().map(|count| *count as f64).collect(),
        "vllm:admission_rejections_total" => count(counters.refused),
        "sglang:prompt_tokens_total" => count(counters.finished_tokens[0]),
        "sglang:generation_tokens_total" => count(counters.finished_tokens[1]),
        "sglang:num_aborted_requests_total" => count(counters.left[2]),
        "sglang:num_requests_total"
        | "tgi_request_success"
        | "ray_serve_deployment_request_counter_total" => count(counters.left[0] + counters.left[1]),
        "tgi_request_count" => count(counters.taken),
        "ray_serve_replica_processing_queries" => count(exposed.outstanding),
        _ if name.starts_with("nv_inference_") => {
            exposed.batches.map_or(Vec::new(), |(waiting, work)| triton(name, counters, waiting, &work))
        }
        "http_requests_total" => {
            let (good, bad) = (counters.left[0] + counters.left[1], counters.refused + counters.invalid);
            vec![good as f64, bad as f64]
        }
        "istio_requests_total" => {
            vec![(counters.left[0] + counters.left[1]) as f64, counters.left[2] as f64]
        }
        "envoy_cluster_upstream_rq_active" => count(exposed.outstanding),
        "container_cpu_usage_seconds_total" => one(exposed.cpu_seconds),
        "container_memory_working_set_bytes" => one(exposed.memory_bytes),
        "DCGM_FI_DEV_GPU_UTIL" => gpu(|gpu| Some((gpu.busy_share * 100.0).round())),
        "DCGM_FI_DEV_FB_USED" => gpu(|gpu| Some(gpu.used_mib)),
        "DCGM_FI_DEV_FB_FREE" => gpu(|gpu| Some(gpu.memory_mib - gpu.used_mib)),
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE" => gpu(|gpu| Some(gpu.busy_share)),
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE" => gpu(|gpu| gpu.tensor_share),
        "DCGM_FI_PROF_DRAM_ACTIVE" => gpu(|gpu| gpu.memory_share),
        _ => Vec::new(),
    }
}

/// The values of Triton's series: durations are sums over answered requests, in microseconds.
fn triton(name: &str, counters: &ReplicaCounters, waiting: u64, work: &BatchWork) -> Vec<f64> {
    let micros = |nanos: u128| vec![(nanos / 1_000) as f64];
    match name {
        "nv_inference_request_success" => vec![(counters.left[0] + counters.left[1]) as f64],
        "nv_inference_request_failure" => vec![counters.refused as f64, counters.left[2] as f64],
        "nv_inference_count" => vec![work.inferences as f64],
        "nv_inference_exec_count" => vec![work.executions as f64],
        "nv_inference_request_duration_us" => micros(work.queue_nanos + work.compute_nanos),
        "nv_inference_queue_duration_us" => micros(work.queue_nanos),
        "nv_inference_compute_infer_duration_us" => micros(work.compute_nanos),
        "nv_inference_pending_request_count" => vec![waiting as f64],
        _ => Vec::new(),
    }
}

/// The server whose series this is, if it is one that batches continuously.
#[must_use]
pub fn server_of(name: &str) -> Option<LlmServer> {
    match name {
        // The router's before it, which is none of an engine.
        "vllm:num_incoming_requests_total" => None,
        _ if name.starts_with("vllm:") => Some(LlmServer::Vllm),
        _ if name.starts_with("sglang:") => Some(LlmServer::Sglang),
        _ if name.starts_with("tgi_") => Some(LlmServer::Tgi),
        _ => None,
    }
}

/// Whether a series of a replica is there from its container's start on, or only once its server answers.
#[must_use]
pub fn from_start(name: &str) -> bool {
    name.starts_with("container_") || name.starts_with("DCGM_")
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of few whole numbers are exact")]
mod tests {
    use super::*;
    use scaletwin_core::control::{CATALOGUE, Kind};

    fn exposed(counters: &ReplicaCounters) -> Exposed<'_> {
        exposed_as(LlmServer::Vllm, counters)
    }

    fn exposed_as(server: LlmServer, counters: &ReplicaCounters) -> Exposed<'_> {
        let gpu = GpuFigures {
            busy_share: 0.985,
            tensor_share: Some(0.3),
            memory_share: Some(0.6),
            memory_mib: 46_068.0,
            used_mib: 41_461.0,
        };
        Exposed {
            counters,
            engine: Some((
                server,
                Gauges { running: 3, waiting: 2, kv_used_share: 0.5 },
                Work::default(),
                Counters::default(),
            )),
            batches: Some((2, BatchWork::default())),
            outstanding: 5,
            cpu_seconds: 12.5,
            memory_bytes: 1e9,
            gpu: Some(gpu),
        }
    }

    /// Labels that a target adds.
    fn of_target(label: &str) -> bool {
        let of_engine = ["num_gpu_blocks", "block_size"];
        label.starts_with("model")
            || of_engine.contains(&label)
            || ["replica", "service_name", "kn_service_name"].contains(&label)
    }

    #[test]
    fn every_signal_of_a_replica_is_exposed_with_its_labels() {
        for signal in CATALOGUE.iter().filter(|signal| signal.scope == SignalScope::Replica) {
            let names = match signal.kind {
                Kind::Histogram(_) => {
                    ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", signal.name)).to_vec()
                }
                _ => vec![signal.name.to_owned()],
            };
            for name in names {
                let variants = variants(&name);
                let series = [ScrapedSeries { name: name.clone(), variants: variants.clone() }];
                let counters = ReplicaCounters::for_series(&series);
                let server = server_of(&name).unwrap_or(LlmServer::Vllm);
                assert_eq!(values(&name, &exposed_as(server, &counters)).len(), variants.len(), "{name}");
                for label in signal.labels.iter().filter(|label| !of_target(label)) {
                    assert!(
                        variants.iter().all(|set| set.iter().any(|(name, _)| name == label)),
                        "{name} has {label}"
                    );
                }
            }
        }
    }

    #[test]
    fn histograms_count_in_their_own_buckets() {
        let name = "vllm:time_to_first_token_seconds_bucket";
        let series = [ScrapedSeries { name: name.into(), variants: variants(name) }];
        let mut counters = ReplicaCounters::for_series(&series);
        counters.histograms.observe("vllm:time_to_first_token_seconds", 0.3, 2);
        counters.histograms.observe("vllm:e2e_request_latency_seconds", 0.3, 1);
        let at = |bound: &str| {
            let label = ("le".to_owned(), bound.to_owned());
            let place = series[0].variants.iter().position(|set| set.contains(&label)).unwrap();
            values(name, &exposed(&counters))[place]
        };
        assert_eq!([at("0.25"), at("0.5"), at("+Inf")], [0.0, 2.0, 2.0]);
    }

    #[test]
    fn a_server_shows_its_own_names_and_no_others() {
        let counters =
            ReplicaCounters { left: [2, 1, 4], finished_tokens: [70, 30], ..ReplicaCounters::default() };
        let sglang = exposed_as(LlmServer::Sglang, &counters);
        assert!(values("vllm:num_requests_waiting", &sglang).is_empty());
        assert_eq!(values("sglang:num_queue_reqs", &sglang), [2.0]);
        assert_eq!(values("sglang:prompt_tokens_total", &sglang), [70.0]);
        assert_eq!(values("sglang:num_requests_total", &sglang), [3.0]);
        let tgi = exposed_as(LlmServer::Tgi, &counters);
        assert_eq!(values("tgi_batch_current_size", &tgi), [3.0]);
        assert!(values("sglang:num_queue_reqs", &tgi).is_empty());
    }

    #[test]
    fn triton_counts_in_microseconds_and_by_batches() {
        let counters = ReplicaCounters { left: [7, 0, 1], refused: 2, ..ReplicaCounters::default() };
        let work = BatchWork { executions: 3, inferences: 8, queue_nanos: 5_000, compute_nanos: 90_000 };
        let exposed = Exposed { batches: Some((4, work)), ..exposed(&counters) };
        assert_eq!(values("nv_inference_request_success", &exposed), [7.0]);
        assert_eq!(values("nv_inference_request_failure", &exposed), [2.0, 1.0]);
        assert_eq!(values("nv_inference_exec_count", &exposed), [3.0]);
        assert_eq!(values("nv_inference_request_duration_us", &exposed), [95.0]);
        assert_eq!(values("nv_inference_pending_request_count", &exposed), [4.0]);
    }

    #[test]
    fn a_busy_server_shows_nearly_full_utilization() {
        let counters = ReplicaCounters::default();
        assert_eq!(values("DCGM_FI_DEV_GPU_UTIL", &exposed(&counters)), [99.0]);
        assert_eq!(values("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", &exposed(&counters)), [0.3]);
    }
}

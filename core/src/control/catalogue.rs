//! The signals that serving systems expose, by their real names.
//!
//! Names, types, labels, buckets and the instant at which each counter moves are those of vLLM 0.33, cAdvisor 0.60,
//! kube-state-metrics 2.20, dcgm-exporter 4.8, Istio 1.31, prometheus-fastapi-instrumentator 8 and llm-d's WVA 0.5, read
//! in their sources; the KEDA HTTP add-on 0.11 by its documentation; those of Triton's core of June 2026. The simulator
//! exposes these; the live bridge asks for them. Servers other than vLLM are in [`servers`], what stands before replicas
//! in [`front`].

mod front;
mod servers;

/// What a signal is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A sum that only grows. Its name ends as Prometheus shows it, mostly in `_total`.
    Counter,
    /// Counts in buckets: exposed as `_bucket`, `_sum` and `_count`.
    Histogram(&'static [f64]),
}

/// What one series of a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One replica.
    Replica,
    /// One scale target.
    Deployment,
    /// One service: what stands before its replicas shows it, whether there are any or not.
    Service,
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal {
    /// Its name, as Prometheus shows it; without `_bucket`, `_sum`, `_count` for a histogram.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: &'static str,
    /// What one series is about.
    pub scope: Scope,
    /// Its own labels, besides those that the scrape adds (`namespace`, `pod`, `service`).
    pub labels: &'static [&'static str],
    /// When it moves.
    pub moves: &'static str,
}

impl Signal {
    /// The suffix of `series` if it belongs to this signal: empty, or `_bucket`, `_sum`, `_count` of a histogram.
    #[must_use]
    pub fn suffix<'a>(&self, series: &'a str) -> Option<&'a str> {
        let rest = series.strip_prefix(self.name)?;
        let fits = match self.kind {
            Kind::Histogram(_) => matches!(rest, "_bucket" | "_sum" | "_count"),
            _ => rest.is_empty(),
        };
        fits.then_some(rest)
    }
}

/// The signal that `series` belongs to.
///
/// ```
/// use scaletwin_core::control::signal;
/// assert_eq!(signal("vllm:num_requests_waiting").unwrap().unit, "requests");
/// assert!(signal("vllm:time_to_first_token_seconds_bucket").is_some());
/// assert!(signal("vllm:prefix_cache_hits").is_none()); // counters are exposed with _total
/// ```
#[must_use]
pub fn signal(series: &str) -> Option<&'static Signal> {
    CATALOGUE.iter().find(|signal| signal.suffix(series).is_some())
}

/// vLLM's buckets of times to first token, seconds.
const TTFT: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
/// vLLM's buckets of gaps between tokens, seconds.
const ITL: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
/// vLLM's buckets of latencies of requests, seconds.
const LATENCY: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];
/// vLLM's buckets of tokens: 1-2-5 steps. A server shows those up to its longest sequence.
const TOKENS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6];
/// Envoy's buckets, milliseconds; Istio's histograms inherit them.
const ENVOY_MS: &[f64] = &[
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6,
    3.6e6,
];

/// Buckets of Knative's queue-proxy, seconds. Answers of LLMs are above the last.
const INVOCATION: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Buckets of Knative's queue-proxy up to 1.18, milliseconds.
const REVISION_MS: &[f64] = &[
    5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0, 450.0, 500.0, 600.0,
    700.0, 800.0, 900.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
];

const RAY: &[&str] = &["application", "replica"];
const VLLM: &[&str] = &["model_name", "engine"];
const TRITON: &[&str] = &["model", "version"];

const fn replica(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static [&'static str],
    moves: &'static str,
) -> Signal {
    Signal { name, kind, unit, scope: Scope::Replica, labels, moves }
}

const fn deployment(name: &'static str, moves: &'static str) -> Signal {
    Signal {
        name,
        kind: Kind::Gauge,
        unit: "replicas",
        scope: Scope::Deployment,
        labels: &["deployment"],
        moves,
    }
}

/// What the interceptor of the KEDA HTTP add-on shows: the one figure that is there without replicas.
const PENDING: Signal = Signal {
    name: "interceptor_pending_request_count",
    kind: Kind::Gauge,
    unit: "requests",
    scope: Scope::Deployment,
    labels: &["deployment"],
    moves: "at once: requests held at the gateway or in flight; those held count for the first deployment of their service",
};

/// All signals that the simulator exposes.
pub const CATALOGUE: &[Signal] =
    &joined::<{ FIRST.len() + servers::SIGNALS.len() + front::SIGNALS.len() }>([
        FIRST,
        servers::SIGNALS,
        front::SIGNALS,
    ]);

/// Several lists as one.
const fn joined<const N: usize>(lists: [&[Signal]; 3]) -> [Signal; N] {
    let mut all = [PENDING; N];
    let (mut list, mut to) = (0, 0);
    while list < lists.len() {
        let mut from = 0;
        while from < lists[list].len() {
            all[to] = lists[list][from];
            to += 1;
            from += 1;
        }
        list += 1;
    }
    all
}

/// vLLM, Triton, meshes, the node's exporters, Kubernetes, and what a replica of Knative or Ray Serve shows.
const FIRST: &[Signal] = &[
    PENDING,
    replica("vllm:num_requests_running", Kind::Gauge, "requests", VLLM, "after each engine step"),
    replica("vllm:num_requests_waiting", Kind::Gauge, "requests", VLLM, "after each engine step"),
    replica("vllm:kv_cache_usage_perc", Kind::Gauge, "share, 0 to 1", VLLM, "after each engine step"),
    replica(
        "vllm:cache_config_info",
        Kind::Gauge,
        "1",
        &["engine", "num_gpu_blocks", "block_size"],
        "never: its labels are the figures",
    ),
    replica("vllm:prefix_cache_queries_total", Kind::Counter, "tokens", VLLM, "when a request is admitted"),
    replica("vllm:prefix_cache_hits_total", Kind::Counter, "tokens", VLLM, "when a request is admitted"),
    replica("vllm:num_preemptions_total", Kind::Counter, "preemptions", VLLM, "when a request is preempted"),
    replica(
        "vllm:prompt_tokens_total",
        Kind::Counter,
        "tokens",
        VLLM,
        "at a request's first token, by its whole prompt",
    ),
    replica("vllm:generation_tokens_total", Kind::Counter, "tokens", VLLM, "each engine step"),
    replica(
        "vllm:request_success_total",
        Kind::Counter,
        "requests",
        &["model_name", "engine", "finished_reason"],
        "when a request ends, aborts included",
    ),
    replica(
        "vllm:admission_rejections_total",
        Kind::Counter,
        "requests",
        &["model_name", "reason"],
        "when a request is refused",
    ),
    replica(
        "vllm:time_to_first_token_seconds",
        Kind::Histogram(TTFT),
        "seconds",
        VLLM,
        "at a request's first token",
    ),
    replica(
        "vllm:inter_token_latency_seconds",
        Kind::Histogram(ITL),
        "seconds",
        VLLM,
        "at each further token",
    ),
    replica(
        "vllm:request_time_per_output_token_seconds",
        Kind::Histogram(ITL),
        "seconds",
        VLLM,
        "when a request finishes",
    ),
    replica(
        "vllm:e2e_request_latency_seconds",
        Kind::Histogram(LATENCY),
        "seconds",
        VLLM,
        "when a request finishes",
    ),
    replica(
        "vllm:request_queue_time_seconds",
        Kind::Histogram(LATENCY),
        "seconds",
        VLLM,
        "when a request finishes",
    ),
    replica(
        "vllm:request_prefill_time_seconds",
        Kind::Histogram(LATENCY),
        "seconds",
        VLLM,
        "when a request finishes",
    ),
    replica(
        "vllm:request_decode_time_seconds",
        Kind::Histogram(LATENCY),
        "seconds",
        VLLM,
        "when a request finishes",
    ),
    replica(
        "vllm:request_inference_time_seconds",
        Kind::Histogram(LATENCY),
        "seconds",
        VLLM,
        "when a request finishes",
    ),
    replica("vllm:request_prompt_tokens", Kind::Histogram(TOKENS), "tokens", VLLM, "when a request finishes"),
    replica(
        "vllm:request_generation_tokens",
        Kind::Histogram(TOKENS),
        "tokens",
        VLLM,
        "when a request finishes",
    ),
    replica("nv_inference_request_success", Kind::Counter, "requests", TRITON, "when a request is answered"),
    replica(
        "nv_inference_request_failure",
        Kind::Counter,
        "requests",
        &["model", "version", "reason"],
        "when a request is refused or given up",
    ),
    replica("nv_inference_count", Kind::Counter, "requests", TRITON, "when a batch ends, by its size"),
    replica("nv_inference_exec_count", Kind::Counter, "batches", TRITON, "when a batch ends"),
    replica(
        "nv_inference_request_duration_us",
        Kind::Counter,
        "microseconds",
        TRITON,
        "when a request is answered",
    ),
    replica(
        "nv_inference_queue_duration_us",
        Kind::Counter,
        "microseconds",
        TRITON,
        "when a request is answered",
    ),
    replica(
        "nv_inference_compute_infer_duration_us",
        Kind::Counter,
        "microseconds",
        TRITON,
        "when a request is answered, by its batch's whole time",
    ),
    replica("nv_inference_pending_request_count", Kind::Gauge, "requests", TRITON, "at once"),
    replica(
        "http_requests_total",
        Kind::Counter,
        "requests",
        &["handler", "method", "status"],
        "when a request ends",
    ),
    replica(
        "istio_requests_total",
        Kind::Counter,
        "requests",
        &["reporter", "response_code"],
        "when a request ends",
    ),
    replica(
        "istio_request_duration_milliseconds",
        Kind::Histogram(ENVOY_MS),
        "milliseconds",
        &["reporter", "response_code"],
        "when a request ends",
    ),
    replica(
        "envoy_cluster_upstream_rq_active",
        Kind::Gauge,
        "requests",
        &["envoy_cluster_name"],
        "at once: requests in flight",
    ),
    replica(
        "container_cpu_usage_seconds_total",
        Kind::Counter,
        "core seconds",
        &["container"],
        "all the time",
    ),
    replica("container_memory_working_set_bytes", Kind::Gauge, "bytes", &["container"], "all the time"),
    replica(
        "DCGM_FI_DEV_GPU_UTIL",
        Kind::Gauge,
        "percent",
        &["gpu"],
        "share of the sample period with a kernel resident",
    ),
    replica(
        "DCGM_FI_DEV_FB_USED",
        Kind::Gauge,
        "MiB",
        &["gpu"],
        "flat once the server has reserved its KV cache",
    ),
    replica(
        "DCGM_FI_DEV_FB_FREE",
        Kind::Gauge,
        "MiB",
        &["gpu"],
        "flat once the server has reserved its KV cache",
    ),
    replica(
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        Kind::Gauge,
        "share, 0 to 1",
        &["gpu"],
        "share of the sample period with work",
    ),
    replica(
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        Kind::Gauge,
        "share, 0 to 1",
        &["gpu"],
        "achieved share of tensor throughput in the sample period",
    ),
    replica(
        "DCGM_FI_PROF_DRAM_ACTIVE",
        Kind::Gauge,
        "share, 0 to 1",
        &["gpu"],
        "achieved share of memory bandwidth in the sample period",
    ),
    replica("ray_serve_replica_processing_queries", Kind::Gauge, "requests", RAY, "at once: requests in it"),
    replica(
        "ray_serve_deployment_request_counter_total",
        Kind::Counter,
        "requests",
        RAY,
        "when a request is answered",
    ),
    replica(
        "ray_serve_deployment_processing_latency_ms",
        Kind::Histogram(front::RAY_MS),
        "milliseconds",
        RAY,
        "when a request is answered",
    ),
    replica(
        "kn_serving_invocation_duration_seconds",
        Kind::Histogram(INVOCATION),
        "seconds",
        &["http_response_status_code", "kn_service_name"],
        "when a request is answered",
    ),
    replica(
        "revision_app_request_latencies",
        Kind::Histogram(REVISION_MS),
        "milliseconds",
        &["response_code", "response_code_class", "service_name"],
        "when a request is answered",
    ),
    deployment("kube_deployment_spec_replicas", "when the target is scaled"),
    deployment("kube_deployment_status_replicas", "when a pod comes or goes"),
    deployment("kube_deployment_status_replicas_ready", "when a pod becomes ready or stops being so"),
    Signal {
        labels: &["variant_name", "exported_namespace"],
        ..deployment("wva_desired_replicas", "when llm-d's Workload Variant Autoscaler decides")
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_buckets_ascend() {
        for (at, signal) in CATALOGUE.iter().enumerate() {
            assert!(CATALOGUE[..at].iter().all(|other| other.name != signal.name), "{}", signal.name);
            assert!(!signal.unit.is_empty() && !signal.moves.is_empty());
            if let Kind::Histogram(buckets) = signal.kind {
                assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{}", signal.name);
            }
        }
    }

    #[test]
    fn a_histogram_answers_to_its_three_series_only() {
        let found = |series| signal(series).map(|signal| signal.name);
        let name = Some("vllm:e2e_request_latency_seconds");
        assert_eq!(found("vllm:e2e_request_latency_seconds_count"), name);
        assert_eq!(found("vllm:e2e_request_latency_seconds"), None);
        assert_eq!(found("vllm:num_requests_waiting_sum"), None);
    }
}

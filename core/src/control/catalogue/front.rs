//! What stands before the replicas shows: the router of vLLM's production stack (0.1.12), the endpoint picker of llm-d (0.10)
//! under its own names and those of the Gateway API inference extension (1.6), NVIDIA Dynamo's frontend and router (1.6.1),
//! ingress-nginx (1.15), and Ray Serve's proxy and router (2.60). One series a service.

use super::{Kind, Scope, Signal};

/// Labels of a request at the endpoint picker.
const EPP: &[&str] = &["model_name", "target_model_name", "fairness_id", "priority"];
const FLOW: &[&str] = &["fairness_id", "priority", "inference_pool", "model_name", "target_model_name"];
const ENDS: &[&str] = &["outcome", "priority", "inference_pool"];
const OLD_EPP: &[&str] = &["model_name", "target_model_name"];
const POOL: &[&str] = &["name"];
const DYNAMO: &[&str] = &["model"];
const COMPONENT: &[&str] = &["dynamo_namespace", "dynamo_component", "dynamo_endpoint", "model"];

/// Buckets of the endpoint picker's durations, seconds. Times to first token end at 120 s.
const EPP_SECONDS: [f64; 35] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1_200.0, 1_800.0,
    2_700.0, 3_600.0,
];
const EPP_TTFT: &[f64] = EPP_SECONDS.split_at(24).0;
/// Buckets of the endpoint picker's prompts, tokens; 32778 is written so in its source.
const EPP_INPUT: &[f64] = &[
    1.0,
    8.0,
    16.0,
    32.0,
    64.0,
    128.0,
    256.0,
    512.0,
    1_024.0,
    2_048.0,
    4_096.0,
    8_192.0,
    16_384.0,
    32_778.0,
    65_536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
];
/// Buckets of the endpoint picker's answers, tokens.
const EPP_OUTPUT: &[f64] =
    &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0];
/// Dynamo's buckets of times to first token, seconds.
const DYNAMO_TTFT: &[f64] = &[
    0.0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1.0, 2.2, 4.7, 10.0, 22.0, 48.0, 100.0, 220.0,
    480.0,
];
/// Dynamo's buckets of latencies of requests, seconds.
const DYNAMO_E2E: &[f64] = &[0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 130.0, 260.0, 510.0];
/// Dynamo's buckets of prompts, tokens.
const DYNAMO_INPUT: &[f64] =
    &[0.0, 100.0, 210.0, 430.0, 870.0, 1_800.0, 3_600.0, 7_400.0, 1.5e4, 3.1e4, 6.3e4, 1.3e5];
/// Dynamo's buckets of answers, tokens.
const DYNAMO_OUTPUT: &[f64] = &[0.0, 100.0, 210.0, 430.0, 880.0, 1_800.0, 3_700.0, 7_600.0, 1.6e4, 3.2e4];
/// Ray Serve's buckets of latencies, milliseconds.
pub(super) const RAY_MS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0, 400.0, 500.0, 1e3, 2e3, 5e3, 1e4, 6e4, 1.2e5, 3e5,
    6e5,
];

const fn of(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static [&'static str],
    moves: &'static str,
) -> Signal {
    Signal { name, kind, unit, scope: Scope::Service, labels, moves }
}

const fn arriving(name: &'static str, labels: &'static [&'static str]) -> Signal {
    of(name, Kind::Counter, "requests", labels, "when a request arrives")
}

const fn ended(name: &'static str, labels: &'static [&'static str]) -> Signal {
    of(name, Kind::Counter, "requests", labels, "when a request ends")
}

const fn under_way(name: &'static str, labels: &'static [&'static str]) -> Signal {
    of(name, Kind::Gauge, "requests", labels, "at once: requests held and in flight")
}

const fn held(name: &'static str, labels: &'static [&'static str]) -> Signal {
    of(name, Kind::Gauge, "requests", labels, "at once: requests held before the replicas")
}

const fn saturation(name: &'static str) -> Signal {
    of(
        name,
        Kind::Gauge,
        "share of what may wait or be cached, 1: full",
        &["inference_pool", "stage"],
        "the mean over ready replicas at the scrape; 1 without one",
    )
}

const fn mean(name: &'static str, unit: &'static str) -> Signal {
    of(name, Kind::Gauge, unit, POOL, "the mean over ready replicas at the scrape")
}

const fn at_end(
    name: &'static str,
    buckets: &'static [f64],
    unit: &'static str,
    labels: &'static [&'static str],
) -> Signal {
    of(name, Kind::Histogram(buckets), unit, labels, "when a request is answered")
}

const fn at_first_token(
    name: &'static str,
    buckets: &'static [f64],
    labels: &'static [&'static str],
) -> Signal {
    of(name, Kind::Histogram(buckets), "seconds", labels, "at a request's first token")
}

pub(super) const SIGNALS: &[Signal] = &[
    arriving("vllm:num_incoming_requests_total", &["model"]),
    arriving("llm_d_epp_request_total", EPP),
    arriving("inference_objective_request_total", OLD_EPP),
    under_way("llm_d_epp_request_running", EPP),
    under_way("inference_objective_running_requests", &["model_name"]),
    held("llm_d_epp_flow_control_queue_size", FLOW),
    held("inference_extension_flow_control_queue_size", FLOW),
    saturation("llm_d_epp_flow_control_pool_saturation"),
    saturation("inference_extension_flow_control_pool_saturation"),
    of(
        "llm_d_epp_flow_control_requests_total",
        Kind::Counter,
        "requests",
        ENDS,
        "when a request is given to a replica, refused, or leaves the queue otherwise",
    ),
    of(
        "llm_d_epp_inflight_tokens",
        Kind::Gauge,
        "tokens",
        &["producer_name", "fairness_id", "priority"],
        "at once: prompts in replicas without a first token",
    ),
    Signal { unit: "replicas", ..mean("llm_d_epp_ready_endpoints", "") },
    Signal { unit: "replicas", ..mean("inference_pool_ready_pods", "") },
    mean("llm_d_epp_average_kv_cache_utilization", "share, 0 to 1"),
    mean("inference_pool_average_kv_cache_utilization", "share, 0 to 1"),
    mean("llm_d_epp_average_queue_size", "requests"),
    mean("inference_pool_average_queue_size", "requests"),
    mean("llm_d_epp_average_running_requests", "requests"),
    at_first_token(
        "llm_d_epp_request_ttft_seconds",
        EPP_TTFT,
        &["model_name", "target_model_name", "fairness_id", "priority", "streaming"],
    ),
    at_end("llm_d_epp_request_duration_seconds", &EPP_SECONDS, "seconds", EPP),
    at_end("llm_d_epp_request_input_tokens", EPP_INPUT, "tokens", EPP),
    at_end("llm_d_epp_request_output_tokens", EPP_OUTPUT, "tokens", EPP),
    arriving("dynamo_frontend_requests_started_total", &["model", "endpoint", "request_type"]),
    ended("dynamo_frontend_requests_total", &["model", "endpoint", "request_type", "status", "error_type"]),
    under_way("dynamo_frontend_inflight_requests", DYNAMO),
    under_way("dynamo_frontend_active_requests", DYNAMO),
    of(
        "dynamo_frontend_queued_requests",
        Kind::Gauge,
        "requests",
        DYNAMO,
        "at once: requests without a first token",
    ),
    at_first_token("dynamo_frontend_time_to_first_token_seconds", DYNAMO_TTFT, DYNAMO),
    at_end("dynamo_frontend_request_duration_seconds", DYNAMO_E2E, "seconds", DYNAMO),
    at_end("dynamo_frontend_input_sequence_tokens", DYNAMO_INPUT, "tokens", DYNAMO),
    at_end("dynamo_frontend_output_sequence_tokens", DYNAMO_OUTPUT, "tokens", DYNAMO),
    arriving("dynamo_component_router_requests_started_total", COMPONENT),
    ended("dynamo_component_router_requests_total", COMPONENT),
    ended(
        "nginx_ingress_controller_requests",
        &["status", "method", "path", "ingress", "canary", "exported_namespace", "exported_service"],
    ),
    held("ray_serve_deployment_queued_queries", &["deployment", "application", "handle"]),
    of(
        "ray_serve_num_ongoing_requests_at_replicas",
        Kind::Gauge,
        "requests",
        &["deployment", "application", "handle"],
        "at once: requests in replicas",
    ),
    ended("ray_serve_num_http_requests_total", &["route", "method", "application", "status_code"]),
    at_end(
        "ray_serve_http_request_latency_ms",
        RAY_MS,
        "milliseconds",
        &["route", "method", "application", "status_code"],
    ),
];

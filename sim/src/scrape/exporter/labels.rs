//! The own labels of series.

use scaletwin_core::control::{Kind, signal};

use super::front::FLOW_OUTCOMES;
use super::{FAILURES, REASONS};

/// A label set.
type LabelSet = Vec<(String, String)>;

fn set(labels: &[(&str, &str)]) -> LabelSet {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The label sets of a series, in the order in which its exporter gives their values. Labels with the names of a model,
/// service or pool are the same for all series of a target, which adds them.
#[must_use]
pub fn variants(name: &str) -> Vec<LabelSet> {
    let Some(found) = signal(name) else { return Vec::new() };
    let own = own_labels(found.name);
    if let (Kind::Histogram(bounds), Some("_bucket")) = (found.kind, found.suffix(name)) {
        let bounds = bounds.iter().map(|bound| le(*bound)).chain(std::iter::once("+Inf".to_owned()));
        return bounds.map(|bound| own.iter().cloned().chain([("le".to_owned(), bound)]).collect()).collect();
    }
    let each = |label: &str, values: &[&str]| -> Vec<LabelSet> {
        values.iter().map(|value| own.iter().cloned().chain(set(&[(label, value)])).collect()).collect()
    };
    match found.name {
        "vllm:request_success_total" => each("finished_reason", &REASONS),
        "nv_inference_request_failure" => each("reason", &FAILURES),
        "http_requests_total" => each("status", &["2xx", "4xx"]),
        "istio_requests_total" => each("response_code", &["200", "0"]),
        "nginx_ingress_controller_requests" => each("status", &super::front::STATUSES),
        "ray_serve_num_http_requests_total" => each("status_code", &super::front::STATUSES),
        "llm_d_epp_flow_control_requests_total" => each("outcome", &FLOW_OUTCOMES),
        "dynamo_frontend_requests_total" => {
            let ends =
                [("success", ""), ("error", "overload"), ("error", "cancelled"), ("error", "internal")];
            let with = |(status, error): &(&str, &str)| {
                own.iter().cloned().chain(set(&[("status", status), ("error_type", error)])).collect()
            };
            ends.iter().map(with).collect()
        }
        _ => vec![own],
    }
}

/// The own labels that all label sets of a series have.
fn own_labels(name: &str) -> LabelSet {
    const ROUTE: [(&str, &str); 3] = [("route", "/"), ("method", "POST"), ("application", "default")];
    const STREAM: [(&str, &str); 2] = [("endpoint", "chat_completions"), ("request_type", "stream")];
    match name {
        // The model alone: these are not of an engine.
        "vllm:num_incoming_requests_total" => Vec::new(),
        "vllm:admission_rejections_total" => set(&[("reason", "max_num_queued_reqs")]),
        _ if name.starts_with("vllm:") => set(&[("engine", "0")]),
        "sglang:num_running_reqs" | "sglang:num_queue_reqs" | "sglang:token_usage" => set(&[
            ("engine_type", "unified"),
            ("tp_rank", "0"),
            ("pp_rank", "0"),
            ("moe_ep_rank", "0"),
            ("priority", ""),
        ]),
        _ if name.starts_with("sglang:") => set(&[("engine_type", "unified"), ("is_streaming", "true")]),
        _ if name.starts_with("nv_inference_") => set(&[("version", "1")]),
        _ if name.starts_with("DCGM_") => set(&[("gpu", "0")]),
        _ if name.starts_with("container_") => set(&[("container", "main")]),
        "http_requests_total" => set(&[("handler", "/"), ("method", "POST")]),
        "istio_requests_total" => set(&[("reporter", "destination")]),
        "istio_request_duration_milliseconds" => {
            set(&[("reporter", "destination"), ("response_code", "200")])
        }
        "envoy_cluster_upstream_rq_active" => set(&[("envoy_cluster_name", "inbound|8000||")]),
        "llm_d_epp_request_ttft_seconds" => {
            set(&[("fairness_id", ""), ("priority", "0"), ("streaming", "true")])
        }
        "llm_d_epp_flow_control_pool_saturation" | "inference_extension_flow_control_pool_saturation" => {
            set(&[("stage", "effective")])
        }
        "llm_d_epp_flow_control_requests_total" => set(&[("priority", "0")]),
        "llm_d_epp_inflight_tokens" => {
            set(&[("producer_name", "inflight-load-producer"), ("fairness_id", ""), ("priority", "0")])
        }
        "inference_extension_flow_control_queue_size" => set(&[("fairness_id", ""), ("priority", "0")]),
        _ if name.starts_with("llm_d_epp_request_") || name.starts_with("llm_d_epp_flow_") => {
            set(&[("fairness_id", ""), ("priority", "0")])
        }
        "dynamo_frontend_requests_started_total" | "dynamo_frontend_requests_total" => set(&STREAM),
        _ if name.starts_with("dynamo_component_") => set(&[
            ("dynamo_namespace", "dynamo"),
            ("dynamo_component", "router"),
            ("dynamo_endpoint", "generate"),
        ]),
        "nginx_ingress_controller_requests" => {
            set(&[("method", "POST"), ("path", "/"), ("canary", ""), ("exported_namespace", "default")])
        }
        "ray_serve_num_http_requests_total" => set(&ROUTE),
        "ray_serve_http_request_latency_ms" => {
            set(&ROUTE).into_iter().chain(set(&[("status_code", "200")])).collect()
        }
        "ray_serve_deployment_queued_queries" | "ray_serve_num_ongoing_requests_at_replicas" => {
            set(&[("application", "default"), ("handle", "proxy")])
        }
        _ if name.starts_with("ray_serve_") => set(&[("application", "default")]),
        "kn_serving_invocation_duration_seconds" => set(&[("http_response_status_code", "200")]),
        "revision_app_request_latencies" => set(&[("response_code", "200"), ("response_code_class", "2xx")]),
        _ => Vec::new(),
    }
}

/// A bucket's bound as Python's client prints it, and Prometheus 3 stores it: `1.0`, `2.5`.
fn le(bound: f64) -> String {
    format!("{bound:?}")
}

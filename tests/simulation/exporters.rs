//! Exporters before the replicas and of other servers, through whole runs, with values known beforehand.
//!
//! Four clients from 100.5 s to 400 s have one request each in the system all the time; each takes a second. Exporters are
//! scraped each second and seen at once. An HPA of one replica per wanted unit looks each 15 s and shows what it saw.

use scaletwin_core::record::{DecisionLine, RunRecord};
use scaletwin_core::units::exact::Exact;

use crate::running::record;
use crate::timeline::scaled;

/// One replica of slots, and an HPA on this query that never scales beyond it.
fn slots(query: &str) -> String {
    text("engine: {kind: concurrency, limit: 1000, service_time: 1s}", "", query)
}

/// The same with a server of tokens that shows the metrics of `server`.
fn llm(server: &str, query: &str) -> String {
    let engine = format!("model: llama-3.1-8b, engine: {{kind: continuous-batching, metrics_of: {server}}}");
    text(&engine, ", prompt_tokens: 100, output_tokens: 50", query)
}

fn text(engine: &str, tokens: &str, query: &str) -> String {
    format!(
        "
name: exporters
seed: 3
duration: 420s
end: cut
clusters: [{{name: c, node_pools: [{{name: p, instance_type: g6e.xlarge, nodes: 1}}]}}]
services:
  - name: web
    queue: {{}}
    deployments:
      - {{name: main, {engine}}}
traffic:
  - {{name: some, from: 100500ms, until: 400s, clients: {{count: 4}}{tokens}}}
scrape: {{interval: 1s, lag: 0s}}
signals:
  seen: {{promql: '{query}'}}
policy:
  controllers:
    - {{kind: hpa, target: web, max_replicas: 1, controller: {{offset: 0s}}, metrics: [{{external: {{metric: seen, average_value: 1k}}}}]}}
"
    )
}

/// The value of the query at `seconds`, if it had one.
fn at(record: &RunRecord, seconds: f64) -> Option<f64> {
    let lines =
        record.decisions.lines().filter_map(|line| serde_json::from_str::<DecisionLine<'_>>(line).ok());
    let mut lines = lines.filter(|line| (line.t_seconds - seconds).abs() < 1e-9);
    let line = lines.next().expect("a look at that instant");
    let reason = line.reasons.iter().find(|reason| reason.subject == "metric seen").expect("the metric");
    reason.figures.get("usage_milli").map(|Exact(milli)| milli / 1e3)
}

#[test]
fn what_stands_before_the_replicas_counts_requests_at_once() {
    for gauge in [
        "sum(llm_d_epp_request_running{model_name=~\".*\"})",
        "sum(inference_objective_running_requests)",
        "dynamo_frontend_inflight_requests",
        "sum(ray_serve_num_ongoing_requests_at_replicas{deployment=\"main\"})",
        "sum(ray_serve_replica_processing_queries)",
    ] {
        let record = record(&slots(gauge));
        assert_eq!([at(&record, 90.0), at(&record, 210.0)], [Some(0.0), Some(4.0)], "{gauge}");
    }
    let ready = record(&slots("llm_d_epp_ready_endpoints"));
    assert_eq!(at(&ready, 210.0), Some(1.0));
}

#[test]
fn counters_move_when_their_system_moves_them() {
    // At any instant between whole and half seconds four have arrived that have not ended.
    let of = |query: &str| at(&record(&slots(query)), 225.0);
    let started = of("sum(dynamo_frontend_requests_started_total)");
    let ended = started.map(|started| started - 4.0);
    assert!(ended > Some(400.0), "four clients for more than a hundred seconds");
    for at_end in [
        "nginx_ingress_controller_requests{status=\"200\"}",
        "dynamo_frontend_requests_total{status=\"success\"}",
        "dynamo_frontend_input_sequence_tokens_count",
        "sum(kn_serving_invocation_duration_seconds_count{kn_service_name=\"web\"})",
        "sum(revision_app_request_latencies_bucket{le=\"1000.0\"})",
        "sum(ray_serve_deployment_request_counter_total)",
    ] {
        assert_eq!(of(at_end), ended, "{at_end}");
    }
    assert_eq!(of("vllm:num_incoming_requests_total"), started);
    assert_eq!(of("rate(llm_d_epp_request_total[1m])"), Some(4.0));
}

#[test]
fn a_server_shows_the_names_of_the_one_that_it_stands_for() {
    let of = |server: &str, query: &str| at(&record(&llm(server, query)), 225.0);
    assert_eq!(of("sglang", "sum(sglang:num_running_reqs{engine_type=\"unified\"})"), Some(4.0));
    assert_eq!(of("tgi", "sum(tgi_batch_current_size)"), Some(4.0));
    assert_eq!(of("sglang", "sum(vllm:num_requests_running)"), None, "no vLLM here");
    let tokens = "sum(sglang:generation_tokens_total) / sum(sglang:num_requests_total)";
    assert_eq!(of("sglang", tokens), Some(50.0));
    let prompts =
        "sum(dynamo_frontend_input_sequence_tokens_sum) / sum(dynamo_frontend_input_sequence_tokens_count)";
    assert_eq!(of("vllm", prompts), Some(100.0));
    // The blocks of a server are labels of a series that says nothing else.
    let blocks = "count by (block_size) (vllm:cache_config_info{num_gpu_blocks!=\"\"})";
    assert_eq!(of("vllm", blocks), Some(1.0));
}

/// A router counts requests while nobody serves them, and so can wake a target at zero; a server's own queue cannot.
#[test]
fn a_router_sees_requests_for_a_target_at_zero() {
    let keda = |query: &str| {
        slots(query)
            .replace("engine:", "replicas: 1, cold_start: 20s, engine:")
            .replace(
                "{kind: hpa, target: web, max_replicas: 1, controller: {offset: 0s}, metrics: [{external: {metric: seen, average_value: 1k}}]}",
                "{kind: keda, target: web, max_replicas: 1, offset: 0s, cooldown_period: 60s, triggers: [{prometheus: {signal: seen, threshold: 1}}]}",
            )
    };
    let router = record(&keda("sum(rate(vllm:num_incoming_requests_total[1m]) > bool 0)"));
    assert_eq!(scaled(&router)[..2], [(0.0, 0), (120.0, 1)]);
    let server = record(&keda("sum(ray_serve_replica_processing_queries)"));
    assert_eq!(scaled(&server), [(0.0, 0)]);
}

/// Four requests a second go to the replica at once. Where none of them waits in it, the KV cache alone fills the pool, of which 0.8
/// is all that may be in use. Where one is served at a time three wait, of five that may, with prompts of 100 tokens.
#[test]
fn the_endpoint_picker_shows_saturation_tokens_in_flight_and_what_became_of_requests() {
    let seen = |text: &str| at(&record(text), 345.0);
    let flow = |outcome: &str| {
        let all = format!("llm_d_epp_flow_control_requests_total{{outcome{outcome}\"Dispatched\"}}");
        seen(&slots(&format!("sum(rate({all}[1m]))")))
    };
    assert_eq!([flow("="), flow("!=")], [Some(4.0), Some(0.0)]);
    let pool = "max(llm_d_epp_flow_control_pool_saturation{inference_pool=\"web\"})";
    let full = seen(&llm("vllm", &format!("{pool} / max(llm_d_epp_average_kv_cache_utilization)")));
    assert_eq!(full, Some(1.25));
    assert_eq!(seen(&slots(pool)), None, "slots have no KV cache");
    let one = |query: &str| seen(&llm("vllm", query).replace("metrics_of:", "max_num_seqs: 1, metrics_of:"));
    assert_eq!(one(pool), Some(0.6));
    assert_eq!(one("sum(llm_d_epp_inflight_tokens{producer_name=\"inflight-load-producer\"})"), Some(300.0));
}

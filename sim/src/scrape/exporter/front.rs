//! What the exporters before the replicas show of a service: routers, endpoint pickers, ingresses.

use scaletwin_core::control::SignalScope;
use scaletwin_core::record::{Finished, Outcome};
use scaletwin_core::units::Time;
use serde::{Deserialize, Serialize};

use super::histograms::Histograms;
use crate::scrape::signals::ScrapedSeries;

/// Status codes by how requests end: answered; given up by their clients; lost with their replica; refused.
pub(super) const STATUSES: [&str; 4] = ["200", "499", "502", "503"];

/// How a request left the flow control of the endpoint picker: `pkg/epp/flowcontrol/types/outcomes.go` of llm-d's router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowOutcome {
    /// It was given to a replica.
    Dispatched = 0,
    /// The queue was full.
    RejectedCapacity = 1,
    /// The queue was full, and there was no ready replica.
    RejectedNoEndpoints = 2,
    /// It was not admitted.
    RejectedOther = 3,
    /// It had waited as long as it may.
    EvictedTtl = 4,
    /// It had, and there was no ready replica.
    EvictedNoEndpoints = 5,
    /// Its client went away.
    EvictedContextCancelled = 6,
}

/// The names of [`FlowOutcome`].
pub(super) const FLOW_OUTCOMES: [&str; 7] = [
    "Dispatched",
    "RejectedCapacity",
    "RejectedNoEndpoints",
    "RejectedOther",
    "EvictedTTL",
    "EvictedNoEndpoints",
    "EvictedContextCancelled",
];

/// The endpoint picker's `queueDepthThreshold` and `kvCacheUtilThreshold`: a replica is saturated with so many requests that
/// wait in it, or with this share of its KV cache in use.
const SATURATED: [f64; 2] = [5.0, 0.8];

/// How saturated a replica is with so many waiting requests and this share of its KV cache in use; 1: just so.
#[must_use]
pub fn saturation(waiting: f64, kv_share: f64) -> f64 {
    (waiting / SATURATED[0]).max(kv_share / SATURATED[1])
}

/// Sums that the exporters before a service keep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FrontCounters {
    /// Requests that ended, by [`STATUSES`].
    ended: [u64; 4],
    /// Requests whose first token came and that have not ended.
    answering: u64,
    /// Requests that left the flow control, by [`FlowOutcome`].
    #[serde(default)]
    flow: [u64; 7],
    histograms: Histograms,
}

impl FrontCounters {
    /// Counters with the histograms that `series` need.
    #[must_use]
    pub fn for_series(series: &[ScrapedSeries]) -> FrontCounters {
        let histograms = Histograms::for_series(series, SignalScope::Service);
        FrontCounters { histograms, ..FrontCounters::default() }
    }

    /// Whether any histogram is scraped.
    #[must_use]
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// Counts a request that leaves the flow control.
    pub fn leaves_flow(&mut self, outcome: FlowOutcome) {
        self.flow[outcome as usize] += 1;
    }

    /// Counts the first token of a request that arrived at `arrived`.
    pub fn first_token(&mut self, arrived: Time, now: Time) {
        self.answering += 1;
        if !self.histograms.is_empty() {
            let seconds = now.since(arrived).as_secs_f64();
            for name in ["llm_d_epp_request_ttft_seconds", "dynamo_frontend_time_to_first_token_seconds"] {
                self.histograms.observe(name, seconds, 1);
            }
        }
    }

    /// Counts a request that has ended.
    #[inline]
    pub fn ended(&mut self, request: &Finished) {
        let status = match request.outcome {
            Outcome::Completed => 0,
            Outcome::TimedOut | Outcome::Aborted | Outcome::Unfinished => 1,
            Outcome::Failed => 2,
            Outcome::Rejected => 3,
        };
        self.ended[status] += 1;
        // A server of slots answers as a whole: what it ends had no first token of its own.
        self.answering = self.answering.saturating_sub(u64::from(request.first_token.is_some()));
        if self.histograms.is_empty() || request.outcome != Outcome::Completed {
            return;
        }
        let seconds = request.e2e().as_secs_f64();
        for (name, value) in [
            ("llm_d_epp_request_duration_seconds", seconds),
            ("dynamo_frontend_request_duration_seconds", seconds),
            ("ray_serve_http_request_latency_ms", seconds * 1e3),
            ("llm_d_epp_request_input_tokens", f64::from(request.prompt_tokens)),
            ("dynamo_frontend_input_sequence_tokens", f64::from(request.prompt_tokens)),
            ("llm_d_epp_request_output_tokens", f64::from(request.output_tokens)),
            ("dynamo_frontend_output_sequence_tokens", f64::from(request.output_tokens)),
        ] {
            self.histograms.observe(name, value, 1);
        }
    }
}

/// What is known of a service when the exporters before it are scraped.
#[derive(Debug, Clone, Copy)]
pub struct Front<'a> {
    /// Requests so far.
    pub arrived: u64,
    /// Requests in the system.
    pub under_way: u64,
    /// Of them those held before the replicas.
    pub held: u64,
    /// Sums.
    pub counters: &'a FrontCounters,
    /// Its ready replicas.
    pub ready: u64,
    /// The means over its ready replicas that batch continuously, if there are any: running, waiting, share of KV cache.
    pub means: Option<[f64; 3]>,
    /// The mean of their [`saturation`]; 1 without a ready replica, nothing where they batch in another way.
    pub saturation: Option<f64>,
    /// The prompt tokens of requests in replicas whose first token has not come.
    pub prefill_tokens: u64,
}

/// The values of a series about a service, one a label set; nothing where it is about something else, or unknown.
#[must_use]
pub fn values(name: &str, front: &Front<'_>) -> Vec<f64> {
    let Front { counters, .. } = front;
    if let Some(values) = counters.histograms.values(name) {
        return values;
    }
    let one = |count: u64| vec![count as f64];
    let mean = |at: usize| front.means.map_or(Vec::new(), |means| vec![means[at]]);
    match name {
        "vllm:num_incoming_requests_total"
        | "llm_d_epp_request_total"
        | "inference_objective_request_total"
        | "dynamo_frontend_requests_started_total"
        | "dynamo_component_router_requests_started_total" => one(front.arrived),
        "llm_d_epp_request_running"
        | "inference_objective_running_requests"
        | "dynamo_frontend_inflight_requests"
        | "dynamo_frontend_active_requests" => one(front.under_way),
        "llm_d_epp_flow_control_queue_size"
        | "inference_extension_flow_control_queue_size"
        | "ray_serve_deployment_queued_queries" => one(front.held),
        "llm_d_epp_flow_control_pool_saturation" | "inference_extension_flow_control_pool_saturation" => {
            front.saturation.into_iter().collect()
        }
        "llm_d_epp_flow_control_requests_total" => counters.flow.map(|count| count as f64).to_vec(),
        "llm_d_epp_inflight_tokens" => one(front.prefill_tokens),
        "ray_serve_num_ongoing_requests_at_replicas" => one(front.under_way - front.held),
        "dynamo_frontend_queued_requests" => one(front.under_way.saturating_sub(counters.answering)),
        "dynamo_component_router_requests_total" => one(counters.ended.iter().sum()),
        "dynamo_frontend_requests_total" => {
            let [good, gone, lost, refused] = counters.ended;
            [good, refused, gone, lost].map(|count| count as f64).to_vec()
        }
        "nginx_ingress_controller_requests" | "ray_serve_num_http_requests_total" => {
            counters.ended.map(|count| count as f64).to_vec()
        }
        "llm_d_epp_ready_endpoints" | "inference_pool_ready_pods" => one(front.ready),
        "llm_d_epp_average_running_requests" => mean(0),
        "llm_d_epp_average_queue_size" | "inference_pool_average_queue_size" => mean(1),
        "llm_d_epp_average_kv_cache_utilization" | "inference_pool_average_kv_cache_utilization" => mean(2),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use scaletwin_core::control::{CATALOGUE, Kind};

    use super::*;
    use crate::scrape::exporter::variants;

    /// A service with so many requests under way, and no replica.
    fn bare(counters: &FrontCounters, under_way: u64) -> Front<'_> {
        Front {
            arrived: 9,
            under_way,
            held: 2,
            counters,
            ready: 0,
            means: None,
            saturation: None,
            prefill_tokens: 0,
        }
    }

    #[test]
    fn a_replica_is_as_saturated_as_its_scarcer_resource() {
        assert!((saturation(6.0, 0.4) - 1.2).abs() < 1e-12, "six wait where five may");
        assert!((saturation(1.0, 0.4) - 0.5).abs() < 1e-12, "half of what may be cached");
    }

    #[test]
    fn every_signal_before_replicas_has_a_value_for_each_of_its_label_sets() {
        for signal in CATALOGUE.iter().filter(|signal| signal.scope == SignalScope::Service) {
            let name = match signal.kind {
                Kind::Histogram(_) => format!("{}_bucket", signal.name),
                _ => signal.name.to_owned(),
            };
            let sets = variants(&name);
            let counters =
                FrontCounters::for_series(&[ScrapedSeries { name: name.clone(), variants: sets.clone() }]);
            let means = Some([1.0, 2.0, 0.5]);
            let front = Front { means, saturation: Some(0.5), ready: 3, ..bare(&counters, 5) };
            assert_eq!(values(&name, &front).len(), sets.len(), "{name}");
        }
    }

    #[test]
    fn a_request_is_queued_for_dynamo_up_to_its_first_token() {
        let mut counters = FrontCounters::default();
        let queued = |counters: &FrontCounters, under_way: u64| {
            let front = bare(counters, under_way);
            values("dynamo_frontend_queued_requests", &front)[0]
        };
        assert!((queued(&counters, 3) - 3.0).abs() < 1e-9);
        counters.first_token(Time::ZERO, Time::ZERO);
        assert!((queued(&counters, 3) - 2.0).abs() < 1e-9);
    }
}

//! Random scenarios, driven through the invariants that every run checks of itself: one outcome a request, Little's law,
//! KV blocks and GPUs conserved, billed time the sum of lifetimes, instants in causal order.

use proptest::prelude::*;
use scaletwin_core::record::Outcome;

use crate::running::requests;

/// What varies in a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    seed: u64,
    engine: Engine,
    replicas: u32,
    nodes: u32,
    rate: u32,
    burstiness: u32,
    client: String,
    priorities: bool,
    closed: u32,
    policy: Policy,
    cold_start: u32,
    grace: u32,
    queue: String,
    routing: &'static str,
    ends: String,
    warm_up: u32,
    spot: &'static str,
    outage: &'static str,
    sliced: bool,
    filler: u32,
    zones: &'static str,
    standby: &'static str,
    /// Whether all arrives and is served at even instants, at which other things happen, too.
    even: bool,
    queue_timeout: &'static str,
    /// A second service, on the same nodes, whose clients try again.
    beside: bool,
}

#[derive(Debug, Clone)]
enum Engine {
    Continuous { options: String },
    Slots { options: String },
    Batches { options: String },
}

#[derive(Debug, Clone, Copy)]
enum Policy {
    None,
    Hpa,
    HpaOnCpu,
}

impl Shape {
    /// The scenario.
    pub(crate) fn text(&self) -> String {
        let Shape {
            seed,
            replicas,
            nodes,
            rate,
            burstiness,
            client,
            closed,
            cold_start,
            grace,
            queue,
            routing,
            ends,
            warm_up,
            spot,
            outage,
            sliced,
            filler,
            zones,
            standby,
            even,
            queue_timeout,
            beside,
            ..
        } = self;
        let cv = f64::from(*burstiness) / 2.0;
        let arrivals = match even {
            true => format!("{{constant: {{rate: {rate}/s}}}}"),
            false => format!("{{gamma: {{rate: {rate}/s, cv: {cv}}}}}"),
        };
        let (engine, tokens) = match &self.engine {
            Engine::Continuous { options } => (
                format!(
                    "{{kind: continuous-batching, {options}, step_time: {{linear: {{base: 9ms, per_prefill_token: 40us, per_sequence: 200us, per_context_token: 90ns}}}}}}"
                ),
                "prompt_tokens: {lognormal: {mean: 120, cv: 1}}, output_tokens: {lognormal: {mean: 60, cv: 1}},",
            ),
            Engine::Slots { options } => (format!("{{kind: concurrency, {options}}}"), ""),
            Engine::Batches { options } => (format!("{{kind: dynamic-batching, {options}}}"), ""),
        };
        let model = if tokens.is_empty() { "" } else { "model: llama-3.1-8b" };
        let signal = if tokens.is_empty() {
            "envoy_cluster_upstream_rq_active"
        } else {
            "'vllm:num_requests_running'"
        };
        let (gpus, sharing) = match (tokens.is_empty(), sliced) {
            (true, _) => ("0", ""),
            (false, false) => ("1", ""),
            (false, true) => ("500m", ", gpu_sharing: {slices: 2, slowdown: 1.5}"),
        };
        // Those of low priority have to go where the others find no room.
        let filler = match *filler {
            0 => String::new(),
            replicas => format!(
                "  - name: filler
    deployments:
      - {{name: low, priority: -5, replicas: {replicas}, replica: {{cpu: 2, gpus: {gpus}}}, engine: {{kind: concurrency, limit: 1, service_time: 1s}}}}"
            ),
        };
        let (beside, again) = if *beside {
            (
                format!(
                    "  - name: two
    queue: {{}}
    deployments:
      - {{name: side, replicas: 2, replica: {{cpu: 1, gpus: {gpus}}}, cold_start: 4s, engine: {{kind: concurrency, limit: 8, service_time: {{exponential: {{mean: 1s}}}}}}}}"
                ),
                "  - {name: side, service: two, arrivals: {poisson: {rate: 8/s}}, client: {timeout: 20s, retries: {max: 3, budget: 0.05, jitter: 0}}}",
            )
        } else {
            (String::new(), "")
        };
        let (near, far) = if zones.is_empty() { ("", "") } else { ("zone: a,", "zone: b,") };
        let metric = match self.policy {
            Policy::HpaOnCpu => "resource: {name: cpu, utilization: 50}",
            _ => "pods: {metric: load, average_value: 3}",
        };
        let policy = match self.policy {
            Policy::None => String::new(),
            _ => format!(
                "policy:
  controllers:
    - kind: hpa
      target: one
      max_replicas: 5
      behavior: {{scale_down: {{stabilization_window: 20s}}}}
      metrics: [{{{metric}}}]
    - {{kind: node-provisioner}}"
            ),
        };
        let (first, second) = if self.priorities { (1, 0) } else { (0, 0) };
        let closed = if *closed == 0 {
            String::new()
        } else {
            format!(
                "  - {{name: loop, service: one, {near} {tokens} until: 60s, clients: {{count: {closed}, think_time: {{exponential: {{mean: 2s}}}}}}}}"
            )
        };
        let most = nodes + 3;
        let placement = ["first-fit", "best-fit", "spread", "pack"][*rate as usize % 4];
        let crashes =
            ["", "crashes: {mtbf: 20s, at: [{at: 30s, replicas: 2}], back_off: 2s, max_back_off: 5s}"]
                [*grace as usize % 2];
        // Where all nodes are out, nobody is evicted: somebody has to give them back.
        let repaired =
            if outage.is_empty() || spot.contains("failures") { "" } else { ", failures: {repair: 9s}" };
        let rollout = 20 + 3 * cold_start;
        let around = [
            "",
            "affinity: {pod_anti_affinity: {required: [{topology_key: kubernetes.io/hostname}]}}",
            "topology_spread_constraints: [{topology_key: kubernetes.io/hostname}]",
            "topology_spread_constraints: [{topology_key: kubernetes.io/hostname, when_unsatisfiable: ScheduleAnyway}]",
        ][*burstiness as usize % 4];
        let start = if cold_start % 2 == 0 {
            format!("cold_start: {{uniform: {{min: 1s, max: {cold_start}s}}}}")
        } else {
            format!(
                "start_up: {{image: {{size: {cold_start}00MB, extract: 400MB/s}}, start: {{uniform: {{min: 1s, max: 2s}}}}, \
                 weights: {{size: 1GB, peer: 100MB/s}}, compile: 1s, sleep: {{wake: 1s}}}}"
            )
        };
        format!(
            "
name: random
seed: {seed}
duration: 90s
{ends}
warm_up: {warm_up}s
window: 30s
clusters:
  - name: here
    placement: {placement}
    quota: {{cpu: 24}}
    registry_bandwidth: 300MB/s
    detection: {{grace_period: 7s, toleration: 12s}}
    node_pools:
      - {{name: pool, instance_type: g6.xlarge, nodes: {{min: {nodes}, max: {most}}}, provisioning: {{uniform: {{min: 5s, max: 20s}}}}{spot}{sharing}{repaired}}}
      - {{name: other, instance_type: g6.xlarge, zone: b, nodes: {{min: 0, max: 1}}{sharing}}}
{outage}
services:
  - name: one
    slo: {{e2e: {{p90: 3s}}}}
    routing: {routing}
    health_check: {{interval: 2s, timeout: 1s}}
    outlier_detection: {{consecutive_failures: 2, ejection: 1s}}
    {queue}
    {zones}
    deployments:
      - name: main
        {model}
        engine: {engine}
        replica: {{gpus: {gpus}, cpu: 2}}
        replicas: {replicas}
        {start}
        {around}
        {standby}
        {crashes}
        readiness: {{period: 3s}}
        rollouts: [{rollout}s]
        disruption_budget: {{max_unavailable: 1}}
        grace: {grace}s
{filler}
{beside}
traffic:
  - {{name: first, service: one, {near} {tokens} priority: {first}, arrivals: {arrivals}, client: {client}}}
  - {{name: second, service: one, {far} {tokens} priority: {second}, {queue_timeout} arrivals: {{poisson: {{rate: 1/s}}}}, client: {client}}}
{closed}
{again}
scrape: {{interval: 5s, lag: 1s}}
signals:
  load: {{series: {signal}, per: pod}}
{policy}
"
        )
    }
}

fn engines() -> impl Strategy<Value = Engine> {
    let continuous = (
        1u32..12,
        prop::sample::select(vec![40u32, 120, 2000]),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec!["fcfs", "priority"]),
        prop::sample::select(vec![64u32, 512]),
        prop::sample::select(vec!["", ", max_num_queued_reqs: 3"]),
    )
        .prop_map(|(seqs, blocks, asynchronous, caching, policy, tokens, queue)| Engine::Continuous {
            options: format!(
                "max_num_seqs: {seqs}, num_gpu_blocks: {blocks}, async_scheduling: {asynchronous}, enable_prefix_caching: {caching}, scheduling_policy: {policy}, max_num_batched_tokens: {tokens}, max_model_len: 600{queue}"
            ),
        });
    let slots = (
        1u32..5,
        prop::sample::select(vec!["fifo", "processor-sharing"]),
        prop::sample::select(vec!["", ", queue: 0", ", queue: 4"]),
        prop::sample::select(vec!["", ", setup: {exponential: {mean: 1s}}"]),
    )
        .prop_map(|(limit, discipline, queue, setup)| Engine::Slots {
            options: format!(
                "limit: {limit}, discipline: {discipline}{queue}{setup}, service_time: {{lognormal: {{mean: 400ms, cv: 1}}}}"
            ),
        });
    let batches = (
        1u32..9,
        1u32..3,
        prop::sample::select(vec!["", ", queue: 4"]),
        prop::sample::select(vec![
            "",
            ", max_queue_delay: 150ms",
            ", preferred_batch_sizes: [1], order: priority",
        ]),
        prop::sample::select(vec![
            "{linear: {base: 300ms, per_request: 60ms}}",
            "{law: {lognormal: {mean: 400ms, cv: 1}}}",
        ]),
    )
        .prop_map(|(size, instances, queue, delay, time)| Engine::Batches {
            options: format!(
                "max_batch_size: {size}, instances: {instances}{queue}{delay}, batch_time: {time}"
            ),
        });
    prop_oneof![continuous, slots, batches]
}

/// Scenarios of all kinds.
pub(crate) fn shapes() -> impl Strategy<Value = Shape> {
    let clients = prop::sample::select(vec![
        "{}",
        "{timeout: 4s}",
        "{patience: {exponential: {mean: 3s}}}",
        "{timeout: 2s, retries: {max: 3}}",
        "{deadline: 5s, retries: {max: 2, budget: 0.2}}",
    ]);
    let first = (any::<u64>(), engines(), 1u32..4, 3u32..5, 1u32..14, 1u32..5, clients, any::<bool>());
    let third = (
        any::<bool>(),
        0u32..3,
        prop::sample::select(vec![
            "",
            "cross_zone: {usd_per_gb: 0.02, request: 20kB, output_token: 250B}",
            "cross_zone: {usd_per_gb: 0.02, request: 20kB}\n    prefer_zone: true",
        ]),
        prop::sample::select(vec![
            "",
            "",
            "standby: {replicas: 1, wake: {uniform: {min: 100ms, max: 2s}}}",
            "standby: {replicas: 2, wake: 0s}",
        ]),
    );
    let second = (
        0u32..4,
        prop::sample::select(vec![Policy::None, Policy::Hpa, Policy::HpaOnCpu]),
        2u32..15,
        0u32..6,
        prop::sample::select(vec!["", "queue: {}", "queue: {limit: 3}"]),
        prop::sample::select(vec![
            "round-robin",
            "least-outstanding",
            "weighted-round-robin",
            "random",
            "power-of-two-choices",
            "{kind: least-response-time, smoothing: 0.5}",
            "{kind: consistent-hash, load_factor: 1.5}",
            "session-affinity",
            "{kind: prefix-affinity, load_slack: 2}",
            "{kind: resource-based, refresh: 300ms, waiting: 1, running: 2, cpu: 0.5}",
            "{kind: resource-based, refresh: 2s, running: 1}",
        ]),
        prop::sample::select(vec!["end: drain", "end: cut"]),
        prop::sample::select(vec![0u32, 20]),
        prop::sample::select(vec![
            "",
            ", capacity_type: spot, spot: {lifetime: {exponential: {mean: 40s}}, notice: 5s}",
            ", capacity_type: spot, spot: {lifetime: {exponential: {mean: 90s}}, rebalance: 9s, shocks: {every: 25s, share: 0.4}, notice: 7s}",
            ", capacity_type: spot, spot: {available: [{from: 30s, nodes: 1}, {from: 60s, nodes: 9}], notice: 0s}",
            ", failures: {mtbf: 50s, repair: 9s}",
            ", failures: {mtbf: 20s, recovery: 10s, requests: fail}",
            ", failures: {at: [{at: 15s, nodes: 1}, {at: 40s, nodes: 2}], requests: fail, repair: 20s}",
        ]),
        prop::sample::select(vec!["", "", "outages: [{zone: a, at: 33s, duration: 15s}]"]),
    );
    (first, second, third).prop_map(|(first, second, third)| {
        let (seed, engine, replicas, nodes, rate, burstiness, client, priorities) = first;
        let (closed, policy, cold_start, grace, queue, routing, ends, warm_up, spot, outage) = second;
        let (sliced, filler, zones, standby) = third;
        // Without anybody who adds nodes, a run whose nodes are taken back ends nowhere.
        let (spot, outage) = if matches!(policy, Policy::None) { ("", "") } else { (spot, outage) };
        let (filler, standby) = if matches!(policy, Policy::None) { (0, "") } else { (filler, standby) };
        Shape {
            seed,
            engine,
            replicas,
            nodes,
            rate,
            burstiness,
            client: client.to_owned(),
            priorities,
            closed,
            policy,
            cold_start,
            grace,
            queue: queue.to_owned(),
            routing,
            ends: ends.to_owned(),
            warm_up,
            spot,
            outage,
            sliced,
            filler,
            zones,
            standby,
            even: false,
            queue_timeout: "queue_timeout: 9s,",
            beside: false,
        }
    })
}

/// Scenarios in which requests end without anybody who waits for that.
pub(crate) fn unwatched() -> impl Strategy<Value = Shape> {
    let routing = prop::sample::select(vec!["round-robin", "weighted-round-robin", "random"]);
    (shapes(), routing, 1u32..5, any::<bool>(), any::<bool>()).prop_map(
        |(shape, routing, limit, even, beside)| {
            let service = if even { "500ms" } else { "{gamma: {mean: 400ms, cv: 1.5}}" };
            let options = format!("limit: {limit}, service_time: {service}");
            let engine = Engine::Slots { options };
            let client = "{}".to_owned();
            Shape { engine, routing, even, beside, client, closed: 0, queue_timeout: "", ..shape }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_scenarios_keep_the_invariants(shape in shapes()) {
        let (record, requests) = requests(&shape.text());
        let counts = &record.summary.services[0].requests;
        let warm_up = record.summary.services[0].warm_up_requests;
        prop_assert_eq!(counts.arrived, Outcome::ALL.iter().map(|outcome| counts.of(*outcome)).sum::<u64>());
        prop_assert_eq!(counts.arrived + warm_up, requests.len() as u64);
        let windows: u64 = record.windows[0].iter().map(|window| window.counts.arrived).sum();
        prop_assert_eq!(windows, requests.len() as u64);
        let held: f64 = record.summary.services.iter().filter_map(|service| service.cost_usd).sum();
        let cost = record.summary.cost;
        let nodes = cost.total_usd.unwrap() - cost.cross_zone_usd.unwrap_or(0.0);
        prop_assert!((held + cost.idle_usd.unwrap() - nodes).abs() < 1e-9);
    }
}

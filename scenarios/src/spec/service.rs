//! Services and deployments as written.

use scaletwin_core::input::{
    At, Count, Node, NonNegative, Period, Problem, Problems, Read, Shape, Value, suggestion,
};
use scaletwin_core::random::Distributed;
use scaletwin_core::record::{LatencyMetric, Objective, Slo};
use scaletwin_core::units::{Bytes, Quantity, Share, Span};
use scaletwin_sim::cluster::rollout::Amount;
use scaletwin_sim::cluster::routing::Across;
use serde_json::json;

use super::engine::EngineSpec;
use super::failures::CrashesSpec;
use super::routing::RoutingSpec;
use super::scheduling::{AffinitySpec, Labels, PreemptionPolicy, SpreadSpec, TolerationSpec};
use super::start_up::StartUpSpec;

scaletwin_core::keys! {
    /// A service: a gateway with one or more deployments behind it.
    #[derive(Debug, Clone)]
    pub struct ServiceSpec {
        /// Its name.
        pub name: At<String>,
        /// Its objectives: a limit for a quantile of a latency, such as `{ttft: {p95: 1s}, tpot: {p95: 60ms}}`.
        pub slo: At<SloSpec> = SloSpec::default(),
        /// How requests are spread over ready replicas: the name of a rule, or a map with its `kind` and keys.
        pub routing: At<RoutingSpec> = RoutingSpec::default(),
        /// How requests are spread over the deployments.
        pub across: Across = Across::Together,
        /// With `across: failover`: a deployment with fewer than this share of its wanted replicas ready comes after those with
        /// more, such as 0.71 (Envoy's overprovisioning factor of 1.4). Default: it comes first as long as one takes requests.
        pub min_ready_share: Option<At<Share>> = None,
        /// Whether a request goes to a replica in the zone of its traffic, if one takes it.
        pub prefer_zone: bool = false,
        /// What the provider bills for traffic between the zone of a request and that of its replica. Default: nothing.
        pub cross_zone: Option<At<CrossZoneSpec>> = None,
        /// Probes of the gateway, which take out a replica that does not answer. Default: it learns that from the cluster alone.
        pub health_check: Option<HealthCheckSpec> = None,
        /// Ejects a replica for a while that fails requests one after another. Default: none is ejected.
        pub outlier_detection: Option<OutlierSpec> = None,
        /// Holds requests that no replica takes. Without it they are rejected, as a plain Kubernetes Service does.
        pub queue: Option<QueueSpec> = None,
        /// Its deployments, each of which is a scale target.
        pub deployments: At<Vec<At<DeploymentSpec>>>,
    }
}

scaletwin_core::keys! {
    /// Probes of the gateway. A threshold for coming back is missing on purpose: nodes that fail do not.
    #[derive(Debug, Clone)]
    pub struct HealthCheckSpec {
        /// From one probe of a replica to the next. Default: that of a target group of AWS.
        pub interval: Period = Period(Span::from_secs(30)),
        /// How long an answer may take. Default: that of a target group of AWS.
        pub timeout: Span = Span::from_secs(5),
        /// Probes in a row without an answer that take a replica out. Default: that of a target group of AWS.
        pub unhealthy_threshold: Count = Count(2),
    }
}

scaletwin_core::keys! {
    /// Ejection of replicas that fail requests (`outlier_detection` of Envoy).
    #[derive(Debug, Clone)]
    pub struct OutlierSpec {
        /// Failures in a row that eject a replica (`consecutive_5xx`).
        pub consecutive_failures: Count = Count(5),
        /// How long the first ejection lasts (`base_ejection_time`); the n-th lasts n times as long, 5 minutes at most.
        pub ejection: Period = Period(Span::from_secs(30)),
    }
}

scaletwin_core::keys! {
    /// Traffic between zones: how much a request is, and its price.
    #[derive(Debug, Clone)]
    pub struct CrossZoneSpec {
        /// Dollars per 10^9 bytes. AWS bills 0.01 for each direction of a byte: 0.02 here.
        pub usd_per_gb: NonNegative,
        /// Bytes of a request, without its prompt.
        pub request: Bytes = Bytes(0),
        /// Bytes of an answer, without its tokens.
        pub response: Bytes = Bytes(0),
        /// Bytes of a token of a prompt: about 4 in English.
        pub prompt_token: Bytes = Bytes(0),
        /// Bytes of a token of an answer: about 4 in English, and some 250 where each comes as an event of its own.
        pub output_token: Bytes = Bytes(0),
    }
}

scaletwin_core::keys! {
    /// A queue before the replicas.
    #[derive(Debug, Clone)]
    pub struct QueueSpec {
        /// Requests that may wait. Default: any number.
        pub limit: Option<u32> = None,
    }
}

scaletwin_core::keys! {
    /// Replicas of one server: a scale target.
    #[derive(Debug, Clone)]
    pub struct DeploymentSpec {
        /// Its name; as a scale target it is `service/name`.
        pub name: At<String>,
        /// The cluster that it runs in. Default: the only one.
        pub cluster: Option<At<String>> = None,
        /// The node pool that it runs in. Default: any of the cluster.
        pub node_pool: Option<At<String>> = None,
        /// Labels that its nodes have to have.
        pub node_selector: Labels = Labels::new(),
        /// The taints that its pods tolerate.
        pub tolerations: Vec<TolerationSpec> = Vec::new(),
        /// What they want of the nodes and pods around them.
        pub affinity: AffinitySpec = AffinitySpec::default(),
        /// How evenly they are spread over nodes and zones.
        pub topology_spread_constraints: Vec<SpreadSpec> = Vec::new(),
        /// How important its pods are to the scheduler (`value` of a `PriorityClass`): the higher are placed first.
        pub priority: At<i32> = 0,
        /// Whether they may take the room of pods of lower priority where they find none (`preemptionPolicy`).
        pub preemption_policy: PreemptionPolicy = PreemptionPolicy::PreemptLowerPriority,
        /// The largest share of its replicas that may be on spot nodes; what is beyond it waits for others. Default: all.
        pub max_spot_share: Option<Share> = None,
        /// Its part of the requests, with `across: split` or `routing: weighted-round-robin`. Default: 1.
        pub weight: Option<At<Count>> = None,
        /// What its replicas do.
        pub role: Role = Role::Both,
        /// The model that it serves. The step time, the KV cache and the longest sequence follow from it.
        pub model: Option<At<String>> = None,
        /// What its GPUs are. Default: those of the node pool.
        pub accelerator: Option<At<String>> = None,
        /// What serves the requests.
        pub engine: At<EngineSpec>,
        /// What a replica requests.
        pub replica: At<ReplicaSpec> = ReplicaSpec::default(),
        /// Replicas at the start, ready then.
        pub replicas: At<u16> = 1,
        /// From a replica's node to its being able to serve. Default: 155 s for continuous batching (the constant of
        /// Microsoft's SageServe simulator), else 10 s (assumed).
        pub cold_start: Option<Distributed<Span>> = None,
        /// The stages of a start, instead of `cold_start`.
        pub start_up: Option<At<StartUpSpec>> = None,
        /// Replicas that stand by: started beyond those that are wanted, and called when one more is. Default: none.
        pub standby: Option<StandbySpec> = None,
        /// The readiness probe.
        pub readiness: ReadinessSpec = ReadinessSpec::default(),
        /// How long a replica that is deleted may finish its requests (`terminationGracePeriodSeconds`).
        pub grace: Span = Span::from_secs(30),
        /// How its containers crash. Default: they do not.
        pub crashes: Option<At<CrashesSpec>> = None,
        /// How many of its replicas drains leave at least: nodes that are drained wait for others to be ready. Default: drains
        /// take all.
        pub disruption_budget: Option<At<BudgetSpec>> = None,
        /// How a rollout goes.
        pub update: UpdateSpec = UpdateSpec::default(),
        /// When rollouts begin: all replicas are replaced, with a new image.
        pub rollouts: At<Vec<Span>> = Vec::new(),
        /// What a replica uses.
        pub usage: UsageSpec = UsageSpec::default(),
    }
}

scaletwin_core::keys! {
    /// Replicas that stand by. They have gone through their start, hold what a replica requests, are billed, and take no requests;
    /// autoscalers do not see them. When more replicas are wanted, they are the first, and others are started in their place.
    #[derive(Debug, Clone)]
    pub struct StandbySpec {
        /// How many, at all times.
        pub replicas: Count,
        /// From the call of one that is loaded to its taking requests: nothing if it only has to be added to a load balancer, or
        /// the time to wake a server that sleeps with its weights in the host's memory.
        pub wake: Distributed<Span>,
    }
}

scaletwin_core::keys! {
    /// A `PodDisruptionBudget`: one of both keys. Shares are rounded up.
    #[derive(Debug, Clone)]
    pub struct BudgetSpec {
        /// Replicas that stay ready: a number, or a share of the wanted number such as `50%`.
        pub min_available: Option<AmountSpec> = None,
        /// Replicas that may not be ready: a number, or a share of the wanted number.
        pub max_unavailable: Option<AmountSpec> = None,
    }
}

scaletwin_core::keys! {
    /// How a rollout goes (`strategy.rollingUpdate` of a Deployment).
    #[derive(Debug, Clone, Default)]
    pub struct UpdateSpec {
        /// Replicas beyond the wanted number: a number, or a share of it that is rounded up.
        pub max_surge: AmountSpec = AmountSpec(Amount::Percent(25)),
        /// Replicas of the wanted number that may not be ready: a number, or a share of it that is rounded down.
        pub max_unavailable: AmountSpec = AmountSpec(Amount::Percent(25)),
    }
}

/// A number, or a share such as `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmountSpec(pub Amount);

impl Default for AmountSpec {
    fn default() -> AmountSpec {
        AmountSpec(Amount::Percent(25))
    }
}

impl Read for AmountSpec {
    fn read(node: &Node, problems: &mut Problems) -> Option<AmountSpec> {
        if let Value::Int(_) = node.value {
            return u16::read(node, problems).map(|number| AmountSpec(Amount::Number(number.into())));
        }
        let percent = match &node.value {
            Value::Text(text) => text.strip_suffix('%').and_then(|number| number.parse::<u16>().ok()),
            _ => None,
        };
        if percent.is_none() {
            let message = format!("expected {}, found {}", Self::shape().phrase, node.kind());
            problems.error(&node.place, message);
        }
        percent.map(|percent| AmountSpec(Amount::Percent(percent.into())))
    }

    fn shape() -> Shape {
        Shape::new("a number or a share such as 25%", json!({"type": ["integer", "string"]}))
    }

    fn written(&self) -> Option<String> {
        Some(match self.0 {
            Amount::Number(number) => number.to_string(),
            Amount::Percent(percent) => format!("{percent}%"),
        })
    }
}

scaletwin_core::names! {
    /// What replicas do.
    pub enum Role {
        /// Prefill and decode.
        Both = "both",
    }
}

scaletwin_core::keys! {
    /// What a replica requests of a node.
    #[derive(Debug, Clone, Default)]
    pub struct ReplicaSpec {
        /// GPUs: whole ones, or one slice of a pool with `gpu_sharing`, such as 500m. Default: 1 with a model, else none.
        pub gpus: Option<Quantity> = None,
        /// Cores. Default: no request, as in a manifest without one.
        pub cpu: Option<Quantity> = None,
        /// Memory. Default: no request.
        pub memory: Option<Bytes> = None,
    }
}

scaletwin_core::keys! {
    /// A readiness probe. Without a period, a replica is noticed the moment it can serve.
    #[derive(Debug, Clone, Default)]
    pub struct ReadinessSpec {
        /// The first probe, after the start of the container.
        pub initial_delay: Span = Span::ZERO,
        /// From one probe to the next.
        pub period: Span = Span::ZERO,
    }
}

scaletwin_core::keys! {
    /// What a replica uses. `docs/models/usage.md` has the equations.
    #[derive(Debug, Clone, Default)]
    pub struct UsageSpec {
        /// CPU of an idle replica. Default: 100m for continuous batching, else none.
        pub cpu_idle: Option<Quantity> = None,
        /// CPU of a replica whose engine works all the time, or whose slots are all in use. Default: 1500m for
        /// continuous batching, else its request, else 1 core.
        pub cpu_busy: Option<Quantity> = None,
        /// Memory of a replica without requests. Default: 8Gi for continuous batching, else half its request, else 256Mi.
        pub memory: Option<Bytes> = None,
        /// Memory of each request in it.
        pub memory_per_request: Bytes = Bytes(0),
    }
}

/// The objectives of a service as written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SloSpec(pub Slo);

/// The latencies that an objective can be about.
const METRICS: [LatencyMetric; 5] =
    [LatencyMetric::Ttft, LatencyMetric::Itl, LatencyMetric::Tpot, LatencyMetric::E2e, LatencyMetric::Wait];

impl Read for SloSpec {
    fn read(node: &Node, problems: &mut Problems) -> Option<SloSpec> {
        let Value::Map(entries) = &node.value else {
            problems.error(&node.place, format!("expected {}, found {}", Self::shape().phrase, node.kind()));
            return None;
        };
        let before = problems.len();
        let mut objectives = Vec::new();
        for entry in entries {
            match METRICS.iter().find(|metric| metric.name() == entry.key) {
                Some(metric) => read_quantiles(*metric, &entry.node, &mut objectives, problems),
                None => {
                    let names = METRICS.map(LatencyMetric::name);
                    let problem =
                        Problem::error(&entry.key_place, format!("unknown latency {:?}", entry.key));
                    problems.push(problem.hint(suggestion(&entry.key, &names).unwrap_or_default()));
                }
            }
        }
        (problems.len() == before).then_some(SloSpec(Slo { objectives }))
    }

    fn shape() -> Shape {
        let quantiles = json!({
            "type": "object",
            "patternProperties": {"^p[0-9]+(\\.[0-9]+)?$": Span::shape().schema},
            "additionalProperties": false,
        });
        let properties: serde_json::Map<_, _> =
            METRICS.iter().map(|metric| (metric.name().to_owned(), quantiles.clone())).collect();
        Shape::new(
            "limits of quantiles of latencies such as {ttft: {p95: 1s}}",
            json!({"type": "object", "properties": properties, "additionalProperties": false}),
        )
    }
}

fn read_quantiles(
    metric: LatencyMetric,
    node: &Node,
    objectives: &mut Vec<Objective>,
    problems: &mut Problems,
) {
    let Value::Map(entries) = &node.value else {
        problems.error(&node.place, format!("expected quantiles such as {{p95: 1s}}, found {}", node.kind()));
        return;
    };
    for entry in entries {
        // The decimal itself is shifted: 99.9 / 100 in floats is not 0.999.
        let digits = entry
            .key
            .strip_prefix('p')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        let quantile = digits.and_then(|digits| format!("{digits}e-2").parse::<f64>().ok());
        let Some(quantile) = quantile.filter(|quantile| *quantile > 0.0 && *quantile < 1.0) else {
            let problem = Problem::error(&entry.key_place, format!("{:?} is no quantile", entry.key));
            problems.push(problem.hint("write p50, p95, p99.9, …: above p0 and below p100"));
            continue;
        };
        let Some(limit) = Span::read(&entry.node, problems) else { continue };
        if limit.is_zero() {
            problems.error(&entry.node.place, "a limit is longer than nothing");
            continue;
        }
        objectives.push(Objective { metric, quantile, limit });
    }
}

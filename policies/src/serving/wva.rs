//! The Workload Variant Autoscaler of llm-d 0.5: it does not scale, it says how many replicas are wanted.
//!
//! Each variant is a deployment of one model. The wanted numbers are the gauge `wva_desired_replicas`, which an HPA or
//! KEDA reads as an external metric and follows at its own pace. [`saturation`] is the analysis by saturation (equal to
//! recorded decisions), [`tokens`] the one by token capacity (read from the source).

pub mod saturation;
pub mod tokens;

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Aspect, Cause, Decision, MetricQuery, Needs, Observation, PokeKind, Policy, Reason, Schedule,
    Scope, State, StateMismatch, TargetName, TargetView, Values,
};
use scaletwin_core::input::{At, NonNegative, Period, Positive};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Share, Span};
use serde::{Deserialize, Serialize};

use super::pods;
use saturation::{Analysis, Replica, Thresholds, Variant};
use tokens::{Capacities, History, ReplicaTokens, Shape};

/// The gauge that it shows.
pub const DESIRED_REPLICAS: &str = "wva_desired_replicas";
/// The metrics that it reads of each pod, unless others are named.
pub const KV_CACHE_USAGE: &str = "vllm:kv_cache_usage_perc";
/// See [`KV_CACHE_USAGE`].
pub const QUEUE_LENGTH: &str = "vllm:num_requests_waiting";
/// `saturation.DefaultVariantCost`.
const DEFAULT_COST: f64 = 10.0;

scaletwin_core::names! {
    /// How WVA analyses the load.
    pub enum Analyzer {
        /// By saturated replicas and what the others have to spare: version 1.
        Saturation = "saturation",
        /// By tokens in use and tokens of capacity: version 2.
        Tokens = "tokens",
    }
}

scaletwin_core::keys! {
    /// A variant of a model: one of its deployments.
    #[derive(Debug, Clone)]
    pub struct VariantSpec {
        /// The deployment, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// `variantCost`: the cost of a replica, in any unit.
        pub cost: NonNegative = NonNegative(DEFAULT_COST),
    }
}

scaletwin_core::keys! {
    /// The Workload Variant Autoscaler of llm-d for one model: it shows `wva_desired_replicas`, for an HPA to follow.
    #[derive(Debug, Clone)]
    pub struct WvaSpec {
        /// The variants of the model.
        pub variants: At<Vec<VariantSpec>>,
        /// From one look to the next.
        pub period: Period = Period(Span::from_secs(30)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
        /// How it analyses the load.
        pub analyzer: Analyzer = Analyzer::Saturation,
        /// The metric with the share of a pod's KV cache in use, bound under `signals` per pod. Default:
        /// `vllm:kv_cache_usage_perc`.
        pub kv_cache_usage: Option<At<String>> = None,
        /// The metric with the requests that wait in a pod, bound under `signals` per pod. Default:
        /// `vllm:num_requests_waiting`.
        pub queue_length: Option<At<String>> = None,
        /// `kvCacheThreshold`: the share of the KV cache in use from which a replica is saturated.
        pub kv_cache_threshold: Share = Share::new(0.8).expect("a share"),
        /// `queueLengthThreshold`: the waiting requests from which a replica is saturated.
        pub queue_length_threshold: Positive = Positive(5.0),
        /// `kvSpareTrigger`: with less to spare on average it scales up.
        pub kv_spare_trigger: Share = Share::new(0.1).expect("a share"),
        /// `queueSpareTrigger`: with room for fewer waiting requests on average it scales up.
        pub queue_spare_trigger: NonNegative = NonNegative(3.0),
        /// With `analyzer: tokens`: `scaleUpThreshold`, the share of the capacity that demand may take.
        pub scale_up_threshold: Positive = Positive(0.85),
        /// With `analyzer: tokens`: `scaleDownBoundary`, the share of the capacity below which some is given up.
        pub scale_down_boundary: Positive = Positive(0.70),
        /// With `analyzer: tokens`: the metric with the mean prompt length of a pod, tokens, bound under `signals` per pod.
        pub prompt_tokens: Option<At<String>> = None,
        /// With `analyzer: tokens`: the metric with the mean answer length of a pod, tokens, bound under `signals` per pod.
        pub output_tokens: Option<At<String>> = None,
        /// Whether it wants none when nobody asks, and brings one replica up at the first request. Default: it keeps one.
        pub scale_to_zero: Option<At<ZeroSpec>> = None,
    }
}

scaletwin_core::keys! {
    /// When WVA wants no replica.
    #[derive(Debug, Clone)]
    pub struct ZeroSpec {
        /// The signal, by its name under `signals`, of the requests answered in the retention period: 0 of it lets the model go
        /// to zero. WVA's own is the query `sum(increase(vllm:request_success_total[10m]))`. Without data all stays.
        pub requests: At<String>,
    }
}

/// The settings of a WVA for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WvaSettings {
    /// The variants.
    pub variants: Vec<VariantSettings>,
    /// When a replica is saturated, and when too little is to spare.
    pub thresholds: Thresholds,
    /// The metrics of each pod.
    pub metrics: Metrics,
    /// The analysis by tokens, if that is used.
    pub tokens: Option<Capacities>,
    /// The signal of requests answered in the retention period, if it scales to and from zero.
    pub requests: Option<String>,
}

impl WvaSettings {
    /// Whether it brings the first replica of a target up itself.
    #[must_use]
    pub fn scales(&self, target: &TargetName) -> bool {
        self.requests.is_some() && self.variants.iter().any(|variant| variant.target == *target)
    }
}

/// A variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantSettings {
    /// Its deployment.
    pub target: TargetName,
    /// The cost of a replica.
    pub cost: f64,
    /// The KV cache of a replica, tokens. 0: not known.
    pub kv_tokens: i64,
}

impl VariantSettings {
    /// Its name: that of its deployment.
    fn name(&self) -> &str {
        self.target.as_str().rsplit('/').next().unwrap_or_default()
    }
}

/// The names of the metrics of each pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The share of the KV cache in use, 0 to 1.
    pub kv_cache_usage: String,
    /// Waiting requests.
    pub queue_length: String,
    /// The mean prompt, tokens.
    pub prompt_tokens: Option<String>,
    /// The mean answer, tokens.
    pub output_tokens: Option<String>,
}

impl Metrics {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let always = [&self.kv_cache_usage, &self.queue_length];
        always.into_iter().chain(&self.prompt_tokens).chain(&self.output_tokens).map(String::as_str)
    }
}

/// The autoscaler of one model.
#[derive(Debug, Clone)]
pub struct Wva {
    settings: WvaSettings,
    schedule: Schedule,
    memory: Memory,
}

/// What it remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// `status.desiredOptimizedAlloc.numReplicas` of each variant, by target.
    desired: BTreeMap<TargetName, i32>,
    /// What the analysis by tokens has learned.
    history: History,
}

/// The pods of a variant with what they report.
struct Pod<'a> {
    variant: &'a VariantSettings,
    kv: f64,
    queue: f64,
    prompt: f64,
    output: f64,
}

impl Wva {
    /// The autoscaler of the model with these settings, looking at these times.
    #[must_use]
    pub fn new(settings: WvaSettings, schedule: Schedule) -> Wva {
        Wva { settings, schedule, memory: Memory::default() }
    }

    fn queries(&self) -> impl Iterator<Item = MetricQuery> {
        let of = |variant: &VariantSettings| {
            self.settings.metrics.names().map(|name| pods::query(&variant.target, name)).collect::<Vec<_>>()
        };
        let requests = self.settings.requests.iter().cloned().map(|name| MetricQuery::Signal { name });
        self.settings.variants.iter().flat_map(of).chain(requests)
    }

    /// Whether nobody asked in the retention period. What is not known is no.
    fn is_idle(&self, seen: &Observation) -> bool {
        let Some(name) = self.settings.requests.clone() else { return false };
        let answer = seen.metric(&MetricQuery::Signal { name }).and_then(|reading| reading.known().ok());
        let values = answer.map(Values::floats).unwrap_or_default();
        !values.is_empty() && values.iter().all(|value| *value <= 0.0)
    }

    /// Whether a variant is left alone: one without replicas, where it may go to zero.
    fn sleeps(&self, variant: &VariantSettings, seen: &Observation) -> bool {
        let asleep = seen.target(&variant.target).is_some_and(|view| view.spec_replicas == 0);
        asleep && self.settings.requests.is_some()
    }

    /// Scales the variants that sleep to one itself, and says so: an HPA at zero is inert.
    fn wake(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::default();
        for variant in self.settings.variants.clone() {
            if self.sleeps(&variant, seen) {
                let target = variant.target.clone();
                decision.actions.push(Action::SetReplicas { target: target.clone(), replicas: 1 });
                decision.actions.push(Wva::publish(&variant, 1));
                let subject = format!("variant {}", variant.name());
                let code = "ScaleFromZero".to_owned();
                decision.reasons.push(Reason {
                    target: Some(target.clone()),
                    subject,
                    code,
                    ..Reason::default()
                });
                self.memory.desired.insert(target, 1);
            }
        }
        decision
    }

    /// The pods that report anything; what one of them does not report is 0.
    fn pods<'a>(&'a self, seen: &Observation) -> Vec<Pod<'a>> {
        let metrics = &self.settings.metrics;
        let mut found = Vec::new();
        for variant in &self.settings.variants {
            let of = |name: &str| pods::values(seen, &pods::query(&variant.target, name)).unwrap_or_default();
            let (kv, queue) = (of(&metrics.kv_cache_usage), of(&metrics.queue_length));
            let prompt = metrics.prompt_tokens.as_deref().map(of).unwrap_or_default();
            let output = metrics.output_tokens.as_deref().map(of).unwrap_or_default();
            let mut names: Vec<&str> = kv.keys().chain(queue.keys()).copied().collect();
            names.sort_unstable();
            names.dedup();
            let value = |values: &BTreeMap<&str, f64>, name| values.get(name).copied().unwrap_or(0.0);
            found.extend(names.into_iter().map(|name| Pod {
                variant,
                kv: value(&kv, name),
                queue: value(&queue, name),
                prompt: value(&prompt, name),
                output: value(&output, name),
            }));
        }
        found
    }

    fn states<'a>(&'a self, seen: &Observation) -> Vec<Variant<'a>> {
        let of = |variant: &'a VariantSettings| {
            let view = seen.target(&variant.target)?;
            let current = current_replicas(view);
            Some(Variant {
                name: variant.target.as_str(),
                current,
                desired: self.memory.desired.get(&variant.target).copied().unwrap_or(0),
                pending: (current - view.ready_replicas).max(0),
            })
        };
        self.settings.variants.iter().filter_map(of).collect()
    }

    /// How many replicas each variant should have, and the figures behind it.
    fn targets(&mut self, seen: &Observation) -> Option<(BTreeMap<TargetName, i32>, Reason)> {
        let pods = self.pods(seen);
        if pods.is_empty() {
            return None;
        }
        let states = self.states(seen);
        let (targets, reason) = match &self.settings.tokens {
            None => by_saturation(&pods, &states, &self.settings.thresholds),
            Some(capacities) => {
                let mut history = self.memory.history.clone();
                let found = by_tokens(&pods, &states, &self.settings, capacities, &mut history);
                self.memory.history = history;
                found
            }
        };
        Some((targets, reason))
    }

    /// What a variant is told when there is no decision for it: what it was told before, and at least one.
    fn kept(&self, target: &TargetName) -> i32 {
        self.memory.desired.get(target).copied().unwrap_or(0).max(1)
    }

    fn reason(&self, variant: &VariantSettings, seen: &Observation, wanted: i32, decided: bool) -> Reason {
        let current = seen.target(&variant.target).map_or(0, current_replicas);
        let code = match wanted.cmp(&current) {
            _ if !decided => "no-metrics",
            std::cmp::Ordering::Greater => "scale-up",
            std::cmp::Ordering::Less => "scale-down",
            std::cmp::Ordering::Equal => "no-change",
        };
        Reason {
            target: Some(variant.target.clone()),
            subject: format!("variant {}", variant.name()),
            holds: Some(decided),
            code: code.into(),
            figures: figures(&[
                ("current_replicas", f64::from(current)),
                ("desired_replicas", f64::from(wanted)),
            ]),
            ..Reason::default()
        }
    }

    fn publish(variant: &VariantSettings, wanted: i32) -> Action {
        let service = variant.target.as_str().split('/').next().unwrap_or_default();
        let labels =
            [("variant_name", variant.name()), ("exported_namespace", "default"), ("service", service)];
        Action::PublishSignal {
            name: DESIRED_REPLICAS.into(),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            value: f64::from(wanted),
        }
    }
}

/// `status.replicas`, or `spec.replicas` where there are none.
fn current_replicas(view: &TargetView) -> i32 {
    if view.status_replicas == 0 { view.spec_replicas } else { view.status_replicas }
}

fn figures(of: &[(&str, f64)]) -> BTreeMap<String, Exact> {
    of.iter().map(|(name, value)| ((*name).to_owned(), Exact(*value))).collect()
}

fn by_saturation(
    pods: &[Pod<'_>],
    states: &[Variant<'_>],
    thresholds: &Thresholds,
) -> (BTreeMap<TargetName, i32>, Reason) {
    let replicas: Vec<Replica<'_>> = pods
        .iter()
        .map(|pod| Replica {
            variant: pod.variant.target.as_str(),
            cost: pod.variant.cost,
            kv: pod.kv,
            queue: pod.queue.trunc(),
        })
        .collect();
    let analysis: Analysis<'_> = saturation::analyze(&replicas, thresholds);
    let code = if analysis.scale_up {
        "ShouldScaleUp"
    } else if analysis.scale_down_safe {
        "ScaleDownSafe"
    } else {
        "Keep"
    };
    let reason = Reason {
        subject: "saturation".into(),
        code: code.into(),
        figures: figures(&[
            ("non_saturated_replicas", analysis.non_saturated as f64),
            ("replicas", replicas.len() as f64),
            ("spare_kv_share", analysis.spare_kv),
            ("spare_queue_requests", analysis.spare_queue),
        ]),
        ..Reason::default()
    };
    let targets = saturation::targets(&analysis, states);
    (targets.into_iter().map(|(name, target)| (TargetName::new(name), target)).collect(), reason)
}

fn by_tokens(
    pods: &[Pod<'_>],
    states: &[Variant<'_>],
    settings: &WvaSettings,
    capacities: &Capacities,
    history: &mut History,
) -> (BTreeMap<TargetName, i32>, Reason) {
    let replicas: Vec<ReplicaTokens<'_>> = pods
        .iter()
        .map(|pod| ReplicaTokens {
            variant: pod.variant.target.as_str(),
            kv_tokens: pod.variant.kv_tokens,
            kv: pod.kv,
            queue: pod.queue,
            shape: Shape { prompt: pod.prompt, output: pod.output },
        })
        .collect();
    let costs: BTreeMap<&str, f64> =
        settings.variants.iter().map(|variant| (variant.target.as_str(), variant.cost)).collect();
    let demand = tokens::analyze(&replicas, states, &settings.thresholds, capacities, history);
    let reason = Reason {
        subject: "tokens".into(),
        code: demand.code().into(),
        figures: figures(&[
            ("demand_tokens", demand.demand),
            ("required_tokens", demand.required),
            ("spare_tokens", demand.spare),
            ("supply_tokens", demand.supply),
        ]),
        ..Reason::default()
    };
    let targets = tokens::targets(&demand, states, &costs);
    (targets.into_iter().map(|(name, target)| (TargetName::new(name), target)).collect(), reason)
}

impl Policy for Wva {
    fn needs(&self) -> Needs {
        let targets: Vec<TargetName> =
            self.settings.variants.iter().map(|variant| variant.target.clone()).collect();
        let shown = self.settings.variants.iter().filter_map(|variant| Wva::publish(variant, 0).aspect());
        let mut writes: Vec<Aspect> = shown.collect();
        let mut pokes = Vec::new();
        if self.settings.requests.is_some() {
            writes.extend(targets.iter().cloned().map(Aspect::Replicas));
            pokes.push(PokeKind::RequestAtZero);
        }
        Needs {
            scope: Scope { targets, metrics: self.queries().collect(), nodes: false },
            schedule: self.schedule,
            pokes,
            writes,
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        if let Cause::Poke(_) = seen.cause {
            return self.wake(seen);
        }
        let mut decision = Decision::default();
        let found = self.targets(seen);
        let idle = found.is_some() && self.is_idle(seen);
        let (targets, reason) = found.map_or((None, None), |(targets, reason)| (Some(targets), Some(reason)));
        decision.reasons.extend(reason);
        for variant in self.settings.variants.clone() {
            let decided = targets.as_ref().and_then(|targets| targets.get(&variant.target)).copied();
            let wanted = if self.sleeps(&variant, seen) {
                self.memory.desired.get(&variant.target).copied().unwrap_or(0)
            } else if idle {
                0
            } else {
                decided.filter(|wanted| *wanted > 0).unwrap_or_else(|| self.kept(&variant.target))
            };
            decision.reasons.push(self.reason(&variant, seen, wanted, decided.is_some()));
            decision.actions.push(Wva::publish(&variant, wanted));
            self.memory.desired.insert(variant.target.clone(), wanted);
        }
        decision
    }

    fn save(&self) -> State {
        State::of("wva", 1, &self.memory)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.memory = state.read("wva", 1)?;
        Ok(())
    }
}

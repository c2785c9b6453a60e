//! The planner of NVIDIA Dynamo 1.6, in its modes without latency targets ("easy modes"), on an aggregated deployment.
//!
//! [`load`] is what the load loop wants for one role (equal to recorded decisions), [`throughput`] the loop that goes by
//! expected traffic; here is the loop around them: it waits while replicas start or stop, and keeps to the fewest replicas
//! and to the budget of GPUs.

pub mod load;
pub mod throughput;

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Decision, MetricQuery, Needs, Observation, Policy, Reason, Schedule, State, StateMismatch,
    TargetName, TargetView, Values,
};
use scaletwin_core::input::{At, Count, NonNegative, Period, Problem, Problems};
use scaletwin_core::units::Span;
use scaletwin_core::units::exact::Exact;
use serde::Serialize;

use super::pods;
use load::{Engine, Goal, Role, Thresholds, Workers};
use throughput::{Memory, Throughput, ThroughputSpec};

/// The metrics that it reads of each pod, unless others are named.
pub const KV_CACHE_USAGE: &str = "vllm:kv_cache_usage_perc";
/// See [`KV_CACHE_USAGE`].
pub const QUEUE_LENGTH: &str = "vllm:num_requests_waiting";

scaletwin_core::names! {
    /// `optimization_target`: what the load is held against.
    pub enum OptimizationTarget {
        /// Full engines: up above all of the KV cache, down below 60 percent.
        Throughput = "throughput",
        /// Hardly any waiting: up above 40 percent of the KV cache, down below 10.
        Latency = "latency",
        /// Thresholds of the user's own.
        Load = "load",
        /// Latency targets: refused, because the planner's model of the engine is not modelled.
        Sla = "sla",
    }
}

scaletwin_core::keys! {
    /// The planner of NVIDIA Dynamo without latency targets, on a deployment that does prefill and decode.
    #[derive(Debug, Clone)]
    pub struct DynamoSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// `load_adjustment_interval`: from one look to the next.
        pub period: Period = Period(Span::from_secs(5)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
        /// `optimization_target`: what the load is held against.
        pub optimization_target: OptimizationTarget = OptimizationTarget::Throughput,
        /// `decode_scale_up_kv_rate`, with `optimization_target: load`: percent of the KV cache in use or asked for.
        pub decode_scale_up_kv_rate: Option<At<NonNegative>> = None,
        /// `decode_scale_down_kv_rate`, with `optimization_target: load`: percent of the KV cache.
        pub decode_scale_down_kv_rate: Option<At<NonNegative>> = None,
        /// `min_endpoint`: the fewest replicas.
        pub min_endpoint: Count = Count(1),
        /// `max_gpu_budget`: the most GPUs; -1 for any number.
        pub max_gpu_budget: i64 = 8,
        /// `isl`: the prompt tokens that each waiting request is taken for, because vLLM's series count requests.
        pub isl: Count = Count(3000),
        /// The KV cache of a replica, tokens. Default: that of the deployment's engine.
        pub max_kv_tokens: Option<Count> = None,
        /// The metric with the share of a pod's KV cache in use, bound under `signals` per pod. Default:
        /// `vllm:kv_cache_usage_perc`.
        pub kv_cache_usage: Option<At<String>> = None,
        /// The metric with the requests that wait in a pod, bound under `signals` per pod. Default:
        /// `vllm:num_requests_waiting`.
        pub queue_length: Option<At<String>> = None,
        /// The throughput loop. Default: it does not run, and the load loop does.
        pub throughput: Option<At<ThroughputSpec>> = None,
    }
}

/// The settings of a planner.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DynamoSettings {
    /// What the load is held against.
    pub goal: Goal,
    /// `min_endpoint`.
    pub min_endpoint: i32,
    /// `max_gpu_budget`; `None`: any number.
    pub max_gpu_budget: Option<i64>,
    /// GPUs of a replica.
    pub gpus_per_replica: i64,
    /// The KV cache of a replica, tokens.
    pub max_kv_tokens: f64,
    /// The prompt tokens of a waiting request.
    pub isl: f64,
    /// The metric with the share of a pod's KV cache in use.
    pub kv_cache_usage: String,
    /// The metric with the requests that wait in a pod.
    pub queue_length: String,
    /// The throughput loop, if it runs.
    pub throughput: Option<Throughput>,
}

/// The planner of one deployment. Its load loop keeps nothing in mind between its looks.
#[derive(Debug, Clone)]
pub struct Dynamo {
    target: TargetName,
    settings: DynamoSettings,
    schedule: Schedule,
    memory: Memory,
}

impl Dynamo {
    /// The planner with these settings for `target`, looking at these times.
    #[must_use]
    pub fn new(target: TargetName, settings: DynamoSettings, schedule: Schedule) -> Dynamo {
        Dynamo { target, settings, schedule, memory: Memory::default() }
    }

    fn queries(&self) -> [MetricQuery; 2] {
        [&self.settings.kv_cache_usage, &self.settings.queue_length]
            .map(|metric| pods::query(&self.target, metric))
    }

    /// The engines that report both metrics.
    fn engines(&self, seen: &Observation) -> Vec<Engine> {
        let [kv, queue] = self.queries();
        let kv = pods::values(seen, &kv).unwrap_or_default();
        let queue = pods::values(seen, &queue).unwrap_or_default();
        let of = |(pod, share): (&&str, &f64)| {
            let waiting = queue.get(*pod)?;
            Some(Engine {
                queued_prefill: waiting * self.settings.isl,
                scheduled_kv: share * self.settings.max_kv_tokens,
                queued_kv: 0.0,
            })
        };
        kv.iter().filter_map(of).collect()
    }

    /// How many replicas are wanted, if any change may be, and the planner's word for it.
    fn plan(&self, view: &TargetView, engines: &[Engine]) -> (Option<i32>, &'static str) {
        let ready = view.ready_replicas;
        if view.spec_replicas != ready {
            return (None, "scaling_in_progress");
        }
        if engines.is_empty() {
            return (None, "no_fpm_data");
        }
        if i32::try_from(engines.len()) != Ok(ready) {
            return (None, "worker_count_mismatch");
        }
        let workers = Workers { ready, starting: 0, min: self.settings.min_endpoint };
        let size = self.settings.max_kv_tokens;
        match load::desired(Role::Aggregated, self.settings.goal, size, workers, engines) {
            Err(quiet) => (None, quiet.code()),
            Ok(desired) => {
                let least = self.settings.min_endpoint.max(self.memory.lower_bound);
                let within = self.within_budget(desired.max(least));
                let code = match within.cmp(&ready) {
                    std::cmp::Ordering::Less => "scale_down",
                    std::cmp::Ordering::Equal => "no_change",
                    std::cmp::Ordering::Greater => "scale_up",
                };
                (Some(within), code)
            }
        }
    }

    /// A prediction of the throughput loop where one is due: what it sets, unless it only bounds the load loop, and why.
    fn predict(&mut self, seen: &Observation, current: i32) -> Option<(Option<i32>, Reason)> {
        let throughput = self.settings.throughput.clone()?;
        if !self.memory.is_due(seen.now, throughput.interval) {
            return None;
        }
        let query = MetricQuery::Signal { name: throughput.requests.clone() };
        let answer = seen.metric(&query).and_then(|reading| reading.known().ok());
        let reason = |code: &str, figures| Reason {
            target: Some(self.target.clone()),
            subject: "throughput".into(),
            code: code.into(),
            figures,
            ..Reason::default()
        };
        let values = answer.map(Values::floats).unwrap_or_default();
        if values.is_empty() {
            return Some((None, reason("no_traffic_data", BTreeMap::new())));
        }
        let requests: f64 = values.iter().sum();
        let desired = throughput.desired(requests, current, self.settings.min_endpoint);
        let figures = BTreeMap::from([
            ("desired_replicas".to_owned(), Exact(f64::from(desired))),
            ("requests".to_owned(), Exact(requests)),
        ]);
        if throughput.load_scaling {
            let reason = reason("set_lower_bound", figures);
            self.memory.lower_bound = desired;
            return Some((None, reason));
        }
        Some((Some(self.within_budget(desired)), reason("scale", figures)))
    }

    /// Whether the load loop runs.
    fn goes_by_load(&self) -> bool {
        self.settings.throughput.as_ref().is_none_or(|throughput| throughput.load_scaling)
    }

    /// What the budget of GPUs leaves of `desired`; nothing where not even the fewest fit.
    fn within_budget(&self, desired: i32) -> i32 {
        let Some(budget) = self.settings.max_gpu_budget else { return desired };
        let each = self.settings.gpus_per_replica;
        if each <= 0 || i64::from(desired).saturating_mul(each) <= budget {
            return desired;
        }
        let most = i32::try_from(budget / each).unwrap_or(i32::MAX);
        if most < self.settings.min_endpoint { 0 } else { most }
    }
}

impl Policy for Dynamo {
    fn needs(&self) -> Needs {
        let requests = self.settings.throughput.iter().map(|throughput| throughput.requests.clone());
        let traffic = requests.map(|name| MetricQuery::Signal { name });
        let metrics = self.queries().into_iter().chain(traffic).collect();
        Needs::of_replicas(&self.target, metrics, self.schedule)
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(view) = seen.target(&self.target) else { return Decision::default() };
        let predicted = self.predict(seen, view.spec_replicas);
        let (mut set, mut reasons) = (None, Vec::new());
        if let Some((desired, reason)) = predicted {
            set = desired;
            reasons.push(reason);
        }
        if self.goes_by_load() {
            let (desired, reason) = self.by_load(seen, view);
            set = set.or(desired);
            reasons.push(reason);
        }
        let action = set
            .filter(|desired| *desired != view.spec_replicas)
            .map(|replicas| Action::SetReplicas { target: self.target.clone(), replicas });
        Decision { actions: action.into_iter().collect(), reasons, wake_at: None }
    }

    fn save(&self) -> State {
        State::of("dynamo-planner", 2, &self.memory)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.memory = state.read("dynamo-planner", 2)?;
        Ok(())
    }
}

impl Dynamo {
    /// What the load loop wants, and why.
    fn by_load(&self, seen: &Observation, view: &TargetView) -> (Option<i32>, Reason) {
        let engines = self.engines(seen);
        let (desired, code) = self.plan(view, &engines);
        let tokens = |engine: &Engine| engine.queued_prefill + engine.scheduled_kv + engine.queued_kv;
        let highest = engines.iter().map(tokens).fold(0.0, f64::max);
        let mut figures = BTreeMap::from([
            ("highest_kv_share".to_owned(), Exact(highest / self.settings.max_kv_tokens)),
            ("ready_replicas".to_owned(), Exact(f64::from(view.ready_replicas))),
        ]);
        if let Some(desired) = desired {
            figures.insert("desired_replicas".to_owned(), Exact(f64::from(desired)));
        }
        let reason = Reason {
            target: Some(self.target.clone()),
            subject: "load".into(),
            code: code.into(),
            figures,
            ..Reason::default()
        };
        (desired, reason)
    }
}

impl DynamoSpec {
    /// What the load is held against. `None` when a problem was pushed.
    #[must_use]
    pub fn goal(&self, problems: &mut Problems) -> Option<Goal> {
        if self.optimization_target == OptimizationTarget::Sla {
            let message = "optimization_target: sla goes by the planner's model of the engine, which it learns from each \
                           forward pass: not modelled";
            let problem = Problem::error(&self.target.place, message);
            problems.push(
                problem
                    .hint("use throughput, latency or load, or throughput: with a rate within the targets"),
            );
            return None;
        }
        let own = [&self.decode_scale_up_kv_rate, &self.decode_scale_down_kv_rate];
        match self.optimization_target {
            OptimizationTarget::Load => {
                let [Some(up), Some(down)] = own else {
                    let message = "optimization_target: load needs both decode_scale_up_kv_rate and \
                                   decode_scale_down_kv_rate";
                    problems.error(&self.target.place, message);
                    return None;
                };
                if up.value.0 <= down.value.0 {
                    problems
                        .error(&up.place, "decode_scale_up_kv_rate must be above decode_scale_down_kv_rate");
                    return None;
                }
                Some(Goal::Load(Thresholds {
                    // An aggregated deployment is held against its KV cache alone.
                    prefill_up_tokens: 0.0,
                    prefill_down_tokens: 0.0,
                    decode_up_percent: up.value.0,
                    decode_down_percent: down.value.0,
                }))
            }
            other => {
                for at in own.into_iter().flatten() {
                    problems.error(&at.place, "this key is only for optimization_target: load");
                }
                let goal =
                    if other == OptimizationTarget::Latency { Goal::Latency } else { Goal::Throughput };
                own.iter().all(|at| at.is_none()).then_some(goal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::control::{Bounds, Point, Reading};
    use scaletwin_core::units::{Civil, Time};

    fn planner(budget: Option<i64>) -> Dynamo {
        let settings = DynamoSettings {
            goal: Goal::Throughput,
            min_endpoint: 1,
            max_gpu_budget: budget,
            gpus_per_replica: 2,
            max_kv_tokens: 10_000.0,
            isl: 1_000.0,
            kv_cache_usage: "kv".into(),
            queue_length: "queue".into(),
            throughput: None,
        };
        Dynamo::new(TargetName::new("s/d"), settings, Schedule::every(Span::from_secs(5)))
    }

    /// Ready replicas with the share of their KV caches and their queues, of so many wanted.
    fn seen(spec: i32, loads: &[(f64, f64)]) -> Observation {
        let mut seen = Observation::at(Time::ZERO, Civil::DEFAULT_START);
        let ready = i32::try_from(loads.len()).expect("few");
        seen.targets = vec![TargetView {
            name: TargetName::new("s/d"),
            spec_replicas: spec,
            status_replicas: spec,
            ready_replicas: ready,
            bounds: Bounds::default(),
            pods: Vec::new(),
        }];
        let values = |of: fn(&(f64, f64)) -> f64| {
            let point = |(place, load)| Point {
                labels: BTreeMap::from([("pod".to_owned(), format!("d-{place}"))]),
                value: Exact(of(load)),
                at: Time::ZERO,
            };
            Reading::Known(Values::Vector(loads.iter().enumerate().map(point).collect()))
        };
        let [kv, queue] = planner(None).queries();
        seen.metrics = vec![(kv, values(|load| load.0)), (queue, values(|load| load.1))];
        seen
    }

    fn decided(budget: Option<i64>, seen: &Observation) -> (Option<i32>, String) {
        let decision = planner(budget).decide(seen);
        let set = decision.actions.first().map(|action| match action {
            Action::SetReplicas { replicas, .. } => *replicas,
            other => panic!("{other:?}"),
        });
        (set, decision.reasons[0].code.clone())
    }

    #[test]
    fn waiting_prompts_fill_the_cache_too() {
        assert_eq!(decided(None, &seen(2, &[(0.8, 3.0), (0.1, 0.0)])), (Some(3), "scale_up".into()));
        assert_eq!(decided(None, &seen(2, &[(0.8, 2.0), (0.1, 0.0)])), (None, "no_change".into()));
        assert_eq!(decided(None, &seen(2, &[(0.2, 2.0), (0.1, 0.0)])), (Some(1), "scale_down".into()));
    }

    #[test]
    fn nothing_is_done_while_replicas_come_or_go() {
        assert_eq!(decided(None, &seen(3, &[(1.5, 9.0), (1.5, 9.0)])), (None, "scaling_in_progress".into()));
        let mut silent = seen(2, &[(1.5, 9.0), (1.5, 9.0)]);
        silent.targets[0].spec_replicas = 3;
        silent.targets[0].ready_replicas = 3;
        assert_eq!(decided(None, &silent), (None, "worker_count_mismatch".into()));
        assert_eq!(decided(None, &seen(0, &[])), (None, "no_fpm_data".into()));
    }

    #[test]
    fn the_budget_of_gpus_holds() {
        let full = seen(2, &[(1.0, 9.0), (1.0, 9.0)]);
        assert_eq!(decided(Some(6), &full), (Some(3), "scale_up".into()));
        assert_eq!(decided(Some(5), &full), (None, "no_change".into()));
        assert_eq!(decided(Some(1), &full), (Some(0), "scale_down".into()), "not even the fewest fit");
    }

    #[test]
    fn the_load_loop_does_not_go_below_what_traffic_needs() {
        let mut planner = planner(None);
        planner.settings.throughput = Some(Throughput {
            requests: "requests".into(),
            engine_requests_per_second: 1.0,
            interval: Span::from_secs(180),
            max_change: 8,
            load_scaling: true,
        });
        // Hardly any load: one fewer of three, until three are needed for 2.5 requests a second.
        let mut idle = seen(3, &[(0.2, 0.0), (0.1, 0.0), (0.1, 0.0)]);
        let replicas = |decision: &Decision| match decision.actions.first() {
            Some(Action::SetReplicas { replicas, .. }) => Some(*replicas),
            _ => None,
        };
        assert_eq!(replicas(&planner.decide(&idle)), Some(2));
        let point = Point { labels: BTreeMap::new(), value: Exact(450.0), at: Time::ZERO };
        let query = MetricQuery::Signal { name: "requests".into() };
        idle.metrics.push((query, Reading::Known(Values::Vector(vec![point]))));
        idle.now = Time::ZERO + Span::from_secs(180);
        let decision = planner.decide(&idle);
        assert_eq!(replicas(&decision), None);
        assert_eq!(decision.reasons[0].code, "set_lower_bound");
    }

    #[test]
    fn without_the_load_loop_traffic_alone_decides() {
        let mut planner = planner(Some(8));
        planner.settings.throughput = Some(Throughput {
            requests: "requests".into(),
            engine_requests_per_second: 1.0,
            interval: Span::from_secs(180),
            max_change: 8,
            load_scaling: false,
        });
        let mut full = seen(2, &[(1.5, 9.0), (1.5, 9.0)]);
        assert!(planner.decide(&full).actions.is_empty(), "the load loop does not run");
        let point = Point { labels: BTreeMap::new(), value: Exact(1_800.0), at: Time::ZERO };
        let query = MetricQuery::Signal { name: "requests".into() };
        full.metrics.push((query, Reading::Known(Values::Vector(vec![point]))));
        full.now = Time::ZERO + Span::from_secs(180);
        let set = Action::SetReplicas { target: TargetName::new("s/d"), replicas: 4 };
        assert_eq!(planner.decide(&full).actions, [set], "ten are needed, and eight GPUs are four replicas");
    }
}

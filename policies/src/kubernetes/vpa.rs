//! The recommender of the VerticalPodAutoscaler 1.7, equal to recorded recommendations.
//!
//! | module | part of the recommender |
//! |---|---|
//! | [`histogram`] | distributions that forget: `pkg/recommender/util` |
//! | [`usage`] | samples of containers: `pkg/recommender/model` |
//! | [`recommendation`] | percentiles, margins, confidence: `pkg/recommender/logic` |
//!
//! and here its loop. It recommends only: the reasons of its decisions carry the figures, and no pod is changed.

pub mod histogram;
pub mod recommendation;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use scaletwin_core::control::{
    Decision, MetricQuery, Needs, Observation, PodView, Policy, Reason, Resource, Sample, Schedule, Scope,
    State, StateMismatch, TargetName, Values,
};
use scaletwin_core::input::{At, Period};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Quantity, Span};
use serde::{Deserialize, Serialize};

use recommendation::{Recommendation, Resources, recommend};
use usage::{Container, Usage};

scaletwin_core::keys! {
    /// Amounts that a recommendation keeps to.
    #[derive(Debug, Clone)]
    pub struct AllowedSpec {
        /// CPU, such as `500m`.
        pub cpu: Option<At<Quantity>> = None,
        /// Memory, such as `2Gi`.
        pub memory: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// The recommender of the VerticalPodAutoscaler. It recommends only (`updateMode: Off`): no pod is changed.
    #[derive(Debug, Clone)]
    pub struct VpaSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// The container. Default: the only one.
        pub container: Option<At<String>> = None,
        /// `--recommender-interval`: from one look to the next.
        pub period: Period = Period(Span::from_secs(60)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
        /// `minAllowed`: never less.
        pub min_allowed: Option<AllowedSpec> = None,
        /// `maxAllowed`: never more.
        pub max_allowed: Option<AllowedSpec> = None,
    }
}

/// What a recommendation keeps to, in milli-cores and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// At least so much.
    pub min: Resources,
    /// At most so much.
    pub max: Resources,
}

impl VpaSpec {
    /// What its recommendations keep to.
    #[must_use]
    pub fn allowed(&self) -> Allowed {
        let of = |spec: &Option<AllowedSpec>, none: i64| Resources {
            cpu_milli: amount(spec, |spec| &spec.cpu, Quantity::milli_value).unwrap_or(none),
            memory_bytes: amount(spec, |spec| &spec.memory, Quantity::value).unwrap_or(none),
        };
        Allowed { min: of(&self.min_allowed, 0), max: of(&self.max_allowed, i64::MAX) }
    }
}

fn amount(
    spec: &Option<AllowedSpec>,
    of: fn(&AllowedSpec) -> &Option<At<Quantity>>,
    unit: fn(Quantity) -> i64,
) -> Option<i64> {
    spec.as_ref().and_then(|spec| of(spec).as_ref()).map(|quantity| unit(quantity.value))
}

/// The recommender for one container of one target.
#[derive(Debug, Clone)]
pub struct Vpa {
    target: TargetName,
    container: String,
    allowed: Allowed,
    schedule: Schedule,
    memory: Memory,
}

/// What it remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    usage: Usage,
    containers: BTreeMap<Arc<str>, Container>,
}

impl Vpa {
    /// The recommender for `container` of `target`, looking at these times.
    #[must_use]
    pub fn new(target: TargetName, container: String, allowed: Allowed, schedule: Schedule) -> Vpa {
        Vpa { target, container, allowed, schedule, memory: Memory::default() }
    }

    fn query(&self, resource: Resource) -> MetricQuery {
        MetricQuery::Resource {
            target: self.target.clone(),
            resource,
            container: Some(self.container.clone()),
        }
    }

    /// Takes up the samples of all pods; pods that are gone are forgotten, not what they used.
    fn observe(&mut self, seen: &Observation, pods: &[PodView]) {
        let memory = &mut self.memory;
        memory.containers.retain(|name, _| pods.iter().any(|pod| pod.name == *name));
        for (place, pod) in pods.iter().enumerate() {
            let container = memory.containers.entry(pod.name.clone()).or_default();
            let at = |sample: &Sample| seen.start.at(sample.at).as_unix_nanos();
            let query = |resource| MetricQuery::Resource {
                target: self.target.clone(),
                resource,
                container: Some(self.container.clone()),
            };
            if let Some(sample) = sample(seen, &query(Resource::Cpu), place) {
                container.add_cpu(&mut memory.usage, sample.milli, at(sample));
            }
            if let Some(sample) = sample(seen, &query(Resource::Memory), place) {
                // Quantities round up to whole bytes.
                let bytes = sample.milli.div_euclid(1_000) + i64::from(sample.milli.rem_euclid(1_000) > 0);
                container.add_memory(&mut memory.usage, bytes, at(sample));
            }
        }
    }

    fn reason(&self, containers: u32) -> Reason {
        let provided = self.memory.usage.samples() > 0;
        let reason = Reason {
            target: Some(self.target.clone()),
            subject: "RecommendationProvided".into(),
            holds: Some(provided),
            ..Reason::default()
        };
        if !provided {
            return Reason { code: "NoSamples".into(), ..reason };
        }
        let uncapped = recommend(&self.memory.usage, containers);
        let Recommendation { lower, target, upper } = self.allowed.cap(&uncapped);
        let mut figures = BTreeMap::new();
        for (name, of) in [
            ("lower_bound", lower),
            ("target", target),
            ("uncapped_target", uncapped.target),
            ("upper_bound", upper),
        ] {
            figures.insert(format!("{name}_cpu_milli"), Exact(of.cpu_milli as f64));
            figures.insert(format!("{name}_memory_bytes"), Exact(of.memory_bytes as f64));
        }
        Reason { code: format!("container {}", self.container), figures, ..reason }
    }
}

impl Allowed {
    fn cap(&self, of: &Recommendation) -> Recommendation {
        let cap = |of: Resources| Resources {
            cpu_milli: of.cpu_milli.max(self.min.cpu_milli).min(self.max.cpu_milli),
            memory_bytes: of.memory_bytes.max(self.min.memory_bytes).min(self.max.memory_bytes),
        };
        Recommendation { lower: cap(of.lower), target: cap(of.target), upper: cap(of.upper) }
    }
}

/// The sample of the pod at `place`.
fn sample<'a>(seen: &'a Observation, query: &MetricQuery, place: usize) -> Option<&'a Sample> {
    match seen.metric(query)?.known().ok()? {
        Values::Pods(values) => values.by_pod.get(place)?.as_ref(),
        _ => None,
    }
}

impl Policy for Vpa {
    fn needs(&self) -> Needs {
        Needs {
            scope: Scope {
                targets: vec![self.target.clone()],
                metrics: vec![self.query(Resource::Cpu), self.query(Resource::Memory)],
                nodes: false,
            },
            schedule: self.schedule,
            ..Needs::default()
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(view) = seen.target(&self.target) else { return Decision::default() };
        self.observe(seen, &view.pods);
        let containers = view.pods.first().map_or(1, |pod| pod.containers.len());
        Decision::nothing(self.reason(u32::try_from(containers).unwrap_or(u32::MAX)))
    }

    fn save(&self) -> State {
        State::of("vpa", 1, &self.memory)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.memory = state.read("vpa", 1)?;
        Ok(())
    }
}

//! The VerticalPodAutoscaler 1.7, its recommender equal to recorded recommendations.
//!
//! | module | part of the VPA |
//! |---|---|
//! | [`histogram`] | distributions that forget: `pkg/recommender/util` |
//! | [`usage`] | samples of containers: `pkg/recommender/model` |
//! | [`recommendation`] | percentiles, margins, confidence: `pkg/recommender/logic` |
//! | [`updater`] | which pods are evicted: `pkg/updater` |
//! | [`spec`], [`manifest`] | what a user sets |
//!
//! and here its loop. What it recommends stands in the reasons of its decisions. Where its mode asks for it, pods created from
//! now on request that, as the admission controller has it, and pods that are too far from it are evicted.

pub mod histogram;
pub mod manifest;
pub mod recommendation;
pub mod spec;
pub mod updater;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use scaletwin_core::control::{
    Action, Aspect, Decision, MetricQuery, Needs, Observation, PodView, Policy, Reason, Resource, Sample,
    Schedule, Scope, State, StateMismatch, TargetName, TargetView, Values,
};
use scaletwin_core::units::Time;
use scaletwin_core::units::exact::Exact;
use serde::{Deserialize, Serialize};

use recommendation::{Recommendation, Resources, recommend};
use spec::{UpdateMode, VpaSettings};
use usage::{Container, Usage};

/// The VPA of one container of one target.
#[derive(Debug, Clone)]
pub struct Vpa {
    target: TargetName,
    settings: VpaSettings,
    schedule: Schedule,
    memory: Memory,
}

/// What it remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    usage: Usage,
    containers: BTreeMap<Arc<str>, Container>,
    /// What new pods were last told to request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<Resources>,
}

impl Vpa {
    /// The VPA of `target` with these settings, looking at these times.
    #[must_use]
    pub fn new(target: TargetName, settings: VpaSettings, schedule: Schedule) -> Vpa {
        Vpa { target, settings, schedule, memory: Memory::default() }
    }

    fn query(&self, resource: Resource) -> MetricQuery {
        MetricQuery::Resource {
            target: self.target.clone(),
            resource,
            container: Some(self.settings.container.clone()),
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
                container: Some(self.settings.container.clone()),
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

    /// What a pod's container should request, before and after it is kept within what is allowed; `None` without a sample.
    fn recommended(&self, containers: usize) -> Option<(Recommendation, Recommendation)> {
        let containers = u32::try_from(containers).unwrap_or(u32::MAX);
        let any = self.memory.usage.samples() > 0;
        let uncapped = any.then(|| recommend(&self.memory.usage, containers))?;
        Some((uncapped, self.settings.allowed.cap(&uncapped)))
    }

    fn reason(&self, recommended: Option<&(Recommendation, Recommendation)>) -> Reason {
        let reason = Reason {
            target: Some(self.target.clone()),
            subject: "RecommendationProvided".into(),
            holds: Some(recommended.is_some()),
            ..Reason::default()
        };
        let Some((uncapped, Recommendation { lower, target, upper })) = recommended else {
            return Reason { code: "NoSamples".into(), ..reason };
        };
        let mut figures = BTreeMap::new();
        for (name, of) in [
            ("lower_bound", *lower),
            ("target", *target),
            ("uncapped_target", uncapped.target),
            ("upper_bound", *upper),
        ] {
            figures.insert(format!("{name}_cpu_milli"), Exact(of.cpu_milli as f64));
            figures.insert(format!("{name}_memory_bytes"), Exact(of.memory_bytes as f64));
        }
        Reason { code: format!("container {}", self.settings.container), figures, ..reason }
    }

    /// What is done for a recommendation: new pods are told, and with them those that they replace go.
    fn update(&mut self, view: &TargetView, recommended: &Recommendation, now: Time) -> Vec<Action> {
        let VpaSettings { container, controlled, mode, updater, .. } = &self.settings;
        let gone = match mode {
            UpdateMode::Off => return Vec::new(),
            UpdateMode::Initial => Vec::new(),
            UpdateMode::Recreate => {
                updater::evictions(updater, view, container, *controlled, recommended, now)
            }
        };
        let mut actions = Vec::new();
        if self.memory.told != Some(recommended.target) || !gone.is_empty() {
            let requests = controlled.resources().map(|of| (of, recommended.target.milli(of))).collect();
            let (target, container) = (self.target.clone(), container.clone());
            actions.push(Action::SetRequests { target, container, requests });
            self.memory.told = Some(recommended.target);
        }
        let evict = |pod: &PodView| Action::Evict { target: self.target.clone(), pod: pod.name.to_string() };
        actions.extend(gone.into_iter().map(evict));
        actions
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
            writes: match self.settings.mode {
                UpdateMode::Off => Vec::new(),
                UpdateMode::Initial | UpdateMode::Recreate => vec![Aspect::Requests(self.target.clone())],
            },
            ..Needs::default()
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(view) = seen.target(&self.target) else { return Decision::default() };
        self.observe(seen, &view.pods);
        let recommended = self.recommended(view.pods.first().map_or(1, |pod| pod.containers.len()));
        let reasons = vec![self.reason(recommended.as_ref())];
        let actions =
            recommended.map_or(Vec::new(), |(_, recommended)| self.update(view, &recommended, seen.now));
        Decision { actions, reasons, wake_at: None }
    }

    fn save(&self) -> State {
        State::of("vpa", 1, &self.memory)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.memory = state.read("vpa", 1)?;
        Ok(())
    }
}

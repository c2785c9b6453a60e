//! The PodAutoscaler of AIBrix 0.7 with its strategies APA and KPA, read from the source.
//!
//! [`algorithm`] goes from the metric to replicas; here are the windows over which KPA averages, the cooldown, and the
//! order of the controller. KPA shares its name with Knative's, not its rules.

pub mod algorithm;
pub mod manifest;

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Aspect, Decision, MetricQuery, Missing, Needs, Observation, Policy, Reason, Schedule, Scope,
    State, StateMismatch, TargetName, TargetView,
};
use scaletwin_core::input::{At, Count, NonNegative, Period, Positive, Problem, Problems};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::pods;
use crate::kubernetes::manifest::refuse_beside;
use algorithm::{Averages, Limits};

scaletwin_core::names! {
    /// `scalingStrategy`: how replicas follow from the metric.
    pub enum Strategy {
        /// By the mean use of a pod.
        Apa = "APA",
        /// By the sum over the pods, averaged over a long and a short window.
        Kpa = "KPA",
    }
}

scaletwin_core::keys! {
    /// The PodAutoscaler of AIBrix.
    #[derive(Debug, Clone)]
    pub struct AibrixSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// A file with the manifest of a PodAutoscaler. Our own keys below are not used then, but for period and offset.
        pub manifest: Option<At<String>> = None,
        /// Fields of the manifest that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// `scalingStrategy`.
        pub strategy: Option<At<Strategy>> = None,
        /// `targetMetric`: the metric of each pod, bound under `signals` per pod.
        pub metric: Option<At<String>> = None,
        /// `targetValue`: the value of a pod that is aimed at.
        pub target_value: Option<At<Positive>> = None,
        /// `minReplicas`. Default: 1.
        pub min_replicas: Option<At<u16>> = None,
        /// `maxReplicas`.
        pub max_replicas: Option<At<Count>> = None,
        /// From one look to the next.
        pub period: Period = Period(Span::from_secs(10)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
        /// `max-scale-up-rate`: at most so many times the present number in one step.
        pub max_scale_up_rate: Positive = Positive(2.0),
        /// `max-scale-down-rate`: at most so many times fewer in one step.
        pub max_scale_down_rate: Positive = Positive(2.0),
        /// `scale-up-tolerance`: a fraction.
        pub up_tolerance: NonNegative = NonNegative(0.1),
        /// `scale-down-tolerance`: a fraction.
        pub down_tolerance: NonNegative = NonNegative(0.1),
        /// `panic-threshold`, of KPA: how far the short average may be above the long one, a ratio.
        pub panic_threshold: Positive = Positive(2.0),
        /// `observeWindowSeconds`, of KPA: the long window.
        pub stable_window: Period = Period(Span::from_secs(180)),
        /// `panicWindowSeconds`, of KPA: the short window.
        pub panic_window: Period = Period(Span::from_secs(60)),
        /// `scale-up-cooldown-window`: the most of the recommendations in it counts upwards.
        pub scale_up_cooldown: Span = Span::ZERO,
        /// `scale-down-cooldown-window`: the least of the recommendations in it counts downwards.
        pub scale_down_cooldown: Span = Span::from_secs(300),
    }
}

/// The settings of a PodAutoscaler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AibrixSettings {
    /// `scalingStrategy`.
    pub strategy: Strategy,
    /// The metric of each pod.
    pub metric: String,
    /// The value of a pod that is aimed at.
    pub target_value: f64,
    /// The fewest replicas.
    pub min_replicas: i32,
    /// The most replicas.
    pub max_replicas: i32,
    /// Rates and tolerances.
    pub limits: Limits,
    /// KPA: short over long average above which it panics.
    pub panic_threshold: f64,
    /// KPA: the long window.
    pub stable_window: Span,
    /// KPA: the short window.
    pub panic_window: Span,
    /// Upwards, the most of the recommendations in it counts.
    pub scale_up_cooldown: Span,
    /// Downwards, the least of the recommendations in it counts.
    pub scale_down_cooldown: Span,
}

impl AibrixSettings {
    /// AIBrix's defaults for this strategy, metric and target; at least and at most one replica.
    #[must_use]
    pub fn of(strategy: Strategy, metric: String, target_value: f64) -> AibrixSettings {
        AibrixSettings {
            strategy,
            metric,
            target_value,
            min_replicas: 1,
            max_replicas: 1,
            limits: Limits::default(),
            panic_threshold: 2.0,
            stable_window: Span::from_secs(180),
            panic_window: Span::from_secs(60),
            scale_up_cooldown: Span::ZERO,
            scale_down_cooldown: Span::from_secs(300),
        }
    }
}

impl AibrixSpec {
    /// The settings by our own keys. `None` when a problem was pushed: a key that has to be there without a manifest is missing.
    #[must_use]
    pub fn settings(&self, problems: &mut Problems) -> Option<AibrixSettings> {
        let (strategy, metric) = (self.strategy.as_ref(), self.metric.as_ref());
        let (target_value, max_replicas) = (self.target_value.as_ref(), self.max_replicas.as_ref());
        let needed = [
            ("strategy", strategy.is_some()),
            ("metric", metric.is_some()),
            ("target_value", target_value.is_some()),
            ("max_replicas", max_replicas.is_some()),
        ];
        for (key, _) in needed.iter().filter(|(_, is_there)| !is_there) {
            let problem = Problem::error(&self.target.place, format!("the key {key:?} is missing"));
            problems.push(problem.hint("or name a file with manifest:"));
        }
        Some(AibrixSettings {
            min_replicas: self.min_replicas.as_ref().map_or(1, |min| i32::from(min.value)),
            max_replicas: i32::try_from(max_replicas?.value.0).unwrap_or(i32::MAX),
            limits: Limits {
                max_scale_up_rate: self.max_scale_up_rate.0,
                max_scale_down_rate: self.max_scale_down_rate.0,
                up_tolerance: self.up_tolerance.0,
                down_tolerance: self.down_tolerance.0,
            },
            panic_threshold: self.panic_threshold.0,
            stable_window: self.stable_window.0,
            panic_window: self.panic_window.0,
            scale_up_cooldown: self.scale_up_cooldown,
            scale_down_cooldown: self.scale_down_cooldown,
            ..AibrixSettings::of(strategy?.value, metric?.value.clone(), target_value?.value.0)
        })
    }

    /// Refuses our own keys beside a manifest.
    pub fn refuse_own_keys(&self, problems: &mut Problems) {
        let own = [
            self.strategy.as_ref().map(|at| &at.place),
            self.metric.as_ref().map(|at| &at.place),
            self.target_value.as_ref().map(|at| &at.place),
            self.min_replicas.as_ref().map(|at| &at.place),
            self.max_replicas.as_ref().map(|at| &at.place),
        ];
        refuse_beside(own, problems);
    }
}

/// The PodAutoscaler of one target.
#[derive(Debug, Clone)]
pub struct Aibrix {
    target: TargetName,
    settings: AibrixSettings,
    schedule: Schedule,
    memory: Memory,
}

/// What it remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// The sums over the pods within the long window.
    sums: Vec<(Time, f64)>,
    /// The most replicas that a panic ever wanted.
    most_in_panic: i32,
    recommendations: Vec<(Time, i32)>,
}

impl Aibrix {
    /// The PodAutoscaler with these settings for `target`, looking at these times.
    #[must_use]
    pub fn new(target: TargetName, settings: AibrixSettings, schedule: Schedule) -> Aibrix {
        Aibrix { target, settings, schedule, memory: Memory::default() }
    }

    fn query(&self) -> MetricQuery {
        pods::query(&self.target, &self.settings.metric)
    }

    /// How many replicas are wanted, the controller's word for it, and the figure behind it.
    fn scale(&mut self, seen: &Observation, view: &TargetView) -> Result<(i32, &'static str, f64), Missing> {
        let current = view.spec_replicas;
        let (min, max) = (self.settings.min_replicas, self.settings.max_replicas);
        if current == 0 && min != 0 {
            return Ok((0, "scaling disabled: current replicas is 0", 0.0));
        }
        if current > max {
            return Ok((max, "current replicas above maximum", 0.0));
        }
        if current < min {
            return Ok((min, "current replicas below minimum", 0.0));
        }
        let values: Vec<f64> = pods::values(seen, &self.query())?.into_values().collect();
        if values.is_empty() {
            return Err(Missing::NoData);
        }
        let (recommended, figure) = self.recommend(seen.now, current, &values);
        let stabilized = self.cool_down(seen.now, current, recommended);
        let wanted = stabilized.min(max).max(min);
        let code = match wanted.cmp(&current) {
            std::cmp::Ordering::Greater => "above target",
            std::cmp::Ordering::Less => "All metrics below target",
            std::cmp::Ordering::Equal => "stable",
        };
        Ok((wanted, code, figure))
    }

    fn recommend(&mut self, now: Time, current: i32, values: &[f64]) -> (i32, f64) {
        let AibrixSettings { target_value, limits, .. } = self.settings;
        let sum: f64 = values.iter().sum();
        match self.settings.strategy {
            Strategy::Apa => {
                let mean = sum / values.len() as f64;
                (algorithm::apa(current, mean, target_value, &limits), mean)
            }
            Strategy::Kpa => {
                let averages = self.average(now, sum);
                let panic = averages.call_for_panic(self.settings.panic_threshold);
                let most = &mut self.memory.most_in_panic;
                let wanted = algorithm::kpa(current, averages, target_value, panic, &limits, most);
                (wanted, if panic { averages.panic } else { averages.stable })
            }
        }
    }

    /// Takes `sum` up and averages over both windows.
    fn average(&mut self, now: Time, sum: f64) -> Averages {
        let sums = &mut self.memory.sums;
        sums.push((now, sum));
        let within = |window: Span| move |at: Time| at.saturating_add(window) > now;
        let longest = self.settings.stable_window.max(self.settings.panic_window);
        sums.retain(|(at, _)| within(longest)(*at));
        let mean = |window: Span| {
            let recent: Vec<f64> =
                sums.iter().filter(|(at, _)| within(window)(*at)).map(|(_, sum)| *sum).collect();
            recent.iter().sum::<f64>() / recent.len() as f64
        };
        Averages { stable: mean(self.settings.stable_window), panic: mean(self.settings.panic_window) }
    }

    /// Upwards the most, downwards the least of the recommendations within the cooldown of that direction.
    fn cool_down(&mut self, now: Time, current: i32, recommended: i32) -> i32 {
        let AibrixSettings { scale_up_cooldown: up, scale_down_cooldown: down, .. } = self.settings;
        let recent = |window: Span| move |at: &Time| at.saturating_add(window) > now;
        let list = &mut self.memory.recommendations;
        list.push((now, recommended));
        list.retain(|(at, _)| recent(up.max(down))(at));
        let within = |window: Span| {
            list.iter().filter(move |(at, _)| recent(window)(at)).map(|(_, replicas)| *replicas)
        };
        match recommended.cmp(&current) {
            std::cmp::Ordering::Greater => within(up).max().unwrap_or(recommended),
            std::cmp::Ordering::Less => within(down).min().unwrap_or(recommended),
            std::cmp::Ordering::Equal => current,
        }
    }
}

impl Policy for Aibrix {
    fn needs(&self) -> Needs {
        Needs {
            scope: Scope { targets: vec![self.target.clone()], metrics: vec![self.query()], nodes: false },
            schedule: self.schedule,
            pokes: Vec::new(),
            writes: vec![Aspect::Replicas(self.target.clone())],
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(view) = seen.target(&self.target) else { return Decision::default() };
        let reason = Reason {
            target: Some(self.target.clone()),
            subject: self.settings.strategy.name().into(),
            ..Reason::default()
        };
        match self.scale(seen, view) {
            Err(why) => Decision::nothing(Reason {
                holds: Some(false),
                code: "FailedComputeScale".into(),
                detail: why.to_string(),
                ..reason
            }),
            Ok((wanted, code, figure)) => {
                let figures = BTreeMap::from([
                    ("desired_replicas".to_owned(), Exact(f64::from(wanted))),
                    ("metric".to_owned(), Exact(figure)),
                ]);
                let action = (wanted != view.spec_replicas)
                    .then(|| Action::SetReplicas { target: self.target.clone(), replicas: wanted });
                Decision {
                    actions: action.into_iter().collect(),
                    reasons: vec![Reason { holds: Some(true), code: code.into(), figures, ..reason }],
                    wake_at: None,
                }
            }
        }
    }

    fn save(&self) -> State {
        State::of("aibrix", 1, &self.memory)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.memory = state.read("aibrix", 1)?;
        Ok(())
    }
}

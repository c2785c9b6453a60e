//! KEDA 2.20: a ScaledObject, which is two controllers on one target.
//!
//! | module | part of KEDA |
//! |---|---|
//! | [`activation`] | the scale executor: between 0 (or idle) and the fewest replicas, every polling interval |
//! | [`adapter`] | the metrics server between the triggers and the generated HPA, with fallback and formula |
//! | [`trigger`] | what a trigger says: its value, and whether it is active |
//! | [`formula`] | `scalingModifiers.formula` |
//! | [`spec`] | what a user sets, with KEDA's defaults |
//! | [`bindings`] | what a scenario says of a manifest's triggers |
//! | [`manifest`] | `keda.sh/v1alpha1` |
//!
//! Source: `pkg/scaling/executor/scale_scaledobjects.go`, `pkg/scaling/scale_handler.go`, `pkg/fallback/fallback.go`,
//! `pkg/scaling/modifiers/formula.go`, `controllers/keda/hpa.go`, `apis/keda/v1alpha1`.

pub mod activation;
pub mod adapter;
pub mod bindings;
pub mod formula;
pub mod manifest;
mod scalers;
pub mod spec;
pub mod trigger;

use std::collections::BTreeMap;

use scaletwin_core::control::{MetricName, TargetName};
use scaletwin_core::units::Span;
use serde::Serialize;

use super::hpa::spec::{Behavior, HpaSettings, MetricSource, SelectPolicy, ValueTarget};
use formula::Formula;
use trigger::{Source, Trigger};

/// A ScaledObject, checked, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScaledObject {
    /// `pollingInterval`.
    pub polling_interval: Span,
    /// `cooldownPeriod`.
    pub cooldown_period: Span,
    /// `initialCooldownPeriod`.
    pub initial_cooldown_period: Span,
    /// `idleReplicaCount`, below `minReplicaCount`.
    pub idle_replicas: Option<i32>,
    /// `minReplicaCount`, at least 0.
    pub min_replicas: i32,
    /// `maxReplicaCount`, at least 1.
    pub max_replicas: i32,
    /// `triggers`, at least one.
    pub triggers: Vec<Trigger>,
    /// `advanced.scalingModifiers`.
    pub modifiers: Option<Modifiers>,
    /// `fallback`.
    pub fallback: Option<Fallback>,
    /// `advanced.horizontalPodAutoscalerConfig.behavior`.
    pub behavior: Option<Behavior>,
    /// The annotations that stop it in part or whole.
    pub pause: Pause,
}

/// `advanced.scalingModifiers`: one composite metric instead of those of the triggers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Modifiers {
    /// `formula`, over the triggers in their order.
    pub formula: Formula,
    /// `target`, milli-units, above 0.
    pub target: i64,
    /// `activationTarget`.
    pub activation_target: f64,
    /// `metricType`.
    pub metric_type: MetricType,
}

/// `fallback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// `failureThreshold`: more failures in a row than these.
    pub failure_threshold: u32,
    /// `replicas`, at least 0.
    pub replicas: i32,
    /// `behavior`.
    pub behavior: FallbackBehavior,
}

scaletwin_core::names! {
    /// How many replicas a fallback asks for.
    pub enum FallbackBehavior {
        /// `fallback.replicas`.
        Static = "static",
        /// As many as there are.
        CurrentReplicas = "currentReplicas",
        /// The more of both.
        CurrentReplicasIfHigher = "currentReplicasIfHigher",
        /// The fewer of both.
        CurrentReplicasIfLower = "currentReplicasIfLower",
        /// What the formula makes of it, to which a trigger that fails is nil.
        ScalingModifiers = "scalingModifiers",
    }
}

scaletwin_core::names! {
    /// How the generated HPA compares a metric with its target.
    pub enum MetricType {
        /// Its value divided by the replicas.
        AverageValue = "AverageValue",
        /// Its value.
        Value = "Value",
    }
}

impl MetricType {
    fn target(self, milli: i64) -> ValueTarget {
        match self {
            MetricType::AverageValue => ValueTarget::AverageValue(milli),
            MetricType::Value => ValueTarget::Value(milli),
        }
    }
}

/// The annotations `autoscaling.keda.sh/…`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// `paused`: nothing is scaled, and there is no HPA.
    pub paused: bool,
    /// `paused-replicas`: so many, once; then as `paused`.
    pub paused_replicas: Option<i32>,
    /// `paused-scale-in`.
    pub scale_in: bool,
    /// `paused-scale-out`.
    pub scale_out: bool,
    /// `force-activation`: active whatever the triggers say.
    pub force_activation: bool,
}

impl Pause {
    /// Whether KEDA takes the HPA away.
    #[must_use]
    pub fn whole(self) -> bool {
        self.paused || self.paused_replicas.is_some()
    }
}

/// The name of the metric that a formula gives.
pub const COMPOSITE: &str = "composite-metric";

impl ScaledObject {
    /// The HPA that KEDA generates for it. Metrics from outside come first, as sorted by their type's name.
    #[must_use]
    pub fn hpa(&self) -> HpaSettings {
        let composite = self.modifiers.as_ref().map(|modifiers| MetricSource::External {
            metric: external(COMPOSITE),
            target: modifiers.metric_type.target(modifiers.target),
        });
        let own = self.triggers.iter().enumerate().filter_map(|(at, trigger)| match &trigger.source {
            Source::Resource(metric) => Some(metric.clone()),
            _ if composite.is_some() => None,
            source => Some(MetricSource::External {
                metric: external(&trigger.metric_name(at)),
                target: trigger.metric_type.target(source.target()),
            }),
        });
        let mut metrics: Vec<MetricSource> = own.chain(composite.clone()).collect();
        metrics.sort_by_key(|metric| match metric {
            MetricSource::Resource { container: Some(_), .. } => "ContainerResource",
            MetricSource::Resource { .. } => "Resource",
            _ => "External",
        });
        HpaSettings {
            min_replicas: self.min_replicas.max(1),
            max_replicas: self.max_replicas,
            metrics,
            behavior: self.hpa_behavior(),
        }
    }

    /// A paused direction is a disabled one, and a behavior that is there at all has both directions.
    fn hpa_behavior(&self) -> Option<Behavior> {
        let Pause { scale_in, scale_out, .. } = self.pause;
        if !scale_in && !scale_out {
            return self.behavior.clone();
        }
        let mut behavior = self.behavior.clone().unwrap_or_else(|| Behavior::defaults(Span::from_secs(300)));
        if scale_in {
            behavior.scale_down.select_policy = SelectPolicy::Disabled;
        }
        if scale_out {
            behavior.scale_up.select_policy = SelectPolicy::Disabled;
        }
        Some(behavior)
    }

    /// The fallback that KEDA's metrics server takes: with a formula it wants a target that is a whole number.
    #[must_use]
    pub fn valid_fallback(&self) -> Option<Fallback> {
        let whole = self.modifiers.as_ref().is_none_or(|modifiers| modifiers.target % 1_000 == 0);
        self.fallback.filter(|_| whole)
    }

    /// Whether all triggers are CPU or memory: such a target is always active.
    #[must_use]
    pub fn resources_only(&self) -> bool {
        self.triggers.iter().all(|trigger| matches!(trigger.source, Source::Resource(_)))
    }
}

/// The name of the signal under which the activation controller keeps the value of a cached metric for the HPA.
fn cached(target: &TargetName, metric: &str) -> String {
    format!("keda/{target}/{metric}")
}

/// The name of the signal that says whether that value could not be had.
fn cached_failure(target: &TargetName, metric: &str) -> String {
    format!("keda/{target}/{metric}/failed")
}

fn external(name: &str) -> MetricName {
    MetricName { name: name.to_owned(), selector: BTreeMap::new() }
}

#[cfg(test)]
mod tests;

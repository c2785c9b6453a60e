//! What a user sets of a ScaledObject, as our own keys, with KEDA's defaults.

use std::collections::BTreeMap;

use scaletwin_core::input::{At, Count, Period, Place, Problem, Problems};
use scaletwin_core::units::{Quantity, Span};

use super::bindings::Bindings;
use super::formula::Formula;
use super::trigger::{Partitions, SignalSource, Source, Trigger};
use super::{Fallback, FallbackBehavior, MetricType, Modifiers, Pause, ScaledObject};
use crate::kubernetes::hpa::spec::{
    BehaviorSpec, ControllerSettings, ControllerSpec, MetricSource, ResourceName, ResourceTarget,
    positive_milli,
};
use crate::rules::schedule::between;

scaletwin_core::keys! {
    /// A ScaledObject of KEDA: by a manifest as people run it, or by our own keys. It is two controllers, the activation
    /// between 0 and the fewest replicas and the HPA that KEDA generates.
    #[derive(Debug, Clone)]
    pub struct KedaSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// A file with a `keda.sh/v1alpha1` ScaledObject, as `kubectl get -o yaml` prints it. Our own keys below `offset`
        /// are not used then.
        pub manifest: Option<At<String>> = None,
        /// Fields of the manifest that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// Which signal stands for a trigger of the manifest, by the trigger's name, or by that of its metric
        /// (`s0-prometheus`). Default: the signal of that very name.
        pub bind: BTreeMap<String, At<String>> = BTreeMap::new(),
        /// How many partitions the topic of a Kafka or Event Hub trigger of the manifest has, by the same names: KEDA asks for no
        /// more consumers. Default: as many as the most replicas.
        pub partitions: BTreeMap<String, At<Count>> = BTreeMap::new(),
        /// What one replica is to have of an external trigger of the manifest, by the same names: its scaler alone knows.
        pub targets: BTreeMap<String, At<Quantity>> = BTreeMap::new(),
        /// The flags of the HPA controller.
        pub controller: ControllerSpec = ControllerSpec::default(),
        /// The first poll, after the start of the run. Default: drawn from the seed, below the polling interval.
        pub offset: Option<Span> = None,
        /// `pollingInterval`.
        pub polling_interval: Period = Period(Span::from_secs(30)),
        /// `cooldownPeriod`: how long it stays after the last active poll, before it goes to 0.
        pub cooldown_period: Span = Span::from_secs(300),
        /// `initialCooldownPeriod`: the same, for an object that has never been active.
        pub initial_cooldown_period: Span = Span::ZERO,
        /// `idleReplicaCount`, below the fewest replicas; KEDA works with 0 only.
        pub idle_replicas: Option<At<u16>> = None,
        /// `minReplicaCount`.
        pub min_replicas: u16 = 0u16,
        /// `maxReplicaCount`.
        pub max_replicas: At<Count> = Count(100),
        /// `triggers`.
        pub triggers: Option<At<Vec<TriggerSpec>>> = None,
        /// `advanced.scalingModifiers`: one metric made of all triggers.
        pub scaling_modifiers: Option<ModifiersSpec> = None,
        /// `fallback`: how many replicas where a trigger keeps failing.
        pub fallback: Option<At<FallbackSpec>> = None,
        /// `advanced.horizontalPodAutoscalerConfig.behavior`.
        pub behavior: Option<BehaviorSpec> = None,
        /// The annotations that stop it.
        pub pause: PauseSpec = PauseSpec::default(),
    }
}

scaletwin_core::variants! {
    /// A trigger of KEDA.
    #[derive(Debug, Clone)]
    pub enum TriggerSpec {
        /// A Prometheus query, by the signal that stands for it. An empty answer is 0.
        Prometheus(PrometheusSpec) = "prometheus",
        /// The length of a queue, or any other scaler with one number, by the signal that stands for it.
        Queue(QueueSpec) = "queue",
        /// An external scaler, by the signal that stands for it.
        External(QueueSpec) = "external",
        /// An external scaler that also makes itself heard at once when a request comes to a target without replicas.
        ExternalPush(QueueSpec) = "external_push",
        /// A time of the day.
        Cron(CronSpec) = "cron",
        /// CPU of the pods.
        Cpu(ResourceTriggerSpec) = "cpu",
        /// Memory of the pods.
        Memory(ResourceTriggerSpec) = "memory",
    }
}

scaletwin_core::keys! {
    /// A Prometheus query, by the signal that stands for it.
    #[derive(Debug, Clone)]
    pub struct PrometheusSpec {
        /// Its name in a formula.
        pub name: Option<String> = None,
        /// The signal, by its name under `signals`.
        pub signal: At<String>,
        /// What one replica is to have of it.
        pub threshold: At<Quantity>,
        /// Active above this.
        pub activation_threshold: f64 = 0.0,
        /// Whether an answer without data counts as 0; otherwise it is an error.
        pub ignore_null_values: bool = true,
        /// How the HPA compares it.
        pub metric_type: MetricType = MetricType::AverageValue,
        /// Whether the HPA sees the value of the last poll instead of a fresh one.
        pub use_cached_metrics: bool = false,
    }
}

scaletwin_core::keys! {
    /// A scaler with one number, by the signal that stands for it. Without data it fails.
    #[derive(Debug, Clone)]
    pub struct QueueSpec {
        /// Its name in a formula.
        pub name: Option<String> = None,
        /// The signal, by its name under `signals`.
        pub signal: At<String>,
        /// What one replica is to have of it.
        pub threshold: At<Quantity>,
        /// Active above this.
        pub activation_threshold: f64 = 0.0,
        /// How the HPA compares it.
        pub metric_type: MetricType = MetricType::AverageValue,
        /// Whether the HPA sees the value of the last poll instead of a fresh one.
        pub use_cached_metrics: bool = false,
        /// The partitions of the topic that it is the lag of: no more replicas are asked for. Default: any number.
        pub partitions: Option<Count> = None,
    }
}

scaletwin_core::keys! {
    /// A time of the day.
    #[derive(Debug, Clone)]
    pub struct CronSpec {
        /// Its name in a formula.
        pub name: Option<String> = None,
        /// The IANA name of the time zone, such as `Europe/Berlin`.
        pub timezone: At<String>,
        /// When it begins, such as `0 8 * * 1-5`.
        pub start: At<String>,
        /// When it ends.
        pub end: At<String>,
        /// How many replicas meanwhile.
        pub desired_replicas: Count,
    }
}

scaletwin_core::keys! {
    /// CPU or memory of the pods, which the generated HPA reads itself.
    #[derive(Debug, Clone)]
    pub struct ResourceTriggerSpec {
        /// One container instead of all.
        pub container: Option<String> = None,
        /// Percent of the requests aimed at.
        pub utilization: Option<At<Count>> = None,
        /// The mean per pod aimed at.
        pub average_value: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// One metric made of all triggers.
    #[derive(Debug, Clone)]
    pub struct ModifiersSpec {
        /// The formula over the names of the triggers, in expr-lang.
        pub formula: At<String>,
        /// What one replica is to have of its result.
        pub target: At<Quantity>,
        /// Active above this.
        pub activation_target: f64 = 0.0,
        /// How the HPA compares it.
        pub metric_type: MetricType = MetricType::AverageValue,
    }
}

scaletwin_core::keys! {
    /// How many replicas where a trigger keeps failing.
    #[derive(Debug, Clone)]
    pub struct FallbackSpec {
        /// More failures in a row than these, counted when the HPA asks.
        pub failure_threshold: u32,
        /// How many replicas.
        pub replicas: u16,
        /// How they compare with those that there are.
        pub behavior: FallbackBehavior = FallbackBehavior::Static,
    }
}

scaletwin_core::keys! {
    /// The annotations that stop a ScaledObject in part or whole.
    #[derive(Debug, Clone, Default)]
    pub struct PauseSpec {
        /// `autoscaling.keda.sh/paused`.
        pub paused: bool = false,
        /// `autoscaling.keda.sh/paused-replicas`.
        pub replicas: Option<u16> = None,
        /// `autoscaling.keda.sh/paused-scale-in`.
        pub scale_in: bool = false,
        /// `autoscaling.keda.sh/paused-scale-out`.
        pub scale_out: bool = false,
        /// `autoscaling.keda.sh/force-activation`.
        pub force_activation: bool = false,
    }
}

impl KedaSpec {
    /// What it says of the triggers of a manifest.
    #[must_use]
    pub fn bindings(&self) -> Bindings {
        Bindings {
            signals: self.bind.clone(),
            partitions: self.partitions.clone(),
            targets: self.targets.clone(),
        }
    }

    /// The checked object by our own keys. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, controller: &ControllerSettings, problems: &mut Problems) -> Option<ScaledObject> {
        let before = problems.len();
        let Some(list) = &self.triggers else {
            let problem = Problem::error(&self.target.place, "the key \"triggers\" is missing");
            problems.push(problem.hint("or name a file with manifest:"));
            return None;
        };
        let triggers: Vec<Trigger> =
            list.value.iter().filter_map(|trigger| trigger.check(&list.place, problems)).collect();
        let modifiers = self.scaling_modifiers.as_ref().and_then(|spec| {
            let target = positive_milli(&spec.target, problems)?;
            let formula = formula(&spec.formula, &triggers, problems)?;
            let (activation_target, metric_type) = (spec.activation_target, spec.metric_type);
            Some(Modifiers { formula, target, activation_target, metric_type })
        });
        let object = ScaledObject {
            polling_interval: self.polling_interval.0,
            cooldown_period: self.cooldown_period,
            initial_cooldown_period: self.initial_cooldown_period,
            idle_replicas: self.idle_replicas.as_ref().map(|idle| i32::from(idle.value)),
            min_replicas: i32::from(self.min_replicas),
            max_replicas: i32::try_from(self.max_replicas.0).unwrap_or(i32::MAX),
            triggers,
            modifiers,
            fallback: self.fallback.as_ref().map(|spec| Fallback {
                failure_threshold: spec.failure_threshold,
                replicas: i32::from(spec.replicas),
                behavior: spec.behavior,
            }),
            behavior: self.behavior.as_ref().map(|behavior| behavior.check(controller, problems)),
            pause: Pause {
                paused: self.pause.paused,
                paused_replicas: self.pause.replicas.map(i32::from),
                scale_in: self.pause.scale_in,
                scale_out: self.pause.scale_out,
                force_activation: self.pause.force_activation,
            },
        };
        object.check(&list.place, problems);
        (problems.len() == before).then_some(object)
    }

    /// Whether one of our own keys for the object is written, which excludes a manifest. A key that has its default is
    /// taken as not written.
    pub fn refuse_own_keys(&self, problems: &mut Problems) {
        let places = [
            self.triggers.as_ref().map(|list| &list.place),
            self.fallback.as_ref().map(|fallback| &fallback.place),
            self.idle_replicas.as_ref().map(|idle| &idle.place),
            self.scaling_modifiers.as_ref().map(|modifiers| &modifiers.formula.place),
            (self.max_replicas.0 != 100).then_some(&self.max_replicas.place),
            (self.min_replicas != 0
                || self.behavior.is_some()
                || self.polling_interval.0 != Span::from_secs(30)
                || self.cooldown_period != Span::from_secs(300)
                || !self.initial_cooldown_period.is_zero()
                || self.pause.written())
            .then_some(&self.target.place),
        ];
        for place in places.into_iter().flatten() {
            let problem =
                Problem::error(place, "our own keys of the object and manifest: exclude each other");
            problems.push(problem.hint("change the manifest, or copy it into our own keys"));
        }
    }
}

impl PauseSpec {
    fn written(&self) -> bool {
        self.paused || self.replicas.is_some() || self.scale_in || self.scale_out || self.force_activation
    }
}

impl TriggerSpec {
    fn check(&self, place: &Place, problems: &mut Problems) -> Option<Trigger> {
        match self {
            TriggerSpec::Prometheus(spec) => Some(Trigger {
                kind: "prometheus".into(),
                name: spec.name.clone(),
                metric_type: spec.metric_type,
                cached: spec.use_cached_metrics,
                source: Source::Signal(SignalSource {
                    signal: spec.signal.value.clone(),
                    threshold: positive_milli(&spec.threshold, problems)?,
                    activation_threshold: spec.activation_threshold,
                    ignore_null_values: spec.ignore_null_values,
                    push: false,
                    partitions: None,
                }),
            }),
            TriggerSpec::Queue(spec) => spec.check("queue", false, problems),
            TriggerSpec::External(spec) => spec.check("external", false, problems),
            TriggerSpec::ExternalPush(spec) => spec.check("external-push", true, problems),
            TriggerSpec::Cron(spec) => spec.check(problems),
            TriggerSpec::Cpu(spec) => spec.check(ResourceName::Cpu, place, problems),
            TriggerSpec::Memory(spec) => spec.check(ResourceName::Memory, place, problems),
        }
    }
}

impl QueueSpec {
    fn check(&self, kind: &str, push: bool, problems: &mut Problems) -> Option<Trigger> {
        Some(Trigger {
            kind: kind.to_owned(),
            name: self.name.clone(),
            metric_type: self.metric_type,
            cached: self.use_cached_metrics,
            source: Source::Signal(SignalSource {
                signal: self.signal.value.clone(),
                threshold: positive_milli(&self.threshold, problems)?,
                activation_threshold: self.activation_threshold,
                ignore_null_values: false,
                push,
                partitions: self
                    .partitions
                    .map(|partitions| Partitions { count: i64::from(partitions.0), even: false }),
            }),
        })
    }
}

impl CronSpec {
    fn check(&self, problems: &mut Problems) -> Option<Trigger> {
        Some(Trigger {
            kind: "cron".into(),
            name: self.name.clone(),
            metric_type: MetricType::AverageValue,
            cached: false,
            source: Source::Cron {
                between: between(&self.start, &self.end, &self.timezone, problems)?,
                desired_replicas: i64::from(self.desired_replicas.0),
            },
        })
    }
}

impl ResourceTriggerSpec {
    fn check(&self, name: ResourceName, place: &Place, problems: &mut Problems) -> Option<Trigger> {
        let target = match (&self.utilization, &self.average_value) {
            (Some(percent), None) => {
                ResourceTarget::Utilization(i32::try_from(percent.0).unwrap_or(i32::MAX))
            }
            (None, Some(value)) => ResourceTarget::AverageValue(positive_milli(value, problems)?),
            _ => {
                let name = name.name();
                problems
                    .error(place, format!("the trigger {name} needs either utilization or average_value"));
                return None;
            }
        };
        let container = self.container.clone();
        Some(resource(name.name(), MetricSource::Resource { resource: name.resource(), container, target }))
    }
}

/// The trigger on CPU or memory with this metric of the HPA.
pub(in crate::kubernetes) fn resource(kind: &str, metric: MetricSource) -> Trigger {
    Trigger {
        kind: kind.to_owned(),
        name: None,
        metric_type: MetricType::AverageValue,
        cached: false,
        source: Source::Resource(metric),
    }
}

/// The formula over the names of the triggers, tried out once.
pub(super) fn formula(
    written: &At<String>,
    triggers: &[Trigger],
    problems: &mut Problems,
) -> Option<Formula> {
    let outside = |trigger: &&Trigger| !matches!(trigger.source, Source::Resource(_));
    if triggers.iter().filter(outside).any(|trigger| trigger.name.is_none()) {
        problems.error(&written.place, "with a formula every trigger needs a name");
        return None;
    }
    let names: Vec<&str> = triggers.iter().map(|trigger| trigger.name.as_deref().unwrap_or("")).collect();
    let tried = Formula::parse(written, &names)
        .and_then(|formula| formula.evaluate(&vec![Some(1.0); names.len()]).map(|_| formula));
    match tried {
        Ok(formula) => Some(formula),
        Err(error) => {
            problems.error(&written.place, format!("the formula: {error}"));
            None
        }
    }
}

impl ScaledObject {
    /// What KEDA's admission webhook checks, and what can never work.
    pub(in crate::kubernetes) fn check(&self, place: &Place, problems: &mut Problems) {
        let (min, max) = (self.min_replicas, self.max_replicas);
        if self.triggers.is_empty() {
            problems.error(place, "a ScaledObject needs at least one trigger");
        }
        if min.max(1) > max {
            problems.error(place, format!("minReplicaCount={min} must be at most maxReplicaCount={max}"));
        }
        if let Some(idle) = self.idle_replicas.filter(|idle| *idle >= min) {
            let message = format!("idleReplicaCount={idle} must be less than minReplicaCount={min}");
            problems.error(place, message);
        }
        let mut names: Vec<&str> =
            self.triggers.iter().filter_map(|trigger| trigger.name.as_deref()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            problems.error(place, format!("two triggers have the name {:?}", pair[0]));
        }
        if self.fallback.is_some() && self.resources_only() && self.modifiers.is_none() {
            problems.error(place, "a fallback needs a trigger that is neither cpu nor memory");
        }
        let by_formula = self.fallback.is_some_and(|f| f.behavior == FallbackBehavior::ScalingModifiers);
        if by_formula && self.modifiers.is_none() {
            problems.error(place, "a fallback of behavior scalingModifiers needs a formula");
        }
        if self.fallback.is_some() && self.valid_fallback().is_none() {
            let message = "with a formula KEDA takes a fallback only where the target is a whole number: here it has none";
            problems.push(Problem::warning(place, message));
        }
        if self.resources_only() && min == 0 && !self.triggers.is_empty() {
            let message =
                "all triggers are cpu or memory, which never scale to 0: KEDA's admission webhook refuses it";
            let hint = "set minReplicaCount: 1 (min_replicas: 1 with our own keys), or add another trigger";
            problems.push(Problem::error(place, message).hint(hint));
        }
    }
}

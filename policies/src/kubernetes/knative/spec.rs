//! What a user sets of a PodAutoscaler: annotations of a revision, by our own keys or in a manifest, and the ConfigMap
//! `config-autoscaler`.

use scaletwin_core::input::{At, Place, Problems};
use scaletwin_core::units::Span;
use serde::Serialize;

use super::buckets::Aggregation;
use super::scaler::ScalerSettings;
use crate::kubernetes::manifest::refuse_beside;

/// The settings of a PodAutoscaler, with all defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KpaSettings {
    /// What decisions depend on.
    pub scaler: ScalerSettings,
    /// What is observed.
    pub metric: Metric,
    /// The fewest pods, at least 0.
    pub min_scale: i32,
    /// The most pods; 0 for any number.
    pub max_scale: i32,
    /// The pods of a new revision, until it has had them once.
    pub initial_scale: i32,
    /// `enable-scale-to-zero`.
    pub scale_to_zero: bool,
    /// `scale-to-zero-grace-period`, above 0.
    pub grace_period: Span,
    /// How long the last pod stays at least.
    pub pod_retention: Span,
    /// `progress-deadline` of `config-deployment`.
    pub progress_deadline: Span,
}

impl KpaSettings {
    /// Whether it may scale to zero.
    #[must_use]
    pub const fn may_sleep(&self) -> bool {
        self.scale_to_zero && self.min_scale == 0
    }
}

scaletwin_core::names! {
    /// What a PodAutoscaler observes: `autoscaling.knative.dev/metric`.
    pub enum Metric {
        /// Requests at once.
        Concurrency = "concurrency",
        /// Requests per second.
        Rps = "rps",
    }
}

/// The smallest target.
const TARGET_MIN: f64 = 0.01;
/// The shortest and the longest stable window.
const WINDOW: (Span, Span) = (Span::from_secs(6), Span::from_secs(3600));
/// The most requests at once that a revision may allow its containers.
const CONTAINER_CONCURRENCY_MAX: u32 = 1000;

scaletwin_core::keys! {
    /// Knative's pod autoscaler (KPA): by a manifest as people run it, or by our own keys, which are those of the
    /// annotations `autoscaling.knative.dev/…`.
    #[derive(Debug, Clone)]
    pub struct KpaSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// A file with a Service, Configuration or Revision of `serving.knative.dev/v1`, or a PodAutoscaler. The keys of
        /// annotations below are not used then.
        pub manifest: Option<At<String>> = None,
        /// Fields of the manifest that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// What the revision is annotated with.
        pub annotations: Option<At<Annotations>> = None,
        /// `containerConcurrency`: requests at once that a container takes; 0 for any number.
        pub container_concurrency: Option<At<u32>> = None,
        /// The ConfigMap `config-autoscaler` of the cluster.
        pub config: ConfigSpec = ConfigSpec::default(),
        /// The first decision, after the start of the run. Default: drawn from the seed, below 2 s.
        pub offset: Option<Span> = None,
    }
}

scaletwin_core::keys! {
    /// The annotations of a revision, without `autoscaling.knative.dev/`. What is not written is as in the ConfigMap.
    #[derive(Debug, Clone, Default)]
    pub struct Annotations {
        /// What is observed. Default: concurrency.
        pub metric: Option<Metric> = None,
        /// How seconds become an average. Default: linear.
        pub metric_aggregation_algorithm: Option<Aggregation> = None,
        /// The load of a pod, of which the utilization is aimed at; at least 0.01.
        pub target: Option<At<f64>> = None,
        /// Percent of the load of a pod aimed at, 1 to 100.
        pub target_utilization_percentage: Option<At<f64>> = None,
        /// Load that may come at once without the activator in its path; 0: the activator only at zero; -1: always.
        pub target_burst_capacity: Option<At<f64>> = None,
        /// The fewest pods.
        pub min_scale: Option<At<i32>> = None,
        /// The most pods; 0 for any number.
        pub max_scale: Option<At<i32>> = None,
        /// The pods of a new revision.
        pub initial_scale: Option<At<i32>> = None,
        /// The fewest pods as soon as there is any load, at least 1.
        pub activation_scale: Option<At<i32>> = None,
        /// How long a smaller scale waits, whole seconds up to 1 h.
        pub scale_down_delay: Option<At<Span>> = None,
        /// The stable window, whole seconds from 6 s to 1 h.
        pub window: Option<At<Span>> = None,
        /// The panic window in percent of the stable window, 1 to 100.
        pub panic_window_percentage: Option<At<f64>> = None,
        /// Desired pods in percent of the ready ones at which it panics, 110 to 1000.
        pub panic_threshold_percentage: Option<At<f64>> = None,
        /// How long the last pod stays at least, up to 1 h.
        pub scale_to_zero_pod_retention_period: Option<At<Span>> = None,
    }
}

scaletwin_core::keys! {
    /// The ConfigMap `config-autoscaler`, and `progress-deadline` of `config-deployment`.
    #[derive(Debug, Clone)]
    pub struct ConfigSpec {
        /// Percent of the concurrency of a pod aimed at; up to 1 it is a fraction.
        pub container_concurrency_target_percentage: At<f64> = 70.0,
        /// Requests at once of a pod where the revision allows any number.
        pub container_concurrency_target_default: At<f64> = 100.0,
        /// Requests per second of a pod.
        pub requests_per_second_target_default: At<f64> = 200.0,
        /// Load that may come at once without the activator in its path; 0: the activator only at zero; -1: always.
        pub target_burst_capacity: At<f64> = 211.0,
        /// The window of normal decisions, whole seconds from 6 s to 1 h.
        pub stable_window: At<Span> = Span::from_secs(60),
        /// The panic window in percent of the stable window, 1 to 100.
        pub panic_window_percentage: At<f64> = 10.0,
        /// Desired pods in percent of the ready ones at which it panics.
        pub panic_threshold_percentage: At<f64> = 200.0,
        /// At most this times the ready pods, above 1.
        pub max_scale_up_rate: At<f64> = 1000.0,
        /// At least the ready pods divided by this, above 1.
        pub max_scale_down_rate: At<f64> = 2.0,
        /// Whether revisions go to zero.
        pub enable_scale_to_zero: bool = true,
        /// How long the activator is in the path before the last pod goes, above 0.
        pub scale_to_zero_grace_period: At<Span> = Span::from_secs(30),
        /// How long the last pod stays at least.
        pub scale_to_zero_pod_retention_period: Span = Span::ZERO,
        /// How long a smaller scale waits, whole seconds.
        pub scale_down_delay: At<Span> = Span::ZERO,
        /// The pods of a new revision.
        pub initial_scale: At<i32> = 1,
        /// Whether a new revision may begin without pods.
        pub allow_zero_initial_scale: bool = false,
        /// The fewest pods.
        pub min_scale: At<i32> = 0,
        /// The most pods; 0 for any number.
        pub max_scale: At<i32> = 0,
        /// The most that a revision may ask for as its most; 0 for any number.
        pub max_scale_limit: At<i32> = 0,
        /// How long pods may take to become ready: `progress-deadline`.
        pub progress_deadline: Span = Span::from_secs(600),
    }
}

impl Default for ConfigSpec {
    fn default() -> ConfigSpec {
        let mut problems = Problems::default();
        let empty = scaletwin_core::input::Node {
            value: scaletwin_core::input::Value::Null,
            place: Place::nowhere(),
        };
        scaletwin_core::input::Read::read(&empty, &mut problems).expect("every key has a default")
    }
}

/// What a revision says of itself.
#[derive(Debug, Clone, Default)]
pub struct Revision {
    /// Its annotations.
    pub annotations: Annotations,
    /// `containerConcurrency`; 0 for any number.
    pub container_concurrency: u32,
    /// Whether no route leads to it.
    pub unreachable: bool,
}

impl KpaSpec {
    /// The revision by our own keys.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision {
            annotations: self.annotations.as_ref().map_or_else(Annotations::default, |at| at.value.clone()),
            container_concurrency: self.container_concurrency.as_ref().map_or(0, |at| at.value),
            unreachable: false,
        }
    }

    /// Refuses our own keys beside a manifest.
    pub fn refuse_own_keys(&self, problems: &mut Problems) {
        let own = [
            self.annotations.as_ref().map(|at| &at.place),
            self.container_concurrency.as_ref().map(|at| &at.place),
        ];
        refuse_beside(own, problems);
    }
}

/// The settings of a revision in a cluster with this ConfigMap. What is out of range is a problem at its place, or at `place`.
/// `None` when a problem was pushed.
#[must_use]
pub fn resolve(
    revision: &Revision,
    config: &ConfigSpec,
    place: &Place,
    problems: &mut Problems,
) -> Option<KpaSettings> {
    let before = problems.len();
    config.check(problems);
    let set = &revision.annotations;
    set.check(config, problems);
    if revision.container_concurrency > CONTAINER_CONCURRENCY_MAX {
        problems.error(place, format!("containerConcurrency is at most {CONTAINER_CONCURRENCY_MAX}"));
    }
    let metric = set.metric.unwrap_or(Metric::Concurrency);
    let (target_value, total_value) = target(metric, revision, config);
    let window = of(&set.window, &config.stable_window);
    let panic_percentage = of(&set.panic_window_percentage, &config.panic_window_percentage);
    let initial = of(&set.initial_scale, &config.initial_scale);
    let min = if revision.unreachable { 0 } else { of(&set.min_scale, &config.min_scale) };
    let settings = KpaSettings {
        scaler: ScalerSettings {
            aggregation: set.metric_aggregation_algorithm.unwrap_or(Aggregation::Linear),
            max_scale_up_rate: config.max_scale_up_rate.value,
            max_scale_down_rate: config.max_scale_down_rate.value,
            target_value,
            total_value,
            target_burst_capacity: of(&set.target_burst_capacity, &config.target_burst_capacity),
            panic_threshold: of(&set.panic_threshold_percentage, &config.panic_threshold_percentage) / 100.0,
            stable_window: window,
            panic_window: panic_window(window, panic_percentage),
            scale_down_delay: of(&set.scale_down_delay, &config.scale_down_delay),
            activation_scale: set.activation_scale.as_ref().map_or(0, |at| at.value),
            reachable: !revision.unreachable,
        },
        metric,
        min_scale: min,
        max_scale: of(&set.max_scale, &config.max_scale),
        initial_scale: if initial == 0 && !config.allow_zero_initial_scale {
            config.initial_scale.value
        } else {
            initial
        },
        scale_to_zero: config.enable_scale_to_zero,
        grace_period: config.scale_to_zero_grace_period.value,
        pod_retention: set
            .scale_to_zero_pod_retention_period
            .as_ref()
            .map_or(config.scale_to_zero_pod_retention_period, |at| at.value),
        progress_deadline: config.progress_deadline,
    };
    (problems.len() == before).then_some(settings)
}

/// What is annotated, or else in the ConfigMap.
fn of<T: Copy>(annotation: &Option<At<T>>, config: &At<T>) -> T {
    annotation.as_ref().map_or(config.value, |at| at.value)
}

/// The target of a pod, and what it can take: `ResolveMetricTarget`.
fn target(metric: Metric, revision: &Revision, config: &ConfigSpec) -> (f64, f64) {
    let limit = revision.container_concurrency;
    let annotated = revision.annotations.target.as_ref().map(|at| at.value);
    let total = match metric {
        Metric::Rps => annotated.unwrap_or(config.requests_per_second_target_default.value),
        Metric::Concurrency if limit == 0 => {
            annotated.unwrap_or(config.container_concurrency_target_default.value)
        }
        Metric::Concurrency => annotated.map_or(f64::from(limit), |target| target.min(f64::from(limit))),
    };
    let share = match (&revision.annotations.target_utilization_percentage, metric) {
        (Some(percentage), _) => percentage.value / 100.0,
        // The ConfigMap has no key for it.
        (None, Metric::Rps) => 0.7,
        (None, Metric::Concurrency) => config.target_share(),
    };
    ((total * share).max(TARGET_MIN), total)
}

/// The panic window: whole seconds, at least one.
fn panic_window(window: Span, percentage: f64) -> Span {
    let nanos = window.as_nanos() as f64 * percentage / 100.0;
    let seconds = Span::from_secs_f64(nanos / 1e9).map_or(window, |span| span);
    let rounded = (seconds.as_nanos() + 500_000_000) / 1_000_000_000;
    Span::from_secs(rounded.max(1))
}

/// Pushes a problem where a value does not hold what it has to.
fn range<T>(value: &At<T>, holds: bool, what: &str, problems: &mut Problems) {
    if !holds {
        problems.error(&value.place, what);
    }
}

/// The same for a value that may be absent.
fn range_of<T>(value: &Option<At<T>>, holds: impl Fn(&T) -> bool, what: &str, problems: &mut Problems) {
    if let Some(value) = value {
        range(value, holds(&value.value), what, problems);
    }
}

fn whole_seconds(span: Span) -> bool {
    span == Span::from_secs(span.as_secs())
}

fn is_window(span: Span) -> bool {
    (WINDOW.0..=WINDOW.1).contains(&span) && whole_seconds(span)
}

fn is_burst(burst: f64) -> bool {
    burst >= 0.0 || burst.total_cmp(&-1.0).is_eq()
}

impl Annotations {
    /// What Knative's webhook checks.
    fn check(&self, config: &ConfigSpec, problems: &mut Problems) {
        let percent = |low: f64, high: f64| move |value: &f64| (low..=high).contains(value);
        range_of(&self.target, |target| *target >= TARGET_MIN, "a target is at least 0.01", problems);
        range_of(
            &self.target_utilization_percentage,
            percent(1.0, 100.0),
            "a utilization is 1 to 100 percent",
            problems,
        );
        range_of(
            &self.target_burst_capacity,
            |burst| is_burst(*burst),
            "a burst capacity is at least 0, or -1",
            problems,
        );
        range_of(
            &self.panic_window_percentage,
            percent(1.0, 100.0),
            "a panic window is 1 to 100 percent",
            problems,
        );
        range_of(
            &self.panic_threshold_percentage,
            percent(110.0, 1000.0),
            "a panic threshold is 110 to 1000 percent",
            problems,
        );
        range_of(&self.window, |window| is_window(*window), "a window is whole seconds, 6s to 1h", problems);
        range_of(
            &self.scale_down_delay,
            |delay| *delay <= WINDOW.1 && whole_seconds(*delay),
            "a delay is whole seconds, at most 1h",
            problems,
        );
        range_of(
            &self.scale_to_zero_pod_retention_period,
            |retention| *retention <= WINDOW.1,
            "a retention is at most 1h",
            problems,
        );
        self.check_scales(config, problems);
    }

    fn check_scales(&self, config: &ConfigSpec, problems: &mut Problems) {
        range_of(&self.min_scale, |min| *min >= 0, "a scale is at least 0", problems);
        range_of(&self.max_scale, |max| *max >= 0, "a scale is at least 0", problems);
        range_of(&self.activation_scale, |scale| *scale >= 1, "an activation scale is at least 1", problems);
        let least = i32::from(!config.allow_zero_initial_scale);
        range_of(
            &self.initial_scale,
            |initial| *initial >= least,
            "an initial scale is at least 1, or 0 with allow_zero_initial_scale",
            problems,
        );
        let min = of(&self.min_scale, &config.min_scale);
        range_of(
            &self.max_scale,
            |max| *max == 0 || *max >= min,
            "the most pods are fewer than the fewest",
            problems,
        );
        let limit = config.max_scale_limit.value;
        range_of(
            &self.max_scale,
            |max| limit == 0 || (1..=limit).contains(max),
            "the most pods are above max_scale_limit",
            problems,
        );
    }
}

impl ConfigSpec {
    /// The share of the concurrency of a pod that is aimed at.
    fn target_share(&self) -> f64 {
        let percentage = self.container_concurrency_target_percentage.value;
        if percentage > 1.0 { percentage / 100.0 } else { percentage }
    }

    /// What Knative checks of the ConfigMap.
    fn check(&self, problems: &mut Problems) {
        let share = self.target_share();
        let concurrency = &self.container_concurrency_target_default;
        let ranges = [
            (
                &self.container_concurrency_target_percentage,
                share > 0.0 && share <= 1.0,
                "a percentage is above 0, to 100",
            ),
            (concurrency, share * concurrency.value >= TARGET_MIN, "a target is at least 0.01"),
            (
                &self.requests_per_second_target_default,
                self.requests_per_second_target_default.value >= TARGET_MIN,
                "a target is at least 0.01",
            ),
            (
                &self.target_burst_capacity,
                is_burst(self.target_burst_capacity.value),
                "a burst capacity is at least 0, or -1",
            ),
            (
                &self.panic_window_percentage,
                (1.0..=100.0).contains(&self.panic_window_percentage.value),
                "a panic window is 1 to 100 percent",
            ),
            (
                &self.panic_threshold_percentage,
                self.panic_threshold_percentage.value > 0.0,
                "a threshold is above 0",
            ),
            (&self.max_scale_up_rate, self.max_scale_up_rate.value > 1.0, "a rate is above 1"),
            (&self.max_scale_down_rate, self.max_scale_down_rate.value > 1.0, "a rate is above 1"),
        ];
        for (value, holds, what) in ranges {
            range(value, holds, what, problems);
        }
        self.check_times(problems);
        self.check_scales(problems);
    }

    fn check_times(&self, problems: &mut Problems) {
        let window = &self.stable_window;
        range(window, is_window(window.value), "a window is whole seconds, 6s to 1h", problems);
        let grace = &self.scale_to_zero_grace_period;
        range(grace, !grace.value.is_zero(), "a grace period is above 0", problems);
        let delay = &self.scale_down_delay;
        range(delay, whole_seconds(delay.value), "a delay is whole seconds", problems);
    }

    fn check_scales(&self, problems: &mut Problems) {
        let least = i32::from(!self.allow_zero_initial_scale);
        let initial = &self.initial_scale;
        range(initial, initial.value >= least, "an initial scale is at least 1", problems);
        range(&self.min_scale, self.min_scale.value >= 0, "a scale is at least 0", problems);
        let (max, limit) = (&self.max_scale, &self.max_scale_limit);
        range(limit, limit.value >= 0, "a limit is at least 0", problems);
        let least = i32::from(limit.value > 0);
        let fits = max.value >= least && (limit.value == 0 || max.value <= limit.value);
        range(
            max,
            fits,
            "the most pods are at least 0, and 1 to max_scale_limit where that is set",
            problems,
        );
        let ordered = max.value == 0 || self.min_scale.value <= max.value;
        range(max, ordered, "the most pods are fewer than the fewest", problems);
    }
}

//! What a user sets of Ray Serve's autoscaling, by Ray's own names: `serve/config.py`.

use scaletwin_core::input::{At, Count, NonNegative, Period, Place, Positive, Problem, Problems};
use scaletwin_core::units::Span;
use serde::Serialize;

use super::metrics::Aggregation;
use crate::kubernetes::manifest::refuse_beside;
use crate::numerics::python::percent_half_up;

/// The settings of a deployment, with all defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RaySettings {
    /// The fewest replicas, after `target_capacity`.
    pub lower: i32,
    /// The most replicas, after `target_capacity`.
    pub upper: i32,
    /// The target when the deployment is registered; `None`: what there is.
    pub initial: Option<i32>,
    /// Ongoing requests aimed at for each replica, above 0.
    pub target_ongoing_requests: f64,
    /// How long more replicas have to be wanted, seconds.
    pub upscale_delay_s: f64,
    /// How long fewer replicas have to be wanted, seconds.
    pub downscale_delay_s: f64,
    /// The same for the last replica, seconds.
    pub downscale_to_zero_delay_s: f64,
    /// What part of a change upwards is made at once, above 0.
    pub upscaling_factor: f64,
    /// What part of a change downwards is made at once, above 0.
    pub downscaling_factor: f64,
    /// How the recorded series become one value.
    pub aggregation: Aggregation,
    /// How far back the recorded series go.
    pub look_back: Span,
    /// From one report of the recorded series to the next.
    pub metrics_interval: Span,
}

impl RaySettings {
    /// A number of replicas within the bounds; the lower one counts more.
    #[must_use]
    pub fn bounded(&self, replicas: i64) -> i32 {
        let bounded = replicas.min(i64::from(self.upper)).max(i64::from(self.lower));
        i32::try_from(bounded).unwrap_or(self.upper)
    }

    /// Whether it may scale to zero.
    #[must_use]
    pub const fn may_sleep(&self) -> bool {
        self.lower == 0
    }
}

scaletwin_core::keys! {
    /// The autoscaler of Ray Serve: by a Serve config file as people deploy it, or by its `autoscaling_config` alone.
    #[derive(Debug, Clone)]
    pub struct RaySpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// A Serve config file, or the manifest of a RayService.
        pub manifest: Option<At<String>> = None,
        /// The deployment of that file. Default: the only one that scales.
        pub deployment: Option<At<String>> = None,
        /// Fields of the file that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// `autoscaling_config`.
        pub autoscaling_config: Option<At<AutoscalingConfig>> = None,
        /// `target_capacity`: percent of the replicas that the bounds stand for, 0 to 100.
        pub target_capacity: Option<At<f64>> = None,
        /// From one look of the controller to the next. A longer one decides later, and is faster to simulate.
        pub control_loop_interval: Period = Period(Span::from_millis(100)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the interval.
        pub offset: Option<Span> = None,
    }
}

scaletwin_core::keys! {
    /// `autoscaling_config` of a deployment of Ray Serve. Times are numbers of seconds.
    #[derive(Debug, Clone)]
    pub struct AutoscalingConfig {
        /// The fewest replicas.
        pub min_replicas: At<u32> = 1,
        /// The replicas of a new deployment.
        pub initial_replicas: Option<At<u32>> = None,
        /// The most replicas. Default: 1; with `num_replicas: auto` 100.
        pub max_replicas: Option<At<Count>> = None,
        /// Ongoing requests aimed at for each replica.
        pub target_ongoing_requests: Positive = Positive(2.0),
        /// From one report of the recorded series to the next.
        pub metrics_interval_s: At<Positive> = Positive(10.0),
        /// How far back the recorded series go.
        pub look_back_period_s: At<Positive> = Positive(30.0),
        /// What part of a change is made at once, where the factors below say nothing; the older name.
        pub smoothing_factor: Positive = Positive(1.0),
        /// What part of a change upwards is made at once; the older name.
        pub upscale_smoothing_factor: Option<Positive> = None,
        /// What part of a change downwards is made at once; the older name.
        pub downscale_smoothing_factor: Option<Positive> = None,
        /// What part of a change upwards is made at once.
        pub upscaling_factor: Option<Positive> = None,
        /// What part of a change downwards is made at once.
        pub downscaling_factor: Option<Positive> = None,
        /// How long more replicas have to be wanted.
        pub upscale_delay_s: NonNegative = NonNegative(30.0),
        /// How long fewer replicas have to be wanted.
        pub downscale_delay_s: NonNegative = NonNegative(600.0),
        /// How long none have to be wanted in the place of one. Default: as `downscale_delay_s`.
        pub downscale_to_zero_delay_s: Option<NonNegative> = None,
        /// How the recorded series become one value.
        pub aggregation_function: Aggregation = Aggregation::Mean,
    }
}

impl AutoscalingConfig {
    /// The settings with `target_capacity` percent of the replicas. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, target_capacity: Option<&At<f64>>, problems: &mut Problems) -> Option<RaySettings> {
        let before = problems.len();
        let most = self.max_replicas.as_ref().map_or(1, |most| most.value.0);
        let place = self.max_replicas.as_ref().map_or(&self.min_replicas.place, |most| &most.place);
        if most < self.min_replicas.value {
            let fewest = self.min_replicas.value;
            problems.error(place, format!("max_replicas is {most}, and min_replicas {fewest}"));
        }
        if let Some(initial) = &self.initial_replicas
            && !(self.min_replicas.value..=most).contains(&initial.value)
        {
            problems.error(&initial.place, "initial_replicas lies between min_replicas and max_replicas");
        }
        if let Some(capacity) = target_capacity.filter(|capacity| !(0.0..=100.0).contains(&capacity.value)) {
            problems.error(&capacity.place, "target_capacity is 0 to 100 percent");
        }
        let factor = |new: &Option<Positive>, older: &Option<Positive>| {
            new.or(*older).unwrap_or(self.smoothing_factor).0
        };
        let replicas = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let capacity = target_capacity.map(|capacity| capacity.value);
        let settings = RaySettings {
            lower: adjusted(replicas(self.min_replicas.value), capacity),
            upper: adjusted(replicas(most), capacity),
            initial: self.initial_replicas.as_ref().map(|initial| replicas(initial.value)),
            target_ongoing_requests: self.target_ongoing_requests.0,
            upscale_delay_s: self.upscale_delay_s.0,
            downscale_delay_s: self.downscale_delay_s.0,
            downscale_to_zero_delay_s: self.downscale_to_zero_delay_s.unwrap_or(self.downscale_delay_s).0,
            upscaling_factor: factor(&self.upscaling_factor, &self.upscale_smoothing_factor),
            downscaling_factor: factor(&self.downscaling_factor, &self.downscale_smoothing_factor),
            aggregation: self.aggregation_function,
            look_back: span(&self.look_back_period_s, problems),
            metrics_interval: span(&self.metrics_interval_s, problems),
        };
        (problems.len() == before).then_some(settings)
    }
}

fn span(seconds: &At<Positive>, problems: &mut Problems) -> Span {
    match Span::from_secs_f64(seconds.0) {
        Ok(span) if (Span::from_millis(1)..=Span::CENTURY).contains(&span) => span,
        _ => {
            problems.error(&seconds.place, "a time is a millisecond to a hundred years");
            Span::from_secs(1)
        }
    }
}

/// The replicas that `capacity` percent stand for, rounded half up and at least 1; none of none.
fn adjusted(replicas: i32, capacity: Option<f64>) -> i32 {
    match capacity.filter(|capacity| capacity.total_cmp(&100.0).is_ne()) {
        None => replicas,
        Some(capacity) if capacity == 0.0 || replicas == 0 => 0,
        Some(capacity) => i32::try_from(percent_half_up(replicas, capacity)).unwrap_or(i32::MAX).max(1),
    }
}

impl RaySpec {
    /// The settings by our own keys. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, place: &Place, problems: &mut Problems) -> Option<RaySettings> {
        if let Some(deployment) = &self.deployment {
            problems.error(&deployment.place, "deployment: is about a manifest, and there is none");
        }
        let Some(config) = &self.autoscaling_config else {
            let problem = Problem::error(place, "the key \"autoscaling_config\" is missing");
            problems.push(problem.hint("or name a file with manifest:"));
            return None;
        };
        config.check(self.target_capacity.as_ref(), problems)
    }

    /// Refuses our own keys beside a manifest.
    pub fn refuse_own_keys(&self, problems: &mut Problems) {
        let own = [
            self.autoscaling_config.as_ref().map(|at| &at.place),
            self.target_capacity.as_ref().map(|at| &at.place),
        ];
        refuse_beside(own, problems);
    }
}

//! How many replicas the ongoing requests need: `serve/autoscaling_policy.py`.

use serde::{Deserialize, Serialize};

use super::spec::RaySettings;
use crate::numerics::python;

/// What the policy keeps between decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// How often in a row it has wanted more (above 0) or fewer (below 0) replicas. It decides on no delay.
    pub counter: i64,
    /// Since when it has wanted so, in Unix seconds.
    pub since: Option<f64>,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// What the policy gives, before bounds.
    pub policy: i64,
    /// The new target.
    pub target: i32,
}

/// Clock differences smaller than this count as none.
const EPSILON: f64 = 1e-6;

/// Decides at `now`, in Unix seconds, with `running` replicas, `target` of them wanted, and `ongoing` requests. The memory
/// stays `None` as long as there was no replica and always a request.
pub fn decide(
    settings: &RaySettings,
    memory: &mut Option<Memory>,
    now: f64,
    running: i32,
    target: i32,
    ongoing: f64,
) -> Decided {
    let policy = if running == 0 && ongoing > 0.0 {
        python::ceil(settings.upscaling_factor).max(i64::from(target))
    } else {
        let memory = memory.get_or_insert_default();
        let desired = if running == 0 { i64::from(target) } else { scaled(settings, running, ongoing) };
        if running == 0 && desired > 0 {
            desired
        } else {
            memory.delayed(settings, now, desired.max(0), target)
        }
    };
    Decided { policy, target: settings.bounded(policy) }
}

/// The replicas that the ongoing requests need, with the factors.
fn scaled(settings: &RaySettings, running: i32, ongoing: f64) -> i64 {
    let replicas = f64::from(running);
    let desired = replicas * (ongoing / (settings.target_ongoing_requests * replicas));
    let change = desired - replicas;
    let factor = if change > 0.0 { settings.upscaling_factor } else { settings.downscaling_factor };
    let scaled = python::ceil(replicas + factor * change);
    // A factor must not keep it from going down at all.
    let stuck = python::ceil(desired) < i64::from(running) && scaled == i64::from(running);
    if stuck { scaled - 1 } else { scaled }
}

impl Memory {
    /// What may be done of `desired` now: all once it has been wanted for the delay, before that nothing.
    fn delayed(&mut self, settings: &RaySettings, now: f64, desired: i64, target: i32) -> i64 {
        let target = i64::from(target);
        let (direction, delay, desired) = if desired > target {
            (1, settings.upscale_delay_s, desired)
        } else if desired == target {
            *self = Memory::default();
            return target;
        } else if target == 1 {
            (-1, settings.downscale_to_zero_delay_s, desired)
        } else {
            // Only one replica can go down to none.
            (-1, settings.downscale_delay_s, desired.max(1))
        };
        if self.counter.signum() == -direction {
            *self = Memory::default();
        }
        let since = *self.since.get_or_insert(now);
        self.counter = self.counter.saturating_add(direction);
        if now - since + EPSILON >= delay {
            *self = Memory::default();
            return desired;
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::ray_serve::metrics::Aggregation;
    use proptest::prelude::*;
    use scaletwin_core::units::Span;

    fn settings() -> RaySettings {
        RaySettings {
            lower: 0,
            upper: 50,
            initial: None,
            target_ongoing_requests: 2.0,
            upscale_delay_s: 30.0,
            downscale_delay_s: 600.0,
            downscale_to_zero_delay_s: 60.0,
            upscaling_factor: 1.0,
            downscaling_factor: 1.0,
            aggregation: Aggregation::Mean,
            look_back: Span::from_secs(30),
            metrics_interval: Span::from_secs(10),
        }
    }

    #[test]
    fn a_break_begins_the_delay_anew() {
        let (settings, mut memory) = (settings(), None);
        let mut at = |now, ongoing| decide(&settings, &mut memory, now, 1, 1, ongoing).target;
        assert_eq!([at(0.0, 8.0), at(20.0, 8.0), at(25.0, 2.0), at(31.0, 8.0)], [1; 4]);
        assert_eq!([at(60.9, 8.0), at(61.0, 8.0)], [1, 4]);
    }

    #[test]
    fn only_one_replica_goes_to_none() {
        let (settings, mut memory) = (settings(), None);
        decide(&settings, &mut memory, 0.0, 5, 5, 0.0);
        assert_eq!(decide(&settings, &mut memory, 600.0, 5, 5, 0.0).target, 1);
        decide(&settings, &mut memory, 601.0, 1, 1, 0.0);
        assert_eq!(decide(&settings, &mut memory, 661.0, 1, 1, 0.0).target, 0);
    }

    #[test]
    fn without_replicas_a_request_is_answered_at_once_and_nothing_is_remembered() {
        let (settings, mut memory) = (settings(), None);
        assert_eq!(decide(&settings, &mut memory, 0.0, 0, 0, 1.0).target, 1);
        assert_eq!(memory, None);
    }

    proptest! {
        #[test]
        fn targets_keep_within_their_bounds(
            running in 0i32..2_000, target in 0i32..2_000, ongoing in 0.0f64..1e9,
            lower in 0i32..60, more in 0i32..60, delay in 0.0f64..2.0,
        ) {
            let settings = RaySettings {
                lower, upper: lower + more, upscale_delay_s: delay, downscale_delay_s: delay, ..settings()
            };
            let mut memory = None;
            for second in 0..4 {
                let target = decide(&settings, &mut memory, f64::from(second), running, target, ongoing).target;
                prop_assert!((lower..=lower + more).contains(&target));
            }
        }
    }
}

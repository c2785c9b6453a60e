//! From a proposal to a number of replicas: stabilisation, scaling policies and limits.

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::spec::{Behavior, PolicyType, Rules, SelectPolicy};
use crate::numerics::go;

/// What the controller keeps in memory of an HPA. A restart forgets it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    recommendations: Vec<(i32, Time)>,
    up_events: Vec<(i32, Time)>,
    down_events: Vec<(i32, Time)>,
}

/// A normalised proposal with the reasons that the conditions show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Normalized {
    /// The number of replicas.
    pub replicas: i32,
    /// The reason of AbleToScale.
    pub able: &'static str,
    /// Status and reason of ScalingLimited.
    pub limited: (bool, &'static str),
}

impl History {
    /// Records the present number of replicas when the HPA is seen for the first time.
    pub fn seed(&mut self, current: i32, now: Time) {
        if self.recommendations.is_empty() {
            self.recommendations.push((current, now));
        }
    }

    /// Records that the target was scaled, for the budgets of the scaling policies.
    pub fn store_scale_event(&mut self, now: Time, behavior: &Behavior, before: i32, after: i32) {
        let (events, rules, change) = if after > before {
            (&mut self.up_events, &behavior.scale_up, after.wrapping_sub(before))
        } else {
            (&mut self.down_events, &behavior.scale_down, before.wrapping_sub(after))
        };
        let longest = rules.policies.iter().map(|policy| policy.period).max().unwrap_or(Span::ZERO);
        replace_last(events, (change, now), |at| is_before(at, longest, now));
    }

    fn record(&mut self, proposed: i32, now: Time, is_old: impl Fn(Time) -> bool) {
        replace_last(&mut self.recommendations, (proposed, now), is_old);
    }
}

/// Puts `entry` in the place of the last one that is old, or at the end if none is.
fn replace_last(entries: &mut Vec<(i32, Time)>, entry: (i32, Time), is_old: impl Fn(Time) -> bool) {
    match entries.iter_mut().rev().find(|(_, at)| is_old(*at)) {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
}

/// Whether `at` lies strictly before the cutoff `now − window`.
fn is_before(at: Time, window: Span, now: Time) -> bool {
    at.saturating_add(window) < now
}

/// Whether `at` lies strictly after the cutoff `now − window`.
fn is_after(at: Time, window: Span, now: Time) -> bool {
    at.saturating_add(window) > now
}

/// The path of an HPA without `behavior`: the highest recommendation within the window (its edge included), at most
/// doubled in one sync.
pub fn without_behavior(
    history: &mut History,
    now: Time,
    window: Span,
    current: i32,
    proposed: i32,
    min: i32,
    max: i32,
) -> Normalized {
    let recent = history.recommendations.iter().filter(|(_, at)| !is_before(*at, window, now));
    let stabilized = recent.map(|(replicas, _)| *replicas).fold(proposed, i32::max);
    history.record(proposed, now, |at| is_before(at, window, now));
    let able = if stabilized == proposed { "ReadyForNewScale" } else { "ScaleDownStabilized" };

    let up_limit = go::int32((2.0 * f64::from(current)).max(4.0));
    let (highest, above) = if max > up_limit { (up_limit, "ScaleUpLimit") } else { (max, "TooManyReplicas") };
    let (replicas, reason) = if stabilized < min {
        (min, "TooFewReplicas")
    } else if stabilized > highest {
        (highest, above)
    } else {
        (stabilized, "DesiredWithinRange")
    };
    Normalized { replicas, able, limited: (replicas != stabilized, reason) }
}

/// The path of an HPA with `behavior`: within the lowest recent recommendation upwards and the highest downwards (the
/// edge of the window excluded), then within the budgets of the scaling policies.
pub fn with_behavior(
    history: &mut History,
    now: Time,
    behavior: &Behavior,
    current: i32,
    proposed: i32,
    min: i32,
    max: i32,
) -> Normalized {
    let stabilized = stabilize(history, now, behavior, current, proposed);
    let able = if stabilized == proposed {
        "ReadyForNewScale"
    } else if proposed >= current {
        "ScaleUpStabilized"
    } else {
        "ScaleDownStabilized"
    };
    let (replicas, reason) = limit_rate(history, now, behavior, current, stabilized, min, max);
    Normalized { replicas, able, limited: (replicas != stabilized, reason) }
}

fn stabilize(history: &mut History, now: Time, behavior: &Behavior, current: i32, proposed: i32) -> i32 {
    let up_window = behavior.scale_up.stabilization_window;
    let down_window = behavior.scale_down.stabilization_window;
    let within = |window: Span| {
        let recent = history.recommendations.iter().filter(move |(_, at)| is_after(*at, window, now));
        recent.map(|(replicas, _)| *replicas)
    };
    let up = within(up_window).fold(proposed, i32::min);
    let down = within(down_window).fold(proposed, i32::max);
    history.record(proposed, now, |at| is_before(at, up_window, now) && is_before(at, down_window, now));
    let raised = current.max(up);
    raised.min(down)
}

fn limit_rate(
    history: &History,
    now: Time,
    behavior: &Behavior,
    current: i32,
    desired: i32,
    min: i32,
    max: i32,
) -> (i32, &'static str) {
    if desired > current {
        let limit = up_limit(history, now, &behavior.scale_up, current).max(current);
        let (highest, reason) = if max > limit { (limit, "ScaleUpLimit") } else { (max, "TooManyReplicas") };
        if desired > highest {
            return (highest, reason);
        }
    } else if desired < current {
        let limit = down_limit(history, now, &behavior.scale_down, current).min(current);
        let (lowest, reason) = if min < limit { (limit, "ScaleDownLimit") } else { (min, "TooFewReplicas") };
        if desired < lowest {
            return (lowest, reason);
        }
    }
    (desired, "DesiredWithinRange")
}

/// How many replicas there were at the start of a policy's period.
fn at_period_start(history: &History, now: Time, period: Span, current: i32) -> i32 {
    let changed = |events: &[(i32, Time)]| {
        let recent = events.iter().filter(|(_, at)| is_after(*at, period, now));
        recent.fold(0i32, |sum, (change, _)| sum.wrapping_add(*change))
    };
    current.wrapping_sub(changed(&history.up_events)).wrapping_add(changed(&history.down_events))
}

fn up_limit(history: &History, now: Time, rules: &Rules, current: i32) -> i32 {
    let limits = rules.policies.iter().map(|policy| {
        let start = at_period_start(history, now, policy.period, current);
        match policy.kind {
            PolicyType::Pods => start.wrapping_add(policy.value),
            PolicyType::Percent => {
                go::int32((f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil())
            }
        }
    });
    match rules.select_policy {
        SelectPolicy::Disabled => current,
        SelectPolicy::Min => limits.min().unwrap_or(i32::MAX),
        SelectPolicy::Max => limits.max().unwrap_or(i32::MIN),
    }
}

fn down_limit(history: &History, now: Time, rules: &Rules, current: i32) -> i32 {
    let limits = rules.policies.iter().map(|policy| {
        let start = at_period_start(history, now, policy.period, current);
        match policy.kind {
            PolicyType::Pods => start.wrapping_sub(policy.value),
            PolicyType::Percent => go::int32(f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)),
        }
    });
    match rules.select_policy {
        SelectPolicy::Disabled => current,
        SelectPolicy::Min => limits.max().unwrap_or(i32::MIN),
        SelectPolicy::Max => limits.min().unwrap_or(i32::MAX),
    }
}

//! The PodAutoscaler's status, and when it may go to zero: `pkg/reconciler/autoscaling/kpa/{kpa,scaler}.go`.

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::spec::KpaSettings;

/// The wanted scale that stands for "not known".
pub const UNKNOWN: i32 = -1;

/// How long after the progress deadline an activation counts as failed.
const ACTIVATION_BUFFER: Span = Span::from_secs(30);
/// When it looks again at a revision that is idle and has the activator in its path already.
const LOOK_AGAIN: Span = Span::from_secs(3);

/// The condition `Active`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Active {
    /// Unknown: pods are coming.
    Activating,
    /// True: enough pods are ready.
    Active,
    /// False: there is no traffic.
    Inactive,
}

impl Active {
    /// The reason code of the condition.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Active::Activating => "Queued",
            Active::Active => "",
            Active::Inactive => "NoTraffic",
        }
    }
}

/// What is seen of the revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub now: Time,
    /// What the scaler wants; below 0 while it does not know.
    pub desired: i32,
    /// The excess burst capacity.
    pub excess_burst_capacity: i32,
    /// Ready pods.
    pub ready: i32,
    /// `spec.replicas` of the Deployment.
    pub replicas: i32,
    /// The fewest and the most pods; 0 for any number.
    pub bounds: (i32, i32),
}

/// The status of a PodAutoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAutoscaler {
    active: Active,
    since: Time,
    /// Whether it has once had its initial scale.
    initialized: bool,
    /// Since when the activator is in the path.
    proxied_since: Option<Time>,
}

/// What a reconcile does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    /// The new `spec.replicas`, if it changes.
    pub replicas: Option<i32>,
    /// When it wants to look again.
    pub again: Option<Time>,
}

/// What the scaler of the reconciler gives: a scale, whether it is set, when to look again.
type Step = (i32, bool, Option<Time>);

impl PodAutoscaler {
    /// The status of a PodAutoscaler first seen at `now`: of a new revision, or of one that has gone to zero before.
    #[must_use]
    pub fn new(now: Time, asleep: bool) -> PodAutoscaler {
        let active = if asleep { Active::Inactive } else { Active::Activating };
        PodAutoscaler { active, since: now, initialized: asleep, proxied_since: asleep.then_some(now) }
    }

    /// The condition `Active`.
    #[must_use]
    pub const fn active(&self) -> Active {
        self.active
    }

    /// Whether the activator is in the path.
    #[must_use]
    pub const fn is_proxied(&self) -> bool {
        self.proxied_since.is_some()
    }

    /// One run of the reconciler, and another one where a change of the path makes it look again at once. Pods were
    /// enough since `ready_since`, where they are.
    pub fn reconcile(&mut self, settings: &KpaSettings, look: &Look, ready_since: Time) -> Reconciled {
        let (proxied, before) = (self.is_proxied(), self.active);
        let done = self.reconcile_once(settings, look, ready_since);
        if before == Active::Active && self.active == Active::Inactive && !proxied {
            return self.reconcile_once(settings, look, ready_since);
        }
        done
    }

    fn reconcile_once(&mut self, settings: &KpaSettings, look: &Look, ready_since: Time) -> Reconciled {
        let (want, set, again) = self.scale(settings, look);
        let asleep = want == UNKNOWN && self.active == Active::Inactive;
        let proxied = want == 0 || look.excess_burst_capacity < 0 || asleep;
        self.proxied_since = proxied.then(|| self.proxied_since.unwrap_or(look.now));
        self.mark(want, settings, look, ready_since);
        Reconciled { replicas: (set && want != look.replicas).then_some(want), again }
    }

    /// The scale within its bounds, and what scaling to zero asks for.
    fn scale(&self, settings: &KpaSettings, look: &Look) -> Step {
        if look.desired < 0 && self.active != Active::Activating {
            return (look.desired, false, None);
        }
        let (mut min, max) = look.bounds;
        if settings.initial_scale > 1 && !self.initialized {
            min = min.max(settings.initial_scale);
        }
        let most = if max == 0 { i32::MAX } else { max };
        let bounded = if look.desired < min { min } else { look.desired.min(most) };
        if bounded == 0 { self.to_zero(settings, look.now) } else { (bounded, true, None) }
    }

    fn to_zero(&self, settings: &KpaSettings, now: Time) -> Step {
        let lasted = now.since(self.since);
        let after = |span: Span| Some(now.saturating_add(span));
        if !settings.scale_to_zero {
            return (1, true, None);
        }
        match self.active {
            Active::Activating => {
                let deadline = settings.progress_deadline + ACTIVATION_BUFFER;
                if lasted > deadline { (0, true, None) } else { (UNKNOWN, false, after(deadline)) }
            }
            Active::Active if lasted >= settings.scaler.stable_window => {
                (0, false, self.is_proxied().then_some(()).and_then(|()| after(LOOK_AGAIN)))
            }
            Active::Active => (1, true, after(settings.scaler.stable_window.saturating_sub(lasted))),
            Active::Inactive => self.last_pod(settings, now, lasted),
        }
    }

    /// When the last pod of an inactive revision may go: the activator has to be in its path for the grace period, or it
    /// has been inactive for that long, and for the retention in any case.
    fn last_pod(&self, settings: &KpaSettings, now: Time, inactive: Span) -> Step {
        let (grace, retention) = (settings.grace_period, settings.pod_retention);
        let after = |span: Span| Some(now.saturating_add(span));
        if inactive >= grace.max(retention) {
            (0, true, None)
        } else if inactive < retention {
            (0, false, after(retention.saturating_sub(inactive)))
        } else {
            let proxied = self.proxied_since.map_or(Span::ZERO, |since| now.since(since));
            if proxied >= grace { (0, true, None) } else { (0, false, after(grace.saturating_sub(proxied))) }
        }
    }

    /// Sets the condition `Active`.
    fn mark(&mut self, want: i32, settings: &KpaSettings, look: &Look, ready_since: Time) {
        let enough = self.enough(settings, look.bounds.0);
        let is_enough = look.ready >= enough;
        self.initialized |= is_enough;
        if want == 0 || enough == 0 {
            self.become_active(Active::Inactive, look.now);
        } else if want > 0 || self.active != Active::Inactive {
            if is_enough {
                self.become_active(Active::Active, ready_since.max(self.since));
            } else {
                self.become_active(Active::Activating, look.now);
            }
        }
    }

    /// The ready pods with which it counts as active.
    #[must_use]
    pub fn enough(&self, settings: &KpaSettings, min: i32) -> i32 {
        min.max(if self.initialized { 1 } else { settings.initial_scale })
    }

    fn become_active(&mut self, active: Active, since: Time) {
        if self.active != active {
            (self.active, self.since) = (active, since);
        }
    }
}

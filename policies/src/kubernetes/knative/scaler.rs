//! How many pods the observed load needs: `pkg/autoscaler/scaling/autoscaler.go`.

use scaletwin_core::units::{Civil, Span, Time};
use serde::{Deserialize, Serialize};

use super::buckets::{Aggregation, Buckets};
use super::delay_window::DelayWindow;
use crate::numerics::go;

/// What a decision depends on: the `DeciderSpec`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScalerSettings {
    /// How buckets become averages.
    pub aggregation: Aggregation,
    /// At most this times the ready pods, above 1.
    pub max_scale_up_rate: f64,
    /// At least the ready pods divided by this, above 1.
    pub max_scale_down_rate: f64,
    /// Load aimed at for each pod, at least 0.01.
    pub target_value: f64,
    /// Load that each pod can take.
    pub total_value: f64,
    /// Load that may come at once without the activator in its path; 0: the activator only at zero; -1: always.
    pub target_burst_capacity: f64,
    /// Desired over ready pods at which it panics.
    pub panic_threshold: f64,
    /// The window of normal decisions, whole seconds.
    pub stable_window: Span,
    /// The window in which it sees bursts, whole seconds.
    pub panic_window: Span,
    /// How long a smaller scale waits.
    pub scale_down_delay: Span,
    /// The fewest pods as soon as there is any load; 0 and 1 change nothing.
    pub activation_scale: i32,
    /// Whether a route leads to the revision.
    pub reachable: bool,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaled {
    /// The pods that the load needs, before bounds.
    pub desired: i32,
    /// The burst that the ready pods could take besides; below 0 the activator is in the path.
    pub excess_burst_capacity: i32,
    /// The average over the stable window.
    pub stable: f64,
    /// The average over the panic window.
    pub panic: f64,
}

/// The autoscaler of one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    stable: Buckets,
    panic: Buckets,
    delay: Option<DelayWindow>,
    panic_since: Option<Time>,
    most_in_panic: i32,
}

impl Scaler {
    /// An autoscaler that begins at `now` with `ready` pods. With more than one it begins in panic, so that it does not
    /// scale down before it has seen a window.
    #[must_use]
    pub fn new(settings: &ScalerSettings, now: Time, ready: i32) -> Scaler {
        let buckets = |window: Span| {
            Buckets::new(settings.aggregation, u32::try_from(window.as_secs()).unwrap_or(u32::MAX))
        };
        Scaler {
            stable: buckets(settings.stable_window),
            panic: buckets(settings.panic_window),
            delay: (!settings.scale_down_delay.is_zero())
                .then(|| DelayWindow::new(settings.scale_down_delay)),
            panic_since: (ready > 1).then_some(now),
            most_in_panic: ready,
        }
    }

    /// Takes in a load observed at `at`.
    pub fn record(&mut self, at: Civil, load: f64) {
        self.stable.record(unix_second(at), load);
        self.panic.record(unix_second(at), load);
    }

    /// Whether it panics: it does not scale down.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.panic_since.is_some()
    }

    /// Decides at `now`, which is `civil`, with `ready` pods. `None` without data in the stable window.
    pub fn scale(
        &mut self,
        settings: &ScalerSettings,
        now: Time,
        civil: Civil,
        ready: i32,
    ) -> Option<Scaled> {
        let second = unix_second(civil);
        if self.stable.is_empty(second) {
            return None;
        }
        let (stable, panic) = (self.stable.average(second), self.panic.average(second));
        let pods = f64::max(1.0, f64::from(ready));
        let needed_stable = (stable / settings.target_value).ceil();
        let needed_panic = (panic / settings.target_value).ceil();
        self.watch(settings, now, needed_panic / pods >= settings.panic_threshold);

        let mut desired = limited(settings, pods, needed_stable);
        if self.is_panicking() {
            desired = desired.max(limited(settings, pods, needed_panic));
            self.most_in_panic = self.most_in_panic.max(desired);
            desired = self.most_in_panic;
        }
        if let Some(delay) = self.delay.as_mut().filter(|_| settings.reachable) {
            desired = delay.record(second, desired);
        }
        let excess_burst_capacity = excess_burst_capacity(settings, ready, panic);
        Some(Scaled { desired, excess_burst_capacity, stable, panic })
    }

    /// Begins to panic, goes on, or stops a stable window after the last time over the threshold.
    fn watch(&mut self, settings: &ScalerSettings, now: Time, over_threshold: bool) {
        if over_threshold {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(|since| since.saturating_add(settings.stable_window) < now) {
            self.panic_since = None;
            self.most_in_panic = 0;
        }
    }
}

/// The pods that may be had of those that are needed.
fn limited(settings: &ScalerSettings, pods: f64, needed: f64) -> i32 {
    let most = (settings.max_scale_up_rate * pods).ceil();
    let fewest = if settings.reachable { (pods / settings.max_scale_down_rate).floor() } else { 0.0 };
    let limited = go::int32(needed.max(fewest).min(most));
    if settings.activation_scale > 1 && needed > 0.0 {
        limited.max(settings.activation_scale)
    } else {
        limited
    }
}

fn excess_burst_capacity(settings: &ScalerSettings, ready: i32, panic: f64) -> i32 {
    let burst = settings.target_burst_capacity;
    if burst == 0.0 {
        0
    } else if burst > 0.0 {
        go::int32((f64::from(ready) * settings.total_value - burst - panic).floor())
    } else {
        -1
    }
}

/// The whole second since 1970 in which an instant lies.
#[must_use]
pub fn unix_second(at: Civil) -> i64 {
    at.as_unix_nanos().div_euclid(1_000_000_000)
}

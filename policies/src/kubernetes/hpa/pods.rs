//! Which pods count, and how: `groupPods` of the replica calculator.

use scaletwin_core::control::{ConditionStatus, PodPhase, PodValues, PodView, Resource, Sample};
use scaletwin_core::units::{Span, Time};

/// The instant and the flags by which the readiness of a CPU sample is judged.
#[derive(Debug, Clone, Copy)]
pub struct PodTimes {
    /// The present instant.
    pub now: Time,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period: Span,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay: Span,
}

/// What a pod counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Deleted or failed: neither it nor its sample counts.
    Ignored,
    /// Pending, or its CPU sample says nothing yet.
    Unready,
    /// It has no sample.
    Missing,
    /// It counts.
    Ready,
}

/// What `pod` counts as, given its sample. The order of the tests matters.
#[must_use]
pub fn group(pod: &PodView, sample: Option<&Sample>, resource: Option<Resource>, times: PodTimes) -> Group {
    if pod.deleted || pod.phase == PodPhase::Failed {
        return Group::Ignored;
    }
    if pod.phase == PodPhase::Pending {
        return Group::Unready;
    }
    let Some(sample) = sample else { return Group::Missing };
    if resource == Some(Resource::Cpu) && cpu_sample_is_unready(pod, sample, times) {
        return Group::Unready;
    }
    Group::Ready
}

/// Whether a CPU sample is to be left aside because the pod may still be starting.
fn cpu_sample_is_unready(pod: &PodView, sample: &Sample, times: PodTimes) -> bool {
    let (Some(start), Some(ready)) = (pod.start, pod.ready) else { return true };
    let unready = ready.status == ConditionStatus::False;
    if start.saturating_add(times.cpu_initialization_period) > times.now {
        unready || sample.at < ready.since.saturating_add(sample.window)
    } else {
        unready && start.saturating_add(times.initial_readiness_delay) > ready.since
    }
}

/// The sample of each pod, in the order of `pods`.
pub(super) fn samples<'a>(
    pods: &'a [PodView],
    values: &'a PodValues,
) -> impl Iterator<Item = (&'a PodView, Option<&'a Sample>)> {
    pods.iter().enumerate().map(|(at, pod)| (pod, values.by_pod.get(at).and_then(Option::as_ref)))
}

//! From one metric to a number of replicas: `replica_calculator.go` and `metrics/utilization.go`.

use std::sync::Arc;

use scaletwin_core::control::{ContainerRequests, Missing, PodValues, PodView, Resource, Sample};

use super::pods::{Group, PodTimes, group, samples};
use crate::numerics::go;

/// What one metric proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// The number of replicas.
    pub replicas: i32,
    /// The utilization in percent, for a utilization target.
    pub utilization: Option<i32>,
    /// The usage that the status reports, milli-units.
    pub usage: i64,
}

/// Why a metric proposes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalcError {
    /// The metric has no value.
    #[error("unable to get the metric: {0}")]
    Missing(Missing),
    /// The metric was not part of the observation.
    #[error("the metric was not observed")]
    NotAsked,
    /// The answer holds no series.
    #[error("no metrics returned")]
    NoSeries,
    /// The target has no pods.
    #[error("no pods returned by selector while calculating replica count")]
    NoPods,
    /// None of the samples belongs to a pod that counts.
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoUsableSamples,
    /// A container has no request.
    #[error("missing request for {resource} in container {container} of pod {pod}")]
    NoRequest {
        /// For what.
        resource: &'static str,
        /// Which container.
        container: String,
        /// Of which pod.
        pod: String,
    },
    /// A pod has no such container.
    #[error("container {container} not found in pod {pod}")]
    NoContainer {
        /// Which container.
        container: String,
        /// In which pod.
        pod: String,
    },
    /// The requests add up to nothing.
    #[error("no metrics returned matched known pods")]
    NoMatch,
}

/// How far the ratio of usage to target may be from 1 without a change.
#[derive(Debug, Clone, Copy)]
pub struct Tolerances {
    /// Below 1.
    pub down: f64,
    /// Above 1.
    pub up: f64,
}

impl Tolerances {
    fn within(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// The samples that count, and how many pods are in which group.
struct Counted {
    /// Per pod: its group and the value that counts, if any.
    pods: Vec<(Group, Option<i64>)>,
    /// Values of pods that the selector no longer lists.
    unlisted: Vec<i64>,
    ready: i32,
    /// Whether there are pods of these groups.
    any_unready: bool,
    any_missing: bool,
    /// How many samples count.
    len: usize,
}

impl Counted {
    fn of(
        pods: &[PodView],
        values: &PodValues,
        resource: Option<Resource>,
        times: PodTimes,
    ) -> Result<Counted, CalcError> {
        if pods.is_empty() {
            return Err(CalcError::NoPods);
        }
        let mut counted = Counted {
            pods: Vec::with_capacity(pods.len()),
            unlisted: values.unlisted.iter().map(|(_, sample)| sample.milli).collect(),
            ready: 0,
            any_unready: false,
            any_missing: false,
            len: values.unlisted.len(),
        };
        for (pod, sample) in samples(pods, values) {
            let group = group(pod, sample, resource, times);
            let value = sample.filter(|_| group == Group::Ready).map(|sample| sample.milli);
            counted.ready += i32::from(group == Group::Ready);
            counted.any_unready |= group == Group::Unready;
            counted.any_missing |= group == Group::Missing;
            counted.len += usize::from(value.is_some());
            counted.pods.push((group, value));
        }
        if counted.len == 0 {
            return Err(CalcError::NoUsableSamples);
        }
        Ok(counted)
    }

    /// Lets every pod of `group` count with `value` of its number.
    fn fill(&mut self, group: Group, value: impl Fn(usize) -> i64) {
        for (at, (of, sample)) in self.pods.iter_mut().enumerate() {
            if *of == group {
                self.len += usize::from(sample.is_none());
                *sample = Some(value(at));
            }
        }
    }

    fn values(&self) -> impl Iterator<Item = i64> {
        self.pods.iter().filter_map(|(_, sample)| *sample).chain(self.unlisted.iter().copied())
    }
}

/// `ceil` of a float, as `int32(math.Ceil(x))`.
fn ceil(x: f64) -> i32 {
    go::int32(x.ceil())
}

/// `ceil` of a float, at most the largest i32.
fn ceil_capped(x: f64) -> i32 {
    if x.ceil() > f64::from(i32::MAX) { i32::MAX } else { ceil(x) }
}

/// The common end of the pod rules, when a first ratio is not enough: missing and unready pods count as well, on the
/// careful side, and the result must not turn the direction round.
fn refilled(current: i32, first: f64, second: f64, counted: &Counted, tolerances: Tolerances) -> i32 {
    let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
    if tolerances.within(second) || turned {
        return current;
    }
    let replicas = ceil(second * counted.len as f64);
    let against = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    if against { current } else { replicas }
}

/// `GetResourceReplicas`: a resource against a target in percent of the requests.
///
/// # Errors
/// When there are no pods, no usable samples, or a request is missing.
#[expect(clippy::too_many_arguments, reason = "the rule has that many inputs")]
pub fn resource_utilization(
    pods: &[PodView],
    values: &PodValues,
    resource: Resource,
    container: Option<&str>,
    current: i32,
    target_percent: i32,
    tolerances: Tolerances,
    times: PodTimes,
) -> Result<Proposal, CalcError> {
    let mut counted = Counted::of(pods, values, Some(resource), times)?;
    let requests = requests_of(pods, resource, container)?;
    let (ratio, percent, usage) = utilization(&counted, &requests, target_percent)?;
    let proposal = |replicas| Proposal { replicas, utilization: Some(percent), usage };
    let up_with_unready = counted.any_unready && ratio > 1.0;
    if !up_with_unready && !counted.any_missing {
        let replicas =
            if tolerances.within(ratio) { current } else { ceil(ratio * f64::from(counted.ready)) };
        return Ok(proposal(replicas));
    }
    if ratio < 1.0 {
        let fallback = i64::from(target_percent.max(100));
        counted.fill(Group::Missing, |at| requests[at].wrapping_mul(fallback) / 100);
    } else if ratio > 1.0 {
        counted.fill(Group::Missing, |_| 0);
    }
    if up_with_unready {
        counted.fill(Group::Unready, |_| 0);
    }
    let (second, _, _) = utilization(&counted, &requests, target_percent)?;
    Ok(proposal(refilled(current, ratio, second, &counted, tolerances)))
}

/// The request of each pod in milli-units. Pods of one template share their containers, whose sum is asked for once.
fn requests_of(pods: &[PodView], resource: Resource, container: Option<&str>) -> Result<Vec<i64>, CalcError> {
    let mut requests = Vec::with_capacity(pods.len());
    let mut last: Option<(&Arc<[ContainerRequests]>, i64)> = None;
    for pod in pods {
        let milli = match last {
            Some((containers, milli)) if Arc::ptr_eq(containers, &pod.containers) => milli,
            _ => request_of(pod, resource, container)?,
        };
        last = Some((&pod.containers, milli));
        requests.push(milli);
    }
    Ok(requests)
}

/// The request of `pod` in milli-units, summed over its containers or of one of them.
fn request_of(pod: &PodView, resource: Resource, container: Option<&str>) -> Result<i64, CalcError> {
    let mut sum = 0i64;
    let mut found = false;
    for of in pod.containers.iter().filter(|of| container.is_none_or(|name| *of.name == *name)) {
        found = true;
        let milli = of.of(resource).ok_or_else(|| CalcError::NoRequest {
            resource: resource.name(),
            container: of.name.to_string(),
            pod: pod.name.to_string(),
        })?;
        sum = sum.wrapping_add(milli);
    }
    match container {
        Some(name) if !found => {
            Err(CalcError::NoContainer { container: name.to_owned(), pod: pod.name.to_string() })
        }
        _ => Ok(sum),
    }
}

/// `GetResourceUtilizationRatio`: the percentage is cut to a whole number before the ratio is taken.
fn utilization(
    counted: &Counted,
    requests: &[i64],
    target_percent: i32,
) -> Result<(f64, i32, i64), CalcError> {
    let (mut usage, mut requested, mut entries) = (0i64, 0i64, 0i64);
    for ((_, sample), request) in counted.pods.iter().zip(requests) {
        if let Some(value) = sample {
            usage = usage.wrapping_add(*value);
            requested = requested.wrapping_add(*request);
            entries += 1;
        }
    }
    if requested == 0 {
        return Err(CalcError::NoMatch);
    }
    let percent = go::int32_of(usage.wrapping_mul(100).wrapping_div(requested));
    Ok((f64::from(percent) / f64::from(target_percent), percent, usage.wrapping_div(entries)))
}

/// `GetMetricReplicas` (with no resource) and `GetRawResourceReplicas`: a mean per pod against a target.
///
/// # Errors
/// When there are no pods or no usable samples.
pub fn plain(
    pods: &[PodView],
    values: &PodValues,
    resource: Option<Resource>,
    current: i32,
    target_milli: i64,
    tolerances: Tolerances,
    times: PodTimes,
) -> Result<Proposal, CalcError> {
    let mut counted = Counted::of(pods, values, resource, times)?;
    let (ratio, usage) = mean_ratio(&counted, target_milli);
    let proposal = |replicas| Proposal { replicas, utilization: None, usage };
    let up_with_unready = counted.any_unready && ratio > 1.0;
    if !up_with_unready && !counted.any_missing {
        let replicas =
            if tolerances.within(ratio) { current } else { ceil(ratio * f64::from(counted.ready)) };
        return Ok(proposal(replicas));
    }
    if ratio < 1.0 {
        counted.fill(Group::Missing, |_| target_milli);
    } else if ratio > 1.0 {
        counted.fill(Group::Missing, |_| 0);
    }
    if up_with_unready {
        counted.fill(Group::Unready, |_| 0);
    }
    let (second, _) = mean_ratio(&counted, target_milli);
    Ok(proposal(refilled(current, ratio, second, &counted, tolerances)))
}

/// `GetMetricUsageRatio`: the mean is a whole number before the ratio is taken.
fn mean_ratio(counted: &Counted, target_milli: i64) -> (f64, i64) {
    let total = counted.values().fold(0i64, i64::wrapping_add);
    let count = i64::try_from(counted.len).unwrap_or(i64::MAX);
    let usage = total.wrapping_div(count);
    (usage as f64 / target_milli as f64, usage)
}

/// `GetObjectMetricReplicas`: an object's value against a target value.
///
/// # Errors
/// When there are no pods.
pub fn object_value(
    pods: &[PodView],
    current: i32,
    usage: i64,
    target_milli: i64,
    tolerances: Tolerances,
) -> Result<Proposal, CalcError> {
    value(pods, current, usage, target_milli, tolerances)
}

/// `GetExternalMetricReplicas`: the sum of all series against a target value. A sum that exceeds the largest integer
/// stays there; one that falls below the smallest wraps.
///
/// # Errors
/// When there are no pods.
pub fn external_value(
    pods: &[PodView],
    current: i32,
    series: &[Sample],
    target_milli: i64,
    tolerances: Tolerances,
) -> Result<Proposal, CalcError> {
    let mut usage = 0i64;
    for Sample { milli, .. } in series {
        usage = match usage.overflowing_add(*milli) {
            (_, true) if *milli > 0 => return value(pods, current, i64::MAX, target_milli, tolerances),
            (sum, _) => sum,
        };
    }
    value(pods, current, usage, target_milli, tolerances)
}

fn value(
    pods: &[PodView],
    current: i32,
    usage: i64,
    target_milli: i64,
    tolerances: Tolerances,
) -> Result<Proposal, CalcError> {
    let ratio = usage as f64 / target_milli as f64;
    let replicas = if current == 0 {
        ceil(ratio)
    } else if tolerances.within(ratio) {
        current
    } else {
        if pods.is_empty() {
            return Err(CalcError::NoPods);
        }
        let ready = pods.iter().filter(|pod| pod.is_ready()).count();
        ceil_capped(ratio * ready as f64)
    };
    Ok(Proposal { replicas, utilization: None, usage })
}

/// `GetObjectPerPodMetricReplicas`: an object's value divided by the pods of `status.replicas`.
#[must_use]
pub fn object_average(
    status_replicas: i32,
    usage: i64,
    target_milli: i64,
    tolerances: Tolerances,
) -> Proposal {
    average(status_replicas, usage, target_milli, tolerances, ceil)
}

/// `GetExternalPerPodMetricReplicas`: the sum of all series divided by the pods of `status.replicas`.
///
/// A running sum below 0 counts as an overflow, and as the largest integer then. So does a reported usage that no float
/// tells from it.
#[must_use]
pub fn external_average(
    status_replicas: i32,
    series: &[Sample],
    target_milli: i64,
    tolerances: Tolerances,
) -> Proposal {
    let sum = series.iter().try_fold(0i64, |sum, sample| {
        let sum = sum.wrapping_add(sample.milli);
        (sum >= 0).then_some(sum)
    });
    let total = sum.unwrap_or(i64::MAX);
    let proposal = average(status_replicas, total, target_milli, tolerances, ceil_capped);
    let usage = if total as f64 >= i64::MAX as f64 { i64::MAX } else { proposal.usage };
    Proposal { usage, ..proposal }
}

fn average(
    status_replicas: i32,
    usage: i64,
    target_milli: i64,
    tolerances: Tolerances,
    ceil: fn(f64) -> i32,
) -> Proposal {
    let ratio = usage as f64 / (target_milli as f64 * f64::from(status_replicas));
    let replicas =
        if tolerances.within(ratio) { status_replicas } else { ceil(usage as f64 / target_milli as f64) };
    let per_pod = go::int64((usage as f64 / f64::from(status_replicas)).ceil());
    Proposal { replicas, utilization: None, usage: per_pod }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::units::{Span, Time};

    const NARROW: Tolerances = Tolerances { down: 0.1, up: 0.1 };

    fn series<const N: usize>(values: [i64; N]) -> [Sample; N] {
        values.map(|milli| Sample { milli, at: Time::ZERO, window: Span::ZERO })
    }

    /// What the controller's code gives for sums at the ends of the 64 bits, worked out by hand.
    #[test]
    fn sums_that_overflow_are_held_against_large_targets_as_well() {
        let of = |values: &[Sample], target| external_average(2, values, target, NARROW);
        let most = Proposal { replicas: i32::MAX, utilization: None, usage: i64::MAX };
        assert_eq!(of(&series([i64::MAX, 1]), 1_000), most);
        assert_eq!(of(&series([-1, 5_000]), 1_000), most, "a negative value counts as an overflow");
        let target = 1 << 33;
        assert_eq!(of(&series([i64::MAX, 1]), target).replicas, 1 << 30, "2^63 / 2^33");
        assert_eq!(of(&series([-1]), 1 << 62).replicas, 2, "within the tolerance");
        assert_eq!(of(&series([i64::MAX, -i64::MAX, 4_000]), 1_000).replicas, 4, "no overflow on the way");
    }

    #[test]
    fn a_sum_of_values_caps_above_and_wraps_below() {
        let of =
            |values: &[Sample]| external_value(&[], 0, values, 1_000, NARROW).expect("no pods are needed");
        assert_eq!(of(&series([i64::MAX, 1, -5])).usage, i64::MAX, "what comes later does not count");
        assert_eq!(of(&series([i64::MAX, -5])).usage, i64::MAX - 5);
        assert_eq!(of(&series([i64::MIN, -1])).usage, i64::MAX);
        assert_eq!(of(&series([i64::MIN, -1, -7])).usage, i64::MAX - 7);
    }
}

//! Values of signals with their age, or the reason why there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Resource, TargetName};
use crate::units::exact::Exact;
use crate::units::{Span, Time};

/// A value, or why there is none. There is no third possibility and no default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// The value.
    Known(T),
    /// Why there is none.
    Missing(Missing),
}

impl<T> Reading<T> {
    /// The value, or the reason.
    ///
    /// # Errors
    /// The reason why there is no value.
    pub fn known(&self) -> Result<&T, &Missing> {
        match self {
            Reading::Known(value) => Ok(value),
            Reading::Missing(why) => Err(why),
        }
    }
}

/// Why a signal has no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It was never sampled, or nothing matches.
    NoData,
    /// The last sample is too old.
    Stale {
        /// Its age.
        age: Span,
    },
    /// The name is bound to nothing.
    Unbound,
    /// Whoever would answer does not.
    Unreachable {
        /// What it said instead.
        detail: String,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::NoData => f.write_str("no data"),
            Missing::Stale { age } => write!(f, "the last sample is {age} old"),
            Missing::Unbound => f.write_str("the name is bound to nothing"),
            Missing::Unreachable { detail } => write!(f, "unreachable: {detail}"),
        }
    }
}

/// What a controller asks of the metrics APIs. The plant answers each with a [`Reading`] of [`Values`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricQuery {
    /// `metrics.k8s.io`: use of a resource by each pod of a target. Answered by [`Values::Pods`].
    Resource {
        /// Whose pods.
        target: TargetName,
        /// Of what.
        resource: Resource,
        /// One container instead of the sum over all.
        container: Option<String>,
    },
    /// `custom.metrics.k8s.io` for each pod of a target. Answered by [`Values::Pods`].
    Pods {
        /// Whose pods.
        target: TargetName,
        /// Which metric.
        metric: MetricName,
    },
    /// `custom.metrics.k8s.io` for one object. Answered by [`Values::Series`] with one sample.
    Object {
        /// The object described.
        object: ObjectName,
        /// Which metric.
        metric: MetricName,
    },
    /// `external.metrics.k8s.io`. Answered by [`Values::Series`].
    External {
        /// Which metric.
        metric: MetricName,
    },
    /// A metric of each pod of a target as Prometheus or the pod itself gives it, not cut to milli-units. Answered by
    /// [`Values::Vector`] with the label `pod`.
    PodSamples {
        /// Whose pods.
        target: TargetName,
        /// Which metric.
        metric: MetricName,
    },
    /// A signal of the file, by its name under `signals:`. Answered by [`Values::Vector`].
    Signal {
        /// The name.
        name: String,
    },
    /// The load of a target, as what serves it reports it to a controller that collects for itself. Answered by
    /// [`Values::Load`].
    Load {
        /// Whose load.
        target: TargetName,
        /// What is sampled.
        load: Load,
        /// From one sample to the next.
        record: Span,
        /// From one report to the next.
        push: Span,
        /// How far back the samples of a report go.
        over: Span,
    },
}

/// What is sampled of the load of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Requests held at the gateway and requests in each replica that takes any, at the instant of the sample. Ray
    /// Serve's `running_requests` and `queued_requests`.
    Ongoing,
    /// Requests at the gateway and in the replicas together, averaged over the time since the last sample. What
    /// Knative's activator and queue-proxies report as `average_concurrent_requests`, without counting any twice.
    AverageConcurrency,
    /// Requests that came since the last sample: Knative's `request_count`, without counting any twice.
    Arrivals,
}

/// A metric's name with the labels that select its series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MetricName {
    /// The name.
    pub name: String,
    /// Labels that must match, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
}

/// An object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// Its kind, such as `Service`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Values that answer a [`MetricQuery`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// One sample a pod.
    Pods(PodValues),
    /// Samples in milli-units.
    Series(Vec<Sample>),
    /// Samples as floats with labels.
    Vector(Vec<Point>),
    /// The last report of each source of load, the gateway first.
    Load(Vec<LoadReport>),
}

/// What one source last reported of its load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// The pod; `None` for the gateway.
    pub pod: Option<Arc<str>>,
    /// When it reported.
    pub at: Time,
    /// Its samples, oldest first.
    pub samples: Arc<[LoadSample]>,
}

/// A sample of load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadSample {
    /// When it was taken.
    pub at: Time,
    /// Requests.
    pub value: Exact,
}

impl Values {
    /// The values as floats, whatever they are counted in; of pods those that have one, of load the
    /// last sample of each report.
    #[must_use]
    pub fn floats(&self) -> Vec<f64> {
        let of_milli = |sample: &Sample| sample.milli as f64 / 1_000.0;
        match self {
            Values::Pods(pods) => pods.by_pod.iter().flatten().map(of_milli).collect(),
            Values::Series(series) => series.iter().map(of_milli).collect(),
            Values::Vector(points) => points.iter().map(|point| point.value.0).collect(),
            Values::Load(reports) => {
                reports.iter().filter_map(|report| Some(report.samples.last()?.value.0)).collect()
            }
        }
    }
}

/// One sample a pod, in the order of the target's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodValues {
    /// For each pod of the target's view, in its order, its sample if there is one.
    pub by_pod: Vec<Option<Sample>>,
    /// Samples of pods that the view does not list: the metrics API may still know a pod that is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlisted: Vec<(Arc<str>, Sample)>,
}

/// A sample in Kubernetes' integer milli-units: milli-cores, milli-bytes, thousandths of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The value, milli-units, any i64.
    pub milli: i64,
    /// When it was taken.
    pub at: Time,
    /// The window it averages over; zero for an instantaneous value.
    pub window: Span,
}

/// A sample as a float, with labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The value, any float.
    pub value: Exact,
    /// When it was taken.
    pub at: Time,
}

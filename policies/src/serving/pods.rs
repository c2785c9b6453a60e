//! What each pod of a target reports, as floats.

use std::collections::BTreeMap;

use scaletwin_core::control::{MetricName, MetricQuery, Missing, Observation, Reading, TargetName, Values};

/// The query for `metric` of each pod of `target`.
#[must_use]
pub fn query(target: &TargetName, metric: &str) -> MetricQuery {
    let metric = MetricName { name: metric.to_owned(), selector: BTreeMap::new() };
    MetricQuery::PodSamples { target: target.clone(), metric }
}

/// The values that answer `query`, by pod.
///
/// # Errors
/// Why there are none.
pub fn values<'a>(seen: &'a Observation, query: &MetricQuery) -> Result<BTreeMap<&'a str, f64>, Missing> {
    match seen.metric(query) {
        Some(Reading::Known(Values::Vector(points))) => Ok(points
            .iter()
            .filter_map(|point| Some((point.labels.get("pod")?.as_str(), point.value.0)))
            .collect()),
        Some(Reading::Missing(why)) => Err(why.clone()),
        _ => Err(Missing::Unbound),
    }
}

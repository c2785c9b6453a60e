//! Quantiles of classic histograms.

use std::collections::BTreeMap;

use super::value::Sample;
use super::{Labels, PrometheusVersion};

/// The label of a bucket's upper bound.
const LE: &str = "le";

/// Below this share of their sum two counts of buckets differ by rounding only.
const SMALL_DELTA: f64 = 1e-12;

/// A bucket: its upper bound and the count of values up to it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The quantile `q` of each histogram among `buckets`. Series without a readable `le` are left out.
pub(super) fn histogram_quantile(q: f64, buckets: Vec<Sample>, version: PrometheusVersion) -> Vec<Sample> {
    let mut histograms: Vec<(Labels, Vec<Bucket>)> = Vec::new();
    let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
    for Sample { labels, value, .. } in buckets {
        let Ok(bound) = labels.get(LE).parse::<f64>() else { continue };
        let key = labels.with(LE, "");
        let place = *places.entry(key.clone()).or_insert_with(|| {
            histograms.push((key.without_name(), Vec::new()));
            histograms.len() - 1
        });
        histograms[place].1.push(Bucket { bound, count: value });
    }
    let quantile = |(labels, buckets)| Sample::new(labels, bucket_quantile(q, buckets, version));
    histograms.into_iter().map(quantile).collect()
}

fn bucket_quantile(q: f64, mut buckets: Vec<Bucket>, version: PrometheusVersion) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|one, other| one.bound.total_cmp(&other.bound));
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return f64::NAN;
    }
    let mut buckets = coalesced(&buckets);
    make_monotonic(&mut buckets, version);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if buckets.len() < 2 || observations == 0.0 {
        return f64::NAN;
    }
    interpolate(q * observations, &buckets, last)
}

/// The value at `rank`: within a bucket values are taken as spread evenly.
fn interpolate(mut rank: f64, buckets: &[Bucket], last: usize) -> f64 {
    let place = buckets[..last]
        .partition_point(|bucket| rank.is_nan() || bucket.count.is_nan() || bucket.count < rank);
    if place == last {
        return buckets[last - 1].bound;
    }
    let Bucket { bound: end, mut count } = buckets[place];
    if place == 0 && end <= 0.0 {
        return end;
    }
    let mut start = 0.0;
    if place > 0 {
        start = buckets[place - 1].bound;
        count -= buckets[place - 1].count;
        rank -= buckets[place - 1].count;
    }
    start + (end - start) * (rank / count)
}

/// Buckets of one bound as one.
#[expect(clippy::float_cmp, reason = "bounds are written, not worked out")]
fn coalesced(buckets: &[Bucket]) -> Vec<Bucket> {
    let mut out: Vec<Bucket> = Vec::new();
    for bucket in buckets {
        match out.last_mut() {
            Some(last) if last.bound == bucket.bound => last.count += bucket.count,
            _ => out.push(*bucket),
        }
    }
    out
}

/// Counts that do not fall from one bucket to the next: rates of buckets scraped at different instants may.
fn make_monotonic(buckets: &mut [Bucket], version: PrometheusVersion) {
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let rounding = version == PrometheusVersion::V3 && almost_equal(before, bucket.count);
        if bucket.count < before || rounding {
            bucket.count = before;
        } else if bucket.count > before {
            before = bucket.count;
        }
    }
}

#[expect(clippy::float_cmp, reason = "as Prometheus compares them")]
fn almost_equal(one: f64, other: f64) -> bool {
    if one == other || (one.is_nan() && other.is_nan()) {
        return true;
    }
    let (sum, difference) = (one.abs() + other.abs(), (one - other).abs());
    if one == 0.0 || other == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

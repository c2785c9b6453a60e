//! Aggregations over series, as `promql/engine.go` takes them: in the order of the series.

use std::collections::BTreeMap;

use super::errors::{EvalError, Evaluated};
use super::over_range::sum;
use super::plan::{Aggregation, Expr, Grouping};
use super::quantile::{nan_first, quantile};
use super::sums::{Sum, stays_infinite};
use super::value::Sample;
use super::{Labels, PrometheusVersion};

/// The aggregation of each group, in the order in which the groups first appear.
pub(super) fn aggregate(
    how: &Aggregation,
    vector: Vec<Sample>,
    by: &Grouping,
    version: PrometheusVersion,
    scalar: impl Fn(&Expr) -> Evaluated<f64>,
) -> Evaluated<Vec<Sample>> {
    let parameter = match how {
        Aggregation::TopK(k) | Aggregation::BottomK(k) => count(scalar(k)?)?,
        Aggregation::Quantile(q) => scalar(q)?,
        _ => 0.0,
    };
    let groups = grouped(vector, by);
    if let Aggregation::TopK(_) | Aggregation::BottomK(_) = how {
        let largest = matches!(how, Aggregation::TopK(_));
        return Ok(groups.into_iter().flat_map(|(_, group)| extremes(group, parameter, largest)).collect());
    }
    let of = |(labels, group): (Labels, Vec<Sample>)| {
        let values: Vec<f64> = group.iter().map(|sample| sample.value).collect();
        Sample::new(labels, one(how, values, parameter, version))
    };
    Ok(groups.into_iter().map(of).collect())
}

/// A number of series: anything that an i64 holds, cut.
fn count(k: f64) -> Evaluated<f64> {
    const LIMIT: f64 = 9_223_372_036_854_775_807.0;
    if (-LIMIT..=LIMIT).contains(&k) { Ok(k.trunc()) } else { Err(EvalError::Overflow(k)) }
}

fn grouped(vector: Vec<Sample>, by: &Grouping) -> Vec<(Labels, Vec<Sample>)> {
    let (mut groups, mut places) = (Vec::<(Labels, Vec<Sample>)>::new(), BTreeMap::new());
    for sample in vector {
        let labels = by.of(&sample.labels);
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((labels, Vec::new()));
        }
        groups[place].1.push(sample);
    }
    groups
}

fn one(how: &Aggregation, values: Vec<f64>, parameter: f64, version: PrometheusVersion) -> f64 {
    let of_first = |better: fn(f64, f64) -> bool| {
        let pick = |best: f64, value: f64| if better(value, best) || best.is_nan() { value } else { best };
        values.iter().copied().reduce(pick).unwrap_or(f64::NAN)
    };
    match how {
        Aggregation::Sum if version == PrometheusVersion::V2 => values.iter().sum(),
        Aggregation::Sum => sum(values.into_iter()),
        Aggregation::Avg => mean(&values, version),
        Aggregation::Min => of_first(|value, best| value < best),
        Aggregation::Max => of_first(|value, best| value > best),
        Aggregation::Count => values.len() as f64,
        Aggregation::Group => 1.0,
        Aggregation::Stdvar => variance(&values, version),
        Aggregation::Stddev => variance(&values, version).sqrt(),
        Aggregation::Quantile(_) => quantile(parameter, values),
        Aggregation::TopK(_) | Aggregation::BottomK(_) => unreachable!("these give series, not one value"),
    }
}

/// The mean over series: moved step by step in version 2; the compensated sum divided in version 3, unless it is infinite.
fn mean(values: &[f64], version: PrometheusVersion) -> f64 {
    let (mut mean, mut steps) = (Sum { sum: values[0], lost: 0.0 }, version == PrometheusVersion::V2);
    for (before, value) in (1u32..).zip(&values[1..]) {
        let (before, count) = (f64::from(before), f64::from(before) + 1.0);
        if !steps {
            let mut next = mean;
            next.add(*value);
            if !next.sum.is_infinite() {
                mean = next;
                continue;
            }
            steps = true;
            mean = Sum { sum: mean.sum / before, lost: mean.lost / before };
        }
        if mean.sum.is_infinite() && stays_infinite(mean.sum, *value) {
            continue;
        }
        if version == PrometheusVersion::V2 {
            mean.sum += value / count - mean.sum / count;
        } else {
            let now = mean.sum + mean.lost;
            mean.add(value / count - now / count);
        }
    }
    if steps || mean.sum.is_infinite() { mean.total() } else { (mean.sum + mean.lost) / values.len() as f64 }
}

/// The variance of the whole population. In version 3 a group that begins with NaN or infinity has none.
fn variance(values: &[f64], version: PrometheusVersion) -> f64 {
    let (mut mean, mut count) = (values[0], 1.0);
    let mut squares = if version == PrometheusVersion::V3 && !mean.is_finite() { f64::NAN } else { 0.0 };
    for value in &values[1..] {
        count += 1.0;
        let distance = value - mean;
        mean += distance / count;
        squares += distance * (value - mean);
    }
    squares / count
}

/// The `k` largest or smallest, best first. Which of equals stay is decided by a heap, as in Prometheus.
fn extremes(group: Vec<Sample>, k: f64, largest: bool) -> Vec<Sample> {
    let mut heap = Heap { items: Vec::new(), largest };
    for sample in group {
        let full = heap.items.len() as f64 >= k;
        if k < 1.0 || (full && !heap.gives_way(&sample)) {
            continue;
        }
        match full {
            true if k < 2.0 => heap.items.clear(),
            true => heap.pop(),
            false => {}
        }
        heap.push(sample);
    }
    let mut best = heap.items;
    best.sort_by(|one, other| match (one.value.is_nan(), other.value.is_nan()) {
        (false, false) if largest => nan_first(other.value, one.value),
        (false, false) => nan_first(one.value, other.value),
        (one, other) => one.cmp(&other),
    });
    best
}

/// A heap with the least wanted on top, as Go's `container/heap` keeps it.
struct Heap {
    items: Vec<Sample>,
    largest: bool,
}

impl Heap {
    /// Whether one is wanted less than another: NaN least.
    fn less(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.items[one].value, self.items[other].value);
        one.is_nan() || if self.largest { one < other } else { one > other }
    }

    /// Whether the least wanted gives way to a sample.
    fn gives_way(&self, to: &Sample) -> bool {
        let top = self.items[0].value;
        top.is_nan() || if self.largest { top < to.value } else { top > to.value }
    }

    fn push(&mut self, sample: Sample) {
        self.items.push(sample);
        let mut place = self.items.len() - 1;
        while place > 0 && self.less(place, (place - 1) / 2) {
            self.items.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn pop(&mut self) {
        let last = self.items.len() - 1;
        self.items.swap(0, last);
        self.items.pop();
        let mut place = 0;
        while 2 * place + 1 < last {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let child = if right < last && self.less(right, left) { right } else { left };
            if !self.less(child, place) {
                break;
            }
            self.items.swap(place, child);
            place = child;
        }
    }
}

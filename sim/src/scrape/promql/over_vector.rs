//! Functions of instant vectors.

use regex::Regex;

use super::errors::Evaluated;
use super::plan::{Expr, OfValue};
use super::quantile::nan_first;
use super::value::Sample;

/// The function of each value; the name of a series goes.
pub(super) fn map(
    function: &OfValue,
    vector: Vec<Sample>,
    scalar: impl Fn(&Expr) -> Evaluated<f64>,
) -> Evaluated<Vec<Sample>> {
    let all = |of: &dyn Fn(f64) -> f64| {
        let mapped = |sample: Sample| Sample::new(sample.labels.without_name(), of(sample.value));
        Ok(vector.into_iter().map(mapped).collect())
    };
    match function {
        OfValue::Abs => all(&f64::abs),
        OfValue::Ceil => all(&f64::ceil),
        OfValue::Floor => all(&f64::floor),
        OfValue::Exp => all(&libm::exp),
        OfValue::Ln => all(&libm::log),
        OfValue::Log2 => all(&libm::log2),
        OfValue::Log10 => all(&libm::log10),
        OfValue::Sqrt => all(&f64::sqrt),
        OfValue::Sgn => all(&sign),
        OfValue::Round(to) => {
            // The inverse first: it rounds less.
            let inverse = 1.0 / to.as_ref().map_or(Ok(1.0), |to| scalar(to))?;
            all(&|value| (value * inverse + 0.5).floor() / inverse)
        }
        OfValue::Clamp(low, high) => {
            let (low, high) = (scalar(low)?, scalar(high)?);
            if high < low { Ok(Vec::new()) } else { all(&|value| larger(low, smaller(high, value))) }
        }
        OfValue::ClampMin(low) => {
            let low = scalar(low)?;
            all(&|value| larger(low, value))
        }
        OfValue::ClampMax(high) => {
            let high = scalar(high)?;
            all(&|value| smaller(high, value))
        }
    }
}

/// -1, 0 or 1; zero and NaN as they are.
fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// Go's `math.Max`: infinity wins over NaN, NaN over all else.
fn larger(one: f64, other: f64) -> f64 {
    match (one, other) {
        _ if one == f64::INFINITY || other == f64::INFINITY => f64::INFINITY,
        _ if one.is_nan() || other.is_nan() => f64::NAN,
        _ => one.max(other),
    }
}

/// Go's `math.Min`.
fn smaller(one: f64, other: f64) -> f64 {
    -larger(-one, -other)
}

/// By value, NaN at the end either way.
pub(super) fn sorted(mut vector: Vec<Sample>, descending: bool) -> Vec<Sample> {
    vector.sort_by(|one, other| match (one.value.is_nan(), other.value.is_nan()) {
        (false, false) if descending => nan_first(other.value, one.value),
        (false, false) => nan_first(one.value, other.value),
        (one, other) => one.cmp(&other),
    });
    vector
}

/// `label_replace`: where the pattern fits the source label, the target becomes the replacement with its groups.
pub(super) fn label_replace(
    vector: Vec<Sample>,
    target: &str,
    replacement: &str,
    source: &str,
    pattern: &Regex,
) -> Vec<Sample> {
    let replaced = |sample: Sample| {
        let Some(groups) = pattern.captures(sample.labels.get(source)) else { return sample };
        let mut value = String::new();
        groups.expand(replacement, &mut value);
        Sample { labels: sample.labels.clone().with(target, &value), ..sample }
    };
    vector.into_iter().map(replaced).collect()
}

/// `label_join`: the target becomes the source labels' values, joined.
pub(super) fn label_join(
    vector: Vec<Sample>,
    target: &str,
    separator: &str,
    sources: &[String],
) -> Vec<Sample> {
    let joined = |sample: Sample| {
        let values: Vec<&str> = sources.iter().map(|source| sample.labels.get(source)).collect();
        let value = values.join(separator);
        Sample { labels: sample.labels.with(target, &value), ..sample }
    };
    vector.into_iter().map(joined).collect()
}

//! Quantiles of values, and the order of values with NaN.

use std::cmp::Ordering;

/// The order of a sort: NaN before all numbers.
pub(super) fn nan_first(one: f64, other: f64) -> Ordering {
    match (one.is_nan(), other.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => one.partial_cmp(&other).expect("numbers without NaN have an order"),
    }
}

/// The quantile `q` of values, between neighbours in proportion; infinite outside 0..=1.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|one, other| nan_first(*one, *other));
    let rank = q * (values.len() - 1) as f64;
    let weight = rank - rank.floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= rank <= len - 1")]
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    values[lower] * (1.0 - weight) + values[upper] * weight
}

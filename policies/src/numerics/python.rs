//! Arithmetic as Python and the C library below it do it.

/// C's `round`: halves away from zero. Python's own `round` takes them to the even neighbour.
#[must_use]
pub fn c_round(x: f64) -> f64 {
    x.round()
}

/// `math.ceil(x)` as a whole number, at the ends of the range where it lies outside; 0 for NaN, for which Python raises.
///
/// ```
/// use scaletwin_policies::numerics::python::ceil;
/// assert_eq!((ceil(2.1), ceil(-2.9), ceil(1e300)), (3, -2, i64::MAX));
/// ```
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "saturating is what is wanted")]
pub fn ceil(x: f64) -> i64 {
    x.ceil() as i64
}

/// `Decimal(whole * percent) / 100`, rounded to a whole number with halves up, for a product of at least 0.
///
/// ```
/// use scaletwin_policies::numerics::python::percent_half_up;
/// assert_eq!([percent_half_up(5, 50.0), percent_half_up(5, 49.0), percent_half_up(1, 1.0)], [3, 2, 0]);
/// ```
#[must_use]
pub fn percent_half_up(whole: i32, percent: f64) -> i64 {
    let product = f64::from(whole) * percent;
    let below = (product / 100.0).floor();
    // The quotient is rounded; hundreds and fifties are not, so the comparison is exact.
    let up = product >= below * 100.0 + 50.0;
    ceil(if up { below + 1.0 } else { below })
}

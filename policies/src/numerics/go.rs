//! Conversions as Go on amd64 does them: outside the range they give the smallest integer.

pub mod math;

/// `int32(x)`.
///
/// ```
/// use scaletwin_policies::numerics::go::int32;
/// assert_eq!(int32(-2.9), -2);
/// assert_eq!(int32(3e9), i32::MIN);
/// assert_eq!(int32(f64::NAN), i32::MIN);
/// ```
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the range is checked, and truncation is what Go does")]
pub fn int32(x: f64) -> i32 {
    let whole = x.trunc();
    if whole >= f64::from(i32::MIN) && whole <= f64::from(i32::MAX) { whole as i32 } else { i32::MIN }
}

/// `int64(x)`.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the range is checked, and truncation is what Go does")]
pub fn int64(x: f64) -> i64 {
    let whole = x.trunc();
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole) {
        whole as i64
    } else {
        i64::MIN
    }
}

/// `int32(x)` of an integer: the lower 32 bits.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are what Go keeps")]
pub const fn int32_of(x: i64) -> i32 {
    x as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_out_of_range_give_the_smallest_integer() {
        for (x, want) in [
            (2_147_483_647.9, i32::MAX),
            (2_147_483_648.0, i32::MIN),
            (-2_147_483_648.9, i32::MIN),
            (f64::INFINITY, i32::MIN),
        ] {
            assert_eq!(int32(x), want, "{x}");
        }
        for (x, want) in [(9.3e18, i64::MIN), (-1.5, -1), (f64::NAN, i64::MIN)] {
            assert_eq!(int64(x), want, "{x}");
        }
        assert_eq!(int32_of(0x1_0000_0005), 5);
    }
}

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

/// `math.Pow(x, y)` for finite `x` and `y` above 0: repeated squares for the whole part of `y`, and [`exp`] of the rest times
/// the logarithm of `x`.
#[must_use]
#[expect(clippy::float_cmp, reason = "the special cases are exact values")]
pub fn pow(x: f64, y: f64) -> f64 {
    if y == 0.5 {
        return x.sqrt();
    }
    let whole = if y - y.floor() > 0.5 { y.ceil() } else { y.floor() };
    let mut mantissa = if y == whole { 1.0 } else { exp((y - whole) * libm::log(x)) };
    let (mut square, mut square_exponent) = libm::frexp(x);
    let (mut left, mut exponent) = (int64(whole), 0);
    while left > 0 && square_exponent.abs() <= 1 << 12 {
        if left & 1 == 1 {
            mantissa *= square;
            exponent += square_exponent;
        }
        square *= square;
        square_exponent *= 2;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        left >>= 1;
    }
    if left > 0 {
        exponent += square_exponent;
    }
    libm::ldexp(mantissa, exponent)
}

/// `math.Exp(x)` for moderate `x`, as amd64 with fused multiply-add computes it: `e^r - 1` by its Taylor series at a sixteenth of
/// what whole multiples of ln 2 leave of `x`, doubled four times by `(e^r - 1)(e^r + 1)`. After N. Shibata, "Efficient
/// evaluation methods of elementary functions suitable for SIMD computation", 2010.
#[must_use]
pub fn exp(x: f64) -> f64 {
    /// ln 2: its upper bits, so few that whole multiples are exact, and the rest.
    const LN_2: [f64; 2] = [0.693_147_180_559_663, 2.823_529_056_303_157_7e-13];
    let twos = (x * std::f64::consts::LOG2_E).round_ties_even();
    let sixteenth = LN_2.iter().fold(x, |left, part| libm::fma(-twos, *part, left)) * 0.0625;
    let series = [5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0]
        .into_iter()
        .fold(1.0 / 40_320.0, |sum, factorial| libm::fma(sum, sixteenth, 1.0 / factorial));
    let mut less_one = series * sixteenth;
    for _ in 0..3 {
        less_one *= less_one + 2.0;
    }
    libm::ldexp(libm::fma(less_one + 2.0, less_one, 1.0), int32(twos))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "bits are what is tested")]
mod tests {
    use super::*;

    /// 0.0001 to one over the number of buckets in a window: what Knative takes powers for. Computed by the definition of the
    /// algorithm in exact rational arithmetic, rounded at each step. The nearest floats differ for 25 and 31.
    #[test]
    fn powers_have_the_bits_of_go() {
        for (buckets, want) in [
            (3.0, 0.046415888336127815_f64),
            (6.0, 0.21544346900318842_f64),
            (25.0, 0.6918309709189364_f64),
            (31.0, 0.7429639507594947_f64),
            (41.0, 0.7988017808015703_f64),
        ] {
            assert_eq!(pow(0.0001, 1.0 / buckets).to_bits(), want.to_bits(), "{buckets}");
        }
    }

    #[test]
    fn whole_powers_are_repeated_squares() {
        assert_eq!(pow(0.5, 3.0), 0.125);
        assert_eq!(pow(3.0, 4.0), 81.0);
        assert_eq!(pow(2.0, 0.5), std::f64::consts::SQRT_2);
        assert_eq!(pow(0.2, 1e6), 0.0);
        assert_eq!(pow(7.0, 1e6), f64::INFINITY);
    }

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

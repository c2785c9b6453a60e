//! Go's `math` on amd64: the same bits.
//!
//! Read in the sources of Go 1.25: `math/{log,exp,pow}.go`, which follow FreeBSD's msun. They differ from `libm` in the
//! reduction of their argument, and so now and again in the last bit, which decides in which bucket a sample falls.

const LN_2_HI: f64 = 6.931_471_803_691_238e-1;
const LN_2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// `math.Log(x)` for a finite x above 0.
///
/// ```
/// use scaletwin_policies::numerics::go::math::log;
/// assert_eq!(log(1.0), 0.0);
/// assert!((log(10.0) - 2.302_585_092_994_046).abs() < 1e-15);
/// ```
#[must_use]
pub fn log(x: f64) -> f64 {
    const L: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    let (mut fraction, mut exponent) = libm::frexp(x);
    if fraction < std::f64::consts::SQRT_2 / 2.0 {
        fraction *= 2.0;
        exponent -= 1;
    }
    let f = fraction - 1.0;
    let k = f64::from(exponent);
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let even = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let half_square = 0.5 * f * f;
    k * LN_2_HI - ((half_square - (s * (half_square + (odd + even)) + k * LN_2_LO)) - f)
}

/// `math.Exp2(x)`: 2 to the power of x.
///
/// ```
/// use scaletwin_policies::numerics::go::math::exp2;
/// assert_eq!(exp2(10.0), 1024.0);
/// assert_eq!(exp2(-1075.0), 0.0);
/// ```
#[must_use]
pub fn exp2(x: f64) -> f64 {
    const OVERFLOW: f64 = 1_023.999_999_999_999_9;
    const UNDERFLOW: f64 = -1_074.0;
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x > OVERFLOW {
        return f64::INFINITY;
    }
    if x < UNDERFLOW {
        return 0.0;
    }
    let k = if x > 0.0 {
        super::int32(x + 0.5)
    } else if x < 0.0 {
        super::int32(x - 0.5)
    } else {
        0
    };
    let t = x - f64::from(k);
    exp_multi(t * LN_2_HI, -t * LN_2_LO, k)
}

/// e to the power of `hi − lo`, times 2 to the power of `k`.
fn exp_multi(hi: f64, lo: f64, k: i32) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_665_7e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    let r = hi - lo;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    libm::ldexp(y, k)
}

/// `math.Pow(x, n)` for a whole n and an x above 0 or infinite, while the result is a normal number.
///
/// ```
/// use scaletwin_policies::numerics::go::math::pow;
/// assert_eq!(pow(1.5, 2), 2.25);
/// assert_eq!(pow(f64::INFINITY, -2), 0.0);
/// assert_eq!(pow(2.0, -2), 0.25);
/// ```
#[must_use]
pub fn pow(x: f64, n: i32) -> f64 {
    match n {
        0 => return 1.0,
        1 => return x,
        _ if !x.is_finite() => return if n < 0 { 1.0 / x } else { x },
        _ => {}
    }
    let (mut square, mut square_exponent) = libm::frexp(x);
    let (mut product, mut exponent) = (1.0, 0i32);
    let mut rest = n.unsigned_abs();
    while rest != 0 {
        if rest & 1 == 1 {
            product *= square;
            exponent = exponent.saturating_add(square_exponent);
        }
        square *= square;
        square_exponent = square_exponent.saturating_mul(2);
        if square < 0.5 {
            square += square;
            square_exponent = square_exponent.saturating_sub(1);
        }
        rest >>= 1;
    }
    if n < 0 { libm::ldexp(1.0 / product, -exponent) } else { libm::ldexp(product, exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(ours: f64, exact: f64) -> bool {
        (ours - exact).abs() <= exact.abs() * 4e-16
    }

    proptest! {
        #[test]
        fn they_agree_with_libm_but_for_the_last_bits(x in 1e-6..1e6f64, y in -300.0..300.0f64, n in -40i32..40) {
            prop_assert!((log(x) - libm::log(x)).abs() < 4e-15);
            prop_assert!(close(exp2(y), libm::exp2(y)), "{} {}", exp2(y), libm::exp2(y));
            prop_assert!((pow(x, n) / libm::pow(x, f64::from(n)) - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn whole_powers_of_two_are_exact() {
        for n in -200..200 {
            assert_eq!(exp2(f64::from(n)).to_bits(), libm::ldexp(1.0, n).to_bits());
            assert_eq!(pow(2.0, n).to_bits(), libm::ldexp(1.0, n).to_bits());
        }
    }
}

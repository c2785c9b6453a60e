//! Kubernetes' resource quantities, read and rounded as `k8s.io/apimachinery/pkg/api/resource` does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::UnitError;

/// Nano-units in a unit: the finest step of a quantity.
const NANO: i128 = 1_000_000_000;
/// The largest magnitude of a quantity, 2^63 − 1; larger numbers are capped to it, as Kubernetes does.
const CAP: i128 = i64::MAX as i128 * NANO;

/// A Kubernetes quantity such as `500m`, `80Gi`, `1e3` or `1.5`: nano-units, ±(2^63 − 1) units.
///
/// Fractions finer than a nano-unit round away from zero, larger magnitudes are capped: both as in Kubernetes.
///
/// ```
/// use scaletwin_core::units::Quantity;
/// assert_eq!("500m".parse::<Quantity>().unwrap().milli_value(), 500);
/// assert_eq!("80Gi".parse::<Quantity>().unwrap().value(), 80 << 30);
/// assert_eq!("0.1m".parse::<Quantity>().unwrap().milli_value(), 1); // rounds up
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(i128);

impl Quantity {
    /// `milli` thousandths.
    #[must_use]
    pub fn from_milli(milli: i64) -> Quantity {
        Quantity(i128::from(milli) * (NANO / 1_000))
    }

    /// Thousandths, rounded away from zero, capped to the range of i64 (`MilliValue`).
    #[must_use]
    pub fn milli_value(self) -> i64 {
        scaled(self.0, NANO / 1_000)
    }

    /// Whole units, rounded away from zero (`Value`).
    #[must_use]
    pub fn value(self) -> i64 {
        scaled(self.0, NANO)
    }

    /// The value as a float, for people; not for decisions.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// `nanos / step`, rounded away from zero and capped.
fn scaled(nanos: i128, step: i128) -> i64 {
    let up = nanos.unsigned_abs().div_ceil(step.unsigned_abs());
    let up = i64::try_from(up).unwrap_or(i64::MAX);
    if nanos < 0 { -up } else { up }
}

/// A suffix as a factor: nano-units of one unit, or a power of ten.
fn factor(suffix: &str) -> Option<i128> {
    Some(match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => NANO / 1_000,
        "" => NANO,
        "k" => NANO * 1_000,
        "M" => NANO * 1_000_000,
        "G" => NANO * 1_000_000_000,
        "T" => NANO * 1_000_000_000_000,
        "P" => NANO * 1_000_000_000_000_000,
        "E" => NANO * 1_000_000_000_000_000_000,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        "Ti" => NANO << 40,
        "Pi" => NANO << 50,
        "Ei" => NANO << 60,
        _ => return None,
    })
}

impl FromStr for Quantity {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Quantity, UnitError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        let unreadable = || UnitError::Number(text.to_owned());
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(unreadable());
        }
        let magnitude = match factor(suffix) {
            Some(factor) => magnitude(whole, fraction, factor, 0),
            None => {
                let exponent = suffix.strip_prefix(['e', 'E']).ok_or(UnitError::Unit {
                    expected: "n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, an exponent such as e3, or none",
                })?;
                magnitude(whole, fraction, NANO, exponent.parse::<i32>().map_err(|_| unreadable())?)
            }
        };
        Ok(Quantity(if negative { -magnitude } else { magnitude }))
    }
}

/// `whole.fraction × factor × 10^exponent` in nano-units, rounded up and capped.
fn magnitude(whole: &str, fraction: &str, factor: i128, exponent: i32) -> i128 {
    let mut nanos: i128 = 0;
    let mut rounded = false;
    let digits = whole.bytes().chain(fraction.bytes());
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(i64::from(exponent));
    for (place, digit) in (1i64..).zip(digits) {
        let digit = i128::from(digit - b'0');
        if digit == 0 {
            continue;
        }
        let power = point.saturating_sub(place);
        let (value, exact) = times_power_of_ten(digit * factor, power);
        nanos = nanos.saturating_add(value);
        rounded |= !exact;
        if nanos >= CAP {
            return CAP;
        }
    }
    (nanos + i128::from(rounded)).min(CAP)
}

/// `value × 10^power` rounded down and saturated, and whether nothing was rounded off.
fn times_power_of_ten(value: i128, power: i64) -> (i128, bool) {
    let scale = u32::try_from(power.unsigned_abs()).ok().and_then(|p| 10i128.checked_pow(p));
    match (scale, power >= 0) {
        (Some(scale), true) => (value.saturating_mul(scale), true),
        (Some(scale), false) => (value / scale, value % scale == 0),
        (None, true) => (CAP, true),
        (None, false) => (0, false),
    }
}

/// The shortest decimal form that reads back: `500m`, `1500m`, `80`, `250n`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suffix, step) = [("", NANO), ("m", NANO / 1_000), ("u", 1_000), ("n", 1)]
            .into_iter()
            .find(|(_, step)| self.0 % step == 0)
            .expect("every number is a multiple of one");
        write!(f, "{}{suffix}", self.0 / step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn milli(text: &str) -> i64 {
        text.parse::<Quantity>().unwrap().milli_value()
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, want) in [
            ("500m", 500),
            ("2", 2_000),
            ("1.5", 1_500),
            (".5", 500),
            ("5.", 5_000),
            ("-250m", -250),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1E-3", 1),
            ("0.0001", 1),
            ("-0.0001", -1),
            ("1n", 1),
            ("1E", i64::MAX),
            ("9e300", i64::MAX),
            ("0e999999", 0),
        ] {
            assert_eq!(milli(text), want, "{text}");
        }
        assert_eq!("8Ei".parse::<Quantity>().unwrap().value(), i64::MAX, "2^63 is capped to 2^63 - 1");
        assert_eq!("0.1n".parse::<Quantity>().unwrap(), Quantity(1), "finer than a nano-unit rounds up");
    }

    #[test]
    fn texts_that_are_no_quantities_are_refused() {
        for text in ["", "m", "1.2.3", "1 Gi", "1gi", "abc", "1e", "1e1.5", "--1", "1Gib"] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_written_quantity_reads_back(nanos in -CAP..CAP) {
            let text = Quantity(nanos).to_string();
            prop_assert_eq!(text.parse::<Quantity>(), Ok(Quantity(nanos)));
        }

        #[test]
        fn reading_never_panics(text in "[-+]?[0-9.]{0,40}[a-zA-Z0-9+-]{0,12}") {
            let _ = text.parse::<Quantity>();
        }
    }
}

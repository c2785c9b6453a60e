//! Instants and spans of a run, in integer nanoseconds.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::UnitError;

/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;

/// An instant of the run: nanoseconds since its start, 0 to about 584 years. Serialises as that integer.
///
/// ```
/// use scaletwin_core::units::{Span, Time};
/// let t = Time::ZERO + Span::from_secs(15);
/// assert_eq!(t.as_secs_f64(), 15.0);
/// assert_eq!(t.since(Time::ZERO), Span::from_secs(15));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The start of the run.
    pub const ZERO: Time = Time(0);
    /// An instant that no run reaches.
    pub const NEVER: Time = Time(u64::MAX);

    /// The instant `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        Span(self.0).as_secs_f64()
    }

    /// The span from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// This instant less `span`; `None` before the start.
    #[must_use]
    pub fn checked_sub(self, span: Span) -> Option<Time> {
        self.0.checked_sub(span.0).map(Time)
    }

    /// This instant less `span`, or the start where that would lie before it.
    #[must_use]
    pub const fn saturating_sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }

    /// This instant plus `span`, or [`Time::NEVER`] where that would overflow.
    #[must_use]
    pub const fn saturating_add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

/// Seconds with as many decimals as needed: `12.5s`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(self.0).fmt(f)
    }
}

/// # Panics
/// On overflow: 584 years.
impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.checked_add(span.0).expect("an instant within 584 years of the start"))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

/// A length of time in nanoseconds, never negative. Serialises as that integer; written `15s`, `1m30s`, `250ms`.
///
/// ```
/// use scaletwin_core::units::Span;
/// assert_eq!("1m30s".parse::<Span>().unwrap(), Span::from_secs(90));
/// assert_eq!("0.5ms".parse::<Span>().unwrap(), Span::from_nanos(500_000));
/// assert_eq!(Span::from_secs(90).to_string(), "1m30s");
/// assert!("15".parse::<Span>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(u64);

/// The units of a written span with their lengths in nanoseconds, longest first.
const UNITS: [(&str, u64); 8] = [
    ("w", 7 * 86_400 * NANOS),
    ("d", 86_400 * NANOS),
    ("h", 3_600 * NANOS),
    ("m", 60 * NANOS),
    ("s", NANOS),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// The longest span.
    pub const MAX: Span = Span(u64::MAX);
    /// A hundred years: the longest that is read or drawn, so that sums of a few stay within what can be represented.
    pub const CENTURY: Span = Span(100 * 365 * 86_400 * 1_000_000_000);

    /// `secs` seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Span {
        Span(secs * NANOS)
    }

    /// `millis` milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis * 1_000_000)
    }

    /// `nanos` nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Span {
        Span(nanos)
    }

    /// `secs` seconds, rounded up to the next nanosecond. A whole number of nanoseconds in seconds is that number again.
    ///
    /// ```
    /// use scaletwin_core::units::Span;
    /// let exact = Span::from_millis(67);
    /// assert_eq!(Span::from_secs_f64(exact.as_secs_f64()), Ok(exact));
    /// ```
    ///
    /// # Errors
    /// [`UnitError::Range`] when `secs` is negative, not a number, infinite, or over 584 years.
    #[inline]
    pub fn from_secs_f64(secs: f64) -> Result<Span, UnitError> {
        let nanos = secs * 1e9;
        if (0.0..4e18).contains(&nanos) {
            #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
            let below = nanos as i64;
            // What a whole number of nanoseconds became on its way through seconds is that number again.
            let beyond = nanos - below as f64 > nanos * (2.0 * f64::EPSILON);
            return Ok(Span(below.cast_unsigned() + u64::from(beyond)));
        }
        Span::from_whole(nanos.ceil())
    }

    /// `secs` seconds as written in a file: the nearest nanosecond, which is the one meant by a decimal with 9 digits.
    ///
    /// ```
    /// use scaletwin_core::units::Span;
    /// assert_eq!(Span::from_written_secs(33.889532954).unwrap().as_nanos(), 33_889_532_954);
    /// assert!(Span::from_written_secs(-1e-12).is_err());
    /// ```
    ///
    /// # Errors
    /// [`UnitError::Range`] when `secs` is negative, not a number, infinite, or over 584 years.
    pub fn from_written_secs(secs: f64) -> Result<Span, UnitError> {
        Span::from_whole(if secs < 0.0 { secs } else { (secs * 1e9).round() })
    }

    fn from_whole(nanos: f64) -> Result<Span, UnitError> {
        if !(0.0..18_446_744_073_709_549_568.0).contains(&nanos) {
            return Err(UnitError::Range("a span is at least 0 and under 584 years"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
        Ok(Span(nanos as u64))
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOS
    }

    /// Whether this is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The difference, or zero where `other` is longer.
    #[must_use]
    pub const fn saturating_sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

/// # Panics
/// On overflow: 584 years.
impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.checked_add(other.0).expect("a span under 584 years"))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

/// # Panics
/// When `other` is longer: a span is never negative.
impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.checked_sub(other.0).expect("a span that is not negative"))
    }
}

/// # Panics
/// On overflow: 584 years.
impl Mul<u64> for Span {
    type Output = Span;
    fn mul(self, times: u64) -> Span {
        Span(self.0.checked_mul(times).expect("a span under 584 years"))
    }
}

/// Rounds down to the nanosecond.
///
/// # Panics
/// When `parts` is 0.
impl Div<u64> for Span {
    type Output = Span;
    fn div(self, parts: u64) -> Span {
        Span(self.0 / parts)
    }
}

impl Sum for Span {
    fn sum<I: Iterator<Item = Span>>(spans: I) -> Span {
        spans.fold(Span::ZERO, Add::add)
    }
}

/// The shortest text that reads back as the same span: `1h`, `1m30s`, `1.5ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, length) in UNITS.into_iter().skip(1).take(3) {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        if rest == 0 {
            return Ok(());
        }
        let (unit, length) =
            UNITS.into_iter().skip(4).find(|(_, length)| rest >= *length).expect("a nanosecond always fits");
        let fraction = format!("{:09}", rest % length * (NANOS / length));
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{}{point}{fraction}{unit}", rest / length)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Span, UnitError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(UnitError::Empty);
        }
        if rest.starts_with('-') && rest.parse::<f64>().is_err() {
            return Err(UnitError::Range("a span is at least 0"));
        }
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(end);
            let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            if number.is_empty() {
                return Err(UnitError::Number(text.to_owned()));
            }
            total = total.saturating_add(nanos_of(number, unit.trim(), text)?);
            rest = tail.trim_start();
        }
        u64::try_from(total).map(Span).map_err(|_| UnitError::Range("a span is under 584 years"))
    }
}

/// The nanoseconds of one number with its unit, exact.
fn nanos_of(number: &str, unit: &str, text: &str) -> Result<u128, UnitError> {
    let unit = if unit == "µs" || unit == "μs" { "us" } else { unit };
    let (_, length) = UNITS
        .into_iter()
        .find(|(name, _)| *name == unit)
        .ok_or(UnitError::Unit { expected: "ns, us, ms, s, m, h, d, w (as in 15s or 1m30s)" })?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unreadable = || UnitError::Number(text.to_owned());
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 20 {
        return Err(unreadable());
    }
    let digits = |s: &str| if s.is_empty() { Ok(0) } else { s.parse::<u128>().map_err(|_| unreadable()) };
    let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| unreadable())?);
    let parts = digits(fraction)? * u128::from(length);
    if !parts.is_multiple_of(scale) {
        return Err(UnitError::Range("a span is a whole number of nanoseconds"));
    }
    Ok(digits(whole)? * u128::from(length) + parts / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, nanos) in [
            ("15s", 15 * NANOS),
            ("1h30m", 5_400 * NANOS),
            ("1.5s", 1_500_000_000),
            ("250 ms", 250_000_000),
            ("3µs", 3_000),
            ("2w", 14 * 86_400 * NANOS),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span(nanos)), "{text}");
        }
    }

    #[test]
    fn spans_without_sense_are_refused() {
        for text in ["", " ", "15", "-1s", "s", "1.2.3s", "1x", "0.1ns", "99999999999w", "1e3s", "."] {
            assert!(text.parse::<Span>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn seconds_that_are_no_span_are_refused() {
        for secs in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert!(Span::from_secs_f64(secs).is_err(), "{secs}");
        }
        assert_eq!(Span::from_secs_f64(1e-10), Ok(Span(1)), "rounds up");
    }

    proptest! {
        #[test]
        fn a_written_span_reads_back(nanos: u64) {
            prop_assert_eq!(Span(nanos).to_string().parse::<Span>(), Ok(Span(nanos)));
        }

        #[test]
        fn reading_a_span_never_panics(text: String) {
            let _ = text.parse::<Span>();
        }
    }
}

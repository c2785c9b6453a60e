//! Femtoseconds: the time inside a replica.
//!
//! The duration of an engine step is a sum of small terms (4 ps a token, say). In integers fine enough for them, k
//! steps and one jump over k steps end at the same instant to the last bit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Time, UnitError};

/// Femtoseconds in a nanosecond.
const PER_NANO: u64 = 1_000_000;

/// A short length of time: femtoseconds, up to 5 hours. Written `60us`, `88ps`, `1.5ns`, `20ms`.
///
/// ```
/// use scaletwin_core::units::Femtos;
/// assert_eq!("1.5ns".parse::<Femtos>().unwrap(), Femtos(1_500_000));
/// assert!("1h".parse::<Femtos>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Femtos(pub u64);

impl Femtos {
    /// `secs` seconds to the nearest femtosecond.
    ///
    /// # Errors
    /// [`UnitError::Range`] when `secs` is negative, not a number, or over 5 hours.
    pub fn from_secs_f64(secs: f64) -> Result<Femtos, UnitError> {
        let femtos = (secs * 1e15).round();
        if !(0.0..1.8e19).contains(&femtos) {
            return Err(UnitError::Range("a step takes at least 0 and under 5 hours"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
        Ok(Femtos(femtos as u64))
    }

    /// Seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e15
    }
}

impl FromStr for Femtos {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Femtos, UnitError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let length = match unit.trim() {
            "fs" => 1e-15,
            "ps" => 1e-12,
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            _ => return Err(UnitError::Unit { expected: "fs, ps, ns, us, ms, s (as in 60us)" }),
        };
        let number: f64 = number.parse().map_err(|_| UnitError::Number(text.to_owned()))?;
        Femtos::from_secs_f64(number * length)
    }
}

impl fmt::Display for Femtos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, length) = [("s", 1e15), ("ms", 1e12), ("us", 1e9), ("ns", 1e6), ("ps", 1e3)]
            .into_iter()
            .find(|(_, length)| self.0 as f64 >= *length)
            .unwrap_or(("fs", 1.0));
        write!(f, "{}{unit}", self.0 as f64 / length)
    }
}

/// An instant to the femtosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct FineTime {
    nanos: u64,
    femtos: u32,
}

impl FineTime {
    /// The first femtosecond of an instant.
    #[must_use]
    pub const fn at(time: Time) -> FineTime {
        FineTime { nanos: time.as_nanos(), femtos: 0 }
    }

    /// The first whole nanosecond that is not before it: when the rest of the world sees it.
    #[must_use]
    pub const fn ceil(self) -> Time {
        Time::from_nanos(if self.femtos > 0 { self.nanos + 1 } else { self.nanos })
    }

    /// The instant `span` later.
    #[must_use]
    #[inline]
    pub fn after(self, span: Femtos) -> FineTime {
        let (nanos, femtos) = (self.nanos + span.0 / PER_NANO, u64::from(self.femtos) + span.0 % PER_NANO);
        // Two parts of a nanosecond make one at most.
        let (nanos, femtos) = match femtos.checked_sub(PER_NANO) {
            Some(rest) => (nanos + 1, rest),
            None => (nanos, femtos),
        };
        FineTime { nanos, femtos: u32::try_from(femtos).expect("less than a nanosecond") }
    }

    /// Femtoseconds since the start of the run.
    #[must_use]
    #[inline]
    pub fn as_femtos(self) -> u128 {
        u128::from(self.nanos) * u128::from(PER_NANO) + u128::from(self.femtos)
    }

    /// The latest span after this instant that is seen not after `time`: its end rounds up to `time` or less. `None`
    /// when that lies before this instant.
    #[must_use]
    pub fn until(self, time: Time) -> Option<Femtos> {
        let nanos = time.as_nanos().checked_sub(self.nanos)?;
        let femtos = nanos.saturating_mul(PER_NANO).checked_sub(u64::from(self.femtos))?;
        Some(Femtos(femtos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_add_up_in_any_parts(start in 0u64..1 << 60, a in 0u64..1 << 62, b in 0u64..1 << 62) {
            let at = FineTime::at(Time::from_nanos(start));
            prop_assert_eq!(at.after(Femtos(a)).after(Femtos(b)), at.after(Femtos(a + b)));
            prop_assert_eq!(at.after(Femtos(a)).as_femtos(), at.as_femtos() + u128::from(a));
        }

        #[test]
        fn until_is_the_last_that_is_seen_in_time(start in 0u64..1 << 40, first in 0u64..1 << 40, length in 0u64..1 << 40) {
            let at = FineTime::at(Time::from_nanos(start)).after(Femtos(first));
            let time = Time::from_nanos(at.ceil().as_nanos() + length);
            let until = at.until(time).unwrap();
            prop_assert!(at.after(until).ceil() <= time);
            prop_assert!(at.after(Femtos(until.0 + 1)).ceil() > time);
        }
    }

    #[test]
    fn short_times_are_read_as_people_write_them() {
        for (text, femtos) in
            [("60us", 60_000_000_000), ("88ps", 88_000), ("0.4ps", 400), ("20ms", 20_000_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(Femtos(femtos)), "{text}");
        }
        for text in ["", "5", "-1ns", "ns", "1m", "1e3ns", "9999999s"] {
            assert!(text.parse::<Femtos>().is_err(), "{text}");
        }
    }
}

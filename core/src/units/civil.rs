//! Civil instants, for traces with timestamps, schedules and controllers that look at the wall clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Span, Time, UnitError};

/// A civil instant: nanoseconds since 1970-01-01T00:00:00Z, years 1678 to 2262. Written as RFC 3339.
///
/// ```
/// use scaletwin_core::units::{Civil, Span, Time};
/// let start: Civil = "2023-11-16T18:15:00Z".parse().unwrap();
/// assert_eq!(start.at(Time::ZERO + Span::from_secs(5)).to_string(), "2023-11-16T18:15:05Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Civil(i64);

impl Civil {
    /// 2024-01-01T00:00:00Z, the start of a run whose input names none.
    pub const DEFAULT_START: Civil = Civil(1_704_067_200_000_000_000);

    /// The instant `nanos` nanoseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix_nanos(nanos: i64) -> Civil {
        Civil(nanos)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_unix_nanos(self) -> i64 {
        self.0
    }

    /// The civil instant of `time` in a run that starts at this one; the last representable one on overflow.
    #[must_use]
    pub fn at(self, time: Time) -> Civil {
        Civil(self.0.saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// The span from `earlier` to this instant; `None` if it lies before `earlier`.
    #[must_use]
    pub fn since(self, earlier: Civil) -> Option<Span> {
        u64::try_from(i128::from(self.0) - i128::from(earlier.0)).ok().map(Span::from_nanos)
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(stamp) => stamp.fmt(f),
            Err(_) => write!(f, "{} ns after 1970-01-01T00:00:00Z", self.0),
        }
    }
}

impl FromStr for Civil {
    type Err = UnitError;

    /// RFC 3339 with an offset, or without one: then it is UTC. A space may stand for the `T`.
    fn from_str(text: &str) -> Result<Civil, UnitError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        let stamp = text.parse::<jiff::Timestamp>().or_else(|_| {
            let local = text.parse::<jiff::civil::DateTime>().map_err(|_| UnitError::Instant)?;
            local
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map(|zoned| zoned.timestamp())
                .map_err(|_| UnitError::Range("years 1678 to 2262"))
        })?;
        i64::try_from(stamp.as_nanosecond()).map(Civil).map_err(|_| UnitError::Range("years 1678 to 2262"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn civil_instants_are_read_as_traces_write_them() {
        let want = Civil(1_700_158_623_979_960_000);
        for text in
            ["2023-11-16 18:17:03.9799600", "2023-11-16T18:17:03.97996Z", "2023-11-16T19:17:03.979960+01:00"]
        {
            assert_eq!(text.parse::<Civil>(), Ok(want), "{text}");
        }
        assert_eq!(Civil::DEFAULT_START.to_string(), "2024-01-01T00:00:00Z");
    }

    #[test]
    fn texts_that_are_no_instants_are_refused() {
        for text in ["", "yesterday", "2023-13-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
            assert!(text.parse::<Civil>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_written_instant_reads_back(nanos in -9_000_000_000_000_000_000i64..9_000_000_000_000_000_000) {
            prop_assert_eq!(Civil(nanos).to_string().parse::<Civil>(), Ok(Civil(nanos)));
        }
    }
}

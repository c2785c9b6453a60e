//! Civil time at a place: cron schedules in a time zone.
//!
//! The fields and the search are those of `robfig/cron` v3 (`ParseStandard`, `SpecSchedule.Next`), which KEDA's cron
//! trigger uses: a time that daylight saving skips does not come that day, one that it repeats comes twice. Zones are
//! the IANA ones, compiled in, so that a run does not depend on the machine's.

use std::fmt;

use jiff::Zoned;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use scaletwin_core::units::Civil;
use serde::{Serialize, Serializer};

/// Instants that recur, such as `0 8 * * 1-5` in `Europe/Berlin`.
///
/// ```
/// use scaletwin_policies::calendar::Cron;
/// let eight = Cron::parse("0 8 * * 1-5", "Europe/Berlin").unwrap();
/// let friday = "2024-01-05T12:00:00Z".parse().unwrap();
/// assert_eq!(eight.next_after(friday).unwrap().to_string(), "2024-01-08T07:00:00Z");
/// assert!(Cron::parse("0 8 * * 7", "Europe/Berlin").is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Cron {
    text: String,
    zone: TimeZone,
    zone_name: String,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// The values of a field that fit, a bit each, and whether it is a plain star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    star: bool,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// How long the search for the next instant goes on.
const YEARS: i16 = 5;

impl Cron {
    /// The schedule `text` (minute, hour, day of month, month, day of week; or `@daily` and its kin) in the zone of this
    /// IANA name.
    ///
    /// # Errors
    /// What is wrong with a field, or that there is no such zone.
    pub fn parse(text: &str, zone: &str) -> Result<Cron, CronError> {
        let tz = TimeZone::get(zone).map_err(|_| CronError(format!("there is no time zone {zone:?}")))?;
        let fields: Vec<&str> = expanded(text.trim()).split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            let count = fields.len();
            return Err(CronError(format!(
                "a schedule has five fields (minute, hour, day, month, weekday), this one {count}"
            )));
        };
        Ok(Cron {
            text: text.trim().to_owned(),
            zone: tz,
            zone_name: zone.to_owned(),
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 6, &WEEKDAYS)?,
        })
    }

    /// The first instant after `now`; `None` if there is none within five years.
    #[must_use]
    pub fn next_after(&self, now: Civil) -> Option<Civil> {
        let stamp = jiff::Timestamp::from_nanosecond(i128::from(now.as_unix_nanos())).ok()?;
        let seconds = stamp.as_second().div_euclid(60).checked_add(1)?.checked_mul(60)?;
        let mut at = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(self.zone.clone());
        let last = at.year() + YEARS;
        while at.year() <= last {
            at = match self.step(&at) {
                None => {
                    return i64::try_from(at.timestamp().as_nanosecond()).ok().map(Civil::from_unix_nanos);
                }
                Some(next) => next?,
            };
        }
        None
    }

    /// Where to look next if the schedule does not fit `at`; inside, `None` where the calendar ends.
    fn step(&self, at: &Zoned) -> Option<Option<Zoned>> {
        let start_of = |date: Option<Date>| date?.to_zoned(self.zone.clone()).ok();
        let later = |minutes: i8| at.checked_add(jiff::SignedDuration::from_mins(i64::from(minutes))).ok();
        if !self.months.has(at.month()) {
            return Some(start_of(at.date().last_of_month().tomorrow().ok()));
        }
        if !self.day_fits(at) {
            return Some(start_of(at.date().tomorrow().ok()));
        }
        if !self.hours.has(at.hour()) {
            return Some(later(60 - at.minute()));
        }
        (!self.minutes.has(at.minute())).then(|| later(1))
    }

    /// Both fields of days fit; if neither is a star, one is enough.
    fn day_fits(&self, at: &Zoned) -> bool {
        let (day, weekday) =
            (self.days.has(at.day()), self.weekdays.has(at.weekday().to_sunday_zero_offset()));
        if self.days.star || self.weekdays.star { day && weekday } else { day || weekday }
    }
}

/// As written, with the zone.
impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone_name)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From one instant of `start` to the next of `end`, over and over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Between {
    /// When it begins.
    pub start: Cron,
    /// When it ends.
    pub end: Cron,
}

impl Between {
    /// Whether `now` lies in such a time: its end comes before its next start. A schedule that never comes is far off.
    #[must_use]
    pub fn holds(&self, now: Civil) -> bool {
        let next = |cron: &Cron| cron.next_after(now).map_or(i64::MAX, Civil::as_unix_nanos);
        next(&self.end) <= next(&self.start)
    }
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits >> value & 1 == 1)
    }
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The five fields of a short name.
fn expanded(text: &str) -> &str {
    match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    }
}

fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Result<Field, CronError> {
    let mut field = Field { bits: 0, star: false };
    for part in text.split(',') {
        let (bits, star) = range(part, min, max, names)?;
        field.bits |= bits;
        field.star |= star;
    }
    Ok(field)
}

/// One of `*`, `5`, `5-9`, each also with `/step`.
fn range(text: &str, min: u32, max: u32, names: &[&str]) -> Result<(u64, bool), CronError> {
    let wrong = |why: &str| Err(CronError(format!("{text:?} {why}")));
    let (span, step) = text.split_once('/').map_or((text, None), |(span, step)| (span, Some(step)));
    let (low, high) = span.split_once('-').map_or((span, None), |(low, high)| (low, Some(high)));
    let all = matches!(low, "*" | "?");
    if all && high.is_some() {
        return wrong("is no range");
    }
    let from = if all { min } else { number(low, min, names)? };
    let to = match high {
        Some(high) => number(high, min, names)?,
        None if all || step.is_some() => max,
        None => from,
    };
    let step = step.map_or(Ok(1), |step| number(step, 0, &[]))?;
    if from < min || to > max || from > to || step == 0 {
        return wrong(&format!("is not within {min} to {max}"));
    }
    let bits = (from..=to).step_by(step as usize).fold(0, |bits, value| bits | 1 << value);
    Ok((bits, all && step == 1))
}

fn number(text: &str, min: u32, names: &[&str]) -> Result<u32, CronError> {
    let named = (min..).zip(names).find(|(_, name)| name.eq_ignore_ascii_case(text));
    let plain = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    named
        .map(|(value, _)| value)
        .or_else(plain)
        .ok_or_else(|| CronError(format!("{text:?} is no number of a schedule")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(text: &str, zone: &str, now: &str) -> String {
        let cron = Cron::parse(text, zone).unwrap();
        cron.next_after(now.parse().unwrap()).map_or("never".into(), |at| at.to_string())
    }

    #[test]
    fn the_next_instant_is_after_the_present_one() {
        for (text, now, want) in [
            ("*/15 * * * *", "2024-01-01T00:00:00Z", "2024-01-01T00:15:00Z"),
            ("*/15 * * * *", "2024-01-01T00:14:59Z", "2024-01-01T00:15:00Z"),
            ("0 9 * * MON-fri", "2024-01-05T10:00:00Z", "2024-01-08T09:00:00Z"),
            ("30 6 29 2 *", "2024-03-01T00:00:00Z", "2028-02-29T06:30:00Z"),
            ("@daily", "2024-12-31T10:00:00Z", "2025-01-01T00:00:00Z"),
            ("0 0 30 2 *", "2024-01-01T00:00:00Z", "never"),
        ] {
            assert_eq!(next(text, "UTC", now), want, "{text}");
        }
    }

    #[test]
    fn of_two_restricted_fields_of_days_one_is_enough() {
        assert_eq!(next("0 0 13 * 5", "UTC", "2024-01-01T00:00:00Z"), "2024-01-05T00:00:00Z");
        assert_eq!(next("0 0 */10 * 5", "UTC", "2024-01-06T00:00:00Z"), "2024-01-11T00:00:00Z");
        assert_eq!(next("0 0 * * 5", "UTC", "2024-01-06T00:00:00Z"), "2024-01-12T00:00:00Z");
    }

    #[test]
    fn daylight_saving_skips_a_time_and_repeats_another() {
        let berlin = |text, now| next(text, "Europe/Berlin", now);
        assert_eq!(berlin("30 2 * * *", "2024-03-30T12:00:00Z"), "2024-04-01T00:30:00Z");
        assert_eq!(berlin("30 2 * * *", "2024-10-26T12:00:00Z"), "2024-10-27T00:30:00Z");
        assert_eq!(berlin("30 2 * * *", "2024-10-27T00:30:00Z"), "2024-10-27T01:30:00Z");
    }

    #[test]
    fn office_hours_hold_from_their_start_to_their_end() {
        let parse = |text| Cron::parse(text, "America/New_York").unwrap();
        let office = Between { start: parse("0 8 * * 1-5"), end: parse("0 18 * * 1-5") };
        for (now, want) in [
            ("2024-01-03T12:59:59Z", false),
            ("2024-01-03T13:00:00Z", true),
            ("2024-01-03T22:59:59Z", true),
            ("2024-01-03T23:00:00Z", false),
            ("2024-01-06T15:00:00Z", false),
        ] {
            assert_eq!(office.holds(now.parse().unwrap()), want, "{now}");
        }
    }

    #[test]
    fn texts_that_are_no_schedules_are_refused() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "*-5 * * * *",
        ] {
            assert!(Cron::parse(text, "UTC").is_err(), "{text:?}");
        }
        assert!(Cron::parse("@daily", "Europe/Atlantis").is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_comes_next_comes_later(
            text in "[0-9*/,-]{1,6} [0-9*/,-]{1,6} [0-9*,]{1,4} [0-9*,]{1,4} [0-6*,]{1,4}",
            now in 0i64..4_000_000_000_000_000_000,
        ) {
            let now = Civil::from_unix_nanos(now);
            if let Ok(cron) = Cron::parse(&text, "Australia/Lord_Howe")
                && let Some(next) = cron.next_after(now)
            {
                prop_assert!(next > now);
                prop_assert!(cron.next_after(next).is_none_or(|after| after > next));
            }
        }
    }
}

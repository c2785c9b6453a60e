//! How many nodes of a NodePool may be disrupted at once: `spec.disruption.budgets`.

use std::fmt;

use scaletwin_core::units::{Civil, Span, Time};
use serde::{Serialize, Serializer};

/// Why a node is disrupted.
pub use super::spec::ReasonName as DisruptionReason;

/// A budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// How many nodes.
    pub nodes: BudgetNodes,
    /// When it is active; `None`: always.
    pub window: Option<Window>,
    /// For which reasons; none: for all.
    pub reasons: Vec<DisruptionReason>,
}

/// How many nodes a budget allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetNodes {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded up.
    Percent(u32),
}

impl BudgetNodes {
    /// `10` or `10%`.
    #[must_use]
    pub fn read(text: &str) -> Option<BudgetNodes> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(BudgetNodes::Percent),
            None => text.parse().ok().map(BudgetNodes::Count),
        }
    }

    fn of(self, nodes: u64) -> u64 {
        match self {
            BudgetNodes::Count(count) => u64::from(count),
            BudgetNodes::Percent(percent) => (nodes * u64::from(percent)).div_ceil(100),
        }
    }
}

/// When a budget is active: for `duration` from each hit of `schedule` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// When it begins, UTC.
    pub schedule: Cron,
    /// How long it lasts.
    pub duration: Span,
}

impl Window {
    /// Whether it is active at `now`.
    #[must_use]
    pub fn is_active(&self, now: Civil) -> bool {
        let minute = now.as_unix_nanos().div_euclid(MINUTE);
        let length = i64::try_from(self.duration.as_nanos()).unwrap_or(i64::MAX);
        let oldest = now.as_unix_nanos().saturating_sub(length).div_euclid(MINUTE);
        (oldest + 1..=minute).rev().any(|minute| self.schedule.hits(minute))
    }
}

/// How many nodes of `nodes` may be disrupted for `reason`: the least of the active budgets.
#[must_use]
pub fn allowed(budgets: &[Budget], reason: DisruptionReason, nodes: u64, start: Civil, now: Time) -> u64 {
    let of_reason = |budget: &&Budget| budget.reasons.is_empty() || budget.reasons.contains(&reason);
    let active =
        |budget: &&Budget| budget.window.as_ref().is_none_or(|window| window.is_active(start.at(now)));
    let budgets = budgets.iter().filter(of_reason).filter(active);
    budgets.map(|budget| budget.nodes.of(nodes)).min().unwrap_or(u64::MAX)
}

const MINUTE: i64 = 60_000_000_000;

/// A cron schedule of five fields, as `robfig/cron` reads it: minute, hour, day of the month, month, day of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    /// The values of each field that match, as bits; and whether the field was `*`.
    fields: [(u64, bool); 5],
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const RANGES: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// A schedule such as `0 9 * * mon-fri` or `@daily`.
    #[must_use]
    pub fn read(text: &str) -> Option<Cron> {
        let plain = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let parts: Vec<&str> = plain.split_whitespace().collect();
        let mut fields = [(0, false); 5];
        if parts.len() != fields.len() {
            return None;
        }
        for (place, part) in parts.into_iter().enumerate() {
            let bits = part.split(',').try_fold(0, |bits, range| Some(bits | range_bits(range, place)?))?;
            fields[place] = (bits, part.starts_with('*') || part.starts_with('?'));
        }
        Some(Cron { text: text.trim().to_owned(), fields })
    }

    /// Whether it hits the minute that begins so many minutes after 1970.
    fn hits(&self, minute: i64) -> bool {
        let days = minute.div_euclid(1_440);
        let of_day = minute.rem_euclid(1_440);
        let (month, day) = month_and_day(days);
        // 1970-01-01 was a Thursday.
        let weekday = (days + 4).rem_euclid(7);
        let has = |place: usize, value: i64| (self.fields[place].0 >> value) & 1 == 1;
        let (of_month, of_week) = (has(2, day), has(4, weekday));
        // If both are restricted, one of them is enough.
        let either =
            if self.fields[2].1 || self.fields[4].1 { of_month && of_week } else { of_month || of_week };
        has(0, of_day % 60) && has(1, of_day / 60) && has(3, month) && either
    }
}

/// The bits of `*`, `5`, `1-5`, `*/15`, `1-5/2`, `10/5` or names.
fn range_bits(text: &str, place: usize) -> Option<u64> {
    let (low, high) = RANGES[place];
    let (range, step) = match text.split_once('/') {
        Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
        None => (text, None),
    };
    let (from, to) = match range.split_once('-') {
        _ if matches!(range, "*" | "?") => (low, high),
        Some((from, to)) => (value(from, place)?, value(to, place)?),
        None => {
            let from = value(range, place)?;
            (from, if step.is_some() { high } else { from })
        }
    };
    if from < low || to > high || from > to {
        return None;
    }
    let values = (from..=to).step_by(usize::try_from(step.unwrap_or(1)).ok()?);
    Some(values.fold(0, |bits, value| bits | 1 << value))
}

fn value(text: &str, place: usize) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let named =
        |names: &[&str], first: usize| names.iter().position(|name| *name == lower).map(|at| at + first);
    let name = match place {
        3 => named(&MONTHS, 1),
        4 => named(&DAYS, 0),
        _ => None,
    };
    name.map_or_else(|| text.parse().ok(), |at| u32::try_from(at).ok())
}

/// The month and the day of it, `days` after 1970-01-01: the civil calendar in years that begin in March.
fn month_and_day(days: i64) -> (i64, i64) {
    let of_era = (days + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    (if month < 10 { month + 3 } else { month - 9 }, of_year - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(text: &str) -> Civil {
        text.parse().expect("an instant")
    }

    fn active(schedule: &str, minutes: u64, now: &str) -> bool {
        let schedule = Cron::read(schedule).expect("a schedule");
        Window { schedule, duration: Span::from_secs(60 * minutes) }.is_active(civil(now))
    }

    #[test]
    fn a_window_lasts_from_each_hit_for_its_duration() {
        // 2024-01-01 was a Monday.
        assert!(active("0 9 * * mon-fri", 480, "2024-01-01T09:00:00Z"));
        assert!(active("0 9 * * mon-fri", 480, "2024-01-01T16:59:59Z"));
        assert!(!active("0 9 * * mon-fri", 480, "2024-01-01T17:00:00Z"));
        assert!(!active("0 9 * * mon-fri", 480, "2024-01-06T10:00:00Z"));
        assert!(active("@daily", 30, "2024-02-29T00:29:59Z"));
        assert!(active("*/15 * * * *", 1, "2024-02-29T12:45:30Z"));
        assert!(!active("*/15 * * * *", 1, "2024-02-29T12:46:00Z"));
        assert!(active("0 0 29 2 *", 1_440, "2024-02-29T23:00:00Z"));
    }

    #[test]
    fn a_day_of_the_month_or_of_the_week_is_enough_where_both_are_named() {
        assert!(active("0 0 13 * fri", 1, "2024-01-05T00:00:00Z"));
        assert!(active("0 0 13 * fri", 1, "2024-01-13T00:00:00Z"));
        assert!(!active("0 0 13 * fri", 1, "2024-01-14T00:00:00Z"));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in
            ["", "* * * *", "60 * * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "* * * * 7", "a * * * *"]
        {
            assert!(Cron::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_least_of_the_active_budgets_counts_and_percents_round_up() {
        let budget = |nodes: &str, reasons: &[DisruptionReason]| Budget {
            nodes: BudgetNodes::read(nodes).expect("a number of nodes"),
            window: None,
            reasons: reasons.to_vec(),
        };
        let budgets = [budget("10%", &[]), budget("1", &[DisruptionReason::Empty])];
        let of = |reason, nodes| allowed(&budgets, reason, nodes, Civil::DEFAULT_START, Time::ZERO);
        assert_eq!(of(DisruptionReason::Underutilized, 11), 2);
        assert_eq!(of(DisruptionReason::Empty, 11), 1);
        assert_eq!(of(DisruptionReason::Empty, 0), 0);
        assert_eq!(BudgetNodes::read("101%"), None);
    }
}

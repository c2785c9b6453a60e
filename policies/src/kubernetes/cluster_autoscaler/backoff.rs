//! Node groups that are left alone after a failed launch: `utils/backoff/exponential_backoff.go`.

use std::collections::BTreeMap;

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

/// How long a group is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BackoffSettings {
    /// After the first failure.
    pub initial: Span,
    /// At most.
    pub max: Span,
    /// Without a failure for so long, it begins anew.
    pub reset: Span,
}

/// The groups that are left alone, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff(BTreeMap<String, Entry>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    length: Span,
    until: Time,
    failed: Time,
}

impl Backoff {
    /// A launch in `group` has failed. A failure while it is left alone anyway counts as the first.
    pub fn failed(&mut self, group: &str, now: Time, settings: &BackoffSettings) {
        let before = self.0.get(group).filter(|entry| entry.until < now);
        let length = before.map_or(settings.initial, |entry| (entry.length * 2).min(settings.max));
        self.0.insert(group.to_owned(), Entry { length, until: now.saturating_add(length), failed: now });
    }

    /// A launch in `group` was ready in time.
    pub fn succeeded(&mut self, group: &str) {
        self.0.remove(group);
    }

    /// Whether `group` is left alone.
    #[must_use]
    pub fn holds(&self, group: &str, now: Time) -> bool {
        self.0.get(group).is_some_and(|entry| entry.until > now)
    }

    /// Forgets what is long ago.
    pub fn forget(&mut self, now: Time, settings: &BackoffSettings) {
        self.0.retain(|_, entry| entry.failed.saturating_add(settings.reset) >= now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Time {
        Time::ZERO + Span::from_secs(60 * minutes)
    }

    #[test]
    fn it_doubles_from_5_minutes_to_30_and_begins_anew_after_3_hours() {
        let span = |minutes: u64| Span::from_secs(60 * minutes);
        let settings = BackoffSettings { initial: span(5), max: span(30), reset: span(180) };
        let mut backoff = Backoff::default();
        let mut now = 0;
        for minutes in [5, 10, 20, 30, 30] {
            backoff.failed("g", at(now), &settings);
            assert!(backoff.holds("g", at(now + minutes - 1)), "{minutes}");
            assert!(!backoff.holds("g", at(now + minutes)), "{minutes}");
            now += minutes + 1;
        }
        backoff.forget(at(now), &settings);
        assert!(backoff != Backoff::default());
        backoff.forget(at(now + 181), &settings);
        assert_eq!(backoff, Backoff::default());
    }
}

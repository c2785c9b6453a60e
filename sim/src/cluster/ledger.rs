//! Billed time: how long nodes lived, and who held them.

use scaletwin_core::record::TimeAverage;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

/// A whole node, in the parts that holders are counted in.
pub const WHOLE: u64 = 1_000_000;

/// The account of a node pool: a node is billed from its launch to its deletion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    nodes: TimeAverage,
    /// Millionths of nodes held by each deployment.
    held: Vec<TimeAverage>,
    /// The lifetimes of nodes that are gone, since the accounts were opened.
    lifetimes: u128,
    opened: Time,
    /// Nodes taken back by the provider since then.
    interruptions: u64,
}

impl Account {
    /// The account of a pool without nodes, which `deployments` deployments may use.
    #[must_use]
    pub fn new(deployments: usize) -> Account {
        Account {
            nodes: TimeAverage::start(Time::ZERO, 0),
            held: vec![TimeAverage::start(Time::ZERO, 0); deployments],
            lifetimes: 0,
            opened: Time::ZERO,
            interruptions: 0,
        }
    }

    /// A node is launched.
    pub fn launched(&mut self, now: Time) {
        self.nodes.set(now, self.nodes.value() + 1);
    }

    /// A node launched at `launched` is given back.
    pub fn deleted(&mut self, now: Time, launched: Time) {
        self.nodes.set(now, self.nodes.value() - 1);
        self.lifetimes += u128::from(now.since(launched.max(self.opened)).as_nanos());
    }

    /// A deployment holds `parts` millionths of a node more.
    pub fn take(&mut self, now: Time, deployment: usize, parts: u64) {
        let held = &mut self.held[deployment];
        held.set(now, held.value() + parts);
    }

    /// A deployment holds `parts` millionths of a node less.
    pub fn give(&mut self, now: Time, deployment: usize, parts: u64) {
        let held = &mut self.held[deployment];
        held.set(now, held.value() - parts);
    }

    /// Forgets what was before `now`: the end of the warm-up.
    pub fn reopen(&mut self, now: Time) {
        self.nodes.restart(now);
        self.held.iter_mut().for_each(|held| held.restart(now));
        self.lifetimes = 0;
        self.opened = now;
        self.interruptions = 0;
    }

    /// The provider takes a node back.
    pub fn interrupted(&mut self) {
        self.interruptions += 1;
    }

    /// Nodes taken back since the accounts were opened.
    #[must_use]
    pub fn interruptions(&self) -> u64 {
        self.interruptions
    }

    /// Nodes now.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.nodes.value()
    }

    /// Billed node time up to `now`, in nanoseconds.
    #[must_use]
    pub fn billed_nanos(&self, now: Time) -> u128 {
        self.nodes.integral(now)
    }

    /// Node time held by a deployment up to `now`, in nanoseconds.
    #[must_use]
    pub fn held_nanos(&self, deployment: usize, now: Time) -> f64 {
        self.held[deployment].integral(now) as f64 / WHOLE as f64
    }

    /// Checks that billed time is the sum of lifetimes. `living` are the instants at which living nodes were launched.
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&self, now: Time, living: impl Iterator<Item = Time>) {
        let open: u128 =
            living.map(|launched| u128::from(now.since(launched.max(self.opened)).as_nanos())).sum();
        assert_eq!(self.billed_nanos(now), self.lifetimes + open, "billed time is the sum of lifetimes");
    }
}

/// Dollars for so much node time at a price per hour.
#[must_use]
pub fn dollars(nanos: f64, usd_per_hour: f64) -> f64 {
    nanos / Span::from_secs(3_600).as_nanos() as f64 * usd_per_hour
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of few whole numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_bill_computed_by_hand() {
        let at = |secs| Time::ZERO + Span::from_secs(secs);
        let mut account = Account::new(2);
        account.launched(at(0));
        account.launched(at(600));
        account.take(at(900), 0, WHOLE / 2);
        account.deleted(at(1_800), at(600));
        account.give(at(2_700), 0, WHOLE / 2);
        let now = at(3_600);
        account.check(now, [at(0)].into_iter());
        // 3600 s and 1200 s of nodes; half a node for 1800 s.
        assert_eq!(account.billed_nanos(now), 4_800_000_000_000);
        assert_eq!(dollars(account.billed_nanos(now) as f64, 3.0), 4.0);
        assert_eq!(dollars(account.held_nanos(0, now), 3.0), 0.75);
    }

    #[test]
    #[should_panic(expected = "billed time is the sum of lifetimes")]
    fn a_wrong_account_is_noticed() {
        let mut account = Account::new(0);
        account.launched(Time::ZERO);
        account.check(Time::from_nanos(5), std::iter::empty());
    }
}

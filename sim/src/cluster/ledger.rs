//! Billed time: how long nodes lived, and who held them.

use scaletwin_core::record::TimeAverage;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

/// A whole node, in the parts that holders are counted in.
pub const WHOLE: u64 = 1_000_000;

/// How the provider counts a node's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billing {
    /// The least that is billed of a node.
    pub minimum: Span,
    /// What is billed is a multiple of this; zero: to the nanosecond.
    pub granularity: Span,
}

impl Billing {
    /// What is billed of a node that lived so long, beyond its life.
    #[must_use]
    pub fn rounding(&self, life: Span) -> Span {
        let least = life.max(self.minimum);
        let billed = match self.granularity.as_nanos() {
            0 => least,
            unit => self.granularity * least.as_nanos().div_ceil(unit),
        };
        billed - life
    }
}

/// The account of a node pool: a node is billed from its launch to its deletion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    nodes: TimeAverage,
    /// Millionths of nodes held by each deployment.
    held: Vec<TimeAverage>,
    /// The lifetimes of nodes that are gone, since the accounts were opened.
    lifetimes: u128,
    opened: Time,
    billing: Billing,
    /// What a node costs now, dollars per hour.
    price: Option<f64>,
    /// Dollars spent up to the last change of price: on all nodes, and by each deployment.
    spent: f64,
    spent_by: Vec<f64>,
    /// Node time up to then.
    settled: u128,
    settled_by: Vec<u128>,
    /// Nodes taken back by the provider since then.
    interruptions: u64,
    /// Nodes that failed since then.
    failures: u64,
}

impl Account {
    /// The account of a pool without nodes, which `deployments` deployments may use.
    #[must_use]
    pub fn new(deployments: usize, price: Option<f64>, billing: Billing) -> Account {
        Account {
            nodes: TimeAverage::start(Time::ZERO, 0),
            held: vec![TimeAverage::start(Time::ZERO, 0); deployments],
            lifetimes: 0,
            opened: Time::ZERO,
            billing,
            price,
            spent: 0.0,
            spent_by: vec![0.0; deployments],
            settled: 0,
            settled_by: vec![0; deployments],
            interruptions: 0,
            failures: 0,
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
        let rounding = self.billing.rounding(now.since(launched));
        self.spent += dollars(rounding.as_nanos() as f64, self.price.unwrap_or(0.0));
    }

    /// From `now` on a node costs so much.
    pub fn reprice(&mut self, now: Time, usd_per_hour: f64) {
        self.spent = self.cost(now).unwrap_or(0.0);
        self.settled = self.nodes.integral(now);
        for deployment in 0..self.held.len() {
            self.spent_by[deployment] = self.held_cost(deployment, now);
            self.settled_by[deployment] = self.held[deployment].integral(now);
        }
        self.price = Some(usd_per_hour);
    }

    /// What a node costs now, dollars per hour.
    #[must_use]
    pub fn price(&self) -> Option<f64> {
        self.price
    }

    /// The cost of all nodes up to `now`, dollars; `None` without a price.
    #[must_use]
    pub fn cost(&self, now: Time) -> Option<f64> {
        let open = self.nodes.integral(now) - self.settled;
        self.price.map(|price| self.spent + dollars(open as f64, price))
    }

    /// The cost of what a deployment held up to `now`, dollars; 0 without a price.
    #[must_use]
    pub fn held_cost(&self, deployment: usize, now: Time) -> f64 {
        let open = self.held[deployment].integral(now) - self.settled_by[deployment];
        self.spent_by[deployment] + dollars(open as f64 / WHOLE as f64, self.price.unwrap_or(0.0))
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
        (self.spent, self.settled) = (0.0, 0);
        self.spent_by.iter_mut().for_each(|spent| *spent = 0.0);
        self.settled_by.iter_mut().for_each(|settled| *settled = 0);
        self.opened = now;
        (self.interruptions, self.failures) = (0, 0);
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

    /// A node fails.
    pub fn failed(&mut self) {
        self.failures += 1;
    }

    /// Nodes that failed since the accounts were opened.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
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
        let mut account = Account::new(2, Some(3.0), Billing::default());
        account.launched(at(0));
        account.launched(at(600));
        account.take(at(900), 0, WHOLE / 2);
        account.deleted(at(1_800), at(600));
        account.give(at(2_700), 0, WHOLE / 2);
        let now = at(3_600);
        account.check(now, [at(0)].into_iter());
        // 3600 s and 1200 s of nodes; half a node for 1800 s.
        assert_eq!(account.billed_nanos(now), 4_800_000_000_000);
        assert_eq!(account.cost(now), Some(4.0));
        assert_eq!(account.held_cost(0, now), 0.75);
    }

    #[test]
    fn a_bill_under_changing_prices_computed_by_hand() {
        let at = |secs| Time::ZERO + Span::from_secs(secs);
        let mut account = Account::new(1, Some(1.0), Billing::default());
        account.launched(at(0));
        account.take(at(0), 0, WHOLE / 4);
        account.reprice(at(1_800), 4.0);
        account.launched(at(1_800));
        account.reprice(at(3_600), 2.0);
        // Half an hour at 1, half an hour of two nodes at 4, half an hour of two at 2; a quarter of one is held.
        assert_eq!(account.cost(at(5_400)), Some(0.5 + 4.0 + 2.0));
        assert_eq!(account.held_cost(0, at(5_400)), (0.5 + 2.0 + 1.0) / 4.0);
    }

    #[test]
    fn a_node_is_billed_a_minimum_and_whole_units() {
        let billing = Billing { minimum: Span::from_secs(60), granularity: Span::from_secs(3_600) };
        let rounding = |secs| billing.rounding(Span::from_secs(secs)).as_secs();
        assert_eq!([rounding(1), rounding(3_600), rounding(3_601)], [3_599, 0, 3_599]);
        let minute = Billing { minimum: Span::from_secs(60), ..Billing::default() };
        assert_eq!([1, 60, 61].map(|secs| minute.rounding(Span::from_secs(secs)).as_secs()), [59, 0, 0]);
        let mut account = Account::new(0, Some(3_600.0), minute);
        account.launched(Time::ZERO);
        account.deleted(Time::ZERO + Span::from_secs(10), Time::ZERO);
        assert_eq!(account.cost(Time::ZERO + Span::from_secs(99)), Some(60.0));
    }

    #[test]
    #[should_panic(expected = "billed time is the sum of lifetimes")]
    fn a_wrong_account_is_noticed() {
        let mut account = Account::new(0, None, Billing::default());
        account.launched(Time::ZERO);
        account.check(Time::from_nanos(5), std::iter::empty());
    }
}

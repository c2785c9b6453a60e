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

/// Nodes that are paid for all the time, whether they are there or not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Commitment {
    /// How many.
    pub nodes: u32,
    /// What one costs, dollars per hour.
    pub usd_per_hour: f64,
}

/// What a pool's nodes cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// A node beyond the commitment, dollars per hour.
    pub usd_per_hour: Option<f64>,
    /// How the provider counts a node's time.
    pub billing: Billing,
    /// What was bought in advance.
    pub commitment: Option<Commitment>,
}

impl Terms {
    /// What each of so many nodes costs, dollars per hour: the mean of those committed and those beyond.
    fn rate(&self, nodes: u64) -> Option<f64> {
        let list = self.usd_per_hour?;
        let Some(commitment) = self.commitment.filter(|_| nodes > 0) else { return Some(list) };
        let committed = nodes.min(u64::from(commitment.nodes));
        let beyond = nodes - committed;
        Some((committed as f64 * commitment.usd_per_hour + beyond as f64 * list) / nodes as f64)
    }

    /// Committed nodes that are paid for and not there.
    fn unused(&self, nodes: u64) -> u64 {
        self.commitment.map_or(0, |commitment| u64::from(commitment.nodes).saturating_sub(nodes))
    }
}

/// The account of a node pool: a node is billed from its launch to its deletion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    nodes: TimeAverage,
    /// Committed nodes that are not there.
    unused: TimeAverage,
    /// Millionths of nodes held by each deployment.
    held: Vec<TimeAverage>,
    /// The lifetimes of nodes that are gone, since the accounts were opened.
    lifetimes: u128,
    opened: Time,
    terms: Terms,
    /// What each node costs now, dollars per hour.
    rate: Option<f64>,
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
    pub fn new(deployments: usize, terms: Terms) -> Account {
        Account {
            nodes: TimeAverage::start(Time::ZERO, 0),
            unused: TimeAverage::start(Time::ZERO, terms.unused(0)),
            held: vec![TimeAverage::start(Time::ZERO, 0); deployments],
            lifetimes: 0,
            opened: Time::ZERO,
            terms,
            rate: terms.rate(0),
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
        self.count(now, self.nodes.value() + 1);
    }

    /// A node launched at `launched` is given back.
    pub fn deleted(&mut self, now: Time, launched: Time) {
        let nodes = self.nodes.value();
        if self.terms.unused(nodes - 1) == 0 {
            let rounding = self.terms.billing.rounding(now.since(launched));
            self.spent += dollars(rounding.as_nanos() as f64, self.terms.usd_per_hour.unwrap_or(0.0));
        }
        self.count(now, nodes - 1);
        self.lifetimes += u128::from(now.since(launched.max(self.opened)).as_nanos());
    }

    /// From `now` on there are so many nodes.
    fn count(&mut self, now: Time, nodes: u64) {
        if self.terms.commitment.is_some() {
            self.settle(now);
            self.rate = self.terms.rate(nodes);
            self.unused.set(now, self.terms.unused(nodes));
        }
        self.nodes.set(now, nodes);
    }

    /// From `now` on a node beyond the commitment costs so much.
    pub fn reprice(&mut self, now: Time, usd_per_hour: f64) {
        self.settle(now);
        self.terms.usd_per_hour = Some(usd_per_hour);
        self.rate = self.terms.rate(self.nodes.value());
    }

    /// Adds up what has been spent at the present rate.
    fn settle(&mut self, now: Time) {
        self.spent = self.spent_on_nodes(now);
        self.settled = self.nodes.integral(now);
        for deployment in 0..self.held.len() {
            self.spent_by[deployment] = self.held_cost(deployment, now);
            self.settled_by[deployment] = self.held[deployment].integral(now);
        }
    }

    /// What a node beyond the commitment costs now, dollars per hour.
    #[must_use]
    pub fn price(&self) -> Option<f64> {
        self.terms.usd_per_hour
    }

    /// The cost of all nodes up to `now`, and of what was committed and not there, dollars; `None` without a price.
    #[must_use]
    pub fn cost(&self, now: Time) -> Option<f64> {
        let committed = self
            .terms
            .commitment
            .map_or(0.0, |commitment| dollars(self.unused.integral(now) as f64, commitment.usd_per_hour));
        self.rate.map(|_| self.spent_on_nodes(now) + committed)
    }

    fn spent_on_nodes(&self, now: Time) -> f64 {
        let open = self.nodes.integral(now) - self.settled;
        self.spent + dollars(open as f64, self.rate.unwrap_or(0.0))
    }

    /// The cost of what a deployment held up to `now`, dollars; 0 without a price.
    #[must_use]
    pub fn held_cost(&self, deployment: usize, now: Time) -> f64 {
        let open = self.held[deployment].integral(now) - self.settled_by[deployment];
        self.spent_by[deployment] + dollars(open as f64 / WHOLE as f64, self.rate.unwrap_or(0.0))
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
        self.unused.restart(now);
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

    fn priced(usd_per_hour: f64) -> Terms {
        Terms { usd_per_hour: Some(usd_per_hour), ..Terms::default() }
    }

    #[test]
    fn a_bill_computed_by_hand() {
        let at = |secs| Time::ZERO + Span::from_secs(secs);
        let mut account = Account::new(2, priced(3.0));
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
        let mut account = Account::new(1, priced(1.0));
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
    fn what_is_committed_is_paid_for_whether_it_is_there_or_not() {
        let at = |hours| Time::ZERO + Span::from_secs(3_600) * hours;
        let commitment = Some(Commitment { nodes: 2, usd_per_hour: 1.0 });
        let mut account = Account::new(1, Terms { commitment, ..priced(3.0) });
        account.launched(at(1));
        account.take(at(1), 0, WHOLE);
        account.launched(at(2));
        account.launched(at(3));
        account.deleted(at(4), at(1));
        account.check(at(5), [at(2), at(3)].into_iter());
        // Two nodes at 1 for five hours, and in the fourth hour a third one at 3.
        assert_eq!(account.cost(at(5)), Some(2.0 * 5.0 + 3.0));
        // A third of three nodes that cost 1 + 1 + 3 together.
        assert_eq!(account.held_cost(0, at(4)), 1.0 + 1.0 + 5.0 / 3.0);
        assert_eq!(account.price(), Some(3.0));
    }

    #[test]
    fn a_committed_node_has_no_minimum() {
        let billing = Billing { minimum: Span::from_secs(60), ..Billing::default() };
        let commitment = Some(Commitment { nodes: 1, usd_per_hour: 3_600.0 });
        let mut account = Account::new(0, Terms { billing, commitment, ..priced(3_600.0) });
        let at = |secs| Time::ZERO + Span::from_secs(secs);
        account.launched(at(0));
        account.launched(at(0));
        account.deleted(at(10), at(0));
        account.deleted(at(10), at(0));
        // The second node is billed its minute; the committed one every second.
        assert_eq!(account.cost(at(100)), Some(60.0 + 100.0));
    }

    #[test]
    fn a_node_is_billed_a_minimum_and_whole_units() {
        let billing = Billing { minimum: Span::from_secs(60), granularity: Span::from_secs(3_600) };
        let rounding = |secs| billing.rounding(Span::from_secs(secs)).as_secs();
        assert_eq!([rounding(1), rounding(3_600), rounding(3_601)], [3_599, 0, 3_599]);
        let minute = Billing { minimum: Span::from_secs(60), ..Billing::default() };
        assert_eq!([1, 60, 61].map(|secs| minute.rounding(Span::from_secs(secs)).as_secs()), [59, 0, 0]);
        let mut account = Account::new(0, Terms { billing: minute, ..priced(3_600.0) });
        account.launched(Time::ZERO);
        account.deleted(Time::ZERO + Span::from_secs(10), Time::ZERO);
        assert_eq!(account.cost(Time::ZERO + Span::from_secs(99)), Some(60.0));
    }

    #[test]
    #[should_panic(expected = "billed time is the sum of lifetimes")]
    fn a_wrong_account_is_noticed() {
        let mut account = Account::new(0, Terms::default());
        account.launched(Time::ZERO);
        account.check(Time::from_nanos(5), std::iter::empty());
    }
}

//! How requests are spread over one set of replicas.

use scaletwin_core::random::Component;
use scaletwin_core::units::Span;
use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::crowd::Crowd;
use super::latency::Latencies;
use super::prefixes::Prefixes;
use super::reports::{Report, Reports, Weights};
use super::ring::Ring;
use super::sessions::Sessions;
use super::turns::Turns;
use super::{Ask, Member, Slot};

/// How requests are spread over replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// To the replica with the fewest requests; among equals to the one that has had that few for longest.
    LeastOutstanding,
    /// In turn, in proportion to the weights of their deployments.
    WeightedRoundRobin,
    /// To any, each as likely.
    Random,
    /// To the one with the fewest requests of `choices` that are drawn.
    PowerOfChoices {
        /// How many are drawn, all different.
        choices: u32,
    },
    /// To the one with the least product of mean response time and requests.
    LeastResponseTime {
        /// What a new response weighs in the mean, thousandths.
        smoothing_milli: u32,
    },
    /// By the session's place on a ring.
    ConsistentHash {
        /// The most requests of a replica, by the mean, in thousandths.
        load_factor_milli: u32,
    },
    /// To the replica that had the session's last request.
    SessionAffinity {
        /// Sessions that are remembered, the latest.
        remembered: u32,
    },
    /// To a replica that has had the longest part of the prompt.
    PrefixAffinity {
        /// Tokens of a block.
        block_tokens: u32,
        /// Leading blocks that are looked at.
        blocks: u32,
        /// Blocks that are remembered, the latest.
        remembered: u32,
        /// The most requests of such a replica, by the mean, in thousandths.
        load_factor_milli: u32,
        /// And so many more.
        load_slack: u32,
    },
    /// To the replica with the best score by what each reported of itself.
    ResourceBased {
        /// From one report of a replica to its next.
        refresh: Span,
        /// What each figure of a report weighs.
        weights: Weights,
    },
}

impl Balance {
    /// Whether it depends on more of a request than its number.
    #[must_use]
    #[inline]
    pub fn knows_requests(&self) -> bool {
        self.knows_sessions() || matches!(self, Balance::PrefixAffinity { .. })
    }

    /// Whether it depends on which replicas were given requests, and on which have ended them.
    #[must_use]
    pub fn counts_requests(&self) -> bool {
        !matches!(self, Balance::RoundRobin | Balance::ResourceBased { .. })
    }

    /// Whether it depends on the session of a request.
    #[must_use]
    pub fn knows_sessions(&self) -> bool {
        matches!(self, Balance::ConsistentHash { .. } | Balance::SessionAffinity { .. })
    }
}

/// The replicas of a set, in the order that their next requests depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Balancer {
    RoundRobin { ready: Vec<Slot>, next: usize },
    LeastOutstanding(Buckets),
    Weighted(Turns),
    Drawn(Crowd),
    Fastest(Latencies),
    Ring(Ring),
    Sessions(Sessions),
    Prefixes(Prefixes),
    Reports(Reports),
}

impl Balancer {
    pub(super) fn new(balance: &Balance) -> Balancer {
        match balance {
            Balance::RoundRobin => Balancer::RoundRobin { ready: Vec::new(), next: 0 },
            Balance::LeastOutstanding => Balancer::LeastOutstanding(Buckets::default()),
            Balance::WeightedRoundRobin => Balancer::Weighted(Turns::default()),
            Balance::Random => Balancer::Drawn(Crowd::new(1)),
            Balance::PowerOfChoices { choices } => Balancer::Drawn(Crowd::new(*choices)),
            Balance::LeastResponseTime { smoothing_milli } => {
                Balancer::Fastest(Latencies::new(*smoothing_milli))
            }
            Balance::ConsistentHash { load_factor_milli } => Balancer::Ring(Ring::new(*load_factor_milli)),
            Balance::SessionAffinity { remembered } => Balancer::Sessions(Sessions::new(*remembered)),
            Balance::PrefixAffinity { remembered, load_factor_milli, load_slack, .. } => {
                Balancer::Prefixes(Prefixes::new(*remembered, *load_factor_milli, *load_slack))
            }
            Balance::ResourceBased { weights, .. } => Balancer::Reports(Reports::new(*weights)),
        }
    }

    pub(super) fn add(&mut self, member: &Member, weight: u32, luck: Component) {
        match self {
            Balancer::RoundRobin { ready, .. } => ready.push(member.slot),
            Balancer::LeastOutstanding(buckets) => buckets.add(member.slot),
            Balancer::Weighted(turns) => turns.add(member.slot, weight),
            Balancer::Drawn(crowd) => crowd.add(member.slot),
            Balancer::Fastest(latencies) => latencies.add(member.slot),
            Balancer::Ring(ring) => ring.add(member, luck),
            Balancer::Sessions(sessions) => sessions.add(member),
            Balancer::Prefixes(prefixes) => prefixes.add(member),
            Balancer::Reports(reports) => reports.add(member.slot),
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        match self {
            Balancer::RoundRobin { ready, next } => {
                if let Some(place) = ready.iter().position(|other| *other == slot) {
                    ready.remove(place);
                    if place < *next {
                        *next -= 1;
                    }
                }
            }
            Balancer::LeastOutstanding(buckets) => buckets.remove(slot),
            Balancer::Weighted(turns) => turns.remove(slot),
            Balancer::Drawn(crowd) => crowd.remove(slot),
            Balancer::Fastest(latencies) => latencies.remove(slot),
            Balancer::Ring(ring) => ring.remove(slot),
            Balancer::Sessions(sessions) => sessions.remove(slot),
            Balancer::Prefixes(prefixes) => prefixes.remove(slot),
            Balancer::Reports(reports) => reports.remove(slot),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Balancer::RoundRobin { ready, .. } => ready.is_empty(),
            Balancer::LeastOutstanding(buckets) => buckets.is_empty(),
            Balancer::Weighted(turns) => turns.is_empty(),
            Balancer::Drawn(crowd) => crowd.is_empty(),
            Balancer::Fastest(latencies) => latencies.is_empty(),
            Balancer::Ring(ring) => ring.is_empty(),
            Balancer::Sessions(sessions) => sessions.is_empty(),
            Balancer::Prefixes(prefixes) => prefixes.is_empty(),
            Balancer::Reports(reports) => reports.is_empty(),
        }
    }

    #[inline]
    pub(super) fn pick(
        &mut self,
        ask: &Ask,
        luck: Component,
        mut accepts: impl FnMut(Slot) -> bool,
    ) -> Option<Slot> {
        match self {
            Balancer::RoundRobin { ready, next } => {
                for _ in 0..ready.len() {
                    if *next >= ready.len() {
                        *next = 0;
                    }
                    let slot = ready[*next];
                    *next += 1;
                    if accepts(slot) {
                        return Some(slot);
                    }
                }
                None
            }
            Balancer::LeastOutstanding(buckets) => buckets.first(accepts),
            Balancer::Weighted(turns) => turns.in_order().find(|slot| accepts(*slot)),
            Balancer::Drawn(crowd) => crowd.pick(luck.entity(ask.number), accepts),
            Balancer::Fastest(latencies) => latencies.pick(accepts),
            Balancer::Ring(ring) => ring.pick(ask.session, luck, accepts),
            Balancer::Sessions(sessions) => sessions.pick(ask.session, accepts),
            Balancer::Prefixes(prefixes) => prefixes.pick(&ask.prefix, accepts),
            Balancer::Reports(reports) => reports.pick(luck.entity(ask.number), accepts),
        }
    }

    /// The replica whose turn it is, whether it takes a request or not.
    pub(super) fn turn(&mut self, ask: &Ask, luck: Component) -> Option<Slot> {
        match self {
            Balancer::RoundRobin { ready, next } => ready.get(*next).or(ready.first()).copied(),
            other => other.pick(ask, luck, |_| true),
        }
    }

    /// A replica has one request more.
    #[inline]
    pub(super) fn given(&mut self, slot: Slot, ask: &Ask) {
        match self {
            Balancer::RoundRobin { .. } | Balancer::Reports(_) => {}
            Balancer::LeastOutstanding(buckets) => buckets.move_by(slot, true),
            Balancer::Weighted(turns) => turns.took(slot),
            Balancer::Drawn(crowd) => crowd.given(slot),
            Balancer::Fastest(latencies) => latencies.given(slot),
            Balancer::Ring(ring) => ring.given(slot),
            Balancer::Sessions(sessions) => sessions.given(slot, ask.session),
            Balancer::Prefixes(prefixes) => prefixes.given(slot, &ask.prefix),
        }
    }

    /// A replica has one request less, which it answered in `took`, if it did.
    #[inline]
    pub(super) fn ended(&mut self, slot: Slot, took: Option<Span>) {
        match self {
            Balancer::RoundRobin { .. } | Balancer::Weighted(_) | Balancer::Reports(_) => {}
            Balancer::LeastOutstanding(buckets) => buckets.move_by(slot, false),
            Balancer::Drawn(crowd) => crowd.ended(slot),
            Balancer::Fastest(latencies) => latencies.ended(slot, took),
            Balancer::Ring(ring) => ring.ended(slot),
            Balancer::Sessions(sessions) => sessions.ended(slot),
            Balancer::Prefixes(prefixes) => prefixes.ended(slot),
        }
    }

    /// A replica has reported what it uses.
    pub(super) fn reported(&mut self, slot: Slot, report: Report) {
        if let Balancer::Reports(reports) = self {
            reports.reported(slot, report);
        }
    }
}

//! Which replica gets a request, in O(1) or O(log n).
//!
//! Three questions, one after the other: which deployment ([`Across`]), which zone, and which of its replicas
//! ([`Balance`]). `docs/models/routing.md` has the rules.

mod balance;
mod buckets;
mod crowd;
mod latency;
mod prefixes;
mod remembered;
mod reports;
mod ring;
mod sessions;
mod turns;

pub use balance::Balance;
pub use prefixes::block_hashes;
pub use reports::{Report, WHOLE, Weights};

use std::collections::BTreeMap;

use balance::Balancer;
use scaletwin_core::random::Component;
use scaletwin_core::units::Span;
use serde::{Deserialize, Serialize};
use turns::Turns;

scaletwin_core::names! {
    /// How requests are spread over the deployments of a service.
    pub enum Across {
        /// All replicas are one set.
        Together = "together",
        /// Each deployment gets requests in proportion to its weight; what it cannot take, the others do.
        Split = "split",
        /// A deployment gets requests only when none before it takes them.
        Failover = "failover",
    }
}

/// How the requests of a service are spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoutingSettings {
    /// Over replicas.
    pub balance: Balance,
    /// Over deployments.
    pub across: Across,
    /// The weights of the deployments, in their order.
    pub weights: Vec<u32>,
    /// Whether a request goes to a replica in the zone that it enters in, if one takes it.
    pub prefers_zone: bool,
    /// With failover, deployments with fewer thousandths of their wanted replicas ready come after the others.
    pub min_ready_milli: Option<u32>,
}

/// The place of a replica in the dense arrays.
pub type Slot = u32;

/// A replica that takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its place.
    pub slot: Slot,
    /// Its number, which no other replica ever has.
    pub id: u32,
    /// The place of its deployment within the service.
    pub deployment: u32,
    /// Its zone, if it is in one.
    pub zone: Option<u16>,
}

/// What a router may know of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Its number within the service.
    pub number: u64,
    /// The session that it belongs to, where the router asks for it; a number of its own if it belongs to none.
    pub session: u64,
    /// The zone in which it enters.
    pub zone: Option<u16>,
    /// The hashes of its leading blocks, where the router asks for them.
    pub prefix: Vec<u64>,
}

/// The ready replicas of a service, in the order that their next requests depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    across: Across,
    prefers_zone: bool,
    /// Whether whose turn it is depends on who has requests.
    counts: bool,
    weights: Vec<u32>,
    luck: Component,
    /// One set, or one a deployment.
    sets: Vec<Set>,
    /// Whether enough replicas of each set are ready.
    strong: Vec<bool>,
    /// Whose turn it is among several sets.
    turns: Turns,
    /// The set and zone of each slot that is a member.
    homes: Vec<Option<(u32, Option<u16>)>>,
}

/// Replicas that a request can choose from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    all: Balancer,
    /// An empty one, for zones that come.
    empty: Balancer,
    zones: BTreeMap<u16, Balancer>,
}

impl Set {
    fn new(balance: &Balance) -> Set {
        Set { all: Balancer::new(balance), empty: Balancer::new(balance), zones: BTreeMap::new() }
    }

    fn pick(&mut self, ask: &Ask, luck: Component, accepts: &mut impl FnMut(Slot) -> bool) -> Option<Slot> {
        let near = ask.zone.and_then(|zone| self.zones.get_mut(&zone));
        let near = near.and_then(|near| near.pick(ask, luck, &mut *accepts));
        near.or_else(|| self.all.pick(ask, luck, accepts))
    }

    /// Changes all balancers that a replica of this zone is in.
    #[inline]
    fn change(&mut self, zone: Option<u16>, mut change: impl FnMut(&mut Balancer)) {
        change(&mut self.all);
        if let Some(near) = zone.and_then(|zone| self.zones.get_mut(&zone)) {
            change(near);
        }
    }
}

impl Router {
    /// A router without replicas. Its draws are those of `luck`.
    #[must_use]
    pub fn new(settings: &RoutingSettings, luck: Component) -> Router {
        let sets = match settings.across {
            Across::Together => 1,
            Across::Split | Across::Failover => settings.weights.len(),
        };
        let mut turns = Turns::default();
        for (place, weight) in (0u32..).zip(&settings.weights).take(sets) {
            turns.add(place, *weight);
        }
        Router {
            across: settings.across,
            prefers_zone: settings.prefers_zone,
            counts: settings.balance.counts_requests(),
            weights: settings.weights.clone(),
            luck,
            sets: vec![Set::new(&settings.balance); sets],
            strong: vec![true; sets],
            turns,
            homes: Vec::new(),
        }
    }

    /// A replica takes requests from now on.
    pub fn add(&mut self, member: &Member) {
        let set = if self.sets.len() > 1 { member.deployment } else { 0 };
        let zone = member.zone.filter(|_| self.prefers_zone);
        if self.homes.len() <= member.slot as usize {
            self.homes.resize(member.slot as usize + 1, None);
        }
        self.homes[member.slot as usize] = Some((set, zone));
        let weight = self.weights.get(member.deployment as usize).copied().unwrap_or(1);
        let set = &mut self.sets[set as usize];
        if let Some(zone) = zone {
            set.zones.entry(zone).or_insert_with(|| set.empty.clone());
        }
        set.change(zone, |balancer| balancer.add(member, weight, self.luck));
    }

    /// A replica takes no more requests.
    pub fn remove(&mut self, slot: Slot) {
        let Some((set, zone)) = self.homes.get_mut(slot as usize).and_then(Option::take) else { return };
        self.sets[set as usize].change(zone, |balancer| balancer.remove(slot));
    }

    /// Says of the deployment at a place within the service whether enough of its replicas are ready.
    pub fn judge(&mut self, deployment: usize, strong: bool) {
        if let Some(known) = self.strong.get_mut(deployment) {
            *known = strong;
        }
    }

    /// Whether no replica takes requests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.iter().all(|set| set.all.is_empty())
    }

    /// The replica that is to get this request, if one `accepts` it. It counts as given once [`Router::given`] says so.
    #[inline]
    pub fn pick(&mut self, ask: &Ask, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        match self.across {
            Across::Together => self.sets[0].pick(ask, self.luck, &mut accepts),
            Across::Failover => [true, false].into_iter().find_map(|strong| {
                let sets = self.sets.iter_mut().zip(&self.strong).filter(|(_, found)| **found == strong);
                sets.map(|(set, _)| set).find_map(|set| set.pick(ask, self.luck, &mut accepts))
            }),
            Across::Split => self
                .turns
                .in_order()
                .find_map(|place| self.sets[place as usize].pick(ask, self.luck, &mut accepts)),
        }
    }

    /// The replica whose turn it is, whether it takes a request or not.
    #[must_use]
    pub fn turn(&mut self, ask: &Ask) -> Option<Slot> {
        let first = match self.across {
            Across::Together | Across::Failover => None,
            Across::Split => self.turns.in_order().next(),
        };
        let set = self.sets.get_mut(first.unwrap_or(0) as usize)?;
        let near = ask.zone.and_then(|zone| set.zones.get_mut(&zone));
        near.and_then(|near| near.turn(ask, self.luck)).or_else(|| set.all.turn(ask, self.luck))
    }

    /// A replica has this request more.
    #[inline]
    pub fn given(&mut self, slot: Slot, ask: &Ask) {
        if self.counts || self.across == Across::Split {
            self.count_given(slot, ask);
        }
    }

    fn count_given(&mut self, slot: Slot, ask: &Ask) {
        let Some((set, zone)) = self.homes.get(slot as usize).copied().flatten() else { return };
        if self.across == Across::Split {
            self.turns.took(set);
        }
        self.sets[set as usize].change(zone, |balancer| balancer.given(slot, ask));
    }

    /// A replica has one request less, which it answered in `took`, if it did.
    #[inline]
    pub fn ended(&mut self, slot: Slot, took: Option<Span>) {
        if self.counts {
            self.count_ended(slot, took);
        }
    }

    fn count_ended(&mut self, slot: Slot, took: Option<Span>) {
        let Some((set, zone)) = self.homes.get(slot as usize).copied().flatten() else { return };
        self.sets[set as usize].change(zone, |balancer| balancer.ended(slot, took));
    }

    /// A replica has reported what it uses.
    pub fn reported(&mut self, slot: Slot, report: Report) {
        let Some((set, zone)) = self.homes.get(slot as usize).copied().flatten() else { return };
        self.sets[set as usize].change(zone, |balancer| balancer.reported(slot, report));
    }
}

#[cfg(test)]
mod tests;

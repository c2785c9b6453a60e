//! Which replica gets a request, in O(1).

use serde::{Deserialize, Serialize};

scaletwin_core::names! {
    /// How requests are spread over the ready replicas of a service.
    pub enum Routing {
        /// In turn.
        RoundRobin = "round-robin",
        /// To the replica with the fewest requests; among equals to the one that has had that few for longest.
        LeastOutstanding = "least-outstanding",
    }
}

/// The place of a replica in the dense arrays.
pub type Slot = u32;

/// The ready replicas of a service, in the order that their next requests depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    RoundRobin { ready: Vec<Slot>, next: usize },
    LeastOutstanding(Buckets),
}

impl Router {
    /// A router without replicas.
    #[must_use]
    pub fn new(routing: Routing) -> Router {
        Router(match routing {
            Routing::RoundRobin => Kind::RoundRobin { ready: Vec::new(), next: 0 },
            Routing::LeastOutstanding => Kind::LeastOutstanding(Buckets::default()),
        })
    }

    /// A replica takes requests from now on.
    pub fn add(&mut self, slot: Slot) {
        match &mut self.0 {
            Kind::RoundRobin { ready, .. } => ready.push(slot),
            Kind::LeastOutstanding(buckets) => buckets.add(slot),
        }
    }

    /// A replica takes no more requests.
    pub fn remove(&mut self, slot: Slot) {
        match &mut self.0 {
            Kind::RoundRobin { ready, next } => {
                if let Some(place) = ready.iter().position(|other| *other == slot) {
                    ready.remove(place);
                    if place < *next {
                        *next -= 1;
                    }
                }
            }
            Kind::LeastOutstanding(buckets) => buckets.remove(slot),
        }
    }

    /// Whether no replica takes requests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::RoundRobin { ready, .. } => ready.is_empty(),
            Kind::LeastOutstanding(buckets) => buckets.members == 0,
        }
    }

    /// The replica that is to get the next request, if one `accepts` it. It counts as given once [`Router::given`] says
    /// so.
    #[inline]
    pub fn pick(&mut self, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        match &mut self.0 {
            Kind::RoundRobin { ready, next } => {
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
            Kind::LeastOutstanding(buckets) => buckets.first(accepts),
        }
    }

    /// The replica whose turn it is, whether it takes a request or not.
    #[must_use]
    pub fn turn(&mut self) -> Option<Slot> {
        match &mut self.0 {
            Kind::RoundRobin { ready, next } => ready.get(*next).or(ready.first()).copied(),
            Kind::LeastOutstanding(buckets) => buckets.first(|_| true),
        }
    }

    /// A replica has one request more.
    #[inline]
    pub fn given(&mut self, slot: Slot) {
        if let Kind::LeastOutstanding(buckets) = &mut self.0 {
            buckets.move_by(slot, true);
        }
    }

    /// A replica has one request less.
    #[inline]
    pub fn ended(&mut self, slot: Slot) {
        if let Kind::LeastOutstanding(buckets) = &mut self.0 {
            buckets.move_by(slot, false);
        }
    }
}

/// Marks the end of a list.
const NONE: Slot = Slot::MAX;

/// Replicas in lists by their number of requests, each list in the order of joining.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Buckets {
    links: Vec<Link>,
    /// For each number of requests the first and last replica.
    ends: Vec<(Slot, Slot)>,
    /// No list below this holds anything.
    least: usize,
    members: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    before: Slot,
    after: Slot,
    requests: u32,
    member: bool,
}

impl Buckets {
    fn add(&mut self, slot: Slot) {
        let place = slot as usize;
        let empty = Link { before: NONE, after: NONE, requests: 0, member: false };
        if place >= self.links.len() {
            self.links.resize(place + 1, empty);
        }
        self.links[place] = Link { member: true, ..empty };
        self.members += 1;
        self.join(slot);
    }

    fn remove(&mut self, slot: Slot) {
        if self.links.get(slot as usize).is_some_and(|link| link.member) {
            self.leave(slot);
            self.links[slot as usize].member = false;
            self.members -= 1;
        }
    }

    fn first(&mut self, mut accepts: impl FnMut(Slot) -> bool) -> Option<Slot> {
        if self.members == 0 {
            return None;
        }
        while self.ends[self.least].0 == NONE {
            self.least += 1;
        }
        // Replicas of one service may have different limits, so a full one does not mean that all are.
        for (slot, _) in &self.ends[self.least..] {
            let mut slot = *slot;
            while slot != NONE {
                if accepts(slot) {
                    return Some(slot);
                }
                slot = self.links[slot as usize].after;
            }
        }
        None
    }

    fn move_by(&mut self, slot: Slot, up: bool) {
        let Some(link) = self.links.get(slot as usize).copied().filter(|link| link.member) else { return };
        self.leave(slot);
        self.links[slot as usize].requests = if up { link.requests + 1 } else { link.requests - 1 };
        self.join(slot);
    }

    fn leave(&mut self, slot: Slot) {
        let Link { before, after, requests, .. } = self.links[slot as usize];
        let ends = &mut self.ends[requests as usize];
        if before == NONE {
            ends.0 = after;
        }
        if after == NONE {
            ends.1 = before;
        }
        if before != NONE {
            self.links[before as usize].after = after;
        }
        if after != NONE {
            self.links[after as usize].before = before;
        }
    }

    fn join(&mut self, slot: Slot) {
        let requests = self.links[slot as usize].requests as usize;
        if requests >= self.ends.len() {
            self.ends.resize(requests + 1, (NONE, NONE));
        }
        let last = std::mem::replace(&mut self.ends[requests].1, slot);
        if last == NONE {
            self.ends[requests].0 = slot;
        } else {
            self.links[last as usize].after = slot;
        }
        let link = &mut self.links[slot as usize];
        (link.before, link.after) = (last, NONE);
        self.least = self.least.min(requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn turns_go_round_and_skip_the_full() {
        let mut router = Router::new(Routing::RoundRobin);
        for slot in 0..3 {
            router.add(slot);
        }
        let mut picks: Vec<_> = (0..4).filter_map(|_| router.pick(|_| true)).collect();
        picks.extend(router.pick(|slot| slot != 1));
        router.remove(0);
        picks.extend(router.pick(|_| true));
        assert_eq!(picks, [0, 1, 2, 0, 2, 1]);
        assert_eq!(router.pick(|_| false), None);
    }

    proptest! {
        #[test]
        fn the_least_loaded_is_found(ops in prop::collection::vec((0u8..4, 0u32..6), 1..200)) {
            let mut router = Router::new(Routing::LeastOutstanding);
            // (slot, requests, since when it has that many)
            let mut list: Vec<(Slot, u32, usize)> = Vec::new();
            for (time, (op, slot)) in ops.into_iter().enumerate() {
                let place = list.iter().position(|(other, ..)| *other == slot);
                match (op, place) {
                    (0, None) => {
                        router.add(slot);
                        list.push((slot, 0, time));
                    }
                    (1, Some(place)) => {
                        router.remove(slot);
                        list.remove(place);
                    }
                    (2, Some(place)) if list[place].1 > 0 => {
                        router.ended(slot);
                        list[place] = (slot, list[place].1 - 1, time);
                    }
                    (3, _) => {
                        let want = list.iter().min_by_key(|(_, requests, since)| (*requests, *since)).map(|(s, ..)| *s);
                        let pick = router.pick(|_| true);
                        prop_assert_eq!(pick, want);
                        if let Some(slot) = pick {
                            router.given(slot);
                            let entry = list.iter_mut().find(|(other, ..)| *other == slot).unwrap();
                            *entry = (slot, entry.1 + 1, time);
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(router.is_empty(), list.is_empty());
            }
        }
    }
}

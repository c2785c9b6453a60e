//! Where pods would go: `pkg/controllers/provisioning/scheduling`.
//!
//! The largest pods are placed first: on a node that is there or coming, else on a node that is planned, else on one more.
//! A planned node keeps the set of instance types on which its pods fit; which of them it becomes is chosen at the end.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::control::{Resources, TopologyKey};

use super::catalogue::Catalogue;
use super::spec::PoolLimits;
use crate::kubernetes::placement::{Pod, Rooms, Shape, Within};

/// A node that is planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim<'a> {
    /// The place of its NodePool.
    pub node_pool: usize,
    /// The places of the instance types that are left.
    pub types: Vec<usize>,
    /// The node pool of the scenario that its pods name, if one does.
    pub within: Within<'a>,
    /// What its pods request.
    pub requested: Resources,
    /// How many pods.
    pub pods: usize,
    /// Its number in the census, once it is in a zone.
    seat: Option<usize>,
}

/// Where a pod would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// Into the room at this place.
    Room(usize),
    /// On the planned node at this place.
    Claim(usize),
    /// Nowhere.
    Nowhere,
}

/// Where all pods would go.
#[derive(Debug, Clone, Default)]
pub struct Schedule<'a> {
    /// The planned nodes.
    pub claims: Vec<Claim<'a>>,
    /// Each pod with its place, the largest first.
    pub placed: Vec<(Pod<'a>, Spot)>,
}

/// Places pods. `remaining` is how much each NodePool, those with more weight first, may have besides what it has.
#[must_use]
pub fn schedule<'a>(
    rooms: Rooms<'a>,
    mut pods: Vec<Pod<'a>>,
    catalogue: &Catalogue<'a>,
    remaining: Vec<PoolLimits>,
) -> Schedule<'a> {
    // By cores, then memory, then age, then name; GPUs do not count.
    let size = |pod: &Pod<'_>| (pod.shape.requests.cpu_milli, pod.shape.requests.memory_bytes);
    pods.sort_by(|a, b| size(b).cmp(&size(a)).then(a.since.cmp(&b.since)).then(a.name.cmp(b.name)));
    let mut scheduler = Scheduler {
        catalogue,
        remaining,
        rooms,
        claims: Vec::new(),
        order: BTreeSet::new(),
        shapes: BTreeMap::new(),
        memory: Vec::new(),
    };
    let placed = pods.into_iter().map(|pod| (pod, scheduler.place(&pod.shape))).collect();
    Schedule { claims: scheduler.claims, placed }
}

/// What is known of a shape: rooms, planned nodes and limits only shrink, so that what refused it once always does.
#[derive(Debug, Default)]
struct Known {
    /// Rooms before this place have refused it.
    rooms: usize,
    /// Planned nodes that have refused it, by place.
    claims: Vec<bool>,
    /// Whether no NodePool has a node for it.
    hopeless: bool,
}

type ShapeKey<'a> = (i64, i64, i64, Option<&'a str>, &'a [String]);

struct Scheduler<'a, 'c> {
    catalogue: &'c Catalogue<'a>,
    remaining: Vec<PoolLimits>,
    rooms: Rooms<'a>,
    claims: Vec<Claim<'a>>,
    /// The planned nodes by their number of pods, the fewest first; of equals the older.
    order: BTreeSet<(usize, usize)>,
    shapes: BTreeMap<ShapeKey<'a>, usize>,
    memory: Vec<Known>,
}

impl<'a> Scheduler<'a, '_> {
    fn place(&mut self, shape: &Shape<'a>) -> Spot {
        if let (Some(target), true) = (shape.tied, self.rooms.census.is_some()) {
            return self.place_tied(shape, target);
        }
        let Resources { cpu_milli, memory_bytes, gpu_milli } = shape.requests;
        let next = self.memory.len();
        let known = *self
            .shapes
            .entry((cpu_milli, memory_bytes, gpu_milli, shape.pool, shape.barred))
            .or_insert(next);
        if known == next {
            self.memory.push(Known::default());
        }
        if let Some(room) = self.in_room(shape, known) {
            return Spot::Room(room);
        }
        self.onto_claim(shape, known)
            .or_else(|| self.new_claim(shape, known))
            .map_or(Spot::Nowhere, Spot::Claim)
    }

    fn in_room(&mut self, shape: &Shape<'a>, known: usize) -> Option<usize> {
        let (from, all) = (self.memory[known].rooms, self.rooms.rooms.len());
        let found = (from..all).find(|place| self.rooms.take_at(*place, shape));
        self.memory[known].rooms = found.unwrap_or(all);
        found
    }

    fn onto_claim(&mut self, shape: &Shape<'a>, known: usize) -> Option<usize> {
        let refused = &mut self.memory[known].claims;
        refused.resize(self.claims.len(), false);
        for (pods, place) in &self.order {
            if refused[*place] {
                continue;
            }
            if self.claims[*place].add(shape, self.catalogue) {
                let (pods, place) = (*pods, *place);
                self.order.remove(&(pods, place));
                self.order.insert((pods + 1, place));
                return Some(place);
            }
            refused[*place] = true;
        }
        None
    }

    fn new_claim(&mut self, shape: &Shape<'a>, known: usize) -> Option<usize> {
        if self.memory[known].hopeless {
            return None;
        }
        for node_pool in 0..self.catalogue.types.len() {
            let mut claim = self.empty_claim(node_pool);
            if claim.add(shape, self.catalogue) {
                return Some(self.plan(claim));
            }
        }
        self.memory[known].hopeless = true;
        None
    }

    /// A node of a NodePool, of any type within its limits.
    fn empty_claim(&self, node_pool: usize) -> Claim<'a> {
        let types = &self.catalogue.types[node_pool];
        let allowed = |place: &usize| self.remaining[node_pool].has(&types[*place].capacity);
        Claim {
            node_pool,
            types: (0..types.len()).filter(allowed).collect(),
            within: Within::default(),
            requested: Resources::default(),
            pods: 0,
            seat: None,
        }
    }

    /// A node with its first pod is planned. Its place.
    fn plan(&mut self, claim: Claim<'a>) -> usize {
        let types = &self.catalogue.types[claim.node_pool];
        let most = claim.types.iter().map(|place| types[*place].capacity);
        self.remaining[claim.node_pool].take(&most.reduce(largest).unwrap_or_default());
        let place = self.claims.len();
        self.order.insert((1, place));
        self.claims.push(claim);
        place
    }

    // ---- pods whose place depends on others ----

    /// Where a pod goes that terms are about. Nothing is remembered of what refused it: others may come.
    fn place_tied(&mut self, shape: &Shape<'a>, target: usize) -> Spot {
        if let Some(room) = (0..self.rooms.rooms.len()).find(|place| self.rooms.take_at(*place, shape)) {
            return Spot::Room(room);
        }
        let order: Vec<(usize, usize)> = self.order.iter().copied().collect();
        for (pods, place) in order {
            if let Some(claim) = self.settled(self.claims[place].clone(), shape, target) {
                self.claims[place] = claim;
                self.order.remove(&(pods, place));
                self.order.insert((pods + 1, place));
                return Spot::Claim(place);
            }
        }
        for node_pool in 0..self.catalogue.types.len() {
            if let Some(claim) = self.settled(self.empty_claim(node_pool), shape, target) {
                return Spot::Claim(self.plan(claim));
            }
        }
        Spot::Nowhere
    }

    /// A planned node with one pod more, in the first zone where that may be: that with the fewest pods of its target.
    fn settled(&mut self, claim: Claim<'a>, shape: &Shape<'a>, target: usize) -> Option<Claim<'a>> {
        let census = self.rooms.census.as_mut()?;
        let filter = census.filter(target);
        if let Some(seat) = claim.seat {
            let mut claim = Some(claim).filter(|_| census.allows(&filter, seat))?;
            return claim.add(shape, self.catalogue).then(|| {
                census.put(seat, target, true);
                claim
            });
        }
        let mut zones: Vec<(u32, &'a str, usize)> = Vec::new();
        let offers = self.catalogue.offers.iter().filter(|offer| shape.may_use(&offer.pool));
        let pools = offers.map(|offer| (offer.zone.as_str(), offer.pool.as_str()));
        let mut known = BTreeSet::new();
        for (zone, pool) in pools.filter(|(zone, _)| known.insert(*zone)) {
            let seat = census.add_node(zone, pool);
            zones.push((census.pods(seat, TopologyKey::Zone, target).staying, zone, seat));
        }
        zones.sort_unstable();
        let mut found = None;
        for (_, zone, seat) in zones {
            let mut tried =
                Claim { within: claim.within.clone().in_zone(zone), seat: Some(seat), ..claim.clone() };
            let takes = found.is_none() && census.allows(&filter, seat) && tried.add(shape, self.catalogue);
            if takes {
                census.put(seat, target, true);
                found = Some(tried);
            } else {
                census.set_open(seat, false);
            }
        }
        found
    }
}

impl<'a> Claim<'a> {
    /// Adds a pod if an instance type is left on which all fit. Whether there is.
    fn add(&mut self, shape: &Shape<'a>, catalogue: &Catalogue<'_>) -> bool {
        let Some(within) = self.within.and(shape) else { return false };
        let requested = self.requested.plus(&shape.requests);
        let types = &catalogue.types[self.node_pool];
        let bound = within != self.within || within.zone().is_some();
        let fits = |place: &usize| {
            let offered = || types[*place].offers.iter().any(|offer| within.allows(catalogue.offers[*offer]));
            requested.fits(&types[*place].allocatable) && (!bound || offered())
        };
        let left: Vec<usize> = self.types.iter().copied().filter(fits).collect();
        if left.is_empty() {
            return false;
        }
        (self.types, self.within, self.requested, self.pods) = (left, within, requested, self.pods + 1);
        true
    }
}

/// The larger of each.
fn largest(a: Resources, b: Resources) -> Resources {
    Resources {
        cpu_milli: a.cpu_milli.max(b.cpu_milli),
        memory_bytes: a.memory_bytes.max(b.memory_bytes),
        gpu_milli: a.gpu_milli.max(b.gpu_milli),
    }
}

impl PoolLimits {
    /// Whether a node of this size stays within what is left.
    #[must_use]
    pub fn has(&self, node: &Resources) -> bool {
        let enough = |left: Option<i64>, asked: i64| left.is_none_or(|left| asked <= left);
        enough(self.cpu_milli, node.cpu_milli)
            && enough(self.memory_bytes, node.memory_bytes)
            && enough(self.gpu_milli, node.gpu_milli)
            && enough(self.nodes, 1)
    }

    /// Takes a node off what is left.
    pub fn take(&mut self, node: &Resources) {
        let take = |left: &mut Option<i64>, asked: i64| *left = left.map(|left| left - asked);
        take(&mut self.cpu_milli, node.cpu_milli);
        take(&mut self.memory_bytes, node.memory_bytes);
        take(&mut self.gpu_milli, node.gpu_milli);
        take(&mut self.nodes, 1);
    }
}

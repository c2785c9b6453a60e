//! Pods and the room they find: what node autoscalers simulate before they add or remove a node.
//!
//! A pod fits where its requests do, in the node pool that it names and in none that its selectors and tolerations bar it
//! from, and where the terms of all targets let it be with regard to the pods that are there ([`Census`]). [`Budgets`] say
//! whether all pods of a node may go. What real simulations check besides (volumes, ports) is not in the view of nodes.

use std::collections::BTreeMap;

use scaletwin_core::control::{Census, NodeView, NodesView, Offer, PendingPod, PodTerms, Resources};
use scaletwin_core::units::Time;

/// What decides where a pod fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<'a> {
    /// What it requests.
    pub requests: Resources,
    /// The node pool it has to run in, if it names one.
    pub pool: Option<&'a str>,
    /// The node pools that it may not run in.
    pub barred: &'a [String],
    /// The place of its target among the terms of the view, if they are about it.
    pub tied: Option<usize>,
}

impl Shape<'_> {
    /// Whether it may run in `pool`, on a node with so much left.
    #[must_use]
    pub fn fits(&self, pool: &str, free: &Resources) -> bool {
        self.may_use(pool) && self.requests.fits(free)
    }

    /// Whether it may run in `pool`.
    #[must_use]
    pub fn may_use(&self, pool: &str) -> bool {
        let barred = self.barred.iter().any(|barred| barred == pool);
        self.pool.is_none_or(|wanted| wanted == pool) && !barred
    }
}

/// The node pools that several pods may run in, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Within<'a> {
    pool: Option<&'a str>,
    barred: Vec<&'a str>,
    zone: Option<&'a str>,
}

impl<'a> Within<'a> {
    /// The same, in one zone.
    #[must_use]
    pub fn in_zone(self, zone: &'a str) -> Within<'a> {
        Within { zone: Some(zone), ..self }
    }

    /// Whether no pod has narrowed it.
    #[must_use]
    pub fn is_anywhere(&self) -> bool {
        self.pool.is_none() && self.barred.is_empty()
    }

    /// The zone, if it is fixed.
    #[must_use]
    pub fn zone(&self) -> Option<&'a str> {
        self.zone
    }

    /// With one pod more; `None` where that one has to run in another pool.
    #[must_use]
    pub fn and(&self, shape: &Shape<'a>) -> Option<Within<'a>> {
        if self.pool.zip(shape.pool).is_some_and(|(own, other)| own != other) {
            return None;
        }
        let mut both = self.clone();
        both.pool = both.pool.or(shape.pool);
        let new = shape.barred.iter().map(String::as_str).filter(|barred| !self.barred.contains(barred));
        both.barred.extend(new);
        Some(both)
    }

    /// Whether they may run on a node of this offer.
    #[must_use]
    pub fn allows(&self, offer: &Offer) -> bool {
        let pool = offer.pool.as_str();
        self.pool.is_none_or(|wanted| wanted == pool)
            && !self.barred.contains(&pool)
            && self.zone.is_none_or(|zone| zone == offer.zone)
    }
}

/// A pod to be placed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pod<'a> {
    /// Its name.
    pub name: &'a str,
    /// The target it belongs to.
    pub target: &'a str,
    /// Since when it waits.
    pub since: Time,
    /// What decides where it fits.
    pub shape: Shape<'a>,
}

impl<'a> Pod<'a> {
    /// A pod that waits.
    #[must_use]
    pub fn waiting(pod: &'a PendingPod) -> Pod<'a> {
        let (pool, barred) = (pod.pool.as_deref(), pod.barred.as_slice());
        let shape = Shape { requests: pod.requests, pool, barred, tied: pod.tied };
        Pod { name: &pod.name, target: pod.target.as_str(), since: pod.since, shape }
    }

    /// The pods on a node that would have to move: those that are not being deleted.
    pub fn on(node: &'a NodeView) -> impl Iterator<Item = Pod<'a>> {
        node.pods.iter().filter(|pod| !pod.deleted).map(|pod| Pod {
            name: &pod.name,
            target: pod.target.as_str(),
            since: Time::ZERO,
            shape: Shape {
                requests: pod.requests,
                pool: pod.pool.as_deref(),
                barred: &pod.barred,
                tied: pod.tied,
            },
        })
    }
}

/// A node with what is left of it, and the pods that a simulation has moved there.
#[derive(Debug, Clone)]
pub struct Room<'a> {
    /// The node.
    pub node: &'a NodeView,
    /// What its pods leave, those being deleted included.
    pub free: Resources,
    /// What was moved there.
    pub moved: Vec<Shape<'a>>,
}

impl<'a> Room<'a> {
    /// The room of a node as it is.
    #[must_use]
    pub fn of(node: &'a NodeView) -> Room<'a> {
        let free = node.pods.iter().fold(node.allocatable, |free, pod| free.minus(&pod.requests));
        Room { node, free, moved: Vec::new() }
    }

    /// Puts a pod there if it fits. Whether it does.
    fn take(&mut self, shape: &Shape<'a>) -> bool {
        let fits = shape.fits(&self.node.pool, &self.free);
        if fits {
            self.free = self.free.minus(&shape.requests);
            self.moved.push(*shape);
        }
        fits
    }
}

/// Who is on which node of a cluster.
#[must_use]
pub fn census<'a>(nodes: &[&NodeView], terms: &'a [PodTerms]) -> Census<'a> {
    let mut census = Census::new(terms);
    for node in nodes {
        let seat = census.add_node(&node.zone, &node.pool);
        for pod in &node.pods {
            if let Some(target) = pod.tied {
                census.put(seat, target, !pod.deleted);
            }
        }
    }
    census
}

/// Nodes in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub struct Rooms<'a> {
    /// The nodes.
    pub rooms: Vec<Room<'a>>,
    /// Who is where, these nodes and others, if that matters.
    pub census: Option<Census<'a>>,
    /// The number of each node in the census.
    seats: Vec<usize>,
}

impl<'a> Rooms<'a> {
    /// The rooms of these nodes, where `terms` hold and `others` have pods that they are about, too.
    #[must_use]
    pub fn new(open: Vec<&'a NodeView>, others: Vec<&'a NodeView>, terms: &'a [PodTerms]) -> Rooms<'a> {
        let seats = (0..open.len()).collect();
        let rooms = open.iter().map(|node| Room::of(node)).collect();
        let all: Vec<&NodeView> = open.into_iter().chain(others).collect();
        Rooms { rooms, census: (!terms.is_empty()).then(|| census(&all, terms)), seats }
    }

    /// Puts a pod into the first room that fits. Whether there is one.
    pub fn take(&mut self, shape: &Shape<'a>) -> bool {
        (0..self.rooms.len()).any(|place| self.take_at(place, shape))
    }

    /// Puts a pod into the room at `place` if it fits. Whether it does.
    pub fn take_at(&mut self, place: usize, shape: &Shape<'a>) -> bool {
        let (Some(census), Some(target)) = (&mut self.census, shape.tied) else {
            return self.rooms[place].take(shape);
        };
        let seat = self.seats[place];
        let takes = census.allows(&census.filter(target), seat) && self.rooms[place].take(shape);
        if takes {
            census.put(seat, target, true);
        }
        takes
    }

    /// Takes the node at `place` away and moves its pods into the other rooms that `may` take some. Where one finds
    /// none, everything stays as it was. Whether all found one.
    pub fn move_all(&mut self, place: usize, may: impl Fn(&NodeView) -> bool) -> bool {
        let leaving = &self.rooms[place];
        let pods: Vec<Shape<'a>> =
            Pod::on(leaving.node).map(|pod| pod.shape).chain(leaving.moved.iter().copied()).collect();
        pods.iter().for_each(|pod| self.count(place, pod, false));
        self.set_open(place, false);
        let mut moves: Vec<(usize, Shape<'a>)> = Vec::with_capacity(pods.len());
        for pod in &pods {
            let mut others = (0..self.rooms.len()).filter(|other| *other != place);
            let found = others.find(|other| may(self.rooms[*other].node) && self.take_at(*other, pod));
            match found {
                Some(other) => moves.push((other, *pod)),
                None => {
                    self.undo(&moves);
                    pods.iter().for_each(|pod| self.count(place, pod, true));
                    self.set_open(place, true);
                    return false;
                }
            }
        }
        true
    }

    fn undo(&mut self, moves: &[(usize, Shape<'a>)]) {
        for (place, pod) in moves.iter().rev() {
            self.count(*place, pod, false);
            let room = &mut self.rooms[*place];
            room.moved.pop();
            room.free = room.free.plus(&pod.requests);
        }
    }

    /// A pod comes to a node, or goes.
    fn count(&mut self, place: usize, pod: &Shape<'a>, comes: bool) {
        if let (Some(census), Some(target)) = (&mut self.census, pod.tied) {
            match comes {
                true => census.put(self.seats[place], target, true),
                false => census.take(self.seats[place], target, true),
            }
        }
    }

    fn set_open(&mut self, place: usize, is_open: bool) {
        if let Some(census) = &mut self.census {
            census.set_open(self.seats[place], is_open);
        }
    }
}

/// What disruption budgets still allow while nodes are taken away in a simulation, by target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets<'a>(BTreeMap<&'a str, u32>);

impl<'a> Budgets<'a> {
    /// The budgets of all pods on these nodes.
    #[must_use]
    pub fn of(nodes: &[&'a NodeView]) -> Budgets<'a> {
        let pods = nodes.iter().flat_map(|node| &node.pods);
        Budgets(pods.filter_map(|pod| Some((pod.target.as_str(), pod.disruptions_allowed?))).collect())
    }

    /// Whether all pods of a node may be evicted.
    #[must_use]
    pub fn allow(&self, node: &NodeView) -> bool {
        let needed = evictions(node);
        needed.iter().all(|(target, pods)| self.0.get(target).is_none_or(|allowed| pods <= allowed))
    }

    /// The pods of a node go.
    pub fn take(&mut self, node: &NodeView) {
        for (target, pods) in evictions(node) {
            if let Some(allowed) = self.0.get_mut(target) {
                *allowed = allowed.saturating_sub(pods);
            }
        }
    }
}

/// How many pods of each target would be evicted from a node.
fn evictions(node: &NodeView) -> BTreeMap<&str, u32> {
    let mut needed: BTreeMap<&str, u32> = BTreeMap::new();
    for pod in Pod::on(node) {
        *needed.entry(pod.target).or_default() += 1;
    }
    needed
}

/// The nodes of a cluster, in the order of the view.
pub fn nodes_of<'a>(view: &'a NodesView, cluster: &str) -> Vec<&'a NodeView> {
    view.nodes.iter().filter(|node| node.cluster == cluster).collect()
}

/// The pods that wait for a node of a cluster, oldest first.
pub fn waiting_for<'a>(view: &'a NodesView, cluster: &str) -> Vec<Pod<'a>> {
    view.pending.iter().filter(|pod| pod.cluster == cluster).map(Pod::waiting).collect()
}

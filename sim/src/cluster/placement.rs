//! Placement: which node a replica gets, as the scheduler's filters and scores have it.

use std::collections::BTreeMap;

use bevy_ecs::prelude::*;
use scaletwin_core::control::{CapacityType, Census, Resources};
use scaletwin_core::units::Time;

use super::entities::{Deployment, InPool, Node, OfDeployment, OnNode, Pool, Replica, ReplicaId};
use super::ledger::WHOLE;
use super::lifecycle::{Change, Changes, Index, Now, Settings};
use super::preemption::{Occupant, loss, victims};
use super::preferences::{self, Preferences};
use super::settings::DeploymentSettings;

scaletwin_core::names! {
    /// Which of the nodes with room a replica gets; the first in the order of launch among equals.
    pub enum Placement {
        /// The first in the order of launch.
        FirstFit = "first-fit",
        /// The one that has the least left then: of GPUs, then of cores, then of memory.
        BestFit = "best-fit",
        /// The one that is emptiest then: `LeastAllocated` of `NodeResourcesFit`, the default of Kubernetes.
        Spread = "spread",
        /// The one that is fullest then: `MostAllocated` of `NodeResourcesFit`.
        Pack = "pack",
    }
}

/// The score of a node that is full, or empty.
const MOST: i64 = 100;

impl Placement {
    /// How good a node of size `whole` is with `left` of it once the replica is there; the larger the better.
    fn score(self, left: &Resources, whole: &Resources) -> [i64; 3] {
        match self {
            Placement::FirstFit => [0; 3],
            Placement::BestFit => [-left.gpu_milli, -left.cpu_milli, -left.memory_bytes],
            Placement::Spread => [mean_share(left, whole), 0, 0],
            Placement::Pack => [-mean_share(left, whole), 0, 0],
        }
    }
}

/// What is left of a node in hundredths, on average over the resources that it has, each cut to a whole number as
/// `leastRequestedScore` cuts it.
fn mean_share(left: &Resources, whole: &Resources) -> i64 {
    let of = [
        (left.cpu_milli, whole.cpu_milli),
        (left.memory_bytes, whole.memory_bytes),
        (left.gpu_milli, whole.gpu_milli),
    ];
    let shares: Vec<i64> = of.into_iter().filter(|(_, whole)| *whole > 0).map(share).collect();
    let count = i64::try_from(shares.len()).unwrap_or(1);
    shares.iter().sum::<i64>() / count.max(1)
}

fn share((left, whole): (i64, i64)) -> i64 {
    i64::try_from(i128::from(left) * i128::from(MOST) / i128::from(whole)).unwrap_or(MOST)
}

/// A node that takes pods.
struct Candidate {
    entity: Entity,
    /// The place of its pool.
    pool: usize,
    free: Resources,
    /// Its number in the census of its cluster, if there is one.
    seat: Option<usize>,
}

/// All nodes that take pods, in the order of their launch, while replicas are placed.
struct Board<'a> {
    settings: &'a Settings,
    candidates: Vec<Candidate>,
    /// Before this place no node has room for a deployment's replica with such requests: rooms only shrink while replicas are
    /// placed.
    from: BTreeMap<(usize, Resources), usize>,
    /// Replicas of each deployment on spot nodes.
    on_spot: BTreeMap<usize, usize>,
    /// Who is where, by cluster; empty if that matters to nobody.
    censuses: Vec<Census<'a>>,
    /// Who is on which node, if some are more important than others.
    occupants: Occupants,
    /// For whom others have to go from a node.
    nominated: Nominated,
}

/// A replica that asks for a node.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: ReplicaId,
    /// The place of its deployment, and how many replicas of it are wanted.
    place: usize,
    wanted: i32,
    requests: Resources,
}

impl Board<'_> {
    /// Whether a node may be taken, room aside.
    fn is_open(&self, candidate: &Candidate, deployment: &DeploymentSettings, spot: bool) -> bool {
        let (cluster, pool) = &self.settings.pools[candidate.pool];
        deployment.cluster == Some(*cluster)
            && deployment.may_run_in(&pool.name)
            && (spot || pool.capacity_type != CapacityType::Spot)
    }

    /// What is left of a node for a replica, besides what others wait for that are as important.
    fn room(&self, candidate: &Candidate, id: ReplicaId, priority: i32) -> Resources {
        let waiting = self.nominated.get(&candidate.entity).into_iter().flatten();
        let others = waiting.filter(|(other, as_important, _)| *other != id && *as_important >= priority);
        others.fold(candidate.free, |room, (_, _, requests)| room.minus(requests))
    }

    /// The place of the node that a replica gets.
    fn find(&mut self, replica: &Waiting) -> Option<usize> {
        let Waiting { id, place, wanted, requests } = *replica;
        let deployment = &self.settings.deployments[place];
        let spot = deployment.may_use_spot(self.on_spot.get(&place).copied().unwrap_or(0), wanted);
        let cluster = deployment.cluster?;
        let rule = self.settings.placements[cluster];
        let fits = |at: &usize| {
            let candidate = &self.candidates[*at];
            requests.fits(&self.room(candidate, id, deployment.priority))
                && self.is_open(candidate, deployment, spot)
        };
        let from =
            self.from.get(&(place, requests)).copied().filter(|_| self.nominated.is_empty()).unwrap_or(0);
        let mut open = (from..self.candidates.len()).filter(fits);
        let first = open.next();
        let best = first.and_then(|first| match self.censuses.get(cluster) {
            None if rule == Placement::FirstFit && deployment.preferences.is_empty() => Some(first),
            census => self.best(replica, std::iter::once(first).chain(open), census, rule),
        });
        self.from.insert((place, requests), first.unwrap_or(self.candidates.len()));
        best
    }

    /// The best of the nodes with room: what is required holds, and what is preferred comes before the rule of the cluster.
    fn best(
        &self,
        replica: &Waiting,
        open: impl Iterator<Item = usize>,
        census: Option<&Census<'_>>,
        rule: Placement,
    ) -> Option<usize> {
        let place = replica.place;
        let filter = census.map(|census| (census, census.filter(place)));
        let allowed = |at: &usize| {
            let seat = self.candidates[*at].seat;
            filter.as_ref().zip(seat).is_none_or(|((census, filter), seat)| census.allows(filter, seat))
        };
        let open: Vec<usize> = open.filter(allowed).collect();
        let preferred = self.preferred(place, &open, census);
        let score = |at: usize| {
            let Candidate { pool, free, .. } = &self.candidates[at];
            rule.score(&free.minus(&replica.requests), &self.settings.pools[*pool].1.allocatable)
        };
        let scored = open.iter().enumerate().map(|(number, at)| {
            let preferred = preferred.as_ref().map_or(0, |scores| scores[number]);
            ((preferred, score(*at)), *at)
        });
        let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, at)| at)
    }

    /// How much these nodes are preferred; `None` if nothing prefers one to another.
    fn preferred(&self, place: usize, open: &[usize], census: Option<&Census<'_>>) -> Option<Vec<i64>> {
        let preferences: Vec<&Preferences> =
            self.settings.deployments.iter().map(|deployment| &deployment.preferences).collect();
        if census.is_none() && preferences[place].is_empty() {
            return None;
        }
        let pool = |at: usize| self.settings.pools[self.candidates[at].pool].1.name.as_str();
        let nodes: Vec<(&str, usize)> =
            open.iter().map(|at| (pool(*at), self.candidates[*at].seat.unwrap_or(*at))).collect();
        Some(preferences::scores(&preferences, place, census, &nodes))
    }

    /// The place of the node where the least is lost if others go for a replica, and who goes there.
    fn preempt(&self, replica: &Waiting) -> Option<(usize, Vec<Occupant>)> {
        let Waiting { id, place, wanted, requests } = *replica;
        let deployment = &self.settings.deployments[place];
        let spot = deployment.may_use_spot(self.on_spot.get(&place).copied().unwrap_or(0), wanted);
        let census = self.censuses.get(deployment.cluster?).map(|census| (census, census.filter(place)));
        let found = self.candidates.iter().enumerate().filter_map(|(at, candidate)| {
            let allowed = census.as_ref().zip(candidate.seat);
            let allowed = allowed.is_none_or(|((census, filter), seat)| census.allows(filter, seat));
            if !allowed || !self.is_open(candidate, deployment, spot) {
                return None;
            }
            let room = self.room(candidate, id, deployment.priority);
            let there = self.occupants.get(&candidate.entity)?;
            let victims = victims(&room, &requests, deployment.priority, there)?;
            Some((loss(&victims), at, victims))
        });
        found.min_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1))).map(|(_, at, victims)| (at, victims))
    }

    /// Lets others go from a node for a replica, for which their room is kept: the node, and who goes.
    fn make_room(&mut self, replica: &Waiting) -> Option<(Entity, Vec<Occupant>)> {
        let (at, victims) = self.preempt(replica)?;
        let (node, deployment) = (self.candidates[at].entity, &self.settings.deployments[replica.place]);
        let lower = |victim: &Occupant| victim.priority < deployment.priority;
        assert!(victims.iter().all(lower), "only the less important go");
        let waits = (replica.id, deployment.priority, replica.requests);
        self.nominated.entry(node).or_default().push(waits);
        let there = self.occupants.entry(node).or_default();
        there.retain(|occupant| victims.iter().all(|victim| victim.id != occupant.id));
        Some((node, victims))
    }

    /// A replica takes a node.
    fn take(&mut self, at: usize, replica: &Waiting) {
        let place = replica.place;
        let candidate = &mut self.candidates[at];
        candidate.free = candidate.free.minus(&replica.requests);
        let (cluster, pool) = &self.settings.pools[candidate.pool];
        if pool.capacity_type == CapacityType::Spot {
            *self.on_spot.entry(place).or_default() += 1;
        }
        if let (Some(census), Some(seat)) = (self.censuses.get_mut(*cluster), candidate.seat) {
            census.put(seat, place, true);
        }
    }

    /// Whether a deployment could get a node, because one of another deployment got one.
    fn waits_for(&self, place: usize, other: usize) -> bool {
        let terms = self.settings.terms.get(place);
        terms.is_some_and(|terms| terms.affinity.iter().any(|term| term.with == other && other != place))
    }
}

/// Who is where in each cluster, with the seat of each node; nothing where that matters to nobody.
fn take_census<'a>(
    settings: &'a Settings,
    index: &Index,
    replicas: &Replicas<'_, '_>,
    deployments: &Query<&Deployment>,
    nodes: &Query<(&mut Node, &InPool)>,
    pool_of: impl Fn(&InPool) -> usize,
) -> (Vec<Census<'a>>, BTreeMap<Entity, usize>) {
    let mut seats = BTreeMap::new();
    if settings.terms.is_empty() {
        return (Vec::new(), seats);
    }
    let mut censuses = vec![Census::new(&settings.terms); settings.placements.len()];
    for entity in index.nodes.values() {
        let Ok((node, pool)) = nodes.get(*entity) else { continue };
        if node.ready.is_some() {
            let (cluster, pool) = &settings.pools[pool_of(pool)];
            seats.insert(*entity, censuses[*cluster].add_node(&pool.zone, &pool.name));
        }
    }
    for (replica, of, on) in replicas {
        let Some(node) = on.map(|on| on.0) else { continue };
        if let (Ok(deployment), Some(seat)) = (deployments.get(of.0), seats.get(&node))
            && let Some(cluster) = settings.deployments[deployment.place].cluster
        {
            censuses[cluster].put(*seat, deployment.place, replica.deleted.is_none());
        }
    }
    (censuses, seats)
}

/// Replicas of each deployment on spot nodes, if anybody's share of them is limited.
fn count_on_spot(
    settings: &Settings,
    replicas: &Replicas<'_, '_>,
    deployments: &Query<&Deployment>,
    nodes: &Query<(&mut Node, &InPool)>,
    pool_of: impl Fn(&InPool) -> usize,
) -> BTreeMap<usize, usize> {
    let mut on_spot: BTreeMap<usize, usize> = BTreeMap::new();
    if settings.deployments.iter().all(|deployment| deployment.max_spot_share.is_none()) {
        return on_spot;
    }
    for (_, of, on) in replicas.iter().filter(|(replica, ..)| replica.deleted.is_none()) {
        let Some((_, pool)) = on.and_then(|on| nodes.get(on.0).ok()) else { continue };
        let is_spot = settings.pools[pool_of(pool)].1.capacity_type == CapacityType::Spot;
        if let Ok(deployment) = deployments.get(of.0)
            && is_spot
        {
            *on_spot.entry(deployment.place).or_default() += 1;
        }
    }
    on_spot
}

/// Replicas without a node, in the order in which they are looked at.
fn in_turn(
    settings: &Settings,
    index: &Index,
    replicas: &Replicas<'_, '_>,
    deployments: &Query<&Deployment>,
) -> Vec<(ReplicaId, Entity)> {
    let mut waiting: Vec<(ReplicaId, Entity)> = index.pending.iter().map(|(id, of)| (*id, *of)).collect();
    if has_priorities(settings) {
        let place =
            |entity: Entity| replicas.get(entity).ok().and_then(|(_, of, _)| deployments.get(of.0).ok());
        let priority =
            |entity: Entity| place(entity).map_or(0, |found| settings.deployments[found.place].priority);
        waiting.sort_by_key(|(_, entity)| std::cmp::Reverse(priority(*entity)));
    }
    waiting
}

/// Whether some replicas are more important than others.
fn has_priorities(settings: &Settings) -> bool {
    let mut priorities = settings.deployments.iter().map(|deployment| deployment.priority);
    let first = priorities.next();
    priorities.any(|other| Some(other) != first)
}

/// Replicas with their deployments and nodes.
type Replicas<'w, 's> = Query<'w, 's, (&'static mut Replica, &'static OfDeployment, Option<&'static OnNode>)>;
/// Replicas on nodes.
type Occupants = BTreeMap<Entity, Vec<Occupant>>;
/// Replicas for which others have to go from a node, with priority and requests.
type Nominated = BTreeMap<Entity, Vec<(ReplicaId, i32, Resources)>>;

/// Who is on which node, and who waits for others to go from one. Where nobody goes any more, nobody waits for that.
fn importance(
    settings: &Settings,
    index: &Index,
    replicas: &mut Replicas<'_, '_>,
    deployments: &Query<&Deployment>,
) -> (Occupants, Nominated) {
    let (mut occupants, mut nominated) = (Occupants::new(), Nominated::new());
    let mut leaving: Vec<Entity> = Vec::new();
    for entity in index.replicas.values() {
        let Ok((replica, of, Some(on))) = replicas.get(*entity) else { continue };
        let Ok(place) = deployments.get(of.0).map(|found| found.place) else { continue };
        if replica.deleted.is_some() {
            leaving.push(on.0);
            continue;
        }
        let deployment = &settings.deployments[place];
        occupants.entry(on.0).or_default().push(Occupant {
            id: replica.id,
            entity: *entity,
            deployment: place,
            priority: deployment.priority,
            since: replica.bound.unwrap_or(replica.created),
            requests: replica.requests(deployment),
        });
    }
    leaving.sort_unstable();
    for (id, entity) in &index.pending {
        let Ok((mut replica, of, _)) = replicas.get_mut(*entity) else { continue };
        let Some(node) = replica.nominated else { continue };
        let node = index.nodes.get(&node).copied();
        let Some(node) = node.filter(|_| replica.deleted.is_none()) else {
            replica.nominated = None;
            continue;
        };
        if let Ok(place) = deployments.get(of.0).map(|found| found.place) {
            let deployment = &settings.deployments[place];
            let requests = replica.requests(deployment);
            nominated.entry(node).or_default().push((*id, deployment.priority, requests));
        }
        if leaving.binary_search(&node).is_err() {
            // If it finds no room now, it looks for others.
            replica.nominated = None;
        }
    }
    (occupants, nominated)
}

/// Replicas go for more important ones.
fn delete(victims: Vec<Occupant>, now: Time, replicas: &mut Replicas<'_, '_>, changes: &mut Changes) {
    for victim in victims {
        if let Ok((mut replica, ..)) = replicas.get_mut(victim.entity) {
            replica.deleted = Some(now);
        }
        changes.0.push(Change::Preempted { replica: victim.id, deployment: victim.deployment });
    }
}

/// Gives nodes to replicas that have none, the more important first, then in the order of creation. If one of a deployment finds
/// none, its others with the same requests wait.
#[expect(clippy::too_many_arguments, reason = "a system states what it reads and writes")]
pub(super) fn place_pending(
    mut commands: Commands,
    now: Res<Now>,
    settings: Res<Settings>,
    mut index: ResMut<Index>,
    mut replicas: Replicas<'_, '_>,
    deployments: Query<&Deployment>,
    mut nodes: Query<(&mut Node, &InPool)>,
    pools: Query<&Pool>,
    mut changes: ResMut<Changes>,
) {
    if index.pending.is_empty() {
        return;
    }
    let pool_of = |node: &InPool| pools.get(node.0).map_or(0, |pool| pool.place);
    let (censuses, seats) = take_census(&settings, &index, &replicas, &deployments, &nodes, pool_of);
    let candidate = |entity: &Entity| {
        let (node, pool) = nodes.get(*entity).ok()?;
        let open = node.ready.is_some() && node.unready.is_none() && !node.cordoned;
        let seat = seats.get(entity).copied();
        open.then(|| Candidate { entity: *entity, pool: pool_of(pool), free: node.free, seat })
    };
    let candidates = index.nodes.values().filter_map(candidate).collect();
    let on_spot = count_on_spot(&settings, &replicas, &deployments, &nodes, pool_of);
    let ranked = has_priorities(&settings);
    let (occupants, nominated) = match ranked {
        true => importance(&settings, &index, &mut replicas, &deployments),
        false => Default::default(),
    };
    let from = BTreeMap::new();
    let mut board = Board { settings: &settings, candidates, from, on_spot, censuses, occupants, nominated };
    let mut refused: Vec<(usize, Resources)> = Vec::new();
    let mut waiting = in_turn(&settings, &index, &replicas, &deployments);
    while !waiting.is_empty() {
        let mut left = Vec::new();
        let before = waiting.len();
        for (id, entity) in waiting {
            let Ok((mut replica, of, _)) = replicas.get_mut(entity) else { continue };
            if replica.deleted.is_some() {
                continue;
            }
            let Ok((place, wanted)) = deployments.get(of.0).map(|found| (found.place, found.wanted)) else {
                continue;
            };
            let deployment = &settings.deployments[place];
            let requests = replica.requests(deployment);
            let asking = Waiting { id, place, wanted, requests };
            let mut held = None;
            if deployment.cluster.is_some() {
                let known = refused.contains(&(place, requests)) && replica.nominated.is_none();
                let Some(at) = (!known).then(|| board.find(&asking)).flatten() else {
                    if !refused.contains(&(place, requests)) {
                        refused.push((place, requests));
                    }
                    left.push((id, entity));
                    let waits = replica.nominated.is_some() || !deployment.preempts || !ranked;
                    let room = if waits { None } else { board.make_room(&asking) };
                    if let Some((node, victims)) = room {
                        replica.nominated = nodes.get(node).ok().map(|(node, _)| node.id);
                        delete(victims, now.0, &mut replicas, &mut changes);
                    }
                    continue;
                };
                replica.nominated = None;
                board.nominated.values_mut().for_each(|waiting| waiting.retain(|(other, ..)| *other != id));
                board.take(at, &asking);
                refused.retain(|(other, _)| !board.waits_for(*other, place));
                let Candidate { entity: node, pool, free, .. } = board.candidates[at];
                if let Ok((mut node, _)) = nodes.get_mut(node) {
                    node.free = free;
                }
                commands.entity(entity).insert(OnNode(node));
                held = Some((pool, share_of_node(&requests, &settings.pools[pool].1.allocatable)));
            }
            replica.bound = Some(now.0);
            index.pending.remove(&id);
            changes.0.push(Change::Bound { replica: id, deployment: place, held });
        }
        // Those refused before may have waited for what has just been placed.
        waiting = if left.len() < before && !settings.terms.is_empty() { left } else { Vec::new() };
    }
    changes.0.extend(refused.iter().map(|_| Change::Pending));
}

/// The millionths of a node that a replica holds: its share of the GPUs, or of the cores on a node without.
#[must_use]
pub fn share_of_node(requests: &Resources, node: &Resources) -> u64 {
    let share = |part: i64, whole: i64| {
        let (part, whole) = (u128::from(part.unsigned_abs()), u128::from(whole.unsigned_abs()));
        u64::try_from(part * u128::from(WHOLE) / whole.max(1)).unwrap_or(WHOLE)
    };
    let parts = if node.gpu_milli > 0 {
        share(requests.gpu_milli, node.gpu_milli)
    } else {
        share(requests.cpu_milli, node.cpu_milli)
    };
    parts.min(WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cores: i64, gib: i64, gpus: i64) -> Resources {
        Resources { cpu_milli: cores * 1_000, memory_bytes: gib << 30, gpu_milli: gpus * 1_000 }
    }

    #[test]
    fn shares_are_cut_and_averaged_over_what_a_node_has() {
        // A third of the cores is 33 hundredths, half the memory 50; without GPUs two resources count.
        assert_eq!(mean_share(&size(1, 2, 0), &size(3, 4, 0)), 41);
        assert_eq!(mean_share(&size(0, 0, 4), &size(8, 64, 8)), 50 / 3);
        assert_eq!(mean_share(&size(0, 0, 0), &size(0, 0, 0)), 0);
    }

    #[test]
    fn each_rule_prefers_another_node() {
        let nodes = [
            (size(4, 4, 0), size(8, 8, 0)),
            (size(7, 7, 0), size(8, 8, 0)),
            (size(2, 15, 0), size(16, 16, 0)),
        ];
        let preferred = |rule: Placement| {
            let scores = nodes.iter().map(|(left, whole)| rule.score(left, whole));
            scores.enumerate().max_by_key(|(at, score)| (*score, std::cmp::Reverse(*at))).map(|(at, _)| at)
        };
        use Placement::{BestFit, FirstFit, Pack, Spread};
        // Left are 50, 87 and (12 + 93) / 2 = 52 hundredths.
        assert_eq!([FirstFit, BestFit, Spread, Pack].map(preferred), [0, 2, 1, 0].map(Some));
    }
}

//! Placement: which node a replica gets, as the scheduler's filters and scores have it.

use std::collections::BTreeMap;

use bevy_ecs::prelude::*;
use scaletwin_core::control::{CapacityType, Resources};

use super::entities::{Deployment, InPool, Node, OfDeployment, OnNode, Pool, Replica};
use super::ledger::WHOLE;
use super::lifecycle::{Change, Changes, Index, Now, Settings};
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
}

impl Board<'_> {
    /// Whether a node may be taken, room aside.
    fn is_open(&self, candidate: &Candidate, deployment: &DeploymentSettings, spot: bool) -> bool {
        let (cluster, pool) = &self.settings.pools[candidate.pool];
        deployment.cluster == Some(*cluster)
            && deployment.may_run_in(&pool.name)
            && (spot || pool.capacity_type != CapacityType::Spot)
    }

    /// The place of the node that a replica of a deployment gets, of which `wanted` are wanted.
    fn find(&mut self, place: usize, requests: &Resources, wanted: i32) -> Option<usize> {
        let found = self.first_and_best(place, requests, wanted);
        self.from.insert((place, *requests), found.map_or(self.candidates.len(), |(first, _)| first));
        found.map(|(_, best)| best)
    }

    /// The places of the first node that fits, and of the one that is taken.
    fn first_and_best(&self, place: usize, requests: &Resources, wanted: i32) -> Option<(usize, usize)> {
        let deployment = &self.settings.deployments[place];
        let spot = deployment.may_use_spot(self.on_spot.get(&place).copied().unwrap_or(0), wanted);
        let rule = self.settings.placements[deployment.cluster?];
        let fits = |at: &usize| {
            let candidate = &self.candidates[*at];
            requests.fits(&candidate.free) && self.is_open(candidate, deployment, spot)
        };
        let score = |at: usize| {
            let Candidate { pool, free, .. } = &self.candidates[at];
            rule.score(&free.minus(requests), &self.settings.pools[*pool].1.allocatable)
        };
        let from = self.from.get(&(place, *requests)).copied().unwrap_or(0);
        let mut open = (from..self.candidates.len()).filter(fits);
        let first = open.next()?;
        if rule == Placement::FirstFit {
            return Some((first, first));
        }
        let best = open.fold((score(first), first), |best, at| {
            let found = score(at);
            if found > best.0 { (found, at) } else { best }
        });
        Some((first, best.1))
    }

    /// A replica of a deployment takes a node.
    fn take(&mut self, at: usize, place: usize, requests: &Resources) {
        let candidate = &mut self.candidates[at];
        candidate.free = candidate.free.minus(requests);
        if self.settings.pools[candidate.pool].1.capacity_type == CapacityType::Spot {
            *self.on_spot.entry(place).or_default() += 1;
        }
    }
}

/// Gives nodes to replicas that have none, in the order of creation. If one of a deployment finds none, its others with the
/// same requests wait.
#[expect(clippy::too_many_arguments, reason = "a system states what it reads and writes")]
pub(super) fn place_pending(
    mut commands: Commands,
    now: Res<Now>,
    settings: Res<Settings>,
    mut index: ResMut<Index>,
    mut replicas: Query<(&mut Replica, &OfDeployment, Option<&OnNode>)>,
    deployments: Query<&Deployment>,
    mut nodes: Query<(&mut Node, &InPool)>,
    pools: Query<&Pool>,
    mut changes: ResMut<Changes>,
) {
    if index.pending.is_empty() {
        return;
    }
    let pool_of = |node: &InPool| pools.get(node.0).map_or(0, |pool| pool.place);
    let candidate = |entity: &Entity| {
        let (node, pool) = nodes.get(*entity).ok()?;
        let open = node.ready.is_some() && node.unready.is_none() && !node.cordoned;
        open.then(|| Candidate { entity: *entity, pool: pool_of(pool), free: node.free })
    };
    let candidates = index.nodes.values().filter_map(candidate).collect();
    let mut on_spot: BTreeMap<usize, usize> = BTreeMap::new();
    for (replica, of, on) in &replicas {
        let Some((_, pool)) = on.and_then(|on| nodes.get(on.0).ok()) else { continue };
        let is_spot = settings.pools[pool_of(pool)].1.capacity_type == CapacityType::Spot;
        if let Ok(deployment) = deployments.get(of.0).map(|deployment| deployment.place)
            && is_spot
            && replica.deleted.is_none()
        {
            *on_spot.entry(deployment).or_default() += 1;
        }
    }
    let mut board = Board { settings: &settings, candidates, from: BTreeMap::new(), on_spot };
    let mut refused: Vec<(usize, Resources)> = Vec::new();
    for (id, entity) in index.pending.clone() {
        let Ok((mut replica, of, _)) = replicas.get_mut(entity) else { continue };
        if replica.deleted.is_some() {
            continue;
        }
        let Ok((place, wanted)) = deployments.get(of.0).map(|found| (found.place, found.wanted)) else {
            continue;
        };
        let deployment = &settings.deployments[place];
        let requests = replica.requests(deployment);
        let mut held = None;
        if deployment.cluster.is_some() {
            if refused.contains(&(place, requests)) {
                continue;
            }
            let Some(at) = board.find(place, &requests, wanted) else {
                refused.push((place, requests));
                changes.0.push(Change::Pending);
                continue;
            };
            board.take(at, place, &requests);
            let Candidate { entity: node, pool, free } = board.candidates[at];
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

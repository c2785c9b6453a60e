//! Preemption: replicas that go for one of a higher priority which finds no room, as `DefaultPreemption` of Kubernetes'
//! scheduler chooses them. `docs/models/cluster.md` has the rules.

use std::cmp::Reverse;

use bevy_ecs::prelude::Entity;
use scaletwin_core::control::Resources;
use scaletwin_core::units::Time;

use super::entities::ReplicaId;

/// A replica on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occupant {
    pub id: ReplicaId,
    pub entity: Entity,
    /// The place of its deployment.
    pub deployment: usize,
    pub priority: i32,
    /// Since when it has its node.
    pub since: Time,
    pub requests: Resources,
}

/// Those of a node who have to go so that `requests` of this priority fit into what is left: as few and as unimportant as
/// possible. `None` where that does not help.
pub(super) fn victims(
    free: &Resources,
    requests: &Resources,
    priority: i32,
    occupants: &[Occupant],
) -> Option<Vec<Occupant>> {
    let mut lower: Vec<Occupant> =
        occupants.iter().filter(|occupant| occupant.priority < priority).copied().collect();
    let mut room = lower.iter().fold(*free, |room, occupant| room.plus(&occupant.requests));
    if lower.is_empty() || !requests.fits(&room) {
        return None;
    }
    // The more important stay if there is room for them.
    lower.sort_by_key(|occupant| (Reverse(occupant.priority), occupant.since, occupant.id));
    lower.retain(|occupant| {
        let left = room.minus(&occupant.requests);
        let stays = requests.fits(&left);
        if stays {
            room = left;
        }
        !stays
    });
    Some(lower)
}

/// How much is lost with these, the less the better: the highest priority, the sum of priorities, their number, and how long
/// the most important have been there.
pub(super) type Loss = (i32, i64, usize, Reverse<Option<Time>>);

/// What is lost with these, the most important of whom is first.
pub(super) fn loss(victims: &[Occupant]) -> Loss {
    let highest = victims.first().map_or(i32::MIN, |victim| victim.priority);
    // As in Kubernetes, where no victim weighs less than nothing.
    let sum = victims.iter().map(|victim| i64::from(victim.priority) + i64::from(i32::MAX) + 1).sum();
    let oldest = victims.iter().filter(|victim| victim.priority == highest).map(|victim| victim.since).min();
    (highest, sum, victims.len(), Reverse(oldest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(cores: i64) -> Resources {
        Resources { cpu_milli: cores * 1_000, ..Resources::default() }
    }

    fn on_node(of: &[(i32, i64)]) -> Vec<Occupant> {
        let occupant = |(id, (priority, size)): (u32, &(i32, i64))| Occupant {
            id: ReplicaId(id),
            entity: Entity::PLACEHOLDER,
            deployment: 0,
            priority: *priority,
            since: Time::from_nanos(u64::from(id)),
            requests: cores(*size),
        };
        (0..).zip(of).map(occupant).collect()
    }

    fn gone(free: i64, asked: i64, of: &[(i32, i64)]) -> Option<Vec<u32>> {
        let found = victims(&cores(free), &cores(asked), 5, &on_node(of));
        found.map(|victims| victims.iter().map(|victim| victim.id.0).collect())
    }

    #[test]
    fn the_least_important_go_and_no_more_than_needed() {
        assert_eq!(gone(0, 2, &[(1, 2), (0, 2)]), Some(vec![1]));
        assert_eq!(gone(0, 2, &[(0, 2), (0, 2)]), Some(vec![1]));
        assert_eq!(gone(0, 3, &[(1, 2), (0, 2)]), Some(vec![0, 1]));
        assert_eq!(gone(1, 3, &[(0, 1), (1, 2)]), Some(vec![1]));
        // Who is as important stays, and then nobody goes in vain.
        assert_eq!(gone(0, 2, &[(5, 2), (6, 2)]), None);
        assert_eq!(gone(0, 3, &[(5, 2), (0, 2)]), None);
    }

    #[test]
    fn the_node_that_loses_least_is_taken() {
        let of = |list: &[(i32, i64)]| loss(&on_node(list));
        assert!(of(&[(0, 1), (0, 1)]) < of(&[(1, 1)]));
        assert!(of(&[(1, 1)]) < of(&[(1, 1), (0, 1)]));
        assert!(of(&[(1, 1), (0, 1)]) < of(&[(1, 1), (1, 1)]));
        // The younger goes.
        let [older, younger] = [on_node(&[(0, 1)]), on_node(&[(0, 1), (0, 1)])[1..].to_vec()];
        assert!(loss(&younger) < loss(&older));
    }
}

//! How fast the pods of nodes that do not answer are evicted: `pkg/controller/nodelifecycle` of Kubernetes taints one node
//! of a zone after another, slower where most of a zone does not answer, and none where nobody does.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use crate::cluster::entities::NodeId;
use crate::engine::{Calendar, Phase};

/// From one node to the next in a healthy zone, and in one that is out altogether: `--node-eviction-rate` of 0.1 a second.
const USUAL: Span = Span::from_secs(10);
/// The same where most of a large zone does not answer: `--secondary-node-eviction-rate` of 0.01 a second.
const SLOW: Span = Span::from_secs(100);
/// Nodes of a zone up to which nobody is evicted then: `--large-cluster-size-threshold`.
const SMALL: usize = 50;
/// The share of a zone that does not answer, percent, and that is most of it: `--unhealthy-zone-threshold`.
const MOST_PERCENT: usize = 55;
/// As many nodes may fail in any zone.
const FEW: usize = 2;

/// Nodes that do not answer and are to be tainted, and when.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Evictions {
    /// By [`Key`].
    zones: BTreeMap<Key, Zone>,
    /// When each node was tainted.
    tainted: BTreeMap<NodeId, Time>,
}

/// The place of a cluster and the name of a zone of its, `0/a`.
type Key = String;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Zone {
    /// The place of its cluster.
    cluster: usize,
    pace: Pace,
    waiting: BTreeSet<(Time, NodeId)>,
    /// The instant of the next look, if one is planned.
    planned: Option<Time>,
}

/// How fast nodes of a zone are tainted: a bucket with one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Pace {
    /// From one node to the next; `None`: none is tainted.
    interval: Option<Span>,
    /// When there is a token.
    next: Time,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { interval: Some(USUAL), next: Time::ZERO }
    }
}

impl Pace {
    /// Another interval from now on. Without a token in the old bucket the new one begins without: `SwapLimiter`.
    fn change(&mut self, interval: Option<Span>, now: Time) {
        if interval == self.interval {
            return;
        }
        let waits = self.interval.is_none() || self.next > now;
        self.next = now.saturating_add(interval.filter(|_| waits).unwrap_or(Span::ZERO));
        self.interval = interval;
    }
}

/// The nodes of a zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Health {
    ready: usize,
    unready: usize,
}

impl Health {
    /// Whether nobody answers.
    fn is_out(self) -> bool {
        self.ready == 0 && self.unready > 0
    }

    /// From one node to the next that is tainted; `None`: none is.
    fn interval(self) -> Option<Span> {
        let all = self.ready + self.unready;
        let most = self.unready > FEW && self.unready * 100 >= all * MOST_PERCENT;
        match self.is_out() || !most {
            true => Some(USUAL),
            false => (all > SMALL).then_some(SLOW),
        }
    }
}

impl Evictions {
    /// A node is gone, or answers again.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.tainted.remove(&node);
        self.zones.values_mut().for_each(|zone| zone.waiting.retain(|(_, other)| *other != node));
    }

    /// Whether no node is tainted or to be, and none would be later than usual.
    fn is_idle(&self) -> bool {
        let is_usual = |zone: &Zone| zone.waiting.is_empty() && zone.pace.interval == Some(USUAL);
        self.tainted.is_empty() && self.zones.values().all(is_usual)
    }

    /// When a node was tainted.
    pub(super) fn tainted(&self, node: NodeId) -> Option<Time> {
        self.tainted.get(&node).copied()
    }
}

impl World {
    /// A node is found not to answer: it will be tainted.
    pub(super) fn taint_later(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let Some((cluster, key)) = self.zone_of(node) else { return };
        let zone = self.state.evictions.zones.entry(key).or_default();
        zone.cluster = cluster;
        zone.waiting.insert((calendar.now(), node));
        self.judge_zones_soon(calendar);
    }

    /// Zones are judged anew, after all that comes, goes or is found at this instant.
    pub(super) fn judge_zones_soon(&self, calendar: &mut Calendar<Event>) {
        if !self.state.evictions.is_idle() {
            calendar.soon(Phase::Place, Event::JudgeZones);
        }
    }

    /// The place of a node's cluster, and the key of its zone.
    fn zone_of(&self, node: NodeId) -> Option<(usize, Key)> {
        let (pool, _) = self.fleet.place_of_node(node)?;
        let cluster = self.fleet.cluster_of_pool(pool);
        Some((cluster, format!("{cluster}/{}", self.fleet.pool(pool).1.zone)))
    }

    /// How many nodes of each zone answer, as far as the cluster knows.
    fn health(&self) -> BTreeMap<(usize, Key), Health> {
        let mut zones: BTreeMap<(usize, Key), Health> = BTreeMap::new();
        for (node, _, _) in self.fleet.nodes() {
            let (Some(key), Some(answers)) = (self.zone_of(node), self.fleet.answers(node)) else { continue };
            let zone = zones.entry(key).or_default();
            (zone.ready, zone.unready) =
                (zone.ready + usize::from(answers), zone.unready + usize::from(!answers));
        }
        zones
    }

    /// Taints what is due. Where a cluster has nobody that answers, what was tainted is so no more, and waits again.
    pub(super) fn judge_zones(&mut self, calendar: &mut Calendar<Event>) {
        if self.state.evictions.is_idle() {
            return;
        }
        let health = self.health();
        let out = |cluster: usize| {
            health.iter().filter(|((of, _), _)| *of == cluster).all(|(_, health)| health.is_out())
        };
        let stopped: BTreeSet<usize> =
            health.keys().map(|(cluster, _)| *cluster).filter(|c| out(*c)).collect();
        self.untaint(&stopped);
        for ((cluster, key), health) in health {
            let interval = health.interval().filter(|_| !stopped.contains(&cluster));
            self.taint_next(&key, interval, calendar);
        }
    }

    /// Nodes of clusters where nobody answers are tainted no more.
    fn untaint(&mut self, clusters: &BTreeSet<usize>) {
        for (node, at) in self.state.evictions.tainted.clone() {
            let Some((_, key)) = self.zone_of(node).filter(|(cluster, _)| clusters.contains(cluster)) else {
                continue;
            };
            self.state.evictions.tainted.remove(&node);
            self.state.evictions.zones.entry(key).or_default().waiting.insert((at, node));
        }
    }

    /// Taints the node of a zone that is due, and plans the next.
    fn taint_next(&mut self, key: &str, interval: Option<Span>, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Evictions { zones, tainted } = &mut self.state.evictions;
        let Some(zone) = zones.get_mut(key) else { return };
        zone.pace.change(interval, now);
        let Some(interval) = interval else { return };
        if zone.pace.next <= now
            && let Some((_, node)) = zone.waiting.pop_first()
        {
            (zone.pace.next, zone.planned) = (now.saturating_add(interval), None);
            tainted.insert(node, now);
            let toleration = self.settings.clusters[zone.cluster].detection.toleration;
            calendar.at(now.saturating_add(toleration), Phase::Fail, Event::NodeTolerated(node));
        }
        let next = zone.pace.next;
        if !zone.waiting.is_empty() && zone.planned != Some(next) {
            zone.planned = Some(next);
            calendar.at(next, Phase::Place, Event::JudgeZones);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_zone_slows_evictions_down_and_all_of_it_does_not() {
        let interval = |ready, unready| Health { ready, unready }.interval().map(Span::as_secs);
        // Two may fail in any zone; then 55 % are most of it.
        assert_eq!([interval(0, 2), interval(1, 2), interval(9, 3)], [Some(10); 3]);
        assert_eq!([interval(9, 10), interval(9, 11), interval(0, 20)], [Some(10), None, Some(10)]);
        assert_eq!([interval(22, 28), interval(23, 28), interval(46, 55)], [None, Some(10), Some(10)]);
        assert_eq!([interval(22, 29), interval(45, 55)], [Some(100); 2]);
    }

    #[test]
    fn who_waits_when_the_interval_changes_waits_all_of_the_new_one() {
        let at = |second| Time::ZERO + Span::from_secs(second);
        let pace = |interval: Option<Span>, next| Pace { interval, next: at(next) };
        let changed = |mut pace: Pace, interval: Option<Span>| {
            pace.change(interval, at(50));
            (pace.interval, pace.next.as_secs_f64())
        };
        assert_eq!(changed(pace(Some(SLOW), 120), Some(USUAL)), (Some(USUAL), 60.0));
        assert_eq!(changed(pace(None, 0), Some(SLOW)), (Some(SLOW), 150.0));
        // With a token it is tainted at once, and an interval that stays as it is changes nothing.
        assert_eq!(changed(pace(Some(USUAL), 30), Some(SLOW)), (Some(SLOW), 50.0));
        assert_eq!(changed(pace(Some(USUAL), 55), Some(USUAL)), (Some(USUAL), 55.0));
    }
}

//! Karpenter (core 1.14), read from its source.
//!
//! | module | part of Karpenter |
//! |---|---|
//! | [`scheduler`] | where pods would go: `provisioning/scheduling` |
//! | [`catalogue`] | instance types and offerings, and which is launched |
//! | `consolidation` | which nodes could go or be replaced: `disruption/` |
//! | [`budget`] | how many at once: `spec.disruption.budgets` |
//! | `cluster` | what is seen at an instant |
//! | [`spec`], [`manifest`] | NodePools, as keys of our own and as `karpenter.sh/v1` |
//!
//! and here its controllers: batches of pods, disruption with its validation, expiration and termination.

pub mod budget;
pub mod catalogue;
mod cluster;
mod consolidation;
pub mod manifest;
pub mod scheduler;
pub mod spec;

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::control::{
    Action, Decision, Launch, Needs, NodeView, NodesView, Observation, Offer, Policy, Reason, Schedule,
    State, StateMismatch,
};
use scaletwin_core::units::{Civil, Span, Time, number_of};
use serde::{Deserialize, Serialize};

use budget::{DisruptionReason, allowed};
use cluster::Cluster;
use consolidation::{Candidate, Move, sorted};
use scheduler::Spot;
use spec::{ConsolidationPolicy, NodePoolSettings};

/// From one look for nodes to disrupt to the next: `pollingPeriod`.
pub const DISRUPTION_PERIOD: Span = Span::from_secs(10);
/// How long a move has to hold before it is made: `consolidationTTL`.
const VALIDATION: Span = Span::from_secs(15);
/// When pods that still wait call for a batch again: the requeue of the pod controller.
const REQUEUE: Span = Span::from_secs(10);
/// From one look at a node that is being emptied to the next: the requeue of the termination controller.
const TERMINATION_POLL: Span = Span::from_secs(1);
/// When a launch is looked after. Within that time EC2 Fleet tries the next offering itself.
const LAUNCH_CHECK: Span = Span::from_secs(1);

/// Karpenter on one cluster.
#[derive(Debug, Clone)]
pub struct Karpenter {
    cluster: String,
    settings: KarpenterSettings,
    schedule: Schedule,
    memory: Memory,
}

/// What decisions depend on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KarpenterSettings {
    /// Its NodePools, those with more weight first.
    pub node_pools: Vec<NodePoolSettings>,
    /// A batch of pods ends when none has come for so long.
    pub batch_idle: Span,
    /// A batch ends after so long.
    pub batch_max: Span,
    /// Whether a spot node may replace another.
    pub spot_to_spot: bool,
}

impl KarpenterSettings {
    /// The settings, with NodePools in the order in which they are tried: by weight, then by name.
    #[must_use]
    pub fn new(
        mut node_pools: Vec<NodePoolSettings>,
        batch_idle: Span,
        batch_max: Span,
        spot_to_spot: bool,
    ) -> KarpenterSettings {
        node_pools.sort_by(|a, b| b.weight.cmp(&a.weight).then(a.name.cmp(&b.name)));
        KarpenterSettings { node_pools, batch_idle, batch_max, spot_to_spot }
    }
}

/// What it remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// Pods without a node, by name.
    waiting: BTreeSet<String>,
    /// The batch that is open: its first and its latest pod.
    batch: Option<(Time, Time)>,
    /// When pods that still wait open the next one.
    requeue: Option<Time>,
    /// A launch that is to be looked after.
    launched: Option<Time>,
    next_disruption: Option<Time>,
    /// A move that has to hold until then.
    planned: Option<(Time, Planned)>,
    /// Nodes that go.
    leaving: BTreeMap<String, Leaving>,
    /// Nodes that pods were promised, until when.
    nominated: BTreeMap<String, Time>,
    /// The pods of each node, as a digest, and when they last changed.
    changes: BTreeMap<String, (u64, Time)>,
}

/// A move that has to hold for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Planned {
    reason: DisruptionReason,
    nodes: Vec<String>,
    /// Whether another node comes for them.
    replaced: bool,
}

/// A node that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leaving {
    since: Time,
    /// The pool and the instant of the launch of the node that has to be ready before.
    after: Option<(String, Time)>,
}

impl Karpenter {
    /// Karpenter on `cluster`; `schedule` says when it looks for nodes to disrupt.
    #[must_use]
    pub fn new(cluster: String, settings: KarpenterSettings, schedule: Schedule) -> Karpenter {
        Karpenter { cluster, settings, schedule, memory: Memory::default() }
    }

    fn look<'a>(&self, settings: &'a KarpenterSettings, view: &'a NodesView, now: Time) -> Cluster<'a> {
        let leaving = self.memory.leaving.keys().cloned().collect();
        Cluster::new(view, &self.cluster, &settings.node_pools, settings.spot_to_spot, leaving, now)
    }

    // ---- batches of pods ----

    /// Whether the pods that wait are to be placed now.
    fn batch_is_over(&mut self, cluster: &Cluster<'_>) -> bool {
        let now = cluster.now;
        let names: BTreeSet<String> = cluster.waiting.iter().map(|pod| pod.name.to_owned()).collect();
        let again = self.memory.requeue.is_some_and(|at| at <= now) && !names.is_empty();
        if again || names.difference(&self.memory.waiting).next().is_some() {
            let first = self.memory.batch.map_or(now, |(first, _)| first);
            self.memory.batch = Some((first, now));
            self.memory.requeue = Some(first.saturating_add(REQUEUE)).filter(|at| *at > now);
        }
        self.memory.waiting = names;
        if self.memory.waiting.is_empty() {
            self.memory.requeue = None;
        }
        let over = self.batch_end().is_some_and(|end| end <= now);
        if over {
            self.memory.batch = None;
        }
        over || self.launch_was_refused(cluster)
    }

    fn batch_end(&self) -> Option<Time> {
        let (first, latest) = self.memory.batch?;
        let idle = latest.saturating_add(self.settings.batch_idle);
        Some(idle.min(first.saturating_add(self.settings.batch_max)))
    }

    /// Whether the provider had no capacity for what was last launched: then the next offering is tried.
    fn launch_was_refused(&mut self, cluster: &Cluster<'_>) -> bool {
        let due = |at: &mut Time| at.saturating_add(LAUNCH_CHECK) <= cluster.now;
        let Some(launched) = self.memory.launched.take_if(due) else { return false };
        cluster.catalogue.offers.iter().any(|offer| offer.stocked_out.is_some_and(|at| at >= launched))
    }

    /// Launches nodes for pods that find no room.
    fn provision(&mut self, cluster: &Cluster<'_>, decision: &mut Decision) {
        let rooms = cluster.rooms(&[]);
        let names: Vec<String> = rooms.rooms.iter().map(|room| room.node.name.clone()).collect();
        let found = cluster.schedule(rooms, cluster.waiting.clone(), &[]);
        let promise = cluster.now.saturating_add(self.settings.batch_max * 2);
        for (_, spot) in &found.placed {
            if let Spot::Room(room) = spot {
                self.memory.nominated.insert(names[*room].clone(), promise);
            }
        }
        let nowhere = found.placed.iter().filter(|(_, spot)| *spot == Spot::Nowhere).count();
        if nowhere > 0 {
            self.note(
                decision,
                "FailedScheduling",
                format!("{nowhere} pods fit on no instance type within the limits"),
            );
        }
        let launches = cluster.launches(&found);
        let launched: usize = launches.iter().map(|(_, count)| *count as usize).sum();
        if launched < found.claims.len() {
            self.note(
                decision,
                "InsufficientCapacity",
                format!("for {}", number_of(found.claims.len() - launched, "node")),
            );
        }
        for (offer, count) in launches {
            let offer = cluster.catalogue.offers[offer];
            self.note(decision, "Provisioned", format!("{count} {} in {}", offer.instance_type, offer.pool));
            decision.actions.push(Action::LaunchNodes(launch(offer, count)));
            self.memory.launched = Some(cluster.now);
        }
    }

    // ---- disruption ----

    /// Makes the move that was planned if it still holds, and looks for the next.
    fn disrupt(&mut self, view: &NodesView, start: Civil, now: Time, decision: &mut Decision) {
        let settings = self.settings.clone();
        if let Some((_, planned)) = self.memory.planned.take_if(|(at, _)| *at <= now) {
            let cluster = self.look(&settings, view, now);
            let Some((found, leave)) = self.validated(&planned, &cluster, start) else {
                self.note(decision, "Abandoned", planned.nodes.join(", "));
                self.memory.next_disruption = Some(now.saturating_add(DISRUPTION_PERIOD));
                return;
            };
            self.execute(&planned, &found, leave, decision, now);
            self.memory.next_disruption = Some(now);
        }
        let due =
            self.memory.next_disruption.map_or(now >= Time::ZERO + self.schedule.offset, |at| at <= now);
        if !due || self.memory.planned.is_some() {
            return;
        }
        let cluster = self.look(&settings, view, now);
        self.memory.next_disruption = Some(now.saturating_add(DISRUPTION_PERIOD));
        if let Some(planned) = self.find(&cluster, start) {
            self.note(decision, planned.reason.name(), format!("planned: {}", planned.nodes.join(", ")));
            self.memory.planned = Some((now.saturating_add(VALIDATION), planned));
        }
    }

    /// The first move of the first method that has one: emptiness, several nodes, one node.
    fn find(&self, cluster: &Cluster<'_>, start: Civil) -> Option<Planned> {
        let empty = self.candidates(cluster, DisruptionReason::Empty, start, |_| true);
        let empty: Vec<String> = empty.iter().map(|candidate| candidate.node.name.clone()).collect();
        if !empty.is_empty() {
            return Some(Planned { reason: DisruptionReason::Empty, nodes: empty, replaced: false });
        }
        let candidates = self.candidates(cluster, DisruptionReason::Underutilized, start, |_| true);
        let found = cluster.several(&candidates).or_else(|| cluster.single(&candidates))?;
        Some(Planned {
            reason: DisruptionReason::Underutilized,
            nodes: found.nodes.iter().map(ToString::to_string).collect(),
            replaced: found.replacement.is_some(),
        })
    }

    /// Those of the nodes `meant` that may be disrupted for a reason, as many as the budgets allow, the most worthwhile
    /// first.
    fn candidates<'a>(
        &self,
        cluster: &Cluster<'a>,
        reason: DisruptionReason,
        start: Civil,
        meant: impl Fn(&str) -> bool,
    ) -> Vec<Candidate<'a>> {
        let eligible = cluster.all.iter().filter(|candidate| {
            meant(&candidate.node.name) && self.may_be_disrupted(candidate, cluster, reason)
        });
        let mut left: Vec<u64> = self.budgets(cluster, reason, start);
        let within = |candidate: &Candidate<'a>| {
            let left = &mut left[candidate.node_pool];
            let may = *left > 0;
            *left = left.saturating_sub(1);
            may
        };
        sorted(eligible.copied().collect()).into_iter().filter(within).collect()
    }

    fn may_be_disrupted(
        &self,
        candidate: &Candidate<'_>,
        cluster: &Cluster<'_>,
        reason: DisruptionReason,
    ) -> bool {
        let settings = &cluster.node_pools[candidate.node_pool];
        let name = &candidate.node.name;
        let promised = self.memory.nominated.get(name).is_some_and(|until| *until > cluster.now);
        let changed = self.memory.changes.get(name).map_or(cluster.now, |(_, at)| *at);
        let calm = settings.consolidate_after.is_some_and(|after| cluster.now.since(changed) >= after);
        let meant = match reason {
            DisruptionReason::Empty => candidate.is_empty(),
            _ => settings.consolidation_policy != ConsolidationPolicy::WhenEmpty,
        };
        calm && meant && !promised
    }

    /// How many nodes of each NodePool may be disrupted now.
    fn budgets(&self, cluster: &Cluster<'_>, reason: DisruptionReason, start: Civil) -> Vec<u64> {
        let of = |place: usize| {
            let own = || {
                cluster
                    .nodes
                    .iter()
                    .filter(move |node| cluster.owner(node) == Some(place) && node.ready_since.is_some())
            };
            let going = own().filter(|node| cluster.leaves(node)).count() as u64;
            let budgets = &cluster.node_pools[place].budgets;
            allowed(budgets, reason, own().count() as u64, start, cluster.now).saturating_sub(going)
        };
        (0..cluster.node_pools.len()).map(of).collect()
    }

    /// The planned move as it would be made now, with the offer that comes; `None` if it does not hold any more.
    fn validated<'a>(
        &self,
        planned: &Planned,
        cluster: &Cluster<'a>,
        start: Civil,
    ) -> Option<(Move<'a>, Option<&'a Offer>)> {
        let named = |name: &str| planned.nodes.iter().any(|node| node == name);
        let meant = self.candidates(cluster, planned.reason, start, named);
        if meant.len() < planned.nodes.len() {
            return None;
        }
        if planned.reason == DisruptionReason::Empty {
            let nodes = meant.iter().map(|candidate| candidate.node.name.as_str()).collect();
            return Some((Move { nodes, replacement: None, savings: 0.0 }, None));
        }
        let found = cluster.consolidate(&meant)?;
        let offer = found.replacement.map(|place| cluster.catalogue.offers[place]);
        (found.replacement.is_some() == planned.replaced).then_some((found, offer))
    }

    fn execute(
        &mut self,
        planned: &Planned,
        found: &Move<'_>,
        comes: Option<&Offer>,
        decision: &mut Decision,
        now: Time,
    ) {
        let names: Vec<String> = found.nodes.iter().map(ToString::to_string).collect();
        let with =
            comes.map_or(String::new(), |offer| format!(" for {} in {}", offer.instance_type, offer.pool));
        self.note(decision, planned.reason.name(), format!("{}{with}", names.join(", ")));
        let after = comes.map(|offer| (offer.pool.clone(), now));
        for name in &names {
            self.memory.leaving.insert(name.clone(), Leaving { since: now, after: after.clone() });
        }
        match comes {
            Some(offer) => {
                decision.actions.push(Action::ReplaceNodes { launch: launch(offer, 1), drain: names })
            }
            None => decision.actions.extend(names.into_iter().map(|name| self.drain(name))),
        }
    }

    // ---- expiration and termination ----

    /// Lets nodes go that are too old.
    fn expire(&mut self, cluster: &Cluster<'_>, decision: &mut Decision) {
        for node in &cluster.nodes {
            let Some(owner) = cluster.owner(node).filter(|_| !cluster.leaves(node)) else { continue };
            let old = cluster.node_pools[owner]
                .expire_after
                .is_some_and(|life| cluster.now.since(node.created) >= life);
            if old {
                self.note(decision, "Expired", node.name.clone());
                self.memory.leaving.insert(node.name.clone(), Leaving { since: cluster.now, after: None });
                decision.actions.push(self.drain(node.name.clone()));
            }
        }
    }

    /// Deletes nodes that go and have no pods left.
    fn terminate(&mut self, cluster: &Cluster<'_>, decision: &mut Decision) {
        for (name, leaving) in self.memory.leaving.clone() {
            let Some(node) = cluster.nodes.iter().find(|node| node.name == name) else {
                self.memory.leaving.remove(&name);
                continue;
            };
            if let Some((pool, at)) = &leaving.after {
                let came = |other: &&&NodeView| other.pool == *pool && other.created == *at;
                match cluster.nodes.iter().find(came) {
                    Some(other) if other.ready_since.is_none() => {}
                    Some(_) => {
                        let going = Leaving { since: cluster.now, after: None };
                        self.memory.leaving.insert(name.clone(), going);
                    }
                    // The launch failed, or the node is gone again: the old one stays.
                    None => drop(self.memory.leaving.remove(&name)),
                }
                continue;
            }
            let grace =
                cluster.owner(node).and_then(|owner| cluster.node_pools[owner].termination_grace_period);
            let over = grace.is_some_and(|grace| cluster.now.since(leaving.since) >= grace);
            if node.pods.is_empty() || over {
                self.memory.leaving.remove(&name);
                let code = if node.pods.is_empty() { "Drained" } else { "TerminationGracePeriodExpired" };
                self.note(decision, code, name.clone());
                decision.actions.push(Action::DeleteNode { cluster: self.cluster.clone(), node: name });
            }
        }
    }

    /// Notes when the pods of nodes changed.
    fn note_changes(&mut self, cluster: &Cluster<'_>) {
        let before = std::mem::take(&mut self.memory.changes);
        for node in cluster.nodes.iter().filter(|node| node.ready_since.is_some()) {
            let digest = digest(node);
            let since = match before.get(&node.name) {
                Some((known, at)) if *known == digest => *at,
                // Without a change of pods, from its being ready on.
                None if node.pods.is_empty() => node.ready_since.unwrap_or(cluster.now),
                _ => cluster.now,
            };
            self.memory.changes.insert(node.name.clone(), (digest, since));
        }
        self.memory.nominated.retain(|_, until| *until > cluster.now);
    }

    fn drain(&self, node: String) -> Action {
        Action::DrainNode { cluster: self.cluster.clone(), node }
    }

    fn wake_at(&self, now: Time) -> Option<Time> {
        let termination = (!self.memory.leaving.is_empty()).then(|| now.saturating_add(TERMINATION_POLL));
        let planned = self.memory.planned.as_ref().map(|(at, _)| *at);
        let disruption = if planned.is_some() { planned } else { self.memory.next_disruption };
        let check = self.memory.launched.map(|at| at.saturating_add(LAUNCH_CHECK));
        let all = [termination, disruption, self.batch_end(), self.memory.requeue, check];
        all.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn note(&self, decision: &mut Decision, code: &str, detail: String) {
        let subject = format!("nodes of {}", self.cluster);
        decision.reasons.push(Reason { subject, code: code.to_owned(), detail, ..Reason::default() });
    }
}

fn launch(offer: &Offer, count: u32) -> Launch {
    Launch {
        cluster: offer.cluster.clone(),
        pool: offer.pool.clone(),
        instance_types: vec![offer.instance_type.clone()],
        count,
        zone: Some(offer.zone.clone()),
        capacity_type: Some(offer.capacity_type),
    }
}

/// FNV-1a over the names of a node's pods and whether they are being deleted.
fn digest(node: &NodeView) -> u64 {
    let bytes = node.pods.iter().flat_map(|pod| pod.name.bytes().chain([u8::from(pod.deleted), 0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Policy for Karpenter {
    fn needs(&self) -> Needs {
        Needs::of_nodes(&self.cluster, self.schedule)
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::default();
        let Some(view) = &seen.nodes else {
            self.note(&mut decision, "NotSeen", String::new());
            return decision;
        };
        let settings = self.settings.clone();
        let cluster = self.look(&settings, view, seen.now);
        self.note_changes(&cluster);
        self.terminate(&cluster, &mut decision);
        self.expire(&cluster, &mut decision);
        let cluster = self.look(&settings, view, seen.now);
        if self.batch_is_over(&cluster) {
            self.provision(&cluster, &mut decision);
        }
        self.disrupt(view, seen.start, seen.now, &mut decision);
        decision.wake_at = self.wake_at(seen.now);
        decision
    }

    fn save(&self) -> State {
        State::of("karpenter", 1, &self.memory)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.memory = state.read("karpenter", 1)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The Cluster Autoscaler of Kubernetes 1.36.1, read from its source.
//!
//! | module | part of the autoscaler |
//! |---|---|
//! | [`estimator`] | how many nodes of a group pods need: `estimator/` |
//! | [`expander`] | which group grows: `expander/` |
//! | `scale_up` | what to add: `core/scaleup/orchestrator` |
//! | `scale_down` | what is not needed: `core/scaledown/` |
//! | [`backoff`] | groups that are left alone: `utils/backoff` |
//! | [`limits`] | how much a cluster may have |
//! | [`spec`], [`args`] | its flags, as keys of our own and in a Deployment |
//!
//! and here the loop, `core/static_autoscaler.go` and `loop/trigger.go`. A node group is a node pool.

pub mod args;
pub mod backoff;
pub mod estimator;
pub mod expander;
pub mod limits;
mod scale_down;
mod scale_up;
pub mod spec;

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::control::{
    Action, Cause, Census, Decision, Launch, Needs, NodeView, NodesView, Observation, Offer, PodTerms, Poke,
    Policy, Reason, Schedule, State, StateMismatch,
};
use scaletwin_core::random::Component;
use scaletwin_core::units::{Span, Time, number_of};
use serde::{Deserialize, Serialize};

use super::placement::{Pod, nodes_of, waiting_for};
use backoff::Backoff;
use scale_down::{Deletions, Leaving, Unneeded, crop, overdue};
use scale_up::{Growth, all_new, without_room};
use spec::CaSettings;

/// From one look at a node that is being emptied to the next: `drain.go`.
const DRAIN_POLL: Span = Span::from_secs(5);

/// The Cluster Autoscaler of one cluster.
#[derive(Debug, Clone)]
pub struct ClusterAutoscaler {
    cluster: String,
    settings: CaSettings,
    loop_duration: Span,
    schedule: Schedule,
    luck: Component,
    memory: Memory,
}

/// What it remembers from one loop to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    next_loop: Option<Time>,
    last_loop: Option<Time>,
    /// Pods without a node, by name: only a new one calls for a loop.
    waiting: BTreeSet<String>,
    last_scale_up: Option<Time>,
    last_delete: Option<Time>,
    unneeded: Unneeded,
    deletions: Deletions,
    /// When each group was last grown, as long as nodes of it are on their way.
    growing: BTreeMap<String, Time>,
    backoff: Backoff,
    /// How often chance has chosen.
    draws: u64,
}

/// What one cluster looks like.
struct Cluster<'a> {
    now: Time,
    nodes: Vec<&'a NodeView>,
    waiting: Vec<Pod<'a>>,
    groups: Vec<&'a Offer>,
    terms: &'a [PodTerms],
}

impl ClusterAutoscaler {
    /// The autoscaler of `cluster` with these flags. A loop takes `loop_duration`; `luck` breaks ties.
    #[must_use]
    pub fn new(
        cluster: String,
        settings: CaSettings,
        loop_duration: Span,
        schedule: Schedule,
        luck: Component,
    ) -> ClusterAutoscaler {
        ClusterAutoscaler { cluster, settings, loop_duration, schedule, luck, memory: Memory::default() }
    }

    fn look<'a>(&self, view: &'a NodesView, now: Time) -> Cluster<'a> {
        Cluster {
            now,
            nodes: nodes_of(view, &self.cluster),
            waiting: waiting_for(view, &self.cluster),
            groups: view.offers.iter().filter(|offer| offer.cluster == self.cluster).collect(),
            terms: &view.terms,
        }
    }

    /// Whether a loop begins now. A new pod calls for one, at the end of the present one at the earliest.
    fn begins(&mut self, cluster: &Cluster<'_>, cause: &Cause) -> bool {
        let names: BTreeSet<String> = cluster.waiting.iter().map(|pod| pod.name.to_owned()).collect();
        let new = names.difference(&self.memory.waiting).next().is_some();
        self.memory.waiting = names;
        let Some(last) = self.memory.last_loop else {
            return cluster.now >= Time::ZERO + self.schedule.offset;
        };
        if new && self.settings.frequent_loops_enabled && *cause == Cause::Poke(Poke::PendingPods) {
            let soon = last.saturating_add(self.loop_duration).max(cluster.now);
            self.memory.next_loop = self.memory.next_loop.map(|next| next.min(soon));
        }
        self.memory.next_loop.is_some_and(|next| next <= cluster.now)
    }

    /// `RunOnce`. Whether it did something.
    fn run_once(&mut self, cluster: &Cluster<'_>, decision: &mut Decision) -> bool {
        self.update_requests(cluster, decision);
        if let Some(unready) = self.unhealthy(cluster) {
            self.note(decision, "cluster", "ClusterUnhealthy", format!("{unready} nodes are not ready"));
            return false;
        }
        let memory = &self.memory;
        let (pods, census) = without_room(cluster.waiting.clone(), &cluster.nodes, cluster.terms, |name| {
            memory.deletions.contains_key(name)
        });
        let old = |pod: &Pod<'_>| cluster.now.since(pod.since) > self.settings.new_pod_scale_up_delay;
        let pods: Vec<Pod<'_>> = pods.into_iter().filter(old).collect();
        let ready = cluster.nodes.iter().filter(|node| answers(node)).count();
        let mut cooling = false;
        if pods.is_empty() {
            self.note(decision, "scale-up", "NotNeeded", String::new());
        } else if self.settings.limits.more_nodes(ready) == 0 {
            self.note(decision, "scale-up", "LimitedByMaxNodesTotal", format!("{ready} nodes are ready"));
        } else if all_new(&pods, cluster.now) {
            self.note(decision, "scale-up", "InCooldown", format!("{} pods are very new", pods.len()));
            cooling = true;
        } else if self.scale_up(cluster, &pods, census, decision) {
            return true;
        }
        self.settings.scale_down_enabled && self.scale_down(cluster, cooling, decision)
    }

    /// How many nodes are not ready, where that is too many for anything to be done: `IsClusterHealthy`.
    fn unhealthy(&self, cluster: &Cluster<'_>) -> Option<usize> {
        let unready = cluster.nodes.iter().filter(|node| node.unready_since.is_some()).count();
        let share = f64::from(self.settings.max_total_unready_percentage) / 100.0;
        let many = unready > self.settings.ok_total_unready_count as usize
            && unready as f64 > share * cluster.nodes.len() as f64;
        many.then_some(unready)
    }

    /// Follows launches: those that failed or took too long leave their group alone for a while.
    fn update_requests(&mut self, cluster: &Cluster<'_>, decision: &mut Decision) {
        let now = cluster.now;
        self.memory.backoff.forget(now, &self.settings.backoff);
        let late = |node: &NodeView| {
            node.ready_since.is_none() && now.since(node.created) > self.settings.max_node_provision_time
        };
        for (group, since) in self.memory.growing.clone() {
            let offer = cluster.groups.iter().find(|offer| offer.pool == group);
            let refused = offer.and_then(|offer| offer.stocked_out).is_some_and(|at| at >= since);
            let coming = |node: &&&NodeView| node.pool == group && node.ready_since.is_none();
            let late = cluster.nodes.iter().filter(coming).any(|node| late(node));
            if refused || late {
                let why = if refused { "the provider has no capacity" } else { "a node took too long" };
                self.note(decision, "scale-up", "Backoff", format!("{group}: {why}"));
                self.memory.backoff.failed(&group, now, &self.settings.backoff);
                self.memory.growing.remove(&group);
            } else if !cluster.nodes.iter().any(|node| coming(&node)) {
                self.memory.backoff.succeeded(&group);
                self.memory.growing.remove(&group);
            }
        }
        for node in cluster.nodes.iter().filter(|node| late(node)) {
            self.note(decision, "scale-up", "DeleteUnregistered", node.name.clone());
            decision.actions.push(self.delete(node));
        }
    }

    /// Whether a group grows.
    fn scale_up<'a>(
        &mut self,
        cluster: &Cluster<'a>,
        pods: &[Pod<'a>],
        census: Option<Census<'a>>,
        decision: &mut Decision,
    ) -> bool {
        let open = |group: &&&Offer| !self.memory.backoff.holds(&group.pool, cluster.now);
        let growth = Growth {
            settings: &self.settings,
            nodes: &cluster.nodes,
            groups: cluster.groups.iter().filter(open).copied().collect(),
            census,
        };
        let mut draws = self.luck.entity(self.memory.draws);
        self.memory.draws += 1;
        let Some(launches) = growth.best(pods, &mut draws) else {
            self.note(
                decision,
                "scale-up",
                "NoOptionsAvailable",
                format!("for {}", number_of(pods.len(), "pod")),
            );
            return false;
        };
        for (group, count) in launches {
            self.note(
                decision,
                "scale-up",
                "Successful",
                format!("{} of {group}", number_of(count as usize, "node")),
            );
            self.memory.growing.insert(group.to_owned(), cluster.now);
            decision.actions.push(Action::LaunchNodes(Launch {
                cluster: self.cluster.clone(),
                pool: group.to_owned(),
                instance_types: Vec::new(),
                count,
                zone: None,
                capacity_type: None,
            }));
        }
        self.memory.last_scale_up = Some(cluster.now);
        true
    }

    /// Whether nodes begin to go. The clocks of unneeded nodes run while nothing may go.
    fn scale_down(&mut self, cluster: &Cluster<'_>, cooling: bool, decision: &mut Decision) -> bool {
        let now = cluster.now;
        let Memory { unneeded, deletions, .. } = &mut self.memory;
        unneeded.update(&cluster.nodes, cluster.terms, deletions, &self.settings, now);
        if cooling || self.cools_down(now) {
            self.note(decision, "scale-down", "InCooldown", String::new());
            return false;
        }
        let Memory { unneeded, deletions, .. } = &self.memory;
        let removable = unneeded.removable(&cluster.nodes, &cluster.groups, deletions, &self.settings, now);
        let chosen = crop(&removable, deletions, &self.settings);
        if chosen.is_empty() {
            let code = if unneeded.since.is_empty() { "NoUnneeded" } else { "NoNodeDeleted" };
            self.note(decision, "scale-down", code, String::new());
            return false;
        }
        for (node, drained) in chosen {
            self.note(decision, "scale-down", "NodeDeleteStarted", node.name.clone());
            self.memory.deletions.insert(node.name.clone(), Leaving { since: now, drained });
            decision
                .actions
                .push(Action::DrainNode { cluster: self.cluster.clone(), node: node.name.clone() });
        }
        self.memory.last_delete = Some(now);
        true
    }

    fn cools_down(&self, now: Time) -> bool {
        let ahead =
            |last: Option<Time>, delay: Span| last.is_some_and(|last| last.saturating_add(delay) > now);
        ahead(self.memory.last_scale_up, self.settings.scale_down_delay_after_add)
            || ahead(self.memory.last_delete, self.settings.scale_down_delay_after_delete)
    }

    /// Deletes nodes that have taken no pods for a while and have none left.
    fn finish_deletions(&mut self, cluster: &Cluster<'_>, decision: &mut Decision) {
        let there = |name: &String| cluster.nodes.iter().any(|node| node.name == *name);
        self.memory.deletions.retain(|name, _| there(name));
        for node in &cluster.nodes {
            let Some(leaving) = self.memory.deletions.get(&node.name) else { continue };
            let tainted = cluster.now.since(leaving.since) >= self.settings.node_delete_delay_after_taint;
            let gone =
                node.pods.is_empty() || overdue(leaving, self.settings.max_graceful_termination, cluster.now);
            if tainted && gone {
                self.memory.deletions.remove(&node.name);
                self.note(decision, "scale-down", "NodeDeleteOk", node.name.clone());
                decision.actions.push(self.delete(node));
            }
        }
    }

    fn delete(&self, node: &NodeView) -> Action {
        Action::DeleteNode { cluster: self.cluster.clone(), node: node.name.clone() }
    }

    /// When it wants to be asked again.
    fn wake_at(&self, now: Time) -> Option<Time> {
        let poll = now.saturating_add(DRAIN_POLL);
        let next_poll = self.memory.deletions.values().map(|leaving| {
            let tainted = leaving.since.saturating_add(self.settings.node_delete_delay_after_taint);
            if tainted > now { tainted } else { poll }
        });
        next_poll.chain(self.memory.next_loop).min()
    }

    fn note(&self, decision: &mut Decision, what: &str, code: &str, detail: String) {
        let subject = format!("{what} of {}", self.cluster);
        decision.reasons.push(Reason { subject, code: code.to_owned(), detail, ..Reason::default() });
    }
}

/// Whether a node is ready.
fn answers(node: &NodeView) -> bool {
    node.ready_since.is_some() && node.unready_since.is_none()
}

impl Policy for ClusterAutoscaler {
    fn needs(&self) -> Needs {
        Needs::of_nodes(&self.cluster, self.schedule)
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::default();
        let Some(view) = &seen.nodes else {
            self.note(&mut decision, "nodes", "NotSeen", String::new());
            return decision;
        };
        let cluster = self.look(view, seen.now);
        self.finish_deletions(&cluster, &mut decision);
        if self.begins(&cluster, &seen.cause) {
            let productive = self.run_once(&cluster, &mut decision) && self.settings.frequent_loops_enabled;
            let pause = if productive { self.loop_duration } else { self.settings.scan_interval };
            self.memory.last_loop = Some(seen.now);
            self.memory.next_loop = Some(seen.now.saturating_add(pause));
        }
        decision.wake_at = self.wake_at(seen.now);
        decision
    }

    fn save(&self) -> State {
        State::of("cluster-autoscaler", 1, &self.memory)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.memory = state.read("cluster-autoscaler", 1)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! A simple node autoscaler: a node for each pod that finds none, and empty nodes back after a while.
//!
//! It packs pending pods, oldest first, onto nodes on their way, and launches the first offer that fits for what is
//! left. A node without pods for `idle_timeout` is given back, as far as its pool keeps its fewest besides those that do
//! not answer. Cluster Autoscaler
//! and Karpenter are policies of their own.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Aspect, Decision, Launch, Needs, NodesView, Observation, Offer, PokeKind, Policy, Reason,
    Resources, Schedule, Scope, State, StateMismatch,
};
use scaletwin_core::input::{At, Period};
use scaletwin_core::units::{Span, Time};

scaletwin_core::keys! {
    /// A node for each pod that finds none, and empty nodes back after a while.
    #[derive(Debug, Clone)]
    pub struct NodeProvisionerSpec {
        /// The cluster. Default: the only one.
        pub cluster: Option<At<String>> = None,
        /// From one look to the next, besides those for pending pods.
        pub period: Period = Period(Span::from_secs(10)),
        /// The first look. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
        /// How long a node is empty before it is given back.
        pub idle_timeout: Span = Span::from_secs(600),
    }
}

/// The node autoscaler of one cluster.
#[derive(Debug, Clone)]
pub struct NodeProvisioner {
    cluster: String,
    schedule: Schedule,
    idle_timeout: Span,
    /// Since when each empty node is empty.
    empty_since: BTreeMap<String, Time>,
}

/// How long a pool is passed over after the provider had no capacity for it: Karpenter's.
const STOCK_OUT_BACKOFF: Span = Span::from_secs(180);

impl NodeProvisioner {
    /// A node autoscaler for `cluster`.
    #[must_use]
    pub fn new(cluster: String, schedule: Schedule, idle_timeout: Span) -> NodeProvisioner {
        NodeProvisioner { cluster, schedule, idle_timeout, empty_since: BTreeMap::new() }
    }

    /// Nodes to launch for pods without one, by pool.
    fn launches(&self, view: &NodesView, now: Time) -> Vec<(String, u32)> {
        let there = |offer: &&Offer| {
            offer.cluster == self.cluster
                && offer.stocked_out.is_none_or(|at| now.since(at) >= STOCK_OUT_BACKOFF)
        };
        let mut offers: Vec<Offer> = view.offers.iter().filter(there).cloned().collect();
        // Room on nodes that come, with their pools; those launched now are added.
        let mut coming: Vec<(String, Resources)> = view
            .nodes
            .iter()
            .filter(|node| node.cluster == self.cluster && node.ready_since.is_none())
            .map(|node| (node.pool.clone(), node.allocatable))
            .collect();
        let mut launches: Vec<(String, u32)> = Vec::new();
        for pod in view.pending.iter().filter(|pod| pod.cluster == self.cluster) {
            let fits_pool = |pool: &str| {
                let barred = pod.barred.iter().any(|barred| barred == pool);
                pod.pool.as_ref().is_none_or(|wanted| wanted == pool) && !barred
            };
            let fits = |(pool, room): &&mut (String, Resources)| fits_pool(pool) && pod.requests.fits(room);
            if let Some((_, room)) = coming.iter_mut().find(fits) {
                *room = room.minus(&pod.requests);
                continue;
            }
            let fits = |offer: &&mut Offer| {
                offer.room > 0 && fits_pool(&offer.pool) && pod.requests.fits(&offer.allocatable)
            };
            if let Some(offer) = offers.iter_mut().find(fits) {
                offer.room -= 1;
                coming.push((offer.pool.clone(), offer.allocatable.minus(&pod.requests)));
                match launches.iter_mut().find(|(pool, _)| *pool == offer.pool) {
                    Some((_, count)) => *count += 1,
                    None => launches.push((offer.pool.clone(), 1)),
                }
            }
        }
        launches
    }

    /// Nodes to give back: empty for long enough, and not among the fewest of their pool.
    fn surplus(&mut self, view: &NodesView, now: Time) -> Vec<String> {
        let mine: Vec<_> = view.nodes.iter().filter(|node| node.cluster == self.cluster).collect();
        let is_empty = |name: &String| mine.iter().any(|node| node.name == *name && node.pods.is_empty());
        self.empty_since.retain(|name, _| is_empty(name));
        for node in mine.iter().filter(|node| node.ready_since.is_some() && node.pods.is_empty()) {
            self.empty_since.entry(node.name.clone()).or_insert(now);
        }
        let mut surplus = Vec::new();
        for offer in view.offers.iter().filter(|offer| offer.cluster == self.cluster) {
            let pool: Vec<_> = mine.iter().filter(|node| node.pool == offer.pool).collect();
            // One that does not answer is none that the pool keeps.
            let answering = pool.iter().filter(|node| node.unready_since.is_none()).count();
            let mut spare = answering.saturating_sub(offer.min_nodes as usize);
            for node in pool.iter().rev() {
                let idle = self
                    .empty_since
                    .get(&node.name)
                    .is_some_and(|since| now.since(*since) >= self.idle_timeout);
                if idle && node.unready_since.is_some() {
                    surplus.push(node.name.clone());
                } else if idle && spare > 0 {
                    spare -= 1;
                    surplus.push(node.name.clone());
                }
            }
        }
        surplus
    }
}

impl Policy for NodeProvisioner {
    fn needs(&self) -> Needs {
        Needs {
            scope: Scope { nodes: true, ..Scope::default() },
            schedule: self.schedule,
            pokes: vec![PokeKind::PendingPods],
            writes: vec![Aspect::Nodes(self.cluster.clone())],
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let reason = |code: &str, detail: String| Reason {
            subject: format!("nodes of {}", self.cluster),
            code: code.into(),
            detail,
            ..Reason::default()
        };
        let Some(view) = &seen.nodes else { return Decision::nothing(reason("NotSeen", String::new())) };
        let mut decision = Decision::default();
        for (pool, count) in self.launches(view, seen.now) {
            decision
                .reasons
                .push(reason("PendingPods", format!("{count} nodes of {pool} for pods without a node")));
            decision.actions.push(Action::LaunchNodes(Launch {
                cluster: self.cluster.clone(),
                pool,
                instance_types: Vec::new(),
                count,
                zone: None,
                capacity_type: None,
            }));
        }
        let waiting = view.pending.iter().filter(|pod| pod.cluster == self.cluster).count();
        if decision.actions.is_empty() && waiting > 0 {
            decision.reasons.push(reason(
                "Waiting",
                format!("{waiting} pods wait for nodes on their way, or fit nowhere"),
            ));
        }
        for node in self.surplus(view, seen.now) {
            let detail = format!("{node} has been empty for {}", self.idle_timeout);
            decision.reasons.push(Reason {
                subject: format!("nodes of {}", self.cluster),
                code: "Empty".into(),
                detail,
                ..Reason::default()
            });
            decision.actions.push(Action::DeleteNode { cluster: self.cluster.clone(), node });
        }
        decision
    }

    fn save(&self) -> State {
        State::of("node-provisioner", 1, &self.empty_since)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.empty_since = state.read("node-provisioner", 1)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::control::{CapacityType, NodeView, PendingPod, TargetName};
    use scaletwin_core::units::Civil;

    fn gpus(milli: i64) -> Resources {
        Resources { gpu_milli: milli, ..Resources::default() }
    }

    fn pod(name: &str) -> PendingPod {
        PendingPod {
            name: name.into(),
            target: TargetName::new("s/d"),
            cluster: "c".into(),
            pool: None,
            barred: Vec::new(),
            since: Time::ZERO,
            requests: gpus(1_000),
        }
    }

    fn node(name: &str, ready_since: Option<Time>) -> NodeView {
        NodeView {
            name: name.into(),
            cluster: "c".into(),
            pool: "gpu".into(),
            instance_type: "x".into(),
            zone: "a".into(),
            capacity_type: CapacityType::OnDemand,
            created: Time::ZERO,
            ready_since,
            unready_since: None,
            cordoned: false,
            price_usd_per_hour: None,
            allocatable: gpus(2_000),
            pods: Vec::new(),
        }
    }

    fn seen(now: u64, nodes: Vec<NodeView>, pending: Vec<PendingPod>, room: u32) -> Observation {
        let offer = Offer {
            cluster: "c".into(),
            pool: "gpu".into(),
            instance_type: "x".into(),
            zone: "a".into(),
            capacity_type: CapacityType::OnDemand,
            price_usd_per_hour: None,
            allocatable: gpus(2_000),
            min_nodes: 1,
            room,
            stocked_out: None,
        };
        let mut seen = Observation::at(Time::ZERO + Span::from_secs(now), Civil::DEFAULT_START);
        seen.nodes = Some(NodesView { nodes, pending, offers: vec![offer] });
        seen
    }

    fn provisioner() -> NodeProvisioner {
        NodeProvisioner::new("c".into(), Schedule::every(Span::from_secs(10)), Span::from_secs(600))
    }

    #[test]
    fn pods_share_nodes_on_their_way() {
        let pods = || vec![pod("a"), pod("b"), pod("c")];
        let launched =
            |nodes, room| match provisioner().decide(&seen(0, nodes, pods(), room)).actions.as_slice() {
                [Action::LaunchNodes(launch)] => launch.count,
                _ => 0,
            };
        assert_eq!(launched(vec![], 9), 2);
        assert_eq!(launched(vec![node("n", None)], 9), 1);
        assert_eq!(launched(vec![], 0), 0);
    }

    #[test]
    fn a_node_that_does_not_answer_goes_even_if_it_is_one_of_the_fewest() {
        let mut provisioner = provisioner();
        let silent =
            NodeView { unready_since: Some(Time::ZERO), cordoned: true, ..node("n1", Some(Time::ZERO)) };
        let look = |provisioner: &mut NodeProvisioner, now| {
            provisioner.decide(&seen(now, vec![silent.clone()], vec![], 9)).actions
        };
        assert!(look(&mut provisioner, 0).is_empty());
        let delete = Action::DeleteNode { cluster: "c".into(), node: "n1".into() };
        assert_eq!(look(&mut provisioner, 600), [delete]);
    }

    #[test]
    fn a_pod_is_no_reason_for_a_node_that_it_may_not_use() {
        let pod = PendingPod { barred: vec!["gpu".into()], ..pod("a") };
        assert!(provisioner().decide(&seen(0, vec![], vec![pod], 9)).actions.is_empty());
    }

    #[test]
    fn empty_nodes_go_after_a_while_down_to_the_fewest() {
        let mut provisioner = provisioner();
        let nodes =
            || vec![node("n1", Some(Time::ZERO)), node("n2", Some(Time::ZERO)), node("n3", Some(Time::ZERO))];
        assert!(provisioner.decide(&seen(0, nodes(), vec![], 9)).actions.is_empty());
        assert!(provisioner.decide(&seen(599, nodes(), vec![], 9)).actions.is_empty());
        let delete = |node: &str| Action::DeleteNode { cluster: "c".into(), node: node.into() };
        assert_eq!(provisioner.decide(&seen(600, nodes(), vec![], 9)).actions, [delete("n3"), delete("n2")]);
    }
}

//! A simple node autoscaler: a node for each pod that finds none, and empty nodes back after a while.
//!
//! It packs pending pods, oldest first, onto nodes on their way, and launches the first offer that fits for what is
//! left. A node without pods for `idle_timeout` is given back, as far as its pool keeps its fewest besides those that do
//! not answer. Cluster Autoscaler
//! and Karpenter are policies of their own.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Census, Decision, Launch, Needs, NodeView, NodesView, Observation, Offer, PendingPod, PodTerms,
    Policy, Reason, Resources, Schedule, State, StateMismatch,
};
use scaletwin_core::input::{At, Period};
use scaletwin_core::units::{Span, Time, number_of};

use crate::kubernetes::placement::census;

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
        /// How many empty nodes are kept, there or on their way, in the first pools of the cluster that may have more: warm
        /// capacity.
        pub spare: u32 = 0,
    }
}

/// The node autoscaler of one cluster.
#[derive(Debug, Clone)]
pub struct NodeProvisioner {
    cluster: String,
    schedule: Schedule,
    idle_timeout: Span,
    spare: usize,
    /// Since when each empty node is empty.
    empty_since: BTreeMap<String, Time>,
}

/// How long a pool is passed over after the provider had no capacity for it: Karpenter's.
const STOCK_OUT_BACKOFF: Span = Span::from_secs(180);

impl NodeProvisioner {
    /// A node autoscaler for `cluster`.
    #[must_use]
    pub fn new(cluster: String, schedule: Schedule, idle_timeout: Span) -> NodeProvisioner {
        NodeProvisioner { cluster, schedule, idle_timeout, spare: 0, empty_since: BTreeMap::new() }
    }

    /// The same, with so many empty nodes kept.
    #[must_use]
    pub fn keeping(self, spare: u32) -> NodeProvisioner {
        NodeProvisioner { spare: spare as usize, ..self }
    }

    /// Nodes to launch, by pool: for pods without one, and to keep some empty.
    fn launches(&self, view: &NodesView, now: Time) -> (Launches, Launches) {
        let there = |offer: &&Offer| {
            offer.cluster == self.cluster
                && offer.stocked_out.is_none_or(|at| now.since(at) >= STOCK_OUT_BACKOFF)
        };
        let mut offers: Vec<Offer> = view.offers.iter().filter(there).cloned().collect();
        let mine: Vec<&NodeView> = view.nodes.iter().filter(|node| node.cluster == self.cluster).collect();
        let mut around = Around::of(&mine, &view.terms);
        let mut coming: Vec<Coming> = (0..)
            .zip(&mine)
            .filter(|(_, node)| node.ready_since.is_none())
            .map(|(seat, node)| Coming::empty(&node.pool, node.allocatable, seat))
            .collect();
        let mut launches: Launches = Vec::new();
        for pod in view.pending.iter().filter(|pod| pod.cluster == self.cluster) {
            let found = coming
                .iter_mut()
                .find(|node| may_use(pod, &node.pool, &node.room) && around.allows(pod, node.seat));
            if let Some(node) = found {
                node.take(pod);
                around.put(pod, node.seat);
            } else if let Some((offer, seat)) = offers
                .iter_mut()
                .filter(|offer| offer.room > 0 && may_use(pod, &offer.pool, &offer.allocatable))
                .find_map(|offer| around.seat(pod, offer).map(|seat| (offer, seat)))
            {
                offer.room -= 1;
                let mut node = Coming::empty(&offer.pool, offer.allocatable, seat);
                node.take(pod);
                around.put(pod, seat);
                coming.push(node);
                match launches.iter_mut().find(|(pool, _)| *pool == offer.pool) {
                    Some((_, count)) => *count += 1,
                    None => launches.push((offer.pool.clone(), 1)),
                }
            }
        }
        let empty = self.empty(view).count() + coming.iter().filter(|node| node.is_empty).count();
        (launches, first_with_room(offers, self.spare.saturating_sub(empty)))
    }

    /// The nodes that could take pods at once and have none.
    fn empty<'a>(&'a self, view: &'a NodesView) -> impl Iterator<Item = &'a NodeView> {
        view.nodes.iter().filter(|node| {
            let works = node.ready_since.is_some() && node.unready_since.is_none() && !node.cordoned;
            node.cluster == self.cluster && works && node.pods.is_empty()
        })
    }

    /// Nodes to give back: empty for long enough, and not among the fewest of their pool.
    fn surplus(&mut self, view: &NodesView, now: Time) -> Vec<String> {
        let mine: Vec<_> = view.nodes.iter().filter(|node| node.cluster == self.cluster).collect();
        let is_empty = |name: &String| mine.iter().any(|node| node.name == *name && node.pods.is_empty());
        self.empty_since.retain(|name, _| is_empty(name));
        for node in mine.iter().filter(|node| node.ready_since.is_some() && node.pods.is_empty()) {
            self.empty_since.entry(node.name.clone()).or_insert(now);
        }
        let mut above = self.empty(view).count().saturating_sub(self.spare);
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
                } else if idle && spare > 0 && (above > 0 || self.spare == 0) {
                    spare -= 1;
                    above = above.saturating_sub(1);
                    surplus.push(node.name.clone());
                }
            }
        }
        surplus
    }
}

/// Nodes to launch, by pool.
type Launches = Vec<(String, u32)>;

/// A node on its way, or launched in this look.
struct Coming {
    pool: String,
    room: Resources,
    is_empty: bool,
    /// Its number in the census.
    seat: usize,
}

impl Coming {
    fn empty(pool: &str, room: Resources, seat: usize) -> Coming {
        Coming { pool: pool.to_owned(), room, is_empty: true, seat }
    }

    fn take(&mut self, pod: &PendingPod) {
        self.room = self.room.minus(&pod.requests);
        self.is_empty = false;
    }
}

/// Who is where, if that matters to anybody.
struct Around<'a>(Option<Census<'a>>);

impl<'a> Around<'a> {
    /// Nodes have their numbers in the order given.
    fn of(nodes: &[&NodeView], terms: &'a [PodTerms]) -> Around<'a> {
        Around((!terms.is_empty()).then(|| census(nodes, terms)))
    }

    fn allows(&self, pod: &PendingPod, seat: usize) -> bool {
        let tied = self.0.as_ref().zip(pod.tied);
        tied.is_none_or(|(census, target)| census.allows(&census.filter(target), seat))
    }

    /// The number of one more node of an offer, if a pod may be there.
    fn seat(&mut self, pod: &PendingPod, offer: &Offer) -> Option<usize> {
        let Some(census) = &mut self.0 else { return Some(0) };
        let seat = census.add_node(&offer.zone, &offer.pool);
        let may = pod.tied.is_none_or(|target| census.allows(&census.filter(target), seat));
        census.set_open(seat, may);
        may.then_some(seat)
    }

    fn put(&mut self, pod: &PendingPod, seat: usize) {
        if let (Some(census), Some(target)) = (&mut self.0, pod.tied) {
            census.put(seat, target, true);
        }
    }
}

/// Whether a pod may use nodes of `pool`, and fits into `room`.
fn may_use(pod: &PendingPod, pool: &str, room: &Resources) -> bool {
    let barred = pod.barred.iter().any(|barred| barred == pool);
    pod.pool.as_ref().is_none_or(|wanted| wanted == pool) && !barred && pod.requests.fits(room)
}

/// So many nodes from the first offers that have room.
fn first_with_room(offers: Vec<Offer>, mut missing: usize) -> Launches {
    let mut launches = Vec::new();
    for offer in offers {
        let count = offer.room.min(u32::try_from(missing).unwrap_or(u32::MAX));
        missing -= count as usize;
        if count > 0 {
            launches.push((offer.pool, count));
        }
    }
    launches
}

impl Policy for NodeProvisioner {
    fn needs(&self) -> Needs {
        Needs::of_nodes(&self.cluster, self.schedule)
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
        let (for_pods, to_spare) = self.launches(view, seen.now);
        let for_pods = for_pods.into_iter().map(|launch| (launch, "PendingPods", "for pods without a node"));
        let to_spare = to_spare.into_iter().map(|launch| (launch, "Spare", "to have enough empty ones"));
        for ((pool, count), code, why) in for_pods.chain(to_spare) {
            decision
                .reasons
                .push(reason(code, format!("{} of {pool} {why}", number_of(count as usize, "node"))));
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
    use scaletwin_core::control::{CapacityType, TargetName};
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
            tied: None,
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
            capacity: gpus(2_000),
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
            capacity: gpus(2_000),
            allocatable: gpus(2_000),
            min_nodes: 1,
            room,
            stocked_out: None,
        };
        let mut seen = Observation::at(Time::ZERO + Span::from_secs(now), Civil::DEFAULT_START);
        seen.nodes = Some(NodesView { nodes, pending, offers: vec![offer], terms: Vec::new() });
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
    fn spare_nodes_are_kept_beside_those_that_are_needed() {
        let launched = |nodes, pods, room| {
            let decision = provisioner().keeping(2).decide(&seen(0, nodes, pods, room));
            let count = |action: &Action| match action {
                Action::LaunchNodes(launch) => launch.count,
                _ => 0,
            };
            decision.actions.iter().map(count).collect::<Vec<_>>()
        };
        let empty = || node("n", Some(Time::ZERO));
        assert_eq!(launched(vec![], vec![], 9), [2]);
        assert_eq!(launched(vec![empty()], vec![], 9), [1]);
        assert_eq!(launched(vec![empty(), node("m", None)], vec![], 9), [0; 0]);
        // The node on its way is for the pod; then two more are needed, and there is room for one.
        assert_eq!(launched(vec![node("m", None)], vec![pod("a")], 9), [2]);
        assert_eq!(launched(vec![], vec![pod("a")], 2), [1, 1]);
    }

    #[test]
    fn spare_nodes_are_not_given_back() {
        let mut provisioner = provisioner().keeping(2);
        let nodes = || ["n1", "n2", "n3"].map(|name| node(name, Some(Time::ZERO))).to_vec();
        assert!(provisioner.decide(&seen(0, nodes(), vec![], 9)).actions.is_empty());
        let delete = Action::DeleteNode { cluster: "c".into(), node: "n3".into() };
        assert_eq!(provisioner.decide(&seen(600, nodes(), vec![], 9)).actions, [delete]);
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

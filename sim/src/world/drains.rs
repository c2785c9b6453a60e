//! Drains: replicas are evicted from a node, as far as disruption budgets let them go.

use scaletwin_core::units::Span;

use super::World;
use super::event::Event;
use crate::cluster::entities::NodeId;
use crate::engine::{Calendar, Phase};

/// From an eviction that was refused to the next try: `kubectl drain`'s, and that of the eviction client in
/// `k8s.io/kubectl/pkg/drain`.
const NEXT_TRY: Span = Span::from_secs(5);

impl World {
    /// Takes a node out of scheduling and lets its replicas go.
    pub(super) fn drain_node(&mut self, name: &str, calendar: &mut Calendar<Event>) -> Result<(), String> {
        self.fleet.cordon(name)?;
        self.evict_from(name, calendar);
        Ok(())
    }

    /// Evicts a replica of a deployment by the name of its pod, unless its budget holds it back.
    pub(super) fn evict_pod(
        &mut self,
        place: usize,
        pod: &str,
        calendar: &mut Calendar<Event>,
    ) -> Result<(), String> {
        let found = self.fleet.find_replica(place, pod);
        let id = found.ok_or_else(|| format!("there is no pod {pod}, or it is on its way out"))?;
        if !self.fleet.may_be_evicted(id) {
            return Err(format!("the disruption budget holds {pod} back"));
        }
        self.fleet.evict(id, calendar.now());
        self.replica_is_deleted(id, calendar);
        Ok(())
    }

    /// Evicts the replicas of a node. Those that their budgets hold back are tried again.
    pub(super) fn evict_from(&mut self, name: &str, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let mut held_back = false;
        for id in self.fleet.replicas_on(name).unwrap_or_default() {
            if self.fleet.replica(id).is_some_and(|replica| replica.deleted.is_some()) {
                continue;
            }
            if !self.fleet.may_be_evicted(id) {
                held_back = true;
            } else if self.fleet.evict(id, now) {
                self.replica_is_deleted(id, calendar);
            }
        }
        let Some(node) = self.fleet.node_id(name).filter(|_| held_back) else { return };
        if self.state.drains.insert(node) {
            // A drain moves no request forward: it is planned with what only looks, so that a stalled run is found out.
            calendar.at(now.saturating_add(NEXT_TRY), Phase::Scrape, Event::DrainAgain(node));
        }
    }

    /// What was held back on a node is tried again, unless the node is gone or takes pods again.
    pub(super) fn drain_again(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        self.state.drains.remove(&node);
        let Some(name) = self.fleet.node_name(node).filter(|_| self.fleet.is_cordoned(node)) else { return };
        self.evict_from(&name, calendar);
        calendar.soon(Phase::Place, Event::Lifecycle);
    }
}

//! Nodes that come in place of others: the others take no more pods from the launch on, and are drained when those that
//! come are ready. If one that comes is gone before, or told to go, the others stay.

use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use crate::cluster::entities::NodeId;
use crate::engine::Calendar;

/// A replacement under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Replacement {
    /// The nodes that come and are not ready yet.
    coming: Vec<NodeId>,
    /// The nodes that go then.
    drain: Vec<String>,
}

impl World {
    /// Nodes are on their way in place of others.
    pub(super) fn replace_nodes(&mut self, coming: Vec<NodeId>, drain: &[String]) -> Result<(), String> {
        for name in drain {
            self.fleet.cordon(name)?;
        }
        self.state.replacements.push(Replacement { coming, drain: drain.to_vec() });
        Ok(())
    }

    /// A node is ready: what it was waited for goes.
    pub(super) fn replacement_is_ready(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        for replacement in &mut self.state.replacements {
            replacement.coming.retain(|coming| *coming != node);
        }
        let (done, waiting) =
            std::mem::take(&mut self.state.replacements).into_iter().partition(|one| one.coming.is_empty());
        self.state.replacements = waiting;
        let done: Vec<Replacement> = done;
        for name in done.into_iter().flat_map(|replacement| replacement.drain) {
            // One that is gone by now needs no draining.
            let _ = self.drain_node(&name, calendar);
        }
    }

    /// A node is gone, or told to go: what it should have replaced stays.
    pub(super) fn replacements_without(&mut self) {
        let fleet = &self.fleet;
        let stays = |node: &NodeId| fleet.place_of_node(*node).is_some() && !fleet.is_told(*node);
        let gone = |one: &Replacement| !one.coming.iter().all(stays);
        let (failed, waiting): (Vec<Replacement>, Vec<Replacement>) =
            std::mem::take(&mut self.state.replacements).into_iter().partition(gone);
        self.state.replacements = waiting;
        for name in failed.into_iter().flat_map(|replacement| replacement.drain) {
            self.fleet.uncordon(&name);
        }
    }
}

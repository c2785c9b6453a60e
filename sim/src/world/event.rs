//! What can happen.

use serde::{Deserialize, Serialize};

use crate::cluster::entities::{NodeId, ReplicaId};

/// A replica at work: its slot, and which of the replicas that have had the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// The slot.
    pub slot: u32,
    /// How many replicas had it before.
    pub generation: u32,
}

/// A request in the system: its place, and which of the requests that have had the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRef {
    /// The place.
    pub place: u32,
    /// How many requests had it before.
    pub generation: u32,
}

impl Event {
    /// Whether what follows may depend on replicas of any service.
    #[inline]
    pub(super) fn may_look_at_all(self) -> bool {
        // These look at a request, with its service, or at one replica, which they bring to the present themselves.
        !matches!(
            self,
            Event::Engine(_)
                | Event::Begin(_)
                | Event::GiveUp(_)
                | Event::QueueTimeout(_)
                | Event::Later(_)
                | Event::Client { .. }
                | Event::Scrape(_)
                | Event::Report(_)
        )
    }
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A replica's next event is due: a step ends, a service ends.
    Engine(Handle),
    /// A replica begins its next step.
    Begin(Handle),
    /// The client of a request gives it up.
    GiveUp(RequestRef),
    /// A request has waited as long as it may.
    QueueTimeout(RequestRef),
    /// A request is tried again.
    Later(u32),
    /// A client of a closed loop sends its next request.
    Client {
        /// The stream.
        stream: u16,
        /// The client.
        client: u32,
    },
    /// A node takes pods.
    NodeReady(NodeId),
    /// The provider says that it takes a node back.
    NodeTold(NodeId),
    /// The provider recommends to move from a node.
    NodeAtRisk(NodeId),
    /// A shock takes nodes of a pool.
    Shock {
        /// The place of the pool.
        pool: u32,
        /// Which shock.
        number: u32,
    },
    /// Evictions from a node that were refused are tried again.
    DrainAgain(NodeId),
    /// The provider takes a node back.
    NodeReclaimed(NodeId),
    /// Nodes of a pool fail as planned.
    Failures {
        /// The place of the pool.
        pool: u32,
        /// Which of the failures.
        step: u32,
    },
    /// A node fails by itself.
    NodeFails {
        /// The node.
        node: NodeId,
        /// How often it had come back when that was planned.
        returns: u32,
    },
    /// The cluster finds out that a node has failed.
    NodeUnready(NodeId),
    /// A gateway's probes of a replica have got no answer.
    Unhealthy(ReplicaId),
    /// A gateway's ejection of a replica is over.
    EjectionOver(ReplicaId),
    /// The pods of a node that has failed have been tolerated there for long enough.
    NodeTolerated(NodeId),
    /// The nodes of zones that do not answer are looked at again.
    JudgeZones,
    /// A node that has failed works again.
    NodeReturns(NodeId),
    /// Containers of a deployment crash as planned.
    Crashes {
        /// The place of the deployment.
        deployment: u32,
        /// Which of the crashes.
        step: u32,
    },
    /// The container of a replica crashes.
    Crash {
        /// The replica.
        replica: ReplicaId,
        /// How often it had been started again when that was planned.
        restart: u32,
    },
    /// The container of a replica is started again.
    ContainerStarts {
        /// The replica.
        replica: ReplicaId,
        /// How often it has been started again then.
        restart: u32,
    },
    /// A node that has failed is given back, with another launched in its place.
    NodeRepaired(NodeId),
    /// A node is launched in the place of one that failed.
    Relaunch {
        /// The place of the pool.
        pool: u32,
    },
    /// An outage begins, by its number.
    Outage(u32),
    /// The provider's capacity for a pool changes.
    Market {
        /// The place of the pool.
        pool: u32,
        /// Which change.
        step: u32,
    },
    /// The price of a pool changes.
    Price {
        /// The place of the pool.
        pool: u32,
        /// Which change.
        step: u32,
    },
    /// A stage of a replica's start is over.
    StageOver(ReplicaId),
    /// A download ends.
    Downloaded,
    /// A node has something that was downloaded.
    Fetched {
        /// The node.
        node: NodeId,
        /// What, by its number.
        artifact: u32,
    },
    /// A replica takes requests.
    ReplicaReady(ReplicaId),
    /// A rollout of a deployment begins.
    Rollout {
        /// The place of the deployment.
        deployment: u32,
    },
    /// A replica that is being deleted has had its time.
    GraceOver(ReplicaId),
    /// Replicas come, go and find nodes.
    Lifecycle,
    /// A replica reports to a gateway that routes by it.
    Report(ReplicaId),
    /// A replica's exporters are scraped.
    Scrape(ReplicaId),
    /// The state of the deployments is scraped.
    ScrapeDeployments,
    /// The metrics-server looks.
    Look,
    /// Load is recorded or reported, by the number of the collection.
    Collect(u32),
    /// A window of the timeline ends.
    Window,
    /// From now on it counts.
    WarmUpOver,
    /// Controllers are due.
    Control,
}

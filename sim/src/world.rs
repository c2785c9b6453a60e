//! The run: events and their order, observations, the simulated plant, invariants, snapshots.
//!
//! | module | what it holds |
//! |---|---|
//! | `settings` | all that a run is built from |
//! | `event` | what can happen |
//! | `inflight` | requests in the system |
//! | `replica` | replicas at work, in dense arrays |
//! | `routing`, `reports` | what routers know of requests and replicas |
//! | `engines` | engines at work: what is given to them, and what they report |
//! | `gateway` | arrival, routing, the queue before the replicas, ends |
//! | `fleet_events` | replicas and nodes come and go |
//! | `cross_zone` | what goes from zone to zone, and its price |
//! | `drains` | evictions, as far as budgets allow |
//! | `market` | what the provider takes back, has and asks for |
//! | `failures`, `halted` | nodes fail, and what is left of their replicas |
//! | `evictions` | how fast their pods go |
//! | `crashes` | containers start again, and nodes that failed |
//! | `standby` | replicas that stand by |
//! | `start_up` | the stages of a replica's start |
//! | `load` | load as it is reported to controllers |
//! | `scrapes` | exporters are read, the metrics-server looks |
//! | `measure` | windows of the timeline, and what is counted |
//! | `figures` | figures of the fleet at the end |
//! | `plant` | what controllers see and do |
//! | `replacement` | nodes that come in place of others |
//! | `run` | a run from start to record, with snapshots |

mod crashes;
pub mod cross_zone;
mod drains;
mod engines;
pub mod event;
mod evictions;
mod failures;
mod figures;
mod fleet_events;
mod gateway;
mod halted;
mod inflight;
mod load;
mod market;
mod measure;
mod plant;
mod replacement;
pub mod replica;
mod reports;
mod routing;
pub mod run;
mod scrapes;
pub mod settings;
mod standby;
mod start_up;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scaletwin_core::control::{Admission, Controllers, TickError};
use scaletwin_core::random::Component;
use scaletwin_core::record::{Finished, Population, Recorder};
use scaletwin_core::units::{Time, number_of};
use serde::{Deserialize, Serialize};

use crate::cluster::entities::{NodeId, ReplicaId};
use crate::cluster::fleet::Fleet;
use crate::cluster::routing::Router;
use crate::engine::{Calendar, Model, Phase, Waiter};
use crate::scrape::exporter::front::FrontCounters;
use crate::scrape::history::History;
use crate::scrape::metrics_server::MetricsServer;
use crate::scrape::signals::SignalBoard;
use crate::serving::Happened;
use crate::traffic::stream::Traffic;
use crate::traffic::trace::TraceError;
use event::Event;
use gateway::GatewayQueue;
use inflight::{Later, Requests};
use load::Collections;
use measure::DeploymentMeter;
use plant::PlantError;
use replica::Replicas;
use settings::RunSettings;
use start_up::{Artifacts, StartUps};

/// Everything that is simulated.
pub(crate) struct World {
    settings: Arc<RunSettings>,
    fleet: Fleet,
    traffic: Traffic,
    board: SignalBoard,
    controllers: Controllers,
    artifacts: Artifacts,
    luck: Luck,
    state: State,
    /// What replicas have just reported; kept to save allocations.
    happened: Vec<Happened>,
    /// Requests that have ended, each with its service, if somebody asked for them.
    kept: Option<Vec<(usize, Finished)>>,
    /// By service, whether no end of a request decides anything.
    decides_nothing: Vec<bool>,
}

/// The luck of components that the settings name. It follows from the seed.
struct Luck {
    /// Service times, by stream.
    service: Vec<Component>,
    /// Cold starts, by deployment.
    cold_start: Vec<Component>,
    /// The stages of starts, by deployment.
    start_up: Vec<Component>,
    /// Set-ups of servers, by deployment.
    set_up: Vec<Component>,
    /// Times of batches, by deployment.
    batch: Vec<Component>,
    /// Sessions of requests, by stream.
    session: Vec<Component>,
    /// Provisioning of nodes, by pool.
    provisioning: Vec<Component>,
    /// Reclaims of nodes, by pool.
    reclaim: Vec<Component>,
    /// Shocks, by pool.
    shock: Vec<Component>,
    /// Failures of nodes, by pool.
    failure: Vec<Component>,
    /// Crashes of containers, by deployment.
    crash: Vec<Component>,
    /// Offsets of scrapes, by deployment.
    scrape: Vec<Component>,
}

/// The part of the world that is plain data.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    requests: Requests,
    replicas: Replicas,
    services: Vec<ServiceState>,
    deployments: Vec<DeploymentMeter>,
    recorder: Recorder,
    history: History,
    metrics_server: MetricsServer,
    /// Requests that will be tried again.
    later: Later,
    /// Retries and clients' next requests that are planned.
    planned: u64,
    /// Whether the warm-up is over.
    measuring: bool,
    /// The GPU time worked by replicas that are gone, since the warm-up, by pool, in nanoseconds.
    gpu_busy: Vec<u128>,
    /// The CPU used by the same, in core nanoseconds.
    cpu_used: Vec<u128>,
    /// The instant of the next control event, and its handle.
    control: Option<(Time, crate::engine::Ticket)>,
    last_progress: Time,
    window_start: Time,
    /// What had been spent at the start of the window, dollars. Below 0 after a warm-up that ended within it.
    window_bill: f64,
    /// What each pool had cost at the start of the window.
    window_costs: Vec<f64>,
    /// Load that controllers collect for themselves.
    collections: Collections,
    /// Signals that controllers have published: name, labels and value.
    published: Vec<(String, BTreeMap<String, String>, f64)>,
    start_ups: StartUps,
    /// Nodes that do not answer, whose pods are evicted one node after another.
    evictions: evictions::Evictions,
    /// What kubelets remember of containers that were started again.
    back_offs: BTreeMap<ReplicaId, crashes::BackOff>,
    /// The last reports to gateways that route by them.
    reports: BTreeMap<ReplicaId, reports::Reported>,
    /// Nodes from which evictions will be tried again.
    drains: BTreeSet<NodeId>,
    /// Nodes that come in place of others.
    replacements: Vec<replacement::Replacement>,
}

/// The state of a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ServiceState {
    router: Router,
    queue: GatewayQueue,
    admission: Admission,
    /// Requests so far.
    serial: u64,
    /// Requests in the system.
    population: Population,
    /// What the exporters before it count.
    front: FrontCounters,
    /// What has crossed from zone to zone.
    crossing: cross_zone::Crossing,
}

/// The most requests in the system, which take about 3 GB.
const MOST_AT_ONCE: usize = 16_000_000;

/// The most windows of a timeline: years of minutes.
const MOST_WINDOWS: u64 = 2_000_000;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A trace cannot be read further.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A controller decided something that makes no sense.
    #[error("control failed at {at}")]
    Control {
        /// When.
        at: Time,
        /// What.
        #[source]
        error: Box<TickError<PlantError>>,
    },
    /// More requests are in the system than can be kept.
    #[error("at {at} {MOST_AT_ONCE} requests are in the system: they arrive faster than they are served")]
    Crowded {
        /// When.
        at: Time,
    },
    /// The timeline has more windows than can be kept.
    #[error(
        "the run has come to {at}, after {MOST_WINDOWS} windows, and is not over: requests take very long; \
         end: cut leaves them unfinished, and a longer window: lets it go on"
    )]
    Long {
        /// When.
        at: Time,
    },
    /// A node that has to go cannot.
    #[error("a node cannot be given back at {at}: {why}")]
    Node {
        /// When.
        at: Time,
        /// Why.
        why: String,
    },
}

impl Model for World {
    type Event = Event;
    type Error = WorldError;

    #[inline]
    fn next_arrival(&self) -> Option<Time> {
        self.traffic.next_at()
    }

    fn arrive(&mut self, calendar: &mut Calendar<Event>) -> Result<(), WorldError> {
        if let Some(request) = self.traffic.take()? {
            self.request_arrives(request, calendar);
        }
        if self.traffic.next_at().is_none() {
            self.watch_all(calendar);
        }
        if self.state.requests.len() >= MOST_AT_ONCE {
            return Err(WorldError::Crowded { at: calendar.now() });
        }
        Ok(())
    }

    fn handle(&mut self, event: Event, calendar: &mut Calendar<Event>) -> Result<(), WorldError> {
        if event.may_look_at_all() {
            self.take_all_unseen_ends(calendar.completed(), calendar);
        }
        match event {
            Event::Engine(handle) => self.engine_event(handle, calendar),
            Event::Begin(handle) => self.engine_begins(handle, calendar),
            Event::GiveUp(request) => self.client_gives_up(request, calendar),
            Event::QueueTimeout(request) => self.queue_time_is_over(request, calendar),
            Event::Later(place) => self.request_comes_again(place, calendar),
            Event::Client { stream, client } => self.client_sends(stream, client, calendar),
            Event::NodeReady(node) => self.node_is_ready(node, calendar),
            Event::NodeTold(node) => self.node_is_told(node, calendar),
            Event::NodeReclaimed(node) => self.node_is_reclaimed(node, calendar)?,
            Event::NodeAtRisk(node) => self.node_is_at_risk(node, calendar),
            Event::Shock { pool, number } => self.shock_comes(pool, number, calendar),
            Event::DrainAgain(node) => self.drain_again(node, calendar),
            Event::Failures { pool, step } => self.failures_are_due(pool, step, calendar)?,
            Event::NodeFails { node, returns } => self.failure_is_due(node, returns, calendar)?,
            Event::NodeUnready(node) => self.node_is_found_unready(node, calendar),
            Event::Unhealthy(replica) => self.replica_is_unhealthy(replica, calendar),
            Event::EjectionOver(replica) => self.ejection_is_over(replica, calendar),
            Event::NodeTolerated(node) => self.node_was_tolerated(node, calendar),
            Event::NodeRepaired(node) => self.node_is_repaired(node, calendar)?,
            Event::JudgeZones => self.judge_zones(calendar),
            Event::NodeReturns(node) => self.node_returns(node, calendar),
            Event::Crashes { deployment, step } => self.crashes_are_due(deployment, step, calendar),
            Event::Crash { replica, restart } => self.crash_is_due(replica, restart, calendar),
            Event::ContainerStarts { replica, restart } => {
                self.container_starts_again(replica, restart, calendar);
            }
            Event::Relaunch { pool } => self.node_is_launched_again(pool, calendar),
            Event::Outage(number) => self.outage_begins(number, calendar)?,
            Event::Market { pool, step } => self.capacity_changes(pool, step, calendar),
            Event::Price { pool, step } => self.price_changes(pool, step, calendar),
            Event::StageOver(replica) => self.stage_is_over(replica, calendar),
            Event::Downloaded => self.downloads_end(calendar),
            Event::Fetched { node, artifact } => self.node_has(node, artifact, calendar),
            Event::Rollout { deployment } => self.rollout_begins(deployment as usize, calendar),
            Event::ReplicaReady(replica) => self.replica_is_ready(replica, calendar),
            Event::GraceOver(replica) => self.kill_replica(replica, calendar),
            Event::Lifecycle => self.settle_fleet(calendar),
            Event::Report(replica) => self.replica_reports(replica, calendar),
            Event::Scrape(replica) => self.scrape_replica(replica, calendar),
            Event::ScrapeDeployments => self.scrape_deployments(calendar),
            Event::Look => self.metrics_server_looks(calendar),
            Event::Collect(number) => self.load_is_collected(number, calendar),
            Event::Window => self.window_ends(calendar)?,
            Event::WarmUpOver => self.warm_up_is_over(calendar),
            Event::Control => self.control(calendar)?,
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.settings.ends_when_done && !self.has_work() && self.traffic.next_at().is_none()
    }

    fn has_work(&self) -> bool {
        !self.state.requests.is_empty() || self.state.planned > 0
    }

    fn waiting(&self) -> Vec<Waiter> {
        let mut waiters = Vec::new();
        for (place, service) in self.state.services.iter().enumerate() {
            let name = &self.settings.services[place].name;
            let (queued, all) = (service.queue.len(), service.population.value());
            if queued > 0 {
                let who = format!("{} of service {name}", number_of(queued, "request"));
                waiters.push(Waiter { who, what: "a ready replica".to_owned() });
            }
            if all > queued as u64 {
                let elsewhere = usize::try_from(all).unwrap_or(usize::MAX) - queued;
                let who = format!("{} of service {name}", number_of(elsewhere, "request"));
                waiters.push(Waiter { who, what: "their replicas".to_owned() });
            }
        }
        let pending = self.fleet.pending();
        if pending > 0 {
            let what = "a node with room".to_owned();
            waiters.push(Waiter { who: number_of(pending, "replica"), what });
        }
        waiters
    }

    /// A run that is cut ends with what hangs because something failed.
    fn leaves_work(&self) -> bool {
        let failed = self.fleet.accounts().iter().any(|account| account.failures() > 0)
            || self.state.replicas.iter().any(|serving| serving.halted().is_some());
        !self.settings.ends_when_done && failed
    }

    fn may_be_changed(&self) -> bool {
        !self.controllers.is_empty()
    }

    fn last_progress(&self) -> Time {
        self.state.last_progress
    }
}

impl World {
    /// Plans the next look of the controllers.
    fn plan_control(&mut self, calendar: &mut Calendar<Event>) {
        let next = self.controllers.next().map(|at| at.max(calendar.now()));
        match (next, self.state.control) {
            (Some(next), Some((at, _))) if next == at => {}
            (Some(next), Some((_, ticket))) => {
                calendar.reschedule(ticket, next, Phase::Control);
                self.state.control = Some((next, ticket));
            }
            (Some(next), None) => {
                self.state.control = Some((next, calendar.at(next, Phase::Control, Event::Control)));
            }
            (None, Some((_, ticket))) => {
                calendar.cancel(ticket, Phase::Control);
                self.state.control = None;
            }
            (None, None) => {}
        }
    }
}

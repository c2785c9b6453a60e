//! A run from start to record, with snapshots.

use std::sync::Arc;

use scaletwin_core::control::{Controllers, SignalScope, signal};
use scaletwin_core::model::{Known, NodeState, ReplicaPhase, ReplicaState, Snapshot, SnapshotError};
use scaletwin_core::record::{
    Finished, Outcome, Population, Recorder, RecorderSettings, RunRecord, ServiceSettings,
};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::gateway::GatewayQueue;
use super::inflight::Place;
use super::measure::DeploymentMeter;
use super::plant::OPEN;
use super::replica::{Engine, Replicas};
use super::scrapes::next_on_grid;
use super::settings::RunSettings;
use super::start_up::Artifacts;
use super::unseen::ends_decide_nothing;
use super::{Luck, ServiceState, State, World, WorldError};
use crate::cluster::fleet::{Fleet, SavedFleet};
use crate::cluster::routing::Router;
use crate::engine::{self, Calendar, Limits, Phase, RunError};
use crate::scrape::exporter::front::FrontCounters;
use crate::scrape::exporter::variants;
use crate::scrape::history::History;
use crate::scrape::metrics_server::MetricsServer;
use crate::scrape::queries::names_found;
use crate::scrape::signals::{ScrapedSeries, SignalBoard};
use crate::traffic::stream::{Stream, StreamState, Traffic};
use crate::traffic::trace::{LeftOut, TraceError};

/// A run.
pub struct Run {
    world: World,
    calendar: Calendar<Event>,
    done: bool,
}

/// The exact part of a snapshot.
#[derive(Serialize, Deserialize)]
struct Exact {
    calendar: Calendar<Event>,
    state: State,
    fleet: SavedFleet,
    streams: Vec<StreamState>,
    done: bool,
}

/// The exact part of a snapshot, to be written without a copy.
#[derive(Serialize)]
struct ExactRef<'a> {
    calendar: &'a Calendar<Event>,
    state: &'a State,
    fleet: SavedFleet,
    streams: Vec<&'a StreamState>,
    done: bool,
}

/// Why a run cannot go on from a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The snapshot is not of this run, or not whole.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl Run {
    /// A run at its start.
    ///
    /// # Errors
    /// When a trace cannot be read.
    pub fn new(settings: Arc<RunSettings>, controllers: Controllers) -> Result<Run, TraceError> {
        let mut streams = Vec::new();
        for (place, stream) in (0u16..).zip(&settings.streams) {
            streams.push(Stream::new(stream.clone(), place, settings.seed)?);
        }
        let board = board(&settings);
        let fleet = Fleet::new(&settings.clusters, &deployments(&settings));
        let state = State::new(&settings, &board, fleet.accounts().len());
        let world = World::new(settings, controllers, fleet, Traffic::new(streams), board, state);
        let mut run = Run { world, calendar: Calendar::default(), done: false };
        for (node, pool, number) in run.world.fleet.nodes() {
            run.world.note_launch(node, pool, number, Time::ZERO);
        }
        run.plan_start();
        Ok(run)
    }

    /// The run that a snapshot was taken of, going on from there. The controllers of its own policy take up their state;
    /// those of another one join now.
    ///
    /// # Errors
    /// When the snapshot is of another scenario, or a trace cannot be read.
    pub fn resume(
        settings: Arc<RunSettings>,
        mut controllers: Controllers,
        snapshot: &Snapshot,
    ) -> Result<Run, ResumeError> {
        let other_policy = snapshot.policy != settings.policy;
        if snapshot.fingerprint != settings.fingerprint || snapshot.seed != settings.seed {
            let detail = format!("it was taken of {:?} with seed {}", snapshot.scenario, snapshot.seed.0);
            return Err(SnapshotError::Other(detail).into());
        }
        let exact: Exact = snapshot.exact()?;
        if other_policy {
            controllers.start_at(snapshot.at);
        } else {
            let mismatch =
                |error: scaletwin_core::control::StateMismatch| SnapshotError::Other(error.to_string());
            controllers.restore(&snapshot.controllers).map_err(mismatch)?;
        }
        let mut streams = Vec::new();
        for ((place, stream), state) in (0u16..).zip(&settings.streams).zip(exact.streams) {
            streams.push(Stream::resume(stream.clone(), place, state)?);
        }
        let board = board(&settings);
        let fleet = Fleet::restore(&settings.clusters, &deployments(&settings), &exact.fleet);
        let world = World::new(settings, controllers, fleet, Traffic::new(streams), board, exact.state);
        let mut run = Run { world, calendar: exact.calendar, done: exact.done };
        if other_policy {
            run.world.state.recorder.set_waived(run.world.settings.waived.clone());
            run.world.plan_collections(&mut run.calendar);
            run.world.plan_control(&mut run.calendar);
        }
        Ok(run)
    }

    /// Plans what happens by itself: the first windows, scrapes and looks, and the clients of closed loops.
    fn plan_start(&mut self) {
        let Run { world, calendar, .. } = self;
        let settings = Arc::clone(&world.settings);
        calendar.at(Time::ZERO, Phase::Complete, Event::Lifecycle);
        if !settings.warm_up.is_zero() {
            calendar.at(Time::ZERO + settings.warm_up, Phase::Complete, Event::WarmUpOver);
        }
        calendar.at(Time::ZERO + settings.window, Phase::Scrape, Event::Window);
        let grid = |component: &str, period: Span| {
            let draw = settings.seed.component(component).entity(0).below(period.as_nanos());
            next_on_grid(Time::ZERO, Span::from_nanos(draw), period)
        };
        let resolution = settings.metrics_resolution;
        calendar.at(grid("metrics-server", resolution), Phase::Scrape, Event::Look);
        let of_deployments = |series: &ScrapedSeries| {
            signal(&series.name).is_some_and(|found| found.scope != SignalScope::Replica)
        };
        if world.board.series().iter().any(of_deployments) {
            let first = grid("scrape/kube-state-metrics", settings.scrape.interval);
            calendar.at(first, Phase::Scrape, Event::ScrapeDeployments);
        }
        for stream in (0u16..).take(settings.streams.len()) {
            for (at, client) in world.traffic.stream_mut(stream).first_of_clients() {
                world.state.planned += 1;
                calendar.at(at, Phase::Arrive, Event::Client { stream, client });
            }
        }
        for (node, pool, ordinal) in world.fleet.nodes() {
            world.plan_reclaim(node, pool, ordinal, calendar);
            world.plan_failure(node, pool, ordinal, calendar);
        }
        for pool in (0u32..).take(world.fleet.accounts().len()) {
            world.plan_market(pool, 0, calendar);
            world.plan_price(pool, 0, calendar);
            world.plan_failures(pool, 0, calendar);
            world.plan_shock(pool, 0, calendar);
        }
        world.plan_outages(calendar);
        for (place, model) in (0u32..).zip(&settings.deployments) {
            world.plan_crashes(place, 0, calendar);
            for at in &model.settings.rollouts {
                calendar.at(Time::ZERO + *at, Phase::Complete, Event::Rollout { deployment: place });
            }
        }
        world.plan_collections(calendar);
        world.plan_control(calendar);
    }

    /// Runs up to `until`, or to the end: everything before it happens, nothing at it. Whether the run is over.
    ///
    /// # Errors
    /// When the run cannot go on.
    pub fn run_until(&mut self, until: Time) -> Result<bool, RunError<WorldError>> {
        let cut = self.world.settings.cut;
        if !self.done {
            let end = until.min(cut);
            let ended = engine::run(&mut self.world, &mut self.calendar, end, &Limits::default())?;
            self.world.take_all_unseen_ends(just_before(end), &mut self.calendar);
            self.done = ended || until >= cut;
        }
        Ok(self.done)
    }

    /// The instant of the last event.
    #[must_use]
    pub fn now(&self) -> Time {
        self.calendar.now()
    }

    /// Requests that have arrived so far.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.world.state.recorder.services.iter().map(|service| service.all_arrived()).sum()
    }

    /// What has been left out so far of each stream that replays a trace, with its name; only of those that left out
    /// something.
    #[must_use]
    pub fn left_out(&self) -> Vec<(String, LeftOut)> {
        let streams = self.world.traffic.streams().iter();
        let left_out = streams.map(|stream| (stream.settings().name.clone(), stream.left_out()));
        left_out.filter(|(_, left_out)| !left_out.is_nothing()).collect()
    }

    /// The streams of which nothing is to come, by name: at the start of a run those of which nothing arrives at all.
    #[must_use]
    pub fn silent(&self) -> Vec<&str> {
        let streams = self.world.traffic.streams().iter().filter(|stream| stream.is_over());
        streams.map(|stream| stream.settings().name.as_str()).collect()
    }

    /// The lines of decisions so far; they need no memory any more.
    pub fn take_decisions(&mut self) -> String {
        self.world.state.recorder.decisions.take()
    }

    /// Keeps every request that ends from now on, until [`Run::take_requests`] takes them.
    pub fn keep_requests(&mut self) {
        self.world.kept.get_or_insert_default();
        self.world.watch_all(&mut self.calendar);
    }

    /// The requests that have ended since the last call, each with the place of its service, in the order of their ends.
    pub fn take_requests(&mut self) -> Vec<(usize, Finished)> {
        self.world.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Runs to the end and gives the record.
    ///
    /// # Errors
    /// When the run cannot go on.
    pub fn finish(mut self) -> Result<RunRecord, RunError<WorldError>> {
        while !self.run_until(Time::NEVER)? {}
        Ok(self.record())
    }

    /// The record of a run that is over.
    #[must_use]
    pub fn record(self) -> RunRecord {
        self.close().0
    }

    /// The record of a run that is over, and the requests that ended with it if they are kept.
    #[must_use]
    pub fn close(mut self) -> (RunRecord, Vec<(usize, Finished)>) {
        let end = if self.world.settings.ends_when_done && self.world.state.requests.is_empty() {
            self.calendar.now()
        } else {
            self.world.settings.cut
        };
        self.world.advance_all(end);
        // The last window still has the requests that the end cuts off.
        self.world.note_window(end);
        self.world.end(end);
        let figures = self.world.figures(end);
        let requests = self.take_requests();
        (self.world.state.recorder.finish(end, figures), requests)
    }

    /// The run as it stands at `at`, up to which it has run.
    ///
    /// # Errors
    /// When it does not serialise: a mistake in the simulator.
    pub fn snapshot(&self, at: Time) -> Result<Snapshot, SnapshotError> {
        let world = &self.world;
        let exact = ExactRef {
            calendar: &self.calendar,
            state: &world.state,
            fleet: world.fleet.save(),
            streams: world.traffic.streams().iter().map(Stream::state).collect(),
            done: self.done,
        };
        let exact = serde_json::value::to_raw_value(&exact)
            .map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
        Ok(Snapshot {
            version: Snapshot::VERSION,
            scenario: world.settings.name.clone(),
            fingerprint: world.settings.fingerprint.clone(),
            policy: world.settings.policy.clone(),
            seed: world.settings.seed,
            start: world.settings.start,
            at,
            nodes: world.node_states(at),
            replicas: world.replica_states(at),
            controllers: world.controllers.save(),
            exact: Some(exact),
        })
    }
}

/// The last instant before `end`.
fn just_before(end: Time) -> Time {
    end.saturating_sub(Span::from_nanos(1))
}

fn deployments(settings: &RunSettings) -> Vec<crate::cluster::settings::DeploymentSettings> {
    settings.deployments.iter().map(|deployment| deployment.settings.clone()).collect()
}

/// The board of the signals of a run: the series that they need, each once.
fn board(settings: &RunSettings) -> SignalBoard {
    let mut series: Vec<ScrapedSeries> = Vec::new();
    let queried = settings.queries.iter().flat_map(|signal| {
        let selectors = signal.query.selectors();
        selectors.into_iter().flat_map(names_found).collect::<Vec<String>>()
    });
    for name in settings.signals.iter().map(|signal| signal.series.clone()).chain(queried) {
        if !series.iter().any(|known| known.name == name) {
            let variants = variants(&name);
            series.push(ScrapedSeries { name, variants });
        }
    }
    SignalBoard::new(settings.signals.clone(), series, settings.scrape.lag)
        .with_queries(settings.queries.clone())
}

impl State {
    fn new(settings: &RunSettings, board: &SignalBoard, pools: usize) -> State {
        let services = settings.services.iter().map(|service| ServiceState {
            router: Router::new(
                &service.routing,
                settings.seed.component(&format!("routing/{}", service.name)),
            ),
            queue: GatewayQueue::default(),
            admission: OPEN,
            serial: 0,
            population: Population::default(),
            front: FrontCounters::for_series(board.series()),
            crossing: Default::default(),
        });
        let recorder = RecorderSettings {
            scenario: settings.name.clone(),
            seed: settings.seed,
            start: settings.start,
            warm_up: settings.warm_up,
            window: settings.window,
            services: settings
                .services
                .iter()
                .map(|service| ServiceSettings {
                    name: service.name.clone(),
                    slo: service.slo.clone(),
                    has_tokens: service.has_tokens,
                })
                .collect(),
            waived: settings.waived.clone(),
        };
        State {
            requests: Default::default(),
            replicas: Replicas::default(),
            services: services.collect(),
            deployments: settings
                .deployments
                .iter()
                .map(|d| DeploymentMeter::new(d.settings.replicas))
                .collect(),
            recorder: Recorder::new(recorder),
            history: History::new(board.range(), settings.scrape.lag),
            metrics_server: MetricsServer::new(settings.metrics_resolution),
            later: Default::default(),
            planned: 0,
            measuring: settings.warm_up.is_zero(),
            gpu_busy: vec![0; pools],
            cpu_used: vec![0; pools],
            control: None,
            last_progress: Time::ZERO,
            window_start: Time::ZERO,
            window_bill: 0.0,
            window_costs: Vec::new(),
            collections: Default::default(),
            evictions: Default::default(),
            back_offs: Default::default(),
            reports: Default::default(),
            drains: Default::default(),
            replacements: Vec::new(),
            published: Default::default(),
            start_ups: Default::default(),
        }
    }
}

impl World {
    fn new(
        settings: Arc<RunSettings>,
        controllers: Controllers,
        fleet: Fleet,
        traffic: Traffic,
        board: SignalBoard,
        state: State,
    ) -> World {
        let seed = settings.seed;
        let of_targets = |what: &str| {
            let targets = settings.deployments.iter().map(|deployment| &deployment.settings.target);
            targets.map(|target| seed.component(&format!("{what}/{target}"))).collect()
        };
        let of_pools = |what: &str| {
            let pools = (0..fleet.accounts().len()).map(|place| fleet.pool(place));
            pools.map(|(cluster, pool)| seed.component(&format!("{what}/{cluster}/{}", pool.name))).collect()
        };
        let luck = Luck {
            service: settings
                .streams
                .iter()
                .map(|s| seed.component(&format!("service-time/{}", s.name)))
                .collect(),
            cold_start: of_targets("cold-start"),
            start_up: of_targets("start-up"),
            set_up: of_targets("set-up"),
            batch: of_targets("batch-time"),
            session: settings
                .streams
                .iter()
                .map(|s| seed.component(&format!("session/{}", s.name)))
                .collect(),
            provisioning: of_pools("provisioning"),
            reclaim: of_pools("reclaim"),
            failure: of_pools("failure"),
            crash: of_targets("crash"),
            shock: of_pools("shock"),
            scrape: of_targets("scrape"),
        };
        let artifacts = Artifacts::of(&settings.deployments);
        let services = 0..settings.services.len();
        World {
            decides_nothing: services.map(|service| ends_decide_nothing(&settings, service)).collect(),
            settings,
            fleet,
            traffic,
            board,
            controllers,
            artifacts,
            luck,
            state,
            happened: Vec::new(),
            kept: None,
        }
    }

    /// The controllers, for the time of a tick.
    pub(super) fn take_controllers(&mut self) -> Controllers {
        std::mem::replace(&mut self.controllers, Controllers::none())
    }

    /// Takes all steps that are over before `end`.
    fn advance_all(&mut self, end: Time) {
        let before = just_before(end);
        for slot in self.state.replicas.slots() {
            if let Engine::Continuous(replica) = &mut self.state.replicas.at(slot).engine {
                replica.advance_to(before, &mut self.happened);
                self.take_unseen(slot);
                self.count_gaps(slot);
            }
        }
    }

    /// Ends all requests that are still there, and checks what must hold of every run.
    fn end(&mut self, now: Time) {
        self.check_engines();
        for place in self.state.requests.all() {
            let inflight = self.state.requests.remove(place);
            let service = usize::from(inflight.service);
            let outputs = match inflight.place {
                Place::Continuous(slot, key) => match &self.state.replicas.at(slot).engine {
                    Engine::Continuous(replica) => replica.scheduler().outputs(key).unwrap_or(0),
                    Engine::Slots(_) | Engine::Dynamic(_) | Engine::Halted(_) => 0,
                },
                Place::Slots(slot, _) => {
                    self.state.replicas.at(slot).halted().map_or(0, |halted| halted.outputs(place))
                }
                Place::Gateway(_) => 0,
            };
            self.note_end(service, inflight.finished(now, Outcome::Unfinished, outputs));
        }
        for (service, meter) in self.state.services.iter().zip(&self.state.recorder.services) {
            assert_eq!(meter.in_system(), 0, "every request has one outcome");
            assert_eq!(meter.all_arrived(), service.serial, "every request has arrived once");
            assert_eq!(
                service.population.integral(now),
                meter.residence_nanos(),
                "Little's law, as an identity"
            );
        }
        self.fleet.check(now);
    }

    fn node_states(&self, at: Time) -> Vec<NodeState> {
        let view = self.fleet.nodes_view();
        let state = |node: &scaletwin_core::control::NodeView| NodeState {
            name: node.name.clone(),
            cluster: node.cluster.clone(),
            pool: node.pool.clone(),
            instance_type: Known::Known(node.instance_type.clone()),
            capacity_type: Known::Known(node.capacity_type),
            age: Known::Known(at.since(node.created)),
            ready: node.ready_since.is_some(),
        };
        view.nodes.iter().map(state).collect()
    }

    fn replica_states(&self, at: Time) -> Vec<ReplicaState> {
        let state = |id| {
            let replica = self.fleet.replica(id)?;
            let name = self.fleet.replica_name(id)?;
            let serving = self.state.replicas.get(id);
            let (running, waiting, kv) = match serving.map(|serving| &serving.engine) {
                Some(Engine::Continuous(replica)) => {
                    // In the middle of many steps at once it is that of their beginning.
                    let used = replica.scheduler().share_of(replica.scheduler().used_blocks());
                    (replica.scheduler().running() as u64, replica.waiting() as u64, Known::Estimated(used))
                }
                Some(Engine::Slots(replica)) => {
                    (replica.running() as u64, replica.waiting() as u64, Known::Unknown)
                }
                Some(Engine::Dynamic(replica)) => {
                    (replica.running() as u64, replica.waiting() as u64, Known::Unknown)
                }
                Some(Engine::Halted(halted)) => (0, halted.len() as u64, Known::Unknown),
                None => (0, 0, Known::Unknown),
            };
            let phase = match (replica.deleted, replica.bound, replica.ready) {
                (Some(_), ..) => ReplicaPhase::Draining,
                (_, None, _) => ReplicaPhase::Pending,
                (_, _, None) => ReplicaPhase::Starting,
                _ => ReplicaPhase::Ready,
            };
            let deployment = self.fleet.deployment_of(id)?;
            Some(ReplicaState {
                node: self.fleet.node_name_of(id).map(str::to_owned),
                name,
                target: self.fleet.deployment(deployment).target.clone(),
                phase,
                age: Known::Known(at.since(replica.created)),
                running: Known::Known(running),
                waiting: Known::Known(waiting),
                kv_used_share: kv,
            })
        };
        self.fleet.replicas().into_iter().filter_map(state).collect()
    }
}

//! The stages of a replica's start: image, start of the server, weights, load, compilation, warm-up.
//!
//! What a node has once (an image, weights on its disk and in its page cache, a compile cache) later starts on it find
//! there. Downloads share bandwidth (`cluster::transfers`). `docs/models/cold-start.md` has the equations.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::record::{Histogram, StageSummary};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::World;
use super::event::Event;
use super::settings::DeploymentModel;
use crate::cluster::entities::{NodeId, ReplicaId};
use crate::cluster::settings::{Artifact, Sleep, StartUp};
use crate::cluster::transfers::{Download, Transfers};
use crate::engine::{Calendar, Phase, Ticket};

/// A stage of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The image is pulled and unpacked.
    Image,
    /// The server initialises.
    Start,
    /// The weights come to the node's disk.
    Weights,
    /// The weights go to the accelerator.
    Load,
    /// The server compiles.
    Compile,
    /// It warms up.
    WarmUp,
}

/// What the time from the decision for a replica to its being ready is made of, in order.
const NAMES: [&str; 9] = ["node", "image", "start", "weights", "load", "compile", "warm_up", "probe", "wake"];

/// The place of the probe among them.
const PROBE: usize = NAMES.len() - 2;

/// The parts of the start of a replica that stood by, loaded.
pub(super) fn woken_after(span: Span) -> [Span; NAMES.len()] {
    let mut spans = [Span::ZERO; NAMES.len()];
    spans[NAMES.len() - 1] = span;
    spans
}

impl Stage {
    fn next(self) -> Option<Stage> {
        use Stage::{Compile, Image, Load, Start, WarmUp, Weights};
        match self {
            Image => Some(Start),
            Start => Some(Weights),
            Weights => Some(Load),
            Load => Some(Compile),
            Compile => Some(WarmUp),
            WarmUp => None,
        }
    }

    /// Its place among all parts of a start.
    fn place(self) -> usize {
        1 + self as usize
    }
}

/// A replica that starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Starting {
    deployment: usize,
    node: NodeId,
    stage: Stage,
    /// Since when it is in its stage.
    since: Time,
    /// Since when its container runs.
    container: Option<Time>,
    /// How long each part took.
    spans: [Span; NAMES.len()],
    /// Whether it wakes a server that slept on its node.
    wakes: bool,
    /// When its stage ends, if that is known.
    due: Option<Time>,
}

/// All starts under way, and what nodes have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct StartUps {
    starting: BTreeMap<ReplicaId, Starting>,
    transfers: Transfers,
    /// The end of the next download.
    planned: Option<(Time, Ticket)>,
    /// What each node has, by number.
    kept: BTreeMap<NodeId, BTreeSet<u32>>,
    /// What has been replaced since the start: nodes that had it beforehand do not have the new one.
    renewed: BTreeSet<u32>,
    /// What is on its way to a node.
    fetching: BTreeSet<(NodeId, u32)>,
    /// Those of them that are there but for the unpacking, and when that is over.
    unpacking: BTreeSet<(NodeId, u32, Time)>,
    /// What each node sends to another one, which it does for one at a time: to which, and what.
    sending: BTreeMap<NodeId, (NodeId, u32)>,
    /// How many servers of each deployment sleep on each node.
    asleep: BTreeMap<NodeId, BTreeMap<usize, u32>>,
}

/// Everything that a node can keep, by number. It follows from the settings.
#[derive(Debug, Default)]
pub(super) struct Artifacts {
    names: BTreeMap<String, u32>,
    /// How long unpacking takes, by number.
    unpacking: BTreeMap<u32, Span>,
}

impl Artifacts {
    /// Those of all deployments.
    pub(super) fn of(deployments: &[DeploymentModel]) -> Artifacts {
        let mut all = Artifacts::default();
        for model in deployments {
            let Some(start_up) = &model.settings.start_up else { continue };
            if let Some(image) = &start_up.image {
                let number = all.add(image_name(&image.artifact));
                all.unpacking.insert(number, seconds(image.artifact.bytes as f64 / image.extract));
            }
            if let Some(weights) = &start_up.weights {
                all.add(weights_name(&weights.artifact));
                all.add(loaded_name(&weights.artifact));
            }
            all.add(compiled_name(model));
        }
        all
    }

    fn add(&mut self, name: String) -> u32 {
        let next = u32::try_from(self.names.len()).expect("deployments are few");
        *self.names.entry(name).or_insert(next)
    }

    fn number(&self, name: &str) -> u32 {
        *self.names.get(name).expect("every artifact was numbered at the start")
    }
}

fn image_name(artifact: &Artifact) -> String {
    format!("image {}", artifact.name)
}

fn weights_name(artifact: &Artifact) -> String {
    format!("weights {}", artifact.name)
}

/// How the names of what is in a page cache begin.
const PAGE_CACHE: &str = "page cache of ";

fn loaded_name(artifact: &Artifact) -> String {
    format!("{PAGE_CACHE}weights {}", artifact.name)
}

fn compiled_name(model: &DeploymentModel) -> String {
    format!("compile cache of {}", model.settings.target)
}

/// A length of time in seconds, a century at most.
fn seconds(seconds: f64) -> Span {
    Span::from_secs_f64(seconds).map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
}

/// What a stage needs.
enum Need {
    /// Nothing.
    Nothing,
    /// A length of time.
    Time(Span),
    /// Something that the node does not have yet.
    Artifact { number: u32, bytes: u64, peer: Option<f64> },
}

impl World {
    /// A replica whose start has stages got its node.
    pub(super) fn begin_start(&mut self, id: ReplicaId, deployment: usize, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some((node, created)) = self
            .fleet
            .node_of(id)
            .zip(self.fleet.replica(id).map(|replica| replica.since_called(replica.created)))
        else {
            return;
        };
        let mut spans = [Span::ZERO; NAMES.len()];
        spans[0] = now.since(created);
        let wakes = !self.has_restarted(id) && self.wake(node, deployment);
        let (stage, container, due) = (Stage::Image, None, None);
        let starting = Starting { deployment, node, stage, since: now, container, spans, wakes, due };
        self.state.start_ups.starting.insert(id, starting);
        self.go_on(id, calendar);
    }

    /// The node of a replica that is ready from the start has all that it needed.
    pub(super) fn note_started(&mut self, id: ReplicaId, deployment: usize) {
        let model = &self.settings.deployments[deployment];
        let (Some(start_up), Some(node)) = (&model.settings.start_up, self.fleet.node_of(id)) else { return };
        let mut names = vec![compiled_name(model)];
        names.extend(start_up.image.iter().map(|image| image_name(&image.artifact)));
        names.extend(start_up.weights.iter().map(|weights| weights_name(&weights.artifact)));
        names.extend(start_up.weights.iter().map(|weights| loaded_name(&weights.artifact)));
        for name in names {
            self.keep(node, self.artifacts.number(&name));
        }
    }

    /// Goes through stages as long as they take no time.
    fn go_on(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        loop {
            let Some(starting) = self.state.start_ups.starting.get(&id) else { return };
            match self.need(id, starting) {
                Need::Nothing => {}
                Need::Time(span) if span.is_zero() => {}
                Need::Time(span) => {
                    let at = now.saturating_add(span);
                    calendar.at(at, Phase::Complete, Event::StageOver(id));
                    if let Some(starting) = self.state.start_ups.starting.get_mut(&id) {
                        starting.due = Some(at);
                    }
                    return;
                }
                Need::Artifact { number, bytes, peer } => {
                    let node = starting.node;
                    self.fetch(node, number, bytes, peer, calendar);
                    return;
                }
            }
            if !self.next_stage(id, calendar) {
                return;
            }
        }
    }

    fn need(&self, id: ReplicaId, starting: &Starting) -> Need {
        let model = &self.settings.deployments[starting.deployment];
        let Some(start_up) = &model.settings.start_up else { return Need::Nothing };
        if let (true, Some(sleep)) = (starting.wakes, &start_up.sleep) {
            return match starting.stage {
                Stage::Load => self.waking(id, starting, sleep),
                _ => Need::Nothing,
            };
        }
        let has = |name: &str| self.has(starting.node, self.artifacts.number(name));
        let download = |artifact: &Artifact, name: String, peer: Option<f64>| {
            let renewed = self.state.start_ups.renewed.contains(&self.artifacts.number(&name));
            if (artifact.present && !renewed) || has(&name) {
                return Need::Nothing;
            }
            Need::Artifact { number: self.artifacts.number(&name), bytes: artifact.bytes, peer }
        };
        match starting.stage {
            Stage::Image => start_up
                .image
                .as_ref()
                .map_or(Need::Nothing, |image| download(&image.artifact, image_name(&image.artifact), None)),
            Stage::Weights => start_up.weights.as_ref().map_or(Need::Nothing, |weights| {
                download(&weights.artifact, weights_name(&weights.artifact), weights.peer)
            }),
            Stage::Load => start_up.weights.as_ref().map_or(Need::Nothing, |weights| {
                let rate =
                    if has(&loaded_name(&weights.artifact)) { weights.page_cache } else { weights.disk };
                Need::Time(seconds(weights.artifact.bytes as f64 / rate))
            }),
            Stage::Compile if has(&compiled_name(model)) => Need::Nothing,
            Stage::Start | Stage::Compile | Stage::WarmUp => self.drawn(id, starting, start_up),
        }
    }

    /// The time to wake a server.
    fn waking(&self, id: ReplicaId, starting: &Starting, sleep: &Sleep) -> Need {
        let ordinal = self.fleet.replica(id).map_or(0, |replica| replica.ordinal);
        // The number after those of the stages.
        let draw = self.start_draw(id, ordinal, 7);
        Need::Time(seconds(sleep.wake.draw(&mut self.luck.start_up[starting.deployment].entity(draw))))
    }

    /// The number of a draw for a part of a start: each attempt of each replica has its own.
    pub(super) fn start_draw(&self, id: ReplicaId, ordinal: u32, part: u64) -> u64 {
        u64::from(self.restarts_of(id)) << 35 | u64::from(ordinal) << 3 | part
    }

    /// A stage whose length is drawn.
    fn drawn(&self, id: ReplicaId, starting: &Starting, start_up: &StartUp) -> Need {
        let law = match starting.stage {
            Stage::Start => &start_up.start,
            Stage::Compile => &start_up.compile,
            _ => &start_up.warm_up,
        };
        let Some(law) = law else { return Need::Nothing };
        let ordinal = self.fleet.replica(id).map_or(0, |replica| replica.ordinal);
        let draw = self.start_draw(id, ordinal, starting.stage as u64);
        let luck = self.luck.start_up[starting.deployment];
        Need::Time(seconds(law.draw(&mut luck.entity(draw))))
    }

    /// Ends the stage of a replica. Whether there is another one.
    fn next_stage(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) -> bool {
        let now = calendar.now();
        let Some(starting) = self.state.start_ups.starting.get_mut(&id) else { return false };
        let (stage, node, deployment) = (starting.stage, starting.node, starting.deployment);
        starting.spans[stage.place()] = now.since(starting.since);
        starting.since = now;
        if stage == Stage::Image {
            starting.container = Some(now);
        }
        let next = stage.next();
        if let Some(next) = next {
            starting.stage = next;
        }
        match stage {
            Stage::Image => self.container_starts(id, now),
            Stage::Load => self.keep_if_loaded(node, deployment),
            Stage::Compile => {
                let name = compiled_name(&self.settings.deployments[deployment]);
                self.keep(node, self.artifacts.number(&name));
            }
            Stage::WarmUp => self.wait_for_probe(id, calendar),
            Stage::Start | Stage::Weights => {}
        }
        next.is_some()
    }

    fn keep_if_loaded(&mut self, node: NodeId, deployment: usize) {
        let start_up = &self.settings.deployments[deployment].settings.start_up;
        let weights = start_up.as_ref().and_then(|start_up| start_up.weights.as_ref());
        if let Some(name) = weights.map(|weights| loaded_name(&weights.artifact)) {
            self.keep(node, self.artifacts.number(&name));
        }
    }

    fn container_starts(&mut self, id: ReplicaId, now: Time) {
        if let Some(slot) = self.state.replicas.slot_of(id) {
            self.state.replicas.at(slot).started = now;
        }
    }

    /// The server can serve: its probe finds it.
    fn wait_for_probe(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let Some(starting) = self.state.start_ups.starting.get_mut(&id) else { return };
        let container = starting.container.unwrap_or(now);
        let readiness = self.settings.deployments[starting.deployment].settings.readiness;
        let found = container.saturating_add(readiness.found_after(now.since(container)));
        starting.spans[PROBE] = found.since(now);
        self.will_be_ready(id, found, calendar);
    }

    /// A stage is over, unless its replica is gone or has begun anew.
    pub(super) fn stage_is_over(&mut self, id: ReplicaId, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        let starting = self.state.start_ups.starting.get(&id);
        if starting.is_some_and(|starting| starting.due == Some(now)) && self.next_stage(id, calendar) {
            self.go_on(id, calendar);
        }
    }

    /// A replica that starts to stand by was called: what it has done by now is no part of what that takes.
    pub(super) fn start_counts_from(&mut self, id: ReplicaId, now: Time) {
        let probed = self.state.replicas.get(id).and_then(|serving| serving.ready_at);
        if let Some(starting) = self.state.start_ups.starting.get_mut(&id) {
            starting.spans = [Span::ZERO; NAMES.len()];
            starting.since = now;
            starting.spans[PROBE] = probed.map_or(Span::ZERO, |at| at.since(now));
        }
    }

    /// A replica is ready or gone: its start is over. How long each part took.
    pub(super) fn end_start(&mut self, id: ReplicaId) -> Option<[Span; NAMES.len()]> {
        self.state.start_ups.starting.remove(&id).map(|starting| starting.spans)
    }

    // ---- servers that sleep ----

    /// Whether a replica wakes a server that sleeps on its node.
    fn wake(&mut self, node: NodeId, deployment: usize) -> bool {
        let here = self.state.start_ups.asleep.get_mut(&node);
        match here.and_then(|here| here.get_mut(&deployment)).filter(|count| **count > 0) {
            Some(count) => {
                *count -= 1;
                true
            }
            None => false,
        }
    }

    /// The server of a replica that goes sleeps on its node, if there is room and it is not of an older revision.
    pub(super) fn fall_asleep(&mut self, id: ReplicaId, deployment: usize) {
        let start_up = &self.settings.deployments[deployment].settings.start_up;
        let Some(sleep) = start_up.as_ref().and_then(|start_up| start_up.sleep.as_ref()) else { return };
        let was_ready = self.fleet.replica(id).is_some_and(|replica| replica.ready.is_some());
        let Some(node) = self.fleet.node_of(id).filter(|_| was_ready && self.fleet.is_up_to_date(id)) else {
            return;
        };
        let count = self.state.start_ups.asleep.entry(node).or_default().entry(deployment).or_default();
        *count = (*count + 1).min(sleep.per_node);
    }

    // ---- what nodes have ----

    fn has(&self, node: NodeId, artifact: u32) -> bool {
        self.state.start_ups.kept.get(&node).is_some_and(|kept| kept.contains(&artifact))
    }

    fn keep(&mut self, node: NodeId, artifact: u32) {
        self.state.start_ups.kept.entry(node).or_default().insert(artifact);
    }

    /// Downloads something to a node, unless that is under way.
    fn fetch(
        &mut self,
        node: NodeId,
        artifact: u32,
        bytes: u64,
        peer: Option<f64>,
        calendar: &mut Calendar<Event>,
    ) {
        if !self.state.start_ups.fetching.insert((node, artifact)) {
            return;
        }
        let Some((pool, _)) = self.fleet.place_of_node(node) else { return };
        let cluster = self.fleet.cluster_of_pool(pool);
        let source = peer.and_then(|_| self.peer_with(artifact, cluster));
        if let Some(source) = source {
            self.state.start_ups.sending.insert(source, (node, artifact));
        }
        let download = Download {
            node,
            artifact,
            cluster,
            node_link: self.fleet.pool(pool).1.download,
            shared_link: self.settings.clusters[cluster].registry_bandwidth,
            peer: source.and(peer),
            bytes,
        };
        self.state.start_ups.transfers.begin(calendar.now(), download);
        self.plan_downloads(calendar);
    }

    /// The first node of a cluster that has something, works, and sends nothing.
    fn peer_with(&self, artifact: u32, cluster: usize) -> Option<NodeId> {
        let StartUps { kept, sending, .. } = &self.state.start_ups;
        let mut nodes = kept.iter().filter(|(_, kept)| kept.contains(&artifact)).map(|(node, _)| *node);
        nodes.find(|node| {
            let pool = self.fleet.place_of_node(*node).map(|(pool, _)| pool);
            let here = pool.is_some_and(|pool| self.fleet.cluster_of_pool(pool) == cluster);
            here && self.fleet.failed_at(*node).is_none() && !sending.contains_key(node)
        })
    }

    fn plan_downloads(&mut self, calendar: &mut Calendar<Event>) {
        let next = self.state.start_ups.transfers.next_end().map(|at| at.max(calendar.now()));
        match (next, self.state.start_ups.planned) {
            (Some(next), Some((at, _))) if next == at => {}
            (Some(next), Some((_, ticket))) => {
                calendar.reschedule(ticket, next, Phase::Complete);
                self.state.start_ups.planned = Some((next, ticket));
            }
            (Some(next), None) => {
                let ticket = calendar.at(next, Phase::Complete, Event::Downloaded);
                self.state.start_ups.planned = Some((next, ticket));
            }
            (None, Some((_, ticket))) => {
                calendar.cancel(ticket, Phase::Complete);
                self.state.start_ups.planned = None;
            }
            (None, None) => {}
        }
    }

    /// Downloads end: what has to be unpacked is, the rest is there.
    pub(super) fn downloads_end(&mut self, calendar: &mut Calendar<Event>) {
        let now = calendar.now();
        self.state.start_ups.planned = None;
        for Download { node, artifact, .. } in self.state.start_ups.transfers.take_ended(now) {
            self.state.start_ups.sending.retain(|_, sent| *sent != (node, artifact));
            let unpacking = self.artifacts.unpacking.get(&artifact).copied().unwrap_or(Span::ZERO);
            let at = now.saturating_add(unpacking);
            self.state.start_ups.unpacking.insert((node, artifact, at));
            calendar.at(at, Phase::Complete, Event::Fetched { node, artifact });
        }
        self.plan_downloads(calendar);
    }

    /// A node has something that replicas on it may have waited for, unless it failed while it was unpacking it.
    pub(super) fn node_has(&mut self, node: NodeId, artifact: u32, calendar: &mut Calendar<Event>) {
        if !self.state.start_ups.unpacking.remove(&(node, artifact, calendar.now())) {
            return;
        }
        self.state.start_ups.fetching.remove(&(node, artifact));
        self.keep(node, artifact);
        let here = self.state.start_ups.starting.iter().filter(|(_, starting)| {
            starting.node == node && matches!(starting.stage, Stage::Image | Stage::Weights)
        });
        for id in here.map(|(id, _)| *id).collect::<Vec<_>>() {
            let starting = &self.state.start_ups.starting[&id];
            if matches!(self.need(id, starting), Need::Nothing) && self.next_stage(id, calendar) {
                self.go_on(id, calendar);
            }
        }
    }

    /// A deployment has a new image: no node has it, nor what was compiled for it.
    pub(super) fn forget_image(&mut self, deployment: usize) {
        let model = &self.settings.deployments[deployment];
        let Some(start_up) = &model.settings.start_up else { return };
        let mut names = vec![compiled_name(model)];
        names.extend(start_up.image.iter().map(|image| image_name(&image.artifact)));
        for number in names.iter().map(|name| self.artifacts.number(name)).collect::<Vec<_>>() {
            self.state.start_ups.kept.values_mut().for_each(|kept| _ = kept.remove(&number));
            self.state.start_ups.renewed.insert(number);
        }
        for here in self.state.start_ups.asleep.values_mut() {
            here.remove(&deployment);
        }
    }

    /// A node is gone, with all that it had.
    pub(super) fn forget_node(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let state = &mut self.state.start_ups;
        state.kept.remove(&node);
        state.asleep.remove(&node);
        self.stop_downloads_of(node, calendar);
    }

    /// A node that failed has started again: what it had in its memory is gone.
    pub(super) fn forget_memory_of(&mut self, node: NodeId) {
        let cached = |name: &str| name.starts_with(PAGE_CACHE);
        let names = self.artifacts.names.iter().filter(|(name, _)| cached(name));
        let numbers: BTreeSet<u32> = names.map(|(_, number)| *number).collect();
        self.state.start_ups.asleep.remove(&node);
        if let Some(kept) = self.state.start_ups.kept.get_mut(&node) {
            kept.retain(|artifact| !numbers.contains(artifact));
        }
    }

    /// A node gets and sends nothing any more. What it was sending comes from elsewhere, from the beginning.
    pub(super) fn stop_downloads_of(&mut self, node: NodeId, calendar: &mut Calendar<Event>) {
        let state = &mut self.state.start_ups;
        state.fetching.retain(|(of, _)| *of != node);
        state.unpacking.retain(|(of, ..)| *of != node);
        state.sending.retain(|_, (to, _)| *to != node);
        state.transfers.cancel(calendar.now(), node);
        if let Some((to, artifact)) = self.state.start_ups.sending.remove(&node) {
            self.fetch_again(to, artifact, calendar);
        }
        self.plan_downloads(calendar);
    }

    /// What a node was getting from another one that is gone, it gets anew.
    fn fetch_again(&mut self, node: NodeId, artifact: u32, calendar: &mut Calendar<Event>) {
        let state = &mut self.state.start_ups;
        state.transfers.abandon(calendar.now(), node, artifact);
        state.fetching.remove(&(node, artifact));
        let mut here = self.state.start_ups.starting.iter().filter(|(_, starting)| starting.node == node);
        let anew = here.find_map(|(id, starting)| match self.need(*id, starting) {
            Need::Artifact { number, bytes, peer } if number == artifact => Some((bytes, peer)),
            _ => None,
        });
        if let Some((bytes, peer)) = anew {
            self.fetch(node, artifact, bytes, peer, calendar);
        }
    }
}

/// How long the parts of starts took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct StageMeter([Histogram; NAMES.len()]);

impl StageMeter {
    /// Counts a start.
    pub(super) fn add(&mut self, spans: &[Span; NAMES.len()]) {
        self.0.iter_mut().zip(spans).for_each(|(histogram, span)| histogram.add(span.as_nanos()));
    }

    /// The parts that took any time, in order.
    pub(super) fn summary(&self) -> Vec<StageSummary> {
        let parts = NAMES.iter().zip(&self.0).filter(|(_, histogram)| histogram.max() > Some(0));
        parts
            .map(|(name, histogram)| StageSummary {
                name: (*name).to_owned(),
                mean_seconds: histogram.mean().unwrap_or(0.0) / 1e9,
                p95_seconds: histogram.quantile(0.95).unwrap_or(0) as f64 / 1e9,
            })
            .collect()
    }
}

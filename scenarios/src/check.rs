//! From a scenario as written to settings that a run can be built from. All problems come at once.

mod affinity;
mod arrivals;
mod cluster;
mod engine;
mod failures;
mod market;
pub(crate) mod policy;
mod queries;
mod routing;
mod scheduling;
pub(crate) mod service;
mod signals;
mod start_up;
mod traffic;

use std::collections::BTreeSet;
use std::path::Path;

use scaletwin_core::input::{At, Place, Problem, Problems, suggestion};
use scaletwin_core::random::Seed;
use scaletwin_core::units::Time;
use scaletwin_sim::cluster::fleet::Fleet;
use scaletwin_sim::scrape::signals::ScrapeSettings;
use scaletwin_sim::traffic::stream::SourceSettings;
use scaletwin_sim::world::settings::{DeploymentModel, EngineSettings, RunSettings};

use crate::files::Files;
use crate::spec::policy::PolicyFileSpec;
use crate::spec::{End, ScenarioSpec};
use policy::CheckedPolicy;

/// A policy as written, and the folder that its manifests are relative to.
pub(crate) struct PolicyText<'a> {
    pub spec: &'a PolicyFileSpec,
    pub folder: &'a Path,
    pub files: &'a Files,
}

/// Checks everything that can be wrong besides the shape. `None` when an error was pushed.
pub(crate) fn check(
    spec: &ScenarioSpec,
    folder: &Path,
    policy: &PolicyText<'_>,
    problems: &mut Problems,
) -> Option<(RunSettings, CheckedPolicy)> {
    let clusters = cluster::clusters(&spec.clusters, spec.start, folder, problems);
    let outages = failures::outages(&spec.outages, &clusters, problems);
    let (services, deployments) = service::services(spec, &clusters, problems);
    let (streams, start) = traffic::streams(spec, folder, &clusters, &services, &deployments, problems);
    let signals = signals::signals(spec, &services, &deployments, problems);
    let queries = queries::queries(spec, problems);
    let seen = policy::Seen {
        clusters: &clusters,
        services: &services,
        deployments: &deployments,
        signals: &signals,
        queries: &queries,
        written: &spec.signals,
    };
    let policy = policy::check(policy, &seen, problems);
    let cut = match (spec.end, &spec.duration) {
        (End::Cut, Some(duration)) => Time::ZERO.saturating_add(duration.value),
        (End::Cut, None) => {
            let problem = Problem::without_place("end: cut needs a duration");
            problems.push(problem.hint("add duration: 1h, or end: drain"));
            Time::NEVER
        }
        (End::Drain, _) => Time::NEVER,
    };
    if let Some(duration) = &spec.duration
        && duration.value <= spec.warm_up
    {
        problems.error(&duration.place, "the duration is not longer than the warm-up: nothing would count");
    }
    if problems.any_error() {
        return None;
    }
    let settings = RunSettings {
        name: spec.name.clone(),
        fingerprint: String::new(),
        policy: String::new(),
        seed: Seed(spec.seed),
        start,
        warm_up: spec.warm_up,
        ends_when_done: spec.end == End::Drain,
        cut,
        window: spec.window.0,
        clusters,
        outages,
        services,
        deployments,
        streams,
        signals,
        queries,
        scrape: ScrapeSettings { interval: spec.scrape.interval.0, lag: spec.scrape.lag },
        metrics_resolution: spec.metrics_server.resolution.0,
        waived: policy.waived.clone(),
        capacities: Vec::new(),
    };
    check_start(spec, &settings, &policy, problems);
    check_replicas(spec, &settings.deployments, &policy, problems);
    check_clients(spec, &settings, &policy, problems);
    check_loops(spec, &settings, problems);
    (!problems.any_error()).then_some((settings, policy))
}

/// Replicas of the start find nodes, or somebody adds them.
fn check_start(spec: &ScenarioSpec, settings: &RunSettings, policy: &CheckedPolicy, problems: &mut Problems) {
    let deployments: Vec<_> = settings.deployments.iter().map(|model| model.settings.clone()).collect();
    let mut fleet = Fleet::new(&settings.clusters, &deployments);
    fleet.settle(Time::ZERO);
    for (cluster, known) in settings.clusters.iter().enumerate() {
        let pending = fleet.pending_in(cluster);
        if pending == 0 || policy.adds_nodes(&known.name) {
            continue;
        }
        let message =
            format!("no node for {pending} of the replicas at the start, and no controller adds one");
        problems.push(Problem::error(&spec.services.place, message).hint(
            "raise the min of nodes:, lower replicas:, or add the controller {kind: node-provisioner}",
        ));
    }
}

/// A deployment without replicas has somebody who adds the first one.
fn check_replicas(
    spec: &ScenarioSpec,
    deployments: &[DeploymentModel],
    policy: &CheckedPolicy,
    problems: &mut Problems,
) {
    let written = spec.services.value.iter().flat_map(|service| &service.value.deployments.value);
    for (model, written) in deployments.iter().zip(written) {
        let target = &model.settings.target;
        if model.settings.replicas == 0 && !policy.wakes(target) {
            let message = format!("{target} has no replica, and no controller adds the first one");
            problems.push(Problem::error(&written.replicas.place, message).hint(
                "start with replicas: 1; an HPA leaves a target at 0 alone unless it has scaled it to zero itself",
            ));
        }
    }
}

/// Clients that neither think nor wait come again at the very instant at which they are refused: where no replica is ready,
/// without end.
fn check_clients(
    spec: &ScenarioSpec,
    settings: &RunSettings,
    policy: &CheckedPolicy,
    problems: &mut Problems,
) {
    for (stream, written) in settings.streams.iter().zip(&spec.traffic.value) {
        let thoughtless = written.clients.as_ref().filter(|clients| clients.think_time.is_none());
        let service = &settings.services[stream.service];
        let (Some(clients), Some(0), false) = (thoughtless, service.queue, policy.is_empty()) else {
            continue;
        };
        let message = format!(
            "clients without think_time ask again at once, and service {} refuses them while no replica is ready",
            service.name
        );
        problems.push(
            Problem::warning(&clients.place, message)
                .hint("add queue: {} to the service, or think_time: 1s to the clients"),
        );
    }
}

/// Clients that do not think, of a server that takes no time, would send without end at one instant.
fn check_loops(spec: &ScenarioSpec, settings: &RunSettings, problems: &mut Problems) {
    for (stream, written) in settings.streams.iter().zip(&spec.traffic.value) {
        let SourceSettings::ClosedLoop(closed) = &stream.source else { continue };
        let of_stream = |model: &&DeploymentModel| model.settings.service == stream.service;
        let timeless = settings.deployments.iter().filter(of_stream).any(|model| match &model.engine {
            EngineSettings::Concurrency { service, .. } => service.mean() <= 0.0,
            EngineSettings::Continuous { .. } | EngineSettings::Dynamic { .. } => false,
        });
        if let (true, true, Some(clients)) = (timeless, closed.think.mean() <= 0.0, &written.clients) {
            let message = "clients without think_time of a server whose service_time is 0 send without end";
            problems.push(Problem::error(&clients.place, message).hint("add think_time: 1s to the clients"));
        }
    }
}

/// Refuses a number of things that all take memory, beyond what any cluster has.
fn check_count(place: &Place, count: u64, most: u64, what: &str, problems: &mut Problems) {
    if count > most {
        problems.error(place, format!("at most {most} {what}, and this is {count}"));
    }
}

/// The most replicas of a target, and nodes of a pool. Kubernetes itself is made for 5 000 nodes and 150 000 pods.
const MOST: u64 = 100_000;

/// Refuses names that stand twice, or that cannot be told from a path.
fn check_names<'a>(what: &str, names: impl Iterator<Item = &'a At<String>>, problems: &mut Problems) {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for name in names {
        if !known.insert(&name.value) {
            problems.error(&name.place, format!("a second {what} {:?}", name.value));
        }
        if name.value.contains('/') || name.value.chars().any(char::is_control) {
            problems.error(&name.place, format!("the name of a {what} has no / and no control characters"));
        }
    }
}

/// An unknown name, with the nearest known one.
fn unknown(place: &Place, what: &str, name: &str, known: &[&str]) -> Problem {
    let problem = Problem::error(place, format!("unknown {what} {name:?}"));
    match suggestion(name, known) {
        Some(hint) => problem.hint(hint),
        None => problem.hint(format!("there is no {what}")),
    }
}

/// The place of the name that is meant: the one written, or the only one there is.
fn choose(
    what: &str,
    written: Option<&At<String>>,
    place: &Place,
    known: &[&str],
    problems: &mut Problems,
) -> Option<usize> {
    match written {
        Some(name) => {
            let found = known.iter().position(|known| *known == name.value);
            if found.is_none() {
                problems.push(unknown(&name.place, what, name, known));
            }
            found
        }
        None if known.len() == 1 => Some(0),
        None if known.is_empty() => {
            let problem = Problem::error(place, format!("this needs a {what}, and the scenario has none"));
            problems.push(problem.hint(format!("add {what}s:, or remove this")));
            None
        }
        None => {
            let problem = Problem::error(place, format!("which {what}? there are {}", known.len()));
            problems.push(problem.hint(format!("add {what}: one of {}", known.join(", "))));
            None
        }
    }
}

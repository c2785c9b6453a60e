//! A starting scenario from what runs in a cluster: manifests, or what `kubectl get -o yaml` prints.
//!
//! Each value of it says where it is from: read from a field, inferred, or guessed. What cannot be carried over is listed. A
//! part is taken only if a scenario with it passes the check, so that what is written can be run as it is.

mod arguments;
mod containers;
mod controllers;
mod labels;
mod model;
mod objects;
mod page;
mod placement;
mod pools;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scaletwin_core::input::Severity;
use scaletwin_core::units::Time;

use crate::Scenario;
use controllers::{Drafted, Signals};
use objects::{Object, Objects};
use page::{Line, guessed, plain};
use pools::Pool;
use servers::{Care, Server};

/// How far a draft is tried: half an hour.
const TRIAL: Time = Time::from_nanos(1_800_000_000_000);

/// A file with manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its path, as the scenario is to name it.
    pub path: String,
    /// Its text: YAML with any number of documents, or JSON.
    pub text: String,
}

/// A starting scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its text.
    pub text: String,
    /// What is not carried over, and why, one line each.
    pub left_out: Vec<String>,
}

/// Whether a text is a draft.
#[must_use]
pub fn is_drafted(text: &str) -> bool {
    text.starts_with(page::FIRST)
}

/// Drafts a scenario. `folder` is where it will lie: paths of files count from there. `about` says what it is drafted from.
#[must_use]
pub fn draft(files: &[ManifestFile], folder: &Path, about: &str) -> Draft {
    let mut left_out = Vec::new();
    let objects = Objects::read(files, &mut left_out);
    let mut parts = Parts::of(&objects, files, folder, &mut left_out);
    objects.rest(&mut left_out);
    parts.prove(&mut left_out);
    Draft { text: parts.page(about, &left_out), left_out }
}

/// The parts of a scenario, each of which has passed the check.
struct Parts<'a> {
    files: &'a [ManifestFile],
    /// Their texts, by path.
    known: Arc<BTreeMap<PathBuf, String>>,
    folder: &'a Path,
    pools: Vec<Pool>,
    servers: Vec<Server>,
    controllers: Vec<Vec<Line>>,
    signals: Signals,
}

impl<'a> Parts<'a> {
    fn of(
        objects: &Objects<'_>,
        files: &'a [ManifestFile],
        folder: &'a Path,
        left_out: &mut Vec<String>,
    ) -> Parts<'a> {
        let known = files.iter().map(|file| (folder.join(&file.path), file.text.clone())).collect();
        let mut parts = Parts {
            files,
            known: Arc::new(known),
            folder,
            pools: Vec::new(),
            servers: Vec::new(),
            controllers: Vec::new(),
            signals: Signals::new(),
        };
        for pool in pools::pools(objects, left_out) {
            let name = pool.name.clone();
            parts.pools.push(pool);
            let alone = parts.like(vec![Server::example()]);
            if let Err(why) = alone.checked(&alone.page("", &[])) {
                left_out.push(format!("node pool {name}: {why}"));
                parts.pools.pop();
            }
        }
        let mut servers = servers::servers(objects, &parts.pools, left_out);
        pools::add_guessed(&mut parts.pools, &servers);
        pools::make_room(&mut parts.pools, &servers, objects);
        for server in &mut servers {
            parts.settle(server, left_out);
        }
        if servers.is_empty() {
            left_out.push("there is no Deployment that serves: the service below is an example".to_owned());
            servers.push(Server::example());
        }
        parts.servers = servers;
        parts.nodes(objects, left_out);
        parts.scalers(objects, left_out);
        parts
    }

    /// These pools, with other services, and one that adds nodes.
    fn like(&self, servers: Vec<Server>) -> Parts<'a> {
        Parts {
            files: self.files,
            known: Arc::clone(&self.known),
            folder: self.folder,
            pools: self.pools.clone(),
            servers,
            controllers: vec![controllers::provisioner()],
            signals: Signals::new(),
        }
    }

    /// Takes as much of a server as passes the check.
    fn settle(&self, server: &mut Server, left_out: &mut Vec<String>) {
        let mut first = None;
        let takings = Care::ALL.into_iter().flat_map(|care| [(care, true), (care, false)]);
        for (care, placed) in takings {
            (server.care, server.placed) = (care, placed);
            let alone = self.like(vec![server.clone()]);
            let Err(why) = alone.checked(&alone.page("", &[])) else { break };
            first.get_or_insert(why);
        }
        if let Some(why) = first {
            let anywhere = if server.placed { "" } else { ", without what says where its pods run" };
            left_out.push(format!("{}: {why}; it is taken {}{anywhere}", server.object, server.care.words()));
        }
    }

    /// The controller of nodes: that of the cluster, else one that stands for it.
    fn nodes(&mut self, objects: &Objects<'_>, left_out: &mut Vec<String>) {
        let found = controllers::karpenter(objects, self.files, left_out);
        let of_cluster = found.into_iter().next();
        let lines = of_cluster.map_or_else(controllers::provisioner, |drafted| drafted.lines);
        self.controllers.push(lines);
        if let Err(why) = self.checked(&self.page("", &[])) {
            left_out.push(format!("the NodePools as a controller: {why}"));
            self.controllers = vec![controllers::provisioner()];
        }
    }

    /// The controllers of replicas, each checked with its service alone: a dump may have hundreds.
    fn scalers(&mut self, objects: &Objects<'_>, left_out: &mut Vec<String>) {
        let mut scaled = BTreeSet::new();
        for drafted in controllers::scalers(objects, &self.servers, left_out) {
            let Drafted { object, target, server, lines, signals } = drafted;
            if scaled.contains(&target) {
                left_out.push(format!("{object}: {target} has another controller"));
                continue;
            }
            let other = |name: &&String| {
                self.signals.get(*name).is_some_and(|known| Some(known) != signals.get(*name))
            };
            if let Some(name) = signals.keys().find(other) {
                left_out.push(format!("{object}: its metric {name} is another of {target} than of others"));
                continue;
            }
            let mut alone = self.like(vec![self.servers[server].clone()]);
            alone.controllers.push(lines.clone());
            alone.signals.clone_from(&signals);
            match alone.checked(&alone.page("", &[])) {
                Err(why) => left_out.push(format!("{object}: {why}")),
                Ok(()) => {
                    scaled.insert(target);
                    self.controllers.push(lines);
                    self.signals.extend(signals);
                }
            }
        }
    }

    /// Runs ten seconds of the whole, and takes away what it gets nowhere with.
    fn prove(&mut self, left_out: &mut Vec<String>) {
        let Err(why) = self.tried() else { return };
        let placed: Vec<bool> =
            self.servers.iter_mut().map(|server| std::mem::take(&mut server.placed)).collect();
        if placed.contains(&true) && self.tried().is_ok() {
            return left_out.push(format!("what says where pods run: {why}"));
        }
        for (server, placed) in self.servers.iter_mut().zip(placed) {
            server.placed = placed;
        }
        self.controllers.remove(0);
        self.controllers.insert(0, controllers::provisioner());
        match self.tried() {
            Ok(()) => {
                left_out.push("the NodePools as a controller: no node that they allow has room".to_owned())
            }
            Err(why) => {
                left_out.push(format!("all controllers: {why}"));
                (self.controllers, self.signals) = (vec![controllers::provisioner()], Signals::new());
            }
        }
    }

    /// Whether the requests of ten seconds come to their end, or go on for half an hour without a fault: where controllers act
    /// and nothing ever begins, a run waits for days. A fleet of thousands would take minutes, and is taken at its word.
    fn tried(&self) -> Result<(), String> {
        if self.servers.iter().map(Server::replicas_at_start).sum::<u64>() > 1_000 {
            return self.checked(&self.page("", &[]));
        }
        let changes = ["warm_up=0s".to_owned(), "duration=10s".to_owned()];
        let scenario = self.scenario(&self.page("", &[]), &changes)?;
        let failed = |error: &dyn std::error::Error| plain(&error.to_string());
        let mut run = scenario.start(scenario.settings().seed).map_err(|error| failed(&error))?;
        run.run_until(TRIAL).map(drop).map_err(|error| failed(&error))
    }

    /// Whether a scenario of these parts passes the check; else the first thing that is wrong with it.
    fn checked(&self, text: &str) -> Result<(), String> {
        self.scenario(text, &[]).map(drop)
    }

    fn scenario(&self, text: &str, changes: &[String]) -> Result<Scenario, String> {
        let known = Arc::clone(&self.known);
        Scenario::parse_beside("draft", text, self.folder, changes, known).map_err(|problems| {
            let mut errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
            plain(errors.next().map_or("", |problem| &problem.message))
        })
    }

    /// The scenario as text.
    fn page(&self, about: &str, left_out: &[String]) -> String {
        let mut lines = page::head(about, left_out);
        let name = self.servers.first().map_or("draft", |server| server.name.as_str());
        lines.push(Line::of(0, format!("name: {}", page::quoted(name)), None));
        lines.push(Line::of(0, "warm_up: 10m", guessed("replicas of the start are ready by then")));
        lines.push(Line::of(0, "duration: 1h", guessed("how long requests arrive; set it")));
        lines.push(Line::of(0, "clusters:", None));
        lines.push(Line::of(1, "- name: cluster", guessed("a dump does not name its cluster; set it")));
        lines.push(Line::of(2, "node_pools:", None));
        lines.extend(self.pools.iter().flat_map(Pool::lines));
        lines.push(Line::of(0, "services:", None));
        let several = pools::accelerators(&self.pools) > 1;
        let present: Vec<String> = self.servers.iter().map(Server::target).collect();
        lines.extend(self.servers.iter().flat_map(|server| server.lines(&self.pools, several, &present)));
        lines.push(Line::of(0, "traffic:", None));
        lines.extend(self.servers.iter().flat_map(Server::traffic));
        if !self.signals.is_empty() {
            lines.push(Line::of(0, "signals:", None));
            for (name, (text, origin)) in &self.signals {
                lines.push(Line::of(1, format!("{}: {text}", page::quoted(name)), Some(origin.clone())));
            }
        }
        lines.push(Line::of(0, "policy:", None));
        let none = if self.controllers.is_empty() { " []" } else { "" };
        lines.push(Line::of(1, format!("controllers:{none}"), None));
        lines.extend(self.controllers.iter().flatten().cloned());
        page::text(&lines)
    }
}

/// The objects that a server, a pool or a controller was made from, for messages.
fn named(object: &Object<'_>) -> String {
    format!("{}/{}", object.kind, object.name)
}

#[cfg(test)]
mod tests;

//! From texts to runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scaletwin_core::input::{Problem, Problems, Read, parse};
use scaletwin_core::model::Snapshot;
use scaletwin_core::random::Seed;
use scaletwin_core::record::Digest;
use scaletwin_sim::traffic::stream::SourceSettings;
use scaletwin_sim::traffic::trace::TraceError;
use scaletwin_sim::world::run::{ResumeError, Run};
use scaletwin_sim::world::settings::RunSettings;

use crate::capacity::{self, Capacity};
use crate::check::policy::CheckedPolicy;
use crate::check::{PolicyText, check};
use crate::files::{Files, Input};
use crate::library;
use crate::spec::ScenarioSpec;
use crate::spec::policy::{PolicyFileSpec, PolicySource};

/// Which scenario is meant, and what is changed in it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A file, or a name of the library; `None`: the quickstart.
    pub scenario: Option<PathBuf>,
    /// A policy file instead of the scenario's own policy.
    pub policy: Option<PathBuf>,
    /// Changes, each as `path=value`.
    pub changes: Vec<String>,
}

/// A scenario, checked, from which runs are built.
#[derive(Debug, Clone)]
pub struct Scenario {
    settings: RunSettings,
    policy: CheckedPolicy,
    inputs: Vec<Input>,
    changes: Vec<String>,
    warnings: Problems,
}

impl Scenario {
    /// Reads and checks a scenario with everything that it names.
    ///
    /// # Errors
    /// All problems of its shape; if there are none, all others.
    pub fn load(request: &Request) -> Result<Scenario, Problems> {
        let files = Files::default();
        let (name, text, folder) = find(request.scenario.as_deref(), &files)?;
        Scenario::read(&name, &text, &folder, request, files)
    }

    /// Reads and checks the scenario in `text`. `name` is its name in messages, and what it names is looked for in `folder`.
    ///
    /// # Errors
    /// All problems of its shape; if there are none, all others.
    pub fn parse(name: &str, text: &str, folder: &Path) -> Result<Scenario, Problems> {
        let files = Files::default();
        files.keep(name.to_owned(), text);
        Scenario::read(name, text, folder, &Request::default(), files)
    }

    /// The same with changes, where some of the files that it names are given as texts, by path.
    pub(crate) fn parse_beside(
        name: &str,
        text: &str,
        folder: &Path,
        changes: &[String],
        known: Arc<BTreeMap<PathBuf, String>>,
    ) -> Result<Scenario, Problems> {
        let request = Request { changes: changes.to_vec(), ..Request::default() };
        Scenario::read(name, text, folder, &request, Files::knowing(known))
    }

    fn read(
        name: &str,
        text: &str,
        folder: &Path,
        request: &Request,
        files: Files,
    ) -> Result<Scenario, Problems> {
        let mut problems = Problems::default();
        let mut node = parse(name, text)?;
        for change in &request.changes {
            let Some((path, value)) = change.split_once('=') else {
                let problem = Problem::without_place(format!("--set {change}: there is no ="));
                return Err(problem
                    .hint("write --set path=value, such as --set services[0].deployments[0].replicas=2")
                    .into());
            };
            if request.policy.is_some() && path.trim().starts_with("policy") {
                let problem =
                    Problem::without_place(format!("--set {change}: --policy replaces what it changes"));
                return Err(problem.hint("change the policy file, or leave --policy out").into());
            }
            let value = parse(&format!("--set {path}"), value)?;
            node.set(path.trim(), value).map_err(|error| Problem::without_place(format!("--set {error}")))?;
        }
        let spec = ScenarioSpec::read(&node, &mut problems);
        let policy = policy(request, spec.as_ref(), folder, &files, &mut problems);
        let (spec, (policy, policy_folder)) = problems.none_or(spec.zip(policy))?;
        let policy = PolicyText { spec: &policy, folder: &policy_folder, files: &files };
        let checked = check(&spec, folder, &policy, &mut problems);
        let (mut settings, policy) = problems.none_or(checked)?;
        settings.fingerprint = fingerprint(&settings);
        settings.policy = digest(&policy);
        let inputs = files.into_inputs();
        Ok(Scenario { settings, policy, inputs, changes: request.changes.clone(), warnings: problems })
    }

    /// The settings, with the scenario's own seed.
    #[must_use]
    pub fn settings(&self) -> &RunSettings {
        &self.settings
    }

    /// What the user should know, though the scenario can run.
    #[must_use]
    pub fn warnings(&self) -> &Problems {
        &self.warnings
    }

    /// The texts that it was read from.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The files that it was read from, and the traces that a run reads.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let texts = self.inputs.iter().filter_map(|input| input.path.as_deref());
        let traces = self.settings.streams.iter().filter_map(|stream| match &stream.source {
            SourceSettings::Trace(trace) => Some(trace.path.as_path()),
            _ => None,
        });
        texts.chain(traces).collect()
    }

    /// The changes made to them.
    #[must_use]
    pub fn changes(&self) -> &[String] {
        &self.changes
    }

    /// All settings with the defaults filled in, for people and for comparison.
    ///
    /// # Panics
    /// Never: settings are plain data.
    #[must_use]
    pub fn effective(&self) -> serde_json::Value {
        serde_json::json!({"scenario": self.settings, "policy": self.policy})
    }

    /// What one replica of each deployment can serve within its objectives: probes of ten thousand requests each.
    ///
    /// # Errors
    /// When a probe cannot run.
    pub fn capacities(&self) -> Result<Vec<Capacity>, Problem> {
        capacity::capacities(&self.settings)
    }

    /// The scenario, whose runs measure elasticity with these capacities.
    #[must_use]
    pub fn measured_with(mut self, capacities: &[Capacity]) -> Scenario {
        self.settings.capacities = capacities.iter().map(|capacity| capacity.requests_per_second).collect();
        self
    }

    /// A run with this seed, at its start.
    ///
    /// # Errors
    /// When a trace cannot be read.
    ///
    /// # Panics
    /// Never: the policy was built once when the scenario was checked.
    pub fn start(&self, seed: Seed) -> Result<Run, TraceError> {
        let controllers = self.policy.build(seed).expect("the layering was checked");
        Run::new(self.for_seed(seed), controllers)
    }

    /// The run of a snapshot, going on from there: under its own policy, or under this one if it is another.
    ///
    /// # Errors
    /// When the snapshot is of another scenario, or a trace cannot be read.
    ///
    /// # Panics
    /// Never: the policy was built once when the scenario was checked.
    pub fn resume(&self, snapshot: &Snapshot) -> Result<Run, ResumeError> {
        let controllers = self.policy.build(snapshot.seed).expect("the layering was checked");
        Run::resume(self.for_seed(snapshot.seed), controllers, snapshot)
    }

    fn for_seed(&self, seed: Seed) -> Arc<RunSettings> {
        Arc::new(RunSettings { seed, ..self.settings.clone() })
    }
}

/// The name, text and folder of the scenario that is meant.
fn find(path: Option<&Path>, files: &Files) -> Result<(String, String, PathBuf), Problem> {
    let entry = match path {
        None => Some(library::LIBRARY[0]),
        // A folder of results may have the name of its scenario.
        Some(path) if path.exists() && !path.is_dir() => None,
        Some(path) => path.to_str().and_then(library::find),
    };
    if let Some(entry) = entry {
        files.keep(format!("{}.yaml", entry.name), entry.text);
        files.serve_library();
        return Ok((entry.name.to_owned(), entry.text.to_owned(), PathBuf::from(".")));
    }
    let path = path.unwrap_or(Path::new(""));
    let text = files.read(path).map_err(|problem| {
        if path.is_file() {
            return problem;
        }
        let names = library::LIBRARY.map(|entry| entry.name).join(", ");
        problem.hint(format!("name a file, or a scenario of the library: {names}"))
    })?;
    Ok((path.display().to_string(), text, folder_of(path)))
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The policy that is meant, and the folder that it names files in.
fn policy(
    request: &Request,
    spec: Option<&ScenarioSpec>,
    folder: &Path,
    files: &Files,
    problems: &mut Problems,
) -> Option<(PolicyFileSpec, PathBuf)> {
    let written = spec.and_then(|spec| spec.policy.as_ref());
    let (path, place) = match (&request.policy, written) {
        (Some(path), _) => (path.clone(), None),
        (None, Some(PolicySource::Here(policy))) => return Some((policy.clone(), folder.to_owned())),
        (None, Some(PolicySource::File(name))) => (folder.join(&name.value), Some(name.place.clone())),
        (None, None) => {
            let nothing = PolicyFileSpec { name: None, controllers: Vec::new(), guards: Vec::new() };
            return Some((nothing, folder.to_owned()));
        }
    };
    let node = files
        .read(&path)
        .map_err(|problem| Problem { place: place.or(problem.place), ..problem })
        .and_then(|text| parse(&path.display().to_string(), &text));
    match node {
        Ok(node) => PolicyFileSpec::read(&node, problems).map(|policy| (policy, folder_of(&path))),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

/// A digest of everything that a run depends on besides its seed and its policy. Of a trace it takes the length and both
/// ends: to read all of it would take as long as to replay it.
fn fingerprint(settings: &RunSettings) -> String {
    let traces = settings.streams.iter().map(|stream| match &stream.source {
        SourceSettings::Trace(trace) => ends_of(&trace.path).unwrap_or_default(),
        _ => String::new(),
    });
    digest(&(settings, traces.collect::<Vec<_>>()))
}

/// The length of a file, and a digest of its first and last 64 KiB.
fn ends_of(path: &Path) -> std::io::Result<String> {
    const END: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut ends = Digest::default();
    for start in [0, length.saturating_sub(END)] {
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        (&file).take(END).read_to_end(&mut end)?;
        ends.bytes(&end);
    }
    Ok(format!("{length} {}", ends.hex()))
}

fn digest(of: &impl serde::Serialize) -> String {
    Digest::of(&serde_json::to_string(of).expect("settings are plain data"))
}

//! The folder that a run leaves behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use scaletwin_core::random::Seed;
use scaletwin_core::record::{Finished, RunRecord};
use scaletwin_reports::{Scaling, html, tables};
use scaletwin_scenarios::Scenario;

use super::timing::Timing;
use crate::failure::Failure;

/// Files that a run writes.
const FILES: [&str; 11] = [
    "summary.json",
    "study.json",
    "timeline.csv",
    "node_pools.csv",
    "nodes.csv",
    "decisions.jsonl",
    "requests.csv",
    "report.html",
    "settings.json",
    "timing.json",
    "capacity.json",
];

/// The mark of a folder that runs write to: what earlier ones have left in it may be replaced.
const MARK: &str = ".scaletwin";

/// The folder of a run.
pub(super) struct Folder {
    path: PathBuf,
    decisions: BufWriter<File>,
    requests: Option<tables::Requests<BufWriter<File>>>,
}

impl Folder {
    /// Makes the folder, and writes what the run is made from.
    pub(super) fn create(
        path: &Path,
        scenario: &Scenario,
        seed: Seed,
        requests: bool,
    ) -> Result<Folder, Failure> {
        claim(path, scenario)?;
        let settings = serde_json::json!({
            "seed": seed,
            "changes": scenario.changes(),
            "settings": scenario.effective(),
        });
        write(&path.join("settings.json"), &super::json(&settings))?;
        write_inputs(&path.join("inputs"), scenario)?;
        let services = scenario.settings().services.iter().map(|service| service.name.clone()).collect();
        let requests = match requests {
            false => None,
            true => {
                let name = path.join("requests.csv");
                let table = tables::Requests::new(create(&name)?, services);
                Some(table.map_err(|error| Failure::writing(&name, &error))?)
            }
        };
        let decisions = create(&path.join("decisions.jsonl"))?;
        Ok(Folder { path: path.to_owned(), decisions, requests })
    }

    /// Adds decisions and requests.
    pub(super) fn add(&mut self, decisions: &str, requests: &[(usize, Finished)]) -> Result<(), Failure> {
        let lines = self.decisions.write_all(decisions.as_bytes());
        lines.map_err(|error| Failure::writing(&self.path.join("decisions.jsonl"), &error))?;
        match &mut self.requests {
            None => Ok(()),
            Some(table) => {
                let rows = table.add(requests);
                rows.map_err(|error| Failure::writing(&self.path.join("requests.csv"), &error))
            }
        }
    }

    /// Writes the rest.
    pub(super) fn finish(
        mut self,
        record: &RunRecord,
        scaling: &Scaling,
        timing: &Timing,
    ) -> Result<(), Failure> {
        self.add(&record.decisions, &[])?;
        let Folder { path, mut decisions, requests } = self;
        decisions.flush().map_err(|error| Failure::writing(&path.join("decisions.jsonl"), &error))?;
        if let Some(table) = requests {
            table.finish().map_err(|error| Failure::writing(&path.join("requests.csv"), &error))?;
        }
        let timeline = path.join("timeline.csv");
        let rows = tables::timeline(record, create(&timeline)?);
        rows.map_err(|error| Failure::writing(&timeline, &error))?;
        let nodes = path.join("nodes.csv");
        let rows = tables::nodes(record, create(&nodes)?);
        rows.map_err(|error| Failure::writing(&nodes, &error))?;
        let pools = path.join("node_pools.csv");
        let rows = tables::node_pools(record, create(&pools)?);
        rows.map_err(|error| Failure::writing(&pools, &error))?;
        write(&path.join("report.html"), &html::page(record, scaling))?;
        write(&path.join("timing.json"), &super::json(timing))?;
        write(&path.join("summary.json"), &super::json(&record.summary))
    }
}

/// Makes a folder for a run, or for several. What earlier ones have left there goes; what else lies there stays.
///
/// # Errors
/// When what would be written over was written by nobody here, or is read by the scenario.
pub(super) fn claim(path: &Path, scenario: &Scenario) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| Failure::writing(path, &error))?;
    let refuse = |file: &Path, why: &str| {
        let message =
            format!("{}: {why}\n  = hint: give the run a folder of its own with --out", file.display());
        Err(Failure::Other(message))
    };
    if let Some(file) = scenario.files().into_iter().find(|file| lies_in(path, file)) {
        return refuse(file, "the scenario reads this file, and the run would replace it");
    }
    if path.join(MARK).is_file() {
        return clear(path);
    }
    let there = FILES.iter().chain(["inputs"].iter()).map(|name| path.join(name)).find(|file| file.exists());
    match there {
        Some(file) => refuse(&file, "it is there already, and no run has written it"),
        None => write(
            &path.join(MARK),
            "Runs write to this folder, and replace what earlier ones have written.\n",
        ),
    }
}

/// Whether a file is, in this folder, one of those that runs replace.
fn lies_in(folder: &Path, file: &Path) -> bool {
    let (Ok(folder), Ok(file)) = (folder.canonicalize(), file.canonicalize()) else { return false };
    let first = file.strip_prefix(folder).ok().and_then(|rest| rest.components().next());
    first
        .and_then(|first| first.as_os_str().to_str())
        .is_some_and(|name| FILES.contains(&name) || name == "inputs" || seed_of(name).is_some())
}

/// The seed in the name of a folder of one of several runs.
fn seed_of(name: &str) -> Option<u64> {
    name.strip_prefix("seed-")?.parse().ok()
}

/// Removes what an earlier run, or several, have left in a folder.
fn clear(path: &Path) -> Result<(), Failure> {
    for name in FILES {
        remove(&path.join(name))?;
    }
    for entry in entries(path)? {
        let name = entry.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| seed_of(name).is_some()) && entry.join(MARK).is_file() {
            clear(&entry)?;
            remove(&entry.join(MARK))?;
            // It stays if something else lies in it.
            let _ = fs::remove_dir(&entry);
        }
    }
    let inputs = path.join("inputs");
    for input in entries(&inputs)? {
        remove(&input)?;
    }
    let _ = fs::remove_dir(&inputs);
    Ok(())
}

/// What lies in a folder; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    read().map_err(|error| Failure::of(format!("cannot read {}", folder.display()), &error))
}

fn remove(file: &Path) -> Result<(), Failure> {
    match file.is_file() {
        true => fs::remove_file(file).map_err(|error| Failure::writing(file, &error)),
        false => Ok(()),
    }
}

/// Writes what several runs give together.
pub(super) fn write_study(path: &Path, study: &str, timing: &Timing) -> Result<(), Failure> {
    write(&path.join("timing.json"), &super::json(timing))?;
    write(&path.join("study.json"), study)
}

/// Writes what a replica of each deployment can serve.
pub(super) fn write_capacities(path: &Path, capacities: &str) -> Result<(), Failure> {
    write(&path.join("capacity.json"), capacities)
}

/// Writes the texts that the scenario was read from.
fn write_inputs(folder: &Path, scenario: &Scenario) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::writing(folder, &error))?;
    let mut names = BTreeSet::new();
    for input in scenario.inputs() {
        let (mut name, mut again) = (input.name.clone(), 1);
        while !names.insert(name.clone()) {
            again += 1;
            name = format!("{again}-{}", input.name);
        }
        write(&folder.join(name), &input.text)?;
    }
    Ok(())
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path).map(BufWriter::new).map_err(|error| Failure::writing(path, &error))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::writing(path, &error))
}

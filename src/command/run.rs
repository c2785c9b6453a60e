//! `scaletwin run`.

mod drive;
mod folder;
mod timing;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rayon::prelude::*;
use scaletwin_core::input::Problems;
use scaletwin_core::model::Snapshot;
use scaletwin_core::random::Seed;
use scaletwin_core::record::{RunRecord, Study, Summary};
use scaletwin_core::units::{Span, Time};
use scaletwin_reports::{Scaling, study, text, verdict};
use scaletwin_scenarios::capacity::Capacity;
use scaletwin_scenarios::{Request, Scenario};
use scaletwin_sim::world::run::Run;

use crate::failure::Failure;
use crate::{Answer, output, print, tell};
use drive::{Driven, Progress};
use folder::Folder;
use timing::Timer;

/// What is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = library())]
pub(crate) struct Args {
    /// A scenario file, or the name of a scenario of the library; without it, the quickstart
    scenario: Option<PathBuf>,
    /// A policy file instead of the scenario's own policy
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The seed of all luck, instead of the scenario's own
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Change the scenario, such as `traffic[0].requests=500`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Run it with so many seeds, one after the other from the seed on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    replications: u32,
    /// Threads for replications; 0: one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    jobs: usize,
    /// Write summary, timeline, decisions, a page with charts, settings and inputs there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write every request to requests.csv, too; of a run that is resumed, those that end after the snapshot
    #[arg(long, requires = "out")]
    requests: bool,
    /// Find out what a replica of each deployment can serve, and how well the replicas followed demand
    #[arg(long)]
    elasticity: bool,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Decisions that the text shows
    #[arg(long, value_name = "N", default_value_t = 20)]
    decisions: usize,
    /// End with exit code 1 if an objective is missed; in any replication, where there are several
    #[arg(long)]
    require_slo: bool,
    /// Write a snapshot of the run at this instant, such as 20m
    #[arg(long, value_name = "TIME", requires = "snapshot", value_parser = parse_span)]
    snapshot_at: Option<Span>,
    /// The file of the snapshot
    #[arg(long, value_name = "FILE", requires = "snapshot_at", conflicts_with = "replications")]
    snapshot: Option<PathBuf>,
    /// Go on from a snapshot, under its own policy or another one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "replications"])]
    resume: Option<PathBuf>,
    /// No progress and no timing on stderr
    #[arg(long, short)]
    quiet: bool,
}

/// The scenarios of the library, each with the first sentence of what it shows.
fn library() -> String {
    let line = |entry: &scaletwin_scenarios::library::Entry| {
        let about = entry.about();
        let first = about.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned();
        format!("\n  {:<16} {first}", entry.name)
    };
    let lines: String = scaletwin_scenarios::library::LIBRARY.iter().map(line).collect();
    format!("Scenarios of the library, to be run by name:{lines}")
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text, led by the verdict
    Text,
    /// The summary as JSON, or the study where there are replications
    Json,
}

fn parse_span(text: &str) -> Result<Span, String> {
    text.parse::<Span>().map_err(|error| error.to_string())
}

/// Runs a scenario.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let request =
        Request { scenario: args.scenario.clone(), policy: args.policy.clone(), changes: args.set.clone() };
    let scenario = Scenario::load(&request)?;
    if !scenario.warnings().is_empty() {
        tell(scenario.warnings());
    }
    if args.require_slo
        && scenario.settings().services.iter().all(|service| service.slo.objectives.is_empty())
    {
        let hint = "add slo: {e2e: {p95: 1s}} to a service";
        return Err(Failure::Other(format!("--require-slo, but no service has an slo\n  = hint: {hint}")));
    }
    let capacities = if args.elasticity { capacities(&scenario)? } else { Vec::new() };
    let scenario = scenario.measured_with(&capacities);
    let met = match args.replications {
        1 => one(args, &scenario)?,
        _ => several(args, &scenario)?,
    };
    if let (true, Some(out)) = (args.elasticity, &args.out) {
        folder::write_capacities(out, &json(&capacities))?;
    }
    Ok(if args.require_slo && !met { Answer::No } else { Answer::Done })
}

/// What a replica of each deployment can serve. Those for which nobody can say are named.
fn capacities(scenario: &Scenario) -> Result<Vec<Capacity>, Failure> {
    let capacities = scenario.capacities().map_err(Problems::from)?;
    for capacity in &capacities {
        if let Some(why) = &capacity.why {
            tell(&format!("no elasticity of {}: {why}", capacity.target));
        }
    }
    Ok(capacities)
}

/// One run. Whether its objectives are met.
fn one(args: &Args, scenario: &Scenario) -> Result<bool, Failure> {
    if let Some(path) = &args.snapshot {
        output::keep_apart(path, scenario.files())?;
    }
    let timer = Timer::start();
    let snapshot = args.resume.as_deref().map(read_snapshot).transpose()?;
    let seed = snapshot.as_ref().map(|snapshot| snapshot.seed).or(args.seed.map(Seed));
    let seed = seed.unwrap_or(scenario.settings().seed);
    let (mut run, from) = match &snapshot {
        Some(snapshot) => {
            let run = scenario.resume(snapshot).map_err(|error| cannot_resume(args, &error))?;
            if args.requests {
                tell(&format!(
                    "requests.csv has the requests that end after {}, the snapshot's instant",
                    snapshot.at
                ));
            }
            (run, snapshot.at)
        }
        None => {
            let run = start(scenario, seed)?;
            tell_silent(&run);
            (run, Time::ZERO)
        }
    };
    let progress = if args.quiet { Progress::none() } else { Progress::of_run(scenario.settings()) };
    let mut driven = Driven { folder: None, scaling: Scaling::showing(args.decisions), at: from };
    if let Some(out) = &args.out {
        driven.folder = Some(Folder::create(out, scenario, seed, args.requests)?);
        if args.requests {
            run.keep_requests();
        }
    }
    if let (Some(at), Some(path)) = (args.snapshot_at, &args.snapshot) {
        write_snapshot(&mut run, Time::ZERO + at, from, path)?;
    }
    driven.drive(&mut run, &progress)?;
    progress.finish();
    tell_left_out(&run);
    let record = driven.close(run)?;
    let timing = timer.stop(&[&record.summary]);
    if let Some(folder) = driven.folder.take() {
        folder.finish(&record, &driven.scaling, &timing)?;
    }
    match args.format {
        Format::Text => print(&text::run(&record, &driven.scaling))?,
        Format::Json => print(&json(&record.summary))?,
    }
    if !args.quiet {
        tell(&timing);
    }
    require(args, &record)
}

/// Why a snapshot does not go on. Without a scenario it is the quickstart that it would have to be of.
fn cannot_resume(args: &Args, error: &dyn std::error::Error) -> Failure {
    match (&args.scenario, &args.resume) {
        (None, Some(snapshot)) => Failure::Other(format!(
            "cannot resume: {error}; here it would go on with the quickstart\n  \
             = hint: name the scenario that it was taken of: scaletwin run SCENARIO --resume {}",
            snapshot.display()
        )),
        _ => Failure::of("cannot resume", error),
    }
}

/// Whether all objectives are met, where that was asked.
fn require(args: &Args, record: &RunRecord) -> Result<bool, Failure> {
    match verdict::met(record) {
        Some(met) => Ok(met),
        None if args.require_slo => {
            Err(Failure::Other("--require-slo, but no request arrived that could be judged".to_owned()))
        }
        None => Ok(true),
    }
}

/// Runs with several seeds. Whether the objectives are met in all of them.
fn several(args: &Args, scenario: &Scenario) -> Result<bool, Failure> {
    let timer = Timer::start();
    if let Some(out) = &args.out {
        folder::claim(out, scenario)?;
    }
    let first = args.seed.unwrap_or(scenario.settings().seed.0);
    let seeds: Vec<u64> = (0..u64::from(args.replications)).map(|more| first.wrapping_add(more)).collect();
    let progress = if args.quiet { Progress::none() } else { Progress::of_study(seeds.len()) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.jobs).build();
    let pool = pool.map_err(|error| Failure::of("cannot start threads", &error))?;
    let replicate = |seed: &u64| {
        let result = replication(args, scenario, *seed);
        progress.one_more();
        result
    };
    let results: Vec<Result<(Summary, bool), Failure>> =
        pool.install(|| seeds.par_iter().map(replicate).collect());
    let results: Vec<(Summary, bool)> = results.into_iter().collect::<Result<_, _>>()?;
    progress.finish();
    let met = results.iter().all(|(_, met)| *met);
    let summaries: Vec<Summary> = results.into_iter().map(|(summary, _)| summary).collect();
    let study = Study::of(&summaries);
    let timing = timer.stop(&summaries.iter().collect::<Vec<_>>());
    if let Some(out) = &args.out {
        folder::write_study(out, &json(&study), &timing)?;
    }
    match args.format {
        Format::Text => print(&study::text(&study))?,
        Format::Json => print(&json(&study))?,
    }
    if !args.quiet {
        tell(&timing);
    }
    Ok(met)
}

fn replication(args: &Args, scenario: &Scenario, seed: u64) -> Result<(Summary, bool), Failure> {
    let timer = Timer::start();
    let mut run = start(scenario, Seed(seed))?;
    // Each replication reads the same traces.
    let is_first = args.seed.unwrap_or(scenario.settings().seed.0) == seed;
    if is_first {
        tell_silent(&run);
    }
    let mut driven = Driven { folder: None, scaling: Scaling::default(), at: Time::ZERO };
    if let Some(out) = &args.out {
        let out = out.join(format!("seed-{seed}"));
        driven.folder = Some(Folder::create(&out, scenario, Seed(seed), args.requests)?);
        if args.requests {
            run.keep_requests();
        }
    }
    driven.drive(&mut run, &Progress::none())?;
    if is_first {
        tell_left_out(&run);
    }
    let record = driven.close(run)?;
    if let Some(folder) = driven.folder.take() {
        folder.finish(&record, &driven.scaling, &timer.stop(&[&record.summary]))?;
    }
    let met = require(args, &record)?;
    Ok((record.summary, met))
}

/// Says which rows of traces were left out: also with `--quiet`, because the run is without them.
fn tell_left_out(run: &Run) {
    for (stream, left_out) in run.left_out() {
        tell(&format!("traffic {stream}: left out: {left_out}"));
    }
}

/// Names the traffic of which nothing is going to arrive: also with `--quiet`, because it is most likely a mistake.
fn tell_silent(run: &Run) {
    for stream in run.silent() {
        tell(&format!(
            "warning: no request of traffic {stream} arrives: none lies within its slice, its time and the run's"
        ));
    }
}

fn start(scenario: &Scenario, seed: Seed) -> Result<Run, Failure> {
    scenario.start(seed).map_err(|error| Failure::Other(error.to_string()))
}

fn read_snapshot(path: &Path) -> Result<Snapshot, Failure> {
    let reading =
        |error: &dyn std::error::Error| Failure::of(format!("cannot read {}", path.display()), error);
    let text = std::fs::read_to_string(path).map_err(|error| reading(&error))?;
    Snapshot::from_json(&text).map_err(|error| reading(&error))
}

/// Runs up to `at`, and writes the run as it stands then.
fn write_snapshot(run: &mut Run, at: Time, from: Time, path: &Path) -> Result<(), Failure> {
    if at <= from {
        return Err(Failure::Other(format!("--snapshot-at {at} is not after {from}, where the run begins")));
    }
    if drive::run_until(run, at)? {
        return Err(Failure::Other(format!("--snapshot-at {at}: the run was over at {}", run.now())));
    }
    let snapshot = run.snapshot(at).and_then(|snapshot| snapshot.to_json());
    let snapshot = snapshot.map_err(|error| Failure::of("cannot take the snapshot", &error))?;
    output::write(path, &snapshot)
}

fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("records are plain data");
    text + "\n"
}

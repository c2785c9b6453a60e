//! The command line of scaletwin. Data goes to stdout, progress and timing to stderr.
//!
//! Exit codes: 0 done; 1 the answer is no, where a yes/no question was asked; 2 could not run.

mod command;
mod failure;
mod output;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;

/// Rehearse how AI inference should scale.
///
/// Replays request traffic through modelled GPU and CPU capacity, scaled by the real autoscalers' own decisions, and says
/// what would have become of latency, SLO and cost.
#[derive(Debug, Parser)]
#[command(
    name = "scaletwin",
    version,
    after_help = "`scaletwin run` without a scenario runs the quickstart."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario and show what came of it
    Run(command::run::Args),
    /// Write a starting scenario from manifests or a dump of a cluster
    Init(command::init::Args),
    /// Print the JSON Schema of an input file
    Schema(command::schema::Args),
    /// List the policies, or the keys of one
    Policies(command::policies::Args),
    /// Look at traces, convert them, fit traffic to them, fetch them
    Trace(command::trace::Args),
    /// Print a shell's completions
    Completions(command::completions::Args),
}

/// What a command that could run has to say.
pub(crate) enum Answer {
    /// It did its work, or the answer is yes.
    Done,
    /// The answer is no.
    No,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout with 0, mistakes to stderr with 2.
            let code = if error.use_stderr() { 2 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(2) };
        }
    };
    let answer = match cli.command {
        Command::Run(args) => command::run::run(&args),
        Command::Init(args) => command::init::run(&args),
        Command::Schema(args) => command::schema::run(&args),
        Command::Policies(args) => command::policies::run(&args),
        Command::Trace(args) => command::trace::run(&args),
        Command::Completions(args) => command::completions::run(&args),
    };
    match answer {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(failure) => {
            tell(&failure);
            ExitCode::from(2)
        }
    }
}

/// Writes a message to stderr. If nobody takes it, nobody wants it.
pub(crate) fn tell(message: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
}

/// Writes data to stdout. A reader that has seen enough and goes away is no mistake.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::of("cannot write to stdout", &error))
        }
        _ => Ok(()),
    }
}

/// The declaration of the command line, for completions.
pub(crate) fn declaration() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

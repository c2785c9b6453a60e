//! `scaletwin trace`: what a trace is like, other formats of it, and traffic that is like it.

mod anonymise;
mod convert;
mod generate;
mod import;
mod inspect;
mod source;

use clap::Subcommand;

use crate::Answer;
use crate::failure::Failure;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a trace is like: rate, bursts, lengths, the cycle of a day
    Inspect(inspect::Args),
    /// Write a trace in our own CSV or JSON lines
    Convert(convert::Args),
    /// Fit an arrival process and lengths to a trace: as a stream of a scenario, or as a synthetic trace
    Generate(generate::Args),
    /// Write a trace with nothing but times, lengths, and salted hashes of what prompts share
    Anonymise(anonymise::Args),
    /// Fetch traffic from a system that has recorded it
    Import(import::Args),
}

/// Does what is asked for.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    match &args.command {
        Command::Inspect(args) => inspect::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Anonymise(args) => anonymise::run(args),
        Command::Import(args) => import::run(args),
    }
}

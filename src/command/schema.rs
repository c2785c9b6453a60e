//! `scaletwin schema`.

use clap::ValueEnum;

use crate::failure::Failure;
use crate::{Answer, print};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of which file
    file: File,
}

/// The files that people write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// A scenario
    Scenario,
    /// A policy file, for --policy
    Policy,
}

/// Prints a JSON Schema, for editors that complete and check YAML by it.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let schema = match args.file {
        File::Scenario => scaletwin_scenarios::schema(),
        File::Policy => scaletwin_scenarios::policy_schema(),
    };
    print(&format!("{schema:#}\n"))?;
    Ok(Answer::Done)
}

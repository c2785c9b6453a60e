//! `scaletwin completions`.

use clap_complete::Shell;

use crate::failure::Failure;
use crate::{Answer, declaration, print};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the completions of a shell.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut declaration(), "scaletwin", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Answer::Done)
}

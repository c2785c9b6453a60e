//! Why a command could not do its work.

use std::fmt;
use std::path::Path;

use scaletwin_core::input::Problems;

/// Why a command could not do its work. It ends with exit code 2.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input is wrong.
    Input(Problems),
    /// Something else, with what it was about.
    Other(String),
}

impl Failure {
    /// What went wrong, with all that lies beneath.
    pub(crate) fn of(what: impl fmt::Display, error: &dyn std::error::Error) -> Failure {
        let mut text = format!("{what}: {error}");
        let mut beneath = error.source();
        while let Some(error) = beneath {
            let detail = error.to_string();
            if !text.ends_with(&detail) {
                text.push_str(": ");
                text.push_str(&detail);
            }
            beneath = error.source();
        }
        Failure::Other(text)
    }

    /// A file that cannot be written.
    pub(crate) fn writing(path: &Path, error: &dyn std::error::Error) -> Failure {
        Failure::of(format!("cannot write {}", path.display()), error)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        Failure::Input(problems)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Input(problems) => problems.fmt(f),
            Failure::Other(text) => f.write_str(text),
        }
    }
}

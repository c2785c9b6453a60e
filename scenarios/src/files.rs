//! Texts from files, with limits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scaletwin_core::input::Problem;

use crate::library;

/// The longest scenario, policy or manifest, bytes.
const LONGEST: u64 = 16 << 20;

/// A text that a scenario was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The name of its file, or of the scenario in the library.
    pub name: String,
    /// Where it was read from, if from a file.
    pub path: Option<PathBuf>,
    /// The text.
    pub text: String,
}

/// Reads texts, and keeps them: they are what a run can be repeated from.
#[derive(Debug, Default)]
pub(crate) struct Files {
    inputs: RefCell<Vec<Input>>,
    of_library: Cell<bool>,
    /// Texts that are known beforehand, by path: they are not read from disk.
    known: Arc<BTreeMap<PathBuf, String>>,
}

impl Files {
    /// Files of which these need not be on disk.
    pub(crate) fn knowing(known: Arc<BTreeMap<PathBuf, String>>) -> Files {
        Files { known, ..Files::default() }
    }

    /// Lets the manifests of the library be found where its scenarios name them.
    pub(crate) fn serve_library(&self) {
        self.of_library.set(true);
    }

    /// The text of a file.
    ///
    /// # Errors
    /// When it cannot be read, is no text, or is longer than 16 MiB.
    pub(crate) fn read(&self, path: &Path) -> Result<String, Problem> {
        if let Some(entry) = library::manifest(path).filter(|_| self.of_library.get()) {
            let name = entry.name.rsplit('/').next().unwrap_or(entry.name);
            self.keep(name.to_owned(), entry.text);
            return Ok(entry.text.to_owned());
        }
        if let Some(text) = self.known.get(path) {
            self.keep(path.display().to_string(), text);
            return Ok(text.clone());
        }
        let unreadable =
            |why: String| Problem::without_place(format!("cannot read {}: {why}", path.display()));
        let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let mut text = String::new();
        let limited = file.take(LONGEST + 1).read_to_string(&mut text);
        limited.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => unreadable("it is no text in UTF-8".to_owned()),
            _ => unreadable(error.to_string()),
        })?;
        if text.len() as u64 > LONGEST {
            return Err(unreadable("it is longer than 16 MiB".to_owned()));
        }
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into());
        self.inputs.borrow_mut().push(Input { name, path: Some(path.to_owned()), text: text.clone() });
        Ok(text)
    }

    /// Keeps a text that is no file.
    pub(crate) fn keep(&self, name: String, text: &str) {
        self.inputs.borrow_mut().push(Input { name, path: None, text: text.to_owned() });
    }

    /// All texts, in the order in which they were read.
    pub(crate) fn into_inputs(self) -> Vec<Input> {
        self.inputs.into_inner()
    }
}

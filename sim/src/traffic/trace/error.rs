//! Why a trace cannot be read, with its place.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a trace cannot be read, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1, if there is a place.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub message: String,
    /// The beginning of the line, if there is one.
    pub excerpt: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl TraceError {
    pub(super) fn file(path: &Path, message: impl Into<String>) -> TraceError {
        TraceError {
            path: path.into(),
            place: None,
            message: message.into(),
            excerpt: String::new(),
            hint: None,
        }
    }

    pub(super) fn at(
        path: &Path,
        line: u64,
        column: u64,
        message: impl Into<String>,
        text: &[u8],
    ) -> TraceError {
        let shown: String = String::from_utf8_lossy(&text[..text.len().min(480)]).chars().take(120).collect();
        let excerpt = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        TraceError {
            path: path.into(),
            place: Some((line, column)),
            message: message.into(),
            excerpt,
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> TraceError {
        self.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }

    /// The file, the place and what is wrong, in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let place = self.place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        format!("{}{place}: {}", self.path.display(), self.message)
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some((line, _)) = self.place.filter(|_| !self.excerpt.is_empty()) {
            write!(f, "\n{line:>5} | {}", self.excerpt)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n      = hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TraceError {}

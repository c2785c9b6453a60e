//! Trace files, read as they are replayed: memory does not grow with their length. Compressed ones (gzip) are read as
//! they are.

mod lines;
mod rows;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use scaletwin_core::units::{Civil, Span};

use crate::serving::continuous::content::Run;
pub use lines::LONGEST_LINE;
use rows::Rows;

scaletwin_core::names! {
    /// The format of a trace file.
    pub enum TraceFormat {
        /// Azure LLM inference traces 2023/2024: CSV with TIMESTAMP, ContextTokens, GeneratedTokens.
        AzureLlm = "azure-llm",
        /// Mooncake: JSON lines with timestamp (ms), input_length, output_length, hash_ids (prefix blocks of 512 tokens).
        Mooncake = "mooncake",
        /// Vidur: CSV with arrived_at (s), num_prefill_tokens, num_decode_tokens.
        Vidur = "vidur",
        /// Our own CSV: arrival_seconds, and as needed prompt_tokens, output_tokens, service_seconds, priority,
        /// prefix_group, prefix_tokens.
        Csv = "csv",
        /// The same keys as JSON lines.
        Jsonl = "jsonl",
    }
}

/// One row of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When it arrives.
    pub at: RowTime,
    /// Tokens of its prompt, at least 1.
    pub prompt_tokens: u32,
    /// Tokens of its answer, at least 1.
    pub output_tokens: u32,
    /// Its priority, if the trace has one.
    pub priority: Option<i32>,
    /// Its service time, if the trace has one.
    pub service: Option<Span>,
    /// What its prompt shares with others.
    pub prefix: Option<Box<[Run]>>,
    /// The line it stands in, from 1.
    pub line: u64,
}

/// When a row arrives: traces count from their start or name civil instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowTime {
    /// After the start of the trace.
    Offset(Span),
    /// A civil instant.
    Civil(Civil),
}

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
    fn file(path: &Path, message: impl Into<String>) -> TraceError {
        TraceError {
            path: path.into(),
            place: None,
            message: message.into(),
            excerpt: String::new(),
            hint: None,
        }
    }

    fn at(path: &Path, line: u64, column: u64, message: impl Into<String>, text: &[u8]) -> TraceError {
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

    fn hint(mut self, hint: impl Into<String>) -> TraceError {
        self.hint = Some(hint.into());
        self
    }
}

impl TraceError {
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

/// A reader of a trace file: rows in the order of time.
pub struct TraceReader {
    path: PathBuf,
    rows: Rows<Box<dyn BufRead + Send>>,
    last: Option<(RowTime, u64)>,
}

impl fmt::Debug for TraceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TraceReader {
    /// Opens a trace. With `prefixes` off, what prompts share is passed over, which is faster.
    ///
    /// # Errors
    /// When the file cannot be opened, or its first line is not that of its format.
    pub fn open(path: &Path, format: TraceFormat, prefixes: bool) -> Result<TraceReader, TraceError> {
        let unreadable = |error: std::io::Error| {
            let error = TraceError::file(path, format!("cannot be read: {error}"));
            error.hint("paths are relative to the scenario's folder")
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut magic = [0; 2];
        let length = file.read(&mut magic).map_err(unreadable)?;
        let file = File::open(path).map_err(unreadable)?;
        let input: Box<dyn BufRead + Send> = if magic[..length] == [0x1f, 0x8b] {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        TraceReader::new(path, input, format, prefixes)
    }

    /// Reads a trace from anything; `path` is its name in messages.
    ///
    /// # Errors
    /// When its first line is not that of its format.
    pub fn new(
        path: &Path,
        input: Box<dyn BufRead + Send>,
        format: TraceFormat,
        prefixes: bool,
    ) -> Result<TraceReader, TraceError> {
        Ok(TraceReader { path: path.into(), rows: Rows::new(path, input, format, prefixes)?, last: None })
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// When a row is wrong, or arrives before the one before it.
    pub fn next_row(&mut self) -> Result<Option<Row>, TraceError> {
        let row = self.rows.next_row(&self.path)?;
        match (&row, self.last) {
            (None, None) => {
                return Err(TraceError::file(&self.path, "the trace is empty: it has no request"));
            }
            (Some(row), Some((last, line))) if row.at < last => {
                let message = format!("this request arrives before the one in line {line}");
                let error = TraceError::at(&self.path, row.line, 1, message, self.rows.text());
                return Err(error.hint("sort the trace by arrival"));
            }
            _ => {}
        }
        if let Some(row) = &row {
            self.last = Some((row.at, row.line));
        }
        Ok(row)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;

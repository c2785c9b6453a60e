//! Trace files, read as they are replayed: memory does not grow with their length. Compressed ones (gzip) are read as
//! they are.
//!
//! | module | what it holds |
//! |---|---|
//! | `format` | the formats, and how one is read |
//! | `table`, `json_lines` | formats with one request a line |
//! | `lines`, `record`, `plain` | lines of bounded length, the fields of one, and plain numbers |
//! | `log` | access logs |
//! | `counts` | formats with numbers of requests: arrivals are drawn |
//! | `clients` | ServeGen's clients: arrivals are drawn |
//! | `documents`, `spans` | JSON documents: Prometheus, vLLM's benchmark, OpenTelemetry |
//! | `order` | what is written at the end of requests, by arrival |
//! | `write` | our own formats, written |

mod clients;
mod counts;
mod documents;
mod error;
mod format;
mod json_lines;
mod lines;
mod log;
mod order;
mod plain;
mod readers;
mod record;
mod rows;
mod spans;
mod table;
mod write;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use scaletwin_core::units::{Civil, Span};

use crate::serving::continuous::content::Run;
pub use documents::{bucket_quantiles, cdf};
pub use error::TraceError;
pub use format::{FORMATS, Lengths, LogFields, Reading, TimeUnit, TraceFormat};
pub use lines::LONGEST_LINE;
use order::Order;
use rows::{Found, Rows};
pub use write::{WriteError, Writer};

/// What a trace is read from.
type Input = Box<dyn BufRead + Send>;

/// One row of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When it arrives.
    pub at: RowTime,
    /// Tokens of its prompt, at least 1, if the trace has them.
    pub prompt_tokens: Option<u32>,
    /// Tokens of its answer, at least 1, if the trace has them.
    pub output_tokens: Option<u32>,
    /// Its priority, if the trace has one.
    pub priority: Option<i32>,
    /// Its service time, if the trace has one.
    pub service: Option<Span>,
    /// What its prompt shares with others.
    pub prefix: Option<Box<[Run]>>,
    /// The line it stands in, from 1.
    pub line: u64,
}

impl Row {
    /// A request at `at` of which nothing else is known.
    fn bare(at: RowTime) -> Row {
        Row {
            at,
            prompt_tokens: None,
            output_tokens: None,
            priority: None,
            service: None,
            prefix: None,
            line: 0,
        }
    }
}

/// When a row arrives: traces count from their start or name civil instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowTime {
    /// After the start of the trace.
    Offset(Span),
    /// A civil instant.
    Civil(Civil),
}

impl RowTime {
    /// So much later; `None` beyond what can be represented.
    fn plus(self, span: Span) -> Option<RowTime> {
        match self {
            RowTime::Offset(at) => at
                .as_nanos()
                .checked_add(span.as_nanos())
                .map(|nanos| RowTime::Offset(Span::from_nanos(nanos))),
            RowTime::Civil(at) => {
                let nanos = at.as_unix_nanos().checked_add(i64::try_from(span.as_nanos()).ok()?)?;
                Some(RowTime::Civil(Civil::from_unix_nanos(nanos)))
            }
        }
    }

    /// So much earlier; `None` before the start.
    fn minus(self, span: Span) -> Option<RowTime> {
        match self {
            RowTime::Offset(at) => at
                .as_nanos()
                .checked_sub(span.as_nanos())
                .map(|nanos| RowTime::Offset(Span::from_nanos(nanos))),
            RowTime::Civil(at) => {
                let nanos = at.as_unix_nanos().checked_sub(i64::try_from(span.as_nanos()).ok()?)?;
                Some(RowTime::Civil(Civil::from_unix_nanos(nanos)))
            }
        }
    }
}

/// What of a trace was left out, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Lines that cannot be used, with `skip_bad`.
    pub bad: u64,
    /// Requests that failed, so that the trace does not say how long their answers would have been.
    pub failed: u64,
    /// What is no request of a model, such as spans of tools.
    pub foreign: u64,
}

impl LeftOut {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == LeftOut::default()
    }
}

impl std::ops::AddAssign for LeftOut {
    fn add_assign(&mut self, other: LeftOut) {
        self.bad += other.bad;
        self.failed += other.failed;
        self.foreign += other.foreign;
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.bad, "that cannot be used"),
            (self.failed, "of failed requests without an answer"),
            (self.foreign, "that are no requests"),
        ];
        let parts: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {} {what}", if *count == 1 { "row" } else { "rows" }))
            .collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// A reader of a trace file: rows in the order of time.
pub struct TraceReader {
    path: PathBuf,
    rows: Box<dyn Rows>,
    order: Option<Order>,
    skip_bad: bool,
    /// Whether there need be no request: numbers that are made smaller may all become 0.
    may_be_empty: bool,
    /// What has been left out as far as rows have been read.
    left_out_ahead: LeftOut,
    /// The row read last.
    last: Option<(RowTime, u64)>,
    /// The rows that were read and not given out yet, with what had been left out before them.
    ahead: VecDeque<(Row, LeftOut)>,
    /// Why there are no more rows to be read: the end or a fault, after which the rest can be read.
    after: Option<Result<(), TraceError>>,
    /// What has been left out as far as rows have been given out.
    left_out: LeftOut,
    progress: (Arc<AtomicU64>, u64),
}

/// Rows read at a time: reading has the instruction cache to itself then.
const AT_A_TIME: usize = 32;

impl fmt::Debug for TraceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TraceReader {
    /// Opens a trace.
    ///
    /// # Errors
    /// When the file cannot be opened, or its beginning is not that of its format.
    pub fn open(path: &Path, reading: &Reading) -> Result<TraceReader, TraceError> {
        let read = Arc::new(AtomicU64::new(0));
        let (input, length) = input_of(path, &read)?;
        let mut reader = TraceReader::new(path, input, reading)?;
        reader.progress = (read, length);
        Ok(reader)
    }

    /// Reads a trace from anything; `path` is its name in messages.
    ///
    /// # Errors
    /// When its beginning is not that of its format.
    pub fn new(path: &Path, input: Input, reading: &Reading) -> Result<TraceReader, TraceError> {
        Ok(TraceReader {
            path: path.into(),
            rows: readers::of(input, reading).map_err(|fault| fault.error(path))?,
            order: reading.format.is_unordered().then(Order::default),
            skip_bad: reading.skip_bad,
            may_be_empty: reading.scale < 1.0,
            left_out_ahead: LeftOut::default(),
            last: None,
            ahead: VecDeque::with_capacity(AT_A_TIME),
            after: None,
            left_out: LeftOut::default(),
            progress: (Arc::default(), 0),
        })
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// When a row is wrong, or arrives before the one before it, and such rows are not to be left out; when there is no
    /// row at all.
    pub fn next_row(&mut self) -> Result<Option<Row>, TraceError> {
        if self.ahead.is_empty() && self.after.is_none() {
            self.read_ahead();
        }
        if let Some((row, left_out)) = self.ahead.pop_front() {
            self.left_out = left_out;
            return Ok(Some(row));
        }
        self.left_out = self.left_out_ahead;
        self.after.take().unwrap_or(Ok(())).map(|()| None)
    }

    /// Reads some rows, up to the end or a fault.
    #[inline(never)]
    fn read_ahead(&mut self) {
        while self.ahead.len() < AT_A_TIME && self.after.is_none() {
            match self.read_row() {
                Ok(Some(row)) => self.ahead.push_back((row, self.left_out_ahead)),
                Ok(None) => self.after = Some(Ok(())),
                Err(error) => self.after = Some(Err(error)),
            }
        }
    }

    fn read_row(&mut self) -> Result<Option<Row>, TraceError> {
        loop {
            let row = self.next_by_arrival()?;
            match (&row, self.last) {
                (None, None) if !self.may_be_empty => return Err(self.empty()),
                (Some(row), Some((last, line))) if row.at < last => {
                    if self.skip_bad {
                        self.left_out_ahead.bad += 1;
                        continue;
                    }
                    return Err(self.out_of_order(row.line, line));
                }
                _ => {}
            }
            if let Some(row) = &row {
                self.last = Some((row.at, row.line));
            }
            return Ok(row);
        }
    }

    /// The next row by arrival, as far as that can be put right.
    fn next_by_arrival(&mut self) -> Result<Option<Row>, TraceError> {
        while self.order.as_ref().is_some_and(Order::wants_more) {
            let row = self.next_usable()?;
            if let Some(order) = &mut self.order {
                order.put(row);
            }
        }
        match &mut self.order {
            Some(order) => Ok(order.take()),
            None => self.next_usable(),
        }
    }

    /// The next row of the file that is a request and can be used.
    fn next_usable(&mut self) -> Result<Option<Row>, TraceError> {
        loop {
            match self.rows.next() {
                Ok(None) => return Ok(None),
                Ok(Some(Found::Row(row))) => return Ok(Some(row)),
                Ok(Some(Found::Failed)) => self.left_out_ahead.failed += 1,
                Ok(Some(Found::Foreign)) => self.left_out_ahead.foreign += 1,
                Err(fault) if self.skip_bad && !fault.is_final() => self.left_out_ahead.bad += 1,
                Err(fault) => return Err(fault.error(&self.path)),
            }
        }
    }

    fn empty(&self) -> TraceError {
        let mut message = "the trace is empty: it has no request".to_owned();
        if !self.left_out_ahead.is_nothing() {
            message = format!("the trace has no request: left out were {}", self.left_out_ahead);
        }
        TraceError::file(&self.path, message)
    }

    fn out_of_order(&self, line: u64, last: u64) -> TraceError {
        let message = format!("this request arrives before the one in line {last}");
        let error = TraceError::at(&self.path, line, 1, message, &self.rows.text());
        error.hint("sort the trace by arrival")
    }

    /// When the time begins that the trace is about: that of its first request, or of the first step of a trace of rates.
    ///
    /// # Errors
    /// As those of [`TraceReader::next_row`], which it stands for.
    pub fn begins(&mut self) -> Result<Option<RowTime>, TraceError> {
        let first = self.next_row()?.map(|row| row.at);
        Ok(self.rows.begins().or(first))
    }

    /// What has been left out before the row that was given out last.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// How many bytes of the file have been read, and how many there are.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.progress.0.load(Ordering::Relaxed), self.progress.1)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The text of a file, whether compressed or not, and the length of the file in bytes.
fn input_of(path: &Path, read: &Arc<AtomicU64>) -> Result<(Input, u64), TraceError> {
    let unreadable = |error: io::Error| TraceError::file(path, format!("cannot be read: {error}"));
    let mut file = File::open(path).map_err(unreadable)?;
    let mut magic = [0; 2];
    let begins = file.read(&mut magic).map_err(unreadable)?;
    if matches!(magic, [0xff, 0xfe] | [0xfe, 0xff]) {
        return Err(TraceError::file(path, "the file is UTF-16").hint("save it as UTF-8"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let file = Counted { file, read: Arc::clone(read) };
    let input: Input = if magic[..begins] == [0x1f, 0x8b] {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::with_capacity(1 << 16, file))
    };
    Ok((input, length))
}

/// Counts what is read, for those who show progress.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;

//! Rows, what can be wrong with them, and how fields become values.

use std::path::Path;

use scaletwin_core::units::{Civil, Span};

use super::{Row, RowTime, TraceError, plain};

/// Where rows come from.
pub(super) trait Rows: Send {
    /// What comes next; `None` after the last. After a fault that is not final, what follows can be read.
    fn next(&mut self) -> Result<Option<Found>, Fault>;

    /// When the time begins that the file is about, if that is before its first row.
    fn begins(&self) -> Option<RowTime> {
        None
    }

    /// The text of the present row.
    fn text(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// What stands in a trace.
#[derive(Debug)]
pub(super) enum Found {
    /// A request.
    Row(Row),
    /// A request that failed, so that nobody knows its answer.
    Failed,
    /// Something that is no request.
    Foreign,
}

/// Why the next row cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// Line and column, from 1, if there is a place.
    place: Option<(u64, u64)>,
    message: String,
    text: Vec<u8>,
    hint: Option<String>,
    /// Whether nothing after it can be read.
    last: bool,
}

impl Fault {
    /// Something wrong with the whole file.
    pub(super) fn file(message: impl Into<String>) -> Fault {
        Fault { place: None, message: message.into(), text: Vec::new(), hint: None, last: true }
    }

    /// Something wrong at a place, after which nothing can be read.
    pub(super) fn ends(line: u64, column: u64, message: impl Into<String>, text: &[u8]) -> Fault {
        Fault { place: Some((line, column)), last: true, text: text.to_owned(), ..Fault::file(message) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }

    /// The same fault, after which the rest can be read.
    pub(super) fn one_only(mut self) -> Fault {
        self.last = false;
        self
    }

    pub(super) fn is_final(&self) -> bool {
        self.last
    }

    pub(super) fn error(self, path: &Path) -> TraceError {
        let error = match self.place {
            Some((line, column)) => TraceError::at(path, line, column, self.message, &self.text),
            None => TraceError::file(path, self.message),
        };
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What is wrong in a line, and in which column.
#[derive(Debug)]
pub(super) struct Wrong {
    pub column: u64,
    pub message: String,
}

impl Wrong {
    /// The fault of line `line` with this text.
    pub(super) fn in_line(self, line: u64, text: &[u8]) -> Fault {
        Fault::ends(line, self.column, self.message, text).one_only()
    }
}

pub(super) fn wrong<T>(column: usize, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { column: column as u64 + 1, message: message.into() })
}

pub(super) fn text(field: &[u8], offset: usize) -> Result<&str, Wrong> {
    std::str::from_utf8(field).or_else(|_| wrong(offset, "the field is no text"))
}

pub(super) fn civil(text: &str, offset: usize) -> Result<Civil, Wrong> {
    text.parse().or_else(|error| wrong(offset, format!("the timestamp {:?} {error}", shown(text))))
}

/// The beginning of a text, for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

pub(super) fn number<T: std::str::FromStr>(field: &[u8], offset: usize, expected: &str) -> Result<T, Wrong> {
    let text = text(field, offset)?;
    text.parse().or_else(|_| wrong(offset, format!("expected {expected}, found {:?}", shown(text))))
}

/// A number of tokens, 0 included.
pub(super) fn any_tokens(field: &[u8], offset: usize) -> Result<u32, Wrong> {
    match plain::all(field, plain::take_number) {
        Some(count) => Ok(count),
        None => number(field, offset, "a number of tokens"),
    }
}

pub(super) fn tokens(field: &[u8], offset: usize) -> Result<u32, Wrong> {
    at_least_one(any_tokens(field, offset)?, offset)
}

pub(super) fn at_least_one(tokens: u32, offset: usize) -> Result<u32, Wrong> {
    match tokens {
        0 => wrong(offset, "a request has at least 1 token of each kind, found 0"),
        tokens => Ok(tokens),
    }
}

pub(super) fn seconds(field: &[u8], offset: usize) -> Result<Span, Wrong> {
    match plain::all(field, plain::take_seconds) {
        Some(span) => Ok(span),
        None => to_span(number(field, offset, "a number of seconds")?, offset),
    }
}

pub(super) fn to_span(secs: f64, offset: usize) -> Result<Span, Wrong> {
    match Span::from_written_secs(secs) {
        Ok(span) if span > Span::CENTURY => wrong(offset, format!("{secs} s is over a hundred years")),
        other => other.or_else(|error| wrong(offset, format!("{secs} s {error}"))),
    }
}

/// Nanoseconds since 1970 as a civil instant.
pub(super) fn since_1970(nanos: f64, offset: usize) -> Result<Civil, Wrong> {
    if !(-9.2e18..9.2e18).contains(&nanos) {
        return wrong(
            offset,
            format!("the instant {} s after 1970 is outside years 1678 to 2262", nanos / 1e9),
        );
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    Ok(Civil::from_unix_nanos(nanos.round() as i64))
}

/// Counts whole microseconds as a span.
pub(super) fn micros(count: u64, offset: usize) -> Result<Span, Wrong> {
    match count.checked_mul(1_000).map(Span::from_nanos) {
        Some(span) if span <= Span::CENTURY => Ok(span),
        _ => wrong(offset, format!("{count} us is over a hundred years")),
    }
}

//! From lines to rows, by format.

use std::io::BufRead;
use std::path::Path;

use csv::ByteRecord;
use scaletwin_core::input::suggestion;
use scaletwin_core::units::{Civil, Span};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::lines::{Bounded, LineError, Lines, too_long};
use super::{Row, RowTime, TraceError, TraceFormat};
use crate::serving::continuous::content::Run;

/// Tokens in a prefix block of a Mooncake trace.
const MOONCAKE_BLOCK: u32 = 512;

/// Rows of a trace in a format.
pub(super) enum Rows<R> {
    /// CSV, with the meaning of each column.
    Csv { reader: csv::Reader<Bounded<R>>, record: ByteRecord, columns: Vec<Column>, text: Vec<u8> },
    /// JSON lines.
    Json { lines: Lines<R>, kind: Json },
}

/// Whose JSON lines, and whether their prefixes are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Json {
    Mooncake { prefixes: bool },
    Own { prefixes: bool },
}

/// What a column of a CSV file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Timestamp,
    Seconds,
    PromptTokens,
    OutputTokens,
    ServiceSeconds,
    Priority,
    PrefixGroup,
    PrefixTokens,
    /// A column of a foreign format that has no effect here.
    Other,
}

/// The columns of a format by their names, and whether others are taken.
fn columns(format: TraceFormat) -> (&'static [(&'static str, Column)], bool) {
    match format {
        TraceFormat::AzureLlm => (
            &[
                ("TIMESTAMP", Column::Timestamp),
                ("ContextTokens", Column::PromptTokens),
                ("GeneratedTokens", Column::OutputTokens),
            ],
            true,
        ),
        TraceFormat::Vidur => (
            &[
                ("arrived_at", Column::Seconds),
                ("num_prefill_tokens", Column::PromptTokens),
                ("num_decode_tokens", Column::OutputTokens),
            ],
            true,
        ),
        _ => (
            &[
                ("arrival_seconds", Column::Seconds),
                ("prompt_tokens", Column::PromptTokens),
                ("output_tokens", Column::OutputTokens),
                ("service_seconds", Column::ServiceSeconds),
                ("priority", Column::Priority),
                ("prefix_group", Column::PrefixGroup),
                ("prefix_tokens", Column::PrefixTokens),
            ],
            false,
        ),
    }
}

impl<R: BufRead> Rows<R> {
    pub(super) fn new(
        path: &Path,
        input: R,
        format: TraceFormat,
        prefixes: bool,
    ) -> Result<Rows<R>, TraceError> {
        match format {
            TraceFormat::Mooncake => {
                Ok(Rows::Json { lines: Lines::new(input), kind: Json::Mooncake { prefixes } })
            }
            TraceFormat::Jsonl => Ok(Rows::Json { lines: Lines::new(input), kind: Json::Own { prefixes } }),
            TraceFormat::AzureLlm | TraceFormat::Vidur | TraceFormat::Csv => Rows::csv(path, input, format),
        }
    }

    fn csv(path: &Path, input: R, format: TraceFormat) -> Result<Rows<R>, TraceError> {
        // With lines ended by \n alone, a final \r is trimmed like a space, and lines are counted rightly. Fields are
        // trimmed as they are looked at, which is cheaper than a trimmed copy of each line.
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .trim(csv::Trim::Headers)
            .from_reader(Bounded::new(input));
        let header = reader.byte_headers().map_err(|error| csv_error(path, &error))?.clone();
        if header.is_empty() {
            return Err(TraceError::file(path, "the trace is empty: it has no header line"));
        }
        let columns = read_header(path, &header, format)?;
        Ok(Rows::Csv { reader, record: ByteRecord::new(), columns, text: Vec::new() })
    }

    /// The text of the present row.
    pub(super) fn text(&self) -> &[u8] {
        match self {
            Rows::Csv { text, .. } => text,
            Rows::Json { lines, .. } => lines.line(),
        }
    }

    pub(super) fn next_row(&mut self, path: &Path) -> Result<Option<Row>, TraceError> {
        match self {
            Rows::Csv { reader, record, columns, text } => {
                loop {
                    if !reader.read_byte_record(record).map_err(|error| csv_error(path, &error))? {
                        return Ok(None);
                    }
                    let blank = record.len() == 1 && record[0].trim_ascii().is_empty();
                    if !blank {
                        break;
                    }
                }
                let line = record.position().map_or(0, csv::Position::line);
                csv_row(record, columns).map(|row| Some(Row { line, ..row })).map_err(|wrong| {
                    *text = joined(record);
                    TraceError::at(path, line, wrong.column, wrong.message, text)
                })
            }
            Rows::Json { lines, kind } => {
                if !lines.advance().map_err(|error| line_error(path, lines.number(), &error))? {
                    return Ok(None);
                }
                let (text, line) = (lines.line(), lines.number());
                let row = match kind {
                    Json::Mooncake { prefixes: true } => mooncake_row::<Vec<u64>>(text),
                    Json::Mooncake { prefixes: false } => mooncake_row::<IgnoredAny>(text),
                    Json::Own { prefixes } => own_row(text, *prefixes),
                };
                row.map(|row| Some(Row { line, ..row }))
                    .map_err(|wrong| TraceError::at(path, line, wrong.column, wrong.message, text))
            }
        }
    }
}

/// The fields of a record as they stood in their line, quotes aside.
fn joined(record: &ByteRecord) -> Vec<u8> {
    record.iter().collect::<Vec<_>>().join(&b',').trim_ascii_end().to_owned()
}

fn csv_error(path: &Path, error: &csv::Error) -> TraceError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Io(error) => line_error(path, line, &LineError::of(error)),
        other => TraceError::at(path, line, 1, format!("{other:?}"), b""),
    }
}

fn line_error(path: &Path, line: u64, error: &LineError) -> TraceError {
    let message = match error {
        LineError::TooLong => too_long(),
        LineError::Truncated => "the compressed file ends too early: it is truncated".to_owned(),
        LineError::Input(error) => format!("cannot be read: {error}"),
    };
    TraceError::at(path, line, 1, message, b"")
}

/// What is wrong in a line, and in which column.
struct Wrong {
    column: u64,
    message: String,
}

fn wrong<T>(column: usize, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { column: column as u64 + 1, message: message.into() })
}

fn read_header(path: &Path, header: &ByteRecord, format: TraceFormat) -> Result<Vec<Column>, TraceError> {
    let (known, others) = columns(format);
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let refuse =
        |column: usize, message: String| TraceError::at(path, 1, column as u64 + 1, message, &joined(header));
    let mut found = Vec::new();
    for (offset, field) in fields(header) {
        let name = String::from_utf8_lossy(field);
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, column)) if found.contains(column) => {
                return Err(refuse(offset, format!("the column {name:?} stands twice")));
            }
            Some((_, column)) => found.push(*column),
            None if others => found.push(Column::Other),
            None => {
                let hint = suggestion(&name, &names).unwrap_or_default();
                return Err(refuse(offset, format!("unknown column {name:?}")).hint(hint));
            }
        }
    }
    let needed = if others { known } else { &known[..1] };
    if let Some((name, _)) = needed.iter().find(|(_, column)| !found.contains(column)) {
        let hint = format!("a {} trace has {}", format.name(), names.join(", "));
        return Err(refuse(0, format!("the column {name:?} is missing")).hint(hint));
    }
    if found.contains(&Column::PrefixGroup) != found.contains(&Column::PrefixTokens) {
        return Err(refuse(0, "prefix_group and prefix_tokens go together".to_owned()));
    }
    Ok(found)
}

/// The fields of a record with their offsets in the line.
fn fields(record: &ByteRecord) -> impl Iterator<Item = (usize, &[u8])> {
    let mut offset = 0;
    record.iter().map(move |field| {
        let trimmed = field.trim_ascii_start();
        let start = offset + field.len() - trimmed.len();
        offset += field.len() + 1;
        (start, trimmed.trim_ascii_end())
    })
}

fn csv_row(record: &ByteRecord, columns: &[Column]) -> Result<Row, Wrong> {
    let mut row = Row {
        at: RowTime::Offset(Span::ZERO),
        prompt_tokens: 1,
        output_tokens: 1,
        priority: None,
        service: None,
        prefix: None,
        line: 0,
    };
    if record.len() != columns.len() {
        return wrong(0, format!("the line has {} fields, the header {}", record.len(), columns.len()));
    }
    let (mut group, mut shared) = (None, 0);
    for ((offset, field), column) in fields(record).zip(columns) {
        match column {
            Column::Timestamp => row.at = RowTime::Civil(civil(field, offset)?),
            Column::Seconds => row.at = RowTime::Offset(seconds(field, offset)?),
            Column::PromptTokens => row.prompt_tokens = tokens(field, offset)?,
            Column::OutputTokens => row.output_tokens = tokens(field, offset)?,
            Column::Other => {}
            _ if field.is_empty() => {}
            Column::ServiceSeconds => row.service = Some(seconds(field, offset)?),
            Column::Priority => row.priority = Some(number(field, offset, "a whole number")?),
            Column::PrefixGroup => group = Some(number(field, offset, "a whole number")?),
            Column::PrefixTokens => shared = number(field, offset, "a number of tokens")?,
        }
    }
    if let Some(group) = group.filter(|_| shared > 0) {
        if shared > row.prompt_tokens {
            return wrong(
                0,
                format!("prefix_tokens ({shared}) is above prompt_tokens ({})", row.prompt_tokens),
            );
        }
        row.prefix = Some([Run { group, offset: 0, length: shared }].into());
    }
    Ok(row)
}

fn text(field: &[u8], offset: usize) -> Result<&str, Wrong> {
    std::str::from_utf8(field).or_else(|_| wrong(offset, "the field is no text"))
}

fn civil(field: &[u8], offset: usize) -> Result<Civil, Wrong> {
    let text = text(field, offset)?;
    text.parse().or_else(|error| wrong(offset, format!("the timestamp {text:?} {error}")))
}

fn number<T: std::str::FromStr>(field: &[u8], offset: usize, expected: &str) -> Result<T, Wrong> {
    let text = text(field, offset)?;
    text.parse().or_else(|_| {
        let shown: String = text.chars().take(60).collect();
        wrong(offset, format!("expected {expected}, found {shown:?}"))
    })
}

fn tokens(field: &[u8], offset: usize) -> Result<u32, Wrong> {
    match number::<u32>(field, offset, "a number of tokens")? {
        0 => wrong(offset, "a request has at least 1 token of each kind, found 0"),
        tokens => Ok(tokens),
    }
}

fn seconds(field: &[u8], offset: usize) -> Result<Span, Wrong> {
    let secs: f64 = number(field, offset, "a number of seconds")?;
    to_span(secs, offset)
}

fn to_span(secs: f64, offset: usize) -> Result<Span, Wrong> {
    match Span::from_written_secs(secs) {
        Ok(span) if span > Span::CENTURY => wrong(offset, format!("{secs} s is over a hundred years")),
        other => other.or_else(|error| wrong(offset, format!("{secs} s {error}"))),
    }
}

/// A line of a Mooncake trace. Other keys have no effect.
#[derive(Deserialize)]
struct MooncakeLine<P> {
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    #[serde(default = "Option::default")]
    hash_ids: Option<P>,
}

/// The prefix blocks of a Mooncake line, or nothing.
trait Prefix {
    fn runs(&self, prompt: u32) -> Option<Box<[Run]>>;
}

impl Prefix for IgnoredAny {
    fn runs(&self, _: u32) -> Option<Box<[Run]>> {
        None
    }
}

impl Prefix for Vec<u64> {
    /// A block's number stands for all tokens up to its end, so each block is a group of its own.
    fn runs(&self, prompt: u32) -> Option<Box<[Run]>> {
        let mut left = prompt;
        let runs = self.iter().map_while(|group| {
            let length = left.min(MOONCAKE_BLOCK);
            left -= length;
            (length > 0).then_some(Run { group: *group, offset: 0, length })
        });
        let runs: Box<[Run]> = runs.collect();
        (!runs.is_empty()).then_some(runs)
    }
}

fn json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Wrong> {
    serde_json::from_slice(line).or_else(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        wrong(error.column().saturating_sub(1), message)
    })
}

fn mooncake_row<'a, P: Deserialize<'a> + Prefix>(line: &'a [u8]) -> Result<Row, Wrong> {
    let row: MooncakeLine<P> = json(line)?;
    if row.input_length == 0 || row.output_length == 0 {
        return wrong(0, "a request has at least 1 token of each kind, found 0");
    }
    Ok(Row {
        at: RowTime::Offset(to_span(row.timestamp / 1e3, 0)?),
        prompt_tokens: row.input_length,
        output_tokens: row.output_length,
        priority: None,
        service: None,
        prefix: row.hash_ids.and_then(|ids| ids.runs(row.input_length)),
        line: 0,
    })
}

/// A line of our own format.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnLine {
    arrival_seconds: f64,
    #[serde(default = "one")]
    prompt_tokens: u32,
    #[serde(default = "one")]
    output_tokens: u32,
    service_seconds: Option<f64>,
    priority: Option<i32>,
    prefix_group: Option<u64>,
    prefix_tokens: Option<u32>,
}

fn one() -> u32 {
    1
}

fn own_row(line: &[u8], prefixes: bool) -> Result<Row, Wrong> {
    let row: OwnLine = json(line)?;
    if row.prompt_tokens == 0 || row.output_tokens == 0 {
        return wrong(0, "a request has at least 1 token of each kind, found 0");
    }
    let shared = row.prefix_group.zip(row.prefix_tokens).filter(|(_, tokens)| *tokens > 0);
    if shared.is_some_and(|(_, tokens)| tokens > row.prompt_tokens) {
        return wrong(0, "prefix_tokens is above prompt_tokens");
    }
    Ok(Row {
        at: RowTime::Offset(to_span(row.arrival_seconds, 0)?),
        prompt_tokens: row.prompt_tokens,
        output_tokens: row.output_tokens,
        priority: row.priority,
        service: row.service_seconds.map(|secs| to_span(secs, 0)).transpose()?,
        prefix: shared.filter(|_| prefixes).map(|(group, length)| [Run { group, offset: 0, length }].into()),
        line: 0,
    })
}

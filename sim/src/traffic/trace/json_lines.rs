//! JSON lines with one request each: Mooncake's and our own.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::lines::Lines;
use super::rows::{Fault, Found, Rows, Wrong, to_span, wrong};
use super::{Input, Reading, Row, RowTime, TraceFormat};
use crate::serving::continuous::content::Run;

/// Tokens in a prefix block of a Mooncake trace.
const MOONCAKE_BLOCK: u32 = 512;

/// Rows of JSON lines.
pub(super) struct JsonRows {
    lines: Lines<Input>,
    row: fn(&[u8]) -> Result<Row, Wrong>,
    prefixes: bool,
}

impl JsonRows {
    pub(super) fn new(input: Input, reading: &Reading) -> JsonRows {
        let row: fn(&[u8]) -> Result<Row, Wrong> = match (reading.format, reading.prefixes) {
            (TraceFormat::Mooncake, true) => mooncake_row::<Vec<u64>>,
            (TraceFormat::Mooncake, false) => mooncake_row::<IgnoredAny>,
            _ => own_row,
        };
        JsonRows { lines: Lines::new(input), row, prefixes: reading.prefixes }
    }
}

impl Rows for JsonRows {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        if !self.lines.next()? {
            return Ok(None);
        }
        let (text, line) = (self.lines.line(), self.lines.number());
        let row = (self.row)(text).map_err(|wrong| wrong.in_line(line, text))?;
        let prefix = row.prefix.filter(|_| self.prefixes);
        Ok(Some(Found::Row(Row { line, prefix, ..row })))
    }

    fn text(&self) -> Vec<u8> {
        self.lines.line().to_owned()
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

/// What a line of JSON says.
pub(super) fn json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Wrong> {
    if !line.trim_ascii_start().starts_with(b"{") {
        return wrong(0, "expected one JSON object in each line");
    }
    serde_json::from_slice(line).or_else(|error| wrong(error.column().saturating_sub(1), in_words(&error)))
}

/// What `serde_json` says without the place, and without names of types.
pub(super) fn in_words(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    let value = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = value.and_then(|value| value.split_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "f64" => "a number",
        "u32" | "u64" => "a whole number, at least 0",
        "i32" => "a whole number",
        other => other,
    };
    let found =
        ["floating point ", "integer "].iter().find_map(|kind| found.strip_prefix(kind)).unwrap_or(found);
    format!("expected {expected}, found {found}")
}

fn mooncake_row<P: DeserializeOwned + Prefix>(line: &[u8]) -> Result<Row, Wrong> {
    let row: MooncakeLine<P> = json(line)?;
    if row.input_length == 0 || row.output_length == 0 {
        return wrong(0, "a request has at least 1 token of each kind, found 0");
    }
    Ok(Row {
        prompt_tokens: Some(row.input_length),
        output_tokens: Some(row.output_length),
        prefix: row.hash_ids.and_then(|ids| ids.runs(row.input_length)),
        ..Row::bare(RowTime::Offset(to_span(row.timestamp / 1e3, 0)?))
    })
}

/// A line of our own format.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnLine {
    arrival_seconds: f64,
    prompt_tokens: Option<u32>,
    output_tokens: Option<u32>,
    service_seconds: Option<f64>,
    priority: Option<i32>,
    prefix_group: Option<u64>,
    prefix_tokens: Option<u32>,
    /// Runs of tokens: group, position in it, length.
    prefix: Option<Vec<(u64, u32, u32)>>,
}

impl OwnLine {
    /// What the prompt shares with others.
    fn runs(&self) -> Result<Vec<Run>, Wrong> {
        let one = self.prefix_group.zip(self.prefix_tokens).filter(|(_, tokens)| *tokens > 0);
        match (one, &self.prefix) {
            (Some(_), Some(_)) => wrong(0, "prefix stands instead of prefix_group and prefix_tokens"),
            (Some((group, length)), None) => Ok(vec![Run { group, offset: 0, length }]),
            (None, Some(runs)) => runs.iter().map(|run| self.run(*run)).collect(),
            (None, None) => Ok(Vec::new()),
        }
    }

    fn run(&self, (group, offset, length): (u64, u32, u32)) -> Result<Run, Wrong> {
        if length == 0 || offset.checked_add(length).is_none() {
            return wrong(0, "a run of a prefix has at least 1 token, and its end is below 2^32");
        }
        Ok(Run { group, offset, length })
    }
}

fn own_row(line: &[u8]) -> Result<Row, Wrong> {
    let row: OwnLine = json(line)?;
    if row.prompt_tokens == Some(0) || row.output_tokens == Some(0) {
        return wrong(0, "a request has at least 1 token of each kind, found 0");
    }
    let runs = row.runs()?;
    let shared: u64 = runs.iter().map(|run| u64::from(run.length)).sum();
    if shared > u64::from(row.prompt_tokens.unwrap_or(1)) {
        return wrong(0, "prefix_tokens is above prompt_tokens");
    }
    Ok(Row {
        prompt_tokens: row.prompt_tokens,
        output_tokens: row.output_tokens,
        priority: row.priority,
        service: row.service_seconds.map(|secs| to_span(secs, 0)).transpose()?,
        prefix: (!runs.is_empty()).then(|| runs.into()),
        ..Row::bare(RowTime::Offset(to_span(row.arrival_seconds, 0)?))
    })
}

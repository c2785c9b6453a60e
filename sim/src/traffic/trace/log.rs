//! Access logs of gateways: JSON lines, and the common and combined log formats.

use scaletwin_core::units::{Civil, Span};
use serde_json::Value;

use super::json_lines::json;
use super::lines::Lines;
use super::rows::{Fault, Found, Rows, Wrong, at_least_one, civil, shown, since_1970, to_span, wrong};
use super::{Input, LogFields, Reading, Row, RowTime, TimeUnit};

/// What of a log is read, and where it stands.
struct Mapping {
    fields: LogFields,
    only: Vec<(String, String)>,
}

/// A line of a log, of which fields are asked for by name.
trait Line {
    /// The field of this name as text, and its offset in the line.
    fn field(&self, name: &str) -> Option<(String, usize)>;
}

impl Mapping {
    /// The request of a line; `None` if it is not asked for.
    fn row(&self, line: &impl Line) -> Result<Option<Row>, Wrong> {
        for (name, text) in &self.only {
            if line.field(name).is_none_or(|(found, _)| found != *text) {
                return Ok(None);
            }
        }
        let at = self.arrival(line)?;
        let prompt_tokens = tokens(line, self.fields.prompt_tokens.as_deref())?;
        let output_tokens = tokens(line, self.fields.output_tokens.as_deref())?;
        Ok(Some(Row { prompt_tokens, output_tokens, ..Row::bare(RowTime::Civil(at)) }))
    }

    fn arrival(&self, line: &impl Line) -> Result<Civil, Wrong> {
        let LogFields { time, end, duration, time_unit, duration_unit, .. } = &self.fields;
        if let Some(name) = time {
            let (text, offset) = needed(line, name)?;
            return instant(&text, *time_unit, offset);
        }
        let (Some(end), Some(duration)) = (end, duration) else {
            return wrong(0, "fields has neither time nor end with duration");
        };
        let (text, offset) = needed(line, end)?;
        let ended = instant(&text, *time_unit, offset)?;
        let (text, offset) = needed(line, duration)?;
        let took = length(&text, *duration_unit, offset)?;
        match RowTime::Civil(ended).minus(took) {
            Some(RowTime::Civil(began)) => Ok(began),
            _ => wrong(offset, "the request began before the year 1678"),
        }
    }
}

fn needed(line: &impl Line, name: &str) -> Result<(String, usize), Wrong> {
    match line.field(name) {
        Some(found) => Ok(found),
        None => wrong(0, format!("the line has no field {name:?}")),
    }
}

/// Tokens where the log has them; a field that is empty or a dash says nothing.
fn tokens(line: &impl Line, name: Option<&str>) -> Result<Option<u32>, Wrong> {
    let Some(name) = name else { return Ok(None) };
    let (text, offset) = needed(line, name)?;
    match text.as_str() {
        "" | "-" | "null" => Ok(None),
        text => match text.parse() {
            Ok(count) => at_least_one(count, offset).map(Some),
            Err(_) => wrong(offset, format!("expected a number of tokens, found {:?}", shown(text))),
        },
    }
}

/// RFC 3339, the time of the common log format, or a number since 1970.
fn instant(text: &str, unit: TimeUnit, offset: usize) -> Result<Civil, Wrong> {
    if let Ok(number) = text.parse::<f64>() {
        return since_1970(number * unit.nanos(), offset);
    }
    match common_time(text) {
        Some(written) => civil(&written, offset),
        None => civil(text, offset),
    }
}

/// `10/Oct/2000:13:55:36 -0700` as RFC 3339.
fn common_time(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, zone) = text.split_once(' ')?;
    let (day, rest) = date.split_once('/')?;
    let (month, rest) = rest.split_once('/')?;
    let (year, clock) = rest.split_once(':')?;
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let (hours, minutes) = (zone.get(..3)?, zone.get(3..5)?);
    Some(format!("{year}-{month:02}-{day}T{clock}{hours}:{minutes}"))
}

fn length(text: &str, unit: TimeUnit, offset: usize) -> Result<Span, Wrong> {
    match text.parse::<f64>() {
        Ok(number) => to_span(number * unit.nanos() / 1e9, offset),
        Err(_) => wrong(offset, format!("expected a duration, found {:?}", shown(text))),
    }
}

/// Lines of JSON.
pub(super) struct JsonLog {
    lines: Lines<Input>,
    mapping: Mapping,
}

impl JsonLog {
    pub(super) fn new(input: Input, reading: &Reading) -> Result<JsonLog, Fault> {
        let fields = reading.fields.clone();
        if fields.time.is_none() && (fields.end.is_none() || fields.duration.is_none()) {
            let fault = Fault::file("the format access-log-json needs fields");
            return Err(fault.hint("fields: {time: KEY}, or fields: {end: KEY, duration: KEY}"));
        }
        Ok(JsonLog { lines: Lines::new(input), mapping: Mapping { fields, only: reading.only.clone() } })
    }
}

impl Rows for JsonLog {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        while self.lines.next()? {
            let (text, line) = (self.lines.line(), self.lines.number());
            let row = json::<Value>(text).and_then(|value| self.mapping.row(&value));
            if let Some(row) = row.map_err(|wrong| wrong.in_line(line, text))? {
                return Ok(Some(Found::Row(Row { line, ..row })));
            }
        }
        Ok(None)
    }

    fn text(&self) -> Vec<u8> {
        self.lines.line().to_owned()
    }
}

impl Line for Value {
    fn field(&self, name: &str) -> Option<(String, usize)> {
        let inside = || name.split('.').try_fold(self, |value, key| value.get(key));
        let text = match self.get(name).or_else(inside)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((text, 0))
    }
}

/// Lines of the common or combined log format.
pub(super) struct TextLog {
    lines: Lines<Input>,
    mapping: Mapping,
}

impl TextLog {
    pub(super) fn new(input: Input, reading: &Reading) -> Result<TextLog, Fault> {
        let mut fields = reading.fields.clone();
        if fields.time.is_none() && fields.end.is_none() {
            fields.time = Some("time".to_owned());
        }
        Ok(TextLog { lines: Lines::new(input), mapping: Mapping { fields, only: reading.only.clone() } })
    }
}

impl Rows for TextLog {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        while self.lines.next()? {
            let (text, line) = (self.lines.line(), self.lines.number());
            let row = parts(text).and_then(|parts| self.mapping.row(&parts));
            if let Some(row) = row.map_err(|wrong| wrong.in_line(line, text))? {
                return Ok(Some(Found::Row(Row { line, ..row })));
            }
        }
        Ok(None)
    }

    fn text(&self) -> Vec<u8> {
        self.lines.line().to_owned()
    }
}

/// The fields of a line, in order, each with its offset.
#[derive(Debug)]
struct Parts(Vec<(String, usize)>);

/// The usual names of the first fields.
const NAMES: [&str; 9] = ["host", "ident", "user", "time", "request", "status", "bytes", "referer", "agent"];

impl Line for Parts {
    fn field(&self, name: &str) -> Option<(String, usize)> {
        let request = |part: usize| {
            let (request, offset) = self.0.get(4)?;
            Some((request.split(' ').nth(part)?.to_owned(), *offset))
        };
        match name {
            "method" => request(0),
            "path" => request(1),
            _ => {
                let named = NAMES.iter().position(|known| *known == name);
                let place = named.or_else(|| name.parse::<usize>().ok()?.checked_sub(1))?;
                self.0.get(place).cloned()
            }
        }
    }
}

/// Splits a line at spaces, outside of brackets and quotes. A backslash keeps the quote after it.
fn parts(line: &[u8]) -> Result<Parts, Wrong> {
    let text = super::rows::text(line, 0)?;
    let mut found = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((offset, first)) = rest.next() {
        let close = match first {
            ' ' => continue,
            '"' => '"',
            '[' => ']',
            _ => ' ',
        };
        let mut part = if close == ' ' { first.to_string() } else { String::new() };
        let mut closed = close == ' ';
        while let Some((_, next)) = rest.next() {
            if next == close {
                closed = true;
                break;
            }
            part.push(next);
            if next == '\\' && close == '"' {
                part.extend(rest.next().map(|(_, kept)| kept));
            }
        }
        if !closed {
            return wrong(offset, format!("{first:?} is not closed"));
        }
        found.push((part, offset));
    }
    if found.len() < 7 {
        return wrong(
            0,
            format!("a line of the common log format has 7 fields or more, this has {}", found.len()),
        );
    }
    Ok(Parts(found))
}

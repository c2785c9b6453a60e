//! CSV: tables with a header, and formats with one request a line.

use scaletwin_core::input::suggestion;
use scaletwin_core::units::{Civil, Span};

use super::lines::Lines;
use super::record::Record;
use super::rows::{
    Fault, Found, Rows, Wrong, any_tokens, at_least_one, civil, micros, number, seconds, text, tokens, wrong,
};
use super::{Input, Reading, Row, RowTime, TraceFormat, plain};
use crate::serving::continuous::content::Run;

/// A CSV file behind its header.
pub(super) struct Table {
    lines: Lines<Input>,
    quotes: csv_core::Reader,
    header: Record,
    record: Record,
    /// Columns with the only texts whose lines are read.
    only: Vec<(usize, String)>,
}

impl Table {
    pub(super) fn new(input: Input, only: &[(String, String)]) -> Result<Table, Fault> {
        let mut table = Table {
            lines: Lines::new(input),
            quotes: csv_core::Reader::new(),
            header: Record::default(),
            record: Record::default(),
            only: Vec::new(),
        };
        loop {
            if !table.read_line()? {
                return Err(Fault::file("the trace is empty: it has no header line"));
            }
            if table.split()? {
                break;
            }
        }
        table.header = std::mem::take(&mut table.record);
        let only = only.iter().map(|(name, text)| Ok((table.column(name)?, text.clone())));
        table.only = only.collect::<Result<_, Fault>>()?;
        Ok(table)
    }

    /// The place of the column `name`.
    pub(super) fn column(&self, name: &str) -> Result<usize, Fault> {
        let names: Vec<String> =
            self.header().map(|(_, name)| String::from_utf8_lossy(name).into()).collect();
        names.iter().position(|known| known == name).ok_or_else(|| {
            let known: Vec<&str> = names.iter().take(40).map(String::as_str).collect();
            let fault = self.header_fault(0, format!("the column {name:?} is missing"));
            fault.hint(suggestion(name, &known).unwrap_or_default())
        })
    }

    /// The names of the columns with their offsets in the line.
    pub(super) fn header(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.header.fields()
    }

    pub(super) fn header_fault(&self, offset: usize, message: String) -> Fault {
        Fault::ends(1, offset as u64 + 1, message, self.header.text())
    }

    /// Reads the next line that is not blank. Whether there is one.
    fn read_line(&mut self) -> Result<bool, Fault> {
        let is_there = self.lines.next()?;
        if is_there {
            self.lines.swap(self.record.line());
        }
        Ok(is_there)
    }

    /// Finds the fields of the present line. Whether there are any.
    fn split(&mut self) -> Result<bool, Fault> {
        if let Err(unclosed) = self.record.split(&mut self.quotes) {
            let message = "a quote that is opened in this line is not closed in it".to_owned();
            return Err(self.fault(Wrong { column: unclosed.offset as u64 + 1, message }));
        }
        Ok(!self.record.is_blank())
    }

    /// Finds the fields of the present line. Whether there are any, and it is asked for.
    fn split_row(&mut self) -> Result<bool, Fault> {
        if !self.split()? {
            return Ok(false);
        }
        let (found, expected) = (self.record.len(), self.header.len());
        if found != expected {
            let message = format!("the line has {found} fields, the header {expected}");
            return Err(self.fault(Wrong { column: 1, message }));
        }
        if self.record == self.header {
            let message = "the header stands here again: files were joined".to_owned();
            return Err(self.fault(Wrong { column: 1, message }));
        }
        let asked =
            |(column, only): &(usize, String)| self.record.field(*column).trim_ascii() == only.as_bytes();
        Ok(self.only.iter().all(asked))
    }

    /// Goes on to the next line that is not blank and is asked for. Whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, Fault> {
        while self.read_line()? {
            if self.split_row()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The fields of the present line with their offsets in it.
    pub(super) fn fields(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.record.fields()
    }

    /// The number of the present line, from 1.
    pub(super) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// The present line.
    pub(super) fn text(&self) -> Vec<u8> {
        self.record.text().to_owned()
    }

    /// What is wrong in the present line, as a fault.
    pub(super) fn fault(&self, wrong: Wrong) -> Fault {
        wrong.in_line(self.line(), self.record.text())
    }
}

/// What a column of a table means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Timestamp,
    Seconds,
    /// When the request had ended.
    EndSeconds,
    ArrivalMicros,
    /// When the client sent it, which counts where it is known.
    SendMicros,
    PromptTokens,
    /// Tokens of the prompt; can be 0 where the request failed.
    AskedTokens,
    /// Tokens of the prompt besides those of its prefix.
    OwnTokens,
    /// Tokens of the prompt as the server counted them.
    ServerTokens,
    OutputTokens,
    /// Tokens of the answer; 0 where the request failed.
    AnswerTokens,
    ServiceSeconds,
    Priority,
    PrefixGroup,
    /// A prefix by a name.
    PrefixName,
    PrefixTokens,
    /// A column of a foreign format that has no effect here.
    Other,
}

impl Column {
    /// Whether a row of such columns can be a [plain](TableRows::plain_row) one.
    fn is_plain(self) -> bool {
        matches!(self, Column::Timestamp | Column::Seconds | Column::PromptTokens | Column::OutputTokens)
    }
}

/// A column of a format: its name, its meaning, and whether it has to be there.
type Known = (&'static str, Column, bool);

/// The columns of a format, and whether others are taken.
fn columns(format: TraceFormat) -> (&'static [Known], bool) {
    match format {
        TraceFormat::AzureLlm => (
            &[
                ("TIMESTAMP", Column::Timestamp, true),
                ("ContextTokens", Column::PromptTokens, true),
                ("GeneratedTokens", Column::OutputTokens, true),
            ],
            true,
        ),
        TraceFormat::Vidur => (
            &[
                ("arrived_at", Column::Seconds, true),
                ("num_prefill_tokens", Column::PromptTokens, true),
                ("num_decode_tokens", Column::OutputTokens, true),
            ],
            true,
        ),
        TraceFormat::BurstGpt => (
            &[
                ("Timestamp", Column::Seconds, true),
                ("Request tokens", Column::AskedTokens, true),
                ("Response tokens", Column::AnswerTokens, true),
            ],
            true,
        ),
        TraceFormat::AzureFunctions2021 => {
            (&[("end_timestamp", Column::EndSeconds, true), ("duration", Column::ServiceSeconds, true)], true)
        }
        TraceFormat::Blis => (
            &[
                ("arrival_time_us", Column::ArrivalMicros, true),
                ("input_tokens", Column::OwnTokens, true),
                ("output_tokens", Column::AnswerTokens, true),
                ("send_time_us", Column::SendMicros, false),
                ("server_input_tokens", Column::ServerTokens, false),
                ("vllm_priority", Column::Priority, false),
                ("prefix_group", Column::PrefixName, false),
                ("prefix_length", Column::PrefixTokens, false),
            ],
            true,
        ),
        _ => (
            &[
                ("arrival_seconds", Column::Seconds, true),
                ("prompt_tokens", Column::PromptTokens, false),
                ("output_tokens", Column::OutputTokens, false),
                ("service_seconds", Column::ServiceSeconds, false),
                ("priority", Column::Priority, false),
                ("prefix_group", Column::PrefixGroup, false),
                ("prefix_tokens", Column::PrefixTokens, false),
            ],
            false,
        ),
    }
}

/// A table with one request a line.
pub(super) struct TableRows {
    table: Table,
    columns: Vec<Column>,
    prefixes: bool,
    /// Whether tokens may be left out: in our own format.
    bare: bool,
    /// Whether rows may be plain: all that counts in them are instants and tokens.
    plain: bool,
}

impl TableRows {
    pub(super) fn new(input: Input, reading: &Reading) -> Result<TableRows, Fault> {
        let table = Table::new(input, &reading.only)?;
        let columns = read_header(&table, reading.format)?;
        let bare = reading.format == TraceFormat::Csv;
        let plain = reading.only.is_empty() && columns.iter().all(|column| column.is_plain());
        Ok(TableRows { table, columns, prefixes: reading.prefixes, bare, plain })
    }

    /// The present line as a row, if all its fields stand there plainly: without quotes, spaces, signs. In one pass.
    fn plain_row(&self) -> Option<Row> {
        if !self.plain {
            return None;
        }
        let mut row = Row { line: self.table.line(), ..Row::bare(RowTime::Offset(Span::ZERO)) };
        let mut rest = self.table.record.text();
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                rest = rest.strip_prefix(b",")?;
            }
            match column {
                Column::Timestamp => {
                    let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
                    let (field, after) = rest.split_at(end);
                    row.at = RowTime::Civil(std::str::from_utf8(field).ok()?.parse().ok()?);
                    rest = after;
                }
                Column::Seconds => row.at = RowTime::Offset(plain::take_seconds(&mut rest)?),
                Column::PromptTokens => row.prompt_tokens = Some(plain::take_number(&mut rest)?),
                Column::OutputTokens => row.output_tokens = Some(plain::take_number(&mut rest)?),
                _ => return None,
            }
        }
        let has_tokens = row.prompt_tokens != Some(0) && row.output_tokens != Some(0);
        (rest.is_empty() && has_tokens).then_some(row)
    }

    /// The present line as a row, if it is asked for.
    fn row(&mut self) -> Result<Option<Found>, Fault> {
        if !self.table.split_row()? {
            return Ok(None);
        }
        let fields = Fields::read(&self.table, &self.columns, self.bare);
        match fields.and_then(|fields| fields.row(self.table.line(), self.prefixes)) {
            Ok(Some(row)) => Ok(Some(Found::Row(row))),
            Ok(None) => Ok(Some(Found::Failed)),
            Err(wrong) => Err(self.table.fault(wrong)),
        }
    }
}

impl Rows for TableRows {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        while self.table.read_line()? {
            if let Some(row) = self.plain_row() {
                return Ok(Some(Found::Row(row)));
            }
            if let Some(found) = self.row()? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn text(&self) -> Vec<u8> {
        self.table.text()
    }
}

fn read_header(table: &Table, format: TraceFormat) -> Result<Vec<Column>, Fault> {
    let (known, others) = columns(format);
    let names: Vec<&str> = known.iter().map(|(name, ..)| *name).collect();
    let mut found = Vec::new();
    for (offset, field) in table.header() {
        let name = String::from_utf8_lossy(field);
        match known.iter().find(|(known, ..)| *known == name) {
            Some((_, column, _)) if found.contains(column) => {
                return Err(table.header_fault(offset, format!("the column {name:?} stands twice")));
            }
            Some((_, column, _)) => found.push(*column),
            None if others => found.push(Column::Other),
            None => {
                let hint = match name.contains([';', '\t']) {
                    true => "fields are separated by commas".to_owned(),
                    false => suggestion(&name, &names).unwrap_or_default(),
                };
                return Err(table.header_fault(offset, format!("unknown column {name:?}")).hint(hint));
            }
        }
    }
    if let Some((name, ..)) = known.iter().find(|(_, column, needed)| *needed && !found.contains(column)) {
        let hint = format!("a {} trace has {}", format.name(), names.join(", "));
        return Err(table.header_fault(0, format!("the column {name:?} is missing")).hint(hint));
    }
    let group = found.contains(&Column::PrefixGroup) || found.contains(&Column::PrefixName);
    if group != found.contains(&Column::PrefixTokens) {
        return Err(table.header_fault(0, "prefix_group and its number of tokens go together".to_owned()));
    }
    Ok(found)
}

/// The fields of a line.
#[derive(Debug, Default)]
struct Fields {
    at: Option<RowTime>,
    ended: Option<RowTime>,
    sent: Option<RowTime>,
    prompt: Option<u32>,
    own: Option<u32>,
    server: Option<u32>,
    output: Option<u32>,
    failed: bool,
    service: Option<Span>,
    priority: Option<i32>,
    group: Option<u64>,
    shared: u32,
}

impl Fields {
    fn read(table: &Table, columns: &[Column], bare: bool) -> Result<Fields, Wrong> {
        let mut row = Fields::default();
        for ((offset, field), column) in table.fields().zip(columns) {
            match column {
                Column::Other => {}
                Column::PromptTokens | Column::OutputTokens if bare && field.is_empty() => {}
                Column::Timestamp => row.at = Some(RowTime::Civil(civil(text(field, offset)?, offset)?)),
                Column::Seconds => row.at = Some(RowTime::Offset(seconds(field, offset)?)),
                Column::EndSeconds => row.ended = Some(RowTime::Offset(seconds(field, offset)?)),
                Column::ArrivalMicros => row.at = Some(instant(field, offset)?),
                Column::SendMicros => row.sent = Some(instant(field, offset)?).filter(|at| !is_zero(*at)),
                Column::PromptTokens => row.prompt = Some(tokens(field, offset)?),
                Column::AskedTokens => row.prompt = Some(any_tokens(field, offset)?),
                Column::OwnTokens => row.own = Some(any_tokens(field, offset)?),
                Column::ServerTokens => {
                    row.server = Some(any_tokens(field, offset)?).filter(|count| *count > 0)
                }
                Column::AnswerTokens => {
                    let count = any_tokens(field, offset)?;
                    (row.output, row.failed) = (Some(count), count == 0);
                }
                Column::OutputTokens => row.output = Some(tokens(field, offset)?),
                _ if field.is_empty() => {}
                Column::ServiceSeconds => row.service = Some(seconds(field, offset)?),
                Column::Priority => row.priority = Some(number(field, offset, "a whole number")?),
                Column::PrefixGroup => row.group = Some(number(field, offset, "a whole number")?),
                Column::PrefixName => row.group = Some(named(field)),
                Column::PrefixTokens => row.shared = any_tokens(field, offset)?,
            }
        }
        Ok(row)
    }

    /// The row of line `line`; `None` if the request failed.
    fn row(self, line: u64, prefixes: bool) -> Result<Option<Row>, Wrong> {
        if self.failed {
            return Ok(None);
        }
        let began = match (self.ended, self.service) {
            (Some(ended), Some(service)) => match ended.minus(service) {
                Some(began) => Some(began),
                None => return wrong(0, "it began before the start of the trace"),
            },
            _ => None,
        };
        let at = self.sent.or(self.at).or(began).unwrap_or(RowTime::Offset(Span::ZERO));
        let shared = self.group.map_or(0, |_| self.shared);
        let prompt = match self.own {
            // The tokens of its prefix come before those of its own, which the server counts together.
            Some(own) if shared > 0 => own.checked_add(shared),
            Some(own) => Some(self.server.unwrap_or(own)),
            None => self.prompt,
        };
        let prompt = match (prompt, self.own.is_some()) {
            (None, true) => return wrong(0, "the prompt has too many tokens"),
            (prompt, _) => prompt.map(|count| at_least_one(count, 0)).transpose()?,
        };
        if shared > prompt.unwrap_or(1) {
            let prompt = prompt.unwrap_or(1);
            return wrong(0, format!("prefix_tokens ({shared}) is above prompt_tokens ({prompt})"));
        }
        let run = self.group.filter(|_| prefixes && shared > 0).map(|group| Run {
            group,
            offset: 0,
            length: shared,
        });
        Ok(Some(Row {
            prompt_tokens: prompt,
            output_tokens: self.output,
            priority: self.priority,
            service: self.service,
            prefix: run.map(|run| [run].into()),
            at,
            line,
        }))
    }
}

fn is_zero(at: RowTime) -> bool {
    at == RowTime::Offset(Span::ZERO)
}

/// Microseconds from the start of the trace; from 1970 where there are so many that nothing else can be meant.
fn instant(field: &[u8], offset: usize) -> Result<RowTime, Wrong> {
    /// The year 2001.
    const EPOCH: u64 = 1_000_000_000_000_000;
    let count: u64 = number(field, offset, "a number of microseconds")?;
    if count < EPOCH {
        return micros(count, offset).map(RowTime::Offset);
    }
    let nanos = i64::try_from(count).ok().and_then(|count| count.checked_mul(1_000));
    match nanos {
        Some(nanos) => Ok(RowTime::Civil(Civil::from_unix_nanos(nanos))),
        None => wrong(offset, format!("{count} us after 1970 is outside years 1678 to 2262")),
    }
}

/// The number of a name: FNV-1a.
fn named(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(line: &str) -> TableRows {
        let text = format!("arrived_at,num_prefill_tokens,num_decode_tokens\n{line}\n");
        let input = Box::new(std::io::Cursor::new(text.into_bytes()));
        TableRows::new(input, &Reading::of(TraceFormat::Vidur)).unwrap()
    }

    proptest! {
        #[test]
        fn plain_rows_are_those_of_the_fields(
            line in "[0-9]{1,7}[.,][0-9]{0,10}[0-9,.+\" ]{1,8}[0-9]{0,2}",
        ) {
            let read = |plain| format!("{:?}", TableRows { plain, ..table(&line) }.next());
            prop_assert_eq!(read(true), read(false));
        }

        #[test]
        fn rows_as_they_mostly_are_are_plain(
            at in (0u32..1_000_000, 0u32..1_000_000_000),
            tokens in (1u32..1_000_000_000, 1u32..1_000_000_000),
        ) {
            let ((secs, nanos), (prompt, output)) = (at, tokens);
            let mut rows = table(&format!("{secs}.{nanos:09},{prompt},{output}"));
            prop_assert!(rows.table.read_line().unwrap());
            let row = rows.plain_row().unwrap();
            prop_assert_eq!((row.prompt_tokens, row.output_tokens), (Some(prompt), Some(output)));
        }
    }
}

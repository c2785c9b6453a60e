//! Our own formats, written: what is read back is the same.

use std::io::{self, Write};

use super::{Row, RowTime, TraceFormat};
use crate::serving::continuous::content::Run;

/// Writes rows in our own CSV or JSON lines.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    is_csv: bool,
    /// What counts as the start of the trace.
    start: RowTime,
    begun: bool,
}

/// Why a row cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output fails.
    #[error("cannot be written: {0}")]
    Output(#[from] io::Error),
    /// The row arrives before the start.
    #[error("the request of line {0} arrives before the start of the trace")]
    Before(u64),
    /// CSV has one run of a prefix, from its beginning.
    #[error("the request of line {0} shares several runs of its prompt, which CSV cannot say; write jsonl")]
    Runs(u64),
}

impl<W: Write> Writer<W> {
    /// A writer of [`TraceFormat::Csv`], or of JSON lines for any other format. `start` becomes t = 0.
    pub fn new(output: W, format: TraceFormat, start: RowTime) -> Writer<W> {
        Writer { output, is_csv: format == TraceFormat::Csv, start, begun: false }
    }

    /// Writes a row.
    ///
    /// # Errors
    /// When the output fails, or the format has no place for what the row says.
    pub fn write(&mut self, row: &Row) -> Result<(), WriteError> {
        let at = seconds(self.offset(row)?);
        if !self.is_csv {
            return Ok(self.json(row, &at)?);
        }
        let run = match row.prefix.as_deref() {
            None | Some([]) => None,
            Some([run]) if run.offset == 0 => Some(run),
            Some(_) => return Err(WriteError::Runs(row.line)),
        };
        if !std::mem::replace(&mut self.begun, true) {
            let header = "arrival_seconds,prompt_tokens,output_tokens,service_seconds,priority,prefix_group,prefix_tokens";
            writeln!(self.output, "{header}")?;
        }
        let optional = |value: Option<String>| value.unwrap_or_default();
        let columns = [
            at,
            optional(row.prompt_tokens.map(|count| count.to_string())),
            optional(row.output_tokens.map(|count| count.to_string())),
            optional(row.service.map(|span| seconds(span.as_nanos()))),
            optional(row.priority.map(|priority| priority.to_string())),
            optional(run.map(|run| run.group.to_string())),
            optional(run.map(|run| run.length.to_string())),
        ];
        Ok(writeln!(self.output, "{}", columns.join(","))?)
    }

    /// Nanoseconds after the start.
    fn offset(&self, row: &Row) -> Result<u64, WriteError> {
        let offset = match (row.at, self.start) {
            (RowTime::Offset(at), RowTime::Offset(start)) => at.as_nanos().checked_sub(start.as_nanos()),
            (RowTime::Civil(at), RowTime::Civil(start)) => at.since(start).map(|span| span.as_nanos()),
            _ => None,
        };
        offset.ok_or(WriteError::Before(row.line))
    }

    fn json(&mut self, row: &Row, at: &str) -> io::Result<()> {
        write!(self.output, "{{\"arrival_seconds\": {at}")?;
        let numbers = [("prompt_tokens", row.prompt_tokens), ("output_tokens", row.output_tokens)];
        for (key, count) in numbers {
            if let Some(count) = count {
                write!(self.output, ", \"{key}\": {count}")?;
            }
        }
        if let Some(service) = row.service {
            write!(self.output, ", \"service_seconds\": {}", seconds(service.as_nanos()))?;
        }
        if let Some(priority) = row.priority {
            write!(self.output, ", \"priority\": {priority}")?;
        }
        if let Some(runs) = row.prefix.as_deref().filter(|runs| !runs.is_empty()) {
            let run = |run: &Run| format!("[{}, {}, {}]", run.group, run.offset, run.length);
            let runs: Vec<String> = runs.iter().map(run).collect();
            write!(self.output, ", \"prefix\": [{}]", runs.join(", "))?;
        }
        writeln!(self.output, "}}")
    }

    /// The output, with all rows.
    ///
    /// # Errors
    /// When it fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

/// Nanoseconds as seconds with as many decimals as needed.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

//! The trace that a command reads, with progress.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use scaletwin_core::input::suggestion;
use scaletwin_core::random::Seed;
use scaletwin_core::units::Span;
use scaletwin_sim::traffic::trace::{
    FORMATS, LeftOut, LogFields, Reading, Row, RowTime, TimeUnit, TraceFormat, TraceReader,
};

use crate::failure::Failure;
use crate::tell;

/// Which trace, and which part of it.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The trace file, plain or compressed with gzip
    file: PathBuf,
    /// Its format, as in a scenario
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    pub(super) format: TraceFormat,
    /// Leave out lines that cannot be used, and say how many
    #[arg(long)]
    skip_bad: bool,
    /// Only lines with this text in this column or field; can be given several times
    #[arg(long, value_name = "NAME=TEXT", value_parser = parse_pair)]
    only: Vec<(String, String)>,
    /// Where an access log has something: time, end, duration, prompt_tokens, output_tokens, time_unit, duration_unit
    #[arg(long, value_name = "WHAT=NAME", value_parser = parse_pair)]
    field: Vec<(String, String)>,
    /// Begin so long after the first request, such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    from: Option<Span>,
    /// End so long after the first request
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    to: Option<Span>,
    /// The most requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// The seed of arrivals that are drawn, where the trace only has numbers of requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// No progress and no notes on stderr
    #[arg(long, short)]
    pub(super) quiet: bool,
}

pub(super) fn parse_format(name: &str) -> Result<TraceFormat, String> {
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
    let known = FORMATS.into_iter().find(|format| format.name() == name);
    known.ok_or_else(|| format!("unknown format; {}", suggestion(name, &names).unwrap_or_default()))
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=TEXT")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_span(text: &str) -> Result<Span, String> {
    text.parse::<Span>().map_err(|error| error.to_string())
}

impl Source {
    /// The file, as people name it.
    pub(super) fn name(&self) -> String {
        self.file.display().to_string()
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    /// Reads it row by row, and tells what was left out.
    pub(super) fn read(&self, mut each: impl FnMut(Row) -> Result<(), Failure>) -> Result<LeftOut, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
        let mut reader = TraceReader::open(&self.file, &self.reading()?).map_err(|error| failed(&error))?;
        let bar = self.bar(reader.progress().1);
        let (mut first, mut taken, mut seen) = (None, 0, 0u64);
        while self.requests.is_none_or(|most| taken < most) {
            let Some(row) = reader.next_row().map_err(|error| failed(&error))? else { break };
            seen += 1;
            if seen.is_multiple_of(1 << 16) {
                bar.set_position(reader.progress().0);
                bar.set_message(format!("{seen} requests"));
            }
            let offset = since(*first.get_or_insert(row.at), row.at);
            if self.to.is_some_and(|to| offset >= to) {
                break;
            }
            if self.from.is_none_or(|from| offset >= from) {
                taken += 1;
                each(row)?;
            }
        }
        bar.finish_and_clear();
        if taken == 0 {
            let message = format!("{}: that part of the trace has no request", self.name());
            return Err(Failure::Other(message));
        }
        let left_out = reader.left_out();
        if !left_out.is_nothing() && !self.quiet {
            tell(&format!("{}: left out: {left_out}", self.name()));
        }
        Ok(left_out)
    }

    /// The first row.
    pub(super) fn first(&self) -> Result<Row, Failure> {
        let mut first = None;
        let quiet = Source { requests: Some(1), quiet: true, ..self.again() };
        quiet.read(|row| {
            first = Some(row);
            Ok(())
        })?;
        Ok(first.expect("it was read, or there was none"))
    }

    fn again(&self) -> Source {
        Source { file: self.file.clone(), only: self.only.clone(), field: self.field.clone(), ..*self }
    }

    fn reading(&self) -> Result<Reading, Failure> {
        if !self.only.is_empty() && !self.format.has_only() {
            let message = format!("--only has no effect on the format {}", self.format.name());
            return Err(Failure::Other(message));
        }
        if !self.field.is_empty() && !self.format.has_fields() {
            let message = format!("--field has no effect on the format {}", self.format.name());
            return Err(Failure::Other(message));
        }
        Ok(Reading {
            skip_bad: self.skip_bad,
            only: self.only.clone(),
            fields: fields(&self.field)?,
            luck: Seed(self.seed).component("trace"),
            ..Reading::of(self.format)
        })
    }

    /// A progress bar over the bytes of the file, if stderr is a terminal.
    fn bar(&self, bytes: u64) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(bytes);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let template = "{wide_bar} {percent:>3} %  {msg}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("a template of ours"));
        bar
    }
}

/// From one instant of a trace to another.
fn since(first: RowTime, at: RowTime) -> Span {
    match (first, at) {
        (RowTime::Offset(first), RowTime::Offset(at)) => at.saturating_sub(first),
        (RowTime::Civil(first), RowTime::Civil(at)) => at.since(first).unwrap_or(Span::ZERO),
        _ => Span::ZERO,
    }
}

fn fields(written: &[(String, String)]) -> Result<LogFields, Failure> {
    let mut fields = LogFields::default();
    for (what, name) in written {
        let place = match what.as_str() {
            "time" => &mut fields.time,
            "end" => &mut fields.end,
            "duration" => &mut fields.duration,
            "prompt_tokens" => &mut fields.prompt_tokens,
            "output_tokens" => &mut fields.output_tokens,
            "time_unit" => {
                fields.time_unit = unit(name)?;
                continue;
            }
            "duration_unit" => {
                fields.duration_unit = unit(name)?;
                continue;
            }
            _ => return Err(Failure::Other(format!("--field {what}: expected one of {WHAT}"))),
        };
        *place = Some(name.clone());
    }
    Ok(fields)
}

const WHAT: &str = "time, end, duration, prompt_tokens, output_tokens, time_unit, duration_unit";

fn unit(name: &str) -> Result<TimeUnit, Failure> {
    let units = [TimeUnit::Seconds, TimeUnit::Millis, TimeUnit::Micros, TimeUnit::Nanos];
    let unit = units.into_iter().find(|unit| unit.name() == name);
    unit.ok_or_else(|| Failure::Other(format!("unknown unit {name:?}: expected one of s, ms, us, ns")))
}

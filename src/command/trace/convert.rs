//! `scaletwin trace convert`.

use std::path::{Path, PathBuf};

use scaletwin_sim::traffic::trace::{RowTime, TraceFormat, Writer};

use super::source::Source;
use crate::failure::Failure;
use crate::output::{self, NewFile};
use crate::{Answer, tell};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The new file; `.csv` is our CSV, `.jsonl` our JSON lines
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes a trace in one of our own formats.
pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    output::keep_apart(&args.out, [args.source.path()])?;
    let mut writer = Target::create(&args.out, args.source.first()?.at)?;
    let mut requests = 0u64;
    args.source.read(|row| {
        requests += 1;
        writer.write(&row)
    })?;
    writer.finish(requests, args.source.quiet)?;
    Ok(Answer::Done)
}

/// A file in one of our own formats.
pub(super) struct Target<'a> {
    path: &'a Path,
    start: RowTime,
    writer: Writer<NewFile>,
}

impl Target<'_> {
    /// A new file; a civil `start` becomes t = 0, others keep theirs.
    pub(super) fn create(path: &Path, first: RowTime) -> Result<Target<'_>, Failure> {
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => TraceFormat::Csv,
            Some("jsonl") => TraceFormat::Jsonl,
            _ => {
                let message = format!("{}: the name ends in .csv or .jsonl", path.display());
                return Err(Failure::Other(message));
            }
        };
        let start = match first {
            RowTime::Offset(_) => RowTime::Offset(scaletwin_core::units::Span::ZERO),
            civil @ RowTime::Civil(_) => civil,
        };
        Ok(Target { path, start, writer: Writer::new(NewFile::create(path)?, format, start) })
    }

    pub(super) fn write(&mut self, row: &scaletwin_sim::traffic::trace::Row) -> Result<(), Failure> {
        self.writer.write(row).map_err(|error| Failure::writing(self.path, &error))
    }

    /// Writes what is left, and says what has been written.
    pub(super) fn finish(self, requests: u64, quiet: bool) -> Result<(), Failure> {
        let file = self.writer.finish().map_err(|error| Failure::writing(self.path, &error))?;
        file.finish()?;
        if !quiet {
            let start = match self.start {
                RowTime::Civil(start) => format!("; t = 0 is {start}, which a scenario says with start:"),
                RowTime::Offset(_) => String::new(),
            };
            tell(&format!("{}: {requests} requests{start}", self.path.display()));
        }
        Ok(())
    }
}

//! Runs a run to its end, slice by slice, with progress.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use scaletwin_core::record::RunRecord;
use scaletwin_core::units::{Span, Time};
use scaletwin_reports::Scaling;
use scaletwin_sim::world::run::Run;
use scaletwin_sim::world::settings::RunSettings;

use super::folder::Folder;
use super::timing::Timer;
use crate::failure::Failure;

/// The longest slice.
const DAY: Span = Span::from_secs(86_400);

/// A run under way, and where what it writes goes.
pub(super) struct Driven {
    pub folder: Option<Folder>,
    pub scaling: Scaling,
    /// Up to where it has run.
    pub at: Time,
}

impl Driven {
    /// Runs to the end.
    pub(super) fn drive(&mut self, run: &mut Run, progress: &Progress) -> Result<(), Failure> {
        // Slices of simulated time that take about a tenth of a second.
        let mut slice = Span::from_secs(1);
        loop {
            let timer = Timer::start();
            self.at = self.at.saturating_add(slice);
            let over = run_until(run, self.at)?;
            self.take(run)?;
            if over {
                return Ok(());
            }
            progress.show(self.at, run.arrived());
            slice = match timer.elapsed() {
                took if took < Duration::from_millis(50) => (slice * 2).min(DAY),
                took if took > Duration::from_millis(200) => (slice / 2).max(Span::from_millis(1)),
                _ => slice,
            };
        }
    }

    /// Takes away what has been recorded, so that it needs no memory.
    fn take(&mut self, run: &mut Run) -> Result<(), Failure> {
        let (decisions, requests) = (run.take_decisions(), run.take_requests());
        self.scaling.read(&decisions);
        match &mut self.folder {
            Some(folder) => folder.add(&decisions, &requests),
            None => Ok(()),
        }
    }

    /// Ends the run.
    pub(super) fn close(&mut self, run: Run) -> Result<RunRecord, Failure> {
        let (record, requests) = run.close();
        if let Some(folder) = &mut self.folder {
            folder.add("", &requests)?;
        }
        Ok(record)
    }
}

/// Runs up to `until`. Whether the run is over.
pub(super) fn run_until(run: &mut Run, until: Time) -> Result<bool, Failure> {
    run.run_until(until).map_err(|error| Failure::of("the run cannot go on", &error))
}

/// A progress bar on stderr, if that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// None.
    pub(super) fn none() -> Progress {
        Progress { bar: ProgressBar::hidden() }
    }

    /// Of a run: simulated time where its end is known, requests where it is not.
    pub(super) fn of_run(settings: &RunSettings) -> Progress {
        let until = settings.streams.iter().map(|stream| stream.until).max();
        let end = until.unwrap_or(Time::NEVER).min(settings.cut);
        if end == Time::NEVER {
            return Progress::new(ProgressBar::no_length(), "{spinner} {msg}  {elapsed}");
        }
        let bar = ProgressBar::new(end.as_nanos());
        Progress::new(bar, "{wide_bar} {percent:>3} %  {msg}  {eta} left")
    }

    /// Of replications.
    pub(super) fn of_study(runs: usize) -> Progress {
        Progress::new(ProgressBar::new(runs as u64), "{wide_bar} {pos}/{len} replications  {eta} left")
    }

    fn new(bar: ProgressBar, template: &str) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::none();
        }
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(template).expect("a template of ours"));
        Progress { bar }
    }

    fn show(&self, at: Time, arrived: u64) {
        self.bar.set_position(at.as_nanos().min(self.bar.length().unwrap_or(u64::MAX)));
        self.bar.set_message(format!("{arrived} requests, simulated {at:.0}"));
    }

    /// One more replication is over.
    pub(super) fn one_more(&self) {
        self.bar.inc(1);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

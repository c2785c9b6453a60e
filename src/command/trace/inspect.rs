//! `scaletwin trace inspect`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use scaletwin_reports::traffic;
use scaletwin_sim::traffic::statistics::{Facts, Tally, WIDTHS};
use scaletwin_sim::traffic::trace::{LeftOut, RowTime};

use super::source::Source;
use crate::failure::Failure;
use crate::{Answer, output, print};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Write the text and charts there, too
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Shows what a trace is like.
pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let mut facts = Facts::default();
    let left_out = args.source.read(|row| {
        facts.add(&row);
        Ok(())
    })?;
    let text = text(&args.source, &facts, &left_out);
    if let Some(out) = &args.out {
        write(out, &text, &facts)?;
    }
    print(&text)?;
    Ok(Answer::Done)
}

fn write(out: &Path, text: &str, facts: &Facts) -> Result<(), Failure> {
    std::fs::create_dir_all(out).map_err(|error| Failure::writing(out, &error))?;
    let put = |name: &str, text: &str| output::write(&out.join(name), text);
    put("inspect.txt", text)?;
    let (rates, width) = facts.over_time();
    put("rate.svg", &traffic::rates(&rates, width))?;
    match facts.day() {
        Some(day) => put("day.svg", &traffic::day(&day)),
        None => Ok(()),
    }
}

fn text(source: &Source, facts: &Facts, left_out: &LeftOut) -> String {
    let mut text = String::new();
    let drawn = if source.format.is_drawn() { ", arrivals drawn" } else { "" };
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<22} {value}").expect("a String takes everything");
    };
    line("trace", format!("{} ({}{drawn})", source.name(), source.format.name()));
    line("requests", facts.requests().to_string());
    if !left_out.is_nothing() {
        line("left out", left_out.to_string());
    }
    if let Some(RowTime::Civil(first)) = facts.first() {
        line("first request", first.to_string());
    }
    line("first to last", format!("{:.3} s", facts.seconds()));
    let unknown = || "-".to_owned();
    line("mean rate", facts.rate().map_or_else(unknown, |rate| format!("{rate:.4}/s")));
    line("peak", format!("{} in 1 s", facts.peak()));
    let gaps = facts.gaps();
    line("gaps, mean", gaps.map_or_else(unknown, |(mean, _)| format!("{mean:.6} s")));
    line("gaps, cv", gaps.map_or_else(unknown, |(_, cv)| format!("{cv:.3}")));
    for (index, width) in facts.dispersion().into_iter().zip(WIDTHS) {
        let name = format!("dispersion, {width} s");
        line(&name, index.map_or_else(unknown, |index| format!("{index:.3}")));
    }
    line("prompt tokens", tokens(&facts.prompt));
    line("output tokens", tokens(&facts.output));
    match facts.day() {
        Some(day) => cycle(&day, &mut text),
        None => line("cycle of a day", "the trace is shorter than a day".to_owned()),
    }
    text
}

fn tokens(tally: &Tally) -> String {
    let quantile = |share: f64| tally.quantile(share).unwrap_or_default();
    match tally.mean() {
        None => "the trace has none".to_owned(),
        Some(mean) => format!(
            "mean {mean:.1}, p50 {}, p90 {}, p95 {}, p99 {}, max {}",
            quantile(0.5),
            quantile(0.9),
            quantile(0.95),
            quantile(0.99),
            quantile(1.0)
        ),
    }
}

/// The hours of a day, with bars.
fn cycle(day: &[f64], text: &mut String) {
    let most = day.iter().copied().fold(0.0, f64::max);
    writeln!(text, "cycle of a day (UTC where the trace has civil instants, else from its start)")
        .expect("a String takes everything");
    for (hour, rate) in day.iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 40")]
        let length = if most > 0.0 { (rate / most * 40.0).round() as usize } else { 0 };
        let row = format!("  {hour:02}:00  {rate:>12.4}/s  {}", "#".repeat(length));
        writeln!(text, "{}", row.trim_end()).expect("a String takes everything");
    }
}

//! A study as text.

use std::fmt::Write as _;

use scaletwin_core::record::{Estimate, Study};

use crate::figures::{digits, dollars, percent, seconds};

/// What a figure is measured in, by its path.
fn phrase(path: &str, value: f64) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    if path.contains("_seconds") {
        seconds(value)
    } else if last.contains("usd") {
        dollars(value)
    } else if last == "attainment" || last.ends_with("_share") {
        percent(value)
    } else {
        digits(value)
    }
}

/// Figures that the text shows; `study.json` has all.
fn shown(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    let latency = ["ttft_seconds", "tpot_seconds", "e2e_seconds", "wait_seconds"]
        .into_iter()
        .any(|metric| path.contains(&format!(".{metric}.")));
    (latency && matches!(last, "mean" | "p95"))
        || matches!(last, "attainment" | "met" | "total_usd" | "goodput_per_second")
        || path.ends_with("replicas.mean")
}

/// The text of a study: mean, interval and extremes of the figures that people look at first.
#[must_use]
pub fn text(study: &Study) -> String {
    let mut text = String::new();
    let runs = study.seeds.len();
    let (first, last) = (study.seeds.first().unwrap_or(&0), study.seeds.last().unwrap_or(&0));
    write_line(&mut text, &format!("{}: {runs} replications, seeds {first} to {last}", study.scenario));
    write_line(&mut text, "95 % intervals of the mean by Student's distribution");
    let figures: Vec<_> = study.figures.iter().filter(|(path, _)| shown(path)).collect();
    let width = figures.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
    for (path, estimate) in figures {
        if path.ends_with(".met") {
            let runs = estimate.count;
            let met = digits(estimate.mean * runs as f64);
            write_line(&mut text, &format!("  {path:<width$}  in {met} of {runs} runs"));
            continue;
        }
        let Estimate { count, mean, half_width_95, min, max } = estimate;
        let of = if *count < runs as u64 { format!(" in {count} of {runs} runs") } else { String::new() };
        let interval = half_width_95.map(|half| format!(" ± {}", phrase(path, half)));
        let line = format!(
            "  {path:<width$}  {}{}   ({} to {}){of}",
            phrase(path, *mean),
            interval.unwrap_or_default(),
            phrase(path, *min),
            phrase(path, *max),
        );
        write_line(&mut text, &line);
    }
    text
}

fn write_line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes everything");
}

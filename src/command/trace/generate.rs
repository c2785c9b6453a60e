//! `scaletwin trace generate`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;
use scaletwin_core::random::{Law, Seed};
use scaletwin_core::units::{Span, Time};
use scaletwin_sim::traffic::arrivals::{GeneratorSettings, GeneratorState, Process};
use scaletwin_sim::traffic::curve::Curve;
use scaletwin_sim::traffic::statistics::{Facts, Tally, WIDTHS, weibull};
use scaletwin_sim::traffic::trace::{Row, RowTime};

use super::convert::Target;
use super::source::Source;
use crate::failure::Failure;
use crate::{Answer, output, print, tell};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The arrival process
    #[arg(long, value_enum, default_value_t = Arrivals::Auto)]
    arrivals: Arrivals,
    /// How many values stand for the lengths
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    values: u32,
    /// Write a synthetic trace there, with as many requests; `.csv` is our CSV, `.jsonl` our JSON lines
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The arrival process that is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arrivals {
    /// Of the renewal processes below, the one whose gaps are nearest to those of the trace
    Auto,
    /// Exponential gaps
    Poisson,
    /// Gamma gaps
    Gamma,
    /// Weibull gaps
    Weibull,
    /// Hyperexponential gaps, for a cv of at least 1
    Hyperexponential,
    /// The rates of the hours of a day, with gaps of the trace's variation around them
    Profile,
}

/// A process that has been fitted.
struct Fit {
    /// As a scenario has it.
    written: String,
    process: Process,
    /// The distance of its gaps to those of the trace.
    distance: Option<f64>,
}

/// Fits a stream of traffic to a trace.
pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    if let Some(out) = &args.out {
        output::keep_apart(out, [args.source.path()])?;
    }
    let mut facts = Facts::default();
    args.source.read(|row| {
        facts.add(&row);
        Ok(())
    })?;
    let fit = fit(&facts, args.arrivals)?;
    let lengths = [&facts.prompt, &facts.output].map(|tally| values_of(tally, args.values));
    print(&stanza(&args.source, &facts, &fit, &lengths))?;
    if let Some(out) = &args.out {
        synthesise(args, &facts, fit, &lengths, out)?;
    }
    Ok(Answer::Done)
}

/// The candidates of a choice, and the nearest of them.
fn fit(facts: &Facts, asked: Arrivals) -> Result<Fit, Failure> {
    let (Some(rate), Some((mean, cv))) = (facts.rate(), facts.gaps()) else {
        return Err(Failure::Other("all requests arrive at one instant: there is no rate to fit".to_owned()));
    };
    if asked == Arrivals::Profile {
        return profile(facts, cv);
    }
    let all = [Arrivals::Poisson, Arrivals::Gamma, Arrivals::Weibull, Arrivals::Hyperexponential];
    let candidates = all.into_iter().filter(|kind| asked == Arrivals::Auto || *kind == asked);
    let fits: Vec<Fit> = candidates.filter_map(|kind| renewal(kind, rate, mean, cv, facts)).collect();
    let nearest =
        fits.into_iter().min_by(|a, b| a.distance.unwrap_or(2.0).total_cmp(&b.distance.unwrap_or(2.0)));
    nearest.ok_or_else(|| {
        Failure::Other(format!("gaps of cv {cv:.4} do not fit; --arrivals auto takes one that does"))
    })
}

/// A renewal process with the trace's rate and, but for Poisson, its variation.
fn renewal(kind: Arrivals, rate: f64, mean: f64, cv: f64, facts: &Facts) -> Option<Fit> {
    let (written, gaps) = match kind {
        Arrivals::Poisson => (format!("{{poisson: {{rate: {rate}/s}}}}"), Law::Exponential { mean }),
        Arrivals::Gamma if (1e-3..=1e3).contains(&cv) => {
            let law = Law::Gamma { shape: 1.0 / (cv * cv), scale: mean * cv * cv };
            (format!("{{gamma: {{rate: {rate}/s, cv: {cv}}}}}"), law)
        }
        Arrivals::Weibull if (0.02..=20.0).contains(&cv) => {
            let law = weibull(mean, cv);
            let Law::Weibull { shape, .. } = &law else { return None };
            (format!("{{weibull: {{rate: {rate}/s, shape: {shape}}}}}"), law)
        }
        Arrivals::Hyperexponential if cv >= 1.0 => {
            (format!("{{hyperexponential: {{rate: {rate}/s, cv: {cv}}}}}"), Law::hyperexponential(mean, cv))
        }
        _ => return None,
    };
    let distance = Some(facts.distance(&gaps));
    Some(Fit { written, process: Process::Renewal { gaps }, distance })
}

/// The hours of a day.
fn profile(facts: &Facts, cv: f64) -> Result<Fit, Failure> {
    let Some(day) = facts.day() else {
        return Err(Failure::Other("--arrivals profile needs a trace of a day or more".to_owned()));
    };
    let rates: Vec<String> = day.iter().map(|rate| format!("{rate}/s")).collect();
    let cv = cv.clamp(0.01, 100.0);
    let written = format!("{{profile: {{period: 1d, rates: [{}], cv: {cv}}}}}", rates.join(", "));
    let gaps = Law::Gamma { shape: 1.0 / (cv * cv), scale: cv * cv };
    let process = Process::Varying { curve: Curve::profile(&day, 86_400.0, false), gaps };
    Ok(Fit { written, process, distance: None })
}

/// Values that are equally likely, each the mean of as large a part of all, as a whole number; `None` without lengths.
fn values_of(tally: &Tally, values: u32) -> Option<Vec<f64>> {
    let means = tally.means_of_parts(values)?;
    Some(means.into_iter().map(|mean| mean.round().max(1.0)).collect())
}

fn stanza(source: &Source, facts: &Facts, fit: &Fit, lengths: &[Option<Vec<f64>>; 2]) -> String {
    let mut text = String::new();
    let mut line = |written: String| writeln!(text, "{written}").expect("a String takes everything");
    line(format!("# fitted to {}", source.name()));
    if let Some(distance) = fit.distance {
        line(format!("# largest difference between the distributions of gaps: {distance:.3}"));
    }
    for (index, width) in facts.dispersion().into_iter().zip(WIDTHS) {
        if let Some(index) = index {
            line(format!("# the trace's index of dispersion in windows of {width} s: {index:.3}"));
        }
    }
    line("traffic:".to_owned());
    line("  - name: fitted".to_owned());
    line(format!("    requests: {}", facts.requests()));
    line(format!("    arrivals: {}", fit.written));
    for (key, values) in ["prompt_tokens", "output_tokens"].into_iter().zip(lengths) {
        if let Some(values) = values {
            let values: Vec<String> = values.iter().map(f64::to_string).collect();
            line(format!("    {key}: {{empirical: {{values: [{}]}}}}", values.join(", ")));
        }
    }
    text
}

/// Writes requests of the process and the lengths that have been fitted.
fn synthesise(
    args: &Args,
    facts: &Facts,
    fit: Fit,
    lengths: &[Option<Vec<f64>>; 2],
    out: &std::path::Path,
) -> Result<(), Failure> {
    let law = |values: &Option<Vec<f64>>| match values {
        Some(values) => Law::empirical(values, &vec![1.0; values.len()]).ok(),
        None => Some(Law::Constant { value: 1.0 }),
    };
    let [Some(prompt_tokens), Some(output_tokens)] = lengths.each_ref().map(law) else {
        return Err(Failure::Other("the trace has no lengths".to_owned()));
    };
    let settings = GeneratorSettings {
        process: fit.process,
        prompt_tokens,
        output_tokens,
        most_tokens: (u32::MAX, u32::MAX),
        requests: Some(facts.requests()),
    };
    let mut state = GeneratorState::new(&settings, Seed(args.source.seed), "fitted", Time::ZERO);
    let mut target = Target::create(out, RowTime::Offset(Span::ZERO))?;
    let (mut written, mut synthetic) = (0u64, Facts::default());
    while let Some((number, at, prompt, output)) = state.take(&settings) {
        let row = Row {
            at: RowTime::Offset(at.since(Time::ZERO)),
            prompt_tokens: lengths[0].as_ref().map(|_| prompt),
            output_tokens: lengths[1].as_ref().map(|_| output),
            priority: None,
            service: None,
            prefix: None,
            line: number,
        };
        synthetic.add(&row);
        target.write(&row)?;
        written += 1;
    }
    target.finish(written, args.source.quiet)?;
    if !args.source.quiet {
        for ((theirs, ours), width) in facts.dispersion().into_iter().zip(synthetic.dispersion()).zip(WIDTHS)
        {
            if let (Some(theirs), Some(ours)) = (theirs, ours) {
                tell(&format!("index of dispersion, {width} s: {ours:.3}; the trace has {theirs:.3}"));
            }
        }
    }
    Ok(())
}

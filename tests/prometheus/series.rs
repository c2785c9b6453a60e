//! Generated series: counters with resets, gauges, gaps, histograms, and values that are none.

use scaletwin_core::random::{Draws, Seed};
use scaletwin_sim::scrape::promql::{Labels, Point, Series};

/// The first instant of the series, ms since 1970: a whole minute.
pub(crate) const START: i64 = 1_700_000_040_000;

/// How long they last, ms.
pub(crate) const LENGTH: i64 = 3_600_000;

/// From one scrape to the next, ms.
const INTERVAL: i64 = 15_000;

/// The bounds of buckets, as exporters write them.
const BOUNDS: [&str; 6] = ["0.1", "0.5", "1", "2.5", "10", "+Inf"];

/// All series, each from draws of its own.
pub(crate) fn generated(seed: Seed) -> Vec<Series> {
    let component = seed.component("series");
    let mut all = Vec::new();
    for (number, labels) in (0u64..).zip(label_sets()) {
        let mut draws = component.entity(number);
        let name = labels.get("__name__").to_owned();
        let value: Box<dyn FnMut(&mut Draws) -> f64> = match name.as_str() {
            "requests_total" | "young_total" | "tokens_total" => counter(),
            "share" => Box::new(|draws| draws.uniform()),
            "flat" => Box::new(|_| 42.0),
            "odd" => Box::new(odd),
            _ => Box::new(|draws| draws.below(7) as f64),
        };
        let points = points(&name, &mut draws, value);
        all.push(Series { labels, points });
    }
    all.extend(histograms(&component.entity(10_000)));
    all
}

fn labels(name: &str, others: &[(&str, &str)]) -> Labels {
    Labels::new(others.iter().copied().chain([("__name__", name)]))
}

fn label_sets() -> Vec<Labels> {
    let mut sets = Vec::new();
    for job in ["a", "b"] {
        for pod in ["p0", "p1", "p2"] {
            for code in ["200", "500"] {
                sets.push(labels("requests_total", &[("job", job), ("pod", pod), ("code", code)]));
            }
            sets.push(labels("queue", &[("job", job), ("pod", pod)]));
            sets.push(labels("share", &[("job", job), ("pod", pod)]));
            sets.push(labels("tokens_total", &[("job", job), ("pod", pod), ("kind", "out")]));
        }
        sets.push(labels("limit", &[("job", job), ("team", if job == "a" { "red" } else { "blue" })]));
    }
    sets.push(labels("young_total", &[("pod", "p0")]));
    sets.push(labels("young_total", &[("pod", "p1")]));
    sets.push(labels("flat", &[]));
    sets.push(labels("odd", &[("pod", "p0"), ("note", "one\ntwo")]));
    sets.push(labels("odd", &[("pod", "p1"), ("note", "x{y}z \"q\" \\ é")]));
    sets.push(labels("grid", &[("pod", "p0")]));
    sets
}

/// A counter that starts anew now and then.
fn counter() -> Box<dyn FnMut(&mut Draws) -> f64> {
    let mut value = 0.0;
    Box::new(move |draws| {
        if draws.below(40) == 0 {
            value = 0.0;
        } else {
            value += draws.below(9) as f64 * 1.5;
        }
        value
    })
}

fn odd(draws: &mut Draws) -> f64 {
    match draws.below(9) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => 1e300,
        4 => -1e-300,
        _ => draws.below(2_000_000) as f64 / 1e3 - 1e3,
    }
}

/// The instants of samples: on whole minutes for `grid`, else jittered, with gaps, and late for young series.
fn points(name: &str, draws: &mut Draws, mut value: impl FnMut(&mut Draws) -> f64) -> Vec<Point> {
    if name == "grid" {
        let of = |step: i64| Point { at: START + step * 60_000, value: Some(value(draws)) };
        return (0..20).map(of).collect();
    }
    let mut at = START + jitter(draws, INTERVAL);
    if name == "young_total" {
        at += LENGTH / 3;
    }
    let mut points = Vec::new();
    while at < START + LENGTH {
        points.push(Point { at, value: Some(value(draws)) });
        at += INTERVAL + jitter(draws, 3) - 1;
        if draws.below(30) == 0 {
            at += jitter(draws, 500_000);
        }
    }
    points
}

fn jitter(draws: &mut Draws, below: i64) -> i64 {
    i64::try_from(draws.below(below.unsigned_abs())).expect("bounds are small")
}

/// Buckets, sum and count of a histogram of two pods, scraped together.
fn histograms(draws: &Draws) -> Vec<Series> {
    let mut all = Vec::new();
    for pod in ["p0", "p1"] {
        let mut draws = *draws;
        let mut counts = [0u64; BOUNDS.len()];
        let mut series: Vec<Series> = BOUNDS
            .iter()
            .map(|le| Series {
                labels: labels("wait_bucket", &[("pod", pod), ("le", le)]),
                points: Vec::new(),
            })
            .collect();
        let offset = if pod == "p0" { 0 } else { 7_301 };
        for step in 0..LENGTH / INTERVAL {
            for place in 0..BOUNDS.len() {
                let more = draws.below(if pod == "p0" { 4 } else { 2 });
                counts[place..].iter_mut().for_each(|count| *count += more);
            }
            if draws.below(60) == 0 {
                counts = [0; BOUNDS.len()];
            }
            for (series, count) in series.iter_mut().zip(counts) {
                let at = START + step * INTERVAL + offset;
                series.points.push(Point { at, value: Some(count as f64) });
            }
        }
        all.extend(series);
    }
    all
}

/// The series in the OpenMetrics text format.
pub(crate) fn exposed(all: &[Series]) -> String {
    let mut text = String::new();
    for Series { labels, points } in all {
        let name = labels.get("__name__");
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let list: Vec<String> = labels
            .iter()
            .filter(|(label, _)| *label != "__name__")
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        for Point { at, value } in points {
            let value = value.expect("blocks cannot hold staleness markers, so none is generated");
            let value = value.to_string().replace("inf", "Inf");
            text += &format!("{name}{{{}}} {value} {}.{:03}\n", list.join(","), at / 1000, at % 1000);
        }
    }
    text + "# EOF\n"
}

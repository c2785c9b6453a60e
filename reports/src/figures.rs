//! Figures for people: three digits, with units.

use scaletwin_core::record::{Elasticity, Outcome, OutcomeCounts, StageSummary};

/// Seconds in the unit that fits: `82.3 s`, `41.3 ms`, `12 µs`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        0.0 => "0 s".to_owned(),
        value if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
        value if value < 1.0 => format!("{} ms", digits(value * 1e3)),
        value => format!("{} s", digits(value)),
    }
}

/// Seconds, or a dash.
pub(crate) fn seconds_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), seconds)
}

/// Three digits.
pub(crate) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A share in percent. What is not quite all or nothing does not look like it.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 99.9 && percent < 100.0 {
        // Cut, not rounded.
        let decimals = if percent > 99.99 { 1e3 } else { 1e2 };
        return format!("{} %", ((percent * decimals).floor() / decimals).min(99.999));
    }
    format!("{percent:.1} %")
}

/// The name of a quantile: `p95`, `p99.99`.
pub(crate) fn quantile(share: f64) -> String {
    let percent = format!("{:.4}", share * 100.0);
    format!("p{}", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// Dollars.
pub(crate) fn dollars(value: f64) -> String {
    let decimals = if value.abs() < 1.0 { 4 } else { 2 };
    format!("${value:.decimals$}")
}

/// Energy in the unit that fits.
pub(crate) fn energy(kwh: f64) -> String {
    if kwh < 1.0 { format!("{} Wh", digits(kwh * 1e3)) } else { format!("{} kWh", digits(kwh)) }
}

/// A count with thin groups: `21 119`.
pub(crate) fn count(value: u64) -> String {
    let text = value.to_string();
    let mut grouped = String::new();
    for (place, digit) in text.chars().enumerate() {
        if place > 0 && (text.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// How many requests ended how, those that did not happen left out.
pub(crate) fn outcomes(requests: &OutcomeCounts) -> String {
    let ends = Outcome::ALL.into_iter().filter(|outcome| requests.of(*outcome) > 0);
    let ends =
        ends.map(|outcome| format!("{} {}", count(requests.of(outcome)), outcome.name().replace('_', " ")));
    ends.collect::<Vec<_>>().join(", ")
}

/// How well replicas followed demand.
pub(crate) fn elasticity_line(elasticity: &Elasticity) -> String {
    format!(
        "a replica serves {} a second: {} of demand missing ({} of the time), {} too much ({} of the time), {} against demand",
        digits(elasticity.capacity_per_second),
        percent(elasticity.theta_u),
        percent(elasticity.tau_u),
        percent(elasticity.theta_o),
        percent(elasticity.tau_o),
        percent(elasticity.instability),
    )
}

/// What the time from decision to ready was made of, stage by stage.
pub(crate) fn stages_line(stages: &[StageSummary]) -> String {
    let parts = stages.iter().map(|stage| format!("{} {}", stage.name, seconds(stage.mean_seconds)));
    format!("a start on average: {}", parts.collect::<Vec<_>>().join(", "))
}

/// An instant of a run as hours, minutes and seconds.
pub(crate) fn clock(seconds: f64) -> String {
    let whole = seconds.floor();
    let (hours, minutes) = ((whole / 3600.0).floor(), (whole / 60.0).floor() % 60.0);
    format!("{hours:02}:{minutes:02}:{:02}", whole % 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(
            [82.342, 0.041_25, 0.000_012, 1.0, 1234.5].map(seconds),
            ["82.3 s", "41.2 ms", "12 µs", "1 s", "1234 s"]
        );
        assert_eq!(
            [0.852_8, 0.999_43, 0.999_999_9, 1.0, 0.0].map(percent),
            ["85.3 %", "99.94 %", "99.999 %", "100.0 %", "0.0 %"]
        );
        assert_eq!([999, 1_000, 1_234_567].map(count), ["999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!(clock(5025.9), "01:23:45");
        assert_eq!([0.012, 1.65].map(energy), ["12 Wh", "1.65 kWh"]);
    }
}

//! Charts of a trace, each a picture of its own.

use crate::chart::{BLUE, Chart, Form, Line, ORANGE, Scale, Time, WIDE};
use crate::figures::digits;

/// Rates over time, per second, in windows of `width` seconds, as SVG.
#[must_use]
pub fn rates(rates: &[f64], width: f64) -> String {
    chart("Requests per second over time", rates, width, BLUE)
}

/// Rates in the hours of a day, per second, as SVG.
#[must_use]
pub fn day(rates: &[f64]) -> String {
    chart("Requests per second in the hours of a day", rates, 3_600.0, ORANGE)
}

fn chart(title: &str, rates: &[f64], width: f64, color: plotters::style::RGBColor) -> String {
    let points = rates.iter().enumerate().map(|(place, rate)| (place as f64 * width, Some(*rate))).collect();
    let line = Line { name: "requests per second".into(), color, form: Form::Steps, points };
    let chart = Chart {
        title,
        unit: "requests/s",
        lines: vec![line],
        limit: None,
        phrase: digits,
        scale: Scale::Linear,
        marks: Vec::new(),
        stacked: false,
    };
    chart.svg(&Time { end: rates.len() as f64 * width, window: width, warm_up: 0.0 }, &WIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_are_pictures_of_their_own() {
        for svg in [rates(&[1.0, 5.0, 0.0], 60.0), day(&[2.0; 24]), rates(&[], 1.0)] {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        }
    }
}

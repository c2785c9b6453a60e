//! Charts over the time of a run, as SVG.

use std::fmt::Write as _;

use plotters::prelude::*;

use crate::figures::clock;

/// A chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart<'a> {
    /// What it shows, with the unit.
    pub title: &'a str,
    pub lines: Vec<Line>,
    /// A limit, drawn across.
    pub limit: Option<f64>,
    /// How values are written.
    pub phrase: fn(f64) -> String,
    /// Whether a line keeps its value up to the next point.
    pub steps: bool,
}

/// A line of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub name: String,
    pub color: RGBColor,
    /// Seconds and value; a gap where there is no value.
    pub points: Vec<(f64, Option<f64>)>,
}

/// Width and height of a chart in user units, and where its plotting area lies.
pub(crate) const SIZE: (u32, u32) = (960, 190);
pub(crate) const LEFT: u32 = 72;
pub(crate) const RIGHT: u32 = 16;

/// The colors of lines: told apart with every kind of sight.
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const ORANGE: RGBColor = RGBColor(230, 120, 0);
pub(crate) const GREEN: RGBColor = RGBColor(0, 140, 100);
const RED: RGBColor = RGBColor(200, 40, 40);
const GREY: RGBColor = RGBColor(128, 128, 128);

impl Chart<'_> {
    /// The SVG of the chart from 0 to `end` seconds, each window `width` seconds long; empty if nothing can be drawn.
    pub(crate) fn svg(&self, end: f64, width: f64) -> String {
        let mut svg = String::new();
        match self.draw(&mut svg, end, width) {
            Ok(()) => svg,
            Err(why) => {
                let mut text = String::new();
                write!(text, "<p>This chart cannot be drawn: {why}</p>").expect("a String takes everything");
                text
            }
        }
    }

    /// The highest value that is to be seen.
    fn top(&self) -> f64 {
        let values = self.lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value);
        let top = values.chain(self.limit).fold(0.0, f64::max);
        if top > 0.0 { top * 1.08 } else { 1.0 }
    }

    fn draw(&self, svg: &mut String, end: f64, width: f64) -> Result<(), String> {
        let told = |error: DrawingAreaErrorKind<_>| error.to_string();
        let end = end.max(1e-9);
        // In units of a round time, so that the labels fall on round times.
        let unit = round_time(end / 9.0);
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(10)
            .margin_right(RIGHT)
            .x_label_area_size(26)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..end / unit, 0.0..self.top())
            .map_err(told)?;
        chart
            .configure_mesh()
            .x_labels(10)
            .y_labels(4)
            .axis_style(GREY)
            .bold_line_style(GREY.mix(0.25))
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 12, &GREY))
            .x_label_formatter(&|units| clock((*units * unit).round()))
            .y_label_formatter(&|value| (self.phrase)(*value))
            .draw()
            .map_err(told)?;
        for line in &self.lines {
            for part in line.parts(width, self.steps) {
                let part = part.into_iter().map(|(at, value)| (at / unit, value));
                chart.draw_series(LineSeries::new(part, line.color.stroke_width(2))).map_err(told)?;
            }
        }
        if let Some(limit) = self.limit {
            chart
                .draw_series(DashedLineSeries::new([(0.0, limit), (end / unit, limit)], 6, 4, RED.into()))
                .map_err(told)?;
        }
        root.present().map_err(told)
    }
}

/// The least round time that is not below `seconds`.
fn round_time(seconds: f64) -> f64 {
    const ROUND: [f64; 14] = [
        1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0,
        604_800.0,
    ];
    ROUND.into_iter().find(|time| *time >= seconds).unwrap_or(seconds)
}

impl Line {
    /// The stretches without gaps. A value stands for its whole window.
    fn parts(&self, width: f64, steps: bool) -> Vec<Vec<(f64, f64)>> {
        let mut parts: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
        for (at, value) in &self.points {
            let last = parts.last_mut().expect("there is always one");
            match value {
                Some(value) if steps => last.extend([(*at, *value), (at + width, *value)]),
                Some(value) => last.push((at + width / 2.0, *value)),
                None if !last.is_empty() => parts.push(Vec::new()),
                None => {}
            }
        }
        // A single value is a short line, or it would not be seen.
        for part in parts.iter_mut().filter(|part| part.len() == 1) {
            let (at, value) = part[0];
            *part = vec![(at - width / 2.0, value), (at + width / 2.0, value)];
        }
        parts.retain(|part| !part.is_empty());
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>) -> Chart<'static> {
        let line = Line { name: "p95".into(), color: BLUE, points };
        Chart {
            title: "TTFT",
            lines: vec![line],
            limit: Some(1.0),
            phrase: |value| value.to_string(),
            steps: false,
        }
    }

    #[test]
    fn gaps_stay_gaps() {
        let chart = chart(vec![(0.0, Some(1.0)), (60.0, None), (120.0, Some(2.0)), (180.0, Some(3.0))]);
        let parts = chart.lines[0].parts(60.0, false);
        assert_eq!(parts, [vec![(0.0, 1.0), (60.0, 1.0)], vec![(150.0, 2.0), (210.0, 3.0)]]);
    }

    #[test]
    fn charts_without_values_and_without_time_are_drawn() {
        for end in [0.0, 240.0] {
            assert!(chart(Vec::new()).svg(end, 60.0).starts_with("<svg"));
        }
    }
}

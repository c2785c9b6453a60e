//! Charts over the time of a run, as SVG: what is drawn, its scales, and the layers that a page shows or hides.

mod axis;

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) use axis::Scale;
use axis::{Axis, clock_short, round_time};

/// A chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// The unit of its values, beside the axis.
    pub unit: &'a str,
    pub lines: Vec<Line>,
    /// A limit, drawn across.
    pub limit: Option<f64>,
    /// How values are written.
    pub phrase: fn(f64) -> String,
    pub scale: Scale,
    /// Instants that are marked at the top: seconds, and whether something was added rather than taken away.
    pub marks: Vec<(f64, bool)>,
    /// Whether the areas are drawn one upon the other.
    pub stacked: bool,
}

/// How the values of a line are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// From window to window.
    Line,
    /// A value that holds for its window.
    Steps,
    /// The same, filled down to what is below.
    Area,
    /// Steps with gaps in the stroke.
    Dashed,
}

/// A line of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub name: String,
    pub color: RGBColor,
    pub form: Form,
    /// Seconds and value; a gap where there is no value.
    pub points: Vec<(f64, Option<f64>)>,
}

/// The colors of lines: told apart with every kind of sight (Okabe and Ito).
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const SKY: RGBColor = RGBColor(86, 180, 233);
pub(crate) const ORANGE: RGBColor = RGBColor(230, 140, 0);
pub(crate) const GREEN: RGBColor = RGBColor(0, 150, 110);
pub(crate) const RED: RGBColor = RGBColor(204, 60, 40);
pub(crate) const PURPLE: RGBColor = RGBColor(170, 90, 150);
pub(crate) const GREY: RGBColor = RGBColor(128, 128, 128);

/// Where a chart is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paper {
    pub width: u32,
    height: u32,
    pub left: u32,
    pub right: u32,
    /// Labels of the time axis, at most about.
    labels: f64,
    font: u32,
}

/// A page of a usual width, and on paper.
pub(crate) const WIDE: Paper = Paper { width: 960, height: 216, left: 74, right: 16, labels: 9.0, font: 13 };
/// A telephone.
pub(crate) const NARROW: Paper =
    Paper { width: 400, height: 220, left: 58, right: 12, labels: 4.0, font: 12 };

const TOP: u32 = 26;
const BOTTOM: u32 = 24;

/// The time that a chart covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    /// Its end, seconds.
    pub end: f64,
    /// A window, seconds.
    pub window: f64,
    /// What does not count at its beginning, seconds.
    pub warm_up: f64,
}

impl Chart<'_> {
    /// The SVG of the chart: a frame, and a layer for each line.
    pub(crate) fn svg(&self, time: &Time, paper: &Paper) -> String {
        let plot = Plot::of(self, time, paper);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            paper.width,
            paper.height,
            crate::html::escaped(self.title)
        );
        svg += &plot.layer("frame", |area| plot.frame(area, self));
        let stacks = self.stacks();
        for (place, line) in self.lines.iter().enumerate() {
            let drawn =
                plot.layer(&format!("line line-{place}"), |area| plot.line(area, line, &stacks[place]));
            svg += &drawn;
        }
        svg += &plot.layer("marks", |area| plot.marks(area, self));
        svg + "</svg>"
    }

    /// For each line the values on which it stands: those of the areas before it, or nothing.
    fn stacks(&self) -> Vec<Vec<f64>> {
        let length = self.lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
        let mut below = vec![0.0; length];
        let mut stacks = Vec::new();
        for line in &self.lines {
            let stands = self.stacked && line.form == Form::Area;
            stacks.push(if stands { below.clone() } else { vec![0.0; length] });
            if stands {
                for (sum, (_, value)) in below.iter_mut().zip(&line.points) {
                    *sum += value.unwrap_or(0.0);
                }
            }
        }
        stacks
    }

    /// The lowest positive and the highest value that are to be seen.
    fn extent(&self) -> (f64, f64) {
        let stacks = self.stacks();
        let values = self.lines.iter().zip(&stacks).flat_map(|(line, below)| {
            line.points.iter().zip(below).filter_map(|((_, value), below)| Some(value.as_ref()? + below))
        });
        let mut extent = (f64::INFINITY, 0.0f64);
        for value in values.chain(self.limit).filter(|value| *value > 0.0 && value.is_finite()) {
            extent = (extent.0.min(value), extent.1.max(value));
        }
        extent
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), String>;

/// A chart on its paper: from seconds and values to places.
struct Plot<'a> {
    paper: &'a Paper,
    time: &'a Time,
    axis: Axis,
}

impl<'a> Plot<'a> {
    fn of(chart: &Chart<'_>, time: &'a Time, paper: &'a Paper) -> Plot<'a> {
        let (lowest, highest) = chart.extent();
        Plot { paper, time, axis: Axis::of(chart.scale, lowest, highest) }
    }

    /// What `draw` draws, as a group of a class.
    fn layer(&self, class: &str, draw: impl Fn(&Area<'_>) -> Drawn) -> String {
        let mut svg = String::new();
        let drawn = {
            let area =
                SVGBackend::with_string(&mut svg, (self.paper.width, self.paper.height)).into_drawing_area();
            draw(&area).and_then(|()| area.present().map_err(|error| error.to_string()))
        };
        if let Err(why) = drawn {
            return format!(
                "<text x=\"80\" y=\"60\">This cannot be drawn: {}</text>",
                crate::html::escaped(&why)
            );
        }
        // What lies between the tags of the document.
        let inside = svg.find('>').map_or("", |at| &svg[at + 1..]);
        let mut group = String::new();
        let inside = inside.trim().trim_end_matches("</svg>");
        write!(group, "<g class=\"{class}\">{inside}</g>").expect("a String takes everything");
        group
    }

    #[expect(clippy::cast_possible_truncation, reason = "a place on the paper")]
    fn x(&self, seconds: f64) -> i32 {
        let (left, right) = (f64::from(self.paper.left), f64::from(self.paper.width - self.paper.right));
        let share = (seconds / self.time.end.max(1e-9)).clamp(0.0, 1.0);
        (left + share * (right - left)).round() as i32
    }

    #[expect(clippy::cast_possible_truncation, reason = "a place on the paper")]
    fn y(&self, value: f64) -> i32 {
        let (top, bottom) = (f64::from(TOP), f64::from(self.paper.height - BOTTOM));
        (bottom - self.axis.share(value) * (bottom - top)).round() as i32
    }

    fn frame(&self, area: &Area<'_>, chart: &Chart<'_>) -> Drawn {
        let (left, right) = (self.x(0.0), self.x(self.time.end));
        let bottom = self.bottom();
        if self.time.warm_up > 0.0 {
            let over = self.x(self.time.warm_up);
            let shade = Rectangle::new([(left, self.top()), (over, bottom)], GREY.mix(0.12).filled());
            area.draw(&shade).map_err(told)?;
            if over - left > 60 {
                self.write(area, "warm-up", (left + 4, self.top() - 2), HPos::Left, VPos::Bottom)?;
            }
        }
        for tick in self.axis.ticks() {
            let y = self.y(tick);
            area.draw(&PathElement::new([(left, y), (right, y)], GREY.mix(0.25))).map_err(told)?;
            self.write(area, &(chart.phrase)(tick), (left - 6, y), HPos::Right, VPos::Center)?;
        }
        if !chart.unit.is_empty() {
            self.write(area, chart.unit, (4, 2), HPos::Left, VPos::Top)?;
        }
        area.draw(&PathElement::new([(left, bottom), (right, bottom)], GREY)).map_err(told)?;
        let unit = round_time(self.time.end / self.paper.labels);
        let mut at = 0.0;
        while at <= self.time.end {
            let x = self.x(at);
            area.draw(&PathElement::new([(x, bottom), (x, bottom + 4)], GREY)).map_err(told)?;
            // The last label stays on the paper.
            let place = if right - x < 24 { HPos::Right } else { HPos::Center };
            let x = if right - x < 24 { right } else { x };
            self.write(area, &clock_short(at, unit), (x, bottom + 7), place, VPos::Top)?;
            at += unit;
        }
        let Some(limit) = chart.limit else { return Ok(()) };
        let y = self.y(limit);
        for start in (left..right).step_by(10) {
            area.draw(&PathElement::new([(start, y), ((start + 6).min(right), y)], RED.stroke_width(2)))
                .map_err(told)?;
        }
        Ok(())
    }

    fn top(&self) -> i32 {
        i32::try_from(TOP).unwrap_or(0)
    }

    fn bottom(&self) -> i32 {
        i32::try_from(self.paper.height - BOTTOM).unwrap_or(0)
    }

    fn write(&self, area: &Area<'_>, text: &str, at: (i32, i32), h: HPos, v: VPos) -> Drawn {
        let style = ("sans-serif", self.paper.font, &GREY).into_text_style(area).pos(Pos::new(h, v));
        area.draw(&Text::new(text, at, style)).map_err(told)
    }

    fn line(&self, area: &Area<'_>, line: &Line, below: &[f64]) -> Drawn {
        for part in line.parts(self.time, below) {
            let upper = part.iter().map(|point| (self.x(point.at), self.y(point.value))).collect::<Vec<_>>();
            let upper = thinned(upper);
            match line.form {
                Form::Area => {
                    let lower = part.iter().rev().map(|point| (self.x(point.at), self.y(point.below)));
                    let around: Vec<_> = upper.into_iter().chain(thinned(lower.collect())).collect();
                    area.draw(&Polygon::new(around, line.color.mix(0.8))).map_err(told)?;
                }
                Form::Dashed => {
                    for pair in upper.windows(2) {
                        dashes(area, pair[0], pair[1], line.color)?;
                    }
                }
                Form::Line | Form::Steps => {
                    area.draw(&PathElement::new(upper, line.color.stroke_width(2))).map_err(told)?;
                }
            }
        }
        Ok(())
    }

    /// Small triangles: up for more, down for less.
    fn marks(&self, area: &Area<'_>, chart: &Chart<'_>) -> Drawn {
        let mut last: Option<i32> = None;
        for (at, up) in &chart.marks {
            let x = self.x(*at);
            // Marks on the same place say no more than one.
            if last.is_some_and(|last| x - last < 3) {
                continue;
            }
            last = Some(x);
            let (tip, base) = if *up { (10, 18) } else { (18, 10) };
            let (tip, base) = (self.top() - 22 + tip, self.top() - 22 + base);
            let color = if *up { GREEN } else { PURPLE };
            let points = vec![(x, tip), (x - 4, base), (x + 4, base)];
            area.draw(&Polygon::new(points, color.filled())).map_err(told)?;
        }
        Ok(())
    }
}

fn told(error: DrawingAreaErrorKind<std::io::Error>) -> String {
    error.to_string()
}

fn dashes(area: &Area<'_>, from: (i32, i32), to: (i32, i32), color: RGBColor) -> Drawn {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.abs().max(dy.abs()).max(1);
    for start in (0..length).step_by(8) {
        let end = (start + 4).min(length);
        let at = |step: i32| (from.0 + dx * step / length, from.1 + dy * step / length);
        area.draw(&PathElement::new([at(start), at(end)], color.stroke_width(2))).map_err(told)?;
    }
    Ok(())
}

/// The points without those that change nothing: of several on one vertical, the first, the lowest, the highest, the last.
fn thinned(points: Vec<(i32, i32)>) -> Vec<(i32, i32)> {
    let mut kept: Vec<(i32, i32)> = Vec::new();
    let mut rest = &points[..];
    while let Some((x, _)) = rest.first() {
        let same = rest.iter().take_while(|point| point.0 == *x).count();
        let (column, more) = rest.split_at(same);
        let extreme =
            |low: bool| column.iter().copied().reduce(|a, b| if (a.1 < b.1) == low { a } else { b });
        let of_column = [column.first().copied(), extreme(true), extreme(false), column.last().copied()];
        for point in of_column.into_iter().flatten() {
            if kept.last() != Some(&point) {
                kept.push(point);
            }
        }
        rest = more;
    }
    kept
}

/// A place of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    at: f64,
    value: f64,
    below: f64,
}

impl Line {
    /// The stretches without gaps. A value stands for its whole window.
    fn parts(&self, time: &Time, below: &[f64]) -> Vec<Vec<Point>> {
        let mut parts: Vec<Vec<Point>> = vec![Vec::new()];
        for ((at, value), below) in self.points.iter().zip(below) {
            let last = parts.last_mut().expect("there is always one");
            let point = |at: f64, value: f64| Point { at, value: value + below, below: *below };
            match value {
                Some(value) if self.form == Form::Line => last.push(point(at + time.window / 2.0, *value)),
                Some(value) => last.extend([point(*at, *value), point(at + time.window, *value)]),
                None if !last.is_empty() => parts.push(Vec::new()),
                None => {}
            }
        }
        // A single value is a short line, or it would not be seen.
        for part in parts.iter_mut().filter(|part| part.len() == 1) {
            let point = part[0];
            let at = |at: f64| Point { at, ..point };
            *part = vec![at(point.at - time.window / 2.0), at(point.at + time.window / 2.0)];
        }
        parts.retain(|part| !part.is_empty());
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Time = Time { end: 3_600.0, window: 60.0, warm_up: 300.0 };

    fn chart(points: Vec<(f64, Option<f64>)>) -> Chart<'static> {
        let line = Line { name: "p95".into(), color: BLUE, form: Form::Line, points };
        Chart {
            title: "TTFT <p95>",
            unit: "s",
            lines: vec![line],
            limit: Some(1.0),
            phrase: |value| value.to_string(),
            scale: Scale::Logarithmic,
            marks: vec![(60.0, true), (1_800.0, false)],
            stacked: false,
        }
    }

    #[test]
    fn gaps_stay_gaps() {
        let chart = chart(vec![(0.0, Some(1.0)), (60.0, None), (120.0, Some(2.0)), (180.0, Some(3.0))]);
        let parts = chart.lines[0].parts(&HOUR, &[0.0; 4]);
        let places: Vec<Vec<f64>> =
            parts.iter().map(|part| part.iter().map(|point| point.at).collect()).collect();
        assert_eq!(places, [vec![0.0, 60.0], vec![150.0, 210.0]]);
    }

    #[test]
    fn areas_stand_one_upon_the_other() {
        let area = |value: f64| Line {
            name: "a".into(),
            color: RED,
            form: Form::Area,
            points: vec![(0.0, Some(value))],
        };
        let chart =
            Chart { lines: vec![area(2.0), area(3.0)], stacked: true, limit: None, ..chart(Vec::new()) };
        assert_eq!(chart.stacks(), [[0.0], [2.0]]);
        assert_eq!(chart.extent(), (2.0, 5.0));
    }

    #[test]
    fn charts_without_values_and_without_time_are_drawn() {
        for end in [0.0, 240.0, 1e9] {
            for paper in [WIDE, NARROW] {
                let svg = chart(vec![(0.0, Some(f64::INFINITY))]).svg(&Time { end, ..HOUR }, &paper);
                assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
                assert!(
                    svg.contains("aria-label=\"TTFT &lt;p95&gt;\"") && svg.contains("class=\"line line-0\"")
                );
            }
        }
    }

    #[test]
    fn many_points_on_one_place_are_few() {
        let points: Vec<(i32, i32)> = (0..10_000).map(|at| (at / 5_000, at % 7)).collect();
        let few = thinned(points);
        assert!(few.len() <= 8, "{few:?}");
        assert!(few.contains(&(0, 6)) && few.contains(&(1, 0)));
    }
}

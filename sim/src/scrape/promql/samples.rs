//! Where series come from.

use super::{Labels, Matcher};

/// A sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, ms since 1970.
    pub at: i64,
    /// Its value; nothing for a staleness marker: the series ended here, at least for a while.
    pub value: Option<f64>,
}

/// A series of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels, its name among them.
    pub labels: Labels,
    /// Its samples by time; no two at one instant.
    pub points: Vec<Point>,
}

/// A source of series.
pub trait Samples {
    /// Every series that fits all matchers, in the order of labels, with its samples from `from` to `to`, ms since 1970,
    /// both included. Series without a sample there may be left out.
    fn select(&self, matchers: &[Matcher], from: i64, to: i64) -> Vec<Series>;
}

/// Series as they are.
impl Samples for [Series] {
    fn select(&self, matchers: &[Matcher], from: i64, to: i64) -> Vec<Series> {
        let fits = |series: &&Series| matchers.iter().all(|matcher| matcher.fits(&series.labels));
        let cut = |series: &Series| {
            let inside = series.points.iter().filter(|point| point.at >= from && point.at <= to);
            Series { labels: series.labels.clone(), points: inside.copied().collect() }
        };
        let mut found: Vec<Series> = self.iter().filter(fits).map(cut).collect();
        found.sort_by(|one, other| one.labels.cmp(&other.labels));
        found
    }
}

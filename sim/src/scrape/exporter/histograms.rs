//! Histograms that exporters keep.

use scaletwin_core::control::{Kind, SignalScope, signal};
use serde::{Deserialize, Serialize};

use crate::scrape::signals::ScrapedSeries;

/// The histograms that are scraped of one exporter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histograms(Vec<Buckets>);

/// Counts in the buckets of a histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Buckets {
    name: String,
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histograms {
    /// Those that `series` need, of exporters of this scope.
    #[must_use]
    pub fn for_series(series: &[ScrapedSeries], scope: SignalScope) -> Histograms {
        let mut list: Vec<Buckets> = Vec::new();
        for found in series.iter().filter_map(|series| signal(&series.name)) {
            let Kind::Histogram(bounds) = found.kind else { continue };
            if found.scope == scope && !list.iter().any(|buckets| buckets.name == found.name) {
                let (name, counts) = (found.name.to_owned(), vec![0; bounds.len()]);
                list.push(Buckets { name, counts, count: 0, sum: 0.0 });
            }
        }
        Histograms(list)
    }

    /// Whether none is scraped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the histogram `name` is scraped.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|buckets| buckets.name == name)
    }

    /// Counts `times` values of `value` in the histogram `name`, if it is scraped.
    pub fn observe(&mut self, name: &str, value: f64, times: u64) {
        let Some(buckets) = self.0.iter_mut().find(|buckets| buckets.name == name) else { return };
        let Some(Kind::Histogram(bounds)) = signal(&format!("{name}_count")).map(|signal| signal.kind) else {
            return;
        };
        for (count, bound) in buckets.counts.iter_mut().zip(bounds) {
            if value <= *bound {
                *count += times;
            }
        }
        buckets.count += times;
        buckets.sum += value * times as f64;
    }

    /// The values of a series of a histogram, one a label set; `None` where `series` is none.
    #[must_use]
    pub fn values(&self, series: &str) -> Option<Vec<f64>> {
        let found = signal(series).filter(|found| matches!(found.kind, Kind::Histogram(_)))?;
        let Some(buckets) = self.0.iter().find(|buckets| buckets.name == found.name) else {
            return Some(Vec::new());
        };
        Some(match found.suffix(series) {
            Some("_sum") => vec![buckets.sum],
            Some("_count") => vec![buckets.count as f64],
            _ => buckets.counts.iter().chain([&buckets.count]).map(|count| *count as f64).collect(),
        })
    }
}

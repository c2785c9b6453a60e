//! PromQL, for an instant, over any source of series.
//!
//! A [`Query`] is read once, when a scenario is, and evaluated at many instants on a [`Samples`]. What it gives is what
//! Prometheus gives: extrapolation, resets, staleness, matching, label sets, sums in the same order, and errors. Version 2
//! is held against a real server by `tests/prometheus`; where version 3 differs, see [`PrometheusVersion`]. What is not
//! evaluated (native histograms, functions of time of day, trigonometry) is refused by name when the query is read.
//!
//! | module | what it holds |
//! |---|---|
//! | `labels`, `matchers` | label sets, and what selects them |
//! | `samples` | where series come from |
//! | `scan`, `query`, `plan` | from a text to a checked plan, with places for errors |
//! | `evaluate` | the plan at an instant |
//! | `value`, `errors` | what comes of it |
//! | `over_range`, `over_vector`, `buckets`, `quantile` | functions |
//! | `aggregate`, `binary` | operators over series |
//! | `sums` | compensated sums |

mod aggregate;
mod binary;
mod buckets;
mod errors;
mod evaluate;
mod labels;
mod matchers;
mod over_range;
mod over_vector;
mod plan;
mod quantile;
mod query;
mod samples;
mod scan;
mod sums;
mod value;

use scaletwin_core::input::{Node, Problems, Read, Shape, Value as Written};

pub use errors::{EvalError, QueryError};
pub use labels::Labels;
pub use matchers::Matcher;
pub use query::Query;
pub use samples::{Point, Samples, Series};
pub use value::{Sample, Value};

/// Whose rules a query follows, where the major versions of Prometheus differ.
///
/// In version 3 ranges and the lookback leave out a sample exactly at their left edge, `.` in a matcher fits a line break
/// too, sums and means of aggregations are compensated, a spread that begins with NaN or infinity is NaN, buckets that
/// differ by rounding count as equal, and durations are numbers. Version 2 is as of 2.42; 2.52 and later limit the
/// extrapolation of young counters as version 3 does. Sources: the 3.0 migration guide, the changelog, and
/// `promql/{engine,functions,quantile}.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum PrometheusVersion {
    /// 2.x, as of 2.42.
    V2 = 2,
    /// 3.x.
    V3 = 3,
}

impl Read for PrometheusVersion {
    fn read(node: &Node, problems: &mut Problems) -> Option<PrometheusVersion> {
        match node.value {
            Written::Int(2) => Some(PrometheusVersion::V2),
            Written::Int(3) => Some(PrometheusVersion::V3),
            _ => {
                problems.error(&node.place, format!("expected 2 or 3, found {}", node.kind()));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::new("2 or 3", serde_json::json!({"enum": [2, 3]}))
    }

    fn written(&self) -> Option<String> {
        Some(if *self == PrometheusVersion::V2 { "2" } else { "3" }.to_owned())
    }
}

impl PrometheusVersion {
    /// Whether a sample at the left edge `from` of a range or lookback is outside.
    fn is_outside(self, at: i64, from: i64) -> bool {
        match self {
            PrometheusVersion::V2 => at < from,
            PrometheusVersion::V3 => at <= from,
        }
    }
}

/// How far back the last sample of a series is looked for, ms.
pub const LOOKBACK_MS: i64 = 300_000;

/// The step of a subquery without one: Prometheus' default evaluation interval, ms.
const DEFAULT_STEP_MS: i64 = 60_000;

#[cfg(test)]
mod tests;

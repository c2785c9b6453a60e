//! What a query gives.

use super::{Labels, Series};

/// One value of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

impl Sample {
    pub(super) fn new(labels: Labels, value: f64) -> Sample {
        Sample { labels, value }
    }
}

/// What a query gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels.
    Scalar(f64),
    /// A value for each of some series, in the order in which Prometheus gives them.
    Vector(Vec<Sample>),
    /// Samples over a time.
    Matrix(Vec<Series>),
    /// A text.
    Text(String),
}

//! Why a query cannot be read, or has no answer.

use super::Labels;

/// Why a text is no query that can be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// What is wrong, without a final stop.
    pub message: String,
    /// Where in the text, in bytes from its start, if that is known.
    pub offset: Option<usize>,
    /// What to do about it, if there is something to say.
    pub hint: Option<String>,
}

impl QueryError {
    pub(super) fn at(offset: usize, message: impl Into<String>) -> QueryError {
        QueryError { message: message.into(), offset: Some(offset), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> QueryError {
        self.hint = Some(hint.into());
        self
    }
}

/// Why a query has no answer at an instant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// Two series of the side that may have only one.
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{one}, {other}];many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    ManyToMany {
        /// The labels that are matched by.
        group: Labels,
        /// `left` or `right`.
        side: &'static str,
        /// One of the two.
        one: Labels,
        /// The other.
        other: Labels,
    },
    /// Several series on one side without a word that this is meant.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOne,
    /// Several results would have the same labels.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    NotUnique,
    /// A vector with the same labels twice.
    #[error("vector cannot contain metrics with the same labelset")]
    SameLabels,
    /// A number of series that is none.
    #[error("Scalar value {0} overflows int64")]
    Overflow(f64),
}

/// An answer, or why there is none.
pub(super) type Evaluated<T> = Result<T, EvalError>;

//! A query as it is evaluated: every name is resolved, every type is checked.

use regex::Regex;

use super::{LOOKBACK_MS, Labels, Matcher};

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Scalar => "scalar",
            Kind::Vector => "instant vector",
            Kind::Matrix => "range vector",
            Kind::Text => "string",
        }
    }
}

/// When a selector looks: at the instant of evaluation or at one of its own, and how far before it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct When {
    pub(super) at: Option<Anchor>,
    /// ms.
    pub(super) offset: i64,
}

/// An instant of a selector's own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    /// That of the whole query: `start()` and `end()` are one for an instant.
    Query,
    /// ms since 1970.
    Fixed(i64),
}

impl When {
    /// The instant that is looked at from `at`, in a query at `query`.
    pub(super) fn instant(self, at: i64, query: i64) -> i64 {
        let from = match self.at {
            None => at,
            Some(Anchor::Query) => query,
            Some(Anchor::Fixed(fixed)) => fixed,
        };
        from.saturating_sub(self.offset)
    }
}

/// Which series, and when.
#[derive(Debug, Clone)]
pub(super) struct Selector {
    pub(super) matchers: Vec<Matcher>,
    pub(super) when: When,
}

/// Something that gives samples over a time.
#[derive(Debug, Clone)]
pub(super) enum Range {
    Selector { selector: Selector, range: i64 },
    Subquery { inner: Box<Expr>, range: i64, step: i64, when: When },
}

impl Range {
    pub(super) fn when_and_length(&self) -> (When, i64) {
        match self {
            Range::Selector { selector, range } => (selector.when, *range),
            Range::Subquery { when, range, .. } => (*when, *range),
        }
    }
}

/// Which labels take part.
#[derive(Debug, Clone)]
pub(super) enum Grouping {
    /// `by`, `on`: these alone.
    Only(Vec<String>),
    /// `without`, `ignoring`: all but these and the name.
    Without(Vec<String>),
}

impl Grouping {
    pub(super) fn of(&self, labels: &Labels) -> Labels {
        match self {
            Grouping::Only(names) => labels.only(names),
            Grouping::Without(names) => labels.without(names).without_name(),
        }
    }
}

/// Which side may have several series for one of the other.
#[derive(Debug, Clone)]
pub(super) enum Sides {
    OneToOne,
    /// `group_left` with the labels that come from the right.
    ManyToOne(Vec<String>),
    /// `group_right` with the labels that come from the left.
    OneToMany(Vec<String>),
}

/// How series of two vectors find each other.
#[derive(Debug, Clone)]
pub(super) struct Matching {
    pub(super) by: Grouping,
    pub(super) sides: Sides,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOperator {
    And,
    Or,
    Unless,
}

#[derive(Debug, Clone)]
pub(super) enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    TopK(Box<Expr>),
    BottomK(Box<Expr>),
    Quantile(Box<Expr>),
}

/// A function of the samples of one series over a time.
#[derive(Debug, Clone)]
pub(super) enum OverRange {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Avg,
    Min,
    Max,
    Sum,
    Count,
    Last,
    Present,
    Stddev,
    Stdvar,
    Quantile(Box<Expr>),
    Changes,
    Resets,
    Deriv,
    PredictLinear(Box<Expr>),
}

/// A function of one value of each series.
#[derive(Debug, Clone)]
pub(super) enum OfValue {
    Abs,
    Ceil,
    Floor,
    Exp,
    Ln,
    Log2,
    Log10,
    Sqrt,
    Sgn,
    Round(Option<Box<Expr>>),
    Clamp(Box<Expr>, Box<Expr>),
    ClampMin(Box<Expr>),
    ClampMax(Box<Expr>),
}

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Number(f64),
    Text(String),
    Time,
    Select(Selector),
    Range(Range),
    OverRange {
        function: OverRange,
        range: Range,
    },
    AbsentOverTime {
        range: Range,
        labels: Labels,
    },
    OfValue {
        function: OfValue,
        inner: Box<Expr>,
    },
    Negate(Box<Expr>),
    Absent {
        inner: Box<Expr>,
        labels: Labels,
    },
    Timestamp(Box<Expr>),
    /// `vector(scalar)`.
    Vector(Box<Expr>),
    /// `scalar(vector)`.
    Scalar(Box<Expr>),
    Sort {
        inner: Box<Expr>,
        descending: bool,
    },
    HistogramQuantile {
        q: Box<Expr>,
        inner: Box<Expr>,
    },
    LabelReplace {
        inner: Box<Expr>,
        target: String,
        replacement: String,
        source: String,
        pattern: Regex,
    },
    LabelJoin {
        inner: Box<Expr>,
        target: String,
        separator: String,
        sources: Vec<String>,
    },
    Aggregate {
        how: Aggregation,
        inner: Box<Expr>,
        by: Grouping,
    },
    Arithmetic {
        operator: Operator,
        left: Box<Expr>,
        right: Box<Expr>,
        matching: Matching,
        as_bool: bool,
    },
    Set {
        operator: SetOperator,
        left: Box<Expr>,
        right: Box<Expr>,
        by: Grouping,
    },
}

impl Expr {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Expr::Number(_) | Expr::Time | Expr::Scalar(_) => Kind::Scalar,
            Expr::Text(_) => Kind::Text,
            Expr::Range(_) => Kind::Matrix,
            Expr::Negate(inner) => inner.kind(),
            Expr::Arithmetic { left, right, .. } => match (left.kind(), right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
            _ => Kind::Vector,
        }
    }

    /// The expressions directly inside, without those that select for a range.
    fn inner(&self) -> Vec<&Expr> {
        match self {
            Expr::Number(_) | Expr::Text(_) | Expr::Time | Expr::Select(_) | Expr::Range(_) => Vec::new(),
            Expr::AbsentOverTime { .. } => Vec::new(),
            Expr::OverRange {
                function: OverRange::Quantile(other) | OverRange::PredictLinear(other),
                ..
            } => {
                vec![other]
            }
            Expr::OverRange { .. } => Vec::new(),
            Expr::OfValue { function, inner } => match function {
                OfValue::Round(Some(one)) | OfValue::ClampMin(one) | OfValue::ClampMax(one) => {
                    vec![inner, one]
                }
                OfValue::Clamp(low, high) => vec![inner, low, high],
                _ => vec![inner],
            },
            Expr::Negate(inner) | Expr::Timestamp(inner) | Expr::Vector(inner) | Expr::Scalar(inner) => {
                vec![inner]
            }
            Expr::Absent { inner, .. }
            | Expr::Sort { inner, .. }
            | Expr::LabelReplace { inner, .. }
            | Expr::LabelJoin { inner, .. } => vec![inner],
            Expr::HistogramQuantile { q, inner } => vec![q, inner],
            Expr::Aggregate { how, inner, .. } => match how {
                Aggregation::TopK(other) | Aggregation::BottomK(other) | Aggregation::Quantile(other) => {
                    vec![other, inner]
                }
                _ => vec![inner],
            },
            Expr::Arithmetic { left, right, .. } | Expr::Set { left, right, .. } => vec![left, right],
        }
    }

    fn range(&self) -> Option<&Range> {
        match self {
            Expr::Range(range) | Expr::OverRange { range, .. } | Expr::AbsentOverTime { range, .. } => {
                Some(range)
            }
            _ => None,
        }
    }

    /// Calls `found` with each selector, and how far before the instant of the query it looks at most, ms: nothing where
    /// it looks at a fixed instant. `before` is how far before it this expression is evaluated.
    pub(super) fn each_selector<'a>(
        &'a self,
        before: Option<i64>,
        found: &mut impl FnMut(&'a Selector, Option<i64>),
    ) {
        let shifted = |when: When, length: i64| match when.at {
            Some(Anchor::Fixed(_)) => None,
            Some(Anchor::Query) => Some(when.offset.saturating_add(length)),
            None => before.map(|before| before.saturating_add(when.offset).saturating_add(length)),
        };
        if let Expr::Select(selector) = self {
            found(selector, shifted(selector.when, LOOKBACK_MS));
        }
        match self.range() {
            Some(Range::Selector { selector, range }) => found(selector, shifted(selector.when, *range)),
            Some(Range::Subquery { inner, range, when, .. }) => {
                inner.each_selector(shifted(*when, *range), found)
            }
            None => {}
        }
        for inner in self.inner() {
            inner.each_selector(before, found);
        }
    }

    /// How many evaluations one takes, subqueries counted by their steps.
    pub(super) fn evaluations(&self) -> i64 {
        let of_range = match self.range() {
            Some(Range::Subquery { inner, range, step, .. }) => {
                (range / step).saturating_add(1).saturating_mul(inner.evaluations())
            }
            _ => 1,
        };
        self.inner().into_iter().map(Expr::evaluations).fold(of_range, i64::saturating_add)
    }
}

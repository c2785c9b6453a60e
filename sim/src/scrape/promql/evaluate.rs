//! A plan at an instant.

use std::collections::BTreeMap;

use super::aggregate::aggregate;
use super::binary::{arithmetic, set};
use super::buckets::histogram_quantile;
use super::errors::Evaluated;
use super::over_range::Run;
use super::over_vector;
use super::plan::{Expr, OverRange, Range, Selector};
use super::value::{Sample, Value};
use super::{EvalError, LOOKBACK_MS, Labels, PrometheusVersion, Query, Samples, Series};

impl Query {
    /// Its answer at `at`, ms since 1970.
    ///
    /// # Errors
    /// Those of Prometheus: vectors that cannot be matched, and labels that are not unique.
    pub fn evaluate(&self, samples: &(impl Samples + ?Sized), at: i64) -> Result<Value, EvalError> {
        let evaluator = Evaluator { samples, version: self.version, query: at };
        evaluator.value(&self.plan, at)
    }
}

/// An evaluation: of one query, at one instant.
pub(super) struct Evaluator<'a, S: ?Sized> {
    samples: &'a S,
    pub(super) version: PrometheusVersion,
    /// The instant of the whole query.
    query: i64,
}

/// Samples by series: instants in ms and values.
type Runs = Vec<(Labels, Vec<(i64, f64)>)>;

/// What a range holds: from when to when, and the samples of each series that has any.
pub(super) struct Window {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) runs: Runs,
}

impl<S: Samples + ?Sized> Evaluator<'_, S> {
    pub(super) fn value(&self, expr: &Expr, at: i64) -> Evaluated<Value> {
        match expr {
            Expr::Text(text) => Ok(Value::Text(text.clone())),
            Expr::Range(range) => Ok(Value::Matrix(self.window(range, at)?.into_series())),
            // A source has no labels twice.
            Expr::Select(selector) => Ok(Value::Vector(self.selected(selector, at))),
            Expr::Number(number) => Ok(Value::Scalar(*number)),
            Expr::Time => Ok(Value::Scalar(at as f64 / 1e3)),
            Expr::Scalar(inner) => Ok(Value::Scalar(match self.vector(inner, at)?.as_slice() {
                [one] => one.value,
                _ => f64::NAN,
            })),
            Expr::Negate(inner) => self.negated(inner, at),
            Expr::Arithmetic { operator, left, right, matching, as_bool } => {
                let sides = (self.value(left, at)?, self.value(right, at)?);
                unique(arithmetic(*operator, sides, matching, *as_bool)?)
            }
            _ => unique(Value::Vector(self.of_series(expr, at)?)),
        }
    }

    /// The expressions that give a vector whatever is inside.
    fn of_series(&self, expr: &Expr, at: i64) -> Evaluated<Vec<Sample>> {
        match expr {
            Expr::OverRange { function, range } => self.over_range(function, range, at),
            Expr::AbsentOverTime { range, labels } => {
                let absent = self.window(range, at)?.runs.is_empty();
                Ok(absent.then(|| Sample::new(labels.clone(), 1.0)).into_iter().collect())
            }
            Expr::Absent { inner, labels } => {
                let absent = self.vector(inner, at)?.is_empty();
                Ok(absent.then(|| Sample::new(labels.clone(), 1.0)).into_iter().collect())
            }
            Expr::OfValue { function, inner } => {
                let vector = self.vector(inner, at)?;
                over_vector::map(function, vector, |parameter| self.scalar(parameter, at))
            }
            Expr::Timestamp(inner) => self.timestamps(inner, at),
            Expr::Vector(inner) => Ok(vec![Sample::new(Labels::default(), self.scalar(inner, at)?)]),
            Expr::Sort { inner, descending } => Ok(over_vector::sorted(self.vector(inner, at)?, *descending)),
            Expr::HistogramQuantile { q, inner } => {
                Ok(histogram_quantile(self.scalar(q, at)?, self.vector(inner, at)?, self.version))
            }
            Expr::LabelReplace { inner, target, replacement, source, pattern } => {
                let vector = self.vector(inner, at)?;
                Ok(over_vector::label_replace(vector, target, replacement, source, pattern))
            }
            Expr::LabelJoin { inner, target, separator, sources } => {
                Ok(over_vector::label_join(self.vector(inner, at)?, target, separator, sources))
            }
            Expr::Aggregate { how, inner, by } => {
                let vector = self.vector(inner, at)?;
                aggregate(how, vector, by, self.version, |parameter| self.scalar(parameter, at))
            }
            Expr::Set { operator, left, right, by } => {
                Ok(set(*operator, self.vector(left, at)?, self.vector(right, at)?, by))
            }
            _ => unreachable!("the plan's types are checked when it is made"),
        }
    }

    fn vector(&self, expr: &Expr, at: i64) -> Evaluated<Vec<Sample>> {
        match self.value(expr, at)? {
            Value::Vector(vector) => Ok(vector),
            _ => unreachable!("the plan's types are checked when it is made"),
        }
    }

    fn scalar(&self, expr: &Expr, at: i64) -> Evaluated<f64> {
        match self.value(expr, at)? {
            Value::Scalar(scalar) => Ok(scalar),
            _ => unreachable!("the plan's types are checked when it is made"),
        }
    }

    fn negated(&self, inner: &Expr, at: i64) -> Evaluated<Value> {
        match self.value(inner, at)? {
            Value::Vector(vector) => {
                let negated = |sample: Sample| Sample::new(sample.labels.without_name(), -sample.value);
                unique(Value::Vector(vector.into_iter().map(negated).collect()))
            }
            Value::Scalar(scalar) => Ok(Value::Scalar(-scalar)),
            other => Ok(other),
        }
    }

    /// The last sample of each series within the lookback, with its instant.
    fn last_samples(&self, selector: &Selector, at: i64) -> Vec<(i64, Sample)> {
        let to = selector.when.instant(at, self.query);
        let from = to.saturating_sub(LOOKBACK_MS);
        let last = |series: Series| {
            let point = series.points.last()?;
            let seen = !self.version.is_outside(point.at, from);
            Some((point.at, Sample::new(series.labels, point.value.filter(|_| seen)?)))
        };
        self.samples.select(&selector.matchers, from, to).into_iter().filter_map(last).collect()
    }

    fn selected(&self, selector: &Selector, at: i64) -> Vec<Sample> {
        self.last_samples(selector, at).into_iter().map(|(_, sample)| sample).collect()
    }

    /// The instants of samples: of those of a selector their own, of others that of the evaluation.
    fn timestamps(&self, inner: &Expr, at: i64) -> Evaluated<Vec<Sample>> {
        let stamped =
            |(at, sample): (i64, Sample)| Sample::new(sample.labels.without_name(), at as f64 / 1e3);
        let dated: Vec<(i64, Sample)> = match inner {
            Expr::Select(selector) => self.last_samples(selector, at),
            other => self.vector(other, at)?.into_iter().map(|sample| (at, sample)).collect(),
        };
        Ok(dated.into_iter().map(stamped).collect())
    }

    fn over_range(&self, function: &OverRange, range: &Range, at: i64) -> Evaluated<Vec<Sample>> {
        let parameter = match function {
            OverRange::Quantile(expr) | OverRange::PredictLinear(expr) => self.scalar(expr, at)?,
            _ => 0.0,
        };
        let Window { from, to, runs } = self.window(range, at)?;
        let of = |(labels, points): (Labels, Vec<(i64, f64)>)| {
            let run = Run { points: &points, from, to, at, version: self.version };
            let value = run.apply(function, parameter)?;
            let keeps_name = matches!(function, OverRange::Last);
            Some(Sample::new(if keeps_name { labels } else { labels.without_name() }, value))
        };
        Ok(runs.into_iter().filter_map(of).collect())
    }

    pub(super) fn window(&self, range: &Range, at: i64) -> Evaluated<Window> {
        let (when, length) = range.when_and_length();
        let to = when.instant(at, self.query);
        let from = to.saturating_sub(length);
        let runs = match range {
            Range::Selector { selector, .. } => {
                let inside = |point: &super::Point| !self.version.is_outside(point.at, from);
                let run = |series: Series| {
                    let points = series.points.iter().filter(|point| inside(point));
                    let points: Vec<(i64, f64)> =
                        points.filter_map(|point| Some((point.at, point.value?))).collect();
                    (!points.is_empty()).then_some((series.labels, points))
                };
                self.samples.select(&selector.matchers, from, to).into_iter().filter_map(run).collect()
            }
            Range::Subquery { inner, step, .. } => self.steps(inner, from, to, *step)?,
        };
        Ok(Window { from, to, runs })
    }

    /// The series that an expression gives at whole multiples of `step`.
    fn steps(&self, inner: &Expr, from: i64, to: i64, step: i64) -> Evaluated<Runs> {
        let mut runs: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
        let mut at = step * (from / step);
        while self.version.is_outside(at, from) {
            at += step;
        }
        while at <= to {
            for sample in self.vector(inner, at)? {
                runs.entry(sample.labels).or_default().push((at, sample.value));
            }
            at += step;
        }
        Ok(runs.into_iter().collect())
    }
}

impl Window {
    fn into_series(self) -> Vec<Series> {
        let series = |(labels, points): (Labels, Vec<(i64, f64)>)| Series {
            labels,
            points: points.into_iter().map(|(at, value)| super::Point { at, value: Some(value) }).collect(),
        };
        self.runs.into_iter().map(series).collect()
    }
}

/// A value unless it has the same labels twice.
fn unique(value: Value) -> Evaluated<Value> {
    if let Value::Vector(vector) = &value {
        let mut seen = std::collections::BTreeSet::new();
        if !vector.iter().all(|sample| seen.insert(&sample.labels)) {
            return Err(EvalError::SameLabels);
        }
    }
    Ok(value)
}

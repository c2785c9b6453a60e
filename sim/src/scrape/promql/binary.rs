//! Operators between two expressions: arithmetic, comparison, and sets; with the matching of series.

use std::collections::{BTreeMap, BTreeSet};

use super::Labels;
use super::errors::{EvalError, Evaluated};
use super::plan::{Grouping, Matching, Operator, SetOperator, Sides};
use super::value::{Sample, Value};

impl Operator {
    fn is_comparison(self) -> bool {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    /// What it gives of two numbers, and whether it keeps them: a comparison gives the left one if it holds.
    #[expect(clippy::float_cmp, reason = "it is what == means in a query")]
    fn apply(self, left: f64, right: f64) -> (f64, bool) {
        match self {
            Operator::Add => (left + right, true),
            Operator::Sub => (left - right, true),
            Operator::Mul => (left * right, true),
            Operator::Div => (left / right, true),
            Operator::Mod => (left % right, true),
            Operator::Pow => (libm::pow(left, right), true),
            Operator::Equal => (left, left == right),
            Operator::NotEqual => (left, left != right),
            Operator::Less => (left, left < right),
            Operator::LessEqual => (left, left <= right),
            Operator::Greater => (left, left > right),
            Operator::GreaterEqual => (left, left >= right),
        }
    }

    /// Its value, if it keeps one.
    fn value(self, left: f64, right: f64, as_bool: bool) -> Option<f64> {
        let (value, keep) = self.apply(left, right);
        if as_bool { Some(f64::from(u8::from(keep))) } else { keep.then_some(value) }
    }
}

/// Arithmetic or a comparison of two values.
pub(super) fn arithmetic(
    operator: Operator,
    sides: (Value, Value),
    matching: &Matching,
    as_bool: bool,
) -> Evaluated<Value> {
    Ok(match sides {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let (value, keep) = operator.apply(left, right);
            Value::Scalar(if operator.is_comparison() { f64::from(u8::from(keep)) } else { value })
        }
        (Value::Vector(vector), Value::Scalar(scalar)) => {
            Value::Vector(with_scalar(operator, vector, as_bool, |value| (value, scalar)))
        }
        (Value::Scalar(scalar), Value::Vector(vector)) => {
            Value::Vector(with_scalar(operator, vector, as_bool, |value| (scalar, value)))
        }
        (Value::Vector(left), Value::Vector(right)) => {
            Value::Vector(between_vectors(operator, left, right, matching, as_bool)?)
        }
        _ => unreachable!("the plan's types are checked when it is made"),
    })
}

/// Each value of a vector with a scalar. A comparison keeps the vector's value, on whichever side it is.
fn with_scalar(
    operator: Operator,
    vector: Vec<Sample>,
    as_bool: bool,
    sides: impl Fn(f64) -> (f64, f64),
) -> Vec<Sample> {
    let keeps = operator.is_comparison() && !as_bool;
    let of = |Sample { labels, value }: Sample| {
        let (left, right) = sides(value);
        let result = operator.value(left, right, as_bool)?;
        Some(if keeps { Sample::new(labels, value) } else { Sample::new(labels.without_name(), result) })
    };
    vector.into_iter().filter_map(of).collect()
}

/// Series of two vectors, matched by labels: one to one, or many on one side to one on the other.
fn between_vectors(
    operator: Operator,
    left: Vec<Sample>,
    right: Vec<Sample>,
    matching: &Matching,
    as_bool: bool,
) -> Evaluated<Vec<Sample>> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let swapped = matches!(matching.sides, Sides::OneToMany(_));
    let (many, single) = if swapped { (right, left) } else { (left, right) };
    let ones = one_each(&single, &matching.by, if swapped { "left" } else { "right" })?;
    let mut results = Vec::new();
    let mut taken: BTreeMap<Labels, BTreeSet<Labels>> = BTreeMap::new();
    for sample in many {
        let key = matching.by.of(&sample.labels);
        let Some(one) = ones.get(&key) else { continue };
        let (left, right) = if swapped { (one.value, sample.value) } else { (sample.value, one.value) };
        let Some(value) = operator.value(left, right, as_bool) else { continue };
        let labels = result_labels(sample.labels, &one.labels, operator, matching, as_bool);
        let known = taken.entry(key).or_default();
        if matches!(matching.sides, Sides::OneToOne) && !known.is_empty() {
            return Err(EvalError::ManyToOne);
        }
        if !known.insert(labels.clone()) {
            return Err(EvalError::NotUnique);
        }
        results.push(Sample::new(labels, value));
    }
    Ok(results)
}

/// The series of the side that has one for each match.
fn one_each<'a>(
    single: &'a [Sample],
    by: &Grouping,
    side: &'static str,
) -> Evaluated<BTreeMap<Labels, &'a Sample>> {
    let mut ones: BTreeMap<Labels, &Sample> = BTreeMap::new();
    for sample in single {
        let group = by.of(&sample.labels);
        if let Some(known) = ones.insert(group.clone(), sample) {
            let (one, other) = (sample.labels.clone(), known.labels.clone());
            return Err(EvalError::ManyToMany { group, side, one, other });
        }
    }
    Ok(ones)
}

/// The labels of a result: those of the side with many, and those asked for of the other.
fn result_labels(
    many: Labels,
    one: &Labels,
    operator: Operator,
    matching: &Matching,
    as_bool: bool,
) -> Labels {
    let drops_name = !operator.is_comparison() || as_bool;
    let many = if drops_name { many.without_name() } else { many };
    match &matching.sides {
        Sides::OneToOne => match &matching.by {
            Grouping::Only(names) => many.only(names),
            Grouping::Without(names) => many.without(names),
        },
        Sides::ManyToOne(names) | Sides::OneToMany(names) => {
            names.iter().fold(many, |labels, name| labels.with(name, one.get(name)))
        }
    }
}

/// `and`, `or`, `unless`: series of the left, or of either side, as they are.
pub(super) fn set(
    operator: SetOperator,
    left: Vec<Sample>,
    right: Vec<Sample>,
    by: &Grouping,
) -> Vec<Sample> {
    let keys =
        |side: &[Sample]| side.iter().map(|sample| by.of(&sample.labels)).collect::<BTreeSet<Labels>>();
    let known = keys(if operator == SetOperator::Or { &left } else { &right });
    let among = |sample: &Sample| known.contains(&by.of(&sample.labels));
    match operator {
        SetOperator::And => left.into_iter().filter(|sample| among(sample)).collect(),
        SetOperator::Unless => left.into_iter().filter(|sample| !among(sample)).collect(),
        SetOperator::Or => {
            let others = right.into_iter().filter(|sample| !among(sample));
            left.iter().cloned().chain(others).collect()
        }
    }
}

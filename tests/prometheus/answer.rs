//! Answers of either side, and when they are equal.

use std::collections::BTreeMap;
use std::fmt;

use scaletwin_sim::scrape::promql::{EvalError, Labels, Value};

/// How far two numbers may be apart, as a share of the larger.
const TOLERANCE: f64 = 1e-9;

/// Labels as a map, by name.
type LabelMap = BTreeMap<String, String>;

/// What is answered to a query.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A number.
    Scalar(f64),
    /// Numbers with labels.
    Vector(Vec<(LabelMap, f64)>),
    /// Samples with labels: instants in ms.
    Matrix(Vec<(LabelMap, Vec<(i64, f64)>)>),
    /// It cannot be answered, as the query says already.
    Refused(String),
    /// It cannot be answered, as the data say.
    Failed(String),
}

impl Answer {
    /// An answer of ours.
    pub(crate) fn ours(value: Result<Value, EvalError>) -> Answer {
        match value {
            Ok(Value::Scalar(number)) => Answer::Scalar(number),
            Ok(Value::Vector(vector)) => {
                Answer::Vector(vector.into_iter().map(|sample| (map(&sample.labels), sample.value)).collect())
            }
            Ok(Value::Matrix(series)) => Answer::Matrix(
                series
                    .into_iter()
                    .map(|series| {
                        let points = series.points.iter().filter_map(|point| Some((point.at, point.value?)));
                        (map(&series.labels), points.collect())
                    })
                    .collect(),
            ),
            Ok(Value::Text(text)) => Answer::Refused(text),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// An answer of Prometheus' API.
    pub(crate) fn theirs(answer: &serde_json::Value) -> Option<Answer> {
        if answer["status"] == "error" {
            let message = answer["error"].as_str()?.to_owned();
            let refused = answer["errorType"] == "bad_data";
            return Some(if refused { Answer::Refused(message) } else { Answer::Failed(message) });
        }
        let data = &answer["data"];
        let result = data["result"].as_array()?;
        let labels =
            |item: &serde_json::Value| serde_json::from_value::<LabelMap>(item["metric"].clone()).ok();
        match data["resultType"].as_str()? {
            "scalar" => Some(Answer::Scalar(number(&result[1])?)),
            "vector" => {
                let sample = |item: &serde_json::Value| Some((labels(item)?, number(&item["value"][1])?));
                result.iter().map(sample).collect::<Option<_>>().map(Answer::Vector)
            }
            "matrix" => {
                let point = |pair: &serde_json::Value| {
                    #[expect(clippy::cast_possible_truncation, reason = "instants of this century in ms")]
                    Some(((pair[0].as_f64()? * 1e3).round() as i64, number(&pair[1])?))
                };
                let series = |item: &serde_json::Value| {
                    Some((
                        labels(item)?,
                        item["values"].as_array()?.iter().map(point).collect::<Option<_>>()?,
                    ))
                };
                result.iter().map(series).collect::<Option<_>>().map(Answer::Matrix)
            }
            _ => None,
        }
    }

    /// What sort of answer it is, for counts.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Answer::Scalar(_) => "scalars",
            Answer::Vector(vector) if vector.is_empty() => "empty",
            Answer::Vector(_) => "vectors",
            Answer::Matrix(_) => "matrices",
            Answer::Refused(_) => "refused",
            Answer::Failed(_) => "failed",
        }
    }

    /// Whether an answer of ours equals theirs: labels, numbers to the tolerance, and errors by their meaning. Order
    /// counts only where the query asks for one.
    pub(crate) fn equals(&self, other: &Answer, ordered: bool) -> bool {
        match (self, other) {
            (Answer::Scalar(one), Answer::Scalar(other)) => close(*one, *other),
            (Answer::Vector(one), Answer::Vector(other)) => {
                let values = || one.iter().zip(other).all(|(one, other)| close(one.1, other.1));
                one.len() == other.len()
                    && (!ordered || values())
                    && same(one, other, |one, other| close(*one, *other))
            }
            (Answer::Matrix(one), Answer::Matrix(other)) => same(one, other, |one, other| {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(one, other)| one.0 == other.0 && close(one.1, other.1))
            }),
            (Answer::Refused(_), Answer::Refused(_)) => true,
            // What label_replace cannot do is seen when a query is read here, and when it is asked there.
            (Answer::Refused(_), Answer::Failed(why)) => why.starts_with("invalid"),
            (Answer::Failed(one), Answer::Failed(other)) => meaning(one) == meaning(other),
            _ => false,
        }
    }
}

fn map(labels: &Labels) -> LabelMap {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn number(value: &serde_json::Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

#[expect(clippy::float_cmp, reason = "equal numbers are close, infinite ones too")]
fn close(one: f64, other: f64) -> bool {
    let apart = || (one - other).abs() <= TOLERANCE * one.abs().max(other.abs());
    one == other || (one.is_nan() && other.is_nan()) || (one.is_finite() && other.is_finite() && apart())
}

/// Whether both have the same labels, with equal contents.
fn same<T>(one: &[(LabelMap, T)], other: &[(LabelMap, T)], equal: impl Fn(&T, &T) -> bool) -> bool {
    let others: BTreeMap<&LabelMap, &T> = other.iter().map(|(labels, value)| (labels, value)).collect();
    let found = |(labels, value): &(LabelMap, T)| others.get(labels).is_some_and(|other| equal(value, other));
    one.len() == others.len() && one.iter().all(found)
}

/// An error without the series and numbers that it quotes: which they are depends on the order in which it looks.
fn meaning(error: &str) -> &str {
    ["found duplicate series", "Scalar value"]
        .into_iter()
        .find(|start| error.starts_with(start))
        .unwrap_or(error)
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Answer::Refused(why) => format!("refused: {why}"),
            Answer::Failed(why) => format!("failed: {why}"),
            other => format!("{other:?}"),
        };
        f.write_str(&text.chars().take(600).collect::<String>())
    }
}

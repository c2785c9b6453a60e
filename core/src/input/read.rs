//! Reading nodes into values, with the shape of what is expected, for the reference and for JSON Schema.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::str::FromStr;

use serde_json::json;

use super::{Node, Place, Problem, Problems, Value};
use crate::units::{Bandwidth, Bytes, Civil, Femtos, Quantity, Rate, Share, Span};

/// A value that can be read from a node.
pub trait Read: Sized {
    /// Reads `node`; `None` when a problem was pushed.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// What is expected.
    fn shape() -> Shape;

    /// How the value is written, if that can be said in a word.
    fn written(&self) -> Option<String> {
        None
    }
}

/// What is expected at a place: a phrase for people and a JSON Schema for editors.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// A phrase: `a length of time such as 15s`.
    pub phrase: String,
    /// The JSON Schema.
    pub schema: serde_json::Value,
}

impl Shape {
    /// A shape of its phrase and schema.
    #[must_use]
    pub fn new(phrase: impl Into<String>, schema: serde_json::Value) -> Shape {
        Shape { phrase: phrase.into(), schema }
    }
}

/// Pushes "expected …, found …" and gives `None`.
fn unexpected<T>(node: &Node, expected: &str, problems: &mut Problems) -> Option<T> {
    problems.error(&node.place, format!("expected {expected}, found {}", node.kind()));
    None
}

/// A value with its place, for what can only be checked later.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written; the place of the enclosing map for a default.
    pub place: Place,
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Read> Read for At<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<At<T>> {
        T::read(node, problems).map(|value| At { value, place: node.place.clone() })
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn written(&self) -> Option<String> {
        self.value.written()
    }
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Option<T>> {
        if node.is_null() { Some(None) } else { T::read(node, problems).map(Some) }
    }

    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Box<T>> {
        T::read(node, problems).map(Box::new)
    }

    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Vec<T>> {
        let Value::List(nodes) = &node.value else { return unexpected(node, "a list", problems) };
        let values: Vec<_> = nodes.iter().map(|node| T::read(node, problems)).collect();
        values.into_iter().collect()
    }

    fn shape() -> Shape {
        let inner = T::shape();
        Shape::new(format!("a list: {}", inner.phrase), json!({"type": "array", "items": inner.schema}))
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, T>> {
        let Value::Map(entries) = &node.value else { return unexpected(node, "a map of names", problems) };
        let values: Vec<_> =
            entries.iter().map(|e| T::read(&e.node, problems).map(|value| (e.key.clone(), value))).collect();
        values.into_iter().collect()
    }

    fn shape() -> Shape {
        let inner = T::shape();
        Shape::new(
            format!("names, each with {}", inner.phrase),
            json!({"type": "object", "additionalProperties": inner.schema}),
        )
    }
}

impl Read for Node {
    fn read(node: &Node, _: &mut Problems) -> Option<Node> {
        Some(node.clone())
    }

    fn shape() -> Shape {
        Shape::new("any value", json!({}))
    }
}

/// Whether a character would do something to a terminal.
fn is_unprintable(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r')
}

impl Read for String {
    fn read(node: &Node, problems: &mut Problems) -> Option<String> {
        match &node.value {
            Value::Text(text) if text.is_empty() => {
                problems.error(&node.place, "expected a text, found an empty one");
                None
            }
            Value::Text(text) if text.chars().any(is_unprintable) => {
                problems.error(&node.place, "a text has no control characters besides tabs and line ends");
                None
            }
            Value::Text(text) => Some(text.clone()),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => Some(node.place.text().to_owned()),
            _ => unexpected(node, "a text", problems),
        }
    }

    fn shape() -> Shape {
        Shape::new("a text", json!({"type": "string"}))
    }

    fn written(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Read for bool {
    fn read(node: &Node, problems: &mut Problems) -> Option<bool> {
        match node.value {
            Value::Bool(value) => Some(value),
            _ => unexpected(node, "true or false", problems),
        }
    }

    fn shape() -> Shape {
        Shape::new("true or false", json!({"type": "boolean"}))
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Implements [`Read`] for a whole-number type, with its whole range.
macro_rules! read_whole {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(node: &Node, problems: &mut Problems) -> Option<$type> {
                let expected = <$type as Read>::shape().phrase;
                let value = node.whole().and_then(|value| <$type>::try_from(value).ok());
                value.or_else(|| unexpected(node, &expected, problems))
            }

            fn shape() -> Shape {
                Shape::new(
                    format!("a whole number, {} to {}", <$type>::MIN, <$type>::MAX),
                    json!({"type": "integer", "minimum": <$type>::MIN, "maximum": <$type>::MAX}),
                )
            }

            fn written(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

read_whole!(u16, u32, u64, i32, i64);

/// A whole number of things, 1 to 4,294,967,295.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u32);

impl Read for Count {
    fn read(node: &Node, problems: &mut Problems) -> Option<Count> {
        match node.whole().map(|value| (value, u32::try_from(value))) {
            Some((_, Ok(value @ 1..))) => Some(Count(value)),
            Some((4_294_967_296.., _)) => unexpected(node, "a whole number, 1 to 4294967295", problems),
            _ => unexpected(node, &Count::shape().phrase, problems),
        }
    }

    fn shape() -> Shape {
        Shape::new(
            "a whole number, at least 1",
            json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}),
        )
    }

    fn written(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl Read for f64 {
    fn read(node: &Node, problems: &mut Problems) -> Option<f64> {
        match node.value {
            Value::Int(value) => Some(value as f64),
            Value::Float(value) if value.is_finite() => Some(value),
            _ => unexpected(node, "a number", problems),
        }
    }

    fn shape() -> Shape {
        Shape::new("a number", json!({"type": "number"}))
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Implements [`Read`] for a float newtype with a condition.
macro_rules! read_float {
    ($(#[$doc:meta])* $type:ident, $phrase:literal, $schema:expr, $holds:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
        pub struct $type(pub f64);

        impl Read for $type {
            fn read(node: &Node, problems: &mut Problems) -> Option<$type> {
                let holds: fn(f64) -> bool = $holds;
                match f64::read(node, &mut Problems::default()) {
                    Some(value) if holds(value) => Some($type(value)),
                    _ => unexpected(node, $phrase, problems),
                }
            }

            fn shape() -> Shape {
                Shape::new($phrase, $schema)
            }

            fn written(&self) -> Option<String> {
                Some(self.0.to_string())
            }
        }
    };
}

read_float!(
    /// A finite number above 0.
    Positive,
    "a number above 0",
    json!({"type": "number", "exclusiveMinimum": 0}),
    |value| value > 0.0
);

read_float!(
    /// A finite number, at least 0.
    NonNegative,
    "a number, at least 0",
    json!({"type": "number", "minimum": 0}),
    |value| value >= 0.0
);

impl Read for Share {
    fn read(node: &Node, problems: &mut Problems) -> Option<Share> {
        let value = f64::read(node, &mut Problems::default()).and_then(|value| Share::new(value).ok());
        value.or_else(|| unexpected(node, "a share, 0 to 1", problems))
    }

    fn shape() -> Shape {
        Shape::new("a share, 0 to 1", json!({"type": "number", "minimum": 0, "maximum": 1}))
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Reads a text through [`FromStr`], with what was expected in the message.
fn read_text<T: FromStr>(node: &Node, expected: &str, problems: &mut Problems) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    let Some(text) = node.as_text() else { return unexpected(node, expected, problems) };
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let problem = Problem::error(&node.place, format!("{} {error}", node.kind()));
            problems.push(problem.hint(format!("expected {expected}")));
            None
        }
    }
}

impl Read for Span {
    fn read(node: &Node, problems: &mut Problems) -> Option<Span> {
        match node.value {
            Value::Int(0) => Some(Span::ZERO),
            Value::Int(_) | Value::Float(_) => {
                let text = node.place.text();
                let problem = Problem::error(&node.place, format!("{} needs a unit", node.kind()));
                problems
                    .push(problem.hint(format!("write {text}s for seconds, or {text}ms, {text}m, {text}h")));
                None
            }
            _ => {
                let span: Span = read_text(node, &Span::shape().phrase, problems)?;
                if span > Span::CENTURY {
                    return unexpected(node, "at most a hundred years", problems);
                }
                Some(span)
            }
        }
    }

    fn shape() -> Shape {
        Shape::new(
            "a length of time such as 15s",
            json!({"type": "string", "examples": ["15s", "1m30s", "250ms"]}),
        )
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A length of time above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Span);

impl Read for Period {
    fn read(node: &Node, problems: &mut Problems) -> Option<Period> {
        let span = Span::read(node, problems)?;
        if span < Span::from_millis(1) {
            return unexpected(node, "at least 1ms", problems);
        }
        Some(Period(span))
    }

    fn shape() -> Shape {
        Span::shape()
    }

    fn written(&self) -> Option<String> {
        self.0.written()
    }
}

impl Read for Femtos {
    fn read(node: &Node, problems: &mut Problems) -> Option<Femtos> {
        match node.value {
            Value::Int(0) => Some(Femtos(0)),
            _ => read_text(node, &Femtos::shape().phrase, problems),
        }
    }

    fn shape() -> Shape {
        Shape::new(
            "a short time such as 60us or 88ps",
            json!({"type": "string", "examples": ["60us", "88ps", "20ms"]}),
        )
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Read for Civil {
    fn read(node: &Node, problems: &mut Problems) -> Option<Civil> {
        read_text(node, &Civil::shape().phrase, problems)
    }

    fn shape() -> Shape {
        Shape::new(
            "a civil instant such as 2023-11-16T18:15:00Z",
            json!({"type": "string", "format": "date-time"}),
        )
    }
}

impl Read for Rate {
    fn read(node: &Node, problems: &mut Problems) -> Option<Rate> {
        if let Value::Int(_) | Value::Float(_) = node.value {
            let problem = Problem::error(&node.place, format!("{} needs a unit", node.kind()));
            problems.push(problem.hint(format!("write {}/s for events a second", node.place.text())));
            return None;
        }
        read_text(node, &Rate::shape().phrase, problems)
    }

    fn shape() -> Shape {
        Shape::new("a rate such as 8/s", json!({"type": "string", "examples": ["8/s", "480/m"]}))
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Reads a quantity written as a text or as a plain number, both of which Kubernetes takes.
fn read_quantity<T: FromStr>(node: &Node, expected: &str, problems: &mut Problems) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    match node.value {
        Value::Int(_) | Value::Float(_) => {
            let text = Node { value: Value::Text(node.place.text().to_owned()), place: node.place.clone() };
            read_text(&text, expected, problems)
        }
        _ => read_text(node, expected, problems),
    }
}

impl Read for Quantity {
    fn read(node: &Node, problems: &mut Problems) -> Option<Quantity> {
        read_quantity(node, &Quantity::shape().phrase, problems)
    }

    fn shape() -> Shape {
        Shape::new("a quantity such as 500m or 2", json!({"type": ["string", "number"]}))
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Read for Bandwidth {
    fn read(node: &Node, problems: &mut Problems) -> Option<Bandwidth> {
        read_text(node, &Bandwidth::shape().phrase, problems)
    }

    fn shape() -> Shape {
        Shape::new("a bandwidth such as 250MB/s", json!({"type": "string", "examples": ["250MB/s", "2Gi/s"]}))
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Read for Bytes {
    fn read(node: &Node, problems: &mut Problems) -> Option<Bytes> {
        read_quantity(node, &Bytes::shape().phrase, problems)
    }

    fn shape() -> Shape {
        Shape::new("a size such as 80Gi or 24GB", json!({"type": ["string", "integer"]}))
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

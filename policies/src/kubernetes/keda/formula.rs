//! Formulas of `scalingModifiers`: the part of expr-lang that has to do with numbers.
//!
//! Operators and their precedences are expr-lang's (`parser/operator`): `??` binds most, then `**`, signs, `*` `/`, `+` `-`,
//! `not`, comparisons, `and`, `or`, and `? :` least. Functions: `abs`, `ceil`, `floor`, `round`, `int`, `float`, `max`,
//! `min`, `sum`, `mean`, `len`, and with a predicate on `#` `count`, `all`, `any`, `none`, `filter`, `map`. Left out, and
//! refused: `%`, texts, maps, slices, variables and all other functions.

mod expression;
mod parser;

use serde::{Serialize, Serializer};

use expression::{Expr, Value};
use parser::Parser;

/// A formula over the values of triggers.
///
/// ```
/// use scaletwin_policies::kubernetes::keda::formula::Formula;
/// let formula = Formula::parse("count([a, b], {# > 1}) > 1 ? 5 : a / 2", &["a", "b"]).unwrap();
/// assert_eq!(formula.evaluate(&[Some(3.0), Some(1.0)]), Ok(Some(1.5)));
/// assert_eq!(formula.evaluate(&[Some(3.0), Some(2.0)]), Ok(Some(5.0)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    text: String,
    root: Expr,
}

/// Why a formula cannot be read or worked out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormulaError(String);

impl Formula {
    /// The formula `text` over these names.
    ///
    /// # Errors
    /// What is not understood.
    pub fn parse(text: &str, names: &[&str]) -> Result<Formula, FormulaError> {
        let root = Parser::new(text, names)?.formula()?;
        Ok(Formula { text: text.trim().to_owned(), root })
    }

    /// Its value for these values of the names; `None` among them is nil, and nil may be the result.
    ///
    /// # Errors
    /// When nil or something else that is no number is computed with, or the result is no number.
    pub fn evaluate(&self, values: &[Option<f64>]) -> Result<Option<f64>, FormulaError> {
        match self.root.value(values, None)? {
            Value::Nil => Ok(None),
            Value::Number(number) => Ok(Some(number)),
            other => Err(error(format!("the result is {other}, not a number"))),
        }
    }

    /// The names that it uses, by their places.
    #[must_use]
    pub fn uses(&self) -> Vec<usize> {
        let mut used = Vec::new();
        self.root.names(&mut used);
        used.sort_unstable();
        used.dedup();
        used
    }
}

impl Serialize for Formula {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

fn error(what: impl Into<String>) -> FormulaError {
    FormulaError(what.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result(text: &str) -> Result<Option<f64>, String> {
        let formula = Formula::parse(text, &["a", "b", "gone"]).map_err(|error| error.to_string())?;
        formula.evaluate(&[Some(6.0), Some(4.0), None]).map_err(|error| error.to_string())
    }

    #[test]
    fn operators_bind_as_in_expr_lang() {
        for (text, want) in [
            ("a + b * 2", 14.0),
            ("(a + b) * 2", 20.0),
            ("a - b - 1", 1.0),
            ("-2 ** 2", -4.0),
            ("2 ** 3 ** 2", 512.0),
            ("a / b", 1.5),
            ("gone ?? 2 + 1", 3.0),
            ("a > b and not (b > a) ? 1 : 2", 1.0),
            ("a < b ? 1 : a == 6 ? 3 : 4", 3.0),
            ("1e3 + 1_000", 2000.0),
        ] {
            assert_eq!(result(text), Ok(Some(want)), "{text}");
        }
    }

    #[test]
    fn the_functions_of_the_manual_work_on_lists() {
        for (text, want) in [
            ("sum([a, b]) / len([a, b])", 5.0),
            ("mean([a, b])", 5.0),
            ("max(a, b, 9) + min([a, b])", 13.0),
            ("count([a, b], {# > 5}) >= 1 ? 10 : 0", 10.0),
            ("sum(map([a, b], # * 2))", 20.0),
            ("len(filter([a, b], {# > 5}))", 1.0),
            ("all([a, b], # > 3) && any([a], # == 6) ? round(2.5) : 0", 3.0),
            ("ceil(a / b) + floor(a / b) + int(1.9) + abs(-1)", 5.0),
        ] {
            assert_eq!(result(text), Ok(Some(want)), "{text}");
        }
    }

    #[test]
    fn nil_is_a_result_but_not_a_number() {
        assert_eq!(result("gone"), Ok(None));
        assert_eq!(result("gone ?? a"), Ok(Some(6.0)));
        assert_eq!(result("gone == nil ? 1 : 2"), Ok(Some(1.0)));
        assert_eq!(result("gone + 1"), Err("nil is no number".into()));
        assert_eq!(result("a > 1"), Err("the result is true, not a number".into()));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, want) in [
            ("a + c", "there is no trigger named \"c\"; the names are: a, b, gone"),
            ("a % b", "'%' is not understood"),
            ("sqrt(a)", "the function \"sqrt\" is not modelled"),
            ("(a", "\")\" is missing"),
            ("a b", "\"b\" is not expected here"),
            ("", "the formula ends too early"),
        ] {
            assert_eq!(result(text), Err(want.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[ab0-9+*/()\\[\\],?:<>=!&|#{} .-]{0,60}") {
            let _ = result(&text);
        }

        #[test]
        fn nesting_ends_in_an_error(depth in 0usize..5_000) {
            let _ = result(&("(".repeat(depth) + "a"));
            let _ = result(&("-".repeat(depth) + "a"));
            let _ = result(&("2 ** ".repeat(depth) + "a"));
        }
    }
}

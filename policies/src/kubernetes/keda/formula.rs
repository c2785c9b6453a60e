//! Formulas of `scalingModifiers`: the part of expr-lang that has to do with numbers.
//!
//! Operators and their precedences are expr-lang's (`parser/operator`): `??` binds most, then `**`, signs, `*` `/`, `+` `-`,
//! `not`, comparisons, `and`, `or`, and `? :` least. Functions: `abs`, `ceil`, `floor`, `round`, `int`, `float`, `max`,
//! `min`, `sum`, `mean`, `len`, and with a predicate on `#` `count`, `all`, `any`, `none`, `filter`, `map`. Left out, and
//! refused: `%`, texts, maps, slices, variables and all other functions.

use std::fmt;

use serde::{Serialize, Serializer};

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
        let mut parser = Parser { tokens: tokens(text)?, at: 0, names, depth: 0 };
        if parser.tokens.len() > LENGTH {
            return Err(error(format!("the formula has more than {LENGTH} parts")));
        }
        let root = parser.ternary()?;
        match parser.tokens.get(parser.at) {
            None => Ok(Formula { text: text.trim().to_owned(), root }),
            Some(token) => Err(error(format!("{token} is not expected here"))),
        }
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

/// How deep a formula may nest, and of how many parts it may be: both bound the recursion.
const DEPTH: usize = 100;
const LENGTH: usize = 1_000;

fn error(what: impl Into<String>) -> FormulaError {
    FormulaError(what.into())
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Nil,
    Number(f64),
    Bool(bool),
    List(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Number(number) => number.fmt(f),
            Value::Bool(truth) => truth.fmt(f),
            Value::List(_) => f.write_str("a list"),
        }
    }
}

impl Value {
    fn number(self) -> Result<f64, FormulaError> {
        match self {
            Value::Number(number) => Ok(number),
            other => Err(error(format!("{other} is no number"))),
        }
    }

    fn truth(self) -> Result<bool, FormulaError> {
        match self {
            Value::Bool(truth) => Ok(truth),
            other => Err(error(format!("{other} is neither true nor false"))),
        }
    }

    fn list(self) -> Result<Vec<Value>, FormulaError> {
        match self {
            Value::List(list) => Ok(list),
            other => Err(error(format!("{other} is no list"))),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Constant(Value),
    Name(usize),
    Item,
    List(Vec<Expr>),
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    Call(Function, Vec<Expr>),
    Over(Predicate, Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unary {
    Minus,
    Plus,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Otherwise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Abs,
    Ceil,
    Floor,
    Round,
    Int,
    Float,
    Max,
    Min,
    Sum,
    Mean,
    Len,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Predicate {
    Count,
    All,
    Any,
    None,
    Filter,
    Map,
}

impl Expr {
    fn value(&self, names: &[Option<f64>], item: Option<&Value>) -> Result<Value, FormulaError> {
        let of = |expr: &Expr| expr.value(names, item);
        Ok(match self {
            Expr::Constant(value) => value.clone(),
            Expr::Name(place) => names.get(*place).copied().flatten().map_or(Value::Nil, Value::Number),
            Expr::Item => item.cloned().ok_or_else(|| error("# stands outside of a predicate"))?,
            Expr::List(list) => Value::List(list.iter().map(of).collect::<Result<_, _>>()?),
            Expr::Unary(Unary::Not, inner) => Value::Bool(!of(inner)?.truth()?),
            Expr::Unary(Unary::Minus, inner) => Value::Number(-of(inner)?.number()?),
            Expr::Unary(Unary::Plus, inner) => Value::Number(of(inner)?.number()?),
            Expr::Binary(Binary::Or, left, right) => Value::Bool(of(left)?.truth()? || of(right)?.truth()?),
            Expr::Binary(Binary::And, left, right) => Value::Bool(of(left)?.truth()? && of(right)?.truth()?),
            Expr::Binary(Binary::Otherwise, left, right) => match of(left)? {
                Value::Nil => of(right)?,
                value => value,
            },
            Expr::Binary(Binary::Equal, left, right) => Value::Bool(of(left)? == of(right)?),
            Expr::Binary(Binary::Unequal, left, right) => Value::Bool(of(left)? != of(right)?),
            Expr::Binary(operator, left, right) => {
                operator.numbers(of(left)?.number()?, of(right)?.number()?)
            }
            Expr::Choice(condition, then, otherwise) => {
                of(if of(condition)?.truth()? { then } else { otherwise })?
            }
            Expr::Call(function, arguments) => {
                function.call(arguments.iter().map(of).collect::<Result<_, _>>()?)?
            }
            Expr::Over(predicate, list, each) => {
                predicate.over(of(list)?.list()?, |item| each.value(names, Some(item)))?
            }
        })
    }

    fn names(&self, used: &mut Vec<usize>) {
        match self {
            Expr::Constant(_) | Expr::Item => {}
            Expr::Name(place) => used.push(*place),
            Expr::List(list) | Expr::Call(_, list) => list.iter().for_each(|expr| expr.names(used)),
            Expr::Unary(_, inner) => inner.names(used),
            Expr::Binary(_, left, right) | Expr::Over(_, left, right) => {
                left.names(used);
                right.names(used);
            }
            Expr::Choice(condition, then, otherwise) => {
                for expr in [condition, then, otherwise] {
                    expr.names(used);
                }
            }
        }
    }
}

impl Binary {
    /// The operator with its precedence, and whether it binds to the right.
    fn of(text: &str) -> Option<(Binary, u16, bool)> {
        Some(match text {
            "||" | "or" => (Binary::Or, 10, false),
            "&&" | "and" => (Binary::And, 15, false),
            "==" => (Binary::Equal, 20, false),
            "!=" => (Binary::Unequal, 20, false),
            "<" => (Binary::Less, 20, false),
            "<=" => (Binary::LessEqual, 20, false),
            ">" => (Binary::Greater, 20, false),
            ">=" => (Binary::GreaterEqual, 20, false),
            "+" => (Binary::Add, 30, false),
            "-" => (Binary::Subtract, 30, false),
            "*" => (Binary::Multiply, 60, false),
            "/" => (Binary::Divide, 60, false),
            "**" | "^" => (Binary::Power, 100, true),
            "??" => (Binary::Otherwise, 500, false),
            _ => return None,
        })
    }

    fn numbers(self, left: f64, right: f64) -> Value {
        match self {
            Binary::Less => Value::Bool(left < right),
            Binary::LessEqual => Value::Bool(left <= right),
            Binary::Greater => Value::Bool(left > right),
            Binary::GreaterEqual => Value::Bool(left >= right),
            Binary::Add => Value::Number(left + right),
            Binary::Subtract => Value::Number(left - right),
            Binary::Multiply => Value::Number(left * right),
            Binary::Divide => Value::Number(left / right),
            Binary::Power => Value::Number(libm::pow(left, right)),
            // These take other values than numbers and are worked out before.
            Binary::Or | Binary::And | Binary::Equal | Binary::Unequal | Binary::Otherwise => Value::Nil,
        }
    }
}

impl Function {
    fn of(name: &str) -> Option<Function> {
        Some(match name {
            "abs" => Function::Abs,
            "ceil" => Function::Ceil,
            "floor" => Function::Floor,
            "round" => Function::Round,
            "int" => Function::Int,
            "float" => Function::Float,
            "max" => Function::Max,
            "min" => Function::Min,
            "sum" => Function::Sum,
            "mean" => Function::Mean,
            "len" => Function::Len,
            _ => return None,
        })
    }

    fn call(self, arguments: Vec<Value>) -> Result<Value, FormulaError> {
        if self == Function::Len {
            let [list] = <[Value; 1]>::try_from(arguments).map_err(|_| error("len takes one list"))?;
            return Ok(Value::Number(list.list()?.len() as f64));
        }
        let many = matches!(self, Function::Max | Function::Min | Function::Sum | Function::Mean);
        let numbers = numbers(arguments)?;
        let (Some(first), true) = (numbers.first().copied(), many || numbers.len() == 1) else {
            return match self {
                Function::Sum => Ok(Value::Number(0.0)),
                _ if many => Err(error("a list is empty")),
                _ => Err(error(format!("one number is expected, found {}", numbers.len()))),
            };
        };
        let sum = || numbers.iter().sum::<f64>();
        Ok(Value::Number(match self {
            Function::Abs => first.abs(),
            Function::Ceil => first.ceil(),
            Function::Floor => first.floor(),
            Function::Round => first.round(),
            Function::Int => first.trunc(),
            Function::Max => numbers.iter().fold(first, |most, number| most.max(*number)),
            Function::Min => numbers.iter().fold(first, |least, number| least.min(*number)),
            Function::Sum => sum(),
            Function::Mean => sum() / numbers.len() as f64,
            Function::Float | Function::Len => first,
        }))
    }
}

/// The numbers among arguments and in their lists.
fn numbers(arguments: Vec<Value>) -> Result<Vec<f64>, FormulaError> {
    let mut numbers = Vec::new();
    for argument in arguments {
        match argument {
            Value::List(list) => {
                for value in list {
                    numbers.push(value.number()?);
                }
            }
            other => numbers.push(other.number()?),
        }
    }
    Ok(numbers)
}

impl Predicate {
    fn of(name: &str) -> Option<Predicate> {
        Some(match name {
            "count" => Predicate::Count,
            "all" => Predicate::All,
            "any" => Predicate::Any,
            "none" => Predicate::None,
            "filter" => Predicate::Filter,
            "map" => Predicate::Map,
            _ => return None,
        })
    }

    fn over(
        self,
        list: Vec<Value>,
        each: impl Fn(&Value) -> Result<Value, FormulaError>,
    ) -> Result<Value, FormulaError> {
        if self == Predicate::Map {
            return Ok(Value::List(list.iter().map(each).collect::<Result<_, _>>()?));
        }
        let mut kept = Vec::new();
        let all = list.len();
        for value in list {
            if each(&value)?.truth()? {
                kept.push(value);
            }
        }
        Ok(match self {
            Predicate::Count => Value::Number(kept.len() as f64),
            Predicate::All => Value::Bool(kept.len() == all),
            Predicate::Any => Value::Bool(!kept.is_empty()),
            Predicate::None => Value::Bool(kept.is_empty()),
            Predicate::Filter | Predicate::Map => Value::List(kept),
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Number(number) => number.fmt(f),
            Token::Word(word) => write!(f, "{word:?}"),
            Token::Sign(sign) => write!(f, "{sign:?}"),
        }
    }
}

/// Signs, the longest first.
const SIGNS: [&str; 25] = [
    "**", "==", "!=", "<=", ">=", "&&", "||", "??", "+", "-", "*", "/", "^", "<", ">", "!", "?", ":", "(",
    ")", "[", "]", "{", "}", ",",
];

fn tokens(text: &str) -> Result<Vec<Token>, FormulaError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_digit() || first == '.' {
            let length = number_length(rest);
            let digits = rest[..length].replace('_', "");
            let number = digits.parse().map_err(|_| error(format!("{digits:?} is no number")))?;
            tokens.push(Token::Number(number));
            length
        } else if first.is_alphabetic() || first == '_' || first == '$' {
            let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
            let length = rest.find(end).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_owned()));
            length
        } else if first == '#' {
            tokens.push(Token::Sign("#"));
            1
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| error(format!("{first:?} is not understood")))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// How long the number is at the beginning of `text`, its exponent included.
fn number_length(text: &str) -> usize {
    let mut before = ' ';
    let end = text.find(|c: char| {
        let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        before = c;
        !(c.is_ascii_digit() || matches!(c, '.' | '_' | 'e' | 'E') || sign)
    });
    end.unwrap_or(text.len())
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    names: &'a [&'a str],
    depth: usize,
}

impl Parser<'_> {
    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn expects(&mut self, sign: &str) -> Result<(), FormulaError> {
        if self.takes(sign) { Ok(()) } else { Err(error(format!("{sign:?} is missing"))) }
    }

    /// An operator that binds at least as `least`, if one comes next.
    fn operator(&self, least: u16) -> Option<(Binary, u16, bool)> {
        let text = match self.tokens.get(self.at)? {
            Token::Sign(sign) => sign,
            Token::Word(word) => word.as_str(),
            Token::Number(_) => return None,
        };
        Binary::of(text).filter(|(_, precedence, _)| *precedence >= least)
    }

    fn deeper(&mut self) -> Result<(), FormulaError> {
        self.depth += 1;
        if self.depth > DEPTH { Err(error("the formula nests too deep")) } else { Ok(()) }
    }

    fn ternary(&mut self) -> Result<Expr, FormulaError> {
        self.deeper()?;
        let mut expr = self.binary(0)?;
        if self.takes("?") {
            let then = self.ternary()?;
            self.expects(":")?;
            let otherwise = self.ternary()?;
            expr = Expr::Choice(Box::new(expr), Box::new(then), Box::new(otherwise));
        }
        self.depth -= 1;
        Ok(expr)
    }

    fn binary(&mut self, least: u16) -> Result<Expr, FormulaError> {
        self.deeper()?;
        let mut left = self.unary()?;
        while let Some((operator, precedence, to_the_right)) = self.operator(least) {
            self.at += 1;
            let right = self.binary(if to_the_right { precedence } else { precedence + 1 })?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, FormulaError> {
        let (unary, precedence) = match self.tokens.get(self.at) {
            Some(Token::Sign("-")) => (Unary::Minus, 90),
            Some(Token::Sign("+")) => (Unary::Plus, 90),
            Some(Token::Sign("!")) => (Unary::Not, 50),
            Some(Token::Word(word)) if word == "not" => (Unary::Not, 50),
            _ => return self.primary(),
        };
        self.at += 1;
        let inner = self.binary(precedence)?;
        Ok(Expr::Unary(unary, Box::new(inner)))
    }

    fn primary(&mut self) -> Result<Expr, FormulaError> {
        let token = self.tokens.get(self.at).cloned().ok_or_else(|| error("the formula ends too early"))?;
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Expr::Constant(Value::Number(number))),
            Token::Sign("(") => {
                let inner = self.ternary()?;
                self.expects(")")?;
                Ok(inner)
            }
            Token::Sign("[") => self.until("]").map(Expr::List),
            Token::Sign("#") => Ok(Expr::Item),
            Token::Word(word) => self.word(&word),
            Token::Sign(sign) => Err(error(format!("{sign:?} is not expected here"))),
        }
    }

    fn word(&mut self, word: &str) -> Result<Expr, FormulaError> {
        match word {
            "true" => return Ok(Expr::Constant(Value::Bool(true))),
            "false" => return Ok(Expr::Constant(Value::Bool(false))),
            "nil" => return Ok(Expr::Constant(Value::Nil)),
            _ => {}
        }
        if self.takes("(") {
            return self.call(word);
        }
        match self.names.iter().position(|name| *name == word) {
            Some(place) => Ok(Expr::Name(place)),
            None => Err(error(format!(
                "there is no trigger named {word:?}; the names are: {}",
                self.names.join(", ")
            ))),
        }
    }

    fn call(&mut self, name: &str) -> Result<Expr, FormulaError> {
        if let Some(predicate) = Predicate::of(name) {
            let list = self.ternary()?;
            if name == "count" && self.takes(")") {
                return Ok(Expr::Over(predicate, Box::new(list), Box::new(Expr::Item)));
            }
            self.expects(",")?;
            let braces = self.takes("{");
            let each = self.ternary()?;
            if braces {
                self.expects("}")?;
            }
            self.expects(")")?;
            return Ok(Expr::Over(predicate, Box::new(list), Box::new(each)));
        }
        let function =
            Function::of(name).ok_or_else(|| error(format!("the function {name:?} is not modelled")))?;
        self.until(")").map(|arguments| Expr::Call(function, arguments))
    }

    /// Expressions with commas between them until `end`.
    fn until(&mut self, end: &str) -> Result<Vec<Expr>, FormulaError> {
        let mut list = Vec::new();
        while !self.takes(end) {
            if !list.is_empty() {
                self.expects(",")?;
            }
            list.push(self.ternary()?);
        }
        Ok(list)
    }
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

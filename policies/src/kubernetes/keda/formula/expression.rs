//! What a formula is made of, and its value.

use std::fmt;

use super::{FormulaError, error};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
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
pub(super) enum Expr {
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
pub(super) enum Unary {
    Minus,
    Plus,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
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
pub(super) enum Function {
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
pub(super) enum Predicate {
    Count,
    All,
    Any,
    None,
    Filter,
    Map,
}

impl Expr {
    pub(super) fn value(&self, names: &[Option<f64>], item: Option<&Value>) -> Result<Value, FormulaError> {
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

    pub(super) fn names(&self, used: &mut Vec<usize>) {
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
    pub(super) fn of(text: &str) -> Option<(Binary, u16, bool)> {
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
    pub(super) fn of(name: &str) -> Option<Function> {
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
    pub(super) fn of(name: &str) -> Option<Predicate> {
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

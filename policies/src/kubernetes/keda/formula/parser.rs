//! From the text of a formula to what it is made of.

use std::fmt;

use super::expression::{Binary, Expr, Function, Predicate, Unary, Value};
use super::{FormulaError, error};

/// How deep a formula may nest, and of how many parts it may be: both bound the recursion.
const DEPTH: usize = 100;
const LENGTH: usize = 1_000;

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

/// A formula while it is being read.
pub(super) struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    names: &'a [&'a str],
    depth: usize,
}

impl<'a> Parser<'a> {
    /// A parser of `text` over these names.
    ///
    /// # Errors
    /// When it holds what is not understood, or is too long.
    pub(super) fn new(text: &str, names: &'a [&'a str]) -> Result<Parser<'a>, FormulaError> {
        let tokens = tokens(text)?;
        if tokens.len() > LENGTH {
            return Err(error(format!("the formula has more than {LENGTH} parts")));
        }
        Ok(Parser { tokens, at: 0, names, depth: 0 })
    }

    /// The whole formula.
    pub(super) fn formula(mut self) -> Result<Expr, FormulaError> {
        let root = self.ternary()?;
        match self.tokens.get(self.at) {
            None => Ok(root),
            Some(token) => Err(error(format!("{token} is not expected here"))),
        }
    }

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

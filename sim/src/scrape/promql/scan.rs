//! A look at a query's text before its grammar: how large it is, which durations it names, and where a name or a mistake
//! stands. The parser gives no places.

use promql_parser::parser::{lexer, parse};

use super::PrometheusVersion;
use super::errors::QueryError;

/// The most words and signs of a query. Deeper nesting than that could not be walked.
const LONGEST: usize = 2_000;

/// The deepest nesting of brackets.
const DEEPEST: usize = 100;

/// The longest duration, s: a hundred years of 365 days.
const LONGEST_DURATION: f64 = 100.0 * 365.0 * 86_400.0;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Word,
    /// A number or a duration.
    Number,
    Text,
    Sign,
}

/// Where each token stands.
#[derive(Debug, Clone)]
pub(super) struct Scan<'a> {
    text: &'a str,
    tokens: Vec<(usize, usize, Token)>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Scan<'a> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(first) = text[at..].chars().next() {
            let rest = &text[at..];
            let (length, token) = match first {
                '#' => (rest.find('\n').unwrap_or(rest.len()), None),
                _ if first.is_whitespace() => (first.len_utf8(), None),
                '"' | '\'' | '`' => (quoted(rest, first), Some(Token::Text)),
                _ if starts_number(rest) => (number(rest), Some(Token::Number)),
                _ if is_word(first) => (run(rest, |c| is_word(c) || c.is_ascii_digit()), Some(Token::Word)),
                _ => (first.len_utf8(), Some(Token::Sign)),
            };
            tokens.extend(token.map(|token| (at, at + length, token)));
            at += length;
        }
        Scan { text, tokens }
    }

    fn word(&self, place: usize) -> &'a str {
        self.tokens.get(place).map_or("", |(from, to, _)| &self.text[*from..*to])
    }

    /// Where the name stands as a word.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let bare = |text: &str| text.trim_matches(['"', '\'', '`']).eq_ignore_ascii_case(name);
        self.tokens.iter().find(|(from, to, _)| bare(&self.text[*from..*to])).map(|(from, _, _)| *from)
    }

    /// What the parser must not be given: too much, or durations that it cannot hold; and in version 2 numbers for
    /// durations.
    pub(super) fn check(&self, version: PrometheusVersion) -> Result<(), QueryError> {
        let mut depth = 0usize;
        for place in 0..self.tokens.len() {
            let (from, _, token) = self.tokens[place];
            match self.word(place) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEEPEST || place > LONGEST {
                return Err(QueryError::at(from, "the query is too large").hint("split it"));
            }
            match token {
                Token::Number => self.check_number(place, version)?,
                Token::Word => self.check_word(place)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The token before, or the one before that where a sign is between.
    fn before(&self, place: usize) -> &'a str {
        let word = |back: usize| place.checked_sub(back).map_or("", |place| self.word(place));
        if matches!(word(1), "+" | "-") { word(2) } else { word(1) }
    }

    fn check_word(&self, place: usize) -> Result<(), QueryError> {
        let (from, word) = (self.tokens[place].0, self.word(place));
        let endless = ["inf", "nan"].iter().any(|endless| word.eq_ignore_ascii_case(endless));
        if endless && self.before(place).eq_ignore_ascii_case("offset") {
            return Err(QueryError::at(from, format!("{word} is no duration")).hint("such as 5m"));
        }
        Ok(())
    }

    fn check_number(&self, place: usize, version: PrometheusVersion) -> Result<(), QueryError> {
        let (from, word, before) = (self.tokens[place].0, self.word(place), self.before(place));
        let is_length = self.in_brackets(place) || before.eq_ignore_ascii_case("offset");
        let has_unit = !word.starts_with("0x") && word.ends_with(['s', 'm', 'h', 'd', 'w', 'y']);
        if version == PrometheusVersion::V2 && is_length && !has_unit {
            let error = QueryError::at(from, "a duration without a unit needs Prometheus 3");
            return Err(error.hint(format!("write {word}s")));
        }
        if version == PrometheusVersion::V2 && !is_length && has_unit {
            let error = QueryError::at(from, "a duration as a number needs Prometheus 3");
            return Err(error.hint("write it in seconds"));
        }
        if is_length && !has_unit {
            let seconds = word.parse::<f64>().ok();
            let seconds = seconds.filter(|seconds| (1e-3..LONGEST_DURATION).contains(seconds));
            seconds
                .ok_or_else(|| QueryError::at(from, format!("{word} is no duration")).hint("such as 5m"))?;
        }
        if before == "@" && word.parse::<f64>().is_ok_and(|seconds| seconds.abs() > 1e13) {
            return Err(QueryError::at(from, format!("{word} is no instant")).hint("seconds since 1970"));
        }
        Ok(())
    }

    fn in_brackets(&self, place: usize) -> bool {
        let last = (0..place).rev().map(|place| self.word(place)).find(|word| matches!(*word, "[" | "]"));
        last == Some("[")
    }

    /// Where the grammar is broken: at the first token after the longest beginning that some ending would complete.
    pub(super) fn broken_at(&self) -> usize {
        let completes = |count: &usize| {
            let to = self.tokens.get(count - 1).map_or(0, |token| token.1);
            could_go_on(&self.text[..to])
        };
        let whole = (1..=self.tokens.len()).rev().find(completes).unwrap_or(0);
        self.tokens.get(whole).map_or(self.text.len(), |token| token.0)
    }
}

/// Whether some ending makes this beginning a query, right or wrong.
fn could_go_on(beginning: &str) -> bool {
    const ENDINGS: [&str; 14] = [
        "", " x", " 1m", " (x)", " (1, x)", "=\"\"", "\"\"", " a=\"\"", " 1m:", ":", " x + x", " start()",
        " (a) x", " (a) (x)",
    ];
    const AFTER: [&str; 3] = ["", " x", " (x)"];
    let mut closing: Vec<char> = Vec::new();
    let scan = Scan::new(beginning);
    for place in 0..scan.tokens.len() {
        match scan.word(place) {
            "(" => closing.push(')'),
            "[" => closing.push(']'),
            "{" => closing.push('}'),
            ")" | "]" | "}" => drop(closing.pop()),
            _ => {}
        }
    }
    let closing: String = closing.into_iter().rev().collect();
    ENDINGS
        .iter()
        .any(|ending| AFTER.iter().any(|after| has_shape(&format!("{beginning}{ending}{closing}{after}"))))
}

/// Whether a text parses, or fails for a reason besides its shape.
fn has_shape(text: &str) -> bool {
    lexer(text).is_ok() && parse(text).err().is_none_or(|why| !is_shapeless(&why))
}

/// Whether a message of the parser is about the shape of a text.
pub(super) fn is_shapeless(message: &str) -> bool {
    message == "invalid promql query" || message.starts_with("unexpected")
}

fn starts_number(text: &str) -> bool {
    text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit()) && !text.starts_with("..")
}

/// The length of a number or duration: an exponent may have a sign.
fn number(text: &str) -> usize {
    let length = run(text, |c| c.is_ascii_alphanumeric() || c == '.');
    let exponent = !text.starts_with("0x") && text[..length].ends_with(['e', 'E']);
    let signed =
        text[length..].strip_prefix(['+', '-']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match signed {
        Some(rest) if exponent => length + 1 + run(rest, |c| c.is_ascii_digit()),
        _ => length,
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':'
}

fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|c| !of(c)).unwrap_or(text.len())
}

/// The length of a quoted text with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

//! What selects series.

use regex::{Regex, RegexBuilder};

use super::{Labels, PrometheusVersion};

/// A condition on one label. A label that is not there has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// The text that is compared with.
    pub value: String,
    pub(super) test: Test,
}

/// How a label's value is compared.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Equal,
    NotEqual,
    Fits(Regex),
    FitsNot(Regex),
}

/// Matchers are equal if they are written alike.
impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        let alike = std::mem::discriminant(&self.test) == std::mem::discriminant(&other.test);
        alike && self.name == other.name && self.value == other.value
    }
}

impl Matcher {
    /// Whether a series with these labels fits.
    #[must_use]
    pub fn fits(&self, labels: &Labels) -> bool {
        self.fits_value(labels.get(&self.name))
    }

    /// Whether a value of the label fits.
    #[must_use]
    pub fn fits_value(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal => value == self.value,
            Test::NotEqual => value != self.value,
            Test::Fits(pattern) => pattern.is_match(value),
            Test::FitsNot(pattern) => !pattern.is_match(value),
        }
    }

    /// Whether it asks for one value.
    #[must_use]
    pub fn is_equality(&self) -> bool {
        matches!(self.test, Test::Equal)
    }
}

/// A pattern that has to fit the whole value. Go takes a brace that is no repetition as itself; so do we.
pub(super) fn anchored(pattern: &str, version: PrometheusVersion) -> Result<Regex, String> {
    let build = |pattern: &str| {
        RegexBuilder::new(&format!("^(?:{pattern})$"))
            .dot_matches_new_line(version == PrometheusVersion::V3)
            .build()
    };
    // The pattern alone first: `a)(b` must not become well-formed by what stands around it.
    let alone = |pattern: &str| Regex::new(pattern).and_then(|_| build(pattern));
    alone(pattern).or_else(|error| alone(&literal_braces(pattern)).map_err(|_| error)).map_err(|error| {
        let text = error.to_string();
        text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned()
    })
}

/// The pattern with a backslash before each brace that opens no repetition.
fn literal_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 2);
    let mut rest = pattern.char_indices();
    while let Some((at, c)) = rest.next() {
        if c == '{' && !opens_repetition(&pattern[at + 1..]) {
            out.push('\\');
        }
        out.push(c);
        if c == '\\' {
            out.extend(rest.next().map(|(_, escaped)| escaped));
        }
    }
    out
}

/// Whether the text goes on as `3}`, `3,}` or `3,5}`.
fn opens_repetition(text: &str) -> bool {
    let Some((inside, _)) = text.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

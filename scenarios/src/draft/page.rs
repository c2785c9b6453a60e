//! A scenario as lines, each with a comment that says where its value is from.

use std::fmt;

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A field of an object.
    Read(String),
    /// It follows from something else.
    Inferred(String),
    /// Nothing says so.
    Guessed(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Read(field) => write!(f, "read from {field}"),
            Origin::Inferred(why) => write!(f, "inferred: {why}"),
            Origin::Guessed(why) => write!(f, "guessed: {why}"),
        }
    }
}

/// A value that follows from something else.
pub(super) fn inferred(why: impl Into<String>) -> Option<Origin> {
    Some(Origin::Inferred(why.into()))
}

/// A value that nothing says.
pub(super) fn guessed(why: impl Into<String>) -> Option<Origin> {
    Some(Origin::Guessed(why.into()))
}

/// A key with its value, and where it is from.
pub(super) type Keyed = (String, Option<Origin>);

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    depth: usize,
    text: String,
    origin: Option<Origin>,
}

impl Line {
    pub(super) fn of(depth: usize, text: impl Into<String>, origin: Option<Origin>) -> Line {
        Line { depth, text: text.into(), origin }
    }
}

/// Where comments begin, if the line is not longer.
const MARGIN: usize = 64;

/// The lines as text.
pub(super) fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let written = format!("{}{}", "  ".repeat(line.depth), line.text);
        match &line.origin {
            None => text += &written,
            Some(origin) => text += &format!("{written:<MARGIN$}  # {}", plain(&origin.to_string())),
        }
        text.push('\n');
    }
    text
}

/// How every draft begins.
pub(super) const FIRST: &str = "# A starting scenario, drafted by `scaletwin init` from ";

/// What stands at the top.
pub(super) fn head(about: &str, left_out: &[String]) -> Vec<Line> {
    let comment = |text: &str| Line::of(0, format!("# {}", plain(text)), None);
    let mut lines = vec![
        Line::of(0, format!("{FIRST}{}.", plain(about)), None),
        comment(
            "Each value says where it is from. What is guessed is what to set first: above all the traffic.",
        ),
    ];
    if !left_out.is_empty() {
        lines.push(comment("Not carried over:"));
        lines.extend(left_out.iter().map(|what| comment(&format!("- {what}"))));
    }
    lines
}

/// A text on one line, without control characters and not endless.
pub(super) fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let one: String = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match one.char_indices().nth(300) {
        Some((cut, _)) => format!("{}…", &one[..cut]),
        None => one,
    }
}

/// A text as a YAML scalar: as it is where nothing else could be meant, else in quotes as JSON has them.
pub(super) fn quoted(text: &str) -> String {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    match starts && plain && !word.contains(&text.to_ascii_lowercase().as_str()) {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

/// A name as scenarios allow it.
pub(super) fn name(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = text.chars().take(120).map(fit).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_something_else_could_be_meant() {
        let cases = ["g6e.xlarge", "us-east-1a", "no", "1", "a: b", "", "a\"b\n", "meta-llama/Llama-3.1-8B"];
        let expected = [
            "g6e.xlarge",
            "us-east-1a",
            "\"no\"",
            "\"1\"",
            "\"a: b\"",
            "\"\"",
            "\"a\\\"b\\n\"",
            "meta-llama/Llama-3.1-8B",
        ];
        assert_eq!(cases.map(quoted), expected);
    }

    #[test]
    fn a_comment_stays_on_its_line() {
        let line = Line::of(1, "a: 1", guessed("one\ntwo\r\u{85}three"));
        assert_eq!(text(&[line]).lines().count(), 1);
        assert!(head("x\ny", &["a\n- b".to_owned()]).iter().all(|line| line.text.starts_with("# ")));
        assert_eq!(plain(&"é".repeat(400)).chars().count(), 301);
    }
}

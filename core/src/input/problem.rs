//! Problems found in input: where, what, and what to do about it.

use std::fmt;

use super::Place;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The input can be used; the user should know.
    Warning,
    /// The input cannot be used.
    Error,
}

/// One problem of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, a phrase without a final stop.
    pub message: String,
    /// Where, if it has a place.
    pub place: Option<Place>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// An error at `place`.
    #[must_use]
    pub fn error(place: &Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, message: message.into(), place: Some(place.clone()), hint: None }
    }

    /// An error without a place.
    #[must_use]
    pub fn without_place(message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, message: message.into(), place: None, hint: None }
    }

    /// A warning at `place`.
    #[must_use]
    pub fn warning(place: &Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(place, message) }
    }

    /// The same problem with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }
}

/// The place, the message, the line with its number, a mark under it, and the hint.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        match &self.place {
            None => write!(f, "{warning}{}", self.message)?,
            Some(place) => {
                let (line, column) = place.line_column();
                write!(f, "{place}: {warning}{}", self.message)?;
                let (text, skipped) = excerpt(place.line(), column);
                let mark = " ".repeat(column - 1 - skipped) + &"^".repeat(place.width().min(EXCERPT));
                write!(f, "\n{line:>5} | {text}\n      | {mark}")?;
            }
        }
        if let Some(hint) = &self.hint {
            let indent = if self.place.is_some() { "      " } else { "  " };
            write!(f, "\n{indent}= hint: {hint}")?;
        }
        Ok(())
    }
}

/// How many characters of a line a message shows.
const EXCERPT: usize = 120;

/// The part of `line` around `column` that fits a message, tabs as spaces, and how many characters were skipped.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let skipped = if column > EXCERPT { column - EXCERPT / 2 } else { 0 };
    let shown = line.chars().skip(skipped).take(EXCERPT);
    (shown.map(|c| if c.is_control() { ' ' } else { c }).collect(), skipped)
}

/// The problems of one input, collected so that all are reported at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Adds an error at `place`.
    pub fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.push(Problem::error(place, message));
    }

    /// Whether there is at least one error.
    #[must_use]
    pub fn any_error(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// `value` if there is no error so far.
    ///
    /// # Errors
    /// All problems, if at least one of them is an error. Warnings stay otherwise.
    pub fn none_or<T>(&mut self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if !self.any_error() => Ok(value),
            _ => Err(std::mem::take(self)),
        }
    }

    /// Takes the problems of `other` as well.
    pub fn extend(&mut self, other: Problems) {
        self.list.extend(other.list);
    }

    /// The problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems { list: vec![problem] }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `did you mean "x"?` for the nearest of `known`, else all of them if they are few.
///
/// ```
/// use scaletwin_core::input::suggestion;
/// assert_eq!(suggestion("replcas", &["replicas", "limit"]), Some("did you mean \"replicas\"?".into()));
/// assert_eq!(suggestion("zzz", &["a", "b", "a"]), Some("one of: a, b".into()));
/// ```
#[must_use]
pub fn suggestion(wrong: &str, known: &[&str]) -> Option<String> {
    let distance = |name: &&str| strsim::damerau_levenshtein(wrong, name);
    let nearest = known.iter().copied().min_by_key(distance)?;
    if distance(&nearest) <= 1 + wrong.chars().count() / 4 {
        return Some(format!("did you mean {nearest:?}?"));
    }
    if known.len() > 40 {
        return None;
    }
    let mut each: Vec<&str> = Vec::new();
    for name in known {
        if !each.contains(name) {
            each.push(name);
        }
    }
    Some(format!("one of: {}", each.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Source;
    use std::sync::Arc;

    #[test]
    fn a_problem_shows_its_line_and_a_mark() {
        let source = Arc::new(Source { name: "a.yaml".into(), text: "x: 1\nkind: hpx\n".into() });
        let problem = Problem::error(&Place::new(&source, 11, 14), "unknown policy \"hpx\"")
            .hint("did you mean \"hpa\"?");
        assert_eq!(
            problem.to_string(),
            "a.yaml:2:7: unknown policy \"hpx\"\n    2 | kind: hpx\n      |       ^^^\n      = hint: did you mean \"hpa\"?"
        );
    }

    #[test]
    fn an_endless_line_is_cut() {
        let source = Arc::new(Source { name: "a".into(), text: "y".repeat(1_000_000) });
        let text = Problem::error(&Place::new(&source, 500_000, 900_000), "too long").to_string();
        assert!(text.len() < 500, "{}", text.len());
    }
}

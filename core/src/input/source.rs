//! Texts with names, and places in them.

use std::fmt;
use std::sync::Arc;

/// A text that was read, with the name it goes by in messages: a path, or `--set`.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The name in messages.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Bytes `start..end` of a source.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    start: usize,
    end: usize,
}

impl Place {
    /// The bytes `start..end` of `source`, cut to what the text has.
    #[must_use]
    pub fn new(source: &Arc<Source>, start: usize, end: usize) -> Place {
        let length = source.text.len();
        Place {
            source: Arc::clone(source),
            start: start.min(length),
            end: end.clamp(start.min(length), length),
        }
    }

    /// The first byte of `source`.
    #[must_use]
    pub fn start_of(source: &Arc<Source>) -> Place {
        Place::new(source, 0, 0)
    }

    /// A place in an empty source, for values that are written nowhere.
    #[must_use]
    pub fn nowhere() -> Place {
        Place::start_of(&Arc::new(Source { name: String::new(), text: String::new() }))
    }

    /// The source this place is in.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The text at this place, as it stands in the source; empty if the place cuts a character.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source.text.get(self.start..self.end).unwrap_or("")
    }

    /// Line and column, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.before();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }

    /// The whole line that this place starts in, without its end.
    #[must_use]
    pub fn line(&self) -> &str {
        let start = self.before().rfind('\n').map_or(0, |at| at + 1);
        let rest = self.source.text.get(start..).unwrap_or("");
        rest.split('\n').next().unwrap_or("").trim_end_matches('\r')
    }

    /// How many characters of its first line the place covers, at least 1.
    #[must_use]
    pub fn width(&self) -> usize {
        self.text().split('\n').next().unwrap_or("").trim_end().chars().count().max(1)
    }

    fn before(&self) -> &str {
        let mut start = self.start;
        while !self.source.text.is_char_boundary(start) {
            start -= 1;
        }
        &self.source.text[..start]
    }
}

/// `name:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_lines_from_one() {
        let source = Arc::new(Source { name: "a.yaml".into(), text: "é: 1\r\nbc: xyz\n".into() });
        let place = Place::new(&source, 11, 14);
        assert_eq!((place.text(), place.line(), place.width()), ("xyz", "bc: xyz", 3));
        assert_eq!(place.to_string(), "a.yaml:2:5");
        assert_eq!(Place::new(&source, 1, 1).line_column(), (1, 1), "a cut character counts as its start");
        assert_eq!(Place::new(&source, 99, 99).line_column(), (3, 1));
    }
}

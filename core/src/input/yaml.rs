//! YAML (and so JSON) to nodes.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::{Entry, Node, Place, Problem, Source, Value};

/// The one document of `text`; nothing at all reads as null.
///
/// # Errors
/// The first place that is no YAML, a duplicate key, or a second document.
pub fn parse(name: &str, text: &str) -> Result<Node, Problem> {
    let mut documents = parse_documents(name, text)?;
    if documents.len() > 1 {
        return Err(Problem::error(&documents[1].place, "a second document; one is expected")
            .hint("put what follows the line --- into a file of its own"));
    }
    Ok(documents.pop().unwrap_or_else(|| {
        let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
        Node { value: Value::Null, place: Place::start_of(&source) }
    }))
}

/// All documents of `text`, separated by `---`.
///
/// # Errors
/// The first place that is no YAML, or a duplicate key.
pub fn parse_documents(name: &str, text: &str) -> Result<Vec<Node>, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
    let options = serde_yaml::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    SOURCE.with(|slot| *slot.borrow_mut() = Some(Arc::clone(&source)));
    let documents = serde_yaml::from_multiple_with_options::<Node>(text, options);
    SOURCE.with(|slot| *slot.borrow_mut() = None);
    documents.map_err(|error| {
        let start = error.location().map_or(0, |at| byte_of(text, at.line(), at.column()));
        Problem::error(&Place::new(&source, start, start + 1), plain(&error.to_string()))
    })
}

thread_local! {
    /// The source of the tree being read: serde has no way to hand it to `deserialize`.
    static SOURCE: RefCell<Option<Arc<Source>>> = const { RefCell::new(None) };
}

/// The parser's message without its own place, which ours has already.
fn plain(message: &str) -> String {
    let first = message.lines().next().unwrap_or("no YAML");
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let text = match first.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, text)) => text,
        None => first.rsplit_once(" at line ").map_or(first, |(text, _)| text),
    };
    in_our_words(text).unwrap_or_else(|| text.split(", set ").next().unwrap_or(text)).to_owned()
}

/// What the parser says of its own settings, in words for people who do not know them.
fn in_our_words(text: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 5] = [
        ("budget breached: Depth", "nested too deeply"),
        ("recursion limit exceeded", "nested too deeply"),
        ("budget breached", "too much text, with what its aliases stand for"),
        ("recursive references", "an alias stands within what it stands for"),
        ("non-finite float", "a number that is finite is expected"),
    ];
    WORDS.into_iter().find(|(theirs, _)| text.contains(theirs)).map(|(_, ours)| ours)
}

/// The byte at a line and column, both from 1.
fn byte_of(text: &str, line: u64, column: u64) -> usize {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        let source = SOURCE.with(|slot| slot.borrow().clone()).expect("set for the time of the parse");
        let start = span.byte_offset().map(|byte| usize::try_from(byte).unwrap_or(usize::MAX));
        let start =
            start.unwrap_or_else(|| byte_of(&source.text, spanned.defined.line(), spanned.defined.column()));
        let length = span.byte_len().map_or(0, |length| usize::try_from(length).unwrap_or(0));
        Ok(Node { value: spanned.value, place: Place::new(&source, start, start + length) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Node>()? {
            let text = match key.value {
                Value::Text(text) => text,
                _ => key.place.text().to_owned(),
            };
            entries.push(Entry { key: text, key_place: key.place, node: map.next_value()? });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_value_knows_its_place() {
        let root = parse("a.yaml", "base: &b {x: 1}\nlist:\n  - {<<: *b, y: 5m}\n  - no\n").unwrap();
        let Value::List(list) = &root.get("list").unwrap().value else { panic!("a list") };
        assert_eq!(list[0].get("y").unwrap().place.to_string(), "a.yaml:3:17");
        assert_eq!(
            list[0].get("x").unwrap().place.to_string(),
            "a.yaml:1:14",
            "where the merged value is defined"
        );
        assert_eq!(list[1].value, Value::Text("no".into()), "YAML 1.2: no is a text");
    }

    #[test]
    fn what_is_no_yaml_has_a_place() {
        for (text, place) in
            [("a: 1\na: 2\n", "a.yaml:2:1"), ("a: [1\nb: 2\n", "a.yaml:2:2"), ("a:\n\t- 1\n", "a.yaml:2:2")]
        {
            let problem = parse("a.yaml", text).unwrap_err();
            assert_eq!(problem.place.as_ref().unwrap().to_string(), place, "{problem}");
        }
        assert!(parse("a.yaml", "a: 1\n---\nb: 2\n").unwrap_err().message.contains("second document"));
        assert!(parse("a.yaml", "").unwrap().is_null());
    }

    #[test]
    fn what_the_parser_refuses_is_said_in_our_words() {
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        let wide = (1..9u8).fold("a: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned(), |text, n| {
            let alias = format!("*a{}, ", n - 1).repeat(8);
            text + &format!("a{n}: &a{n} [{alias}]\n")
        });
        for (text, words) in [
            (deep.as_str(), "nested too deeply"),
            (&wide, "too much text"),
            ("a: &a [1, *a]\n", "an alias stands within what it stands for"),
            ("a: .nan\n", "a number that is finite is expected"),
            ("a: 1\na: 2\n", "duplicate mapping key: a"),
        ] {
            let message = parse("a.yaml", text).unwrap_err().message;
            assert!(message.starts_with(words), "{message}");
        }
    }

    #[test]
    fn json_is_read_as_well() {
        let root = parse("a.json", "{\"a\": [1, 2.5, \"x\", null, true]}").unwrap();
        let Value::List(list) = &root.get("a").unwrap().value else { panic!("a list") };
        let values: Vec<_> = list.iter().map(|node| node.value.clone()).collect();
        assert_eq!(
            values,
            [Value::Int(1), Value::Float(2.5), Value::Text("x".into()), Value::Null, Value::Bool(true)]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n\t]{0,80}") {
            let _ = parse_documents("a", &text);
        }
    }
}

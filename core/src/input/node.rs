//! A tree of values with places.

use std::fmt;

use super::Place;

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other finite number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, in the order written.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_place: Place,
    /// The value.
    pub node: Node,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

impl Node {
    /// The whole number that it is. One written with a point, as `60.0`, is one as well: for JSON, and for what
    /// applies manifests.
    #[must_use]
    pub fn whole(&self) -> Option<i128> {
        /// 2^53: every whole number below it is a double of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.value {
            Value::Int(value) => Some(value),
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            Value::Float(value) if value.fract().abs() <= 0.0 && value.abs() < EXACT => Some(value as i128),
            _ => None,
        }
    }

    /// What the value is, for messages: `a list`, `the number 5`, `"text"`.
    #[must_use]
    pub fn kind(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(text) if text.chars().count() > 60 => {
                format!("{:?}…", text.chars().take(57).collect::<String>())
            }
            Value::Text(text) => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
        }
    }

    /// Whether the value is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The value of `key`, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Puts `node` at `path`, as `--set` does: keys separated by dots, elements of lists by `[0]`, or by the value
    /// of their key `name`. Maps grow by keys that they do not have, and by maps below those. Lists do not grow.
    ///
    /// # Errors
    /// When an element of a list does not exist, or a step leads into something that is neither map nor list.
    pub fn set(&mut self, path: &str, node: Node) -> Result<(), PathError> {
        let steps = steps_of(path)?;
        let (last, inner) = steps.split_last().ok_or_else(|| PathError::new(path, "is empty"))?;
        let mut here = self;
        for (place, step) in inner.iter().enumerate() {
            let is_element = steps.get(place + 1).is_some_and(|next| next.parse::<usize>().is_ok());
            if !is_element {
                here.grow(step, &node.place);
            }
            here = here.child(step).map_err(|reason| PathError::new(path, reason))?;
        }
        here.put(last, node).map_err(|reason| PathError::new(path, reason))
    }

    fn child(&mut self, step: &str) -> Result<&mut Node, String> {
        let kind = self.kind();
        match &mut self.value {
            Value::Map(entries) => entries
                .iter_mut()
                .find(|entry| entry.key == step)
                .map(|entry| &mut entry.node)
                .ok_or_else(|| format!("has no key {step:?}")),
            Value::List(nodes) => {
                let names: Vec<_> = nodes.iter().filter_map(|n| n.get("name")?.as_text()).collect();
                let hint = format!("has no element {step:?} (names: {})", names.join(", "));
                let at = match step.parse::<usize>() {
                    Ok(at) => Some(at),
                    Err(_) => nodes.iter().position(|n| n.get("name").and_then(Node::as_text) == Some(step)),
                };
                at.and_then(|at| nodes.get_mut(at)).ok_or(hint)
            }
            _ => Err(format!("cannot go on to {step:?}: there is {kind}")),
        }
    }

    /// Adds an empty map under a key that is not there, or under which there is nothing.
    fn grow(&mut self, step: &str, place: &Place) {
        let empty = || Node { value: Value::Map(Vec::new()), place: place.clone() };
        let Value::Map(entries) = &mut self.value else { return };
        match entries.iter_mut().find(|entry| entry.key == step) {
            None => {
                entries.push(Entry { key: step.to_owned(), key_place: place.clone(), node: empty() });
            }
            Some(entry) if entry.node.is_null() => entry.node = empty(),
            Some(_) => {}
        }
    }

    fn put(&mut self, step: &str, node: Node) -> Result<(), String> {
        if let Value::Map(entries) = &mut self.value
            && !entries.iter().any(|entry| entry.key == step)
        {
            entries.push(Entry { key: step.to_owned(), key_place: node.place.clone(), node });
            return Ok(());
        }
        *self.child(step)? = node;
        Ok(())
    }
}

/// The steps of `a.b[0].c`.
fn steps_of(path: &str) -> Result<Vec<String>, PathError> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !name.is_empty() {
            steps.push(name.to_owned());
        } else if indexes.is_empty() {
            return Err(PathError::new(path, "has an empty step"));
        }
        for index in indexes.split('[').skip(1) {
            let index =
                index.strip_suffix(']').ok_or_else(|| PathError::new(path, "has a [ without its ]"))?;
            steps.push(index.to_owned());
        }
    }
    Ok(steps)
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    path: String,
    reason: String,
}

impl PathError {
    fn new(path: &str, reason: impl Into<String>) -> PathError {
        PathError { path: path.to_owned(), reason: reason.into() }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {:?} {}", self.path, self.reason)
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use crate::input::parse;

    fn set(text: &str, path: &str, value: &str) -> Result<String, String> {
        let mut root = parse("a.yaml", text).unwrap();
        let node = parse("--set", value).unwrap();
        root.set(path, node).map_err(|error| error.to_string())?;
        Ok(root.get("services").unwrap().get("x").map_or("-".into(), super::Node::kind))
    }

    #[test]
    fn paths_lead_through_keys_indexes_and_names() {
        let mut root = parse("a", "services: [{name: llm, replicas: 1}, {name: b}]").unwrap();
        for path in ["services[0].replicas", "services.llm.replicas", "services.0.replicas"] {
            root.set(path, parse("--set", "7").unwrap()).unwrap();
        }
        let crate::input::Value::List(list) = &root.get("services").unwrap().value else { panic!("a list") };
        assert_eq!(list[0].get("replicas").unwrap().kind(), "the number 7");
        root.set("services.b.limit", parse("--set", "3").unwrap()).unwrap();
    }

    #[test]
    fn maps_grow_by_what_is_not_there() {
        let mut root = parse("a", "services: [{name: llm, queue: }]").unwrap();
        for path in ["services.llm.queue.limit", "services[0].slo.ttft.p95", "scrape.interval"] {
            root.set(path, parse("--set", "7").unwrap()).unwrap();
        }
        let crate::input::Value::List(list) = &root.get("services").unwrap().value else { panic!("a list") };
        assert_eq!(list[0].get("queue").unwrap().get("limit").unwrap().kind(), "the number 7");
        let ttft = list[0].get("slo").unwrap().get("ttft").unwrap();
        assert_eq!(ttft.get("p95").unwrap().kind(), "the number 7");
        assert_eq!(root.get("scrape").unwrap().get("interval").unwrap().kind(), "the number 7");
    }

    #[test]
    fn paths_that_lead_nowhere_say_where_they_end() {
        let text = "services: {x: 1}";
        assert_eq!(set(text, "services.x", "2").unwrap(), "the number 2");
        assert!(set(text, "service[0].x", "2").unwrap_err().contains("has no key \"service\""));
        assert!(set(text, "services.x.y.z", "2").unwrap_err().contains("cannot go on"));
        assert!(set(text, "", "2").is_err());
        assert!(set(text, "a[0", "2").is_err());
    }
}

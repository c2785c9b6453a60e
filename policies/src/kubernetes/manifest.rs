//! Kubernetes manifests as people paste them: what `kubectl get -o yaml` prints, or JSON.
//!
//! Every field is *honoured*, or *without effect* on decisions, or *not modelled*: then it is an error that names
//! it, unless the user waives it by that name. Nothing is dropped in silence.

use std::collections::BTreeSet;

use scaletwin_core::control::ObjectName;
use scaletwin_core::input::{Entry, Node, Place, Problem, Problems, Read, Value, suggestion};

/// What became of a field of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Decisions depend on it as in reality.
    Honoured,
    /// Decisions do not depend on it, in reality neither.
    WithoutEffect,
    /// It would matter, is not modelled, and was waived by name.
    Waived,
}

impl Coverage {
    /// As shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Coverage::Honoured => "honoured",
            Coverage::WithoutEffect => "without effect",
            Coverage::Waived => "waived",
        }
    }
}

/// What became of the fields of a manifest that can be read.
#[derive(Debug, Default)]
pub struct FieldCoverage {
    /// Each field by its path.
    pub fields: Vec<(String, Coverage)>,
    /// What is to be said of it nevertheless.
    pub warnings: Problems,
}

/// The waivers of a manifest and what has been found in it so far.
#[derive(Debug, Default)]
pub struct Reader {
    waived: BTreeSet<String>,
    used: BTreeSet<String>,
    coverage: Vec<(String, Coverage)>,
    problems: Problems,
}

impl Reader {
    /// A reader with these paths waived, such as `spec.behavior.scaleUp.tolerance`.
    #[must_use]
    pub fn new(waived: &[String]) -> Reader {
        Reader { waived: waived.iter().cloned().collect(), ..Reader::default() }
    }

    /// The fields of `node`, which is at `path`. `None` when it is no map and a problem was pushed.
    pub fn fields<'a>(&mut self, node: &'a Node, path: &str) -> Option<Fields<'a>> {
        match &node.value {
            Value::Map(entries) => Some(Fields {
                entries: entries.iter().collect(),
                known: Vec::new(),
                path: path.to_owned(),
                place: &node.place,
            }),
            _ => {
                self.problems
                    .error(&node.place, format!("{path}: expected a map of keys, found {}", node.kind()));
                None
            }
        }
    }

    /// Problems found so far, to add to.
    pub fn problems(&mut self) -> &mut Problems {
        &mut self.problems
    }

    /// The coverage of all fields, or the problems. A waiver that was not needed is a problem as well.
    ///
    /// # Errors
    /// All problems of the manifest.
    pub fn finish<T>(mut self, value: Option<T>, place: &Place) -> Result<(T, FieldCoverage), Problems> {
        for path in self.waived.difference(&self.used) {
            let problem = Problem::error(place, format!("the waiver of {path:?} is not needed"));
            self.problems.push(problem.hint("remove it, so that it cannot hide another field later"));
        }
        let value = self.problems.none_or(value)?;
        Ok((value, FieldCoverage { fields: self.coverage, warnings: self.problems }))
    }
}

/// The fields of a map of a manifest while they are being read.
#[derive(Debug)]
pub struct Fields<'a> {
    entries: Vec<&'a Entry>,
    known: Vec<&'static str>,
    path: String,
    /// Where the map stands.
    pub place: &'a Place,
}

impl<'a> Fields<'a> {
    /// Takes a field that decisions depend on. A null counts as absent, as in Kubernetes.
    pub fn honour(&mut self, reader: &mut Reader, key: &'static str) -> Option<&'a Node> {
        let entry = self.take(key)?;
        reader.coverage.push((self.path_of(key), Coverage::Honoured));
        (!entry.node.is_null()).then_some(&entry.node)
    }

    /// Takes fields that no decision depends on.
    pub fn without_effect(&mut self, reader: &mut Reader, keys: &[&'static str]) {
        for key in keys {
            if self.take(key).is_some() {
                reader.coverage.push((self.path_of(key), Coverage::WithoutEffect));
            }
        }
    }

    /// Takes a field that no decision depends on when it has this value.
    pub fn without_effect_when(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
        without: impl Fn(&Node) -> bool,
    ) {
        if self.entries.iter().any(|entry| entry.key == key && without(&entry.node)) {
            self.without_effect(reader, &[key]);
        }
    }

    /// Takes the fields that are left and whose keys are such that no decision depends on them.
    pub fn without_effect_where(&mut self, reader: &mut Reader, without: impl Fn(&str) -> bool) {
        let (taken, left) = self.entries.iter().partition(|entry| without(&entry.key));
        self.entries = left;
        let taken: Vec<&Entry> = taken;
        for entry in taken {
            reader.coverage.push((self.path_of(&entry.key), Coverage::WithoutEffect));
        }
    }

    /// Whether a field is written and has not been taken.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Whether the map as a whole is waived; nothing of it is to be read then.
    pub fn is_waived(&self, reader: &mut Reader) -> bool {
        let waived = reader.waived.contains(&self.path);
        if waived {
            reader.used.insert(self.path.clone());
            reader.coverage.push((self.path.clone(), Coverage::Waived));
        }
        waived
    }

    /// Refuses what is left, unless it is waived.
    pub fn finish(self, reader: &mut Reader) {
        for entry in &self.entries {
            let path = self.path_of(&entry.key);
            if reader.waived.contains(&path) {
                reader.used.insert(path.clone());
                reader.coverage.push((path, Coverage::Waived));
                continue;
            }
            let problem = Problem::error(&entry.key_place, format!("{path} is not modelled"));
            let nearest = suggestion(&entry.key, &self.known).filter(|hint| hint.starts_with("did"));
            let hint =
                nearest.unwrap_or_else(|| format!("remove it, or run without its effect by waive: [{path}]"));
            reader.problems.push(problem.hint(hint));
        }
    }

    /// The path of a field of this map.
    #[must_use]
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }
}

/// Takes and reads a field that decisions depend on. `None` when it is absent, or wrong and a problem was pushed.
pub fn value<T: Read>(fields: &mut Fields<'_>, reader: &mut Reader, key: &'static str) -> Option<T> {
    let node = fields.honour(reader, key)?;
    T::read(node, reader.problems())
}

/// Takes and reads a field that has to be there. `None` when a problem was pushed.
pub fn required<T: Read>(fields: &mut Fields<'_>, reader: &mut Reader, key: &'static str) -> Option<T> {
    match fields.honour(reader, key) {
        Some(node) => T::read(node, reader.problems()),
        None => {
            let message = format!("{} is missing", fields.path_of(key));
            reader.problems().error(fields.place, message);
            None
        }
    }
}

/// An object that is not the one expected, or of another version.
#[must_use]
pub(crate) fn unexpected(node: &Node, expected: &str, kind: &str, version: &str) -> Problem {
    let message = format!("expected {expected}, found {kind:?} of {version:?}");
    let problem = Problem::error(&node.place, message);
    if expected.contains(kind) && !kind.is_empty() {
        return problem.hint("kubectl get -o yaml prints an object in the version that its cluster has now");
    }
    problem
}

/// The version and the `spec` of an object of `kind`, of which metadata and status have no effect. `None` when a problem was pushed.
pub(crate) fn spec_of<'a>(
    reader: &mut Reader,
    node: &'a Node,
    kind: &str,
    versions: &[&str],
) -> Option<(&'a str, &'a Node)> {
    let mut fields = reader.fields(node, "")?;
    let version = fields.honour(reader, "apiVersion").and_then(Node::as_text).unwrap_or("");
    let found = fields.honour(reader, "kind").and_then(Node::as_text).unwrap_or("");
    if found != kind || !versions.contains(&version) {
        let expected = format!("a {kind} of {}", versions.join(" or "));
        reader.problems().push(unexpected(node, &expected, found, version));
        return None;
    }
    fields.without_effect(reader, &["metadata", "status"]);
    let spec = fields.honour(reader, "spec");
    fields.finish(reader);
    if spec.is_none() {
        reader.problems().error(&node.place, "spec is missing");
    }
    Some((version, spec?))
}

/// A reference to what is scaled, at `path`.
pub(crate) fn read_target(reader: &mut Reader, node: &Node, path: &str) -> Option<ObjectName> {
    let mut fields = reader.fields(node, path)?;
    fields.without_effect(reader, &["apiVersion"]);
    let kind = required(&mut fields, reader, "kind");
    let name = required(&mut fields, reader, "name");
    fields.finish(reader);
    Some(ObjectName { kind: kind?, name: name? })
}

/// Refuses our own keys, of which these are written, beside a manifest.
pub(crate) fn refuse_beside<'a>(own: impl IntoIterator<Item = Option<&'a Place>>, problems: &mut Problems) {
    for place in own.into_iter().flatten() {
        let problem = Problem::error(place, "this key and manifest: exclude each other");
        problems.push(problem.hint("change the manifest, or copy it into our own keys"));
    }
}

/// The documents of a manifest: those of a `List` one by one.
#[must_use]
pub fn documents(nodes: &[Node]) -> Vec<&Node> {
    let mut found = Vec::new();
    for node in nodes {
        let is_list = node.get("kind").and_then(Node::as_text).is_some_and(|kind| kind.ends_with("List"));
        match node.get("items").map(|items| &items.value) {
            Some(Value::List(items)) if is_list => found.extend(items),
            _ if node.is_null() => {}
            _ => found.push(node),
        }
    }
    found
}

/// The one document of `kind` among `nodes`.
///
/// # Errors
/// When there is none, or more than one.
pub fn only<'a>(nodes: &'a [Node], kind: &str, place: &Place) -> Result<&'a Node, Problem> {
    let all = documents(nodes);
    let kind_of = |node: &&&Node| node.get("kind").and_then(Node::as_text) == Some(kind);
    let found: Vec<_> = all.iter().filter(kind_of).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let kinds: Vec<_> = all.iter().filter_map(|node| node.get("kind")?.as_text()).collect();
            let message = format!("the manifest holds no {kind}");
            let hint = if kinds.is_empty() {
                "it has no key kind".to_owned()
            } else {
                format!("it holds: {}", kinds.join(", "))
            };
            Err(Problem::error(place, message).hint(hint))
        }
        [_, second, ..] => Err(Problem::error(&second.place, format!("a second {kind}; one is expected"))
            .hint("put each into a file of its own")),
    }
}

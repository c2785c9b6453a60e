//! Maps of keys: unknown ones are refused with a suggestion, and one declaration gives the struct, its reader and
//! its reference.

use serde_json::json;

use super::{At, Entry, Node, Place, Problem, Problems, Read, Shape, Value, suggestion};

/// The keys of a map while they are being read. Each is taken once; [`Keys::finish`] refuses the rest.
#[derive(Debug)]
pub struct Keys<'a> {
    entries: Vec<&'a Entry>,
    known: Vec<&'static str>,
    place: &'a Place,
}

impl<'a> Keys<'a> {
    /// The keys of `node`; nothing at all has none. `None` when it is something else and a problem was pushed.
    pub fn of(node: &'a Node, problems: &mut Problems) -> Option<Keys<'a>> {
        let entries = match &node.value {
            Value::Map(entries) => entries.iter().collect(),
            Value::Null => Vec::new(),
            _ => {
                problems.error(&node.place, format!("expected a map of keys, found {}", node.kind()));
                return None;
            }
        };
        Some(Keys { entries, known: Vec::new(), place: &node.place })
    }

    /// Takes the node of `key`, if it was written.
    pub fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(&self.entries.remove(at).node)
    }

    /// Takes and reads `key`. `None` when it is missing or wrong; both are problems.
    pub fn required<T: Read>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        match self.take(key) {
            Some(node) => T::read(node, problems),
            None => {
                let problem = Problem::error(self.place, format!("the key {key:?} is missing"));
                problems.push(problem.hint(format!("expected {}", T::shape().phrase)));
                None
            }
        }
    }

    /// Takes and reads `key`, or gives `default` where it is not written. `None` when it is wrong.
    pub fn or<T: Read + OrDefault<D>, D>(
        &mut self,
        key: &'static str,
        default: D,
        problems: &mut Problems,
    ) -> Option<T> {
        match self.take(key) {
            Some(node) => T::read(node, problems),
            None => Some(T::or_default(default, self.place)),
        }
    }

    /// The place of the map.
    #[must_use]
    pub fn place(&self) -> &'a Place {
        self.place
    }

    /// Refuses the keys that were not taken.
    pub fn finish(self, problems: &mut Problems) {
        for entry in self.entries {
            let problem = Problem::error(&entry.key_place, format!("unknown key {:?}", entry.key));
            problems.push(match suggestion(&entry.key, &self.known) {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
    }
}

/// How a default becomes the value of a key that was not written.
pub trait OrDefault<D> {
    /// The value, for a key of the map at `place`.
    fn or_default(default: D, place: &Place) -> Self;
}

impl<T> OrDefault<T> for T {
    fn or_default(default: T, _: &Place) -> T {
        default
    }
}

impl<T> OrDefault<T> for At<T> {
    fn or_default(default: T, place: &Place) -> At<T> {
        At { value: default, place: place.clone() }
    }
}

/// A value read from the keys of a map.
pub trait ReadKeys: Sized {
    /// Reads its keys out of `keys`; `None` when a problem was pushed.
    fn read_keys(keys: &mut Keys<'_>, problems: &mut Problems) -> Option<Self>;

    /// Its keys with their shapes.
    fn fields() -> Fields;
}

/// The keys of a map for the reference.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    /// What the map is.
    pub doc: String,
    /// The keys in order.
    pub keys: Vec<Field>,
}

/// A key for the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub doc: String,
    /// What is expected.
    pub shape: Shape,
    /// Whether it has to be written.
    pub required: bool,
    /// What holds where it is not written, if that can be said in a word.
    pub default: Option<String>,
}

/// The text of a default, if that can be said in a word.
#[must_use]
pub fn default_text<T: Read + OrDefault<D>, D>(default: D) -> Option<String> {
    T::or_default(default, &Place::nowhere()).written()
}

impl Fields {
    /// The JSON Schema of an object with these keys; `kind`, if given, is one more, a constant.
    #[must_use]
    pub fn schema(&self, kind: Option<&str>) -> serde_json::Value {
        let mut properties = serde_json::Map::new();
        let mut required = Vec::new();
        if let Some(kind) = kind {
            properties.insert("kind".into(), json!({"const": kind}));
            required.push("kind");
        }
        for field in &self.keys {
            let mut schema = field.shape.schema.clone();
            if let Some(schema) = schema.as_object_mut() {
                let note = field.default.as_ref().map_or(String::new(), |text| format!(" Default: {text}."));
                schema.insert("description".into(), format!("{}{note}", field.doc).into());
            }
            properties.insert(field.name.to_owned(), schema);
            if field.required {
                required.push(field.name);
            }
        }
        json!({
            "type": "object",
            "description": self.doc,
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

/// Declares a struct that is read from a map of keys, with its reference.
///
/// A field without a default is required; `= value` gives its default, of the field's type, or of its inner type for an [`At`].
/// The documentation of a field is its entry in the reference.
///
/// ```
/// use scaletwin_core::input::{parse, Count, Problems, Read};
/// use scaletwin_core::units::Span;
///
/// scaletwin_core::keys! {
///     /// A queue before the replicas.
///     #[derive(Debug)]
///     pub struct Queue {
///         /// Requests that may wait.
///         pub limit: Count,
///         /// How long one waits at most.
///         pub timeout: Option<Span> = None,
///     }
/// }
///
/// let mut problems = Problems::default();
/// let queue = Queue::read(&parse("a.yaml", "{limit: 5}").unwrap(), &mut problems).unwrap();
/// assert_eq!((queue.limit, queue.timeout), (Count(5), None));
/// assert!(Queue::read(&parse("a.yaml", "{limt: 5}").unwrap(), &mut problems).is_none());
/// assert!(problems.to_string().contains("did you mean \"limit\"?"));
/// ```
#[macro_export]
macro_rules! keys {
    (
        $(#[doc = $doc:literal])+
        $(#[derive($($derive:ident),*)])?
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field_visibility:vis $field:ident : $type:ty $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        $(#[derive($($derive),*)])?
        $visibility struct $name {
            $(
                $(#[doc = $field_doc])+
                $field_visibility $field: $type,
            )*
        }

        impl $crate::input::ReadKeys for $name {
            fn read_keys(
                keys: &mut $crate::input::Keys<'_>,
                problems: &mut $crate::input::Problems,
            ) -> Option<Self> {
                $(let $field: Option<$type> =
                    $crate::keys!(@field keys, problems, $field, $type $(, $default)?);)*
                Some($name { $($field: $field?,)* })
            }

            fn fields() -> $crate::input::Fields {
                $crate::input::Fields {
                    doc: [$($doc),+].concat().trim().to_owned(),
                    keys: vec![$($crate::input::Field {
                        name: $crate::keys!(@name $field),
                        doc: [$($field_doc),+].concat().trim().to_owned(),
                        shape: <$type as $crate::input::Read>::shape(),
                        required: $crate::keys!(@required $($default)?),
                        default: $crate::keys!(@default $type $(, $default)?),
                    }),*],
                }
            }
        }

        impl $crate::input::Read for $name {
            fn read(
                node: &$crate::input::Node,
                problems: &mut $crate::input::Problems,
            ) -> Option<Self> {
                let mut keys = $crate::input::Keys::of(node, problems)?;
                let value = <$name as $crate::input::ReadKeys>::read_keys(&mut keys, problems);
                let before = problems.len();
                keys.finish(problems);
                value.filter(|_| problems.len() == before)
            }

            fn shape() -> $crate::input::Shape {
                let fields = <$name as $crate::input::ReadKeys>::fields();
                let schema = fields.schema(None);
                $crate::input::Shape::new("a map of keys", schema)
            }
        }
    };
    (@name $field:ident) => { stringify!($field).trim_start_matches("r#") };
    (@field $keys:ident, $problems:ident, $field:ident, $type:ty) => {
        $keys.required::<$type>($crate::keys!(@name $field), $problems)
    };
    (@field $keys:ident, $problems:ident, $field:ident, $type:ty, $default:expr) => {
        $keys.or::<$type, _>($crate::keys!(@name $field), $default, $problems)
    };
    (@required) => { true };
    (@required $default:expr) => { false };
    (@default $type:ty) => { None };
    (@default $type:ty, $default:expr) => { $crate::input::default_text::<$type, _>($default) };
}

/// Declares an enum whose variants are written as names.
///
/// ```
/// use scaletwin_core::input::{parse, Problems, Read};
///
/// scaletwin_core::names! {
///     /// How requests are spread.
///     pub enum Routing {
///         /// In turn.
///         RoundRobin = "round-robin",
///         /// To the replica with the fewest requests.
///         LeastOutstanding = "least-outstanding",
///     }
/// }
///
/// let node = parse("a.yaml", "round-robin").unwrap();
/// assert_eq!(Routing::read(&node, &mut Problems::default()), Some(Routing::RoundRobin));
/// ```
#[macro_export]
macro_rules! names {
    (
        $(#[doc = $doc:literal])+
        $visibility:vis enum $name:ident {
            $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal),* $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        $visibility enum $name {
            $($(#[doc = $variant_doc])+ #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// The name as written.
            #[must_use]
            $visibility const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }

        impl $crate::input::Read for $name {
            fn read(
                node: &$crate::input::Node,
                problems: &mut $crate::input::Problems,
            ) -> Option<Self> {
                match node.as_text() {
                    $(Some($text) => Some($name::$variant),)*
                    other => {
                        let known = [$($text),*];
                        let hint = $crate::input::suggestion(other.unwrap_or(""), &known);
                        let message = format!("expected one of {}, found {}", known.join(", "), node.kind());
                        let problem = $crate::input::Problem::error(&node.place, message);
                        problems.push(match hint.filter(|hint| hint.starts_with("did")) {
                            Some(hint) => problem.hint(hint),
                            None => problem,
                        });
                        None
                    }
                }
            }

            fn shape() -> $crate::input::Shape {
                let phrase = format!("one of {}", [$($text),*].join(", "));
                $crate::input::Shape::new(phrase, serde_json::json!({"enum": [$($text),*]}))
            }

            fn written(&self) -> Option<String> {
                Some(self.name().to_owned())
            }
        }
    };
}

/// Declares an enum whose variants are maps told apart by their key `kind`.
///
/// ```
/// use scaletwin_core::input::{parse, Count, Problems, Read};
///
/// scaletwin_core::keys! {
///     /// A fixed number.
///     #[derive(Debug, PartialEq)]
///     pub struct Fixed {
///         /// How many.
///         pub replicas: Count,
///     }
/// }
/// scaletwin_core::kinds! {
///     /// What scales.
///     #[derive(Debug, PartialEq)]
///     pub enum Scaler {
///         /// Nothing does.
///         Fixed(Fixed) = "fixed",
///     }
/// }
///
/// let node = parse("a.yaml", "{kind: fixed, replicas: 3}").unwrap();
/// assert_eq!(Scaler::read(&node, &mut Problems::default()), Some(Scaler::Fixed(Fixed { replicas: Count(3) })));
/// ```
#[macro_export]
macro_rules! kinds {
    (
        $(#[doc = $doc:literal])+
        $(#[derive($($derive:ident),*)])?
        $visibility:vis enum $name:ident {
            $($(#[doc = $variant_doc:literal])+ $variant:ident($inner:ty) = $text:literal),* $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        $(#[derive($($derive),*)])?
        $visibility enum $name {
            $($(#[doc = $variant_doc])+ $variant($inner),)*
        }

        impl $crate::input::Read for $name {
            fn read(
                node: &$crate::input::Node,
                problems: &mut $crate::input::Problems,
            ) -> Option<Self> {
                let known = [$($text),*];
                let mut keys = $crate::input::Keys::of(node, problems)?;
                let Some(kind) = keys.take("kind") else {
                    let problem = $crate::input::Problem::error(&node.place, "the key \"kind\" is missing");
                    problems.push(problem.hint(format!("one of: {}", known.join(", "))));
                    return None;
                };
                let before = problems.len();
                let value = match kind.as_text() {
                    $(Some($text) => {
                        <$inner as $crate::input::ReadKeys>::read_keys(&mut keys, problems).map($name::$variant)
                    })*
                    other => {
                        let problem = $crate::input::Problem::error(
                            &kind.place,
                            format!("unknown kind {}", kind.kind()),
                        );
                        let hint = $crate::input::suggestion(other.unwrap_or(""), &known);
                        problems.push(match hint {
                            Some(hint) => problem.hint(hint),
                            None => problem,
                        });
                        return None;
                    }
                };
                keys.finish(problems);
                value.filter(|_| problems.len() == before)
            }

            fn shape() -> $crate::input::Shape {
                let variants = [$((<$inner as $crate::input::ReadKeys>::fields(), $text)),*];
                let schemas: Vec<_> =
                    variants.iter().map(|(fields, text)| fields.schema(Some(text))).collect();
                let phrase = format!("a map with kind: {}", [$($text),*].join(", "));
                $crate::input::Shape::new(phrase, serde_json::json!({"oneOf": schemas}))
            }
        }
    };
}

/// Declares an enum whose variants are maps with one key, the name of the variant.
///
/// ```
/// use scaletwin_core::input::{parse, Problems, Read};
/// use scaletwin_core::units::Span;
///
/// scaletwin_core::variants! {
///     /// How long something takes.
///     #[derive(Debug, PartialEq)]
///     pub enum Lasts {
///         /// Always the same.
///         Constant(Span) = "constant",
///     }
/// }
///
/// let node = parse("a.yaml", "{constant: 3s}").unwrap();
/// assert_eq!(Lasts::read(&node, &mut Problems::default()), Some(Lasts::Constant(Span::from_secs(3))));
/// ```
#[macro_export]
macro_rules! variants {
    (
        $(#[doc = $doc:literal])+
        $(#[derive($($derive:ident),*)])?
        $visibility:vis enum $name:ident {
            $($(#[doc = $variant_doc:literal])+ $variant:ident($inner:ty) = $text:literal),* $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        $(#[derive($($derive),*)])?
        $visibility enum $name {
            $($(#[doc = $variant_doc])+ $variant($inner),)*
        }

        impl $crate::input::Read for $name {
            fn read(
                node: &$crate::input::Node,
                problems: &mut $crate::input::Problems,
            ) -> Option<Self> {
                let known = [$($text),*];
                let $crate::input::Value::Map(entries) = &node.value else {
                    let message = format!("expected {}, found {}", Self::shape().phrase, node.kind());
                    problems.error(&node.place, message);
                    return None;
                };
                let [entry] = entries.as_slice() else {
                    let message = format!("expected one key of {}, found {}", known.join(", "), entries.len());
                    problems.error(&node.place, message);
                    return None;
                };
                match entry.key.as_str() {
                    $($text => <$inner as $crate::input::Read>::read(&entry.node, problems).map($name::$variant),)*
                    other => {
                        let problem = $crate::input::Problem::error(
                            &entry.key_place,
                            format!("unknown key {other:?}"),
                        );
                        problems.push(match $crate::input::suggestion(other, &known) {
                            Some(hint) => problem.hint(hint),
                            None => problem,
                        });
                        None
                    }
                }
            }

            fn shape() -> $crate::input::Shape {
                let variants = [$((<$inner as $crate::input::Read>::shape(), $text)),*];
                let schemas: Vec<_> = variants
                    .iter()
                    .map(|(shape, text)| serde_json::json!({
                        "type": "object",
                        "properties": {*text: shape.schema},
                        "required": [text],
                        "additionalProperties": false,
                    }))
                    .collect();
                let phrase = format!("a map with one of the keys {}", [$($text),*].join(", "));
                $crate::input::Shape::new(phrase, serde_json::json!({"oneOf": schemas}))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::input::{At, Count, Problems, Read, parse};
    use crate::units::Span;

    keys! {
        /// A thing.
        #[derive(Debug, PartialEq)]
        struct Thing {
            /// How many.
            many: Count,
            /// How long.
            long: At<Span>,
            /// The type of it.
            r#type: Option<String> = None,
        }
    }

    fn read(text: &str) -> (Option<Thing>, String) {
        let mut problems = Problems::default();
        let thing = Thing::read(&parse("a.yaml", text).unwrap(), &mut problems);
        (thing, problems.to_string())
    }

    #[test]
    fn all_problems_of_a_map_come_at_once() {
        let (thing, problems) = read("many: 0\nlong: 15\ntyp: x\n");
        assert!(thing.is_none());
        for part in [
            "a.yaml:1:7: expected a whole number, at least 1, found the number 0",
            "a.yaml:2:7: the number 15 needs a unit",
            "write 15s for seconds",
            "a.yaml:3:1: unknown key \"typ\"",
            "did you mean \"type\"?",
        ] {
            assert!(problems.contains(part), "{part} in\n{problems}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let number = |text: &str| {
            let mut problems = Problems::default();
            i32::read(&parse("a.yaml", text).unwrap(), &mut problems)
        };
        let numbers = ["60.0", "-6e1", "60.5", "1e300", "2147483648.0", "-0.0"].map(number);
        assert_eq!(numbers, [Some(60), Some(-60), None, None, None, Some(0)]);
        assert!(read("many: 2.0\nlong: 15s\n").0.is_some_and(|thing| thing.many == Count(2)));
    }

    #[test]
    fn missing_keys_name_themselves() {
        let (thing, problems) = read("{}");
        assert!(thing.is_none());
        assert!(
            problems.contains("the key \"many\" is missing") && problems.contains("\"long\""),
            "{problems}"
        );
    }

    #[test]
    fn the_reference_names_every_key() {
        let schema = Thing::shape().schema;
        assert_eq!(schema["properties"]["many"]["description"], "How many.");
        assert_eq!(schema["properties"]["type"]["description"], "The type of it.");
        assert_eq!(schema["required"], serde_json::json!(["many", "long"]));
    }
}

//! What people write, with places: text, problems with hints, YAML trees, and keys read and described from one
//! declaration.
//!
//! A file is read in three steps, each of which reports all of its problems at once: text to [`Node`]s
//! ([`parse`]), nodes to a *Spec* as written ([`Read`], usually through [`keys!`](crate::keys)), and a Spec to a
//! checked value (the owner of the Spec does that, with places kept by [`At`]).

mod keys;
mod node;
mod problem;
mod read;
mod source;
mod yaml;

pub use keys::{Field, Fields, Keys, OrDefault, ReadKeys, default_text};
pub use node::{Entry, Node, PathError, Value};
pub use problem::{Problem, Problems, Severity, suggestion};
pub use read::{At, Count, NonNegative, Period, Positive, Read, Shape};
pub use source::{Place, Source};
pub use yaml::{parse, parse_documents};

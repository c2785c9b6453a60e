//! Policies as written.

use scaletwin_core::input::{At, Node, Problems, Read, Shape, Value};
use scaletwin_policies::guard::GuardSpec;
use scaletwin_policies::registry::PolicySpec;
use serde_json::json;

scaletwin_core::keys! {
    /// What scales: a set of controllers. A policy file is such a map.
    #[derive(Debug, Clone)]
    pub struct PolicyFileSpec {
        /// Its name, for people.
        pub name: Option<String> = None,
        /// The controllers. Those due at the same instant are asked in this order.
        pub controllers: Vec<At<PolicySpec>> = Vec::new(),
        /// Safety limits over what all controllers want, in this order.
        pub guards: Vec<At<GuardSpec>> = Vec::new(),
    }
}

/// A policy in the scenario itself, or the name of its file.
#[derive(Debug, Clone)]
pub enum PolicySource {
    /// Here.
    Here(PolicyFileSpec),
    /// In a file, relative to the scenario's folder.
    File(At<String>),
}

impl Read for PolicySource {
    fn read(node: &Node, problems: &mut Problems) -> Option<PolicySource> {
        match &node.value {
            Value::Text(_) => At::<String>::read(node, problems).map(PolicySource::File),
            _ => PolicyFileSpec::read(node, problems).map(PolicySource::Here),
        }
    }

    fn shape() -> Shape {
        let file = json!({"type": "string"});
        Shape::new(
            "controllers, or the name of a policy file",
            json!({"anyOf": [file, PolicyFileSpec::shape().schema]}),
        )
    }
}

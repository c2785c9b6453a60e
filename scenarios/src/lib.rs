//! Scenarios: as written ([`spec`]), checked, and built into runs ([`Scenario`]).
//!
//! This is the one place where names become objects.

pub mod capacity;
mod check;
pub mod draft;
mod files;
pub mod library;
mod scenario;
pub mod spec;

pub use files::Input;
pub use scenario::{Request, Scenario};

/// The JSON Schema of scenarios.
#[must_use]
pub fn schema() -> serde_json::Value {
    let shape = <spec::ScenarioSpec as scaletwin_core::input::Read>::shape();
    with_header(shape.schema, "scaletwin scenario")
}

/// The JSON Schema of policy files.
#[must_use]
pub fn policy_schema() -> serde_json::Value {
    let shape = <spec::policy::PolicyFileSpec as scaletwin_core::input::Read>::shape();
    with_header(shape.schema, "scaletwin policy")
}

fn with_header(mut schema: serde_json::Value, title: &str) -> serde_json::Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".into(), title.into());
    }
    schema
}

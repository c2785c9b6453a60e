//! `scaletwin policies`.

use std::fmt::Write as _;

use scaletwin_core::input::suggestion;
use scaletwin_policies::registry::{Entry, examples, policies};
use serde_json::Value;

use crate::failure::Failure;
use crate::{Answer, print};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The policy whose keys are shown; without it, all are listed
    name: Option<String>,
}

/// Lists policies, or the keys of one.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let entries = policies();
    let text = match &args.name {
        None => entries.iter().fold(String::new(), |text, entry| {
            text + &format!("{:<18} {:<14} {}\n", entry.kind, entry.label.name(), entry.version)
        }),
        Some(name) => match entries.iter().find(|entry| entry.kind == name) {
            Some(entry) => keys(entry),
            None => {
                let names: Vec<&str> = entries.iter().map(|entry| entry.kind).collect();
                let hint = suggestion(name, &names).unwrap_or_default();
                return Err(Failure::Other(format!("unknown policy {name:?}\n  = hint: {hint}")));
            }
        },
    };
    print(&text)?;
    Ok(Answer::Done)
}

/// The page of one policy: its keys with those inside them, its examples, and what becomes of the fields of a manifest.
fn keys(entry: &Entry) -> String {
    let mut text =
        format!("kind: {}   ({}; {})\n{}\n", entry.kind, entry.version, entry.label.name(), entry.fields.doc);
    for field in &entry.fields.keys {
        let default = match (&field.default, field.required) {
            (_, true) => "required".to_owned(),
            (Some(default), _) => format!("default {default}"),
            (None, _) => "optional".to_owned(),
        };
        writeln!(text, "\n  {}: {}, {default}\n      {}", field.name, field.shape.phrase, field.doc)
            .expect("a String takes everything");
        inner(&field.shape.schema, field.name, &mut text);
    }
    if let Some(example) = examples::keys(entry.kind) {
        text += &format!("\nFor example, under controllers:\n\n{}", indented(example));
    }
    if let Some((example, coverage)) = examples::manifest(entry.kind) {
        text += &format!("\nOr by manifest: with a file such as\n\n{}", indented(example));
        text += "\nWhat becomes of its fields; any other is an error, unless waive: names it:\n\n";
        for (path, coverage) in coverage.fields {
            text += &format!("  {:<16} {path}\n", coverage.name());
        }
    }
    text
}

/// The keys inside a key, by their paths.
fn inner(schema: &Value, path: &str, text: &mut String) {
    if let Some(items) = schema.get("items") {
        inner(items, &format!("{path}[]"), text);
    }
    for variant in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        inner(variant, path, text);
    }
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{key}");
        if let Some(description) = property.get("description").and_then(Value::as_str) {
            writeln!(text, "    {path}: {description}").expect("a String takes everything");
        }
        inner(property, &path, text);
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

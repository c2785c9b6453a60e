//! `scaletwin policies`.

use std::fmt::Write as _;

use scaletwin_core::input::suggestion;
use scaletwin_policies::registry::{Entry, policies};

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
    }
    text
}

//! The queries that projects of the field use.

use std::path::PathBuf;

use libtest_mimic::{Completion, Failed};
use scaletwin_sim::scrape::promql::{PrometheusVersion, Query};

/// Places in a template that its user fills in, and what fills them here.
const FILLED: [(&str, &str, &str); 5] =
    [("[{{", "}}]", "[5m]"), ("{{", "}}", "x"), ("{<<", ">>}", "{}"), ("<<", ">>", "x"), ("{…", "}", "{}")];

/// Every query reads, in either version, but those that are named.
pub(crate) fn readable() -> Result<Completion, Failed> {
    let Some(folder) = std::env::var_os("SCALETWIN_SIGNALS_DIR").map(PathBuf::from) else {
        return crate::missing("signals", "SCALETWIN_SIGNALS_DIR names no folder".to_owned());
    };
    let file = folder.join("queries.tsv");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return crate::missing("signals", format!("there is no {}", file.display()));
    };
    let rows: Vec<(&str, String)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(number, query)| (number, filled(query)))
        .collect();
    let mut refused = Vec::new();
    for (number, query) in &rows {
        for version in [PrometheusVersion::V2, PrometheusVersion::V3] {
            if let Err(error) = Query::new(query, version) {
                refused.push(format!("{number} ({query}): {error}"));
            }
        }
    }
    println!(
        "{} queries of the field: {} read, {} refused",
        rows.len(),
        rows.len() - refused.len() / 2,
        refused.len() / 2
    );
    if rows.is_empty() || !refused.is_empty() {
        return Err(refused.join("\n").into());
    }
    Ok(Completion::Completed)
}

fn filled(query: &str) -> String {
    let mut query = query.replace("[i]", "[1m]");
    for (open, close, with) in FILLED {
        while let Some(from) = query.find(open) {
            let Some(length) = query[from..].find(close) else { break };
            query.replace_range(from..from + length + close.len(), with);
        }
    }
    query
}

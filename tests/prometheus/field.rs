//! The queries that projects of the field use.

use std::path::PathBuf;

use libtest_mimic::{Completion, Failed};
use scaletwin_sim::scrape::promql::{PrometheusVersion, Query};
use scaletwin_sim::scrape::queries::names_found;

/// Places in a template that its user fills in, and what fills them here.
const FILLED: [(&str, &str, &str); 5] =
    [("[{{", "}}]", "[5m]"), ("{{", "}}", "x"), ("{<<", ">>}", "{}"), ("<<", ">>", "x"), ("{…", "}", "{}")];

/// At least so many of the 59 find a series for each of their selectors. The others ask for names that vLLM no longer has, and for
/// speculation.
const EVALUATED: usize = 54;

/// Whether each selector of a query finds a series that an exporter shows.
fn is_evaluated(query: &Query) -> bool {
    query.selectors().into_iter().all(|matchers| !names_found(matchers).is_empty())
}

/// Every query reads, in either version, and most are evaluated on series that are shown.
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
    let mut evaluated = 0;
    for (number, query) in &rows {
        for version in [PrometheusVersion::V2, PrometheusVersion::V3] {
            match Query::new(query, version) {
                Ok(query) => evaluated += usize::from(is_evaluated(&query)),
                Err(error) => refused.push(format!("{number} ({query}): {error}")),
            }
        }
    }
    let evaluated = evaluated / 2;
    println!(
        "{} queries of the field: {} read, {} refused, {evaluated} evaluated on series that are shown",
        rows.len(),
        rows.len() - refused.len() / 2,
        refused.len() / 2
    );
    if rows.is_empty() || !refused.is_empty() {
        return Err(refused.join("\n").into());
    }
    if evaluated < EVALUATED {
        return Err(format!("{evaluated} are evaluated, and {EVALUATED} were").into());
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

//! PromQL against a real Prometheus: equal answers to generated queries on generated series.
//!
//! The server and `promtool` come from the system's package `prometheus` (2.x). Without them the suite counts as ignored,
//! with the reason; `SCALETWIN_REQUIRE=prometheus` turns that into a failure. The queries that the field uses are outside
//! the repository: `SCALETWIN_SIGNALS_DIR` names the directory of `queries.tsv`.

#![expect(clippy::print_stdout, reason = "the counts are what this suite is run for")]

mod answer;
mod field;
mod queries;
mod series;
mod server;

use std::collections::BTreeMap;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use scaletwin_core::random::Seed;
use scaletwin_sim::scrape::promql::{PrometheusVersion, Query};

use answer::Answer;
use server::{Server, Started};

/// How many queries are asked, each at an instant of its own.
const QUESTIONS: u64 = 8_000;

/// The seed of series and queries.
const SEED: Seed = Seed(20_231_116);

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::ignorable_test("answers_equal_those_of_prometheus_2", equal),
        Trial::ignorable_test("queries_of_the_field_can_be_read", field::readable),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// Fails where the environment asks for it, and counts as ignored elsewhere.
fn missing(what: &str, reason: String) -> Result<Completion, Failed> {
    let required = std::env::var("SCALETWIN_REQUIRE").unwrap_or_default();
    if required.split(',').any(|name| name == what) {
        return Err(Failed::from(format!("{reason}, and SCALETWIN_REQUIRE asks for it")));
    }
    Ok(Completion::ignored_with(reason))
}

fn equal() -> Result<Completion, Failed> {
    let all = series::generated(SEED);
    let server = match Server::start(&all)? {
        Started::Running(server) => server,
        Started::Missing(reason) => return missing("prometheus", reason),
    };
    let (mut kinds, mut different) = (BTreeMap::<&str, usize>::new(), Vec::new());
    let mut queries = queries::Queries::new(SEED);
    for _ in 0..QUESTIONS {
        let (text, at) = queries.next_question();
        let theirs = server.ask(&text, at)?;
        let ours = match Query::new(&text, PrometheusVersion::V2) {
            Ok(query) => Answer::ours(query.evaluate(all.as_slice(), at)),
            Err(error) => Answer::Refused(error.to_string()),
        };
        *kinds.entry(theirs.kind()).or_default() += 1;
        if !ours.equals(&theirs, queries::is_ordered(&text)) {
            different.push(format!("{text} @ {at}\n  ours:   {ours}\n  theirs: {theirs}"));
        }
    }
    println!("{QUESTIONS} questions on {} series: {kinds:?}; {} different", all.len(), different.len());
    if different.is_empty() {
        return Ok(Completion::Completed);
    }
    let shown: Vec<String> = different.iter().take(20).cloned().collect();
    Err(Failed::from(format!("{} answers differ\n{}", different.len(), shown.join("\n"))))
}

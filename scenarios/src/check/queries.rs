//! Signals that are PromQL queries.

use scaletwin_core::control::signal;
use scaletwin_core::input::{At, Place, Problem, Problems, suggestion};
use scaletwin_sim::scrape::exporter::variants;
use scaletwin_sim::scrape::promql::{Matcher, Query, QueryError};
use scaletwin_sim::scrape::queries::{QuerySignal, names_found, series_names};
use scaletwin_sim::scrape::signals::{Per, scraped_labels};

use crate::spec::{ScenarioSpec, SignalSpec};

/// The queries among the signals; all their problems at once.
pub(super) fn queries(spec: &ScenarioSpec, problems: &mut Problems) -> Vec<QuerySignal> {
    let mut queries = Vec::new();
    for (name, written) in &spec.signals {
        check_shape(written, problems);
        let Some(text) = &written.promql else { continue };
        let read = Query::new(text, spec.prometheus.version).and_then(|query| query.reach().map(|_| query));
        match read {
            Err(error) => problems.push(refused(text, &error)),
            Ok(query) => {
                check_answer(&query, written, text, problems);
                check_series(&query, text, problems);
                queries.push(QuerySignal {
                    name: name.clone(),
                    query,
                    per: written.per,
                    reduce: written.reduce,
                });
            }
        }
    }
    queries
}

/// A signal has a series or a query, and a query says all by itself.
fn check_shape(spec: &At<SignalSpec>, problems: &mut Problems) {
    match (&spec.series, &spec.promql) {
        (None, None) => {
            let problem = Problem::error(&spec.place, "a signal needs a series or a query");
            problems.push(problem.hint("add series: vllm:num_requests_waiting, or promql: …"));
        }
        (Some(series), Some(_)) => {
            let problem = Problem::error(&series.place, "a signal has a series or a query, not both");
            problems.push(problem.hint("remove series or promql"));
        }
        _ => {}
    }
    if spec.promql.is_some() {
        let places = spec.r#match.values().map(|value| &value.place);
        for place in places.chain(spec.rate_over.as_ref().map(|over| &over.place)) {
            let problem = Problem::error(place, "a query has no match and no rate_over beside it");
            problems.push(problem.hint("write them into the query: {label=\"value\"}, rate(…[1m])"));
        }
    }
}

/// What is wrong, where in the query, and the query's text from there on.
fn refused(text: &At<String>, error: &QueryError) -> Problem {
    let rest =
        error.offset.and_then(|offset| Some((text.get(..offset)?.chars().count() + 1, text.get(offset..)?)));
    let message = match rest {
        Some((character, rest)) if !rest.is_empty() => {
            let shown: String = rest.chars().take(24).collect();
            format!("{}: at character {character} of the query, {shown:?}", error.message)
        }
        Some(_) => format!("{}: at the end of the query", error.message),
        None => error.message.clone(),
    };
    let problem = Problem::error(&text.place, message);
    match &error.hint {
        Some(hint) => problem.hint(hint.clone()),
        None => problem,
    }
}

fn check_answer(query: &Query, spec: &SignalSpec, text: &At<String>, problems: &mut Problems) {
    if !query.is_vector() && !query.is_scalar() {
        let problem = Problem::error(&text.place, "a signal needs a number, or one for each series");
        problems.push(problem.hint("take a range through a function, such as rate(…[1m])"));
    }
    if spec.per == Per::Pod && query.is_scalar() {
        let problem = Problem::error(&text.place, "a number without labels has no value for each pod");
        problems.push(problem.hint("remove per: pod"));
    }
}

/// Series that no exporter shows, and labels that they do not have. One selector that finds something is enough for a
/// query: others may be there for other versions of a server.
fn check_series(query: &Query, text: &At<String>, problems: &mut Problems) {
    let selectors = query.selectors();
    let useless = !selectors.is_empty() && selectors.iter().all(|matchers| names_found(matchers).is_empty());
    for matchers in selectors {
        let found = names_found(matchers);
        if found.is_empty() {
            let problem = unknown_series(query, matchers, text);
            problems.push(if useless { problem } else { Problem { severity: WARNING, ..problem } });
        } else {
            check_labels(matchers, &found, text, problems);
        }
    }
}

const WARNING: scaletwin_core::input::Severity = scaletwin_core::input::Severity::Warning;

fn unknown_series(query: &Query, matchers: &[Matcher], text: &At<String>) -> Problem {
    let name = matchers.iter().find(|matcher| matcher.name == "__name__").map_or("", |name| &name.value);
    let place = query.find(name).map(|at| format!(" (byte {at} of the query)")).unwrap_or_default();
    let problem = Problem::error(&text.place, format!("no modelled exporter shows {name:?}{place}"));
    let names = series_names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match suggestion(name, &names) {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// A matcher on a label that none of the series has, and that does not fit where it is not there.
fn check_labels(matchers: &[Matcher], found: &[String], text: &At<String>, problems: &mut Problems) {
    let own = found.iter().flat_map(|name| variants(name)).flatten().map(|(label, _)| label);
    let of_signal = found.iter().filter_map(|name| signal(name)).flat_map(|signal| signal.labels);
    let mut known: Vec<String> = own.chain(of_signal.map(|label| (*label).to_owned())).collect();
    let scraped =
        found.iter().filter_map(|name| signal(name)).flat_map(|signal| scraped_labels(signal.scope));
    known.extend(scraped.map(|label| (*label).to_owned()));
    for matcher in matchers.iter().filter(|matcher| matcher.name != "__name__" && !matcher.fits_value("")) {
        if !known.contains(&matcher.name) {
            let message =
                format!("{} has no label {:?}: this selects nothing", found.join(", "), matcher.name);
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let problem = Problem::warning(&text.place, message);
            problems.push(match suggestion(&matcher.name, &names) {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
    }
}

/// A metric of a controller that is bound to a query.
pub(super) fn check_bound(
    query: &QuerySignal,
    per_pod: bool,
    single: bool,
    place: &Place,
    problems: &mut Problems,
) {
    let name = &query.name;
    if per_pod && query.per != Per::Pod {
        let problem = Problem::error(place, format!("the metric {name:?} needs one value for each pod"));
        problems.push(problem.hint(format!("keep the label pod in the query of {name}, and add per: pod")));
    }
    if single && query.per != Per::Deployment {
        let problem =
            Problem::error(place, format!("the metric {name:?} is one value, not one for each pod"));
        problems.push(problem.hint(format!("remove per: pod from the signal {name}")));
    }
}

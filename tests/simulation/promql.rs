//! Signals that are PromQL queries, in whole runs.

use std::path::Path;

use scaletwin_core::control::Action;
use scaletwin_core::record::{DecisionLine, RunRecord};
use scaletwin_core::units::{Span, Time};
use scaletwin_scenarios::Scenario;

/// Clients that come, multiply and go again, under an HPA with one metric.
fn scenario(signal: &str, metric: &str) -> String {
    format!(
        "
name: promql
seed: 3
duration: 900s
services:
  - name: web
    deployments:
      - name: main
        engine: {{kind: concurrency, limit: 1000, service_time: {{exponential: {{mean: 1s}}}}}}
        cold_start: 43s
traffic:
  - {{name: steady, clients: {{count: 4}}}}
  - {{name: more, from: 100500ms, until: 400s, clients: {{count: 12}}}}
scrape: {{interval: 15s, lag: 5s}}
signals:
  load: {signal}
policy:
  controllers:
    - kind: hpa
      target: web
      max_replicas: 10
      controller: {{offset: 0s}}
      behavior: {{scale_down: {{stabilization_window: 60s}}}}
      metrics: [{metric}]
"
    )
}

const EXTERNAL: &str = "{external: {metric: load, average_value: 4}}";

const PODS: &str = "{pods: {metric: load, average_value: 4}}";

fn record(text: &str) -> RunRecord {
    let scenario = Scenario::parse("promql.yaml", text, Path::new("")).unwrap_or_else(|why| panic!("{why}"));
    scenario.start(scenario.settings().seed).expect("it starts").finish().expect("it ends")
}

/// What was set when.
fn scaled(record: &RunRecord) -> Vec<(f64, i32)> {
    let mut list = Vec::new();
    for line in record.decisions.lines() {
        let line: DecisionLine<'_> = serde_json::from_str(line).expect("a decision");
        for action in line.actions.iter() {
            if let Action::SetReplicas { replicas, .. } = action {
                list.push((line.t_seconds, *replicas));
            }
        }
    }
    list
}

#[test]
fn an_external_metric_from_a_query_decides_as_from_the_equal_series() {
    let series = record(&scenario("{series: envoy_cluster_upstream_rq_active}", EXTERNAL));
    assert!(scaled(&series).len() > 2, "it scales up and down");
    for query in [
        "sum(envoy_cluster_upstream_rq_active)",
        "sum(envoy_cluster_upstream_rq_active{deployment=\"main\"}) or sum(http_requests_total)",
        // Several series: the HPA adds them up.
        "envoy_cluster_upstream_rq_active{pod=~\"web-main-.*\"}",
    ] {
        let query = record(&scenario(&format!("{{promql: '{query}'}}"), EXTERNAL));
        assert_eq!(query.decisions, series.decisions);
    }
    // Before the first scrape there is no data, and here a zero instead.
    let filled =
        record(&scenario("{promql: 'sum(envoy_cluster_upstream_rq_active) or vector(0)'}", EXTERNAL));
    assert_ne!(filled.decisions, series.decisions);
    assert_eq!(scaled(&filled), scaled(&series));
}

#[test]
fn a_pods_metric_from_a_query_decides_as_from_the_equal_series() {
    let series = record(&scenario("{series: envoy_cluster_upstream_rq_active, per: pod}", PODS));
    let query = "{promql: 'sum by (pod) (envoy_cluster_upstream_rq_active)', per: pod}";
    assert_eq!(record(&scenario(query, PODS)).decisions, series.decisions);
}

#[test]
fn a_rate_from_a_query_decides_as_from_the_equal_series_while_no_pod_goes() {
    let series = record(&scenario("{series: http_requests_total, rate_over: 1m}", EXTERNAL));
    let query = record(&scenario("{promql: 'sum(rate(http_requests_total[1m]))'}", EXTERNAL));
    let until = |record: &RunRecord| -> Vec<(f64, i32)> {
        scaled(record).into_iter().take_while(|(at, _)| *at < 400.0).collect()
    };
    assert!(!until(&series).is_empty());
    assert_eq!(until(&query), until(&series));
}

#[test]
fn an_empty_answer_is_no_data_and_a_failing_query_says_why() {
    let none = record(&scenario("{promql: 'sum(envoy_cluster_upstream_rq_active{pod=\"x\"})'}", EXTERNAL));
    assert!(
        scaled(&none).is_empty() && none.decisions.contains("no data"),
        "{}",
        none.decisions.lines().next().unwrap_or("")
    );
    let query = "{promql: 'http_requests_total / on(pod) http_requests_total'}";
    let failing = record(&scenario(query, EXTERNAL));
    assert!(failing.decisions.contains("many-to-many matching not allowed"));
}

#[test]
fn a_run_with_queries_goes_on_from_a_snapshot_as_if_it_had_not_been_cut() {
    let signal = "{promql: 'max_over_time(sum(rate(http_requests_total[1m]))[2m:15s])'}";
    let text = scenario(signal, EXTERNAL);
    let scenario = Scenario::parse("promql.yaml", &text, Path::new("")).unwrap_or_else(|why| panic!("{why}"));
    let seed = scenario.settings().seed;
    let whole = scenario.start(seed).expect("it starts").finish().expect("it ends");
    assert!(scaled(&whole).len() > 2);
    let at = Time::ZERO + Span::from_secs(620);
    let mut run = scenario.start(seed).expect("it starts");
    run.run_until(at).expect("it gets there");
    let snapshot = run.snapshot(at).expect("it can be written");
    let resumed = scenario.resume(&snapshot).expect("it goes on").finish().expect("it ends");
    assert_eq!(resumed.decisions, whole.decisions);
}

#[test]
fn the_version_of_prometheus_decides_about_edges() {
    // Steps at whole quarters of a minute, as the controller's looks are: the first is on the edge of the range.
    let text = scenario(
        "{promql: 'count_over_time(vector(1)[1m:15s])'}",
        "{external: {metric: load, average_value: 1}}",
    );
    let text = text.replace("lag: 5s", "lag: 0s");
    let first = |version: u32| scaled(&record(&format!("{text}prometheus: {{version: {version}}}\n")))[0].1;
    assert_eq!([first(2), first(3)], [5, 4]);
}

fn problems(signal: &str) -> String {
    match Scenario::parse("promql.yaml", &scenario(signal, EXTERNAL), Path::new("")) {
        Ok(scenario) => scenario.warnings().iter().map(ToString::to_string).collect(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn mistakes_of_queries_are_found_when_the_scenario_is_read() {
    let has = |signal: &str, what: &str| {
        let text = problems(signal);
        assert!(text.contains(what), "{signal}: {text}");
    };
    has("{promql: 'sum(rat(http_requests_total[1m]))'}", "at character 5 of the query");
    has("{promql: 'sum(rat(http_requests_total[1m]))'}", "did you mean \"rate\"?");
    has("{promql: 'sum(http_request_total)'}", "no modelled exporter shows \"http_request_total\"");
    has("{promql: 'sum(http_request_total)'}", "did you mean \"http_requests_total\"?");
    has(
        "{promql: 'sum(http_requests_total) or sum(http_old_total)'}",
        "warning: no modelled exporter shows \"http_old_total\"",
    );
    has("{promql: 'sum(http_requests_total{pood=\"x\"})'}", "this selects nothing");
    has("{promql: 'http_requests_total[1m]'}", "a signal needs a number");
    has("{promql: 'http_requests_total @ 5'}", "out of reach");
    has("{promql: 'time()', per: pod}", "no value for each pod");
    has("{promql: 'vector(1)', series: http_requests_total}", "not both");
    has("{per: pod}", "needs a series or a query");
    has("{promql: 'vector(1)', rate_over: 1m}", "no match and no rate_over");
}

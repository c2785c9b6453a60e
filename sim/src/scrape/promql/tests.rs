//! Claims about evaluation, worked out by hand: what version 3 does otherwise, staleness, and refusals.

use PrometheusVersion::{V2, V3};

use super::*;

/// A series of samples at seconds.
fn series(labels: &[(&str, &str)], points: &[(i64, Option<f64>)]) -> Series {
    let points = points.iter().map(|(at, value)| Point { at: at * 1_000, value: *value }).collect();
    Series { labels: Labels::new(labels.iter().copied()), points }
}

fn every_15_s(name: &str, values: &[f64]) -> Series {
    let points: Vec<(i64, Option<f64>)> =
        (0i64..).zip(values).map(|(step, value)| (step * 15, Some(*value))).collect();
    series(&[("__name__", name)], &points)
}

fn ask(version: PrometheusVersion, query: &str, at: i64, all: &[Series]) -> Vec<f64> {
    let query = Query::new(query, version).expect("the tests' queries are right");
    match query.evaluate(all, at * 1_000).expect("the tests' queries have answers") {
        Value::Vector(vector) => vector.into_iter().map(|sample| sample.value).collect(),
        Value::Scalar(value) => vec![value],
        other => panic!("no vector: {other:?}"),
    }
}

#[test]
fn the_lookback_of_version_3_leaves_out_its_left_edge() {
    let all = [every_15_s("x", &[7.0])];
    assert_eq!([ask(V2, "x", 300, &all), ask(V3, "x", 300, &all)], [vec![7.0], vec![]]);
    assert_eq!([ask(V2, "x", 299, &all), ask(V3, "x", 299, &all)], [vec![7.0], vec![7.0]]);
    assert_eq!([ask(V2, "x", 301, &all).len(), ask(V3, "x", 301, &all).len()], [0, 0]);
    assert_eq!([ask(V2, "x offset 1m", 360, &all), ask(V3, "x offset 1m", 360, &all)], [vec![7.0], vec![]]);
}

#[test]
fn ranges_of_version_3_leave_out_their_left_edge() {
    let all = [every_15_s("x", &[0.0, 15.0, 30.0, 45.0, 60.0])];
    let count = |version, at| ask(version, "count_over_time(x[1m])", at, &all);
    assert_eq!([count(V2, 60), count(V3, 60)], [vec![5.0], vec![4.0]]);
    assert_eq!([count(V2, 61), count(V3, 61)], [vec![4.0], vec![4.0]]);
    // A range of one interval has two samples in version 2 and one in version 3: too few for a rate.
    let rate = |version| ask(version, "rate(x[15s])", 60, &all);
    assert_eq!([rate(V2), rate(V3)], [vec![1.0], vec![]]);
}

#[test]
fn rates_of_version_3_are_extrapolated_to_the_edge_that_has_no_sample() {
    // From 300 by 30 every 15 s. In version 2: 120 in 60 s. In version 3: 90 in 45 s, and 15 s further to the left.
    let all = [every_15_s("x", &[300.0, 330.0, 360.0, 390.0, 420.0])];
    assert_eq!(
        [ask(V2, "increase(x[1m])", 60, &all), ask(V3, "increase(x[1m])", 60, &all)],
        [vec![120.0], vec![120.0]]
    );
    // From 1 by 30: at 15 s it is 31, so zero is 15.5 s before the first sample, further than the edge.
    let young = [every_15_s("x", &[1.0, 31.0, 61.0, 91.0, 121.0])];
    assert_eq!(ask(V3, "increase(x[1m])", 60, &young), [120.0]);
    assert_eq!(ask(V2, "increase(x[1m])", 60, &young), [120.0]);
}

#[test]
fn a_late_counter_is_extrapolated_to_zero_or_half_an_interval_whichever_is_nearer() {
    // The first sample is 60 s after the edge: half an interval, 7.5 s, is nearer than the 10 s to zero.
    let points = [(60, Some(20.0)), (75, Some(50.0))];
    let all = [series(&[("__name__", "x")], &points)];
    assert_eq!(ask(V3, "increase(x[75s])", 75, &all), [30.0 * (15.0 + 7.5) / 15.0]);
    // Version 2 judges the 10 s to zero, which are less than 1.1 intervals.
    assert_eq!(ask(V2, "increase(x[75s])", 75, &all), [30.0 * (15.0 + 10.0) / 15.0]);
}

#[test]
fn steps_of_a_subquery_of_version_3_leave_out_its_left_edge() {
    let all = [every_15_s("x", &[1.0; 20])];
    let count = |version| ask(version, "count_over_time(x[1m:30s])", 120, &all);
    assert_eq!([count(V2), count(V3)], [vec![3.0], vec![2.0]]);
}

#[test]
fn a_dot_fits_a_line_break_in_version_3_only() {
    let all = [series(&[("__name__", "x"), ("note", "one\ntwo")], &[(0, Some(1.0))])];
    let found = |version| ask(version, "x{note=~\"one.two\"}", 1, &all).len();
    assert_eq!([found(V2), found(V3)], [0, 1]);
}

#[test]
fn sums_of_version_3_keep_what_rounding_loses() {
    let all: Vec<Series> = (0u8..)
        .zip([1e16, 1.0, 1.0, -1e16])
        .map(|(pod, value)| series(&[("__name__", "x"), ("pod", &pod.to_string())], &[(0, Some(value))]))
        .collect();
    assert_eq!([ask(V2, "sum(x)", 1, &all), ask(V3, "sum(x)", 1, &all)], [vec![0.0], vec![2.0]]);
    assert_eq!([ask(V2, "avg(x)", 1, &all).len(), ask(V3, "avg(x) == 0.5", 1, &all).len()], [1, 1]);
}

#[test]
fn an_ended_series_is_gone_for_an_instant_and_stays_in_a_range() {
    let ended = [series(&[("__name__", "x")], &[(0, Some(1.0)), (15, Some(4.0)), (30, None)])];
    for version in [V2, V3] {
        assert_eq!(ask(version, "x", 29, &ended), [4.0]);
        assert_eq!(ask(version, "x", 30, &ended).len(), 0);
        assert_eq!(ask(version, "x", 45, &ended).len(), 0);
        assert_eq!(ask(version, "max_over_time(x[1m])", 45, &ended), [4.0]);
        assert_eq!(ask(version, "count_over_time(x[1m])", 45, &ended), [2.0]);
        assert_eq!(ask(version, "absent(x)", 45, &ended), [1.0]);
        // At 15 s steps from 0 or 15 on: the marker hides the steps at 30 and 45.
        assert_eq!(ask(version, "max_over_time(x[40s:15s])", 45, &ended), [4.0]);
        assert_eq!(ask(version, "count_over_time(x[40s:15s])", 45, &ended), [1.0]);
    }
}

#[test]
fn a_series_that_comes_back_is_seen_again() {
    let back = [series(&[("__name__", "x")], &[(0, Some(9.0)), (15, None), (30, Some(2.0))])];
    assert_eq!(ask(V3, "x", 20, &back).len(), 0);
    assert_eq!(ask(V3, "x", 30, &back), [2.0]);
    // The marker is no sample: the counter went from 9 to 2 by one reset.
    assert_eq!(ask(V3, "resets(x[1m])", 31, &back), [1.0]);
}

#[test]
fn a_scalar_on_the_left_of_a_comparison_keeps_the_vectors_value() {
    let all = [every_15_s("x", &[7.0])];
    assert_eq!(ask(V3, "5 < x", 1, &all), [7.0]);
    assert_eq!(ask(V3, "5 < bool x", 1, &all), [1.0]);
}

#[test]
fn mistakes_are_refused_with_their_place_and_a_hint() {
    let refused = |query: &str| Query::new(query, V3).expect_err("it is a mistake");
    assert_eq!(refused("sum(rat(x[5m]))").offset, Some(4));
    assert_eq!(refused("sum(rat(x[5m]))").hint.as_deref(), Some("did you mean \"rate\"?"));
    assert_eq!(refused("foo + bar baz").offset, Some(10));
    assert_eq!(refused("foo +").offset, Some(5));
    assert_eq!(refused("sum(foo").offset, Some(7));
    assert_eq!(refused("sum by (a b) (foo)").offset, Some(10));
    assert_eq!(refused("foo{a=b}").offset, Some(6));
    assert!(refused("rate(foo)").hint.is_some_and(|hint| hint.contains("[5m]")));
    assert!(refused("holt_winters(foo[5m], 0.5, 0.5)").message.contains("holt_winters"));
    assert!(refused("histogram_count(foo)").message.contains("histogram_count"));
    assert!(refused("count_values(\"a\", foo)").message.contains("count_values"));
    assert!(refused("{job=~\".*\"}").message.contains("non-empty matcher"));
    assert!(refused("sum_over_time(foo[1y:1ms])").message.contains("steps"));
}

#[test]
fn durations_are_numbers_in_version_3_only() {
    for query in ["rate(x[60])", "x offset 60", "x > 1h"] {
        assert!(Query::new(query, V3).is_ok(), "{query}");
        assert!(Query::new(query, V2).is_err(), "{query}");
    }
}

#[test]
fn no_text_is_too_odd_to_be_refused() {
    let deep = |open: &str, close: &str| open.repeat(50_000) + "x" + &close.repeat(50_000);
    for query in [deep("(", ")"), deep("-", ""), deep("sum(", ")"), "x+".repeat(50_000) + "x"] {
        assert!(Query::new(&query, V3).is_err());
    }
    for query in [
        "x[1e300]",
        "x offset 1e300",
        "x offset -Inf",
        "x offset .5e300",
        "x[99999999999999999999s]",
        "é",
        "\"",
        "x[",
        "@",
        "x @ 1e300",
    ] {
        let _ = Query::new(query, V2);
        let _ = Query::new(query, V3);
    }
    assert!(Query::new("x[1e300]", V3).is_err() && Query::new("x offset nan", V3).is_err());
}

#[test]
fn a_query_says_how_far_back_it_looks() {
    let reach = |query: &str| Query::new(query, V3).expect("it is right").reach().ok();
    assert_eq!(reach("x"), Some(300_000));
    assert_eq!(reach("rate(x[1m]) + rate(x[10m] offset 5m)"), Some(900_000));
    assert_eq!(reach("max_over_time(rate(x[2m])[10m:1m])"), Some(720_000));
    assert_eq!(reach("max_over_time((x @ end())[10m:1m])"), Some(300_000));
    assert_eq!(reach("x offset -5m"), Some(0));
    assert_eq!(reach("x @ 100"), None);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,40}", version in prop_oneof![Just(V2), Just(V3)]) {
            let _ = Query::new(&text, version);
        }

        #[test]
        fn words_of_the_language_in_any_order_never_panic(
            words in prop::collection::vec(
                prop::sample::select(vec!["x", "sum", "(", ")", "[5m]", "[", "]", "by", "rate", "offset", "@", "1e9", "-", "{", "}", "a=\"b\"", "=~", "\"(\"", "or", "bool", "> ", ":", "1h", "start()", "inf", ".5", ","]),
                0..12,
            ),
        ) {
            let _ = Query::new(&words.join(" "), V3);
        }
    }
}

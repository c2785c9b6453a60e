//! A server that stops when it is empty and sets up at the next arrival: the cold start from zero.
//!
//! M/M/1 with exponential set-up: the wait is that of M/M/1 plus the mean set-up, λ/(μ(μ−λ)) + 1/α.

use crate::laboratory::{Case, wait};

const BASE: Case<'_> = Case {
    engine: "",
    replicas: 1,
    traffic: "arrivals: {poisson: {rate: 8/s}}",
    service: "",
    figure: wait,
    theory: 0.0,
    narrow: 0.1,
};

#[test]
fn m_m_1_with_a_short_setup() {
    let engine = "{kind: concurrency, limit: 1, setup: {exponential: {mean: 250ms}}, service_time: {exponential: {mean: 100ms}}}";
    Case { engine, theory: 0.4 + 0.25, ..BASE }.agrees();
}

#[test]
fn m_m_1_with_a_long_setup() {
    let engine = "{kind: concurrency, limit: 1, setup: {exponential: {mean: 20s}}, service_time: {exponential: {mean: 62500us}}}";
    Case { engine, theory: 0.0625 + 20.0, ..BASE }.agrees();
}

//! Losses: M/M/c/c (Erlang B), which depends on the service time by its mean alone.

use scaletwin_core::record::ServiceSummary;

use crate::laboratory::Case;

/// The share of requests that find all servers busy.
fn erlang_b(offered: f64, servers: u32) -> f64 {
    (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b))
}

fn rejected(service: &ServiceSummary) -> f64 {
    service.requests.rejected as f64 / service.requests.arrived as f64
}

const BASE: Case<'_> = Case {
    engine: "",
    replicas: 1,
    traffic: "arrivals: {poisson: {rate: 8/s}}",
    service: "",
    figure: rejected,
    theory: 0.0,
    narrow: 0.05,
};

#[test]
fn m_m_8_8_in_one_replica() {
    let engine = "{kind: concurrency, limit: 8, queue: 0, service_time: {exponential: {mean: 750ms}}}";
    Case { engine, theory: erlang_b(6.0, 8), ..BASE }.agrees();
}

#[test]
fn m_m_8_8_as_replicas() {
    let engine = "{kind: concurrency, limit: 1, queue: 0, service_time: {exponential: {mean: 750ms}}}";
    Case { engine, replicas: 8, theory: erlang_b(6.0, 8), ..BASE }.agrees();
}

#[test]
fn m_g_8_8_with_lognormal_service() {
    let engine = "{kind: concurrency, limit: 8, queue: 0, service_time: {lognormal: {mean: 750ms, cv: 2}}}";
    Case { engine, theory: erlang_b(6.0, 8), ..BASE }.agrees();
}

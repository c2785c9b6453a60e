//! Queues where requests wait their turn: M/M/1, M/M/c (Erlang C), M/D/1 and M/G/1 (Pollaczek and Khinchine).

use crate::laboratory::{Case, residence, wait};

const BASE: Case<'_> = Case {
    engine: "",
    replicas: 1,
    traffic: "arrivals: {poisson: {rate: 8/s}}",
    service: "",
    figure: wait,
    theory: 0.0,
    narrow: 0.1,
};

/// The mean wait of M/M/c: Erlang's C by way of his recursion for B.
fn erlang_wait(arrival: f64, service: f64, servers: u32) -> f64 {
    let offered = arrival / service;
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    let load = offered / f64::from(servers);
    let waits = blocked / (1.0 - load * (1.0 - blocked));
    waits / (f64::from(servers) * service - arrival)
}

/// The mean wait of M/G/1.
fn pollaczek_khinchine(arrival: f64, mean: f64, cv: f64) -> f64 {
    let load = arrival * mean;
    load * mean * (1.0 + cv * cv) / 2.0 / (1.0 - load)
}

#[test]
fn m_m_1_at_half_load() {
    let engine = "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 62500us}}}";
    Case { engine, theory: 0.0625, narrow: 0.06, ..BASE }.agrees();
}

#[test]
fn m_m_1_at_load_08() {
    let engine = "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 100ms}}}";
    Case { engine, theory: 0.4, narrow: 0.1, ..BASE }.agrees();
}

#[test]
fn m_m_1_at_load_09() {
    let engine = "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 112500us}}}";
    Case { engine, theory: 1.0125, narrow: 0.2, ..BASE }.agrees();
}

#[test]
fn m_m_1_residence_p95() {
    // The time in the system is exponential with rate μ − λ: its 0.95 quantile is ln 20 over that rate.
    let engine = "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 100ms}}}";
    let p95 = |service: &scaletwin_core::record::ServiceSummary| {
        service.e2e_seconds.as_ref().and_then(|latency| latency.p95).expect("requests completed")
    };
    Case { engine, figure: p95, theory: libm::log(20.0) / 2.0, narrow: 0.1, ..BASE }.agrees();
}

#[test]
fn m_m_4_in_one_replica() {
    let engine = "{kind: concurrency, limit: 4, service_time: {exponential: {mean: 400ms}}}";
    Case { engine, theory: erlang_wait(8.0, 2.5, 4), narrow: 0.12, ..BASE }.agrees();
}

#[test]
fn m_m_4_as_replicas_behind_one_queue() {
    let engine = "{kind: concurrency, limit: 1, queue: 0, service_time: {exponential: {mean: 400ms}}}";
    let theory = erlang_wait(8.0, 2.5, 4);
    Case { engine, replicas: 4, service: "queue: {}", theory, narrow: 0.12, ..BASE }.agrees();
}

#[test]
fn m_m_20_in_one_replica() {
    let engine = "{kind: concurrency, limit: 20, service_time: {exponential: {mean: 2s}}}";
    Case { engine, theory: erlang_wait(8.0, 0.5, 20), narrow: 0.15, ..BASE }.agrees();
}

#[test]
fn m_d_1() {
    let engine = "{kind: concurrency, limit: 1, service_time: 100ms}";
    Case { engine, theory: pollaczek_khinchine(8.0, 0.1, 0.0), narrow: 0.08, ..BASE }.agrees();
}

#[test]
fn m_g_1_with_erlang_service() {
    let engine = "{kind: concurrency, limit: 1, service_time: {erlang: {mean: 100ms, stages: 4}}}";
    Case { engine, theory: pollaczek_khinchine(8.0, 0.1, 0.5), ..BASE }.agrees();
}

#[test]
fn m_g_1_with_lognormal_service() {
    let engine = "{kind: concurrency, limit: 1, service_time: {lognormal: {mean: 100ms, cv: 1.5}}}";
    Case { engine, theory: pollaczek_khinchine(8.0, 0.1, 1.5), narrow: 0.15, ..BASE }.agrees();
}

#[test]
fn m_g_1_with_hyperexponential_service() {
    let engine = "{kind: concurrency, limit: 1, service_time: {hyperexponential: {mean: 100ms, cv: 2}}}";
    Case { engine, theory: pollaczek_khinchine(8.0, 0.1, 2.0), narrow: 0.15, ..BASE }.agrees();
}

#[test]
fn gamma_gaps_with_cv_1_are_poisson() {
    let engine = "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 100ms}}}";
    Case { engine, traffic: "arrivals: {gamma: {rate: 8/s, cv: 1}}", figure: residence, theory: 0.5, ..BASE }
        .agrees();
}

#[test]
fn constant_gaps_and_constant_service_never_wait() {
    // D/D/1 below its capacity: a check that the interval may have no width.
    let engine = "{kind: concurrency, limit: 1, service_time: 100ms}";
    Case {
        engine,
        traffic: "arrivals: {constant: {rate: 8/s}}",
        figure: residence,
        theory: 0.1,
        narrow: 1e-9,
        ..BASE
    }
    .agrees();
}

//! Servers that batch: queues where up to b requests are served as one.

use crate::laboratory::{Case, wait};

const BASE: Case<'_> = Case {
    engine: "",
    replicas: 1,
    traffic: "arrivals: {poisson: {rate: 8/s}}",
    service: "",
    figure: wait,
    theory: 0.0,
    narrow: 0.12,
};

/// The mean wait of M/M/c: Erlang's C by way of his recursion for B.
fn erlang_wait(arrival: f64, service: f64, servers: u32) -> f64 {
    let offered = arrival / service;
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    let load = offered / f64::from(servers);
    blocked / (1.0 - load * (1.0 - blocked)) / (f64::from(servers) * service - arrival)
}

/// The mean wait of M/M(1,b)/1, general bulk service: a free server takes whoever is there, at most b, and who comes
/// later waits for the next batch. The number that waits while it works is geometric with the root r in (0, 1) of
/// (λ + μ) r = λ + μ r^(b+1).
fn bulk_wait(arrival: f64, service: f64, most: i32) -> f64 {
    let excess = |r: f64| arrival + service * libm::pow(r, f64::from(most + 1)) - (arrival + service) * r;
    // 1 is a root as well; the other one lies where the excess changes its sign before it.
    let (mut low, mut high) = (0.0, 1.0 - 1e-6);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if excess(middle) > 0.0 { low = middle } else { high = middle }
    }
    let r = (low + high) / 2.0;
    let none_wait = 1.0 / (service / arrival + 1.0 / (1.0 - r));
    none_wait * r / ((1.0 - r) * (1.0 - r)) / arrival
}

#[test]
fn batches_of_one_are_m_m_1() {
    let engine =
        "{kind: dynamic-batching, max_batch_size: 1, batch_time: {law: {exponential: {mean: 100ms}}}}";
    Case { engine, theory: 0.4, ..BASE }.agrees();
}

#[test]
fn batches_of_one_on_four_instances_are_m_m_4() {
    let engine = "{kind: dynamic-batching, max_batch_size: 1, instances: 4, batch_time: {law: {exponential: {mean: 400ms}}}}";
    Case { engine, theory: erlang_wait(8.0, 2.5, 4), ..BASE }.agrees();
}

#[test]
fn batches_of_one_with_a_delay_are_m_d_1() {
    // A batch of one is full at once, so that the delay has no effect. Pollaczek and Khinchine: ρ E[S] / 2 (1 − ρ).
    let engine = "{kind: dynamic-batching, max_batch_size: 1, max_queue_delay: 1s, batch_time: {linear: {base: 60ms, per_request: 40ms}}}";
    Case { engine, theory: 0.8 * 0.1 / 2.0 / 0.2, ..BASE }.agrees();
}

#[test]
fn batches_of_up_to_eight_are_general_bulk_service() {
    let engine =
        "{kind: dynamic-batching, max_batch_size: 8, batch_time: {law: {exponential: {mean: 800ms}}}}";
    Case { engine, theory: bulk_wait(8.0, 1.25, 8), ..BASE }.agrees();
}

#[test]
fn constant_gaps_fill_batches_of_four() {
    // Each batch leaves with its fourth request; the first has then waited for three gaps of 125 ms.
    let engine = "{kind: dynamic-batching, max_batch_size: 4, max_queue_delay: 10s, batch_time: {linear: {base: 100ms}}}";
    let longest = |service: &scaletwin_core::record::ServiceSummary| {
        service.e2e_seconds.as_ref().and_then(|latency| latency.max).expect("requests completed")
    };
    let traffic = "arrivals: {constant: {rate: 8/s}}";
    Case { engine, traffic, figure: longest, theory: 0.475, narrow: 1e-9, ..BASE }.agrees();
}

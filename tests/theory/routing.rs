//! Routing: a stream split at random, and the power of two choices.

use crate::laboratory::{Case, residence, wait};

const BASE: Case<'_> = Case {
    engine: "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 10s}}}",
    replicas: 100,
    traffic: "arrivals: {poisson: {rate: 8/s}}",
    service: "",
    figure: residence,
    theory: 0.0,
    narrow: 0.1,
};

#[test]
fn a_poisson_stream_split_at_random_is_independent_m_m_1_queues() {
    let engine = "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 400ms}}}";
    Case { engine, replicas: 4, service: "routing: random", figure: wait, theory: 1.6, ..BASE }.agrees();
}

#[test]
fn two_choices_come_to_the_fixed_point_of_their_mean_field() {
    // The share of queues of at least k is ρ^(2^k − 1), with any number of queues growing; the mean time in the system is
    // the sum of ρ^(2^k − 2) services (Mitzenmacher 2001; Vvedenskaya, Dobrushin, Karpelevich 1996). A hundred queues
    // are off by about one in a hundred.
    let theory: f64 = (1..=6).map(|k| 10.0 * libm::pow(0.8, f64::from((1 << k) - 2))).sum();
    let estimate = Case { service: "routing: power-of-two-choices", ..BASE }.measure(1_000, 50_000);
    assert!((estimate.mean / theory - 1.0).abs() < 0.03, "{estimate:?} against {theory}");
    assert!(estimate.half_width_95.expect("several replications") < 0.01 * theory);
}

#[test]
fn the_more_a_router_knows_the_shorter_the_wait() {
    let mean = |routing: &str| {
        let service = format!("routing: {routing}");
        Case { service: &service, figure: wait, ..BASE }.measure(1_000, 20_000).mean
    };
    let waits = ["least-outstanding", "power-of-two-choices", "round-robin", "random"].map(mean);
    assert!(waits.windows(2).all(|pair| pair[0] * 1.5 < pair[1]), "{waits:?}");
}

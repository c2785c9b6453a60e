//! Processor sharing: the mean residence is E[S] / (1 − ρ), whatever the shape of the service time.

use crate::laboratory::{Case, residence};

const BASE: Case<'_> = Case {
    engine: "",
    replicas: 1,
    traffic: "arrivals: {poisson: {rate: 8/s}}",
    service: "",
    figure: residence,
    theory: 0.5,
    narrow: 0.1,
};

#[test]
fn m_m_1_ps() {
    let engine = "{kind: concurrency, limit: 1, discipline: processor-sharing, service_time: {exponential: {mean: 100ms}}}";
    Case { engine, ..BASE }.agrees();
}

#[test]
fn m_d_1_ps() {
    let engine = "{kind: concurrency, limit: 1, discipline: processor-sharing, service_time: 100ms}";
    Case { engine, ..BASE }.agrees();
}

#[test]
fn m_g_1_ps_with_hyperexponential_service() {
    let engine = "{kind: concurrency, limit: 1, discipline: processor-sharing, service_time: {hyperexponential: {mean: 100ms, cv: 2}}}";
    Case { engine, ..BASE }.agrees();
}

#[test]
fn m_m_3_ps_has_the_residence_of_m_m_3() {
    // With exponential service every rule that keeps min(n, c) servers busy has the same number in the system.
    let offered: f64 = 2.4;
    let blocked = (1..=3).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    let waits = blocked / (1.0 - 0.8 * (1.0 - blocked));
    let theory = 0.3 + waits / (3.0 / 0.3 - 8.0);
    let engine = "{kind: concurrency, limit: 3, discipline: processor-sharing, service_time: {exponential: {mean: 300ms}}}";
    Case { engine, theory, ..BASE }.agrees();
}

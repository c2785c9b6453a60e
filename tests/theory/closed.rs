//! Closed loops: machine repair, N clients that think for 1/λ and c servers of rate μ.

use crate::laboratory::{Case, residence};

/// The mean residence: N / X − 1/λ, with the throughput X from the stationary distribution of the birth-death process.
fn repair(clients: u32, think: f64, servers: u32, service: f64) -> f64 {
    let mut weights = vec![1.0];
    for broken in 1..=clients {
        let rate = f64::from(clients - broken + 1) / think;
        let repaired = f64::from(broken.min(servers)) / service;
        weights.push(weights[weights.len() - 1] * rate / repaired);
    }
    let total: f64 = weights.iter().sum();
    let busy: f64 =
        (0u32..).zip(&weights).map(|(n, weight)| f64::from(n.min(servers)) * weight / total).sum();
    f64::from(clients) / (busy / service) - think
}

const BASE: Case<'_> =
    Case { engine: "", replicas: 1, traffic: "", service: "", figure: residence, theory: 0.0, narrow: 0.05 };

#[test]
fn ten_machines_and_one_repairman() {
    let engine = "{kind: concurrency, limit: 1, service_time: {exponential: {mean: 100ms}}}";
    let traffic = "clients: {count: 10, think_time: {exponential: {mean: 1s}}}";
    Case { engine, traffic, theory: repair(10, 1.0, 1, 0.1), ..BASE }.agrees();
}

#[test]
fn thirty_machines_and_four_repairmen() {
    let engine = "{kind: concurrency, limit: 4, service_time: {exponential: {mean: 150ms}}}";
    let traffic = "clients: {count: 30, think_time: {exponential: {mean: 1s}}}";
    Case { engine, traffic, theory: repair(30, 1.0, 4, 0.15), ..BASE }.agrees();
}

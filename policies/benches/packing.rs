//! Karpenter's first packing of many pods, and the Cluster Autoscaler's estimate of the same.
#![allow(missing_docs, reason = "the functions that criterion generates have none")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use scaletwin_core::control::{CapacityType, Offer, Resources};
use scaletwin_core::units::Time;
use scaletwin_policies::kubernetes::cluster_autoscaler::estimator::{equivalence_groups, estimate};
use scaletwin_policies::kubernetes::karpenter::catalogue::Catalogue;
use scaletwin_policies::kubernetes::karpenter::scheduler::schedule;
use scaletwin_policies::kubernetes::karpenter::spec::NodePoolSettings;
use scaletwin_policies::kubernetes::placement::{Pod, Rooms, Shape};

/// 400 instance types in 3 zones: 2 to 192 cores with 1 to 16 GiB for each, at $0.04 a core and $0.005 a GiB.
fn offers() -> Vec<Offer> {
    let mut offers = Vec::new();
    for number in 0..400i64 {
        let cores = 2 + number * 190 / 399;
        let gib = cores * (1 + number % 16);
        let size = Resources { cpu_milli: cores * 1_000, memory_bytes: gib << 30, gpu_milli: 0 };
        for zone in ["a", "b", "c"] {
            offers.push(Offer {
                cluster: "c".into(),
                pool: format!("{number}-{zone}"),
                instance_type: format!("type.{number}"),
                zone: zone.into(),
                capacity_type: CapacityType::OnDemand,
                price_usd_per_hour: Some(cores as f64 * 0.04 + gib as f64 * 0.005),
                capacity: size,
                allocatable: size,
                min_nodes: 0,
                room: 5_000,
                stocked_out: None,
            });
        }
    }
    offers
}

/// Pods of 10 shapes: 0.25 to 16 cores.
fn pods(names: &[String]) -> Vec<Pod<'_>> {
    let cores = [250, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 16_000];
    let shape = |number: usize| Resources {
        cpu_milli: cores[number % 10],
        memory_bytes: (1i64..=10).nth(number % 10).expect("ten shapes") << 30,
        gpu_milli: 0,
    };
    let pod = |(number, name)| {
        let shape = Shape { requests: shape(number), pool: None, barred: &[], tied: None };
        Pod { name, target: "s/d", since: Time::ZERO, shape }
    };
    names.iter().map(String::as_str).enumerate().map(pod).collect()
}

fn packing(criterion: &mut Criterion) {
    let offers = offers();
    let names: Vec<String> = (0..5_000).map(|number| format!("pod-{number}")).collect();
    let pods = pods(&names);
    let node_pools = [NodePoolSettings::default_pool()];
    criterion.bench_function("karpenter/5000 pods, 400 types, 3 zones", |bench| {
        bench.iter(|| {
            let catalogue = Catalogue::new(offers.iter().collect(), &node_pools, Time::ZERO);
            let found = schedule(Rooms::default(), pods.clone(), &catalogue, vec![node_pools[0].limits]);
            black_box(found.claims.len())
        });
    });
    criterion.bench_function("cluster-autoscaler/5000 pods, 400 groups", |bench| {
        let groups = equivalence_groups(&pods);
        bench.iter(|| {
            let nodes: u32 = offers
                .iter()
                .step_by(3)
                .map(|offer| estimate(&groups, &offer.allocatable, 1_000, None).nodes)
                .sum();
            black_box(nodes)
        });
    });
}

criterion_group!(benches, packing);
criterion_main!(benches);

//! The recommender of the VerticalPodAutoscaler 1.7.1.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use scaletwin_policies::kubernetes::vpa::histogram::{Buckets, Histogram};
use scaletwin_policies::kubernetes::vpa::recommendation::{Resources, recommend};
use scaletwin_policies::kubernetes::vpa::usage::{Container, Usage};
use serde::Deserialize;

use crate::recording::{equal, trial};

/// The instant from which the recordings count, seconds since 1970.
const EPOCH: i64 = 1_760_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("vpa_buckets.jsonl.gz", bucket_table),
        trial("vpa_histogram.jsonl.gz", percentiles),
        trial("vpa_recommendation.jsonl.gz", recommendation),
    ]
}

fn nanos(t_s: i64) -> i64 {
    (EPOCH + t_s) * 1_000_000_000
}

fn buckets(kind: &str) -> Buckets {
    match kind {
        "cpu" => Buckets::cpu(),
        "memory" => Buckets::memory(),
        other => panic!("unknown kind {other}"),
    }
}

#[derive(Deserialize)]
struct BucketTable {
    kind: String,
    num_buckets: usize,
    starts: Vec<f64>,
}

fn bucket_table(record: &BucketTable) -> Result<(), String> {
    let ours = buckets(&record.kind);
    equal("buckets", ours.count(), record.num_buckets)?;
    let starts: Vec<f64> = (0..ours.count()).map(|bucket| ours.start(bucket)).collect();
    equal("starts", &starts, &record.starts)
}

#[derive(Deserialize)]
struct Percentiles {
    kind: String,
    half_life_s: i64,
    ops: Vec<Operation>,
    out_percentiles: BTreeMap<String, f64>,
    out_empty: bool,
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    t_s: i64,
    value: f64,
    weight: f64,
}

fn percentiles(record: &Percentiles) -> Result<(), String> {
    let mut histogram = Histogram::new(buckets(&record.kind), record.half_life_s * 1_000_000_000);
    for Operation { op, t_s, value, weight } in &record.ops {
        match op.as_str() {
            "add" => histogram.add(*value, *weight, nanos(*t_s)),
            "sub" => histogram.subtract(*value, *weight, nanos(*t_s)),
            other => panic!("unknown operation {other}"),
        }
    }
    equal("empty", histogram.is_empty(), record.out_empty)?;
    for (share, recorded) in &record.out_percentiles {
        let share: f64 = share.parse().map_err(|error| format!("{share}: {error}"))?;
        equal(&format!("percentile {share}"), histogram.percentile(share), *recorded)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Recommended {
    samples: Vec<Sample>,
    accepted: Vec<bool>,
    out: BTreeMap<String, i64>,
    out_total_samples: u64,
}

#[derive(Deserialize)]
struct Sample {
    resource: String,
    t_s: i64,
    amount: i64,
}

fn recommendation(record: &Recommended) -> Result<(), String> {
    let (mut usage, mut container) = (Usage::default(), Container::default());
    equal("answers", record.samples.len(), record.accepted.len())?;
    for (place, (sample, accepted)) in record.samples.iter().zip(&record.accepted).enumerate() {
        let at = nanos(sample.t_s);
        let taken = match sample.resource.as_str() {
            "cpu" => container.add_cpu(&mut usage, sample.amount, at),
            "memory" => container.add_memory(&mut usage, sample.amount, at),
            "oom" => container.add_oom(&mut usage, sample.amount, at),
            other => panic!("unknown resource {other}"),
        };
        equal(&format!("sample {place}: taken"), taken, *accepted)?;
    }
    equal("CPU samples", usage.samples(), record.out_total_samples)?;
    let ours = recommend(&usage, 1);
    for (name, Resources { cpu_milli, memory_bytes }) in
        [("Low", ours.lower), ("Tgt", ours.target), ("Up", ours.upper)]
    {
        equal(&format!("{name}CPU"), Some(&cpu_milli), record.out.get(&format!("{name}CPU")))?;
        equal(&format!("{name}Mem"), Some(&memory_bytes), record.out.get(&format!("{name}Mem")))?;
    }
    Ok(())
}

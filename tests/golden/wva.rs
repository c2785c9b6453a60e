//! The Workload Variant Autoscaler 0.5.1 of llm-d: its analysis by saturation.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use scaletwin_policies::serving::wva::saturation::{Replica, Thresholds, Variant, analyze, targets};
use serde::Deserialize;

use crate::recording::{equal, trial};

/// The controller adds in the order of a hash map, so that the last bits of its means vary.
const TOLERANCE: f64 = 1e-9;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("wva_saturation_v1.jsonl.gz", saturation)]
}

#[derive(Deserialize)]
struct Saturation {
    kv_threshold: f64,
    queue_threshold: f64,
    kv_spare_trigger: f64,
    queue_spare_trigger: f64,
    replicas: Option<Vec<RecordedReplica>>,
    variants: Option<Vec<RecordedVariant>>,
    out_should_scale_up: bool,
    out_scale_down_safe: bool,
    out_non_saturated: usize,
    out_avg_spare_kv: f64,
    out_avg_spare_queue: f64,
    out_targets: Option<BTreeMap<String, i32>>,
}

#[derive(Deserialize)]
struct RecordedReplica {
    variant: String,
    cost: f64,
    kv: f64,
    queue: f64,
}

#[derive(Deserialize)]
struct RecordedVariant {
    name: String,
    current: i32,
    desired: i32,
    pending: i32,
}

fn saturation(record: &Saturation) -> Result<(), String> {
    let thresholds = Thresholds {
        kv_cache: record.kv_threshold,
        queue_length: record.queue_threshold,
        kv_spare: record.kv_spare_trigger,
        queue_spare: record.queue_spare_trigger,
    };
    let replicas: Vec<Replica<'_>> = record
        .replicas
        .iter()
        .flatten()
        .map(|RecordedReplica { variant, cost, kv, queue }| Replica {
            variant,
            cost: *cost,
            kv: *kv,
            queue: *queue,
        })
        .collect();
    let variants: Vec<Variant<'_>> = record
        .variants
        .iter()
        .flatten()
        .map(|RecordedVariant { name, current, desired, pending }| Variant {
            name,
            current: *current,
            desired: *desired,
            pending: *pending,
        })
        .collect();
    let ours = analyze(&replicas, &thresholds);
    equal("scale up", ours.scale_up, record.out_should_scale_up)?;
    equal("scale down safe", ours.scale_down_safe, record.out_scale_down_safe)?;
    equal("not saturated", ours.non_saturated, record.out_non_saturated)?;
    close("spare KV", ours.spare_kv, record.out_avg_spare_kv)?;
    close("spare queue", ours.spare_queue, record.out_avg_spare_queue)?;
    let targets: BTreeMap<String, i32> =
        targets(&ours, &variants).into_iter().map(|(name, target)| (name.to_owned(), target)).collect();
    equal("targets", &targets, record.out_targets.as_ref().unwrap_or(&BTreeMap::new()))
}

fn close(what: &str, ours: f64, recorded: f64) -> Result<(), String> {
    if (ours - recorded).abs() <= TOLERANCE { Ok(()) } else { equal(what, ours, recorded) }
}

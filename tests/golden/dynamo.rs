//! The planner of NVIDIA Dynamo 1.6.1: what its load loop wants for one role, without latency targets.

use libtest_mimic::Trial;
use scaletwin_policies::serving::dynamo::load::{Engine, Goal, Role, Thresholds, Workers, desired};
use serde::Deserialize;

use crate::recording::{equal, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("dynamo_easy_load.jsonl.gz", load)]
}

#[derive(Deserialize)]
struct Load {
    kind: String,
    config: Config,
    context_length: f64,
    max_kv_tokens: f64,
    ready_workers: i32,
    pending_startup: i32,
    engines: Vec<RecordedEngine>,
    out_desired: Option<i32>,
    out_reason: Option<String>,
}

#[derive(Deserialize)]
struct Config {
    optimization_target: String,
    prefill_scale_up_queue_tokens: f64,
    prefill_scale_down_queue_tokens: f64,
    decode_scale_up_kv_rate: f64,
    decode_scale_down_kv_rate: f64,
    min_endpoint: i32,
}

#[derive(Deserialize)]
struct RecordedEngine {
    queued_prefill_tokens: f64,
    scheduled_decode_kv: f64,
    queued_decode_kv: f64,
}

impl Config {
    fn goal(&self) -> Goal {
        match self.optimization_target.as_str() {
            "throughput" => Goal::Throughput,
            "latency" => Goal::Latency,
            "load" => Goal::Load(Thresholds {
                prefill_up_tokens: self.prefill_scale_up_queue_tokens,
                prefill_down_tokens: self.prefill_scale_down_queue_tokens,
                decode_up_percent: self.decode_scale_up_kv_rate,
                decode_down_percent: self.decode_scale_down_kv_rate,
            }),
            other => panic!("unknown goal {other}"),
        }
    }
}

fn load(record: &Load) -> Result<(), String> {
    let (role, size) = match record.kind.as_str() {
        "prefill" => (Role::Prefill, record.context_length),
        "decode" => (Role::Decode, record.max_kv_tokens),
        "agg" => (Role::Aggregated, record.max_kv_tokens),
        other => panic!("unknown role {other}"),
    };
    let engines: Vec<Engine> = record
        .engines
        .iter()
        .map(|engine| Engine {
            queued_prefill: engine.queued_prefill_tokens,
            scheduled_kv: engine.scheduled_decode_kv,
            queued_kv: engine.queued_decode_kv,
        })
        .collect();
    let workers = Workers {
        ready: record.ready_workers,
        starting: record.pending_startup,
        min: record.config.min_endpoint,
    };
    let ours = desired(role, record.config.goal(), size, workers, &engines);
    equal("desired", ours.ok(), record.out_desired)?;
    equal("reason", ours.err().map(|quiet| quiet.code()), record.out_reason.as_deref())
}

//! The V1 scheduler of vLLM 0.33.0, step by step.
//!
//! Each scenario is run three times: walking the running list in every step, with steady decodes as a group, and, where
//! prefix caching is off, with blocks only counted. Block identities are compared in the first two.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use scaletwin_sim::serving::continuous::config::{QueuePolicy, SchedulerConfig};
use scaletwin_sim::serving::continuous::content::{Content, Run};
use scaletwin_sim::serving::continuous::scheduler::{Output, Scheduler};
use scaletwin_sim::serving::continuous::sequence::{Arriving, Finish, Key};
use serde::Deserialize;

use crate::recording::{equal, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("vllm_scheduler.jsonl.gz", scenario), trial("vllm_scheduler_async.jsonl.gz", scenario)]
}

#[derive(Deserialize)]
struct Scenario {
    category: String,
    config: Config,
    requests: Vec<Request>,
    aborts: Vec<(usize, u32, u8)>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Config {
    max_num_seqs: u32,
    max_num_batched_tokens: u32,
    block_size: u32,
    num_gpu_blocks: u32,
    enable_chunked_prefill: bool,
    enable_prefix_caching: bool,
    long_prefill_token_threshold: u32,
    long_prefill_token_threshold_adaptive: bool,
    policy: QueuePolicy,
    max_model_len: u32,
    watermark: f64,
    scheduler_reserve_full_isl: bool,
    max_num_active_seqs: Option<u32>,
    prefill_schedule_interval: u32,
    async_scheduling: bool,
}

impl Config {
    fn settings(&self, identify_blocks: bool) -> SchedulerConfig {
        SchedulerConfig {
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            block_size: self.block_size,
            num_gpu_blocks: self.num_gpu_blocks,
            enable_chunked_prefill: self.enable_chunked_prefill,
            enable_prefix_caching: self.enable_prefix_caching,
            long_prefill_token_threshold: self.long_prefill_token_threshold,
            long_prefill_token_threshold_adaptive: self.long_prefill_token_threshold_adaptive,
            policy: self.policy,
            max_model_len: self.max_model_len,
            watermark: self.watermark,
            scheduler_reserve_full_isl: self.scheduler_reserve_full_isl,
            max_num_active_seqs: self.max_num_active_seqs,
            prefill_schedule_interval: self.prefill_schedule_interval,
            async_scheduling: self.async_scheduling,
            identify_blocks,
        }
    }
}

#[derive(Deserialize)]
struct Request {
    id: u32,
    arrival_step: usize,
    arrival_time: f64,
    prompt_tokens: u32,
    output_tokens: u32,
    finish: String,
    priority: i32,
    prompt: Vec<(u64, u32, u32)>,
    out_group: u64,
}

impl Request {
    fn arriving(&self) -> Arriving {
        let runs: Vec<_> = self
            .prompt
            .iter()
            .map(|(group, offset, length)| Run { group: *group, offset: *offset, length: *length })
            .collect();
        let max_tokens = if self.finish == "stop" { self.output_tokens + 1000 } else { self.output_tokens };
        Arriving {
            request: self.id,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            max_tokens,
            priority: self.priority,
            arrived: self.arrival_time.to_bits(),
            number: u64::from(self.id),
            content: Content::new(&runs, self.out_group),
        }
    }
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    aborted: Vec<u32>,
    #[serde(default)]
    aborted_mid: Vec<u32>,
    #[serde(default)]
    sched: Vec<(u32, u32)>,
    #[serde(default)]
    new: Vec<(u32, u32)>,
    #[serde(default)]
    resumed: Vec<(u32, u32)>,
    #[serde(default)]
    preempted: Vec<u32>,
    #[serde(default)]
    finished: Vec<(u32, String)>,
    free_sched: u32,
    free: u32,
    fq_crc: u32,
    n_hashes: Option<usize>,
    n_running: usize,
    n_waiting: usize,
    running: Option<Vec<u32>>,
    waiting: Option<Vec<u32>>,
}

fn scenario(record: &Scenario) -> Result<(), String> {
    let way = |what: &str, difference| format!("{} ({what}), {difference}", record.category);
    let mut walking = Scheduler::new(record.config.settings(true));
    walking.walk_always();
    replay(record, walking).map_err(|difference| way("walking", difference))?;
    replay(record, Scheduler::new(record.config.settings(true)))
        .map_err(|difference| way("grouped", difference))?;
    // As in whole runs: blocks are counted, and only those in the prefix cache have an identity.
    replay(record, Scheduler::new(record.config.settings(false)))
        .map_err(|difference| way("counted", difference))
}

fn replay(record: &Scenario, mut scheduler: Scheduler) -> Result<(), String> {
    let mut keys: BTreeMap<u32, Key> = BTreeMap::new();
    let (mut running, mut waiting) = (Vec::new(), Vec::new());
    for (t, step) in record.steps.iter().enumerate() {
        let at = |what: &str| format!("step {t}: {what}");
        for request in record.requests.iter().filter(|request| request.arrival_step == t) {
            keys.insert(request.id, scheduler.add(request.arriving()));
        }
        equal(&at("aborted"), &abort(record, t, 0, &mut scheduler, &keys), &step.aborted)?;
        let batch = scheduler.schedule().clone();
        equal(&at("scheduled"), &scheduler.scheduled(), &step.sched)?;
        let admitted = |resumed: bool| -> Vec<(u32, u32)> {
            let of = batch.admitted.iter().filter(|admission| admission.resumed == resumed);
            of.map(|admission| (admission.request, admission.cached)).collect()
        };
        equal(&at("new"), &admitted(false), &step.new)?;
        equal(&at("resumed"), &admitted(true), &step.resumed)?;
        let preempted: Vec<u32> = batch
            .preempted
            .iter()
            .map(|key| scheduler.sequence(*key).expect("a preempted request waits").request)
            .collect();
        equal(&at("preempted"), &preempted, &step.preempted)?;
        equal(
            &at("tokens"),
            batch.shape.tokens(),
            step.sched.iter().map(|(_, tokens)| u64::from(*tokens)).sum(),
        )?;
        equal(&at("free after schedule"), scheduler.blocks().free(), step.free_sched)?;
        equal(&at("aborted while running"), &abort(record, t, 1, &mut scheduler, &keys), &step.aborted_mid)?;
        let mut outputs = Vec::new();
        if !record.config.async_scheduling || t > 0 {
            scheduler.update(t as u128, &mut outputs);
        }
        let finished: Vec<(u32, String)> = outputs.iter().filter_map(finished).collect();
        equal(&at("finished"), &finished, &step.finished)?;
        equal(&at("free"), scheduler.blocks().free(), step.free)?;
        if let Some(blocks) = scheduler.blocks().identified() {
            let mut queue = crc32fast::Hasher::new();
            blocks.queue().for_each(|id| queue.update(&id.to_le_bytes()));
            equal(&at("queue of free blocks"), queue.finalize(), step.fq_crc)?;
            if let Some(hashes) = step.n_hashes {
                equal(&at("hashes"), blocks.hashes(), hashes)?;
            }
        }
        equal(&at("number running"), scheduler.running(), step.n_running)?;
        equal(&at("number waiting"), scheduler.waiting(), step.n_waiting)?;
        running = step.running.clone().unwrap_or(running);
        waiting = step.waiting.clone().unwrap_or(waiting);
        equal(&at("running"), &scheduler.running_requests(), &running)?;
        equal(&at("waiting"), &scheduler.waiting_requests(), &waiting)?;
    }
    Ok(())
}

/// Carries out the aborts of a phase. Gives those that were there.
fn abort(
    record: &Scenario,
    t: usize,
    phase: u8,
    scheduler: &mut Scheduler,
    keys: &BTreeMap<u32, Key>,
) -> Vec<u32> {
    let due = record.aborts.iter().filter(|(step, _, of)| *step == t && *of == phase);
    due.filter(|(_, id, _)| keys.get(id).is_some_and(|key| scheduler.abort(*key).is_some()))
        .map(|(_, id, _)| *id)
        .collect()
}

fn finished(output: &Output) -> Option<(u32, String)> {
    match output {
        Output::Finished { request, finish, .. } => {
            let reason = match finish {
                Finish::Stop => "stop",
                Finish::Length => "length",
            };
            Some((*request, reason.to_owned()))
        }
        _ => None,
    }
}

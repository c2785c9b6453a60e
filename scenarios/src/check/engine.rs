//! Engines, step times, and what replicas use.

mod dynamic;

use scaletwin_core::input::{At, Count, Problem, Problems};
use scaletwin_core::units::{Bytes, Quantity};
use scaletwin_hardware::step_time::{Fixed, Linear, Roofline, RooflineSettings, StepTimeModel};
use scaletwin_hardware::{Accelerator, Model, accelerator, model, models};
use scaletwin_sim::cluster::settings::GpuSharing;
use scaletwin_sim::serving::concurrency::{ConcurrencyConfig, Discipline, QueueOrder};
use scaletwin_sim::serving::continuous::config::SchedulerConfig;
use scaletwin_sim::world::settings::{EngineSettings, GpuSettings, StepCost, UsageSettings};

use crate::spec::engine::{
    ConcurrencySpec, ContinuousSpec, EngineSpec, Precision, RooflineSpec, StepTimeSpec,
};
use crate::spec::service::DeploymentSpec;

/// What a replica runs on.
pub(super) struct Hardware<'a> {
    pub gpus: u32,
    pub accelerator: Option<&'a str>,
    /// How its GPU is shared, if it is.
    pub sharing: Option<GpuSharing>,
}

impl Hardware<'_> {
    /// A GPU of its, or the slice that it has of one.
    fn accelerator(&self) -> Option<Accelerator> {
        let whole = self.accelerator.and_then(accelerator)?;
        let Some(GpuSharing { slowdown, memory, .. }) = self.sharing else { return Some(whole) };
        Some(Accelerator {
            memory_gb: whole.memory_gb.times(memory),
            memory_bandwidth_gb_per_s: whole.memory_bandwidth_gb_per_s.times(1.0 / slowdown),
            bf16_dense_tflops: whole.bf16_dense_tflops.times(1.0 / slowdown),
            fp8_dense_tflops: whole.fp8_dense_tflops.map(|figure| figure.times(1.0 / slowdown)),
            ..whole
        })
    }
}

pub(super) fn engine(
    spec: &At<DeploymentSpec>,
    hardware: &Hardware<'_>,
    problems: &mut Problems,
) -> Option<EngineSettings> {
    match &spec.engine.value {
        EngineSpec::ContinuousBatching(engine) => continuous(spec, engine, hardware, problems),
        EngineSpec::Concurrency(engine) => {
            if let Some(model) = &spec.model {
                let problem = Problem::error(&model.place, "a concurrency engine has no model");
                problems.push(problem.hint("its service_time says how long a request takes"));
            }
            Some(concurrency(engine, &spec.engine, problems))
        }
        EngineSpec::DynamicBatching(engine) => {
            if let Some(model) = &spec.model {
                let problem = Problem::error(&model.place, "a dynamic-batching engine has no model");
                problems.push(problem.hint("its batch_time says how long a batch takes"));
            }
            Some(dynamic::dynamic(spec, engine, problems))
        }
    }
}

fn concurrency(spec: &ConcurrencySpec, place: &At<EngineSpec>, problems: &mut Problems) -> EngineSettings {
    if spec.discipline == Discipline::ProcessorSharing && spec.order == QueueOrder::Priority {
        problems.error(&place.place, "with processor-sharing nobody waits, so order: priority has no effect");
    }
    EngineSettings::Concurrency {
        config: ConcurrencyConfig {
            limit: spec.limit.0,
            discipline: spec.discipline,
            order: spec.order,
            queue: spec.queue,
            stops_when_empty: spec.setup.is_some(),
        },
        service: spec.service_time.law.clone(),
        set_up: spec.setup.as_ref().map(|setup| setup.law.clone()),
    }
}

/// What an LLM server runs: a model, GPUs that share it, and how numbers are kept.
struct Served<'a> {
    model: Option<Model>,
    accelerator: Option<Accelerator>,
    tensor_parallel: u32,
    engine: &'a ContinuousSpec,
}

impl Served<'_> {
    /// Bytes of the weights on each GPU.
    fn weight_bytes(&self, model: &Model) -> f64 {
        model.parameters_billion.get() * 1e9 * self.engine.weights.bytes() / f64::from(self.tensor_parallel)
    }

    /// Bytes of keys and values of a token on each GPU: at least one head of each is there.
    fn kv_bytes_per_token(&self, model: &Model) -> f64 {
        let split = f64::from(self.tensor_parallel).min(model.kv_heads.get());
        model.kv_bytes_per_token(self.engine.kv_cache.bytes()) / split
    }
}

fn continuous(
    spec: &At<DeploymentSpec>,
    engine: &ContinuousSpec,
    hardware: &Hardware<'_>,
    problems: &mut Problems,
) -> Option<EngineSettings> {
    let before = problems.len();
    let known = spec.model.as_ref().and_then(|name| model(name));
    if let (Some(name), None) = (&spec.model, &known) {
        let problem = super::unknown(&name.place, "model", name, &models());
        problems.push(problem);
    }
    let tensor_parallel = engine.tensor_parallel_size.map_or(hardware.gpus.max(1), |size| size.0);
    if tensor_parallel > hardware.gpus.max(1) {
        let message =
            format!("tensor_parallel_size is {tensor_parallel}, and a replica has {} GPUs", hardware.gpus);
        problems.push(Problem::error(&spec.engine.place, message).hint("set replica: {gpus: …}"));
    }
    let served = Served { model: known, accelerator: hardware.accelerator(), tensor_parallel, engine };
    if problems.len() > before {
        return None;
    }
    let max_model_len = longest_sequence(spec, &served, problems);
    let num_gpu_blocks = blocks(spec, &served, problems);
    let step_time = step_time(spec, &served, problems);
    let config = config(engine, served.accelerator.as_ref(), max_model_len?, num_gpu_blocks?);
    for message in config.check() {
        let place = engine.max_model_len.as_ref().map_or(&spec.engine.place, |written| &written.place);
        let problem = Problem::error(place, message);
        problems.push(problem.hint("vLLM refuses to start with these settings"));
    }
    let name = engine.served_model_name.clone();
    let name = name.or_else(|| served.model.as_ref().map(|model| model.served_name.clone()));
    Some(EngineSettings::Continuous {
        config,
        step_time: step_time?,
        queue: engine.max_num_queued_reqs.map(|most| most.0),
        model: name.unwrap_or_else(|| "model".to_owned()),
        server: engine.metrics_of,
    })
}

/// vLLM's defaults of (max_num_batched_tokens, max_num_seqs) for an accelerator, as an API server.
fn batch_defaults(accelerator: Option<&Accelerator>) -> (u32, u32) {
    const GIB: f64 = 1_073_741_824.0;
    let Some(accelerator) = accelerator else { return (2_048, 256) };
    match accelerator.memory_gb.get() * 1e9 / GIB {
        large if large >= 160.0 => (16_384, 1_024),
        middle if middle >= 70.0 && !accelerator.name.starts_with("a100") => (8_192, 1_024),
        _ => (2_048, 256),
    }
}

fn config(
    engine: &ContinuousSpec,
    accelerator: Option<&Accelerator>,
    max_model_len: u32,
    num_gpu_blocks: u32,
) -> SchedulerConfig {
    let (tokens, sequences) = batch_defaults(accelerator);
    let max_num_batched_tokens = engine.max_num_batched_tokens.map_or(tokens, |written| written.0);
    let max_num_seqs = engine.max_num_seqs.map_or(sequences.min(max_num_batched_tokens), |written| written.0);
    SchedulerConfig {
        max_num_seqs,
        max_num_batched_tokens,
        block_size: engine.block_size.0,
        num_gpu_blocks,
        enable_chunked_prefill: engine.enable_chunked_prefill,
        enable_prefix_caching: engine.enable_prefix_caching,
        long_prefill_token_threshold: engine.long_prefill_token_threshold,
        long_prefill_token_threshold_adaptive: engine.long_prefill_token_threshold_adaptive,
        policy: engine.scheduling_policy,
        max_model_len,
        watermark: engine.watermark.get(),
        scheduler_reserve_full_isl: engine.scheduler_reserve_full_isl,
        max_num_active_seqs: engine.max_num_active_seqs.map(|active| active.0),
        prefill_schedule_interval: engine.prefill_schedule_interval.0,
        async_scheduling: engine.async_scheduling,
        identify_blocks: false,
    }
}

/// Says which key is needed where no model brings it along.
fn missing(spec: &At<DeploymentSpec>, key: &str, problems: &mut Problems) {
    let problem = Problem::error(&spec.engine.place, format!("the key {key:?} is missing"));
    problems.push(problem.hint("or name a model: and an accelerator:, which bring it along"));
}

fn longest_sequence(spec: &At<DeploymentSpec>, served: &Served<'_>, problems: &mut Problems) -> Option<u32> {
    match (&served.engine.max_model_len, &served.model) {
        (Some(written), _) => Some(written.0),
        (None, Some(model)) => Some(rounded_down(model.max_position_embeddings.get())),
        (None, None) => {
            missing(spec, "max_model_len", problems);
            None
        }
    }
}

/// The most KV blocks of a replica: ten times what eight of the largest accelerators have.
const MOST_BLOCKS: u64 = 10_000_000;

/// The KV blocks that fit beside the weights.
fn blocks(spec: &At<DeploymentSpec>, served: &Served<'_>, problems: &mut Problems) -> Option<u32> {
    if let Some(written) = &served.engine.num_gpu_blocks {
        super::check_count(&written.place, u64::from(written.0), MOST_BLOCKS, "KV blocks", problems);
        return Some(written.0);
    }
    let (Some(model), Some(accelerator)) = (&served.model, &served.accelerator) else {
        missing(spec, "num_gpu_blocks", problems);
        return None;
    };
    let memory = accelerator.memory_gb.get() * 1e9 * served.engine.gpu_memory_utilization.get();
    let weights = served.weight_bytes(model);
    let activations = served.engine.activation_memory.0 as f64;
    let block = served.kv_bytes_per_token(model) * f64::from(served.engine.block_size.0);
    let blocks = (memory - weights - activations) / block;
    if blocks < 2.0 {
        let message = format!(
            "{} does not fit on {} × {}: {:.1} GB of weights and {:.1} GB of activations in {:.1} GB each",
            model.name,
            served.tensor_parallel,
            accelerator.name,
            weights / 1e9,
            activations / 1e9,
            memory / 1e9,
        );
        let problem = Problem::error(&spec.engine.place, message);
        problems.push(problem.hint("give the replica more gpus, another accelerator, or weights: fp8"));
        return None;
    }
    Some(rounded_down(blocks))
}

fn step_time(
    spec: &At<DeploymentSpec>,
    served: &Served<'_>,
    problems: &mut Problems,
) -> Option<StepTimeModel> {
    let roofline = match served.engine.step_time.as_ref().map(|written| &written.value) {
        Some(StepTimeSpec::Fixed(step)) => return Some(StepTimeModel::Fixed(Fixed { step: *step })),
        Some(StepTimeSpec::Linear(linear)) => {
            return Some(StepTimeModel::Linear(Linear {
                base: linear.base,
                per_prefill_token: linear.per_prefill_token,
                per_sequence: linear.per_sequence,
                per_context_token: linear.per_context_token,
            }));
        }
        Some(StepTimeSpec::Roofline(roofline)) => roofline.clone(),
        None => RooflineSpec::default(),
    };
    let (Some(model), Some(accelerator)) = (&served.model, &served.accelerator) else {
        missing(spec, "step_time", problems);
        return None;
    };
    let settings = RooflineSettings {
        tensor_parallel: served.tensor_parallel,
        weight_bytes: served.engine.weights.bytes(),
        kv_bytes: served.engine.kv_cache.bytes(),
        overhead: roofline.overhead,
        link_latency: roofline.link_latency,
    };
    Some(StepTimeModel::Roofline(Roofline::of(accelerator, model, &settings)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float saturates, which is meant"
)]
fn rounded_down(value: f64) -> u32 {
    value as u32
}

pub(super) fn usage(
    spec: &DeploymentSpec,
    engine: &EngineSettings,
    hardware: &Hardware<'_>,
) -> UsageSettings {
    let llm = matches!(engine, EngineSettings::Continuous { .. });
    let milli = |quantity: Quantity| u64::try_from(quantity.milli_value()).unwrap_or(0);
    let request = spec.replica.cpu.map_or(1_000, milli);
    let half_request = spec.replica.memory.map_or(256 << 20, |Bytes(bytes)| bytes / 2);
    let default = |of_llm: u64, other: u64| if llm { of_llm } else { other };
    UsageSettings {
        cpu_idle_milli: spec.usage.cpu_idle.map_or(default(100, 0), milli),
        cpu_busy_milli: spec.usage.cpu_busy.map_or(default(1_500, request), milli),
        memory_bytes: spec.usage.memory.map_or(default(8 << 30, half_request), |bytes| bytes.0),
        memory_per_request_bytes: spec.usage.memory_per_request.0,
        gpu: gpu(spec, hardware),
    }
}

/// The GPUs of a replica, as their exporter shows them.
fn gpu(spec: &DeploymentSpec, hardware: &Hardware<'_>) -> Option<GpuSettings> {
    const MIB: f64 = 1_048_576.0;
    let accelerator = hardware.accelerator().filter(|_| hardware.gpus > 0)?;
    let memory_mib = accelerator.memory_gb.get() * 1e9 / MIB;
    let (taken, cost) = match &spec.engine.value {
        EngineSpec::ContinuousBatching(engine) => (
            engine.gpu_memory_utilization.get(),
            spec.model.as_ref().and_then(|name| model(name)).map(|model| {
                let gpus = engine.tensor_parallel_size.map_or(hardware.gpus, |Count(size)| size);
                cost(&model, &accelerator, engine, f64::from(gpus))
            }),
        ),
        EngineSpec::Concurrency(_) | EngineSpec::DynamicBatching(_) => (0.0, None),
    };
    Some(GpuSettings { gpus: hardware.gpus, memory_mib, reserved_mib: memory_mib * taken, cost })
}

fn cost(model: &Model, accelerator: &Accelerator, engine: &ContinuousSpec, gpus: f64) -> StepCost {
    let fp8 = accelerator.fp8_dense_tflops.as_ref().filter(|_| engine.weights == Precision::Fp8);
    let tflops = fp8.unwrap_or(&accelerator.bf16_dense_tflops).get();
    let parameters = model.parameters_billion.get() * 1e9;
    StepCost {
        flops_per_token: 2.0 * parameters,
        flops_per_attended: model.attention_flops(),
        peak_flops: tflops * 1e12 * gpus,
        bytes_per_step: parameters * engine.weights.bytes(),
        bytes_per_context_token: model.kv_bytes_per_token(engine.kv_cache.bytes()),
        peak_bytes: accelerator.memory_bandwidth_gb_per_s.get() * 1e9 * gpus,
    }
}

//! Engines and step times as written.

use scaletwin_core::input::{At, Count};
use scaletwin_core::random::Distributed;
use scaletwin_core::units::{Bytes, Femtos, Share, Span};
use scaletwin_sim::scrape::exporter::LlmServer;
use scaletwin_sim::serving::concurrency::{Discipline, QueueOrder};
use scaletwin_sim::serving::continuous::config::QueuePolicy;

scaletwin_core::kinds! {
    /// What serves the requests.
    #[derive(Debug, Clone)]
    pub enum EngineSpec {
        /// An LLM server that batches continuously, deciding as vLLM's V1 scheduler does.
        ContinuousBatching(ContinuousSpec) = "continuous-batching",
        /// A server that works on a limited number of requests at once.
        Concurrency(ConcurrencySpec) = "concurrency",
        /// A server that gathers requests into batches, as Triton's dynamic batcher does.
        DynamicBatching(DynamicSpec) = "dynamic-batching",
    }
}

scaletwin_core::keys! {
    /// An LLM server that batches continuously, deciding as vLLM 0.33's V1 scheduler does, with the names of its
    /// arguments.
    #[derive(Debug, Clone)]
    pub struct ContinuousSpec {
        /// The most sequences that run at once. Default: vLLM's for the accelerator (1024 from 70 GB on, but for the A100;
        /// else 256).
        pub max_num_seqs: Option<Count> = None,
        /// The most tokens in a step. Default: vLLM's for the accelerator, as an API server (16384 from 160 GB on, 8192 from
        /// 70 GB on, but for the A100; else 2048).
        pub max_num_batched_tokens: Option<Count> = None,
        /// The longest sequence, prompt and output together. Default: the model's.
        pub max_model_len: Option<At<Count>> = None,
        /// Tokens in a KV block.
        pub block_size: Count = Count(16),
        /// KV blocks. Default: what fits into the accelerator's memory beside the weights.
        pub num_gpu_blocks: Option<At<Count>> = None,
        /// The share of the accelerator's memory that the server takes.
        pub gpu_memory_utilization: Share = Share::new(0.9).expect("a share"),
        /// Memory that activations and CUDA graphs take, which is not left for KV blocks (assumed).
        pub activation_memory: Bytes = Bytes(2 << 30),
        /// Whether a prompt may be cut over several steps.
        pub enable_chunked_prefill: bool = true,
        /// Whether blocks are found again by their content.
        pub enable_prefix_caching: bool = true,
        /// The most tokens of one prompt in a step while there are others; 0: no bound.
        pub long_prefill_token_threshold: u32 = 0,
        /// Whether that bound grows when there are few others.
        pub long_prefill_token_threshold_adaptive: bool = false,
        /// Whose turn it is.
        pub scheduling_policy: QueuePolicy = QueuePolicy::Fcfs,
        /// The share of blocks kept free when a request is admitted beside others.
        pub watermark: Share = Share::new(0.0).expect("a share"),
        /// Whether a request is admitted only when its whole prompt fits.
        pub scheduler_reserve_full_isl: bool = true,
        /// The most sequences that run at once, if fewer than `max_num_seqs`.
        pub max_num_active_seqs: Option<Count> = None,
        /// Prefill steps are at least so many steps apart; 1: no hold.
        pub prefill_schedule_interval: Count = Count(1),
        /// Whether a step is scheduled while the one before it still runs.
        pub async_scheduling: bool = true,
        /// Requests that may wait in the server; more are refused. Default: any number.
        pub max_num_queued_reqs: Option<Count> = None,
        /// GPUs that share every layer. Default: the replica's GPUs.
        pub tensor_parallel_size: Option<Count> = None,
        /// How weights are kept.
        pub weights: Precision = Precision::Bf16,
        /// How the KV cache is kept.
        pub kv_cache: Precision = Precision::Bf16,
        /// How long a step takes. Default: by the roofline of model and accelerator.
        pub step_time: Option<At<StepTimeSpec>> = None,
        /// The name of the model in the server's metrics. Default: the model's.
        pub served_model_name: Option<String> = None,
        /// The server whose metrics it shows. It schedules as vLLM in any case.
        pub metrics_of: LlmServer = LlmServer::Vllm,
    }
}

scaletwin_core::names! {
    /// How numbers are kept.
    pub enum Precision {
        /// Two bytes each.
        Bf16 = "bf16",
        /// One byte each.
        Fp8 = "fp8",
    }
}

impl Precision {
    /// Bytes of a number.
    #[must_use]
    pub const fn bytes(self) -> f64 {
        match self {
            Precision::Bf16 => 2.0,
            Precision::Fp8 => 1.0,
        }
    }
}

scaletwin_core::variants! {
    /// How long a step of the engine takes.
    #[derive(Debug, Clone)]
    pub enum StepTimeSpec {
        /// Every step the same.
        Fixed(Femtos) = "fixed",
        /// Linear in tokens of prompts, sequences and contexts.
        Linear(LinearSpec) = "linear",
        /// The larger of computation and memory traffic, from model and accelerator.
        Roofline(RooflineSpec) = "roofline",
    }
}

scaletwin_core::keys! {
    /// A step takes `base` + `per_prefill_token` × prompt tokens + `per_sequence` × sequences + `per_context_token` ×
    /// tokens in all contexts.
    #[derive(Debug, Clone)]
    pub struct LinearSpec {
        /// The constant part.
        pub base: Femtos,
        /// For each token of a prompt.
        pub per_prefill_token: Femtos = Femtos(0),
        /// For each sequence.
        pub per_sequence: Femtos = Femtos(0),
        /// For each token in a context.
        pub per_context_token: Femtos = Femtos(0),
    }
}

scaletwin_core::keys! {
    /// The larger of computation and memory traffic, from model and accelerator.
    #[derive(Debug, Clone)]
    pub struct RooflineSpec {
        /// The constant part of a step: kernel launches, sampling, the scheduler (assumed).
        pub overhead: Femtos = RooflineSpec::default().overhead,
        /// The latency of a message between GPUs that share layers (fitted).
        pub link_latency: Femtos = RooflineSpec::default().link_latency,
    }
}

impl Default for RooflineSpec {
    fn default() -> RooflineSpec {
        RooflineSpec { overhead: Femtos(2_000_000_000_000), link_latency: Femtos(4_000_000_000) }
    }
}

scaletwin_core::keys! {
    /// A server that works on at most `limit` requests at full speed: G/G/c, or processor sharing.
    #[derive(Debug, Clone)]
    pub struct ConcurrencySpec {
        /// Requests served at full speed at once.
        pub limit: Count,
        /// The service time at full speed. A trace with `service_seconds` has its own.
        pub service_time: Distributed<Span>,
        /// How the slots are used.
        pub discipline: Discipline = Discipline::Fifo,
        /// Whose turn it is in the queue.
        pub order: QueueOrder = QueueOrder::Fcfs,
        /// Requests that may wait in the server; 0: none. Default: any number.
        pub queue: Option<u32> = None,
        /// A set-up time: the server stops when it is empty, and sets up at the next arrival.
        pub setup: Option<Distributed<Span>> = None,
    }
}

scaletwin_core::keys! {
    /// A server that gathers requests into batches, as Triton's dynamic batcher does: for vision, embeddings and classical
    /// models.
    #[derive(Debug, Clone)]
    pub struct DynamicSpec {
        /// The most requests of a batch.
        pub max_batch_size: Count,
        /// Sizes of batches that leave at once. Default: only the largest.
        pub preferred_batch_sizes: Option<At<Vec<Count>>> = None,
        /// How long a request may wait for others to join it; 0: whoever is there goes when an instance is free.
        pub max_queue_delay: Span = Span::ZERO,
        /// Batches computed at once (`instance_group.count`).
        pub instances: Count = Count(1),
        /// How long a batch takes.
        pub batch_time: At<BatchTimeSpec>,
        /// Whose turn it is in the queue.
        pub order: QueueOrder = QueueOrder::Fcfs,
        /// Requests that may wait in the server (`max_queue_size`). Default: any number.
        pub queue: Option<Count> = None,
        /// The name of the model in the server's metrics. Default: the deployment's.
        pub model_name: Option<String> = None,
    }
}

scaletwin_core::variants! {
    /// How long a batch takes.
    #[derive(Debug, Clone)]
    pub enum BatchTimeSpec {
        /// A constant part and one for each request.
        Linear(LinearBatchSpec) = "linear",
        /// Drawn for each batch, whatever its size.
        Law(Distributed<Span>) = "law",
        /// By size, from 1 to `max_batch_size`; between two sizes on the line that joins them.
        Table(At<Vec<BatchRowSpec>>) = "table",
    }
}

scaletwin_core::keys! {
    /// A batch takes `base` + `per_request` × its requests.
    #[derive(Debug, Clone)]
    pub struct LinearBatchSpec {
        /// The constant part.
        pub base: Span,
        /// For each request.
        pub per_request: Span = Span::ZERO,
    }
}

scaletwin_core::keys! {
    /// How long a batch of one size takes.
    #[derive(Debug, Clone)]
    pub struct BatchRowSpec {
        /// Its requests.
        pub size: Count,
        /// How long it takes.
        pub time: Span,
    }
}

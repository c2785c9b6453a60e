//! Formats of trace files, and how one is read.

use scaletwin_core::random::{Component, Seed};
use serde::Serialize;

scaletwin_core::names! {
    /// The format of a trace file.
    pub enum TraceFormat {
        /// Azure LLM inference traces 2023/2024: CSV with TIMESTAMP, ContextTokens, GeneratedTokens.
        AzureLlm = "azure-llm",
        /// Mooncake: JSON lines with timestamp (ms), input_length, output_length, hash_ids (prefix blocks of 512 tokens).
        Mooncake = "mooncake",
        /// Vidur: CSV with arrived_at (s), num_prefill_tokens, num_decode_tokens.
        Vidur = "vidur",
        /// BurstGPT: CSV with Timestamp (s), Request tokens, Response tokens; 0 of the last is a failed request.
        BurstGpt = "burstgpt",
        /// The data file of BLIS' TraceV2: CSV with arrival_time_us, send_time_us, input_tokens, output_tokens.
        Blis = "blis-v2",
        /// ServeGen clients: CSV with client_id, t_s, rate_rps, arrival_dist, dist_p1; requests are drawn.
        ServeGen = "servegen",
        /// Azure Functions 2019: CSV with one function a line and one minute a column; arrivals are drawn.
        AzureFunctions2019 = "azure-functions-2019",
        /// Azure Functions 2021: CSV with end_timestamp (s), duration (s).
        AzureFunctions2021 = "azure-functions-2021",
        /// Numbers of requests: CSV with minute, requests; arrivals are drawn.
        PerMinute = "per-minute",
        /// Rates from Prometheus: the answer of query_range as JSON; arrivals are drawn.
        Prometheus = "prometheus",
        /// Access logs in the common or combined log format, with further fields at the end.
        AccessLog = "access-log",
        /// Access logs as JSON lines, with `fields`.
        AccessLogJson = "access-log-json",
        /// OpenTelemetry spans of model calls: OTLP as JSON, whole or a line each.
        Otlp = "otlp",
        /// The result of `vllm bench serve --save-detailed`: JSON.
        VllmBench = "vllm-bench",
        /// Our own CSV: arrival_seconds, and as needed prompt_tokens, output_tokens, service_seconds, priority,
        /// prefix_group, prefix_tokens.
        Csv = "csv",
        /// The same keys as JSON lines, and prefix for several runs.
        Jsonl = "jsonl",
    }
}

/// All formats.
pub const FORMATS: [TraceFormat; 16] = [
    TraceFormat::AzureLlm,
    TraceFormat::Mooncake,
    TraceFormat::Vidur,
    TraceFormat::BurstGpt,
    TraceFormat::Blis,
    TraceFormat::ServeGen,
    TraceFormat::AzureFunctions2019,
    TraceFormat::AzureFunctions2021,
    TraceFormat::PerMinute,
    TraceFormat::Prometheus,
    TraceFormat::AccessLog,
    TraceFormat::AccessLogJson,
    TraceFormat::Otlp,
    TraceFormat::VllmBench,
    TraceFormat::Csv,
    TraceFormat::Jsonl,
];

/// Whether a format says how many tokens a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// It always does.
    Given,
    /// It can.
    Possible,
    /// It never does.
    Absent,
}

impl TraceFormat {
    /// Whether the format says how many tokens a request has.
    #[must_use]
    pub const fn lengths(self) -> Lengths {
        match self {
            TraceFormat::AzureLlm
            | TraceFormat::Mooncake
            | TraceFormat::Vidur
            | TraceFormat::BurstGpt
            | TraceFormat::Blis
            | TraceFormat::Otlp
            | TraceFormat::VllmBench => Lengths::Given,
            TraceFormat::AccessLog | TraceFormat::AccessLogJson | TraceFormat::Csv | TraceFormat::Jsonl => {
                Lengths::Possible
            }
            TraceFormat::ServeGen
            | TraceFormat::AzureFunctions2019
            | TraceFormat::AzureFunctions2021
            | TraceFormat::PerMinute
            | TraceFormat::Prometheus => Lengths::Absent,
        }
    }

    /// Whether arrivals are drawn, because the file only has numbers or rates.
    #[must_use]
    pub const fn is_drawn(self) -> bool {
        matches!(
            self,
            TraceFormat::ServeGen
                | TraceFormat::AzureFunctions2019
                | TraceFormat::PerMinute
                | TraceFormat::Prometheus
        )
    }

    /// Whether lines are written when requests end, so that arrivals have to be put in order.
    pub(super) const fn is_unordered(self) -> bool {
        matches!(
            self,
            TraceFormat::Blis
                | TraceFormat::AzureFunctions2021
                | TraceFormat::AccessLog
                | TraceFormat::AccessLogJson
                | TraceFormat::Otlp
                | TraceFormat::VllmBench
        )
    }

    /// Whether `fields` says where its times and lengths stand.
    #[must_use]
    pub const fn has_fields(self) -> bool {
        matches!(self, TraceFormat::AccessLog | TraceFormat::AccessLogJson)
    }

    /// Whether `only` can choose among its lines.
    #[must_use]
    pub const fn has_only(self) -> bool {
        !matches!(
            self,
            TraceFormat::Mooncake
                | TraceFormat::Jsonl
                | TraceFormat::Prometheus
                | TraceFormat::Otlp
                | TraceFormat::VllmBench
        )
    }
}

/// How a trace is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// Its format.
    pub format: TraceFormat,
    /// Whether what prompts share is read; without, reading is faster.
    pub prefixes: bool,
    /// Whether lines that cannot be used are left out and counted, rather than an error.
    pub skip_bad: bool,
    /// Only lines whose column or key has this text are read.
    pub only: Vec<(String, String)>,
    /// Where an access log has its times and lengths.
    pub fields: LogFields,
    /// By how much numbers of requests grow, in formats whose arrivals are drawn.
    pub scale: f64,
    /// The luck of arrivals that are drawn.
    #[serde(skip)]
    pub luck: Component,
}

impl Reading {
    /// All of a trace in a format, with the luck of seed 1.
    #[must_use]
    pub fn of(format: TraceFormat) -> Reading {
        Reading {
            format,
            prefixes: true,
            skip_bad: false,
            only: Vec::new(),
            fields: LogFields::default(),
            scale: 1.0,
            luck: Seed(1).component("trace"),
        }
    }
}

scaletwin_core::names! {
    /// The unit of a bare number in a log.
    pub enum TimeUnit {
        /// Seconds.
        Seconds = "s",
        /// Milliseconds.
        Millis = "ms",
        /// Microseconds.
        Micros = "us",
        /// Nanoseconds.
        Nanos = "ns",
    }
}

impl TimeUnit {
    /// Nanoseconds in one.
    pub(super) const fn nanos(self) -> f64 {
        match self {
            TimeUnit::Seconds => 1e9,
            TimeUnit::Millis => 1e6,
            TimeUnit::Micros => 1e3,
            TimeUnit::Nanos => 1.0,
        }
    }
}

/// Where an access log has its times and lengths: keys of JSON, with dots for what is inside others; or for text the
/// number of the field from 1, or its usual name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogFields {
    /// When the request arrived.
    pub time: Option<String>,
    /// When it had ended; with `duration`, where there is no time of arrival.
    pub end: Option<String>,
    /// How long it took.
    pub duration: Option<String>,
    /// Tokens of its prompt.
    pub prompt_tokens: Option<String>,
    /// Tokens of its answer.
    pub output_tokens: Option<String>,
    /// The unit of instants that are bare numbers, counted from 1970.
    pub time_unit: TimeUnit,
    /// The unit of durations.
    pub duration_unit: TimeUnit,
}

impl Default for LogFields {
    fn default() -> LogFields {
        LogFields {
            time: None,
            end: None,
            duration: None,
            prompt_tokens: None,
            output_tokens: None,
            time_unit: TimeUnit::Seconds,
            duration_unit: TimeUnit::Seconds,
        }
    }
}

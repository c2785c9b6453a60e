//! Which reader reads which format.

use super::clients::Clients;
use super::counts::{Drawn, FunctionMinutes, Minutes};
use super::rows::{Fault, Rows};
use super::table::TableRows;
use super::{Input, Reading, TraceFormat, documents, json_lines, log, spans};

/// The rows of an input in a format.
pub(super) fn of(input: Input, reading: &Reading) -> Result<Box<dyn Rows>, Fault> {
    Ok(match reading.format {
        TraceFormat::AzureLlm
        | TraceFormat::Vidur
        | TraceFormat::BurstGpt
        | TraceFormat::Blis
        | TraceFormat::AzureFunctions2021
        | TraceFormat::Csv => Box::new(TableRows::new(input, reading)?),
        TraceFormat::Mooncake | TraceFormat::Jsonl => Box::new(json_lines::JsonRows::new(input, reading)),
        TraceFormat::AccessLog => Box::new(log::TextLog::new(input, reading)?),
        TraceFormat::AccessLogJson => Box::new(log::JsonLog::new(input, reading)?),
        TraceFormat::PerMinute => Box::new(Drawn::new(Minutes::new(input, reading)?, reading)),
        TraceFormat::AzureFunctions2019 => {
            Box::new(Drawn::new(FunctionMinutes::new(input, reading)?, reading))
        }
        TraceFormat::Prometheus => Box::new(Drawn::new(documents::Rates::new(input)?, reading)),
        TraceFormat::ServeGen => Box::new(Clients::new(input, reading)?),
        TraceFormat::Otlp => Box::new(spans::Spans::new(input)?),
        TraceFormat::VllmBench => Box::new(documents::Benchmark::new(input)?),
    })
}

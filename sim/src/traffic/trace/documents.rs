//! JSON documents that are read whole: answers of Prometheus, and results of `vllm bench serve`. And tables of a
//! cumulative distribution.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::path::Path;

use scaletwin_core::random::Law;
use scaletwin_core::units::{Civil, Span};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::counts::{Step, Steps};
use super::json_lines::in_words;
use super::rows::{Fault, Found, Rows, number, since_1970, to_span};
use super::table::Table;
use super::{Input, Row, RowTime, TraceError, input_of};

/// The longest document, bytes.
pub(super) const LONGEST: u64 = 256 << 20;

/// What a document says.
pub(super) fn document<T: DeserializeOwned>(input: impl Read) -> Result<T, Fault> {
    let mut limited = input.take(LONGEST);
    let result = serde_json::from_reader(without_mark(io::BufReader::new(&mut limited)));
    let cut = limited.limit() == 0;
    result.map_err(|error: serde_json::Error| {
        if cut {
            return Fault::file(format!("the document is longer than {} MiB", LONGEST >> 20));
        }
        Fault::ends(error.line() as u64, error.column().max(1) as u64, in_words(&error), b"")
    })
}

/// The input behind a byte order mark, if there is one.
fn without_mark<R: BufRead>(mut input: R) -> R {
    if input.fill_buf().is_ok_and(|text| text.starts_with(b"\xef\xbb\xbf")) {
        input.consume(3);
    }
    input
}

/// An answer of Prometheus to `query_range`.
#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// The series of an answer.
fn series_of(input: impl Read) -> Result<Vec<Series>, Fault> {
    let answer: Answer = document(input)?;
    let data = match answer.data {
        Some(data) if answer.status == "success" => data,
        _ => {
            let why = answer.error.unwrap_or_else(|| format!("status {:?}", answer.status));
            return Err(Fault::file(format!("Prometheus did not answer the query: {why}")));
        }
    };
    if data.result_type != "matrix" {
        let fault = Fault::file(format!("expected a matrix, found a {}", data.result_type));
        return Err(fault.hint("ask query_range, not query"));
    }
    Ok(data.result)
}

/// Rates of requests over time, all series together. A sample at t is the rate of the step that ends at t.
pub(super) struct Rates {
    /// Samples that cannot be used.
    faults: Vec<Fault>,
    steps: std::vec::IntoIter<Step>,
}

impl Rates {
    pub(super) fn new(input: Input) -> Result<Rates, Fault> {
        let (mut sums, mut faults) = (BTreeMap::<Civil, f64>::new(), Vec::new());
        for (place, series) in series_of(input)?.iter().enumerate() {
            let mut before = f64::NEG_INFINITY;
            for (sample, (at, value)) in series.values.iter().enumerate() {
                if *at <= before {
                    faults.push(out_of_turn(place, sample, *at));
                    continue;
                }
                before = *at;
                match (since_1970(at * 1e9, 0), value.parse::<f64>()) {
                    (Ok(at), Ok(value)) if (0.0..1e9).contains(&value) => {
                        *sums.entry(at).or_default() += value
                    }
                    _ => faults.push(unusable(place, sample, *at, value)),
                }
            }
        }
        faults.reverse();
        Ok(Rates { faults, steps: steps(&sums).into_iter() })
    }
}

fn unusable(series: usize, sample: usize, at: f64, value: &str) -> Fault {
    let fault = Fault::file(format!("result[{series}].values[{sample}] at {at} is no rate: {value:?}"));
    fault.one_only().hint("a rate is at least 0 and below 1e9 per second, as of sum(rate(…[1m]))")
}

fn out_of_turn(series: usize, sample: usize, at: f64) -> Fault {
    let fault = Fault::file(format!("result[{series}].values[{sample}] at {at} is not after the one before"));
    fault.one_only().hint("a series of Prometheus has each instant once, in ascending order")
}

/// Whole numbers of requests, so that their running sum is the running sum of the rates, rounded down.
fn steps(sums: &BTreeMap<Civil, f64>) -> Vec<Step> {
    let times: Vec<Civil> = sums.keys().copied().collect();
    let gaps = times.windows(2).filter_map(|pair| pair[1].since(pair[0]));
    let width = gaps.min().unwrap_or(Span::from_secs(60));
    let (mut due, mut given) = (0.0, 0);
    let step = |(at, rate): (&Civil, &f64)| {
        due += rate * width.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and bounded"
        )]
        let upto = due as u64;
        let requests = upto - given;
        given = upto;
        let from = RowTime::Civil(*at).minus(width).unwrap_or(RowTime::Civil(*at));
        Step { from, width, requests, line: 1 }
    };
    sums.iter().map(step).collect()
}

impl Steps for Rates {
    fn next(&mut self) -> Result<Option<Step>, Fault> {
        match self.faults.pop() {
            Some(fault) => Err(fault),
            None => Ok(self.steps.next()),
        }
    }

    fn begins(&self) -> Option<RowTime> {
        self.steps.as_slice().first().map(|step| step.from)
    }
}

/// The result of `vllm bench serve` with its details. Other keys have no effect.
#[derive(Deserialize)]
struct Details {
    input_lens: Option<Vec<u32>>,
    output_lens: Option<Vec<u32>>,
    start_times: Option<Vec<f64>>,
    #[serde(default)]
    errors: Vec<Option<String>>,
}

/// The requests of a benchmark.
pub(super) struct Benchmark {
    requests: std::vec::IntoIter<(f64, u32, u32)>,
    errors: Vec<Option<String>>,
    first: f64,
    taken: usize,
}

impl Benchmark {
    pub(super) fn new(input: Input) -> Result<Benchmark, Fault> {
        let Details { input_lens, output_lens, start_times, errors } = document(input)?;
        let missing = |key: &str| {
            let fault = Fault::file(format!("the key {key:?} is missing"));
            fault.hint(
                "run `vllm bench serve --save-result --save-detailed` of a version that writes start_times",
            )
        };
        let inputs = input_lens.ok_or_else(|| missing("input_lens"))?;
        let outputs = output_lens.ok_or_else(|| missing("output_lens"))?;
        let starts = start_times.ok_or_else(|| missing("start_times"))?;
        if inputs.len() != starts.len() || outputs.len() != starts.len() {
            let lengths = [inputs.len(), outputs.len(), starts.len()];
            return Err(Fault::file(format!(
                "input_lens, output_lens, start_times differ in length: {lengths:?}"
            )));
        }
        // A request that failed before it was sent has no instant: 0, on a clock that has long been running.
        let sent = starts.iter().zip(&outputs).filter(|(at, output)| at.is_finite() && **output > 0);
        let first = sent.map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
        let requests: Vec<_> = starts
            .into_iter()
            .zip(inputs)
            .zip(outputs)
            .map(|((at, input), output)| (at, input, output))
            .collect();
        Ok(Benchmark { requests: requests.into_iter(), errors, first, taken: 0 })
    }
}

impl Rows for Benchmark {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        let Some((start, input, output)) = self.requests.next() else { return Ok(None) };
        let place = self.taken;
        self.taken += 1;
        let failed =
            self.errors.get(place).is_some_and(|error| error.as_ref().is_some_and(|e| !e.is_empty()));
        if failed || output == 0 {
            return Ok(Some(Found::Failed));
        }
        let refuse = |message: String| Fault::file(format!("request {place}: {message}")).one_only();
        if input == 0 {
            return Err(refuse("a request has at least 1 token of each kind, found 0".to_owned()));
        }
        let at = to_span(start - self.first, 0).map_err(|wrong| refuse(wrong.message))?;
        Ok(Some(Found::Row(Row {
            prompt_tokens: Some(input),
            output_tokens: Some(output),
            line: place as u64 + 1,
            ..Row::bare(RowTime::Offset(at))
        })))
    }
}

/// How many values stand for a bucket of a histogram.
const PER_BUCKET: u32 = 16;

/// The law of a histogram as Prometheus gives it: series with a label `le` and cumulative values, which are added up over
/// time. Values are even over their bucket; those above the last finite bound are put on it.
///
/// # Errors
/// When the file is no such answer, or holds no observation.
pub fn bucket_quantiles(path: &Path) -> Result<Law, TraceError> {
    let (input, _) = input_of(path, &std::sync::Arc::default())?;
    let series = series_of(input).map_err(|fault| fault.error(path))?;
    let refuse = |message: &str| {
        TraceError::file(path, message)
            .hint("query sum by (le) (increase(vllm:request_prompt_tokens_bucket[1m]))")
    };
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for one in &series {
        let bound = one.metric.get("le").and_then(|le| le.parse::<f64>().ok());
        let bound = bound.ok_or_else(|| refuse("a series has no label le"))?;
        let counts = one.values.iter().filter_map(|(_, value)| value.parse::<f64>().ok());
        buckets.push((bound, counts.filter(|count| count.is_finite()).sum()));
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|(bound, _)| bound.is_finite()) {
        return Err(refuse("there is no bucket with le=\"+Inf\""));
    }
    // Extrapolation makes one a little smaller than the one below.
    if let Some(pair) = buckets.windows(2).find(|pair| pair[1].1 < 0.9 * pair[0].1) {
        let (low, high) = (pair[0], pair[1]);
        return Err(refuse(&format!(
            "buckets are cumulative, but le={} has {} and le={} has {}",
            low.0, low.1, high.0, high.1
        )));
    }
    let (mut values, mut weights) = (Vec::new(), Vec::new());
    let (mut low, mut before) = (0.0, 0.0);
    for (bound, upto) in buckets {
        let (high, weight) = (if bound.is_finite() { bound } else { low }, (upto - before).max(0.0));
        for part in 0..PER_BUCKET {
            values.push(low + (high - low) * (f64::from(part) + 0.5) / f64::from(PER_BUCKET));
            weights.push(weight / f64::from(PER_BUCKET));
        }
        (low, before) = (high, before + weight);
    }
    Law::empirical(&values, &weights).map_err(|error| refuse(&format!("no histogram: {error}")))
}

/// The law of a table of its cumulative distribution: CSV with tokens and cdf, ascending. What lies above the last line has
/// its value.
///
/// # Errors
/// When the file cannot be read, or is no such table.
pub fn cdf(path: &Path) -> Result<Law, TraceError> {
    let (input, _) = input_of(path, &std::sync::Arc::default())?;
    read_cdf(input).map_err(|fault| fault.error(path))
}

/// The least share at which a table of a distribution ends: tables of ServeGen leave out half a percent.
const LEAST_END: f64 = 0.99;

fn read_cdf(input: Input) -> Result<Law, Fault> {
    let mut table = Table::new(input, &[])?;
    let (tokens, shares) = (table.column("tokens")?, table.column("cdf")?);
    let (mut values, mut weights, mut before) = (Vec::new(), Vec::new(), 0.0);
    while table.advance()? {
        let fields: Vec<(usize, &[u8])> = table.fields().collect();
        let field = |column: usize| number::<f64>(fields[column].1, fields[column].0, "a number");
        let (value, upto) = (field(tokens), field(shares));
        let (value, upto) = value.and_then(|value| Ok((value, upto?))).map_err(|wrong| table.fault(wrong))?;
        if !(before..=1.0).contains(&upto) || values.last().is_some_and(|last| value < *last) {
            let message = "tokens and cdf ascend, and cdf ends at most at 1".to_owned();
            return Err(table.fault(super::rows::Wrong { column: 1, message }));
        }
        values.push(value);
        weights.push(upto - before);
        before = upto;
    }
    if let Some(last) = weights.last_mut() {
        if before < LEAST_END {
            let message = format!("the distribution ends at {before}: it should end at 1. Was the file cut?");
            return Err(Fault::file(message));
        }
        *last += 1.0 - before;
    }
    Law::empirical(&values, &weights).map_err(|error| Fault::file(format!("no distribution: {error}")))
}

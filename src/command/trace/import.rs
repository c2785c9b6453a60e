//! `scaletwin trace import`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use clap::Subcommand;
use scaletwin_core::units::{Civil, Span};
use scaletwin_sim::traffic::trace::{Reading, TraceFormat, TraceReader};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::{Answer, output, tell};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    system: System,
}

#[derive(Debug, Subcommand)]
enum System {
    /// Rates that a Prometheus has recorded; the file is a trace of the format prometheus
    #[command(
        after_help = "A token is read from the variable SCALETWIN_PROMETHEUS_TOKEN, a user and password from \
        SCALETWIN_PROMETHEUS_USER and SCALETWIN_PROMETHEUS_PASSWORD; any other header from --header-file."
    )]
    Prometheus(Query),
}

/// A query of a Prometheus.
#[derive(Debug, clap::Args)]
struct Query {
    /// Its address, such as http://localhost:9090
    url: String,
    /// A rate of requests per second, such as `sum(rate(vllm:request_success_total[1m]))`; or, for a distribution, the
    /// increase of the buckets of a histogram by le
    #[arg(long, value_name = "PROMQL")]
    query: String,
    /// The first instant, such as 2024-05-01T00:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = parse_civil)]
    start: Civil,
    /// The last instant
    #[arg(long, value_name = "INSTANT", value_parser = parse_civil)]
    end: Civil,
    /// From one sample to the next, such as 1m; as long as the range in the query
    #[arg(long, value_name = "TIME", value_parser = parse_step)]
    step: Span,
    /// The new file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A file of headers to send, one a line, such as `Authorization: Bearer …` or `X-Scope-OrgID: team`
    #[arg(long, value_name = "FILE")]
    header_file: Option<PathBuf>,
    /// No notes on stderr
    #[arg(long, short)]
    quiet: bool,
}

fn parse_civil(text: &str) -> Result<Civil, String> {
    text.parse::<Civil>().map_err(|error| error.to_string())
}

fn parse_step(text: &str) -> Result<Span, String> {
    let span = text.parse::<Span>().map_err(|error| error.to_string())?;
    if span < Span::from_millis(1) { Err("a step is at least 1ms".to_owned()) } else { Ok(span) }
}

/// The most samples of a series that Prometheus gives at once are 11 000.
const SAMPLES: u64 = 10_000;

/// The longest answer, bytes.
const LONGEST: u64 = 256 << 20;

/// An answer of Prometheus.
#[derive(Debug, Serialize, Deserialize)]
struct Matrix {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// Fetches traffic.
pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let System::Prometheus(query) = &args.system;
    let span = query.end.since(query.start);
    let Some(span) = span.filter(|span| !span.is_zero()) else {
        return Err(Failure::Other("--end is after --start".to_owned()));
    };
    let asking = Asking::new(query)?;
    let mut all: BTreeMap<BTreeMap<String, String>, Vec<(f64, String)>> = BTreeMap::new();
    let steps = span.as_nanos() / query.step.as_nanos();
    for first in (0..=steps).step_by(usize::try_from(SAMPLES).expect("a small number")) {
        let last = (first + SAMPLES - 1).min(steps);
        for series in asking.ask(query.step * first, query.step * last)? {
            all.entry(series.metric).or_default().extend(series.values);
        }
    }
    keep(query, all)
}

/// How a Prometheus is asked.
struct Asking<'a> {
    query: &'a Query,
    agent: ureq::Agent,
    /// Sent with each question.
    headers: Vec<(String, String)>,
}

impl<'a> Asking<'a> {
    fn new(query: &'a Query) -> Result<Asking<'a>, Failure> {
        let address = query.url.split_once("://").map_or(query.url.as_str(), |(_, address)| address);
        if address.split('/').next().is_some_and(|host| host.contains('@')) {
            let hint = "everybody on this machine can read it there; see --help for --header-file";
            return Err(Failure::Other(format!(
                "a password does not belong on the command line\n  = hint: {hint}"
            )));
        }
        if query.url.starts_with("https:") && !cfg!(feature = "tls") {
            let hint = "build scaletwin with --features tls, or reach it without TLS, for example through kubectl port-forward";
            return Err(Failure::Other(format!(
                "this build has no TLS, which https needs\n  = hint: {hint}"
            )));
        }
        let headers = headers(query)?;
        let loopback = ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| address.starts_with(host));
        if query.url.starts_with("http:") && !headers.is_empty() && !loopback {
            tell(&format!("warning: {} is asked without TLS: its headers can be read on the way", query.url));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_secs(120)));
        #[cfg(feature = "tls")]
        let config = {
            // The certificates that this machine trusts.
            let roots = ureq::tls::RootCerts::PlatformVerifier;
            config.tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
        };
        Ok(Asking { query, agent: config.build().into(), headers })
    }
}

/// The headers to send: those of the file, and what the environment says.
fn headers(query: &Query) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = Vec::new();
    if let Some(path) = &query.header_file {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Failure::of(format!("cannot read {}", path.display()), &error))?;
        for (line, written) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            // The line itself is not shown: it may be a secret.
            let wrong = || Failure::Other(format!("{}:{}: expected NAME: VALUE", path.display(), line + 1));
            let (name, value) = written.split_once(':').ok_or_else(wrong)?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(wrong());
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    let known = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let authorization = match (set(TOKEN), set(USER)) {
        _ if known => None,
        (Some(token), _) => Some(format!("Bearer {}", token.trim())),
        (None, Some(user)) => {
            let pair = format!("{user}:{}", set(PASSWORD).unwrap_or_default());
            Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        }
        (None, None) => None,
    };
    headers.extend(authorization.map(|value| ("Authorization".to_owned(), value)));
    Ok(headers)
}

/// The variables of the environment that a token, or a user and a password, are read from.
const TOKEN: &str = "SCALETWIN_PROMETHEUS_TOKEN";
const USER: &str = "SCALETWIN_PROMETHEUS_USER";
const PASSWORD: &str = "SCALETWIN_PROMETHEUS_PASSWORD";

impl Asking<'_> {
    /// The series of a part of the range, from and to counted from its start.
    fn ask(&self, from: Span, to: Span) -> Result<Vec<Series>, Failure> {
        let Asking { query, agent, headers } = self;
        let at = |span: Span| {
            let nanos = i128::from(query.start.as_unix_nanos()) + i128::from(span.as_nanos());
            format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
        };
        let url = format!("{}/api/v1/query_range", query.url.trim_end_matches('/'));
        let failed = |error: &dyn std::error::Error| Failure::of(format!("cannot ask {url}"), error);
        let request = agent
            .get(&url)
            .query("query", &query.query)
            .query("start", at(from))
            .query("end", at(to))
            .query("step", query.step.as_secs_f64().to_string());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let mut answer = request.call().map_err(|error| failed(&error))?;
        let status = answer.status();
        let mut text = String::new();
        let reading = answer.body_mut().as_reader().take(LONGEST).read_to_string(&mut text);
        reading.map_err(|error| failed(&error))?;
        let refused = |why: &str| Failure::Other(format!("{url} answered {status}: {why}"));
        let answer: Matrix =
            serde_json::from_str(&text).map_err(|_| refused(&text.chars().take(200).collect::<String>()))?;
        match (answer.data, answer.error) {
            (Some(data), None) if data.result_type == "matrix" => Ok(data.result),
            (_, error) => Err(refused(&error.unwrap_or(answer.status))),
        }
    }
}

/// Writes the series, and reads them back as a trace.
fn keep(
    query: &Query,
    all: BTreeMap<BTreeMap<String, String>, Vec<(f64, String)>>,
) -> Result<Answer, Failure> {
    let samples: usize = all.values().map(Vec::len).sum();
    if samples == 0 {
        let hint = "is the range within what Prometheus keeps, and the metric spelled as it is exported?";
        return Err(Failure::Other(format!("Prometheus has no sample for this query\n  = hint: {hint}")));
    }
    let series = all.len();
    let is_histogram = all.keys().any(|metric| metric.contains_key("le"));
    let result = all.into_iter().map(|(metric, values)| Series { metric, values }).collect();
    let data = Some(Data { result_type: "matrix".to_owned(), result });
    let answer = Matrix { status: "success".to_owned(), error: None, data };
    let text = serde_json::to_string(&answer).expect("answers are plain data");
    output::write(&query.out, &text)?;
    let said = match is_histogram {
        true => "buckets, for prompt_tokens_cdf: or output_tokens_cdf:".to_owned(),
        false => format!("{} requests", requests(query)?),
    };
    if !query.quiet {
        tell(&format!("{}: {series} series, {samples} samples, {said}", query.out.display()));
    }
    Ok(Answer::Done)
}

/// How many requests the rates are.
fn requests(query: &Query) -> Result<u64, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    let reading = Reading::of(TraceFormat::Prometheus);
    let mut reader = TraceReader::open(&query.out, &reading).map_err(|error| failed(&error))?;
    let mut requests = 0;
    while reader.next_row().map_err(|error| failed(&error))?.is_some() {
        requests += 1;
    }
    Ok(requests)
}

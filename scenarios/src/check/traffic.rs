//! Streams of traffic, and the civil instant of t = 0.

use std::path::Path;

use scaletwin_core::input::{At, NonNegative, Problem, Problems};
use scaletwin_core::random::{Distributed, Law};
use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Civil, Span, Time};
use scaletwin_sim::cluster::settings::{ClusterSettings, zones};
use scaletwin_sim::traffic::arrivals::GeneratorSettings;
use scaletwin_sim::traffic::clients::{ClientSettings, ClosedLoopSettings, RetrySettings};
use scaletwin_sim::traffic::sessions::SessionSettings;
use scaletwin_sim::traffic::stream::{SourceSettings, StreamSettings, TraceSettings};
use scaletwin_sim::traffic::trace::{
    Lengths, LogFields, Reading, RowTime, TraceError, TraceReader, bucket_quantiles, cdf,
};
use scaletwin_sim::world::settings::{DeploymentModel, EngineSettings, ServiceModel};

use super::arrivals::process;
use super::{check_names, choose};
use crate::spec::traffic::{
    ArrivalsSpec, ClientSpec, ClientsSpec, EndsBy, LogFieldsSpec, RetryOn, RetrySpec, SessionsSpec,
    TraceSpec, TrafficSpec,
};
use crate::spec::{End, ScenarioSpec};

/// Each client of a closed loop is remembered.
const MOST_CLIENTS: u64 = 1_000_000;

/// A trace whose first request comes so long after its start has other instants than it says: a year.
const LATE: Span = Span::from_secs(366 * 86_400);
/// One whose first request comes so long after its start may be a later part of a longer one.
const DAY: Span = Span::from_secs(86_400);

/// The most tokens that a law gives a prompt or an answer. Servers refuse prompts far below it.
const MOST_TOKENS: u32 = 1 << 30;

pub(super) fn streams(
    spec: &ScenarioSpec,
    folder: &Path,
    clusters: &[ClusterSettings],
    services: &[ServiceModel],
    deployments: &[DeploymentModel],
    problems: &mut Problems,
) -> (Vec<StreamSettings>, Civil) {
    check_names("stream of traffic", spec.traffic.value.iter().map(|stream| &stream.name), problems);
    if spec.traffic.value.is_empty() {
        problems.error(&spec.traffic.place, "a scenario has at least one stream of traffic");
    }
    let (mut streams, mut first) = (Vec::new(), None);
    for written in &spec.traffic.value {
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let Some(service) = choose("service", written.service.as_ref(), &written.place, &names, problems)
        else {
            continue;
        };
        let stream = Stream { written, scenario: spec, folder, service: &services[service] };
        let Some((source, began)) = stream.source(service, deployments, problems) else { continue };
        if let Some(began) = began {
            first = Some(first.map_or(began, |known: Civil| known.min(began)));
        }
        streams.push(StreamSettings {
            name: written.name.value.clone(),
            service,
            source,
            client: client(&written.client, problems),
            priority: written.priority,
            queue_timeout: written.queue_timeout,
            users: stream.users(problems),
            zone: stream.zone(clusters, problems),
            cut: written.ends_by == EndsBy::MaxTokens,
            from: Time::ZERO.saturating_add(written.from),
            until: stream.until(problems),
        });
    }
    let start = spec.start.or(first).unwrap_or(Civil::DEFAULT_START);
    for stream in &mut streams {
        if let SourceSettings::Trace(trace) = &mut stream.source {
            trace.start = start;
        }
    }
    (streams, start)
}

struct Stream<'a> {
    written: &'a At<TrafficSpec>,
    scenario: &'a ScenarioSpec,
    folder: &'a Path,
    service: &'a ServiceModel,
}

impl Stream<'_> {
    /// Where its requests come from, and for a trace with civil instants its first one.
    fn source(
        &self,
        service: usize,
        deployments: &[DeploymentModel],
        problems: &mut Problems,
    ) -> Option<(SourceSettings, Option<Civil>)> {
        let TrafficSpec { trace, arrivals, clients, sessions, .. } = &self.written.value;
        let source = Problem::error(
            &self.written.place,
            "a stream has one of the keys trace, arrivals, clients, sessions",
        );
        match (trace, arrivals, clients, sessions) {
            (Some(trace), None, None, None) => {
                let prefixes = deployments.iter().any(|model| {
                    model.settings.service == service
                        && matches!(&model.engine, EngineSettings::Continuous { config, .. } if config.enable_prefix_caching)
                });
                self.trace(trace, prefixes, problems)
            }
            (None, Some(arrivals), None, None) => {
                let generator = self.generator(arrivals, problems)?;
                Some((SourceSettings::Generator(generator), None))
            }
            (None, None, Some(clients), None) => {
                let (prompt_tokens, output_tokens) = self.tokens(problems)?;
                self.check_ends(problems);
                let count = u64::from(clients.count.0);
                super::check_count(&clients.place, count, MOST_CLIENTS, "clients", problems);
                let closed = self.closed(clients, prompt_tokens, output_tokens);
                Some((SourceSettings::ClosedLoop(closed), None))
            }
            (None, None, None, Some(sessions)) => {
                Some((SourceSettings::Sessions(self.sessions(sessions, problems)?), None))
            }
            (None, None, None, None) => {
                problems.push(source.hint("for instance arrivals: {poisson: {rate: 8/s}}"));
                None
            }
            _ => {
                problems.push(source.hint("make each a stream of its own"));
                None
            }
        }
    }

    fn generator(&self, arrivals: &At<ArrivalsSpec>, problems: &mut Problems) -> Option<GeneratorSettings> {
        let process = process(arrivals, problems);
        let (prompt_tokens, output_tokens) = self.tokens(problems)?;
        self.check_ends(problems);
        Some(GeneratorSettings {
            process: process?,
            prompt_tokens,
            output_tokens,
            most_tokens: (MOST_TOKENS, MOST_TOKENS),
            requests: self.written.requests.as_ref().map(|requests| requests.value),
        })
    }

    fn sessions(&self, spec: &At<SessionsSpec>, problems: &mut Problems) -> Option<SessionSettings> {
        if !self.service.has_tokens {
            let message = format!("sessions need tokens: no engine of service {} has any", self.service.name);
            problems.push(Problem::error(&spec.place, message).hint("use clients: for a closed loop"));
            return None;
        }
        if spec.system_tokens > MOST_TOKENS {
            problems.error(&spec.place, format!("system_tokens is at most {MOST_TOKENS}"));
        }
        let longest = spec.max_prompt_tokens.as_ref();
        if let Some(longest) = longest.filter(|longest| longest.value.0 <= spec.system_tokens) {
            problems.error(&longest.place, "system_tokens alone are no shorter than max_prompt_tokens");
        }
        Some(SessionSettings {
            starts: self.generator(&spec.arrivals, problems)?,
            turns: spec.turns.law.clone(),
            think: spec.think_time.law.clone(),
            system_tokens: spec.system_tokens,
            longest_prompt: longest.map_or(MOST_TOKENS, |most| most.value.0.min(MOST_TOKENS)),
        })
    }

    /// The sessions that its requests belong to.
    fn users(&self, problems: &mut Problems) -> Option<u32> {
        let users = self.written.users.as_ref()?;
        if self.written.clients.is_some() {
            problems.error(&users.place, "each client is a session already");
        }
        Some(users.value.0)
    }

    /// The place of the zone in which its requests enter.
    fn zone(&self, clusters: &[ClusterSettings], problems: &mut Problems) -> Option<u16> {
        let prefers = self.service.routing.prefers_zone;
        let billed = self.service.cross_zone.is_some();
        let Some(zone) = &self.written.zone else {
            if prefers {
                let problem =
                    Problem::error(&self.written.place, "its service prefers zones, and it has none");
                problems.push(problem.hint("add zone:, or remove prefer_zone from the service"));
            } else if billed {
                let problem = Problem::error(
                    &self.written.place,
                    "its service bills traffic between zones, and it has none",
                );
                problems.push(problem.hint("add zone:, or remove cross_zone from the service"));
            }
            return None;
        };
        if !prefers && !billed {
            let problem = Problem::error(&zone.place, "nothing goes by this zone");
            problems.push(problem.hint("add prefer_zone: true or cross_zone: to the service"));
        }
        let names = zones(clusters);
        let place = names.iter().position(|name| *name == zone.value);
        if place.is_none() {
            problems.push(super::unknown(&zone.place, "zone", &zone.value, &names));
        }
        place.and_then(|place| u16::try_from(place).ok())
    }

    /// When nothing arrives any more.
    fn until(&self, problems: &mut Problems) -> Time {
        let own = self.written.until.as_ref();
        if let Some(until) = own.filter(|until| until.value <= self.written.from) {
            problems.error(&until.place, "the stream ends before it begins");
        }
        let ends = [own, self.scenario.duration.as_ref()].into_iter().flatten();
        ends.map(|span| Time::ZERO.saturating_add(span.value)).min().unwrap_or(Time::NEVER)
    }

    fn closed(&self, clients: &ClientsSpec, prompt_tokens: Law, output_tokens: Law) -> ClosedLoopSettings {
        let none = Law::Constant { value: 0.0 };
        ClosedLoopSettings {
            clients: clients.count.0,
            think: clients.think_time.as_ref().map_or(none, |written| written.law.clone()),
            prompt_tokens,
            output_tokens,
            most_tokens: (MOST_TOKENS, MOST_TOKENS),
            requests: self.written.requests.as_ref().map(|requests| requests.value),
        }
    }

    /// Tokens of prompts and answers of requests that no trace gives.
    fn tokens(&self, problems: &mut Problems) -> Option<(Law, Law)> {
        let TrafficSpec { prompt_tokens, output_tokens, .. } = &self.written.value;
        if !self.service.has_tokens {
            for written in [prompt_tokens, output_tokens].into_iter().flatten() {
                self.without_effect(written, problems);
            }
            let one = Law::Constant { value: 1.0 };
            return Some((one.clone(), one));
        }
        let mut law = |written: &Option<Distributed<NonNegative>>, key: &str| match written {
            Some(written) => Some(written.law.clone()),
            None => {
                let problem = Problem::error(&self.written.place, format!("the key {key:?} is missing"));
                problems
                    .push(problem.hint(format!("for example {key}: {{lognormal: {{mean: 500, cv: 1}}}}")));
                None
            }
        };
        let (prompt, output) = (law(prompt_tokens, "prompt_tokens"), law(output_tokens, "output_tokens"));
        Some((prompt?, output?))
    }

    fn without_effect(&self, written: &Distributed<NonNegative>, problems: &mut Problems) {
        let message = format!("tokens have no effect: no engine of service {} has any", self.service.name);
        problems.push(Problem::error(&written.place, message).hint("remove this key"));
    }

    /// Requests that a generator makes come to an end.
    fn check_ends(&self, problems: &mut Problems) {
        let TrafficSpec { requests, until, .. } = &self.written.value;
        let endless = requests.is_none() && until.is_none() && self.scenario.duration.is_none();
        if endless && self.scenario.end == End::Drain {
            let problem = Problem::error(&self.written.place, "this stream never ends");
            problems
                .push(problem.hint("add requests: or until: to the stream, or duration: to the scenario"));
        }
    }

    fn trace(
        &self,
        spec: &At<TraceSpec>,
        prefixes: bool,
        problems: &mut Problems,
    ) -> Option<(SourceSettings, Option<Civil>)> {
        let lengths = self.trace_lengths(spec, problems);
        let reading = reading(spec, prefixes, problems)?;
        let slice = spec.slice.as_ref().map_or((Span::ZERO, Span::MAX), |slice| {
            let (from, to) = (slice.from, slice.to.unwrap_or(Span::MAX));
            if from >= to {
                problems.error(&slice.place, "the slice ends before it begins");
            }
            (from, to)
        });
        let path = self.folder.join(&spec.path.value);
        let first = TraceReader::open(&path, &Reading { prefixes: false, scale: 1.0, ..reading.clone() });
        let first = match first.and_then(|mut reader| reader.begins()) {
            Ok(at) => at?,
            Err(error) => {
                refuse(&error, &spec.path, problems);
                return None;
            }
        };
        let began = match first {
            RowTime::Civil(at) => Some(at),
            RowTime::Offset(at) => {
                check_offset(at, slice.0, spec, problems);
                None
            }
        };
        let settings = TraceSettings {
            path,
            reading,
            start: Civil::DEFAULT_START,
            slice,
            speed: spec.speed.0,
            copies: if spec.format.is_drawn() { 1.0 } else { spec.rate_scale.0 },
            requests: self.written.requests.as_ref().map(|requests| requests.value),
            lengths: lengths?,
            most_tokens: (MOST_TOKENS, MOST_TOKENS),
        };
        Some((SourceSettings::Trace(settings), began))
    }

    /// The tokens of requests whose trace has none.
    fn trace_lengths(&self, spec: &TraceSpec, problems: &mut Problems) -> Option<Option<(Law, Law)>> {
        let TrafficSpec { prompt_tokens, output_tokens, .. } = &self.written.value;
        let written = [prompt_tokens, output_tokens].into_iter().flatten();
        let files = [&spec.prompt_tokens_cdf, &spec.output_tokens_cdf].into_iter().flatten();
        let places: Vec<_> = written.map(|w| &w.place).chain(files.map(|file| &file.place)).collect();
        if spec.format.lengths() == Lengths::Given {
            for place in places {
                let problem = Problem::error(place, "the trace says how many tokens a request has");
                problems.push(problem.hint("remove this key"));
            }
            return Some(None);
        }
        let prompt = self.law(prompt_tokens, spec.prompt_tokens_cdf.as_ref(), problems)?;
        let output = self.law(output_tokens, spec.output_tokens_cdf.as_ref(), problems)?;
        match (prompt, output) {
            (Some(prompt), Some(output)) => Some(Some((prompt, output))),
            (None, None) if spec.format.lengths() == Lengths::Possible || !self.service.has_tokens => {
                Some(None)
            }
            _ => {
                let message = format!("a {} trace has no lengths", spec.format.name());
                let problem = Problem::error(&self.written.place, message);
                problems.push(problem.hint("add prompt_tokens: and output_tokens: to the stream"));
                None
            }
        }
    }

    /// A law that is written, or stands in a file.
    fn law(
        &self,
        written: &Option<Distributed<NonNegative>>,
        file: Option<&At<String>>,
        problems: &mut Problems,
    ) -> Option<Option<Law>> {
        let Some(name) = file else { return Some(written.as_ref().map(|written| written.law.clone())) };
        if written.is_some() {
            problems.error(&name.place, "the tokens are written, and in a file");
        }
        let path = self.folder.join(&name.value);
        let is_json = name.value.ends_with(".json") || name.value.ends_with(".json.gz");
        let law = if is_json { bucket_quantiles(&path) } else { cdf(&path) };
        law.map(Some).map_err(|error| refuse(&error, name, problems)).ok()
    }
}

/// Refuses instants since 1970 where offsets are expected: the run would wait for decades.
fn check_offset(first: Span, from: Span, spec: &At<TraceSpec>, problems: &mut Problems) {
    let late = first.saturating_sub(from);
    let seconds = libm::floor(first.as_secs_f64());
    let hint = format!("begin there with slice: {{from: {seconds:.0}s}}, or write offsets into the file");
    let days = late.as_secs_f64() / 86_400.0;
    let problem = match late {
        late if late >= LATE => {
            let message =
                format!("its first request is {days:.0} days after t = 0: are its times counted from 1970?");
            Problem::error(&spec.path.place, message)
        }
        late if late >= DAY => {
            let message =
                format!("its first request is {days:.1} days after t = 0: until then nothing happens");
            Problem::warning(&spec.path.place, message)
        }
        _ => return,
    };
    problems.push(problem.hint(hint));
}

/// Why a file cannot be used: at the place of its name, or where it is wrong.
fn refuse(error: &TraceError, name: &At<String>, problems: &mut Problems) {
    if error.place.is_some() {
        problems.push(Problem::without_place(error.to_string()));
        return;
    }
    let problem = Problem::error(&name.place, error.headline());
    problems.push(match &error.hint {
        Some(hint) => problem.hint(hint.clone()),
        None if !error.path.exists() => problem.hint("paths are relative to the scenario's folder"),
        None => problem,
    });
}

/// How a trace is read.
fn reading(spec: &At<TraceSpec>, prefixes: bool, problems: &mut Problems) -> Option<Reading> {
    let format = spec.format;
    if let Some(fields) = spec.fields.as_ref().filter(|_| !format.has_fields()) {
        problems.error(&fields.place, format!("fields has no effect: a {} trace has its own", format.name()));
        return None;
    }
    if !spec.only.is_empty() && !format.has_only() {
        problems.error(&spec.place, format!("only has no effect on the format {}", format.name()));
        return None;
    }
    Some(Reading {
        prefixes,
        skip_bad: spec.skip_bad,
        only: spec.only.iter().map(|(name, text)| (name.clone(), text.clone())).collect(),
        fields: spec.fields.as_ref().map(|fields| log_fields(fields)).unwrap_or_default(),
        scale: if format.is_drawn() { spec.rate_scale.0 } else { 1.0 },
        ..Reading::of(format)
    })
}

fn log_fields(spec: &LogFieldsSpec) -> LogFields {
    LogFields {
        time: spec.time.clone(),
        end: spec.end.clone(),
        duration: spec.duration.clone(),
        prompt_tokens: spec.prompt_tokens.clone(),
        output_tokens: spec.output_tokens.clone(),
        time_unit: spec.time_unit,
        duration_unit: spec.duration_unit,
    }
}

fn client(spec: &ClientSpec, problems: &mut Problems) -> ClientSettings {
    let law = |written: &Option<Distributed<Span>>| written.as_ref().map(|written| written.law.clone());
    ClientSettings {
        timeout: law(&spec.timeout),
        patience: law(&spec.patience),
        deadline: spec.deadline,
        retries: spec.retries.as_ref().map(|spec| retries(spec, problems)),
    }
}

fn retries(spec: &RetrySpec, problems: &mut Problems) -> RetrySettings {
    if spec.factor.0 < 1.0 {
        problems.error(&spec.max.place, "a back-off does not shrink: factor is at least 1");
    }
    if let Some(on) = spec.on.as_ref().filter(|on| on.value.is_empty()) {
        problems.error(&on.place, "nothing is tried again after no outcome: leave retries out");
    }
    match (spec.budget, &spec.burst) {
        (Some(_), Some(burst)) if burst.value.0 < 1.0 => {
            problems.error(&burst.place, "burst is at least 1: a retry takes 1 of what is saved up");
        }
        (None, Some(burst)) => {
            let problem = Problem::error(&burst.place, "burst has no effect without a budget");
            problems.push(problem.hint("add budget:, or remove this key"));
        }
        _ => {}
    }
    let usual = [RetryOn::Rejected, RetryOn::TimedOut, RetryOn::Failed];
    let on: Vec<Outcome> =
        spec.on.as_ref().map_or(&usual[..], |on| &on.value).iter().map(|on| on.outcome()).collect();
    RetrySettings {
        most: spec.max.value,
        initial: spec.initial,
        factor: spec.factor.0,
        longest: spec.longest,
        jitter: spec.jitter.get(),
        budget: spec.budget.map(|share| share.get()),
        burst: spec.burst.as_ref().map_or(RetrySpec::BURST, |burst| burst.value.0),
        on,
    }
}

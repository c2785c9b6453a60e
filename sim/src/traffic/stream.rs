//! Streams of traffic, and all of them merged by time.

use std::path::PathBuf;

use scaletwin_core::random::{Component, Law, Seed};
use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Civil, Span, Time};
use serde::{Deserialize, Serialize};

use super::arrivals::{GeneratorSettings, GeneratorState, stochastic_round, tokens};
use super::clients::{ClientSettings, ClosedLoopSettings, ClosedLoopState, RetryState, client_of};
use super::request::Request;
use super::sessions::{SessionSettings, SessionState, Turn};
use super::trace::{LeftOut, Reading, Row, RowTime, TraceError, TraceReader};

/// A stream of traffic for one service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamSettings {
    /// Its name.
    pub name: String,
    /// The place of the service.
    pub service: usize,
    /// Where its requests come from.
    pub source: SourceSettings,
    /// What its clients do.
    pub client: ClientSettings,
    /// The priority of requests whose trace has none; lower is more urgent.
    pub priority: i32,
    /// How long a request may wait before its service begins.
    pub queue_timeout: Option<Span>,
    /// The users that requests come from, each as likely; `None`: a client of a closed loop is a session, any other
    /// request one of its own.
    pub users: Option<u32>,
    /// The place of the zone in which requests enter.
    pub zone: Option<u16>,
    /// Whether answers are cut by the request's own bound, rather than ended by the model.
    pub cut: bool,
    /// Where its own time begins: nothing arrives before.
    pub from: Time,
    /// Nothing arrives at this instant or later.
    pub until: Time,
}

/// Where requests come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceSettings {
    /// A trace file.
    Trace(TraceSettings),
    /// An arrival process.
    Generator(GeneratorSettings),
    /// Clients that wait for answers.
    ClosedLoop(ClosedLoopSettings),
    /// Sessions of several turns.
    Sessions(SessionSettings),
}

/// A trace file and what is made of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceSettings {
    /// The file. Where it lies changes nothing.
    #[serde(skip)]
    pub path: PathBuf,
    /// How it is read. Its luck is that of the stream.
    pub reading: Reading,
    /// The civil instant of t = 0, for traces with civil instants.
    pub start: Civil,
    /// The part that is replayed, from the start of the trace; what comes before `from` is left out, and `from` is t = 0.
    pub slice: (Span, Span),
    /// By what time runs faster: 2 halves all gaps.
    pub speed: f64,
    /// Copies of each row on average: 0.5 leaves out half of them, 2 doubles them.
    pub copies: f64,
    /// The most requests.
    pub requests: Option<u64>,
    /// Tokens of prompts and answers, for rows that have none; without, they have 1.
    pub lengths: Option<(Law, Law)>,
    /// The most tokens of a prompt and an answer of such rows.
    pub most_tokens: (u32, u32),
}

/// A stream on its way.
#[derive(Debug)]
pub struct Stream {
    settings: StreamSettings,
    place: u16,
    state: StreamState,
    reader: Option<TraceReader>,
}

/// Where a stream is: plain data, from which it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamState {
    source: SourceState,
    retry: Option<RetryState>,
    timeout: Component,
    patience: Component,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum SourceState {
    Trace(TraceState),
    Generator(GeneratorState),
    ClosedLoop(ClosedLoopState),
    Sessions(SessionState),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TraceState {
    /// Rows read from the file.
    rows: u64,
    /// Requests given out.
    given: u64,
    /// The next request, and how many more copies of it follow.
    next: Option<(Request, u64)>,
    copies: Component,
    /// The luck of arrivals that the trace only has numbers of.
    rows_drawn: Component,
    prompt: Component,
    output: Component,
}

impl Stream {
    /// The stream at place `place`, at its start.
    ///
    /// # Errors
    /// When its trace cannot be read.
    pub fn new(settings: StreamSettings, place: u16, seed: Seed) -> Result<Stream, TraceError> {
        let name = settings.name.clone();
        let source = match &settings.source {
            SourceSettings::Trace(_) => SourceState::Trace(TraceState {
                rows: 0,
                given: 0,
                next: None,
                copies: seed.component(&format!("copies/{name}")),
                rows_drawn: seed.component(&format!("trace/{name}")),
                prompt: seed.component(&format!("prompt-tokens/{name}")),
                output: seed.component(&format!("output-tokens/{name}")),
            }),
            SourceSettings::Generator(generator) => {
                SourceState::Generator(GeneratorState::new(generator, seed, &name, settings.from))
            }
            SourceSettings::ClosedLoop(closed) => {
                SourceState::ClosedLoop(ClosedLoopState::new(closed, seed, &name))
            }
            SourceSettings::Sessions(sessions) => {
                SourceState::Sessions(SessionState::new(sessions, seed, &name, settings.from))
            }
        };
        let state = StreamState {
            source,
            retry: settings.client.retries.as_ref().map(|retries| RetryState::new(retries, seed, &name)),
            timeout: seed.component(&format!("timeout/{name}")),
            patience: seed.component(&format!("patience/{name}")),
        };
        let mut stream = Stream { settings, place, state, reader: None };
        stream.open()?;
        if stream.reader.is_some() {
            stream.read_ahead()?;
        }
        Ok(stream)
    }

    /// The stream at place `place`, going on from `state`.
    ///
    /// # Errors
    /// When its trace cannot be read up to where it was.
    pub fn resume(settings: StreamSettings, place: u16, state: StreamState) -> Result<Stream, TraceError> {
        let mut stream = Stream { settings, place, state, reader: None };
        stream.open()?;
        if let (Some(reader), SourceState::Trace(state)) = (&mut stream.reader, &stream.state.source) {
            for _ in 0..state.rows {
                reader.next_row()?;
            }
        }
        Ok(stream)
    }

    fn open(&mut self) -> Result<(), TraceError> {
        if let (SourceSettings::Trace(trace), SourceState::Trace(state)) =
            (&self.settings.source, &self.state.source)
        {
            let reading = Reading { luck: state.rows_drawn, ..trace.reading.clone() };
            self.reader = Some(TraceReader::open(&trace.path, &reading)?);
        }
        Ok(())
    }

    /// What it is.
    #[must_use]
    pub fn settings(&self) -> &StreamSettings {
        &self.settings
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> &StreamState {
        &self.state
    }

    /// What of its trace has been left out so far.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        self.reader.as_ref().map(TraceReader::left_out).unwrap_or_default()
    }

    /// When its next request arrives, of an open source.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let at = match &self.state.source {
            SourceState::Trace(state) => state.next.as_ref().map(|(request, _)| request.at),
            SourceState::Generator(state) => state.next_at(),
            SourceState::Sessions(state) => state.next_at(),
            SourceState::ClosedLoop(_) => None,
        };
        at.filter(|at| *at < self.settings.until)
    }

    /// Whether none of its requests is to come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.state.source {
            SourceState::ClosedLoop(_) => self.settings.from >= self.settings.until,
            _ => self.next_at().is_none(),
        }
    }

    /// Takes its next request.
    ///
    /// # Errors
    /// When its trace cannot be read further.
    #[inline]
    pub fn take(&mut self) -> Result<Option<Request>, TraceError> {
        let request = match (&mut self.state.source, &self.settings.source) {
            (SourceState::Generator(state), SourceSettings::Generator(settings)) => state
                .take(settings)
                .map(|(number, at, prompt, output)| self.request(at, number, prompt, output)),
            (SourceState::Sessions(state), SourceSettings::Sessions(settings)) => {
                state.begin(settings).map(|(at, turn)| self.turn(at, turn))
            }
            (SourceState::Trace(state), _) => match &mut state.next {
                Some((request, copies)) if *copies > 0 => {
                    *copies -= 1;
                    let copy = Request { number: request.number, ..request.clone() };
                    request.number += 1;
                    Some(copy)
                }
                _ => {
                    let request = state.next.take().map(|(request, _)| request);
                    self.read_ahead()?;
                    request
                }
            },
            _ => None,
        };
        if request.is_some() {
            self.earn();
        }
        Ok(request)
    }

    fn request(&self, at: Time, number: u64, prompt_tokens: u32, output_tokens: u32) -> Request {
        Request {
            at,
            stream: self.place,
            number,
            attempt: 0,
            prompt_tokens,
            output_tokens,
            cut: self.settings.cut,
            priority: self.settings.priority,
            service: None,
            prefix: None,
            answer: None,
        }
    }

    /// A turn of a session at `at`.
    fn turn(&self, at: Time, turn: Turn) -> Request {
        Request {
            prefix: Some(turn.prompt),
            answer: Some(turn.answer),
            ..self.request(at, turn.number, turn.prompt_tokens, turn.output_tokens)
        }
    }

    /// Reads rows until one is to be replayed.
    fn read_ahead(&mut self) -> Result<(), TraceError> {
        let SourceSettings::Trace(settings) = &self.settings.source else { return Ok(()) };
        loop {
            let SourceState::Trace(state) = &mut self.state.source else { return Ok(()) };
            if settings.requests.is_some_and(|most| state.given >= most) {
                return Ok(());
            }
            let Some(row) = self.reader.as_mut().map(TraceReader::next_row).transpose()?.flatten() else {
                return Ok(());
            };
            let index = state.rows;
            state.rows += 1;
            let offset = match row.at {
                RowTime::Offset(offset) => offset,
                RowTime::Civil(at) => match at.since(settings.start) {
                    Some(offset) => offset,
                    None => return Err(self.too_early(&row)),
                },
            };
            if offset >= settings.slice.1 {
                return Ok(());
            }
            if offset < settings.slice.0 {
                continue;
            }
            let copies = stochastic_round(settings.copies, state.copies, index);
            let copies = copies.min(settings.requests.map_or(u64::MAX, |most| most - state.given));
            if copies == 0 {
                continue;
            }
            let number = state.given;
            state.given += copies;
            let (prompt, output) = lengths(settings, state, number, &row);
            let at = self.settings.from.saturating_add(scaled(offset - settings.slice.0, settings.speed));
            let request = Request {
                priority: row.priority.unwrap_or(self.settings.priority),
                service: row.service,
                prefix: row.prefix,
                ..self.request(at, number, prompt, output)
            };
            if let SourceState::Trace(state) = &mut self.state.source {
                state.next = Some((request, copies - 1));
            }
            return Ok(());
        }
    }

    fn too_early(&self, row: &Row) -> TraceError {
        let path = self.reader.as_ref().map(|reader| reader.path().to_owned()).unwrap_or_default();
        TraceError {
            path,
            place: Some((row.line, 1)),
            message: "this request arrives before the start of the scenario".to_owned(),
            excerpt: String::new(),
            hint: Some(
                "set an earlier start, or leave it out: then it is the first instant of the trace".to_owned(),
            ),
        }
    }

    /// The clients of a closed loop with the instants of their first requests.
    pub fn first_of_clients(&mut self) -> Vec<(Time, u32)> {
        let (SourceState::ClosedLoop(state), SourceSettings::ClosedLoop(settings)) =
            (&mut self.state.source, &self.settings.source)
        else {
            return Vec::new();
        };
        let (from, until) = (self.settings.from, self.settings.until);
        let first = |client| state.next(settings, client, from).map(|at| (at, client));
        (0..settings.clients).filter_map(first).filter(|(at, _)| *at < until).collect()
    }

    /// The request that client `client` of a closed loop, or a session of this number, sends at `now`.
    pub fn send(&mut self, client: u32, now: Time) -> Option<Request> {
        if let (SourceState::Sessions(state), SourceSettings::Sessions(settings)) =
            (&mut self.state.source, &self.settings.source)
        {
            let turn = state.send(settings, client)?;
            self.earn();
            return Some(self.turn(now, turn));
        }
        let (SourceState::ClosedLoop(state), SourceSettings::ClosedLoop(settings)) =
            (&mut self.state.source, &self.settings.source)
        else {
            return None;
        };
        let (number, prompt, output) = state.send(settings, client);
        self.earn();
        Some(self.request(now, number, prompt, output))
    }

    /// Notes a first attempt.
    fn earn(&mut self) {
        if let (Some(state), Some(retries)) = (&mut self.state.retry, &self.settings.client.retries) {
            state.earn(retries);
        }
    }

    /// What follows from the end of an attempt: it is tried again, or the client of a closed loop is free.
    #[inline]
    pub fn on_outcome(&mut self, number: u64, attempt: u16, outcome: Outcome, now: Time) -> Next {
        let open = matches!(self.state.source, SourceState::Trace(_) | SourceState::Generator(_));
        if open && self.state.retry.is_none() {
            return Next::Nothing;
        }
        self.react(number, attempt, outcome, now)
    }

    fn react(&mut self, number: u64, attempt: u16, outcome: Outcome, now: Time) -> Next {
        if let (Some(state), Some(retries)) = (&mut self.state.retry, &self.settings.client.retries)
            && let Some(delay) = state.retry(retries, number, attempt, outcome)
        {
            return Next::Retry(now.saturating_add(delay));
        }
        if let (SourceState::ClosedLoop(state), SourceSettings::ClosedLoop(settings)) =
            (&mut self.state.source, &self.settings.source)
        {
            let client = client_of(number);
            let next = state.next(settings, client, now).filter(|at| *at < self.settings.until);
            return next.map_or(Next::Nothing, |at| Next::Client(at, client));
        }
        if let (SourceState::Sessions(state), SourceSettings::Sessions(settings)) =
            (&mut self.state.source, &self.settings.source)
        {
            let next = state.on_outcome(settings, number, outcome, now);
            let next = next.filter(|(at, _)| *at < self.settings.until);
            return next.map_or(Next::Nothing, |(at, session)| Next::Client(at, session));
        }
        Next::Nothing
    }

    /// When the client gives a request up, and whether as timed out or aborted.
    #[must_use]
    #[inline]
    pub fn gives_up(&self, request: &Request) -> Option<(Time, Outcome)> {
        let client = &self.settings.client;
        if client.timeout.is_none() && client.patience.is_none() && client.deadline.is_none() {
            return None;
        }
        self.loses_patience(request)
    }

    fn loses_patience(&self, request: &Request) -> Option<(Time, Outcome)> {
        let client = &self.settings.client;
        let draw = |law: &Law, luck: Component| {
            let mut draws = luck.entity(request.number);
            let mut secs = law.draw(&mut draws);
            for _ in 0..request.attempt {
                secs = law.draw(&mut draws);
            }
            Span::from_secs_f64(secs).ok().map(|span| request.at.saturating_add(span))
        };
        let timeout = client.timeout.as_ref().and_then(|law| draw(law, self.state.timeout));
        let patience = client.patience.as_ref().and_then(|law| draw(law, self.state.patience));
        let deadline = client.deadline.map(|span| request.at.saturating_add(span));
        let timed_out = [timeout, deadline].into_iter().flatten().min().map(|at| (at, Outcome::TimedOut));
        let aborted = patience.map(|at| (at, Outcome::Aborted));
        [timed_out, aborted].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// What follows from the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// The same request again, then.
    Retry(Time),
    /// The next request of a client, then.
    Client(Time, u32),
}

/// Tokens of prompt and answer: those of the row, or drawn ones.
fn lengths(settings: &TraceSettings, state: &TraceState, number: u64, row: &Row) -> (u32, u32) {
    let (prompt, output) = match &settings.lengths {
        Some((prompt, output)) => (Some(prompt), Some(output)),
        None => (None, None),
    };
    let one = |known: Option<u32>, law: Option<&Law>, luck: Component, most: u32| {
        known.unwrap_or_else(|| law.map_or(1, |law| tokens(law, luck, number, most)))
    };
    (
        one(row.prompt_tokens, prompt, state.prompt, settings.most_tokens.0),
        one(row.output_tokens, output, state.output, settings.most_tokens.1),
    )
}

/// A span at another speed.
fn scaled(span: Span, speed: f64) -> Span {
    let as_is = speed.total_cmp(&1.0).is_eq();
    if as_is {
        span
    } else {
        Span::from_secs_f64(span.as_secs_f64() / speed).map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
    }
}

/// All streams merged by time; of one instant, in the order of the streams.
#[derive(Debug)]
pub struct Traffic {
    streams: Vec<Stream>,
    /// The stream whose request is next, with its instant.
    next: Option<(Time, usize)>,
}

impl Traffic {
    /// These streams merged.
    #[must_use]
    pub fn new(streams: Vec<Stream>) -> Traffic {
        let mut traffic = Traffic { streams, next: None };
        traffic.find_next();
        traffic
    }

    fn find_next(&mut self) {
        if let [stream] = self.streams.as_slice() {
            self.next = stream.next_at().map(|at| (at, 0));
            return;
        }
        self.next = None;
        for (place, stream) in self.streams.iter().enumerate() {
            if let Some(at) = stream.next_at()
                && self.next.is_none_or(|(first, _)| at < first)
            {
                self.next = Some((at, place));
            }
        }
    }

    /// When the next request of an open source arrives.
    #[must_use]
    #[inline]
    pub fn next_at(&self) -> Option<Time> {
        self.next.map(|(at, _)| at)
    }

    /// Takes that request.
    ///
    /// # Errors
    /// When a trace cannot be read further.
    #[inline]
    pub fn take(&mut self) -> Result<Option<Request>, TraceError> {
        let Some((_, place)) = self.next else { return Ok(None) };
        let request = self.streams[place].take();
        self.find_next();
        request
    }

    /// The streams.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// A stream, to change.
    pub fn stream_mut(&mut self, place: u16) -> &mut Stream {
        &mut self.streams[usize::from(place)]
    }
}

#[cfg(test)]
mod tests;

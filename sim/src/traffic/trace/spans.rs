//! OpenTelemetry spans of model calls (`gen_ai.*`), as OTLP writes them in JSON: one document, or one a line as the file
//! exporter of the collector writes them.

use std::collections::VecDeque;
use std::io::Read;

use scaletwin_core::units::Civil;
use serde::Deserialize;
use serde_json::Value;

use super::documents::document;
use super::lines::Lines;
use super::rows::{Fault, Found, Rows};
use super::{Input, Row, RowTime};

/// Spans of an export.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    #[serde(default)]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[serde(default)]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    #[serde(default)]
    spans: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    start_time_unix_nano: Option<Value>,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: Value,
}

/// Model calls among spans.
pub(super) struct Spans {
    lines: Lines<Input>,
    /// The first line, which has been looked at.
    first: bool,
    waiting: VecDeque<Span>,
    taken: u64,
    whole: bool,
}

impl Spans {
    pub(super) fn new(input: Input) -> Result<Spans, Fault> {
        let mut spans = Spans {
            lines: Lines::new(input),
            first: false,
            waiting: VecDeque::new(),
            taken: 0,
            whole: false,
        };
        if !spans.lines.next()? {
            return Ok(spans);
        }
        // A document over several lines is no JSON at the end of its first.
        let complete = serde_json::from_slice::<serde::de::IgnoredAny>(spans.lines.line());
        if complete.is_err_and(|error| error.is_eof()) {
            let begun = [spans.lines.line(), b"\n"].concat();
            let export: Export = document(begun.chain(spans.lines.rest()))?;
            spans.put(export);
            spans.whole = true;
        } else {
            spans.first = true;
        }
        Ok(spans)
    }

    fn put(&mut self, export: Export) {
        let scopes = export.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.waiting.extend(scopes.flat_map(|scope| scope.spans));
    }

    /// Reads the next line. Whether there is one.
    fn line(&mut self) -> Result<bool, Fault> {
        if self.whole || !(std::mem::take(&mut self.first) || self.lines.next()?) {
            return Ok(false);
        }
        let export = super::json_lines::json(self.lines.line());
        let export = export.map_err(|wrong| wrong.in_line(self.lines.number(), self.lines.line()))?;
        self.put(export);
        Ok(true)
    }
}

impl Rows for Spans {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        loop {
            if let Some(span) = self.waiting.pop_front() {
                self.taken += 1;
                let taken = self.taken;
                let refuse = |message| Fault::file(format!("span {taken}: {message}")).one_only();
                return found(&span, taken).map(Some).map_err(refuse);
            }
            if !self.line()? {
                return Ok(None);
            }
        }
    }
}

/// The operations of the conventions that are answers of a model, token by token. Those of agents and workflows repeat the
/// tokens of the calls inside them; embeddings have no answer.
const ANSWERS: [&str; 3] = ["chat", "text_completion", "generate_content"];

/// The request that a span is about.
fn found(span: &Span, number: u64) -> Result<Found, String> {
    let operation = span.attributes.iter().find(|attribute| attribute.key == "gen_ai.operation.name");
    let operation = operation.and_then(|attribute| attribute.value.get("stringValue")?.as_str());
    if operation.is_some_and(|name| !ANSWERS.contains(&name)) {
        return Ok(Found::Foreign);
    }
    let tokens = |key: &str| {
        let written = span.attributes.iter().find(|attribute| attribute.key == key);
        written
            .map(|attribute| whole(&attribute.value).ok_or(format!("{key} is no number of tokens")))
            .transpose()
    };
    // The names of the conventions before version 1.27.
    let prompt = tokens("gen_ai.usage.input_tokens")?.or(tokens("gen_ai.usage.prompt_tokens")?);
    let answer = tokens("gen_ai.usage.output_tokens")?.or(tokens("gen_ai.usage.completion_tokens")?);
    let (prompt, answer) = match (prompt, answer) {
        (None, None) => return Ok(Found::Foreign),
        (Some(_), None | Some(0)) => return Ok(Found::Failed),
        (None | Some(0), Some(_)) => return Err("a request has at least 1 token of its prompt".to_owned()),
        (Some(prompt), Some(answer)) => (prompt, answer),
    };
    let start = span.start_time_unix_nano.as_ref().and_then(integer);
    let start = start.and_then(|nanos| i64::try_from(nanos).ok()).filter(|nanos| *nanos > 0);
    let start = start.ok_or("startTimeUnixNano is missing or no number")?;
    let fits = |tokens: u64| u32::try_from(tokens).map_err(|_| format!("{tokens} tokens are too many"));
    Ok(Found::Row(Row {
        prompt_tokens: Some(fits(prompt)?),
        output_tokens: Some(fits(answer)?),
        line: number,
        ..Row::bare(RowTime::Civil(Civil::from_unix_nanos(start)))
    }))
}

/// The value of an attribute. 64-bit integers are texts in OTLP's JSON.
fn whole(value: &Value) -> Option<u64> {
    let value = value.get("intValue").or_else(|| value.get("doubleValue"))?;
    integer(value).or_else(|| {
        let float =
            value.as_f64().filter(|float| (0.0..4e9).contains(float) && float.fract().abs() <= 0.0)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
        Some(float as u64)
    })
}

fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

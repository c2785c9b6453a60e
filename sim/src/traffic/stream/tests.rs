//! Streams of traces: slices, speed, copies, and going on.

use std::io::Write;

use super::super::trace::TraceFormat;
use super::*;

/// A trace of our own format with `count` requests, one every 10 s.
fn trace(count: u32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let lines: String = (0..count).map(|at| format!("{},{}\n", at * 10, at + 1)).collect();
    write!(file, "arrival_seconds,prompt_tokens\n{lines}").unwrap();
    file
}

fn settings(file: &tempfile::NamedTempFile) -> TraceSettings {
    TraceSettings {
        path: file.path().into(),
        reading: Reading::of(TraceFormat::Csv),
        start: Civil::DEFAULT_START,
        slice: (Span::ZERO, Span::MAX),
        speed: 1.0,
        copies: 1.0,
        requests: None,
        lengths: None,
        most_tokens: (1 << 20, 1 << 20),
    }
}

fn stream_settings(trace: TraceSettings) -> StreamSettings {
    StreamSettings {
        name: "t".into(),
        service: 0,
        source: SourceSettings::Trace(trace),
        client: ClientSettings::default(),
        priority: 0,
        queue_timeout: None,
        users: None,
        zone: None,
        cut: false,
        from: Time::ZERO,
        until: Time::NEVER,
    }
}

/// (seconds, tokens, number) of all requests.
fn all(settings: TraceSettings) -> Vec<(f64, u32, u64)> {
    let stream = Stream::new(stream_settings(settings), 0, Seed(1)).unwrap();
    let mut traffic = Traffic::new(vec![stream]);
    let take = || traffic.take().unwrap().map(|r| (r.at.as_secs_f64(), r.prompt_tokens, r.number));
    std::iter::from_fn(take).collect()
}

#[test]
fn a_slice_begins_at_zero() {
    let file = trace(9);
    let slice = (Span::from_secs(20), Span::from_secs(45));
    let requests = all(TraceSettings { slice, speed: 2.0, ..settings(&file) });
    assert_eq!(requests, [(0.0, 3, 0), (5.0, 4, 1), (10.0, 5, 2)]);
}

#[test]
fn copies_follow_each_other() {
    let file = trace(2);
    let requests = all(TraceSettings { copies: 2.0, requests: Some(3), ..settings(&file) });
    assert_eq!(requests, [(0.0, 1, 0), (0.0, 1, 1), (10.0, 2, 2)]);
}

#[test]
fn a_share_leaves_requests_out() {
    let file = trace(2_000);
    let kept = all(TraceSettings { copies: 0.25, ..settings(&file) }).len();
    assert!((400..600).contains(&kept), "{kept}");
}

#[test]
fn a_stream_goes_on_where_it_was() {
    let file = trace(50);
    let settings = stream_settings(TraceSettings { copies: 1.5, ..settings(&file) });
    let mut whole = Stream::new(settings.clone(), 0, Seed(1)).unwrap();
    for taken in 0..20 {
        let state = serde_json::to_string(whole.state()).unwrap();
        let mut resumed = Stream::resume(settings.clone(), 0, serde_json::from_str(&state).unwrap()).unwrap();
        assert_eq!(resumed.take().unwrap(), whole.take().unwrap(), "{taken}");
        assert_eq!(resumed.state(), whole.state());
    }
}

#[test]
fn streams_are_merged_by_time() {
    let (a, b) = (trace(3), trace(3));
    let stream = |file, place, speed| {
        let trace = TraceSettings { speed, ..settings(file) };
        Stream::new(stream_settings(trace), place, Seed(1)).unwrap()
    };
    let mut traffic = Traffic::new(vec![stream(&a, 0, 1.0), stream(&b, 1, 2.0)]);
    let take = || traffic.take().unwrap().map(|r| (r.at.as_secs_f64(), r.stream));
    let merged: Vec<_> = std::iter::from_fn(take).collect();
    assert_eq!(merged, [(0.0, 0), (0.0, 1), (5.0, 1), (10.0, 0), (10.0, 1), (20.0, 0)]);
}

#[test]
fn a_missing_file_names_itself() {
    let file = trace(1);
    let settings = TraceSettings { path: "/nowhere/x.csv".into(), ..settings(&file) };
    let error = Stream::new(stream_settings(settings), 0, Seed(1)).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/x.csv: cannot be read"), "{error}");
}

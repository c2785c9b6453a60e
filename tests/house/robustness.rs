//! No input makes a reader panic. The fuzz targets in `fuzz/` look further; this runs everywhere.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use scaletwin_policies::registry::examples::manifest;
use scaletwin_scenarios::{Scenario, library};
use scaletwin_sim::traffic::trace::{FORMATS, LogFields, Reading, TraceFormat, TraceReader};

fn reading(format: TraceFormat) -> Reading {
    let fields = LogFields { time: Some("4".into()), ..LogFields::default() };
    Reading { fields, ..Reading::of(format) }
}

/// Reads a trace to its end or to its first error.
fn read(bytes: &[u8], format: TraceFormat) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    std::fs::write(&path, bytes).expect("a file");
    if let Ok(mut reader) = TraceReader::open(&path, &reading(format)) {
        // Some formats say how many requests there are, and are believed.
        for _ in 0..100_000 {
            if !matches!(reader.next_row(), Ok(Some(_))) {
                break;
            }
        }
    }
}

/// A text with some of its parts taken out, doubled, or replaced.
fn damaged(text: &'static str) -> impl Strategy<Value = String> {
    let change = (
        any::<prop::sample::Index>(),
        0usize..12,
        prop::sample::select(vec![
            "",
            ":",
            "-1",
            "{",
            "]",
            "1e999",
            "\u{0}",
            "ß",
            "null",
            "9999999999999999999",
            "*a",
            "  ",
        ]),
    );
    prop::collection::vec(change, 1..5).prop_map(move |changes| {
        let mut text: Vec<char> = text.chars().collect();
        for (place, length, new) in changes {
            let start = place.index(text.len().max(1)).min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        text.into_iter().collect()
    })
}

/// Manifests that are whole, by the kind of policy that reads them.
static MANIFESTS: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let examples =
        ["hpa", "keda", "kserve", "vpa"].into_iter().filter_map(|kind| Some((kind, manifest(kind)?.0)));
    let kind = |entry: &library::Entry| if entry.name.contains("keda") { "keda" } else { "hpa" };
    examples.chain(library::MANIFESTS.iter().map(|entry| (kind(entry), entry.text))).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_scenarios_are_read_or_refused(text in damaged(library::LIBRARY[0].text)) {
        let _ = Scenario::parse("damaged.yaml", &text, Path::new(""));
    }

    /// The library's own, and the example of each policy that takes a manifest.
    #[test]
    fn damaged_manifests_are_read_or_refused(
        (kind, text) in prop::sample::select(MANIFESTS.to_vec()).prop_flat_map(|(kind, text)| (Just(kind), damaged(text))),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("m.yaml"), text).expect("a file");
        let scenario = format!("services: [{{name: web, deployments: [{{name: main, engine: {{kind: concurrency, limit: 2, service_time: 1s}}}}]}}]\ntraffic: [{{name: a, requests: 1, arrivals: {{constant: {{rate: 1/s}}}}}}]\npolicy: {{controllers: [{{kind: {kind}, target: web, manifest: m.yaml}}]}}\n");
        let _ = Scenario::parse("s.yaml", &scenario, folder.path());
    }

    #[test]
    fn any_text_as_a_scenario_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Scenario::parse("any.yaml", &text, Path::new(""));
    }

    #[test]
    fn any_bytes_as_a_trace_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), format in prop::sample::select(&FORMATS[..])) {
        read(&bytes, format);
    }

    #[test]
    fn damaged_traces_are_read_or_refused(
        lines in prop::collection::vec(prop::sample::select(vec![
            "TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.6805900,374,44", "arrived_at,num_prefill_tokens,num_decode_tokens",
            "0.5,100,20", "arrival_seconds,prompt_tokens,output_tokens,priority,prefix_group,prefix_tokens", "1,2,3,4,5,6", "1.5,8,1,,,",
            "{\"timestamp\": 5, \"input_length\": 600, \"output_length\": 7, \"hash_ids\": [1, 2]}", "{\"arrival_seconds\": 1}", "{", "\"", ",,,", "1e308,1,1", "\u{feff}",
        ]), 0..8),
        format in prop::sample::select(&FORMATS[..]),
    ) {
        read(lines.join("\n").as_bytes(), format);
    }
}

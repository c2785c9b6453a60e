//! Any bytes as a trace; the first byte chooses the format. It is read or refused.
#![no_main]

use scaletwin_sim::traffic::trace::{FORMATS, LogFields, Reading, TraceReader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("trace");
    if std::fs::write(&path, rest).is_err() {
        return;
    }
    let format = FORMATS[usize::from(*first) % FORMATS.len()];
    let fields = LogFields { time: Some("4".into()), ..LogFields::default() };
    let skip_bad = first & 128 > 0;
    let reading = Reading { prefixes: first & 64 > 0, skip_bad, fields, ..Reading::of(format) };
    if let Ok(mut reader) = TraceReader::open(&path, &reading) {
        // Some formats say how many requests there are, and are believed.
        for _ in 0..100_000 {
            if !matches!(reader.next_row(), Ok(Some(_))) {
                break;
            }
        }
    }
});

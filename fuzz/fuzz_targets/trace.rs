//! Any bytes as a trace; the first byte chooses the format. It is read to its end or refused.
#![no_main]

use scaletwin_sim::traffic::trace::{TraceFormat, TraceReader};

const FORMATS: [TraceFormat; 5] =
    [TraceFormat::AzureLlm, TraceFormat::Mooncake, TraceFormat::Vidur, TraceFormat::Csv, TraceFormat::Jsonl];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("trace");
    if std::fs::write(&path, rest).is_err() {
        return;
    }
    let format = FORMATS[usize::from(*first) % FORMATS.len()];
    if let Ok(mut reader) = TraceReader::open(&path, format, first & 8 > 0) {
        while let Ok(Some(_)) = reader.next_row() {}
    }
});

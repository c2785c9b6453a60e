//! Readers on good and bad lines.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

mod formats;

fn read(format: TraceFormat, text: impl Into<Vec<u8>>) -> Result<Vec<Row>, TraceError> {
    read_as(&Reading::of(format), text).map(|(rows, _)| rows)
}

/// The rows, and what was left out.
fn read_as(reading: &Reading, text: impl Into<Vec<u8>>) -> Result<(Vec<Row>, LeftOut), TraceError> {
    let mut reader = TraceReader::new(Path::new("t"), Box::new(Cursor::new(text.into())), reading)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    Ok((rows, reader.left_out()))
}

fn error(format: TraceFormat, text: &str) -> String {
    read(format, text).unwrap_err().to_string()
}

#[test]
fn azure_rows_have_civil_instants() {
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0,3180,8";
    let rows = read(TraceFormat::AzureLlm, text).unwrap();
    assert_eq!(
        (rows.len(), rows[0].prompt_tokens, rows[0].output_tokens, rows[1].line),
        (2, Some(4808), Some(10), 3)
    );
    let RowTime::Civil(at) = rows[0].at else { panic!("a civil instant") };
    assert_eq!(at.to_string(), "2023-11-16T18:17:03.97996Z");
}

#[test]
fn mooncake_blocks_are_runs_of_512_tokens() {
    let text = "{\"timestamp\": 27.5, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [7, 9], \"turn\": 1}\n";
    let rows = read(TraceFormat::Mooncake, text).unwrap();
    let run = |group, length| Run { group, offset: 0, length };
    assert_eq!(rows[0].prefix.as_deref(), Some(&[run(7, 512), run(9, 88)][..]));
    assert_eq!(rows[0].at, RowTime::Offset(Span::from_nanos(27_500_000)));
}

#[test]
fn our_own_formats_say_the_same() {
    let csv = "arrival_seconds,prompt_tokens,output_tokens,prefix_group,prefix_tokens,priority\n0.5,100,20,3,64,-1\n1,5,,,,\n";
    let jsonl = concat!(
        "{\"arrival_seconds\": 0.5, \"prompt_tokens\": 100, \"output_tokens\": 20, \"prefix_group\": 3, \"prefix_tokens\": 64, \"priority\": -1}\n",
        "\n{\"arrival_seconds\": 1, \"prompt_tokens\": 5}\n"
    );
    let rows = |format, text: &str| -> Vec<Row> {
        read(format, text).unwrap().into_iter().map(|row| Row { line: 0, ..row }).collect()
    };
    assert_eq!(rows(TraceFormat::Csv, csv), rows(TraceFormat::Jsonl, jsonl));
}

#[test]
fn what_is_wrong_has_a_place() {
    for (format, text, message) in [
        (TraceFormat::Vidur, "", "t: the trace is empty"),
        (TraceFormat::Mooncake, "\n\n", "t: the trace is empty"),
        (TraceFormat::Vidur, "arrived_at,num_prefill_tokens,num_decode_tokens\n", "t: the trace is empty"),
        (
            TraceFormat::Vidur,
            "arrived_at,num_prefill_tokens\n",
            "t:1:1: the column \"num_decode_tokens\" is missing",
        ),
        (TraceFormat::Csv, "arrival_second\n1\n", "did you mean \"arrival_seconds\"?"),
        (TraceFormat::Csv, "arrival_seconds;priority\n1;2\n", "fields are separated by commas"),
        (
            TraceFormat::Csv,
            "arrival_seconds,prompt_tokens\n1,5\n2\n",
            "t:3:1: the line has 1 fields, the header 2",
        ),
        (TraceFormat::Csv, "arrival_seconds\n1,5\n", "t:2:1: the line has 2 fields, the header 1"),
        (
            TraceFormat::Csv,
            "arrival_seconds,prompt_tokens\n1,5.5\n",
            "t:2:3: expected a number of tokens, found \"5.5\"",
        ),
        (TraceFormat::Csv, "arrival_seconds,prompt_tokens\n1,0\n", "t:2:3: a request has at least 1 token"),
        (TraceFormat::Csv, "arrival_seconds\n-1\n", "t:2:1: -1 s is out of range"),
        (TraceFormat::Csv, "arrival_seconds\nNaN\n", "t:2:1: NaN s is out of range"),
        (
            TraceFormat::Csv,
            "arrival_seconds,prompt_tokens\n1,5\n2,\"6\n3,7\n",
            "t:3:3: a quote that is opened in this line is not closed in it",
        ),
        (
            TraceFormat::Csv,
            "arrival_seconds\n1\narrival_seconds\n2\n",
            "t:3:1: the header stands here again: files were joined",
        ),
        (
            TraceFormat::AzureFunctions2019,
            "HashOwner,HashApp,HashFunction,Trigger,1,2x,3\no,a,f,http,3,0,2\n",
            "t:1:42: this column is no minute from 1",
        ),
        (
            TraceFormat::AzureFunctions2019,
            "HashOwner,HashApp,HashFunction,Trigger,1,3\no,a,f,http,3,0\n",
            "t:1:1: the minutes 1 to 2 do not stand once each: 2 is wrong",
        ),
        (TraceFormat::Csv, "arrival_seconds\n2\n1\n", "t:3:1: this request arrives before the one in line 2"),
        (
            TraceFormat::AzureLlm,
            "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,1,1\n",
            "t:2:1: the timestamp \"noon\"",
        ),
        (
            TraceFormat::AzureLlm,
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-02-30 18:17:03,1,1\n",
            "t:2:1: the timestamp \"2023-02-30 18:17:03\" is no instant that there is",
        ),
        (
            TraceFormat::PerMinute,
            "minute,requests\n0,3\n0,1\n",
            "t:3:1: minute 0 stands after minute 0: each stands once, in order",
        ),
        (TraceFormat::Jsonl, "[{\"arrival_seconds\": 0}]\n", "t:1:1: expected one JSON object in each line"),
        (TraceFormat::Mooncake, "{\"timestamp\": 1}\n", "t:1:16: missing field `input_length`"),
        (TraceFormat::Mooncake, "{\"timestamp\": 1, \"input_le", "t:1:"),
        (
            TraceFormat::Jsonl,
            "{\"arrival_seconds\": 1, \"promt_tokens\": 5}\n",
            "unknown field `promt_tokens`",
        ),
    ] {
        let found = error(format, text);
        assert!(found.contains(message), "{message} in {found}");
    }
}

/// One request in each step of a minute, drawn from it.
#[test]
fn rates_begin_with_their_first_step_whatever_the_luck() {
    let text = "{\"status\": \"success\", \"data\": {\"resultType\": \"matrix\", \"result\": [{\"metric\": {}, \"values\": \
                [[1700000000, \"0.017\"], [1700000060, \"0.017\"]]}]}}";
    for seed in 0..40 {
        let luck = scaletwin_core::random::Seed(seed).component("trace/x");
        let reading = Reading { luck, ..Reading::of(TraceFormat::Prometheus) };
        let open = || TraceReader::new(Path::new("t"), Box::new(text.as_bytes()), &reading).unwrap();
        let Some(RowTime::Civil(begins)) = open().begins().unwrap() else { panic!("a civil instant") };
        assert_eq!(begins.to_string(), "2023-11-14T22:12:20Z");
        assert!(open().next_row().unwrap().unwrap().at >= RowTime::Civil(begins));
    }
}

#[test]
fn quoted_fields_and_marks_are_understood() {
    let text = "\u{feff}\"arrival_seconds\", prompt_tokens\n\"0.5\", 7\n";
    assert_eq!(read(TraceFormat::Csv, text).unwrap()[0].prompt_tokens, Some(7));
}

#[test]
fn a_truncated_archive_is_an_error() {
    use std::io::Write;
    let mut archive = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let lines: String = (0..5_000).map(|at| format!("{at},{}\n", at * 7919 % 1000 + 1)).collect();
    archive.write_all(format!("arrival_seconds,prompt_tokens\n{lines}").as_bytes()).unwrap();
    let mut bytes = archive.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    let input = std::io::BufReader::new(MultiGzDecoder::new(Cursor::new(bytes)));
    let mut reader =
        TraceReader::new(Path::new("t.gz"), Box::new(input), &Reading::of(TraceFormat::Csv)).unwrap();
    let error = std::iter::from_fn(|| Some(reader.next_row())).find_map(Result::err).unwrap();
    assert!(error.to_string().contains("truncated"), "{error}");
}

#[test]
fn an_endless_line_is_refused_early() {
    let endless = std::io::BufReader::new(std::io::repeat(b'7'));
    let reader = TraceReader::new(Path::new("t"), Box::new(endless), &Reading::of(TraceFormat::Csv));
    assert!(reader.unwrap_err().to_string().starts_with("t:1:1: the line is longer than 4 MiB"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format in prop::sample::select(&FORMATS[..])) {
        let _ = read(format, bytes);
    }

    #[test]
    fn written_rows_read_back(rows in prop::collection::vec((0u32..1_000_000, 1u32..9_999, 1u32..999), 1..20)) {
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        let lines: String = sorted.iter().map(|(at, p, d)| format!("{},{p},{d}\n", f64::from(*at) / 1e3)).collect();
        let text = format!("arrival_seconds,prompt_tokens,output_tokens\n{lines}");
        let read: Vec<_> = read(TraceFormat::Csv, text).unwrap().iter().map(|row| {
            let RowTime::Offset(at) = row.at else { panic!("an offset") };
            (u32::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap(), row.prompt_tokens.unwrap(), row.output_tokens.unwrap())
        }).collect();
        prop_assert_eq!(read.len(), sorted.len());
        for (a, b) in read.iter().zip(&sorted) {
            prop_assert!(a.0.abs_diff(b.0) <= 1 && (a.1, a.2) == (b.1, b.2), "{:?} {:?}", a, b);
        }
    }
}

//! Foreign formats: small invented files of each, what is drawn from numbers, and what is left out.

use super::*;

fn offsets(rows: &[Row]) -> Vec<f64> {
    let at = |row: &Row| match row.at {
        RowTime::Offset(at) => at.as_secs_f64(),
        RowTime::Civil(at) => at.as_unix_nanos() as f64 / 1e9,
    };
    rows.iter().map(at).collect()
}

/// A small file of each format, with what reading it needs.
pub(super) fn fixtures() -> Vec<(Reading, &'static str)> {
    let json_fields = LogFields {
        end: Some("ts".into()),
        duration: Some("took".into()),
        prompt_tokens: Some("usage.in".into()),
        output_tokens: Some("usage.out".into()),
        ..LogFields::default()
    };
    let reading = |format| Reading::of(format);
    vec![
        (
            reading(TraceFormat::AzureLlm),
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-01 10:00:00.5,31,7\n2024-05-01 10:00:01,9,2\n",
        ),
        (
            reading(TraceFormat::Mooncake),
            "{\"timestamp\": 5, \"input_length\": 600, \"output_length\": 7, \"hash_ids\": [1, 2]}\n",
        ),
        (reading(TraceFormat::Vidur), "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,31,7\n2,9,2\n"),
        (
            reading(TraceFormat::BurstGpt),
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n3,GPT-4,31,7,38,API log\n4,ChatGPT,12,0,12,API log\n9,ChatGPT,8,2,10,Conversation log\n",
        ),
        (
            reading(TraceFormat::Blis),
            "request_id,client_id,slo_class,vllm_priority,prefix_group,prefix_length,input_tokens,output_tokens,server_input_tokens,arrival_time_us,send_time_us,status\n0,a,batch,2,,0,30,5,34,2000000,2500000,ok\n1,a,,0,system,64,36,9,0,1000000,0,ok\n2,a,,0,,0,8,0,0,3000000,3000000,error\n",
        ),
        (
            reading(TraceFormat::ServeGen),
            "client_id,t_s,rate_rps,cv,arrival_dist,dist_p1,dist_p2\n0,0,0.05,1.0,Gamma,1.0,20\n0,600,0,0,,0,0\n0,1200,0.02,2,Weibull,0.5,10\n1,0,0,0,,0,0\n1,600,0.1,1,Gamma,0.4,9\n",
        ),
        (
            reading(TraceFormat::AzureFunctions2019),
            "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,3,0,2\no,a,g,timer,1,0,0\n",
        ),
        (
            reading(TraceFormat::AzureFunctions2021),
            "app,func,end_timestamp,duration\na,f,9.5,0.25\na,g,10,8\n",
        ),
        (reading(TraceFormat::PerMinute), "minute,requests\n0,4\n1,0\n2,3\n"),
        (
            reading(TraceFormat::Prometheus),
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{\"pod\":\"a\"},\"values\":[[1700000000,\"0.05\"],[1700000060,\"0.1\"]]},{\"metric\":{\"pod\":\"b\"},\"values\":[[1700000060,\"0.025\"]]}]}}",
        ),
        (
            reading(TraceFormat::AccessLog),
            "10.0.0.1 - ann [10/Oct/2000:13:55:36 -0700] \"POST /v1/chat/completions HTTP/1.1\" 200 2326 \"-\" \"curl \\\"7\\\"\" 0.9\n10.0.0.2 - - [10/Oct/2000:13:55:38 -0700] \"GET /health HTTP/1.1\" 200 2\n",
        ),
        (
            Reading { fields: json_fields, ..reading(TraceFormat::AccessLogJson) },
            "{\"ts\": \"2024-05-01T10:00:09Z\", \"took\": 2.5, \"usage\": {\"in\": 31, \"out\": 7}, \"path\": \"/a\"}\n{\"ts\": \"2024-05-01T10:00:10Z\", \"took\": \"9\", \"usage\": {\"in\": \"12\", \"out\": null}}\n",
        ),
        (
            reading(TraceFormat::Otlp),
            "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"chat m\",\"startTimeUnixNano\":\"1700000001000000000\",\"attributes\":[{\"key\":\"gen_ai.usage.input_tokens\",\"value\":{\"intValue\":\"31\"}},{\"key\":\"gen_ai.usage.output_tokens\",\"value\":{\"intValue\":7}}]},{\"name\":\"tool\",\"startTimeUnixNano\":\"1\"}]}]}]}\n{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"startTimeUnixNano\":\"1700000000000000000\",\"attributes\":[{\"key\":\"gen_ai.usage.input_tokens\",\"value\":{\"intValue\":\"9\"}},{\"key\":\"gen_ai.usage.output_tokens\",\"value\":{\"intValue\":\"2\"}}]}]}]}]}\n",
        ),
        (
            reading(TraceFormat::VllmBench),
            "{\"date\": \"x\", \"request_rate\": 2.0, \"input_lens\": [31, 12, 8], \"output_lens\": [7, 0, 2], \"ttfts\": [0.1, 0, 0.2], \"itls\": [[0.1], [], [0.1]], \"start_times\": [50.5, 50.25, 50.0], \"errors\": [\"\", \"timeout\", \"\"]}",
        ),
        (reading(TraceFormat::Csv), "arrival_seconds,prompt_tokens,output_tokens\n0.5,31,7\n1,9,\n"),
        (
            reading(TraceFormat::Jsonl),
            "{\"arrival_seconds\": 0.5, \"prompt_tokens\": 90, \"prefix\": [[1, 0, 16], [2, 4, 8]]}\n{\"arrival_seconds\": 1}\n",
        ),
    ]
}

fn fixture(format: TraceFormat) -> (Vec<Row>, LeftOut) {
    let (reading, text) = fixtures().into_iter().find(|(reading, _)| reading.format == format).unwrap();
    read_as(&reading, text).unwrap()
}

fn tokens(rows: &[Row]) -> Vec<(Option<u32>, Option<u32>)> {
    rows.iter().map(|row| (row.prompt_tokens, row.output_tokens)).collect()
}

#[test]
fn every_format_has_a_fixture_that_is_read() {
    for format in FORMATS {
        assert!(!fixture(format).0.is_empty(), "{}", format.name());
    }
}

#[test]
fn failed_requests_of_burstgpt_are_left_out_and_counted() {
    let (rows, left_out) = fixture(TraceFormat::BurstGpt);
    assert_eq!(offsets(&rows), [3.0, 9.0]);
    assert_eq!(left_out, LeftOut { failed: 1, ..LeftOut::default() });
    assert_eq!(left_out.to_string(), "1 row of failed requests without an answer");
}

#[test]
fn blis_prompts_are_replayed_as_blis_does() {
    let (rows, left_out) = fixture(TraceFormat::Blis);
    // By the instant of sending where there is one; the prefix comes before what the client counted.
    assert_eq!(offsets(&rows), [1.0, 2.5]);
    assert_eq!(tokens(&rows), [(Some(100), Some(9)), (Some(34), Some(5))]);
    assert_eq!(rows[0].prefix.as_ref().map(|runs| runs[0].length), Some(64));
    assert_eq!((rows[1].priority, left_out.failed), (Some(2), 1));
}

#[test]
fn functions_of_2021_arrive_before_they_end() {
    let (rows, _) = fixture(TraceFormat::AzureFunctions2021);
    assert_eq!(offsets(&rows), [2.0, 9.25]);
    assert_eq!(rows[0].service, Some(Span::from_secs(8)));
    let early = "app,func,end_timestamp,duration\na,f,1,2\na,f,3,1\n";
    assert!(error(TraceFormat::AzureFunctions2021, early).contains("t:2:1: it began before the start"));
}

#[test]
fn functions_of_2019_are_added_up_by_minute() {
    let (rows, _) = fixture(TraceFormat::AzureFunctions2019);
    let at = offsets(&rows);
    assert_eq!(at.len(), 6);
    assert!(at.is_sorted() && at[3] < 60.0 && at[4] >= 120.0 && at[5] < 180.0, "{at:?}");
}

#[test]
fn one_function_can_be_chosen() {
    let (reading, text) = fixtures().remove(6);
    let reading = Reading { only: vec![("HashFunction".into(), "g".into())], ..reading };
    assert_eq!(read_as(&reading, text).unwrap().0.len(), 1);
    let reading = Reading { only: vec![("HashFunktion".into(), "g".into())], ..reading };
    assert!(read_as(&reading, text).unwrap_err().to_string().contains("did you mean \"HashFunction\"?"));
}

#[test]
fn minutes_have_the_requests_of_the_file() {
    let (rows, _) = fixture(TraceFormat::PerMinute);
    let at = offsets(&rows);
    assert_eq!(at.iter().filter(|at| **at < 60.0).count(), 4);
    assert_eq!(at.iter().filter(|at| (120.0..180.0).contains(*at)).count(), 3);
}

#[test]
fn clients_of_servegen_send_what_their_rate_says() {
    let (rows, _) = fixture(TraceFormat::ServeGen);
    let at = offsets(&rows);
    let within = |from: f64| at.iter().filter(|at| (from..from + 600.0).contains(*at)).count();
    assert_eq!([within(0.0), within(600.0), within(1200.0)], [30, 60, 12]);
    assert!(at.is_sorted());
    let unknown = "client_id,t_s,rate_rps,cv,arrival_dist,dist_p1,dist_p2\n0,0,1,1,Gama,1,1\n";
    assert!(error(TraceFormat::ServeGen, unknown).contains("t:2:9: unknown arrival_dist \"Gama\""));
}

#[test]
fn rates_of_prometheus_stand_for_the_step_before_them() {
    let (rows, _) = fixture(TraceFormat::Prometheus);
    let at = offsets(&rows);
    // 0.05 × 60 = 3, and (0.1 + 0.025) × 60 = 7.5, so 10 in all.
    assert_eq!(at.iter().filter(|at| (1_699_999_940.0..1_700_000_000.0).contains(*at)).count(), 3);
    assert_eq!(at.iter().filter(|at| (1_700_000_000.0..1_700_000_060.0).contains(*at)).count(), 7);
    for (text, message) in [
        ("{\"status\":\"error\",\"error\":\"parse error\"}", "did not answer the query: parse error"),
        ("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}", "expected a matrix"),
        (
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"values\":[[1,\"NaN\"]]}]}}",
            "result[0].values[0] at 1 is no rate: \"NaN\"",
        ),
        (
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"values\":[[1,\"2\"],[1,\"2\"]]}]}}",
            "result[0].values[1] at 1 is not after the one before",
        ),
        ("{\"status\":\n5}", "t:2:2: expected a string, found `5`"),
    ] {
        let found = error(TraceFormat::Prometheus, text);
        assert!(found.contains(message), "{message} in {found}");
    }
}

#[test]
fn access_logs_are_read_by_field() {
    let (rows, _) = fixture(TraceFormat::AccessLog);
    let RowTime::Civil(at) = rows[0].at else { panic!("a civil instant") };
    assert_eq!((at.to_string().as_str(), rows.len()), ("2000-10-10T20:55:36Z", 2));
    let (_, text) = fixtures().remove(10);
    let fields = LogFields { end: Some("time".into()), duration: Some("10".into()), ..LogFields::default() };
    let only = vec![("method".into(), "POST".into()), ("path".into(), "/v1/chat/completions".into())];
    let reading = Reading { fields, only, ..Reading::of(TraceFormat::AccessLog) };
    let (rows, _) = read_as(&reading, text).unwrap();
    let RowTime::Civil(at) = rows[0].at else { panic!("a civil instant") };
    assert_eq!((at.to_string().as_str(), rows.len()), ("2000-10-10T20:55:35.1Z", 1));
    let broken = "h - - [10/Oct/2000:13:55:36 -0700 \"GET / HTTP/1.1\" 200 2\n";
    assert!(error(TraceFormat::AccessLog, broken).contains("t:1:7: '[' is not closed"));
}

#[test]
fn json_logs_arrive_before_they_end() {
    let (rows, _) = fixture(TraceFormat::AccessLogJson);
    let RowTime::Civil(first) = rows[0].at else { panic!("a civil instant") };
    assert_eq!(first.to_string(), "2024-05-01T10:00:01Z");
    assert_eq!(tokens(&rows), [(Some(12), None), (Some(31), Some(7))]);
    let without = error(TraceFormat::AccessLogJson, "{}");
    assert!(without.contains("fields: {time: KEY}"), "{without}");
}

#[test]
fn spans_of_tools_are_no_requests() {
    let (rows, left_out) = fixture(TraceFormat::Otlp);
    assert_eq!(tokens(&rows), [(Some(9), Some(2)), (Some(31), Some(7))]);
    assert_eq!(left_out, LeftOut { foreign: 1, ..LeftOut::default() });
    let (_, text) = fixtures().remove(12);
    let pretty: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(read(TraceFormat::Otlp, format!("{pretty:#}")).unwrap().len(), 1);
}

#[test]
fn spans_of_agents_and_embeddings_are_no_answers() {
    let span = |operation: &str, tokens: &str| {
        format!(
            "{{\"startTimeUnixNano\":\"1700000000000000000\",\"attributes\":[{{\"key\":\"gen_ai.operation.name\",\"value\":{{\"stringValue\":\"{operation}\"}}}},{{\"key\":\"gen_ai.usage.input_tokens\",\"value\":{{\"intValue\":\"9\"}}}}{tokens}]}}"
        )
    };
    let answer = ",{\"key\":\"gen_ai.usage.output_tokens\",\"value\":{\"intValue\":\"2\"}}";
    let spans = [span("invoke_agent", answer), span("chat", answer), span("embeddings", "")].join(",");
    let text = format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{spans}]}}]}}]}}\n");
    let (rows, left_out) = read_as(&Reading::of(TraceFormat::Otlp), text).unwrap();
    assert_eq!(tokens(&rows), [(Some(9), Some(2))]);
    assert_eq!(left_out, LeftOut { foreign: 2, ..LeftOut::default() });
}

#[test]
fn a_request_that_was_never_sent_does_not_move_a_benchmark() {
    let text = "{\"input_lens\": [5, 5, 5], \"output_lens\": [2, 0, 3], \"start_times\": [9000.5, 0.0, 9001.0], \"errors\": [\"\", \"refused\", \"\"]}";
    let (rows, left_out) = read_as(&Reading::of(TraceFormat::VllmBench), text).unwrap();
    assert_eq!((offsets(&rows), left_out.failed), (vec![0.0, 0.5], 1));
}

#[test]
fn benchmarks_begin_with_their_first_request() {
    let (rows, left_out) = fixture(TraceFormat::VllmBench);
    assert_eq!((offsets(&rows), left_out.failed), (vec![0.0, 0.5], 1));
    let old = "{\"input_lens\": [1], \"output_lens\": [1], \"ttfts\": [0.1]}";
    assert!(error(TraceFormat::VllmBench, old).contains("--save-detailed"));
}

#[test]
fn bad_rows_are_left_out_and_counted_where_that_is_asked_for() {
    let text = "arrival_seconds,prompt_tokens\n1,5\nx,5\n2\n3,0\n0.5,1\n4,6\n";
    let reading = Reading { skip_bad: true, ..Reading::of(TraceFormat::Csv) };
    let (rows, left_out) = read_as(&reading, text).unwrap();
    assert_eq!(offsets(&rows), [1.0, 4.0]);
    assert_eq!(left_out.bad, 4);
    let nothing = read_as(&reading, "arrival_seconds\nx\n").unwrap_err().to_string();
    assert!(nothing.contains("has no request: left out were 1 row that cannot be used"), "{nothing}");
}

#[test]
fn a_row_too_far_out_of_order_is_an_error() {
    let late: String = (0..order::HELD_BACK + 1).map(|at| format!("a,f,{},0\n", at + 10)).collect();
    let text = format!("app,func,end_timestamp,duration\n{late}a,f,1,0\n");
    assert!(error(TraceFormat::AzureFunctions2021, &text).contains("sort the trace by arrival"));
}

#[test]
fn the_same_luck_draws_the_same_rows() {
    for (reading, text) in fixtures().into_iter().filter(|(reading, _)| reading.format.is_drawn()) {
        let other = Reading { luck: scaletwin_core::random::Seed(2).component("trace"), ..reading.clone() };
        let (one, again, another) = (
            read_as(&reading, text).unwrap().0,
            read_as(&reading, text).unwrap().0,
            read_as(&other, text).unwrap().0,
        );
        assert_eq!(one, again);
        assert_ne!(offsets(&one), offsets(&another), "{}", reading.format.name());
    }
}

#[test]
fn every_format_reads_back_from_ours() {
    for (reading, text) in fixtures() {
        let rows = read_as(&reading, text).unwrap().0;
        let ours = written(&rows, TraceFormat::Jsonl).unwrap();
        let RowTime::Offset(_) = rows[0].at else { continue };
        assert_eq!(plain(read(TraceFormat::Jsonl, ours).unwrap()), plain(rows), "{}", reading.format.name());
    }
}

fn plain(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().map(|row| Row { line: 0, ..row }).collect()
}

fn written(rows: &[Row], format: TraceFormat) -> Result<Vec<u8>, WriteError> {
    let mut bytes = Vec::new();
    let start = match rows[0].at {
        RowTime::Offset(_) => RowTime::Offset(Span::ZERO),
        civil @ RowTime::Civil(_) => civil,
    };
    let mut writer = Writer::new(&mut bytes, format, start);
    for row in rows {
        writer.write(row)?;
    }
    Ok(bytes)
}

#[test]
fn csv_refuses_what_it_cannot_say() {
    let rows = fixture(TraceFormat::Jsonl).0;
    assert!(written(&rows, TraceFormat::Csv).unwrap_err().to_string().contains("write jsonl"));
}

#[test]
fn a_table_of_a_distribution_is_a_law() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "tokens,cdf\n10,0.5\n20,0.75\n30,0.995\n").unwrap();
    let law = cdf(file.path()).unwrap();
    assert!((law.mean() - (5.0 + 5.0 + 7.5)).abs() < 1e-12, "{}", law.mean());
    let refused = |table: &str, message: &str| {
        std::fs::write(file.path(), table).unwrap();
        assert!(cdf(file.path()).unwrap_err().to_string().contains(message), "{message}");
    };
    refused("tokens,cdf\n10,0.5\n20,0.4\n", ":3:1: tokens and cdf ascend");
    refused("tokens,cdf\n10,0.1\n100,0.2\n", "the distribution ends at 0.2: it should end at 1");
}

#[test]
fn a_histogram_is_even_within_its_buckets() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let series =
        |le: &str, count: &str| format!("{{\"metric\":{{\"le\":\"{le}\"}},\"values\":[[1,\"{count}\"]]}}");
    let of = |buckets: &[(&str, &str)]| {
        let all: Vec<String> = buckets.iter().map(|(le, count)| series(le, count)).collect();
        let result = all.join(",");
        let answer = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{result}]}}}}"
        );
        std::fs::write(file.path(), answer).unwrap();
        bucket_quantiles(file.path())
    };
    let refused = |buckets: &[(&str, &str)]| of(buckets).unwrap_err().to_string();
    assert!(refused(&[("100", "10"), ("200", "30")]).contains("no bucket with le=\"+Inf\""));
    assert!(
        refused(&[("100", "50"), ("200", "40"), ("+Inf", "60")]).contains("le=100 has 50 and le=200 has 40")
    );
    // 10 of 50 on average, 20 of 150, 10 at the last finite bound.
    let law = of(&[("100", "10"), ("200", "30"), ("+Inf", "40")]).unwrap();
    assert!((law.mean() - (500.0 + 3_000.0 + 2_000.0) / 40.0).abs() < 1e-9, "{}", law.mean());
}

/// An instant, tokens, a priority, a service time, and what is shared.
type Drawn = (u64, Option<u32>, Option<u32>, Option<i32>, Option<u64>, Option<(u64, u32)>);

proptest! {
    #[test]
    fn damaged_fixtures_do_not_panic(
        which in 0usize..16,
        start in any::<prop::sample::Index>(),
        length in 0usize..9,
        new in prop::sample::select(vec!["", "-1", "{", "]", "\"", "1e999", "\u{0}", "ß", "null", "99999999999999999999", "\n"]),
        skip_bad: bool,
    ) {
        let (reading, text) = fixtures().swap_remove(which);
        let mut bytes = text.as_bytes().to_vec();
        let start = start.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, new.bytes());
        let reading = Reading { skip_bad, ..reading };
        if let Ok((rows, _)) = read_as(&reading, bytes) {
            prop_assert!(rows.is_sorted_by_key(|row| row.at));
        }
    }

    #[test]
    fn rows_written_in_our_formats_read_back(
        rows in prop::collection::vec(
            (0u64..4_000_000_000_000, prop::option::of(64u32..9_999), prop::option::of(1u32..999), prop::option::of(any::<i32>()), prop::option::of(0u64..9_999_999_999), prop::option::of((any::<u64>(), 1u32..64))),
            1..20,
        ),
    ) {
        let row = |(at, prompt, output, priority, service, group): Drawn| {
            let run = group.filter(|_| prompt.is_some()).map(|(group, length)| [Run { group, offset: 0, length }].into());
            Row { prompt_tokens: prompt, output_tokens: output, priority, service: service.map(Span::from_nanos), prefix: run, ..Row::bare(RowTime::Offset(Span::from_nanos(at))) }
        };
        let mut rows: Vec<Row> = rows.into_iter().map(row).collect();
        rows.sort_by_key(|row| row.at);
        for format in [TraceFormat::Csv, TraceFormat::Jsonl] {
            let bytes = written(&rows, format).unwrap();
            prop_assert_eq!(plain(read(format, bytes).unwrap()), rows.clone());
        }
    }
}

#[test]
fn scaled_numbers_are_drawn_each_at_its_own_instant() {
    let drawn = fixtures().into_iter().filter(|(reading, _)| reading.format.is_drawn());
    for (reading, text) in drawn {
        let (rows, _) = read_as(&reading, text).unwrap();
        let (more, _) = read_as(&Reading { scale: 3.0, ..reading.clone() }, text).unwrap();
        assert_eq!(more.len(), 3 * rows.len(), "{}", reading.format.name());
        assert!(more.is_sorted_by(|a, b| a.at < b.at), "{}", reading.format.name());
        let (fewer, _) = read_as(&Reading { scale: 1e-9, ..reading.clone() }, text).unwrap();
        assert!(fewer.is_empty(), "{}", reading.format.name());
    }
}

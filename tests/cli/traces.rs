//! `scaletwin trace`: what it says of traces, and what it makes of them.

use crate::program::Folder;

/// Five requests in BurstGPT's format, one of which failed, and a line that is none.
const BURST: &str = "\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
0,GPT-4,100,10,110,API log
1,ChatGPT,200,20,220,API log
2,GPT-4,9,0,9,API log
noon,GPT-4,1,1,2,API log
3,ChatGPT,300,30,330,Conversation log
10,GPT-4,400,40,440,API log
";

fn folder() -> Folder {
    let salt = b"sixteen bytes and some";
    Folder::with(&[("burst.csv", BURST.as_bytes()), ("salt", salt), ("short", b"salt")])
}

#[test]
fn a_bad_row_is_refused_with_its_place_or_left_out_and_counted() {
    let folder = folder();
    let refused = folder.run(&["trace", "inspect", "burst.csv", "--format", "burstgpt"]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(
        refused.err.contains("burst.csv:5:1: expected a number of seconds, found \"noon\""),
        "{}",
        refused.err
    );
    let done = folder.run(&["trace", "inspect", "burst.csv", "--format", "burstgpt", "--skip-bad"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let left_out = "1 row that cannot be used, 1 row of failed requests without an answer";
    assert!(done.err.contains(left_out) && done.out.contains(left_out), "{} {}", done.err, done.out);
}

#[test]
fn inspect_says_what_a_trace_is_like() {
    let folder = folder();
    let arguments =
        ["trace", "inspect", "burst.csv", "--format", "burstgpt", "--skip-bad", "-q", "--out", "i"];
    let done = folder.run(&arguments);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    for part in [
        "requests               4\n",
        "first to last          10.000 s\n",
        "mean rate              0.3000/s\n",
        // Gaps of 1, 2 and 7 s: mean 10/3, variance 62/9.
        "gaps, mean             3.333333 s\n",
        "gaps, cv               0.787\n",
        "prompt tokens          mean 250.0, p50 200, p90 400, p95 400, p99 400, max 400\n",
    ] {
        assert!(done.out.contains(part), "{part:?} is not in:\n{}", done.out);
    }
    assert_eq!(folder.text("i/inspect.txt"), done.out);
    assert!(folder.text("i/rate.svg").starts_with("<svg"));
}

#[test]
fn a_converted_trace_is_the_same_traffic() {
    let folder = folder();
    for (out, format) in [("t.csv", "csv"), ("t.jsonl", "jsonl")] {
        let arguments = ["trace", "convert", "burst.csv", "--format", "burstgpt", "--skip-bad", "--out", out];
        let done = folder.run(&arguments);
        assert_eq!(done.code, 0, "{}", done.err);
        assert!(done.err.contains(&format!("{out}: 4 requests")), "{}", done.err);
        let inspect = |file, format| {
            folder.run(&["trace", "inspect", file, "--format", format, "-q", "--skip-bad"]).out
        };
        let facts = |text: String| -> Vec<String> {
            let lines =
                text.lines().filter(|line| !line.starts_with("trace") && !line.starts_with("left out"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(facts(inspect(out, format)), facts(inspect("burst.csv", "burstgpt")));
    }
    assert_eq!(
        folder.run(&["trace", "convert", "burst.csv", "--format", "burstgpt", "--out", "t.txt"]).code,
        2
    );
}

#[test]
fn only_some_lines_can_be_asked_for() {
    let folder = folder();
    let inspect = |only: &str| {
        let arguments =
            ["trace", "inspect", "burst.csv", "--format", "burstgpt", "--skip-bad", "--only", only];
        folder.run(&arguments)
    };
    assert!(inspect("Model=ChatGPT").out.contains("requests               2\n"));
    assert!(inspect("Modell=ChatGPT").err.contains("did you mean \"Model\"?"));
    let wrong = folder.run(&["trace", "inspect", "burst.csv", "--format", "burtsgpt"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean \"burstgpt\"?"), "{}", wrong.err);
}

#[test]
fn what_is_generated_runs_as_a_scenario() {
    let folder = folder();
    let arguments = ["trace", "generate", "burst.csv", "--format", "burstgpt", "--skip-bad", "-q"];
    for arrivals in ["auto", "poisson", "gamma", "weibull"] {
        let done = folder.run(&[&arguments[..], &["--arrivals", arrivals]].concat());
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{arrivals}");
        let services = "
services:
  - name: chat
    deployments: [{name: main, model: llama-3.1-8b, accelerator: h100-sxm, engine: {kind: continuous-batching}}]
";
        std::fs::write(folder.path("s.yaml"), format!("name: fitted\n{}{services}", done.out)).unwrap();
        let run = folder.run(&["run", "s.yaml", "-q", "--format", "json"]);
        assert_eq!(run.code, 0, "{arrivals}: {}\n{}", run.err, done.out);
        let summary: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(summary["services"][0]["requests"]["completed"], 4);
    }
    let refused = folder.run(&[&arguments[..], &["--arrivals", "hyperexponential"]].concat());
    assert!(refused.code == 2 && refused.err.contains("do not fit"), "gaps of a cv below 1: {}", refused.err);
    let done = folder.run(&[&arguments[..], &["--out", "new.csv"]].concat());
    assert_eq!((done.code, folder.text("new.csv").lines().count()), (0, 5), "{}", done.err);
}

#[test]
fn nothing_but_times_lengths_and_hashes_is_left() {
    let folder = folder();
    let trace = "{\"arrival_seconds\": 5, \"prompt_tokens\": 90, \"output_tokens\": 3, \"priority\": 7, \"prefix_group\": 4711, \"prefix_tokens\": 64}\n\
                 {\"arrival_seconds\": 6, \"prompt_tokens\": 90, \"prefix_group\": 4711, \"prefix_tokens\": 32}\n";
    std::fs::write(folder.path("own.jsonl"), trace).unwrap();
    let arguments = |salt| {
        ["trace", "anonymise", "own.jsonl", "--format", "jsonl", "--salt-file", salt, "--out", "anon.jsonl"]
    };
    let done = folder.run(&arguments("salt"));
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let text = folder.text("anon.jsonl");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["prefix"][0][0], lines[1]["prefix"][0][0], "what is shared stays shared");
    assert_ne!(lines[0]["prefix"][0][0], 4711);
    assert!(lines[0].get("priority").is_none() && lines[0]["output_tokens"] == 3);
    assert!(folder.run(&arguments("short")).err.contains("at least 16 bytes"));
}

#[test]
fn a_scenario_counts_what_it_leaves_out() {
    let folder = folder();
    let text = "
name: burst
services: [{name: chat, deployments: [{name: main, model: llama-3.1-8b, accelerator: h100-sxm, engine: {kind: continuous-batching}}]}]
traffic: [{name: all, trace: {format: burstgpt, path: burst.csv, skip_bad: true}}]
";
    std::fs::write(folder.path("s.yaml"), text).unwrap();
    let done = folder.run(&["run", "s.yaml"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.err.contains("traffic all: left out: 1 row that cannot be used, 1 row of failed"),
        "{}",
        done.err
    );
}

#[test]
fn numbers_of_requests_need_lengths_where_an_engine_has_tokens() {
    let folder = folder();
    std::fs::write(folder.path("m.csv"), "minute,requests\n0,6\n1,2\n").unwrap();
    std::fs::write(folder.path("cdf.csv"), "tokens,cdf\n100,0.5\n900,1\n").unwrap();
    let run = |keys: &str| {
        let text = format!(
            "
name: minutes
services: [{{name: chat, deployments: [{{name: main, model: llama-3.1-8b, accelerator: h100-sxm, engine: {{kind: continuous-batching}}}}]}}]
traffic: [{{name: all, {keys}}}]
"
        );
        std::fs::write(folder.path("s.yaml"), text).unwrap();
        folder.run(&["run", "s.yaml", "-q", "--format", "json"])
    };
    let without = run("trace: {format: per-minute, path: m.csv}");
    assert!(
        without.code == 2 && without.err.contains("a per-minute trace has no lengths"),
        "{}",
        without.err
    );
    let written = run("trace: {format: per-minute, path: m.csv}, prompt_tokens: 100, output_tokens: 5");
    let summary: serde_json::Value = serde_json::from_str(&written.out).unwrap_or_default();
    assert_eq!(summary["services"][0]["prompt_tokens"], 800, "{}", written.err);
    let file = run("trace: {format: per-minute, path: m.csv, prompt_tokens_cdf: cdf.csv}, output_tokens: 5");
    assert_eq!(file.code, 0, "{}", file.err);
    let given = run("trace: {format: burstgpt, path: burst.csv}, prompt_tokens: 5");
    assert!(given.err.contains("the trace says how many tokens a request has"), "{}", given.err);
    let typo = run("trace: {format: per-minutes, path: m.csv}");
    assert!(typo.err.contains("did you mean \"per-minute\"?"), "{}", typo.err);
    let fields = run("trace: {format: per-minute, path: m.csv, fields: {time: a}}");
    assert!(fields.err.contains("fields has no effect"), "{}", fields.err);
}

#[test]
fn https_needs_a_build_with_tls() {
    let arguments = [
        "trace",
        "import",
        "prometheus",
        "https://localhost:1",
        "--query",
        "up",
        "--start",
        "2024-05-01T00:00:00Z",
        "--end",
        "2024-05-01T01:00:00Z",
        "--step",
        "1m",
        "--out",
        "p.json",
    ];
    let done = folder().run(&arguments);
    let why = if cfg!(feature = "tls") { "cannot ask https" } else { "--features tls" };
    assert!(done.code == 2 && done.err.contains(why), "{}", done.err);
}

#[test]
fn sessions_find_what_was_said_before_in_the_prefix_cache() {
    let folder = folder();
    let run = |caching: bool| {
        let text = format!(
            "
name: sessions
services:
  - name: chat
    deployments:
      - name: main
        model: llama-3.1-8b
        accelerator: h100-sxm
        engine: {{kind: continuous-batching, enable_prefix_caching: {caching}}}
traffic:
  - name: users
    requests: 40
    sessions: {{arrivals: {{poisson: {{rate: 1/s}}}}, turns: 5, think_time: {{exponential: {{mean: 5s}}}}, system_tokens: 2000}}
    prompt_tokens: 800
    output_tokens: 60
"
        );
        std::fs::write(folder.path("s.yaml"), text).unwrap();
        let done = folder.run(&["run", "s.yaml", "-q", "--format", "json"]);
        assert_eq!(done.code, 0, "{}", done.err);
        let summary: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        summary["services"][0].clone()
    };
    let (with, without) = (run(true), run(false));
    for service in [&with, &without] {
        assert_eq!(service["requests"]["completed"], 200);
        // Turn k has 2000 + 800 k + 60 (k - 1) tokens: of five turns 10 000 + 12 000 + 600.
        assert_eq!(service["prompt_tokens"], 40 * 22_600);
    }
    let ttft = |service: &serde_json::Value| service["ttft_seconds"]["mean"].as_f64().unwrap();
    assert!(ttft(&with) < 0.6 * ttft(&without), "{} against {}", ttft(&with), ttft(&without));
}

#[test]
fn a_conversion_leaves_a_whole_file_or_none() {
    let folder = Folder::with(&[
        ("a.csv", b"arrival_seconds,prompt_tokens\n0,5\n1,6\n"),
        ("bad.csv", b"arrival_seconds\n0\n1\nx\n"),
    ]);
    let convert = |from, to| folder.run(&["trace", "convert", "--format", "csv", from, "--out", to, "-q"]);
    let done = convert("a.csv", "a.csv");
    assert_eq!(done.code, 2);
    assert!(done.err.contains("this file is read, and would be replaced"), "{}", done.err);
    assert_eq!(folder.text("a.csv"), "arrival_seconds,prompt_tokens\n0,5\n1,6\n");
    assert_eq!(convert("bad.csv", "b.csv").code, 2);
    assert!(!folder.path("b.csv").exists() && !folder.path("b.csv.part").exists());
    assert_eq!(convert("a.csv", "b.csv").code, 0);
    assert_eq!(folder.text("b.csv").lines().count(), 3);
}

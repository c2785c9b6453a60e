//! Replays of real traces, whole.
//!
//! The traces are outside the repository: `SCALETWIN_DATA_DIR` names their directory. Without it each test counts as
//! ignored, with the reason; `SCALETWIN_REQUIRE=data` turns that into a failure.

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use scaletwin_core::record::RunRecord;
use scaletwin_scenarios::Scenario;

/// A test on data, with the file that it needs.
type Test = (&'static str, &'static str, fn(&Path) -> Result<(), Failed>);

const TESTS: [Test; 3] = [
    (
        "an_hour_of_azure_code_completions_under_an_hpa",
        "azure-llm-2023/AzureLLMInferenceTrace_code.csv",
        azure_under_an_hpa,
    ),
    ("azure_lengths_are_those_of_the_file", "azure-llm-2023/AzureLLMInferenceTrace_code.csv", azure_lengths),
    ("mooncake_conversations_share_their_prefixes", "mooncake/conversation_trace.jsonl", mooncake_prefixes),
];

fn main() {
    let arguments = Arguments::from_args();
    let folder = std::env::var_os("SCALETWIN_DATA_DIR").map(PathBuf::from);
    let required =
        std::env::var("SCALETWIN_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == "data"));
    let trial = |(name, file, test): Test| {
        let path = folder.as_ref().map(|folder| folder.join(file));
        Trial::ignorable_test(name, move || match path.filter(|path| path.is_file()) {
            Some(path) => test(&path).map(|()| Completion::Completed),
            None if required => {
                Err(format!("{file} is not in SCALETWIN_DATA_DIR, and SCALETWIN_REQUIRE asks for it").into())
            }
            None => Ok(Completion::ignored_with(format!("SCALETWIN_DATA_DIR has no {file}"))),
        })
    };
    libtest_mimic::run(&arguments, TESTS.into_iter().map(trial).collect()).exit();
}

fn replay(text: &str) -> Result<RunRecord, Failed> {
    let scenario =
        Scenario::parse("data.yaml", text, Path::new("")).map_err(|problems| problems.to_string())?;
    let run = scenario.start(scenario.settings().seed).map_err(|error| error.to_string())?;
    Ok(run.finish().map_err(|error| error.to_string())?)
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what().into()) }
}

/// The rows of the Azure file, read by other means: tokens in, tokens out.
fn azure_rows(path: &Path) -> Result<Vec<(u64, u64)>, Failed> {
    let text = std::fs::read_to_string(path)?;
    let row = |line: &str| {
        let mut fields = line.trim().split(',').skip(1).map(|field| field.parse::<u64>().ok());
        Some((fields.next()??, fields.next()??))
    };
    Ok(text.lines().skip(1).filter_map(row).collect())
}

fn azure_under_an_hpa(path: &Path) -> Result<(), Failed> {
    let record = replay(&format!(
        "
name: code-burst
clusters: [{{name: virginia, node_pools: [{{name: steady, instance_type: g6e.xlarge, nodes: {{min: 1, max: 8}}}}]}}]
services:
  - name: code
    slo: {{ttft: {{p95: 1s}}}}
    queue: {{}}
    deployments: [{{name: main, model: llama-3.1-8b, engine: {{kind: continuous-batching, max_num_seqs: 64}}}}]
traffic: [{{name: all, trace: {{format: azure-llm, path: '{}'}}}}]
signals: {{waiting: {{series: 'vllm:num_requests_waiting', per: pod}}}}
policy:
  controllers:
    - {{kind: hpa, target: code, max_replicas: 8, metrics: [{{pods: {{metric: waiting, average_value: 2}}}}]}}
    - {{kind: node-provisioner}}
",
        path.display()
    ))?;
    let service = &record.summary.services[0];
    let rows = azure_rows(path)?.len() as u64;
    check(service.requests.arrived == rows, || {
        format!("{} of {rows} requests arrived", service.requests.arrived)
    })?;
    check(service.requests.completed == rows, || {
        format!("{} of {rows} completed", service.requests.completed)
    })?;
    let main = &service.deployments[0];
    check(main.scale_ups > 0 && main.scale_downs > 0, || "the HPA scaled up and down".to_owned())?;
    check(main.replicas.min >= 1 && main.replicas.max <= 8, || format!("{:?}", main.replicas))?;
    check(record.summary.start.starts_with("2023-11-16T18:"), || record.summary.start.clone())
}

fn azure_lengths(path: &Path) -> Result<(), Failed> {
    let record = replay(&format!(
        "
name: lengths
services: [{{name: code, deployments: [{{name: main, model: llama-3.1-8b, accelerator: h100-sxm, replicas: 8, engine: {{kind: continuous-batching}}}}]}}]
traffic: [{{name: all, trace: {{format: azure-llm, path: '{}'}}}}]
",
        path.display()
    ))?;
    let rows = azure_rows(path)?;
    let (prompts, answers): (u64, u64) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    let service = &record.summary.services[0];
    let seen = (service.prompt_tokens, service.output_tokens);
    check(seen == (prompts, answers), || format!("{seen:?}, but the file has {prompts} and {answers}"))
}

fn mooncake_prefixes(path: &Path) -> Result<(), Failed> {
    let mean_ttft = |caching: bool| {
        let record = replay(&format!(
            "
name: prefixes
services:
  - name: chat
    routing: round-robin
    deployments:
      - name: main
        model: llama-3.1-8b
        accelerator: h200-sxm
        replicas: 8
        engine: {{kind: continuous-batching, enable_prefix_caching: {caching}}}
traffic: [{{name: all, requests: 2000, trace: {{format: mooncake, path: '{}'}}}}]
",
            path.display()
        ))?;
        let ttft = record.summary.services[0].ttft_seconds.and_then(|latency| latency.mean);
        ttft.ok_or_else(|| Failed::from("no request completed"))
    };
    let (with, without) = (mean_ttft(true)?, mean_ttft(false)?);
    check(with < without, || format!("TTFT {with} s with the prefix cache, {without} s without"))
}

//! What the program prints and writes.

use serde_json::Value;

use crate::program::{Folder, SMALL};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn without_a_scenario_the_quickstart_runs_and_leads_with_the_verdict() {
    let done = Folder::with(&[]).run(&["run"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let first = done.out.lines().next().unwrap();
    assert!(first.starts_with("quickstart, seed 42: SLO missed, for $"), "{first}");
    assert!(done.out.contains("worst window"), "{}", done.out);
    assert!(done.err.contains("requests in"), "timing goes to stderr: {}", done.err);
}

#[test]
fn json_has_the_figures_that_the_contract_names() {
    let done =
        Folder::with(&[("s.yaml", SMALL.as_bytes())]).run(&["run", "s.yaml", "--format", "json", "-q"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let summary = json(&done.out);
    for key in [
        "scenario",
        "seed",
        "record_hash",
        "simulated_seconds",
        "services",
        "node_pools",
        "cost",
        "not_modelled",
    ] {
        assert!(summary.get(key).is_some(), "{key}");
    }
    let service = &summary["services"][0];
    assert_eq!(service["requests"]["arrived"], 500);
    for key in ["e2e_seconds", "wait_seconds"] {
        for figure in ["count", "mean", "p50", "p90", "p95", "p99", "max"] {
            assert!(service[key][figure].is_number(), "{key}.{figure}");
        }
    }
    assert!(service["ttft_seconds"].is_null(), "an engine without tokens has no TTFT");
    assert!(summary["energy_kwh"].is_null(), "what is not modelled is null, not 0");
    let absent = summary["not_modelled"].as_array().unwrap();
    assert!(absent.contains(&Value::from("energy_kwh")));
}

#[test]
fn elasticity_is_asked_for_and_its_capacities_are_kept() {
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes())]);
    let done = folder.run(&["run", "s.yaml", "--elasticity", "--out", "r", "-q"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let capacity = &json(&folder.text("r/capacity.json"))[0];
    assert_eq!(capacity["target"], "web/main");
    let elasticity = &json(&folder.text("r/summary.json"))["services"][0]["deployments"][0]["elasticity"];
    assert_eq!(elasticity["capacity_per_second"], capacity["requests_per_second"]);
    for figure in ["theta_u", "theta_o", "tau_u", "tau_o", "instability"] {
        assert!(elasticity[figure].is_number(), "{figure}");
    }
    assert!(done.out.contains("a replica serves"), "{}", done.out);
    folder.run(&["run", "s.yaml", "--out", "r", "-q"]);
    assert!(!folder.path("r/capacity.json").exists(), "what an earlier run has left there goes");
}

#[test]
fn a_run_never_takes_away_what_no_run_has_written() {
    let foreign =
        [("s.yaml", SMALL.as_bytes()), ("report.html", b"mine".as_slice()), ("settings.json", b"{}")];
    let folder = Folder::with(&foreign);
    let done = folder.run(&["run", "s.yaml", "--out", ".", "-q"]);
    assert_eq!(done.code, 2, "{}", done.out);
    assert!(done.err.contains("it is there already, and no run has written it"), "{}", done.err);
    assert_eq!((folder.text("report.html").as_str(), folder.text("settings.json").as_str()), ("mine", "{}"));
}

#[test]
fn a_run_never_takes_away_what_it_reads() {
    let replay = "name: r\nservices: [{name: web, deployments: [{name: main, replicas: 1, engine: \
                  {kind: concurrency, limit: 9, service_time: {constant: 1s}}}]}]\n\
                  traffic: [{name: all, trace: {format: csv, path: r/requests.csv}}]\n";
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes()), ("replay.yaml", replay.as_bytes())]);
    assert_eq!(folder.run(&["run", "s.yaml", "--out", "r", "-q"]).code, 0);
    std::fs::write(folder.path("r/requests.csv"), "arrival_seconds\n0\n1\n").unwrap();
    let done = folder.run(&["run", "replay.yaml", "--out", "r", "-q"]);
    assert_eq!(done.code, 2, "{}", done.out);
    assert!(done.err.contains("the scenario reads this file, and the run would replace it"), "{}", done.err);
    assert_eq!(folder.text("r/requests.csv"), "arrival_seconds\n0\n1\n");
    let done = folder.run(&["run", "s.yaml", "--snapshot-at", "1s", "--snapshot", "s.yaml", "-q"]);
    assert_eq!(done.code, 2, "{}", done.out);
    assert_eq!(folder.text("s.yaml"), SMALL);
}

#[test]
fn a_scenario_of_the_library_with_manifests_leaves_them_as_inputs() {
    let folder = Folder::with(&[]);
    let done = folder.run(&["run", "incident-cooldown", "--out", "r", "-q"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(folder.text("r/inputs/keda-hasty.yaml").contains("kind: ScaledObject"));
}

#[test]
fn a_folder_holds_all_that_a_run_leaves_behind() {
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes())]);
    let done = folder.run(&["run", "s.yaml", "--out", "r", "--requests", "-q", "--set", "seed=9"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let summary = json(&folder.text("r/summary.json"));
    assert_eq!(summary["seed"], 9);
    let requests = folder.text("r/requests.csv");
    assert_eq!(requests.lines().count(), 501);
    assert!(requests.lines().next().is_some_and(|head| head.ends_with(",e2e_seconds,priority")));
    assert!(folder.text("r/timeline.csv").starts_with("start_seconds,service,arrived,"));
    assert_eq!(folder.text("r/inputs/s.yaml"), SMALL);
    let settings = json(&folder.text("r/settings.json"));
    assert_eq!(settings["changes"][0], "seed=9");
    assert!(settings["settings"]["scenario"]["deployments"].is_array(), "all settings with their defaults");
    assert!(json(&folder.text("r/timing.json"))["wall_seconds"].is_number());
    assert_eq!(folder.text("r/decisions.jsonl"), "", "nobody decided anything");
}

#[test]
fn decisions_are_written_with_the_controllers_own_reasons() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.run(&["run", "-q", "--out", "r"]).code, 0);
    let lines = folder.text("r/decisions.jsonl");
    let acted = lines.lines().map(json).find(|line| !line["actions"][0]["set_replicas"].is_null()).unwrap();
    let codes: Vec<&str> =
        acted["reasons"].as_array().unwrap().iter().filter_map(|reason| reason["code"].as_str()).collect();
    assert!(codes.contains(&"SucceededRescale"), "{codes:?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_threads() {
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes())]);
    for (jobs, out) in [("1", "one"), ("2", "two")] {
        let done = folder.run(&["run", "s.yaml", "--replications", "4", "--jobs", jobs, "--out", out, "-q"]);
        assert_eq!(done.code, 0, "{}", done.err);
    }
    assert_eq!(folder.text("one/study.json"), folder.text("two/study.json"));
    for seed in 7..11 {
        let file = format!("seed-{seed}/summary.json");
        assert_eq!(folder.text(&format!("one/{file}")), folder.text(&format!("two/{file}")));
    }
    let study = json(&folder.text("one/study.json"));
    assert_eq!(study["seeds"], serde_json::json!([7, 8, 9, 10]));
    assert!(study["figures"]["services.web.e2e_seconds.mean"]["half_width_95"].is_number());
}

#[test]
fn a_replication_is_the_run_with_its_seed() {
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes())]);
    folder.run(&["run", "s.yaml", "--replications", "2", "--out", "study", "-q"]);
    folder.run(&["run", "s.yaml", "--seed", "8", "--out", "single", "-q"]);
    assert_eq!(folder.text("study/seed-8/summary.json"), folder.text("single/summary.json"));
}

#[test]
fn a_snapshot_goes_on_to_the_same_record() {
    let folder = Folder::with(&[]);
    let whole = folder.run(&["run", "-q", "--format", "json", "--out", "whole"]);
    let cut =
        folder.run(&["run", "-q", "--format", "json", "--snapshot-at", "22m", "--snapshot", "at-22m.json"]);
    let rest = folder.run(&["run", "-q", "--format", "json", "--resume", "at-22m.json", "--out", "rest"]);
    assert_eq!((whole.code, cut.code, rest.code), (0, 0, 0), "{} {}", cut.err, rest.err);
    assert_eq!(whole.out, cut.out);
    assert_eq!(whole.out, rest.out);
    for file in ["summary.json", "timeline.csv", "decisions.jsonl"] {
        assert_eq!(folder.text(&format!("whole/{file}")), folder.text(&format!("rest/{file}")), "{file}");
    }
}

#[test]
fn require_slo_answers_with_the_exit_code() {
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes())]);
    assert_eq!(folder.run(&["run", "s.yaml", "-q", "--require-slo"]).code, 0);
    let strict = ["run", "s.yaml", "-q", "--require-slo", "--set", "services[0].slo.e2e.p95=10ms"];
    assert_eq!(folder.run(&strict).code, 1);
}

#[test]
fn theory_can_be_asked_from_the_command_line() {
    let text = "
name: mm1
warm_up: 200s
services:
  - name: station
    deployments: [{name: server, engine: {kind: concurrency, limit: 1, service_time: {exponential: {mean: 100ms}}}}]
traffic: [{name: customers, requests: 100000, arrivals: {poisson: {rate: 5/s}}}]
";
    let folder = Folder::with(&[("mm1.yaml", text.as_bytes())]);
    let done = folder.run(&["run", "mm1.yaml", "--replications", "10", "--format", "json", "-q"]);
    let figure = &json(&done.out)["figures"]["services.station.wait_seconds.mean"];
    let (mean, half) = (figure["mean"].as_f64().unwrap(), figure["half_width_95"].as_f64().unwrap());
    // λ / (μ (μ − λ)) with λ = 5 and μ = 10; three half widths are 0.9998 for normal figures of ten runs.
    assert!((mean - 0.1).abs() < 3.0 * half && half < 0.01, "{mean} ± {half}");
}

#[test]
fn reference_and_completions_are_printed() {
    let folder = Folder::with(&[]);
    for file in ["scenario", "policy"] {
        let schema = json(&folder.run(&["schema", file]).out);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    assert!(folder.run(&["policies"]).out.contains("hpa"));
    assert!(folder.run(&["policies", "hpa"]).out.contains("max_replicas"));
    let keda = folder.run(&["policies", "keda"]).out;
    for part in [
        "from source",
        "cooldown_period: a length of time such as 15s, default 5m",
        "triggers[].prometheus.ignore_null_values: ",
        "kind: ScaledObject",
        "honoured         spec.triggers[0].metadata.threshold",
        "without effect   spec.triggers[0].metadata.serverAddress",
    ] {
        assert!(keda.contains(part), "{part} is not in:\n{keda}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.run(&["completions", shell]).out.contains("scaletwin"));
    }
    let help = folder.run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
}

#[test]
fn a_page_leads_with_the_verdict_and_needs_nothing_from_elsewhere() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.run(&["run", "-q", "--out", "r", "--set", "name=<b>&\"x\""]).code, 0);
    let page = folder.text("r/report.html");
    assert!(page.contains("<h1 class=\"bad\">SLO missed</h1>"), "the verdict");
    assert!(page.contains("&lt;b&gt;&amp;&quot;x&quot;") && !page.contains("<b>&\"x\""), "names are text");
    assert_eq!(page.matches("<svg").count(), 2 * 9, "charts are in the page, for wide and narrow screens");
    for outside in ["http://", "https://", "src="] {
        let at = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!at.contains(outside), "{outside}");
    }
}

#[test]
fn a_metric_that_fails_at_every_look_is_told() {
    // A rate needs two samples: a range as long as the interval of the scrapes has one.
    let text = SMALL.replace(
        "traffic:",
        "signals: {rps: {series: http_requests_total, rate_over: 15s}}\npolicy: {controllers: [{kind: hpa, target: web, max_replicas: 3, metrics: [{external: {metric: rps, average_value: 5}}]}]}\ntraffic:",
    );
    let done = Folder::with(&[("s.yaml", text.as_bytes())]).run(&["run", "s.yaml", "-q"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("hpa/web/main reported FailedGetExternalMetric"), "{}", done.out);
}

#[test]
fn a_change_can_reach_below_maps_that_are_not_written() {
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes())]);
    let changes = ["scrape.interval=5s", "services[0].queue.limit=3", "services.web.slo.wait.p99=1s"];
    let arguments: Vec<&str> = changes.iter().flat_map(|change| ["--set", change]).collect();
    let done = folder.run(&[&["run", "s.yaml", "-q", "--out", "r"], &arguments[..]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(folder.text("r/settings.json").contains("\"queue\": 3"));
    let typo = folder.run(&["run", "s.yaml", "-q", "--set", "scrap.interval=5s"]);
    assert!(typo.code == 2 && typo.err.contains("did you mean \"scrape\"?"), "{}", typo.err);
}

#[test]
fn a_folder_holds_what_the_last_call_has_left_there_and_what_is_not_ours() {
    let trace = "arrival_seconds\n0\n1\n";
    let other = SMALL.replace("name: small", "name: other");
    let folder = Folder::with(&[
        ("s.yaml", SMALL.as_bytes()),
        ("o.yaml", other.as_bytes()),
        ("t.csv", trace.as_bytes()),
    ]);
    let run = |arguments: &[&str]| {
        let done = folder.run(&[arguments, &["-q", "--out", "r"]].concat());
        assert_eq!(done.code, 0, "{}", done.err);
    };
    run(&["run", "s.yaml", "--replications", "3", "--requests"]);
    std::fs::write(folder.path("r/mine.txt"), "x").unwrap();
    std::fs::write(folder.path("r/seed-8/mine.txt"), "x").unwrap();
    run(&["run", "o.yaml"]);
    let names = |name: &str| {
        let entries = std::fs::read_dir(folder.path(name)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("r/inputs"), ["o.yaml"]);
    assert_eq!(names("r/seed-8"), ["mine.txt"]);
    assert_eq!(
        names("r"),
        [
            ".scaletwin",
            "decisions.jsonl",
            "inputs",
            "mine.txt",
            "node_pools.csv",
            "nodes.csv",
            "report.html",
            "seed-8",
            "settings.json",
            "summary.json",
            "timeline.csv",
            "timing.json"
        ]
    );
}

#[test]
fn the_help_of_run_lists_the_library() {
    let help = Folder::with(&[]).run(&["run", "--help"]);
    for name in ["quickstart", "diurnal-week", "spot-reclaim"] {
        assert!(help.out.contains(&format!("\n  {name} ")), "{name} is not in:\n{}", help.out);
    }
}

#[test]
fn a_folder_of_results_does_not_hide_the_scenario_of_its_name() {
    let folder = Folder::with(&[]);
    for _ in 0..2 {
        let done = folder.run(&["run", "chat-steady", "--set", "duration=6m", "-q", "--out", "chat-steady"]);
        assert_eq!(done.code, 0, "{}", done.err);
    }
    let done = folder.run(&["run", ".", "-q"]);
    assert!(done.code == 2 && done.err.contains("cannot read ."), "{}", done.err);
}

//! Wrong input: exit code 2, nothing on stdout, and a message that names the place and what to do.

use std::io::Write as _;

use crate::program::{Folder, SMALL};

/// Asserts that this change of [`SMALL`] is refused with all of these in the message.
fn refused(old: &str, new: &str, expected: &[&str]) {
    assert!(SMALL.contains(old), "{old:?} is in the scenario");
    let text = SMALL.replacen(old, new, 1);
    refused_text(&text, &[], expected);
}

fn refused_text(text: &str, arguments: &[&str], expected: &[&str]) {
    let folder = Folder::with(&[("s.yaml", text.as_bytes())]);
    let done = folder.run(&[&["run", "s.yaml", "-q"], arguments].concat());
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
    for part in expected {
        assert!(done.err.contains(part), "{part:?} is not in:\n{}", done.err);
    }
    assert!(!done.err.contains("panicked"), "{}", done.err);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    refused("replicas: 2", "replicass: 2", &["s.yaml:8:9", "8 |", "^", "did you mean \"replicas\"?"]);
    refused("deployments:", "deploymets:", &["s.yaml:6:5", "did you mean \"deployments\"?"]);
}

#[test]
fn texts_that_do_something_to_a_terminal_and_rates_beyond_nanoseconds_are_refused() {
    refused("name: small", r#"name: "b\x1b[31m""#, &["s.yaml:1:7", "no control characters"]);
    let rate = SMALL.split("rate: ").nth(1).and_then(|rest| rest.split('}').next()).expect("a rate");
    refused(&format!("rate: {rate}"), "rate: 1e30/s", &["a rate is above 0 and at most 1e9/s"]);
}

#[test]
fn a_closed_loop_in_which_nothing_takes_time_is_refused() {
    let text = "name: s\nservices: [{name: q, deployments: [{name: d, engine: \
                {kind: concurrency, limit: 1, service_time: 0ms}}]}]\n\
                duration: 60s\ntraffic: [{name: t, clients: {count: 3}}]\n";
    refused_text(text, &[], &["send without end", "add think_time: 1s"]);
}

#[test]
fn routing_that_cannot_work_is_refused() {
    let service = |line: &str| format!("{line}\n    deployments:");
    refused("deployments:", &service("routing: least-outstandin"), &["did you mean \"least-outstanding\"?"]);
    let below = "routing: {kind: consistent-hash, load_factor: 0.5}";
    refused("deployments:", &service(below), &["load_factor is at least 1"]);
    refused("deployments:", &service("routing: {kind: random, choices: 3}"), &["unknown key \"choices\""]);
    refused(
        "deployments:",
        &service("routing: resource-based"),
        &["only continuous batching has a KV cache", "running: 1"],
    );
    let gpu = "routing: {kind: resource-based, gpu: 1}";
    refused("deployments:", &service(gpu), &["there are replicas without GPUs"]);
    let nothing = "routing: {kind: resource-based, waiting: 0}";
    refused("deployments:", &service(nothing), &["all replicas score the same"]);
    let often = "routing: {kind: resource-based, running: 1, refresh: 1us}";
    refused("deployments:", &service(often), &["at least 1ms"]);
    refused(
        "replicas: 2",
        "weight: 3\n        replicas: 2",
        &["nothing goes by this weight", "across: split"],
    );
    refused("deployments:", &service("prefer_zone: true"), &["its service prefers zones", "add zone:"]);
}

#[test]
fn batches_that_cannot_work_are_refused() {
    let batches = |keys: &str| {
        let engine = SMALL.lines().find(|line| line.contains("engine:")).expect("an engine");
        let batches = format!("        engine: {{kind: dynamic-batching, {keys}}}");
        SMALL.replacen(engine, &batches, 1)
    };
    for (keys, expected) in [
        ("max_batch_size: 4, batch_time: {linear: {base: 0s}}", "a batch takes some time"),
        (
            "max_batch_size: 4, preferred_batch_sizes: [2, 8], batch_time: {linear: {base: 1s}}",
            "a preferred size of 8 is above max_batch_size: 4",
        ),
        ("max_batch_size: 4, preferred_batch_sizes: [], batch_time: {law: 1s}", "there is no preferred size"),
        (
            "max_batch_size: 4, batch_time: {table: [{size: 1, time: 1s}, {size: 3, time: 2s}]}",
            "the table does not cover all sizes of batches",
        ),
        (
            "max_batch_size: 2, batch_time: {table: [{size: 2, time: 1s}, {size: 1, time: 2s}]}",
            "the sizes of a table ascend",
        ),
        ("max_batch_size: 0, batch_time: {law: 1s}", "s.yaml:9:"),
    ] {
        refused_text(&batches(keys), &[], &[expected]);
    }
}

#[test]
fn units_and_ranges_are_checked() {
    refused("300ms", "300", &["s.yaml:9:", "ms"]);
    refused("300ms", "300 kg", &["s.yaml:9:"]);
    refused("300ms", "-300ms", &["s.yaml:9:"]);
    refused("300ms", ".nan", &["s.yaml:9:"]);
    refused("rate: 8/s", "rate: .inf", &["s.yaml:11:"]);
    refused("rate: 8/s", "rate: 0/s", &["s.yaml:11:", "above 0"]);
    refused("limit: 2", "limit: 0", &["s.yaml:9:"]);
    refused("limit: 2", "limit: 99999999999", &["s.yaml:9:"]);
    refused("p95: 2s", "p101: 2s", &["p101", "below p100"]);
}

#[test]
fn shape_errors_come_all_at_once() {
    let text = SMALL.replace("limit: 2", "limit: none").replace("seed: 7", "seed: -7");
    refused_text(&text, &[], &["s.yaml:2:7", "s.yaml:9:"]);
}

#[test]
fn semantic_errors_come_all_at_once() {
    let text =
        SMALL.replace("name: users,", "name: users, service: wep,").replace("replicas: 2", "replicas: 0");
    refused_text(&text, &[], &["wep", "did you mean \"web\"?"]);
    let text = SMALL.replace("requests: 500, ", "");
    refused_text(&text, &[], &["this stream never ends", "duration"]);
}

#[test]
fn dangling_names_are_refused() {
    refused("replicas: 2", "cluster: mars", &["s.yaml:8:", "mars"]);
    refused(
        "traffic:",
        "policy: {controllers: [{kind: hpa, target: wab, max_replicas: 3}]}\ntraffic:",
        &["wab"],
    );
    refused(
        "traffic:",
        "policy: {controllers: [{kind: hqa, target: web}]}\ntraffic:",
        &["hqa", "did you mean \"hpa\"?"],
    );
    refused("traffic:", "policy: nowhere.yaml\ntraffic:", &["s.yaml:10:", "nowhere.yaml"]);
}

#[test]
fn a_manifest_of_keda_names_the_query_that_a_missing_signal_stands_for() {
    let manifest = "apiVersion: keda.sh/v1alpha1
kind: List
items:
  - {apiVersion: v1, kind: Service}
  - apiVersion: keda.sh/v1alpha1
    kind: ScaledObject
    spec:
      scaleTargetRef: {name: main}
      maxReplicaCount: 3
      cooldownPeriods: 5
      triggers:
        - {type: prometheus, metadata: {serverAddress: a, query: sum(waiting), threshold: \"4\"}}
";
    let run = |more: &str| {
        let policy = format!(
            "policy: {{controllers: [{{kind: keda, target: web, manifest: so.yaml{more}}}]}}\ntraffic:"
        );
        let text = SMALL.replacen("traffic:", &policy, 1);
        let folder = Folder::with(&[("s.yaml", text.as_bytes()), ("so.yaml", manifest.as_bytes())]);
        folder.run(&["run", "s.yaml", "-q"])
    };
    let done = run("");
    assert_eq!(done.code, 2);
    for part in ["so.yaml:10:", "spec.cooldownPeriods is not modelled", "did you mean \"cooldownPeriod\"?"] {
        assert!(done.err.contains(part), "{part:?} is not in:\n{}", done.err);
    }
    let done = run(", waive: [spec.cooldownPeriods]");
    for part in
        ["\"s0-prometheus\" is bound to nothing", "signals:", "s0-prometheus: {promql: 'sum(waiting)'}"]
    {
        assert!(done.err.contains(part), "{part:?} is not in:\n{}", done.err);
    }
    let done = run(", waive: [spec.cooldownPeriods], bind: {s1-prometheus: waiting}");
    assert!(done.err.contains("no trigger of the manifest is named \"s1-prometheus\""), "{}", done.err);
}

#[test]
fn mistakes_in_rules_and_guards_are_named() {
    let policy = |text: &str| format!("policy: {{{text}}}\ntraffic:");
    for (text, want) in [
        ("controllers: [{kind: condition, target: web, name: a, when: replicas >}]", "the condition: "),
        (
            "controllers: [{kind: condition, target: web, name: a, when: replicas + 1}]",
            "neither true nor false",
        ),
        ("controllers: [{kind: condition, target: web, name: a, when: waiting > 1.0}]", "the condition: "),
        (
            "controllers: [{kind: schedule, target: web, windows: [{start: x, end: 0 1 * * *, replicas: 1}]}]",
            "five fields",
        ),
        (
            "controllers: [{kind: schedule, target: web, windows: [{start: 0 1 * * *, end: 0 1 * * *, replicas: 1}]}]",
            "start and end are the same",
        ),
        (
            "controllers: [{kind: keda, target: web, max_replicas: 3, triggers: [{cpu: {average_value: 1}}]}]",
            "all triggers are cpu or memory, which never scale to 0",
        ),
        (
            "controllers: [{kind: composite, combine: largest, of: [{kind: static, target: web, replicas: 1}]}]",
            "at least two",
        ),
        (
            "controllers: [{kind: static, target: web, replicas: 1}, {kind: idle, target: web, signal: q}]",
            "\"q\" is bound to nothing",
        ),
        ("guards: [{kind: freeze}]", "start and end, or from and a later until"),
        ("guards: [{kind: budget, usd: 1, stages: []}]", "at least one stage"),
        ("guards: [{kind: limit}]", "did you mean \"limits\"?"),
    ] {
        refused("traffic:", &policy(text), &[want]);
    }
}

#[test]
fn a_metric_without_a_signal_prints_the_stanza_to_add() {
    let metric = "{pods: {metric: queue_depth, average_value: 3}}";
    let policy = format!(
        "policy: {{controllers: [{{kind: hpa, target: web, max_replicas: 3, metrics: [{metric}]}}]}}\ntraffic:"
    );
    refused("traffic:", &policy, &["queue_depth", "signals"]);
}

/// The crowd comes after the end of the run, and the slice lies behind the end of the trace.
#[test]
fn traffic_that_never_arrives_is_named() {
    let users = "  - {name: users, requests: 500, arrivals: {poisson: {rate: 8/s}}}\n";
    let crowd = "  - {name: crowd, from: 2h, arrivals: {poisson: {rate: 8/s}}}\n";
    let sliced = "  - {name: sliced, trace: {format: csv, path: t.csv, slice: {from: 1m}}}\n";
    let text = SMALL.replacen(users, &[users, crowd, sliced].concat(), 1) + "duration: 1h\n";
    let folder = Folder::with(&[("s.yaml", text.as_bytes()), ("t.csv", b"arrival_seconds\n1\n2\n")]);
    let done = folder.run(&["run", "s.yaml", "-q"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let named: Vec<&str> = done.err.lines().filter_map(|line| line.split(' ').nth(5)).collect();
    assert_eq!(named, ["crowd", "sliced"], "{}", done.err);
}

#[test]
fn a_wrong_query_is_one_mistake() {
    let hpa =
        "{kind: hpa, target: web, max_replicas: 3, metrics: [{external: {metric: m, average_value: 1}}]}";
    let idle = "{kind: idle, target: web, signal: m}";
    let written =
        format!("signals: {{m: {{promql: 'sum('}}}}\npolicy: {{controllers: [{hpa}, {idle}]}}\ntraffic:");
    let folder = Folder::with(&[("s.yaml", SMALL.replacen("traffic:", &written, 1).as_bytes())]);
    let done = folder.run(&["run", "s.yaml", "-q"]);
    assert!(done.code == 2 && done.err.contains("at the end of the query"), "{}", done.err);
    assert!(!done.err.contains("bound to"), "{}", done.err);
}

#[test]
fn an_empty_selector_of_a_metric_is_none() {
    let manifest = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {kind: Deployment, name: main}\n  maxReplicas: 3\n  metrics:\n  - type: External\n    external:\n      metric: {name: m, selector: {matchExpressions: []}}\n      target: {type: AverageValue, averageValue: 1}\n";
    let written = "signals: {m: {series: envoy_cluster_upstream_rq_active}}\npolicy: {controllers: [{kind: hpa, target: web, manifest: hpa.yaml}]}\ntraffic:";
    let text = SMALL.replacen("traffic:", written, 1);
    let run = |manifest: &str| {
        let folder = Folder::with(&[("s.yaml", text.as_bytes()), ("hpa.yaml", manifest.as_bytes())]);
        folder.run(&["run", "s.yaml", "-q"])
    };
    let done = run(manifest);
    assert_eq!(done.code, 0, "{}", done.err);
    let done = run(&manifest.replace("[]", "[{key: a, operator: Exists}]"));
    assert!(done.err.contains("selector.matchExpressions is not modelled"), "{}", done.err);
    let done = run(&manifest.replace("averageValue: 1", "averageValue: 1, value: 2"));
    assert!(done.err.contains("value and averageValue exclude each other"), "{}", done.err);
}

#[test]
fn zero_replicas_that_nobody_adds_to_are_refused() {
    refused("replicas: 2", "replicas: 0", &["web/main has no replica", "start with replicas: 1"]);
}

#[test]
fn manifests_with_what_is_not_modelled_need_a_waiver() {
    let manifest = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {kind: Deployment, name: main}\n  maxReplicas: 3\n  surprise: 1\n";
    let text = SMALL.replace(
        "traffic:",
        "policy: {controllers: [{kind: hpa, target: web, manifest: hpa.yaml}]}\ntraffic:",
    );
    let folder = Folder::with(&[("s.yaml", text.as_bytes()), ("hpa.yaml", manifest.as_bytes())]);
    let done = folder.run(&["run", "s.yaml", "-q"]);
    assert_eq!(done.code, 2, "{}", done.out);
    assert!(done.err.contains("hpa.yaml:7:3") && done.err.contains("surprise"), "{}", done.err);
}

#[test]
fn what_will_not_work_in_a_cluster_either_is_a_warning() {
    let manifest = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {kind: Deployment, name: front}\n  maxReplicas: 3\n  targetCPUUtilizationPercentage: 50\n";
    let text = SMALL.replace(
        "traffic:",
        "policy: {controllers: [{kind: hpa, target: web, manifest: hpa.yaml}]}\ntraffic:",
    );
    let folder = Folder::with(&[("s.yaml", text.as_bytes()), ("hpa.yaml", manifest.as_bytes())]);
    let done = folder.run(&["run", "s.yaml"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("warning: the manifest scales Deployment \"front\""), "{}", done.err);
    assert!(done.err.contains("web/main requests no cpu"), "{}", done.err);
}

#[test]
fn a_target_at_zero_under_an_hpa_is_refused() {
    let hpa = "{kind: hpa, target: web, min_replicas: 0, max_replicas: 3, controller: {scale_to_zero: true}, metrics: [{external: {metric: m, average_value: 1}}]}";
    let text = SMALL.replace("replicas: 2", "replicas: 0").replace(
        "traffic:",
        &format!("signals: {{m: {{series: envoy_cluster_upstream_rq_active}}}}\npolicy: {{controllers: [{hpa}]}}\ntraffic:"),
    );
    refused_text(&text, &[], &["web/main has no replica", "scaled it to zero itself"]);
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    for text in
        ["", "name: [", "name: a\nname: b\n", "\u{0}", "- 1\n- 2\n", "a: &x [*x]", "{{{{", "!!binary x"]
    {
        refused_text(text, &[], &[]);
    }
}

fn with_trace(trace: &[u8], name: &str, expected: &[&str]) {
    let text = SMALL.replace(
        "requests: 500, arrivals: {poisson: {rate: 8/s}}",
        &format!("trace: {{format: csv, path: {name}}}"),
    );
    let folder = Folder::with(&[("s.yaml", text.as_bytes()), (name, trace)]);
    let done = folder.run(&["run", "s.yaml", "-q"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
    for part in expected {
        assert!(done.err.contains(part), "{part:?} is not in:\n{}", done.err);
    }
}

#[test]
fn wrong_traces_are_refused_with_line_and_column() {
    with_trace(b"", "t.csv", &["t.csv", "empty"]);
    with_trace(b"time\n1\n", "t.csv", &["t.csv:1:1", "unknown column"]);
    with_trace(b"arrival_seconds\n1\n0.5\n", "t.csv", &["t.csv:3:1"]);
    with_trace(b"arrival_seconds\n1\nsoon\n", "t.csv", &["t.csv:3:1", "soon"]);
    with_trace(b"arrival_seconds\n1\n-2\n", "t.csv", &["t.csv:3:1"]);
    with_trace(b"arrival_seconds\n1\nNaN\n", "t.csv", &["t.csv:3:1"]);
    with_trace(b"arrival_seconds,priority\n1,1\n2\n", "t.csv", &["t.csv:3:1", "fields"]);
    let mut endless = b"arrival_seconds\n".to_vec();
    endless.resize(40 << 20, b'1');
    with_trace(&endless, "t.csv", &["t.csv"]);
}

#[test]
fn a_truncated_archive_is_refused() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"arrival_seconds\n").unwrap();
    for second in 0..50_000 {
        writeln!(packed, "{second}").unwrap();
    }
    let packed = packed.finish().unwrap();
    with_trace(&packed[..packed.len() / 2], "t.csv.gz", &["t.csv.gz"]);
}

#[test]
fn missing_files_are_named() {
    let folder = Folder::with(&[]);
    for arguments in
        [["run", "nowhere.yaml"], ["run", "--policy=nowhere.yaml"], ["run", "--resume=nowhere.yaml"]]
    {
        let done = folder.run(&arguments);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
        assert!(done.err.contains("nowhere.yaml"), "{}", done.err);
    }
    let text = SMALL
        .replace("requests: 500, arrivals: {poisson: {rate: 8/s}}", "trace: {format: csv, path: gone.csv}");
    refused_text(&text, &[], &["s.yaml:11:", "gone.csv"]);
}

#[test]
fn wrong_arguments_are_refused() {
    refused_text(SMALL, &["--set", "services"], &["there is no ="]);
    refused_text(SMALL, &["--set", "services[3].name=x"], &["services[3]"]);
    refused_text(SMALL, &["--set", "seed=many"], &["seed"]);
    refused_text(SMALL, &["--seed", "many"], &["--seed"]);
    refused_text(SMALL, &["--replications", "0"], &["--replications"]);
    refused_text(SMALL, &["--snapshot-at", "5m"], &["--snapshot"]);
    refused_text(SMALL, &["--snapshot-at", "5y", "--snapshot", "x"], &["5y"]);
    refused_text(SMALL, &["--snapshot-at", "5h", "--snapshot", "x"], &["the run was over"]);
    refused_text(SMALL, &["--frobnicate"], &["--frobnicate"]);
    refused_text(SMALL, &["--out", "s.yaml"], &["s.yaml"]);
    let no_slo = SMALL.replace("    slo: {e2e: {p95: 2s}}\n", "");
    refused_text(&no_slo, &["--require-slo"], &["no service has an slo"]);
}

#[test]
fn hardware_that_is_not_there_and_less_than_nothing_are_refused() {
    let pool =
        "clusters: [{name: c, node_pools: [{name: p, instance_type: g6e.xlarge, nodes: 1}]}]\nservices:";
    let text = SMALL
        .replace("services:", pool)
        .replace("replicas: 2", "replicas: 1\n        accelerator: h100-sxm\n        replica: {gpus: 1}");
    refused_text(&text, &[], &["no node pool of c has the accelerator \"h100-sxm\""]);
    refused("replicas: 2", "replica: {cpu: -2}", &["at least 0"]);
    refused("seed: 7", "seed: 7\nwindow: 1ns", &["at least 1ms"]);
    refused("300ms", "200y", &["s.yaml:9:"]);
    refused("seed: 7", "seed: 7\nscrape: {lag: 18446744073s}", &["a hundred years"]);
    refused("{poisson: {rate: 8/s}}", "{gamma: {rate: 8/s, cv: 1.0e-200}}", &["between 0.001 and 1000"]);
}

#[test]
fn a_snapshot_of_another_scenario_is_refused() {
    let folder = Folder::with(&[("s.yaml", SMALL.as_bytes()), ("no.json", b"{}")]);
    assert_eq!(folder.run(&["run", "s.yaml", "-q", "--snapshot-at", "10s", "--snapshot", "x.json"]).code, 0);
    let other = folder.run(&[
        "run",
        "s.yaml",
        "-q",
        "--resume",
        "x.json",
        "--set",
        "services[0].deployments[0].replicas=3",
    ]);
    assert_eq!(other.code, 2, "{}", other.out);
    assert!(other.err.contains("small"), "{}", other.err);
    let nameless = folder.run(&["run", "-q", "--resume", "x.json"]);
    assert!(
        nameless.code == 2 && nameless.err.contains("name the scenario that it was taken of"),
        "{}",
        nameless.err
    );
    let broken = folder.run(&["run", "s.yaml", "-q", "--resume", "no.json"]);
    assert_eq!(broken.code, 2, "{}", broken.out);
    let text = folder.text("x.json");
    std::fs::write(folder.path("cut.json"), &text[..text.len() / 2]).unwrap();
    assert_eq!(folder.run(&["run", "s.yaml", "-q", "--resume", "cut.json"]).code, 2);
}

#[test]
fn replicas_without_a_node_are_refused_before_the_run() {
    let text = SMALL
        .replace("    deployments:", "    queue: {}\n    deployments:")
        .replace("replicas: 2", "replicas: 2\n        replica: {cpu: 2}")
        .replace("services:", "clusters: [{name: c, node_pools: [{name: p, instance_type: m5.large, nodes: {min: 1, max: 3}}]}]\nservices:");
    refused_text(&text, &[], &["no node for 1 of the replicas", "node-provisioner"]);
}

#[test]
fn a_controller_is_there_once() {
    let policy = |controllers: &str| format!("{SMALL}policy:\n  controllers:\n{controllers}");
    let vpa = "    - {kind: vpa, target: web}\n";
    let twice = ["there is a controller vpa/web/main/main already", "it is in line", "remove one of them"];
    refused_text(&policy(&vpa.repeat(2)), &[], &twice);
    // Two ScaledObjects are four controllers, of which two by two are layers of one.
    let keda = "    - {kind: keda, target: web, min_replicas: 1, triggers: [{cpu: {utilization: 50}}]}\n";
    refused_text(&policy(&keda.repeat(2)), &[], &["there is a controller keda-hpa/web/main already"]);
}

#[test]
fn two_autoscalers_of_the_same_nodes_are_refused() {
    let clusters = "clusters: [{name: here, node_pools: [{name: p, instance_type: g6.xlarge, nodes: {min: 1, max: 2}}]}]\n";
    let both = "policy: {controllers: [{kind: cluster-autoscaler}, {kind: karpenter}]}\n";
    let expected = ["cluster-autoscaler/here and karpenter/here both write the nodes of here", "remove one"];
    refused_text(&format!("{SMALL}{clusters}{both}"), &[], &expected);
}

#[test]
fn instants_since_1970_are_no_offsets() {
    let trace = "arrival_seconds\n1700000000.5\n1700000001\n";
    let scenario = |trace: &str| SMALL.replace("requests: 500, arrivals: {poisson: {rate: 8/s}}", trace);
    let files = |text: &str| Folder::with(&[("s.yaml", text.as_bytes()), ("t.csv", trace.as_bytes())]);
    let folder = files(&scenario("trace: {format: csv, path: t.csv}"));
    let done = folder.run(&["run", "s.yaml", "-q"]);
    assert_eq!(done.code, 2, "{}", done.out);
    for part in ["are its times counted from 1970?", "slice: {from: 1700000000s}"] {
        assert!(done.err.contains(part), "{part:?} is not in:\n{}", done.err);
    }
    // The hint is one that works.
    let folder = files(&scenario("trace: {format: csv, path: t.csv, slice: {from: 1700000000s}}"));
    let done = folder.run(&["run", "s.yaml", "-q", "--format", "json"]);
    let summary: serde_json::Value = serde_json::from_str(&done.out).unwrap_or_default();
    assert_eq!(summary["services"][0]["requests"]["completed"], 2, "{}", done.err);
    assert!(summary["simulated_seconds"].as_f64() < Some(60.0), "{}", summary["simulated_seconds"]);
}

#[test]
fn a_controller_of_nodes_without_a_cluster_is_told_what_is_missing() {
    let policy = format!("{SMALL}policy: {{controllers: [{{kind: node-provisioner}}]}}\n");
    refused_text(&policy, &[], &["this needs a cluster, and the scenario has none", "add clusters:"]);
}

#[test]
fn counts_have_limits_that_are_named() {
    refused("replicas: 2", "replicas: 1000000000000", &["s.yaml:8:", "65535"]);
    let clients = "clients: {count: 1000000000}, requests: 5";
    refused("requests: 500, arrivals: {poisson: {rate: 8/s}}", clients, &["at most 1000000 clients"]);
    let nodes = "clusters: [{name: c, node_pools: [{name: p, instance_type: m6i.xlarge, nodes: {min: 2000000000, max: 2000000001}}]}]";
    refused_text(&format!("{SMALL}{nodes}\n"), &[], &["at most 100000 nodes"]);
    let fixed = "policy: {controllers: [{kind: static, target: web, replicas: 2000000000}]}";
    refused_text(&format!("{SMALL}{fixed}\n"), &[], &["at most 100000 replicas"]);
}

#[test]
fn retries_that_never_come_are_refused() {
    let retrying = |retries: &str, expected: &str| {
        let client = format!("{{name: users, client: {{retries: {{max: 2, {retries}}}}}, requests: 500");
        refused("{name: users, requests: 500", &client, &["s.yaml:11:", expected]);
    };
    retrying("budget: 0.1, burst: 0.5", "burst is at least 1");
    retrying("burst: 5", "burst has no effect without a budget");
    retrying("on: []", "nothing is tried again after no outcome");
}

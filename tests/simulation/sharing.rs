//! Slices of GPUs and nodes that are overcommitted, with answers known beforehand.

use crate::running::{record, requests};
use crate::scheduling::{AUTOSCALERS, homes, nodes, problems, text};

/// A node of one GPU, whole or shared, and replicas of an LLM server that has so much of it.
fn llm(sharing: &str, gpus: &str, replicas: u32) -> String {
    let pool = format!("name: main, cpu: 8, gpus: 1, accelerator: h100-sxm, nodes: 1{sharing}");
    let keys = format!("model: llama-3.1-8b, replicas: {replicas}, replica: {{gpus: {gpus}}}");
    text("", &[pool.as_str()], &keys, AUTOSCALERS[0])
        .replace(
            "{kind: concurrency, limit: 50, service_time: 1s}",
            "{kind: continuous-batching, max_model_len: 8192, step_time: {roofline: {overhead: 0s}}}",
        )
        .replace("rate: 1/s}}", "rate: 1/s}}, prompt_tokens: 500, output_tokens: 20")
        .replace("until: 1000s", "until: 10s")
}

const HALVES: &str = ", gpu_sharing: {slices: 2}";

#[test]
fn a_gpu_has_as_many_replicas_as_slices() {
    let placed = |text: &str| homes(text, 10).iter().filter(|home| home.is_some()).count();
    assert_eq!(placed(&llm(HALVES, "500m", 3)), 2);
    assert_eq!(placed(&llm("", "1", 3)), 1);
    let thirds = ", gpu_sharing: {slices: 3, memory: 0.33}";
    assert_eq!(placed(&llm(thirds, "333m", 4)), 3);
}

#[test]
fn a_step_on_a_slice_takes_as_many_times_as_long() {
    // Both requests are alone: a step is what computation or memory traffic take, and nothing else.
    let took = |text: &str| {
        let (_, all) = requests(text);
        let (_, first) = all.first().expect("a request");
        first.ended.since(first.arrived).as_secs_f64()
    };
    let whole = took(&llm("", "1", 1));
    let ratio = |sharing: &str| took(&llm(sharing, "500m", 1)) / whole;
    assert!((ratio(HALVES) - 2.0).abs() < 1e-6, "{}", ratio(HALVES));
    let idle = ", gpu_sharing: {slices: 2, slowdown: 1.25}";
    assert!((ratio(idle) - 1.25).abs() < 1e-6, "{}", ratio(idle));
}

#[test]
fn a_slice_that_works_is_half_a_gpu_that_works() {
    let busy = |sharing: &str, gpus: &str| {
        record(&llm(sharing, gpus, 1)).summary.node_pools[0].gpu_busy_share.expect("it has a GPU")
    };
    // On a half of the GPU the same work takes twice as long.
    let (whole, half) = (busy("", "1"), busy(HALVES, "500m"));
    assert!((whole / half - 1.0).abs() < 1e-4, "{whole} {half}");
}

#[test]
fn what_no_pool_has_of_gpus_is_an_error() {
    for (sharing, gpus) in [("", "500m"), (HALVES, "1"), (HALVES, "400m")] {
        let found = problems(&llm(sharing, gpus, 1));
        assert!(found.contains("of GPUs"), "{sharing} {gpus}: {found}");
    }
    let much = problems(&llm("", "1500m", 1));
    assert!(much.contains("whole GPUs, or one slice"), "{much}");
    let large = problems(&llm(", gpu_sharing: {slices: 2, memory: 0.6}", "500m", 1));
    assert!(large.contains("more memory than the GPU"), "{large}");
    // A quarter of 80 GB has no room for 16 GB of weights and 5 GB of activations and KV blocks.
    let small = problems(&llm(", gpu_sharing: {slices: 4}", "250m", 1));
    assert!(small.contains("does not fit"), "{small}");
}

#[test]
fn overcommitted_cores_are_requested_twice_and_there_once() {
    let homes = |overcommit: &str| {
        let pool = format!("name: main, cpu: 4, nodes: 1{overcommit}");
        let text =
            text("quota: {cpu: 4}", &[pool.as_str()], "replicas: 5, replica: {cpu: 2}", AUTOSCALERS[0]);
        assert!((nodes(&record(&text))[0] - 1.0).abs() < 1e-9);
        homes(&text, 10).iter().filter(|home| home.is_some()).count()
    };
    assert_eq!(homes(""), 2);
    // The quota counts what is there: 4 cores.
    assert_eq!(homes(", overcommit: {cpu: 2}"), 4);
    assert_eq!(homes(", overcommit: {memory: 2}"), 2);
    let less = problems(&text(
        "",
        &["name: main, cpu: 4, nodes: 1, overcommit: {cpu: 0.5}"],
        "replica: {cpu: 1}",
        "",
    ));
    assert!(less.contains("at least what they have"), "{less}");
}

//! Drafts of dumps as they come, and of dumps with anything in them.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Draft, ManifestFile, draft};
use crate::Scenario;

fn object(kind: &str, name: &str, rest: &Value) -> Value {
    let mut object = json!({"kind": kind, "metadata": {"name": name, "namespace": "llm"}});
    for (key, value) in rest.as_object().expect("the rest is a map") {
        match key.as_str() {
            "labels" => object["metadata"]["labels"] = value.clone(),
            _ => object[key] = value.clone(),
        }
    }
    object
}

/// What `kubectl get deployments,hpa,scaledobjects,nodepools,nodes -o json` could print.
fn dump() -> Value {
    let container = json!({
        "name": "vllm", "image": "vllm/vllm-openai:v0.11.0",
        "args": ["--model", "meta-llama/Llama-3.1-8B-Instruct", "--max-num-seqs=64", "--max-model-len", "16384"],
        "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "2", "memory": "20Gi"}},
        "readinessProbe": {"periodSeconds": 5},
    });
    let pod = json!({"containers": [container], "terminationGracePeriodSeconds": 60});
    let chat = json!({"apiVersion": "apps/v1", "spec": {"replicas": 2, "template": {"spec": pod}}});
    let metric = json!({"type": "Pods", "pods": {
        "metric": {"name": "vllm_num_requests_waiting"}, "target": {"type": "AverageValue", "averageValue": "4"}}});
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"});
    let hpa = json!({"apiVersion": "autoscaling/v2", "spec": {
        "minReplicas": 2, "maxReplicas": 6, "scaleTargetRef": target, "metrics": [metric]}});
    let node = json!({
        "labels": {"node.kubernetes.io/instance-type": "g6e.xlarge", "topology.kubernetes.io/zone": "us-east-1a",
            "karpenter.sh/capacity-type": "on-demand", "karpenter.sh/nodepool": "gpu"},
        "status": {"allocatable": {"cpu": "3920m", "memory": "30541Mi", "nvidia.com/gpu": "1"}},
    });
    let requirements = json!([
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6e.xlarge", "g6e.12xlarge"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
    ]);
    let pool = json!({"apiVersion": "karpenter.sh/v1", "spec": {
        "limits": {"nvidia.com/gpu": 16}, "template": {"spec": {"requirements": requirements, "taints": []}}}});
    let trigger = json!({"type": "prometheus", "metadata": {
        "query": "sum(vllm:num_requests_running)", "threshold": "16"}});
    let keda = json!({"apiVersion": "keda.sh/v1alpha1", "spec": {
        "scaleTargetRef": {"name": "code"}, "minReplicaCount": 1, "maxReplicaCount": 4, "triggers": [trigger]}});
    let code = json!({"apiVersion": "apps/v1", "spec": {"replicas": 1, "template": {"spec": {"containers": [{
        "name": "server", "image": "example/inference", "command": ["sh", "-c"],
        "args": ["exec vllm serve Qwen/Qwen3-8B --tensor-parallel-size 1"],
        "resources": {"limits": {"nvidia.com/gpu": 1}}}]}}}});
    json!({"kind": "List", "items": [
        object("Deployment", "chat", &chat),
        object("HorizontalPodAutoscaler", "chat", &hpa),
        object("Node", "ip-10-0-1-7", &node),
        object("NodePool", "gpu", &pool),
        object("Deployment", "code", &code),
        object("ScaledObject", "code", &keda),
    ]})
}

fn drafted(text: &str) -> Draft {
    let file = ManifestFile { path: "dump.yaml".to_owned(), text: text.to_owned() };
    draft(&[file], Path::new("nowhere"), "dump.yaml")
}

/// The scenario of a draft, with the dump beside it.
fn scenario(draft: &Draft, dump: &str) -> Scenario {
    let known = Arc::new([(Path::new("nowhere").join("dump.yaml"), dump.to_owned())].into());
    let read = Scenario::parse_beside("s.yaml", &draft.text, Path::new("nowhere"), &[], known);
    read.unwrap_or_else(|problems| panic!("{problems}\n{}", draft.text))
}

#[test]
fn a_dump_becomes_a_scenario_with_all_its_parts() {
    let dump = dump().to_string();
    let draft = drafted(&dump);
    let scenario = scenario(&draft, &dump);
    let settings = scenario.settings();
    let targets: Vec<&str> =
        settings.deployments.iter().map(|model| model.settings.target.as_str()).collect();
    assert_eq!(targets, ["chat/chat", "code/code"]);
    let pools: Vec<&str> = settings.clusters[0].pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(
        pools,
        [
            "g6e.xlarge-on-demand-us-east-1a",
            "g6e.xlarge-spot-us-east-1a",
            "g6e.12xlarge-on-demand-us-east-1a",
            "g6e.12xlarge-spot-us-east-1a",
        ]
    );
    for line in [
        "max_num_seqs: 64",
        "# read from Deployment/chat --max-num-seqs",
        "- kind: karpenter",
        "- kind: hpa",
        "- kind: keda",
        "bind: {s0-prometheus: code-s0-prometheus}",
        "promql: \"sum(vllm:num_requests_running)\"",
        "waive: [spec.template.spec.taints]",
        "# guessed: there is no profile of \"Qwen/Qwen3-8B\"",
    ] {
        assert!(draft.text.contains(line), "{line} is not in:\n{}", draft.text);
    }
    assert_eq!(draft.left_out, ["NodePools of dump.yaml: spec.template.spec.taints (waived: not modelled)"]);
}

#[test]
fn a_guessed_node_has_room_for_what_a_replica_requests() {
    let mut dump = dump();
    let items = dump["items"].as_array_mut().expect("a list");
    items.retain(|item| item["kind"] == "Deployment");
    items[0]["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] =
        json!({"cpu": "7", "memory": "48Gi"});
    let text = dump.to_string();
    let draft = drafted(&text);
    assert!(draft.text.contains("cpu: 7"), "{}", draft.text);
    assert!(!draft.text.contains("without its requests"), "{}", draft.text);
    scenario(&draft, &text);
}

#[test]
fn every_value_says_where_it_is_from() {
    let draft = drafted(&dump().to_string());
    let bare: Vec<&str> = draft
        .text
        .lines()
        .filter(|line| !line.contains('#') && !line.ends_with(':') && !line.contains("- name:"))
        .filter(|line| !line.contains("service: "))
        .collect();
    assert_eq!(bare, ["name: chat"]);
}

/// All places of a tree.
fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, &below(key), found)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| pointers(value, &below(&at.to_string()), found));
        }
        _ => {}
    }
}

/// Values that may stand anywhere.
fn strange() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "0",
            "-1",
            "1e300",
            "99999999999",
            "16k",
            "a/b",
            "# x",
            "\n",
            "é: [",
            "--",
            "8192"
        ])
        .prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["--model", "a", {"b": 1}])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_dump_with_anything_in_it_gives_a_scenario_that_runs(
        changes in prop::collection::vec((any::<prop::sample::Index>(), strange()), 0..5),
    ) {
        let mut dump = dump();
        for (index, value) in changes {
            let mut all = Vec::new();
            pointers(&dump, "", &mut all);
            *dump.pointer_mut(index.get(all.as_slice()).as_str()).expect("a place of the tree") = value;
        }
        let text = dump.to_string();
        let draft = drafted(&text);
        let scenario = scenario(&draft, &text);
        let run = scenario.start(scenario.settings().seed).expect("no trace");
        drop(run);
    }

    #[test]
    fn no_text_panics(text in "[ -~\n\t]{0,120}") {
        let draft = drafted(&text);
        scenario(&draft, &text);
    }
}

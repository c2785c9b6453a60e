//! Drafts of dumps as they come, and of dumps with anything in them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use scaletwin_core::units::{Span, Time};
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
fn a_pool_that_says_what_its_nodes_are_gets_the_types_that_are_so() {
    let types = |requirements: &serde_json::Value| {
        let mut dump = dump();
        let items = dump["items"].as_array_mut().expect("a list");
        items.retain(|item| item["kind"] != "Node");
        let pool = items.iter_mut().find(|item| item["kind"] == "NodePool").expect("a NodePool");
        pool["spec"]["template"]["spec"]["requirements"] = requirements.clone();
        let text = dump.to_string();
        let scenario = scenario(&drafted(&text), &text);
        let pools = scenario.settings().clusters[0].pools.iter();
        pools.map(|pool| pool.name.trim_end_matches("-on-demand-a").to_owned()).collect::<Vec<_>>()
    };
    let family =
        json!({"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["g6", "g6e", "p5"]});
    let few = json!({"key": "karpenter.k8s.aws/instance-gpu-count", "operator": "Lt", "values": ["2"]});
    let small = json!({"key": "karpenter.k8s.aws/instance-cpu", "operator": "Lt", "values": ["8"]});
    let all = types(&json!([family]));
    let one = types(&json!([family, few]));
    assert!(all.contains(&"g6e.12xlarge".to_owned()) && !one.contains(&"g6e.12xlarge".to_owned()), "{all:?}");
    assert_eq!(one, ["g6.xlarge", "g6e.xlarge", "p5.4xlarge"]);
    assert_eq!(types(&json!([family, few, small])), ["g6.xlarge", "g6e.xlarge"]);
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

/// Three nodes for chat in two zones, which keep others away, one for the web, and what chat wants of where its pods run.
fn constrained() -> Value {
    let node = |kind: &str, zone: &str, taints: &Value| {
        json!({"labels": {"node.kubernetes.io/instance-type": kind, "topology.kubernetes.io/zone": zone},
            "spec": {"taints": taints}})
    };
    let taints = json!([
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"},
    ]);
    let (hostname, zone) = ("kubernetes.io/hostname", "topology.kubernetes.io/zone");
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let pods =
        |app: &str, key: &str| json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key});
    let mut spread = pods("chat", zone);
    (spread["maxSkew"], spread["whenUnsatisfiable"]) = (json!(1), json!("DoNotSchedule"));
    let in_zone = json!({"matchExpressions": [{"key": zone, "operator": "In", "values": ["b"]}]});
    let chat = json!({"replicas": 3, "template": {"metadata": {"labels": {"app": "chat"}}, "spec": {
        "priorityClassName": "urgent",
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [spread],
        "affinity": {
            "nodeAffinity": {preferred: [{"weight": 20, "preference": in_zone}]},
            "podAffinity": {preferred: [{"weight": 5, "podAffinityTerm": pods("web", zone)}]},
            "podAntiAffinity": {required: [pods("chat", hostname)]},
        },
        "containers": [{"name": "vllm", "args": ["vllm", "serve", "meta-llama/Llama-3.1-8B"],
            "resources": {"limits": {"nvidia.com/gpu": 1}}}]}}});
    let web = json!({"replicas": 1, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
        "containers": [{"name": "web", "resources": {"requests": {"cpu": "1"}}}]}}});
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let resource = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}});
    let metrics = json!([{"type": "Resource", "resource": resource}]);
    let hpa = json!({"apiVersion": "autoscaling/v2",
        "spec": {"maxReplicas": 2, "scaleTargetRef": target, "metrics": metrics}});
    json!({"kind": "List", "items": [
        object("Deployment", "chat", &json!({"spec": chat})),
        object("Deployment", "web", &json!({"spec": web})),
        object("HorizontalPodAutoscaler", "web", &hpa),
        object("PriorityClass", "urgent", &json!({"value": 1000, "preemptionPolicy": "Never"})),
        object("Node", "one", &node("g6e.12xlarge", "a", &taints)),
        object("Node", "two", &node("g6e.12xlarge", "a", &taints)),
        object("Node", "three", &node("g6e.12xlarge", "b", &taints)),
        object("Node", "four", &node("m6i.xlarge", "a", &json!([]))),
    ]})
}

/// On which nodes the replicas of chat and of the web run after five minutes, with the pools of the nodes.
fn places(dump: &str) -> (Draft, Vec<Vec<(String, String)>>) {
    let draft = drafted(dump);
    let scenario = scenario(&draft, dump);
    let at = Time::ZERO + Span::from_secs(300);
    let mut run = scenario.start(scenario.settings().seed).expect("no trace");
    run.run_until(at).expect("a run goes on");
    let snapshot = run.snapshot(at).expect("a run can be written");
    let pool =
        |node: &str| snapshot.nodes.iter().find(|known| known.name == node).map(|node| node.pool.clone());
    let of = |target: &str| {
        let replicas = snapshot.replicas.iter().filter(|replica| replica.target.as_str() == target);
        let nodes = replicas.filter_map(|replica| replica.node.clone());
        nodes.map(|node| (node.clone(), pool(&node).expect("a node of a pool"))).collect()
    };
    let places = vec![of("chat/chat"), of("web/web")];
    (draft, places)
}

#[test]
fn what_says_where_pods_run_is_carried_over_and_holds() {
    let mut dump = constrained();
    let (draft, places) = places(&dump.to_string());
    assert_eq!(draft.left_out, [""; 0], "{}", draft.text);
    for (line, field) in [
        ("- {key: nvidia.com/gpu, value: present, effect: NoSchedule}", "Node/one spec.taints"),
        ("- {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}", "Deployment/chat tolerations"),
        ("priority: 1000", "PriorityClass/urgent value"),
        ("preemption_policy: Never", "Deployment/chat preemptionPolicy or its class"),
        (
            "- {max_skew: 1, topology_key: topology.kubernetes.io/zone}",
            "Deployment/chat topologySpreadConstraints",
        ),
        (
            "- {weight: 20, match_labels: {topology.kubernetes.io/zone: b}}",
            "Deployment/chat affinity.nodeAffinity",
        ),
        (
            "- {weight: 5, deployment: web/web, topology_key: topology.kubernetes.io/zone}",
            "Deployment/chat affinity.podAffinity",
        ),
        ("- {topology_key: kubernetes.io/hostname}", "Deployment/chat affinity.podAntiAffinity"),
    ] {
        let written = |text: &&str| {
            text.trim_start().starts_with(line) && text.ends_with(&format!("# read from {field}"))
        };
        assert!(draft.text.lines().any(|text| written(&text)), "{line} is not in:\n{}", draft.text);
    }
    let nodes: BTreeSet<&String> = places[0].iter().map(|(node, _)| node).collect();
    let in_a = places[0].iter().filter(|(_, pool)| pool.ends_with("-a")).count();
    assert_eq!((nodes.len(), in_a), (3, 2), "apart, and evenly over zones: {places:?}");
    assert!(places[1].iter().all(|(_, pool)| pool.starts_with("m6i")), "taints keep it away: {places:?}");
    // A node of four GPUs has room for all three, if nothing is in the way.
    let template = &mut dump["items"][0]["spec"]["template"]["spec"];
    template
        .as_object_mut()
        .expect("a map")
        .retain(|key, _| ["tolerations", "containers"].contains(&key.as_str()));
    let (_, places) = self::places(&dump.to_string());
    let nodes: BTreeSet<&String> = places[0].iter().map(|(node, _)| node).collect();
    assert_eq!((places[0].len(), nodes.len()), (3, 1), "{places:?}");
}

#[test]
fn what_cannot_be_carried_over_of_where_pods_run_is_listed() {
    let mut dump = constrained();
    let template = &mut dump["items"][0]["spec"]["template"]["spec"];
    template["tolerations"] = json!([
        {"key": "nvidia.com/gpu", "operator": "Exists", "tolerationSeconds": 60}, {"operator": "Gt", "key": "a"}]);
    template["priorityClassName"] = json!("unknown");
    template["topologySpreadConstraints"][0]["topologyKey"] = json!("rack");
    let affinity = &mut template["affinity"];
    affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]});
    affinity["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"]["labelSelector"] =
        json!({"matchLabels": {"app": "database"}});
    let text = dump.to_string();
    let draft = drafted(&text);
    for what in [
        "tolerationSeconds of tolerations",
        "a toleration",
        "priorityClassName unknown, whose PriorityClass is not there,",
        "topologySpreadConstraints by topologyKey rack",
        "required nodeAffinity",
        "podAffinity to pods that are of no service here",
    ] {
        let line = format!("Deployment/chat: {what} of its pods");
        assert!(draft.left_out.contains(&line), "{line} is not in {:?}", draft.left_out);
    }
    dump["items"][0]["spec"]["template"]["spec"]["priorityClassName"] = json!("system-node-critical");
    let text = dump.to_string();
    let draft = drafted(&text);
    scenario(&draft, &text);
    assert!(draft.text.contains("priority: 1000000000 "), "{}", draft.text);
    assert!(draft.text.contains("guessed: the highest there is; it has 2000001000"), "{}", draft.text);
    // Nobody but chat tolerates the taints of its nodes: without another node the web has to.
    dump["items"].as_array_mut().expect("a list").retain(|item| item["metadata"]["name"] != "four");
    let text = dump.to_string();
    let draft = drafted(&text);
    scenario(&draft, &text);
    assert!(draft.text.contains("- {operator: Exists}"), "{}", draft.text);
    assert!(
        draft.left_out.iter().any(|what| what.contains("without what says where its pods run")),
        "{:?}",
        draft.left_out
    );
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
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_dump_with_anything_in_it_gives_a_scenario_that_runs(
        changes in prop::collection::vec((any::<prop::sample::Index>(), strange()), 0..5),
        constrains in any::<bool>(),
    ) {
        let mut dump = if constrains { constrained() } else { dump() };
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

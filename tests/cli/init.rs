//! `scaletwin init`: from dumps as people have them to a scenario that runs.

use crate::program::Folder;

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 1
  template:
    spec:
      containers:
        - name: vllm
          image: vllm/vllm-openai:v0.11.0
          command: [/bin/sh, -c]
          args: ['vllm serve meta-llama/Llama-3.1-8B-Instruct --max-num-seqs 32 --max-model-len=16k --enable-lora']
          resources: {limits: {nvidia.com/gpu: 1}}
";

const HPA: &str = "\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME}
spec:
  maxReplicas: MOST
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}
  metrics:
    - type: Pods
      pods: {metric: {name: vllm_num_requests_waiting}, target: {type: AverageValue, averageValue: 4}}
";

fn hpa(name: &str, most: u32) -> String {
    HPA.replace("NAME", name).replace("MOST", &most.to_string())
}

#[test]
fn a_folder_of_manifests_becomes_a_scenario_that_runs() {
    let folder = Folder::with(&[]);
    std::fs::create_dir_all(folder.path("k8s/base")).unwrap();
    std::fs::write(folder.path("k8s/base/chat.yaml"), DEPLOYMENT).unwrap();
    std::fs::write(folder.path("k8s/hpa.yaml"), hpa("chat", 3)).unwrap();
    std::fs::write(folder.path("k8s/broken.yaml"), "a: [1\n").unwrap();
    std::fs::write(folder.path("k8s/service.yaml"), "kind: Service\nmetadata: {name: chat}\n").unwrap();
    std::fs::create_dir(folder.path("rehearsal")).unwrap();
    let done = folder.run(&["init", "k8s", "-o", "rehearsal/s.yaml"]);
    assert_eq!((done.code, done.out.as_str()), (0, ""), "{}", done.err);
    for what in ["--enable-lora", "broken.yaml", "Service chat: nothing in a scenario stands for it"] {
        assert!(done.err.contains(what), "{what} is not in:\n{}", done.err);
    }
    let text = folder.text("rehearsal/s.yaml");
    for line in [
        "../k8s/hpa.yaml",
        "max_num_seqs: 32",
        "# read from Deployment/chat --max-num-seqs",
        "max_model_len: 16000",
        "# - Deployment/chat: --enable-lora",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    let run = folder.run(&["run", "rehearsal/s.yaml", "-q", "--set", "duration=11m", "--format", "json"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let again = folder.run(&["init", "k8s", "-o", "rehearsal/s.yaml"]);
    assert!(again.code == 2 && again.err.contains("is there already"), "{}", again.err);
    let printed = folder.run(&["init", "k8s", "-q"]);
    assert!(printed.out.contains("manifest: k8s/hpa.yaml") && printed.err.is_empty(), "{}", printed.err);
}

#[test]
fn of_several_autoscalers_in_a_dump_each_target_gets_its_own() {
    let both =
        [DEPLOYMENT, &DEPLOYMENT.replace("name: chat", "name: code"), &hpa("chat", 3), &hpa("code", 7)];
    let folder = Folder::with(&[("dump.yaml", both.join("---\n").as_bytes())]);
    let done = folder.run(&["init", "dump.yaml", "-o", "s.yaml"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let run = folder.run(&["run", "s.yaml", "-q", "--set", "duration=11m", "--out", "out"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let settings: serde_json::Value = serde_json::from_str(&folder.text("out/settings.json")).unwrap();
    let controllers = settings["settings"]["policy"]["controllers"].as_array().unwrap();
    let most = controllers.iter().filter_map(|one| one["kind"]["hpa"]["settings"]["max_replicas"].as_i64());
    assert_eq!(most.collect::<Vec<_>>(), [3, 7]);
}

#[test]
fn what_is_no_dump_is_said() {
    let folder = Folder::with(&[("notes.txt", b"x")]);
    std::fs::create_dir(folder.path("empty")).unwrap();
    assert!(folder.run(&["init", "empty"]).err.contains("has no .yaml, .yml or .json file"));
    assert!(folder.run(&["init", "missing"]).err.contains("cannot read missing"));
    let done = folder.run(&["init", "notes.txt"]);
    assert!(done.code == 0 && done.err.contains("the service below is an example"), "{}", done.err);
}

//! Manifests as people have them: what `kubectl get -o yaml` prints, old versions, several in one file, templates. Each is honoured, or
//! refused with its place and what to do.

use crate::program::Folder;

/// A run of a small service of tokens scaled by `controller`, which names the file `m.yaml` with this manifest.
fn run(controller: &str, manifest: &str) -> (i32, String) {
    let text = format!(
        "name: wild
duration: 60s
clusters: [{{name: c, node_pools: [{{name: p, instance_type: g6e.xlarge, nodes: {{min: 1, max: 3}}}}]}}]
services:
  - name: web
    queue: {{}}
    deployments:
      - {{name: main, model: llama-3.1-8b, engine: {{kind: continuous-batching}}, replica: {{gpus: 1, cpu: 2, memory: 8Gi}}}}
traffic: [{{name: all, arrivals: {{constant: {{rate: 1/s}}}}, prompt_tokens: 100, output_tokens: 10}}]
signals: {{s0-external-push: {{series: interceptor_pending_request_count}}, kv_cache_usage_perc: {{series: vllm:kv_cache_usage_perc, per: pod}}}}
policy: {{controllers: [{{{controller}, manifest: m.yaml}}]}}
"
    );
    let folder = Folder::with(&[("s.yaml", text.as_bytes()), ("m.yaml", manifest.as_bytes())]);
    let done = folder.run(&["run", "s.yaml", "-q"]);
    (done.code, done.err)
}

fn honoured(controller: &str, manifest: &str) {
    let (code, err) = run(controller, manifest);
    assert_eq!((code, err.as_str()), (0, ""), "{manifest}");
}

fn refused(controller: &str, manifest: &str, parts: &[&str]) {
    let (code, err) = run(controller, manifest);
    assert_eq!(code, 2, "{err}");
    for part in parts {
        assert!(err.contains(part), "{part:?} is not in:\n{err}");
    }
}

const HPA: &str = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {\"apiVersion\":\"autoscaling/v2\"}
  managedFields:
  - {apiVersion: autoscaling/v2, fieldsType: FieldsV1, fieldsV1: {f:spec: {f:maxReplicas: {}}}, manager: kubectl}
  name: web
  resourceVersion: \"123\"
spec:
  behavior:
    scaleDown: {policies: [{periodSeconds: 60, type: Percent, value: 10}], selectPolicy: Max}
  maxReplicas: 3
  metrics:
  - {resource: {name: cpu, target: {averageUtilization: 80, type: Utilization}}, type: Resource}
  minReplicas: 1
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: main}
status:
  conditions: [{reason: ReadyForNewScale, status: \"True\", type: AbleToScale}]
  currentMetrics: null
";

#[test]
fn what_kubectl_prints_is_honoured() {
    honoured("kind: hpa, target: web", HPA);
    honoured("kind: hpa, target: web", &HPA.replace('\n', "\r\n"));
    let other = HPA.replace("name: main", "name: other");
    honoured("kind: hpa, target: web", &format!("{other}---\n{HPA}"));
}

#[test]
fn an_old_version_or_a_template_says_what_to_do() {
    let old = HPA.replacen("autoscaling/v2", "autoscaling/v2beta2", 1);
    refused("kind: hpa, target: web", &old, &["m.yaml:1:1", "v2beta2", "kubectl get -o yaml"]);
    let template = HPA.replace("maxReplicas: 3", "maxReplicas: {{ .Values.max }}");
    refused("kind: hpa, target: web", &template, &["expected a whole number", "helm template"]);
    let twice = HPA.replace("maxReplicas: 3", "maxReplicas: 3\n  maxReplicas: 4");
    refused("kind: hpa, target: web", &twice, &["m.yaml:15:3: duplicate mapping key: maxReplicas\n"]);
    let both = HPA.replace("averageUtilization: 80", "averageUtilization: 80, averageValue: 1");
    refused("kind: hpa, target: web", &both, &["averageUtilization and averageValue exclude each other"]);
}

#[test]
fn a_scaled_object_of_the_http_add_on_needs_what_its_server_knows() {
    let push = "apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: web}
spec:
  scaleTargetRef: {name: main}
  maxReplicaCount: 3
  triggers:
  - {type: external-push, metadata: {httpScaledObject: web, scalerAddress: keda-http.keda:9090}}
";
    honoured("kind: keda, target: web, targets: {s0-external-push: 10}", push);
    let missing = run("kind: keda, target: web", push).1;
    assert!(
        missing.contains("m.yaml:8:12") && missing.contains("targets: {s0-external-push: 10}"),
        "{missing}"
    );
    assert!(!missing.contains("at least one trigger"), "one cause, one message: {missing}");
    let cpu = push.replace("external-push", "cpu").replace(
        "httpScaledObject: web, scalerAddress: keda-http.keda:9090",
        "type: Utilization, value: \"60\"",
    );
    refused(
        "kind: keda, target: web",
        &cpu,
        &["metricType Utilization or AverageValue", "write metricType:"],
    );
}

#[test]
fn node_pools_stand_beside_their_node_classes() {
    let pools = "apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: gpu, annotations: {karpenter.sh/nodepool-hash: \"1\"}}
spec:
  template:
    spec:
      requirements:
      - {key: karpenter.sh/capacity-type, operator: In, values: [spot, on-demand]}
      - {key: karpenter.k8s.aws/instance-family, operator: In, values: [g5, g6e]}
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: 720h
  limits: {cpu: \"1000\", nvidia.com/gpu: 8}
  disruption:
    consolidationPolicy: WhenEmptyOrUnderutilized
    consolidateAfter: 1m
    budgets:
    - {nodes: \"20%\", reasons: [Empty, Drifted]}
    - {nodes: \"0\", schedule: \"@daily\", duration: 10m, reasons: [Underutilized]}
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec: {amiSelectorTerms: [{alias: al2023@latest}]}
";
    honoured("kind: karpenter", pools);
    let old = pools.replacen("karpenter.sh/v1", "karpenter.sh/v1beta1", 1);
    refused("kind: karpenter", &old, &["m.yaml:1:1", "v1beta1", "kubectl get -o yaml"]);
}

#[test]
fn a_vpa_and_services_of_kserve_and_ray_are_read() {
    let vpa = "apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: web}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: main}
  updatePolicy: {updateMode: \"Auto\", minReplicas: 1}
  resourcePolicy: {containerPolicies: [{containerName: '*', maxAllowed: {cpu: 1, memory: 500Mi}}]}
";
    honoured("kind: vpa, target: web", vpa);
    let in_place = vpa.replace("\"Auto\"", "InPlaceOrRecreate");
    refused("kind: vpa, target: web", &in_place, &["m.yaml:6:30", "not resized in place", "write Recreate"]);
    let llm = "apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: qwen}
spec: {model: {uri: hf://a/b}, replicas: 2, router: {route: {}}}
";
    honoured("kind: kserve, target: web", llm);
    let split = llm.replace("replicas: 2", "replicas: 2, prefill: {replicas: 2}");
    refused("kind: kserve, target: web", &split, &["spec.prefill is not modelled", "waive: [spec.prefill]"]);
    let ray = "applications: [{name: a, import_path: a:b, deployments: [{name: main, num_replicas: 3}]}]\n";
    refused("kind: ray-serve, target: web", ray, &["autoscaling_config", "{kind: static, replicas:"]);
}

const AIBRIX: &str = "apiVersion: autoscaling.aibrix.ai/v1alpha1
kind: PodAutoscaler
metadata:
  annotations: {autoscaling.aibrix.ai/scale-up-tolerance: \"0.1\", kpa.autoscaling.aibrix.ai/scale-down-delay: 3m}
  name: web
spec:
  scalingStrategy: KPA
  minReplicas: 1
  maxReplicas: 3
  metricsSources:
  - {metricSourceType: pod, protocolType: http, port: \"8000\", path: metrics, targetMetric: kv_cache_usage_perc, targetValue: \"0.5\"}
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: main}
status: {actualScale: 1, desiredScale: 1}
";

/// What samples of older versions still write is read by nobody, and the run goes on with a warning.
#[test]
fn pod_autoscalers_of_aibrix_are_honoured_or_named() {
    honoured("kind: aibrix, target: web", AIBRIX);
    let (code, err) =
        run("kind: aibrix, target: web", &AIBRIX.replace("scale-up-tolerance", "up-fluctuation-tolerance"));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("write autoscaling.aibrix.ai/scale-up-tolerance"), "{err}");
    let resource = AIBRIX.replace("metricSourceType: pod", "metricSourceType: resource");
    refused("kind: aibrix, target: web", &resource, &["m.yaml:11:", "\"resource\" is not modelled"]);
    refused(
        "kind: aibrix, target: web, strategy: APA",
        AIBRIX,
        &["this key and manifest: exclude each other"],
    );
}

//! Examples of policies: by our own keys, and as the manifest that people paste.

use scaletwin_core::input::parse;

use crate::kubernetes::hpa::spec::ControllerSettings;
use crate::kubernetes::manifest::FieldCoverage;
use crate::kubernetes::{hpa, keda, knative, kserve, vpa};
use crate::serving::aibrix;

/// An example of each policy by our own keys, by its kind.
const KEYS: [(&str, &str); 14] = [
    (
        "hpa",
        "kind: hpa
target: chat/main
min_replicas: 1
max_replicas: 8
metrics:
  - external: {metric: waiting, average_value: 4}
behavior:
  scale_down: {stabilization_window: 300s}
",
    ),
    (
        "keda",
        "kind: keda
target: chat/main
min_replicas: 0
max_replicas: 8
cooldown_period: 300s
triggers:
  - prometheus: {name: waiting, signal: waiting, threshold: 4}
  - cron: {name: office, timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desired_replicas: 2}
fallback: {failure_threshold: 3, replicas: 4}
",
    ),
    ("kserve", "kind: kserve\ntarget: chat/main\nmanifest: inference-service.yaml\n"),
    ("vpa", "kind: vpa\ntarget: chat/main\napply: recreate\nmax_allowed: {cpu: 8}\n"),
    (
        "threshold",
        "kind: threshold
target: chat/main
max_replicas: 8
rules:
  - {signal: waiting, above: 8, percent: 50, cooldown: 60s}
  - {signal: waiting, below: 1, step: 1, for: 5m, cooldown: 5m}
",
    ),
    (
        "condition",
        "kind: condition
target: chat/main
name: late
signals: [waiting, ttft]
when: waiting > 8.0 && ttft > 2.0 && replicas < 4
for: 1m
add: 1
",
    ),
    (
        "schedule",
        "kind: schedule
target: chat/main
timezone: Europe/Berlin
windows:
  - {start: 0 8 * * 1-5, end: 0 18 * * 1-5, replicas: 6}
",
    ),
    (
        "idle",
        "kind: idle
target: chat/main
signal: pending
idle_for: 10m
checks:
  - {signal: batch_jobs, at_most: 0}
",
    ),
    (
        "aws-target-tracking",
        "kind: aws-target-tracking\ntarget: chat/main\nsignal: per_replica\ntarget_value: 70\nmax_replicas: 8\n",
    ),
    (
        "aws-step-scaling",
        "kind: aws-step-scaling
target: chat/main
signal: waiting
threshold: 10
steps:
  - {lower: 0, upper: 20, change: 1}
  - {lower: 20, change: 3}
max_replicas: 8
",
    ),
    (
        "oci",
        "kind: oci\ntarget: chat/main\nsignal: cpu\nscale_out_above: 70\nscale_in_below: 30\nmax_replicas: 8\n",
    ),
    (
        "composite",
        "kind: composite
combine: largest
of:
  - {kind: hpa, target: chat/main, max_replicas: 8}
  - kind: schedule
    target: chat/main
    windows: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5, replicas: 6}]
",
    ),
    ("static", "kind: static\ntarget: chat/main\nreplicas: 3\n"),
    ("node-provisioner", "kind: node-provisioner\nidle_timeout: 10m\n"),
];

const HPA: &str = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: main}
  minReplicas: 1
  maxReplicas: 8
  metrics:
    - type: External
      external:
        metric: {name: waiting, selector: {matchLabels: {model: llama}}}
        target: {type: AverageValue, averageValue: \"4\"}
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
    - type: Pods
      pods: {metric: {name: running}, target: {type: AverageValue, averageValue: \"8\"}}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: 300
      selectPolicy: Max
      tolerance: 100m
      policies: [{type: Percent, value: 50, periodSeconds: 60}]
";

const KEDA: &str = "apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: chat
  annotations:
    autoscaling.keda.sh/paused: \"false\"
    autoscaling.keda.sh/paused-scale-in: \"false\"
    autoscaling.keda.sh/paused-scale-out: \"false\"
    autoscaling.keda.sh/force-activation: \"false\"
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: main}
  pollingInterval: 30
  cooldownPeriod: 300
  initialCooldownPeriod: 0
  minReplicaCount: 1
  idleReplicaCount: 0
  maxReplicaCount: 8
  fallback: {failureThreshold: 3, replicas: 4, behavior: static}
  advanced:
    restoreToOriginalReplicaCount: false
    horizontalPodAutoscalerConfig:
      name: keda-hpa-chat
      behavior:
        scaleDown:
          stabilizationWindowSeconds: 300
          selectPolicy: Max
          policies: [{type: Percent, value: 50, periodSeconds: 60}]
    scalingModifiers: {formula: \"max(waiting, office)\", target: \"4\", activationTarget: \"0\", metricType: AverageValue}
  triggers:
    - type: prometheus
      name: waiting
      metricType: AverageValue
      useCachedMetrics: false
      authenticationRef: {name: prometheus}
      metadata:
        serverAddress: http://prometheus:9090
        query: sum(vllm:num_requests_waiting)
        threshold: \"4\"
        activationThreshold: \"0\"
        ignoreNullValues: \"true\"
    - type: cron
      name: office
      metadata: {timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desiredReplicas: \"2\"}
    - type: cpu
      metricType: Utilization
      metadata: {value: \"80\", containerName: main}
";

const KSERVE: &str = "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: chat
  annotations:
    serving.kserve.io/deploymentMode: Standard
    serving.kserve.io/autoscalerClass: keda
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 8
    model:
      modelFormat: {name: huggingface}
      storageUri: hf://meta-llama/Llama-3.1-8B-Instruct
    autoScaling:
      metrics:
        - type: External
          external:
            metric:
              backend: prometheus
              serverAddress: http://prometheus:9090
              query: sum(vllm:num_requests_running)
            target: {type: Value, value: \"16\"}
        - type: Resource
          resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
      behavior:
        scaleDown: {stabilizationWindowSeconds: 300}
";

const VPA: &str = "apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: chat}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: main}
  updatePolicy: {updateMode: Recreate, minReplicas: 2}
  resourcePolicy:
    containerPolicies:
      - containerName: \"*\"
        mode: Auto
        minAllowed: {cpu: 500m, memory: 1Gi}
        maxAllowed: {cpu: \"8\", memory: 32Gi}
        controlledResources: [cpu, memory]
        controlledValues: RequestsOnly
";

const AIBRIX: &str = "apiVersion: autoscaling.aibrix.ai/v1alpha1
kind: PodAutoscaler
metadata:
  name: chat
  annotations:
    autoscaling.aibrix.ai/max-scale-up-rate: \"2\"
    autoscaling.aibrix.ai/max-scale-down-rate: \"2\"
    autoscaling.aibrix.ai/scale-up-tolerance: \"0.1\"
    autoscaling.aibrix.ai/scale-down-tolerance: \"0.2\"
    autoscaling.aibrix.ai/scale-down-cooldown-window: 5m
spec:
  scalingStrategy: APA
  minReplicas: 1
  maxReplicas: 8
  metricsSources:
    - metricSourceType: pod
      protocolType: http
      port: \"8000\"
      path: metrics
      targetMetric: kv_cache_usage_perc
      targetValue: \"0.5\"
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
";

/// The example of a policy by our own keys, if there is one.
#[must_use]
pub fn keys(kind: &str) -> Option<&'static str> {
    KEYS.iter().find(|(of, _)| *of == kind).map(|(_, text)| *text)
}

/// The example of a policy as a manifest, with what becomes of each of its fields as it is read; `None` where the policy
/// takes no manifest.
///
/// # Panics
/// Never: a test reads them all.
#[must_use]
pub fn manifest(kind: &str) -> Option<(&'static str, FieldCoverage)> {
    let controller = ControllerSettings::default();
    let read = |text: &'static str| parse("example.yaml", text).expect("an example is YAML");
    match kind {
        "hpa" => {
            let read = hpa::manifest::read(&read(HPA), &[], &controller);
            Some((HPA, read.expect("an example is complete").1))
        }
        "keda" => {
            let read =
                keda::manifest::read(&read(KEDA), &[], &keda::bindings::Bindings::default(), &controller);
            Some((KEDA, read.expect("an example is complete").1))
        }
        "kserve" => {
            let installed = kserve::manifest::Installation {
                default_mode: kserve::spec::DeploymentMode::Knative,
                config: &knative::spec::ConfigSpec::default(),
                controller: &controller,
                bind: &std::collections::BTreeMap::new(),
            };
            let read = kserve::manifest::read(&read(KSERVE), &[], installed);
            Some((KSERVE, read.expect("an example is complete").1))
        }
        "aibrix" => {
            let read = aibrix::manifest::read(&read(AIBRIX), &[]);
            Some((AIBRIX, read.expect("an example is complete").1))
        }
        "vpa" => {
            let read = vpa::manifest::read(&read(VPA), &[], "main");
            Some((VPA, read.expect("an example is complete").1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use scaletwin_core::input::{Problems, Read};

    use super::*;
    use crate::registry::PolicySpec;

    #[test]
    fn all_examples_can_be_read() {
        for (kind, text) in KEYS {
            let mut problems = Problems::default();
            let node = parse("example.yaml", text).expect("YAML");
            assert!(PolicySpec::read(&node, &mut problems).is_some(), "{kind}: {problems}");
        }
        for (kind, fields) in [("hpa", 20), ("keda", 20), ("kserve", 20), ("vpa", 15), ("aibrix", 15)] {
            assert!(manifest(kind).is_some_and(|(_, coverage)| coverage.fields.len() > fields), "{kind}");
        }
    }
}

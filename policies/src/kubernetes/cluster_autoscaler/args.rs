//! The flags of a Cluster Autoscaler from the Deployment that runs it.

use scaletwin_core::input::{Entry, Node, Problem, Problems, Read, Value, parse};

use super::spec::FlagsSpec;
use crate::kubernetes::manifest::{FieldCoverage, Reader, documents};

/// Flags that decisions depend on; our keys are these names with underscores.
const HONOURED: [&str; 32] = [
    "--scan-interval",
    "--frequent-loops-enabled",
    "--expander",
    "--new-pod-scale-up-delay",
    "--max-nodes-per-scaleup",
    "--max-nodes-total",
    "--cores-total",
    "--memory-total",
    "--gpu-total",
    "--balance-similar-node-groups",
    "--max-node-provision-time",
    "--initial-node-group-backoff-duration",
    "--max-node-group-backoff-duration",
    "--node-group-backoff-reset-timeout",
    "--scale-down-enabled",
    "--scale-down-delay-after-add",
    "--scale-down-delay-after-delete",
    "--scale-down-unneeded-time",
    "--scale-down-unready-time",
    "--scale-down-utilization-threshold",
    "--scale-down-gpu-utilization-threshold",
    "--scale-down-non-empty-candidates-count",
    "--scale-down-candidates-pool-ratio",
    "--scale-down-candidates-pool-min-count",
    "--unremovable-node-recheck-timeout",
    "--max-scale-down-parallelism",
    "--max-drain-parallelism",
    "--max-graceful-termination-sec",
    "--node-delete-delay-after-taint",
    "--max-empty-bulk-delete",
    "--ok-total-unready-count",
    "--max-total-unready-percentage",
];

/// Flags that no decision here depends on: who it is and how it talks; how node groups are found, which are the pools of the
/// scenario (`--nodes` says how large they may be, and is none of these);
/// pods and nodes of kinds that a scenario does not have; limits on its own computing time; failures that do not happen.
const WITHOUT_EFFECT: [&str; 37] = [
    "--v",
    "--vmodule",
    "--logtostderr",
    "--alsologtostderr",
    "--stderrthreshold",
    "--address",
    "--profiling",
    "--kubeconfig",
    "--kubernetes",
    "--namespace",
    "--cloud-provider",
    "--cloud-config",
    "--cluster-name",
    "--regional",
    "--user-agent",
    "--kube-client-qps",
    "--kube-client-burst",
    "--leader-elect",
    "--leader-elect-lease-duration",
    "--leader-elect-renew-deadline",
    "--leader-elect-retry-period",
    "--leader-elect-resource-lock",
    "--leader-elect-resource-name",
    "--leader-elect-resource-namespace",
    "--write-status-configmap",
    "--status-config-map-name",
    "--record-duplicated-events",
    "--aws-use-static-instance-list",
    "--node-group-auto-discovery",
    "--skip-nodes-with-local-storage",
    "--skip-nodes-with-system-pods",
    "--ignore-daemonsets-utilization",
    "--scale-down-delay-after-failure",
    "--scale-down-simulation-timeout",
    "--max-binpacking-time",
    "--max-nodegroup-binpacking-duration",
    "--max-inactivity",
];

/// The name of the ConfigMap that the priority expander reads.
const PRIORITIES: &str = "cluster-autoscaler-priority-expander";

/// Reads the flags out of a manifest's documents; `deployment` is the one that runs the autoscaler.
///
/// # Errors
/// All problems: a flag that is wrong, or neither modelled nor waived.
pub fn read(
    nodes: &[Node],
    deployment: &Node,
    waived: &[String],
) -> Result<(FlagsSpec, FieldCoverage), Problems> {
    let mut reader = Reader::new(waived);
    let flags = read_flags(&mut reader, nodes, deployment);
    reader.finish(flags, &deployment.place)
}

fn read_flags(reader: &mut Reader, nodes: &[Node], deployment: &Node) -> Option<FlagsSpec> {
    let written = written_flags(deployment, reader.problems())?;
    let mut fields = reader.fields(&written, "")?;
    let mut keys: Vec<Entry> = Vec::new();
    for flag in HONOURED {
        if let Some(node) = fields.honour(reader, flag) {
            let key = key(flag, node);
            // Of a flag and its older name the flag counts.
            if !keys.iter().any(|known| known.key == key.key) {
                keys.push(key);
            }
        }
    }
    fields.without_effect(reader, &WITHOUT_EFFECT);
    fields.finish(reader);
    if let Some(tiers) = tiers(nodes, reader.problems()) {
        keys.push(key("--priorities", &tiers));
    }
    FlagsSpec::read(&Node { value: Value::Map(keys), place: deployment.place.clone() }, reader.problems())
}

/// A flag as the key of our own that it is.
fn key(flag: &str, node: &Node) -> Entry {
    // The older name of the same limit.
    let flag = if flag == "--max-empty-bulk-delete" { "--max-scale-down-parallelism" } else { flag };
    let key = flag.trim_start_matches('-').replace('-', "_");
    Entry { key, key_place: node.place.clone(), node: node.clone() }
}

/// The flags of the first container that has some, as a map. The last of two equal ones counts, as in Go.
fn written_flags(deployment: &Node, problems: &mut Problems) -> Option<Node> {
    let pod =
        ["spec", "template", "spec", "containers"].iter().try_fold(deployment, |node, key| node.get(key));
    let Some(Value::List(containers)) = pod.map(|node| &node.value) else {
        let problem = Problem::error(&deployment.place, "spec.template.spec.containers is missing");
        problems.push(problem.hint("expected the Deployment that runs the Cluster Autoscaler"));
        return None;
    };
    let mut entries: Vec<Entry> = Vec::new();
    for node in
        containers.iter().flat_map(|container| [container.get("command"), container.get("args")]).flatten()
    {
        let Value::List(words) = &node.value else { continue };
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(text) = word.as_text().filter(|text| text.starts_with('-')) else { continue };
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => {
                    let next =
                        words.next_if(|next| !next.as_text().is_some_and(|text| text.starts_with('-')));
                    (
                        text,
                        next.map_or("true".to_owned(), |next| {
                            next.as_text().unwrap_or(next.place.text()).to_owned()
                        }),
                    )
                }
            };
            let key = format!("--{}", name.trim_start_matches('-'));
            entries.retain(|entry| entry.key != key);
            let node = Node { value: scalar(&value), place: word.place.clone() };
            entries.push(Entry { key, key_place: word.place.clone(), node });
        }
    }
    Some(Node { value: Value::Map(entries), place: deployment.place.clone() })
}

/// The value of a flag as a YAML scalar would be.
fn scalar(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => {
            let whole = text.parse::<i64>().map(|number| Value::Int(i128::from(number)));
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Float);
            whole.ok().or(number).unwrap_or_else(|| Value::Text(text.to_owned()))
        }
    }
}

/// The tiers of the priority expander, if the manifest has their ConfigMap.
fn tiers(nodes: &[Node], problems: &mut Problems) -> Option<Node> {
    let named = |node: &&&Node| {
        let name = node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::as_text);
        node.get("kind").and_then(Node::as_text) == Some("ConfigMap") && name == Some(PRIORITIES)
    };
    let all = documents(nodes);
    let data = all.iter().find(named)?.get("data")?.get("priorities")?;
    match parse(PRIORITIES, data.as_text().unwrap_or("")) {
        Ok(tree) => Some(Node { place: data.place.clone(), ..tree }),
        Err(problem) => {
            problems.error(&data.place, format!("data.priorities is no YAML: {}", problem.message));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::input::parse_documents;
    use scaletwin_core::units::Span;

    fn manifest(args: &str, more: &str) -> Vec<Node> {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: cluster-autoscaler}}\nspec:\n  template:\n    spec:\n      containers:\n        - name: ca\n          command: [./cluster-autoscaler, {args}]\n{more}"
        );
        parse_documents("ca.yaml", &text).expect("it is YAML")
    }

    fn flags(args: &str, more: &str, waive: &[&str]) -> Result<FlagsSpec, String> {
        let nodes = manifest(args, more);
        let waive: Vec<String> = waive.iter().map(ToString::to_string).collect();
        read(&nodes, &nodes[0], &waive).map(|(flags, _)| flags).map_err(|problems| problems.to_string())
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let args = "--v=4, --scan-interval=20s, --scale-down-unneeded-time=5m0s, --scale-down-utilization-threshold, '0.7', --balance-similar-node-groups, --cores-total=1:64, '--expander=priority,least-waste'";
        let more = "---\nkind: ConfigMap\nmetadata: {name: cluster-autoscaler-priority-expander}\ndata:\n  priorities: |\n    50: [spot.*]\n    10:\n      - .*\n";
        let flags = flags(args, more, &[]).expect("it reads");
        let settings = flags.check(&mut Problems::default()).expect("it is right");
        assert_eq!(settings.scan_interval, Span::from_secs(20));
        assert_eq!(settings.scale_down_unneeded_time, Span::from_secs(300));
        assert!((settings.scale_down_utilization_threshold - 0.7).abs() < 1e-12);
        assert!(settings.balance_similar_node_groups);
        assert_eq!((settings.limits.cpu_milli.min, settings.limits.cpu_milli.max), (1_000, 64_000));
        assert_eq!(settings.chain.expanders.len(), 2);
        assert_eq!(settings.chain.priorities.0.keys().copied().collect::<Vec<_>>(), [10, 50]);
    }

    #[test]
    fn a_flag_that_is_not_modelled_is_refused_by_name_unless_it_is_waived() {
        let problems = flags("--force-ds=true", "", &[]).expect_err("it is not modelled");
        assert!(problems.contains("--force-ds is not modelled"), "{problems}");
        assert!(flags("--force-ds=true", "", &["--force-ds"]).is_ok());
        assert!(flags("--v=1", "", &["--force-ds"]).is_err(), "a waiver that is not needed");
    }

    #[test]
    fn wrong_values_say_what_is_expected() {
        for (args, part) in [
            ("--cores-total=9:1", "min:max"),
            ("--expander=cheapest", "least-waste"),
            ("--expander=priority", "no priorities"),
            ("--max-drain-parallelism=0", "at least 1"),
        ] {
            let mut problems = Problems::default();
            let text = match flags(args, "", &[]) {
                Ok(flags) => {
                    assert!(flags.check(&mut problems).is_none(), "{args}");
                    problems.to_string()
                }
                Err(text) => text,
            };
            assert!(text.contains(part), "{args}: {text}");
        }
    }
}

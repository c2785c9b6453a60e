//! Starts in stages, with answers known beforehand.
//!
//! The image has 960 MB, the weights 600 MB. A node downloads 60 MB/s, all nodes together 100 MB/s.

use scaletwin_core::record::RunRecord;

use crate::running::record;

const IMAGE: &str = "image: {name: server, size: 960MB, extract: 96MB/s}";
const WEIGHTS: &str = "weights: {name: model, size: 600MB, disk: 200MB/s, page_cache: 600MB/s}";

/// Deployments of one core each, `(name, start_up, replicas, from)`: none at first, so many from then on.
fn run(cpu: u32, nodes: &str, deployments: &[(&str, &str, u32, &str)]) -> RunRecord {
    let list = deployments.iter().map(|(name, start_up, ..)| {
        format!(
            "      - {{name: {name}, replicas: 0, replica: {{cpu: 1}}, start_up: {{{start_up}}}, \
             engine: {{kind: concurrency, limit: 9, service_time: 1s}}}}\n"
        )
    });
    let controllers = deployments.iter().map(|(name, _, replicas, from)| {
        format!("    - {{kind: static, target: one/{name}, replicas: {replicas}, from: {from}}}\n")
    });
    record(&format!(
        "
name: starts
duration: 10m
end: cut
clusters:
  - name: here
    registry_bandwidth: 100MB/s
    node_pools:
      - {{name: all, instance_type: own, cpu: {cpu}, memory: 4Gi, nodes: {nodes}, provisioning: 60s, download: 60MB/s}}
services:
  - name: one
    queue: {{}}
    deployments:
{}
traffic: [{{name: all, until: 9m, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy:
  controllers:
    - {{kind: node-provisioner, offset: 0s}}
{}
",
        list.collect::<String>(),
        controllers.collect::<String>()
    ))
}

/// The means of a deployment's stages in seconds, and that of the whole.
fn stages(record: &RunRecord, place: usize) -> (Vec<(&str, f64)>, f64) {
    let deployment = &record.summary.services[0].deployments[place];
    let stages = deployment.cold_starts.stages.iter();
    let whole = deployment.scale_up_latency_seconds.mean.expect("replicas became ready");
    (stages.map(|stage| (stage.name.as_str(), stage.mean_seconds)).collect(), whole)
}

fn close(found: (Vec<(&str, f64)>, f64), known: &[(&str, f64)]) {
    let (stages, whole) = found;
    assert_eq!(stages.len(), known.len(), "{stages:?}");
    for ((name, mean), (known_name, known_mean)) in stages.iter().zip(known) {
        assert_eq!(name, known_name);
        assert!((mean - known_mean).abs() < 1e-6, "{name} took {mean}, not {known_mean}");
    }
    let sum: f64 = known.iter().map(|(_, mean)| mean).sum();
    assert!((whole - sum).abs() < 1e-6, "the stages make up the whole: {whole}, not {sum}");
}

#[test]
fn every_stage_takes_its_time() {
    let all = format!("{IMAGE}, start: 3s, {WEIGHTS}, compile: 7s, warm_up: 2s");
    let record = run(1, "{min: 0, max: 1}", &[("a", &all, 1, "10s")]);
    let known = [
        ("node", 60.0),
        ("image", 16.0 + 10.0),
        ("start", 3.0),
        ("weights", 10.0),
        ("load", 3.0),
        ("compile", 7.0),
        ("warm_up", 2.0),
    ];
    close(stages(&record, 0), &known);
}

#[test]
fn pulls_at_once_share_the_registry() {
    let record = run(1, "4", &[("a", IMAGE, 4, "10s")]);
    // Four nodes get 25 MB/s each.
    close(stages(&record, 0), &[("image", 960.0 / 25.0 + 10.0)]);
}

#[test]
fn a_later_start_on_the_node_is_faster_by_what_the_node_has() {
    let all = format!("{IMAGE}, start: 3s, {WEIGHTS}, compile: 7s, warm_up: 2s");
    let record = run(2, "1", &[("a", &all, 1, "10s"), ("b", &all, 1, "100s")]);
    // The image and the weights on disk are there, and the weights are read from the page cache. What b compiles is its own.
    close(stages(&record, 1), &[("start", 3.0), ("load", 1.0), ("compile", 7.0), ("warm_up", 2.0)]);
    let whole = |place| stages(&record, place).1;
    assert!((whole(0) - whole(1) - (26.0 + 10.0 + 2.0)).abs() < 1e-6);
}

#[test]
fn replicas_on_one_node_wait_for_one_download() {
    let record = run(3, "1", &[("a", IMAGE, 3, "10s")]);
    close(stages(&record, 0), &[("image", 26.0)]);
}

#[test]
fn what_is_pulled_beforehand_is_not_pulled() {
    let there = IMAGE.replace("size", "pre_pulled: true, size");
    let record = run(1, "1", &[("a", &format!("{there}, start: 3s"), 1, "10s")]);
    close(stages(&record, 0), &[("start", 3.0)]);
}

#[test]
fn weights_come_from_another_node_that_sends_to_one_at_a_time() {
    let peer = WEIGHTS.replace("size", "peer: 30MB/s, size");
    let run = |weights: &str| run(1, "3", &[("a", weights, 1, "10s"), ("b", weights, 2, "100s")]);
    // One gets them at 30 MB/s; the other downloads at 60 MB/s while the first node sends: 20 s and 10 s.
    close(stages(&run(&peer), 1), &[("weights", 15.0), ("load", 3.0)]);
    // Without, both share the registry.
    close(stages(&run(WEIGHTS), 1), &[("weights", 12.0), ("load", 3.0)]);
}

#[test]
fn weights_whose_sender_fails_come_from_elsewhere_from_the_beginning() {
    let peer = WEIGHTS.replace("size", "peer: 30MB/s, size");
    for recovery in ["", ", recovery: 1h"] {
        let nodes = format!(
            "1, failures: {{at: [{{at: 110s}}]{recovery}}}, download: 60MB/s}}
      - {{name: more, instance_type: own, cpu: 1, memory: 4Gi, nodes: 2"
        );
        let record = run(1, &nodes, &[("a", &peer, 1, "10s"), ("b", &peer, 2, "100s")]);
        // One has half of them at 110 s, when the sender fails, and gets all from the other one, which has downloaded them by
        // then. What the sender has is of no use to anybody until it is back.
        close(stages(&record, 1), &[("weights", (10.0 + 20.0 + 10.0) / 2.0), ("load", 3.0)]);
    }
}

#[test]
fn a_server_that_sleeps_on_the_node_is_woken() {
    let run = |sleep: &str| {
        record(&format!(
            "
name: sleep
duration: 10m
end: cut
clusters:
  - name: here
    node_pools: [{{name: all, instance_type: own, cpu: 2, memory: 4Gi, nodes: 1}}]
services:
  - name: one
    queue: {{}}
    deployments:
      - name: main
        replica: {{cpu: 1}}
        start_up: {{start: 30s, weights: {{size: 600MB, page_cache: 600MB/s, pre_pulled: true}}, warm_up: 4s{sleep}}}
        engine: {{kind: concurrency, limit: 9, service_time: 1s}}
traffic: [{{name: all, until: 9m, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy:
  controllers:
    - kind: schedule
      target: one
      windows: [{{start: 2 0 * * *, end: 4 0 * * *, replicas: 2}}, {{start: 6 0 * * *, end: 8 0 * * *, replicas: 2}}]
"
        ))
    };
    // The second of both replicas starts twice: whole, and by waking the server that sleeps since the fourth minute.
    close(stages(&run(", sleep: {wake: 500ms}"), 0), &[("start", 15.0), ("load", 0.75), ("warm_up", 2.0)]);
    close(stages(&run(""), 0), &[("start", 30.0), ("load", 1.0), ("warm_up", 4.0)]);
}

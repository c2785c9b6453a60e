//! Spot nodes, with answers known beforehand.
//!
//! One replica of one core on a spot node of one core, which the provider takes back ten minutes after it is ready, with two
//! minutes' notice. Provisioning takes 60 s, a cold start 30 s, and at the notice a new pod is pending, for which the
//! provisioner launches a node at once:
//!
//! | node | launched | ready | told | taken back | billed |
//! |---|---|---|---|---|---|
//! | 1 | 0 s | 0 s | 480 s | 600 s | 600 s |
//! | 2 | 480 s | 540 s | 1020 s | 1140 s | 660 s |
//! | 3 | 1020 s | 1080 s | 1560 s | 1680 s | 660 s |
//! | 4 | 1560 s | 1620 s | – | – | 240 s, up to the end at 1800 s |
//!
//! That is 2160 s of node time and 3 interruptions. Each replica is ready 90 s after the notice and the old one takes requests
//! no longer: for 90 s three times nobody does, and a queue holds what arrives. Billing knows nothing of that.

use scaletwin_core::record::{Outcome, RunRecord};

use scaletwin_scenarios::Scenario;

use crate::running::{record, requests, start};

fn scenario(spot: &str, service: &str, more: &str) -> String {
    format!(
        "
name: spot
duration: 30m
end: cut
clusters:
  - name: here
    node_pools:
      - name: cheap
        instance_type: own
        cpu: 1
        memory: 4Gi
        price_usd_per_hour: 3.6
        capacity_type: spot
        nodes: {{min: 1, max: 5}}
        provisioning: 60s
        spot: {spot}
{more}
services:
  - name: one
    queue: {{}}
    deployments:
      - {{name: main, replica: {{cpu: 1}}, cold_start: 30s, grace: 100s, engine: {{kind: concurrency, limit: 50, service_time: {service}}}}}
traffic: [{{name: all, until: 1790s, arrivals: {{constant: {{rate: 1/s}}}}}}]
policy: {{controllers: [{{kind: node-provisioner, controller: {{}} }}]}}
"
    )
    .replace(", controller: {} ", "")
}

const TEN_MINUTES: &str = "{lifetime: 10m, notice: 2m}";

fn outcomes(record: &RunRecord) -> (u64, u64) {
    let requests = &record.summary.services[0].requests;
    (requests.completed, requests.failed)
}

#[test]
fn reclaims_at_known_instants_have_the_bill_computed_by_hand() {
    let record = record(&scenario(TEN_MINUTES, "2s", ""));
    let pool = &record.summary.node_pools[0];
    assert_eq!(pool.interruptions, Some(3));
    assert!((pool.node_hours - 2160.0 / 3600.0).abs() < 1e-12, "{}", pool.node_hours);
    assert!((pool.cost_usd.unwrap() - 2.16).abs() < 1e-9);
    assert!(!record.summary.not_modelled.iter().any(|name| name.contains("interruptions")));
}

#[test]
fn a_recommendation_to_move_moves_the_pods_and_not_the_bill() {
    // Each node is drained 7 minutes before it goes, 180 s after it was ready. So one is launched every 240 s, and lives 660 s
    // from its launch: the first 600 s, five of them 660 s, and those launched at 1380 s and 1620 s to the end.
    let record = record(&scenario("{lifetime: 10m, notice: 2m, rebalance: 5m}", "2s", ""));
    let pool = &record.summary.node_pools[0];
    assert!((pool.node_hours * 3600.0 - 4500.0).abs() < 1e-6, "{}", pool.node_hours * 3600.0);
    assert_eq!(pool.interruptions, Some(5));
    assert_eq!(outcomes(&record).1, 0);
}

#[test]
fn a_shock_takes_nodes_at_one_instant() {
    let shocked = |share: &str, nodes: u32, replicas: u32| {
        let text = scenario(&format!("{{notice: 2m, shocks: {{every: 10m, share: {share}}}}}"), "2s", "");
        let text = text.replace("nodes: {min: 1, max: 5}", &format!("nodes: {{min: {nodes}, max: 99}}"));
        let text = text.replace("{name: main,", &format!("{{name: main, replicas: {replicas},"));
        record(&text).summary.node_pools[0].clone()
    };
    // All three are told at 600 s and go at 720 s, and three are launched at 600 s. The same at 1200 s.
    let all = shocked("1", 3, 3);
    assert_eq!(all.interruptions, Some(6));
    let seconds = all.node_hours * 3600.0;
    assert!((seconds - 3.0 * (720.0 + 720.0 + 600.0)).abs() < 1e-6, "{seconds}");
    assert_eq!(shocked("0", 3, 3).interruptions, Some(0));
    // Of 40 nodes a half, and of those that are left a half: about 30, with a standard deviation below 3.
    let half = shocked("0.5", 40, 1).interruptions.expect("it is spot");
    assert!((21..=40).contains(&half), "{half}");
}

#[test]
fn a_drain_within_the_notice_loses_no_request() {
    let record = record(&scenario(TEN_MINUTES, "20s", ""));
    assert_eq!(outcomes(&record).1, 0);
    assert!(outcomes(&record).0 > 1000);
}

#[test]
fn a_drain_that_takes_longer_loses_the_requests_under_way_and_says_so() {
    // Each node that goes has 30 requests under way that began within 30 s before its notice of 5 s: those of the last 25 s
    // are not done when it goes. The grace period of 100 s does not help.
    let (record, requests) = requests(&scenario("{lifetime: 10m, notice: 5s}", "30s", ""));
    let lost: Vec<_> = requests.iter().filter(|(_, request)| request.outcome == Outcome::Failed).collect();
    assert_eq!(outcomes(&record).1, lost.len() as u64);
    let reclaims: std::collections::BTreeSet<u64> =
        lost.iter().map(|(_, request)| request.ended.as_nanos() / 1_000_000_000).collect();
    assert_eq!(record.summary.node_pools[0].interruptions, Some(reclaims.len() as u64));
    let first = lost.iter().filter(|(_, request)| request.ended.as_secs_f64() < 600.5).count();
    assert!((24..=26).contains(&first), "{first}");
}

#[test]
fn without_capacity_the_provisioner_falls_back_to_the_next_pool() {
    let more = "      - {name: dear, instance_type: own, cpu: 1, memory: 4Gi, price_usd_per_hour: 9, nodes: {min: 0, max: 5}, provisioning: 60s}";
    let record = record(&scenario("{available: [{from: 10m, nodes: 0}], notice: 2m}", "2s", more));
    let [cheap, dear] = &record.summary.node_pools[..] else { panic!("two pools") };
    // Told at 600 s, gone at 720 s. The provisioner is refused, and takes the other pool at its next look within 10 s.
    assert_eq!(cheap.interruptions, Some(1));
    assert!((cheap.node_hours - 720.0 / 3600.0).abs() < 1e-9, "{}", cheap.node_hours);
    let since = 1800.0 - dear.node_hours * 3600.0;
    assert!((600.0..=611.0).contains(&since), "{since}");
    assert!(
        record.decisions.contains("the provider has no capacity for cheap"),
        "the refusal is written down"
    );
    assert!(
        record.summary.not_modelled.contains(&"node_pools[].interruptions".to_owned()),
        "of the other pool"
    );
    assert_eq!(outcomes(&record).1, 0);
}

#[test]
fn capacity_and_prices_come_from_files() {
    let folder = tempfile::tempdir().unwrap();
    // Obtainable up to 900 s, and again from 1500 s on; the series begins 100 s before t = 0.
    std::fs::write(
        folder.path().join("capacity.csv"),
        "t_s,here-a,there\n0,1,0\n500,1,0\n1000,0,1\n1600,1,0\n",
    )
    .unwrap();
    let prices = "timestamp,availability_zone,instance_type,spot_price_usd_per_hour\n\
                  2020-01-01T00:10:00Z,a,own,7.2\n2020-01-01T00:00:00Z,a,own,3.6\n2020-01-01T00:00:00Z,b,own,9\n";
    std::fs::write(folder.path().join("prices.csv"), prices).unwrap();
    let spot = "{notice: 1m, availability: {path: capacity.csv, column: here-a, nodes: 5, from: 100s}}";
    let text = scenario(spot, "2s", "").replace("price_usd_per_hour: 3.6", "prices: {path: prices.csv}");
    let read = |text: &str| {
        Scenario::parse("test.yaml", text, folder.path()).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let run = |text: &str| start(&read(text)).finish().unwrap().summary.node_pools.remove(0);
    let pool = run(&text);
    // The node of the start is told at 900 s and gone at 960 s. From then on the provisioner finds no capacity; its next try
    // after 1500 s is not earlier than 3 minutes after the last.
    assert_eq!(pool.interruptions, Some(1));
    let first = (600.0 * 3.6 + 360.0 * 7.2) / 3600.0;
    let second = pool.node_hours - 960.0 / 3600.0;
    assert!(second > 0.0 && second <= 300.0 / 3600.0, "{second}");
    assert!((pool.cost_usd.unwrap() - first - second * 7.2).abs() < 1e-9);
    // A start within the history is t = 0 of it as well; one outside of it is not, and is told.
    let starts = |at: &str| text.replace("duration: 30m", &format!("start: {at}\nduration: 30m"));
    let later = (300.0 * 3.6 + 660.0 * 7.2) / 3600.0 + second * 7.2;
    assert!((run(&starts("2020-01-01T00:05:00Z")).cost_usd.unwrap() - later).abs() < 1e-9);
    assert!((run(&starts("2021-01-01T00:00:00Z")).cost_usd.unwrap() - first - second * 7.2).abs() < 1e-9);
    let told = read(&starts("2021-01-01T00:00:00Z")).warnings().to_string();
    assert!(told.contains("not within the history"), "{told}");
    // Without a start each history begins with its own first price, which is told where these differ.
    let prices = format!("{prices}2020-01-02T00:00:00Z,c,own,1\n");
    std::fs::write(folder.path().join("prices.csv"), prices).unwrap();
    let told = |zone: &str| {
        let other = format!(
            "node_pools:\n      - {{name: other, zone: {zone}, instance_type: own, cpu: 1, memory: 4Gi, nodes: 1, prices: {{path: prices.csv}}}}"
        );
        read(&text.replace("node_pools:", &other)).warnings().to_string()
    };
    assert!(!told("b").contains("another node pool"), "{}", told("b"));
    assert!(told("c").contains("in the history of another node pool 2020-01-02T00:00:00Z"), "{}", told("c"));
}

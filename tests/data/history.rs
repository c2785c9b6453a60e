//! Days of a real service on real spot capacity at real prices: nothing is lost, and the bill is the one that somebody else
//! works out from the lives of the nodes and the history of prices.

use std::path::Path;

use libtest_mimic::Failed;
use scaletwin_core::record::{NodeRow, OutcomeCounts, RunRecord};
use scaletwin_core::units::Civil;

use super::{check, lines, near, replay};

/// Files of the history, from the folder of data.
const AVAILABILITY: &str = "spot-merged/availability_1-node_aws-02-15-2023.csv.gz";
const PRICES: &str = "training-on-a-dime/aws_gpu_spot_prices_2019-12_2020-03.csv";
pub(crate) const TRAFFIC: &str = "servegen/m-small_clients_10min.csv.gz";

/// The instant of the prices that is t = 0: they move on these days.
const FROM: &str = "2020-02-10T00:00:00Z";
const ZONES: [&str; 2] = ["us-west-2a", "us-west-2b"];
/// The list price of p3.2xlarge on demand, as in the catalogue.
const ON_DEMAND: f64 = 3.06;

/// The first six hours.
pub(crate) fn six_hours(path: &Path) -> Result<(), Failed> {
    judge(path, 6)
}

/// Three days, which take minutes.
pub(crate) fn three_days(path: &Path) -> Result<(), Failed> {
    judge(path, 72)
}

fn scenario(data: &Path, hours: u32) -> String {
    let pool = |zone: &str| {
        format!(
            "
      - name: spot-{zone}
        instance_type: p3.2xlarge
        capacity_type: spot
        zone: {zone}
        nodes: {{min: 0, max: 12}}
        billing: {{minimum: 1m, granularity: 1s}}
        spot: {{availability: {{path: '{AVAILABILITY}', column: {zone}_v100_1, nodes: 12}}}}
        prices: {{path: '{PRICES}', from: {FROM}}}"
        )
    };
    let pools: String = ZONES.into_iter().map(pool).collect();
    let text = format!(
        "
name: history
duration: {hours}h
clusters:
  - name: oregon
    node_pools:{pools}
      - {{name: on-demand, instance_type: p3.2xlarge, nodes: {{min: 2, max: 16}}, billing: {{minimum: 1m, granularity: 1s}}}}
services:
  - name: chat
    slo: {{ttft: {{p95: 1s}}}}
    queue: {{}}
    deployments:
      - name: main
        model: mistral-7b
        replicas: 2
        grace: 2m
        engine: {{kind: continuous-batching, weights: fp8, max_model_len: 8192, max_num_seqs: 4, enable_prefix_caching: false}}
traffic:
  - name: users
    trace:
      format: servegen
      path: '{TRAFFIC}'
      rate_scale: 0.05
      prompt_tokens_cdf: servegen/m-small_input_tokens_cdf.csv
      output_tokens_cdf: servegen/m-small_output_tokens_cdf.csv
signals:
  running: {{series: 'vllm:num_requests_running', per: pod}}
policy:
  controllers:
    - {{kind: hpa, target: chat, min_replicas: 2, max_replicas: 16, metrics: [{{pods: {{metric: running, average_value: 2}}}}]}}
    - {{kind: node-provisioner}}
"
    );
    text.replace("path: '", &format!("path: '{}/", data.display()))
        .replace("_cdf: servegen", &format!("_cdf: {}/servegen", data.display()))
}

#[expect(clippy::print_stderr, reason = "whoever runs three days wants to see their figures")]
fn judge(path: &Path, hours: u32) -> Result<(), Failed> {
    let data = path.parent().and_then(Path::parent).ok_or("the folder of data")?;
    let text = scenario(data, hours);
    let record = replay(&text)?;
    let summary = &record.summary;
    conserved(path, &record, hours)?;
    let mut total = 0.0;
    for (place, pool) in summary.node_pools.iter().enumerate() {
        let nodes: Vec<&NodeRow> = record.nodes.iter().filter(|row| row.pool == place).collect();
        let prices = match pool.name.strip_prefix("spot-") {
            Some(zone) => prices(data, zone)?,
            None => vec![(0.0, ON_DEMAND)],
        };
        let bill: f64 = nodes.iter().map(|node| cost(node, &prices, summary.simulated_seconds)).sum();
        let told = pool.cost_usd.ok_or("every pool has a price")?;
        near(&format!("the bill of {}", pool.name), told, bill, 1e-6 * bill.max(1.0))?;
        let lives: f64 = nodes.iter().map(|node| life(node, summary.simulated_seconds)).sum();
        near(&format!("node hours of {}", pool.name), pool.node_hours, lives / 3_600.0, 1e-6)?;
        let reclaimed = nodes.iter().filter(|node| node.reclaimed).count() as u64;
        check(pool.interruptions.is_none_or(|told| told == reclaimed), || {
            format!("{}: {reclaimed} taken back, told {:?}", pool.name, pool.interruptions)
        })?;
        total += bill;
    }
    near("the whole bill", summary.cost.total_usd.unwrap_or_default(), total, 1e-6 * total)?;
    let spot = |row: &&NodeRow| summary.node_pools[row.pool].name.starts_with("spot-");
    check(record.nodes.iter().filter(spot).any(|row| row.reclaimed), || {
        "spot nodes are taken back".to_owned()
    })?;
    for zone in ZONES {
        nowhere_without_capacity(data, zone, &record)?;
    }
    let again = replay(&text)?;
    check(again.summary.record_hash == summary.record_hash, || "the record does not come again".to_owned())?;
    let requests = &summary.services[0].requests;
    eprintln!(
        "{hours} h: {} requests, {} completed, {} failed; {} nodes, ${total:.2}, TTFT p95 {:?} s; {}",
        requests.arrived,
        requests.completed,
        requests.failed,
        record.nodes.len(),
        summary.services[0].ttft_seconds.and_then(|latency| latency.p95),
        &summary.record_hash[..16],
    );
    Ok(())
}

/// As many requests as the file has rates for, each with one outcome, in the summary as in the windows.
fn conserved(path: &Path, record: &RunRecord, hours: u32) -> Result<(), Failed> {
    let requests = &record.summary.services[0].requests;
    let ends = |counts: &OutcomeCounts| {
        counts.completed
            + counts.rejected
            + counts.timed_out
            + counts.aborted
            + counts.failed
            + counts.unfinished
    };
    check(ends(requests) == requests.arrived, || format!("{requests:?}"))?;
    let windows = &record.windows[0];
    let sum: u64 = windows.iter().map(|window| window.counts.arrived).sum();
    check(sum == requests.arrived, || format!("{sum} in the windows of {}", requests.arrived))?;
    let totals = lines(&path.with_file_name("m-small_total_10min.csv"))?;
    let rates = totals.iter().take(hours as usize * 6).filter_map(|line| line.get(1)?.parse::<f64>().ok());
    let expected = rates.sum::<f64>() * 600.0 * 0.05;
    // Thinning at random: six standard deviations, and the rounding of each client's numbers.
    let slack = 6.0 * expected.sqrt() + 43.0 * 6.0 * f64::from(hours);
    near("requests", requests.arrived as f64, expected, slack)
}

/// Prices of a zone: seconds from t = 0, dollars per hour.
fn prices(data: &Path, zone: &str) -> Result<Vec<(f64, f64)>, Failed> {
    let from: Civil = FROM.parse().map_err(|_| "an instant")?;
    let mut prices = Vec::new();
    for line in lines(&data.join(PRICES))? {
        if line[1] == zone && line[2] == "p3.2xlarge" {
            let at: Civil = line[0].parse().map_err(|_| "an instant")?;
            let seconds = (at.as_unix_nanos() - from.as_unix_nanos()) as f64 / 1e9;
            prices.push((seconds, line[3].parse::<f64>()?));
        }
    }
    prices.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(prices)
}

fn price_at(prices: &[(f64, f64)], at: f64) -> f64 {
    prices.iter().take_while(|(from, _)| *from <= at).last().map_or(0.0, |(_, price)| *price)
}

fn life(node: &NodeRow, end: f64) -> f64 {
    node.deleted_seconds.unwrap_or(end) - node.launched_seconds
}

/// What a node costs: each stretch of its life at the price of then; what is billed beyond its life, at the last.
fn cost(node: &NodeRow, prices: &[(f64, f64)], end: f64) -> f64 {
    let (from, to) = (node.launched_seconds, node.deleted_seconds.unwrap_or(end));
    let changes = prices.iter().map(|(at, _)| *at).filter(|at| *at > from && *at < to);
    let borders: Vec<f64> = [from].into_iter().chain(changes).chain([to]).collect();
    let lived: f64 = borders.windows(2).map(|pair| (pair[1] - pair[0]) * price_at(prices, pair[0])).sum();
    let billed = (life(node, end) - 1e-9).ceil().max(60.0);
    let beyond = if node.deleted_seconds.is_some() { billed - life(node, end) } else { 0.0 };
    (lived + beyond * price_at(prices, to)) / 3_600.0
}

/// No node of a zone is there while the history says that none can be had.
fn nowhere_without_capacity(data: &Path, zone: &str, record: &RunRecord) -> Result<(), Failed> {
    let rows = lines(&data.join(AVAILABILITY))?;
    let column = [
        "us-east-1a",
        "us-east-1c",
        "us-east-1d",
        "us-east-1f",
        "us-east-2a",
        "us-east-2b",
        "us-west-2a",
        "us-west-2b",
        "us-west-2c",
    ];
    let column = column.iter().position(|name| *name == zone).ok_or("a zone of the file")? + 1;
    let pool = record.summary.node_pools.iter().position(|pool| pool.name == format!("spot-{zone}"));
    let end = record.summary.simulated_seconds;
    for pair in rows.windows(2).filter(|pair| pair[0][column] == "0") {
        let (from, to) = (pair[0][0].parse::<f64>()?, pair[1][0].parse::<f64>()?);
        // The notice of two minutes runs from the instant at which the capacity sinks.
        let there = record.nodes.iter().filter(|row| Some(row.pool) == pool).find(|row| {
            row.launched_seconds < to
                && row.deleted_seconds.unwrap_or(end) > from + 120.0 + 1e-6
                && from + 120.0 < end.min(to)
                || row.launched_seconds >= from && row.launched_seconds < to
        });
        check(there.is_none(), || {
            format!("{zone} has none from {from} s to {to} s, but {there:?} is there")
        })?;
    }
    Ok(())
}

//! Tables of a record as CSV. Times are seconds; what is not known is empty.

use std::collections::BTreeMap;
use std::io::Write;

use scaletwin_core::record::{Finished, Outcome, ReplicaStates, RunRecord, Window};
use scaletwin_core::units::{Span, Time};

/// Writes `timeline.csv`: a row for each window and service.
///
/// # Errors
/// When `out` does not take it.
pub fn timeline(record: &RunRecord, out: impl Write) -> Result<(), csv::Error> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record([
        "start_seconds",
        "service",
        "arrived",
        "completed",
        "rejected",
        "timed_out",
        "aborted",
        "failed",
        "unfinished",
        "good",
        "ttft_p95_seconds",
        "e2e_p95_seconds",
        "wait_p95_seconds",
        "output_tokens",
        "replicas_wanted",
        "replicas_ready",
        "in_system",
        "usd_per_hour",
        "ttft_p50_seconds",
        "ttft_p99_seconds",
        "tpot_p95_seconds",
        "e2e_p50_seconds",
        "e2e_p99_seconds",
        "pending_at_end",
        "starting_at_end",
        "ready_at_end",
        "draining_at_end",
        "waiting",
        "busy_share",
        "kv_used_share",
    ])?;
    // Windows in which nothing arrived are not in the record, but their capacity is.
    let windows: Vec<BTreeMap<u64, &Window>> = record
        .windows
        .iter()
        .map(|windows| windows.iter().map(|window| (window.start_seconds.to_bits(), window)).collect())
        .collect();
    for row in &record.capacity {
        let window = windows[row.service].get(&row.start_seconds.to_bits());
        let mut fields =
            vec![row.start_seconds.to_string(), record.summary.services[row.service].name.clone()];
        let counts = window.map(|window| window.counts).unwrap_or_default();
        fields.push(counts.arrived.to_string());
        fields.extend(Outcome::ALL.map(|outcome| counts.of(outcome).to_string()));
        fields.push(window.map_or(0, |window| window.good).to_string());
        let quantile = |of: fn(&Window) -> Option<f64>| optional(window.and_then(|window| of(window)));
        fields.push(quantile(|window| window.ttft_p95_seconds));
        fields.push(quantile(|window| window.e2e_p95_seconds));
        fields.push(quantile(|window| window.wait_p95_seconds));
        fields.push(window.map_or(0, |window| window.output_tokens).to_string());
        fields.push(row.replicas_wanted.to_string());
        fields.push(row.replicas_ready.to_string());
        fields.push(row.in_system.to_string());
        fields.push(optional(row.usd_per_hour));
        fields.push(quantile(|window| window.ttft_p50_seconds));
        fields.push(quantile(|window| window.ttft_p99_seconds));
        fields.push(quantile(|window| window.tpot_p95_seconds));
        fields.push(quantile(|window| window.e2e_p50_seconds));
        fields.push(quantile(|window| window.e2e_p99_seconds));
        let ReplicaStates { pending, starting, ready, draining } = row.states;
        fields.extend([pending, starting, ready, draining, row.waiting].map(|count| count.to_string()));
        fields.push(optional(row.busy_share));
        fields.push(optional(row.kv_used_share));
        table.write_record(&fields)?;
    }
    table.flush().map_err(csv::Error::from)
}

/// Writes `node_pools.csv`: a row for each window and node pool.
///
/// # Errors
/// When `out` does not take it.
pub fn node_pools(record: &RunRecord, out: impl Write) -> Result<(), csv::Error> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(["start_seconds", "cluster", "pool", "nodes_at_end", "usd_per_hour"])?;
    for row in &record.pools {
        let pool = &record.summary.node_pools[row.pool];
        table.write_record([
            row.start_seconds.to_string(),
            pool.cluster.clone(),
            pool.name.clone(),
            row.nodes.to_string(),
            optional(row.usd_per_hour),
        ])?;
    }
    table.flush().map_err(csv::Error::from)
}

/// Writes `nodes.csv`: a row for each node, in the order of their launch.
///
/// # Errors
/// When `out` does not take it.
pub fn nodes(record: &RunRecord, out: impl Write) -> Result<(), csv::Error> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record([
        "cluster",
        "pool",
        "number",
        "name",
        "launched_seconds",
        "deleted_seconds",
        "reclaimed",
    ])?;
    for row in &record.nodes {
        let pool = &record.summary.node_pools[row.pool];
        table.write_record([
            pool.cluster.clone(),
            pool.name.clone(),
            row.number.to_string(),
            row.name.clone(),
            row.launched_seconds.to_string(),
            optional(row.deleted_seconds),
            row.reclaimed.to_string(),
        ])?;
    }
    table.flush().map_err(csv::Error::from)
}

/// Writes `requests.csv`: a row for each request, in the order in which they ended.
pub struct Requests<W: Write> {
    table: csv::Writer<W>,
    services: Vec<String>,
}

impl<W: Write> Requests<W> {
    /// Begins the table.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn new(out: W, services: Vec<String>) -> Result<Requests<W>, csv::Error> {
        let mut table = csv::Writer::from_writer(out);
        table.write_record([
            "service",
            "number",
            "outcome",
            "arrived_seconds",
            "started_seconds",
            "first_token_seconds",
            "ended_seconds",
            "prompt_tokens",
            "output_tokens",
            "wait_seconds",
            "ttft_seconds",
            "tpot_seconds",
            "e2e_seconds",
            "priority",
        ])?;
        Ok(Requests { table, services })
    }

    /// Adds requests, each with the place of its service.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, requests: &[(usize, Finished)]) -> Result<(), csv::Error> {
        for (service, request) in requests {
            let at = |instant: Time| instant.as_secs_f64();
            let span = |span: Option<Span>| optional(span.map(Span::as_secs_f64));
            self.table.write_record([
                self.services[*service].clone(),
                request.number.to_string(),
                request.outcome.name().to_owned(),
                at(request.arrived).to_string(),
                optional(request.started.map(at)),
                optional(request.first_token.map(at)),
                at(request.ended).to_string(),
                request.prompt_tokens.to_string(),
                request.output_tokens.to_string(),
                span(request.wait()),
                span(request.ttft()),
                span(request.tpot()),
                span(Some(request.e2e())),
                request.priority.to_string(),
            ])?;
        }
        Ok(())
    }

    /// Ends the table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<(), csv::Error> {
        self.table.flush().map_err(csv::Error::from)
    }
}

fn optional(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

//! A run as text. It leads with the verdict.

use std::fmt::Write as _;

use scaletwin_core::record::{LatencySummary, ObjectiveResult, RunRecord, ServiceSummary, Summary};

use crate::Scaling;
use crate::figures::{
    clock, count, digits, dollars, elasticity_line, energy, outcomes, percent, quantile, seconds,
    seconds_or_dash, stages_line,
};
use crate::verdict::{Worst, words, worst};

/// The text of a run.
#[must_use]
pub fn run(record: &RunRecord, scaling: &Scaling) -> String {
    let mut text = String::new();
    write_run(&mut text, record, scaling).expect("a String takes everything");
    text
}

fn write_run(text: &mut String, record: &RunRecord, scaling: &Scaling) -> std::fmt::Result {
    let summary = &record.summary;
    let verdict = words(record);
    writeln!(text, "{}, seed {}: {verdict}{}", summary.scenario, summary.seed, cost(summary))?;
    for (place, service) in summary.services.iter().enumerate() {
        for objective in &service.slo.objectives {
            writeln!(text, "  {}: {}", service.name, objective_line(objective))?;
        }
        if let Some(worst) = worst(record, place) {
            writeln!(text, "  {}: {}", service.name, worst_line(&worst))?;
        }
    }
    for service in &summary.services {
        write_service(text, service)?;
    }
    write_pools(text, summary)?;
    text.push_str(&scaling.text());
    let simulated = clock(summary.simulated_seconds);
    let warm_up = match summary.warm_up_seconds {
        warm_up if warm_up > 0.0 && warm_up >= summary.simulated_seconds => {
            "all of which is warm-up: nothing counts".to_owned()
        }
        warm_up => format!("of which {} warm-up do not count", clock(warm_up)),
    };
    writeln!(text, "\nsimulated {simulated} from {}, {warm_up}", summary.start)?;
    if !summary.waived.is_empty() {
        writeln!(text, "waived by name, not modelled: {}", summary.waived.join(", "))?;
    }
    writeln!(text, "record {}", summary.record_hash)
}

fn cost(summary: &Summary) -> String {
    let Some(total) = summary.cost.total_usd else { return ", without prices".to_owned() };
    let per = |value: Option<f64>, unit: &str| value.map(|value| format!("{} per {unit}", dollars(value)));
    let idle =
        summary.cost.idle_usd.filter(|_| total > 0.0).map(|idle| format!("{} idle", percent(idle / total)));
    let details: Vec<String> = [
        per(summary.cost.usd_per_1k_requests, "1000 requests"),
        per(summary.cost.usd_per_1m_output_tokens, "1M output tokens"),
        idle,
    ]
    .into_iter()
    .flatten()
    .collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    format!(", for {}{details}", dollars(total))
}

fn objective_line(objective: &ObjectiveResult) -> String {
    let met = match objective.met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "nothing to judge",
    };
    let name = format!("{} {}", objective.metric.name(), quantile(objective.quantile));
    let within = objective.within_share.map(|share| format!(", {} within", percent(share)));
    format!(
        "{name} {} against {}: {met}{}",
        seconds_or_dash(objective.observed_seconds),
        seconds(objective.limit_seconds),
        within.unwrap_or_default()
    )
}

fn worst_line(worst: &Worst<'_>) -> String {
    let window = worst.window;
    let missed = window.counts.arrived - window.good;
    let replicas = worst.capacity.map(|row| {
        format!("; {} of {} replicas ready", digits(row.replicas_ready), digits(row.replicas_wanted))
    });
    format!(
        "worst window {}: {} of {} requests missed because {}{}",
        clock(window.start_seconds),
        count(missed),
        count(window.counts.arrived),
        worst.cause.words(),
        replicas.unwrap_or_default(),
    )
}

fn write_service(text: &mut String, service: &ServiceSummary) -> std::fmt::Result {
    let requests = &service.requests;
    let retries = if requests.retries > 0 {
        format!(", {} of them retries", count(requests.retries))
    } else {
        String::new()
    };
    writeln!(
        text,
        "\n{}: {} requests arrived{retries}: {}",
        service.name,
        count(requests.arrived),
        outcomes(requests)
    )?;
    if let Some(attainment) = service.slo.attainment {
        writeln!(
            text,
            "  {} met every limit, {} a second",
            percent(attainment),
            digits(service.goodput_per_second)
        )?;
    }
    let latencies = [
        ("TTFT", &service.ttft_seconds),
        ("ITL", &service.itl_seconds),
        ("TPOT", &service.tpot_seconds),
        ("E2E", &service.e2e_seconds),
        ("wait", &service.wait_seconds),
    ];
    writeln!(
        text,
        "  {:<6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "mean", "p50", "p90", "p95", "p99", "max"
    )?;
    for (name, latency) in latencies {
        if let Some(LatencySummary { mean, p50, p90, p95, p99, max, .. }) = latency {
            write!(text, "  {name:<6}")?;
            for value in [mean, p50, p90, p95, p99, max] {
                write!(text, "{:>10}", seconds_or_dash(*value))?;
            }
            text.push('\n');
        }
    }
    for deployment in &service.deployments {
        let replicas = &deployment.replicas;
        write!(
            text,
            "  {}: {} replicas ({} to {})",
            deployment.name,
            digits(replicas.mean),
            replicas.min,
            replicas.max
        )?;
        let (ups, downs) = (deployment.scale_ups, deployment.scale_downs);
        write!(text, ", scaled up {ups} and down {downs} times")?;
        if let Some(p95) = deployment.scale_up_latency_seconds.p95 {
            write!(text, "; from decision to ready p95 {}", seconds(p95))?;
        }
        match deployment.preemptions {
            Some(preemptions) if preemptions > 0 => write!(text, "; {} preemptions", count(preemptions))?,
            _ => {}
        }
        if let Some(restarts) = deployment.restarts.filter(|restarts| *restarts > 0) {
            write!(text, "; its containers crashed {} times", count(restarts))?;
        }
        match deployment.cost_usd {
            Some(cost) => writeln!(text, "; {}", dollars(cost))?,
            None => text.push('\n'),
        }
        if !deployment.cold_starts.stages.is_empty() {
            writeln!(text, "    {}", stages_line(&deployment.cold_starts.stages))?;
        }
        if let Some(elasticity) = &deployment.elasticity {
            writeln!(text, "    {}", elasticity_line(elasticity))?;
        }
    }
    Ok(())
}

fn write_pools(text: &mut String, summary: &Summary) -> std::fmt::Result {
    for pool in &summary.node_pools {
        let busy = pool.gpu_busy_share.map(|share| format!(", GPUs busy {}", percent(share)));
        let cost = pool.cost_usd.map(|cost| format!(", {}", dollars(cost)));
        let drawn = pool.energy_kwh.map(|kwh| format!(", {}", energy(kwh)));
        let interrupted = pool.interruptions.map(|nodes| format!(", {nodes} taken back"));
        let failed = pool.failures.map(|nodes| format!(", {nodes} failed"));
        writeln!(
            text,
            "\n{}/{} ({}, {}): {} node hours{}{}{}{}{}",
            pool.cluster,
            pool.name,
            pool.instance_type,
            pool.capacity_type.name(),
            digits(pool.node_hours),
            interrupted.unwrap_or_default(),
            failed.unwrap_or_default(),
            busy.unwrap_or_default(),
            drawn.unwrap_or_default(),
            cost.unwrap_or_default(),
        )?;
    }
    Ok(())
}

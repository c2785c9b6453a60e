//! A run as one HTML file: the verdict first, then charts over time, the decisions, and the tables behind them.
//!
//! It needs nothing from elsewhere, reads without its script, and prints.

mod charts;

use std::fmt::Write as _;

use scaletwin_core::record::RunRecord;

use crate::Scaling;
use crate::figures::{
    clock, count, digits, dollars, elasticity_line, energy, outcomes, percent, quantile, seconds,
    seconds_or_dash,
};
use crate::verdict::{met, words, worst};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// The page of a run.
#[must_use]
pub fn page(record: &RunRecord, scaling: &Scaling) -> String {
    let mut page = String::new();
    write_page(&mut page, record, scaling).expect("a String takes everything");
    page
}

fn write_page(page: &mut String, record: &RunRecord, scaling: &Scaling) -> std::fmt::Result {
    let summary = &record.summary;
    let name = escaped(&summary.scenario);
    writeln!(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(page, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(page, "<title>{name} · scaletwin</title>\n<style>{STYLE}</style>\n</head>\n<body>")?;
    let verdict = words(record);
    let class = match met(record) {
        Some(true) => "good",
        Some(false) => "bad",
        None => "plain",
    };
    writeln!(
        page,
        "<header><p class=\"name\">{name}, seed {}</p><h1 class=\"{class}\">{verdict}</h1>",
        summary.seed
    )?;
    write_tiles(page, record)?;
    writeln!(page, "</header>")?;
    for service in 0..summary.services.len() {
        write_service(page, record, scaling, service)?;
    }
    write_cost(page, record)?;
    write_decisions(page, scaling)?;
    write_trust(page, record)?;
    writeln!(page, "<script>{SCRIPT}</script>\n</body>\n</html>")
}

/// The figures that one looks at first.
fn write_tiles(page: &mut String, record: &RunRecord) -> std::fmt::Result {
    let summary = &record.summary;
    let mut tiles: Vec<(String, String)> = Vec::new();
    for service in &summary.services {
        if let Some(attainment) = service.slo.attainment {
            tiles.push((percent(attainment), format!("of {} met every limit", service.name)));
        }
    }
    if let Some(total) = summary.cost.total_usd {
        tiles.push((dollars(total), "for all nodes".to_owned()));
        let idle = summary.cost.idle_usd.filter(|_| total > 0.0);
        tiles.extend(idle.map(|idle| (percent(idle / total), "of it idle".to_owned())));
    }
    tiles.extend(summary.energy_kwh.map(|kwh| (energy(kwh), "of electricity".to_owned())));
    let per = summary.cost.usd_per_1k_requests;
    tiles.extend(per.map(|cost| (dollars(cost), "per 1000 requests".to_owned())));
    writeln!(page, "<div class=\"tiles\">")?;
    for (figure, what) in tiles {
        writeln!(page, "<div><b>{}</b><span>{}</span></div>", escaped(&figure), escaped(&what))?;
    }
    writeln!(page, "</div>")
}

fn write_service(page: &mut String, record: &RunRecord, scaling: &Scaling, place: usize) -> std::fmt::Result {
    let service = &record.summary.services[place];
    writeln!(page, "<section><h2>{}</h2>", escaped(&service.name))?;
    for objective in &service.slo.objectives {
        let class = if objective.met == Some(true) { "good" } else { "bad" };
        let within =
            objective.within_share.map(|share| format!(", {} within", percent(share))).unwrap_or_default();
        writeln!(
            page,
            "<p class=\"objective {class}\">{} {} {} against {}{within}</p>",
            objective.metric.name(),
            quantile(objective.quantile),
            seconds_or_dash(objective.observed_seconds),
            seconds(objective.limit_seconds),
        )?;
    }
    if let Some(worst) = worst(record, place) {
        let window = worst.window;
        writeln!(
            page,
            "<p>Worst window: <b>{}</b>. {} of {} requests missed because {}.</p>",
            clock(window.start_seconds),
            count(window.counts.arrived - window.good),
            count(window.counts.arrived),
            worst.cause.words(),
        )?;
    }
    write_latencies(page, record, place)?;
    charts::write_service(page, record, scaling, place)?;
    write_starts(page, record, place)?;
    for deployment in &service.deployments {
        if let Some(elasticity) = &deployment.elasticity {
            let line = elasticity_line(elasticity);
            writeln!(page, "<p>{}: {}.</p>", escaped(&deployment.name), escaped(&line))?;
        }
    }
    writeln!(page, "</section>")
}

fn write_latencies(page: &mut String, record: &RunRecord, place: usize) -> std::fmt::Result {
    let service = &record.summary.services[place];
    let rows = [
        ("TTFT", &service.ttft_seconds),
        ("ITL", &service.itl_seconds),
        ("TPOT", &service.tpot_seconds),
        ("E2E", &service.e2e_seconds),
        ("wait", &service.wait_seconds),
    ];
    writeln!(
        page,
        "<div class=\"scroll\"><table><thead><tr><th></th><th>mean</th><th>p50</th><th>p90</th><th>p95</th><th>p99</th><th>max</th></tr></thead><tbody>"
    )?;
    for (name, latency) in rows {
        let Some(latency) = latency else { continue };
        write!(page, "<tr><th>{name}</th>")?;
        for value in [latency.mean, latency.p50, latency.p90, latency.p95, latency.p99, latency.max] {
            write!(page, "<td>{}</td>", seconds_or_dash(value))?;
        }
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</tbody></table></div>")?;
    let requests = &service.requests;
    writeln!(
        page,
        "<p>{} requests arrived after the warm-up: {}.</p>",
        count(requests.arrived),
        outcomes(requests)
    )
}

/// What starts of replicas were made of: a bar for each stage.
fn write_starts(page: &mut String, record: &RunRecord, place: usize) -> std::fmt::Result {
    for deployment in &record.summary.services[place].deployments {
        let stages = &deployment.cold_starts.stages;
        let longest = stages.iter().map(|stage| stage.p95_seconds).fold(0.0, f64::max);
        if stages.is_empty() || longest <= 0.0 {
            continue;
        }
        let (name, starts) = (escaped(&deployment.name), count(deployment.cold_starts.count));
        writeln!(
            page,
            "<h3>What a start of {name} is made of</h3><p>{starts} starts. Dark: the mean; light: the 95th percentile.</p><table class=\"bars\"><thead><tr><th>stage</th><th></th><th>mean</th><th>p95</th></tr></thead><tbody>"
        )?;
        for stage in stages {
            let share = |value: f64| value / longest * 100.0;
            writeln!(
                page,
                "<tr><th>{}</th><td><i style=\"width:{:.1}%\"></i><b style=\"width:{:.1}%\"></b></td><td>{}</td><td>{}</td></tr>",
                escaped(&stage.name),
                share(stage.p95_seconds),
                share(stage.mean_seconds),
                seconds(stage.mean_seconds),
                seconds(stage.p95_seconds),
            )?;
        }
        writeln!(page, "</tbody></table>")?;
    }
    Ok(())
}

fn write_cost(page: &mut String, record: &RunRecord) -> std::fmt::Result {
    if record.summary.node_pools.is_empty() {
        return Ok(());
    }
    writeln!(page, "<section><h2>Nodes</h2>")?;
    charts::write_pools(page, record)?;
    writeln!(
        page,
        "<div class=\"scroll\"><table><thead><tr><th>pool</th><th>instance type</th><th>bought</th><th>node hours</th><th>GPUs busy</th><th>energy</th><th>cost</th></tr></thead><tbody>"
    )?;
    for pool in &record.summary.node_pools {
        writeln!(
            page,
            "<tr><th>{}/{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&pool.cluster),
            escaped(&pool.name),
            escaped(&pool.instance_type),
            pool.capacity_type.name(),
            digits(pool.node_hours),
            pool.gpu_busy_share.map_or_else(|| "-".to_owned(), percent),
            pool.energy_kwh.map_or_else(|| "-".to_owned(), energy),
            pool.cost_usd.map_or_else(|| "-".to_owned(), dollars),
        )?;
    }
    writeln!(page, "</tbody></table></div></section>")
}

fn write_decisions(page: &mut String, scaling: &Scaling) -> std::fmt::Result {
    if scaling.acts().is_empty() && scaling.failures().next().is_none() {
        return Ok(());
    }
    writeln!(page, "<section><h2>Decisions</h2><p>{}</p>", escaped(&scaling.headline()))?;
    for failure in scaling.failures() {
        writeln!(page, "<p class=\"bad\">{}</p>", escaped(&failure))?;
    }
    writeln!(
        page,
        "<div class=\"scroll\"><table class=\"text\"><thead><tr><th>at</th><th>controller</th><th>did</th><th>because</th></tr></thead><tbody>"
    )?;
    for act in scaling.acts() {
        let (who, what, why) = (escaped(&act.who), escaped(&act.what), escaped(&act.why));
        writeln!(
            page,
            "<tr><th>{}</th><td>{who}</td><td>{what}</td><td>{why}</td></tr>",
            clock(act.t_seconds)
        )?;
    }
    writeln!(page, "</tbody></table></div></section>")
}

/// What one has to know to trust the figures.
fn write_trust(page: &mut String, record: &RunRecord) -> std::fmt::Result {
    let summary = &record.summary;
    writeln!(page, "<section><h2>How far to trust this</h2><ul>")?;
    writeln!(
        page,
        "<li>One run with one seed. The interval of a figure needs several: <code>--replications 20</code>.</li>"
    )?;
    writeln!(
        page,
        "<li>Simulated {} from {}, of which {} warm-up do not count.</li>",
        clock(summary.simulated_seconds),
        escaped(&summary.start),
        clock(summary.warm_up_seconds)
    )?;
    if !summary.not_modelled.is_empty() {
        writeln!(
            page,
            "<li>Not modelled, and therefore absent: {}.</li>",
            escaped(&summary.not_modelled.join(", "))
        )?;
    }
    if !summary.waived.is_empty() {
        writeln!(page, "<li>Waived by name, not modelled: {}.</li>", escaped(&summary.waived.join(", ")))?;
    }
    writeln!(
        page,
        "<li>Record <code>{}</code>: the same source, scenario and seed give the same one.</li>",
        summary.record_hash
    )?;
    writeln!(page, "</ul></section>")
}

/// Text as HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
    html
}

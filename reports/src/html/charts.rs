//! The charts of a page, each with its legend, its values for the script, and the tables behind them.

use std::fmt::Write as _;

use plotters::style::RGBColor;
use scaletwin_core::record::{CapacityRow, LatencyMetric, RunRecord, Window};

use super::escaped;
use crate::Scaling;
use crate::chart::{
    BLUE, Chart, Form, GREEN, GREY, Line, NARROW, ORANGE, PURPLE, Paper, RED, SKY, Scale, Time, WIDE,
};
use crate::figures::{clock, count, digits, dollars, percent, seconds, seconds_or_dash};

/// What the charts of a service are drawn from.
struct Timeline<'a> {
    rows: Vec<&'a CapacityRow>,
    windows: Vec<Option<&'a Window>>,
    time: Time,
}

/// The time that the charts of a run cover.
fn time(record: &RunRecord) -> Time {
    let summary = &record.summary;
    let starts = record.capacity.iter().map(|row| row.start_seconds);
    let window = starts.filter(|start| *start > 0.0).reduce(f64::min).unwrap_or(summary.simulated_seconds);
    Time { end: summary.simulated_seconds, window: window.max(1e-9), warm_up: summary.warm_up_seconds }
}

impl<'a> Timeline<'a> {
    fn of(record: &'a RunRecord, service: usize) -> Timeline<'a> {
        let rows: Vec<&CapacityRow> = record.capacity.iter().filter(|row| row.service == service).collect();
        let mut windows = record.windows[service].iter().peekable();
        let mut at = |start: f64| {
            while windows.next_if(|window| window.start_seconds < start - 1e-6).is_some() {}
            windows.next_if(|window| window.start_seconds < start + 1e-6)
        };
        let windows = rows.iter().map(|row| at(row.start_seconds)).collect();
        Timeline { rows, windows, time: time(record) }
    }

    fn line(
        &self,
        (name, color, form): (&str, RGBColor, Form),
        value: impl Fn(&CapacityRow, Option<&Window>) -> Option<f64>,
    ) -> Line {
        let points = self.rows.iter().zip(&self.windows).filter(|(row, _)| self.is_drawn(row));
        let points = points.map(|(row, window)| (row.start_seconds, value(row, *window))).collect();
        Line { name: name.to_owned(), color, form, points }
    }

    /// Whether a window is long enough to be drawn: what is left of one at the end looks like an outage.
    fn is_drawn(&self, row: &CapacityRow) -> bool {
        self.rows.len() == 1 || self.time.end - row.start_seconds >= self.time.window / 10.0
    }

    /// A number of a window by its time; the last window may be shorter.
    fn per_second(&self, row: &CapacityRow, count: u64) -> f64 {
        count as f64 / self.time.window.min(self.time.end - row.start_seconds).max(1e-9)
    }
}

const NOTHING: Chart<'_> = Chart {
    title: "",
    unit: "",
    lines: Vec::new(),
    limit: None,
    phrase: digits,
    scale: Scale::Linear,
    marks: Vec::new(),
    stacked: false,
};

/// The charts of a service.
pub(super) fn write_service(
    page: &mut String,
    record: &RunRecord,
    scaling: &Scaling,
    place: usize,
) -> std::fmt::Result {
    let timeline = Timeline::of(record, place);
    let mut charts = vec![load(&timeline, record, place), replicas(&timeline, record, scaling, place)];
    charts.extend(latencies(&timeline, record, place));
    charts.push(queue(&timeline));
    charts.push(utilisation(&timeline));
    for chart in &charts {
        write(page, chart, &timeline.time)?;
    }
    write_table(page, &timeline)
}

/// How busy and how full ready replicas were.
fn utilisation<'a>(timeline: &Timeline<'_>) -> Chart<'a> {
    let mut lines =
        vec![timeline.line(("busy: time in which they worked", BLUE, Form::Steps), |row, _| row.busy_share)];
    let kv = timeline.line(("KV blocks in use, at the end", ORANGE, Form::Steps), |row, _| row.kv_used_share);
    if kv.points.iter().any(|(_, value)| value.is_some()) {
        lines.push(kv);
    }
    let title = "Utilisation of ready replicas";
    Chart { title, lines, phrase: percent_short, scale: Scale::Share, ..NOTHING }
}

fn percent_short(share: f64) -> String {
    if share > 0.0 && share < 0.1 { percent(share) } else { format!("{:.0} %", share * 100.0) }
}

/// What arrived, what was good, and what the ready replicas could have served.
fn load<'a>(timeline: &Timeline<'_>, record: &RunRecord, place: usize) -> Chart<'a> {
    let mut lines = vec![
        timeline.line(("good", GREEN, Form::Area), |row, window| {
            Some(window.map_or(0.0, |window| timeline.per_second(row, window.good)))
        }),
        timeline.line(("arrived", BLUE, Form::Steps), |row, window| {
            Some(window.map_or(0.0, |window| timeline.per_second(row, window.counts.arrived)))
        }),
    ];
    let deployments = &record.summary.services[place].deployments;
    let capacity = deployments.iter().filter_map(|deployment| deployment.elasticity).next();
    if let Some(elasticity) = capacity {
        lines.push(timeline.line(("ready replicas could serve", ORANGE, Form::Dashed), |row, _| {
            Some(row.replicas_ready * elasticity.capacity_per_second)
        }));
    }
    let title = match capacity {
        Some(_) => "Load against capacity: requests that arrived, were good, could be served",
        None => "Load: requests that arrived, and were good (run with --elasticity to see capacity)",
    };
    Chart { title, unit: "requests/s", lines, ..NOTHING }
}

/// Replicas by state, what was wanted, and when somebody changed that.
fn replicas<'a>(timeline: &Timeline<'_>, record: &RunRecord, scaling: &Scaling, place: usize) -> Chart<'a> {
    let area = |name, color, of: fn(&CapacityRow) -> u64| {
        timeline.line((name, color, Form::Area), move |row, _| Some(of(row) as f64))
    };
    let of_service = format!("{}/", record.summary.services[place].name);
    let mut known: std::collections::BTreeMap<&str, i32> = std::collections::BTreeMap::new();
    let mut marks = Vec::new();
    let set = scaling.acts().iter().flat_map(|act| act.set.iter().map(|set| (act.t_seconds, set)));
    for (at, (target, replicas)) in set.filter(|(_, (target, _))| target.starts_with(&of_service)) {
        let before = known.insert(target, *replicas);
        let started = || timeline.rows.first().map_or(0, |row| row.states.ready);
        let before = before.map_or_else(|| f64::from(u32::try_from(started()).unwrap_or(0)), f64::from);
        marks.push((at, f64::from(*replicas) > before));
    }
    let mut lines = vec![
        area("ready", SKY, |row| row.states.ready),
        area("starting", ORANGE, |row| row.states.starting),
        area("pending", RED, |row| row.states.pending),
        area("draining", GREY, |row| row.states.draining),
    ];
    lines.retain(|line| line.name == "ready" || line.points.iter().any(|(_, value)| *value > Some(0.0)));
    lines.push(timeline.line(("wanted, on average", BLUE, Form::Steps), |row, _| Some(row.replicas_wanted)));
    let title = match marks.is_empty() {
        true => "Replicas by state at the end of each window",
        false => "Replicas by state at the end of each window; ▲ ▼ decisions for more and for fewer",
    };
    Chart { title, unit: "replicas", scale: Scale::Whole, lines, marks, stacked: true, ..NOTHING }
}

/// One chart for each latency, with the limit of its objective.
fn latencies<'a>(timeline: &Timeline<'_>, record: &RunRecord, place: usize) -> Vec<Chart<'a>> {
    let service = &record.summary.services[place];
    let limit = |metric: LatencyMetric| {
        let objectives = service.slo.objectives.iter().filter(|objective| objective.metric == metric);
        objectives.map(|objective| objective.limit_seconds).reduce(f64::max)
    };
    let line = |name: &str, color, of: fn(&Window) -> Option<f64>| {
        timeline.line((name, color, Form::Line), move |_, window| of(window?))
    };
    let chart = |title, metric, lines| Chart {
        title,
        lines,
        limit: limit(metric),
        phrase: seconds,
        scale: Scale::Logarithmic,
        ..NOTHING
    };
    let mut charts = Vec::new();
    if service.ttft_seconds.is_some() {
        let lines = vec![
            line("p50", SKY, |window| window.ttft_p50_seconds),
            line("p95", BLUE, |window| window.ttft_p95_seconds),
            line("p99", PURPLE, |window| window.ttft_p99_seconds),
        ];
        charts.push(chart("Time to first token, by the window of arrival", LatencyMetric::Ttft, lines));
        let lines = vec![line("p95", BLUE, |window| window.tpot_p95_seconds)];
        charts.push(chart("Time per output token", LatencyMetric::Tpot, lines));
    }
    let lines = vec![
        line("p50", SKY, |window| window.e2e_p50_seconds),
        line("p95", BLUE, |window| window.e2e_p95_seconds),
        line("p99", PURPLE, |window| window.e2e_p99_seconds),
    ];
    charts.push(chart("Whole time of a request", LatencyMetric::E2e, lines));
    if let Some(limit) = limit(LatencyMetric::Wait) {
        let lines = vec![line("p95", BLUE, |window| window.wait_p95_seconds)];
        charts.push(Chart { limit: Some(limit), ..chart("Wait before service", LatencyMetric::Wait, lines) });
    }
    charts
}

fn queue<'a>(timeline: &Timeline<'_>) -> Chart<'a> {
    Chart {
        title: "Requests at the end of each window: in the system, and of them waiting",
        unit: "requests",
        scale: Scale::Whole,
        lines: vec![
            timeline.line(("in the system", BLUE, Form::Line), |row, _| Some(row.in_system as f64)),
            timeline.line(("waiting", ORANGE, Form::Line), |row, _| Some(row.waiting as f64)),
        ],
        ..NOTHING
    }
}

const POOL_COLORS: [RGBColor; 6] = [BLUE, ORANGE, GREEN, PURPLE, SKY, RED];

/// What the node pools cost and how many nodes they have, one upon the other.
pub(super) fn write_pools(page: &mut String, record: &RunRecord) -> std::fmt::Result {
    let time = time(record);
    let lines = |of: fn(&scaletwin_core::record::PoolRow) -> Option<f64>| {
        let pools = record.summary.node_pools.iter().enumerate();
        let line = |(place, pool): (usize, &scaletwin_core::record::NodePoolSummary)| {
            let rows = record.pools.iter().filter(|row| row.pool == place);
            Line {
                name: format!("{}/{}", pool.cluster, pool.name),
                color: POOL_COLORS[place % POOL_COLORS.len()],
                form: Form::Area,
                points: rows.map(|row| (row.start_seconds, of(row))).collect(),
            }
        };
        pools.map(line).collect::<Vec<_>>()
    };
    let cost = Chart {
        title: "Cost rate by node pool",
        unit: "$ per hour",
        lines: lines(|row| row.usd_per_hour),
        phrase: dollars_short,
        stacked: true,
        ..NOTHING
    };
    let nodes = Chart {
        title: "Nodes by pool at the end of each window, from launch to deletion",
        unit: "nodes",
        scale: Scale::Whole,
        lines: lines(|row| Some(row.nodes as f64)),
        stacked: true,
        ..NOTHING
    };
    if record.pools.iter().any(|row| row.usd_per_hour.is_some()) {
        write(page, &cost, &time)?;
    }
    write(page, &nodes, &time)
}

fn dollars_short(value: f64) -> String {
    match value {
        0.0 => "$0".to_owned(),
        value if value >= 10.0 => format!("${value:.0}"),
        value if value >= 0.1 => format!("${value:.2}"),
        value => dollars(value),
    }
}

fn write(page: &mut String, chart: &Chart<'_>, time: &Time) -> std::fmt::Result {
    write!(page, "<figure><figcaption>{}</figcaption><p class=\"legend\">", escaped(chart.title))?;
    for (place, line) in chart.lines.iter().enumerate() {
        let RGBColor(red, green, blue) = line.color;
        let form = match line.form {
            Form::Area => "area",
            Form::Dashed => "dashed",
            Form::Line | Form::Steps => "stroke",
        };
        write!(
            page,
            "<span data-line=\"{place}\"><i class=\"{form}\" style=\"color:rgb({red},{green},{blue})\"></i>{}</span> ",
            escaped(&line.name)
        )?;
    }
    if let Some(limit) = chart.limit {
        write!(page, "<span><i class=\"limit\"></i>limit {}</span>", (chart.phrase)(limit))?;
    }
    writeln!(page, "</p>")?;
    let starts =
        chart.lines.first().map(|line| line.points.iter().map(|(at, _)| clock(*at)).collect::<Vec<_>>());
    let lines: Vec<_> = chart
        .lines
        .iter()
        .map(|line| {
            let values = line.points.iter().map(|(_, value)| value.map(chart.phrase));
            serde_json::json!({"name": line.name, "values": values.collect::<Vec<_>>()})
        })
        .collect();
    let data = serde_json::json!({
        "end": time.end, "window": time.window, "starts": starts.unwrap_or_default(), "lines": lines,
    });
    writeln!(page, "<div class=\"chart\" data-chart=\"{}\">", escaped(&data.to_string()))?;
    for (class, paper) in [("wide", WIDE), ("narrow", NARROW)] {
        let Paper { width, left, right, .. } = paper;
        let svg = chart.svg(time, &paper);
        writeln!(
            page,
            "<div class=\"{class}\" data-left=\"{}\" data-right=\"{}\">{svg}</div>",
            f64::from(left) / f64::from(width),
            f64::from(right) / f64::from(width),
        )?;
    }
    writeln!(page, "<output></output></div></figure>")
}

/// The most windows that the table behind the charts shows.
const MOST_ROWS: usize = 400;

/// The figures behind the charts.
fn write_table(page: &mut String, timeline: &Timeline<'_>) -> std::fmt::Result {
    writeln!(page, "<details><summary>The figures behind these charts, by window</summary>")?;
    if timeline.rows.len() > MOST_ROWS {
        writeln!(
            page,
            "<p>The first {MOST_ROWS} of {} windows; timeline.csv has all.</p>",
            timeline.rows.len()
        )?;
    }
    let heads = [
        "from", "arrived", "good", "wanted", "ready", "starting", "pending", "draining", "TTFT p95",
        "TPOT p95", "E2E p95", "waiting", "busy",
    ];
    writeln!(page, "<div class=\"scroll\"><table class=\"small\"><thead><tr>")?;
    heads.iter().try_for_each(|head| write!(page, "<th>{head}</th>"))?;
    writeln!(page, "</tr></thead><tbody>")?;
    for (row, window) in timeline.rows.iter().zip(&timeline.windows).take(MOST_ROWS) {
        let counted = |of: fn(&Window) -> u64| count(window.map_or(0, of));
        let latency = |of: fn(&Window) -> Option<f64>| seconds_or_dash(window.and_then(of));
        let states = &row.states;
        write!(page, "<tr><th>{}</th>", clock(row.start_seconds))?;
        for cell in [
            counted(|window| window.counts.arrived),
            counted(|window| window.good),
            digits(row.replicas_wanted),
            count(states.ready),
            count(states.starting),
            count(states.pending),
            count(states.draining),
            latency(|window| window.ttft_p95_seconds),
            latency(|window| window.tpot_p95_seconds),
            latency(|window| window.e2e_p95_seconds),
            count(row.waiting),
            row.busy_share.map_or_else(|| "-".to_owned(), percent),
        ] {
            write!(page, "<td>{cell}</td>")?;
        }
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</tbody></table></div></details>")
}

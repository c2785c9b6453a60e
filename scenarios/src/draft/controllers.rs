//! HPAs, ScaledObjects and NodePools as controllers that name their manifests.

use std::collections::BTreeMap;

use scaletwin_core::control::{CATALOGUE, Kind};
use scaletwin_core::input::{Problems, parse_documents};
use scaletwin_policies::kubernetes::hpa;
use scaletwin_policies::kubernetes::hpa::spec::{ControllerSpec, MetricSource};
use scaletwin_policies::kubernetes::keda::bindings::{Bindings, StandsFor};
use scaletwin_policies::kubernetes::{karpenter, keda};
use scaletwin_sim::scrape::promql::{PrometheusVersion, Query};
use scaletwin_sim::scrape::queries::names_found;

use super::ManifestFile;
use super::named;
use super::objects::{Object, Objects};
use super::page::{Line, Origin, guessed, inferred, plain, quoted};
use super::servers::Server;

/// Signals by name, each as it is written and with where it is from.
pub(super) type Signals = BTreeMap<String, (String, Origin)>;

/// A controller.
pub(super) struct Drafted {
    /// The object, for messages.
    pub object: String,
    /// What it scales.
    pub target: String,
    /// The place of its service.
    pub server: usize,
    pub lines: Vec<Line>,
    pub signals: Signals,
}

/// One that stands for whatever adds nodes.
pub(super) fn provisioner() -> Vec<Line> {
    let why = "it adds nodes for waiting pods and removes idle ones; write {kind: cluster-autoscaler} or {kind: karpenter} if yours decides so";
    vec![Line::of(2, "- {kind: node-provisioner}", guessed(why))]
}

/// A manifest as a controller names it, and the fields of it that are waived.
fn manifest(file: &str, waived: &[String], depth: usize, object: &str) -> Vec<Line> {
    let read = Some(Origin::Read(object.to_owned()));
    let mut lines = vec![Line::of(depth, format!("manifest: {}", quoted(file)), read)];
    if !waived.is_empty() {
        let list: Vec<String> = waived.iter().map(|path| quoted(path)).collect();
        let why = "these fields are not modelled; the run goes on without their effect";
        lines.push(Line::of(depth, format!("waive: [{}]", list.join(", ")), inferred(why)));
    }
    lines
}

/// What `read` gives with as few fields waived as it needs, and those fields.
fn with_waivers<T>(read: impl Fn(&[String]) -> Result<T, Problems>) -> Result<(T, Vec<String>), String> {
    let mut waived: Vec<String> = Vec::new();
    loop {
        let problems = match read(&waived) {
            Ok(value) => return Ok((value, waived)),
            Err(problems) => problems,
        };
        let fields = problems.iter().map(|problem| problem.message.strip_suffix(" is not modelled"));
        let Some(mut more) = fields.map(|field| field.map(str::to_owned)).collect::<Option<Vec<_>>>() else {
            let other = problems.iter().find(|problem| !problem.message.ends_with(" is not modelled"));
            return Err(plain(&other.map_or_else(String::new, |problem| problem.message.clone())));
        };
        more.retain(|field| !waived.contains(field));
        more.sort();
        more.dedup();
        if more.is_empty() {
            return Err("its fields cannot be waived".to_owned());
        }
        waived.extend(more);
    }
}

/// Karpenter with the NodePools of one file.
pub(super) fn karpenter(
    objects: &Objects<'_>,
    files: &[ManifestFile],
    left_out: &mut Vec<String>,
) -> Vec<Drafted> {
    let pools = objects.of_kind("NodePool");
    let Some(first) = pools.first() else { return Vec::new() };
    for other in pools.iter().filter(|pool| pool.file != first.file) {
        left_out.push(format!(
            "{} of {}: {{kind: karpenter}} reads one file, here {}; put them together",
            named(other),
            other.file,
            first.file
        ));
    }
    let Some(file) = files.iter().find(|file| file.path == first.file) else { return Vec::new() };
    let Ok(nodes) = parse_documents(&file.path, &file.text) else { return Vec::new() };
    let place = &first.node.place;
    match with_waivers(|waived| karpenter::manifest::read(&nodes, waived, place)) {
        Err(why) => {
            left_out.push(format!("the NodePools of {}: {why}", first.file));
            Vec::new()
        }
        Ok((_, waived)) => {
            note(&format!("NodePools of {}", first.file), &waived, left_out);
            let mut lines = vec![Line::of(2, "- kind: karpenter", inferred("there are NodePools"))];
            lines.extend(manifest(first.file, &waived, 3, &named(first)));
            let target = String::new();
            vec![Drafted { object: named(first), target, server: 0, lines, signals: Signals::new() }]
        }
    }
}

/// Lists waived fields.
fn note(object: &str, waived: &[String], left_out: &mut Vec<String>) {
    if !waived.is_empty() {
        left_out.push(format!("{object}: {} (waived: not modelled)", waived.join(", ")));
    }
}

/// The controllers of replicas, of the services that there are.
pub(super) fn scalers(objects: &Objects<'_>, servers: &[Server], left_out: &mut Vec<String>) -> Vec<Drafted> {
    let mut drafted = Vec::new();
    let kinds: [(&str, Draw); 2] = [("HorizontalPodAutoscaler", draw_hpa), ("ScaledObject", draw_keda)];
    for (kind, draw) in kinds {
        for object in objects.of_kind(kind) {
            // KEDA makes these itself of its ScaledObjects.
            if object.label("scaledobject.keda.sh/name").is_some() {
                left_out.push(format!("{}: KEDA has made it of a ScaledObject", named(&object)));
                continue;
            }
            let target = object.at(&["spec", "scaleTargetRef", "name"]).and_then(|node| node.as_text());
            let found = servers.iter().position(|server| {
                Some(server.named.as_str()) == target && server.namespace == object.namespace
            });
            let Some(found) = found else {
                let target = target.unwrap_or("nothing");
                left_out.push(format!("{}: what it scales, {target}, is no service here", named(&object)));
                continue;
            };
            match draw(&object, &servers[found]) {
                Ok((one, waived)) => {
                    note(&named(&object), &waived, left_out);
                    drafted.push(Drafted { server: found, ..one });
                }
                Err(why) => left_out.push(format!("{}: {why}", named(&object))),
            }
        }
    }
    drafted
}

type Draw = fn(&Object<'_>, &Server) -> Result<(Drafted, Vec<String>), String>;

fn draw_hpa(object: &Object<'_>, server: &Server) -> Result<(Drafted, Vec<String>), String> {
    let controller = ControllerSpec::default().settings();
    let ((found, _), waived) = with_waivers(|waived| hpa::manifest::read(object.node, waived, &controller))?;
    let mut signals = Signals::new();
    for metric in &found.settings.metrics {
        let (name, per_pod) = match metric {
            MetricSource::Resource { .. } => continue,
            MetricSource::Pods { metric, .. } => (&metric.name, true),
            MetricSource::Object { metric, .. } | MetricSource::External { metric, .. } => {
                (&metric.name, false)
            }
        };
        signals.insert(name.clone(), series(name, per_pod, server));
    }
    let mut lines = vec![Line::of(2, "- kind: hpa", inferred("its manifest"))];
    lines.push(Line::of(
        3,
        format!("target: {}", quoted(&server.target())),
        object.read("spec.scaleTargetRef"),
    ));
    lines.extend(manifest(object.file, &waived, 3, &named(object)));
    Ok((Drafted { object: named(object), target: server.target(), server: 0, lines, signals }, waived))
}

/// The signal behind a metric: the series of that name, whatever an adapter has made of it, or one that may be meant.
fn series(metric: &str, per_pod: bool, server: &Server) -> (String, Origin) {
    let bare = |name: &str| name.replace([':', '.', '-'], "_").to_ascii_lowercase();
    let wanted = bare(metric);
    let gauges = || CATALOGUE.iter().filter(|signal| matches!(signal.kind, Kind::Gauge));
    let same = gauges().find(|signal| bare(signal.name) == wanted);
    let ends = gauges().find(|signal| {
        let own = bare(signal.name);
        let last = own.strip_prefix("vllm_").unwrap_or(&own);
        wanted.ends_with(last) || last.ends_with(&wanted)
    });
    let default = if server.profile.is_some() {
        "vllm:num_requests_waiting"
    } else {
        "interceptor_pending_request_count"
    };
    let (series, origin) = match (same, ends) {
        (Some(found), _) => (found.name, Origin::Inferred("the series of that name".to_owned())),
        (None, Some(found)) => (found.name, Origin::Guessed("the series nearest in name; set it".to_owned())),
        (None, None) => {
            (default, Origin::Guessed("no modelled exporter shows it; set what it stands for".to_owned()))
        }
    };
    let text = match per_pod {
        true => format!("{{series: {series:?}, per: pod}}"),
        false => format!("{{series: {series:?}, match: {{service: {}}}}}", quoted(&server.name)),
    };
    (text, origin)
}

fn draw_keda(object: &Object<'_>, server: &Server) -> Result<(Drafted, Vec<String>), String> {
    let controller = ControllerSpec::default().settings();
    let unbound = Bindings::default();
    let ((found, _), waived) =
        with_waivers(|waived| keda::manifest::read(object.node, waived, &unbound, &controller))?;
    let (mut signals, mut bound) = (Signals::new(), Vec::new());
    for (name, stands_for) in &found.stands_for {
        let own = format!("{}-{name}", server.name);
        bound.push(format!("{}: {}", quoted(name), quoted(&own)));
        let signal = match stands_for {
            StandsFor::Query(query) => answer(query, server),
            StandsFor::Scaler(kind) => series(kind, false, server),
        };
        signals.insert(own, signal);
    }
    let mut lines = vec![Line::of(2, "- kind: keda", inferred("its manifest"))];
    lines.push(Line::of(
        3,
        format!("target: {}", quoted(&server.target())),
        object.read("spec.scaleTargetRef"),
    ));
    lines.extend(manifest(object.file, &waived, 3, &named(object)));
    if !bound.is_empty() {
        let why = "the signals below stand for its triggers";
        lines.push(Line::of(3, format!("bind: {{{}}}", bound.join(", ")), inferred(why)));
    }
    Ok((Drafted { object: named(object), target: server.target(), server: 0, lines, signals }, waived))
}

/// The signal behind a trigger: its query, if the simulated Prometheus can answer it.
fn answer(query: &str, server: &Server) -> (String, Origin) {
    let read = Query::new(query, PrometheusVersion::V3).ok().filter(|query| query.reach().is_ok());
    let known = read.is_some_and(|query| {
        let selectors = query.selectors();
        (query.is_vector() || query.is_scalar())
            && selectors.iter().all(|matchers| !names_found(matchers).is_empty())
    });
    match known {
        true => {
            let why = "the query of the trigger; do its labels fit those that are simulated?";
            let text = serde_json::Value::from(query).to_string();
            (format!("{{promql: {text}}}"), Origin::Inferred(why.to_owned()))
        }
        false => series(query, false, server),
    }
}

//! The metrics that controllers ask for by name.

use scaletwin_core::control::{CATALOGUE, Kind, Signal, SignalScope, signal};
use scaletwin_core::input::{At, Problem, Problems, suggestion};
use scaletwin_sim::scrape::exporter::{server_of, variants};
use scaletwin_sim::scrape::signals::{Per, Reduce, SignalSettings, scraped_labels};
use scaletwin_sim::world::settings::{DeploymentModel, EngineSettings, ServiceModel};

use crate::spec::{ScenarioSpec, SignalSpec};

pub(super) fn signals(
    spec: &ScenarioSpec,
    services: &[ServiceModel],
    deployments: &[DeploymentModel],
    problems: &mut Problems,
) -> Vec<SignalSettings> {
    let mut signals = Vec::new();
    for (name, written) in &spec.signals {
        let Some(series) = &written.series else { continue };
        match signal(series) {
            None => problems.push(unknown(series)),
            Some(found) => {
                check(written, series, found, services, deployments, problems);
                signals.push(settings(name, series, written));
            }
        }
    }
    signals
}

fn settings(name: &str, series: &str, spec: &SignalSpec) -> SignalSettings {
    SignalSettings {
        name: name.to_owned(),
        series: series.to_owned(),
        matches: spec.r#match.iter().map(|(label, value)| (label.clone(), value.value.clone())).collect(),
        per: spec.per,
        reduce: spec.reduce.unwrap_or(Reduce::Sum),
        rate_over: spec.rate_over.as_ref().map(|over| over.0),
    }
}

fn unknown(series: &At<String>) -> Problem {
    let name = &series.value;
    let problem = Problem::error(&series.place, format!("no modelled exporter shows {name:?}"));
    let base = CATALOGUE.iter().find(|known| known.name == *name || known.name == format!("{name}_total"));
    match base {
        Some(Signal { kind: Kind::Histogram(_), .. }) => {
            problem.hint(format!("a histogram is shown as {name}_bucket, {name}_sum, {name}_count"))
        }
        Some(known) => problem.hint(format!("did you mean {:?}?", known.name)),
        None => {
            let names: Vec<&str> = CATALOGUE.iter().map(|known| known.name).collect();
            problem.hint(suggestion(name, &names).unwrap_or_default())
        }
    }
}

fn check(
    spec: &At<SignalSpec>,
    series: &At<String>,
    found: &Signal,
    services: &[ServiceModel],
    deployments: &[DeploymentModel],
    problems: &mut Problems,
) {
    if let (Some(over), Kind::Gauge) = (&spec.rate_over, found.kind) {
        let problem = Problem::error(&over.place, format!("{} is a gauge: it has no rate", series.value));
        problems.push(problem.hint("remove rate_over"));
    }
    if spec.per == Per::Pod && found.scope != SignalScope::Replica {
        problems.error(&series.place, format!("{} is not about pods: it cannot be per: pod", series.value));
    }
    let exposes = |model: &DeploymentModel| match found.name {
        name if server_of(name).is_some() => {
            matches!(&model.engine, EngineSettings::Continuous { server, .. } if Some(*server) == server_of(name))
        }
        name if name.starts_with("nv_inference_") => matches!(model.engine, EngineSettings::Dynamic { .. }),
        name if name.starts_with("DCGM_") => model.usage.gpu.is_some(),
        _ => true,
    };
    if !deployments.is_empty() && !deployments.iter().any(exposes) {
        problems.error(&series.place, format!("no replica of this scenario shows {}", series.value));
    }
    check_labels(spec, series, found, deployments, problems);
    let chosen = spec
        .r#match
        .keys()
        .any(|label| scraped_labels(found.scope).contains(&label.as_str()) || is_model(label));
    if services.len() > 1 && spec.per == Per::Deployment && !chosen {
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let message = format!("{} would be taken over all services together", series.value);
        let hint = format!(
            "add match: {{service: {}}}, or match: {{namespace: default}} if all are meant",
            names.join(" or ")
        );
        problems.push(Problem::error(&series.place, message).hint(hint));
    }
}

/// Whether a label names the model: vLLM's name and Triton's.
fn is_model(label: &str) -> bool {
    matches!(label, "model_name" | "model")
}

/// The name of the model that a deployment serves.
fn model_of(deployment: &DeploymentModel) -> Option<&str> {
    match &deployment.engine {
        EngineSettings::Continuous { model, .. } | EngineSettings::Dynamic { model, .. } => Some(model),
        EngineSettings::Concurrency { .. } => None,
    }
}

fn check_labels(
    spec: &SignalSpec,
    series: &At<String>,
    found: &Signal,
    deployments: &[DeploymentModel],
    problems: &mut Problems,
) {
    let variants = variants(series);
    let mut known: Vec<&str> =
        variants.first().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    known.extend(found.labels.iter().filter(|label| is_model(label)));
    known.extend(found.labels.iter().filter(|_| found.scope != SignalScope::Replica));
    known.extend(scraped_labels(found.scope));
    for (label, value) in &spec.r#match {
        if !known.contains(&label.as_str()) {
            let message = format!("{} has no label {label:?}", series.value);
            let hint = suggestion(label, &known).unwrap_or_default();
            problems.push(Problem::error(&value.place, message).hint(hint));
            continue;
        }
        let values: Vec<&str> = match label.as_str() {
            label if is_model(label) => deployments.iter().filter_map(model_of).collect(),
            _ => {
                variants.iter().flatten().filter(|(name, _)| name == label).map(|(_, v)| v.as_str()).collect()
            }
        };
        if !values.is_empty() && !values.contains(&value.value.as_str()) {
            let message = format!("the label {label} of {} is never {:?}", series.value, value.value);
            problems
                .push(Problem::error(&value.place, message).hint(format!("one of {}", values.join(", "))));
        }
    }
}

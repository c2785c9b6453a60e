//! A HorizontalPodAutoscaler, and what its metrics are bound to.

use std::collections::BTreeSet;

use scaletwin_core::control::{MetricName, MetricQuery, ObjectName, TargetName};
use scaletwin_core::input::{Place, Problem, Problems};
use scaletwin_policies::kubernetes::hpa::manifest;
use scaletwin_policies::kubernetes::hpa::spec::{
    ControllerSpec, HpaSettings, HpaSpec, MetricSource, ResourceTarget,
};
use scaletwin_sim::scrape::signals::Per;

use super::manifests::{Written, of_target};
use super::{CheckedController, Checking, Kind, Seen, target};
use crate::check::{MOST, check_count, unknown};

pub(super) fn hpa(spec: &HpaSpec, mut cx: Checking<'_>) -> Option<CheckedController> {
    let (controller, seen) = (spec.controller.settings(), cx.seen);
    let read = cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| spec.refuse_own_keys(problems),
        |documents, place| {
            let node = of_target(documents, "HorizontalPodAutoscaler", &spec.target, seen, place)?;
            let (read, fields) = manifest::read(node, &spec.waive, &controller)?;
            Ok(((read.settings, Some(read.target)), fields))
        },
        |problems| Some((spec.check(&controller, problems)?, None)),
    );
    let Checking { place, seen, problems, .. } = cx;
    let target = target(&spec.target, seen, problems)?;
    let (settings, named) = read?;
    check_named(named.as_ref(), &target, &spec.target.place, problems);
    Some(hpa_of(target, settings, &spec.controller, place, seen, problems))
}

/// The controller of an HPA with these settings.
pub(super) fn hpa_of(
    target: TargetName,
    settings: HpaSettings,
    flags: &ControllerSpec,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> CheckedController {
    check_metrics(&settings, &target, place, seen, problems);
    let most = u64::try_from(settings.max_replicas).unwrap_or(0);
    check_count(place, most, MOST, "replicas", problems);
    CheckedController {
        name: format!("hpa/{target}"),
        place: place.clone(),
        period: flags.sync_period.0,
        offset: flags.offset,
        kind: Kind::Hpa { target, settings, controller: flags.settings() },
    }
}

/// Says so where a manifest is of another target.
pub(super) fn check_named(
    named: Option<&ObjectName>,
    target: &TargetName,
    place: &Place,
    problems: &mut Problems,
) {
    let deployment = target.as_str().rsplit('/').next();
    if let Some(named) = named.filter(|named| Some(named.name.as_str()) != deployment) {
        let message = format!("the manifest scales {} {:?}; here it scales {target}", named.kind, named.name);
        problems.push(Problem::warning(place, message));
    }
}

/// Every metric that the HPA asks for by name is bound to a signal of the right kind.
fn check_metrics(
    settings: &HpaSettings,
    target: &TargetName,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    for metric in &settings.metrics {
        check_resource(metric, target, place, seen, problems);
        let per_pod = matches!(metric, MetricSource::Pods { .. });
        let (MetricQuery::Pods { metric: name, .. }
        | MetricQuery::Object { metric: name, .. }
        | MetricQuery::External { metric: name }) = metric.query(target)
        else {
            continue;
        };
        check_bound(&name, per_pod, matches!(metric, MetricSource::Object { .. }), place, seen, problems);
    }
}

/// What an HPA on a resource needs of the pods: the container that it names, and a request where it asks for a utilization.
pub(super) fn check_resource(
    metric: &MetricSource,
    target: &TargetName,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    let MetricSource::Resource { resource, container, target: wanted } = metric else { return };
    let Some(model) = seen.deployments.iter().find(|model| model.settings.target == *target) else { return };
    let containers = &model.settings.containers;
    if let Some(name) =
        container.as_ref().filter(|name| !containers.iter().any(|known| *known.name == ***name))
    {
        let names: Vec<&str> = containers.iter().map(|known| &*known.name).collect();
        problems.push(unknown(place, "container", name, &names));
        return;
    }
    let asked = containers.iter().filter(|known| container.as_ref().is_none_or(|name| *known.name == **name));
    let requested =
        asked.flat_map(|known| &known.requests).any(|(known, milli)| known == resource && *milli > 0);
    if matches!(wanted, ResourceTarget::Utilization(_)) && !requested {
        let name = resource.name();
        let message = format!(
            "{target} requests no {name}, so that its {name} utilization cannot be told: the HPA will fail to scale"
        );
        problems.push(Problem::warning(place, message).hint(format!("add {name}: to its replica:")));
    }
}

pub(super) fn check_bound(
    metric: &MetricName,
    per_pod: bool,
    single: bool,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    let name = &metric.name;
    if let Some(query) = seen.queries.iter().find(|query| query.name == *name) {
        return crate::check::queries::check_bound(query, per_pod, single, place, problems);
    }
    if seen.is_wrong(name) {
        return;
    }
    let Some(signal) = seen.signals.iter().find(|signal| signal.name == *name) else {
        let per = if per_pod { "pod" } else { "deployment" };
        // A metric that goes by the name of a series is most often that.
        let series =
            if scaletwin_core::control::signal(name).is_some() { name } else { "vllm:num_requests_waiting" };
        let stanza = format!("signals:\n            {name}: {{series: {series}, per: {per}}}");
        let message = format!("the metric {name:?} is bound to no signal");
        problems.push(
            Problem::error(place, message)
                .hint(format!("add to the scenario, with its series:\n          {stanza}")),
        );
        return;
    };
    let services: BTreeSet<usize> = seen.deployments.iter().map(|model| model.settings.service).collect();
    if !per_pod && signal.per == Per::Pod && services.len() > 1 && signal.matches.is_empty() {
        let problem =
            Problem::error(place, format!("the metric {name:?} would be taken over all services together"));
        problems.push(
            problem
                .hint(format!("add match: {{service: …}} to the signal {name}, or make it per: deployment")),
        );
    }
    if per_pod && signal.per != Per::Pod {
        let problem = Problem::error(place, format!("the metric {name:?} needs one value for each pod"));
        problems.push(problem.hint(format!("add per: pod to the signal {name}")));
    }
    if single && signal.per != Per::Deployment {
        let problem =
            Problem::error(place, format!("the metric {name:?} is one value, not one for each pod"));
        problems.push(problem.hint(format!("remove per: pod from the signal {name}")));
    }
}

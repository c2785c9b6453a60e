//! A ScaledObject of KEDA: two controllers on one target, the layering between them declared.

use scaletwin_core::control::{MetricQuery, Policy, Schedule, SignalScope, TargetName, signal};
use scaletwin_core::input::{Place, Problem, Problems};
use scaletwin_core::units::Span;
use scaletwin_policies::kubernetes::hpa::spec::{ControllerSettings, ControllerSpec};
use scaletwin_policies::kubernetes::keda::ScaledObject;
use scaletwin_policies::kubernetes::keda::activation::Activation;
use scaletwin_policies::kubernetes::keda::adapter::KedaHpa;
use scaletwin_policies::kubernetes::keda::bindings::StandsFor;
use scaletwin_policies::kubernetes::keda::manifest::{self, ManifestKeda};
use scaletwin_policies::kubernetes::keda::spec::KedaSpec;
use scaletwin_policies::kubernetes::keda::trigger::{Source, Trigger};
use scaletwin_sim::scrape::queries::names_found;
use scaletwin_sim::scrape::signals::Per;
use serde::Serialize;

use super::hpa::{check_named, check_resource};
use super::manifests::{Written, of_target};
use super::{CheckedController, CheckedPolicy, Checking, Kind, Seen, target};

/// One of the two controllers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// The HPA that KEDA generates, behind KEDA's metrics server.
    Hpa { target: TargetName, object: Box<ScaledObject>, controller: ControllerSettings },
    /// Between 0 and the fewest replicas.
    Activation { target: TargetName, object: Box<ScaledObject> },
}

impl Part {
    pub(super) fn policy(&self, schedule: Schedule) -> Box<dyn Policy> {
        match self {
            Part::Hpa { target, object, controller } => {
                Box::new(KedaHpa::new(target.clone(), (**object).clone(), *controller, schedule))
            }
            Part::Activation { target, object } => {
                Box::new(Activation::new(target.clone(), (**object).clone(), schedule))
            }
        }
    }

    /// Whether it adds the first replica of a target.
    pub(super) fn wakes(&self, target: &TargetName) -> bool {
        matches!(self, Part::Activation { target: of, object } if of == target && !object.pause.whole())
    }
}

/// The controllers of `spec`, which add themselves: `None`. At one instant the HPA comes first, so that what the activation wants
/// counts.
pub(super) fn keda(spec: &KedaSpec, mut cx: Checking<'_>) -> Option<CheckedController> {
    let read = read(spec, &mut cx);
    let Checking { place, seen, checked, problems, .. } = cx;
    let (target, read) = target(&spec.target, seen, problems).zip(read)?;
    check_named(read.named(), &target, &spec.target.place, problems);
    add(read, target, (&spec.controller, spec.offset), place, seen, checked, problems);
    None
}

/// Adds the controllers of an object on `target`, run by these flags and with this first poll.
pub(super) fn add(
    read: Read,
    target: TargetName,
    (flags, first): (&ControllerSpec, Option<Span>),
    place: &Place,
    seen: &Seen<'_>,
    checked: &mut CheckedPolicy,
    problems: &mut Problems,
) {
    check_triggers(&read, &target, place, seen, problems);
    let object = Box::new(read.object);
    let (activation, hpa) = (format!("keda/{target}"), format!("keda-hpa/{target}"));
    let period = object.polling_interval;
    let one = |name: &str, period: Span, offset: Option<Span>, part: Part| CheckedController {
        name: name.to_owned(),
        place: place.clone(),
        period,
        offset,
        kind: Kind::Keda(part),
    };
    if !object.pause.whole() {
        let controller = flags.settings();
        let part = Part::Hpa { target: target.clone(), object: object.clone(), controller };
        checked.controllers.push(one(&hpa, flags.sync_period.0, flags.offset, part));
        checked.layers.push(vec![hpa, activation.clone()]);
    }
    let part = Part::Activation { target, object };
    checked.controllers.push(one(&activation, period, first, part));
}

/// The object by a manifest or by our own keys.
pub(super) struct Read {
    object: ScaledObject,
    manifest: Option<ManifestKeda>,
}

impl Read {
    /// The object of a manifest.
    pub(super) fn of_manifest(manifest: ManifestKeda) -> Read {
        Read { object: manifest.object.clone(), manifest: Some(manifest) }
    }

    /// What a signal stands for in the manifest.
    fn stands_for(&self, signal: &str) -> Option<&StandsFor> {
        self.manifest.as_ref()?.stands_for.get(signal)
    }

    fn named(&self) -> Option<&scaletwin_core::control::ObjectName> {
        self.manifest.as_ref().map(|manifest| &manifest.target)
    }
}

fn read(spec: &KedaSpec, cx: &mut Checking<'_>) -> Option<Read> {
    let (controller, seen, place) = (spec.controller.settings(), cx.seen, cx.place);
    cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| spec.refuse_own_keys(problems),
        |documents, place| {
            let node = of_target(documents, "ScaledObject", &spec.target, seen, place)?;
            let (read, fields) = manifest::read(node, &spec.waive, &spec.bindings(), &controller)?;
            Ok((Read::of_manifest(read), fields))
        },
        |problems| {
            if !(spec.bind.is_empty() && spec.partitions.is_empty() && spec.targets.is_empty()) {
                let message = "bind:, partitions: and targets: are about a manifest, and there is none";
                problems.error(place, message);
            }
            spec.check(&controller, problems).map(|object| Read { object, manifest: None })
        },
    )
}

/// Every trigger has its signal, and something can wake the target.
fn check_triggers(read: &Read, target: &TargetName, place: &Place, seen: &Seen<'_>, problems: &mut Problems) {
    for trigger in &read.object.triggers {
        match &trigger.source {
            Source::Resource(metric) => check_resource(metric, target, place, seen, problems),
            Source::Signal(source) => check_signal(&source.signal, read, place, seen, problems),
            Source::Cron { .. } => {}
        }
    }
    let asleep = |trigger: &Trigger| needs_replicas(trigger, seen);
    if read.object.min_replicas == 0 && read.object.triggers.iter().all(asleep) {
        let message = format!(
            "all triggers measure the replicas of {target}: at 0 replicas there is nothing to see, and nothing wakes it"
        );
        problems.push(Problem::warning(place, message).hint(
            "add a trigger that sees waiting requests, such as interceptor_pending_request_count or external_push",
        ));
    }
}

fn check_signal(name: &str, read: &Read, place: &Place, seen: &Seen<'_>, problems: &mut Problems) {
    if seen.is_wrong(name) {
        return;
    }
    let of_signals = seen.signals.iter().find(|signal| signal.name == *name).map(|signal| signal.per);
    let of_queries = || seen.queries.iter().find(|query| query.name == *name).map(|query| query.per);
    match of_signals.or_else(of_queries) {
        None => {
            let problem = Problem::error(place, format!("the trigger's signal {name:?} is bound to nothing"));
            let stanza = stanza(read.stands_for(name));
            problems.push(
                problem.hint(format!(
                    "add to the scenario:\n          signals:\n            {name}: {{{stanza}}}"
                )),
            );
        }
        Some(Per::Pod) => {
            let problem =
                Problem::error(place, format!("the trigger's signal {name:?} is one value for each pod"));
            problems.push(problem.hint("KEDA fails on more than one: remove per: pod from the signal"));
        }
        Some(Per::Deployment) => {}
    }
}

/// What stands for a trigger under `signals`: its own query, or what a queue would be here.
fn stanza(stands_for: Option<&StandsFor>) -> String {
    match stands_for {
        Some(StandsFor::Query(query)) => format!("promql: '{}'", query.trim().replace('\'', "''")),
        _ => "series: interceptor_pending_request_count".to_owned(),
    }
}

/// Whether a trigger says nothing about a target without replicas.
fn needs_replicas(trigger: &Trigger, seen: &Seen<'_>) -> bool {
    match &trigger.source {
        Source::Signal(source) if source.push => false,
        Source::Signal(_) => {
            let Some(MetricQuery::Signal { name }) = trigger.query() else { return false };
            let series = match seen.queries.iter().find(|query| query.name == name) {
                Some(query) => query.query.selectors().into_iter().flat_map(names_found).collect(),
                None => {
                    let found = seen.signals.iter().find(|signal| signal.name == name);
                    found.map(|found| found.series.clone()).into_iter().collect::<Vec<_>>()
                }
            };
            let of_replicas =
                |name: &String| signal(name).is_some_and(|known| known.scope == SignalScope::Replica);
            !series.is_empty() && series.iter().all(of_replicas)
        }
        Source::Cron { .. } => false,
        Source::Resource(_) => false,
    }
}

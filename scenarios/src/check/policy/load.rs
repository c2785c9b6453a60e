//! Controllers that collect load for themselves: Knative's pod autoscaler and that of Ray Serve.

use scaletwin_core::control::TargetName;
use scaletwin_core::input::{Place, Problem, Problems};
use scaletwin_core::units::Span;
use scaletwin_policies::kubernetes::knative;
use scaletwin_policies::kubernetes::knative::spec::{ConfigSpec, KpaSpec, Revision, resolve};
use scaletwin_policies::serving::ray_serve;
use scaletwin_policies::serving::ray_serve::spec::RaySpec;

use super::manifests::Written;
use super::{CheckedController, Checking, Kind, Seen, target};

pub(super) fn knative(spec: &KpaSpec, mut cx: Checking<'_>) -> Option<CheckedController> {
    let revision = cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| spec.refuse_own_keys(problems),
        |documents, place| {
            let node = knative::manifest::find(documents, place)?;
            let (found, fields) = knative::manifest::read(node, &spec.waive)?;
            Ok((found.revision, fields))
        },
        |_| Some(spec.revision()),
    );
    let Checking { place, seen, problems, .. } = cx;
    let target = target(&spec.target, seen, problems);
    knative_of(target?, &revision?, &spec.config, (spec.offset, place), seen, problems)
}

/// The controller of a revision.
pub(super) fn knative_of(
    target: TargetName,
    revision: &Revision,
    config: &ConfigSpec,
    (offset, place): (Option<Span>, &Place),
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Option<CheckedController> {
    let settings = resolve(revision, config, place, problems)?;
    check_collected(&target, settings.may_sleep(), place, seen, problems);
    Some(CheckedController {
        name: format!("knative/{target}"),
        place: place.clone(),
        period: knative::TICK,
        offset,
        kind: Kind::Knative { target, settings },
    })
}

pub(super) fn ray_serve(spec: &RaySpec, mut cx: Checking<'_>) -> Option<CheckedController> {
    let place = cx.place;
    let settings = cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| spec.refuse_own_keys(problems),
        |documents, place| {
            let node = ray_serve::manifest::config_among(documents, place)?;
            ray_serve::manifest::read(node, spec.deployment.as_ref(), &spec.waive, place)
        },
        |problems| spec.check(place, problems),
    );
    let Checking { seen, problems, .. } = cx;
    let target = target(&spec.target, seen, problems)?;
    let settings = settings?;
    check_collected(&target, settings.may_sleep(), &spec.target.place, seen, problems);
    Some(CheckedController {
        name: format!("ray-serve/{target}"),
        place: place.clone(),
        period: spec.control_loop_interval.0,
        offset: spec.offset,
        kind: Kind::RayServe { target, settings },
    })
}

/// What a controller that collects load for itself needs of its target: a service of its own, whose requests can wait while
/// there is no replica.
fn check_collected(
    target: &TargetName,
    may_sleep: bool,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) {
    let Some(model) = seen.deployments.iter().find(|model| model.settings.target == *target) else { return };
    let service = model.settings.service;
    if seen.deployments.iter().filter(|model| model.settings.service == service).count() > 1 {
        let message =
            format!("the service of {target} has other deployments, whose load would count as well");
        problems.push(Problem::error(place, message).hint("give it a service of its own"));
    }
    if may_sleep && seen.services[service].queue == Some(0) {
        let message = format!("{target} may go to zero, and its service rejects requests without a replica");
        let problem = Problem::warning(place, message);
        problems.push(problem.hint("add queue: {} to the service, or keep a replica"));
    }
}

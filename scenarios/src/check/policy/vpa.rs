//! A VerticalPodAutoscaler, and the container that it is about.

use scaletwin_core::control::TargetName;
use scaletwin_core::input::{Place, Problem, Problems};
use scaletwin_policies::kubernetes::vpa::manifest::{self, ManifestVpa};
use scaletwin_policies::kubernetes::vpa::spec::{VpaSettings, VpaSpec};

use super::hpa::check_named;
use super::manifests::{Written, of_target};
use super::serving::model;
use super::{CheckedController, Checking, Kind, Seen, target};
use crate::check::unknown;

pub(super) fn vpa(spec: &VpaSpec, mut cx: Checking<'_>) -> Option<CheckedController> {
    let seen = cx.seen;
    let target = target(&spec.target, seen, cx.problems)?;
    let container = container(spec, &target, cx.place, seen, cx.problems)?;
    let (settings, named) = cx.read(
        Written { manifest: &spec.manifest, waive: &spec.waive },
        |problems| spec.refuse_own_keys(problems),
        |documents, place| {
            let node = of_target(documents, "VerticalPodAutoscaler", &spec.target, seen, place)?;
            let (read, fields) = manifest::read(node, &spec.waive, &container)?;
            let settings = with_manifest(spec.settings(container.clone()), &read);
            Ok(((settings, Some(read.target)), fields))
        },
        |_| Some((spec.settings(container.clone()), None)),
    )?;
    let Checking { place, problems, .. } = cx;
    check_named(named.as_ref(), &target, &spec.target.place, problems);
    if settings.allowed.is_crossed() {
        problems.error(place, "min_allowed is above max_allowed");
        return None;
    }
    Some(CheckedController {
        name: format!("vpa/{target}/{container}"),
        place: place.clone(),
        period: spec.period.0,
        offset: spec.offset,
        kind: Kind::Vpa { target, settings },
    })
}

fn with_manifest(mut settings: VpaSettings, read: &ManifestVpa) -> VpaSettings {
    settings.updater.min_replicas = read.min_replicas.map_or(settings.updater.min_replicas, usize::from);
    VpaSettings { allowed: read.allowed, controlled: read.controlled, mode: read.mode, ..settings }
}

/// The container that is named, or the only one.
fn container(
    spec: &VpaSpec,
    target: &TargetName,
    place: &Place,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Option<String> {
    let names: Vec<&str> =
        model(target, seen).settings.containers.iter().map(|container| &*container.name).collect();
    match (&spec.container, names.as_slice()) {
        (Some(named), _) if names.contains(&named.value.as_str()) => Some(named.value.clone()),
        (Some(named), _) => {
            problems.push(unknown(&named.place, "container", named, &names));
            None
        }
        (None, [only]) => Some((*only).to_owned()),
        (None, several) => {
            let message = format!("{target} has {} containers", several.len());
            problems
                .push(Problem::error(place, message).hint(format!("container: one of {}", names.join(", "))));
            None
        }
    }
}

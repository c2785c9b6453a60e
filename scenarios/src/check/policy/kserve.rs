//! A service of KServe: the controllers that it becomes.

use scaletwin_core::input::Problem;
use scaletwin_core::units::Span;
use scaletwin_policies::kubernetes::kserve::Autoscaler;
use scaletwin_policies::kubernetes::kserve::manifest::{self, Installation};
use scaletwin_policies::kubernetes::kserve::spec::KserveSpec;

use super::manifests::manifest_of;
use super::{CheckedController, Checking, fixed_at, hpa, keda, load, target};

/// The controllers add themselves: `None`.
pub(super) fn kserve(
    spec: &KserveSpec,
    Checking { place, policy, seen, checked, problems }: Checking<'_>,
) -> Option<CheckedController> {
    let controller = spec.controller.settings();
    let installed = Installation {
        default_mode: spec.default_deployment_mode,
        config: &spec.config,
        controller: &controller,
        bind: &spec.bind,
    };
    let path = &spec.manifest;
    let read = manifest_of(path, policy, &mut checked.waived, problems, |documents| {
        manifest::read(manifest::find(documents, &path.place)?, &spec.waive, installed)
    });
    let (target, read) = target(&spec.target, seen, problems).zip(read)?;
    match read {
        Autoscaler::Knative(revision) => {
            let when = (spec.offset, place);
            let made = load::knative_of(target, &revision, &spec.config, when, seen, problems);
            checked.controllers.extend(made);
        }
        Autoscaler::Hpa(settings) => {
            let made = hpa::hpa_of(target, settings, &spec.controller, place, seen, problems);
            checked.controllers.push(made);
        }
        Autoscaler::Keda(read) => {
            let read = keda::Read::of_manifest(*read);
            keda::add(read, target, (&spec.controller, spec.offset), place, seen, checked, problems);
        }
        Autoscaler::Static(replicas) => {
            checked.controllers.push(fixed_at(target, replicas, Span::ZERO, place))
        }
        Autoscaler::Nothing => {
            let message =
                format!("KServe makes no autoscaler for {target}: the manifest says that another scales it");
            problems.push(Problem::warning(place, message));
        }
    }
    None
}

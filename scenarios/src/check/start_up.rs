//! The stages of a replica's start.

use std::collections::BTreeMap;

use scaletwin_core::input::{At, Problem, Problems};
use scaletwin_core::random::{Distributed, Law};
use scaletwin_core::units::{Bandwidth, Span};
use scaletwin_sim::cluster::settings::{Artifact, Image, Sleep, StartUp, Weights};
use scaletwin_sim::world::settings::DeploymentModel;

use crate::spec::service::DeploymentSpec;
use crate::spec::start_up::StartUpSpec;

/// The stages of the start of a deployment's replicas; `target` names what is its own.
pub(super) fn start_up(spec: &DeploymentSpec, target: &str, problems: &mut Problems) -> Option<StartUp> {
    let written = spec.start_up.as_ref()?;
    if spec.cold_start.is_some() {
        let problem = Problem::error(&written.place, "a start has stages or one law, not both");
        problems.push(problem.hint("remove cold_start: or start_up:"));
    }
    let law = |law: &Option<Distributed<Span>>| -> Option<Law> { law.as_ref().map(|law| law.law.clone()) };
    let StartUpSpec { image, start, weights, compile, warm_up, sleep } = &written.value;
    let own = |name: &Option<String>, of: Option<&At<String>>| {
        name.clone().or_else(|| of.map(|of| of.value.clone())).unwrap_or_else(|| target.to_owned())
    };
    Some(StartUp {
        image: image.as_ref().map(|image| Image {
            artifact: Artifact {
                name: own(&image.name, None),
                bytes: image.size.0,
                present: image.pre_pulled,
            },
            extract: image.extract.as_bytes_per_second(),
        }),
        start: law(start),
        weights: weights.as_ref().map(|weights| Weights {
            artifact: Artifact {
                name: own(&weights.name, spec.model.as_ref()),
                bytes: weights.size.0,
                present: weights.pre_pulled,
            },
            disk: weights.disk.as_bytes_per_second(),
            page_cache: weights.page_cache.as_bytes_per_second(),
            peer: weights.peer.map(Bandwidth::as_bytes_per_second),
        }),
        compile: law(compile),
        warm_up: law(warm_up),
        sleep: sleep.as_ref().map(|sleep| Sleep { wake: sleep.wake.law.clone(), per_node: sleep.per_node.0 }),
    })
}

/// What deployments share by name is the same thing.
pub(super) fn check_shared(
    deployments: &[DeploymentModel],
    written: &[&At<DeploymentSpec>],
    problems: &mut Problems,
) {
    let mut known: BTreeMap<(&str, &str), (&Artifact, Option<f64>)> = BTreeMap::new();
    for (model, spec) in deployments.iter().zip(written) {
        let Some(start_up) = &model.settings.start_up else { continue };
        let image = start_up.image.as_ref().map(|image| ("image", &image.artifact, Some(image.extract)));
        let weights = start_up.weights.as_ref().map(|weights| ("weights", &weights.artifact, None));
        for (kind, artifact, extract) in [image, weights].into_iter().flatten() {
            let first = *known.entry((kind, &artifact.name)).or_insert((artifact, extract));
            if first != (artifact, extract) {
                let message = format!("two deployments describe the {kind} {:?} differently", artifact.name);
                let place = spec.start_up.as_ref().map_or(&spec.place, |start_up| &start_up.place);
                problems.push(Problem::error(place, message).hint("write the same figures, or other names"));
            }
        }
    }
}

//! Equality with recorded decisions of the real controllers and schedulers.
//!
//! The recordings are outside the repository: `SCALETWIN_GOLDEN_DIR` names their directory. Without it each file
//! counts as ignored, with the reason; `SCALETWIN_REQUIRE=golden` turns that into a failure.

#![expect(clippy::print_stdout, reason = "the counts per file are what this suite is run for")]

mod dynamo;
mod hpa;
mod knative;
mod ray_serve;
mod recording;
mod vllm;
mod vpa;
mod wva;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let suites = [
        dynamo::trials(),
        hpa::trials(),
        knative::trials(),
        ray_serve::trials(),
        vllm::trials(),
        vpa::trials(),
        wva::trials(),
    ];
    let trials: Vec<Trial> = suites.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}

//! Servers that batch dynamically.

use scaletwin_core::input::{At, Count, Problem, Problems};
use scaletwin_core::units::Span;
use scaletwin_sim::serving::dynamic::{BatchTime, DynamicConfig};
use scaletwin_sim::world::settings::EngineSettings;

use crate::spec::engine::{BatchRowSpec, BatchTimeSpec, DynamicSpec};
use crate::spec::service::DeploymentSpec;

pub(super) fn dynamic(
    spec: &At<DeploymentSpec>,
    engine: &DynamicSpec,
    problems: &mut Problems,
) -> EngineSettings {
    let config = DynamicConfig {
        max_batch_size: engine.max_batch_size.0,
        preferred_batch_sizes: preferred(engine, problems),
        max_queue_delay: engine.max_queue_delay,
        instances: engine.instances.0,
        order: engine.order,
        queue: engine.queue.map(|queue| queue.0),
    };
    EngineSettings::Dynamic {
        config,
        time: batch_time(engine, problems),
        model: engine.model_name.clone().unwrap_or_else(|| spec.name.value.clone()),
    }
}

/// The preferred sizes, ascending; Triton's own default is the largest alone.
fn preferred(engine: &DynamicSpec, problems: &mut Problems) -> Vec<u32> {
    let most = engine.max_batch_size.0;
    let Some(written) = &engine.preferred_batch_sizes else { return vec![most] };
    let mut sizes: Vec<u32> = written.value.iter().map(|Count(size)| *size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    match sizes.last() {
        None => {
            let problem = Problem::error(&written.place, "there is no preferred size");
            problems.push(problem.hint("remove preferred_batch_sizes, and the largest batch is preferred"));
        }
        Some(largest) if *largest > most => {
            let message = format!("a preferred size of {largest} is above max_batch_size: {most}");
            problems.error(&written.place, message);
        }
        Some(_) => {}
    }
    sizes
}

fn batch_time(engine: &DynamicSpec, problems: &mut Problems) -> BatchTime {
    match &engine.batch_time.value {
        BatchTimeSpec::Linear(linear) => {
            if linear.base.is_zero() && linear.per_request.is_zero() {
                problems.error(&engine.batch_time.place, "a batch takes some time");
            }
            BatchTime::Linear { base: linear.base, per_request: linear.per_request }
        }
        BatchTimeSpec::Law(law) => BatchTime::Law(law.law.clone()),
        BatchTimeSpec::Table(rows) => BatchTime::Table(table(rows, engine.max_batch_size.0, problems)),
    }
}

fn table(rows: &At<Vec<BatchRowSpec>>, most: u32, problems: &mut Problems) -> Vec<(u32, Span)> {
    let table: Vec<(u32, Span)> = rows.value.iter().map(|row| (row.size.0, row.time)).collect();
    if !table.is_sorted_by(|a, b| a.0 < b.0) {
        problems.error(&rows.place, "the sizes of a table ascend");
    }
    if table.iter().any(|(_, time)| time.is_zero()) {
        problems.error(&rows.place, "a batch takes some time");
    }
    if table.first().is_none_or(|(size, _)| *size != 1) || table.last().is_none_or(|(size, _)| *size < most) {
        let problem = Problem::error(&rows.place, "the table does not cover all sizes of batches");
        problems.push(problem.hint(format!("give the times of sizes 1 to {most}")));
    }
    table
}

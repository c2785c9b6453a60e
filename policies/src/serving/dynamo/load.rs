//! What the load loop wants for one role: the modes without latency targets of `core/load_scaling.py`.

use serde::Serialize;

/// What the load is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Full engines.
    Throughput,
    /// Hardly any waiting.
    Latency,
    /// Thresholds of the user's own.
    Load(Thresholds),
}

/// The user's own thresholds; both bounds count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Thresholds {
    /// Prompt tokens waiting in an engine for prefill from which one more is wanted.
    pub prefill_up_tokens: f64,
    /// Prompt tokens up to which one less will do.
    pub prefill_down_tokens: f64,
    /// Percent of the KV cache from which one more engine is wanted.
    pub decode_up_percent: f64,
    /// Percent of the KV cache up to which one less will do.
    pub decode_down_percent: f64,
}

/// What the engines do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Prefill only.
    Prefill,
    /// Decode only.
    Decode,
    /// Both.
    Aggregated,
}

/// What an engine reports of its last step, tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Engine {
    /// Prompt tokens that wait.
    pub queued_prefill: f64,
    /// KV tokens of the requests that run.
    pub scheduled_kv: f64,
    /// KV tokens of the requests that wait to go on.
    pub queued_kv: f64,
}

/// The engines of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Those that are ready.
    pub ready: i32,
    /// Those that are starting.
    pub starting: i32,
    /// `min_endpoint`: never fewer.
    pub min: i32,
}

/// Why nothing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// No engine, or none of a known size.
    InsufficientData,
    /// The load calls for nothing.
    NoChange,
}

impl Quiet {
    /// The planner's own word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Quiet::InsufficientData => "insufficient_data",
            Quiet::NoChange => "no_change",
        }
    }
}

/// A load and the two thresholds that it is held against.
struct Bands {
    up: f64,
    down: f64,
    /// Whether a load at the upper threshold is above it.
    up_counts: bool,
    /// Whether a load at the lower threshold is below it.
    down_counts: bool,
}

impl Bands {
    fn of(role: Role, goal: Goal) -> Bands {
        let bands = |up, down, up_counts, down_counts| Bands { up, down, up_counts, down_counts };
        match (goal, role) {
            (Goal::Throughput, Role::Prefill) => bands(1.0, 0.1, true, false),
            (Goal::Latency, Role::Prefill) => bands(0.1, 0.0, true, true),
            (Goal::Load(own), Role::Prefill) => {
                bands(own.prefill_up_tokens, own.prefill_down_tokens, true, true)
            }
            (Goal::Throughput, _) => bands(1.0, 0.6, false, false),
            (Goal::Latency, _) => bands(0.4, 0.1, false, false),
            (Goal::Load(own), _) => {
                bands(own.decode_up_percent / 100.0, own.decode_down_percent / 100.0, true, true)
            }
        }
    }

    fn is_above(&self, load: f64) -> bool {
        load > self.up || (self.up_counts && load >= self.up)
    }

    fn is_below(&self, load: f64) -> bool {
        load < self.down || (self.down_counts && load <= self.down)
    }
}

/// How many engines of `role` are wanted. `size` is the longest context for prefill, in tokens, and the KV cache of an
/// engine for the others.
///
/// # Errors
/// Why nothing is wanted.
pub fn desired(
    role: Role,
    goal: Goal,
    size: f64,
    workers: Workers,
    engines: &[Engine],
) -> Result<i32, Quiet> {
    // Thresholds in tokens need no size.
    let in_tokens = role == Role::Prefill && matches!(goal, Goal::Load(_));
    if workers.ready <= 0 || engines.is_empty() || (size <= 0.0 && !in_tokens) {
        return Err(Quiet::InsufficientData);
    }
    let bands = Bands::of(role, goal);
    let loads: Vec<f64> = engines.iter().map(|engine| load(role, goal, size, engine)).collect();
    if loads.iter().any(|load| bands.is_above(*load)) {
        return Ok(workers.ready.saturating_add(1));
    }
    if workers.ready.saturating_add(workers.starting) > 1 && loads.iter().all(|load| bands.is_below(*load)) {
        let highest = loads.iter().copied().fold(0.0, f64::max);
        let fewer = (workers.ready - 1).max(workers.min);
        let spread = highest * f64::from(workers.ready) / f64::from(fewer);
        let refused = (1..workers.ready).contains(&fewer) && spread >= bands.up;
        return Ok(if refused { workers.ready } else { fewer });
    }
    Err(Quiet::NoChange)
}

/// The load of an engine, in the unit of the thresholds.
fn load(role: Role, goal: Goal, size: f64, engine: &Engine) -> f64 {
    match (role, goal) {
        (Role::Prefill, Goal::Load(_)) => engine.queued_prefill,
        (Role::Prefill, _) => engine.queued_prefill / size,
        (Role::Decode, _) => (engine.scheduled_kv + engine.queued_kv) / size,
        (Role::Aggregated, _) => (engine.scheduled_kv + engine.queued_kv + engine.queued_prefill) / size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn workers(ready: i32) -> Workers {
        Workers { ready, starting: 0, min: 1 }
    }

    fn kv(tokens: f64) -> Engine {
        Engine { scheduled_kv: tokens, ..Engine::default() }
    }

    fn aggregated(goal: Goal, ready: i32, loads: &[f64]) -> Result<i32, Quiet> {
        let engines: Vec<Engine> = loads.iter().map(|load| kv(load * 1_000.0)).collect();
        desired(Role::Aggregated, goal, 1_000.0, workers(ready), &engines)
    }

    #[test]
    fn one_full_engine_calls_for_more_and_all_must_be_idle_for_less() {
        let latency = |loads: &[f64]| aggregated(Goal::Latency, 2, loads);
        assert_eq!(latency(&[0.41, 0.0]), Ok(3));
        assert_eq!(latency(&[0.4, 0.0]), Err(Quiet::NoChange));
        assert_eq!(latency(&[0.09, 0.09]), Ok(1));
        assert_eq!(latency(&[0.09, 0.1]), Err(Quiet::NoChange));
    }

    #[test]
    fn one_less_is_refused_when_the_rest_would_be_full() {
        assert_eq!(aggregated(Goal::Throughput, 2, &[0.5, 0.1]), Ok(2));
        assert_eq!(aggregated(Goal::Throughput, 2, &[0.49, 0.1]), Ok(1));
        assert_eq!(aggregated(Goal::Throughput, 3, &[0.59, 0.1, 0.1]), Ok(2));
    }

    #[test]
    fn bounds_of_the_users_own_count() {
        let own = Thresholds {
            prefill_up_tokens: 4_000.0,
            prefill_down_tokens: 0.0,
            decode_up_percent: 80.0,
            decode_down_percent: 20.0,
        };
        assert_eq!(aggregated(Goal::Load(own), 2, &[0.8, 0.0]), Ok(3));
        assert_eq!(aggregated(Goal::Load(own), 2, &[0.2, 0.2]), Ok(1));
        let prefill = |tokens| {
            let engine = Engine { queued_prefill: tokens, ..Engine::default() };
            desired(Role::Prefill, Goal::Load(own), 8_192.0, workers(2), &[engine])
        };
        assert_eq!((prefill(4_000.0), prefill(1.0), prefill(0.0)), (Ok(3), Err(Quiet::NoChange), Ok(1)));
    }

    #[test]
    fn the_fewest_count_before_what_spreading_would_fill() {
        let of = |ready, min| {
            let workers = Workers { ready, starting: 0, min };
            desired(Role::Decode, Goal::Throughput, 1_000.0, workers, &[kv(590.0), kv(1.0)])
        };
        assert_eq!(of(2, 1), Ok(2), "one alone would be full");
        assert_eq!(of(2, 4), Ok(4), "none goes, so that nothing is spread");
    }

    #[test]
    fn thresholds_in_tokens_need_no_context_length() {
        let own = Thresholds {
            prefill_up_tokens: 10.0,
            prefill_down_tokens: 0.0,
            decode_up_percent: 80.0,
            decode_down_percent: 20.0,
        };
        let engine = Engine { queued_prefill: 10.0, ..Engine::default() };
        let of = |goal| desired(Role::Prefill, goal, 0.0, workers(1), &[engine]);
        assert_eq!((of(Goal::Load(own)), of(Goal::Latency)), (Ok(2), Err(Quiet::InsufficientData)));
    }

    proptest! {
        #[test]
        fn it_moves_by_one_and_never_below_the_fewest(
            loads in proptest::collection::vec(0.0..1.5f64, 1..8), ready in 1i32..8, min in 1i32..4,
        ) {
            let engines: Vec<Engine> = loads.iter().map(|load| kv(*load)).collect();
            let workers = Workers { ready, starting: 0, min };
            if let Ok(wanted) = desired(Role::Decode, Goal::Throughput, 1.0, workers, &engines) {
                prop_assert!(wanted <= ready + 1 || wanted == min);
                prop_assert!(wanted >= (ready - 1).max(min).min(ready));
            }
        }
    }
}

//! The analysis by token capacity, version 2: `engines/analyzers/saturation_v2` and `pipeline/cost_aware_optimizer.go`.
//!
//! A replica can hold so many tokens (its KV cache up to the threshold), or as many as it held when its queue was full.
//! Demand is what is held and what waits. What is missing is bought where a token is cheapest, what is too much is given
//! up where a replica is dearest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::saturation::{Thresholds, Variant};
use crate::numerics::go;

/// `RollingAverageWindowSize`.
const REMEMBERED: usize = 10;

/// How much of the capacity demand may take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Capacities {
    /// `scaleUpThreshold`.
    pub scale_up_threshold: f64,
    /// `scaleDownBoundary`.
    pub scale_down_boundary: f64,
}

impl Default for Capacities {
    fn default() -> Capacities {
        Capacities { scale_up_threshold: 0.85, scale_down_boundary: 0.70 }
    }
}

/// The mean request of a pod, tokens; 0 where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shape {
    /// Its prompt.
    pub prompt: f64,
    /// Its answer.
    pub output: f64,
}

impl Shape {
    /// The bucket of its answer's length: capacities are learned for each.
    fn bucket(self) -> &'static str {
        match self.output {
            output if output < 100.0 => "short",
            output if output < 500.0 => "medium",
            _ => "long",
        }
    }
}

/// What is measured of a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaTokens<'a> {
    /// The variant that it belongs to.
    pub variant: &'a str,
    /// Its KV cache, tokens.
    pub kv_tokens: i64,
    /// The share of it in use, 0 to 1.
    pub kv: f64,
    /// Requests that wait in it.
    pub queue: f64,
    /// Its mean request.
    pub shape: Shape,
}

/// What replicas held when their queues were full: the last few figures by variant and length of answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    held: BTreeMap<String, Vec<i64>>,
    /// The last capacity of a replica of each variant, for while it has none.
    capacities: BTreeMap<String, i64>,
}

impl History {
    fn learn(&mut self, key: String, tokens: i64) {
        let held = self.held.entry(key).or_default();
        held.push(tokens);
        if held.len() > REMEMBERED {
            held.remove(0);
        }
    }

    fn mean(&self, key: &str) -> Option<i64> {
        let held = self.held.get(key)?;
        let sum: f64 = held.iter().map(|tokens| *tokens as f64).sum();
        Some(go::int64(sum / held.len() as f64)).filter(|mean| *mean > 0)
    }
}

/// Demand and supply of a model, tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demand<'a> {
    /// Held and waiting.
    pub demand: f64,
    /// What ready replicas can hold.
    pub supply: f64,
    /// What is missing, those on their way counted.
    pub required: f64,
    /// What is too much.
    pub spare: f64,
    /// What a replica of each variant can hold, in the order of the variants.
    per_replica: Vec<(&'a str, f64)>,
}

impl Demand<'_> {
    /// What it calls for.
    #[must_use]
    pub fn code(&self) -> &'static str {
        if self.required > 0.0 {
            "ScaleUp"
        } else if self.spare > 0.0 {
            "ScaleDown"
        } else {
            "Keep"
        }
    }
}

/// Adds up what a model's replicas hold and can hold.
#[must_use]
pub fn analyze<'a>(
    replicas: &[ReplicaTokens<'a>],
    variants: &[Variant<'a>],
    thresholds: &Thresholds,
    capacities: &Capacities,
    history: &mut History,
) -> Demand<'a> {
    let mut found = Demand::default();
    let mut anticipated = 0.0;
    for variant in variants {
        let mut own = Vec::new();
        for replica in
            replicas.iter().filter(|replica| replica.variant == variant.name && replica.kv_tokens > 0)
        {
            found.demand += demand(replica) as f64;
            own.push(capacity(replica, thresholds, history));
        }
        if let Some(capacity) = median(&mut own) {
            history.capacities.insert(variant.name.to_owned(), capacity);
        }
        let per_replica = history.capacities.get(variant.name).copied().unwrap_or(0) as f64;
        let ready = (variant.current - variant.pending).max(0);
        found.supply += f64::from(ready) * per_replica;
        anticipated += f64::from(ready + variant.pending) * per_replica;
        found.per_replica.push((variant.name, per_replica));
    }
    found.required = (found.demand / capacities.scale_up_threshold - anticipated).max(0.0);
    found.spare = (found.supply - found.demand / capacities.scale_down_boundary).max(0.0);
    found
}

fn in_use(replica: &ReplicaTokens<'_>) -> i64 {
    go::int64(replica.kv * replica.kv_tokens as f64)
}

/// What a replica holds, and the prompts that wait in it.
fn demand(replica: &ReplicaTokens<'_>) -> i64 {
    let waiting = go::int64(replica.queue).saturating_mul(go::int64(replica.shape.prompt));
    in_use(replica).saturating_add(waiting.max(0))
}

/// What a replica can hold: by its memory, and by what it held when requests queued.
fn capacity(replica: &ReplicaTokens<'_>, thresholds: &Thresholds, history: &mut History) -> i64 {
    let by_memory = go::int64(replica.kv_tokens as f64 * thresholds.kv_cache);
    let key = format!("{}|{}", replica.variant, replica.shape.bucket());
    let held = in_use(replica);
    let by_compute = if replica.queue >= thresholds.queue_length.trunc() && held > 0 {
        history.learn(key, held);
        held
    } else {
        history.mean(&key).unwrap_or(by_memory)
    };
    by_memory.min(by_compute)
}

fn median(values: &mut [i64]) -> Option<i64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2),
        _ => Some(values[middle]),
    }
}

/// How many replicas each variant should have.
#[must_use]
pub fn targets<'a>(
    demand: &Demand<'a>,
    variants: &[Variant<'a>],
    costs: &BTreeMap<&str, f64>,
) -> BTreeMap<&'a str, i32> {
    let mut targets: BTreeMap<&str, i32> =
        variants.iter().map(|variant| (variant.name, variant.current)).collect();
    let cost = |name: &str| costs.get(name).copied().unwrap_or(0.0);
    if demand.required > 0.0 {
        add(demand, &mut targets, cost);
    } else if demand.spare > 0.0 {
        remove(demand, &mut targets, cost);
    }
    targets
}

fn add<'a>(demand: &Demand<'a>, targets: &mut BTreeMap<&'a str, i32>, cost: impl Fn(&str) -> f64) {
    let known = demand.per_replica.iter().filter(|(_, capacity)| *capacity > 0.0);
    let cheapest = known.min_by(|a, b| (cost(a.0) / a.1).total_cmp(&(cost(b.0) / b.1)));
    if let Some((name, capacity)) = cheapest
        && let Some(target) = targets.get_mut(name)
    {
        *target = target.saturating_add(go::int32((demand.required / capacity).ceil()));
    }
}

fn remove<'a>(demand: &Demand<'a>, targets: &mut BTreeMap<&'a str, i32>, cost: impl Fn(&str) -> f64) {
    let mut order: Vec<&(&str, f64)> = demand.per_replica.iter().collect();
    let cheapest =
        order.iter().copied().min_by(|a, b| cost(a.0).total_cmp(&cost(b.0))).map(|(name, _)| *name);
    order.sort_by(|a, b| cost(b.0).total_cmp(&cost(a.0)));
    let mut rest = demand.spare;
    for (name, capacity) in order.into_iter().filter(|(_, capacity)| *capacity > 0.0) {
        let others = targets.iter().any(|(other, target)| other != name && *target > 0);
        let fewest = i32::from(Some(*name) == cheapest && !others);
        let Some(target) = targets.get_mut(name) else { continue };
        let removed = go::int32((rest / capacity).floor()).min(*target - fewest);
        if removed > 0 {
            *target -= removed;
            rest -= f64::from(removed) * capacity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(name: &'static str, current: i32) -> Variant<'static> {
        Variant { name, current, desired: 0, pending: 0 }
    }

    fn replica(variant: &'static str, kv: f64, queue: f64) -> ReplicaTokens<'static> {
        ReplicaTokens { variant, kv_tokens: 10_000, kv, queue, shape: Shape { prompt: 500.0, output: 200.0 } }
    }

    fn decided(
        replicas: &[ReplicaTokens<'static>],
        variants: &[Variant<'static>],
    ) -> BTreeMap<&'static str, i32> {
        let costs = BTreeMap::from([("cheap", 5.0), ("dear", 40.0)]);
        let demand = analyze(
            replicas,
            variants,
            &Thresholds::default(),
            &Capacities::default(),
            &mut History::default(),
        );
        targets(&demand, variants, &costs)
    }

    #[test]
    fn missing_capacity_is_bought_at_once_where_it_is_cheapest() {
        // Two hold 8000 each: 16 000 / 0.85 = 18 823 wanted, 16 000 there: one more of 8000.
        let full = [replica("cheap", 0.8, 0.0), replica("dear", 0.8, 0.0)];
        let variants = [settled("cheap", 1), settled("dear", 1)];
        assert_eq!(decided(&full, &variants), BTreeMap::from([("cheap", 2), ("dear", 1)]));
        // With 8 prompts of 500 waiting in each demand is 24 000; the queues are full, so each can hold what it holds, 8000:
        // 24 000 / 0.85 = 28 235 wanted, 16 000 there: two more of 8000.
        let queued = [replica("cheap", 0.8, 8.0), replica("dear", 0.8, 8.0)];
        assert_eq!(decided(&queued, &variants), BTreeMap::from([("cheap", 3), ("dear", 1)]));
    }

    #[test]
    fn spare_capacity_is_given_up_where_it_is_dearest_and_one_is_kept() {
        let idle = [replica("cheap", 0.0, 0.0), replica("dear", 0.0, 0.0)];
        let variants = [settled("cheap", 1), settled("dear", 1)];
        assert_eq!(decided(&idle, &variants), BTreeMap::from([("cheap", 1), ("dear", 0)]));
    }

    #[test]
    fn replicas_on_their_way_count_for_what_is_missing() {
        let full = [replica("cheap", 0.8, 0.0), replica("cheap", 0.8, 0.0)];
        let coming = [Variant { pending: 1, ..settled("cheap", 3) }];
        assert_eq!(decided(&full, &coming), BTreeMap::from([("cheap", 3)]));
    }

    #[test]
    fn what_was_held_when_requests_queued_is_remembered() {
        let mut history = History::default();
        let thresholds = Thresholds::default();
        assert_eq!(capacity(&replica("cheap", 0.5, 0.0), &thresholds, &mut history), 8_000);
        assert_eq!(capacity(&replica("cheap", 0.5, 5.0), &thresholds, &mut history), 5_000);
        assert_eq!(capacity(&replica("cheap", 0.1, 0.0), &thresholds, &mut history), 5_000);
        for _ in 0..REMEMBERED {
            history.learn("cheap|medium".into(), 7_000);
        }
        assert_eq!(capacity(&replica("cheap", 0.1, 0.0), &thresholds, &mut history), 7_000);
    }
}

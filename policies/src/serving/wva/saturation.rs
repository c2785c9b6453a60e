//! The saturation analysis, version 1: `internal/saturation/analyzer.go`.
//!
//! A replica is saturated by its KV cache or by its queue. What the others have to spare decides for the whole model,
//! and the variants' costs decide which of them changes.

use std::collections::BTreeMap;

use serde::Serialize;

/// Below so many replicas that are not saturated none is taken away.
const MIN_FOR_SCALE_DOWN: usize = 2;

/// When a replica is saturated, and when too little is to spare.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Thresholds {
    /// `kvCacheThreshold`: the share of the KV cache in use, 0 to 1, from which a replica is saturated.
    pub kv_cache: f64,
    /// `queueLengthThreshold`: the waiting requests from which a replica is saturated.
    pub queue_length: f64,
    /// `kvSpareTrigger`: with less than this share to spare on average the model is scaled up.
    pub kv_spare: f64,
    /// `queueSpareTrigger`: with room for fewer waiting requests on average the model is scaled up.
    pub queue_spare: f64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { kv_cache: 0.80, queue_length: 5.0, kv_spare: 0.10, queue_spare: 3.0 }
    }
}

/// What is measured of a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Replica<'a> {
    /// The variant that it belongs to.
    pub variant: &'a str,
    /// The cost of a replica of that variant, in any unit.
    pub cost: f64,
    /// The share of its KV cache in use, 0 to 1.
    pub kv: f64,
    /// Requests that wait in it.
    pub queue: f64,
}

/// What is known of a variant: a deployment of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its replicas.
    pub current: i32,
    /// What was decided last; 0: nothing yet.
    pub desired: i32,
    /// Replicas that are not ready.
    pub pending: i32,
}

/// What the analysis found for a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Analysis<'a> {
    /// Replicas that are not saturated.
    pub non_saturated: usize,
    /// What they have to spare of their KV caches on average, 0 if there are none.
    pub spare_kv: f64,
    /// How many more requests could wait in them on average, 0 if there are none.
    pub spare_queue: f64,
    /// Whether too little is to spare.
    pub scale_up: bool,
    /// Whether the load of one replica less would leave enough to spare.
    pub scale_down_safe: bool,
    /// The measured replicas of each variant and their cost, by name.
    variants: BTreeMap<&'a str, Measured>,
}

/// The measured replicas of a variant.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Measured {
    replicas: i32,
    cost: f64,
    non_saturated: usize,
    spare_kv: f64,
    spare_queue: f64,
}

/// Analyses the replicas of a model.
#[must_use]
pub fn analyze<'a>(replicas: &[Replica<'a>], thresholds: &Thresholds) -> Analysis<'a> {
    let mut analysis = Analysis::default();
    if replicas.is_empty() {
        return analysis;
    }
    for replica in replicas {
        measure(analysis.variants.entry(replica.variant).or_default(), replica, thresholds);
    }
    // By variant first, as the controller adds: the sums differ in their last bits otherwise.
    for variant in analysis.variants.values().filter(|variant| variant.non_saturated > 0) {
        let count = variant.non_saturated as f64;
        analysis.non_saturated += variant.non_saturated;
        analysis.spare_kv += variant.spare_kv / count * count;
        analysis.spare_queue += variant.spare_queue / count * count;
    }
    if analysis.non_saturated > 0 {
        analysis.spare_kv /= analysis.non_saturated as f64;
        analysis.spare_queue /= analysis.non_saturated as f64;
    }
    analysis.scale_up =
        analysis.spare_kv < thresholds.kv_spare || analysis.spare_queue < thresholds.queue_spare;
    analysis.scale_down_safe = one_less_is_safe(&analysis, thresholds);
    analysis
}

fn measure(variant: &mut Measured, replica: &Replica<'_>, thresholds: &Thresholds) {
    if variant.replicas == 0 {
        variant.cost = replica.cost;
    }
    variant.replicas += 1;
    if replica.kv < thresholds.kv_cache && replica.queue < thresholds.queue_length {
        variant.non_saturated += 1;
        variant.spare_kv += thresholds.kv_cache - replica.kv;
        variant.spare_queue += thresholds.queue_length - replica.queue;
    }
}

/// Whether the load of all, spread over one replica less, leaves enough to spare.
fn one_less_is_safe(analysis: &Analysis<'_>, thresholds: &Thresholds) -> bool {
    let count = analysis.non_saturated;
    if count < MIN_FOR_SCALE_DOWN {
        return false;
    }
    let more = count as f64 / (count - 1) as f64;
    let spare = |threshold: f64, spare: f64| threshold - (threshold - spare) * more;
    spare(thresholds.kv_cache, analysis.spare_kv) >= thresholds.kv_spare
        && spare(thresholds.queue_length, analysis.spare_queue) >= thresholds.queue_spare
}

/// How many replicas each measured variant should have; all at their present number when nothing is measured.
///
/// A variant that is not where it was told to be, or of which not all replicas are measured, freezes the whole model.
#[must_use]
pub fn targets<'a>(analysis: &Analysis<'a>, variants: &[Variant<'a>]) -> BTreeMap<&'a str, i32> {
    if analysis.variants.is_empty() {
        return variants.iter().map(|variant| (variant.name, variant.current)).collect();
    }
    let none = Variant { name: "", current: 0, desired: 0, pending: 0 };
    let state = |name: &str| variants.iter().find(|variant| variant.name == name).unwrap_or(&none);
    let moving = |variant: &Variant<'_>| variant.desired != 0 && variant.desired != variant.current;
    let frozen = analysis
        .variants
        .iter()
        .any(|(name, measured)| moving(state(name)) || measured.replicas != state(name).current);
    if frozen {
        let kept = |name: &str| if moving(state(name)) { state(name).desired } else { state(name).current };
        return analysis.variants.keys().map(|name| (*name, kept(name))).collect();
    }
    let mut targets: BTreeMap<&str, i32> =
        analysis.variants.iter().map(|(name, measured)| (*name, measured.replicas)).collect();
    let by_cost = |a: &(&&str, &Measured), b: &(&&str, &Measured)| {
        a.1.cost.total_cmp(&b.1.cost).then_with(|| a.0.cmp(b.0))
    };
    if analysis.scale_up {
        let settled = analysis.variants.iter().filter(|(name, _)| state(name).pending <= 0);
        if let Some((name, measured)) = settled.min_by(by_cost) {
            targets.insert(name, measured.replicas + 1);
        }
    } else if analysis.scale_down_safe {
        let several = analysis.variants.iter().filter(|(_, measured)| measured.replicas > 1);
        if let Some((name, measured)) = several.max_by(by_cost) {
            targets.insert(name, measured.replicas - 1);
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replica(variant: &'static str, cost: f64, kv: f64, queue: f64) -> Replica<'static> {
        Replica { variant, cost, kv, queue }
    }

    fn settled(name: &'static str, current: i32) -> Variant<'static> {
        Variant { name, current, desired: 0, pending: 0 }
    }

    #[test]
    fn the_cheapest_variant_grows_and_the_dearest_shrinks() {
        let thresholds = Thresholds::default();
        let variants = [settled("dear", 2), settled("cheap", 2)];
        let all = |kv: f64| {
            let of = |variant, cost| replica(variant, cost, kv, 0.0);
            [of("dear", 40.0), of("dear", 40.0), of("cheap", 5.0), of("cheap", 5.0)]
        };
        let decided = |kv| targets(&analyze(&all(kv), &thresholds), &variants);
        assert_eq!(decided(0.75), BTreeMap::from([("cheap", 3), ("dear", 2)]));
        assert_eq!(decided(0.1), BTreeMap::from([("cheap", 2), ("dear", 1)]));
        assert_eq!(decided(0.6), BTreeMap::from([("cheap", 2), ("dear", 2)]));
    }

    #[test]
    fn a_variant_on_its_way_freezes_the_model() {
        let full = [replica("a", 1.0, 0.9, 9.0), replica("b", 2.0, 0.9, 9.0)];
        let analysis = analyze(&full, &Thresholds::default());
        assert!(analysis.scale_up && analysis.non_saturated == 0);
        let moving = [settled("a", 1), Variant { desired: 3, ..settled("b", 1) }];
        assert_eq!(targets(&analysis, &moving), BTreeMap::from([("a", 1), ("b", 3)]));
        let unmeasured = [settled("a", 2), settled("b", 1)];
        assert_eq!(targets(&analysis, &unmeasured), BTreeMap::from([("a", 2), ("b", 1)]));
    }

    proptest! {
        #[test]
        fn at_most_one_variant_moves_by_one(
            loads in proptest::collection::vec((0.0..1.0f64, 0u8..8), 1..12),
        ) {
            let names = ["a", "b", "c"];
            let of = |(place, (kv, queue)): (usize, &(f64, u8))| {
                replica(names[place % 3], (place % 3) as f64, *kv, f64::from(*queue))
            };
            let replicas: Vec<_> = loads.iter().enumerate().map(of).collect();
            let count = |name: &str| {
                let own = replicas.iter().filter(|replica| replica.variant == name).count();
                i32::try_from(own).expect("few")
            };
            let variants: Vec<_> = names.iter().map(|name| settled(name, count(name))).collect();
            let targets = targets(&analyze(&replicas, &Thresholds::default()), &variants);
            let moved: i32 = targets.iter().map(|(name, target)| (target - count(name)).abs()).sum();
            prop_assert!(moved <= 1);
            prop_assert!(targets.values().all(|target| *target >= 1));
        }
    }
}

//! From a metric to replicas: `pkg/controller/podautoscaler/algorithm/{apa,kpa}.go`.

use serde::Serialize;

use crate::numerics::go;

/// How far and how fast the number of replicas may move.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// At most so many times the present number in one step up.
    pub max_scale_up_rate: f64,
    /// At most so many times fewer in one step down.
    pub max_scale_down_rate: f64,
    /// How far above the target the metric may be without a change, a fraction.
    pub up_tolerance: f64,
    /// How far below, a fraction.
    pub down_tolerance: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_scale_up_rate: 2.0, max_scale_down_rate: 2.0, up_tolerance: 0.1, down_tolerance: 0.1 }
    }
}

impl Limits {
    fn tolerates(&self, ratio: f64) -> bool {
        ratio <= 1.0 + self.up_tolerance && ratio >= 1.0 - self.down_tolerance
    }
}

/// APA: the present number times the mean use of a pod over its target.
///
/// ```
/// use scaletwin_policies::serving::aibrix::algorithm::{Limits, apa};
/// let limits = Limits::default();
/// assert_eq!(apa(4, 15.0, 10.0, &limits), 6);
/// assert_eq!(apa(4, 10.9, 10.0, &limits), 4); // within the tolerance
/// assert_eq!(apa(4, 90.0, 10.0, &limits), 8); // at most twice
/// ```
#[must_use]
pub fn apa(current: i32, use_per_pod: f64, target: f64, limits: &Limits) -> i32 {
    let (pods, ratio) = (f64::from(current), use_per_pod / target);
    let wanted = go::int32((pods * ratio).ceil());
    if ratio > 1.0 + limits.up_tolerance {
        let most = (limits.max_scale_up_rate * pods).ceil();
        if f64::from(wanted) > most { go::int32(most) } else { wanted }
    } else if ratio < 1.0 - limits.down_tolerance {
        let fewest = (pods / limits.max_scale_down_rate).floor();
        if f64::from(wanted) < fewest { go::int32(fewest) } else { wanted }
    } else {
        current
    }
}

/// The sums of a metric over all pods, averaged over two windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Averages {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
    pub panic: f64,
}

impl Averages {
    /// Whether the present is so far above the usual that nothing may be taken away. Decided anew each time.
    #[must_use]
    pub fn call_for_panic(&self, threshold: f64) -> bool {
        self.stable <= 0.0 || self.panic / self.stable > threshold
    }
}

/// KPA: the pods that the averages need; in panic never fewer than `most_in_panic`, which is raised and never lowered.
#[must_use]
pub fn kpa(
    current: i32,
    averages: Averages,
    target: f64,
    panic: bool,
    limits: &Limits,
    most_in_panic: &mut i32,
) -> i32 {
    let pods = f64::from(current.max(0));
    let most = (limits.max_scale_up_rate * pods).ceil().max(1.0);
    let fewest = (pods / limits.max_scale_down_rate).floor();
    let wanted = |average: f64| go::int32((average / target).ceil().max(fewest).min(most));
    if panic {
        let desired = wanted(averages.stable).max(wanted(averages.panic));
        *most_in_panic = desired.max(*most_in_panic);
        return *most_in_panic;
    }
    if current > 0 && limits.tolerates(averages.stable / (target * pods)) {
        return current;
    }
    wanted(averages.stable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits =
        Limits { max_scale_up_rate: 2.0, max_scale_down_rate: 2.0, up_tolerance: 0.1, down_tolerance: 0.1 };

    fn averages(stable: f64, panic: f64) -> Averages {
        Averages { stable, panic }
    }

    #[test]
    fn apa_leaves_the_tolerance_and_keeps_to_its_rates() {
        let of = |use_per_pod| apa(10, use_per_pod, 100.0, &LIMITS);
        assert_eq!([of(110.0), of(110.1), of(89.9), of(90.0)], [10, 12, 9, 10]);
        assert_eq!([of(0.0), of(1e9)], [5, 20]);
        assert_eq!(apa(0, 50.0, 100.0, &LIMITS), 0);
    }

    #[test]
    fn kpa_in_panic_never_goes_down() {
        let mut most = 0;
        let of = |current, averages: Averages, most: &mut i32| {
            kpa(current, averages, 10.0, averages.call_for_panic(2.0), &LIMITS, most)
        };
        assert_eq!(of(2, averages(20.0, 60.0), &mut most), 4, "at most twice");
        assert_eq!(of(4, averages(20.0, 60.0), &mut most), 6);
        assert_eq!(of(6, averages(0.0, 0.0), &mut most), 6, "no stable value counts as panic");
        assert_eq!(of(6, averages(20.0, 20.0), &mut most), 3, "at most halved");
        assert_eq!(of(2, averages(10.0, 25.0), &mut most), 6, "an old panic is never forgotten");
    }

    #[test]
    fn kpa_keeps_its_pods_within_the_tolerance() {
        let of = |stable| kpa(4, averages(stable, stable), 10.0, false, &LIMITS, &mut 0);
        assert_eq!([of(44.0), of(44.1), of(36.0), of(30.0)], [4, 5, 4, 3]);
    }

    proptest! {
        #[test]
        // Beyond 2^31 pods Go's conversion gives the least number there is, and so does this.
        fn both_keep_to_the_rates(current in 1i32..500, metric in 0.0..1e4f64, target in 0.01..1e4f64) {
            let kept = |wanted: i32| wanted <= 2 * current && wanted >= current / 2;
            prop_assert!(kept(apa(current, metric, target, &LIMITS)));
            prop_assert!(kept(kpa(current, averages(metric, metric), target, false, &LIMITS, &mut 0)));
        }
    }
}

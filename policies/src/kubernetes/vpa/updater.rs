//! Which pods are evicted so that others with the recommended requests come in their place: `pkg/updater/{logic,priority,restriction}`.

use scaletwin_core::control::{PodPhase, PodView, Resource, TargetView};
use scaletwin_core::units::{Span, Time};
use serde::Serialize;

use super::recommendation::Recommendation;
use super::spec::Controlled;
use crate::numerics::go;

/// The flags of the updater.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UpdaterSettings {
    /// `--min-replicas`, or `minReplicas` of the object: with fewer pods none is evicted.
    pub min_replicas: usize,
    /// `--eviction-tolerance`: the share of the replicas that may be missing, 0 to 1.
    pub eviction_tolerance: f64,
    /// `--pod-update-threshold`: the change, as a share of what is requested and summed over the resources, below which a pod
    /// within the recommended range stays.
    pub update_threshold: f64,
    /// `--in-recommendation-bounds-eviction-lifetime-threshold`: the age from which a pod within the range may go at all.
    pub lifetime: Span,
}

impl Default for UpdaterSettings {
    fn default() -> UpdaterSettings {
        UpdaterSettings {
            min_replicas: 2,
            eviction_tolerance: 0.5,
            update_threshold: 0.1,
            lifetime: Span::from_secs(12 * 3_600),
        }
    }
}

/// How far a pod is from its recommendation.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Priority {
    /// Whether a request is below the lower or above the upper bound, or missing.
    outside: bool,
    /// Whether a request should grow.
    grows: bool,
    /// The changes as shares of the requests, summed over the resources.
    change: f64,
}

/// The pods of `view` to evict at `now`, in order, so that `container` comes to request what is recommended.
#[must_use]
pub fn evictions<'a>(
    settings: &UpdaterSettings,
    view: &'a TargetView,
    container: &str,
    controlled: Controlled,
    recommended: &Recommendation,
    now: Time,
) -> Vec<&'a PodView> {
    let live: Vec<&PodView> = view.pods.iter().filter(|pod| !pod.deleted).collect();
    if live.len() < settings.min_replicas || view.spec_replicas <= 0 {
        return Vec::new();
    }
    let mut group = Group::of(&live, view.spec_replicas, settings.eviction_tolerance);
    let mut candidates: Vec<(Priority, &PodView)> = live
        .into_iter()
        .filter(|pod| group.may_go(pod))
        .map(|pod| (priority(pod, container, controlled, recommended), pod))
        .filter(|(priority, pod)| is_worth_it(settings, *priority, pod, now))
        .collect();
    candidates.sort_by(|(a, _), (b, _)| b.grows.cmp(&a.grows).then(b.change.total_cmp(&a.change)));
    candidates.into_iter().map(|(_, pod)| pod).filter(|pod| group.goes(pod)).collect()
}

/// The pods of a ReplicaSet, and how many of them have been evicted at this look.
struct Group {
    configured: i64,
    running: i64,
    tolerance: i64,
    evicted: i64,
}

impl Group {
    fn of(live: &[&PodView], configured: i32, tolerance: f64) -> Group {
        let running = live.iter().filter(|pod| pod.phase != PodPhase::Pending).count();
        Group {
            configured: i64::from(configured),
            running: i64::try_from(running).unwrap_or(i64::MAX),
            tolerance: go::int64(f64::from(configured) * tolerance),
            evicted: 0,
        }
    }

    /// Whether a pod may be evicted: one that waits for a node always, a running one while enough stay alive, or as the only
    /// one where the tolerance comes to no pod at all.
    fn may_go(&self, pod: &PodView) -> bool {
        let enough = self.running - self.evicted > self.configured - self.tolerance;
        let only_one = self.tolerance == 0 && self.evicted == 0 && self.configured == self.running;
        pod.phase == PodPhase::Pending || enough || only_one
    }

    /// Whether it goes, counted if so.
    fn goes(&mut self, pod: &PodView) -> bool {
        let goes = self.may_go(pod);
        self.evicted += i64::from(goes && pod.phase != PodPhase::Pending);
        goes
    }
}

fn priority(
    pod: &PodView,
    container: &str,
    controlled: Controlled,
    recommended: &Recommendation,
) -> Priority {
    let mut priority = Priority { outside: false, grows: false, change: 0.0 };
    let Some(of) = pod.containers.iter().find(|of| *of.name == *container) else { return priority };
    for resource in controlled.resources() {
        let [lower, target, upper] =
            [recommended.lower, recommended.target, recommended.upper].map(|amount| amount.milli(resource));
        let request = of.of(resource);
        priority.grows |= request.is_none_or(|request| target > request);
        priority.outside |= request.is_none_or(|request| request < lower || request > upper);
        let requested = (request.unwrap_or(0) as f64).max(1.0);
        priority.change += (requested - target as f64).abs() / requested;
    }
    priority
}

/// Whether a pod is evicted at all: outside the range at once, within it when it is old and would change enough.
fn is_worth_it(settings: &UpdaterSettings, priority: Priority, pod: &PodView, now: Time) -> bool {
    let is_old = pod.start.is_some_and(|start| start.saturating_add(settings.lifetime) <= now);
    priority.outside || (is_old && priority.change >= settings.update_threshold)
}

impl super::recommendation::Resources {
    /// So much of one resource, in milli-units.
    #[must_use]
    pub fn milli(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Cpu => self.cpu_milli,
            Resource::Memory => self.memory_bytes.saturating_mul(1_000),
            Resource::Gpu => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::recommendation::Resources;
    use super::*;
    use proptest::prelude::*;
    use scaletwin_core::control::{Bounds, ContainerRequests, TargetName};

    const DAY: Span = Span::from_secs(24 * 3_600);

    fn cpu(milli: i64) -> Resources {
        Resources { cpu_milli: milli, memory_bytes: 0 }
    }

    /// Between half a core and two, best one.
    const ONE_CORE: [i64; 3] = [500, 1_000, 2_000];

    fn recommended([lower, target, upper]: [i64; 3]) -> Recommendation {
        Recommendation { lower: cpu(lower), target: cpu(target), upper: cpu(upper) }
    }

    fn view(pods: &[(PodPhase, i64)]) -> TargetView {
        let pod = |(place, (phase, milli)): (usize, &(PodPhase, i64))| PodView {
            name: format!("main-{place}").into(),
            phase: *phase,
            deleted: false,
            start: Some(Time::ZERO),
            ready: None,
            containers: [ContainerRequests { name: "main".into(), requests: vec![(Resource::Cpu, *milli)] }]
                .into(),
        };
        let replicas = i32::try_from(pods.len()).expect("few");
        TargetView {
            name: TargetName::new("web/main"),
            spec_replicas: replicas,
            status_replicas: replicas,
            ready_replicas: replicas,
            bounds: Bounds::default(),
            pods: pods.iter().enumerate().map(pod).collect(),
        }
    }

    fn evicted(pods: &[(PodPhase, i64)], age: Span) -> Vec<usize> {
        let view = view(pods);
        let settings = UpdaterSettings::default();
        let only_cpu = Controlled { cpu: true, memory: false };
        let gone = evictions(&settings, &view, "main", only_cpu, &recommended(ONE_CORE), Time::ZERO + age);
        gone.iter()
            .map(|pod| view.pods.iter().position(|other| other.name == pod.name).expect("its own"))
            .collect()
    }

    fn running<const N: usize>(milli: [i64; N]) -> [(PodPhase, i64); N] {
        milli.map(|milli| (PodPhase::Running, milli))
    }

    #[test]
    fn half_of_the_pods_go_those_that_should_grow_most_first() {
        // 2.5 times too little, 9 and 2 times too little, too much by two thirds: at most two of four at once.
        assert_eq!(evicted(&running([400, 100, 450, 3_000]), Span::ZERO), [1, 0]);
        assert_eq!(evicted(&running([3_000, 4_000, 100]), Span::ZERO), [2], "one of three");
    }

    #[test]
    fn within_the_range_a_pod_goes_after_half_a_day_if_enough_changes() {
        let young = DAY / 2 - Span::from_nanos(1);
        assert_eq!(evicted(&running([600, 1_099, 1_000]), young), Vec::<usize>::new());
        assert_eq!(evicted(&running([1_099, 600, 1_000]), DAY / 2), [1]);
        assert_eq!(
            evicted(&running([1_099, 1_000, 1_000]), DAY),
            Vec::<usize>::new(),
            "nine percent are too little"
        );
    }

    #[test]
    fn a_pod_alone_stays_and_one_that_waits_always_goes() {
        assert_eq!(evicted(&running([1]), DAY), Vec::<usize>::new());
        let waiting = [(PodPhase::Pending, 9_000), (PodPhase::Running, 1), (PodPhase::Running, 1)];
        assert_eq!(evicted(&waiting, DAY), [0], "two of three run, and two have to");
    }

    #[test]
    fn a_tolerance_of_no_pod_lets_one_go_while_all_run() {
        let view = view(&running([1, 1]));
        let settings = UpdaterSettings { eviction_tolerance: 0.0, ..UpdaterSettings::default() };
        let both = Controlled { cpu: true, memory: true };
        assert_eq!(evictions(&settings, &view, "main", both, &recommended(ONE_CORE), Time::ZERO).len(), 1);
    }

    proptest! {
        /// As many stay as the tolerance asks for, whatever is requested.
        #[test]
        fn enough_pods_stay(milli in prop::collection::vec(1i64..5_000, 2..30)) {
            let pods: Vec<_> = milli.iter().map(|milli| (PodPhase::Running, *milli)).collect();
            let gone = evicted(&pods, DAY);
            prop_assert!(gone.len() <= pods.len() / 2);
            prop_assert!(gone.iter().all(|place| milli[*place] != 1_000));
        }
    }
}

//! Limits on replicas, nodes, cost per hour and resources, over all targets together.

use std::collections::BTreeMap;

use scaletwin_core::control::{
    Action, Decision, Guard, Launch, NodesView, Observation, Resources, Scope, State, StateMismatch,
    TargetName,
};
use scaletwin_core::input::{Count, Positive};
use scaletwin_core::units::Bytes;
use serde::Serialize;

use super::reason;

scaletwin_core::keys! {
    /// Limits over all targets and nodes together. What would go beyond is cut; what is beyond already is left alone.
    #[derive(Debug, Clone)]
    pub struct LimitsSpec {
        /// The most replicas of all targets together.
        pub replicas: Option<Count> = None,
        /// The most nodes, those on their way included.
        pub nodes: Option<Count> = None,
        /// The most that all nodes cost per hour, US dollars. A launch of unknown price is refused.
        pub cost_usd_per_hour: Option<Positive> = None,
        /// The most GPUs that replicas request together.
        pub gpus: Option<Positive> = None,
        /// The most cores that replicas request together.
        pub cores: Option<Positive> = None,
        /// The most memory that replicas request together.
        pub memory: Option<Bytes> = None,
    }
}

/// The limits, checked; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Limits {
    replicas: Option<i64>,
    nodes: Option<u64>,
    cost_usd_per_hour: Option<f64>,
    gpu_milli: Option<i64>,
    cpu_milli: Option<i64>,
    memory_bytes: Option<i64>,
}

impl LimitsSpec {
    /// The limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let milli = |amount: Positive| crate::numerics::go::int64((amount.0 * 1_000.0).min(9e18));
        Limits {
            replicas: self.replicas.map(|count| i64::from(count.0)),
            nodes: self.nodes.map(|count| u64::from(count.0)),
            cost_usd_per_hour: self.cost_usd_per_hour.map(|cost| cost.0),
            gpu_milli: self.gpus.map(milli),
            cpu_milli: self.cores.map(milli),
            memory_bytes: self.memory.map(|bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX)),
        }
    }
}

/// Limits over all targets and nodes.
#[derive(Debug, Clone)]
pub struct LimitsGuard {
    limits: Limits,
    /// What one replica of each target requests.
    replicas: BTreeMap<TargetName, Resources>,
}

impl LimitsGuard {
    /// These limits over targets whose replicas request so much each.
    #[must_use]
    pub fn new(limits: Limits, replicas: BTreeMap<TargetName, Resources>) -> LimitsGuard {
        LimitsGuard { limits, replicas }
    }

    /// How many more replicas that request `each` there is room for beside `used`.
    fn room(&self, used: &Used, each: &Resources) -> i64 {
        let of = |limit: Option<i64>, used: i64, each: i64| match limit {
            Some(limit) if each > 0 => limit.saturating_sub(used).max(0) / each,
            _ => i64::MAX,
        };
        [
            of(self.limits.replicas, used.replicas, 1),
            of(self.limits.gpu_milli, used.resources.gpu_milli, each.gpu_milli),
            of(self.limits.cpu_milli, used.resources.cpu_milli, each.cpu_milli),
            of(self.limits.memory_bytes, used.resources.memory_bytes, each.memory_bytes),
        ]
        .into_iter()
        .fold(i64::MAX, i64::min)
    }

    /// Cuts what goes up; what goes down makes room first.
    fn review_replicas(&self, seen: &Observation, wanted: &mut Decision) {
        let mut used = Used::default();
        let lowered = |target: &TargetName, now: i32| {
            let set = wanted.actions.iter().rev().find_map(|action| match action {
                Action::SetReplicas { target: of, replicas } if of == target => Some(*replicas),
                _ => None,
            });
            set.unwrap_or(now).min(now)
        };
        for view in &seen.targets {
            used.add(i64::from(lowered(&view.name, view.spec_replicas)), self.each(&view.name));
        }
        for action in &mut wanted.actions {
            let Action::SetReplicas { target, replicas } = action else { continue };
            let Some(now) = seen.target(target).map(|view| view.spec_replicas) else { continue };
            let more = i64::from(*replicas) - i64::from(now);
            if more <= 0 {
                continue;
            }
            let each = self.each(target);
            let allowed = more.min(self.room(&used, &each));
            used.add(allowed, each);
            if allowed < more {
                let detail = format!("{replicas} replicas wanted, {allowed} more than {now} allowed");
                wanted.reasons.push(reason("limits", Some(target), "LimitReached", detail));
                *replicas = now.saturating_add(i32::try_from(allowed).unwrap_or(i32::MAX));
            }
        }
    }

    fn each(&self, target: &TargetName) -> Resources {
        self.replicas.get(target).copied().unwrap_or_default()
    }

    /// Cuts launches; one of no node left is dropped.
    fn review_nodes(&self, view: &NodesView, wanted: &mut Decision) {
        let mut nodes = view.nodes.len() as u64;
        let mut cost: f64 = view.nodes.iter().filter_map(|node| node.price_usd_per_hour).sum();
        let mut reasons = Vec::new();
        for action in &mut wanted.actions {
            let Action::LaunchNodes(launch) = action else { continue };
            let by_count = self.limits.nodes.map_or(u64::MAX, |most| most.saturating_sub(nodes));
            let price = price_of(view, launch);
            let by_cost = match (self.limits.cost_usd_per_hour, price) {
                (None, _) => u64::MAX,
                (Some(_), None) => 0,
                (Some(most), Some(price)) => (1..=u64::from(launch.count))
                    .take_while(|count| cost + *count as f64 * price <= most)
                    .count() as u64,
            };
            let allowed = u64::from(launch.count).min(by_count).min(by_cost);
            if allowed < u64::from(launch.count) {
                let detail = format!("{} nodes of {} wanted, {allowed} allowed", launch.count, launch.pool);
                reasons.push(reason("limits", None, "LimitReached", detail));
                launch.count = u32::try_from(allowed).unwrap_or(launch.count);
            }
            nodes += allowed;
            cost += allowed as f64 * price.unwrap_or_default();
        }
        wanted.actions.retain(|action| !matches!(action, Action::LaunchNodes(launch) if launch.count == 0));
        wanted.reasons.extend(reasons);
    }
}

/// What is used already.
#[derive(Debug, Default)]
struct Used {
    replicas: i64,
    resources: Resources,
}

impl Used {
    fn add(&mut self, replicas: i64, each: Resources) {
        let times = |amount: i64| amount.saturating_mul(replicas);
        self.replicas = self.replicas.saturating_add(replicas);
        self.resources = self.resources.plus(&Resources {
            cpu_milli: times(each.cpu_milli),
            memory_bytes: times(each.memory_bytes),
            gpu_milli: times(each.gpu_milli),
        });
    }
}

/// The highest price of what a launch may get, if all are known.
fn price_of(view: &NodesView, launch: &Launch) -> Option<f64> {
    let offers = view.offers.iter().filter(|offer| {
        offer.cluster == launch.cluster
            && offer.pool == launch.pool
            && (launch.instance_types.is_empty() || launch.instance_types.contains(&offer.instance_type))
    });
    offers
        .map(|offer| offer.price_usd_per_hour)
        .reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)))
        .flatten()
}

impl Guard for LimitsGuard {
    fn scope(&self) -> Scope {
        let nodes = self.limits.nodes.is_some() || self.limits.cost_usd_per_hour.is_some();
        Scope { targets: self.replicas.keys().cloned().collect(), nodes, ..Scope::default() }
    }

    fn review(&mut self, seen: &Observation, mut wanted: Decision) -> Decision {
        self.review_replicas(seen, &mut wanted);
        if let Some(view) = &seen.nodes {
            self.review_nodes(view, &mut wanted);
        }
        wanted
    }

    fn save(&self) -> State {
        State::of("limits", 1, &())
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        state.read("limits", 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scaletwin_core::control::{Bounds, TargetView};
    use scaletwin_core::units::{Civil, Time};

    use super::*;

    fn seen(replicas: &[i32]) -> Observation {
        let mut seen = Observation::at(Time::ZERO, Civil::DEFAULT_START);
        let view = |(at, replicas): (usize, &i32)| TargetView {
            name: name(at),
            spec_replicas: *replicas,
            status_replicas: *replicas,
            ready_replicas: *replicas,
            bounds: Bounds::default(),
            pods: Vec::new(),
        };
        seen.targets = replicas.iter().enumerate().map(view).collect();
        seen
    }

    fn name(at: usize) -> TargetName {
        TargetName::new(format!("s/{at}"))
    }

    proptest! {
        #[test]
        fn what_is_let_through_is_within_the_limits_and_never_turned_round(
            now in prop::collection::vec(0i32..20, 3),
            want in prop::collection::vec(0i32..60, 3),
            most in 1u32..80,
            gpus in 1u32..80,
        ) {
            let spec = LimitsSpec {
                replicas: Some(Count(most)), nodes: None, cost_usd_per_hour: None,
                gpus: Some(Positive(f64::from(gpus))), cores: None, memory: None,
            };
            let each = Resources { gpu_milli: 2_000, ..Resources::default() };
            let targets = (0..3).map(|at| (name(at), each)).collect();
            let mut guard = LimitsGuard::new(spec.limits(), targets);
            let actions = want.iter().enumerate()
                .map(|(at, replicas)| Action::SetReplicas { target: name(at), replicas: *replicas });
            let wanted = Decision { actions: actions.collect(), ..Decision::default() };
            let done = guard.review(&seen(&now), wanted);
            let mut after = Vec::new();
            for (at, action) in done.actions.iter().enumerate() {
                let Action::SetReplicas { replicas, .. } = action else { panic!("replicas") };
                prop_assert!(*replicas <= want[at].max(now[at]) && *replicas >= want[at].min(now[at]));
                after.push(*replicas);
            }
            let (before, total) = (now.iter().sum::<i32>(), after.iter().sum::<i32>());
            prop_assert!(i64::from(total) <= i64::from(most) || total <= before);
            prop_assert!(i64::from(total) * 2 <= i64::from(gpus) || total <= before);
        }
    }
}

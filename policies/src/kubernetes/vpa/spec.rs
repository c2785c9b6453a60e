//! What a user sets of a VPA by our own keys, and what becomes of it.

use scaletwin_core::control::Resource;
use scaletwin_core::input::{At, NonNegative, Period, Problems};
use scaletwin_core::units::{Quantity, Share, Span};
use serde::Serialize;

use super::recommendation::{Recommendation, Resources};
use super::updater::UpdaterSettings;
use crate::kubernetes::manifest::refuse_beside;

scaletwin_core::names! {
    /// What is done with a recommendation: `updateMode`.
    pub enum UpdateMode {
        /// Nothing: it stands in the reasons of the decisions.
        Off = "off",
        /// Pods created from now on request it.
        Initial = "initial",
        /// And pods that are too far from it are evicted, so that others come in their place.
        Recreate = "recreate",
    }
}

scaletwin_core::keys! {
    /// Amounts that a recommendation keeps to.
    #[derive(Debug, Clone)]
    pub struct AllowedSpec {
        /// CPU, such as `500m`.
        pub cpu: Option<At<Quantity>> = None,
        /// Memory, such as `2Gi`.
        pub memory: Option<At<Quantity>> = None,
    }
}

scaletwin_core::keys! {
    /// The flags of the VPA's updater.
    #[derive(Debug, Clone)]
    pub struct UpdaterSpec {
        /// `--min-replicas`: with fewer pods none is evicted. `minReplicas` of a manifest goes before it.
        pub min_replicas: u16 = 2,
        /// `--eviction-tolerance`: the share of the replicas that may be missing, 0 to 1.
        pub eviction_tolerance: Share = Share::new(0.5).expect("a half is a share"),
        /// `--pod-update-threshold`: the change, as a share of the requests and summed over the resources, below which a pod
        /// within the recommended range stays.
        pub update_threshold: NonNegative = NonNegative(0.1),
        /// `--in-recommendation-bounds-eviction-lifetime-threshold`: the age from which a pod within the range may go at all.
        pub lifetime: Span = Span::from_secs(12 * 3_600),
    }
}

impl Default for UpdaterSpec {
    fn default() -> UpdaterSpec {
        UpdaterSpec {
            min_replicas: 2,
            eviction_tolerance: Share::new(0.5).expect("a half is a share"),
            update_threshold: NonNegative(0.1),
            lifetime: UpdaterSettings::default().lifetime,
        }
    }
}

impl UpdaterSpec {
    /// The flags that decisions depend on.
    #[must_use]
    pub fn settings(&self) -> UpdaterSettings {
        UpdaterSettings {
            min_replicas: usize::from(self.min_replicas),
            eviction_tolerance: self.eviction_tolerance.get(),
            update_threshold: self.update_threshold.0,
            lifetime: self.lifetime,
        }
    }
}

scaletwin_core::keys! {
    /// The VerticalPodAutoscaler: its recommender, and with it its updater and its admission controller where `apply` asks
    /// for them. By a manifest as people run it, or by our own keys.
    #[derive(Debug, Clone)]
    pub struct VpaSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// A file with a VerticalPodAutoscaler of `autoscaling.k8s.io/v1`. Our own keys `apply`, `min_allowed` and
        /// `max_allowed` are not used then.
        pub manifest: Option<At<String>> = None,
        /// Fields of the manifest that would matter and are not modelled, by path: the run goes on without them.
        pub waive: Vec<String> = Vec::new(),
        /// The container. Default: the only one.
        pub container: Option<At<String>> = None,
        /// What is done with a recommendation. Default: off.
        pub apply: Option<At<UpdateMode>> = None,
        /// `--recommender-interval`: from one look to the next. The updater looks at the same instants.
        pub period: Period = Period(Span::from_secs(60)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
        /// `minAllowed`: never less.
        pub min_allowed: Option<At<AllowedSpec>> = None,
        /// `maxAllowed`: never more.
        pub max_allowed: Option<At<AllowedSpec>> = None,
        /// The flags of the updater.
        pub updater: UpdaterSpec = UpdaterSpec::default(),
    }
}

/// What a VPA does with one container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VpaSettings {
    /// The container.
    pub container: String,
    /// What its recommendations keep to.
    pub allowed: Allowed,
    /// The resources that are recommended.
    pub controlled: Controlled,
    /// What is done with a recommendation.
    pub mode: UpdateMode,
    /// When pods are evicted for it.
    pub updater: UpdaterSettings,
}

/// What a recommendation keeps to, in milli-cores and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// At least so much.
    pub min: Resources,
    /// At most so much.
    pub max: Resources,
}

/// `controlledResources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Controlled {
    /// CPU.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
}

impl Controlled {
    /// CPU and memory, the API's default.
    pub const BOTH: Controlled = Controlled { cpu: true, memory: true };

    /// Those that are.
    pub fn resources(self) -> impl Iterator<Item = Resource> {
        let of = [(self.cpu, Resource::Cpu), (self.memory, Resource::Memory)];
        of.into_iter().filter(|(is, _)| *is).map(|(_, resource)| resource)
    }
}

impl VpaSpec {
    /// What it does with `container`, by our own keys.
    #[must_use]
    pub fn settings(&self, container: String) -> VpaSettings {
        VpaSettings {
            container,
            allowed: Allowed::of(
                self.min_allowed.as_ref().map(|at| &at.value),
                self.max_allowed.as_ref().map(|at| &at.value),
            ),
            controlled: Controlled::BOTH,
            mode: self.apply.as_ref().map_or(UpdateMode::Off, |mode| mode.value),
            updater: self.updater.settings(),
        }
    }

    /// Refuses our own keys beside a manifest.
    pub fn refuse_own_keys(&self, problems: &mut Problems) {
        let own = [
            self.apply.as_ref().map(|at| &at.place),
            self.min_allowed.as_ref().map(|at| &at.place),
            self.max_allowed.as_ref().map(|at| &at.place),
        ];
        refuse_beside(own, problems);
    }
}

impl Allowed {
    /// What is written of it; the rest is free.
    #[must_use]
    pub fn of(min: Option<&AllowedSpec>, max: Option<&AllowedSpec>) -> Allowed {
        let of = |spec: Option<&AllowedSpec>, none: i64| {
            let cpu = spec.and_then(|spec| spec.cpu.as_ref()).map(|cpu| cpu.milli_value());
            let memory = spec.and_then(|spec| spec.memory.as_ref()).map(|memory| memory.value.value());
            Resources { cpu_milli: cpu.unwrap_or(none), memory_bytes: memory.unwrap_or(none) }
        };
        Allowed { min: of(min, 0), max: of(max, i64::MAX) }
    }

    /// Whether nothing can keep to it.
    #[must_use]
    pub const fn is_crossed(&self) -> bool {
        self.min.cpu_milli > self.max.cpu_milli || self.min.memory_bytes > self.max.memory_bytes
    }

    /// The recommendation within it.
    #[must_use]
    pub fn cap(&self, of: &Recommendation) -> Recommendation {
        let cap = |of: Resources| Resources {
            cpu_milli: of.cpu_milli.max(self.min.cpu_milli).min(self.max.cpu_milli),
            memory_bytes: of.memory_bytes.max(self.min.memory_bytes).min(self.max.memory_bytes),
        };
        Recommendation { lower: cap(of.lower), target: cap(of.target), upper: cap(of.upper) }
    }
}

//! The flags of the Cluster Autoscaler, as our own keys and as checked settings.

use std::collections::BTreeMap;

use regex::Regex;
use scaletwin_core::input::{At, Count, NonNegative, Period, Place, Problem, Problems, Read};
use scaletwin_core::units::{Share, Span};
use serde::Serialize;

use super::backoff::BackoffSettings;
use super::expander::{Chain, ExpanderName, Priorities};
use super::limits::{Bounds, Limits};

scaletwin_core::keys! {
    /// The Cluster Autoscaler of Kubernetes on one cluster; its node groups are the node pools of the scenario.
    #[derive(Debug, Clone)]
    pub struct ClusterAutoscalerSpec {
        /// The cluster. Default: the only one.
        pub cluster: Option<At<String>> = None,
        /// Its flags.
        pub flags: Option<At<FlagsSpec>> = None,
        /// A file with the Deployment that runs it: the flags are those of its container. A ConfigMap
        /// `cluster-autoscaler-priority-expander` beside it is read as well.
        pub manifest: Option<At<String>> = None,
        /// Flags of the manifest that would matter and are not modelled, such as `--force-ds`: the run goes on without
        /// them.
        pub waive: Vec<String> = Vec::new(),
        /// The first loop, after the start of the run. Default: drawn from the seed, below the scan interval.
        pub offset: Option<Span> = None,
        /// How long a loop takes, which is how soon the next one can follow. No flag: an assumption.
        pub loop_duration: Period = Period(Span::from_secs(1)),
    }
}

scaletwin_core::keys! {
    /// The flags of the Cluster Autoscaler, with underscores.
    #[derive(Debug, Clone)]
    pub struct FlagsSpec {
        /// From one loop to the next.
        pub scan_interval: Period = Period(Span::from_secs(10)),
        /// Whether a loop that did something, or a new pod without a node, is followed by the next loop at once.
        pub frequent_loops_enabled: bool = true,
        /// Rules to choose among node groups, separated by commas, each among what the one before leaves: least-waste,
        /// most-pods, least-nodes, price, priority, random.
        pub expander: At<String> = "least-waste".to_owned(),
        /// Tiers of the priority expander: lists of expressions for names of node pools by number, highest first.
        pub priorities: At<BTreeMap<String, Vec<String>>> = BTreeMap::new(),
        /// How old a pod has to be to count.
        pub new_pod_scale_up_delay: Span = Span::ZERO,
        /// The most nodes that one loop adds; 0: any number.
        pub max_nodes_per_scaleup: u32 = 1_000,
        /// The most nodes of the cluster; 0: any number.
        pub max_nodes_total: u32 = 0,
        /// The fewest and the most cores of the cluster, min:max.
        pub cores_total: At<String> = "0:320000".to_owned(),
        /// The fewest and the most GiB of memory of the cluster, min:max.
        pub memory_total: At<String> = "0:6400000".to_owned(),
        /// The fewest and the most GPUs of the cluster, type:min:max. Default: any number.
        pub gpu_total: Option<At<String>> = None,
        /// Whether new nodes are spread over groups that differ only in their zone.
        pub balance_similar_node_groups: bool = false,
        /// How long a node may take to be ready before it is given up.
        pub max_node_provision_time: Span = Span::from_secs(900),
        /// How long a group is left alone after a failed launch.
        pub initial_node_group_backoff_duration: Span = Span::from_secs(300),
        /// How long at most.
        pub max_node_group_backoff_duration: Span = Span::from_secs(1_800),
        /// Without a failure for so long, it begins anew.
        pub node_group_backoff_reset_timeout: Span = Span::from_secs(10_800),
        /// Whether nodes are removed at all.
        pub scale_down_enabled: bool = true,
        /// With more nodes than this that do not answer, and more of all than the next flag says, nothing is done.
        pub ok_total_unready_count: u32 = 3,
        /// In percent.
        pub max_total_unready_percentage: u32 = 45,
        /// How long after nodes were added none is removed.
        pub scale_down_delay_after_add: Span = Span::from_secs(600),
        /// How long after nodes were removed no more are.
        pub scale_down_delay_after_delete: Span = Span::ZERO,
        /// How long a node is unneeded before it is removed.
        pub scale_down_unneeded_time: Span = Span::from_secs(600),
        /// The same of a node that does not answer.
        pub scale_down_unready_time: Span = Span::from_secs(1_200),
        /// The share of a node that may be requested for it to be unneeded, included.
        pub scale_down_utilization_threshold: Share = Share::new(0.5).expect("a half is a share"),
        /// The same for GPUs of a node that has some.
        pub scale_down_gpu_utilization_threshold: Share = Share::new(0.5).expect("a half is a share"),
        /// The most nodes with pods that one loop finds unneeded; 0: any number.
        pub scale_down_non_empty_candidates_count: u32 = 30,
        /// The share of all nodes that one loop looks at besides those unneeded before.
        pub scale_down_candidates_pool_ratio: NonNegative = NonNegative(0.1),
        /// At least so many.
        pub scale_down_candidates_pool_min_count: u32 = 50,
        /// How long a node that could not be emptied is not looked at again.
        pub unremovable_node_recheck_timeout: Span = Span::from_secs(300),
        /// The most nodes that go at once.
        pub max_scale_down_parallelism: Count = Count(10),
        /// The most of them with pods.
        pub max_drain_parallelism: Count = Count(1),
        /// How many seconds a drained node may take to lose its pods.
        pub max_graceful_termination_sec: u32 = 600,
        /// How long a node takes no pods before it is deleted.
        pub node_delete_delay_after_taint: Span = Span::from_secs(5),
    }
}

/// The flags that decisions depend on, checked.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "each is the flag of its name")]
pub struct CaSettings {
    pub scan_interval: Span,
    pub frequent_loops_enabled: bool,
    pub chain: Chain,
    pub new_pod_scale_up_delay: Span,
    pub max_nodes_per_scaleup: u32,
    pub limits: Limits,
    pub balance_similar_node_groups: bool,
    pub max_node_provision_time: Span,
    pub backoff: BackoffSettings,
    pub scale_down_enabled: bool,
    /// With more nodes than this that do not answer, and more of all than the next says, nothing is done.
    pub ok_total_unready_count: u32,
    /// In percent.
    pub max_total_unready_percentage: u32,
    pub scale_down_delay_after_add: Span,
    pub scale_down_delay_after_delete: Span,
    pub scale_down_unneeded_time: Span,
    pub scale_down_unready_time: Span,
    pub scale_down_utilization_threshold: f64,
    pub scale_down_gpu_utilization_threshold: f64,
    pub scale_down_non_empty_candidates_count: u32,
    pub scale_down_candidates_pool_ratio: f64,
    pub scale_down_candidates_pool_min_count: u32,
    pub unremovable_node_recheck_timeout: Span,
    pub max_scale_down_parallelism: u32,
    pub max_drain_parallelism: u32,
    pub max_graceful_termination: Span,
    pub node_delete_delay_after_taint: Span,
}

impl FlagsSpec {
    /// The flags that nobody wrote.
    ///
    /// # Panics
    /// Never: all of them have defaults.
    #[must_use]
    pub fn defaults() -> FlagsSpec {
        let nothing = scaletwin_core::input::Node {
            value: scaletwin_core::input::Value::Null,
            place: Place::nowhere(),
        };
        FlagsSpec::read(&nothing, &mut Problems::default()).expect("all flags have defaults")
    }

    /// The settings, unless something is wrong with them.
    pub fn check(&self, problems: &mut Problems) -> Option<CaSettings> {
        let chain = self.chain(problems);
        let cores = bounds(&self.cores_total, 2, 1_000, problems);
        let memory = bounds(&self.memory_total, 2, 1 << 30, problems);
        let gpus = match &self.gpu_total {
            Some(written) => bounds(written, 3, 1_000, problems),
            None => Some(Bounds { min: 0, max: i64::MAX }),
        };
        Some(CaSettings {
            scan_interval: self.scan_interval.0,
            frequent_loops_enabled: self.frequent_loops_enabled,
            chain: chain?,
            new_pod_scale_up_delay: self.new_pod_scale_up_delay,
            max_nodes_per_scaleup: self.max_nodes_per_scaleup,
            limits: Limits {
                max_nodes_total: self.max_nodes_total,
                cpu_milli: cores?,
                memory_bytes: memory?,
                gpu_milli: gpus?,
            },
            balance_similar_node_groups: self.balance_similar_node_groups,
            max_node_provision_time: self.max_node_provision_time,
            backoff: BackoffSettings {
                initial: self.initial_node_group_backoff_duration,
                max: self.max_node_group_backoff_duration,
                reset: self.node_group_backoff_reset_timeout,
            },
            scale_down_enabled: self.scale_down_enabled,
            ok_total_unready_count: self.ok_total_unready_count,
            max_total_unready_percentage: self.max_total_unready_percentage,
            scale_down_delay_after_add: self.scale_down_delay_after_add,
            scale_down_delay_after_delete: self.scale_down_delay_after_delete,
            scale_down_unneeded_time: self.scale_down_unneeded_time,
            scale_down_unready_time: self.scale_down_unready_time,
            scale_down_utilization_threshold: self.scale_down_utilization_threshold.get(),
            scale_down_gpu_utilization_threshold: self.scale_down_gpu_utilization_threshold.get(),
            scale_down_non_empty_candidates_count: self.scale_down_non_empty_candidates_count,
            scale_down_candidates_pool_ratio: self.scale_down_candidates_pool_ratio.0,
            scale_down_candidates_pool_min_count: self.scale_down_candidates_pool_min_count,
            unremovable_node_recheck_timeout: self.unremovable_node_recheck_timeout,
            max_scale_down_parallelism: self.max_scale_down_parallelism.0,
            max_drain_parallelism: self.max_drain_parallelism.0,
            max_graceful_termination: Span::from_secs(u64::from(self.max_graceful_termination_sec)),
            node_delete_delay_after_taint: self.node_delete_delay_after_taint,
        })
    }

    fn chain(&self, problems: &mut Problems) -> Option<Chain> {
        let place = &self.expander.place;
        let names = self.expander.split(',').map(|name| {
            let value = scaletwin_core::input::Value::Text(name.trim().to_owned());
            ExpanderName::read(&scaletwin_core::input::Node { value, place: place.clone() }, problems)
        });
        let names: Vec<Option<ExpanderName>> = names.collect();
        let priorities = priorities(&self.priorities, problems);
        let expanders: Option<Vec<ExpanderName>> = names.into_iter().collect();
        let (expanders, priorities) = (expanders?, priorities?);
        if expanders.contains(&ExpanderName::Priority) && priorities.0.is_empty() {
            let problem = Problem::error(place, "the priority expander has no priorities");
            problems.push(problem.hint("add priorities: {10: [\".*\"]}, or the ConfigMap to the manifest"));
            return None;
        }
        Some(Chain { expanders, priorities })
    }
}

/// `min:max`, or `type:min:max` of three parts, in units of `unit`.
fn bounds(written: &At<String>, parts: usize, unit: i64, problems: &mut Problems) -> Option<Bounds> {
    let list: Vec<&str> = written.split(':').collect();
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    let found = match list.as_slice() {
        [.., min, max] if list.len() == parts => number(min).zip(number(max)).filter(|(min, max)| min <= max),
        _ => None,
    };
    if found.is_none() {
        let form = if parts == 3 { "type:min:max" } else { "min:max" };
        problems.error(
            &written.place,
            format!("expected {form} with min at most max, found {:?}", written.value),
        );
    }
    found.map(|(min, max)| Bounds { min: min.saturating_mul(unit), max: max.saturating_mul(unit) })
}

fn priorities(written: &At<BTreeMap<String, Vec<String>>>, problems: &mut Problems) -> Option<Priorities> {
    let before = problems.len();
    let mut tiers = BTreeMap::new();
    for (tier, texts) in &written.value {
        let Ok(number) = tier.parse::<i64>() else {
            problems.error(&written.place, format!("expected a number for a tier, found {tier:?}"));
            continue;
        };
        let mut list = Vec::new();
        for text in texts {
            match Regex::new(text) {
                Ok(expression) => list.push(expression),
                Err(error) => problems.error(&written.place, format!("{text:?} is no expression: {error}")),
            }
        }
        tiers.insert(number, list);
    }
    (problems.len() == before).then_some(Priorities(tiers))
}

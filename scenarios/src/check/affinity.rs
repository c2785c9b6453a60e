//! What replicas want of the nodes and replicas around them.

use scaletwin_core::control::{AffinityTerm, PodTerms, SpreadTerm, TargetName, TopologyKey};
use scaletwin_core::input::{At, Count, Place, Problem, Problems, suggestion};
use scaletwin_sim::cluster::preferences::Preferences;

use super::scheduling::{check_labels, has_labels, tolerates};
use crate::spec::ScenarioSpec;
use crate::spec::cluster::{ClusterSpec, NodePoolSpec};
use crate::spec::scheduling::{Effect, SpreadSpec, Unsatisfiable};
use crate::spec::service::DeploymentSpec;

/// The largest weight that Kubernetes takes.
const MOST: u32 = 100;

/// All deployments as written, in the order of their places.
pub(super) struct Others<'a>(Vec<(String, &'a DeploymentSpec)>);

impl<'a> Others<'a> {
    pub(super) fn of(spec: &'a ScenarioSpec) -> Others<'a> {
        let services = spec.services.value.iter();
        let deployments = services.flat_map(|service| {
            let name = &service.name.value;
            let deployments = service.deployments.value.iter();
            deployments.map(move |written| (format!("{name}/{}", written.name.value), &written.value))
        });
        Others(deployments.collect())
    }

    /// The place of a deployment: one that is named in full, or by its name within its service; without a name `own`.
    fn find(&self, name: Option<&At<String>>, own: usize, problems: &mut Problems) -> Option<usize> {
        let Some(name) = name else { return Some(own) };
        let service = self.0[own].0.split('/').next().unwrap_or_default();
        let near = format!("{service}/{}", name.value);
        let found = self.0.iter().position(|(known, _)| *known == name.value || *known == near);
        let Some(found) = found else {
            let known: Vec<&str> = self.0.iter().map(|(known, _)| known.as_str()).collect();
            let problem = Problem::error(&name.place, format!("unknown deployment {:?}", name.value));
            problems.push(problem.hint(suggestion(&name.value, &known).unwrap_or_default()));
            return None;
        };
        let cluster = |place: usize| self.0[place].1.cluster.as_ref().map(|cluster| &cluster.value);
        if cluster(found) != cluster(own) && cluster(found).is_some() && cluster(own).is_some() {
            problems.error(&name.place, format!("{} is in another cluster", self.0[found].0));
        }
        Some(found)
    }
}

/// What the replicas of the deployment at `own` want of others, and would rather have.
pub(super) fn affinity(
    spec: &At<DeploymentSpec>,
    own: usize,
    others: &Others<'_>,
    cluster: Option<&At<ClusterSpec>>,
    problems: &mut Problems,
) -> (PodTerms, Preferences) {
    let mut terms = PodTerms::none(TargetName::new(others.0[own].0.as_str()));
    let mut preferences = Preferences::default();
    let Some(cluster) = cluster else { return (terms, preferences) };
    let written = &spec.affinity;
    let find = |name: &Option<At<String>>, key: TopologyKey, problems: &mut Problems| {
        Some(AffinityTerm { with: others.find(name.as_ref(), own, problems)?, key })
    };
    for term in &written.pod_affinity.required {
        terms.affinity.extend(find(&term.deployment, term.topology_key, problems));
        if terms.affinity.iter().any(|other| other.with != terms.affinity[0].with) {
            let problem = Problem::error(&term.place, "these terms want pods of two deployments at once");
            problems
                .push(problem.hint("Kubernetes wants one pod that all required terms are about: name one"));
        }
    }
    for term in &written.pod_anti_affinity.required {
        terms.anti_affinity.extend(find(&term.deployment, term.topology_key, problems));
    }
    for (list, sign) in [(&written.pod_affinity.preferred, 1), (&written.pod_anti_affinity.preferred, -1)] {
        for term in list {
            let weight = sign * weight(&term.weight, problems);
            let found = find(&term.deployment, term.topology_key, problems);
            preferences.pods.extend(found.map(|found| (found, weight)));
        }
    }
    let pools = &cluster.node_pools.value;
    for spread in &spec.topology_spread_constraints {
        match spread.when_unsatisfiable {
            Unsatisfiable::DoNotSchedule => terms.spread.push(self::spread(spread, spec, pools)),
            Unsatisfiable::ScheduleAnyway => preferences.spread.push(self::spread(spread, spec, pools)),
        }
    }
    preferences.pools = preferred_pools(spec, pools, problems);
    preferences.tainted = tainted(spec, pools);
    (terms, preferences)
}

/// Whether something is written that needs nodes.
pub(super) fn is_written(spec: &DeploymentSpec) -> bool {
    let written = &spec.affinity;
    let pods = [&written.pod_affinity, &written.pod_anti_affinity];
    !written.node_affinity.preferred.is_empty()
        || !spec.topology_spread_constraints.is_empty()
        || pods.iter().any(|pods| !pods.required.is_empty() || !pods.preferred.is_empty())
}

fn weight(written: &At<Count>, problems: &mut Problems) -> i64 {
    check_weight(written.value, &written.place, problems);
    i64::from(written.value.0)
}

fn check_weight(weight: Count, place: &Place, problems: &mut Problems) {
    if weight.0 > MOST {
        problems.error(place, "a weight is from 1 to 100");
    }
}

fn spread(written: &SpreadSpec, spec: &DeploymentSpec, pools: &[At<NodePoolSpec>]) -> SpreadTerm {
    let named =
        |pool: &NodePoolSpec| spec.node_pool.as_ref().is_none_or(|name| name.value == pool.name.value);
    let counts = |pool: &&At<NodePoolSpec>| has_labels(pool, &spec.node_selector) && named(pool);
    let outside = pools.iter().filter(|pool| !counts(pool)).map(|pool| pool.name.value.clone()).collect();
    SpreadTerm { max_skew: written.max_skew.0, key: written.topology_key, outside }
}

/// The weights of the labels that pools have of those that are preferred.
fn preferred_pools(
    spec: &DeploymentSpec,
    pools: &[At<NodePoolSpec>],
    problems: &mut Problems,
) -> Vec<(String, i64)> {
    let terms = &spec.affinity.node_affinity.preferred;
    for term in terms {
        check_labels(&term.match_labels, pools, problems);
        check_weight(term.weight.value, &term.weight.place, problems);
    }
    let weight = |pool: &NodePoolSpec| -> i64 {
        let has = terms.iter().filter(|term| has_labels(pool, &term.match_labels));
        has.map(|term| i64::from(term.weight.value.0)).sum()
    };
    let weights = pools.iter().map(|pool| (pool.name.value.clone(), weight(pool)));
    weights.filter(|(_, weight)| *weight > 0).collect()
}

/// How many taints of each pool keep its pods away, if there is a better node.
fn tainted(spec: &DeploymentSpec, pools: &[At<NodePoolSpec>]) -> Vec<(String, i64)> {
    let soft = |pool: &NodePoolSpec| {
        let taints = pool.taints.iter().filter(|taint| taint.effect == Effect::PreferNoSchedule);
        i64::try_from(taints.filter(|taint| !tolerates(spec, taint)).count()).unwrap_or(i64::MAX)
    };
    let taints = pools.iter().map(|pool| (pool.name.value.clone(), soft(pool)));
    taints.filter(|(_, taints)| *taints > 0).collect()
}

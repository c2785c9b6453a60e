//! Guards over all targets of a scenario.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::control::{Guard, Resources, TargetName};
use scaletwin_core::input::{At, Problem, Problems};
use scaletwin_policies::guard::GuardSpec;
use scaletwin_policies::guard::budget::{Budget, BudgetGuard};
use scaletwin_policies::guard::freeze::{Freeze, FreezeGuard};
use scaletwin_policies::guard::limits::{Limits, LimitsGuard};
use scaletwin_policies::guard::rate::{Rate, RateGuard};
use serde::Serialize;

use super::{Seen, target};

/// A guard with what it guards.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Checked {
    targets: Vec<TargetName>,
    guard: Which,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    Limits(Limits, Vec<Resources>),
    Rate(Rate),
    Freeze(Freeze),
    Budget { budget: Budget, except: Vec<TargetName>, services: Vec<String> },
}

impl Checked {
    pub(super) fn guard(&self) -> Box<dyn Guard> {
        let targets = self.targets.clone();
        match &self.guard {
            Which::Limits(limits, each) => {
                let each: BTreeMap<_, _> = targets.into_iter().zip(each.iter().copied()).collect();
                Box::new(LimitsGuard::new(*limits, each))
            }
            Which::Rate(rate) => Box::new(RateGuard::new(*rate, targets)),
            Which::Freeze(freeze) => Box::new(FreezeGuard::new(freeze.clone(), targets)),
            Which::Budget { budget, except, services } => {
                Box::new(BudgetGuard::new(budget.clone(), targets, except.iter().cloned(), services.clone()))
            }
        }
    }
}

pub(super) fn guards(written: &[At<GuardSpec>], seen: &Seen<'_>, problems: &mut Problems) -> Vec<Checked> {
    written.iter().filter_map(|guard| one(guard, seen, problems)).collect()
}

fn one(written: &At<GuardSpec>, seen: &Seen<'_>, problems: &mut Problems) -> Option<Checked> {
    let settings = || seen.deployments.iter().map(|model| &model.settings);
    let guard = match &written.value {
        GuardSpec::Limits(spec) => Which::Limits(spec.limits(), settings().map(|of| of.requests).collect()),
        GuardSpec::Rate(spec) => Which::Rate(spec.rate()),
        GuardSpec::Freeze(spec) => Which::Freeze(spec.check(problems)?),
        GuardSpec::Budget(spec) => {
            let unpriced = seen.clusters.iter().flat_map(|cluster| &cluster.pools);
            let mut unpriced =
                unpriced.filter(|pool| pool.terms.usd_per_hour.is_none()).map(|pool| &*pool.name);
            if let Some(pool) = unpriced.next() {
                let message = format!("the nodes of pool {pool} have no price, so that a budget misses them");
                problems.push(Problem::error(&written.place, message).hint("add a price to the pool"));
            }
            let except = spec.except.iter().filter_map(|name| target(name, seen, problems)).collect();
            let services: BTreeSet<String> =
                settings().filter_map(|of| of.target.as_str().split('/').next().map(str::to_owned)).collect();
            Which::Budget { budget: spec.check(problems)?, except, services: services.into_iter().collect() }
        }
    };
    Some(Checked { targets: settings().map(|of| of.target.clone()).collect(), guard })
}

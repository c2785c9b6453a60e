//! What may be spent in a period, with stages on the way there.
//!
//! The guard looks whenever a controller is due, and takes the price of the nodes that it saw last for the time since. It
//! does not see bills, only prices: minimum billing times and discounts are not in its sum.

use std::collections::BTreeSet;

use scaletwin_core::control::{
    Action, Admission, Decision, Guard, Observation, Scope, State, StateMismatch, TargetName,
};
use scaletwin_core::input::{At, Period, Positive, Problems};
use scaletwin_core::units::exact::Exact;
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::{reason, target_of};

scaletwin_core::keys! {
    /// What may be spent on nodes in a period, with stages on the way there. At the end of the period all begins anew.
    #[derive(Debug, Clone)]
    pub struct BudgetSpec {
        /// US dollars in each period.
        pub usd: At<Positive>,
        /// The period, from the start of the run on.
        pub per: Period = Period(Span::from_secs(86_400)),
        /// What happens at which share of it.
        pub stages: At<Vec<StageSpec>>,
        /// Targets that no stage holds back, `service/deployment`.
        pub except: Vec<At<String>> = Vec::new(),
        /// Where a stage sheds: the least urgent priority that is still taken (lower is more urgent).
        pub keep_priority: i32 = 0i32,
    }
}

scaletwin_core::keys! {
    /// A stage of a budget.
    #[derive(Debug, Clone)]
    pub struct StageSpec {
        /// From this share of the budget on, such as 0.8.
        pub at: At<Positive>,
        /// What happens.
        pub r#do: Measure,
    }
}

scaletwin_core::names! {
    /// What a stage of a budget does.
    pub enum Measure {
        /// It says so, once.
        Notify = "notify",
        /// Nothing is added without an approval, which nobody gives in a rehearsal.
        RequireApproval = "require-approval",
        /// Services take urgent requests only.
        Shed = "shed",
        /// Services take no requests, and nothing is added.
        Stop = "stop",
    }
}

/// A budget, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    usd: f64,
    per: Span,
    /// Shares with what they do, the lowest first.
    stages: Vec<(f64, Measure)>,
    keep_priority: i32,
}

impl BudgetSpec {
    /// The budget. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<Budget> {
        if self.stages.value.is_empty() {
            problems.error(&self.stages.place, "at least one stage is needed");
            return None;
        }
        let mut stages: Vec<_> = self.stages.value.iter().map(|stage| (stage.at.0, stage.r#do)).collect();
        stages.sort_by(|one, other| one.0.total_cmp(&other.0));
        Some(Budget { usd: self.usd.0, per: self.per.0, stages, keep_priority: self.keep_priority })
    }
}

/// A budget over the nodes of all clusters.
#[derive(Debug, Clone)]
pub struct BudgetGuard {
    budget: Budget,
    targets: Vec<TargetName>,
    except: BTreeSet<TargetName>,
    services: Vec<String>,
    state: Spending,
}

/// What has been spent in the present period.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Spending {
    period: u64,
    usd: f64,
    /// The last look, and what the nodes cost per hour then.
    last: Option<(Time, f64)>,
    /// How many stages have been said.
    said: usize,
    /// Whether services are kept from taking requests.
    admission: Option<Admission>,
}

impl BudgetGuard {
    /// This budget over these targets, but for the exceptions, and over these services.
    #[must_use]
    pub fn new(
        budget: Budget,
        targets: Vec<TargetName>,
        except: impl IntoIterator<Item = TargetName>,
        services: Vec<String>,
    ) -> BudgetGuard {
        let except = except.into_iter().collect();
        BudgetGuard { budget, targets, except, services, state: Spending::default() }
    }

    /// Adds what the nodes have cost since the last look. A new period begins with nothing spent.
    fn spend(&mut self, seen: &Observation) {
        let price = seen.nodes.iter().flat_map(|view| &view.nodes).filter_map(|node| node.price_usd_per_hour);
        let price: f64 = price.sum();
        let start = Time::ZERO + self.budget.per * (seen.now.as_nanos() / self.budget.per.as_nanos());
        let period = start.as_nanos() / self.budget.per.as_nanos();
        if period != self.state.period {
            let (last, admission) = (self.state.last, self.state.admission);
            self.state = Spending { period, last, admission, ..Spending::default() };
        }
        if let Some((at, before)) = self.state.last {
            let hours = seen.now.since(at.max(start)).as_secs_f64() / 3_600.0;
            self.state.usd += before * hours;
        }
        self.state.last = Some((seen.now, price));
    }

    /// The stages that hold.
    fn holding(&self) -> Vec<Measure> {
        let share = self.state.usd / self.budget.usd;
        self.budget.stages.iter().filter(|(at, _)| share >= *at).map(|(_, measure)| *measure).collect()
    }

    /// Says each stage once.
    fn say(&mut self, holding: &[Measure], wanted: &mut Decision) {
        for measure in holding.iter().skip(self.state.said) {
            let detail = format!("{:.2} of {:.2} USD spent", self.state.usd, self.budget.usd);
            let mut said = reason("budget", None, measure.name(), detail);
            said.figures.insert("spent_usd".to_owned(), Exact(self.state.usd));
            wanted.reasons.push(said);
        }
        self.state.said = self.state.said.max(holding.len());
    }

    /// Drops what would add replicas or nodes.
    fn hold_back(&self, seen: &Observation, wanted: &mut Decision) {
        let adds = |action: &Action| match action {
            Action::SetReplicas { target, replicas } => {
                let now = seen.target(target).map(|view| view.spec_replicas);
                now.is_some_and(|now| *replicas > now) && !self.except.contains(target)
            }
            Action::LaunchNodes(_) | Action::ReplaceNodes { .. } => self.except.is_empty(),
            _ => false,
        };
        let (dropped, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut wanted.actions).into_iter().partition(adds);
        wanted.actions = kept;
        let reasons = dropped.iter().map(|action| {
            reason("budget", target_of(action), "WaitsForApproval", "the budget is used up".to_owned())
        });
        wanted.reasons.extend(reasons);
    }

    /// What services take, set where it changes.
    fn admit(&mut self, holding: &[Measure], wanted: &mut Decision) {
        let admission = if holding.contains(&Measure::Stop) {
            Some(Admission::Stop)
        } else if holding.contains(&Measure::Shed) {
            Some(Admission::Shed { keep_priority: self.budget.keep_priority })
        } else {
            None
        };
        if admission != self.state.admission {
            self.state.admission = admission;
            let admission = admission.unwrap_or(Admission::Admit);
            let set = |service: &String| Action::SetAdmission { service: service.clone(), admission };
            wanted.actions.extend(self.services.iter().map(set));
        }
    }
}

impl Guard for BudgetGuard {
    fn scope(&self) -> Scope {
        Scope { targets: self.targets.clone(), nodes: true, ..Scope::default() }
    }

    fn review(&mut self, seen: &Observation, mut wanted: Decision) -> Decision {
        self.spend(seen);
        let holding = self.holding();
        self.say(&holding, &mut wanted);
        if holding.iter().any(|measure| matches!(measure, Measure::RequireApproval | Measure::Stop)) {
            self.hold_back(seen, &mut wanted);
        }
        self.admit(&holding, &mut wanted);
        wanted
    }

    fn save(&self) -> State {
        State::of("budget", 1, &self.state)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.state = state.read("budget", 1)?;
        Ok(())
    }
}

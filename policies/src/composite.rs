//! Several policies on one target as one: the largest of what they want, the smallest, or a primary with a fallback.

use scaletwin_core::control::{
    Action, Aspect, Decision, Needs, Observation, Policy, Reason, Schedule, Scope, State, StateMismatch,
    TargetName,
};
use scaletwin_core::input::{At, Count, Period};
use scaletwin_core::units::Span;
use serde::{Deserialize, Serialize};

use crate::registry::PolicySpec;

scaletwin_core::names! {
    /// What counts of what several policies want.
    pub enum Combine {
        /// The most replicas.
        Largest = "largest",
        /// The fewest replicas.
        Smallest = "smallest",
        /// What the first wants; what the second wants while the first fails.
        PrimaryWithFallback = "primary-with-fallback",
    }
}

scaletwin_core::keys! {
    /// Several policies on one target as one. All look at the same instants; who wants no change wants the present number.
    #[derive(Debug, Clone)]
    pub struct CompositeSpec {
        /// What counts of what they want.
        pub combine: Combine,
        /// The policies, as under `controllers`, all on the same target; of KEDA or another composite there is none among
        /// them. Their own periods are not used.
        pub of: At<Vec<At<Inner>>>,
        /// How often in a row the primary has to fail before the fallback takes over.
        pub failures: Count = Count(1),
        /// From one look to the next.
        pub period: Period = Period(Span::from_secs(15)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
    }
}

/// A policy among several. Its reference is that of `controllers`.
#[derive(Debug, Clone)]
pub struct Inner(pub Box<PolicySpec>);

impl scaletwin_core::input::Read for Inner {
    fn read(
        node: &scaletwin_core::input::Node,
        problems: &mut scaletwin_core::input::Problems,
    ) -> Option<Inner> {
        PolicySpec::read(node, problems).map(|spec| Inner(Box::new(spec)))
    }

    /// Without the shape of policies: a composite would hold its own.
    fn shape() -> scaletwin_core::input::Shape {
        scaletwin_core::input::Shape::new(
            "a map with kind:, as under controllers",
            serde_json::json!({"type": "object", "required": ["kind"]}),
        )
    }
}

/// Several policies on one target.
pub struct Composite {
    target: TargetName,
    combine: Combine,
    failures: u32,
    schedule: Schedule,
    parts: Vec<Box<dyn Policy>>,
    /// How often in a row the primary has failed.
    failed: u32,
}

/// The state of all parts.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    parts: Vec<State>,
    failed: u32,
}

impl Composite {
    /// These policies on `target`, all asked at these times.
    #[must_use]
    pub fn new(
        target: TargetName,
        combine: Combine,
        failures: u32,
        schedule: Schedule,
        parts: Vec<Box<dyn Policy>>,
    ) -> Composite {
        Composite { target, combine, failures, schedule, parts, failed: 0 }
    }

    /// The replicas that count of what the parts want.
    fn combined(&mut self, current: i32, decisions: &[Decision]) -> i32 {
        let wants = decisions.iter().map(|decision| wish(decision, &self.target).unwrap_or(current));
        match self.combine {
            Combine::Largest => wants.max().unwrap_or(current),
            Combine::Smallest => wants.min().unwrap_or(current),
            Combine::PrimaryWithFallback => {
                let fails = decisions.first().is_some_and(failed);
                self.failed = if fails { self.failed.saturating_add(1) } else { 0 };
                let at = usize::from(self.failed >= self.failures);
                wants.into_iter().nth(at).unwrap_or(current)
            }
        }
    }
}

/// The replicas that a decision sets.
fn wish(decision: &Decision, target: &TargetName) -> Option<i32> {
    decision.actions.iter().rev().find_map(|action| match action {
        Action::SetReplicas { target: of, replicas } if of == target => Some(*replicas),
        _ => None,
    })
}

/// Whether a policy could not do its work: it says so by a code that begins with `Failed`.
fn failed(decision: &Decision) -> bool {
    decision.actions.is_empty() && decision.reasons.iter().any(|reason| reason.code.starts_with("Failed"))
}

impl Policy for Composite {
    fn needs(&self) -> Needs {
        let mut scope = Scope { targets: vec![self.target.clone()], ..Scope::default() };
        let mut pokes = Vec::new();
        for needs in self.parts.iter().map(|part| part.needs()) {
            for query in needs.scope.metrics {
                if !scope.metrics.contains(&query) {
                    scope.metrics.push(query);
                }
            }
            scope.nodes |= needs.scope.nodes;
            for poke in needs.pokes {
                if !pokes.contains(&poke) {
                    pokes.push(poke);
                }
            }
        }
        let writes = vec![Aspect::Replicas(self.target.clone())];
        Needs { scope, schedule: self.schedule, pokes, writes }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let decisions: Vec<Decision> = self.parts.iter_mut().map(|part| part.decide(seen)).collect();
        let Some(current) = seen.target(&self.target).map(|view| view.spec_replicas) else {
            return Decision::nothing(Reason { code: "FailedGetScale".into(), ..Reason::default() });
        };
        let replicas = self.combined(current, &decisions);
        let action = Action::SetReplicas { target: self.target.clone(), replicas };
        let taken_over = self.combine == Combine::PrimaryWithFallback && self.failed >= self.failures;
        let own = Reason {
            target: Some(self.target.clone()),
            subject: "composite".into(),
            code: if taken_over { "Fallback" } else { self.combine.name() }.into(),
            ..Reason::default()
        };
        let wake_at = decisions.iter().filter_map(|decision| decision.wake_at).min();
        let reasons = decisions.into_iter().flat_map(|decision| decision.reasons);
        Decision {
            actions: (replicas != current).then_some(action).into_iter().collect(),
            reasons: std::iter::once(own).chain(reasons).collect(),
            wake_at,
        }
    }

    fn save(&self) -> State {
        let parts = self.parts.iter().map(|part| part.save()).collect();
        State::of("composite", 1, &Saved { parts, failed: self.failed })
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        let saved: Saved = state.read("composite", 1)?;
        if saved.parts.len() != self.parts.len() {
            return Err(StateMismatch::new("this composite", "the saved one has more or fewer parts"));
        }
        for (part, state) in self.parts.iter_mut().zip(&saved.parts) {
            part.restore(state)?;
        }
        self.failed = saved.failed;
        Ok(())
    }
}

//! A fixed number of replicas.

use scaletwin_core::control::{
    Action, Aspect, Decision, Needs, Observation, Policy, Reason, Schedule, Scope, State, StateMismatch,
    TargetName,
};
use scaletwin_core::input::Count;
use scaletwin_core::units::Span;

scaletwin_core::keys! {
    /// Keeps a target at one number of replicas, whatever happens.
    #[derive(Debug, Clone)]
    pub struct FixedSpec {
        /// The scale target, `service/deployment`.
        pub target: scaletwin_core::input::At<String>,
        /// How many replicas.
        pub replicas: Count,
        /// From when on.
        pub from: Span = Span::ZERO,
    }
}

/// Keeps a target at one number of replicas.
#[derive(Debug, Clone)]
pub struct Fixed {
    target: TargetName,
    replicas: i32,
    schedule: Schedule,
}

impl Fixed {
    /// Keeps `target` at `replicas`, looking at these times.
    #[must_use]
    pub fn new(target: TargetName, replicas: i32, schedule: Schedule) -> Fixed {
        Fixed { target, replicas, schedule }
    }
}

impl Policy for Fixed {
    fn needs(&self) -> Needs {
        Needs {
            scope: Scope { targets: vec![self.target.clone()], ..Scope::default() },
            schedule: self.schedule,
            writes: vec![Aspect::Replicas(self.target.clone())],
            ..Needs::default()
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let spec = seen.target(&self.target).map(|view| view.spec_replicas);
        let wrong = spec.is_some_and(|spec| spec != self.replicas);
        let action = Action::SetReplicas { target: self.target.clone(), replicas: self.replicas };
        let reason = Reason {
            target: Some(self.target.clone()),
            subject: "replicas".into(),
            holds: Some(!wrong),
            code: if wrong { "Corrected" } else { "AsWanted" }.into(),
            ..Reason::default()
        };
        Decision {
            actions: wrong.then_some(action).into_iter().collect(),
            reasons: vec![reason],
            wake_at: None,
        }
    }

    fn save(&self) -> State {
        State::of("static", 1, &())
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        state.read("static", 1)
    }
}

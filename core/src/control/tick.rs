//! One tick of control, the same in simulation and live.

use serde::{Deserialize, Serialize};

use super::{
    Agenda, Applied, Aspect, Cause, Clock, Decision, Guard, InvalidAction, Layering, LayeringError, Needs,
    Plant, Poke, Policy, Scope, State, StateMismatch,
};
use crate::units::Time;

/// A policy at work under a name.
pub struct Controller {
    /// Its name, unique in a run.
    pub name: String,
    /// The policy.
    pub policy: Box<dyn Policy>,
}

/// The controllers and guards of a run, with their agenda.
pub struct Controllers {
    list: Vec<Controller>,
    needs: Vec<Needs>,
    guards: Vec<Box<dyn Guard>>,
    agenda: Agenda,
}

/// What one controller decided in a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Its name.
    pub controller: String,
    /// Why it was asked.
    pub cause: Cause,
    /// What it decided.
    pub decision: Decision,
}

/// What the guards made of the merged actions, if they changed anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guarded {
    /// What was let through.
    pub decision: Decision,
}

/// What happened in a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TickReport {
    /// When.
    pub at: Time,
    /// The decisions, in the order of the controllers.
    pub taken: Vec<Taken>,
    /// What the guards changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded: Option<Guarded>,
    /// What became of the actions.
    pub applied: Applied,
}

/// Why a tick could not be carried out. Nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum TickError<E: std::error::Error + 'static> {
    /// The plant does not answer.
    #[error("the plant does not answer")]
    Plant(#[source] E),
    /// A policy decided something that makes no sense.
    #[error("{controller} decided something that makes no sense")]
    Invalid {
        /// Whose decision.
        controller: String,
        /// What is wrong with it.
        #[source]
        error: InvalidAction,
    },
    /// A policy changed something that it had not declared.
    #[error("{controller} writes {aspect}, which it did not declare")]
    Undeclared {
        /// Whose decision.
        controller: String,
        /// What it changes.
        aspect: Aspect,
    },
    /// A policy asked to be woken at an instant that is not in the future.
    #[error("{controller} asks to be woken at {at}, which is not after {now}")]
    WakeInThePast {
        /// Whose decision.
        controller: String,
        /// The instant that it asked for.
        at: Time,
        /// The present instant.
        now: Time,
    },
}

impl Controllers {
    /// The controllers and guards, after a check of who writes what.
    ///
    /// # Errors
    /// When two controllers write the same and no layering says why.
    pub fn new(
        list: Vec<Controller>,
        guards: Vec<Box<dyn Guard>>,
        layering: &Layering,
    ) -> Result<Controllers, LayeringError> {
        let needs: Vec<Needs> = list.iter().map(|controller| controller.policy.needs()).collect();
        layering.check(list.iter().map(|controller| controller.name.as_str()).zip(&needs))?;
        let mut agenda = Agenda::default();
        for needs in &needs {
            agenda.add(needs);
        }
        Ok(Controllers { list, needs, guards, agenda })
    }

    /// No controllers and no guards.
    #[must_use]
    pub fn none() -> Controllers {
        Controllers { list: Vec::new(), needs: Vec::new(), guards: Vec::new(), agenda: Agenda::default() }
    }

    /// The next instant at which a controller is due.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.agenda.next()
    }

    /// Wakes the controllers that wait for such events; whether there was one.
    pub fn poke(&mut self, poke: &Poke, now: Time) -> bool {
        self.agenda.poke(poke, now)
    }

    /// Lets controllers that join a run at `now` go on without catching up.
    pub fn start_at(&mut self, now: Time) {
        self.agenda.start_at(now);
    }

    /// Whether there is nobody who decides. Guards alone change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What each controller and each guard has to see.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        let of_guards = self.guards.iter().map(|guard| guard.scope());
        self.needs.iter().map(|needs| needs.scope.clone()).chain(of_guards)
    }

    /// Runs the controllers that are due at `now` on `plant`; `None` when nobody is.
    ///
    /// All observe before anything is applied, and everything is checked before anything is applied.
    ///
    /// # Errors
    /// When the plant does not answer, or a decision makes no sense. Nothing was applied then.
    pub fn tick<P: Plant>(
        &mut self,
        now: Time,
        plant: &mut P,
    ) -> Result<Option<TickReport>, TickError<P::Error>>
    where
        P::Error: 'static,
    {
        let due = self.agenda.due(now);
        if due.is_empty() {
            return Ok(None);
        }
        let mut taken = Vec::with_capacity(due.len());
        for (number, cause) in due {
            taken.push(self.ask(number, cause, now, plant)?);
        }
        let mut merged = Decision {
            actions: taken.iter().flat_map(|taken| taken.decision.actions.iter().cloned()).collect(),
            ..Decision::default()
        };
        let guarded = self.guard(&mut merged, plant)?;
        let applied = plant.apply(&merged).map_err(TickError::Plant)?;
        Ok(Some(TickReport { at: now, taken, guarded, applied }))
    }

    fn ask<P: Plant>(
        &mut self,
        number: usize,
        cause: Cause,
        now: Time,
        plant: &mut P,
    ) -> Result<Taken, TickError<P::Error>>
    where
        P::Error: 'static,
    {
        let needs = &self.needs[number];
        let controller = &mut self.list[number];
        let mut seen = plant.observe(&needs.scope).map_err(TickError::Plant)?;
        seen.cause = cause.clone();
        let decision = controller.policy.decide(&seen);
        for action in &decision.actions {
            action
                .check()
                .map_err(|error| TickError::Invalid { controller: controller.name.clone(), error })?;
            if let Some(aspect) = action.aspect().filter(|aspect| !needs.writes.contains(aspect)) {
                return Err(TickError::Undeclared { controller: controller.name.clone(), aspect });
            }
        }
        if let Some(at) = decision.wake_at {
            if at <= now {
                return Err(TickError::WakeInThePast { controller: controller.name.clone(), at, now });
            }
            self.agenda.wake(number, at);
        }
        Ok(Taken { controller: controller.name.clone(), cause, decision })
    }

    fn guard<P: Plant>(
        &mut self,
        merged: &mut Decision,
        plant: &mut P,
    ) -> Result<Option<Guarded>, TickError<P::Error>>
    where
        P::Error: 'static,
    {
        if self.guards.is_empty() {
            return Ok(None);
        }
        let wanted = merged.clone();
        for guard in &mut self.guards {
            let seen = plant.observe(&guard.scope()).map_err(TickError::Plant)?;
            *merged = guard.review(&seen, std::mem::take(merged));
        }
        Ok((*merged != wanted).then(|| Guarded { decision: merged.clone() }))
    }

    /// The state of everybody, for a snapshot.
    #[must_use]
    pub fn save(&self) -> SavedControllers {
        SavedControllers {
            agenda: self.agenda.clone(),
            controllers: self.list.iter().map(|c| (c.name.clone(), c.policy.save())).collect(),
            guards: self.guards.iter().map(|guard| guard.save()).collect(),
        }
    }

    /// Takes up the state of a snapshot.
    ///
    /// # Errors
    /// When it is that of other controllers or guards.
    pub fn restore(&mut self, saved: &SavedControllers) -> Result<(), StateMismatch> {
        if self.list.len() != saved.controllers.len() || self.guards.len() != saved.guards.len() {
            return Err(StateMismatch::new("these controllers", "the saved ones are more or fewer"));
        }
        for (controller, (name, state)) in self.list.iter_mut().zip(&saved.controllers) {
            if controller.name != *name {
                return Err(StateMismatch::new(&controller.name, format!("this is the state of {name}")));
            }
            controller.policy.restore(state)?;
        }
        for (guard, state) in self.guards.iter_mut().zip(&saved.guards) {
            guard.restore(state)?;
        }
        self.agenda = saved.agenda.clone();
        Ok(())
    }
}

/// The state of all controllers and guards of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedControllers {
    /// Who is due when.
    pub agenda: Agenda,
    /// Each controller's name and state.
    pub controllers: Vec<(String, State)>,
    /// Each guard's state.
    pub guards: Vec<State>,
}

/// Runs controllers on a plant until `end`, by a clock: the loop of a live run. Reports go to `report`.
///
/// # Errors
/// The first tick that could not be carried out.
pub fn drive<P: Plant>(
    controllers: &mut Controllers,
    plant: &mut P,
    clock: &mut impl Clock,
    end: Time,
    mut report: impl FnMut(TickReport),
) -> Result<(), TickError<P::Error>>
where
    P::Error: 'static,
{
    while let Some(next) = controllers.next().filter(|next| *next <= end) {
        if let Some(poke) = clock.wait_until(next) {
            controllers.poke(&poke, clock.now());
        }
        if let Some(done) = controllers.tick(clock.now(), plant)? {
            report(done);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Action, Observation, Reason, Schedule, Scope, TargetName, TargetView};
    use crate::units::{Civil, Span};

    /// A plant of one number.
    struct Toy {
        replicas: i32,
        now: Time,
        broken: bool,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no answer from the toy")]
    struct Broken;

    impl Plant for Toy {
        type Error = Broken;

        fn observe(&mut self, scope: &Scope) -> Result<Observation, Broken> {
            if self.broken {
                return Err(Broken);
            }
            let mut seen = Observation::at(self.now, Civil::DEFAULT_START);
            seen.targets = scope
                .targets
                .iter()
                .map(|name| TargetView {
                    name: name.clone(),
                    spec_replicas: self.replicas,
                    status_replicas: self.replicas,
                    ready_replicas: self.replicas,
                    bounds: crate::control::Bounds::default(),
                    pods: Vec::new(),
                })
                .collect();
            Ok(seen)
        }

        fn apply(&mut self, wanted: &Decision) -> Result<Applied, Broken> {
            for action in &wanted.actions {
                if let Action::SetReplicas { replicas, .. } = action {
                    self.replicas = *replicas;
                }
            }
            Ok(Applied { done: wanted.actions.clone(), refused: Vec::new() })
        }
    }

    /// Adds one replica each time.
    struct Grow {
        step: i32,
        declared: bool,
        asked: u32,
    }

    fn target() -> TargetName {
        TargetName::new("a/b")
    }

    impl Policy for Grow {
        fn needs(&self) -> Needs {
            Needs {
                scope: Scope { targets: vec![target()], ..Scope::default() },
                schedule: Schedule::every(Span::from_secs(10)),
                writes: if self.declared { vec![Aspect::Replicas(target())] } else { Vec::new() },
                ..Needs::default()
            }
        }

        fn decide(&mut self, seen: &Observation) -> Decision {
            self.asked += 1;
            let replicas = seen.target(&target()).unwrap().spec_replicas + self.step;
            Decision {
                actions: vec![Action::SetReplicas { target: target(), replicas }],
                ..Decision::default()
            }
        }

        fn save(&self) -> State {
            State::of("grow", 1, &self.asked)
        }

        fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
            self.asked = state.read("grow", 1)?;
            Ok(())
        }
    }

    /// At most five.
    struct Five;

    impl Guard for Five {
        fn scope(&self) -> Scope {
            Scope::default()
        }

        fn review(&mut self, _: &Observation, mut wanted: Decision) -> Decision {
            for action in &mut wanted.actions {
                if let Action::SetReplicas { replicas, .. } = action
                    && *replicas > 5
                {
                    *replicas = 5;
                    wanted.reasons.push(Reason { code: "AtMostFive".into(), ..Reason::default() });
                }
            }
            wanted
        }

        fn save(&self) -> State {
            State::of("five", 1, &())
        }

        fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
            state.read("five", 1)
        }
    }

    fn controllers(grow: Grow, guards: Vec<Box<dyn Guard>>) -> Controllers {
        let list = vec![Controller { name: "grow".into(), policy: Box::new(grow) }];
        Controllers::new(list, guards, &Layering::default()).unwrap()
    }

    fn toy() -> Toy {
        Toy { replicas: 4, now: Time::ZERO, broken: false }
    }

    #[test]
    fn guards_see_the_merged_actions_and_their_changes_are_reported() {
        let mut plant = toy();
        let mut all = controllers(Grow { step: 3, declared: true, asked: 0 }, vec![Box::new(Five)]);
        let report = all.tick(Time::ZERO, &mut plant).unwrap().unwrap();
        assert_eq!(plant.replicas, 5);
        assert_eq!(report.guarded.unwrap().decision.reasons[0].code, "AtMostFive");
        assert!(all.tick(Time::ZERO, &mut plant).unwrap().is_none(), "nobody is due twice");
    }

    #[test]
    fn nothing_is_applied_of_a_decision_that_makes_no_sense() {
        let mut plant = toy();
        let error =
            controllers(Grow { step: -9, declared: true, asked: 0 }, vec![]).tick(Time::ZERO, &mut plant);
        assert!(matches!(error, Err(TickError::Invalid { .. })));
        let error =
            controllers(Grow { step: 1, declared: false, asked: 0 }, vec![]).tick(Time::ZERO, &mut plant);
        assert!(matches!(error, Err(TickError::Undeclared { .. })));
        assert_eq!(plant.replicas, 4);
    }

    #[test]
    fn an_error_keeps_its_origin() {
        let mut plant = Toy { broken: true, ..toy() };
        let error =
            controllers(Grow { step: 1, declared: true, asked: 0 }, vec![]).tick(Time::ZERO, &mut plant);
        let error = error.unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no answer from the toy");
    }

    #[test]
    fn saved_controllers_go_on_where_they_were() {
        let mut plant = toy();
        let mut first = controllers(Grow { step: 1, declared: true, asked: 0 }, vec![Box::new(Five)]);
        first.tick(Time::ZERO, &mut plant).unwrap();
        let text = serde_json::to_string(&first.save()).unwrap();
        let saved: SavedControllers = serde_json::from_str(&text).unwrap();
        let mut second = controllers(Grow { step: 1, declared: true, asked: 0 }, vec![Box::new(Five)]);
        second.restore(&saved).unwrap();
        assert_eq!(second.next(), first.next());
        assert_eq!(second.save(), first.save());
        assert!(controllers(Grow { step: 1, declared: true, asked: 0 }, vec![]).restore(&saved).is_err());
    }

    #[test]
    fn a_clock_drives_the_same_ticks() {
        struct Virtual(Time);
        impl Clock for Virtual {
            fn now(&self) -> Time {
                self.0
            }
            fn wait_until(&mut self, instant: Time) -> Option<Poke> {
                self.0 = instant;
                None
            }
        }
        let mut plant = toy();
        let mut all = controllers(Grow { step: 1, declared: true, asked: 0 }, vec![]);
        let mut ticks = Vec::new();
        let end = Time::ZERO + Span::from_secs(25);
        drive(&mut all, &mut plant, &mut Virtual(Time::ZERO), end, |report| ticks.push(report.at)).unwrap();
        assert_eq!((plant.replicas, ticks.len()), (7, 3));
    }
}

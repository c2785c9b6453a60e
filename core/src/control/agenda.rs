//! Who is due when.

use serde::{Deserialize, Serialize};

use super::{Cause, Needs, Poke, PokeKind, TargetName};
use crate::units::{Span, Time};

/// When a controller is asked: at `offset`, and from there every `period`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// From one time to the next; `None`: only when woken or poked.
    pub period: Option<Span>,
    /// The first time, after the start. It changes results: controllers that look later see more.
    pub offset: Span,
}

impl Schedule {
    /// Every `period`, from the start on.
    #[must_use]
    pub fn every(period: Span) -> Schedule {
        Schedule { period: Some(period), offset: Span::ZERO }
    }
}

/// Time as a live loop sees it. An emulator drives it virtually.
pub trait Clock {
    /// The present instant.
    fn now(&self) -> Time;
    /// Waits until `instant`; returns earlier, with the poke, when something happens before.
    fn wait_until(&mut self, instant: Time) -> Option<Poke>;
}

/// Which controller is due next. Pure data: it is saved with a snapshot and goes on from there.
///
/// ```
/// use scaletwin_core::control::{Agenda, Cause, Needs, Schedule};
/// use scaletwin_core::units::{Span, Time};
/// let mut agenda = Agenda::default();
/// agenda.add(&Needs { schedule: Schedule::every(Span::from_secs(15)), ..Needs::default() });
/// assert_eq!(agenda.next(), Some(Time::ZERO));
/// assert_eq!(agenda.due(Time::ZERO), [(0, Cause::Periodic)]);
/// assert_eq!(agenda.next(), Some(Time::ZERO + Span::from_secs(15)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agenda {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    period: Option<Span>,
    periodic: Option<Time>,
    wake: Option<Time>,
    /// What happened and was not served yet, each once, in its order.
    happened: Vec<(Time, Poke)>,
    pokes: Vec<PokeKind>,
    targets: Vec<TargetName>,
}

impl Entry {
    fn next(&self) -> Option<Time> {
        let poke = self.happened.first().map(|(at, _)| *at);
        [self.periodic, self.wake, poke].into_iter().flatten().min()
    }

    /// Whether an event is one of those that wake it: a request only where it is for one of its own targets.
    fn waits_for(&self, poke: &Poke) -> bool {
        let own = match poke {
            Poke::RequestAtZero { target } => self.targets.contains(target),
            Poke::PendingPods => true,
        };
        own && self.pokes.contains(&poke.kind())
    }

    /// Why it is due at `now`, having moved on. Of several causes the most particular one is given, and of several
    /// events the first: the others keep it due at this instant.
    fn take(&mut self, now: Time) -> Option<Cause> {
        let mut cause = None;
        if self.periodic.is_some_and(|at| at <= now) {
            cause = Some(Cause::Periodic);
            self.periodic = self.period.zip(self.periodic).map(|(period, at)| {
                let missed = now.since(at).as_nanos() / period.as_nanos();
                at + period * (missed + 1)
            });
        }
        if self.wake.take_if(|at| *at <= now).is_some() {
            cause = Some(Cause::Wake);
        }
        if self.happened.first().is_some_and(|(at, _)| *at <= now) {
            cause = Some(Cause::Poke(self.happened.remove(0).1));
        }
        cause
    }
}

impl Agenda {
    /// Adds a controller; its number is how many there were.
    ///
    /// # Panics
    /// When the period is zero.
    pub fn add(&mut self, needs: &Needs) {
        let schedule = needs.schedule;
        assert!(schedule.period != Some(Span::ZERO), "a period is longer than nothing");
        let periodic = schedule.period.map(|_| Time::ZERO + schedule.offset);
        self.entries.push(Entry {
            period: schedule.period,
            periodic,
            wake: None,
            happened: Vec::new(),
            pokes: needs.pokes.clone(),
            targets: needs.scope.targets.clone(),
        });
    }

    /// The next instant at which anybody is due.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.entries.iter().filter_map(Entry::next).min()
    }

    /// Who is due at `now` and why, in the order in which they were added. They move on.
    pub fn due(&mut self, now: Time) -> Vec<(usize, Cause)> {
        let entries = self.entries.iter_mut().enumerate();
        entries.filter_map(|(number, entry)| entry.take(now).map(|cause| (number, cause))).collect()
    }

    /// Wakes those who asked for such events; whether there was anybody. The same again before it was served adds
    /// nothing.
    pub fn poke(&mut self, poke: &Poke, now: Time) -> bool {
        let mut anybody = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.waits_for(poke)) {
            if !entry.happened.iter().any(|(_, known)| known == poke) {
                entry.happened.push((now, poke.clone()));
            }
            anybody = true;
        }
        anybody
    }

    /// Asks for controller `number` to be woken at `at`; an earlier wish stays.
    pub fn wake(&mut self, number: usize, at: Time) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.wake = Some(entry.wake.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Lets the periods go on from `now` without catching up, for controllers that join a run under way.
    pub fn start_at(&mut self, now: Time) {
        for entry in &mut self.entries {
            entry.periodic = entry.periodic.map(|at| {
                let period = entry.period.map_or(1, Span::as_nanos);
                let behind = now.since(at).as_nanos().div_ceil(period);
                at + Span::from_nanos(period) * behind
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Scope;

    fn every(secs: u64) -> Needs {
        Needs { schedule: Schedule::every(Span::from_secs(secs)), ..Needs::default() }
    }

    /// A controller that waits for requests for these targets.
    fn asleep(targets: &[&str]) -> Needs {
        let targets = targets.iter().map(|name| TargetName::new(*name)).collect();
        let scope = Scope { targets, ..Scope::default() };
        Needs { scope, pokes: vec![PokeKind::RequestAtZero], ..Needs::default() }
    }

    fn request(target: &str) -> Poke {
        Poke::RequestAtZero { target: TargetName::new(target) }
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    #[test]
    fn periods_keep_their_grid_and_offsets_their_order() {
        let mut agenda = Agenda::default();
        let schedule = Schedule { period: Some(Span::from_secs(15)), offset: Span::from_secs(5) };
        agenda.add(&Needs { schedule, ..Needs::default() });
        agenda.add(&every(10));
        let mut seen = Vec::new();
        for _ in 0..5 {
            let now = agenda.next().unwrap();
            seen.extend(agenda.due(now).into_iter().map(|(number, _)| (now.as_secs_f64(), number)));
        }
        assert_eq!(seen, [(0.0, 1), (5.0, 0), (10.0, 1), (20.0, 0), (20.0, 1), (30.0, 1)]);
    }

    #[test]
    fn a_late_loop_skips_what_it_missed() {
        let mut agenda = Agenda::default();
        agenda.add(&every(10));
        assert_eq!(agenda.due(at(35)).len(), 1);
        assert_eq!(agenda.next(), Some(at(40)));
    }

    #[test]
    fn wakes_and_pokes_come_once() {
        let mut agenda = Agenda::default();
        agenda.add(&asleep(&["a/b"]));
        assert_eq!(agenda.next(), None);
        agenda.wake(0, at(9));
        agenda.wake(0, at(12));
        assert_eq!(agenda.due(at(9)), [(0, Cause::Wake)]);
        let poke = request("a/b");
        assert!(agenda.poke(&poke, at(10)));
        assert!(agenda.poke(&poke, at(11)));
        assert_eq!(agenda.due(at(11)), [(0, Cause::Poke(poke))]);
        assert_eq!(agenda.next(), None);
        assert!(!agenda.poke(&Poke::PendingPods, at(12)));
    }

    #[test]
    fn a_request_wakes_those_whose_target_it_is_for() {
        let mut agenda = Agenda::default();
        agenda.add(&asleep(&["a/main"]));
        agenda.add(&asleep(&["b/main"]));
        assert!(agenda.poke(&request("b/main"), at(1)));
        assert!(!agenda.poke(&request("c/main"), at(1)));
        assert_eq!(agenda.due(at(1)), [(1, Cause::Poke(request("b/main")))]);
        assert_eq!(agenda.next(), None);
    }

    #[test]
    fn of_events_at_one_instant_none_is_lost() {
        let mut agenda = Agenda::default();
        agenda.add(&asleep(&["a/main", "b/main"]));
        agenda.poke(&request("a/main"), at(1));
        agenda.poke(&request("b/main"), at(1));
        assert_eq!(agenda.due(at(1)), [(0, Cause::Poke(request("a/main")))]);
        assert_eq!(agenda.next(), Some(at(1)));
        assert_eq!(agenda.due(at(1)), [(0, Cause::Poke(request("b/main")))]);
        assert_eq!(agenda.next(), None);
    }
}

//! The calendar and the run loop.

use std::collections::VecDeque;

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::{EventQueue, Key, Phase, Ticket};

/// The present moment and the events to come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Calendar<E> {
    now: Time,
    round: u16,
    phase: Phase,
    queue: EventQueue<E>,
    inserted: u64,
    /// Events of the present instant that were asked for at this instant: this round's by phase, then the next's.
    soon: [VecDeque<E>; 2 * PHASES],
    /// Which of these lists hold something, one bit each.
    filled: u16,
    /// Events in the queue that can move work forward: all but scrapes and controls.
    productive: u64,
    /// Events handled at the present instant.
    at_instant: u64,
}

/// How many phases there are.
const PHASES: usize = Phase::ALL.len();
/// The phases of this round and of the next.
const TWO_ROUNDS: usize = 2 * PHASES;

impl<E: Copy> Default for Calendar<E> {
    fn default() -> Calendar<E> {
        Calendar {
            now: Time::ZERO,
            round: 0,
            phase: Phase::Complete,
            queue: EventQueue::default(),
            inserted: 0,
            soon: Default::default(),
            filled: 0,
            productive: 0,
            at_instant: 0,
        }
    }
}

fn is_productive(phase: Phase) -> bool {
    !matches!(phase, Phase::Scrape | Phase::Control)
}

impl<E: Copy> Calendar<E> {
    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The instant up to which all is over that the first phase of an instant has: ends of requests.
    #[must_use]
    pub fn completed(&self) -> Time {
        let before = Span::from_nanos(u64::from(self.phase == Phase::Complete));
        self.now.saturating_sub(before)
    }

    /// Plans an event for `at`, which is not in the past.
    ///
    /// # Panics
    /// When `at` is in the past.
    pub fn at(&mut self, at: Time, phase: Phase, event: E) -> Ticket {
        self.productive += u64::from(is_productive(phase));
        let key = self.key(at, phase);
        self.queue.push(key, event)
    }

    /// Plans an event for the present instant, after what is planned for the same phase already.
    pub fn soon(&mut self, phase: Phase, event: E) {
        let list = phase as usize + if phase < self.phase { PHASES } else { 0 };
        self.soon[list].push_back(event);
        self.filled |= 1 << list;
    }

    /// Goes on to a later phase of this round, if nothing is planned up to it: what would be asked for with
    /// [`Calendar::soon`] is next and can be done at once. Arrivals of open sources are not looked at. Whether it did.
    pub fn go_on_to(&mut self, phase: Phase) -> bool {
        let moment = Key::new(self.now, self.round, phase, 0).moment();
        let later = self.queue.next_key().is_none_or(|key| key.moment() > moment);
        let goes_on = later && self.filled.trailing_zeros() > phase as u32 && phase >= self.phase;
        if goes_on {
            self.phase = phase;
            self.at_instant += 1;
        }
        goes_on
    }

    /// Takes out an event planned with [`Calendar::at`], if it is still to come.
    pub fn cancel(&mut self, ticket: Ticket, phase: Phase) {
        if self.queue.cancel(ticket).is_some() {
            self.productive -= u64::from(is_productive(phase));
        }
    }

    /// Moves an event planned with [`Calendar::at`] to another instant. Whether it was still to come.
    pub fn reschedule(&mut self, ticket: Ticket, at: Time, phase: Phase) -> bool {
        let key = self.key(at, phase);
        self.queue.reschedule(ticket, key)
    }

    fn key(&mut self, at: Time, phase: Phase) -> Key {
        assert!(at >= self.now, "an event was planned for {at}, before the present {}", self.now);
        let round = match at == self.now {
            true if phase < self.phase => self.round + 1,
            true => self.round,
            false => 0,
        };
        self.inserted += 1;
        Key::new(at, round, phase, self.inserted)
    }

    /// Whether nothing is planned that can move work forward.
    fn is_still(&self) -> bool {
        self.productive == 0 && self.filled == 0
    }

    /// Round and phase of the next event planned for the present instant at this instant.
    #[inline]
    fn next_soon(&self) -> Option<(u16, Phase)> {
        let list = self.filled.trailing_zeros() as usize;
        match list {
            0..PHASES => Some((self.round, Phase::ALL[list])),
            PHASES..TWO_ROUNDS => Some((self.round + 1, Phase::ALL[list - PHASES])),
            _ => None,
        }
    }

    fn take_soon(&mut self, phase: Phase) -> Option<E> {
        let list = &mut self.soon[phase as usize];
        let event = list.pop_front();
        if list.is_empty() {
            self.filled &= !(1 << phase as u16);
        }
        event
    }

    /// Moves on; what was planned for the next round is this round's once that begins.
    fn move_to(&mut self, at: Time, round: u16, phase: Phase) {
        if at > self.now {
            self.at_instant = 0;
        } else if round > self.round {
            let (this, next) = self.soon.split_at_mut(PHASES);
            this.swap_with_slice(next);
            self.filled >>= PHASES;
        }
        (self.now, self.round, self.phase) = (at, round, phase);
        self.at_instant += 1;
    }
}

/// What is simulated.
pub trait Model {
    /// What can happen.
    type Event: Copy;
    /// Why it cannot go on.
    type Error;

    /// When the next request of an open source arrives, not before the present.
    fn next_arrival(&self) -> Option<Time>;

    /// Lets that request arrive.
    ///
    /// # Errors
    /// When the source fails.
    fn arrive(&mut self, calendar: &mut Calendar<Self::Event>) -> Result<(), Self::Error>;

    /// Lets an event happen.
    ///
    /// # Errors
    /// When the model cannot go on.
    fn handle(&mut self, event: Self::Event, calendar: &mut Calendar<Self::Event>)
    -> Result<(), Self::Error>;

    /// Whether all work is done, so that the run is over.
    fn is_done(&self) -> bool;

    /// Whether work has begun and not ended. If not, a run in which nothing is due only lets time pass.
    fn has_work(&self) -> bool;

    /// Whether work that nothing moves forward is left to the end of the run, rather than an error.
    fn leaves_work(&self) -> bool {
        false
    }

    /// That work, for messages: who waits for what.
    fn waiting(&self) -> Vec<Waiter>;

    /// Whether scrapes and controls can lead to anything: there are controllers that may act.
    fn may_be_changed(&self) -> bool;

    /// The last instant at which work moved forward.
    fn last_progress(&self) -> Time;
}

/// Somebody who waits, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Who: `12 requests of service llm`.
    pub who: String,
    /// For what: `a ready replica`.
    pub what: String,
}

/// Bounds on what a run may do without getting anywhere.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rounds at one instant.
    pub rounds: u16,
    /// Events at one instant.
    pub events: u64,
    /// Time without progress once nothing arrives any more.
    pub patience: Span,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { rounds: 10_000, events: 50_000_000, patience: Span::from_secs(7 * 86_400) }
    }
}

/// Why a run stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    /// There is unfinished work and nothing due that could move it forward.
    #[error("the run is stalled at {at}: {}", list(.waiting))]
    Stalled {
        /// When.
        at: Time,
        /// Who waits.
        waiting: Vec<Waiter>,
    },
    /// Events follow each other at one instant without end.
    #[error(
        "the run spins at {at}, with {events} events in {rounds} rounds: {}; a client that is refused and asks again at once \
         needs a think_time, a retry a delay", list(.waiting)
    )]
    Spinning {
        /// When.
        at: Time,
        /// Events at that instant.
        events: u64,
        /// Rounds at that instant.
        rounds: u16,
        /// Who waits.
        waiting: Vec<Waiter>,
    },
    /// The model cannot go on.
    #[error(transparent)]
    Model(E),
}

fn list(waiting: &[Waiter]) -> String {
    if waiting.is_empty() {
        return "nobody waits".to_owned();
    }
    let each: Vec<_> =
        waiting.iter().map(|waiter| format!("{} waiting for {}", waiter.who, waiter.what)).collect();
    each.join("; ")
}

/// Where the next event comes from.
enum Next {
    Queue(Key),
    Soon(u16, Phase),
    Arrival(Time),
}

/// Runs `model` up to `until`: everything before it happens, nothing at it. Whether the run is over.
///
/// # Errors
/// When the model fails, stalls or spins.
pub fn run<M: Model>(
    model: &mut M,
    calendar: &mut Calendar<M::Event>,
    until: Time,
    limits: &Limits,
) -> Result<bool, RunError<M::Error>> {
    while !model.is_done() {
        let Some(next) = next(model, calendar) else {
            if model.has_work() && !model.leaves_work() {
                return Err(RunError::Stalled { at: calendar.now, waiting: model.waiting() });
            }
            return Ok(false);
        };
        let (at, round) = match next {
            Next::Queue(key) => (key.at(), key.round()),
            Next::Soon(round, _) => (calendar.now, round),
            Next::Arrival(at) => (at, if at == calendar.now { calendar.round } else { 0 }),
        };
        if at >= until {
            return Ok(false);
        }
        check(model, calendar, at, round, limits)?;
        match next {
            Next::Arrival(at) => {
                calendar.move_to(at, round, Phase::Arrive);
                model.arrive(calendar).map_err(RunError::Model)?;
            }
            Next::Queue(key) => {
                let Some((_, event)) = calendar.queue.pop() else { continue };
                let phase = key.phase();
                calendar.productive -= u64::from(is_productive(phase));
                calendar.move_to(at, round, phase);
                model.handle(event, calendar).map_err(RunError::Model)?;
            }
            Next::Soon(round, phase) => {
                calendar.move_to(at, round, phase);
                let Some(event) = calendar.take_soon(phase) else { continue };
                model.handle(event, calendar).map_err(RunError::Model)?;
            }
        }
    }
    Ok(true)
}

/// What comes next: of one moment, first what was planned before, then what was planned at it.
#[inline]
fn next<M: Model>(model: &M, calendar: &mut Calendar<M::Event>) -> Option<Next> {
    let (queued, arrival) = (calendar.queue.next_key(), model.next_arrival());
    // Mostly nothing is planned for this instant, and the next ones differ.
    if calendar.filled == 0 {
        match (queued, arrival) {
            (Some(key), Some(at)) if at < key.at() => return Some(Next::Arrival(at)),
            (Some(key), Some(at)) if key.at() < at => return Some(Next::Queue(key)),
            (Some(key), None) => return Some(Next::Queue(key)),
            _ => {}
        }
    }
    let mut best = queued.map(|key| (key.moment(), Next::Queue(key)));
    let mut consider = |key: Key, next: Next| {
        if best.as_ref().is_none_or(|(moment, _)| key.moment() < *moment) {
            best = Some((key.moment(), next));
        }
    };
    if let Some(at) = arrival {
        consider(Key::new(at, 0, Phase::Arrive, 0), Next::Arrival(at));
    }
    if let Some((round, phase)) = calendar.next_soon() {
        consider(Key::new(calendar.now, round, phase, 0), Next::Soon(round, phase));
    }
    best.map(|(_, next)| next)
}

/// Whether the run still gets anywhere.
fn check<M: Model>(
    model: &M,
    calendar: &Calendar<M::Event>,
    at: Time,
    round: u16,
    limits: &Limits,
) -> Result<(), RunError<M::Error>> {
    if at == calendar.now {
        if round > limits.rounds || calendar.at_instant > limits.events {
            let (events, waiting) = (calendar.at_instant, model.waiting());
            return Err(RunError::Spinning { at, events, rounds: round, waiting });
        }
        return Ok(());
    }
    if calendar.is_still() && model.next_arrival().is_none() && model.has_work() && !model.leaves_work() {
        let patience = if model.may_be_changed() { limits.patience } else { Span::ZERO };
        if at.since(model.last_progress()) > patience {
            return Err(RunError::Stalled { at: calendar.now, waiting: model.waiting() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that does what its script says and notes what happened.
    struct Script {
        arrivals: VecDeque<u64>,
        seen: Vec<(u64, &'static str)>,
        done: bool,
        waits: bool,
        on: fn(&'static str, &mut Calendar<&'static str>),
    }

    impl Model for Script {
        type Event = &'static str;
        type Error = std::convert::Infallible;

        fn next_arrival(&self) -> Option<Time> {
            self.arrivals.front().map(|at| Time::from_nanos(*at))
        }

        fn arrive(&mut self, calendar: &mut Calendar<&'static str>) -> Result<(), Self::Error> {
            self.arrivals.pop_front();
            self.handle("arrival", calendar)
        }

        fn handle(
            &mut self,
            event: &'static str,
            calendar: &mut Calendar<&'static str>,
        ) -> Result<(), Self::Error> {
            self.seen.push((calendar.now().as_nanos(), event));
            (self.on)(event, calendar);
            self.done = event == "end";
            Ok(())
        }

        fn is_done(&self) -> bool {
            self.done
        }

        fn has_work(&self) -> bool {
            self.waits
        }

        fn waiting(&self) -> Vec<Waiter> {
            let waiter = Waiter { who: "one request".into(), what: "a replica".into() };
            self.waits.then_some(waiter).into_iter().collect()
        }

        fn may_be_changed(&self) -> bool {
            false
        }

        fn last_progress(&self) -> Time {
            Time::ZERO
        }
    }

    fn script(on: fn(&'static str, &mut Calendar<&'static str>)) -> Script {
        Script { arrivals: VecDeque::new(), seen: Vec::new(), done: false, waits: false, on }
    }

    fn nanos(at: u64) -> Time {
        Time::from_nanos(at)
    }

    #[test]
    fn an_instant_goes_through_its_phases_and_then_its_rounds() {
        let mut model = script(|event, calendar| match event {
            "control" => {
                calendar.soon(Phase::Step, "step of round 1");
                calendar.soon(Phase::Actuate, "actuate");
                calendar.at(calendar.now(), Phase::Complete, "complete of round 1");
                calendar.at(calendar.now(), Phase::Step, "planned step of round 1");
            }
            "complete" => calendar.soon(Phase::Step, "step"),
            _ => {}
        });
        model.arrivals = VecDeque::from([5, 5]);
        let mut calendar = Calendar::default();
        calendar.at(nanos(5), Phase::Control, "control");
        calendar.at(nanos(5), Phase::Complete, "complete");
        calendar.at(nanos(5), Phase::Step, "planned step");
        calendar.at(nanos(9), Phase::Complete, "end");
        assert!(run(&mut model, &mut calendar, Time::NEVER, &Limits::default()).unwrap());
        let names: Vec<_> = model.seen.iter().map(|(_, name)| *name).collect();
        assert_eq!(
            names,
            [
                "complete",
                "arrival",
                "arrival",
                "planned step",
                "step",
                "control",
                "actuate",
                "complete of round 1",
                "planned step of round 1",
                "step of round 1",
                "end"
            ]
        );
    }

    #[test]
    fn a_cut_changes_nothing() {
        let on: fn(&'static str, &mut Calendar<&'static str>) = |event, calendar| {
            if event == "tick" && calendar.now() < nanos(50) {
                calendar.at(calendar.now() + Span::from_nanos(7), Phase::Fail, "tick");
            }
        };
        let whole = |cuts: &[u64]| {
            let mut model = script(on);
            model.arrivals = VecDeque::from([3, 14, 14, 30]);
            let mut calendar = Calendar::default();
            calendar.at(nanos(0), Phase::Fail, "tick");
            calendar.at(nanos(60), Phase::Complete, "end");
            for cut in cuts {
                run(&mut model, &mut calendar, nanos(*cut), &Limits::default()).unwrap();
            }
            run(&mut model, &mut calendar, Time::NEVER, &Limits::default()).unwrap();
            model.seen
        };
        assert_eq!(whole(&[]), whole(&[0, 14, 15, 21, 59]));
    }

    #[test]
    fn unfinished_work_with_nothing_due_is_an_error_that_names_it() {
        let mut model = script(|_, _| {});
        model.waits = true;
        let mut calendar = Calendar::default();
        calendar.at(nanos(5), Phase::Scrape, "scrape");
        let error = run(&mut model, &mut calendar, Time::NEVER, &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "the run is stalled at 0s: one request waiting for a replica");
    }

    #[test]
    fn an_endless_instant_is_an_error() {
        let mut model = script(|_, calendar| calendar.soon(Phase::Complete, "again"));
        let mut calendar = Calendar::default();
        calendar.at(nanos(5), Phase::Fail, "again");
        let error = run(&mut model, &mut calendar, Time::NEVER, &Limits::default()).unwrap_err();
        assert!(matches!(error, RunError::Spinning { .. }), "{error}");
    }
}

//! Replicas by the time of the day: set when a window begins, restored when it ends.

use scaletwin_core::control::{Decision, Needs, Observation, Policy, State, StateMismatch};
use scaletwin_core::input::{At, Count, Problems};
use scaletwin_core::units::Civil;
use serde::{Deserialize, Serialize};

use super::subject::Subject;
use crate::calendar::{Between, Cron};

scaletwin_core::keys! {
    /// Replicas by the time of the day. Where windows overlap, the one with the most replicas counts.
    #[derive(Debug, Clone)]
    pub struct ScheduleSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// The IANA name of the time zone, such as `Europe/Berlin`.
        pub timezone: At<String> = "UTC".to_owned(),
        /// The windows.
        pub windows: At<Vec<WindowSpec>>,
        /// Whether the replicas from before a window come back when it ends.
        pub restore: bool = true,
    }
}

scaletwin_core::keys! {
    /// A time of the day with its replicas.
    #[derive(Debug, Clone)]
    pub struct WindowSpec {
        /// When it begins: minute, hour, day, month, weekday, such as `0 8 * * 1-5`.
        pub start: At<String>,
        /// When it ends.
        pub end: At<String>,
        /// How many replicas meanwhile.
        pub replicas: Count,
    }
}

/// A window, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    between: Between,
    replicas: i32,
}

impl ScheduleSpec {
    /// The checked windows. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<Vec<Window>> {
        let before = problems.len();
        if self.windows.value.is_empty() {
            problems.error(&self.windows.place, "at least one window is needed");
        }
        let windows = self.windows.value.iter().filter_map(|spec| {
            let between = between(&spec.start, &spec.end, &self.timezone, problems)?;
            Some(Window { between, replicas: i32::try_from(spec.replicas.0).unwrap_or(i32::MAX) })
        });
        let windows = windows.collect();
        (problems.len() == before).then_some(windows)
    }
}

/// The time from one schedule to another in a zone. `None` when a problem was pushed.
pub fn between(
    start: &At<String>,
    end: &At<String>,
    zone: &At<String>,
    problems: &mut Problems,
) -> Option<Between> {
    let read = |written: &At<String>, problems: &mut Problems| match Cron::parse(written, zone) {
        Ok(cron) => Some(cron),
        Err(error) => {
            problems.error(&written.place, error.to_string());
            None
        }
    };
    let (read_start, read_end) = (read(start, problems), read(end, problems));
    let between = Between { start: read_start?, end: read_end? };
    if start.value == end.value {
        problems.error(&end.place, "it ends when it begins: start and end are the same");
        return None;
    }
    Some(between)
}

/// A target by the time of the day. It acts at the edges of windows only, and asks to be woken at them.
#[derive(Debug, Clone)]
pub struct ScheduledReplicas {
    subject: Subject,
    windows: Vec<Window>,
    restore: bool,
    state: Memory,
}

/// What it remembers: the replicas that the present window set, and those from before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    set: Option<i32>,
    before: Option<i32>,
}

impl ScheduledReplicas {
    /// These windows on this subject.
    #[must_use]
    pub fn new(subject: Subject, windows: Vec<Window>, restore: bool) -> ScheduledReplicas {
        ScheduledReplicas { subject, windows, restore, state: Memory::default() }
    }

    /// The replicas of the windows that hold, the most of them.
    fn wanted(&self, now: Civil) -> Option<i32> {
        let holding = self.windows.iter().filter(|window| window.between.holds(now));
        holding.map(|window| window.replicas).max()
    }

    /// The next edge of a window.
    fn next_edge(&self, now: Civil) -> Option<Civil> {
        let edges = self.windows.iter().flat_map(|window| [&window.between.start, &window.between.end]);
        edges.filter_map(|cron| cron.next_after(now)).min()
    }
}

impl Policy for ScheduledReplicas {
    fn needs(&self) -> Needs {
        self.subject.needs()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(current) = self.subject.view(seen).map(|view| view.spec_replicas) else {
            return Decision::nothing(self.subject.reason("target", Some(false), "FailedGetScale"));
        };
        let now = seen.start.at(seen.now);
        let wanted = self.wanted(now);
        let (replicas, code) = match (self.state.set, wanted) {
            (set, Some(wanted)) if set != Some(wanted) => {
                self.state.before = self.state.before.or(Some(current));
                (wanted, "WindowBegins")
            }
            (Some(_), None) => {
                let before = self.state.before.take().filter(|_| self.restore);
                (before.unwrap_or(current), "WindowEnds")
            }
            (_, Some(_)) => (current, "InWindow"),
            (None, None) => (current, "NoWindow"),
        };
        self.state.set = wanted;
        let mut decision = self.subject.set(current, replicas, self.subject.reason("window", None, code));
        let edge = self.next_edge(now).and_then(|edge| edge.since(now));
        decision.wake_at = edge.map(|span| seen.now.saturating_add(span));
        decision
    }

    fn save(&self) -> State {
        State::of("schedule", 1, &self.state)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.state = state.read("schedule", 1)?;
        Ok(())
    }
}

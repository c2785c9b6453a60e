//! Conditions of one's own, in the Common Expression Language: an alert, or a change of replicas.

use cel::{Context, Program, Value};
use scaletwin_core::control::{Decision, Needs, Observation, Policy, State, StateMismatch};
use scaletwin_core::input::{At, Count, Period, Problem, Problems};
use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::subject::Subject;

scaletwin_core::keys! {
    /// A condition in CEL on signals and replicas: where it holds, an alert among the reasons of the decision, and if it is
    /// written a change of replicas.
    #[derive(Debug, Clone)]
    pub struct ConditionSpec {
        /// The scale target, `service/deployment`; the service alone where it has one deployment.
        pub target: At<String>,
        /// Its name in the reasons.
        pub name: At<String>,
        /// The condition in CEL over the signals by their names, `replicas` and `ready` (whole numbers), and `seconds` since
        /// the start. Numbers of signals are doubles: compare with `4.0`, not with `4`.
        pub when: At<String>,
        /// The signals that it uses, by their names under `signals`. Without a value for one of them it does not hold.
        pub signals: Vec<At<String>> = Vec::new(),
        /// Sets so many replicas. Without this and `add` it is an alert only.
        pub set: Option<u16> = None,
        /// Adds so many replicas, or takes some away if negative.
        pub add: Option<i32> = None,
        /// How long it has to hold, look by look.
        pub r#for: Span = Span::ZERO,
        /// How long it pauses after it has changed replicas.
        pub cooldown: Span = Span::from_secs(60),
        /// The fewest replicas.
        pub min_replicas: u16 = 0u16,
        /// The most replicas.
        pub max_replicas: Count = Count(100),
        /// From one look to the next.
        pub period: Period = Period(Span::from_secs(15)),
        /// The first look, after the start of the run. Default: drawn from the seed, below the period.
        pub offset: Option<Span> = None,
    }
}

/// A condition, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConditionSettings {
    name: String,
    when: String,
    change: Change,
    holds_for: Span,
    cooldown: Span,
}

/// What a condition changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Alert,
    Set(i32),
    Add(i32),
}

/// How long a condition may be: its reader goes as deep as its brackets.
const LENGTH: usize = 1_000;

/// The names that are there besides the signals.
const OWN: [&str; 3] = ["replicas", "ready", "seconds"];

impl ConditionSpec {
    /// The condition with its bounds, tried out once with 1 for every name. `None` when a problem was pushed.
    #[must_use]
    pub fn check(&self, problems: &mut Problems) -> Option<(ConditionSettings, (i32, i32))> {
        let before = problems.len();
        let bounds = (i32::from(self.min_replicas), i32::try_from(self.max_replicas.0).unwrap_or(i32::MAX));
        if bounds.0 > bounds.1 {
            problems.error(&self.target.place, "min_replicas is above max_replicas");
        }
        let change = match (self.set, self.add) {
            (None, None) => Change::Alert,
            (Some(replicas), None) => Change::Set(i32::from(replicas)),
            (None, Some(change)) => Change::Add(change),
            (Some(_), Some(_)) => {
                problems.error(&self.name.place, "set and add exclude each other");
                return None;
            }
        };
        for signal in &self.signals {
            let plain = signal.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !plain || signal.starts_with(|c: char| c.is_ascii_digit()) || OWN.contains(&signal.as_str()) {
                let message = format!("{:?} cannot be a name in CEL", signal.value);
                problems
                    .push(Problem::error(&signal.place, message).hint("letters, digits and _ make a name"));
            }
        }
        if let Err(why) = self.tried() {
            problems.error(&self.when.place, format!("the condition: {why}"));
        }
        let settings = ConditionSettings {
            name: self.name.value.clone(),
            when: self.when.value.clone(),
            change,
            holds_for: self.r#for,
            cooldown: self.cooldown,
        };
        (problems.len() == before).then_some((settings, bounds))
    }

    fn tried(&self) -> Result<bool, String> {
        if self.when.len() > LENGTH {
            return Err(format!("it has more than {LENGTH} letters"));
        }
        let program = Program::compile(&self.when).map_err(|error| error.to_string())?;
        let ones = self.signals.iter().map(|signal| (signal.as_str(), 1.0));
        holds(&program, ones, [1, 1, 1])
    }
}

/// Whether a condition holds for these values of signals and of [`OWN`].
fn holds<'a>(
    program: &Program,
    signals: impl Iterator<Item = (&'a str, f64)>,
    own: [i64; 3],
) -> Result<bool, String> {
    let mut context = Context::default();
    for (name, value) in signals {
        context.add_variable_from_value(name, value);
    }
    for (name, value) in OWN.into_iter().zip(own) {
        context.add_variable_from_value(name, value);
    }
    match program.execute(&context) {
        Ok(Value::Bool(truth)) => Ok(truth),
        Ok(other) => Err(format!("the result is {other:?}, neither true nor false")),
        Err(error) => Err(error.to_string()),
    }
}

/// A condition on one target.
#[derive(Debug)]
pub struct Condition {
    subject: Subject,
    settings: ConditionSettings,
    program: Option<Program>,
    state: Memory,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    since: Option<Time>,
    acted: Option<Time>,
}

impl Condition {
    /// The condition `settings` on this subject.
    #[must_use]
    pub fn new(subject: Subject, settings: ConditionSettings) -> Condition {
        let program = Program::compile(&settings.when).ok();
        Condition { subject, settings, program, state: Memory::default() }
    }

    fn holds(&self, seen: &Observation, replicas: [i64; 2]) -> Result<bool, String> {
        let program = self.program.as_ref().ok_or("it cannot be read")?;
        let mut values = Vec::with_capacity(self.subject.signals.len());
        for name in &self.subject.signals {
            values.push((name.as_str(), self.subject.value(seen, name)?));
        }
        let seconds = i64::try_from(seen.now.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
        holds(program, values.into_iter(), [replicas[0], replicas[1], seconds])
    }

    /// The replicas that it wants where it has held for long enough, with the code that says why.
    fn wanted(&self, now: Time, current: i32, since: Time) -> (i32, &'static str) {
        let pauses = self.state.acted.is_some_and(|at| now.since(at) < self.settings.cooldown);
        match self.settings.change {
            _ if now.since(since) < self.settings.holds_for => (current, "HoldsForTooShort"),
            Change::Alert => (current, "Alert"),
            Change::Set(_) | Change::Add(_) if pauses => (current, "Cooldown"),
            Change::Set(replicas) => (replicas, "ConditionHolds"),
            Change::Add(change) => (current.saturating_add(change), "ConditionHolds"),
        }
    }
}

impl Policy for Condition {
    /// An alert writes nothing, so that it may stand beside any policy.
    fn needs(&self) -> Needs {
        let needs = self.subject.needs();
        match self.settings.change {
            Change::Alert => Needs { writes: Vec::new(), ..needs },
            Change::Set(_) | Change::Add(_) => needs,
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(view) = self.subject.view(seen) else {
            return Decision::nothing(self.subject.reason("target", Some(false), "FailedGetScale"));
        };
        let current = view.spec_replicas;
        let subject = format!("condition {}", self.settings.name);
        match self.holds(seen, [i64::from(current), i64::from(view.ready_replicas)]) {
            Ok(true) => {
                let since = *self.state.since.get_or_insert(seen.now);
                let (wanted, code) = self.wanted(seen.now, current, since);
                let decision =
                    self.subject.set(current, wanted, self.subject.reason(&subject, Some(true), code));
                if !decision.actions.is_empty() {
                    self.state.acted = Some(seen.now);
                }
                decision
            }
            Ok(false) => {
                self.state.since = None;
                Decision::nothing(self.subject.reason(&subject, Some(false), "DoesNotHold"))
            }
            Err(why) => {
                self.state.since = None;
                let mut reason = self.subject.reason(&subject, Some(false), "FailedCondition");
                reason.detail = why;
                Decision::nothing(reason)
            }
        }
    }

    fn save(&self) -> State {
        State::of("condition", 1, &self.state)
    }

    fn restore(&mut self, state: &State) -> Result<(), StateMismatch> {
        self.state = state.read("condition", 1)?;
        Ok(())
    }
}

//! Our own rules on one target.

use scaletwin_core::control::{Policy, Schedule, TargetName};
use scaletwin_core::input::{At, Place, Problem, Problems, suggestion};
use scaletwin_core::units::Span;
use scaletwin_policies::rules::condition::{Condition, ConditionSettings, ConditionSpec};
use scaletwin_policies::rules::idle::{Idle, IdleSettings, IdleSpec};
use scaletwin_policies::rules::schedule::{ScheduleSpec, ScheduledReplicas, Window};
use scaletwin_policies::rules::subject::Subject;
use scaletwin_policies::rules::threshold::{Threshold, ThresholdSpec};
use serde::Serialize;

use super::{CheckedController, Checking, Kind, Seen, target};

/// A rule with what it is about.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rule {
    target: TargetName,
    signals: Vec<String>,
    bounds: (i32, i32),
    rule: Which,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    Threshold(Vec<scaletwin_policies::rules::threshold::Rule>),
    Schedule { windows: Vec<Window>, restore: bool },
    Idle(IdleSettings),
    Condition(ConditionSettings),
}

impl Rule {
    pub(super) fn policy(&self, schedule: Schedule) -> Box<dyn Policy> {
        let Rule { target, signals, bounds, .. } = self;
        let subject = Subject { target: target.clone(), signals: signals.clone(), schedule, bounds: *bounds };
        match &self.rule {
            Which::Threshold(rules) => Box::new(Threshold::new(subject, rules.clone())),
            Which::Schedule { windows, restore } => {
                Box::new(ScheduledReplicas::new(subject, windows.clone(), *restore))
            }
            Which::Idle(settings) => Box::new(Idle::new(subject, settings.clone())),
            Which::Condition(settings) => Box::new(Condition::new(subject, settings.clone())),
        }
    }

    /// Whether it adds the first replica of a target.
    pub(super) fn wakes(&self, target: &TargetName) -> bool {
        let wakes = match &self.rule {
            Which::Threshold(_) => self.bounds.0 > 0,
            Which::Condition(_) => false,
            Which::Schedule { .. } | Which::Idle(_) => true,
        };
        wakes && self.target == *target
    }
}

/// A place for the period at which a schedule looks besides the edges of its windows, for controllers that joined late.
const SCHEDULE_PERIOD: Span = Span::from_secs(3_600);

pub(super) fn threshold(
    spec: &ThresholdSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let signals = spec.rules.value.iter().map(|rule| &rule.signal);
    let signals = bound(signals, seen, problems);
    let target = target(&spec.target, seen, problems)?;
    let rule = Which::Threshold(spec.check(problems)?);
    let rule = Rule { target, signals, bounds: spec.bounds(), rule };
    Some(controller("threshold", rule, place, spec.period.0, spec.offset))
}

pub(super) fn schedule(
    spec: &ScheduleSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let target = target(&spec.target, seen, problems)?;
    let rule = Which::Schedule { windows: spec.check(problems)?, restore: spec.restore };
    let rule = Rule { target, signals: Vec::new(), bounds: (0, i32::MAX), rule };
    Some(controller("schedule", rule, place, SCHEDULE_PERIOD, Some(Span::ZERO)))
}

pub(super) fn idle(
    spec: &IdleSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let signals = std::iter::once(&spec.signal).chain(spec.checks.iter().map(|check| &check.signal));
    let signals = bound(signals, seen, problems);
    let target = target(&spec.target, seen, problems)?;
    let rule = Rule { target, signals, bounds: (0, i32::MAX), rule: Which::Idle(spec.settings()) };
    Some(controller("idle", rule, place, spec.period.0, spec.offset))
}

pub(super) fn condition(
    spec: &ConditionSpec,
    Checking { place, seen, problems, .. }: Checking<'_>,
) -> Option<CheckedController> {
    let signals = bound(spec.signals.iter(), seen, problems);
    let target = target(&spec.target, seen, problems)?;
    let (settings, bounds) = spec.check(problems)?;
    let rule = Rule { target, signals, bounds, rule: Which::Condition(settings) };
    let mut controller = controller("condition", rule, place, spec.period.0, spec.offset);
    controller.name = format!("{}/{}", controller.name, spec.name.value);
    Some(controller)
}

fn controller(
    kind: &str,
    rule: Rule,
    place: &Place,
    period: Span,
    offset: Option<Span>,
) -> CheckedController {
    let name = format!("{kind}/{}", rule.target);
    CheckedController { name, place: place.clone(), period, offset, kind: Kind::Rule(rule) }
}

/// The names of signals, each once; those that are bound to nothing are problems.
pub(super) fn bound<'a>(
    names: impl Iterator<Item = &'a At<String>>,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Vec<String> {
    let known = seen.signal_names();
    let mut signals: Vec<String> = Vec::new();
    for name in names {
        if seen.is_wrong(name) {
            continue;
        }
        if !known.contains(&name.as_str()) {
            let problem =
                Problem::error(&name.place, format!("the signal {:?} is bound to nothing", name.value));
            let stanza = format!(
                "add to the scenario, with its series:\n          signals:\n            {}: {{series: vllm:num_requests_waiting}}",
                name.value
            );
            let near = suggestion(name, &known).filter(|hint| hint.starts_with("did"));
            problems.push(problem.hint(near.unwrap_or(stanza)));
        } else if !signals.contains(&name.value) {
            signals.push(name.value.clone());
        }
    }
    signals
}

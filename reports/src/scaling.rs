//! The decisions of a run that changed something, as lines for people.

use std::collections::{BTreeMap, BTreeSet};

use scaletwin_core::control::{Action, Aspect, Cause, Reason};
use scaletwin_core::record::DecisionLine;
use scaletwin_core::units::exact::Exact;

use crate::figures::{clock, digits};

/// Collects decisions that change something, as many as people read; it counts the rest. To set again what was set last
/// changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Scaling {
    acts: Vec<Act>,
    acted: u64,
    taken: u64,
    shown: usize,
    /// What was last set of each thing.
    set: BTreeMap<Aspect, Action>,
    /// How often a controller could not do its work, by its name and code.
    failures: BTreeMap<(String, String), u64>,
}

/// A decision that changed something, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// When.
    pub t_seconds: f64,
    /// The controller.
    pub who: String,
    /// What it wanted done.
    pub what: String,
    /// Why: its own codes.
    pub why: String,
    /// The scale targets whose replicas it set, each with their number.
    pub set: Vec<(String, i32)>,
}

/// As many acts are kept for pages.
const KEPT: usize = 500;

impl Scaling {
    /// Shows at most so many in texts.
    #[must_use]
    pub fn showing(shown: usize) -> Scaling {
        Scaling { shown, ..Scaling::default() }
    }

    /// The first acts.
    #[must_use]
    pub fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// What controllers could not do, and how often.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let failures = self.failures.iter();
        failures
            .map(|((who, code), times)| format!("{who} reported {code} {times} times, see decisions.jsonl"))
    }

    /// How many decisions there were.
    #[must_use]
    pub fn headline(&self) -> String {
        format!("{} taken, {} of them acted", self.taken, self.acted)
    }

    /// Reads lines of `decisions.jsonl`.
    pub fn read(&mut self, lines: &str) {
        // Lines of guards and refusals have another shape.
        let decisions = lines.lines().filter_map(|line| serde_json::from_str::<DecisionLine<'_>>(line).ok());
        for decision in decisions {
            self.taken += 1;
            let changes: Vec<&Action> =
                decision.actions.iter().filter(|action| self.changes(action)).collect();
            self.acted += u64::from(!changes.is_empty());
            // One failure can be the reason for another, by the same code.
            let failed = decision.reasons.iter().map(|reason| &reason.code);
            for code in failed.filter(|code| code.starts_with("Failed")).collect::<BTreeSet<_>>() {
                *self.failures.entry((decision.controller.to_string(), code.clone())).or_default() += 1;
            }
            if !changes.is_empty() && self.acts.len() < self.shown.max(KEPT) {
                self.acts.push(act(&decision, &changes));
            }
        }
    }

    /// Whether an action changes what was last set. Nodes are not set: they come and go.
    fn changes(&mut self, action: &Action) -> bool {
        match action.aspect() {
            None => false,
            Some(Aspect::Nodes(_)) => true,
            Some(aspect) => self.set.insert(aspect, action.clone()).as_ref() != Some(action),
        }
    }

    /// The lines, with a last one that says how many are not shown.
    #[must_use]
    pub fn text(&self) -> String {
        if self.taken == 0 {
            return String::new();
        }
        let mut text = format!("\ndecisions: {}\n", self.headline());
        let shown = &self.acts[..self.shown.min(self.acts.len())];
        for Act { t_seconds, who, what, why, .. } in shown {
            text.push_str(&format!("  {}  {who}: {what}  because {why}\n", clock(*t_seconds)));
        }
        for failure in self.failures() {
            text.push_str(&format!("  {failure}\n"));
        }
        let hidden = self.acted - shown.len() as u64;
        if hidden > 0 {
            text.push_str(&format!(
                "  … and {hidden} more; --out DIR writes all with their reasons to decisions.jsonl\n"
            ));
        }
        text
    }
}

fn act(decision: &DecisionLine<'_>, changes: &[&Action]) -> Act {
    let actions: Vec<String> = changes.iter().map(|change| action(change)).collect();
    let mut reasons: Vec<String> = decision.reasons.iter().filter_map(reason).collect();
    if reasons.is_empty() {
        // It acted because something does not hold.
        reasons = decision.reasons.iter().filter(|reason| reason.code != WITHIN).filter_map(named).collect();
    }
    if reasons.is_empty() {
        reasons = decision.reasons.iter().filter_map(named).collect();
    }
    let cause = match decision.cause.as_ref() {
        Cause::Periodic => "",
        _ => " (at an event)",
    };
    Act {
        t_seconds: decision.t_seconds,
        who: format!("{}{cause}", decision.controller),
        what: actions.join(", "),
        why: reasons.join("; "),
        set: decision.actions.iter().filter_map(set).collect(),
    }
}

fn set(action: &Action) -> Option<(String, i32)> {
    match action {
        Action::SetReplicas { target, replicas } => Some((target.to_string(), *replicas)),
        _ => None,
    }
}

fn action(action: &Action) -> String {
    match action {
        Action::SetReplicas { target, replicas } => format!("{target} to {replicas} replicas"),
        Action::PublishSignal { name, value, .. } => format!("publish {name} = {value}"),
        Action::SetBounds { target, min, max } => format!("bound {target} to {min:?}..{max:?}"),
        Action::SetRequests { target, .. } => format!("new requests for {target}"),
        Action::Evict { pod, .. } => format!("evict {pod}"),
        Action::LaunchNodes(launch) => format!("launch {} of {}", launch.count, launch.pool),
        Action::DrainNode { node, .. } => format!("drain {node}"),
        Action::DeleteNode { node, .. } => format!("delete {node}"),
        Action::ReplaceNodes { launch, drain } => {
            format!("launch {} of {} for {}", launch.count, launch.pool, drain.join(", "))
        }
        Action::SetAdmission { service, admission } => format!("{service} admits {admission:?}"),
        Action::Hold { .. } => "hold".to_owned(),
    }
}

/// A reason in few words: its code, or what a metric proposes. What holds as always is left out.
fn reason(reason: &Reason) -> Option<String> {
    let figure = |name: &str| reason.figures.get(name).map(|Exact(value)| *value);
    if let (Some(name), Some(proposed)) =
        (reason.subject.strip_prefix("metric "), figure("proposed_replicas"))
    {
        let usage = figure("usage_milli").map(|milli| format!(" at {}", digits(milli / 1e3)));
        return Some(format!("{name}{} proposes {proposed}", usage.unwrap_or_default()));
    }
    match reason.holds {
        Some(false) => None,
        _ if reason.subject == "ScalingActive" => None,
        _ => named(reason),
    }
}

/// What an HPA says of its bounds when they do not matter.
const WITHIN: &str = "DesiredWithinRange";

/// A reason by its code, if it has one, with its detail.
fn named(reason: &Reason) -> Option<String> {
    match (reason.code.is_empty(), reason.detail.is_empty()) {
        (true, true) => None,
        (true, false) => Some(reason.detail.clone()),
        (false, true) => Some(reason.code.clone()),
        (false, false) => Some(format!("{} ({})", reason.code, reason.detail)),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use scaletwin_core::control::TargetName;

    use super::*;

    /// Decisions of one controller, each with these actions.
    fn read(decisions: Vec<Vec<Action>>) -> Scaling {
        let mut scaling = Scaling::showing(10);
        for (number, actions) in (0_u32..).zip(decisions) {
            let line = DecisionLine {
                t_seconds: f64::from(number),
                controller: "one".into(),
                cause: Cow::Owned(Cause::Periodic),
                actions: actions.into(),
                reasons: Vec::new().into(),
            };
            scaling.read(&serde_json::to_string(&line).expect("plain data"));
        }
        scaling
    }

    fn publish(value: f64) -> Action {
        Action::PublishSignal { name: "wanted".into(), labels: BTreeMap::new(), value }
    }

    fn replicas(replicas: i32) -> Action {
        Action::SetReplicas { target: TargetName::new("web/main"), replicas }
    }

    #[test]
    fn what_is_published_again_does_not_count_as_acting() {
        let scaling = read(vec![vec![publish(2.0)], vec![publish(2.0)], vec![], vec![publish(3.0)]]);
        assert_eq!(scaling.headline(), "4 taken, 2 of them acted");
        let shown: Vec<&str> = scaling.acts().iter().map(|act| act.what.as_str()).collect();
        assert_eq!(shown, ["publish wanted = 2", "publish wanted = 3"]);
    }

    #[test]
    fn who_acts_because_something_does_not_hold_says_so() {
        let reason = |code: &str, holds| Reason { code: code.into(), holds, ..Reason::default() };
        let line = |reasons: Vec<Reason>| DecisionLine {
            t_seconds: 0.0,
            controller: "one".into(),
            cause: Cow::Owned(Cause::Periodic),
            actions: vec![replicas(0)].into(),
            reasons: reasons.into(),
        };
        let why = |reasons| act(&line(reasons), &[]).why;
        assert_eq!(
            why(vec![reason("ScalerNotActive", Some(false)), reason(WITHIN, Some(false))]),
            "ScalerNotActive"
        );
        assert_eq!(why(vec![reason(WITHIN, Some(false))]), WITHIN);
        assert_eq!(
            why(vec![reason("Stable", None), reason("", None), reason("Other", Some(false))]),
            "Stable"
        );
    }

    #[test]
    fn of_several_actions_those_that_change_something_are_shown() {
        let scaling = read(vec![vec![replicas(2), publish(1.0)], vec![replicas(3), publish(1.0)]]);
        assert_eq!(scaling.acts()[1].what, "web/main to 3 replicas");
    }

    #[test]
    fn nodes_come_and_go_and_each_time_counts() {
        let drain = || Action::DrainNode { cluster: "here".into(), node: "a".into() };
        assert_eq!(read(vec![vec![drain()], vec![drain()]]).headline(), "2 taken, 2 of them acted");
    }
}

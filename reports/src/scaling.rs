//! The decisions of a run that changed something, as lines for people.

use scaletwin_core::control::{Action, Cause, Reason};
use scaletwin_core::record::DecisionLine;
use scaletwin_core::units::exact::Exact;

use crate::figures::{clock, digits};

/// Collects decisions that act, as many as people read; it counts the rest.
#[derive(Debug, Clone, Default)]
pub struct Scaling {
    lines: Vec<String>,
    acted: u64,
    taken: u64,
    most: usize,
}

impl Scaling {
    /// Shows at most so many.
    #[must_use]
    pub fn showing(most: usize) -> Scaling {
        Scaling { most, ..Scaling::default() }
    }

    /// Reads lines of `decisions.jsonl`.
    pub fn read(&mut self, lines: &str) {
        // Lines of guards and refusals have another shape.
        let decisions = lines.lines().filter_map(|line| serde_json::from_str::<DecisionLine<'_>>(line).ok());
        for decision in decisions {
            self.taken += 1;
            let acts = decision.actions.iter().any(|action| !matches!(action, Action::Hold { .. }));
            self.acted += u64::from(acts);
            if acts && self.lines.len() < self.most {
                self.lines.push(line(&decision));
            }
        }
    }

    /// The lines, with a last one that says how many are not shown.
    #[must_use]
    pub fn text(&self) -> String {
        if self.taken == 0 {
            return String::new();
        }
        let mut text = format!("\ndecisions: {} taken, {} of them acted\n", self.taken, self.acted);
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        let hidden = self.acted - self.lines.len() as u64;
        if hidden > 0 {
            text.push_str(&format!(
                "  … and {hidden} more; --out DIR writes all with their reasons to decisions.jsonl\n"
            ));
        }
        text
    }
}

fn line(decision: &DecisionLine<'_>) -> String {
    let actions: Vec<String> = decision.actions.iter().map(action).collect();
    let reasons: Vec<String> = decision.reasons.iter().filter_map(reason).collect();
    let cause = match decision.cause.as_ref() {
        Cause::Periodic => "",
        _ => " (at an event)",
    };
    let (at, who) = (clock(decision.t_seconds), &decision.controller);
    format!("  {at}  {who}{cause}: {}  because {}", actions.join(", "), reasons.join("; "))
}

fn action(action: &Action) -> String {
    match action {
        Action::SetReplicas { target, replicas } => format!("{target} to {replicas} replicas"),
        Action::PublishSignal { name, value, .. } => format!("publish {name} = {value}"),
        Action::SetBounds { target, min, max } => format!("bound {target} to {min:?}..{max:?}"),
        Action::SetRequests { target, .. } => format!("new requests for {target}"),
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
        _ if reason.detail.is_empty() => Some(reason.code.clone()),
        _ => Some(format!("{} ({})", reason.code, reason.detail)),
    }
}

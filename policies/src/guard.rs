//! Guards: safety limits of our own over the merged actions of all controllers, whatever those wanted.

pub mod budget;
pub mod freeze;
pub mod limits;
pub mod rate;

use scaletwin_core::control::{Action, Reason, TargetName};

scaletwin_core::kinds! {
    /// A guard of a policy.
    #[derive(Debug, Clone)]
    pub enum GuardSpec {
        /// Limits on replicas, nodes, cost per hour and resources.
        Limits(limits::LimitsSpec) = "limits",
        /// How fast replicas may change.
        Rate(rate::RateSpec) = "rate-of-change",
        /// No change while maintenance goes on.
        Freeze(freeze::FreezeSpec) = "freeze",
        /// What may be spent in a period, with stages.
        Budget(budget::BudgetSpec) = "budget",
    }
}

/// A reason of a guard.
fn reason(guard: &str, target: Option<&TargetName>, code: &str, detail: String) -> Reason {
    Reason {
        target: target.cloned(),
        subject: format!("guard {guard}"),
        holds: None,
        code: code.to_owned(),
        detail,
        ..Reason::default()
    }
}

/// What an action is about, for a reason.
fn target_of(action: &Action) -> Option<&TargetName> {
    match action {
        Action::SetReplicas { target, .. }
        | Action::SetBounds { target, .. }
        | Action::SetRequests { target, .. }
        | Action::Evict { target, .. } => Some(target),
        _ => None,
    }
}

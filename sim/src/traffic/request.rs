//! A request as it arrives.

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::serving::continuous::content::Run;

/// A request as it arrives at the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// When.
    pub at: Time,
    /// The stream that it belongs to.
    pub stream: u16,
    /// Its number within the stream; draws that belong to it are keyed by this.
    pub number: u64,
    /// Which attempt it is, 0 for the first.
    pub attempt: u16,
    /// Tokens of its prompt, at least 1.
    pub prompt_tokens: u32,
    /// Tokens of its answer, at least 1.
    pub output_tokens: u32,
    /// Whether its answer is cut at `output_tokens` by its own bound, rather than ended by the model.
    pub cut: bool,
    /// Lower is more urgent.
    pub priority: i32,
    /// Its service time, where the trace has one.
    pub service: Option<Span>,
    /// What its prompt shares with others; `None`: nothing.
    pub prefix: Option<Box<[Run]>>,
    /// The group of its answer's tokens, where a later prompt has them; `None`: no other has.
    pub answer: Option<u64>,
}

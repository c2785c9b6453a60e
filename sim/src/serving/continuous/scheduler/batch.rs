//! A step as it was scheduled.

use scaletwin_core::model::StepShape;
use serde::{Deserialize, Serialize};

use super::super::sequence::{Key, Sequence};

/// A scheduled step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub(super) clock: u64,
    /// Steady decodes in it.
    pub(super) steady: u32,
    pub(super) entries: Vec<Entry>,
    /// Requests admitted in it.
    pub admitted: Vec<Admission>,
    /// Requests preempted in it, in the order of eviction.
    pub preempted: Vec<Key>,
    /// What its execution takes.
    pub shape: StepShape,
}

/// A sequence scheduled individually.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) tokens: u32,
    pub(super) samples: bool,
}

/// A request admitted in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// The sequence.
    pub key: Key,
    /// The caller's number.
    pub request: u32,
    /// Tokens found in the prefix cache.
    pub cached: u32,
    /// Whether it had run before and was preempted.
    pub resumed: bool,
}

impl Batch {
    /// Takes everything out; its lists can be used again.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.admitted.clear();
        self.preempted.clear();
        (self.clock, self.steady, self.shape) = (0, 0, StepShape::default());
    }

    /// Whether nothing is computed in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.tokens() == 0
    }

    /// Steady decodes in it.
    #[must_use]
    pub fn steady(&self) -> u32 {
        self.steady
    }
}

/// Adds the tokens of a sequence to a shape, or takes them out.
pub(super) fn add_to_shape(shape: &mut StepShape, sequence: &Sequence, tokens: u32, add: bool) {
    let (computed, count) = (u64::from(sequence.computed), u64::from(tokens));
    let signed = |total: &mut u64, value: u64| *total = if add { *total + value } else { *total - value };
    let one = if add { 1i64 } else { -1 };
    let step = |total: u32| u32::try_from(i64::from(total) + one).expect("a count of sequences");
    if sequence.is_prefill_chunk {
        signed(&mut shape.prefill_tokens, count);
        signed(&mut shape.prefill_attention, count * (2 * computed + count + 1) / 2);
        signed(&mut shape.prefill_context, computed + count);
        shape.prefill_sequences = step(shape.prefill_sequences);
    } else {
        signed(&mut shape.decode_context, computed + count);
        shape.decode_sequences = step(shape.decode_sequences);
    }
}

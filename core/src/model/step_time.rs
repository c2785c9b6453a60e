//! How long a step of an inference engine takes.

use serde::{Deserialize, Serialize};

use crate::units::Femtos;

/// What a step has to compute, as far as its duration may depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepShape {
    /// Tokens of prompts, those computed again after a preemption included.
    pub prefill_tokens: u64,
    /// Sequences that compute such tokens.
    pub prefill_sequences: u32,
    /// The sum over those tokens of the tokens that each attends to (causal).
    pub prefill_attention: u64,
    /// The sum over those sequences of the tokens in their context after the step.
    pub prefill_context: u64,
    /// Sequences that compute one token after their prompt.
    pub decode_sequences: u32,
    /// The sum over those sequences of the tokens in their context after the step.
    pub decode_context: u64,
}

impl StepShape {
    /// Tokens computed.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.prefill_tokens + u64::from(self.decode_sequences)
    }

    /// The shape `steps` decode steps later, in which every decode's context has grown by one token a step.
    #[must_use]
    pub fn after(&self, steps: u64) -> StepShape {
        StepShape { decode_context: self.decode_context + steps * u64::from(self.decode_sequences), ..*self }
    }
}

/// How the durations of a run of decode steps grow: step i takes the first one's duration plus i × `increase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeRun {
    /// Growth from step to step.
    pub increase: Femtos,
    /// For so many steps, the first included, that is exact; at least 1.
    pub steps: u64,
}

/// The duration of a step. Integers throughout, so that k steps and one jump over k steps agree to the bit.
pub trait StepTime: Send + Sync + std::fmt::Debug {
    /// The duration of a step of this shape, at least 1 ns.
    fn step(&self, shape: &StepShape) -> Femtos;

    /// How the durations go on when this decode step is repeated. A model that cannot say gives one step.
    fn decode_run(&self, shape: &StepShape) -> DecodeRun {
        let _ = shape;
        DecodeRun { increase: Femtos(0), steps: 1 }
    }
}

//! What one replica does with its requests: state machines that know of batches and blocks, not of clusters.

pub mod concurrency;
pub mod continuous;
pub mod dynamic;
mod ends;

use scaletwin_core::units::{Femtos, Time};
use serde::{Deserialize, Serialize};

/// Something that happened in a replica, at the end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// A request was scheduled for the first time.
    Started {
        /// The caller's number.
        request: u32,
    },
    /// Its first token came, maybe some time ago.
    FirstToken {
        /// The caller's number.
        request: u32,
        /// When.
        at: Time,
    },
    /// Its answer is complete.
    Finished {
        /// The caller's number.
        request: u32,
        /// Tokens of the answer.
        outputs: u32,
    },
}

/// Gaps between tokens: `steps` gaps of `first`, `first + increase`, …, each of `sequences` sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    /// The first gap.
    pub first: Femtos,
    /// How much each next one is longer.
    pub increase: Femtos,
    /// How many.
    pub steps: u64,
    /// Of how many sequences.
    pub sequences: u64,
}

impl Gaps {
    /// One gap of each of so many sequences.
    #[must_use]
    pub fn one(gap: Femtos, sequences: u64) -> Gaps {
        Gaps { first: gap, increase: Femtos(0), steps: 1, sequences }
    }
}

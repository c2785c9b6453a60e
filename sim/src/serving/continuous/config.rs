//! The settings of the scheduler, named as vLLM names them.

use serde::{Deserialize, Serialize};

/// The scheduler's settings. [`SchedulerConfig::check`] says which combinations vLLM refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerConfig {
    /// The most sequences that run at once.
    pub max_num_seqs: u32,
    /// The most tokens in one step.
    pub max_num_batched_tokens: u32,
    /// Tokens in a KV block.
    pub block_size: u32,
    /// KV blocks, one of which is never used.
    pub num_gpu_blocks: u32,
    /// Whether a prompt may be cut over several steps.
    pub enable_chunked_prefill: bool,
    /// Whether blocks are found again by their content.
    pub enable_prefix_caching: bool,
    /// The most tokens of one prompt in a step while there are others; 0: no bound.
    pub long_prefill_token_threshold: u32,
    /// Whether that bound grows when there are few others.
    pub long_prefill_token_threshold_adaptive: bool,
    /// Whose turn it is.
    pub policy: QueuePolicy,
    /// The longest sequence, prompt and output together.
    pub max_model_len: u32,
    /// The share of blocks kept free when a request is admitted beside others.
    pub watermark: f64,
    /// Whether a request is admitted only when its whole prompt fits.
    pub scheduler_reserve_full_isl: bool,
    /// The most sequences that run at once, if fewer than `max_num_seqs`.
    pub max_num_active_seqs: Option<u32>,
    /// Prefill steps are at least so many steps apart; 1: no hold.
    pub prefill_schedule_interval: u32,
    /// Whether a step is scheduled while the one before it still runs.
    pub async_scheduling: bool,
    /// Whether blocks are told apart even without prefix caching. It costs time and changes no decision.
    pub identify_blocks: bool,
}

scaletwin_core::names! {
    /// Whose turn it is in the waiting queue, and who is preempted.
    pub enum QueuePolicy {
        /// First come, first served; the youngest is preempted.
        Fcfs = "fcfs",
        /// The lowest priority value first; the highest is preempted.
        Priority = "priority",
    }
}

impl SchedulerConfig {
    /// The most sequences that run at once.
    #[must_use]
    pub fn running_limit(&self) -> usize {
        self.max_num_active_seqs.unwrap_or(self.max_num_seqs) as usize
    }

    /// The blocks kept free when a request is admitted beside others.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "int() of a share of the blocks"
    )]
    pub fn watermark_blocks(&self) -> u32 {
        (self.watermark * f64::from(self.num_gpu_blocks)) as u32
    }

    /// What vLLM refuses about this combination, if anything.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut refuse = |holds: bool, message: String| {
            if holds {
                wrong.push(message);
            }
        };
        let tokens = self.max_num_batched_tokens;
        refuse(
            tokens < self.max_num_seqs,
            format!("max_num_batched_tokens ({tokens}) is below max_num_seqs ({})", self.max_num_seqs),
        );
        refuse(
            !self.enable_chunked_prefill && tokens < self.max_model_len,
            format!(
                "without chunked prefill, max_num_batched_tokens ({tokens}) must reach max_model_len ({})",
                self.max_model_len
            ),
        );
        refuse(
            self.long_prefill_token_threshold > self.max_model_len,
            format!("long_prefill_token_threshold is above max_model_len ({})", self.max_model_len),
        );
        refuse(
            self.max_num_active_seqs.is_some_and(|active| active > self.max_num_seqs),
            format!("max_num_active_seqs is above max_num_seqs ({})", self.max_num_seqs),
        );
        let needed = self.max_model_len.div_ceil(self.block_size.max(1));
        refuse(
            needed >= self.num_gpu_blocks,
            format!(
                "one sequence of max_model_len ({}) needs {needed} KV blocks, and {} can be used",
                self.max_model_len,
                self.num_gpu_blocks.saturating_sub(1)
            ),
        );
        wrong
    }
}

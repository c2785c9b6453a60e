//! Continuous batching, deciding exactly as the V1 scheduler of vLLM 0.33 does.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the scheduler's settings, named as vLLM names them |
//! | [`content`] | which tokens a request has, so that equal prefixes hash alike |
//! | [`blocks`] | the KV blocks: counted, or with prefix cache and LRU order |
//! | [`waiting`] | the waiting queue: first come first served, or by priority |
//! | [`sequence`] | a request inside the scheduler |
//! | [`group`] | the steady decodes, which need no work of their own in a step |
//! | [`scheduler`] | schedule, update, abort; it knows no time |
//! | [`replica`] | a replica in time: steps, and jumps over many steps |
//!
//! `docs/models/continuous-batching.md` has the rules and what is left out.

pub mod blocks;
pub mod config;
pub mod content;
pub mod group;
pub mod replica;
pub mod scheduler;
pub mod sequence;
pub mod waiting;

//! Requests: from traces, from arrival processes, from clients that wait for answers, and again from clients that try
//! once more.
//!
//! | module | what it holds |
//! |---|---|
//! | [`request`] | a request as it arrives |
//! | [`trace`] | readers of trace files, streaming |
//! | [`arrivals`] | arrival processes with lengths |
//! | [`curve`] | rates that change over time |
//! | [`sessions`] | several turns with think times, whose prompts grow |
//! | [`statistics`] | what a trace is like |
//! | [`clients`] | closed loops, retries, time-outs |
//! | [`stream`] | one stream of traffic, and all of them merged by time |

pub mod arrivals;
pub mod clients;
pub mod curve;
pub mod request;
pub mod sessions;
pub mod statistics;
pub mod stream;
pub mod trace;

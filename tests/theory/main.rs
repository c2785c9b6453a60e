//! Exact results of queueing theory, held against whole runs.
//!
//! A case has a scenario, a figure of its summary, and the formula, written here and not taken from the product. Over
//! [`REPLICATIONS`] independent runs it asserts that theory lies inside the interval of the mean and that the interval is
//! narrow enough to mean something. The error is family-wise: each of the [`CASES`] assertions is made at 1 − 0.01/m. On a
//! miss one second set of seeds at four times the length, fixed here beforehand, decides.

mod batches;
mod closed;
mod laboratory;
mod losses;
mod queues;
mod routing;
mod setup;
mod sharing;

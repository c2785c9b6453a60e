//! What people read of a record: the text of a run and of a study, and tables as CSV.
//!
//! Everything here is made from a [`RunRecord`](scaletwin_core::record::RunRecord) and what goes with it alone.

mod figures;
mod scaling;
pub mod study;
pub mod tables;
pub mod text;
pub mod verdict;

pub use scaling::Scaling;

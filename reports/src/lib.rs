//! What people read of a record: the text of a run and of a study, a page with charts, and tables as CSV.
//!
//! Everything here is made from a [`RunRecord`](scaletwin_core::record::RunRecord) and what goes with it alone.

mod chart;
mod figures;
pub mod html;
mod scaling;
pub mod study;
pub mod tables;
pub mod text;
pub mod traffic;
pub mod verdict;

pub use scaling::{Act, Scaling};

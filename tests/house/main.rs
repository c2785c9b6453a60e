//! The house itself: who may import whom, and what every file keeps to.

mod imports;
mod robustness;
mod tidy;

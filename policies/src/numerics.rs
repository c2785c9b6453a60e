//! The arithmetic of controllers written in other languages, where bits depend on it.

pub mod go;
pub mod python;

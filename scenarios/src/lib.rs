//! Scenarios as written, checked, and built into runs.

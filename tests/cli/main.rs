//! The program as people use it: what it prints where, what it writes, and how it refuses.

mod imports;
mod init;
mod manifests;
mod output;
mod program;
mod refusals;
mod traces;

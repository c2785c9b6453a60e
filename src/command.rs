//! One file a command.

pub(crate) mod completions;
pub(crate) mod init;
pub(crate) mod policies;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod trace;

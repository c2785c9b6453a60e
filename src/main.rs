//! The command line of scaletwin.

fn main() {}

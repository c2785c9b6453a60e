//! Runs of the program in a folder of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with files, in which the program runs.
pub(crate) struct Folder(tempfile::TempDir);

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Folder {
    /// A folder with these files.
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Folder {
        let folder = tempfile::tempdir().expect("a folder for a test");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file of a test");
        }
        Folder(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs the program there.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        run_in(self.0.path(), arguments)
    }
}

fn run_in(folder: &Path, arguments: &[&str]) -> Ended {
    let done = Command::new(env!("CARGO_BIN_EXE_scaletwin"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes text");
    Ended { code: done.status.code().expect("no signal"), out: text(done.stdout), err: text(done.stderr) }
}

/// A small scenario that runs.
pub(crate) const SMALL: &str = "\
name: small
seed: 7
services:
  - name: web
    slo: {e2e: {p95: 2s}}
    deployments:
      - name: main
        replicas: 2
        engine: {kind: concurrency, limit: 2, service_time: {exponential: {mean: 300ms}}}
traffic:
  - {name: users, requests: 500, arrivals: {poisson: {rate: 8/s}}}
";

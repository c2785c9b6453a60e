//! `scaletwin trace anonymise`.

use std::path::PathBuf;

use scaletwin_sim::traffic::trace::Row;
use sha2::{Digest as _, Sha256};

use super::convert::Target;
use super::source::Source;
use crate::Answer;
use crate::failure::Failure;
use crate::output;

/// The shortest salt, bytes.
const SHORTEST: usize = 16;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// A file with the salt, at least 16 bytes that nobody else knows; whoever has it can test guesses
    #[arg(long, value_name = "FILE")]
    salt_file: PathBuf,
    /// The new file; `.csv` is our CSV, `.jsonl` our JSON lines
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes a trace with nothing but times, lengths, and salted hashes.
pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let name = args.salt_file.display();
    let salt =
        std::fs::read(&args.salt_file).map_err(|error| Failure::of(format!("cannot read {name}"), &error))?;
    if salt.len() < SHORTEST {
        let hint = format!("head -c 32 /dev/urandom > {name}");
        let message = format!("{name}: a salt has at least {SHORTEST} bytes\n  = hint: {hint}");
        return Err(Failure::Other(message));
    }
    output::keep_apart(&args.out, [args.source.path(), &args.salt_file])?;
    let first = args.source.first()?.at;
    let mut target = Target::create(&args.out, first)?;
    let mut requests = 0u64;
    args.source.read(|row| {
        requests += 1;
        target.write(&anonymous(row, &salt))
    })?;
    // The civil instant of t = 0 is left out of what is told: it is no part of the new trace.
    target.finish(requests, true)?;
    Ok(Answer::Done)
}

/// The row without what is neither time nor length, and with other numbers for what prompts share.
fn anonymous(row: Row, salt: &[u8]) -> Row {
    let prefix = row.prefix.map(|mut runs| {
        for run in &mut runs {
            run.group = hash(salt, run.group);
        }
        runs
    });
    Row { priority: None, prefix, ..row }
}

/// The first 63 bits of SHA-256 over the salt and the number.
fn hash(salt: &[u8], group: u64) -> u64 {
    let digest = Sha256::new().chain_update(salt).chain_update(group.to_le_bytes()).finalize();
    let first: [u8; 8] = std::array::from_fn(|place| digest[place]);
    u64::from_le_bytes(first) >> 1
}

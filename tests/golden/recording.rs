//! Recordings: one JSON object a line, gzip.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use libtest_mimic::{Completion, Failed, Trial};
use serde::de::DeserializeOwned;

/// How many differences a failure shows.
const SHOWN: usize = 5;

/// A trial that compares every record of `file`. `check` gives what differs, if anything does.
pub(crate) fn trial<R: DeserializeOwned>(
    file: &'static str,
    check: impl Fn(&R) -> Result<(), String> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(file.trim_end_matches(".jsonl.gz"), move || {
        let Some(path) = path_of(file) else { return missing(file) };
        let reader = BufReader::new(MultiGzDecoder::new(File::open(&path)?));
        let (mut records, mut differences) = (0, Vec::new());
        for line in reader.lines() {
            let record: R = serde_json::from_str(&line?)?;
            if let Err(difference) = check(&record) {
                differences.push(format!("record {records}: {difference}"));
            }
            records += 1;
        }
        let different = differences.len();
        println!("{file}: {records} records, {} equal, {different} different", records - different);
        if records == 0 {
            return Err(Failed::from("the recording is empty"));
        }
        if different > 0 {
            differences.truncate(SHOWN);
            return Err(Failed::from(differences.join("\n")));
        }
        Ok(Completion::Completed)
    })
}

fn path_of(file: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("SCALETWIN_GOLDEN_DIR")?).join(file);
    path.is_file().then_some(path)
}

fn missing(file: &str) -> Result<Completion, Failed> {
    let reason = format!("SCALETWIN_GOLDEN_DIR holds no {file}");
    let required = std::env::var("SCALETWIN_REQUIRE").unwrap_or_default();
    if required.split(',').any(|suite| suite.trim() == "golden") {
        return Err(Failed::from(format!("{reason}, and SCALETWIN_REQUIRE asks for it")));
    }
    Ok(Completion::ignored_with(reason))
}

/// `Err` with both values when they differ.
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, recorded: T) -> Result<(), String> {
    if ours == recorded { Ok(()) } else { Err(format!("{what}: ours {ours:?}, recorded {recorded:?}")) }
}

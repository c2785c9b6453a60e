//! Histories of spot capacity and prices, from files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use scaletwin_core::input::{At, Problem, Problems, suggestion};
use scaletwin_core::units::{Civil, Span};

use crate::spec::cluster::{AvailabilitySpec, NodePoolSpec, PricesSpec};

/// The longest history that is read, bytes, unpacked.
const LONGEST: u64 = 256 << 20;

/// A history that is open, with the places of its columns.
struct History {
    rows: csv::Reader<Box<dyn Read>>,
    name: String,
    columns: Vec<usize>,
}

impl History {
    /// Opens the file at `path` and finds these columns in it.
    fn open(path: &At<String>, folder: &Path, columns: &[&str]) -> Result<History, Problem> {
        let unreadable = |why: &dyn std::fmt::Display| {
            Problem::error(&path.place, format!("cannot read {}: {why}", path.value))
        };
        let file = File::open(folder.join(&path.value)).map_err(|error| unreadable(&error))?;
        let is_packed = path.value.ends_with(".gz");
        let text: Box<dyn Read> =
            if is_packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut rows = csv::Reader::from_reader(Box::new(text.take(LONGEST)) as Box<dyn Read>);
        let header = rows.headers().map_err(|error| unreadable(&error))?.clone();
        let names: Vec<&str> = header.iter().map(str::trim).collect();
        let place = |column: &&str| {
            names.iter().position(|name| name == column).ok_or_else(|| {
                let problem = unreadable(&format!("it has no column {column:?}"));
                problem.hint(suggestion(column, &names).unwrap_or_default())
            })
        };
        let columns = columns.iter().map(place).collect::<Result<_, _>>()?;
        Ok(History { rows, name: path.value.clone(), columns })
    }

    /// The fields of the next row in the order of the columns, with its line.
    fn next(&mut self) -> Option<Result<(u64, Vec<String>), String>> {
        let mut record = csv::StringRecord::new();
        match self.rows.read_record(&mut record) {
            Ok(false) => None,
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                let field = |column: &usize| record.get(*column).unwrap_or_default().trim().to_owned();
                Some(Ok((line, self.columns.iter().map(field).collect())))
            }
            Err(error) => Some(Err(format!("{}: {error}", self.name))),
        }
    }

    /// All rows, each read by `row`, which says what is wrong with a field.
    fn all<T>(mut self, row: impl Fn(&[String]) -> Result<Option<T>, String>) -> Result<Vec<T>, String> {
        let mut values = Vec::new();
        while let Some(next) = self.next() {
            let (line, fields) = next?;
            values.extend(row(&fields).map_err(|why| format!("{}:{line}: {why}", self.name))?);
        }
        Ok(values)
    }
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("{text:?} is no number of at least 0"))
}

/// The capacity from each instant on that it changes, by a series.
pub(super) fn availability(
    spec: &At<AvailabilitySpec>,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<(Span, u32)> {
    let rows = History::open(&spec.path, folder, &["t_s", &spec.column.value]).and_then(|history| {
        let rows = history.all(|fields| Ok(Some((number(&fields[0])?, number(&fields[1])?))));
        rows.map_err(|why| Problem::error(&spec.path.place, why))
    });
    let rows = match rows {
        Ok(rows) => rows,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    if !rows.is_sorted_by(|a, b| a.0 < b.0) {
        problems.error(&spec.path.place, "the instants of the column t_s ascend");
    }
    let steps = rows.iter().map(|(at, value)| (*at - spec.from.as_secs_f64(), value * f64::from(spec.nodes)));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float to u32 saturates")]
    let steps: Vec<(f64, u32)> = steps.map(|(at, nodes)| (at, nodes as u32)).collect();
    if let Some((last, _)) = steps.last().filter(|(last, _)| *last < 0.0) {
        let last = last + spec.from.as_secs_f64();
        let message =
            format!("the series ends at {last} s, before its instant that is t = 0: its last value holds");
        problems.push(Problem::warning(&spec.place, message).hint("from: lies within the series"));
    }
    let steps = from_start(&steps);
    if steps.is_empty() {
        problems.error(&spec.path.place, "the series has nothing at t = 0 or after it");
    }
    steps
}

/// What t = 0 is in histories of prices.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The start of the scenario, if it is written.
    pub start: Option<Civil>,
    /// The first price of the first history that begins with its own.
    pub first: Option<Civil>,
}

/// The price at t = 0 and the changes after it, by a history.
pub(super) fn prices(
    spec: &At<PricesSpec>,
    pool: &NodePoolSpec,
    beginning: &mut Beginning,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<(Span, f64)> {
    let columns = ["timestamp", "availability_zone", "instance_type", "spot_price_usd_per_hour"];
    let zone = spec.zone.as_ref().map_or(&pool.zone, |zone| &zone.value);
    let instance_type = spec.instance_type.as_ref().map_or(&pool.instance_type.value, |name| &name.value);
    let rows = History::open(&spec.path, folder, &columns).and_then(|history| {
        let row = |fields: &[String]| {
            if fields[1] != *zone || fields[2] != *instance_type {
                return Ok(None);
            }
            let at: Civil = fields[0].parse().map_err(|why| format!("timestamp {:?} {why}", fields[0]))?;
            Ok(Some((at, number(&fields[3])?)))
        };
        history.all(row).map_err(|why| Problem::error(&spec.path.place, why))
    });
    let mut rows = match rows {
        Ok(rows) => rows,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    rows.sort_by_key(|(at, _)| *at);
    let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else {
        let message = format!("there is no price of {instance_type} in zone {zone}");
        problems
            .push(Problem::error(&spec.place, message).hint("write zone: and instance_type: as in the file"));
        return Vec::new();
    };
    let from = spec.from.unwrap_or_else(|| match beginning.start {
        Some(start) if (*first..=*last).contains(&start) => start,
        Some(start) => {
            let message = format!(
                "start: {start} is not within the history, from {first} to {last}: t = 0 is its first price"
            );
            problems.push(Problem::warning(&spec.place, message).hint(format!("write from: {first}")));
            *first
        }
        None => {
            let other = *beginning.first.get_or_insert(*first);
            if other != *first {
                let message = format!(
                    "t = 0 is the first price, of {first}, and in the history of another node pool {other}"
                );
                problems.push(Problem::warning(&spec.place, message).hint("write start:, or from: here"));
            }
            *first
        }
    });
    if from > *last {
        let message = format!("the history ends at {last}, before from: {from}: its last price holds");
        problems.push(Problem::warning(&spec.place, message));
    }
    let seconds = |at: Civil| (at.as_unix_nanos() - from.as_unix_nanos()) as f64 / 1e9;
    let steps: Vec<(f64, f64)> = rows.iter().map(|(at, price)| (seconds(*at), *price)).collect();
    let steps = from_start(&steps);
    if steps.first().is_none_or(|(at, _)| !at.is_zero()) {
        problems.error(&spec.place, "there is no price at t = 0: the history begins later");
    }
    steps
}

/// The step at t = 0 and those after it that change anything.
fn from_start<T: Copy + PartialEq>(steps: &[(f64, T)]) -> Vec<(Span, T)> {
    let mut kept: Vec<(Span, T)> = Vec::new();
    for (at, value) in steps {
        let at = Span::from_secs_f64(at.max(0.0)).unwrap_or(Span::CENTURY);
        match kept.last_mut() {
            Some(last) if last.0 == at => last.1 = *value,
            Some(last) if last.1 == *value => {}
            _ => kept.push((at, *value)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_at_the_start_and_changes_after_it_is_kept() {
        let steps = [(-9.0, 1), (-3.0, 2), (0.5, 2), (4.0, 3), (5.0, 3), (6.0, 1)];
        let known = [(0, 2), (4, 3), (6, 1)].map(|(at, value)| (Span::from_secs(at), value));
        assert_eq!(from_start(&steps), known);
        assert_eq!(from_start(&[(2.0, 1)]), [(Span::from_secs(2), 1)]);
    }
}

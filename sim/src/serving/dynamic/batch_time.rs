//! How long a batch takes.

use scaletwin_core::random::{Draws, Law};
use scaletwin_core::units::Span;
use serde::Serialize;

/// How long a batch takes, by its size.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchTime {
    /// A constant part and one for each request.
    Linear {
        /// The constant part.
        base: Span,
        /// For each request.
        per_request: Span,
    },
    /// Drawn for each batch, seconds, whatever its size.
    Law(Law),
    /// By size, ascending from 1; between two sizes on the line that joins them, beyond the last as the last.
    Table(Vec<(u32, Span)>),
}

impl BatchTime {
    /// How long a batch of `size` takes. `draws` is the luck of this batch.
    #[must_use]
    pub fn of(&self, size: u32, draws: &mut Draws) -> Span {
        match self {
            BatchTime::Linear { base, per_request } => {
                let nanos =
                    u128::from(base.as_nanos()) + u128::from(per_request.as_nanos()) * u128::from(size);
                Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Span::CENTURY)
            }
            BatchTime::Law(law) => {
                Span::from_secs_f64(law.draw(draws)).map_or(Span::CENTURY, |span| span.min(Span::CENTURY))
            }
            BatchTime::Table(rows) => in_table(rows, size),
        }
    }
}

/// The time of `size` in a table, rounded up to the nanosecond.
fn in_table(rows: &[(u32, Span)], size: u32) -> Span {
    let after = rows.partition_point(|(listed, _)| *listed < size);
    let Some((upper, above)) = rows.get(after) else {
        return rows.last().map_or(Span::ZERO, |(_, time)| *time);
    };
    let Some((lower, below)) = after.checked_sub(1).map(|before| rows[before]) else { return *above };
    let weight = |nanos: u64, sizes: u32| u128::from(nanos) * u128::from(sizes);
    let sum = weight(above.as_nanos(), size - lower) + weight(below.as_nanos(), upper - size);
    let nanos = sum.div_ceil(u128::from(upper - lower));
    Span::from_nanos(u64::try_from(nanos).expect("no longer than the longer of the two"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaletwin_core::random::Seed;

    fn of(time: &BatchTime, size: u32) -> u64 {
        time.of(size, &mut Seed(1).component("batch-time").entity(0)).as_nanos()
    }

    #[test]
    fn a_table_joins_its_sizes_by_lines() {
        let at = |size, nanos| (size, Span::from_nanos(nanos));
        let table = BatchTime::Table(vec![at(1, 10), at(3, 13), at(4, 20)]);
        assert_eq!([1, 2, 3, 4, 9].map(|size| of(&table, size)), [10, 12, 13, 20, 20]);
    }

    #[test]
    fn linear_times_grow_with_the_batch() {
        let linear = BatchTime::Linear { base: Span::from_nanos(4), per_request: Span::from_nanos(3) };
        assert_eq!([1, 8].map(|size| of(&linear, size)), [7, 28]);
    }
}

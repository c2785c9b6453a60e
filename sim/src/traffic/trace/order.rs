//! Rows by arrival, where the file has them by another order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::Row;

/// How many rows are held back. A row that stands later than this behind one that arrives after it cannot be put right.
pub(super) const HELD_BACK: usize = 1 << 18;

/// Rows that wait for those that stand later and arrive earlier.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: BinaryHeap<Reverse<ByArrival>>,
    ended: bool,
}

impl Order {
    /// Whether another row has to be put in before one can be taken.
    pub(super) fn wants_more(&self) -> bool {
        !self.ended && self.waiting.len() < HELD_BACK
    }

    /// Puts in the next row of the file; `None` after the last.
    pub(super) fn put(&mut self, row: Option<Row>) {
        match row {
            Some(row) => self.waiting.push(Reverse(ByArrival { number: row.line, row })),
            None => self.ended = true,
        }
    }

    /// Takes the row that arrives first.
    pub(super) fn take(&mut self) -> Option<Row> {
        self.waiting.pop().map(|Reverse(first)| first.row)
    }
}

/// A row, ordered by its arrival and then by its place in the file.
#[derive(Debug)]
struct ByArrival {
    row: Row,
    number: u64,
}

impl Ord for ByArrival {
    fn cmp(&self, other: &ByArrival) -> Ordering {
        (self.row.at, self.number).cmp(&(other.row.at, other.number))
    }
}

impl PartialOrd for ByArrival {
    fn partial_cmp(&self, other: &ByArrival) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByArrival {
    fn eq(&self, other: &ByArrival) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByArrival {}

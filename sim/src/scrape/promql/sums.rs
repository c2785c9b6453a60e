//! Compensated sums, step by step as Prometheus takes them (`kahanSumInc`, after Neumaier).

/// A sum and what its rounding lost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) sum: f64,
    pub(super) lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let next = self.sum + value;
        self.lost +=
            if self.sum.abs() >= value.abs() { (self.sum - next) + value } else { (value - next) + self.sum };
        self.sum = next;
    }

    /// The sum with what was lost; an infinite sum as it is.
    pub(super) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// Whether a mean that is infinite stays as it is: nothing finite and nothing of the same sign moves it.
pub(super) fn stays_infinite(mean: f64, value: f64) -> bool {
    if value.is_infinite() { (mean > 0.0) == (value > 0.0) } else { !value.is_nan() }
}

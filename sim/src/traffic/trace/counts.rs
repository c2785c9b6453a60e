//! Formats that only have the number of requests in steps of time. Their arrivals are drawn: n requests of a step are
//! independent and even over it, as those of a Poisson process are, given their number.

use scaletwin_core::random::{Component, Draws};
use scaletwin_core::units::Span;

use super::rows::{Fault, Found, Rows, Wrong, number, text, wrong};
use super::table::Table;
use super::{Input, Reading, Row, RowTime};
use crate::traffic::arrivals::stochastic_round;

/// A step of time with its number of requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub from: RowTime,
    pub width: Span,
    pub requests: u64,
    /// The line it stands in.
    pub line: u64,
}

/// Where steps come from, in the order of time.
pub(super) trait Steps: Send {
    /// The next step; `None` after the last.
    fn next(&mut self) -> Result<Option<Step>, Fault>;

    /// When the first step begins, if that is a civil instant.
    fn begins(&self) -> Option<RowTime> {
        None
    }
}

/// Requests drawn from numbers.
pub(super) struct Drawn<S> {
    begins: Option<RowTime>,
    steps: S,
    scale: f64,
    luck: Component,
    taken: u64,
    current: Option<(Step, Draws, f64)>,
}

impl<S: Steps> Drawn<S> {
    pub(super) fn new(steps: S, reading: &Reading) -> Drawn<S> {
        let (scale, luck) = (reading.scale, reading.luck);
        Drawn { begins: steps.begins(), steps, scale, luck, taken: 0, current: None }
    }
}

impl<S: Steps> Rows for Drawn<S> {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        loop {
            if let Some((step, draws, share)) = &mut self.current
                && step.requests > 0
            {
                *share = after(*share, step.requests, draws);
                step.requests -= 1;
                let at = step.from.plus(part_of(step.width, *share)).unwrap_or(step.from);
                return Ok(Some(Found::Row(Row { line: step.line, ..Row::bare(at) })));
            }
            let Some(mut step) = self.steps.next()? else { return Ok(None) };
            step.requests =
                stochastic_round(step.requests as f64 * self.scale, self.luck, SCALED | self.taken);
            self.current = Some((step, self.luck.entity(self.taken), 0.0));
            self.taken += 1;
        }
    }

    fn begins(&self) -> Option<RowTime> {
        self.begins
    }
}

/// The draws of scaled numbers, besides those of instants.
pub(super) const SCALED: u64 = 1 << 63;

/// The least of `left` independent shares that are even over what is left after `share`: the order statistics one by one.
pub(super) fn after(share: f64, left: u64, draws: &mut Draws) -> f64 {
    let rest = libm::pow(draws.uniform(), 1.0 / left as f64);
    (share + (1.0 - share) * (1.0 - rest)).min(1.0)
}

/// A share of a span, to the nanosecond below.
pub(super) fn part_of(span: Span, share: f64) -> Span {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u64")]
    let nanos = (span.as_nanos() as f64 * share) as u64;
    Span::from_nanos(nanos.min(span.as_nanos().saturating_sub(1)))
}

/// The length of a minute.
const MINUTE: Span = Span::from_secs(60);

/// CSV with minute and requests.
pub(super) struct Minutes {
    table: Table,
    minute: usize,
    requests: usize,
    /// The number of the minute before.
    last: Option<u64>,
}

impl Minutes {
    pub(super) fn new(input: Input, reading: &Reading) -> Result<Minutes, Fault> {
        let table = Table::new(input, &reading.only)?;
        let (minute, requests) = (table.column("minute")?, table.column("requests")?);
        Ok(Minutes { table, minute, requests, last: None })
    }

    fn step(&mut self) -> Result<Step, Wrong> {
        let mut fields = self.table.fields().enumerate();
        let (mut minute, mut requests) = (0, 0);
        fields.try_for_each(|(place, (offset, field))| {
            if place == self.minute {
                minute = number(field, offset, "a number of minutes")?;
            } else if place == self.requests {
                requests = number(field, offset, "a number of requests")?;
            }
            Ok(())
        })?;
        if let Some(last) = self.last.filter(|last| minute <= *last) {
            return wrong(
                0,
                format!("minute {minute} stands after minute {last}: each stands once, in order"),
            );
        }
        self.last = Some(minute);
        Ok(Step { from: RowTime::Offset(minutes(minute)?), width: MINUTE, requests, line: self.table.line() })
    }
}

impl Steps for Minutes {
    fn next(&mut self) -> Result<Option<Step>, Fault> {
        match self.table.advance()? {
            true => self.step().map(Some).map_err(|wrong| self.table.fault(wrong)),
            false => Ok(None),
        }
    }
}

/// So many minutes.
fn minutes(count: u64) -> Result<Span, Wrong> {
    match count.checked_mul(MINUTE.as_nanos()).map(Span::from_nanos) {
        Some(span) if span <= Span::CENTURY => Ok(span),
        _ => wrong(0, format!("minute {count} is over a hundred years")),
    }
}

/// Azure Functions 2019: a line for each function, a column for each minute. All functions are one stream.
pub(super) struct FunctionMinutes {
    table: Table,
    /// Of each column the minute it is about, from 0.
    minutes: Vec<Option<usize>>,
    requests: Vec<u64>,
    /// The next minute to give, once all functions have been read.
    next: Option<usize>,
}

/// The most minutes of a file: a day has 1440.
const MOST_MINUTES: usize = 366 * 1440;

/// The minute that a column is about, from 0.
fn minute(name: &[u8]) -> Option<usize> {
    std::str::from_utf8(name).ok()?.parse::<usize>().ok()?.checked_sub(1)
}

impl FunctionMinutes {
    pub(super) fn new(input: Input, reading: &Reading) -> Result<FunctionMinutes, Fault> {
        let table = Table::new(input, &reading.only)?;
        table.column("HashFunction")?;
        let minutes = table.header().map(|(offset, name)| match name {
            b"HashOwner" | b"HashApp" | b"HashFunction" | b"Trigger" => Ok(None),
            _ => minute(name).map(Some).ok_or(offset),
        });
        let minutes: Vec<Option<usize>> = minutes.collect::<Result<_, _>>().map_err(|offset| {
            let fault = table.header_fault(offset, "this column is no minute from 1".to_owned());
            fault.hint("after HashOwner, HashApp, HashFunction, Trigger come the minutes 1 to 1440")
        })?;
        let mut sorted: Vec<usize> = minutes.iter().flatten().copied().collect();
        sorted.sort_unstable();
        if let Some(place) = (0..sorted.len()).find(|place| sorted[*place] != *place) {
            let message =
                format!("the minutes 1 to {} do not stand once each: {} is wrong", sorted.len(), place + 1);
            return Err(table.header_fault(0, message));
        }
        let Some(last) = sorted.last().filter(|last| **last < MOST_MINUTES) else {
            return Err(table.header_fault(0, "no column is a minute of the year".to_owned()));
        };
        let requests = vec![0; last + 1];
        Ok(FunctionMinutes { table, minutes, requests, next: None })
    }

    /// Adds the numbers of one function; none of them if one is wrong.
    fn add(&mut self) -> Result<(), Wrong> {
        let mut found = Vec::with_capacity(self.minutes.len());
        for ((offset, field), minute) in self.table.fields().zip(&self.minutes) {
            if let Some(minute) = minute {
                found.push((*minute, number::<u64>(field, offset, "a number of requests")?));
            }
        }
        for (minute, requests) in found {
            self.requests[minute] = self.requests[minute].saturating_add(requests);
        }
        Ok(())
    }
}

impl Steps for FunctionMinutes {
    fn next(&mut self) -> Result<Option<Step>, Fault> {
        while self.next.is_none() {
            if self.table.advance()? {
                self.add().map_err(|wrong| self.table.fault(wrong))?;
            } else {
                self.next = Some(0);
            }
        }
        let Some(minute) = self.next.filter(|minute| *minute < self.requests.len()) else { return Ok(None) };
        self.next = Some(minute + 1);
        let from = RowTime::Offset(MINUTE * minute as u64);
        Ok(Some(Step { from, width: MINUTE, requests: self.requests[minute], line: 1 }))
    }
}

/// A field as text, without spaces around it.
pub(super) fn word(field: &[u8], offset: usize) -> Result<&str, Wrong> {
    text(field, offset).map(str::trim)
}

#[cfg(test)]
mod tests {
    use scaletwin_core::random::Seed;

    use super::*;

    #[test]
    fn drawn_arrivals_are_even_over_their_step() {
        // The mean of n uniform shares is 1/2 with a standard error of 1/sqrt(12 n); the variance of one is 1/12.
        let n = 100_000;
        let mut draws = Seed(1).component("t").entity(0);
        let mut share = 0.0;
        let shares: Vec<f64> = (0..n)
            .map(|taken| {
                share = after(share, n - taken, &mut draws);
                share
            })
            .collect();
        assert!(shares.is_sorted());
        let mean = shares.iter().sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 5.0 / (12.0 * n as f64).sqrt(), "{mean}");
        let variance = shares.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        assert!((variance * 12.0 - 1.0).abs() < 0.02, "{variance}");
    }
}

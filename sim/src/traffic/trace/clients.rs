//! ServeGen: rates of clients in windows of time, each with a law of the gaps between its requests. Requests are drawn.
//!
//! As ServeGen itself does, a client's gaps within a window are scaled so that they fill it: n requests have n + 1 gaps, with
//! n the nearest whole number to rate × window, so that the number of requests is that of the file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use scaletwin_core::input::suggestion;
use scaletwin_core::random::{Component, Draws, Law};
use scaletwin_core::units::Span;

use super::counts::{SCALED, part_of, word};
use super::rows::{Fault, Found, Rows, Wrong, number, seconds, wrong};
use super::table::Table;
use super::{Input, Reading, Row, RowTime};
use crate::traffic::arrivals::stochastic_round;

/// The most lines: they are held in memory, because the file has one client after the other.
const MOST_LINES: usize = 8 << 20;

/// The most requests of a client in a window: their gaps are drawn twice.
const MOST_REQUESTS: f64 = 1e8;

/// The window of a file that does not show its own.
const WINDOW: Span = Span::from_secs(600);

/// Requests of clients.
pub(super) struct Clients {
    table: Table,
    /// Of client, start, rate, law, shape: the columns.
    columns: [usize; 5],
    scale: f64,
    luck: Component,
    /// Clients with requests in each window, by its start.
    windows: BTreeMap<Span, Vec<Active>>,
    /// The last client and window read, and the shortest step between two windows of one client.
    before: Option<(u64, Span)>,
    step: Option<Span>,
    lines: usize,
    /// Whether all lines have been read.
    complete: bool,
    /// The next request of each client in the present window.
    next: BinaryHeap<Reverse<(Span, u64)>>,
    drawing: BTreeMap<u64, Drawing>,
}

/// A client in a window.
#[derive(Debug, Clone, Copy)]
struct Active {
    client: u64,
    rate: f64,
    shape: f64,
    is_gamma: bool,
    line: u64,
}

/// A client that draws its requests in a window.
#[derive(Debug)]
struct Drawing {
    law: Law,
    draws: Draws,
    total: f64,
    passed: f64,
    left: u64,
    from: Span,
    width: Span,
    line: u64,
}

impl Clients {
    pub(super) fn new(input: Input, reading: &Reading) -> Result<Clients, Fault> {
        let table = Table::new(input, &reading.only)?;
        let mut columns = [0; 5];
        for (place, name) in ["client_id", "t_s", "rate_rps", "arrival_dist", "dist_p1"].iter().enumerate() {
            columns[place] = table.column(name)?;
        }
        Ok(Clients {
            table,
            columns,
            scale: reading.scale,
            luck: reading.luck,
            windows: BTreeMap::new(),
            before: None,
            step: None,
            lines: 0,
            complete: false,
            next: BinaryHeap::new(),
            drawing: BTreeMap::new(),
        })
    }

    /// Reads one line.
    fn read(&mut self) -> Result<(), Wrong> {
        let (from, active) = self.line()?;
        if let Some((client, before)) = self.before.filter(|(client, _)| *client == active.client) {
            if from <= before {
                return wrong(0, format!("the windows of client {client} are not in the order of time"));
            }
            self.step = Some(self.step.map_or(from - before, |step| step.min(from - before)));
        }
        self.before = Some((active.client, from));
        if active.rate > 0.0 {
            self.windows.entry(from).or_default().push(active);
        }
        Ok(())
    }

    fn line(&self) -> Result<(Span, Active), Wrong> {
        let fields: Vec<(usize, &[u8])> = self.table.fields().collect();
        let [client, from, rate, law, shape] = self.columns.map(|column| fields[column]);
        let client = number(client.1, client.0, "the number of a client")?;
        let from = seconds(from.1, from.0)?;
        let (rate, rate_at): (f64, usize) = (number(rate.1, rate.0, "a rate")?, rate.0);
        let idle = Active { client, rate: 0.0, shape: 1.0, is_gamma: true, line: self.table.line() };
        if !(0.0..1e6).contains(&rate) {
            return wrong(rate_at, format!("a rate is at least 0 and below 1e6, found {rate}"));
        }
        if rate.total_cmp(&0.0).is_eq() {
            return Ok((from, idle));
        }
        let is_gamma = match word(law.1, law.0)? {
            "Gamma" => true,
            "Weibull" => false,
            other => {
                let hint = suggestion(other, &["Gamma", "Weibull"]).unwrap_or_default();
                return wrong(law.0, format!("unknown arrival_dist {other:?}; {hint}"));
            }
        };
        let found: f64 = number(shape.1, shape.0, "the shape of a law")?;
        if !(1e-3..1e6).contains(&found) {
            return wrong(shape.0, format!("a shape is between 0.001 and 1e6, found {found}"));
        }
        Ok((from, Active { rate, shape: found, is_gamma, ..idle }))
    }

    /// Begins the next window with requests. Whether there is one.
    fn begin(&mut self) -> Result<bool, Fault> {
        let Some((from, active)) = self.windows.pop_first() else { return Ok(false) };
        let width = self.step.unwrap_or(WINDOW);
        for client in active {
            let luck = self.luck.entity(client.client).bits() ^ from.as_nanos();
            let requests = (client.rate * width.as_secs_f64()).round() * self.scale;
            if requests > MOST_REQUESTS {
                let message = format!("{requests} requests of a client in one window are too many");
                return Err(Fault::ends(client.line, 1, message, b""));
            }
            let requests = stochastic_round(requests, self.luck, SCALED | luck);
            if requests > 0 {
                let mut drawing = Drawing::new(&client, from, width, requests, self.luck.entity(luck));
                self.next.push(Reverse((drawing.next(), client.client)));
                self.drawing.insert(client.client, drawing);
            }
        }
        Ok(true)
    }

    /// Reads all lines.
    fn complete(&mut self) -> Result<(), Fault> {
        while !self.complete {
            if !self.table.advance()? {
                self.complete = true;
                break;
            }
            self.lines += 1;
            if self.lines > MOST_LINES {
                return Err(Fault::file(format!("the trace has more than {MOST_LINES} lines of clients")));
            }
            self.read().map_err(|wrong| self.table.fault(wrong))?;
        }
        Ok(())
    }
}

impl Rows for Clients {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        self.complete()?;
        while self.next.is_empty() {
            if !self.begin()? {
                return Ok(None);
            }
        }
        let Some(Reverse((at, client))) = self.next.pop() else { return Ok(None) };
        let drawing = self.drawing.get_mut(&client).expect("a client with a next request draws");
        let line = drawing.line;
        if drawing.left > 0 {
            let next = drawing.next();
            self.next.push(Reverse((next, client)));
        }
        Ok(Some(Found::Row(Row { line, ..Row::bare(RowTime::Offset(at)) })))
    }
}

impl Drawing {
    /// So many requests of a client in a window. The gaps are drawn twice, once for their sum.
    fn new(client: &Active, from: Span, width: Span, left: u64, draws: Draws) -> Drawing {
        let law = match client.is_gamma {
            true => Law::Gamma { shape: client.shape, scale: 1.0 },
            false => Law::Weibull { shape: client.shape, scale: 1.0 },
        };
        let mut all = draws;
        let total: f64 = (0..=left).map(|_| law.draw(&mut all)).sum();
        Drawing { law, draws, total, passed: 0.0, left, from, width, line: client.line }
    }

    /// When the next request arrives.
    fn next(&mut self) -> Span {
        self.passed += self.law.draw(&mut self.draws);
        self.left -= 1;
        let share = if self.total > 0.0 { (self.passed / self.total).min(1.0) } else { 0.5 };
        self.from + part_of(self.width, share)
    }
}

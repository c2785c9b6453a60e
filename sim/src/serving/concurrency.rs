//! Concurrency slots: a server that works on a limited number of requests at once.
//!
//! With `fifo` each of at most `limit` requests is served at full speed and the others wait: G/G/c. With
//! `processor-sharing` all are served at once, each at the speed min(1, limit / number). A server with a set-up time
//! stops when it is empty and sets up at the next arrival. `docs/models/concurrency.md` has the equations.

use std::collections::{BTreeMap, VecDeque};

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::Happened;
use super::ends::{Ends, InService};

scaletwin_core::names! {
    /// How the slots are used.
    pub enum Discipline {
        /// In turn, each at full speed.
        Fifo = "fifo",
        /// All at once, sharing the speed.
        ProcessorSharing = "processor-sharing",
    }
}

scaletwin_core::names! {
    /// Whose turn it is in the queue.
    pub enum QueueOrder {
        /// First come, first served.
        Fcfs = "fcfs",
        /// The lowest priority value first, first come among equals.
        Priority = "priority",
    }
}

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcurrencyConfig {
    /// Requests served at full speed at once.
    pub limit: u32,
    /// How the slots are used.
    pub discipline: Discipline,
    /// Whose turn it is in the queue.
    pub order: QueueOrder,
    /// Requests that may be there beyond `limit`; `None`: any number.
    pub queue: Option<u32>,
    /// Whether it stops when it is empty.
    pub stops_when_empty: bool,
}

/// A request as it comes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The caller's number.
    pub request: u32,
    /// Lower is more urgent.
    pub priority: i32,
    /// Its service at full speed, at least 1 ns.
    pub service: Span,
}

/// A server with concurrency slots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConcurrencyReplica {
    config: ConcurrencyConfig,
    queue: Queue,
    /// Jobs in service.
    serving: Ends,
    sharing: Sharing,
    power: Power,
    /// How many jobs came.
    tickets: u64,
    /// How many set-ups there were.
    setups: u64,
    busy: Busy,
}

/// The virtual time of processor sharing: service that each job in service has had, in 2^-32 ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sharing {
    virtual_time: u128,
    since: Time,
}

/// Fractions of a nanosecond in virtual time.
const FRACTION: u32 = 32;

/// Whether the server works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Power {
    /// It does.
    On,
    /// It stopped because it was empty.
    Off,
    /// It sets up until then.
    SettingUp(Time),
}

/// The integral over time of the slots in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Busy {
    slot_nanos: u128,
    any_nanos: u128,
    since: Time,
}

/// Jobs that wait.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Queue {
    Fcfs { jobs: VecDeque<Option<Job>>, first: u64, length: usize },
    Priority(#[serde(with = "pairs")] BTreeMap<(i32, u64), Job>),
}

/// What became of a job that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is being served, or will be after the set-up.
    Taken {
        /// Its place in the order of arrivals, by which it can be given up.
        ticket: u64,
    },
    /// There is no room for it.
    Full,
}

impl ConcurrencyReplica {
    /// A server without jobs.
    #[must_use]
    pub fn new(config: ConcurrencyConfig) -> ConcurrencyReplica {
        let queue = match config.order {
            QueueOrder::Fcfs => Queue::Fcfs { jobs: VecDeque::new(), first: 0, length: 0 },
            QueueOrder::Priority => Queue::Priority(BTreeMap::new()),
        };
        ConcurrencyReplica {
            queue,
            serving: Ends::default(),
            sharing: Sharing::default(),
            power: if config.stops_when_empty { Power::Off } else { Power::On },
            tickets: 0,
            setups: 0,
            busy: Busy::default(),
            config,
        }
    }

    /// Jobs in service.
    #[must_use]
    pub fn running(&self) -> usize {
        self.serving.len()
    }

    /// Jobs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is room for one more job.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        let jobs = self.serving.len() + self.queue.len();
        self.config.queue.is_none_or(|queue| jobs < self.config.limit as usize + queue as usize)
    }

    /// When its next event is due: a job ends, or the set-up.
    #[must_use]
    #[inline]
    pub fn next_event(&self) -> Option<Time> {
        if let Power::SettingUp(until) = self.power {
            return Some(until);
        }
        let end = self.serving.first()?.end;
        Some(match self.config.discipline {
            Discipline::Fifo => Time::from_nanos(u64::try_from(end).expect("an instant in nanoseconds")),
            Discipline::ProcessorSharing => self.shared_until(end),
        })
    }

    /// When the virtual time comes to `end`.
    fn shared_until(&self, end: u128) -> Time {
        let left = end.saturating_sub(self.sharing.virtual_time);
        let (speed, sharers) = self.speed();
        let nanos = (left * sharers).div_ceil(speed << FRACTION);
        self.sharing.since.saturating_add(Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// The speed of each job with processor sharing, as a fraction.
    fn speed(&self) -> (u128, u128) {
        let (limit, jobs) = (u128::from(self.config.limit), self.serving.len() as u128);
        if jobs <= limit { (1, 1) } else { (limit, jobs) }
    }

    /// Takes a job in at `now`, if there is room. `set_up` gives the length of a set-up by its number.
    pub fn offer(
        &mut self,
        now: Time,
        job: Job,
        set_up: impl FnOnce(u64) -> Span,
        happened: &mut Vec<Happened>,
    ) -> Offered {
        if !self.has_room() {
            return Offered::Full;
        }
        if self.power == Power::Off {
            self.power = Power::SettingUp(now + set_up(self.setups));
            self.setups += 1;
        }
        let ticket = self.tickets;
        self.tickets += 1;
        self.count_busy(now);
        if self.power == Power::On
            && (self.has_slot() || self.config.discipline == Discipline::ProcessorSharing)
        {
            self.share(now);
            self.serve(now, ticket, job, happened);
        } else {
            self.queue.push(ticket, job);
        }
        Offered::Taken { ticket }
    }

    fn has_slot(&self) -> bool {
        self.serving.len() < self.config.limit as usize
    }

    /// Brings the virtual time to `now`, before the number of jobs changes.
    fn share(&mut self, now: Time) {
        if self.config.discipline == Discipline::ProcessorSharing {
            let (speed, sharers) = self.speed();
            let span = u128::from(now.since(self.sharing.since).as_nanos()) << FRACTION;
            self.sharing.virtual_time += span * speed / sharers;
            self.sharing.since = now;
        }
    }

    fn serve(&mut self, now: Time, ticket: u64, job: Job, happened: &mut Vec<Happened>) {
        let service = u128::from(job.service.as_nanos().max(1));
        let end = match self.config.discipline {
            Discipline::Fifo => u128::from(now.as_nanos()) + service,
            Discipline::ProcessorSharing => self.sharing.virtual_time + (service << FRACTION),
        };
        self.serving.push(InService { end, ticket, request: job.request });
        happened.push(Happened::Started { request: job.request });
    }

    /// Its event at `now`: jobs end and others begin, or the set-up is over.
    #[inline]
    pub fn complete(&mut self, now: Time, happened: &mut Vec<Happened>) {
        self.count_busy(now);
        self.share(now);
        if let Power::SettingUp(until) = self.power
            && until <= now
        {
            self.power = Power::On;
        }
        let reached = match self.config.discipline {
            Discipline::Fifo => u128::from(now.as_nanos()),
            Discipline::ProcessorSharing => self.sharing.virtual_time,
        };
        while let Some(InService { end, request, .. }) = self.serving.first().copied() {
            if end > reached {
                break;
            }
            self.serving.pop();
            happened.push(Happened::Finished { request, outputs: 0 });
        }
        self.fill(now, happened);
    }

    /// Lets those that wait have the free slots, and stops an empty server.
    #[inline]
    fn fill(&mut self, now: Time, happened: &mut Vec<Happened>) {
        if self.queue.len() > 0 {
            self.fill_from_queue(now, happened);
        }
        if self.config.stops_when_empty && self.serving.is_empty() && self.queue.len() == 0 {
            self.power = Power::Off;
        }
    }

    fn fill_from_queue(&mut self, now: Time, happened: &mut Vec<Happened>) {
        let shares = self.config.discipline == Discipline::ProcessorSharing;
        while self.power == Power::On && (shares || self.has_slot()) {
            let Some((ticket, job)) = self.queue.pop() else { break };
            self.serve(now, ticket, job, happened);
        }
    }

    /// Gives a job up at `now`, wherever it is.
    pub fn give_up(&mut self, now: Time, ticket: u64, priority: i32, happened: &mut Vec<Happened>) {
        self.count_busy(now);
        if self.queue.remove(ticket, priority) {
            self.fill(now, happened);
            return;
        }
        self.share(now);
        self.serving.remove(ticket);
        self.fill(now, happened);
    }

    /// Ends everything at `now`. Gives the jobs that it had, in the order of their arrival.
    pub fn kill(&mut self, now: Time) -> Vec<u32> {
        self.count_busy(now);
        let mut lost: Vec<(u64, u32)> =
            self.serving.take_all().into_iter().map(|job| (job.ticket, job.request)).collect();
        while let Some((ticket, job)) = self.queue.pop() {
            lost.push((ticket, job.request));
        }
        lost.sort_unstable();
        lost.into_iter().map(|(_, request)| request).collect()
    }

    #[inline]
    fn count_busy(&mut self, now: Time) {
        (self.busy.slot_nanos, self.busy.any_nanos) = self.busy_nanos(now);
        self.busy.since = now;
    }

    /// The integral up to `now` of the slots in use, and of whether any is, in nanoseconds.
    #[must_use]
    #[inline]
    pub fn busy_nanos(&self, now: Time) -> (u128, u128) {
        let Busy { slot_nanos, any_nanos, since } = self.busy;
        let jobs = self.serving.len() as u64;
        if jobs == 0 {
            return (slot_nanos, any_nanos);
        }
        let span = u128::from(now.since(since).as_nanos());
        (slot_nanos + span * u128::from(jobs.min(u64::from(self.config.limit))), any_nanos + span)
    }
}

impl Queue {
    fn len(&self) -> usize {
        match self {
            Queue::Fcfs { length, .. } => *length,
            Queue::Priority(jobs) => jobs.len(),
        }
    }

    fn push(&mut self, ticket: u64, job: Job) {
        match self {
            Queue::Fcfs { jobs, first, length } => {
                // Jobs that were served at once leave gaps in the tickets.
                if jobs.is_empty() {
                    *first = ticket;
                }
                while *first + (jobs.len() as u64) < ticket {
                    jobs.push_back(None);
                }
                jobs.push_back(Some(job));
                *length += 1;
            }
            Queue::Priority(jobs) => {
                jobs.insert((job.priority, ticket), job);
            }
        }
    }

    fn pop(&mut self) -> Option<(u64, Job)> {
        match self {
            Queue::Fcfs { jobs, first, length } => loop {
                let job = jobs.pop_front()?;
                *first += 1;
                if let Some(job) = job {
                    *length -= 1;
                    return Some((*first - 1, job));
                }
            },
            Queue::Priority(jobs) => jobs.pop_first().map(|((_, ticket), job)| (ticket, job)),
        }
    }

    /// Takes a job out. Whether it was there.
    fn remove(&mut self, ticket: u64, priority: i32) -> bool {
        match self {
            Queue::Fcfs { jobs, first, length } => {
                let place = ticket.checked_sub(*first).and_then(|place| usize::try_from(place).ok());
                let taken = place.and_then(|place| jobs.get_mut(place)).and_then(Option::take);
                *length -= usize::from(taken.is_some());
                taken.is_some()
            }
            Queue::Priority(jobs) => jobs.remove(&(priority, ticket)).is_some(),
        }
    }
}

/// A map with keys that are no texts, as a list of pairs.
mod pairs {
    use super::{BTreeMap, Job};
    use serde::{Deserialize, Deserializer, Serializer};

    type Map = BTreeMap<(i32, u64), Job>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Vec::<((i32, u64), Job)>::deserialize(deserializer).map(Map::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(limit: u32, discipline: Discipline) -> ConcurrencyReplica {
        ConcurrencyReplica::new(ConcurrencyConfig {
            limit,
            discipline,
            order: QueueOrder::Fcfs,
            queue: None,
            stops_when_empty: false,
        })
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    fn job(request: u32, secs: u64) -> Job {
        Job { request, priority: 0, service: Span::from_secs(secs) }
    }

    /// Offers jobs at their instants and gives (instant in seconds, request) of each end.
    fn ends(mut server: ConcurrencyReplica, jobs: &[(u64, Job)]) -> Vec<(f64, u32)> {
        let mut happened = Vec::new();
        let mut ends = Vec::new();
        let mut jobs = jobs.iter().peekable();
        loop {
            let arrival = jobs.peek().map(|(secs, _)| at(*secs));
            let Some(now) = [server.next_event(), arrival].into_iter().flatten().min() else { return ends };
            if server.next_event() == Some(now) {
                server.complete(now, &mut happened);
            } else if let Some((_, job)) = jobs.next() {
                server.offer(now, *job, |_| Span::from_secs(10), &mut happened);
            }
            for happened in happened.drain(..) {
                if let Happened::Finished { request, .. } = happened {
                    ends.push((now.as_secs_f64(), request));
                }
            }
        }
    }

    #[test]
    fn slots_serve_in_turn() {
        let jobs = [(0, job(0, 4)), (0, job(1, 2)), (1, job(2, 3))];
        assert_eq!(ends(server(2, Discipline::Fifo), &jobs), [(2.0, 1), (4.0, 0), (5.0, 2)]);
    }

    #[test]
    fn sharers_share_the_speed() {
        // Alone for 1 s, two for 2 s (1 s of service each), then the first alone again.
        let jobs = [(0, job(0, 3)), (1, job(1, 1))];
        assert_eq!(ends(server(1, Discipline::ProcessorSharing), &jobs), [(3.0, 1), (4.0, 0)]);
        let jobs = [(0, job(0, 3)), (0, job(1, 3)), (0, job(2, 3))];
        assert_eq!(ends(server(2, Discipline::ProcessorSharing), &jobs), [(4.5, 0), (4.5, 1), (4.5, 2)]);
    }

    #[test]
    fn a_server_that_stops_sets_up_at_the_next_arrival() {
        let mut stopping = server(1, Discipline::Fifo);
        stopping = ConcurrencyReplica::new(ConcurrencyConfig { stops_when_empty: true, ..stopping.config });
        let jobs = [(0, job(0, 1)), (5, job(1, 1)), (20, job(2, 1))];
        assert_eq!(ends(stopping, &jobs), [(11.0, 0), (12.0, 1), (31.0, 2)]);
    }

    #[test]
    fn a_full_server_refuses() {
        let mut happened = Vec::new();
        let config = ConcurrencyConfig { queue: Some(1), ..server(1, Discipline::Fifo).config };
        let mut server = ConcurrencyReplica::new(config);
        let mut offer = |request| server.offer(at(0), job(request, 1), |_| Span::ZERO, &mut happened);
        assert_eq!(offer(0), Offered::Taken { ticket: 0 });
        assert_eq!(offer(1), Offered::Taken { ticket: 1 });
        assert_eq!(offer(2), Offered::Full);
    }

    #[test]
    fn giving_up_frees_a_place() {
        let mut happened = Vec::new();
        let mut server = server(1, Discipline::Fifo);
        for request in 0..4 {
            server.offer(at(0), job(request, 10), |_| Span::ZERO, &mut happened);
        }
        server.give_up(at(1), 2, 0, &mut happened);
        server.give_up(at(2), 0, 0, &mut happened);
        assert_eq!((server.running(), server.waiting()), (1, 1));
        assert_eq!(server.next_event(), Some(at(12)));
        assert_eq!(server.kill(at(3)), [1, 3]);
        assert_eq!(server.busy_nanos(at(9)), (3_000_000_000, 3_000_000_000));
    }

    #[test]
    fn the_most_urgent_goes_first() {
        let config = ConcurrencyConfig { order: QueueOrder::Priority, ..server(1, Discipline::Fifo).config };
        let urgent = |request, priority| Job { priority, ..job(request, 1) };
        let jobs = [(0, urgent(0, 5)), (0, urgent(1, 5)), (0, urgent(2, 1))];
        assert_eq!(ends(ConcurrencyReplica::new(config), &jobs), [(1.0, 0), (2.0, 2), (3.0, 1)]);
    }
}

//! A replica in time: steps, and jumps over many steps.
//!
//! While nothing can happen but one more token for each steady decode, the ends of the coming steps are a quadratic
//! function of their number, so the replica plans many steps as one and has one event in the calendar. Whatever comes in
//! between (an arrival, a client that leaves, a look at its counters) first takes the steps that are over by then, and
//! shortens the plan if it could change the next step. Steps in flight whose ends nobody has to look at belong to the plan
//! as well, before these and after them; a first token is reported with its instant. Times are integers, so that the result is the same to the bit as
//! with one event a step.

mod plan;

use std::collections::VecDeque;

use scaletwin_core::model::{DecodeRun, StepShape, StepTime};
use scaletwin_core::units::{Femtos, FineTime, Span, Time};
use serde::{Deserialize, Serialize};

use super::config::SchedulerConfig;
use super::scheduler::{Output, Scheduler, Settling};
use super::sequence::{Arriving, Key};
use crate::serving::{Gaps, Happened};
use plan::Plan;

/// A replica that batches continuously.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContinuousReplica {
    scheduler: Scheduler,
    /// Requests that came during the present step, with the instant.
    inbox: VecDeque<(Time, Key)>,
    /// Requests given up during the present step.
    given_up: Vec<Key>,
    plan: Option<Plan>,
    /// The end of the last step, and of the one before it.
    boundaries: (FineTime, FineTime),
    published: Published,
    /// Whether `published` is of the last boundary, or follows from the steady decodes.
    published_directly: bool,
    work: Work,
    /// Gaps between tokens that nobody has taken yet.
    gaps: Vec<Gaps>,
    /// Since when it has worked without pause.
    busy_since: Option<FineTime>,
    /// Kept to save allocations.
    #[serde(skip)]
    outputs: Vec<Output>,
}

/// What the engine shows of itself after each step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gauges {
    /// Requests that run.
    pub running: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// The share of KV blocks in use, 0 to 1.
    pub kv_used_share: f64,
}

/// What the gauges follow from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    running: u64,
    waiting: u64,
    used_blocks: u32,
}

/// Sums over all steps that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Steps.
    pub steps: u64,
    /// Tokens of prompts.
    pub prefill_tokens: u64,
    /// The sum of the tokens attended to by these.
    pub prefill_attention: u64,
    /// Tokens after prompts.
    pub decode_tokens: u64,
    /// The sum of the tokens attended to by these.
    pub decode_context: u64,
    /// Tokens of answers that came back.
    pub generated_tokens: u64,
    /// Time in which it worked, without the present stretch.
    pub busy_femtos: u128,
}

impl Work {
    fn add(&mut self, shape: &StepShape, steps: u64) {
        let decodes = u64::from(shape.decode_sequences);
        self.steps += steps;
        self.prefill_tokens += shape.prefill_tokens * steps;
        self.prefill_attention += shape.prefill_attention * steps;
        self.decode_tokens += decodes * steps;
        self.decode_context += shape.decode_context * steps + decodes * (steps * steps.saturating_sub(1) / 2);
    }
}

impl ContinuousReplica {
    /// A replica without requests.
    #[must_use]
    pub fn new(config: SchedulerConfig) -> ContinuousReplica {
        ContinuousReplica {
            scheduler: Scheduler::new(config),
            inbox: VecDeque::new(),
            given_up: Vec::new(),
            plan: None,
            boundaries: (FineTime::default(), FineTime::default()),
            published: Published::default(),
            published_directly: true,
            work: Work::default(),
            gaps: Vec::new(),
            busy_since: None,
            outputs: Vec::new(),
        }
    }

    /// Takes every step by itself: the reference that jumps are compared with.
    pub fn step_by_step(&mut self) {
        self.scheduler.walk_always();
    }

    /// Its scheduler.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Requests that wait, as the engine counts them for its queue limit: those that came since the last step included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.scheduler.waiting() + self.inbox.len()
    }

    /// Whether it has nothing to do and no step under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.plan.is_none()
    }

    /// When its next event is due, if a step is under way.
    #[must_use]
    pub fn next_event(&self) -> Option<Time> {
        let plan = self.plan.as_ref()?;
        Some(self.boundaries.0.after(plan.length()).ceil())
    }

    /// Takes a request in at `now`. It is looked at when the present step ends, or, if none is under way, by the next
    /// [`ContinuousReplica::begin`].
    pub fn offer(&mut self, now: Time, arriving: Arriving, happened: &mut Vec<Happened>) -> Key {
        if self.scheduler.would_notice_arrival() {
            self.settle(now, happened);
        }
        let key = self.scheduler.announce(arriving);
        self.inbox.push_back((now, key));
        key
    }

    /// Gives a request up at `now`. Gives the tokens of its answer that had come, or `None` if it was gone already.
    pub fn give_up(&mut self, now: Time, key: Key, happened: &mut Vec<Happened>) -> Option<u32> {
        self.settle(now, happened);
        let outputs = self.scheduler.outputs(key)?;
        let came = self.inbox.iter().find(|(_, other)| *other == key).map(|(at, _)| *at);
        let unseen = came.is_some_and(|came| came > self.boundaries.0.ceil());
        if self.plan.is_none() || unseen {
            self.take_out(key);
        } else {
            self.given_up.push(key);
        }
        Some(outputs)
    }

    /// Takes a request out of the inbox or the scheduler.
    fn take_out(&mut self, key: Key) {
        if let Some(place) = self.inbox.iter().position(|(_, other)| *other == key) {
            self.inbox.remove(place);
            self.scheduler.withdraw(key);
        } else {
            self.scheduler.abort(key);
        }
    }

    /// Brings the replica to `now`, before the next step begins: takes the steps that are over, and lets the plan end
    /// with the one under way. A step that ends at this very instant has then ended, and the replica is idle until
    /// [`ContinuousReplica::begin`].
    fn settle(&mut self, now: Time, happened: &mut Vec<Happened>) {
        if let Some(before) = now.checked_sub(Span::from_nanos(1)) {
            self.advance_to(before, happened);
        }
        let Some(plan) = &mut self.plan else { return };
        if !plan.is_single() {
            *plan = Plan::single(plan.under_way());
            if self.boundaries.0.after(plan.first).ceil() == now {
                self.complete(happened);
            }
        }
    }

    /// Takes the steps that are over by `now` and whose end nobody has to look at. What it shows of itself is then that of
    /// `now`.
    pub fn advance_to(&mut self, now: Time, happened: &mut Vec<Happened>) {
        while let Some(plan) = self.plan.as_ref().filter(|plan| !plan.is_single()) {
            let Some(span) = self.boundaries.0.until(now) else { return };
            let Some(lead) = plan.lead.0 else {
                let steps = plan.ends_within(span);
                if steps == plan.steps && plan.tail.is_some() {
                    self.take_silent(happened);
                } else {
                    self.take_quiet(steps.min(plan.steps - 1));
                }
                return;
            };
            if lead > span {
                return;
            }
            self.take_lead(lead, plan.by_turns, happened);
        }
    }

    /// Takes the first step of the lead of the plan, which takes `step`.
    fn take_lead(&mut self, step: Femtos, by_turns: bool, happened: &mut Vec<Happened>) {
        if by_turns {
            self.turn(step, happened);
        } else {
            self.pass_boundary(step, happened);
        }
        if let Some(plan) = &mut self.plan {
            plan.lead = (plan.lead.1, None);
        }
    }

    /// Takes all steps of the plan, which has no lead, but its tail.
    fn take_silent(&mut self, happened: &mut Vec<Happened>) {
        self.take_quiet_but_last();
        let Some(Plan { first, tail: Some(tail), .. }) = self.plan else { return };
        self.pass_boundary(first, happened);
        self.plan = Some(Plan::single(tail));
    }

    /// Takes all steps of the plan but the last and its tail.
    fn take_quiet_but_last(&mut self) {
        self.take_quiet(self.plan.as_ref().map_or(0, |plan| plan.steps - 1));
    }

    /// The step under way ends after `step`, which nobody has to look at, and the next one is scheduled.
    fn pass_boundary(&mut self, step: Femtos, happened: &mut Vec<Happened>) {
        self.end_step(step, happened);
        let now = self.boundaries.0.ceil();
        while let Some((_, key)) = self.inbox.pop_front_if(|(came, _)| *came <= now) {
            self.scheduler.enqueue(key);
        }
        let goes_on = self.fill(happened);
        debug_assert!(goes_on, "the step after it is in flight");
    }

    /// Takes `steps` quiet steps of the plan.
    fn take_quiet(&mut self, steps: u64) {
        let Some(plan) = self.plan.as_mut().filter(|_| steps > 0) else { return };
        let sequences = u64::from(self.scheduler.steady());
        note(&mut self.gaps, Gaps::one(plan.first, sequences));
        if steps > 1 {
            let (first, increase) = (plan.second, plan.increase);
            note(&mut self.gaps, Gaps { first, increase, steps: steps - 1, sequences });
        }
        let start = self.boundaries.0;
        let before = if steps > 1 { start.after(Femtos(plan.end(steps - 1))) } else { start };
        let last = start.after(Femtos(plan.end(steps)));
        self.boundaries = (last, before);
        let [first, next] = self.scheduler.take_quiet_steps(steps, last.as_femtos());
        self.work.add(&first, 1);
        self.work.add(&next, steps - 1);
        self.work.generated_tokens += steps * sequences;
        self.published_directly = false;
        plan.pass(steps);
    }

    /// The event at the end of the plan: the step ends, its tokens come back. [`ContinuousReplica::begin`] is due at the
    /// same instant.
    pub fn complete(&mut self, happened: &mut Vec<Happened>) {
        while let Some(Plan { lead: (Some(lead), _), by_turns, .. }) = self.plan {
            self.take_lead(lead, by_turns, happened);
        }
        if self.plan.as_ref().is_some_and(|plan| plan.tail.is_some()) {
            self.take_silent(happened);
        } else {
            self.take_quiet_but_last();
        }
        let Some(Plan { first, .. }) = self.plan else { return };
        self.plan = None;
        self.end_step(first, happened);
    }

    /// The step under way ends after `step`, its tokens come back.
    fn end_step(&mut self, step: Femtos, happened: &mut Vec<Happened>) {
        if !self.given_up.is_empty() {
            for key in std::mem::take(&mut self.given_up) {
                self.take_out(key);
            }
        }
        self.take_step(step, happened, Scheduler::update);
        self.published = Published {
            running: self.scheduler.running() as u64,
            waiting: self.waiting_seen(),
            used_blocks: self.scheduler.used_blocks(),
        };
        self.published_directly = true;
    }

    /// The step under way ends after `step`, and one of steady decodes alone is scheduled.
    fn turn(&mut self, step: Femtos, happened: &mut Vec<Happened>) {
        debug_assert!(self.given_up.is_empty() && self.inbox.is_empty(), "who comes or leaves ends a plan");
        self.take_step(step, happened, Scheduler::turn);
        self.published_directly = false;
    }

    /// Takes what the step under way brings after `step`, for which `update` asks the scheduler.
    #[inline]
    fn take_step(
        &mut self,
        step: Femtos,
        happened: &mut Vec<Happened>,
        update: impl FnOnce(&mut Scheduler, u128, &mut Vec<Output>) -> u32,
    ) {
        let now = self.boundaries.0.after(step);
        self.boundaries = (now, self.boundaries.0);
        if let Some(batch) = self.scheduler.oldest() {
            self.work.add(&batch.shape, 1);
        }
        let steady = u64::from(update(&mut self.scheduler, now.as_femtos(), &mut self.outputs));
        let others = if self.outputs.is_empty() { 0 } else { self.take_outputs(now, step, happened) };
        note(&mut self.gaps, Gaps::one(step, steady + others));
        self.work.generated_tokens += steady;
    }

    /// Notes what the end of a step at `now` brought to single requests. Gives how many of these got a token `step` after
    /// the one before, which is left to be noted.
    #[inline(never)]
    fn take_outputs(&mut self, now: FineTime, step: Femtos, happened: &mut Vec<Happened>) -> u64 {
        let mut in_step = 0;
        for output in self.outputs.drain(..) {
            match output {
                Output::FirstToken { request } => {
                    self.work.generated_tokens += 1;
                    happened.push(Happened::FirstToken { request, at: now.ceil() });
                }
                Output::Token { last, .. } => {
                    self.work.generated_tokens += 1;
                    let gap = u64::try_from(now.as_femtos() - last).unwrap_or(u64::MAX);
                    if gap == step.0 {
                        in_step += 1;
                    } else {
                        note(&mut self.gaps, Gaps::one(Femtos(gap), 1));
                    }
                }
                Output::Finished { request, outputs, .. } => {
                    happened.push(Happened::Finished { request, outputs });
                }
            }
        }
        in_step
    }

    /// Gaps between tokens since they were last taken, many of one length as one.
    #[must_use]
    pub fn gaps(&self) -> &[Gaps] {
        &self.gaps
    }

    /// Takes these.
    pub fn take_gaps(&mut self) -> impl Iterator<Item = Gaps> {
        self.gaps.drain(..)
    }

    /// Begins the next step, if there is anything to do: takes in what came, schedules, plans.
    pub fn begin(&mut self, now: Time, time: &dyn StepTime, happened: &mut Vec<Happened>) {
        if self.plan.is_some() {
            return;
        }
        while let Some((_, key)) = self.inbox.pop_front() {
            self.scheduler.enqueue(key);
        }
        if !self.fill(happened) {
            if let Some(since) = self.busy_since.take() {
                self.work.busy_femtos += self.boundaries.0.as_femtos() - since.as_femtos();
            }
            return;
        }
        if self.busy_since.is_none() {
            let start = FineTime::at(now);
            self.busy_since = Some(start);
            self.boundaries = (start, start);
        }
        let plan = self.plan_steps(time);
        self.plan.insert(plan).shorten();
    }

    /// Schedules steps until as many are in flight as may be and the oldest computes something. Whether there is one.
    fn fill(&mut self, happened: &mut Vec<Happened>) -> bool {
        let depth = if self.scheduler.config().async_scheduling { 2 } else { 1 };
        let mut empty = 0;
        loop {
            while self.scheduler.steps_in_flight() < depth && !self.scheduler.is_idle() {
                for admission in &self.scheduler.schedule().admitted {
                    if !admission.resumed {
                        happened.push(Happened::Started { request: admission.request });
                    }
                }
            }
            match self.scheduler.oldest() {
                None => return false,
                Some(batch) if !batch.is_empty() => return true,
                // A step that computes nothing takes no time. Several in a row mean that nothing can go on.
                Some(_) if empty > depth => return false,
                Some(_) => empty += 1,
            }
            let now = self.boundaries.0.as_femtos();
            self.scheduler.update(now, &mut Vec::new());
        }
    }

    /// When the step under way ends, and how many quiet ones after it are known.
    fn plan_steps(&mut self, time: &dyn StepTime) -> Plan {
        let quiet = self.scheduler.quiet_steps();
        let [shape, next] = self.scheduler.coming();
        let is_scheduled = self.scheduler.steps_in_flight() > 1;
        let first = time.step(&shape);
        if quiet.steps == 0 {
            return if is_scheduled && self.scheduler.ends_silently() {
                self.plan_lead(first, time.step(&next), time)
            } else {
                Plan::single(first)
            };
        }
        // With async scheduling the step after this one is scheduled already, and steady as well.
        let (second, run) = if is_scheduled {
            (time.step(&next), time.decode_run(&next))
        } else {
            let run = time.decode_run(&shape);
            (Femtos(first.0.saturating_add(run.increase.0)), DecodeRun { steps: run.steps - 1, ..run })
        };
        let mut plan = Plan { second, increase: run.increase, ..Plan::single(first) };
        plan.set_steps(1 + quiet.steps.min(run.steps));
        let silent = plan.steps <= quiet.steps || quiet.then_no_end;
        if is_scheduled && silent && self.scheduler.admits_nobody() {
            plan.tail = Some(time.step(&next.after(plan.steps - 1)));
        }
        plan
    }

    /// The plan when nobody has to look at the end of the step under way, which takes `first`; the next takes `second`.
    fn plan_lead(&mut self, first: Femtos, second: Femtos, time: &dyn StepTime) -> Plan {
        let Some(Settling { shape, then, by_turns }) = self.scheduler.settling() else {
            return Plan { lead: (Some(first), None), ..Plan::single(second) };
        };
        let (third, run) = (time.step(&shape), time.decode_run(&shape));
        let fourth = Femtos(third.0.saturating_add(run.increase.0));
        let lead = (Some(first), Some(second));
        let mut plan = Plan { lead, by_turns, second: fourth, increase: run.increase, ..Plan::single(third) };
        plan.set_steps((1 + then.steps).min(run.steps));
        if plan.steps <= then.steps || then.then_no_end {
            plan.tail = Some(time.step(&shape.after(plan.steps)));
        }
        plan
    }

    /// Ends everything at `now`. Gives all requests it had, in the order of their arrival, with the tokens of their answers
    /// that had come.
    pub fn kill(&mut self, now: Time, happened: &mut Vec<Happened>) -> Vec<(u32, u32)> {
        self.settle(now, happened);
        for key in std::mem::take(&mut self.given_up) {
            self.take_out(key);
        }
        let mut keys = self.scheduler.all();
        keys.extend(self.inbox.iter().map(|(_, key)| *key));
        let mut lost: Vec<_> =
            keys.iter().filter_map(|key| Some((self.scheduler.sequence(*key)?, *key))).collect();
        lost.sort_by_key(|(sequence, _)| (sequence.arrived, sequence.number));
        let outputs = |key| self.scheduler.outputs(key).unwrap_or(0);
        let lost = lost.into_iter().map(|(sequence, key)| (sequence.request, outputs(key))).collect();
        let work = Work { busy_femtos: self.busy_femtos(now), ..self.work };
        let scheduler = self.scheduler.emptied();
        let gaps = std::mem::take(&mut self.gaps);
        let config = self.scheduler.config().clone();
        *self = ContinuousReplica { work, scheduler, gaps, ..ContinuousReplica::new(config) };
        lost
    }

    /// What the engine shows of itself: of the end of the last step. [`ContinuousReplica::advance_to`] comes before.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let Published { running, waiting, used_blocks } = if self.published_directly {
            self.published
        } else {
            Published {
                running: self.scheduler.running() as u64,
                waiting: self.waiting_seen(),
                used_blocks: self.scheduler.used_blocks_before_steady_schedule(),
            }
        };
        Gauges { running, waiting, kv_used_share: self.scheduler.share_of(used_blocks) }
    }

    /// Requests that the engine knows to wait at the end of a step: those that had come when it began.
    fn waiting_seen(&self) -> u64 {
        if self.inbox.is_empty() {
            return self.scheduler.waiting() as u64;
        }
        let began = self.boundaries.1.ceil();
        let came = self.inbox.iter().filter(|(at, _)| *at <= began).count();
        (self.scheduler.waiting() + came) as u64
    }

    /// Sums over all steps that have ended. [`ContinuousReplica::advance_to`] comes before.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// The time in which it has worked up to `now`, in femtoseconds.
    #[must_use]
    pub fn busy_femtos(&self, now: Time) -> u128 {
        let present = match (self.busy_since, self.plan) {
            (Some(since), Some(_)) => FineTime::at(now).as_femtos().saturating_sub(since.as_femtos()),
            (Some(since), None) => self.boundaries.0.as_femtos() - since.as_femtos(),
            (None, _) => 0,
        };
        self.work.busy_femtos + present
    }
}

/// Notes gaps between tokens: with those before, if they go on in the same way.
fn note(noted: &mut Vec<Gaps>, gaps: Gaps) {
    if gaps.sequences == 0 {
        return;
    }
    let Gaps { first, increase, steps, sequences } = gaps;
    if let Some(last) = noted.last_mut().filter(|last| last.sequences == sequences) {
        let step = if last.steps > 1 { Some(last.increase.0) } else { first.0.checked_sub(last.first.0) };
        let goes_on =
            |step: &u64| last.first.0 + step * last.steps == first.0 && (steps == 1 || increase.0 == *step);
        if let Some(step) = step.filter(goes_on) {
            (last.increase, last.steps) = (Femtos(step), last.steps + steps);
            return;
        }
    }
    noted.push(gaps);
}

#[cfg(test)]
mod tests;

//! One worker: some of the sessions, driven by one future on one thread.
//!
//! Each turn of the loop takes what is due: seconds that end, alarms, sessions with completions, arrivals for idle
//! sessions. Only when nothing is left does it arm one timer for the next deadline of all and wait.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::stream::{StreamExt, TryStreamExt};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use stats::Histogram;
use store::{Error, ErrorKind, Outcome, Result, SessionSpec, Store, Token};
use workload::{Call, ClientSpec, Instance, Progress, Turn};

use crate::clock::{Clock, Nanoseconds, nanoseconds};
use crate::load::{Limit, Load, Mode};
use crate::ready::ReadyQueue;
use crate::record::{Accounting, ErrorLog, ErrorSample, Recorder, SecondGauges};
use crate::run::Stop;
use crate::schedule::{Schedule, dealt, phase_end};
use crate::slot::{Alarm, Connection, Pending, Slot};
use crate::timer::Timer;

/// Sessions of one worker that connect at the same time: a server's accept queue is typically 128 or more.
const CONNECTS_AT_ONCE: usize = 64;
/// Completions of one session handled in a row before the others have their turn.
const BATCH: usize = 256;
/// Turns in a row before the runtime may look at its sockets, also when there is always something to do.
const TURNS_MAX: usize = 32;
/// How often time-outs and the stop signal are looked at: fine enough to stop well within a second.
const TICK: Nanoseconds = 100_000_000;
const SECOND: Nanoseconds = 1_000_000_000;
/// How long a run that is stopped waits for requests in flight.
const STOP_GRACE: Nanoseconds = 500_000_000;

/// What a worker is to do.
pub(crate) struct WorkerSpec<'a> {
    pub(crate) index: u32,
    pub(crate) load: &'a Load,
    /// Number of its first session among all.
    pub(crate) first_session: u32,
    pub(crate) sessions: u32,
    pub(crate) seed: u64,
    pub(crate) store: &'a dyn Store,
    pub(crate) instance: &'a dyn Instance,
    pub(crate) stop: &'a Stop,
}

/// What a worker has to tell at its end.
#[derive(Debug)]
pub(crate) struct WorkerOutcome {
    pub(crate) phases: Vec<PhaseTally>,
    pub(crate) errors: Vec<ErrorSample>,
    pub(crate) lateness: Histogram,
    pub(crate) reconnects: u64,
    pub(crate) connects_failed: u64,
    /// What no retry can mend: the store cannot encode the workload's requests.
    pub(crate) fatal: Option<Error>,
}

/// A phase as one worker saw it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PhaseTally {
    pub(crate) accounting: Accounting,
    pub(crate) start: Nanoseconds,
    /// When it was over: its end by the clock, or its last completion where that came later.
    pub(crate) end: Nanoseconds,
}

/// A due operation that waits for a session.
#[derive(Debug, Clone, Copy)]
struct Due {
    intended: Nanoseconds,
    phase: u16,
}

/// The phase that is running.
struct Running {
    number: u16,
    end: Option<Nanoseconds>,
    schedule: Option<Schedule>,
    start: Nanoseconds,
    last_arrival: Nanoseconds,
    /// Closed phases limited by count: operations still to be started.
    remaining: Option<u64>,
}

enum Stage {
    Running(Running),
    /// Nothing more is scheduled; what is in flight or due may end until then.
    Draining(Nanoseconds),
    /// As before, but what is due is no longer started.
    Stopping(Nanoseconds),
}

pub(crate) struct Worker<'a> {
    spec: WorkerSpec<'a>,
    clock: Clock,
    slots: Vec<Slot<'a>>,
    ready: ReadyQueue,
    woken: Vec<u32>,
    run_list: VecDeque<u32>,
    idle_list: VecDeque<u32>,
    alarms: BinaryHeap<Reverse<(Nanoseconds, u32, Alarm)>>,
    due: VecDeque<Due>,
    due_max: usize,
    stage: Stage,
    tallies: Vec<PhaseTally>,
    in_flight: u64,
    recorder: Recorder,
    errors: ErrorLog,
    random: Xoshiro256PlusPlus,
    next_tick: Nanoseconds,
    reconnects: u64,
    connects_failed: u64,
    fatal: Option<Error>,
}

impl<'a> Worker<'a> {
    /// Connects all sessions.
    ///
    /// # Errors
    /// The first connection's that could not be made.
    pub(crate) async fn connect(spec: WorkerSpec<'a>, clock: Clock, recorder: Recorder) -> Result<Self> {
        let depth = spec.load.depth.get();
        let ready = ReadyQueue::with_capacity(spec.sessions as usize);
        let session_spec = SessionSpec { dataset: spec.instance.dataset(), depth: depth as usize };
        let store = spec.store;
        let sessions: Vec<_> = futures_util::stream::iter(0..spec.sessions)
            .map(|_| store.session(session_spec))
            .buffered(CONNECTS_AT_ONCE)
            .try_collect()
            .await?;
        let all = spec.load.sessions.get();
        let slots = sessions
            .into_iter()
            .zip(0..)
            .map(|(session, number)| {
                let client = spec.instance.client(ClientSpec { index: spec.first_session + number, of: all, depth });
                let mut slot = Slot::new(number, client, depth, &ready);
                slot.open(session, 0);
                slot
            })
            .collect();
        let due_max =
            usize::try_from(spec.load.backlog_max * u64::from(spec.sessions) / u64::from(all)).unwrap_or(usize::MAX);
        Ok(Self {
            random: Xoshiro256PlusPlus::seed_from_u64(spec.seed ^ (u64::from(spec.index) << 32) ^ 0x5EED),
            clock,
            slots,
            ready,
            woken: Vec::with_capacity(spec.sessions as usize),
            run_list: VecDeque::with_capacity(spec.sessions as usize),
            idle_list: (0..spec.sessions).collect(),
            alarms: BinaryHeap::with_capacity((spec.sessions * depth) as usize),
            due: VecDeque::with_capacity(4096),
            due_max: due_max.max(1),
            stage: Stage::Draining(0),
            tallies: vec![PhaseTally::default(); spec.load.phases.len()],
            in_flight: 0,
            recorder,
            errors: ErrorLog::default(),
            next_tick: 0,
            reconnects: 0,
            connects_failed: 0,
            fatal: None,
            spec,
        })
    }

    /// Runs all phases from the clock's origin on.
    pub(crate) async fn work(&mut self, clock: Clock) {
        let mut timer =
            Timer::new().expect("a timer descriptor can be had: sessions hold more descriptors than this one");
        self.clock = clock;
        for slot in &mut self.slots {
            slot.in_idle_list = true;
        }
        self.next_tick = TICK;
        self.stage = self.phase(0, 0);
        poll_fn(|context| self.poll(&mut timer, context)).await;
    }

    /// Accounts for what is left and ends.
    pub(crate) fn finish(mut self) -> WorkerOutcome {
        let now = self.clock.now();
        for pending in self.slots.iter().flat_map(|slot| slot.pending.iter().flatten()) {
            self.tallies[usize::from(pending.phase)].accounting.unfinished += 1;
        }
        for due in &self.due {
            self.tallies[usize::from(due.phase)].accounting.unfinished += 1;
        }
        let gauges = self.gauges();
        self.recorder.cut(now.saturating_sub(1) / SECOND, gauges);
        WorkerOutcome {
            phases: self.tallies,
            errors: self.errors.into_samples(),
            lateness: self.recorder.lateness,
            reconnects: self.reconnects,
            connects_failed: self.connects_failed,
            fatal: self.fatal,
        }
    }

    fn poll(&mut self, timer: &mut Timer, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS_MAX {
            let now = self.clock.now();
            if now >= self.next_tick {
                self.tick(now);
            }
            self.advance_phase(now);
            self.ring_alarms(now);
            self.take_woken(context);
            self.run_sessions();
            self.start_due();
            if self.is_over() {
                return Poll::Ready(());
            }
            if self.run_list.is_empty() && self.ready.is_empty() {
                let now = self.clock.now();
                if timer.poll_until(now, self.next_deadline(now), context).is_pending() {
                    return Poll::Pending;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    // ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The stage in which phase `number` runs from `start` on, or the drain where there is no such phase.
    fn phase(&mut self, number: usize, start: Nanoseconds) -> Stage {
        let load = self.spec.load;
        let Some(phase) = load.phases.get(number) else {
            return Stage::Draining(start.saturating_add(nanoseconds(load.drain)));
        };
        let (first, ours, all) = (self.spec.first_session, self.spec.sessions, load.sessions.get());
        let seed = self.spec.seed.wrapping_add(number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(first);
        self.tallies[number].start = start;
        Stage::Running(Running {
            number: number as u16,
            end: phase_end(phase, start),
            schedule: Schedule::new(phase, seed, first, ours, all),
            start,
            last_arrival: 0,
            remaining: match (phase.mode, phase.limit) {
                (Mode::Closed, Limit::Count(count)) => Some(dealt(count, first.into(), ours.into(), all.into())),
                _ => None,
            },
        })
    }

    /// Goes on to the next phase where the running one is over.
    fn advance_phase(&mut self, now: Nanoseconds) {
        loop {
            let Stage::Running(running) = &self.stage else { return };
            let end = match (running.end, running.remaining) {
                (Some(end), _) if now >= end => end,
                // A counted phase is over when its last operation is, so that the next one starts on idle sessions.
                (None, Some(0)) if self.in_flight == 0 => now,
                _ => return,
            };
            self.admit(now);
            let Stage::Running(running) = &self.stage else { return };
            // A Poisson phase limited by count may have arrivals after its expected end; the next phase waits for them.
            if running.schedule.as_ref().is_some_and(|schedule| schedule.peek().is_some()) {
                return;
            }
            let number = usize::from(running.number);
            let end = end.max(running.last_arrival);
            self.tallies[number].end = self.tallies[number].end.max(end);
            self.stage = self.phase(number + 1, end);
        }
    }

    /// Looks at what needs no finer clock: the end of a second, time-outs, the stop signal.
    fn tick(&mut self, now: Nanoseconds) {
        let previous = self.next_tick;
        self.next_tick = (now / TICK + 1) * TICK;
        if now / SECOND > (previous - 1) / SECOND {
            // Seconds that passed while the thread did not run are ended too, empty but for the first.
            for second in (previous - 1) / SECOND..now / SECOND {
                let gauges = self.gauges();
                self.recorder.cut(second, gauges);
            }
        }
        self.expire(now);
        if self.spec.stop.is_requested() && !matches!(self.stage, Stage::Stopping(_)) {
            self.admit(now);
            if let Stage::Running(running) = &self.stage {
                self.tallies[usize::from(running.number)].end = now;
            }
            self.stage = Stage::Stopping(now + STOP_GRACE);
        }
    }

    /// Fails what has been in flight for too long, with the connection that it is on.
    fn expire(&mut self, now: Nanoseconds) {
        let timeout = nanoseconds(self.spec.load.timeout);
        let expired = |pending: &Pending| now.saturating_sub(pending.sent) >= timeout;
        for number in 0..self.slots.len() {
            if !self.slots[number].pending.iter().flatten().any(expired) {
                continue;
            }
            for token in 0..self.slots[number].pending.len() {
                let Some(pending) = self.slots[number].pending[token].take() else { continue };
                let error = if expired(&pending) {
                    Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.spec.load.timeout))
                } else {
                    Error::unreachable("the connection was given up after another request's time-out")
                };
                self.in_flight -= 1;
                let error = self.slots[number].client.complete(token as Token, Err(error)).err();
                self.fail(pending, now, &error.unwrap_or_else(lost_error));
            }
            self.slots[number].close();
            self.reconnect_at(number, now);
        }
    }

    fn ring_alarms(&mut self, now: Nanoseconds) {
        while let Some(Reverse((_, number, alarm))) = self.alarms.peek().copied().filter(|Reverse((at, ..))| *at <= now)
        {
            self.alarms.pop();
            match alarm {
                Alarm::Thought(token, generation) => {
                    let slot = &mut self.slots[number as usize];
                    if slot.is_open() && slot.generation == generation {
                        slot.free.push(token);
                        self.offer(number);
                    }
                }
                Alarm::Reconnect if matches!(self.stage, Stage::Stopping(_)) => {}
                Alarm::Reconnect => {
                    let spec = SessionSpec {
                        dataset: self.spec.instance.dataset(),
                        depth: self.spec.load.depth.get() as usize,
                    };
                    let store = self.spec.store;
                    self.slots[number as usize].connection = Connection::Opening(store.session(spec));
                    self.run_soon(number);
                }
            }
        }
    }

    fn next_deadline(&self, now: Nanoseconds) -> Nanoseconds {
        let mut deadline = self.next_tick;
        if let Some(Reverse((at, ..))) = self.alarms.peek() {
            deadline = deadline.min(*at);
        }
        match &self.stage {
            Stage::Running(running) => {
                let end = running.end.filter(|end| *end > now);
                deadline = deadline.min(end.unwrap_or(u64::MAX));
                let arrival = running.schedule.as_ref().and_then(Schedule::peek);
                if let Some(arrival) = arrival.filter(|_| end.is_none() || !self.idle_list.is_empty()) {
                    deadline = deadline.min(running.start + arrival);
                }
            }
            Stage::Draining(end) | Stage::Stopping(end) => deadline = deadline.min(*end),
        }
        deadline
    }

    fn is_over(&self) -> bool {
        match self.stage {
            Stage::Running(_) => false,
            Stage::Draining(end) => (self.in_flight == 0 && self.due.is_empty()) || self.clock.now() >= end,
            Stage::Stopping(end) => self.in_flight == 0 || self.clock.now() >= end,
        }
    }

    // ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────

    fn take_woken(&mut self, context: &Context<'_>) {
        let mut woken = std::mem::take(&mut self.woken);
        self.ready.take(&mut woken, context.waker());
        for number in woken.drain(..) {
            self.run_soon(number);
        }
        self.woken = woken;
    }

    fn run_soon(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if !slot.in_run_list {
            slot.in_run_list = true;
            self.run_list.push_back(number);
        }
    }

    fn run_sessions(&mut self) {
        for _ in 0..self.run_list.len() {
            let Some(number) = self.run_list.pop_front() else { return };
            let slot = &mut self.slots[number as usize];
            slot.in_run_list = false;
            slot.woken.clear();
            match &slot.connection {
                Connection::None => {}
                Connection::Opening(_) => self.run_opening(number),
                Connection::Open(_) => self.run_session(number),
            }
        }
    }

    /// Takes a session's completions, and in a closed phase starts the next operation at once.
    fn run_session(&mut self, number: u32) {
        for _ in 0..BATCH {
            let slot = &mut self.slots[number as usize];
            let Connection::Open(session) = &mut slot.connection else { return };
            let mut context = Context::from_waker(&slot.waker);
            let Poll::Ready(completion) = session.poll_completion(&mut context, &mut *slot.client) else {
                if session.is_broken() && session.in_flight() == 0 {
                    self.lose(number);
                }
                return;
            };
            let end = self.clock.now();
            // A broken session still completes what it had in flight, but must not be given more.
            let broken = completion.result.is_err() && session.is_broken();
            let lost = broken && session.in_flight() == 0;
            self.complete(number, completion.token, completion.result, end, broken);
            if lost {
                self.lose(number);
                return;
            }
            if end >= self.next_tick {
                break;
            }
        }
        self.run_soon(number);
    }

    fn complete(&mut self, number: u32, token: Token, result: Result<Outcome>, end: Nanoseconds, broken: bool) {
        let slot = &mut self.slots[number as usize];
        let Some(pending) = slot.pending[token as usize].take() else {
            debug_assert!(false, "a session completed token {token} twice");
            return;
        };
        self.in_flight -= 1;
        match slot.client.complete(token, result) {
            Ok(Progress::Done) => self.succeed(pending, end),
            Ok(Progress::More) => {
                let Connection::Open(session) = &mut slot.connection else { return };
                match session.submit(token, &slot.client.resume(token)) {
                    Ok(()) => {
                        slot.pending[token as usize] = Some(pending);
                        self.in_flight += 1;
                        return;
                    }
                    Err(error) => {
                        let error = slot.client.complete(token, Err(error)).err();
                        self.fail(pending, end, &error.unwrap_or_else(lost_error));
                    }
                }
            }
            Err(error) => self.fail(pending, end, &error),
        }
        if !broken {
            self.release(number, token, end);
        }
    }

    /// A token is free again: the client thinks, starts the next operation of a closed phase, or waits for an arrival.
    fn release(&mut self, number: u32, token: Token, now: Nanoseconds) {
        let slot = &mut self.slots[number as usize];
        slot.free_since = now;
        let Stage::Running(running) = &mut self.stage else {
            slot.free.push(token);
            self.offer(number);
            return;
        };
        if running.schedule.is_none() && !self.spec.load.think.is_zero() {
            let thought = Alarm::Thought(token, slot.generation);
            self.alarms.push(Reverse((now + nanoseconds(self.spec.load.think), number, thought)));
            return;
        }
        slot.free.push(token);
        // The fast path of a closed phase: this reading of the clock is also the next operation's start.
        let goes_on = running.schedule.is_none()
            && self.due.is_empty()
            && slot.is_open()
            && running.end.is_none_or(|end| now < end)
            && running.remaining.is_none_or(|remaining| remaining > 0);
        if goes_on {
            let phase = running.number;
            if let Some(remaining) = &mut running.remaining {
                *remaining -= 1;
            }
            self.tallies[usize::from(phase)].accounting.scheduled += 1;
            self.start(number, Due { intended: now, phase }, now);
        } else {
            self.offer(number);
        }
    }

    /// Puts a slot that can send on the idle list.
    fn offer(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if slot.can_send() && !slot.in_idle_list {
            slot.in_idle_list = true;
            self.idle_list.push_back(number);
        }
    }

    fn lose(&mut self, number: u32) {
        let now = self.clock.now();
        for token in 0..self.slots[number as usize].pending.len() {
            if let Some(pending) = self.slots[number as usize].pending[token].take() {
                self.in_flight -= 1;
                self.fail(pending, now, &Error::bug("the connection was lost without ending its requests"));
            }
        }
        self.slots[number as usize].close();
        self.reconnect_at(number as usize, now);
    }

    fn reconnect_at(&mut self, number: usize, at: Nanoseconds) {
        self.reconnects += 1;
        self.alarms.push(Reverse((at, number as u32, Alarm::Reconnect)));
    }

    fn run_opening(&mut self, number: u32) {
        let Poll::Ready(attempt) = self.slots[number as usize].poll_opening() else { return };
        let now = self.clock.now();
        match attempt {
            Ok(session) => {
                self.slots[number as usize].open(session, now);
                self.offer(number);
            }
            Err(error) => {
                self.connects_failed += 1;
                let slot = &mut self.slots[number as usize];
                slot.connection = Connection::None;
                let wait = slot.backoff.next(&mut self.random);
                self.alarms.push(Reverse((now + wait, number, Alarm::Reconnect)));
                self.fail_one_for(number, error, now);
            }
        }
    }

    /// An application whose connection cannot be made fails the operation that it wanted it for; so does a client here.
    fn fail_one_for(&mut self, number: u32, error: Error, now: Nanoseconds) {
        self.admit(now);
        let due = self.due.pop_front().or_else(|| self.next_closed(now));
        let Some(due) = due else { return };
        let turn = Turn { token: 0, operation: self.spec.load.phases[usize::from(due.phase)].operation };
        let client = &mut self.slots[number as usize].client;
        let Call { operation, .. } = client.next(turn);
        let error = client.complete(0, Err(error)).err().unwrap_or_else(lost_error);
        self.fail(Pending { operation, phase: due.phase, intended: due.intended, sent: now }, now, &error);
    }

    // ── operations ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Moves arrivals that have come due to the queue, or sheds them where it is full.
    fn admit(&mut self, now: Nanoseconds) {
        let Stage::Running(running) = &mut self.stage else { return };
        let Some(schedule) = &mut running.schedule else { return };
        let accounting = &mut self.tallies[usize::from(running.number)].accounting;
        while let Some(arrival) = schedule.peek().map(|time| running.start + time).filter(|time| *time <= now) {
            schedule.next();
            running.last_arrival = arrival;
            accounting.scheduled += 1;
            if self.due.len() < self.due_max {
                self.due.push_back(Due { intended: arrival, phase: running.number });
            } else {
                accounting.shed += 1;
            }
        }
    }

    /// The next operation of a closed phase, where it may start one.
    fn next_closed(&mut self, now: Nanoseconds) -> Option<Due> {
        let Stage::Running(running) = &mut self.stage else { return None };
        if running.schedule.is_some() || running.end.is_some_and(|end| now >= end) {
            return None;
        }
        if let Some(remaining) = &mut running.remaining {
            *remaining = remaining.checked_sub(1)?;
        }
        self.tallies[usize::from(running.number)].accounting.scheduled += 1;
        Some(Due { intended: now, phase: running.number })
    }

    /// Gives idle sessions what is due.
    fn start_due(&mut self) {
        if matches!(self.stage, Stage::Stopping(_)) {
            return;
        }
        while let Some(number) = self.idle_list.front().copied() {
            if !self.slots[number as usize].can_send() {
                self.slots[number as usize].in_idle_list = false;
                self.idle_list.pop_front();
                continue;
            }
            let now = self.clock.now();
            self.admit(now);
            let Some(due) = self.due.pop_front().or_else(|| self.next_closed(now)) else { return };
            let slot = &mut self.slots[number as usize];
            if due.intended >= slot.free_since && self.is_open_phase(due.phase) {
                let recorded = self.spec.load.phases[usize::from(due.phase)].recorded;
                self.recorder.late(now - due.intended, recorded);
            }
            self.start(number, due, now);
            // Spread over the sessions before filling any one's pipeline.
            self.idle_list.pop_front();
            let slot = &mut self.slots[number as usize];
            slot.in_idle_list = slot.can_send();
            if slot.in_idle_list {
                self.idle_list.push_back(number);
            }
            self.run_soon(number);
        }
    }

    /// Submits an operation on a session with a free token.
    fn start(&mut self, number: u32, due: Due, now: Nanoseconds) {
        let slot = &mut self.slots[number as usize];
        let (Connection::Open(session), Some(token)) = (&mut slot.connection, slot.free.pop()) else {
            debug_assert!(false, "started on a session that cannot send");
            return;
        };
        let turn = Turn { token, operation: self.spec.load.phases[usize::from(due.phase)].operation };
        let Call { operation, request } = slot.client.next(turn);
        let pending = Pending { operation, phase: due.phase, intended: due.intended, sent: now };
        match session.submit(token, &request) {
            Ok(()) => {
                slot.pending[token as usize] = Some(pending);
                self.in_flight += 1;
            }
            Err(error) => {
                slot.free.push(token);
                self.fail(pending, now, &error);
                self.fatal.get_or_insert(error);
                self.stage = Stage::Stopping(now);
            }
        }
    }

    #[inline]
    fn succeed(&mut self, pending: Pending, end: Nanoseconds) {
        let open = self.is_open_phase(pending.phase);
        let tally = &mut self.tallies[usize::from(pending.phase)];
        tally.accounting.succeeded += 1;
        tally.end = tally.end.max(end);
        self.recorder.succeed(pending.phase, pending.operation, open, pending.intended, pending.sent, end);
    }

    #[cold]
    fn fail(&mut self, pending: Pending, end: Nanoseconds, error: &Error) {
        let tally = &mut self.tallies[usize::from(pending.phase)];
        tally.accounting.failed += 1;
        tally.end = tally.end.max(end);
        self.recorder.fail(pending.phase, pending.operation, error.kind());
        self.errors.note(error);
    }

    #[inline]
    fn is_open_phase(&self, phase: u16) -> bool {
        self.spec.load.phases[usize::from(phase)].mode != Mode::Closed
    }

    fn gauges(&self) -> SecondGauges {
        SecondGauges {
            backlog: self.due.len() as u64,
            in_flight: self.in_flight,
            connected: self.slots.iter().filter(|slot| slot.is_open()).count() as u32,
            lateness_ns_max: 0,
        }
    }
}

/// Stands for the error of a client that swallowed it: a request that failed cannot have ended well.
fn lost_error() -> Error {
    Error::bug("the workload made nothing of a failed request")
}

//! One worker: some of the sessions, driven by one future on one thread.
//!
//! Each turn of the loop takes what is due: seconds that end, alarms, sessions with completions, arrivals for idle
//! sessions. Only when nothing is left does it arm one timer for the next deadline of all and wait.

mod operations;
mod sessions;
mod time;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use futures_util::stream::{StreamExt, TryStreamExt};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use reactor::Reactor;
use stats::Histogram;
use store::{Error, Result, SessionSpec, Store};
use workload::{ClientSpec, Instance};

use crate::absence::Absence;
use crate::clock::{Clock, Nanoseconds};
use crate::load::Load;
use crate::ready::ReadyQueue;
use crate::record::{Accounting, ErrorLog, ErrorSample, Recorder};
use crate::run::Stop;
use crate::schedule::Schedule;
use crate::slot::{Alarm, Slot};
use crate::timer::Timer;
use crate::watch::{QUARTER, QUARTERS, Watch};

/// Sessions of one worker that connect at the same time: a server's accept queue is typically 128 or more.
const CONNECTS_AT_ONCE: usize = 64;
/// Completions of one session handled in a row before the others have their turn.
const BATCH: usize = 256;
/// Turns in a row before the runtime may look at its sockets, also when there is always something to do.
const TURNS_MAX: usize = 32;
/// How often time-outs and the stop signal are looked at: fine enough to stop well within a second.
const TICK: Nanoseconds = 100_000_000;
pub(crate) const SECOND: Nanoseconds = 1_000_000_000;
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
    pub(crate) watch: &'a Watch,
    pub(crate) absence: &'a Absence,
    /// What connections go through, where the kernel has it and the load wants it.
    pub(crate) reactor: Option<Reactor>,
}

/// What a worker has to tell at its end.
#[derive(Debug)]
pub(crate) struct WorkerOutcome {
    pub(crate) phases: Vec<PhaseTally>,
    pub(crate) errors: Vec<ErrorSample>,
    pub(crate) lateness: Histogram,
    pub(crate) reconnects: u64,
    pub(crate) connects_failed: u64,
    /// Whether all sessions went through the reactor at first.
    pub(crate) in_reactor: bool,
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
    /// Whether the running second is handed over in quarters.
    is_watched: bool,
    reconnects: u64,
    connects_failed: u64,
    /// Sessions that wait for something that does not come through the reactor.
    waiting_elsewhere: i64,
    in_reactor: bool,
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
        let mut slots: Vec<Slot<'_>> = sessions
            .into_iter()
            .zip(0..)
            .map(|(session, number)| {
                let client = spec.instance.client(ClientSpec { index: spec.first_session + number, of: all, depth });
                let mut slot = Slot::new(number, client, depth, &ready);
                slot.open(session, 0);
                slot
            })
            .collect();
        let waiting_elsewhere = slots.iter_mut().map(Slot::look_where_it_waits).sum();
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
            is_watched: false,
            reconnects: 0,
            connects_failed: 0,
            waiting_elsewhere,
            in_reactor: spec.reactor.is_some() && waiting_elsewhere == 0,
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
        self.is_watched = self.spec.watch.is_wanted();
        self.stage = self.phase(0, 0);
        clock.await_origin();
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
        // A last second in which nothing ended is none.
        let has_news = self.recorder.has_news();
        let (second, gauges) = (now.saturating_sub(1) / SECOND, self.gauges());
        self.leave_quarters(second, has_news.then_some(gauges));
        if has_news {
            self.recorder.cut(second, gauges);
        }
        WorkerOutcome {
            phases: self.tallies,
            errors: self.errors.into_samples(),
            lateness: self.recorder.lateness,
            reconnects: self.reconnects,
            connects_failed: self.connects_failed,
            in_reactor: self.in_reactor,
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
                let waited = self.wait(timer, context).unwrap_or_else(|error| {
                    self.give_up(error);
                    Poll::Ready(())
                });
                if waited.is_pending() {
                    return Poll::Pending;
                }
            }
        }
        // What is queued leaves also where there is always something to do.
        if let Some(Err(error)) = self.spec.reactor.as_ref().map(Reactor::round) {
            self.give_up(error);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for whatever comes first: here, where all of it comes through the reactor; else in the runtime.
    fn wait(&mut self, timer: &mut Timer, context: &mut Context<'_>) -> io::Result<Poll<()>> {
        let now = self.clock.now();
        let (deadline, following) = self.next_deadline(now);
        if deadline <= now {
            return Ok(Poll::Ready(()));
        }
        let Some(reactor) = &self.spec.reactor else {
            return Ok(timer.poll_until(now, deadline, following, context));
        };
        if self.waiting_elsewhere == 0 {
            reactor.wake_at(self.clock.instant(deadline))?;
            if let Some(following) = following {
                reactor.wake_at(self.clock.instant(following))?;
            }
            reactor.wait()?;
            return Ok(Poll::Ready(()));
        }
        let timed = timer.poll_until(now, deadline, following, context);
        let came = reactor.poll_round(context)?;
        Ok(if timed.is_ready() { timed } else { came })
    }

    /// Ends the run: the kernel refuses what it granted before.
    fn give_up(&mut self, source: io::Error) {
        self.fatal.get_or_insert_with(|| {
            Error::config("the kernel refuses to go on with io_uring")
                .with_hint("run with --io epoll")
                .with_source(source)
        });
        self.stage = Stage::Stopping(self.clock.now());
    }
}

/// Stands for the error of a client that swallowed it: a request that failed cannot have ended well.
fn lost_error() -> Error {
    Error::bug("the workload made nothing of a failed request")
}

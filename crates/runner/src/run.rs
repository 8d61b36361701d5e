//! A run: workers on threads of their own, one agreed start, seconds put together as they end.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use reactor::Reactor;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use stats::Histogram;
use store::{Error, Result, Store};
use tokio::runtime::{Builder, LocalOptions};
use workload::Instance;

use crate::absence::{Absence, Recovery};
use crate::clock::{Clock, nanoseconds};
use crate::collector::{Collector, Whole};
use crate::load::{Load, Part};
use crate::record::{Accounting, ErrorSample, Message, OperationCells, Outbox, Recorder, Sample, merge_errors};
use crate::watch::{Ended, Watch};
use crate::worker::{Worker, WorkerOutcome, WorkerSpec};

/// Between the agreement on a start and the start: all workers must have been told by then.
const START_DELAY: Duration = Duration::from_millis(5);

/// What the names of worker threads begin with; their number follows.
pub const WORKER_THREADS: &str = "worker-";

/// Asks a run to stop; the clones are one signal.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The run stops within a second, keeping what was measured.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Agrees with others on when a load starts.
pub trait Gate: Send + Sync {
    /// Says when, once all sessions are connected; may wait for that.
    ///
    /// # Errors
    /// What keeps the load from being started.
    fn start(&self) -> Result<Instant>;
}

/// How a worker waits for its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    /// Through `io_uring` where the kernel grants it, else through `epoll`.
    #[default]
    Auto,
    /// Through `io_uring`, or not at all. Encrypted connections and those of client libraries go through `epoll` all the
    /// same.
    IoUring,
    /// Through `epoll`.
    Epoll,
}

/// What is to be run.
#[derive(Clone)]
pub struct RunSpec {
    /// The load; it has been validated.
    pub load: Load,
    /// On what.
    pub store: Arc<dyn Store>,
    /// With what; its data has been loaded.
    pub instance: Arc<dyn Instance>,
    /// Same seed, same operations and arrivals.
    pub seed: u64,
    /// Worker threads; one a processor where none are given, one a session where the client blocks.
    pub workers: Option<NonZeroU32>,
    /// How connections are waited for.
    pub io: Io,
    /// Whether each worker keeps to a processor of its own, in turn.
    pub pin: bool,
    /// Whether the store's client blocks its thread.
    pub blocking_client: bool,
    /// Ends the run early.
    pub stop: Stop,
    /// The part of the load that is driven from here, where others drive the rest.
    pub part: Option<Part>,
    /// Who says when it starts; at once where nobody does.
    pub gate: Option<Arc<dyn Gate>>,
}

/// A phase of a run that has ended.
#[derive(Debug, Clone)]
pub struct PhaseOutcome {
    /// What happened, by operation.
    pub cells: OperationCells,
    /// Where every operation went.
    pub accounting: Accounting,
    /// When it started, since the run's start.
    pub start: Duration,
    /// How long it took: by the clock, or to its last completion where that came later.
    pub duration: Duration,
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// In the order of the load's phases.
    pub phases: Vec<PhaseOutcome>,
    /// How late sends of the recorded open phases were that waited for nothing but the clock.
    pub lateness: Histogram,
    /// Error messages, the first of each.
    pub errors: Vec<ErrorSample>,
    /// Connections that were lost and tried for again.
    pub reconnects: u64,
    /// Attempts at it that failed.
    pub connects_failed: u64,
    /// How the store was lost, and came back.
    pub recovery: Recovery,
    /// Worker threads that there were.
    pub workers: u32,
    /// How all connections were waited for.
    pub io: Io,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// From the agreed start to the last worker's end.
    pub duration: Duration,
}

impl Outcome {
    /// Adds what came of another part of the same load. Outages are those of the part that saw most of them: whether
    /// nobody at all was answered is not known of parts.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.phases.iter_mut().zip(&other.phases) {
            mine.merge(theirs);
        }
        self.lateness.merge(&other.lateness);
        merge_errors(&mut self.errors, other.errors);
        self.reconnects += other.reconnects;
        self.connects_failed += other.connects_failed;
        if other.recovery.gone > self.recovery.gone {
            self.recovery = other.recovery;
        }
        self.workers += other.workers;
        if other.io == Io::Epoll {
            self.io = Io::Epoll;
        }
        self.interrupted |= other.interrupted;
        self.duration = self.duration.max(other.duration);
    }
}

impl PhaseOutcome {
    fn merge(&mut self, other: &Self) {
        self.cells.merge(&other.cells);
        // A part that never came to the phase says nothing about when it was.
        if other.accounting.scheduled > 0 {
            if self.accounting.scheduled == 0 {
                (self.start, self.duration) = (other.start, other.duration);
            }
            let end = (self.start + self.duration).max(other.start + other.duration);
            self.start = self.start.min(other.start);
            self.duration = end.saturating_sub(self.start);
        }
        self.accounting.add(&other.accounting);
    }
}

/// Runs a load to its end. Blocks; `observe` is called on this thread for each second that has ended.
///
/// # Errors
/// The store's own where sessions cannot be opened; `Bug` where a worker died.
pub fn run(spec: &RunSpec, observe: &mut dyn FnMut(&Sample)) -> Result<Outcome> {
    run_watched(spec, &Watch::default(), &mut |ended| {
        if let Ended::Second(sample) = ended {
            observe(sample);
        }
    })
}

/// Runs a load to its end. Blocks; `observe` is called on this thread for each second that has ended, and for each quarter
/// of those that somebody watches.
///
/// # Errors
/// Those of [`run`].
pub fn run_watched(spec: &RunSpec, watch: &Watch, observe: &mut dyn FnMut(Ended<'_>)) -> Result<Outcome> {
    spec.load.validate()?;
    if let Some(part) = spec.part
        && part.sessions.get() > spec.load.sessions.get().saturating_sub(part.first)
    {
        return Err(Error::bug("a part has sessions that the load has not"));
    }
    let workers = worker_count(spec);
    let (sender, inbox) = channel();
    let (mut starts, mut returns, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    let part = spec.part.unwrap_or(Part::whole(&spec.load));
    let sessions = part.sessions.get();
    let absence = Arc::new(Absence::default());
    for index in 0..workers {
        let (start_sender, start) = channel();
        let (return_sender, returned) = channel();
        starts.push(start_sender);
        returns.push(return_sender);
        let first = u64::from(sessions) * u64::from(index) / u64::from(workers);
        let end = u64::from(sessions) * u64::from(index + 1) / u64::from(workers);
        let share = Share { index, first_session: part.first + first as u32, sessions: (end - first) as u32 };
        let outbox = Outbox::new(index as usize, sender.clone());
        let (spec, watch, absence) = (spec.clone(), watch.clone(), Arc::clone(&absence));
        let thread = thread::Builder::new()
            .name(format!("{WORKER_THREADS}{index}"))
            .spawn(move || work(&spec, &watch, share, &absence, &outbox, returned, &start))
            .map_err(|source| {
                Error::config(format!("worker thread {index} of {workers} could not be started"))
                    .with_hint("use fewer sessions, or raise the limit on processes (ulimit -u)")
                    .with_source(source)
            })?;
        threads.push(thread);
    }
    drop(sender);
    let gathered = gather(spec, &inbox, starts, returns, observe);
    let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
    if panicked > 0 {
        return Err(Error::bug(format!("{panicked} of {workers} workers died")));
    }
    gathered.map(|gathered| gathered.into_outcome(spec, workers, &absence))
}

/// A worker's share of the sessions.
#[derive(Debug, Clone, Copy)]
struct Share {
    index: u32,
    first_session: u32,
    sessions: u32,
}

fn worker_count(spec: &RunSpec) -> u32 {
    let sessions = spec.part.unwrap_or(Part::whole(&spec.load)).sessions.get();
    if spec.blocking_client {
        return sessions;
    }
    let processors = thread::available_parallelism().map_or(1, |count| count.get() as u32);
    spec.workers.map_or(processors, NonZeroU32::get).clamp(1, sessions)
}

/// A worker thread, from its runtime's start to its outcome.
fn work(
    spec: &RunSpec,
    watch: &Watch,
    share: Share,
    absence: &Arc<Absence>,
    outbox: &Outbox,
    returned: Receiver<OperationCells>,
    start: &Receiver<Instant>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = Error::config("a worker's runtime could not be made")
                .with_hint("raise the limit on open files (ulimit -n)")
                .with_source(source);
            outbox.send(Message::Connected(Err(error)));
            return;
        }
    };
    let prepared = if spec.pin { pin(share.index) } else { Ok(()) };
    let reactor = match prepared.and_then(|()| reactor(spec)) {
        Ok(reactor) => reactor,
        Err(error) => {
            outbox.send(Message::Connected(Err(error)));
            return;
        }
    };
    let _current = reactor.as_ref().map(Reactor::enter);
    let (store, instance, load) = (Arc::clone(&spec.store), Arc::clone(&spec.instance), spec.load.clone());
    let (stop, watch, seed, absence) = (spec.stop.clone(), watch.clone(), spec.seed, Arc::clone(absence));
    let recorder = Recorder::new(instance.operations().len(), outbox.clone(), returned);
    // A task of the runtime, not its root future: waking that one costs a write to an event descriptor each time.
    // Nothing here yields to other tasks but by waiting, so tokio's cooperative budget would only cause false waits.
    let (told, told_start) = (outbox.clone(), start);
    let (ready_sender, ready) = tokio::sync::oneshot::channel::<Instant>();
    let task = runtime.spawn_local(tokio::task::unconstrained(async move {
        let worker_spec = WorkerSpec {
            index: share.index,
            load: &load,
            first_session: share.first_session,
            sessions: share.sessions,
            seed,
            store: &*store,
            instance: &*instance,
            stop: &stop,
            watch: &watch,
            absence: &absence,
            reactor,
        };
        let worker = Worker::connect(worker_spec, Clock::new(Instant::now()), recorder).await;
        let mut worker = match worker {
            Ok(worker) => worker,
            Err(error) => {
                told.send(Message::Connected(Err(error)));
                return None;
            }
        };
        told.send(Message::Connected(Ok(())));
        let origin = ready.await.ok()?;
        worker.work(Clock::new(origin)).await;
        Some(worker.finish())
    }));
    let outcome = runtime.block_on(async {
        // Waits for the start without stopping the runtime, whose connections may have something to say.
        let origin = loop {
            match told_start.try_recv() {
                Ok(origin) => break Some(origin),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => break None,
                Err(std::sync::mpsc::TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        if let Some(origin) = origin {
            let _ = ready_sender.send(origin);
        } else {
            task.abort();
        }
        task.await.ok().flatten()
    });
    if let Some(outcome) = outcome {
        outbox.send(Message::Done(Box::new(outcome)));
    }
}

/// Keeps this thread to one of the processors that it may use.
fn pin(index: u32) -> Result<()> {
    let refused = |source| {
        Error::config("a worker could not be kept to a processor").with_hint("run without --pin").with_source(source)
    };
    let allowed = sched_getaffinity(None).map_err(refused)?;
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect();
    let mut own = CpuSet::new();
    own.set(processors[index as usize % processors.len()]);
    sched_setaffinity(None, &own).map_err(refused)
}

/// The thread's reactor, where there is to be one.
fn reactor(spec: &RunSpec) -> Result<Option<Reactor>> {
    // A client that blocks its thread waits for nothing else.
    if spec.io == Io::Epoll || spec.blocking_client {
        return Ok(None);
    }
    match Reactor::new() {
        Ok(reactor) => Ok(Some(reactor)),
        Err(_) if spec.io == Io::Auto => Ok(None),
        Err(source) => Err(Error::config("io_uring is not to be had here")
            .with_hint(
                "it takes Linux 6.1 or later, and containers often forbid it: run without --io, or with --io epoll",
            )
            .with_source(source)),
    }
}

/// What the workers told.
struct Gathered {
    origin: Instant,
    ended: Instant,
    outcomes: Vec<WorkerOutcome>,
    totals: Vec<OperationCells>,
}

fn gather(
    spec: &RunSpec,
    inbox: &Receiver<(usize, Message)>,
    mut starts: Vec<Sender<Instant>>,
    returns: Vec<Sender<OperationCells>>,
    observe: &mut dyn FnMut(Ended<'_>),
) -> Result<Gathered> {
    let mut tell = |whole: &Whole| match whole {
        Whole::Second(sample) => observe(Ended::Second(sample)),
        Whole::Quarter(quarter) => observe(Ended::Quarter(quarter)),
    };
    let workers = starts.len();
    let mut connected = 0;
    let mut origin = Instant::now();
    let mut outcomes = Vec::with_capacity(workers);
    let mut collector = Collector::new(spec.load.phases.len(), spec.instance.operations().len(), returns);
    // Ends when the last worker has dropped its end of the channel.
    for (worker, message) in inbox {
        match message {
            Message::Connected(result) => {
                result?;
                connected += 1;
                if connected == workers {
                    origin = match &spec.gate {
                        Some(gate) => gate.start()?,
                        None => Instant::now() + START_DELAY,
                    };
                    for start in starts.drain(..) {
                        let _ = start.send(origin);
                    }
                }
            }
            Message::Done(mut outcome) => {
                outcome.fatal.take().map_or(Ok(()), Err)?;
                outcomes.push(*outcome);
            }
            Message::Cells { .. } | Message::CutQuarter { .. } | Message::Cut { .. } => {
                if let Some(whole) = collector.take(worker, message) {
                    tell(&whole);
                }
            }
        }
    }
    let ended = Instant::now();
    let (totals, rest) = collector.into_rest();
    // The moments after the last whole second, where anything ended in them.
    rest.iter().for_each(tell);
    if outcomes.len() < workers {
        return Err(Error::bug(format!("{} of {workers} workers ended without an outcome", workers - outcomes.len())));
    }
    Ok(Gathered { origin, ended, outcomes, totals })
}

impl Gathered {
    fn into_outcome(self, spec: &RunSpec, workers: u32, absence: &Absence) -> Outcome {
        let mut lateness = Histogram::new();
        let mut errors = Vec::new();
        let (mut reconnects, mut connects_failed) = (0, 0);
        let mut phases: Vec<PhaseOutcome> = Vec::with_capacity(self.totals.len());
        for (number, cells) in self.totals.into_iter().enumerate() {
            let tallies = || self.outcomes.iter().map(|outcome| outcome.phases[number]);
            let mut accounting = Accounting::default();
            tallies().for_each(|tally| accounting.add(&tally.accounting));
            let reached = || tallies().filter(|tally| tally.accounting.scheduled > 0);
            let start = reached().map(|tally| tally.start).min().unwrap_or(0);
            let end = reached().map(|tally| tally.end).max().unwrap_or(start);
            phases.push(PhaseOutcome {
                cells,
                accounting,
                start: Duration::from_nanos(start),
                duration: Duration::from_nanos(end.saturating_sub(start)),
            });
        }
        let in_reactor = self.outcomes.iter().all(|outcome| outcome.in_reactor);
        for outcome in self.outcomes {
            lateness.merge(&outcome.lateness);
            merge_errors(&mut errors, outcome.errors);
            reconnects += outcome.reconnects;
            connects_failed += outcome.connects_failed;
        }
        let duration = self.ended.saturating_duration_since(self.origin);
        Outcome {
            phases,
            lateness,
            errors,
            reconnects,
            connects_failed,
            recovery: absence.recovery(nanoseconds(duration)),
            workers,
            io: if in_reactor { Io::IoUring } else { Io::Epoll },
            interrupted: spec.stop.is_requested(),
            duration,
        }
    }
}

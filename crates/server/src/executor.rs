//! Carries out what waits in the queue: one thread that claims, is heard of and recovers, and one thread a run.
//!
//! A run belongs to the process that claimed it as long as its fencing token says so, which is looked at once a second: a run
//! whose token is worth nothing any more stops its load and says nothing more. What cannot be written at the end of a run,
//! because the disk is full or the server away, is written once it can be.

mod carry;
mod sink;
mod teller;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use results::service::{Beat, Heard, Job, Orphan};
use results::{Location, Results};
use runner::Stop;
use uuid::Uuid;

use crate::config::Agents;
use crate::live::Hub;
use crate::metrics::Runs;
use crate::problem::chain;
use crate::settings::{Caps, Environment};
use crate::traces::Callers;
use crate::vault::Vault;

/// How often a run is heard of, and what waits is looked at where nobody says that something does.
const BEAT: Duration = Duration::from_secs(1);

/// How long a run may go on that cannot be heard of: others take its process for dead after five seconds.
const UNHEARD_MAX: Duration = Duration::from_secs(4);

/// What runs are carried out with.
pub(crate) struct Means {
    pub(crate) location: Location,
    pub(crate) caps: Caps,
    pub(crate) environment: Environment,
    pub(crate) vault: Arc<Vault>,
    pub(crate) live: Arc<Hub>,
    /// What is counted of runs that go on.
    pub(crate) runs: Arc<Runs>,
    /// Where load may go now.
    pub(crate) policy: PolicyNow,
    /// Who asked for runs that wait, for their traces.
    pub(crate) callers: Callers,
}

impl Means {
    fn agents(&self) -> Agents {
        if self.location.is_server() { Agents::Reach } else { Agents::CannotReach }
    }
}

/// Asked when a run begins, since an administrator may have changed it while the run waited.
pub(crate) type PolicyNow = Arc<dyn Fn() -> crate::policy::Policy + Send + Sync>;

/// The executor of this process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Shared>);

struct Shared {
    means: Means,
    running: Mutex<HashMap<Uuid, Arc<Running>>>,
    wake: (Mutex<bool>, Condvar),
    is_stopping: AtomicBool,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

/// A run of this process.
struct Running {
    job: Job,
    stop: Stop,
    why: AtomicU8,
    started: Instant,
}

/// Why a run was stopped. The first reason stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Why {
    /// It was not.
    NotStopped,
    /// Somebody wanted it so.
    Cancelled,
    /// The service ends.
    Ending,
    /// It is not this process's any more.
    Lost,
    /// It took longer than one may.
    TooLong,
}

impl Why {
    const ALL: [Self; 5] = [Self::NotStopped, Self::Cancelled, Self::Ending, Self::Lost, Self::TooLong];
}

impl Running {
    fn stop(&self, why: Why) {
        let first = self.why.compare_exchange(Why::NotStopped as u8, why as u8, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() && why != Why::Cancelled {
            tracing::info!(run = %self.job.run, ?why, "a run is stopped");
        }
        self.stop.request();
    }

    fn why(&self) -> Why {
        let stored = self.why.load(Ordering::Acquire);
        Why::ALL.into_iter().find(|why| *why as u8 == stored).unwrap_or(Why::NotStopped)
    }
}

impl Executor {
    /// Who asked for runs that wait.
    pub(crate) fn callers(&self) -> &Callers {
        &self.0.means.callers
    }

    /// Whether agents find parts of runs where this process keeps its results.
    pub(crate) fn agents(&self) -> Agents {
        self.0.means.agents()
    }

    /// Starts the thread that claims; what dead processes left behind is recovered before it claims anything.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(crate) fn start(means: Means) -> std::io::Result<Self> {
        let executor = Self(Arc::new(Shared {
            means,
            running: Mutex::default(),
            wake: (Mutex::new(false), Condvar::new()),
            is_stopping: AtomicBool::new(false),
            supervisor: Mutex::new(None),
        }));
        let shared = Arc::clone(&executor.0);
        let supervise = move || Supervisor::new(shared).work();
        let handle = thread::Builder::new().name("storelab-runs".to_owned()).spawn(supervise)?;
        *lock(&executor.0.supervisor) = Some(handle);
        Ok(executor)
    }

    /// Says that something waits.
    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    /// Stops the load of a run of this process, at once; returns whether it is one.
    pub(crate) fn cancel(&self, run: Uuid) -> bool {
        let running = self.0.running();
        let found = running.get(&run);
        if let Some(running) = found {
            running.stop(Why::Cancelled);
        }
        found.is_some()
    }

    /// Stops the load of all runs of this process, at once, and returns how many they are.
    pub(crate) fn cancel_all(&self) -> usize {
        let running = self.0.running();
        running.values().for_each(|running| running.stop(Why::Cancelled));
        running.len()
    }

    /// Ends: nothing more is claimed, all load stops at once, and what was measured is kept as interrupted. Waits until that is
    /// done, or until the deadline.
    pub(crate) fn end(&self, deadline: Instant) {
        self.0.is_stopping.store(true, Ordering::Release);
        self.0.running().values().for_each(|running| running.stop(Why::Ending));
        self.0.wake();
        let supervisor = lock(&self.0.supervisor).take();
        let Some(supervisor) = supervisor else { return };
        while !supervisor.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        if !supervisor.is_finished() {
            tracing::warn!("runs did not end in time; they will be found interrupted");
        }
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Running>>> {
        lock(&self.running)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    fn wake(&self) {
        *lock(&self.wake.0) = true;
        self.wake.1.notify_all();
    }

    /// Waits until somebody wakes it, at most so long.
    fn sleep(&self, at_most: Duration) {
        let waiting = self.wake.1.wait_timeout_while(lock(&self.wake.0), at_most, |awake| !*awake);
        let (mut awake, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        *awake = false;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that claims.
struct Supervisor {
    shared: Arc<Shared>,
    results: Option<Results>,
    threads: BTreeMap<Uuid, JoinHandle<()>>,
    heard: Heard,
    heard_of: HashMap<Uuid, Instant>,
    next_beat: Instant,
    is_failing: bool,
}

impl Supervisor {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            results: None,
            threads: BTreeMap::new(),
            heard: Heard::default(),
            heard_of: HashMap::new(),
            next_beat: Instant::now(),
            is_failing: false,
        }
    }

    fn work(mut self) {
        loop {
            self.collect();
            if self.shared.is_stopping() && self.threads.is_empty() {
                return;
            }
            match self.turn() {
                Ok(()) => self.is_failing = false,
                Err(error) => {
                    // A store that is full or away stays so for a while; once is enough to say it.
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(error = %chain(&error), "the queue cannot be looked at; it will be again");
                    }
                    // A handle that failed may be one that only reads, or that lost its server.
                    self.results = None;
                }
            }
            self.stop_what_is_unheard();
            self.shared.sleep(self.next_beat.saturating_duration_since(Instant::now()).min(BEAT));
        }
    }

    /// Threads whose runs are over.
    fn collect(&mut self) {
        let over: Vec<_> =
            self.threads.iter().filter(|(_, thread)| thread.is_finished()).map(|(run, _)| *run).collect();
        for run in over {
            self.shared.running().remove(&run);
            self.heard_of.remove(&run);
            if let Some(thread) = self.threads.remove(&run)
                && thread.join().is_err()
            {
                tracing::error!(%run, "the thread of a run has panicked");
            }
        }
    }

    fn turn(&mut self) -> results::Result<()> {
        let mut results = match self.results.take() {
            Some(results) => results,
            None => Results::open(&self.shared.means.location)?,
        };
        if Instant::now() >= self.next_beat {
            self.next_beat = Instant::now() + BEAT;
            self.beat(&mut results)?;
            self.recover(&mut results)?;
        }
        self.claim(&mut results)?;
        self.results = Some(results);
        Ok(())
    }

    fn beat(&mut self, results: &mut Results) -> results::Result<()> {
        let running: Vec<_> = self.shared.running().values().cloned().collect();
        for run in running {
            match results.heartbeat(&run.job)? {
                Beat::Held => {}
                Beat::Cancelled => run.stop(Why::Cancelled),
                Beat::Lost => run.stop(Why::Lost),
            }
            self.heard_of.insert(run.job.run, Instant::now());
            if run.started.elapsed().as_secs_f64() > self.shared.means.caps.seconds_max {
                run.stop(Why::TooLong);
            }
        }
        Ok(())
    }

    /// A process that cannot be heard of does not know whether its runs are still its own.
    fn stop_what_is_unheard(&self) {
        if !self.shared.means.location.is_server() {
            return;
        }
        for run in self.shared.running().values() {
            let heard = self.heard_of.get(&run.job.run).copied().unwrap_or(run.started);
            if heard.elapsed() > UNHEARD_MAX {
                run.stop(Why::Lost);
            }
        }
    }

    fn recover(&mut self, results: &mut Results) -> results::Result<()> {
        for Orphan { run, rerun } in results.recover_queue(&mut self.heard)? {
            tracing::warn!(%run, ?rerun, "the process of a run has died");
            carry::keep_figures(results, run)?;
        }
        Ok(())
    }

    fn claim(&mut self, results: &mut Results) -> results::Result<()> {
        let runs_max = usize::try_from(self.shared.means.caps.runs_max).unwrap_or(usize::MAX);
        while !self.shared.is_stopping() && self.threads.len() < runs_max {
            let Some(job) = results.claim()? else { return Ok(()) };
            self.begin(job);
        }
        Ok(())
    }

    fn begin(&mut self, job: Job) {
        let run = job.run;
        let running = Arc::new(Running {
            job,
            stop: Stop::default(),
            why: AtomicU8::new(Why::NotStopped as u8),
            started: Instant::now(),
        });
        self.shared.running().insert(run, Arc::clone(&running));
        if self.shared.is_stopping() {
            running.stop(Why::Ending);
        }
        self.heard_of.insert(run, Instant::now());
        let shared = Arc::clone(&self.shared);
        let carry_out = move || {
            carry::carry_out(&shared.means, &running, &|| shared.is_stopping());
            shared.running().remove(&running.job.run);
            shared.wake();
        };
        match thread::Builder::new().name("storelab-run".to_owned()).spawn(carry_out) {
            Ok(thread) => {
                self.threads.insert(run, thread);
            }
            Err(error) => {
                // The host gives no thread. The claim is found without one and recovered when this process ends; until then
                // the run waits for nothing, so it is closed now where that is possible.
                tracing::error!(%run, %error, "no thread for a run");
                let running = self.shared.running().remove(&run);
                if let Some(running) = running {
                    carry::close_unstarted(&self.shared.means, &running.job);
                }
            }
        }
    }
}

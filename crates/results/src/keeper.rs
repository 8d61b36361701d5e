//! Keeps runs on a server while they go on: a thread with a connection of its own writes what it is told, in order, and says
//! once a second that they go on.
//!
//! Whoever measures waits for the server for a moment at most. What could not be written while it was away is written when it is back, and
//! so are the last seconds before it went: they were acknowledged without waiting for its disk.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::database::{Database, Durability, Transaction};
use crate::kept::{self, End, Second};
use crate::{Error, Location, Result};

/// Seconds that may wait for a server that is away: ten minutes of a run, at some 10 kB each.
const SECONDS_WAITING_MAX: usize = 600;

/// Seconds that are written in one transaction, so that heartbeats come in between.
const SECONDS_AT_ONCE: usize = 60;

/// Acknowledged seconds that a server which crashed may have lost: it flushes three times within 0.6 s (`wal_writer_delay`).
const SECONDS_UNSURE: usize = 5;

/// Between two heartbeats.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Between two attempts while something waits.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// How long whoever measures waits for a second to be written: some hundred times what that takes, a part of a second.
const WRITE_WAIT: Duration = Duration::from_millis(200);

/// How long the end of a run waits for the server: longer than it takes to start one again.
const END_WAIT: Duration = Duration::from_mins(2);

/// The thread, told what to write.
#[derive(Debug)]
pub(crate) struct Keeper {
    outbox: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    /// Why the last attempt failed, where waiting does not help.
    failure: Arc<Mutex<Option<Error>>>,
    location: Location,
}

enum Message {
    Begin(i64),
    /// Whoever sent it hears when it is written.
    Second(i64, Second, Sender<()>),
    End(i64, Box<End>, Sender<Result<()>>),
}

impl Keeper {
    /// Starts the thread, which ends once the handle is gone and it has tried to write what it was told.
    pub(crate) fn start(location: Location) -> Self {
        let (outbox, inbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let failure = Arc::new(Mutex::new(None));
        let work = Work {
            location: location.clone(),
            database: None,
            connections: 0,
            active: BTreeSet::new(),
            waiting: VecDeque::new(),
            waiting_count: Arc::clone(&waiting),
            unsure: VecDeque::new(),
            ends: VecDeque::new(),
            failure: Arc::clone(&failure),
            beat_at: Instant::now(),
        };
        // Without the thread nothing takes the messages, which whoever sends one is told.
        let _ = thread::Builder::new().name("keeper".to_owned()).spawn(move || work.go_on(&inbox));
        Self { outbox, waiting, failure, location }
    }

    /// A run goes on from now.
    pub(crate) fn begin(&self, key: i64) {
        // Where the thread is gone the first second says so.
        let _ = self.outbox.send(Message::Begin(key));
    }

    /// Keeps a second.
    ///
    /// # Errors
    /// What kept an earlier one from being written, where waiting does not help; `Unreachable` where the server has been away
    /// for longer than seconds are held.
    pub(crate) fn keep(&self, key: i64, second: Second) -> Result<()> {
        self.failure()?;
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= SECONDS_WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(self.unreachable(&format!("{SECONDS_WAITING_MAX} seconds of the run wait for it")));
        }
        let (reply, answer) = channel();
        self.send(Message::Second(key, second, reply))?;
        // Most often it is written by then; else it is held, or the next line says why it cannot be.
        let _ = answer.recv_timeout(WRITE_WAIT);
        self.failure()
    }

    /// What kept something from being written since it was last asked.
    fn failure(&self) -> Result<()> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Keeps the end of a run after all of its seconds, and waits until that is done.
    ///
    /// # Errors
    /// What kept it from being written; `Unreachable` where the server stayed away.
    pub(crate) fn end(&self, key: i64, end: End) -> Result<()> {
        let (reply, answer) = channel();
        self.send(Message::End(key, Box::new(end), reply))?;
        match answer.recv_timeout(END_WAIT) {
            Ok(ended) => ended,
            Err(_) => Err(self.unreachable(&format!("it did not take the end of the run for {END_WAIT:?}"))),
        }
    }

    fn send(&self, message: Message) -> Result<()> {
        self.outbox.send(message).map_err(|_| self.unreachable("the thread that writes to it is gone"))
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::Unreachable { place: self.location.clone(), source: why.into() }
    }
}

/// What the thread has.
struct Work {
    location: Location,
    database: Option<Database>,
    /// Connections that had been made when something was last written.
    connections: u64,
    active: BTreeSet<i64>,
    waiting: VecDeque<(i64, Second, Sender<()>)>,
    waiting_count: Arc<AtomicUsize>,
    /// Written, the newest last; perhaps not yet on the server's disk.
    unsure: VecDeque<(i64, Second)>,
    ends: VecDeque<(i64, Box<End>, Sender<Result<()>>)>,
    failure: Arc<Mutex<Option<Error>>>,
    beat_at: Instant,
}

impl Work {
    fn go_on(mut self, inbox: &Receiver<Message>) {
        loop {
            let is_idle = self.waiting.is_empty() && self.ends.is_empty();
            let until_beat = self.beat_at.saturating_duration_since(Instant::now());
            let patience = if is_idle { until_beat } else { until_beat.min(RETRY_INTERVAL) };
            let is_over = match inbox.recv_timeout(patience) {
                Ok(message) => {
                    self.take(message);
                    for message in inbox.try_iter() {
                        self.take(message);
                    }
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            self.catch_up();
            if is_over {
                return;
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Begin(key) => drop(self.active.insert(key)),
            Message::Second(key, second, reply) => self.waiting.push_back((key, second, reply)),
            Message::End(key, end, reply) => self.ends.push_back((key, end, reply)),
        }
    }

    /// Writes what waits, as far as the server takes it.
    fn catch_up(&mut self) {
        if Instant::now() >= self.beat_at {
            self.beat_at = Instant::now() + BEAT_INTERVAL;
            // A heartbeat that is missed is one of several.
            let _ = self.beat();
        }
        let written = self.write_seconds();
        match written {
            Ok(()) => self.write_ends(),
            Err(error) if is_passing(&error) => {}
            Err(error) => self.give_up(error),
        }
    }

    fn beat(&mut self) -> Result<()> {
        if self.active.is_empty() {
            return Ok(());
        }
        let active = self.active.clone();
        self.transaction(Durability::Normal, |transaction| {
            active.iter().try_for_each(|key| kept::hear(transaction, *key))
        })
    }

    fn write_seconds(&mut self) -> Result<()> {
        while !self.waiting.is_empty() {
            let batch: Vec<_> = self.waiting.iter().take(SECONDS_AT_ONCE).cloned().collect();
            self.transaction(Durability::Normal, |transaction| {
                batch.iter().try_for_each(|(key, second, _)| second.write(transaction, *key))
            })?;
            self.waiting.drain(..batch.len());
            self.waiting_count.fetch_sub(batch.len(), Ordering::Relaxed);
            for (key, second, reply) in batch {
                // Whoever waited may have gone on.
                let _ = reply.send(());
                self.unsure.push_back((key, second));
            }
            let sure = self.unsure.len().saturating_sub(SECONDS_UNSURE);
            self.unsure.drain(..sure);
        }
        Ok(())
    }

    fn write_ends(&mut self) {
        while let Some((key, end, reply)) = self.ends.pop_front() {
            match self.transaction(Durability::Full, |transaction| end.write(transaction)) {
                Err(error) if is_passing(&error) => {
                    self.ends.push_front((key, end, reply));
                    return;
                }
                ended => {
                    self.active.remove(&key);
                    // Whoever waited may have given up.
                    let _ = reply.send(ended);
                }
            }
        }
    }

    /// Waiting does not help: whoever measures is told with the next second, whoever waits for an end at once.
    fn give_up(&mut self, error: Error) {
        match self.ends.pop_front() {
            Some((key, _, reply)) => {
                self.active.remove(&key);
                // Whoever waited may have given up.
                let _ = reply.send(Err(error));
            }
            None => *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
        }
        self.waiting_count.fetch_sub(self.waiting.len(), Ordering::Relaxed);
        // Whoever waits for one of these looks at the failure then.
        self.waiting.clear();
    }

    /// A transaction; after one over a new connection, what the server may have lost with the old one is written again.
    fn transaction(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<()> {
        let database = match &mut self.database {
            Some(database) => database,
            none => none.insert(Database::open(&self.location)?.0),
        };
        database.transaction(durability, work)?;
        if database.connections() != self.connections {
            let unsure = &self.unsure;
            database.transaction(Durability::Normal, |transaction| {
                unsure.iter().try_for_each(|(key, second)| second.write(transaction, *key))
            })?;
            self.connections = database.connections();
        }
        Ok(())
    }
}

/// Whether the same may succeed later by itself.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::Locked { .. })
}

//! What is kept, asked from handlers: threads that each own a [`Results`] do the work, so that no request waits for a disk on
//! the thread that serves the others.
//!
//! Many read at once, one thread writes: `SQLite` has one writer at a time, and waiting for it here costs less than retrying.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use results::{Access, Location, Results};
use tokio::sync::oneshot;

use crate::problem::Problem;

/// Threads that read: more than processors of a small host, so that one slow page does not hold up the short ones.
const READERS: usize = 4;

/// Jobs that may wait for a thread. Past it a request is told to come again: at the speed of a point read this is a second.
const WAITING_MAX: usize = 4_096;

/// How long a store that could only be opened for reading is left before it is opened again.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// How often the threads are looked at while their end is waited for.
const JOIN_INTERVAL: Duration = Duration::from_millis(2);

/// A question to the store, with where its answer goes.
type Job = Box<dyn FnOnce(results::Result<&mut Results>) + Send>;

/// The threads, and the queues before them.
pub(crate) struct Storage {
    reads: SyncSender<Job>,
    writes: SyncSender<Job>,
}

/// The threads' handles, to wait for their end.
pub(crate) struct Threads(Vec<JoinHandle<()>>);

impl Storage {
    /// Starts the threads. `first` is the store as it was opened already, which shows that it can be.
    ///
    /// # Errors
    /// `Io` where no thread can be had.
    pub(crate) fn start(location: &Location, first: Results) -> results::Result<(Self, Threads)> {
        let (writes, waiting_writes) = sync_channel(WAITING_MAX);
        let (reads, waiting_reads) = sync_channel(WAITING_MAX);
        let mut threads = vec![spawn("storelab-write", location, Some(first), shared(waiting_writes))?];
        let waiting_reads = shared(waiting_reads);
        for _ in 0..READERS {
            threads.push(spawn("storelab-read", location, None, Arc::clone(&waiting_reads))?);
        }
        Ok((Self { reads, writes }, Threads(threads)))
    }

    /// Reads. The work is done on another thread, at the same time as other reads.
    ///
    /// # Errors
    /// What the work returns, as a problem; 503 where too much waits already.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Results) -> results::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        ask(&self.reads, work).await
    }

    /// Writes, one after another. What is acknowledged is on disk.
    ///
    /// # Errors
    /// What the work returns, as a problem; 503 where too much waits already.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Results) -> results::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        ask(&self.writes, work).await
    }
}

impl Threads {
    /// Waits until all that was asked is done, or until the deadline. It is done only once the [`Storage`] is gone.
    pub(crate) fn join(self, deadline: Instant) {
        for thread in self.0 {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(JOIN_INTERVAL);
            }
            if !thread.is_finished() {
                tracing::warn!("a thread of the results store did not end in time");
            } else if thread.join().is_err() {
                tracing::error!("a thread of the results store has panicked");
            }
        }
    }
}

async fn ask<T: Send + 'static>(
    queue: &SyncSender<Job>,
    work: impl FnOnce(&mut Results) -> results::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    let job: Job = Box::new(move |results| {
        // Whoever asked may have gone; what was asked is done all the same.
        let _ = answer.send(results.and_then(work));
    });
    queue.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => Problem::unavailable("too many requests wait for the results store"),
        TrySendError::Disconnected(_) => Problem::unavailable("the service is stopping"),
    })?;
    match answered.await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Problem::internal("a question to the results store was lost: its thread has panicked")),
    }
}

/// The receiving end of a queue that several threads take from.
type Shared = Arc<Mutex<Receiver<Job>>>;

fn shared(receiver: Receiver<Job>) -> Shared {
    Arc::new(Mutex::new(receiver))
}

fn spawn(name: &str, location: &Location, opened: Option<Results>, queue: Shared) -> results::Result<JoinHandle<()>> {
    let mut handle = Handle { location: location.clone(), results: opened, opened_at: Instant::now() };
    let work = move || {
        while let Some(job) = next(&queue) {
            handle.run(job);
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| results::Error::Io { what: format!("start the thread {name}"), source })
}

/// The next job; none once nobody can ask any more.
fn next(queue: &Shared) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// A thread's own way to the store, opened when it is needed and opened again when it may have become better.
struct Handle {
    location: Location,
    results: Option<Results>,
    opened_at: Instant,
}

impl Handle {
    fn run(&mut self, job: Job) {
        // A panic of one job is a bug, and no reason to leave all later ones without an answer: the job's own answer is dropped
        // with it, which whoever waits sees, and the handle is opened anew.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(self.results())));
        if outcome.is_err() {
            self.results = None;
        }
    }

    fn results(&mut self) -> results::Result<&mut Results> {
        let is_due = self.opened_at.elapsed() >= REOPEN_INTERVAL;
        if is_due && self.results.as_ref().is_some_and(|results| results.access() == Access::ReadOnly) {
            self.results = None;
        }
        if self.results.is_none() {
            self.opened_at = Instant::now();
            self.results = Some(Results::open(&self.location)?);
        }
        Ok(self.results.as_mut().expect("it has just been opened"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use futures_util::FutureExt;
    use results::service::{NewToken, Role};

    use super::*;

    fn started(folder: &std::path::Path) -> (Storage, Threads) {
        let location = Location::File(folder.join("results.db"));
        let first = Results::open(&location).expect("it can be opened");
        Storage::start(&location, first).expect("threads can be had")
    }

    #[tokio::test]
    async fn what_is_written_is_read_by_others() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (storage, threads) = started(folder.path());
        for number in 0..8 {
            let new = NewToken { name: number.to_string(), role: Role::Viewer, hash: [number; 32], expires_at: None };
            let made = storage.write(move |results| results.create_token(new, jiff::Timestamp::now())).await;
            let made = made.expect("it is kept").expect("there is room");
            let read = storage.read(Results::tokens).await.expect("it is read");
            assert_eq!(read.first(), Some(&made));
        }
        drop(storage);
        threads.join(Instant::now() + Duration::from_mins(1));
    }

    #[tokio::test]
    async fn a_question_that_panics_is_told_and_later_ones_are_answered() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (storage, _threads) = started(folder.path());
        for _ in 0..2 * READERS {
            let asked = storage.read::<()>(|_| panic!("a bug, on purpose")).await;
            assert_eq!(asked.expect_err("it panicked").status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
        let asked = storage.write::<()>(|_| panic!("a bug, on purpose")).await;
        assert_eq!(asked.expect_err("it panicked").status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(storage.read(Results::tokens).await.expect("it is read").len(), 0);
        storage.write(Results::tokens).await.expect("it is asked");
    }

    #[tokio::test]
    async fn too_many_questions_are_told_to_come_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (storage, _threads) = started(folder.path());
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (running, runs) = oneshot::channel();
        let first = storage.write(move |_| {
            let _ = running.send(());
            let _ = held.recv();
            Ok(())
        });
        let mut first = std::pin::pin!(first);
        // It is asked once it is polled, and waits for us then.
        tokio::select! {
            _ = &mut first => panic!("it waits for us"),
            _ = runs => {}
        }
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(storage.write(|_| Ok(())))).collect();
        for asked in &mut waiting {
            assert!(asked.as_mut().now_or_never().is_none(), "it waits");
        }
        let refused = storage.write(|_| Ok(())).await.expect_err("there is no place");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(release);
        first.await.expect("it was carried out");
        for asked in waiting {
            asked.await.expect("it had a place");
        }
    }
}

//! Whether this program was stopped: a thread that wants to wake every few milliseconds notes when it could not.
//!
//! So do jHiccup (Tene) and every watchdog: whatever keeps a thread with nothing to do from waking on time keeps those that
//! measure from measuring. What waits on a run queue is taken out, since the scheduler tells that of the threads that
//! matter ([`GeneratorSample`](crate::GeneratorSample)); what is left is what no other counter shows: SIGSTOP (`cpulimit`,
//! Ctrl-Z), a frozen or throttled control group, a virtual machine that stood still.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::files::{Buffer, Source};
use crate::process_files::parse_schedstat;

/// Between two beats: 100 wake-ups a second take a thousandth of a core.
const PERIOD: Duration = Duration::from_millis(10);

/// A beat that is less late than this was late for reasons of everyday: timer slack, interrupts, a page fault.
const STOP_MIN: Duration = Duration::from_millis(10);

/// How long this program was stopped while it was watched.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stops {
    /// How often for 10 ms or longer.
    pub count: u64,
    /// How long, all of them together.
    pub seconds: f64,
    /// The longest.
    pub longest_seconds: f64,
    /// How long it was watched.
    pub watched_seconds: f64,
}

impl Stops {
    /// The share of the time it was watched that it was stopped, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.watched_seconds > 0.0 { self.seconds / self.watched_seconds } else { 0.0 }
    }
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    count: AtomicU64,
    total_ns: AtomicU64,
    longest_ns: AtomicU64,
}

/// Watches this program from its start to its end, or until it is dropped.
#[derive(Debug)]
pub struct Heartbeat {
    shared: Arc<Shared>,
    since: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts to watch; none where no thread can be had for it.
    #[must_use]
    pub fn start() -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let (watched, root) = (Arc::clone(&shared), PathBuf::from("/"));
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || watch(&watched, &root)).ok()?;
        Some(Self { shared, since: Instant::now(), thread: Some(thread) })
    }

    /// What was seen so far.
    #[must_use]
    pub fn stops(&self) -> Stops {
        let seconds = |nanoseconds: &AtomicU64| nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        Stops {
            count: self.shared.count.load(Ordering::Relaxed),
            seconds: seconds(&self.shared.total_ns),
            longest_seconds: seconds(&self.shared.longest_ns),
            watched_seconds: self.since.elapsed().as_secs_f64(),
        }
    }

    /// Ends the watch and tells what was seen.
    #[must_use]
    pub fn end(mut self) -> Stops {
        self.join();
        self.stops()
    }

    fn join(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic; had it, what it saw until then would still be true.
            let _ = thread.join();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.join();
    }
}

fn watch(shared: &Shared, root: &Path) {
    let mut buffer = Buffer::default();
    let mut times = Source::new(root, "proc/thread-self/schedstat");
    let mut waited = || {
        let seconds = times.parse_optional(&mut buffer, |text| parse_schedstat(text).map(|(_, waited)| waited));
        Duration::from_secs_f64(seconds.unwrap_or(0.0).max(0.0))
    };
    let mut waited_before = waited();
    let mut beat = Instant::now();
    while !shared.is_over.load(Ordering::Relaxed) {
        thread::park_timeout(PERIOD);
        let now = Instant::now();
        let waited_now = waited();
        shared.note(now - beat, waited_now.saturating_sub(waited_before));
        (beat, waited_before) = (now, waited_now);
    }
}

impl Shared {
    /// Takes the time since the last beat, and what of it was spent on a run queue.
    fn note(&self, passed: Duration, waited: Duration) {
        let stopped = passed.saturating_sub(PERIOD).saturating_sub(waited);
        if stopped < STOP_MIN {
            return;
        }
        let nanoseconds = u64::try_from(stopped.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(nanoseconds, Ordering::Relaxed);
        self.longest_ns.fetch_max(nanoseconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_run_queue_explains_is_a_stop() {
        let shared = Shared::default();
        let milliseconds = Duration::from_millis;
        for (passed, waited) in [(10, 0), (15, 0), (19, 0), (60, 45), (110, 0), (50, 5), (5, 0)] {
            shared.note(milliseconds(passed), milliseconds(waited));
        }
        let heartbeat = Heartbeat { shared: Arc::new(shared), since: Instant::now(), thread: None };
        let Stops { count, seconds, longest_seconds, .. } = heartbeat.end();
        assert_eq!(count, 2);
        assert!((seconds - 0.135).abs() < 1e-9 && (longest_seconds - 0.1).abs() < 1e-9, "{seconds} {longest_seconds}");
    }

    #[test]
    fn the_watch_ends_when_it_is_told_to() {
        let heartbeat = Heartbeat::start().expect("a thread can be had");
        let shared = Arc::clone(&heartbeat.shared);
        let stops = heartbeat.end();
        assert_eq!(Arc::strong_count(&shared), 1, "the thread is gone");
        assert!(stops.watched_seconds > 0.0 && stops.seconds <= stops.watched_seconds, "{stops:?}");
        drop(Heartbeat::start().expect("a thread can be had"));
    }
}

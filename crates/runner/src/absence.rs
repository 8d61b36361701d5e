//! How long a store was gone: from the first operation that failed because nobody answered to the next one that ended
//! well, whichever session's it was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use store::ErrorKind;

use crate::clock::Nanoseconds;

/// A store that another session reaches within this time was not gone: one connection broke, or answers were still
/// under way when the first session noticed. Whoever connects again takes longer than that.
const OUTAGE_MIN: Nanoseconds = 1_000_000;

/// How a run lost its store, and got it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Times that it was gone: operations failed because nobody answered, and none of any session ended well.
    pub outages: u64,
    /// All of them together, each from its first failure to the first success after it.
    pub gone: Duration,
    /// The longest one.
    pub longest: Duration,
    /// When that one began, since the run's start.
    pub longest_start: Duration,
    /// Whether it had not come back when the run ended; that outage is counted as far as it was seen.
    pub is_gone: bool,
    /// The longest that one session was without a connection after it had lost it.
    pub session_max: Duration,
}

/// Watches for outages; the workers of a run share one.
#[derive(Debug, Default)]
pub(crate) struct Absence {
    /// The first failure since the last success; 0 where there is none.
    since: AtomicU64,
    seen: Mutex<Recovery>,
}

impl Absence {
    /// An operation ended well. One load where nothing is wrong, and the line is nobody's to write then.
    #[inline]
    pub(crate) fn succeeded(&self, at: Nanoseconds) {
        if self.since.load(Ordering::Relaxed) != 0 {
            self.is_back(at);
        }
    }

    /// An operation failed.
    pub(crate) fn failed(&self, at: Nanoseconds, kind: ErrorKind) {
        if matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout) {
            let _ = self.since.compare_exchange(0, at.max(1), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A session has a connection again.
    pub(crate) fn connected(&self, lost_at: Nanoseconds, at: Nanoseconds) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.session_max = seen.session_max.max(Duration::from_nanos(at.saturating_sub(lost_at)));
    }

    /// What was seen, at the run's end.
    pub(crate) fn recovery(&self, end: Nanoseconds) -> Recovery {
        let since = self.since.swap(0, Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if since != 0 {
            seen.is_gone = true;
            seen.note(since, end);
        }
        *seen
    }

    #[cold]
    fn is_back(&self, at: Nanoseconds) {
        let since = self.since.load(Ordering::Relaxed);
        // Another worker's clock was read before the failure was: that success says nothing about what came after.
        if since == 0 || at <= since {
            return;
        }
        if self.since.compare_exchange(since, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(since, at);
        }
    }
}

impl Recovery {
    fn note(&mut self, since: Nanoseconds, until: Nanoseconds) {
        let length = until.saturating_sub(since);
        if length < OUTAGE_MIN {
            return;
        }
        let length = Duration::from_nanos(length);
        self.outages += 1;
        self.gone += length;
        if length > self.longest {
            self.longest = length;
            self.longest_start = Duration::from_nanos(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Nanoseconds = 1_000_000;

    #[test]
    fn an_outage_is_from_the_first_failure_to_the_first_success() {
        let absence = Absence::default();
        for (at, outcome) in [
            (1, None),
            // Rejections are answers.
            (2, Some(ErrorKind::Rejected)),
            (5, Some(ErrorKind::Unreachable)),
            (6, Some(ErrorKind::Unreachable)),
            (9, Some(ErrorKind::Timeout)),
            (9, Some(ErrorKind::Rejected)),
            (25, None),
            (26, None),
            (30, Some(ErrorKind::Timeout)),
            (32, None),
        ] {
            match outcome {
                None => absence.succeeded(at * MILLISECOND),
                Some(kind) => absence.failed(at * MILLISECOND, kind),
            }
        }
        absence.connected(5 * MILLISECOND, 24 * MILLISECOND);
        absence.connected(5 * MILLISECOND, 15 * MILLISECOND);
        let expect = Recovery {
            outages: 2,
            gone: Duration::from_millis(22),
            longest: Duration::from_millis(20),
            longest_start: Duration::from_millis(5),
            is_gone: false,
            session_max: Duration::from_millis(19),
        };
        assert_eq!(absence.recovery(40 * MILLISECOND), expect);
    }

    #[test]
    fn a_connection_that_breaks_while_others_go_on_is_no_outage() {
        let absence = Absence::default();
        absence.failed(5 * MILLISECOND, ErrorKind::Unreachable);
        // A success that ended before says nothing.
        absence.succeeded(4 * MILLISECOND);
        absence.succeeded(5 * MILLISECOND + 50_000);
        assert_eq!(absence.recovery(9 * MILLISECOND), Recovery::default());
    }

    #[test]
    fn a_store_that_does_not_come_back_is_gone_to_the_end() {
        let absence = Absence::default();
        absence.failed(0, ErrorKind::Unreachable);
        let recovery = absence.recovery(7 * MILLISECOND);
        assert!(recovery.is_gone && recovery.outages == 1 && recovery.gone.as_millis() >= 6, "{recovery:?}");
    }
}

//! Who wants to see a run more often than once a second, and what they see of it.
//!
//! Seconds are what is kept of a run. While somebody watches, workers hand over what ended in each quarter of a second too,
//! and the second is put together of its quarters. Whether anybody does is asked once a second, so that a run that nobody
//! watches pays nothing for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::Nanoseconds;
use crate::record::Sample;
use crate::worker::SECOND;

/// Quarters of a second.
pub(crate) const QUARTERS: u64 = 4;

/// How long one takes.
pub(crate) const QUARTER: Nanoseconds = SECOND / QUARTERS;

/// Those who watch a run; the clones are one.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<AtomicUsize>);

/// One who watches, as long as it lives.
#[derive(Debug)]
pub struct Watcher(Arc<AtomicUsize>);

/// A quarter of a second of a run, of all workers.
#[derive(Debug, Clone)]
pub struct Quarter {
    /// Which one of its second, from 0.
    pub quarter: u8,
    /// What ended in it, and the generator's state at its end; `second` is the one that it is a quarter of.
    pub sample: Sample,
}

/// What has ended of a run that goes on.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// A second. What ended in it is what ended in its quarters, to the bit.
    Second(&'a Sample),
    /// A quarter of a second that is watched. Of a second there are all of them in order, before itself, or none. The last
    /// second has those that began before the run's end; where nothing ended in them there is none after them.
    Quarter(&'a Quarter),
}

impl Watch {
    /// Somebody watches from the next second on, until what is returned is dropped.
    pub fn join(&self) -> Watcher {
        self.0.fetch_add(1, Ordering::Relaxed);
        Watcher(Arc::clone(&self.0))
    }

    /// Whether anybody watches.
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_watched_as_long_as_somebody_does() {
        let watch = Watch::default();
        assert!(!watch.is_wanted());
        let (one, two) = (watch.join(), watch.clone().join());
        drop(one);
        assert!(watch.is_wanted());
        drop(two);
        assert!(!watch.is_wanted());
    }
}

//! The rows that clients add: numbers that no two of them share, and which of them are known to be there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::ClientSpec;

/// Failed additions that a client remembers one by one. With more of them it forgets everything that it added until
/// then, which is then no longer read: a store that fails that often is not measured by what it holds.
const FAILED_MAX: usize = 1_024;

/// What one client has added. Additions are counted from 0; the `k`th row of client `i` of `n` has the number
/// `first + i + k·n`.
#[derive(Debug)]
pub(crate) struct Additions {
    first: u64,
    step: u64,
    begun: u64,
    /// Additions below this are not in flight.
    settled: u64,
    in_flight: Vec<u64>,
    /// Additions below this are forgotten.
    forgotten: u64,
    /// Additions that failed and may or may not be there, ascending, none of them forgotten.
    failed: Vec<u64>,
    log: Arc<AdditionLog>,
}

/// What others can see of a client's additions: enough to check them when the client is gone.
#[derive(Debug)]
pub(crate) struct AdditionLog {
    spec: ClientSpec,
    first: u64,
    settled: AtomicU64,
    unknown: Mutex<Unknown>,
}

#[derive(Debug, Default)]
struct Unknown {
    forgotten: u64,
    failed: Vec<u64>,
}

impl Additions {
    /// Of that client, from the row of number `first` on.
    pub(crate) fn new(first: u64, spec: ClientSpec) -> Self {
        let log = AdditionLog { spec, first, settled: AtomicU64::new(0), unknown: Mutex::default() };
        Self {
            first: first + u64::from(spec.index),
            step: u64::from(spec.of.max(1)),
            begun: 0,
            settled: 0,
            in_flight: Vec::with_capacity(spec.depth as usize),
            forgotten: 0,
            failed: Vec::with_capacity(FAILED_MAX),
            log: Arc::new(log),
        }
    }

    /// What others can see.
    pub(crate) fn log(&self) -> Arc<AdditionLog> {
        Arc::clone(&self.log)
    }

    /// Begins an addition.
    pub(crate) fn begin(&mut self) -> u64 {
        let addition = self.begun;
        self.begun += 1;
        self.in_flight.push(addition);
        addition
    }

    /// Ends an addition.
    pub(crate) fn end(&mut self, addition: u64, acknowledged: bool) {
        if !acknowledged {
            self.remember_failed(addition);
        }
        if let Some(place) = self.in_flight.iter().position(|other| *other == addition) {
            self.in_flight.swap_remove(place);
        }
        if addition == self.settled {
            self.settled = self.in_flight.iter().copied().min().unwrap_or(self.begun);
            self.log.settled.store(self.settled, Ordering::Release);
        }
    }

    fn remember_failed(&mut self, addition: u64) {
        if self.failed.len() == FAILED_MAX {
            self.failed.clear();
            self.forgotten = self.begun;
        }
        if addition >= self.forgotten {
            let place = self.failed.partition_point(|other| *other < addition);
            self.failed.insert(place, addition);
        }
        let mut unknown = self.log.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.forgotten = self.forgotten;
        unknown.failed.clone_from(&self.failed);
    }

    /// How many additions, from the first, are no longer in flight.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// The number of an addition's row.
    pub(crate) fn row(&self, addition: u64) -> u64 {
        self.first + addition * self.step
    }

    /// Whether the addition was acknowledged, so that its row must be there.
    pub(crate) fn has(&self, addition: u64) -> bool {
        addition < self.settled && addition >= self.forgotten && self.failed.binary_search(&addition).is_err()
    }
}

impl AdditionLog {
    /// Which client's it is.
    pub(crate) fn spec(&self) -> ClientSpec {
        self.spec
    }

    /// The numbers of at most `count` rows that were acknowledged, evenly spread over them.
    pub(crate) fn sample(&self, count: u64) -> Vec<u64> {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = self.settled.load(Ordering::Acquire);
        let known = settled.saturating_sub(unknown.forgotten);
        let count = count.min(known);
        (0..count)
            .map(|place| unknown.forgotten + place * known / count)
            .filter(|addition| unknown.failed.binary_search(addition).is_err())
            .map(|addition| self.first + u64::from(self.spec.index) + addition * u64::from(self.spec.of.max(1)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn additions(index: u32, of: u32) -> Additions {
        Additions::new(100, ClientSpec { index, of, depth: 4 })
    }

    #[test]
    fn numbers_are_unique_among_clients() {
        let mut rows: Vec<u64> = (0..3)
            .flat_map(|index| {
                let mut client = additions(index, 3);
                (0..4)
                    .map(|_| {
                        let addition = client.begin();
                        client.row(addition)
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        rows.sort_unstable();
        assert!(rows.into_iter().eq(100..112));
    }

    #[test]
    fn only_what_was_acknowledged_is_there() {
        let mut client = additions(1, 2);
        let [a, b, c] = std::array::from_fn(|_| client.begin());
        client.end(b, true);
        assert_eq!((client.settled(), client.has(b)), (0, false), "an older one is in flight");
        client.end(a, false);
        assert_eq!((client.settled(), client.has(a), client.has(b), client.has(c)), (2, false, true, false));
        client.end(c, true);
        assert_eq!((client.settled(), client.has(c)), (3, true));
        assert_eq!(client.log().sample(10), [103, 105]);
    }

    #[test]
    fn too_many_failures_are_forgotten_together() {
        let mut client = additions(0, 1);
        for _ in 0..=FAILED_MAX {
            let addition = client.begin();
            client.end(addition, false);
        }
        let addition = client.begin();
        client.end(addition, true);
        assert!(client.has(addition));
        assert!((0..addition).all(|earlier| !client.has(earlier)));
        assert_eq!(client.log().sample(10), [100 + addition]);
        assert_eq!(client.failed.capacity(), FAILED_MAX, "the list never grows");
    }
}

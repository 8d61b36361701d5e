//! How long a session waits before it connects again.

use std::time::Duration;

use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::clock::{Nanoseconds, nanoseconds};

/// First wait: about what a local restart of a connection needs.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// Last wait: a server that comes back is noticed within a second.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Exponential back-off with full jitter over the upper half, so that sessions do not return in step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure.
    pub(crate) fn next(&mut self, random: &mut Xoshiro256PlusPlus) -> Nanoseconds {
        let ceiling = nanoseconds(WAIT_MIN).saturating_mul(1 << self.failures.min(20)).min(nanoseconds(WAIT_MAX));
        self.failures += 1;
        ceiling / 2 + random.random_range(0..=ceiling / 2)
    }

    /// After a success the next failure starts over.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_start_over() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next(&mut random)).collect();
        assert!((5_000_000..=10_000_000).contains(&waits[0]));
        assert!(waits.iter().all(|wait| *wait <= 1_000_000_000));
        assert!(waits[39] >= 500_000_000);
        backoff.reset();
        assert!(backoff.next(&mut random) <= 10_000_000);
    }
}

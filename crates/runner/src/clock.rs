//! The run's clock: nanoseconds since its agreed start.

use std::time::{Duration, Instant};

/// Nanoseconds since the start of a run.
pub(crate) type Nanoseconds = u64;

/// Reads the time since an origin that all workers share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin }
    }

    /// Time since the origin; 0 before it.
    #[inline]
    pub(crate) fn now(&self) -> Nanoseconds {
        // An u64 of nanoseconds lasts 584 years.
        Instant::now().saturating_duration_since(self.origin).as_nanos() as Nanoseconds
    }

    /// Holds the thread until the origin: what began before it would have taken no time. All workers begin together a few
    /// milliseconds after they were told, so that nothing is lost by standing still.
    pub(crate) fn await_origin(&self) {
        /// A thread that sleeps is woken up to this much too late.
        const WAKE_UP: Duration = Duration::from_micros(200);
        let left = || self.origin.saturating_duration_since(Instant::now());
        std::thread::sleep(left().saturating_sub(WAKE_UP));
        while !left().is_zero() {
            std::hint::spin_loop();
        }
    }

    /// That time on the system's clock.
    pub(crate) fn instant(&self, time: Nanoseconds) -> Instant {
        self.origin + Duration::from_nanos(time)
    }
}

/// A duration as nanoseconds, capped at 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> Nanoseconds {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

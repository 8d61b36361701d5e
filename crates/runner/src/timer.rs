//! A timer that wakes to the microsecond: tokio's own tick once a millisecond, which would bunch sends.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::Nanoseconds;

/// One Linux timerfd, armed for the worker's next deadline.
#[derive(Debug)]
pub(crate) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
    armed_for: Option<Nanoseconds>,
}

impl Timer {
    /// Needs to be called within a runtime that has I/O enabled.
    pub(crate) fn new() -> io::Result<Self> {
        let descriptor =
            rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its replacement is `unsafe` for types that might close the descriptor early; an OwnedFd does not"
        )]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        Ok(Self { descriptor, armed_for: None })
    }

    /// Ready once `deadline` has come. An earlier deadline that was not awaited to its end is forgotten.
    ///
    /// Setting the timer also clears its expirations, and readiness is edge-triggered, so it is never read.
    pub(crate) fn poll_until(
        &mut self,
        now: Nanoseconds,
        deadline: Nanoseconds,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        if self.armed_for != Some(deadline) {
            let wait = deadline - now;
            let value = Timespec {
                tv_sec: (wait / 1_000_000_000).cast_signed(),
                tv_nsec: (wait % 1_000_000_000).cast_signed(),
            };
            let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::time::timerfd_settime(
                &self.descriptor,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: interval, it_value: value },
            )
            .expect("the descriptor is a timer and the time is in range");
            self.armed_for = Some(deadline);
        }
        let mut guard = ready!(self.descriptor.poll_read_ready(context))
            .expect("readiness fails only when the runtime shuts down, and then nobody polls");
        guard.clear_ready();
        // An expiry of an earlier setting may be what woke us. The caller compares the clock, so waking early is harmless,
        // but the timer must then be set anew.
        self.armed_for = None;
        Poll::Ready(())
    }
}

//! A timer that wakes to the microsecond: tokio's own tick once a millisecond, which would bunch sends.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::Nanoseconds;

/// One Linux timerfd, armed for the worker's next deadline, and another for the one after that.
///
/// With the second armed beforehand, the kernel programs the processor's timer once for each deadline, when the first goes
/// off, instead of twice. On a virtual machine each time is an exit to the host, which costs more than the rest of a
/// wake-up.
#[derive(Debug)]
pub(crate) struct Timer([Descriptor; 2]);

#[derive(Debug)]
struct Descriptor {
    descriptor: AsyncFd<OwnedFd>,
    armed_for: Option<Nanoseconds>,
}

impl Timer {
    /// Needs to be called within a runtime that has I/O enabled.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self([Descriptor::new()?, Descriptor::new()?]))
    }

    /// Ready once `deadline` has come, of which `following` is likely to be the next. Earlier deadlines that were not
    /// awaited to their end are forgotten.
    ///
    /// An expiry of an earlier setting may be what makes it ready: the caller compares the clock.
    pub(crate) fn poll_until(
        &mut self,
        now: Nanoseconds,
        deadline: Nanoseconds,
        following: Option<Nanoseconds>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        self.arm(now, deadline, following, context);
        if let Some(following) = following {
            self.arm(now, following, Some(deadline), context);
        }
        for descriptor in &mut self.0 {
            if descriptor.take_expiry(context) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Arms one of the two for that time, but not the one that is armed for `kept`.
    fn arm(&mut self, now: Nanoseconds, at: Nanoseconds, kept: Option<Nanoseconds>, context: &mut Context<'_>) {
        let armed = self.0.each_ref().map(|descriptor| descriptor.armed_for);
        if armed.contains(&Some(at)) {
            return;
        }
        let free = usize::from(armed[0].is_some() && armed[0] == kept);
        self.0[free].arm(now, at, context);
    }
}

impl Descriptor {
    fn new() -> io::Result<Self> {
        let descriptor =
            rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its replacement is `unsafe` for types that might close the descriptor early; an OwnedFd does not"
        )]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        Ok(Self { descriptor, armed_for: None })
    }

    /// Setting the timer also clears its expirations, and readiness is edge-triggered, so it is never read.
    fn arm(&mut self, now: Nanoseconds, at: Nanoseconds, context: &mut Context<'_>) {
        // What an earlier setting left behind would pass for this one's expiry.
        self.take_expiry(context);
        let wait = at.saturating_sub(now).max(1);
        let value =
            Timespec { tv_sec: (wait / 1_000_000_000).cast_signed(), tv_nsec: (wait % 1_000_000_000).cast_signed() };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::time::timerfd_settime(
            &self.descriptor,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: interval, it_value: value },
        )
        .expect("the descriptor is a timer and the time is in range");
        self.armed_for = Some(at);
    }

    /// Whether it went off. If not, the task is woken when it does.
    fn take_expiry(&mut self, context: &mut Context<'_>) -> bool {
        let Poll::Ready(readiness) = self.descriptor.poll_read_ready(context) else { return false };
        readiness.expect("readiness fails only when the runtime shuts down, and then nobody polls").clear_ready();
        self.armed_for = None;
        true
    }
}

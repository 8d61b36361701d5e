//! The round: all that is queued leaves, all that came in is handed to whose it is.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::kernel::{Completion, Kernel};
use crate::socket::{Connection, Purpose, Tag};

thread_local! {
    static CURRENT: RefCell<Option<Reactor>> = const { RefCell::new(None) };
}

/// Alarms that may stand: past that only one that goes off before all of them is set, for the others are asked for again.
const ALARMS_MAX: usize = 64;

/// The sockets and alarms of one thread. Clones are the same one.
///
/// Its owner calls [`wait`](Reactor::wait) or [`poll_round`](Reactor::poll_round) whenever its sessions have nothing else to
/// do: what they queued leaves then, and not before.
#[derive(Clone)]
pub struct Reactor(pub(crate) Rc<Shared>);

pub(crate) struct Shared {
    pub(crate) state: RefCell<State>,
    /// Turns the standard library's clock into the kernel's.
    clock: (Instant, Duration),
    /// Is written to whenever something completes, for a runtime's poller; made when first asked for. Readiness is
    /// edge-triggered, so it is never read.
    watch: RefCell<Option<AsyncFd<OwnedFd>>>,
    /// Whoever polls rounds from a runtime, to be told when something was queued.
    owner: RefCell<Option<Waker>>,
    is_told: Cell<bool>,
}

pub(crate) struct State {
    pub(crate) kernel: Kernel,
    pub(crate) connections: Vec<Option<Connection>>,
    pub(crate) free: Vec<u32>,
    /// Counts calls, so that a connection knows whether its last send has left.
    pub(crate) round: u64,
    /// Connections with something to send that was cut short.
    unsent: Vec<u32>,
    /// When alarms that stand go off.
    alarms: Vec<Instant>,
    /// A receive found no buffer.
    is_starved: bool,
}

/// The reactor is its thread's current one until this is dropped.
#[must_use]
pub struct Current(());

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.with(|current| current.borrow_mut().take());
    }
}

impl Reactor {
    /// A reactor for this thread.
    ///
    /// # Errors
    /// Where the kernel is older than Linux 6.1, `io_uring` is forbidden (containers often do), or memory is short.
    pub fn new() -> io::Result<Self> {
        let state = State {
            kernel: Kernel::new()?,
            connections: Vec::new(),
            free: Vec::new(),
            round: 1,
            unsent: Vec::new(),
            alarms: Vec::with_capacity(ALARMS_MAX),
            is_starved: false,
        };
        let monotonic = clock_gettime(ClockId::Monotonic);
        let since = Duration::new(monotonic.tv_sec.cast_unsigned(), monotonic.tv_nsec as u32);
        Ok(Self(Rc::new(Shared {
            state: RefCell::new(state),
            clock: (Instant::now(), since),
            watch: RefCell::new(None),
            owner: RefCell::new(None),
            is_told: Cell::new(false),
        })))
    }

    /// Connections that this thread makes from here on are taken over by the reactor.
    pub fn enter(&self) -> Current {
        CURRENT.with(|current| *current.borrow_mut() = Some(self.clone()));
        Current(())
    }

    /// This thread's reactor, where it has one.
    pub fn current() -> Option<Self> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Ends a [`wait`](Self::wait) at that time, if no alarm stands for it already.
    ///
    /// Setting the next but one alarm before it is the next makes a wake-up cheap: when the first goes off, the kernel
    /// programs the processor's timer for the second in passing; set later, it would be programmed twice. On a virtual
    /// machine each time is an exit to the host, which costs more than all else in a wake-up.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wake_at(&self, at: Instant) -> io::Result<()> {
        let state = &mut *self.0.state.borrow_mut();
        let is_full = state.alarms.len() >= ALARMS_MAX && state.alarms.iter().any(|standing| *standing < at);
        if is_full || state.alarms.contains(&at) {
            return Ok(());
        }
        let (origin, monotonic) = self.0.clock;
        let time = monotonic + at.saturating_duration_since(origin);
        let tag = Tag { purpose: Purpose::Alarm, connection: 0 };
        while !state.kernel.alarm(time, tag.into()) {
            state.call(false)?;
        }
        state.alarms.push(at);
        Ok(())
    }

    /// A round that waits until something came in or an alarm went off. Blocks the thread.
    ///
    /// # Errors
    /// Where the kernel refuses, which it has no reason to.
    pub fn wait(&self) -> io::Result<()> {
        self.0.state.borrow_mut().call(true).map(|_| ())
    }

    /// A round that does not wait. Gives whether anything came in.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn round(&self) -> io::Result<bool> {
        self.0.state.borrow_mut().call(false)
    }

    /// A round from within a runtime with I/O enabled: ready once something came in. Where it is not, the task is woken
    /// when it may be, or when something is queued.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn poll_round(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.is_told.set(false);
        if self.round()? {
            return Poll::Ready(Ok(()));
        }
        let mut owner = self.0.owner.borrow_mut();
        if !owner.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *owner = Some(context.waker().clone());
        }
        drop(owner);
        let mut watch = self.0.watch.borrow_mut();
        if watch.is_none() {
            let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
            self.0.state.borrow().kernel.signal(event.as_fd())?;
            #[expect(
                deprecated,
                reason = "its replacement is `unsafe` for types that might close the descriptor early; an OwnedFd does not"
            )]
            let watched = AsyncFd::with_interest(event, Interest::READABLE)?;
            *watch = Some(watched);
            // What came in before the kernel was told to signal is signalled by nothing.
            if self.round()? {
                return Poll::Ready(Ok(()));
            }
        }
        let Some(watched) = &*watch else { return Poll::Pending };
        loop {
            let mut guard = ready!(watched.poll_read_ready(context))?;
            guard.clear_ready();
            if self.round()? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Something was queued: whoever polls rounds from a runtime must come back.
    pub(crate) fn tell(&self) {
        if !self.0.is_told.replace(true)
            && let Some(owner) = &*self.0.owner.borrow()
        {
            owner.wake_by_ref();
        }
    }
}

impl State {
    /// One call, and all that came of it. Gives whether anything did.
    pub(crate) fn call(&mut self, wait: bool) -> io::Result<bool> {
        self.kernel.enter(wait)?;
        self.round += 1;
        let mut any = false;
        while let Some(completion) = self.kernel.next() {
            any = true;
            self.complete(completion);
        }
        // Only now: what was cut short lies where the next send is put.
        while let Some(number) = self.unsent.pop() {
            let Some(Some(connection)) = self.connections.get_mut(number as usize) else { continue };
            connection.send_rest(&mut self.kernel, number, self.round);
            if connection.has_unsent() && !connection.await_writable(&mut self.kernel, number) {
                self.unsent.push(number);
                break;
            }
        }
        if std::mem::take(&mut self.is_starved) {
            // Whoever does not read now must not keep buffers from those who do.
            for connection in self.connections.iter_mut().flatten() {
                connection.spill(&mut self.kernel);
            }
        }
        Ok(any)
    }

    fn complete(&mut self, completion: Completion) {
        let Tag { purpose, connection: number } = completion.tag.into();
        if let Purpose::Alarm = purpose {
            // They go off in their order.
            if let Some((first, _)) = self.alarms.iter().enumerate().min_by_key(|(_, at)| **at) {
                self.alarms.swap_remove(first);
            }
            return;
        }
        let Some(Some(connection)) = self.connections.get_mut(number as usize) else {
            debug_assert!(false, "a connection is kept until its last completion");
            return;
        };
        match purpose {
            Purpose::Receive => self.is_starved |= connection.received(&completion, &mut self.kernel),
            Purpose::Send => {
                connection.fell_short(completion.result, &self.kernel);
                self.unsent.push(number);
            }
            Purpose::Writable => {
                connection.writable();
                self.unsent.push(number);
            }
            Purpose::Alarm => {}
        }
        if connection.is_over() {
            self.forget(number);
        }
    }

    /// Forgets a connection that nobody has any use for.
    pub(crate) fn forget(&mut self, number: u32) {
        if let Some(connection) = self.connections[number as usize].take() {
            self.kernel.unregister(connection.target());
            self.free.push(number);
        }
    }
}

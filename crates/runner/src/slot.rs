//! A session's place in its worker: the client, the connection or the attempt at one, and what is in flight.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use store::{LocalBoxFuture, Result, Session, Token};
use workload::Client;

use crate::backoff::Backoff;
use crate::clock::Nanoseconds;
use crate::ready::{ReadyQueue, SlotWaker};

/// An operation in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) operation: u16,
    pub(crate) phase: u16,
    pub(crate) intended: Nanoseconds,
    pub(crate) sent: Nanoseconds,
}

/// The connection of a slot.
pub(crate) enum Connection<'a> {
    /// There is none, and none is tried for.
    None,
    /// One is tried for.
    Opening(LocalBoxFuture<'a, Result<Box<dyn Session>>>),
    /// It is there.
    Open(Box<dyn Session>),
}

pub(crate) struct Slot<'a> {
    pub(crate) client: Box<dyn Client>,
    pub(crate) connection: Connection<'a>,
    /// By token.
    pub(crate) pending: Vec<Option<Pending>>,
    /// Tokens that are not in flight, the next one last.
    pub(crate) free: Vec<Token>,
    /// Since when the last freed token has been free: a send after that which waited for the clock alone can be late.
    pub(crate) free_since: Nanoseconds,
    /// When the connection was lost that is being made again.
    pub(crate) lost_at: Nanoseconds,
    /// Counts connections, so that alarms of an earlier one are known as stale.
    pub(crate) generation: u32,
    pub(crate) backoff: Backoff,
    pub(crate) waker: Waker,
    pub(crate) woken: Arc<SlotWaker>,
    pub(crate) in_idle_list: bool,
    pub(crate) in_run_list: bool,
    /// Whether it waits for something that does not come through the reactor.
    pub(crate) waits_elsewhere: bool,
}

impl Slot<'_> {
    pub(crate) fn new(number: u32, client: Box<dyn Client>, depth: u32, ready: &ReadyQueue) -> Self {
        let woken = ready.slot(number);
        Self {
            client,
            connection: Connection::None,
            pending: vec![None; depth as usize],
            free: Vec::with_capacity(depth as usize),
            free_since: 0,
            lost_at: 0,
            generation: 0,
            backoff: Backoff::default(),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
            in_idle_list: false,
            in_run_list: false,
            waits_elsewhere: false,
        }
    }

    /// Takes a connection into use: all its tokens are free.
    pub(crate) fn open(&mut self, session: Box<dyn Session>, now: Nanoseconds) {
        let depth = session.depth().clamp(1, self.pending.len()) as Token;
        debug_assert!(self.pending.iter().all(Option::is_none), "a new connection has nothing in flight");
        self.free.clear();
        self.free.extend((0..depth).rev());
        self.free_since = now;
        self.generation += 1;
        self.backoff.reset();
        self.connection = Connection::Open(session);
    }

    /// Gives the connection up. What was in flight stays in `pending` for the caller to account for.
    pub(crate) fn close(&mut self) {
        self.connection = Connection::None;
        self.free.clear();
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.connection, Connection::Open(_))
    }

    /// Looks again at where it waits; gives by how much that changes the number of those that wait elsewhere.
    pub(crate) fn look_where_it_waits(&mut self) -> i64 {
        let elsewhere = match &self.connection {
            Connection::None => false,
            Connection::Opening(_) => true,
            Connection::Open(session) => !session.waits_in_reactor(),
        };
        i64::from(elsewhere) - i64::from(std::mem::replace(&mut self.waits_elsewhere, elsewhere))
    }

    pub(crate) fn can_send(&self) -> bool {
        self.is_open() && !self.free.is_empty()
    }

    /// Goes on with the attempt at a connection.
    pub(crate) fn poll_opening(&mut self) -> Poll<Result<Box<dyn Session>>> {
        match &mut self.connection {
            Connection::Opening(attempt) => attempt.as_mut().poll(&mut Context::from_waker(&self.waker)),
            Connection::None | Connection::Open(_) => Poll::Pending,
        }
    }
}

/// Wakes that a slot asks its worker for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The client has thought; the token is free again, on the connection of that generation.
    Thought(Token, u32),
    /// Time to connect again.
    Reconnect,
}

//! A session's connection to one node: opened when it is first needed, and asked many things at once.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use store::Result;

use super::Cluster;
use crate::redis::connection::Connection;
use crate::resp::Framer;
use crate::wire::{Settled, Wire};

/// First wait before a node is tried again: about what a restart on the same machine needs.
const WAIT_MIN: Duration = Duration::from_millis(10);

/// Last wait: a node that comes back, or whose replica takes over, is noticed within half a second.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// An attempt at a connection.
type Attempt = Pin<Box<dyn Future<Output = Result<Connection>>>>;

/// What a link waits for, in the order in which it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expect {
    /// The replies to a unit of a flight.
    Unit { flight: u32, unit: u32, replies: u32 },
    /// The reply to `ASKING`, which says nothing.
    Asking,
    /// The reply to `CLUSTER SLOTS`.
    Topology,
}

impl Expect {
    /// How many replies that is.
    pub(super) fn replies(self) -> u32 {
        match self {
            Self::Unit { replies, .. } => replies,
            Self::Asking | Self::Topology => 1,
        }
    }
}

/// How far a link is.
pub(super) enum State {
    Closed,
    Connecting(Attempt),
    Open(Wire<Settled>),
}

/// A connection to one node.
pub(super) struct Link {
    pub(super) state: State,
    pub(super) framer: Framer,
    /// What is sent once it is open.
    pub(super) waiting: Vec<u8>,
    pub(super) queue: VecDeque<Expect>,
    /// Attempts that failed since it was open last.
    failures: u32,
}

impl Link {
    /// Not opened yet.
    pub(super) fn closed() -> Self {
        Self {
            state: State::Closed,
            framer: Framer::default(),
            waiting: Vec::new(),
            queue: VecDeque::new(),
            failures: 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Where commands are appended; begins to connect where it is closed.
    pub(super) fn out(&mut self, cluster: &Arc<Cluster>, place: u16) -> &mut Vec<u8> {
        if matches!(self.state, State::Closed) {
            let wait = match self.failures {
                0 => Duration::ZERO,
                failures => WAIT_MIN.saturating_mul(1 << (failures - 1).min(16)).min(WAIT_MAX),
            };
            let cluster = Arc::clone(cluster);
            self.state = State::Connecting(Box::pin(async move {
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                cluster.open(place).await
            }));
        }
        match &mut self.state {
            State::Open(wire) => wire.out(),
            State::Connecting(_) | State::Closed => &mut self.waiting,
        }
    }

    /// Takes a connection into use and sends what has waited for it.
    pub(super) fn opened(&mut self, connection: Connection) -> Result<()> {
        let mut wire = connection.into_wire().settle()?;
        wire.out().append(&mut self.waiting);
        (self.state, self.failures) = (State::Open(wire), 0);
        Ok(())
    }

    /// Gives an attempt up; what had waited for it.
    pub(super) fn failed(&mut self) -> VecDeque<Expect> {
        self.failures += 1;
        self.state = State::Closed;
        self.waiting.clear();
        std::mem::take(&mut self.queue)
    }

    /// What waits for a connection that is not there yet, to be sent elsewhere. None where it is to stay: `ASKING` is only
    /// good for where it was said.
    pub(super) fn take_waiting(&mut self) -> Option<VecDeque<Expect>> {
        let is_bound = |expect: &Expect| !matches!(expect, Expect::Unit { .. });
        if !matches!(self.state, State::Connecting(_)) || self.queue.iter().any(is_bound) {
            return None;
        }
        self.waiting.clear();
        Some(std::mem::take(&mut self.queue))
    }
}

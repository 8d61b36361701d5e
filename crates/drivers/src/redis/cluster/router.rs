//! Sends commands to the nodes that serve their keys, follows redirects, and puts the replies together.
//!
//! What is asked at once is a flight; its commands are units, each with one key's slot, and a transaction is one unit. Units
//! fly side by side, each on the link of its node; a flight lands when all of its units are answered, and then has their
//! replies in the order of its commands, as if one server had given them.
//!
//! A redirect is followed only to a node that the target lists. A server that redirects has not done what it was asked,
//! so sending the unit on does not repeat it. A link that is lost breaks the whole: what it had been sent may have been done.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use store::{Error, ErrorKind, Result};

use super::Cluster;
use super::link::{Expect, Link, State};
use super::slots::{Place, Redirect, Topology, slot_of, unserved};
use crate::redis::connection::{Connection, lost};
use crate::redis::reply::Replies;
use crate::redis::session::out_of_step;
use crate::resp::{Scanner, command_of};

/// Times that a unit is sent on: a slot on its way needs two, so that more means servers that disagree.
const REDIRECTS_MAX: u8 = 8;

/// Between two looks at who serves what: while servers disagree, every unit would cause one.
const REFRESH_INTERVAL: Duration = Duration::from_millis(50);

/// What a flight's buffers may keep: a scan's records. A larger one's memory is given back.
const FLIGHT_BYTES_RETAINED_MAX: usize = 64 << 10;

/// A session's way through a cluster.
pub(crate) struct Router {
    cluster: Arc<Cluster>,
    topology: Arc<Topology>,
    /// By the nodes' numbers in the target's list.
    links: Vec<Link>,
    flights: Vec<Flight>,
    free: Vec<u32>,
    landed: VecDeque<u32>,
    /// Memory to put replies in order with.
    spare: Vec<u8>,
    /// Which of a slot's replicas this one reads from.
    replica: usize,
    refreshed: Option<Instant>,
    is_refreshing: bool,
    broken: Option<Error>,
}

/// What was asked at once.
#[derive(Default)]
struct Flight {
    commands: Vec<u8>,
    units: Vec<Unit>,
    /// As they came in.
    replies: Vec<u8>,
    /// Units that are not answered.
    left: u32,
    /// Units that were answered in the order of the commands, as long as all were.
    in_order: Option<u32>,
    reads: bool,
    is_flying: bool,
    error: Option<Error>,
}

/// Commands that go to one node together.
#[derive(Clone, Copy)]
struct Unit {
    start: u32,
    end: u32,
    replies: u32,
    slot: u16,
    redirects: u8,
    /// Where its replies are in the flight's.
    answer: (u32, u32),
}

impl Router {
    /// Through a cluster that has just been entered.
    pub(super) fn new(
        cluster: Arc<Cluster>,
        topology: Arc<Topology>,
        place: u16,
        connection: Connection,
    ) -> Result<Self> {
        let mut links: Vec<Link> = (0..cluster.nodes().len()).map(|_| Link::closed()).collect();
        links[usize::from(place)].opened(connection)?;
        Ok(Self {
            replica: cluster.next_replica(),
            cluster,
            topology,
            links,
            flights: Vec::new(),
            free: Vec::new(),
            landed: VecDeque::new(),
            spare: Vec::new(),
            refreshed: None,
            is_refreshing: false,
            broken: None,
        })
    }

    /// Why the session is only good for dropping, where it is.
    pub(crate) fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    /// A flight without commands, and where they are appended. It must be launched or [released](Self::release).
    pub(crate) fn begin(&mut self) -> (u32, &mut Vec<u8>) {
        let flight = self.free.pop().unwrap_or_else(|| {
            self.flights.push(Flight::default());
            (self.flights.len() - 1) as u32
        });
        let commands = &mut self.flights[flight as usize].commands;
        commands.clear();
        (flight, commands)
    }

    /// Sends a flight's commands, which have so many replies. `slot` is that of all keys, where it is known; `reads` says
    /// that replicas may answer.
    pub(crate) fn launch(&mut self, flight: u32, replies: u32, slot: Option<u16>, reads: bool) {
        let this = &mut self.flights[flight as usize];
        this.replies.clear();
        this.units.clear();
        (this.reads, this.is_flying, this.in_order) = (reads, true, Some(0));
        match (replies, slot) {
            (1, Some(slot)) => this.units.push(Unit::new(0, this.commands.len(), 1, slot)),
            _ => {
                if dissect(&this.commands, slot, &mut this.units).is_none() {
                    this.error = Some(Error::bug("commands that cannot be told apart were to be sent to a cluster"));
                    this.units.clear();
                }
            }
        }
        this.left = this.units.len() as u32;
        if let Some(error) = &self.broken {
            this.error = Some(error.repeated());
            this.left = 0;
        }
        if this.left == 0 {
            self.land(flight);
            return;
        }
        for unit in 0..self.flights[flight as usize].units.len() as u32 {
            self.route(flight, unit);
        }
    }

    /// The next flight that landed. Drives all that fly.
    pub(crate) fn poll_landing(&mut self, context: &mut Context<'_>) -> Poll<u32> {
        loop {
            if let Some(flight) = self.landed.pop_front() {
                return Poll::Ready(flight);
            }
            let mut has_moved = false;
            for place in 0..self.links.len() as u16 {
                match self.drive(place, context) {
                    Ok(moved) => has_moved |= moved,
                    Err(error) => {
                        self.break_off(error);
                        has_moved = true;
                    }
                }
            }
            if !has_moved {
                return Poll::Pending;
            }
        }
    }

    /// A landed flight's replies, and where the commands of its next step are appended.
    ///
    /// # Errors
    /// What kept it from its replies.
    pub(crate) fn replies(&mut self, flight: u32) -> Result<(&[u8], &mut Vec<u8>)> {
        let this = &mut self.flights[flight as usize];
        if let Some(error) = this.error.take() {
            return Err(error);
        }
        this.commands.clear();
        Ok((&this.replies, &mut this.commands))
    }

    /// Forgets a flight that landed.
    pub(crate) fn release(&mut self, flight: u32) {
        let this = &mut self.flights[flight as usize];
        this.error = None;
        for buffer in [&mut this.commands, &mut this.replies] {
            if buffer.capacity() > FLIGHT_BYTES_RETAINED_MAX {
                *buffer = Vec::new();
            }
        }
        self.free.push(flight);
    }

    /// Sends commands of whose replies only errors matter, and waits for all of them.
    pub(crate) async fn confirm(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<u32>) -> Result<()> {
        let (flight, out) = self.begin();
        let count = encode(out).inspect_err(|_| self.release(flight))?;
        self.launch(flight, count, None, false);
        let landed = std::future::poll_fn(|context| self.poll_landing(context)).await;
        debug_assert!(landed == flight, "it is asked one thing at a time");
        let result = self.replies(flight).and_then(|(replies, _)| {
            let mut replies = Replies::new(replies);
            (0..count).try_for_each(|_| replies.good().map(drop))
        });
        self.release(flight);
        result
    }

    /// Sends a unit to whoever serves its slot.
    fn route(&mut self, flight: u32, unit: u32) {
        let this = &self.flights[flight as usize];
        let slot = this.units[unit as usize].slot;
        let place = match self.topology.serving(slot) {
            None => Err(unserved(slot)),
            Some(range) => match (&range.master, range.replicas.len()) {
                (_, replicas @ 1..) if this.reads && self.cluster.reads_from_replicas() => {
                    Ok(range.replicas[self.replica % replicas])
                }
                (Place::Listed(place), _) => Ok(*place),
                (Place::Elsewhere(node), _) => node.clone().permitted(self.cluster.nodes()).and(Err(unserved(slot))),
            },
        };
        match place {
            Ok(place) => self.send(place, flight, unit, false),
            Err(error) => self.fail(flight, error),
        }
    }

    fn send(&mut self, place: u16, flight: u32, unit: u32, is_asking: bool) {
        let link = &mut self.links[usize::from(place)];
        let this = &self.flights[flight as usize];
        let Unit { start, end, replies, .. } = this.units[unit as usize];
        let out = link.out(&self.cluster, place);
        if is_asking {
            command_of(out, &[b"ASKING"]);
        }
        out.extend_from_slice(&this.commands[start as usize..end as usize]);
        if is_asking {
            link.queue.push_back(Expect::Asking);
        }
        link.queue.push_back(Expect::Unit { flight, unit, replies });
    }

    /// Moves bytes on a link, as far as there are some or until a flight landed. Whether anything happened.
    fn drive(&mut self, place: u16, context: &mut Context<'_>) -> Result<bool> {
        let link = &mut self.links[usize::from(place)];
        if let State::Connecting(attempt) = &mut link.state {
            match attempt.as_mut().poll(context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(connection)) => link.opened(connection)?,
                Poll::Ready(Err(error)) => {
                    self.unreached(place, &error);
                    return Ok(true);
                }
            }
        }
        let mut has_moved = false;
        loop {
            let link = &mut self.links[usize::from(place)];
            let State::Open(wire) = &mut link.state else { return Ok(has_moved) };
            let Some(expect) = link.queue.front().copied() else {
                return if wire.buffered().is_empty() { Ok(has_moved) } else { Err(out_of_step()) };
            };
            match link.framer.frame(wire.buffered(), expect.replies()) {
                Ok(Some(length)) => {
                    link.queue.pop_front();
                    self.take(place, expect, length);
                    has_moved = true;
                    if !self.landed.is_empty() {
                        return Ok(true);
                    }
                    continue;
                }
                Ok(None) => {}
                Err(_) => return Err(out_of_step()),
            }
            if let Poll::Ready(Err(source)) = wire.poll_flush(context) {
                return Err(lost(source));
            }
            match wire.poll_fill(context) {
                Poll::Ready(Ok(())) => has_moved = true,
                Poll::Ready(Err(source)) => return Err(lost(source)),
                Poll::Pending => return Ok(has_moved),
            }
        }
    }

    /// Takes what a link has waited for from what came in.
    fn take(&mut self, place: u16, expect: Expect, length: usize) {
        let State::Open(wire) = &mut self.links[usize::from(place)].state else { return };
        let (bytes, asked) = (&wire.buffered()[..length], &self.cluster.nodes()[usize::from(place)]);
        let mut redirect = Ok(None);
        let mut topology = None;
        match expect {
            Expect::Asking => {}
            Expect::Topology => {
                let read = Topology::read(&mut Replies::new(bytes), asked, self.cluster.nodes());
                topology = Some(read.ok().flatten());
            }
            Expect::Unit { flight, unit, replies } => {
                // The last reply to a transaction only says that it did not take place.
                let lines = if replies == 1 { 1 } else { replies - 1 };
                if replies > 1 || bytes.first() == Some(&b'-') {
                    redirect = Redirect::among(bytes, lines, asked);
                }
                if let Ok(None) = redirect {
                    self.flights[flight as usize].answer(unit, bytes);
                }
            }
        }
        wire.consume(length);
        if let Some(topology) = topology {
            self.is_refreshing = false;
            if let Some(topology) = topology {
                self.adopt(topology);
            }
        }
        let Expect::Unit { flight, unit, .. } = expect else { return };
        match redirect {
            Ok(None) => self.answered(flight),
            Ok(Some(redirect)) => self.redirect(flight, unit, redirect),
            Err(error) => self.fail(flight, error),
        }
    }

    fn redirect(&mut self, flight: u32, unit: u32, redirect: Redirect) {
        let this = &mut self.flights[flight as usize].units[unit as usize];
        this.redirects += 1;
        if this.redirects > REDIRECTS_MAX {
            let error = Error::new(ErrorKind::Conflict, "the cluster's servers send us to one another in circles")
                .with_hint("see CLUSTER NODES on each of them: they do not agree on who serves what");
            return self.fail(flight, error);
        }
        match Place::of(redirect.node, self.cluster.nodes()) {
            Place::Elsewhere(node) => {
                let refused = node.permitted(self.cluster.nodes()).err();
                self.fail(flight, refused.unwrap_or_else(out_of_step));
            }
            Place::Listed(place) => {
                if !redirect.is_ask {
                    self.refresh(place);
                }
                self.send(place, flight, unit, redirect.is_ask);
            }
        }
    }

    /// Asks a node who serves what.
    fn refresh(&mut self, place: u16) {
        let is_recent = self.refreshed.is_some_and(|last| last.elapsed() < REFRESH_INTERVAL);
        if self.is_refreshing || is_recent {
            return;
        }
        (self.is_refreshing, self.refreshed) = (true, Some(Instant::now()));
        let link = &mut self.links[usize::from(place)];
        command_of(link.out(&self.cluster, place), &[b"CLUSTER", b"SLOTS"]);
        link.queue.push_back(Expect::Topology);
    }

    /// Goes by a new topology, also with what waits for a node that cannot be reached.
    fn adopt(&mut self, topology: Topology) {
        if *self.topology == topology {
            return;
        }
        self.topology = self.cluster.remember(topology);
        for place in 0..self.links.len() {
            for expect in self.links[place].take_waiting().unwrap_or_default() {
                if let Expect::Unit { flight, unit, .. } = expect {
                    self.route(flight, unit);
                }
            }
        }
    }

    /// A node could not be reached: what waited for it fails, and somebody else is asked who serves its slots now.
    fn unreached(&mut self, place: u16, error: &Error) {
        for expect in self.links[usize::from(place)].failed() {
            match expect {
                Expect::Unit { flight, .. } => self.fail(flight, error.repeated()),
                Expect::Topology => self.is_refreshing = false,
                Expect::Asking => {}
            }
        }
        if let Some(other) = self.links.iter().position(Link::is_open) {
            self.refresh(other as u16);
        }
    }

    fn fail(&mut self, flight: u32, error: Error) {
        self.flights[flight as usize].error.get_or_insert(error);
        self.answered(flight);
    }

    fn answered(&mut self, flight: u32) {
        let this = &mut self.flights[flight as usize];
        this.left -= 1;
        if this.left == 0 {
            this.put_in_order(&mut self.spare);
            self.land(flight);
        }
    }

    fn land(&mut self, flight: u32) {
        self.flights[flight as usize].is_flying = false;
        self.landed.push_back(flight);
    }

    /// Ends everything: a connection was lost with requests in its hands.
    fn break_off(&mut self, error: Error) {
        for link in &mut self.links {
            *link = Link::closed();
        }
        for flight in 0..self.flights.len() {
            if self.flights[flight].is_flying {
                self.flights[flight].error = Some(error.repeated());
                self.land(flight as u32);
            }
        }
        self.broken.get_or_insert(error);
    }
}

impl Flight {
    /// Keeps a unit's replies.
    fn answer(&mut self, unit: u32, bytes: &[u8]) {
        let start = self.replies.len() as u32;
        self.replies.extend_from_slice(bytes);
        self.units[unit as usize].answer = (start, self.replies.len() as u32);
        self.in_order = self.in_order.filter(|next| *next == unit).map(|next| next + 1);
    }

    /// Brings the replies into the order of the commands.
    fn put_in_order(&mut self, spare: &mut Vec<u8>) {
        if self.in_order.is_some() || self.error.is_some() {
            return;
        }
        spare.clear();
        for Unit { answer: (start, end), .. } in &self.units {
            spare.extend_from_slice(&self.replies[*start as usize..*end as usize]);
        }
        std::mem::swap(&mut self.replies, spare);
    }
}

impl Unit {
    fn new(start: usize, end: usize, replies: u32, slot: u16) -> Self {
        Self { start: start as u32, end: end as u32, replies, slot, redirects: 0, answer: (0, 0) }
    }
}

/// Takes commands apart into units. None where they are no commands, or one has no key.
fn dissect(commands: &[u8], slot: Option<u16>, units: &mut Vec<Unit>) -> Option<()> {
    let mut scanner = Scanner::new(commands);
    while let Some(command) = scanner.command() {
        let (start, mut end, mut key, mut replies) = (command.start, command.end, command.key, 1);
        // A transaction stays together, with the slot of what is in it.
        if command.name == b"MULTI" {
            loop {
                let inner = scanner.command()?;
                (end, replies) = (inner.end, replies + 1);
                if inner.name == b"EXEC" {
                    break;
                }
                key = key.or(inner.key);
            }
        }
        let slot = match slot {
            Some(slot) => slot,
            None => slot_of(key?),
        };
        units.push(Unit::new(start, end, replies, slot));
    }
    scanner.is_at_end().then_some(())
}

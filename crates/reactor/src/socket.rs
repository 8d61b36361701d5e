//! A connection on the queues: bytes are copied in to be sent, and out of the buffers that they were received into.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker};

use crate::kernel::{Buffer, Completion, Kernel, Region, Target};
use crate::reactor::{Reactor, State};

/// No buffer was free: `ENOBUFS` of Linux. The receive must be asked for again.
const ENOBUFS: i32 = 105;
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Receive,
    Send,
    Writable,
    Alarm,
}

/// Tells completions apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag {
    pub(crate) purpose: Purpose,
    pub(crate) connection: u32,
}

impl From<Tag> for u64 {
    fn from(tag: Tag) -> Self {
        ((tag.purpose as Self) << 32) | Self::from(tag.connection)
    }
}

impl From<u64> for Tag {
    fn from(bits: u64) -> Self {
        let purpose = match bits >> 32 {
            0 => Purpose::Receive,
            1 => Purpose::Send,
            2 => Purpose::Writable,
            _ => Purpose::Alarm,
        };
        Self { purpose, connection: bits as u32 }
    }
}

/// A connection as the reactor keeps it, which outlives its [`Socket`] until the kernel is done with it.
pub(crate) struct Connection {
    stream: TcpStream,
    target: Target,
    received: VecDeque<Received>,
    /// What was received before that, and how much of it was taken: copied where buffers were short.
    spilled: Vec<u8>,
    spilled_taken: usize,
    /// How receiving ended.
    ended: Option<i32>,
    is_receiving: bool,
    reader: Option<Waker>,
    /// What the kernel did not take; it goes first.
    unsent: Vec<u8>,
    /// What the last send was of, and when it was queued.
    sending: Region,
    sending_round: u64,
    room: Room,
    writer: Option<Waker>,
    is_abandoned: bool,
}

/// Whether the kernel has room for what is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Unknown,
    /// It had none, and will say when it has.
    Awaited,
    There,
}

struct Received {
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl Connection {
    /// Bytes, or the end of receiving. Gives whether there was no buffer for more.
    pub(crate) fn received(&mut self, completion: &Completion, kernel: &mut Kernel) -> bool {
        self.is_receiving &= completion.more;
        match (completion.result, completion.buffer) {
            (1.., Some(buffer)) if !self.is_abandoned => {
                self.received.push_back(Received { buffer, start: 0, end: completion.result as usize });
            }
            (result, buffer) => {
                if let Some(buffer) = buffer {
                    kernel.give(buffer);
                }
                if result <= 0 && result != -ENOBUFS && result != -EINTR {
                    self.ended = Some(result);
                }
            }
        }
        wake(&mut self.reader);
        completion.result == -ENOBUFS
    }

    /// Copies what was received and not taken, and gives its buffers back.
    pub(crate) fn spill(&mut self, kernel: &mut Kernel) {
        for Received { buffer, start, end } in self.received.drain(..) {
            self.spilled.extend_from_slice(&kernel.bytes(buffer)[start..end]);
            kernel.give(buffer);
        }
    }

    /// A send failed or was cut short: what is left of it is kept.
    pub(crate) fn fell_short(&mut self, result: i32, kernel: &Kernel) {
        let sent = match result {
            0.. => result as usize,
            error if error == -EAGAIN || error == -EINTR => 0,
            error => {
                self.ended = Some(error);
                wake(&mut self.reader);
                wake(&mut self.writer);
                return;
            }
        };
        // It goes before what had no room in that send.
        let rest = kernel.sent(self.sending).get(sent..).unwrap_or_default();
        self.unsent.splice(0..0, rest.iter().copied());
    }

    /// As requests name it.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// Whether there is something to be sent that was cut short.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() && self.room != Room::Awaited && self.ended.is_none_or(|ended| ended == 0)
    }

    /// Asks to be told when the rest can be sent. `false` where the queue is full.
    pub(crate) fn await_writable(&mut self, kernel: &mut Kernel, number: u32) -> bool {
        let tag = Tag { purpose: Purpose::Writable, connection: number };
        let is_queued = kernel.await_writable(self.target, tag.into());
        if is_queued {
            self.room = Room::Awaited;
        }
        is_queued
    }

    /// The rest can be sent.
    pub(crate) fn writable(&mut self) {
        self.room = Room::There;
    }

    /// Sends on what was cut short.
    pub(crate) fn send_rest(&mut self, kernel: &mut Kernel, number: u32, round: u64) {
        if self.room != Room::There {
            return;
        }
        self.room = Room::Unknown;
        let rest = std::mem::take(&mut self.unsent);
        let length = self.send(kernel, number, round, &rest);
        self.unsent = rest;
        self.unsent.drain(..length);
        if self.unsent.is_empty() {
            wake(&mut self.writer);
        }
    }

    fn send(&mut self, kernel: &mut Kernel, number: u32, round: u64, bytes: &[u8]) -> usize {
        let tag = Tag { purpose: Purpose::Send, connection: number };
        let region = kernel.send(self.target, bytes, tag.into());
        if region.length() > 0 {
            (self.sending, self.sending_round) = (region, round);
        }
        region.length()
    }

    /// Copies what was received, and gives buffers back that are used up.
    fn take(&mut self, kernel: &mut Kernel, into: &mut [u8]) -> usize {
        let mut taken = 0;
        if !self.spilled.is_empty() {
            let rest = &self.spilled[self.spilled_taken..];
            taken = rest.len().min(into.len());
            into[..taken].copy_from_slice(&rest[..taken]);
            self.spilled_taken += taken;
            if self.spilled_taken < self.spilled.len() {
                return taken;
            }
            self.spilled = Vec::new();
            self.spilled_taken = 0;
        }
        while let Some(received) = self.received.front_mut() {
            let length = (received.end - received.start).min(into.len() - taken);
            let bytes = &kernel.bytes(received.buffer)[received.start..received.start + length];
            into[taken..taken + length].copy_from_slice(bytes);
            taken += length;
            received.start += length;
            if received.start < received.end {
                break;
            }
            kernel.give(received.buffer);
            self.received.pop_front();
        }
        taken
    }

    /// Whether nobody, the kernel included, has any use for it.
    pub(crate) fn is_over(&self) -> bool {
        self.is_abandoned && !self.is_receiving && self.room != Room::Awaited
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}

fn remember(waker: &mut Option<Waker>, context: &Context<'_>) {
    if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
        *waker = Some(context.waker().clone());
    }
}

/// A connection through a [`Reactor`].
pub struct Socket {
    reactor: Reactor,
    number: u32,
}

impl Socket {
    /// Takes a connected stream over.
    pub fn new(reactor: &Reactor, stream: TcpStream) -> Self {
        let state = &mut *reactor.0.state.borrow_mut();
        let number = state.free.pop().unwrap_or_else(|| {
            state.connections.push(None);
            (state.connections.len() - 1) as u32
        });
        let target = state.kernel.register(stream.as_fd(), number);
        state.connections[number as usize] = Some(Connection {
            stream,
            target,
            received: VecDeque::new(),
            spilled: Vec::new(),
            spilled_taken: 0,
            ended: None,
            is_receiving: false,
            reader: None,
            unsent: Vec::new(),
            sending: Region::default(),
            sending_round: 0,
            room: Room::Unknown,
            writer: None,
            is_abandoned: false,
        });
        Self { reactor: reactor.clone(), number }
    }

    /// Takes bytes that came in; 0 at the end of the stream.
    ///
    /// # Errors
    /// The kernel's, for what was lost.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.reactor.0.state.borrow_mut();
        loop {
            let State { kernel, connections, .. } = &mut *state;
            let Some(connection) = &mut connections[self.number as usize] else { return Poll::Ready(Ok(0)) };
            let taken = connection.take(kernel, buffer);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            match connection.ended {
                Some(0) => return Poll::Ready(Ok(0)),
                Some(error) => return Poll::Ready(Err(io::Error::from_raw_os_error(-error))),
                None => {}
            }
            remember(&mut connection.reader, context);
            if connection.is_receiving {
                return Poll::Pending;
            }
            let tag = Tag { purpose: Purpose::Receive, connection: self.number };
            if kernel.receive(connection.target, tag.into()) {
                connection.is_receiving = true;
                drop(state);
                self.reactor.tell();
                return Poll::Pending;
            }
            state.call(false)?;
        }
    }

    /// Takes bytes to be sent with the next round, all or as many as there is room for.
    ///
    /// # Errors
    /// The kernel's, of an earlier send.
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.reactor.0.state.borrow_mut();
        loop {
            let State { kernel, connections, round, .. } = &mut *state;
            let Some(connection) = &mut connections[self.number as usize] else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if let Some(error) = connection.ended.filter(|ended| *ended < 0) {
                return Poll::Ready(Err(io::Error::from_raw_os_error(-error)));
            }
            if !connection.unsent.is_empty() {
                remember(&mut connection.writer, context);
                return Poll::Pending;
            }
            // Two sends of one round could overtake each other where the first is cut short.
            if connection.sending_round < *round {
                let length = connection.send(kernel, self.number, *round, bytes);
                if length > 0 || bytes.is_empty() {
                    drop(state);
                    self.reactor.tell();
                    return Poll::Ready(Ok(length));
                }
            }
            state.call(false)?;
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.reactor.0.state.borrow_mut();
        // A last message, such as a farewell, is sent before the end.
        if state.kernel.has_queued() {
            let _ = state.call(false);
        }
        let State { kernel, connections, .. } = &mut *state;
        let Some(connection) = &mut connections[self.number as usize] else { return };
        for received in connection.received.drain(..) {
            kernel.give(received.buffer);
        }
        // Ends the standing receive and wait, after whose completion the connection is forgotten.
        let _ = connection.stream.shutdown(Shutdown::Both);
        connection.is_abandoned = true;
        connection.reader = None;
        connection.writer = None;
        if connection.is_over() {
            state.forget(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    /// A reactor where the kernel lets us have one; containers often forbid it.
    fn reactor() -> Option<Reactor> {
        Reactor::new().ok()
    }

    /// A connection to a peer that sends back what it gets, in pieces of its own choosing, until the end.
    fn echo(reactor: &Reactor) -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (mut peer, _) = listener.accept().expect("our own connection");
        thread::spawn(move || {
            let mut buffer = vec![0; 10_000];
            while let Ok(length @ 1..) = peer.read(&mut buffer) {
                if peer.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        });
        Socket::new(reactor, stream)
    }

    /// Sends bytes on all sockets at once and takes as many back, in rounds that block.
    fn round_trips(reactor: &Reactor, sockets: &mut [Socket], length: usize) {
        let mut context = Context::from_waker(Waker::noop());
        let bytes: Vec<u8> = (0..length).map(|position| (position % 251) as u8).collect();
        let mut sent = vec![0; sockets.len()];
        let mut back = vec![Vec::new(); sockets.len()];
        let mut buffer = [0; 3000];
        while back.iter().any(|back| back.len() < length) {
            for ((socket, sent), back) in sockets.iter_mut().zip(&mut sent).zip(&mut back) {
                while *sent < length
                    && let Poll::Ready(written) = socket.poll_write(&mut context, &bytes[*sent..])
                {
                    *sent += written.expect("connected");
                }
                while let Poll::Ready(read) = socket.poll_read(&mut context, &mut buffer) {
                    let read = read.expect("connected");
                    assert!(read > 0, "the peer closed");
                    back.extend_from_slice(&buffer[..read]);
                }
            }
            if back.iter().any(|back| back.len() < length) {
                reactor.wait().expect("there is something to wait for");
            }
        }
        assert!(back.iter().all(|back| *back == bytes), "{length} bytes came back changed");
    }

    #[test]
    fn bytes_arrive_whole_on_many_connections_also_when_the_peer_is_slow_to_take_them() {
        let Some(reactor) = reactor() else { return };
        let mut sockets: Vec<Socket> = (0..20).map(|_| echo(&reactor)).collect();
        for length in [1, 100, 5_000, 70_000] {
            round_trips(&reactor, &mut sockets, length);
        }
        round_trips(&reactor, &mut sockets[..2], 30_000_000);
        drop(sockets);
        round_trips(&reactor, &mut [echo(&reactor)], 100);
    }

    #[test]
    fn more_connections_than_buffers_and_queue_entries_all_have_their_turn() {
        let Some(reactor) = reactor() else { return };
        let mut sockets: Vec<Socket> = (0..700).map(|_| echo(&reactor)).collect();
        for length in [10, 9_000] {
            round_trips(&reactor, &mut sockets, length);
        }
    }

    #[test]
    fn those_who_do_not_read_keep_no_buffers_from_those_who_do() {
        let Some(reactor) = reactor() else { return };
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = [0; 8];
        let (mut silent, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..600 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
            let (mut peer, _) = listener.accept().expect("our own connection");
            let mut socket = Socket::new(&reactor, stream);
            assert!(socket.poll_read(&mut context, &mut buffer).is_pending());
            peer.write_all(b"notice").expect("connected");
            silent.push(socket);
            peers.push(peer);
        }
        round_trips(&reactor, &mut [echo(&reactor)], 100_000);
        for socket in &mut silent {
            let mut read = Vec::new();
            while read.len() < 6 {
                match socket.poll_read(&mut context, &mut buffer[..4]) {
                    Poll::Pending => reactor.wait().expect("it was sent"),
                    Poll::Ready(length) => read.extend_from_slice(&buffer[..length.expect("connected")]),
                }
            }
            assert_eq!(read, b"notice");
        }
    }

    #[test]
    fn the_end_of_a_connection_is_told_to_reader_and_writer() {
        let Some(reactor) = reactor() else { return };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (mut peer, _) = listener.accept().expect("our own connection");
        let mut socket = Socket::new(&reactor, stream);
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = [0; 8];
        assert!(socket.poll_read(&mut context, &mut buffer).is_pending());
        peer.write_all(b"farewell").expect("connected");
        drop(peer);
        let mut read = Vec::new();
        loop {
            match socket.poll_read(&mut context, &mut buffer) {
                Poll::Pending => reactor.wait().expect("something comes"),
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(length) => read.extend_from_slice(&buffer[..length.expect("no error yet")]),
            }
        }
        assert_eq!(read, b"farewell");
        // The peer answers the first bytes with a reset, of which the second write or read is told.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let written = socket.poll_write(&mut context, b"anybody there?");
            if matches!(written, Poll::Ready(Err(_))) {
                break;
            }
            assert!(Instant::now() < deadline, "a broken connection takes bytes for ever");
            reactor.round().expect("a round");
        }
    }

    #[test]
    fn what_was_sent_before_a_drop_arrives() {
        let Some(reactor) = reactor() else { return };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (mut peer, _) = listener.accept().expect("our own connection");
        let mut socket = Socket::new(&reactor, stream);
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(socket.poll_write(&mut context, b"QUIT"), Poll::Ready(Ok(4))));
        drop(socket);
        let mut read = String::new();
        peer.read_to_string(&mut read).expect("closed in order");
        assert_eq!(read, "QUIT");
    }

    #[test]
    fn alarms_end_a_wait_once_their_time_has_come() {
        let Some(reactor) = reactor() else { return };
        let start = Instant::now();
        let times = [30, 10, 20, 10].map(|milliseconds| start + Duration::from_millis(milliseconds));
        for at in times {
            reactor.wake_at(at).expect("an alarm");
        }
        // On a host that stands still several are over at once, and one wait has them all: what is waited for is to come yet.
        let mut waits = 0;
        while start.elapsed() < Duration::from_millis(30) {
            reactor.wait().expect("a wait");
            waits += 1;
            assert!(start.elapsed() >= Duration::from_millis(10 * waits), "woken early");
        }
        assert!(waits <= 3, "{waits}");
    }

    #[test]
    fn sessions_can_be_awaited_within_a_runtime() {
        let Some(reactor) = reactor() else { return };
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(async {
            let rounds = reactor.clone();
            let owner = tokio::task::spawn_local(async move {
                loop {
                    poll_fn(|context| rounds.poll_round(context)).await.expect("a round");
                }
            });
            let mut socket = echo(&reactor);
            for _ in 0..100 {
                let written = poll_fn(|context| socket.poll_write(context, b"ping")).await;
                assert_eq!(written.expect("connected"), 4);
                let mut back = [0; 4];
                let read = poll_fn(|context| socket.poll_read(context, &mut back)).await;
                assert_eq!((read.expect("connected"), &back), (4, b"ping"));
            }
            owner.abort();
        });
    }

    proptest! {
        #[test]
        fn tags_survive_their_bits(connection: u32, purpose in 0_u64..4) {
            let bits = (purpose << 32) | u64::from(connection);
            prop_assert_eq!(u64::from(Tag::from(bits)), bits);
        }
    }
}

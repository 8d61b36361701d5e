//! One connection of a session that speaks its store's wire protocol itself.
//!
//! The session encodes into [`Wire::out`], the poll functions move bytes, and [`Wire::buffered`] shows what came in.
//! Both buffers are reused: once they have the size that the work needs, nothing allocates.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use reactor::{Reactor, Socket};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use store::{Error, Limits, Node, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::reach;

/// What a buffer begins with: a session that does point reads needs no more, and 10,000 of them fit into 160 MiB.
const BUFFER_BYTES_INITIAL: usize = 2 << 10;

/// What a buffer may keep once it is empty: a flight of pipelined records. A larger reply's memory is given back.
const BUFFER_BYTES_RETAINED_MAX: usize = 64 << 10;

/// Where a wire leads.
pub(crate) struct Endpoint<'a> {
    /// A name or an address.
    pub(crate) host: &'a str,
    /// The port.
    pub(crate) port: u16,
    /// Where it may lead.
    pub(crate) limits: &'a Limits,
    /// How it is encrypted and what its certificate must say; none for clear text.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A connection with its two buffers.
pub(crate) struct Wire<T = Direct> {
    stream: T,
    out: Vec<u8>,
    /// Bytes of `out` that have left.
    sent: usize,
    /// Initialised all over, so that it can be read into; `input[start..end]` is what came in.
    input: Vec<u8>,
    start: usize,
    end: usize,
}

/// What moves a wire's bytes.
pub(crate) trait Transport {
    /// Reads some; 0 at the end of the stream.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes some.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends what was taken and is kept.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Through the runtime's poller.
pub(crate) enum Direct {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// As a worker's sessions go: through the thread's reactor, where it has one and the connection is not encrypted.
pub(crate) enum Settled {
    Direct(Direct),
    Queued(Socket),
}

impl Wire {
    /// Connects, and agrees on encryption where it is asked for. The caller bounds the time.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers, `Rejected` where the target's limits forbid it or the encryption cannot be agreed
    /// on; with hints.
    pub(crate) async fn connect(endpoint: Endpoint<'_>) -> Result<Self> {
        let Endpoint { host, port, limits, tls } = endpoint;
        let addresses = reach::addresses(limits, &Node { host: host.to_owned(), port }).await?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|source| {
            Error::unreachable(format!("nobody answers at {host}:{port}: {source}"))
                .with_hint("start the server, or correct the host and port of the target")
                .with_source(source)
        })?;
        // Requests are small and each is waited for: Nagle's delay would be all that is measured.
        stream.set_nodelay(true).map_err(|source| Error::unreachable("the connection was lost").with_source(source))?;
        let wire =
            Self { stream: Direct::Plain(stream), out: Vec::new(), sent: 0, input: Vec::new(), start: 0, end: 0 };
        match tls {
            None => Ok(wire),
            Some((config, name)) => wire.encrypt(config, name, host, port).await,
        }
    }

    /// Goes on encrypted: from the start, or where the protocol agrees on it first. Nothing may be buffered.
    ///
    /// # Errors
    /// `Rejected` where that cannot be agreed on, with a hint.
    pub(crate) async fn encrypt(
        mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        host: &str,
        port: u16,
    ) -> Result<Self> {
        debug_assert!(self.start == self.end && self.out.is_empty(), "clear text must not pass for encrypted");
        let Direct::Plain(stream) = self.stream else { return Err(Error::bug("a connection is encrypted once")) };
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|source| {
            Error::rejected(format!("no encrypted connection with {host}:{port}: {source}"))
                .with_hint("check that the port speaks TLS, and name the authority with tls_ca=FILE")
                .with_source(source)
        })?;
        self.stream = Direct::Tls(Box::new(stream));
        Ok(self)
    }

    /// The connection alone, for a library that speaks on it. Nothing may be buffered.
    #[cfg(feature = "http")]
    pub(crate) fn into_stream(self) -> Direct {
        debug_assert!(self.start == self.end && self.out.is_empty(), "what is buffered would be lost");
        self.stream
    }

    /// Goes on as a worker's sessions do. Nothing may be buffered to be sent.
    ///
    /// # Errors
    /// `Unreachable` where the connection was lost.
    pub(crate) fn settle(self) -> Result<Wire<Settled>> {
        debug_assert!(self.out.is_empty(), "what waits to be sent must not change its way");
        let lost = |source| Error::unreachable("the connection was lost").with_source(source);
        let stream = match (self.stream, Reactor::current()) {
            (Direct::Plain(stream), Some(reactor)) => {
                let stream = stream.into_std().map_err(lost)?;
                // Waiting is the kernel's business: it must not give up at once.
                stream.set_nonblocking(false).map_err(lost)?;
                Settled::Queued(Socket::new(&reactor, stream))
            }
            (stream, _) => Settled::Direct(stream),
        };
        let Self { out, sent, input, start, end, .. } = self;
        Ok(Wire { stream, out, sent, input, start, end })
    }
}

impl Wire<Settled> {
    /// Whether it goes through the thread's reactor.
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.stream, Settled::Queued(_))
    }
}

impl<T: Transport> Wire<T> {
    /// Where requests are appended; they leave with the next [`poll_flush`](Self::poll_flush).
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What came in and was not consumed.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    /// What came in, and where requests that follow from it are appended.
    #[cfg(feature = "redis")]
    pub(crate) fn split(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.input[self.start..self.end], &mut self.out)
    }

    /// Forgets the first `length` bytes of what came in.
    pub(crate) fn consume(&mut self, length: usize) {
        debug_assert!(length <= self.end - self.start, "only what came in can be consumed");
        self.start += length;
    }

    /// Writes what was appended. A caller that waits for an answer must go on reading while this is pending: a server
    /// whose own answers are not taken stops reading.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.out.len() {
            match ready!(self.stream.poll_write(context, &self.out[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.sent += length,
            }
        }
        ready!(self.stream.poll_flush(context))?;
        self.out.clear();
        self.sent = 0;
        if self.out.capacity() > BUFFER_BYTES_RETAINED_MAX {
            self.out.shrink_to(BUFFER_BYTES_INITIAL);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more behind what is buffered. The end of the stream is an error: whoever reads waits for an answer.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.make_room();
        let room = self.input.len() - self.end;
        let length = ready!(self.stream.poll_read(context, &mut self.input[self.end..]))?;
        let full = length == room;
        if length == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.end += length;
        // A full read had more behind it: with a larger buffer the next flight takes one call instead of several.
        if full && self.input.len() < BUFFER_BYTES_RETAINED_MAX {
            self.input.resize(self.input.len() * 2, 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Leaves at least one byte of room behind what is buffered.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.input.is_empty() || self.input.len() > BUFFER_BYTES_RETAINED_MAX {
                self.input = vec![0; BUFFER_BYTES_INITIAL];
            }
        }
        if self.end < self.input.len() {
            return;
        }
        self.input.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        // Moving a mostly full buffer again and again would cost more than doubling it once.
        if self.end > self.input.len() / 2 {
            self.input.resize(self.input.len() * 2, 0);
        }
    }
}

impl Transport for Direct {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }
}

impl Transport for Settled {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Direct(stream) => stream.poll_read(context, buffer),
            Self::Queued(socket) => socket.poll_read(context, buffer),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Direct(stream) => stream.poll_write(context, bytes),
            Self::Queued(socket) => socket.poll_write(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Direct(stream) => stream.poll_flush(context),
            Self::Queued(_) => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A wire to a peer that sends back what it gets.
    async fn echo() -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.expect("our own connection");
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = peer.read(&mut buffer).await {
                peer.write_all(&buffer[..length]).await.expect("the wire reads");
            }
        });
        Wire::connect(Endpoint { host: "127.0.0.1", port, limits: &Limits::default(), tls: None })
            .await
            .expect("listening")
    }

    /// Sends bytes and takes as many back, in pieces of `piece`.
    async fn round_trip(wire: &mut Wire, length: usize, piece: usize) {
        let bytes: Vec<u8> = (0..length).map(|position| (position % 251) as u8).collect();
        wire.out().extend_from_slice(&bytes);
        let mut back = Vec::new();
        while back.len() < length {
            poll_fn(|context| {
                // As sessions do: reading goes on while writing has to wait.
                if let Poll::Ready(Err(error)) = wire.poll_flush(context) {
                    return Poll::Ready(Err(error));
                }
                wire.poll_fill(context)
            })
            .await
            .expect("the peer answers");
            while wire.buffered().len() >= piece.min(length - back.len()) && back.len() < length {
                let take = piece.min(length - back.len());
                back.extend_from_slice(&wire.buffered()[..take]);
                wire.consume(take);
            }
        }
        assert!(back == bytes, "{length} bytes in pieces of {piece} came back changed");
    }

    #[tokio::test]
    async fn bytes_arrive_whole_and_large_buffers_are_given_back() {
        let mut wire = echo().await;
        for (length, piece) in [(10, 10), (10_000, 7), (3_000_000, 1_000_000), (100, 100), (10, 1)] {
            round_trip(&mut wire, length, piece).await;
        }
        assert!(wire.input.len() <= BUFFER_BYTES_RETAINED_MAX, "{} bytes are kept", wire.input.len());
        assert!(wire.out.capacity() <= BUFFER_BYTES_RETAINED_MAX, "{} bytes are kept", wire.out.capacity());
    }

    #[tokio::test]
    async fn a_closed_port_and_a_closed_connection_are_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let limits = Limits::default();
        let endpoint = || Endpoint { host: "127.0.0.1", port, limits: &limits, tls: None };
        let mut wire = Wire::connect(endpoint()).await.expect("listening");
        drop(listener.accept().await.expect("our own connection"));
        assert!(poll_fn(|context| wire.poll_fill(context)).await.is_err());
        drop(listener);
        let error = Wire::connect(endpoint()).await.err().expect("closed");
        assert_eq!(error.kind(), store::ErrorKind::Unreachable);
        assert!(error.hint().is_some());
    }
}

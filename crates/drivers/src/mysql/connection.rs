//! Connections: entering a server, asking it, and where its answers are.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};

use ::store::{Error, Result, Value};
use mysql_common::constants::Command;

use super::address::Address;
use super::error::lost;
use super::login;
use super::packet::{self, Answer, Asked, Framer, Spoken};
use super::statement::{Answered, Encoding, Row, Statement};
use super::value::Binary;
use crate::relational::{Link, RowBuffer};
use crate::wire::{Direct, Settled, Transport, Wire};

/// A connection that was let in.
pub(super) struct Connection<T: Transport = Direct> {
    /// None once it was settled: what is left then is dropped without a farewell.
    wire: Option<Wire<T>>,
    framer: Framer,
    spoken: Spoken,
}

impl Connection {
    /// Connects and enters.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers in time, `Rejected` where the server refuses or is none of this kind.
    pub(super) async fn open(address: &Address) -> Result<Self> {
        Self::open_with(address, async |_| Ok(())).await.map(|(connection, ())| connection)
    }

    /// Connects, and does what comes first on the connection, within the time that connecting may take.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) async fn open_with<T>(
        address: &Address,
        first: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<(Self, T)> {
        let opened = async {
            let (wire, spoken) = login::enter(address).await?;
            let mut connection = Self { wire: Some(wire), framer: Framer::new(spoken), spoken };
            for text in &address.setup {
                connection.run(text, &[], &mut RowBuffer::default()).await?;
            }
            let value = first(&mut connection).await?;
            Ok((connection, value))
        };
        tokio::time::timeout(address.connect_timeout, opened).await.unwrap_or_else(|_| {
            let seconds = address.connect_timeout.as_secs_f64();
            Err(Error::unreachable(format!("no answer from {} within {seconds} s", address.place())).with_hint(
                "check that the port is a server's of MySQL's family, or give it more time with connect_timeout=SECONDS",
            ))
        })
    }

    /// Goes on as a worker's sessions do.
    ///
    /// # Errors
    /// `Unreachable` where the connection was lost.
    pub(super) fn settle(mut self) -> Result<Connection<Settled>> {
        let wire = self.wire.take().map(Wire::settle).transpose()?;
        Ok(Connection { wire, framer: Framer::new(self.spoken), spoken: self.spoken })
    }

    /// Sends what was asked and reads its answer as a whole.
    async fn answered<T>(&mut self, read: impl FnOnce(&[u8], Answer) -> Result<T>) -> Result<T> {
        let answer = poll_fn(|context| self.poll_answer(context)).await?;
        let value = read(&self.buffered()[..answer.length], answer);
        self.consume(answer);
        value
    }

    /// Prepares a statement.
    pub(super) async fn prepare(&mut self, text: &str) -> Result<Statement> {
        let spoken = self.spoken;
        self.ask_prepare(text)?;
        self.answered(|bytes, _| match Statement::prepared(bytes, spoken, Binary::Bytes)? {
            Ok(statement) => Ok(statement),
            Err(error) => Err(error.into_error()),
        })
        .await
    }

    /// Runs a prepared statement and appends its rows.
    pub(super) async fn execute(
        &mut self,
        statement: &mut Statement,
        parameters: &[Value<'_>],
        rows: &mut RowBuffer,
    ) -> Result<u64> {
        let spoken = self.spoken;
        self.ask(Asked::Result, |out| statement.execute(parameters, out))?;
        self.answered(|bytes, answer| {
            let mut scratch = String::new();
            statement.answered(bytes, answer, spoken, Binary::Bytes, |row| row.keep(rows, &mut scratch))?
        })
        .await
    }

    /// Forgets a prepared statement. The server does not answer to it, so it is not even waited for.
    pub(super) fn close(&mut self, statement: &Statement) {
        if let Some(id) = statement.id() {
            command(self.wire_mut().out(), Command::COM_STMT_CLOSE, &id.to_le_bytes());
        }
    }
}

impl Connection<Settled> {
    /// Whether it goes through the thread's reactor.
    pub(super) fn is_queued(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::is_queued)
    }
}

impl<T: Transport> Connection<T> {
    /// Which of the protocol's later parts are spoken.
    pub(super) fn spoken(&self) -> Spoken {
        self.spoken
    }

    /// Whether an answer is waited for.
    pub(super) fn is_busy(&self) -> bool {
        self.framer.is_busy()
    }

    /// Appends a request by `write`, which gives the sequence number of its answer. Nothing is sent where that fails.
    pub(super) fn ask(&mut self, asked: Asked, write: impl FnOnce(&mut Vec<u8>) -> Result<u8>) -> Result<()> {
        let sequence = write(self.wire_mut().out())?;
        let unasked = !self.wire().buffered().is_empty();
        self.framer.begin(asked, sequence, unasked);
        Ok(())
    }

    /// Appends a text to run as it stands.
    pub(super) fn ask_text(&mut self, text: &str) -> Result<()> {
        self.ask(Asked::Result, |out| Ok(command(out, Command::COM_QUERY, text.as_bytes())))
    }

    /// Appends a text to prepare.
    pub(super) fn ask_prepare(&mut self, text: &str) -> Result<()> {
        self.ask(Asked::Statement, |out| Ok(command(out, Command::COM_STMT_PREPARE, text.as_bytes())))
    }

    /// What came in, beginning with the answer that [`poll_answer`](Self::poll_answer) gave.
    pub(super) fn buffered(&self) -> &[u8] {
        self.wire().buffered()
    }

    /// Forgets that answer.
    pub(super) fn consume(&mut self, answer: Answer) {
        self.wire_mut().consume(answer.length);
    }

    /// Moves bytes until the answer is there as a whole. It must be consumed before the next request.
    ///
    /// # Errors
    /// `Unreachable` where the connection is gone.
    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer>> {
        loop {
            let buffered = self.wire.as_ref().expect(SETTLED).buffered();
            if let Some(answer) = self.framer.answer(buffered)? {
                return Poll::Ready(Ok(answer));
            }
            let flushed = self.wire_mut().poll_flush(context);
            // What the server said last is worth more than that it could not be written to.
            let filled = self.wire_mut().poll_fill(context);
            if let Poll::Ready(Err(source)) = flushed
                && !matches!(filled, Poll::Ready(Ok(())))
            {
                return Poll::Ready(Err(lost(source)));
            }
            ready!(filled).map_err(lost)?;
        }
    }

    fn wire(&self) -> &Wire<T> {
        self.wire.as_ref().expect(SETTLED)
    }

    fn wire_mut(&mut self) -> &mut Wire<T> {
        self.wire.as_mut().expect(SETTLED)
    }
}

/// Why there is a wire.
const SETTLED: &str = "settling takes the wire with the connection";

impl Link for Connection {
    async fn run(&mut self, text: &str, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        if !parameters.is_empty() {
            let mut statement = self.prepare(text).await?;
            let result = self.execute(&mut statement, parameters, rows).await;
            self.close(&statement);
            return result;
        }
        let spoken = self.spoken;
        self.ask_text(text)?;
        self.answered(|bytes, answer| {
            let (mut columns, mut scratch) = (Vec::new(), String::new());
            let keep = |row: Row<'_>| row.keep(rows, &mut scratch);
            Answered::read(&mut columns, bytes, answer, Encoding::Text, spoken, Binary::Bytes, keep)?.into_result()
        })
        .await
    }
}

/// An idle connection says farewell, so that the server does not take its end for a failure. One that is dropped amid an
/// answer is just closed.
impl<T: Transport> Drop for Connection<T> {
    fn drop(&mut self) {
        let is_idle = !self.is_busy();
        if let Some(wire) = self.wire.as_mut().filter(|_| is_idle) {
            command(wire.out(), Command::COM_QUIT, &[]);
            let _ = wire.poll_flush(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Appends a command; gives the sequence number of its answer.
fn command(out: &mut Vec<u8>, command: Command, argument: &[u8]) -> u8 {
    packet::packet(out, 0, |out| {
        out.push(command as u8);
        out.extend_from_slice(argument);
    })
}

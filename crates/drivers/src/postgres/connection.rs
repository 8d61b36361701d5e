//! Connections: how a server is entered, and how it is asked one thing at a time, where speed does not matter.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::store::{Error, ErrorKind, Node, Result, Value};
use postgres_protocol::authentication::md5_hash;

use super::address::{Address, LOCK_TIMEOUT, Place};
use super::error::ServerError;
use super::message::{self, Answer, Framer, HEADER_BYTES, Message, Reader};
use super::role::{ASK, Role, Standing};
use super::scram::{Failure, MECHANISM, Scram};
use super::statement::{Answered, Statement, buffer};
use super::value::{is_number, write_copied};
use crate::relational::load::Batch;
use crate::relational::{Link, RowBuffer};
use crate::wire::{Direct, Endpoint, Settled, Transport, Wire};

/// Protocol 3.0.
const PROTOCOL_VERSION: u32 = 3 << 16;
/// Asks for encryption, in the place of a protocol's version.
const SSL_REQUEST: u32 = 80_877_103;
/// No message of entering is longer; a number beyond it comes from another kind of server.
const ENTRY_BYTES_MAX: usize = 64 << 10;

/// What an authentication message asks for.
const AUTHENTICATION_OK: u32 = 0;
const AUTHENTICATION_CLEAR_TEXT: u32 = 3;
const AUTHENTICATION_MD5: u32 = 5;
const AUTHENTICATION_SASL: u32 = 10;
const AUTHENTICATION_SASL_CONTINUE: u32 = 11;
const AUTHENTICATION_SASL_FINAL: u32 = 12;

/// A connection that was let in.
pub(super) struct Connection<T = Direct> {
    wire: Wire<T>,
    framer: Framer,
    /// The server's own word for its version: `15.18 (Debian 15.18-0+deb12u1)`.
    pub(super) server_version: String,
    /// What it said of itself when it let us in.
    standing: Standing,
}

impl Connection {
    /// Connects to one of the servers that will do, encrypts where that is asked for, and enters.
    ///
    /// # Errors
    /// `Unreachable` where none of them answers in time, or none is as wanted; `Rejected` where one refuses or is none of
    /// this kind.
    pub(super) async fn open(address: &Address) -> Result<Self> {
        Self::open_as(address, address.role).await
    }

    /// The same for work around a run: names mean the current schema alone, and no lock is waited for without end.
    pub(super) async fn open_for_work(address: &Address) -> Result<Self> {
        let mut connection = Self::open_as(address, address.role_for_work()).await?;
        let text = format!(
            "SELECT set_config('lock_timeout', '{LOCK_TIMEOUT}', false), \
             set_config('search_path', quote_ident(current_schema()), false) WHERE current_schema() IS NOT NULL"
        );
        if connection.run(&text, &[], &mut RowBuffer::default()).await? == 0 {
            return Err(Error::rejected("no schema of the user's search_path exists, so nothing can be made there")
                .with_hint("create one, or name one in the target: options=-c search_path=NAME"));
        }
        Ok(connection)
    }

    /// Tries the servers one after the other, each for its share of the time that is left.
    async fn open_as(address: &Address, role: Role) -> Result<Self> {
        let deadline = Instant::now() + address.connect_timeout;
        let places = address.in_turn();
        let mut left = (role.passes().len() * address.places.len()) as u32;
        let mut failures: Vec<Error> = Vec::new();
        for role in role.passes() {
            for place in places.clone() {
                let share = deadline.saturating_duration_since(Instant::now()) / left;
                left -= 1;
                let entered = tokio::time::timeout(share, Self::enter_as(address, place, *role)).await;
                match entered.unwrap_or_else(|_| Err(not_in_time(address, place, share))) {
                    Ok(connection) => return Ok(connection),
                    // A server that refuses us is there; another one would have to refuse us as well.
                    Err(error) if error.kind() != ErrorKind::Unreachable => return Err(error),
                    Err(error) => failures.push(error),
                }
            }
        }
        Err(match failures.len() {
            1 => failures.remove(0),
            _ => none_of_them(role, address.places.len(), &failures),
        })
    }

    /// Enters a server and looks whether it will do.
    async fn enter_as(address: &Address, place: &Place, role: Role) -> Result<Self> {
        let mut connection = Self::enter(address, place).await?;
        if role.suits(connection.standing).is_none() {
            connection.standing().await?;
        }
        if role.suits(connection.standing) == Some(true) {
            return Ok(connection);
        }
        let (node, wanted, found) = (&place.node, role.text(), connection.standing.text());
        Err(Error::unreachable(format!("{node} is {found}, and one {wanted} is wanted"))
            .with_hint("promote a server, list others with nodes=HOST:PORT, or correct target_session_attrs"))
    }

    /// What the server is; asks it where it has not told.
    pub(super) async fn standing(&mut self) -> Result<Standing> {
        if self.standing.is_standby.is_none() || self.standing.is_read_only.is_none() {
            let mut rows = RowBuffer::default();
            self.run(ASK, &[], &mut rows).await?;
            self.standing.note("in_hot_standby", rows.text(0, 0).unwrap_or_default());
            self.standing.note("default_transaction_read_only", rows.text(0, 1).unwrap_or_default());
        }
        Ok(self.standing)
    }

    async fn enter(address: &Address, place: &Place) -> Result<Self> {
        let Node { host, port } = &place.node;
        let mut wire = Wire::connect(Endpoint { host, port: *port, limits: &address.limits, tls: None }).await?;
        if let (Some(config), Some(name)) = (&address.tls, &place.name) {
            ask_for_encryption(&mut wire).await?;
            wire = wire.encrypt(config.clone(), name.clone(), host, *port).await?;
        }
        message::with_length(wire.out(), |out| {
            out.extend_from_slice(&PROTOCOL_VERSION.to_be_bytes());
            for (name, value) in &address.parameters {
                message::text(out, name);
                message::text(out, value);
            }
            out.push(0);
        });
        let mut entry = Entry { wire, address, scram: None };
        let (mut server_version, mut standing) = (String::new(), Standing::default());
        loop {
            let (tag, body) = entry.next().await?;
            match tag {
                b'R' => entry.authenticate(&body)?,
                b'E' => return Err(ServerError::of(&body).into_refusal()),
                b'S' => {
                    let text = String::from_utf8_lossy(&body);
                    let mut texts = text.split('\0');
                    match (texts.next(), texts.next()) {
                        (Some("server_version"), Some(version)) => version.clone_into(&mut server_version),
                        (Some(name), Some(value)) => standing.note(name, value),
                        _ => {}
                    }
                }
                b'Z' => return Ok(Self { wire: entry.wire, framer: Framer::default(), server_version, standing }),
                b'K' | b'N' | b'v' => {}
                _ => return Err(not_this_kind()),
            }
        }
    }

    /// Goes on as a worker's sessions do.
    ///
    /// # Errors
    /// `Unreachable` where the connection was lost.
    pub(super) fn settle(self) -> Result<Connection<Settled>> {
        let Self { wire, framer, server_version, standing } = self;
        Ok(Connection { wire: wire.settle()?, framer, server_version, standing })
    }

    /// Sends what was appended and waits for the answer.
    pub(super) async fn answer(&mut self) -> Result<Answer> {
        poll_fn(|context| self.poll_answer(context)).await
    }

    /// Writes rows by `COPY`, in one go.
    pub(super) async fn copy(&mut self, batch: &Batch<'_>, rows: &RowBuffer) -> Result<()> {
        let names: Vec<_> = batch.columns.iter().map(|(name, _)| name.as_str()).collect();
        // Written as before version 9, which every product of the protocol understands.
        let text = format!("COPY {} ({}) FROM STDIN WITH BINARY", batch.table, names.join(", "));
        let out = self.wire.out();
        message::query(out, &text);
        let all = (0..rows.len()).map(|row| rows.row(row));
        // The rows go with the statement: a server that refuses it takes no notice of them.
        message::copy_rows(out, all, |out, position, value| write_copied(out, value, batch.columns[position].1));
        let answer = self.answer().await?;
        let answered = Answered::read(&mut Statement::default(), &self.buffered()[..answer.length], |_, _| Ok(()));
        self.consume(answer);
        match answered?.error {
            Some(error) => Err(error.into_error()),
            None => Ok(()),
        }
    }

    /// Runs a text without parameters; shows the name and value of each column that is a number and not NULL, or of each
    /// row where the two columns are `counter` and `value`.
    pub(super) async fn numbers(&mut self, text: &str, mut show: impl FnMut(&str, f64)) -> Result<bool> {
        message::query(self.wire.out(), text);
        let answer = self.answer().await?;
        let mut columns = Vec::new();
        let mut result = Ok(true);
        for Message { tag, body } in Message::all(&self.wire.buffered()[..answer.length]) {
            let mut reader = Reader(body);
            match tag {
                b'T' => {
                    for _ in 0..reader.count()? {
                        let name = String::from_utf8_lossy(reader.text()?).into_owned();
                        reader.bytes(6)?;
                        columns.push((name, is_number(reader.number()?)));
                        reader.bytes(8)?;
                    }
                }
                b'D' => {
                    reader.count()?;
                    let by_row = columns.len() == 2 && columns[0].0 == "counter";
                    let mut counter = "";
                    for (name, is_number) in &columns {
                        let Some(text) = reader.column()?.and_then(|value| std::str::from_utf8(value).ok()) else {
                            continue;
                        };
                        match text.parse() {
                            Ok(number) if *is_number => show(if by_row { counter } else { name }, number),
                            _ => counter = text,
                        }
                    }
                }
                b'E' => {
                    let error = ServerError::of(body);
                    result = if error.is_absent_or_denied() { Ok(false) } else { Err(error.into_error()) };
                }
                _ => {}
            }
        }
        self.wire.consume(answer.length);
        result
    }
}

impl Connection<Settled> {
    /// Whether it goes through the thread's reactor.
    pub(super) fn is_queued(&self) -> bool {
        self.wire.is_queued()
    }
}

impl<T: Transport> Connection<T> {
    /// Where requests are appended.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.wire.out()
    }

    /// What came in, beginning with the answer that [`poll_answer`](Self::poll_answer) gave.
    pub(super) fn buffered(&self) -> &[u8] {
        self.wire.buffered()
    }

    /// Forgets that answer.
    pub(super) fn consume(&mut self, answer: Answer) {
        self.wire.consume(answer.length);
    }

    /// Moves bytes until an answer is there as a whole. It must be consumed before the next call.
    ///
    /// # Errors
    /// `Unreachable` where the connection is gone.
    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer>> {
        loop {
            if let Some(answer) = self.framer.answer(self.wire.buffered())? {
                return Poll::Ready(Ok(answer));
            }
            let flushed = self.wire.poll_flush(context);
            // What the server said last is worth more than that it could not be written to.
            let filled = self.wire.poll_fill(context);
            if let Poll::Ready(Err(source)) = flushed
                && !matches!(filled, Poll::Ready(Ok(())))
            {
                return Poll::Ready(Err(lost(source)));
            }
            ready!(filled).map_err(lost)?;
        }
    }
}

impl Link for Connection {
    async fn run(&mut self, text: &str, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        let mut statement = Statement::described(String::new());
        statement.prepare(text, self.wire.out());
        let answer = self.answer().await?;
        let prepared = statement.prepared(&self.buffered()[..answer.length]);
        self.consume(answer);
        prepared?;
        statement.execute(parameters, self.wire.out())?;
        let answer = self.answer().await?;
        let bytes = &self.buffered()[..answer.length];
        let answered = Answered::read(&mut statement, bytes, |columns, row| buffer(rows, columns, row));
        self.consume(answer);
        let answered = answered?;
        match answered.error {
            Some(error) => Err(error.into_error()),
            None => Ok(answered.rows),
        }
    }
}

/// Asks whether the server encrypts, before anything else is said.
async fn ask_for_encryption(wire: &mut Wire) -> Result<()> {
    message::with_length(wire.out(), |out| out.extend_from_slice(&SSL_REQUEST.to_be_bytes()));
    while wire.buffered().is_empty() {
        fill(wire).await?;
    }
    // Anything behind that byte was not encrypted, though it would be taken for it (CVE-2021-23222).
    let answer = match wire.buffered() {
        [b'S'] => Ok(()),
        [b'N'] => Err(Error::rejected("the server does not encrypt connections")
            .with_hint("set ssl=on in the server's configuration, or use tls=off where the network is trusted")),
        [b'E', ..] => Err(Error::rejected("the server refused to speak about encryption")
            .with_hint("look into its log, or use tls=off where the network is trusted")),
        _ => Err(not_this_kind()),
    };
    wire.consume(wire.buffered().len());
    answer
}

/// A connection that is about to be let in.
struct Entry<'a> {
    wire: Wire,
    address: &'a Address,
    scram: Option<Scram>,
}

impl Entry<'_> {
    /// Sends what was appended and waits for the next message.
    async fn next(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            let buffered = self.wire.buffered();
            let known = b"RESKNZv";
            if buffered.first().is_some_and(|tag| !known.contains(tag)) {
                return Err(not_this_kind());
            }
            let message = Message::first(buffered).map_err(|_| not_this_kind())?;
            let Some(message) = message else {
                if buffered.len() > ENTRY_BYTES_MAX + HEADER_BYTES {
                    return Err(not_this_kind());
                }
                fill(&mut self.wire).await?;
                continue;
            };
            let (owned, length) = ((message.tag, message.body.to_vec()), message.length());
            self.wire.consume(length);
            return Ok(owned);
        }
    }

    /// Appends what an authentication message asks for.
    fn authenticate(&mut self, body: &[u8]) -> Result<()> {
        let mut reader = Reader(body);
        match reader.number()? {
            AUTHENTICATION_OK => Ok(()),
            AUTHENTICATION_CLEAR_TEXT => {
                let password = self.password()?.to_owned();
                message::message(self.wire.out(), b'p', |out| message::text(out, &password));
                Ok(())
            }
            AUTHENTICATION_MD5 => {
                let salt = reader.bytes(4)?.try_into().map_err(|_| not_this_kind())?;
                let hash = md5_hash(self.address.user.as_bytes(), self.password()?.as_bytes(), salt);
                message::message(self.wire.out(), b'p', |out| message::text(out, &hash));
                Ok(())
            }
            AUTHENTICATION_SASL => {
                let mut offered = std::iter::from_fn(|| reader.text().ok());
                if !offered.any(|name| name == MECHANISM.as_bytes()) {
                    return Err(unknown_authentication());
                }
                // Without a password there is nothing to begin.
                self.password()?;
                let scram = Scram::new(Arc::clone(&self.address.derived))?;
                let first = scram.first();
                message::message(self.wire.out(), b'p', |out| {
                    message::text(out, MECHANISM);
                    out.extend_from_slice(&(first.len() as u32).to_be_bytes());
                    out.extend_from_slice(first.as_bytes());
                });
                self.scram = Some(scram);
                Ok(())
            }
            AUTHENTICATION_SASL_CONTINUE => {
                let mut scram = self.scram.take().ok_or_else(not_this_kind)?;
                let proof = scram.proof(self.password()?, reader.0).map_err(|failure| scram_failed(&failure))?;
                message::message(self.wire.out(), b'p', |out| out.extend_from_slice(proof.as_bytes()));
                self.scram = Some(scram);
                Ok(())
            }
            AUTHENTICATION_SASL_FINAL => {
                let scram = self.scram.as_mut().ok_or_else(not_this_kind)?;
                scram.check(reader.0).map_err(|failure| scram_failed(&failure))
            }
            _ => Err(unknown_authentication()),
        }
    }

    fn password(&self) -> Result<&str> {
        let password = self.address.password.as_ref().ok_or_else(|| {
            Error::rejected("the server asks for a password and the target has none")
                .with_hint("write postgres://user:password@host:port/database")
        })?;
        Ok(password.expose())
    }
}

/// Sends what was appended and reads more, before the server has let us in.
async fn fill(wire: &mut Wire) -> Result<()> {
    poll_fn(|context| {
        if let Poll::Ready(Err(source)) = wire.poll_flush(context) {
            return Poll::Ready(Err(source));
        }
        wire.poll_fill(context)
    })
    .await
    .map_err(|source| {
        Error::unreachable("the server closed the connection before it let us in")
            .with_hint("check that the port is a PostgreSQL server's, and look into its log")
            .with_source(source)
    })
}

/// The connection ended.
fn lost(source: std::io::Error) -> Error {
    Error::unreachable("the connection was lost")
        .with_hint("look into the server's log for why it closed the connection")
        .with_source(source)
}

fn not_in_time(address: &Address, place: &Place, time: Duration) -> Error {
    let (title, node, seconds) = (address.product.title, &place.node, (time.as_secs_f64() * 1e3).round() / 1e3);
    Error::unreachable(format!("no {title} server answered at {node} within {seconds} s"))
        .with_hint("check the host and port, or give it more time with connect_timeout=SECONDS")
}

/// None of several servers will do.
fn none_of_them(role: Role, count: usize, failures: &[Error]) -> Error {
    let reasons: Vec<_> = failures.iter().map(ToString::to_string).collect();
    let wanted = role.text();
    Error::unreachable(format!("none of the {count} servers is one {wanted}: {}", reasons.join("; ")))
        .with_hint("start or promote a server, or list others with nodes=HOST:PORT")
}

fn not_this_kind() -> Error {
    Error::rejected("not a PostgreSQL server: what it answers is not in the protocol")
        .with_hint("check the host and port of the target")
}

fn unknown_authentication() -> Error {
    Error::new(ErrorKind::Unsupported, "the server wants to know us by another way than a password")
        .with_hint("allow scram-sha-256 for this user in the server's pg_hba.conf")
}

/// Nothing of what the server sent is repeated: it may prove the password.
fn scram_failed(failure: &Failure) -> Error {
    match failure {
        Failure::NotInProtocol => Error::rejected("the server's part of the password exchange is wrong"),
        Failure::TooManyRounds(rounds) => Error::rejected(format!(
            "the server asks for {rounds} rounds of password hashing, which would keep us busy"
        )),
        Failure::NoProof => Error::rejected("the server could not prove that it knows the password"),
    }
    .with_hint("check that this is the right server, and what stands between it and Storelab")
}

//! Connections: how they are opened, and how one is asked where speed does not matter.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use store::{Error, ErrorKind, Limits, Node, Result, Secret, Target, TlsMode};

use super::DEFAULT_PORT;
use super::reply::{Replies, error_of};
use crate::resp::{Decimal, Framer, Item, command_of};
use crate::tls;
use crate::wire::{Endpoint, Wire};

/// Where a server is and how it is entered.
#[derive(Clone)]
pub(crate) struct Address {
    host: String,
    port: u16,
    limits: Limits,
    user: Option<String>,
    password: Option<Secret>,
    database: u64,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    connect_timeout: Duration,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(crate) fn of(target: &Target) -> Result<Self> {
        let default = if matches!(target.scheme(), "rediss" | "valkeys") { TlsMode::Verify } else { TlsMode::Off };
        let tls = match tls::client_config(target, default)? {
            Some(config) => Some((config, tls::server_name(target)?)),
            None => None,
        };
        let database = match target.path() {
            "" => 0,
            path => path.parse().map_err(|_| {
                Error::config(format!("the target's database `{path}` is no number"))
                    .with_hint("databases are numbered from 0: redis://host:6379/0")
            })?,
        };
        if target.user().is_some() && target.password().is_none() {
            return Err(Error::config("the target names a user without a password")
                .with_hint("write redis://user:password@host, or redis://:password@host for the default user"));
        }
        Ok(Self {
            host: target.host().to_owned(),
            port: target.port().unwrap_or(DEFAULT_PORT),
            limits: target.limits().clone(),
            user: target.user().map(str::to_owned),
            password: target.password().cloned(),
            database,
            tls,
            connect_timeout: target.connect_timeout()?,
        })
    }

    /// Of another server that is entered in the same way.
    ///
    /// # Errors
    /// `Config` where its host cannot be in a certificate.
    pub(crate) fn at(&self, node: &Node) -> Result<Self> {
        let mut address = Self { host: node.host.clone(), port: node.port, ..self.clone() };
        if let Some((_, name)) = &mut address.tls {
            *name = tls::host_name(&node.host)?;
        }
        Ok(address)
    }

    /// Bounds a conversation with that server.
    ///
    /// # Errors
    /// `Unreachable` where it takes longer than connecting may.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.connect_timeout, work).await.unwrap_or_else(|_| {
            let seconds = self.connect_timeout.as_secs_f64();
            Err(Error::unreachable(format!("no answer from {}:{} within {seconds} s", self.host, self.port))
                .with_hint("check the host and port, or give it more time with connect_timeout=SECONDS"))
        })
    }
}

/// A connection that is asked one thing at a time.
pub(crate) struct Connection {
    wire: Wire,
    framer: Framer,
}

impl Connection {
    /// Connects, logs in and chooses the database.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers in time, `Rejected` where the server refuses or is none of this kind.
    pub(crate) async fn open(address: &Address) -> Result<Self> {
        address.in_time(Self::enter(address)).await
    }

    async fn enter(address: &Address) -> Result<Self> {
        let Address { host, port, limits, tls, .. } = address;
        let endpoint = Endpoint { host, port: *port, limits, tls: tls.clone() };
        let mut connection = Self { wire: Wire::connect(endpoint).await?, framer: Framer::default() };
        let out = connection.wire.out();
        let mut replies = 1;
        if let Some(password) = &address.password {
            replies += 1;
            match &address.user {
                Some(user) => command_of(out, &[b"AUTH", user.as_bytes(), password.expose().as_bytes()]),
                None => command_of(out, &[b"AUTH", password.expose().as_bytes()]),
            }
        }
        if address.database != 0 {
            replies += 1;
            command_of(out, &[b"SELECT", Decimal::new(address.database).as_bytes()]);
        }
        command_of(out, &[b"CLIENT", b"SETNAME", b"storelab"]);
        // One reply at a time: a server that refuses says so once and closes, whatever else was asked.
        let login = address.password.is_some();
        for reply in 0..replies {
            let last = reply + 1 == replies;
            let entered = connection.replies(1, |replies| check_entry(replies, login && reply == 0, last)).await;
            entered.map_err(|error| match error.kind() {
                ErrorKind::Unreachable => Error::unreachable("the server closed the connection before it answered")
                    .with_hint(
                        "check that the port is a Redis or Valkey server's, and whether it expects TLS (rediss:)",
                    )
                    .with_source(error),
                _ => error,
            })?;
        }
        Ok(connection)
    }

    /// Where requests for [`replies`](Self::replies) are appended.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        self.wire.out()
    }

    /// Sends what was appended, waits for so many replies and reads them.
    pub(crate) async fn replies<T>(
        &mut self,
        count: u32,
        read: impl FnOnce(&mut Replies<'_>) -> Result<T>,
    ) -> Result<T> {
        let length = poll_fn(|context| {
            loop {
                match self.framer.frame(self.wire.buffered(), count) {
                    Ok(Some(length)) => return Poll::Ready(Ok(length)),
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Err(not_this_kind())),
                }
                if let Poll::Ready(Err(source)) = self.wire.poll_flush(context) {
                    return Poll::Ready(Err(lost(source)));
                }
                if let Err(source) = ready!(self.wire.poll_fill(context)) {
                    return Poll::Ready(Err(lost(source)));
                }
            }
        })
        .await?;
        let result = read(&mut Replies::new(&self.wire.buffered()[..length]));
        self.wire.consume(length);
        result
    }

    /// Sends one command and reads its reply.
    pub(crate) async fn ask<T>(
        &mut self,
        command: &[&[u8]],
        read: impl FnOnce(&mut Replies<'_>) -> Result<T>,
    ) -> Result<T> {
        command_of(self.wire.out(), command);
        self.replies(1, read).await
    }

    /// Sends what was appended and waits for so many replies, of which only errors matter.
    pub(crate) async fn confirm(&mut self, count: u32) -> Result<()> {
        let read = |replies: &mut Replies<'_>| (0..count).try_for_each(|_| replies.good().map(drop));
        self.replies(count, read).await
    }

    /// Sends one command of whose reply only an error matters.
    pub(crate) async fn tell(&mut self, command: &[&[u8]]) -> Result<()> {
        command_of(self.wire.out(), command);
        self.confirm(1).await
    }

    /// The connection itself, for a session.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }
}

/// The connection ended.
pub(crate) fn lost(source: std::io::Error) -> Error {
    Error::unreachable("the connection was lost")
        .with_hint("look into the server's log for why it closed the connection")
        .with_source(source)
}

fn not_this_kind() -> Error {
    Error::rejected("not a RESP server: the answer is not in the Redis protocol")
        .with_hint("check that the port is a Redis or Valkey server's, and whether it expects TLS (rediss:)")
}

/// Judges a reply to what a connection begins with. `last` is the reply to `CLIENT SETNAME`, which a server may not know
/// or not allow.
fn check_entry(replies: &mut Replies<'_>, login: bool, last: bool) -> Result<()> {
    let Item::Error(line) = replies.item()? else {
        return Ok(());
    };
    let code = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let refused = matches!(code, b"NOAUTH" | b"WRONGPASS" | b"DENIED" | b"LOADING" | b"MOVED")
        || line.starts_with(b"ERR max number of clients");
    if refused || !(login || last) {
        return Err(error_of(line));
    }
    if login {
        // Some servers repeat the arguments in their answer: it is not shown, the password could be in it.
        return Err(Error::rejected("the server refused the user and password")
            .with_hint("correct them in the target, or leave them out where the server has none"));
    }
    Ok(())
}

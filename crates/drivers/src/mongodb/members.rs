//! Which of the servers that a target lists is asked: the primary for writes, and for reads whom the target prefers.
//!
//! A server names the other members of its set, also hosts that nobody meant to be touched: only those that the target
//! lists are asked, one by one, who they are. A primary that steps down breaks the session, and the next one looks anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use store::{Error, Forbidden, Node, Result};

use super::address::{Address, ReadFrom};
use super::connection::{Connection, Hello};

/// Who was asked last.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The place of the primary among the nodes, where the next look begins.
    primary: AtomicUsize,
    /// How many sessions have asked for a secondary: they take turns.
    readers: AtomicUsize,
}

/// A session's connections.
pub(crate) struct Members {
    /// To the server that takes writes.
    pub(crate) writer: Connection,
    /// What that said it is.
    pub(crate) hello: Hello,
    /// To another one that is read from; none where that is the same.
    other: Option<Connection>,
}

impl Members {
    /// Connects to whom the target wants.
    ///
    /// # Errors
    /// `Unreachable` where no server that is listed answers or is the primary, `Rejected` where the primary is one that is
    /// not listed, `Config` where the replica set has another name.
    pub(crate) async fn open(address: &Address, memory: &Memory) -> Result<Self> {
        let mut found = Found::default();
        // One that hangs must not take the time of the others.
        let limit = address.connect_timeout / address.nodes.len() as u32;
        let first = memory.primary.load(Ordering::Relaxed);
        let is_alone = address.nodes.len() == 1 || address.read_from == ReadFrom::Primary;
        for step in 0..address.nodes.len() {
            let place = (first + step) % address.nodes.len();
            match Connection::open(address, &address.nodes[place], limit).await {
                Ok((connection, hello)) => found.take(place, connection, hello, address).await?,
                Err(error) => found.failed(error),
            }
            if is_alone && found.writer.is_some() {
                break;
            }
        }
        let Some((place, mut writer, hello, _)) = found.writer.take() else { return Err(found.why(&address.nodes)) };
        memory.primary.store(place, Ordering::Relaxed);
        if is_alone {
            writer.prefer(address.read_from.criteria());
            return Ok(Self { writer, hello, other: None });
        }
        let turn = memory.readers.fetch_add(1, Ordering::Relaxed);
        let mut other = found.reader(address.read_from, turn)?;
        if let Some(reader) = &mut other {
            reader.prefer(address.read_from.criteria());
        }
        Ok(Self { writer, hello, other })
    }

    /// Whom reads go to.
    pub(crate) fn reader(&mut self) -> &mut Connection {
        self.other.as_mut().unwrap_or(&mut self.writer)
    }

    /// Whether one of the connections is of no further use.
    pub(crate) fn is_broken(&self) -> bool {
        self.writer.is_broken() || self.other.as_ref().is_some_and(Connection::is_broken)
    }
}

/// What a look around has found.
#[derive(Default)]
struct Found {
    /// With its place and the time that it takes to answer.
    writer: Option<(usize, Connection, Hello, u128)>,
    secondaries: Vec<(Connection, u128)>,
    /// Whom somebody takes for the primary.
    named: Option<Node>,
    failure: Option<Error>,
}

impl Found {
    async fn take(&mut self, place: usize, mut connection: Connection, hello: Hello, address: &Address) -> Result<()> {
        if let Some(wanted) = &address.replica_set
            && hello.set_name.as_ref() != Some(wanted)
        {
            let name = hello.set_name.as_deref().unwrap_or("none");
            return Err(Error::config(format!("the server's replica set is `{name}` and not `{wanted}`"))
                .with_hint("correct replica_set in the target's URL, or leave it out"));
        }
        let time = if address.read_from == ReadFrom::Nearest { time_of(&mut connection).await? } else { 0 };
        if hello.is_writable {
            self.writer = Some((place, connection, hello, time));
        } else {
            if hello.is_secondary {
                self.secondaries.push((connection, time));
            }
            self.named = hello.primary.or(self.named.take());
        }
        Ok(())
    }

    /// An error that somebody must act on is told rather than that nobody was there.
    fn failed(&mut self, error: Error) {
        if self.failure.as_ref().is_none_or(|first| first.kind() == store::ErrorKind::Unreachable) {
            self.failure = Some(error);
        }
    }

    /// Why there is no primary.
    fn why(self, nodes: &[Node]) -> Error {
        if let Some(named) = self.named
            && let Err(error) = named.permitted(nodes)
        {
            return error;
        }
        match self.failure {
            // Where the primary is may be forbidden, which waiting does not change.
            Some(error) if self.secondaries.is_empty() || Forbidden::is_below(&error) => error,
            failure => {
                let error = Error::unreachable("no server that the target lists is the primary of its replica set now")
                    .with_hint(
                        "wait until the members have elected one, and list all of them: nodes=HOST:PORT,HOST:PORT",
                    );
                match failure {
                    Some(source) => error.with_source(source),
                    None => error,
                }
            }
        }
    }

    /// Whom reads go to; none for the primary.
    fn reader(&mut self, from: ReadFrom, turn: usize) -> Result<Option<Connection>> {
        let count = self.secondaries.len();
        match from {
            ReadFrom::Primary | ReadFrom::PrimaryPreferred => Ok(None),
            ReadFrom::Nearest => {
                self.secondaries.sort_by_key(|(_, time)| *time);
                let primary = self.writer.as_ref().map_or(u128::MAX, |(.., time)| *time);
                let is_nearer = self.secondaries.first().is_some_and(|(_, time)| *time < primary);
                Ok(is_nearer.then(|| self.secondaries.swap_remove(0).0))
            }
            ReadFrom::SecondaryPreferred if count == 0 => Ok(None),
            ReadFrom::Secondary if count == 0 => {
                Err(Error::unreachable("no server that the target lists is a secondary that can be read from now")
                    .with_hint("list the secondaries with nodes=HOST:PORT, or use read_preference=secondaryPreferred"))
            }
            ReadFrom::Secondary | ReadFrom::SecondaryPreferred => {
                Ok(Some(self.secondaries.swap_remove(turn % count).0))
            }
        }
    }
}

/// How long a server takes for a question that costs it nothing, in nanoseconds.
async fn time_of(connection: &mut Connection) -> Result<u128> {
    let start = Instant::now();
    connection.command(super::document::document(|command| command.small("ping", 1).end())).await?;
    Ok(start.elapsed().as_nanos())
}

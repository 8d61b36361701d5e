//! One server: how it is entered, and how it is asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::mongodb::bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf};
use ::mongodb::error::ErrorKind as Kind;
use ::mongodb::event::EventHandler;
use ::mongodb::event::sdam::SdamEvent;
use ::mongodb::options::SelectionCriteria;
use ::mongodb::{Client, ClientSession, Database};
use futures_util::StreamExt;
use store::{Error, ErrorKind, Node, Result};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::address::Address;
use super::document::{document, get_path, malformed, whole};
use super::error::{Failure, failure, write_failure};

/// The first wire version (that of MongoDB 6.0) whose commands can name a collection by its identity too.
const WIRE_VERSION_WITH_IDENTITY: i32 = 17;

/// What a server says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Whether it takes writes.
    pub(crate) is_writable: bool,
    /// Whether it follows a primary and can be read from.
    pub(crate) is_secondary: bool,
    /// Whether it stands before a sharded cluster.
    pub(crate) is_router: bool,
    /// The name of its replica set.
    pub(crate) set_name: Option<String>,
    /// How many members the set has that clients may talk to.
    pub(crate) members: usize,
    /// Whom it takes for the primary.
    pub(crate) primary: Option<Node>,
    wire_version: i32,
}

impl Hello {
    fn of(reply: &Document) -> Result<Self> {
        let is = |name| reply.get_bool(name).unwrap_or(false);
        let count = |name| reply.get_array(name).map_or(0, Vec::len);
        let wire_version = reply.get_i32("maxWireVersion").map_err(|_| malformed())?;
        Ok(Self {
            is_writable: is("isWritablePrimary") || is("ismaster"),
            is_secondary: is("secondary"),
            is_router: reply.get_str("msg").is_ok_and(|message| message == "isdbgrid"),
            set_name: reply.get_str("setName").ok().map(str::to_owned),
            members: count("hosts") + count("passives"),
            primary: reply.get_str("primary").ok().and_then(node_of),
            wire_version,
        })
    }

    /// Whether several commands can take effect together or not at all.
    pub(crate) fn has_transactions(&self) -> bool {
        self.set_name.is_some() || self.is_router
    }

    /// Whether a command can say which collection of a name it means.
    pub(crate) fn knows_identities(&self) -> bool {
        self.wire_version >= WIRE_VERSION_WITH_IDENTITY && !self.is_router
    }
}

fn node_of(text: &str) -> Option<Node> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Node { host: host.to_owned(), port: port.parse().ok()? })
}

/// A connection to one server.
///
/// It is a client of the library with a pool of one, and goes with it: no two of ours share anything.
pub(crate) struct Connection {
    client: Client,
    database: Database,
    criteria: Option<SelectionCriteria>,
    is_broken: bool,
}

impl Connection {
    /// Connects, logs in, and asks who is there.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers in time, `Rejected` where the server refuses or is none of this kind.
    pub(crate) async fn open(address: &Address, node: &Node, limit: Duration) -> Result<(Self, Hello)> {
        let deadline = Instant::now() + limit;
        let places = timeout(limit, address.places(node)).await.unwrap_or_else(|_| Err(late(node, limit)))?;
        let mut unreached = None;
        for (tried, place) in places.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            match Self::open_at(address, place, left / (places.len() - tried) as u32).await {
                Err(error) if error.kind() == ErrorKind::Unreachable => unreached = unreached.or(Some(error)),
                result => return result,
            }
        }
        Err(unreached.unwrap_or_else(|| late(node, limit)))
    }

    async fn open_at(address: &Address, node: &Node, limit: Duration) -> Result<(Self, Hello)> {
        // The library would try until its time is up, and then tell of that only; its watch knows at once.
        let (teller, told) = oneshot::channel();
        let teller = Mutex::new(Some(teller));
        let mut options = address.client_options(node, limit);
        options.sdam_event_handler = Some(EventHandler::Callback(Arc::new(move |event| {
            if let SdamEvent::ServerHeartbeatFailed(event) = event
                && let Some(teller) = teller.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                // Whoever connected may have given up.
                let _ = teller.send(event.failure);
            }
        })));
        let client = Client::with_options(options).map_err(|error| Error::from(failure(error)))?;
        let question = raw(document(|command| command.small("hello", 1).end()))?;
        let admin = client.database("admin");
        let asked = async {
            tokio::select! {
                biased;
                reply = async { admin.run_raw_command(question).await } => reply,
                Ok(error) = told => Err(error),
            }
        };
        let reply = match timeout(limit, asked).await {
            Ok(reply) => reply.map_err(|error| not_entered(error, node))?,
            Err(_) => return Err(late(node, limit)),
        };
        let database = client.database(&address.database);
        Ok((Self { client, database, criteria: None, is_broken: false }, Hello::of(&reply)?))
    }

    /// Reads say that they want another than the primary.
    pub(crate) fn prefer(&mut self, criteria: Option<SelectionCriteria>) {
        self.criteria = criteria;
    }

    /// Runs a command; its reply, in which every write has been done.
    pub(crate) async fn command(&mut self, command: Vec<u8>) -> Result<Document, Failure> {
        let reply = self.database.run_raw_command(raw(command)?).await;
        self.judge(reply)
    }

    /// The same on a database that is not the target's.
    pub(crate) async fn command_on(&mut self, database: &str, command: Vec<u8>) -> Result<Document, Failure> {
        let reply = self.client.database(database).run_raw_command(raw(command)?).await;
        self.judge(reply)
    }

    /// The same within a transaction.
    pub(crate) async fn command_within(
        &mut self,
        transaction: &mut ClientSession,
        command: Vec<u8>,
    ) -> Result<Document, Failure> {
        let reply = self.database.run_raw_command(raw(command)?).session(transaction).await;
        self.judge(reply)
    }

    /// Runs a command that finds documents, and shows them where they lie. How many they were.
    pub(crate) async fn find(
        &mut self,
        command: Vec<u8>,
        mut show: impl FnMut(&RawDocument) -> Result<()>,
    ) -> Result<u64, Failure> {
        let mut asked = self.database.run_raw_cursor_command(raw(command)?);
        if let Some(criteria) = &self.criteria {
            asked = asked.selection_criteria(criteria.clone());
        }
        let mut cursor = asked.batch().await.map_err(|error| self.failed(error))?;
        let mut found = 0;
        while let Some(batch) = cursor.next().await {
            let batch = batch.map_err(|error| self.failed(error))?;
            for item in batch.doc_slices().map_err(|error| self.failed(error))? {
                let item = item.ok().and_then(RawBsonRef::as_document).ok_or_else(malformed)?;
                show(item)?;
                found += 1;
            }
        }
        Ok(found)
    }

    /// Finds documents within a transaction: how many, and the sum of a whole number that all have.
    pub(crate) async fn sum_within(
        &mut self,
        transaction: &mut ClientSession,
        command: Vec<u8>,
        field: &str,
    ) -> Result<(u64, i64), Failure> {
        let asked = self.database.run_raw_cursor_command(raw(command)?).session(&mut *transaction);
        let mut cursor = asked.batch().await.map_err(|error| self.failed(error))?;
        let (mut count, mut sum) = (0, 0_i64);
        let mut batches = cursor.stream(transaction);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| self.failed(error))?;
            for item in batch.doc_slices().map_err(|error| self.failed(error))? {
                let item = item.ok().and_then(RawBsonRef::as_document).ok_or_else(malformed)?;
                sum = sum.wrapping_add(get_path(item, field).and_then(whole).unwrap_or_default());
                count += 1;
            }
        }
        Ok((count, sum))
    }

    /// The name of the database.
    pub(crate) fn database(&self) -> &str {
        self.database.name()
    }

    /// What can begin transactions on this connection.
    pub(crate) async fn transactions(&mut self) -> Result<ClientSession, Failure> {
        self.client.start_session().await.map_err(|error| self.failed(error))
    }

    /// Notes what the library could not do.
    pub(crate) fn failed(&mut self, error: ::mongodb::error::Error) -> Failure {
        let failure = failure(error);
        self.is_broken |= failure.is_broken;
        failure
    }

    /// Whether it is of no further use.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn judge(&mut self, reply: ::mongodb::error::Result<Document>) -> Result<Document, Failure> {
        let reply = reply.map_err(|error| self.failed(error))?;
        match write_failure(&reply) {
            None => Ok(reply),
            Some(failure) => {
                self.is_broken |= failure.is_broken;
                Err(failure)
            }
        }
    }
}

/// How many documents a write found: `n` of its reply.
pub(crate) fn counted(reply: &Document) -> Result<u64> {
    let count = match reply.get("n") {
        Some(::mongodb::bson::Bson::Int32(count)) => i64::from(*count),
        Some(::mongodb::bson::Bson::Int64(count)) => *count,
        _ => return Err(malformed()),
    };
    u64::try_from(count).map_err(|_| malformed())
}

fn raw(command: Vec<u8>) -> Result<RawDocumentBuf> {
    RawDocumentBuf::from_bytes(command).map_err(|source| Error::bug("a command is no document").with_source(source))
}

fn not_entered(error: ::mongodb::error::Error, node: &Node) -> Error {
    let reason = match &*error.kind {
        Kind::Io(io) => io.to_string(),
        other => other.to_string(),
    };
    let Failure { error, is_broken, .. } = failure(error);
    if error.kind() != ErrorKind::Unreachable {
        return error;
    }
    debug_assert!(is_broken, "who is unreachable cannot be asked");
    Error::unreachable(format!("nobody answers at {node}: {reason}"))
        .with_hint("start the server, or correct the target: host, port, and whether it wants TLS (tls=verify)")
        .with_source(error)
}

fn late(node: &Node, limit: Duration) -> Error {
    Error::unreachable(format!("no answer from {node} within {} s", limit.as_secs_f64()))
        .with_hint("check the host and port, or give it more time with connect_timeout=SECONDS")
}

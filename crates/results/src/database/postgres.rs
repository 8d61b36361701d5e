//! A database of a `PostgreSQL` server, over one connection that is made again where it was lost.
//!
//! All that is ours is in the schema `storelab`. A transaction that wants to be the only writer holds an advisory lock until
//! it ends; every wait has an end, and a transaction whose process stands still is ended by the server, so that nobody
//! waits for it for long.

mod connecting;
mod values;

use std::collections::HashMap;

use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, GenericClient, Statement};

use self::connecting::Connecting;
use super::{Durability, Row, Value, Writers, dialect};
use crate::{Error, Location, Result, schema};

/// The advisory lock of who migrates: `storeres` in ASCII.
const MIGRATION_LOCK: i64 = 0x7374_6F72_6572_6573;

/// The advisory lock of who writes alone: `storewri` in ASCII.
const WRITER_LOCK: i64 = 0x7374_6F72_6577_7269;

/// Statements that stay prepared: more than a process has of its own. Past that all are forgotten at once.
const STATEMENTS_MAX: usize = 256;

/// The server and, most of the time, a connection to it.
pub(super) struct Postgres {
    location: Location,
    connecting: Connecting,
    client: Option<Client>,
    statements: Statements,
    connections: u64,
}

/// Prepared statements by how they are written.
type Statements = HashMap<String, Statement>;

/// A transaction on the connection, which is taken back where it is not committed.
pub(super) struct Within<'a> {
    client: &'a mut Client,
    statements: &'a mut Statements,
    location: &'a Location,
    state: State,
}

/// Where a transaction stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A statement failed: the server takes no other, and would take a commit for the opposite.
    Failed,
    Over,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Postgres({})", self.location)
    }
}

impl Postgres {
    /// Connects, and brings the tables to the newest version.
    pub(super) fn open(location: &Location) -> Result<Self> {
        let connecting = Connecting::to(location)?;
        let mut opened = Self {
            location: location.clone(),
            connecting,
            client: None,
            statements: Statements::default(),
            connections: 0,
        };
        let (client, _) = opened.connected()?;
        let migrated = migrate(client);
        match migrated {
            Ok(found) if found > schema::VERSION => {
                Err(Error::NewerVersion { place: location.clone(), found, known: schema::VERSION })
            }
            Ok(_) => Ok(opened),
            Err(Refused::NotOurs(reason)) => Err(Error::NotADatabase { place: location.clone(), reason }),
            Err(Refused::By(source)) => Err(sorted(location, source)),
        }
    }

    pub(super) fn each(
        &mut self,
        sql: &str,
        parameters: &[Value],
        take: &mut dyn FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let is_first_try = self.client.is_some();
        let mut taken = 0_u64;
        let location = self.location.clone();
        let (client, statements) = self.connected()?;
        let handed = each(client, statements, sql, parameters, &mut |row| {
            taken += 1;
            take(row)
        });
        match handed {
            Ok(()) => Ok(()),
            Err(Stopped::By(error)) => Err(error),
            Err(Stopped::Lost(_)) if is_first_try && taken == 0 => {
                self.lose();
                let (client, statements) = self.connected()?;
                each(client, statements, sql, parameters, take).map_err(|stopped| stopped.into_error(&location))
            }
            Err(stopped @ Stopped::Lost(_)) => {
                self.lose();
                Err(stopped.into_error(&location))
            }
            Err(stopped @ Stopped::Refused(_)) => Err(stopped.into_error(&location)),
        }
    }

    /// Begins a transaction. Nothing has been done in it yet, so a connection that turns out to be lost is made again.
    pub(super) fn begin(&mut self, durability: Durability, writers: Writers) -> Result<Within<'_>> {
        let is_first_try = self.client.is_some();
        let (client, _) = self.connected()?;
        if let Err(error) = begin(client, durability, writers) {
            if !(is_first_try && is_lost(&error)) {
                return Err(sorted(&self.location, error));
            }
            self.lose();
            let (client, _) = self.connected()?;
            begin(client, durability, writers).map_err(|error| sorted(&self.location, error))?;
        }
        let Self { location, client, statements, .. } = self;
        let client = client.as_mut().expect("a transaction was begun on it");
        Ok(Within { client, statements, location, state: State::Open })
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    pub(super) fn not_writable(&self) -> Error {
        Error::ReadOnly { place: self.location.clone(), source: None }
    }

    /// The connection, made where there is none.
    fn connected(&mut self) -> Result<(&mut Client, &mut Statements)> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.lose();
            self.client = Some(self.connecting.connect().map_err(|error| unreachable(&self.location, error))?);
            self.connections += 1;
        }
        Ok((self.client.as_mut().expect("it was just made"), &mut self.statements))
    }

    fn lose(&mut self) {
        self.statements.clear();
        self.client = None;
    }
}

impl Within<'_> {
    pub(super) fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let queried = each(self.client, self.statements, sql, parameters, &mut |row| {
            rows.push(row);
            Ok(())
        });
        queried.map(|()| rows).map_err(|stopped| {
            self.state = State::Failed;
            stopped.into_error(self.location)
        })
    }

    pub(super) fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<u64> {
        let parameters: Vec<_> = parameters.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let executed = prepared(self.client, self.statements, sql)
            .and_then(|statement| self.client.execute(&statement, &parameters));
        executed.map_err(|error| {
            self.state = State::Failed;
            sorted(self.location, error)
        })
    }

    pub(super) fn commit(mut self) -> Result<()> {
        if self.state == State::Failed {
            let source = "a statement in the transaction had failed".into();
            return Err(Error::Failed { place: self.location.clone(), source });
        }
        let committed = self.client.batch_execute("COMMIT");
        self.state = State::Over;
        committed.map_err(|error| sorted(self.location, error))
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        if self.state != State::Over {
            // Where this fails the connection is gone, and the transaction with it.
            let _ = self.client.batch_execute("ROLLBACK");
        }
    }
}

/// Why a query ended early.
enum Stopped {
    /// The connection is gone.
    Lost(postgres::Error),
    /// The server said no.
    Refused(postgres::Error),
    /// Whoever took the rows did.
    By(Error),
}

impl Stopped {
    fn into_error(self, location: &Location) -> Error {
        match self {
            Self::Lost(source) | Self::Refused(source) => sorted(location, source),
            Self::By(error) => error,
        }
    }
}

impl From<postgres::Error> for Stopped {
    fn from(error: postgres::Error) -> Self {
        if is_lost(&error) { Self::Lost(error) } else { Self::Refused(error) }
    }
}

fn begin(client: &mut Client, durability: Durability, writers: Writers) -> Result<(), postgres::Error> {
    let synchronous = match durability {
        Durability::Full => "on",
        Durability::Normal => "off",
    };
    let lock = match writers {
        Writers::One => format!("; SELECT pg_advisory_xact_lock({WRITER_LOCK})"),
        Writers::Many => String::new(),
    };
    // At once, since each way to the server and back counts.
    let begun = client.batch_execute(&format!("BEGIN; SET LOCAL synchronous_commit TO {synchronous}{lock}"));
    if begun.is_err() {
        // Somebody else writes for too long: what was begun is given up. Where the connection is gone, so is that.
        let _ = client.batch_execute("ROLLBACK");
    }
    begun
}

fn prepared(
    client: &mut impl GenericClient,
    statements: &mut Statements,
    sql: &str,
) -> Result<Statement, postgres::Error> {
    if let Some(known) = statements.get(sql) {
        return Ok(known.clone());
    }
    let statement = client.prepare(&dialect::for_postgres(sql))?;
    if statements.len() >= STATEMENTS_MAX {
        statements.clear();
    }
    statements.insert(sql.to_owned(), statement.clone());
    Ok(statement)
}

fn each(
    client: &mut impl GenericClient,
    statements: &mut Statements,
    sql: &str,
    parameters: &[Value],
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<(), Stopped> {
    let statement = prepared(client, statements, sql)?;
    let mut found = client.query_raw(&statement, parameters)?;
    while let Some(row) = found.next()? {
        take(values::row_of(&row)?).map_err(Stopped::By)?;
    }
    Ok(())
}

/// Why a database is not taken.
enum Refused {
    NotOurs(String),
    By(postgres::Error),
}

impl From<postgres::Error> for Refused {
    fn from(error: postgres::Error) -> Self {
        Self::By(error)
    }
}

/// Brings the tables to the newest version, in one transaction that other processes wait for. Returns the version that is
/// there then, which is left alone where it is newer.
fn migrate(client: &mut Client) -> Result<u32, Refused> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))?;
    let there = transaction.query_one(
        "SELECT to_regclass('storelab.version') IS NOT NULL, \
         (SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('storelab')), \
         to_regnamespace('storelab') IS NOT NULL",
        &[],
    )?;
    let (has_version, others, has_schema): (bool, i64, bool) =
        (there.try_get(0)?, there.try_get(1)?, there.try_get(2)?);
    if !has_version && others > 0 {
        return Err(Refused::NotOurs("its schema `storelab` is another program's".to_owned()));
    }
    if !has_schema {
        transaction.batch_execute("CREATE SCHEMA storelab")?;
    }
    if !has_version {
        transaction.batch_execute(
            "CREATE TABLE storelab.version (place BIGINT PRIMARY KEY CHECK (place = 1), version BIGINT NOT NULL); \
             INSERT INTO storelab.version (place, version) VALUES (1, 0)",
        )?;
    }
    let found: i64 = transaction.query_one("SELECT version FROM storelab.version", &[])?.try_get(0)?;
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found < schema::VERSION {
        for tables in schema::after(found) {
            transaction.batch_execute(&dialect::tables_for_postgres(tables))?;
        }
        transaction.execute("UPDATE storelab.version SET version = $1", &[&i64::from(schema::VERSION)])?;
    }
    transaction.commit()?;
    Ok(found.max(schema::VERSION))
}

/// Whether the connection is gone, or about to go because the server stops.
fn is_lost(error: &postgres::Error) -> bool {
    let is_io = || {
        let source = std::error::Error::source(error);
        source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
    };
    match error.code() {
        Some(code) => {
            code.code().starts_with("08")
                || [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
        }
        None => error.is_closed() || is_io(),
    }
}

fn unreachable(location: &Location, source: postgres::Error) -> Error {
    match source.code() {
        Some(code) if *code == SqlState::DISK_FULL => sorted(location, source),
        _ => Error::Unreachable { place: location.clone(), source: source.into() },
    }
}

/// Sorts what the server says by what to do about it.
fn sorted(location: &Location, source: postgres::Error) -> Error {
    let place = location.clone();
    if is_lost(&source) {
        return Error::Unreachable { place, source: source.into() };
    }
    let code = source.code().cloned();
    let is_one_of = |codes: &[SqlState]| code.as_ref().is_some_and(|code| codes.contains(code));
    if is_one_of(&[SqlState::DISK_FULL]) {
        Error::StorageFull { place, source: source.into() }
    } else if is_one_of(&[
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ]) {
        Error::Locked { place, source: source.into() }
    } else if is_one_of(&[SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::INSUFFICIENT_PRIVILEGE]) {
        Error::ReadOnly { place, source: Some(source.into()) }
    } else {
        Error::Failed { place, source: source.into() }
    }
}

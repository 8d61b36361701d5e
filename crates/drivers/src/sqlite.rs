//! `SQLite`: a library in this process, a file on this machine.
//!
//! A session is one lane around one connection with its prepared statements: a lane's future may own both, so that
//! nothing is looked up per request. It never waits: a request is done within the poll that first sees it.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, Transaction, TransactionBehavior};
use store::{
    Capabilities, Capability, Counters, Dataset, Driver, Error, ErrorKind, LoadPart, LoadState, LocalBoxFuture,
    Namespace, Operation, OwnedObject, RecordSource, Result, ServerInfo, Session, SessionSpec, StatementId, Store,
    Target, TargetOption, Value,
};

use crate::lane::{LaneSession, serve};
use crate::relational::load::{self, Batches};
use crate::relational::{Dialect, Link, OPERATIONS, Placeholder, Plan, RowBuffer, Statements, Worker, manifest};

/// What `busy_timeout` is where the URL does not say, in milliseconds: longer than any write of ours takes, shorter
/// than an operator's patience.
const BUSY_TIMEOUT_MS_DEFAULT: u64 = 5_000;

const JOURNAL_MODES: &[&str] = &["wal", "delete", "truncate", "persist", "memory", "off"];
const SYNCHRONOUS_MODES: &[&str] = &["normal", "off", "full", "extra"];

/// Settings that matter for performance, by their pragma.
const SETTINGS: &[&str] = &[
    "auto_vacuum",
    "busy_timeout",
    "cache_size",
    "journal_mode",
    "locking_mode",
    "mmap_size",
    "page_size",
    "synchronous",
    "temp_store",
    "wal_autocheckpoint",
];

static DIALECT: Dialect = Dialect {
    operations: OPERATIONS,
    placeholder: Placeholder::Question,
    lock: "BEGIN IMMEDIATE",
    outliving_locks: None,
    is_current: "",
    unlock: "COMMIT",
    object_exists: "SELECT name FROM sqlite_master WHERE name = ?",
    columns_of: "SELECT name FROM pragma_table_info(?)",
    integer: "INTEGER",
    integer_key: "INTEGER",
    text: "TEXT",
    record_key: "TEXT",
    record_field: "TEXT",
    table_suffix: "",
    documents_columns: "id INTEGER PRIMARY KEY, document TEXT NOT NULL",
    articles: "CREATE VIRTUAL TABLE {ns}_articles USING fts5(title UNINDEXED, body)",
    articles_key: "rowid",
    indexes: &[(
        "documents_group",
        "CREATE INDEX {ns}_documents_group ON {ns}_documents (json_extract(document, '$.group'))",
    )],
    cast_integer: "INTEGER",
    json_query: "SELECT id, json_extract(document, '$.owner.name') FROM {ns}_documents \
        WHERE json_extract(document, '$.group') = ? \
        AND EXISTS (SELECT 1 FROM json_each(document, '$.tags') WHERE value = ?) ORDER BY id",
    fulltext_query: "SELECT rowid, title FROM {ns}_articles WHERE {ns}_articles MATCH ? \
        ORDER BY bm25({ns}_articles), rowid LIMIT 20",
    fulltext_parameters: 1,
    // It would leave sqlite_stat1 behind; the indexes are taken without it.
    analyze: "",
};

/// The `SQLite` driver.
#[derive(Debug)]
pub(crate) struct Sqlite;

impl Driver for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn title(&self) -> &'static str {
        "SQLite"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    fn default_port(&self) -> Option<u16> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        const HAS: Capabilities = Capabilities::of(&[
            Capability::KeyValue,
            Capability::OrderedScan,
            Capability::Sql,
            Capability::Transactions,
            Capability::BlockingClient,
            Capability::ServerCounters,
            Capability::Durable,
            Capability::Embedded,
        ]);
        HAS
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn options(&self) -> &'static [TargetOption] {
        &[
            TargetOption { name: "busy_timeout", summary: "milliseconds to wait for another writer, 5000" },
            TargetOption { name: "cache_size", summary: "page cache of a session, in pages, or in KiB where negative" },
            TargetOption {
                name: "journal_mode",
                summary: "wal for a new file, delete, truncate, persist, memory or off",
            },
            TargetOption { name: "synchronous", summary: "normal, off, full or extra: when commits reach the disk" },
        ]
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(File::open(target)?) as Arc<dyn Store>) })
    }
}

/// A database file.
struct File {
    path: PathBuf,
    settings: ConnectionSettings,
    /// The connection that counters are read through; it also shows early that the file can be used.
    counters: Mutex<Connection>,
    /// `SQLite` has one writer at a time: parts of a load take turns here, where nobody times out.
    writing: Mutex<()>,
    /// Where a throw-away file lives; removed with the store.
    _folder: Option<tempfile::TempDir>,
}

/// What every connection is set to.
#[derive(Debug, Clone)]
struct ConnectionSettings {
    /// None leaves a file that exists as it is, for it remembers the mode, and is `wal` for a new one.
    journal_mode: Option<&'static str>,
    synchronous: &'static str,
    busy_timeout: Duration,
    cache_size: Option<i64>,
}

impl ConnectionSettings {
    fn of(target: &Target) -> Result<Self> {
        Ok(Self {
            journal_mode: choice(target, "journal_mode", JOURNAL_MODES)?,
            synchronous: choice(target, "synchronous", SYNCHRONOUS_MODES)?.unwrap_or("normal"),
            busy_timeout: Duration::from_millis(
                target.option_parsed::<u32>("busy_timeout")?.map_or(BUSY_TIMEOUT_MS_DEFAULT, u64::from),
            ),
            cache_size: target.option_parsed("cache_size")?,
        })
    }
}

/// A URL parameter that is one of these words, where it is given.
fn choice(target: &Target, name: &str, choices: &'static [&'static str]) -> Result<Option<&'static str>> {
    let Some(given) = target.option(name) else { return Ok(None) };
    choices.iter().copied().find(|choice| choice.eq_ignore_ascii_case(given)).map(Some).ok_or_else(|| {
        Error::config(format!("the target's `{name}={given}` is unknown"))
            .with_hint(format!("use one of {}", choices.join(", ")))
    })
}

impl File {
    fn open(target: &Target) -> Result<Self> {
        let settings = ConnectionSettings::of(target)?;
        let (path, folder) = if target.path().is_empty() {
            let folder = tempfile::Builder::new().prefix("storelab-sqlite-").tempdir().map_err(|source| {
                Error::rejected("a folder for a throw-away database cannot be made")
                    .with_hint("check the space and permissions of the folder for temporary files")
                    .with_source(source)
            })?;
            (folder.path().join("storelab.db"), Some(folder))
        } else {
            target.limits().permit_file(Path::new(target.path()))?;
            (PathBuf::from(target.path()), None)
        };
        let counters = Mutex::new(open(&path, &settings)?);
        Ok(Self { path, settings, counters, writing: Mutex::new(()), _folder: folder })
    }

    fn connection(&self) -> Result<Connection> {
        open(&self.path, &self.settings)
    }

    fn load_part(
        &self,
        dataset: &Dataset,
        part: LoadPart,
        source: &dyn RecordSource,
        progress: &AtomicU64,
    ) -> Result<()> {
        let connection = self.connection()?;
        let mut rows = RowBuffer::default();
        let mut batches = Batches::new(&DIALECT, dataset, part, source);
        while let Some(batch) = batches.next(&mut rows) {
            let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            // Takes the write lock at once, as `begin` does: a full-text table is read before it is written to, and a
            // reader cannot wait for another process's write to become a writer.
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate).map_err(error)?;
            let mut insert = connection.prepare_cached(&batch.insert(1)).map_err(error)?;
            for row in 0..rows.len() {
                execute(&mut insert, rows.row(row), None)?;
            }
            drop(insert);
            transaction.commit().map_err(error)?;
            progress.fetch_add(batch.completed, Ordering::Relaxed);
        }
        Ok(())
    }

    fn server_info(&self) -> Result<ServerInfo> {
        let connection = self.connection()?;
        let mut info = ServerInfo { version: format!("SQLite {}", rusqlite::version()), ..ServerInfo::default() };
        for name in SETTINGS {
            let value = pragma(&connection, name, |value| match value {
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => String::new(),
            })?;
            info.settings.insert((*name).to_owned(), value);
        }
        Ok(info)
    }

    fn read_counters(&self) -> Result<Counters> {
        let mut counters = Counters::new();
        {
            let connection = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            for name in ["page_count", "freelist_count"] {
                let value = pragma(&connection, name, |value| value.as_i64().unwrap_or_default())?;
                counters.insert(name.to_owned(), value as f64);
            }
        }
        for (name, suffix) in [("database_bytes", ""), ("wal_bytes", "-wal")] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            counters.insert(name.to_owned(), bytes as f64);
        }
        Ok(counters)
    }
}

impl Store for File {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let plan = Rc::new(Plan::new(&DIALECT, spec.dataset));
            let connection = self.connection()?;
            let session = LaneSession::new(Sqlite.capabilities(), Some(DIALECT.placeholder), |slot| {
                Box::pin(async move {
                    let statements = Prepared::new(&connection, Rc::clone(&plan));
                    serve(Worker::new(plan, statements), slot).await;
                })
            });
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async { self.server_info() })
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(async { self.read_counters() })
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async move { load::state(&mut Plain(self.connection()?), &DIALECT, dataset).await })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { load::create(&mut Plain(self.connection()?), &DIALECT, dataset).await })
    }

    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { self.load_part(dataset, part, source, progress) })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut link = Plain(self.connection()?);
            load::finish(&mut link, &DIALECT, dataset).await?;
            // The log of the load is moved into the file now and not during the first seconds of a run; a session
            // that still reads keeps some of it, which does no harm.
            link.run("PRAGMA wal_checkpoint(TRUNCATE)", &[], &mut RowBuffer::default()).await.map(|_| ())
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async { manifest::owned(&mut Plain(self.connection()?), &DIALECT).await })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move { manifest::clean(&mut Plain(self.connection()?), &DIALECT, namespace).await })
    }
}

fn open(path: &Path, settings: &ConnectionSettings) -> Result<Connection> {
    // One thread uses a connection at a time, so the library need not lock it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(error)?;
    connection.busy_timeout(settings.busy_timeout).map_err(error)?;
    let is_new = || pragma(&connection, "page_count", |pages| pages.as_i64() == Ok(0));
    let journal_mode = match settings.journal_mode {
        None if is_new()? => Some("wal"),
        given => given,
    };
    if let Some(mode) = journal_mode {
        connection.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(())).map_err(error)?;
    }
    connection.pragma_update(None, "synchronous", settings.synchronous).map_err(error)?;
    if let Some(cache_size) = settings.cache_size {
        connection.pragma_update(None, "cache_size", cache_size).map_err(error)?;
    }
    Ok(connection)
}

fn pragma<T>(connection: &Connection, name: &str, read: impl Fn(ValueRef<'_>) -> T) -> Result<T> {
    connection.pragma_query_value(None, name, |row| Ok(read(row.get_ref(0)?))).map_err(error)
}

/// Runs single statements.
struct Plain(Connection);

impl Link for Plain {
    async fn run(&mut self, text: &str, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        execute(&mut self.0.prepare(text).map_err(error)?, parameters.iter().copied(), Some(rows))
    }
}

/// Runs prepared statements, each prepared when it is first used.
struct Prepared<'c> {
    connection: &'c Connection,
    plan: Rc<Plan>,
    /// By number: the planned ones, then those of the SQL face.
    statements: Vec<Option<Statement<'c>>>,
    begin: Option<Statement<'c>>,
    commit: Option<Statement<'c>>,
    rollback: Option<Statement<'c>>,
}

impl<'c> Prepared<'c> {
    fn new(connection: &'c Connection, plan: Rc<Plan>) -> Self {
        let statements = (0..plan.planned()).map(|_| None).collect();
        Self { connection, plan, statements, begin: None, commit: None, rollback: None }
    }
}

/// The statement in its place, prepared first where there is none.
fn prepared<'a, 'c>(
    place: &'a mut Option<Statement<'c>>,
    connection: &'c Connection,
    text: impl FnOnce() -> String,
) -> Result<&'a mut Statement<'c>> {
    match place {
        Some(statement) => Ok(statement),
        None => Ok(place.insert(connection.prepare(&text()).map_err(error)?)),
    }
}

impl Statements for Prepared<'_> {
    async fn query(&mut self, statement: usize, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        let place = self
            .statements
            .get_mut(statement)
            .ok_or_else(|| Error::bug(format!("there is no statement {statement} on this session")))?;
        let statement = prepared(place, self.connection, || self.plan.text(statement))?;
        execute(statement, parameters.iter().copied(), Some(rows))
    }

    async fn prepare(&mut self, text: &str) -> Result<StatementId> {
        let statement = self.connection.prepare(text).map_err(error)?;
        self.statements.push(Some(statement));
        Ok(StatementId((self.statements.len() - 1 - self.plan.planned()) as u32))
    }

    /// Takes the write lock at once: a reader that becomes a writer later cannot wait for it, it can only fail.
    async fn begin(&mut self) -> Result<()> {
        let statement = prepared(&mut self.begin, self.connection, || "BEGIN IMMEDIATE".to_owned())?;
        execute(statement, std::iter::empty(), None).map(|_| ())
    }

    async fn commit(&mut self) -> Result<()> {
        let statement = prepared(&mut self.commit, self.connection, || "COMMIT".to_owned())?;
        execute(statement, std::iter::empty(), None).map(|_| ())
    }

    async fn rollback(&mut self) -> Result<()> {
        // Some errors, such as a full disk, have rolled back already.
        if self.connection.is_autocommit() {
            return Ok(());
        }
        let statement = prepared(&mut self.rollback, self.connection, || "ROLLBACK".to_owned())?;
        execute(statement, std::iter::empty(), None).map(|_| ())
    }

    fn is_broken(&self) -> bool {
        false
    }
}

/// Binds, runs, and appends the rows where somebody wants them.
fn execute<'a>(
    statement: &mut Statement<'_>,
    parameters: impl ExactSizeIterator<Item = Value<'a>>,
    rows: Option<&mut RowBuffer>,
) -> Result<u64> {
    let (given, expected) = (parameters.len(), statement.parameter_count());
    if given != expected {
        return Err(Error::config(format!("{given} parameters for a statement that takes {expected}")));
    }
    for (position, value) in parameters.enumerate() {
        statement.raw_bind_parameter(position + 1, Bound(value)).map_err(error)?;
    }
    let columns = statement.column_count();
    if columns == 0 {
        return statement.raw_execute().map(|changed| changed as u64).map_err(error);
    }
    let mut ignored = RowBuffer::default();
    let rows = rows.unwrap_or(&mut ignored);
    let mut count = 0;
    let mut found = statement.raw_query();
    while let Some(row) = found.next().map_err(error)? {
        rows.begin_row();
        for column in 0..columns {
            rows.push(match row.get_ref(column).map_err(error)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Real(number) => Value::Real(number),
                ValueRef::Text(text) => std::str::from_utf8(text).map_or(Value::Bytes(text), Value::Text),
                ValueRef::Blob(bytes) => Value::Bytes(bytes),
            });
        }
        count += 1;
    }
    Ok(count)
}

/// A value as the library takes it.
struct Bound<'a>(Value<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(number),
            Value::Real(number) => ValueRef::Real(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The library's error, sorted by who must act (<https://www.sqlite.org/rescode.html>).
fn error(source: rusqlite::Error) -> Error {
    let (kind, hint) = match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Conflict, "another writer held the database; a longer busy_timeout waits for it")
        }
        // SQLite prepares anew by itself, except where a full-text table's own preparation meets the change.
        Some(ErrorCode::SchemaChanged) => {
            (ErrorKind::Conflict, "somebody else makes or drops tables in the database: try again")
        }
        Some(ErrorCode::DiskFull) => (ErrorKind::Rejected, "the disk is full: free space where the database lies"),
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Rejected, "the file is damaged: restore it from a backup"),
        Some(ErrorCode::NotADatabase) => (ErrorKind::Config, "that file is no SQLite database; name another path"),
        Some(ErrorCode::CannotOpen) => {
            (ErrorKind::Unreachable, "check that the folder exists and that the file may be read and written")
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            (ErrorKind::Rejected, "check that the file and its folder may be written")
        }
        Some(ErrorCode::SystemIoFailure) => (ErrorKind::Rejected, "check the disk that the database lies on"),
        Some(ErrorCode::OperationInterrupted) => (ErrorKind::Timeout, ""),
        Some(ErrorCode::ApiMisuse | ErrorCode::ParameterOutOfRange) => (ErrorKind::Bug, ""),
        _ => (ErrorKind::Rejected, ""),
    };
    let text = Error::new(kind, format!("sqlite: {source}")).with_source(source);
    if hint.is_empty() { text } else { text.with_hint(hint) }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;

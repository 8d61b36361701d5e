//! An `SQLite` file: opened for reading and writing, or for reading alone where writing has become impossible.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, ToSql, TransactionBehavior};

use super::{Durability, Row, Value, dialect};
use crate::{Access, Error, Location, Result, location, schema};

/// Marks the file as ours (`PRAGMA application_id`): "Stlb".
const APPLICATION_ID: u32 = 0x5374_6C62;

/// How long a process waits for another that writes: a transaction takes milliseconds, a slow disk's flush a second.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Between attempts at what `SQLite` does not wait for by itself.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A write-ahead log that grew past this is cut when it is empty, so that one large run does not keep the room for ever.
const LOG_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// Statements that stay prepared: more than a process has of its own.
const STATEMENTS_MAX: usize = 128;

/// A file system with less room than this is full for our purposes: `SQLite` grows its shared memory by 32 KiB at once.
const FREE_BYTES_MIN: u64 = 64 * 1024;

/// The open file.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

/// A transaction on it.
pub(super) struct Within<'a> {
    transaction: rusqlite::Transaction<'a>,
    path: &'a Path,
}

impl Sqlite {
    /// Opens the file, made where it is absent; for reading alone where it can only be read (a full disk, another user's file).
    pub(super) fn open(path: &Path) -> Result<(Self, Access)> {
        match Self::open_for_writing(path) {
            Ok(opened) => Ok((opened, Access::ReadWrite)),
            Err(error) if leaves_readable(&error) && path.is_file() => {
                Self::open_for_reading(path).map(|opened| (opened, Access::ReadOnly)).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    fn open_for_writing(path: &Path) -> Result<Self> {
        location::make_folder(path)?;
        let fail = |error| sorted(path, error);
        let mut connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        let is_newest = check(&connection, path)?;
        // Has an effect on a new file only, before anything is in it: what deleted runs took is given back.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        use_write_ahead_log(&connection).map_err(fail)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        if !is_newest {
            migrate(&mut connection).map_err(fail)?;
        }
        // Touches the shared memory, which a full disk has no room for: better here than at the first query.
        check(&connection, path)?;
        Ok(Self::with(connection, path))
    }

    /// Opens the file in whichever way still works, the one that sees most first.
    fn open_for_reading(path: &Path) -> Option<Self> {
        let plain = || Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        // With an exclusive lock the index of the write-ahead log is on the heap, so that no room is needed for it.
        let exclusive = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        };
        let ways: [&dyn Fn() -> Result<Connection, rusqlite::Error>; 2] = [&plain, &exclusive];
        ways.into_iter().find_map(|open| {
            let connection = open().ok()?;
            connection.busy_timeout(BUSY_TIMEOUT).ok()?;
            // An older version would need a migration, which needs writing.
            let is_newest = check(&connection, path).ok()?;
            is_newest.then(|| Self::with(connection, path))
        })
    }

    fn with(connection: Connection, path: &Path) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Self { connection, path: path.to_owned() }
    }

    pub(super) fn each(&self, sql: &str, parameters: &[Value], take: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        each(&self.connection, &self.path, sql, parameters, take)
    }

    pub(super) fn begin(&mut self, durability: Durability) -> Result<Within<'_>> {
        let Self { connection, path } = self;
        let transaction = begin(connection, durability).map_err(|error| sorted(path, error))?;
        Ok(Within { transaction, path })
    }

    /// Most often the disk is full, which has another remedy.
    pub(super) fn not_writable(&self) -> Error {
        let place = Location::File(self.path.clone());
        if is_full(&self.path) {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            return Error::StorageFull { place, source: rusqlite::Error::SqliteFailure(full, None).into() };
        }
        Error::ReadOnly { place, source: None }
    }

    pub(super) fn give_back_room(&self) -> Result<()> {
        self.connection.execute_batch("PRAGMA incremental_vacuum").map_err(|error| sorted(&self.path, error))
    }

    pub(super) fn limit_pages(&self, pages: u32) -> Result<()> {
        let limited = || {
            let used: u32 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let limit = used.saturating_add(pages);
            self.connection.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(()))
        };
        limited().map_err(|error| sorted(&self.path, error))
    }
}

impl Within<'_> {
    pub(super) fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        each(&self.transaction, self.path, sql, parameters, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    pub(super) fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64> {
        prepared(&self.transaction, sql)
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(parameters)))
            .map(|changed| changed as u64)
            .map_err(|error| sorted(self.path, error))
    }

    pub(super) fn commit(self) -> Result<()> {
        self.transaction.commit().map_err(|error| sorted(self.path, error))
    }
}

fn begin(connection: &mut Connection, durability: Durability) -> rusqlite::Result<rusqlite::Transaction<'_>> {
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Immediate: the wait for another writer is at the start, where the busy time-out covers it.
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn prepared<'a>(connection: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    connection.prepare_cached(&dialect::for_sqlite(sql))
}

fn each(
    connection: &Connection,
    path: &Path,
    sql: &str,
    parameters: &[Value],
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<()> {
    let fail = |error| sorted(path, error);
    let mut statement = prepared(connection, sql).map_err(fail)?;
    let width = statement.column_count();
    let mut found = statement.query(rusqlite::params_from_iter(parameters)).map_err(fail)?;
    while let Some(row) = found.next().map_err(fail)? {
        let values = (0..width).map(|place| row.get_ref(place).map(value_of));
        take(Row(values.collect::<rusqlite::Result<_>>().map_err(fail)?))?;
    }
    Ok(())
}

fn value_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Refuses what is not ours or newer than we are. Returns whether the tables are already the newest.
fn check(connection: &Connection, path: &Path) -> Result<bool> {
    let asked = || -> rusqlite::Result<_> {
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((pragma("user_version")?, tables, pragma("application_id")?))
    };
    let (found, tables, application) = asked().map_err(|error| sorted(path, error))?;
    let place = || Location::File(path.to_owned());
    if (found > 0 || tables > 0) && application != APPLICATION_ID {
        let reason = "it is an SQLite file of another program".to_owned();
        return Err(Error::NotADatabase { place: place(), reason });
    }
    if found > schema::VERSION {
        return Err(Error::NewerVersion { place: place(), found, known: schema::VERSION });
    }
    Ok(found == schema::VERSION)
}

/// Brings the file to the newest version, in one transaction.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited.
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for tables in schema::after(found) {
        transaction.execute_batch(&dialect::for_sqlite(tables))?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", schema::VERSION.max(found))?;
    transaction.commit()
}

/// Readers do not wait for the writer nor it for them. The change of mode is not covered by the busy time-out when
/// several processes make a new file at once, so it is tried again here.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < deadline => {
                std::thread::sleep(BUSY_RETRY_INTERVAL);
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_MAX, |_| Ok(()))
}

/// Whether the file may still be read although this happened when it was opened for writing.
fn leaves_readable(error: &Error) -> bool {
    matches!(error, Error::StorageFull { .. } | Error::ReadOnly { .. } | Error::Failed { .. } | Error::Io { .. })
}

/// Sorts what `SQLite` says by what to do about it.
fn sorted(path: &Path, source: rusqlite::Error) -> Error {
    let place = Location::File(path.to_owned());
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::StorageFull { place, source: source.into() },
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(path) => {
            Error::StorageFull { place, source: source.into() }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Locked { place, source: source.into() },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            Error::ReadOnly { place, source: Some(source.into()) }
        }
        Some(ErrorCode::NotADatabase) => {
            Error::NotADatabase { place, reason: "it is not an SQLite file, or it is encrypted".to_owned() }
        }
        Some(ErrorCode::DatabaseCorrupt) => Error::Damaged { what: place.to_string(), reason: source.to_string() },
        _ => Error::Failed { place, source: source.into() },
    }
}

/// Whether the file's file system has no room. `SQLite` tells a full disk by its own code only where it writes pages; where
/// it makes its shared memory the code is that of any failure.
fn is_full(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < FREE_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn codes_are_sorted_by_what_to_do() {
        let path = Path::new("results.db");
        for (code, start) in [
            (ffi::SQLITE_FULL, "the results store is full"),
            (ffi::SQLITE_BUSY, "the results store is locked"),
            (ffi::SQLITE_READONLY, "the results store cannot be written"),
            (ffi::SQLITE_NOTADB, "results.db is not a results store"),
            (ffi::SQLITE_CORRUPT, "results.db in the results store cannot be read"),
            (ffi::SQLITE_IOERR_READ, "the results store failed"),
        ] {
            let error = sorted(path, rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert!(error.to_string().starts_with(start), "{code}: {error}");
        }
    }
}

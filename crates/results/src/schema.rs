//! The tables, and how a file of an older version becomes one of the newest.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::{Error, Result};

/// Marks the file as ours (`PRAGMA application_id`): "Stlb".
const APPLICATION_ID: u32 = 0x5374_6C62;

/// Each makes of a file of the version of its place one of the next. Forward only; none is ever changed once released.
const MIGRATIONS: &[&str] = &[
    // 0 → 1
    "CREATE TABLE runs (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        status TEXT NOT NULL,
        started_at_us INTEGER NOT NULL,
        ended_at_us INTEGER NOT NULL,
        driver TEXT NOT NULL,
        workload TEXT NOT NULL,
        variant TEXT,
        throughput_per_second REAL,
        latency_us_p99 REAL,
        failed INTEGER,
        valid INTEGER,
        record TEXT NOT NULL,
        owner_process_id INTEGER,
        owner_start_ticks INTEGER,
        owner_boot_id TEXT,
        owner_namespace TEXT
    ) STRICT;
    CREATE INDEX runs_by_start ON runs (started_at_us);
    CREATE INDEX runs_by_name ON runs (name, started_at_us);
    CREATE INDEX runs_by_status ON runs (status) WHERE status = 'running';
    CREATE TABLE seconds (
        run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
        second INTEGER NOT NULL,
        heard_at_us INTEGER NOT NULL,
        gauges TEXT NOT NULL,
        PRIMARY KEY (run, second)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE samples (
        run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
        second INTEGER NOT NULL,
        phase INTEGER NOT NULL,
        operation TEXT NOT NULL,
        succeeded INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        latency BLOB,
        PRIMARY KEY (run, second, phase, operation)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE histograms (
        run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
        phase INTEGER NOT NULL,
        operation TEXT NOT NULL,
        metric TEXT NOT NULL,
        histogram BLOB NOT NULL,
        PRIMARY KEY (run, phase, operation, metric)
    ) STRICT, WITHOUT ROWID;",
];

/// The version that [`MIGRATIONS`] lead to.
const VERSION: u32 = MIGRATIONS.len() as u32;

/// Refuses what is not ours or newer than we are. Returns whether the tables are already the newest.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<bool> {
    let pragma = |name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map_err(|error| Error::of(path, error))
    };
    let found = pragma("user_version")?;
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| Error::of(path, error))?;
    if (found > 0 || tables > 0) && pragma("application_id")? != APPLICATION_ID {
        let reason = "it is an SQLite file of another program".to_owned();
        return Err(Error::NotADatabase { path: path.to_owned(), reason });
    }
    if found > VERSION {
        return Err(Error::NewerVersion { path: path.to_owned(), found, known: VERSION });
    }
    Ok(found == VERSION)
}

/// Brings the file to the newest version, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let mut migrated = || -> Result<(), rusqlite::Error> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have done it while this one waited.
        let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        for migration in MIGRATIONS.iter().skip(found as usize) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION.max(found))?;
        transaction.commit()
    };
    migrated().map_err(|error| Error::of(path, error))
}

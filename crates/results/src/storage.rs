//! The file itself: opened for reading and writing, or for reading alone where writing has become impossible.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::owner::Owner;
use crate::sink::Active;
use crate::{Error, Result, location, schema};

/// How long a process waits for another that writes: a transaction takes milliseconds, a slow disk's flush a second.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Between attempts at what `SQLite` does not wait for by itself.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A write-ahead log that grew past this is cut when it is empty, so that one large run does not keep the room for ever.
const LOG_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// What can be done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// Reading: the disk is full, or the file belongs to somebody else.
    ReadOnly,
}

/// Runs, samples and histograms in one `SQLite` file.
#[derive(Debug)]
pub struct Results {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) owner: Owner,
    pub(crate) active: Active,
    access: Access,
}

impl Results {
    /// Opens the store, made where it is absent, and marks runs whose process died as interrupted. Without a path it is
    /// [`default_path`](crate::default_path). Where the file can only be read (a full disk, another user's file) it is
    /// opened for that; see [`access`](Self::access).
    ///
    /// # Errors
    /// `NotADatabase` and `NewerVersion` leave the file as it was; `StorageFull`, `ReadOnly`, `Locked`, `Io`.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let path = path.map_or_else(location::default_path, |path| Ok(path.to_owned()))?;
        match Self::open_for_writing(&path) {
            Err(error) if error.leaves_readable() && path.is_file() => Self::open_for_reading(&path).ok_or(error),
            Err(error) => Err(error),
            Ok(mut results) => match results.recover() {
                // Reading shows such runs as interrupted all the same, and the next to open the file tries again.
                Ok(_) | Err(Error::StorageFull { .. } | Error::Locked { .. } | Error::ReadOnly { .. }) => Ok(results),
                Err(error) => Err(error),
            },
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What can be done with it.
    pub fn access(&self) -> Access {
        self.access
    }

    fn open_for_writing(path: &Path) -> Result<Self> {
        location::make_folder(path)?;
        let fail = |error| Error::of(path, error);
        let mut connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        let is_newest = schema::check(&connection, path)?;
        // Has an effect on a new file only, before anything is in it: what deleted runs took is given back.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        use_write_ahead_log(&connection).map_err(fail)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        if !is_newest {
            schema::migrate(&mut connection, path)?;
        }
        // Touches the shared memory, which a full disk has no room for: better here than at the first query.
        schema::check(&connection, path)?;
        Ok(Self::with(connection, path, Access::ReadWrite))
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
            let is_newest = schema::check(&connection, path).ok()?;
            is_newest.then(|| Self::with(connection, path, Access::ReadOnly))
        })
    }

    fn with(connection: Connection, path: &Path, access: Access) -> Self {
        Self { connection, path: path.to_owned(), owner: Owner::current(), active: Active::default(), access }
    }

    /// Lets the file grow by so many pages of 4 KiB and no further, for this handle: a quota.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn limit_pages(&self, pages: u32) -> Result<()> {
        let used: u32 =
            self.connection.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(self.failed())?;
        let limit = used.saturating_add(pages);
        self.connection.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(())).map_err(self.failed())
    }

    /// Refuses to write where only reading is possible.
    pub(crate) fn require_writable(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::not_writable(&self.path)),
        }
    }

    /// Sorts an error of `SQLite` by what to do about it.
    pub(crate) fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |error| Error::of(&self.path, error)
    }
}

/// Readers do not wait for the writer nor it for them. The change of mode is not covered by the busy time-out when
/// several processes make a new file at once, so it is tried again here.
fn use_write_ahead_log(connection: &Connection) -> Result<(), rusqlite::Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(BUSY_RETRY_INTERVAL);
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_MAX, |_| Ok(()))
}

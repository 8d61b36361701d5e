//! One thin synchronous interface over the two databases that results may be in: an `SQLite` file or `PostgreSQL`.
//!
//! SQL is written once, in what both understand (see [`dialect`] for the few words that differ): placeholders are `?1`, `?2`
//! and so on, times are integers of microseconds, booleans are the integers 0 and 1, sums are cast to what they are read as.
//!
//! At most one [full](Durability::Full) transaction goes on at a time on either database, so that what is read in one stays
//! true until it ends. [Normal](Durability::Normal) ones come on `PostgreSQL` beside it and beside each other.

pub(crate) mod dialect;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;
mod value;

use self::postgres::Postgres;
use self::sqlite::Sqlite;
use crate::{Access, Error, Location, Result};

pub(crate) use self::value::{Row, Value};

/// How surely a transaction is on the disk when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives a power cut: starts and ends.
    Full,
    /// Survives the death of the process; a power cut may take the last seconds.
    Normal,
}

/// Who may write while a transaction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Nobody else in a transaction of this kind.
    One,
    /// Everybody where the database can do that; statements say themselves which rows they lock.
    Many,
}

/// A database that answers.
#[derive(Debug)]
pub(crate) struct Database {
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// What is written together or not at all.
pub(crate) struct Transaction<'a> {
    within: Within<'a>,
}

enum Within<'a> {
    Sqlite(sqlite::Within<'a>),
    Postgres(postgres::Within<'a>),
}

impl Database {
    /// Opens the database, makes it where it is absent, and brings its tables to the newest version. A file that cannot be
    /// written is opened for reading where that works.
    ///
    /// # Errors
    /// `NotADatabase` and `NewerVersion` leave it as it was; `StorageFull`, `ReadOnly`, `Locked`, `Unreachable`, `Io`.
    pub(crate) fn open(location: &Location) -> Result<(Self, Access)> {
        let (backend, access) = match location {
            Location::File(path) => {
                let (sqlite, access) = Sqlite::open(path)?;
                (Backend::Sqlite(sqlite), access)
            }
            Location::Postgres(_) => (Backend::Postgres(Box::new(Postgres::open(location)?)), Access::ReadWrite),
        };
        Ok((Self { backend }, access))
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// What reading may bring. A connection that was lost is made once more.
    pub(crate) fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.each(sql, parameters, |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The first row of a query.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) fn query_one(&mut self, sql: &str, parameters: &[Value]) -> Result<Option<Row>> {
        Ok(self.query(sql, parameters)?.into_iter().next())
    }

    /// Hands over the rows of a query one at a time, without holding them all.
    ///
    /// # Errors
    /// As [`query`](Self::query), and what `take` returns, which ends it. A connection that is lost after the first row is
    /// an error: rows that were handed over cannot be taken back.
    pub(crate) fn each(
        &mut self,
        sql: &str,
        parameters: &[Value],
        mut take: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        match &mut self.backend {
            Backend::Sqlite(sqlite) => sqlite.each(sql, parameters, &mut take),
            Backend::Postgres(postgres) => postgres.each(sql, parameters, &mut take),
        }
    }

    /// Does something in one transaction, which is taken back where it returns an error.
    ///
    /// # Errors
    /// What writing may bring, and what `work` returns. Where the connection is lost on the way it is not known whether the
    /// transaction was carried out: `Unreachable`.
    pub(crate) fn transaction<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let writers = match durability {
            Durability::Full => Writers::One,
            Durability::Normal => Writers::Many,
        };
        self.transaction_among(durability, writers, work)
    }

    /// The same, where what may go on beside it is not what is usual for that durability.
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction).
    pub(crate) fn transaction_among<T>(
        &mut self,
        durability: Durability,
        writers: Writers,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let within = match &mut self.backend {
            Backend::Sqlite(sqlite) => Within::Sqlite(sqlite.begin(durability)?),
            Backend::Postgres(postgres) => Within::Postgres(postgres.begin(durability, writers)?),
        };
        let mut transaction = Transaction { within };
        let done = work(&mut transaction)?;
        match transaction.within {
            Within::Sqlite(within) => within.commit()?,
            Within::Postgres(within) => within.commit()?,
        }
        Ok(done)
    }

    /// Whether processes of other hosts may share it, so that owners cannot always be looked at.
    pub(crate) fn is_shared_by_hosts(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// How many connections have been made: what an earlier one acknowledged without waiting for the disk may be gone.
    pub(crate) fn connections(&self) -> u64 {
        match &self.backend {
            Backend::Sqlite(_) => 1,
            Backend::Postgres(postgres) => postgres.connections(),
        }
    }

    /// Why it cannot be written, where it is open for reading alone.
    pub(crate) fn not_writable(&self) -> Error {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.not_writable(),
            Backend::Postgres(postgres) => postgres.not_writable(),
        }
    }

    /// Gives the room of deleted rows back to the file system, where the database does not see to that itself.
    ///
    /// # Errors
    /// What writing may bring.
    pub(crate) fn give_back_room(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Sqlite(sqlite) => sqlite.give_back_room(),
            Backend::Postgres(_) => Ok(()),
        }
    }

    /// Lets the file grow by so many pages of 4 KiB and no further, for this handle; of no effect on a server.
    ///
    /// # Errors
    /// What reading may bring.
    pub(crate) fn limit_pages(&mut self, pages: u32) -> Result<()> {
        match &mut self.backend {
            Backend::Sqlite(sqlite) => sqlite.limit_pages(pages),
            Backend::Postgres(_) => Ok(()),
        }
    }
}

impl Transaction<'_> {
    /// All rows of a query, or of a statement with `RETURNING`.
    ///
    /// # Errors
    /// What reading and writing may bring.
    pub(crate) fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        match &mut self.within {
            Within::Sqlite(within) => within.query(sql, parameters),
            Within::Postgres(within) => within.query(sql, parameters),
        }
    }

    /// The first row of it.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) fn query_one(&mut self, sql: &str, parameters: &[Value]) -> Result<Option<Row>> {
        Ok(self.query(sql, parameters)?.into_iter().next())
    }

    /// Carries a statement out and returns how many rows it changed.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<u64> {
        match &mut self.within {
            Within::Sqlite(within) => within.execute(sql, parameters),
            Within::Postgres(within) => within.execute(sql, parameters),
        }
    }
}

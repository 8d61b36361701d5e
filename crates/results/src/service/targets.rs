//! Where load may go: hosts and ports that an administrator allowed, with the addresses that they had then.

use std::net::IpAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::experiments::id;
use crate::database::{Durability, Row};
use crate::{Error, Result, Results, rows};

/// The table, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE targets (
        key {key},
        id TEXT NOT NULL UNIQUE,
        host TEXT NOT NULL,
        port INTEGER NOT NULL,
        addresses TEXT NOT NULL,
        note TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        created_by TEXT NOT NULL,
        UNIQUE (host, port)
    );";

/// Targets that may be allowed: all of them are looked at before each connection.
const TARGETS_MAX: i64 = 1_000;

/// A host and port that load is to be allowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTarget {
    /// The host's name or address, in its usual form.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What the name means now; a connection to another address is refused.
    pub addresses: Vec<IpAddr>,
    /// Why it is allowed.
    pub note: String,
    /// Who allows it.
    pub created_by: String,
}

/// A host and port that load is allowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedTarget {
    /// Its id.
    pub id: Uuid,
    /// The host's name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What the name meant when it was allowed.
    pub addresses: Vec<IpAddr>,
    /// Why it is allowed.
    pub note: String,
    /// When it was allowed.
    pub created_at: Timestamp,
    /// Who allowed it.
    pub created_by: String,
}

/// The columns that [`target`] expects.
const COLUMNS: &str = "id, host, port, addresses, note, created_at_us, created_by";

impl Results {
    /// Allows a target. One that is allowed already keeps its id and gets the addresses and the note of now. None where there
    /// are too many.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn allow_target(&mut self, new: &NewTarget, now: Timestamp) -> Result<Option<AllowedTarget>> {
        let addresses: Vec<_> = new.addresses.iter().map(ToString::to_string).collect();
        self.write(Durability::Full, |transaction| {
            let count = transaction.query_one("SELECT count(*) FROM targets", &[])?;
            if count.map_or(Ok(0), |row| row.get::<i64>(0))? >= TARGETS_MAX {
                return Ok(None);
            }
            let query = format!(
                "INSERT INTO targets (id, host, port, addresses, note, created_at_us, created_by) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (host, port) DO UPDATE \
                 SET addresses = excluded.addresses, note = excluded.note RETURNING {COLUMNS}"
            );
            let made = transaction.query_one(
                &query,
                &[
                    Uuid::now_v7().to_string().into(),
                    new.host.as_str().into(),
                    new.port.into(),
                    addresses.join(" ").into(),
                    new.note.as_str().into(),
                    now.as_microsecond().into(),
                    new.created_by.as_str().into(),
                ],
            )?;
            made.as_ref().map(target).transpose()
        })
    }

    /// Every target that is allowed, the newest first.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn targets(&mut self) -> Result<Vec<AllowedTarget>> {
        let query = format!("SELECT {COLUMNS} FROM targets ORDER BY key DESC");
        self.database.query(&query, &[])?.iter().map(target).collect()
    }

    /// Allows a target no longer. None where there is none of that id.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn forbid_target(&mut self, target_id: Uuid) -> Result<Option<AllowedTarget>> {
        self.write(Durability::Full, |transaction| {
            let query = format!("DELETE FROM targets WHERE id = ?1 RETURNING {COLUMNS}");
            transaction.query_one(&query, &[target_id.to_string().into()])?.as_ref().map(target).transpose()
        })
    }
}

fn target(row: &Row) -> Result<AllowedTarget> {
    let damaged = |reason: String| Error::Damaged { what: "a target that is allowed".to_owned(), reason };
    let addresses: String = row.get(3)?;
    let addresses: Result<Vec<IpAddr>, _> = addresses.split_whitespace().map(str::parse).collect();
    Ok(AllowedTarget {
        id: id(&row.get::<String>(0)?)?,
        host: row.get(1)?,
        port: u16::try_from(row.get::<i64>(2)?).map_err(|error| damaged(error.to_string()))?,
        addresses: addresses.map_err(|error| damaged(error.to_string()))?,
        note: row.get(4)?,
        created_at: rows::timestamp(row.get(5)?),
        created_by: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_allowed_once_and_forgotten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = crate::fixture::open(&folder.path().join("results.db"));
        let new = |addresses: &[&str]| NewTarget {
            host: "db.example".to_owned(),
            port: 5432,
            addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
            note: "ours".to_owned(),
            created_by: "ann".to_owned(),
        };
        let now = Timestamp::from_second(1).expect("in range");
        let first = results.allow_target(&new(&["127.0.0.2"]), now).expect("kept").expect("room");
        let second = results.allow_target(&new(&["127.0.0.3", "::1"]), now).expect("kept").expect("room");
        assert_eq!(first.id, second.id);
        assert_eq!(second.addresses.len(), 2);
        assert_eq!(results.targets().expect("readable"), std::slice::from_ref(&second));
        assert_eq!(results.forbid_target(first.id).expect("writable"), Some(second));
        assert_eq!(results.forbid_target(first.id).expect("writable"), None);
        assert!(results.targets().expect("readable").is_empty());
    }
}

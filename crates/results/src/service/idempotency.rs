//! Answers that were given to requests with a key of the client's: whoever did not hear an answer asks again and gets the same,
//! and nothing is done twice.
//!
//! A request is *claimed* before it is carried out and its answer kept afterwards. A claim also draws the id of what the request
//! makes, so that one whose process died in between makes the same thing when it is carried out again, and no second one.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::experiments::id;
use crate::database::{Durability, Row, Transaction};
use crate::{Result, Results};

/// The table, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE idempotency (
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        object TEXT NOT NULL,
        claimed_at_us INTEGER NOT NULL,
        status INTEGER,
        headers TEXT,
        body BLOB,
        PRIMARY KEY (scope, name)
    );
    CREATE INDEX idempotency_by_age ON idempotency (claimed_at_us);";

/// How long answers are kept: a client that tries again does so within minutes; a queue of a broken night, by the next day.
const KEPT: Duration = Duration::from_hours(24);

/// How long a claim without an answer keeps others out. Longer than any request of the service may take; after it the process
/// that claimed has died.
const CLAIM_MAX: Duration = Duration::from_secs(30);

/// Claims that are kept at the same time, with bodies of at most a mebibyte, most of them a few hundred bytes.
const CLAIMS_MAX: i64 = 100_000;

/// Which request: the same key of two clients, or on two routes, is two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Whose, and on which route.
    pub scope: String,
    /// The client's key.
    pub name: String,
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers that are worth keeping, as JSON.
    pub headers: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is to be carried out now, and what it makes has this id, also where it was tried before.
    Granted(Uuid),
    /// It was carried out.
    Answered(Answer),
    /// The key was used for another request.
    Different,
    /// It is being carried out.
    Busy,
    /// There are too many.
    Full,
}

impl Results {
    /// Claims a request with the fingerprint of all that matters in it.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn claim_request(&mut self, key: &RequestKey, fingerprint: &[u8], now: Timestamp) -> Result<Claim> {
        self.write(Durability::Normal, |transaction| {
            let before = |age: Duration| now.as_microsecond().saturating_sub_unsigned(age.as_micros() as u64);
            transaction.execute("DELETE FROM idempotency WHERE claimed_at_us < ?1", &[before(KEPT).into()])?;
            let count = transaction.query_one("SELECT count(*) FROM idempotency", &[])?;
            if count.map_or(Ok(0), |row| row.get::<i64>(0))? >= CLAIMS_MAX {
                return Ok(Claim::Full);
            }
            let object = Uuid::now_v7();
            let added = transaction.execute(
                "INSERT INTO idempotency (scope, name, fingerprint, object, claimed_at_us) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                &[
                    key.scope.as_str().into(),
                    key.name.as_str().into(),
                    fingerprint.into(),
                    object.to_string().into(),
                    now.as_microsecond().into(),
                ],
            )?;
            if added == 1 {
                return Ok(Claim::Granted(object));
            }
            claimed_before(transaction, key, fingerprint, now, before(CLAIM_MAX))
        })
    }

    /// Keeps the answer to a request that was claimed.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn keep_answer(&mut self, key: &RequestKey, answer: &Answer) -> Result<()> {
        self.write(Durability::Normal, |transaction| {
            transaction.execute(
                "UPDATE idempotency SET status = ?3, headers = ?4, body = ?5 WHERE scope = ?1 AND name = ?2",
                &[
                    key.scope.as_str().into(),
                    key.name.as_str().into(),
                    u32::from(answer.status).into(),
                    answer.headers.as_str().into(),
                    answer.body.as_slice().into(),
                ],
            )?;
            Ok(())
        })
    }

    /// Gives a claim up: nothing was done, and whoever asks again is carried out.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn release_request(&mut self, key: &RequestKey) -> Result<()> {
        self.write(Durability::Normal, |transaction| {
            transaction.execute(
                "DELETE FROM idempotency WHERE scope = ?1 AND name = ?2 AND status IS NULL",
                &[key.scope.as_str().into(), key.name.as_str().into()],
            )?;
            Ok(())
        })
    }
}

/// What an earlier claim means for a later one.
fn claimed_before(
    transaction: &mut Transaction<'_>,
    key: &RequestKey,
    fingerprint: &[u8],
    now: Timestamp,
    oldest_claim_us: i64,
) -> Result<Claim> {
    let found = transaction.query_one(
        "SELECT fingerprint, object, claimed_at_us, status, headers, body FROM idempotency WHERE scope = ?1 AND name = ?2",
        &[key.scope.as_str().into(), key.name.as_str().into()],
    )?;
    // It was released at this very moment: whoever asks again is carried out.
    let Some(row) = found else { return Ok(Claim::Busy) };
    if row.get::<Vec<u8>>(0)? != fingerprint {
        return Ok(Claim::Different);
    }
    if row.get::<Option<i64>>(3)?.is_some() {
        return Ok(Claim::Answered(answer(&row)?));
    }
    let claimed_at_us: i64 = row.get(2)?;
    if claimed_at_us >= oldest_claim_us {
        return Ok(Claim::Busy);
    }
    let taken = transaction.execute(
        "UPDATE idempotency SET claimed_at_us = ?4 WHERE scope = ?1 AND name = ?2 AND claimed_at_us = ?3",
        &[key.scope.as_str().into(), key.name.as_str().into(), claimed_at_us.into(), now.as_microsecond().into()],
    )?;
    Ok(if taken == 1 { Claim::Granted(id(&row.get::<String>(1)?)?) } else { Claim::Busy })
}

fn answer(row: &Row) -> Result<Answer> {
    Ok(Answer { status: row.get::<i64>(3)? as u16, headers: row.get(4)?, body: row.get(5)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_request_is_carried_out_once_and_answered_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = crate::fixture::open(&folder.path().join("results.db"));
        let key = RequestKey { scope: "ann POST /x".to_owned(), name: "k".to_owned() };
        let mut claim = |fingerprint: &[u8], second: i64| {
            results.claim_request(&key, fingerprint, at(1_000_000 + second)).expect("writable")
        };
        let Claim::Granted(object) = claim(b"one", 0) else { panic!("it is the first") };
        assert_eq!(claim(b"one", 1), Claim::Busy);
        assert_eq!(claim(b"two", 1), Claim::Different);
        assert_eq!(claim(b"one", 31), Claim::Granted(object), "whoever claimed it is gone");
        assert_eq!(claim(b"one", 32), Claim::Busy);
        let answer = Answer { status: 201, headers: "{}".to_owned(), body: b"made".to_vec() };
        results.keep_answer(&key, &answer).expect("writable");
        let mut claim = |fingerprint: &[u8], second: i64| {
            results.claim_request(&key, fingerprint, at(1_000_000 + second)).expect("writable")
        };
        assert_eq!(claim(b"one", 3_600), Claim::Answered(answer));
        assert_eq!(claim(b"two", 3_600), Claim::Different);
        let later = claim(b"two", 31 + 25 * 3_600);
        assert!(matches!(later, Claim::Granted(new) if new != object), "{later:?}");
        results.release_request(&key).expect("writable");
        let again = results.claim_request(&key, b"three", at(1_100_000)).expect("writable");
        assert!(matches!(again, Claim::Granted(_)), "{again:?}");
    }
}

//! Tokens by which the service knows who asks. What is kept of one is its hash: whoever reads the store cannot ask with it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use store::{Error as StoreError, did_you_mean};
use uuid::Uuid;

use super::experiments::id;
use crate::database::{Durability, Row};
use crate::{Error, Result, Results, rows};

/// The table, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE tokens (
        key {key},
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        role TEXT NOT NULL,
        hash BLOB NOT NULL UNIQUE,
        created_at_us INTEGER NOT NULL,
        expires_at_us INTEGER,
        revoked_at_us INTEGER
    );";

/// Tokens that may be kept: all of them are compared with each request's, in a few microseconds.
const TOKENS_MAX: i64 = 1_000;

/// What a token starts with, so that programs which look for leaked secrets can tell one.
const PREFIX: &str = "storelab_";

/// Random bytes of a token: 256 bits, which nobody tries out.
const SECRET_BYTES: usize = 32;

/// The SHA-256 of a token. A token is random, so that a slow hash would protect it no better.
pub type TokenHash = [u8; digest::SHA256_OUTPUT_LEN];

/// What whoever asks may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Makes, runs, cancels and deletes experiments as well.
    Operator,
    /// Decides about tokens and targets as well, reads the audit log and stops everything.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let error = StoreError::config(format!("there is no role `{text}`"));
            match did_you_mean(text, Self::ALL.map(Self::name)) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint(format!("there are {}", Self::ALL.map(Self::name).join(", "))),
            }
        })
    }
}

/// A token itself. It is shown once, to whoever made it, and does not print itself.
#[derive(Clone)]
pub struct TokenSecret(String);

impl TokenSecret {
    /// A new one.
    ///
    /// # Errors
    /// `Io` where the system has no randomness.
    pub fn draw() -> Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Io {
            what: "draw a token".to_owned(),
            source: std::io::Error::other("the system gave no random numbers"),
        })?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// One that somebody sent.
    pub fn sent(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, to be shown or sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        let mut hash = TokenHash::default();
        hash.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        hash
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(***)")
    }
}

/// A token that is to be kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What to call it: the audit log says who by this name.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Of the token itself.
    pub hash: TokenHash,
    /// When it ends; never where there is no time.
    pub expires_at: Option<Timestamp>,
}

/// A token that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id, which is no secret.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Of the token itself.
    pub hash: TokenHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// Whether it may be used then.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// The columns that [`token`] expects.
const COLUMNS: &str = "id, name, role, hash, created_at_us, expires_at_us, revoked_at_us";

impl Results {
    /// Keeps a new token. None where there are too many that are neither revoked nor expired; others make room.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn create_token(&mut self, new: NewToken, now: Timestamp) -> Result<Option<Token>> {
        let made = Token {
            id: Uuid::now_v7(),
            name: new.name,
            role: new.role,
            hash: new.hash,
            created_at: rows::timestamp(now.as_microsecond()),
            expires_at: new.expires_at.map(|end| rows::timestamp(end.as_microsecond())),
            revoked_at: None,
        };
        self.write(Durability::Full, |transaction| {
            let count = "SELECT count(*) FROM tokens";
            let is_full = |row: Option<Row>| -> Result<bool> {
                row.map_or(Ok(false), |row| Ok(row.get::<i64>(0)? >= TOKENS_MAX))
            };
            if is_full(transaction.query_one(count, &[])?)? {
                transaction.execute(
                    "DELETE FROM tokens WHERE revoked_at_us IS NOT NULL OR expires_at_us <= ?1",
                    &[now.as_microsecond().into()],
                )?;
                if is_full(transaction.query_one(count, &[])?)? {
                    return Ok(None);
                }
            }
            transaction.execute(
                "INSERT INTO tokens (id, name, role, hash, created_at_us, expires_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &[
                    made.id.to_string().into(),
                    made.name.as_str().into(),
                    made.role.name().into(),
                    made.hash.as_slice().into(),
                    made.created_at.as_microsecond().into(),
                    made.expires_at.map(Timestamp::as_microsecond).into(),
                ],
            )?;
            Ok(Some(made))
        })
    }

    /// Every token, those that are no longer valid as well, the newest first.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn tokens(&mut self) -> Result<Vec<Token>> {
        let query = format!("SELECT {COLUMNS} FROM tokens ORDER BY key DESC");
        self.database.query(&query, &[])?.iter().map(token).collect()
    }

    /// Takes a token back for good. None where there is none of that id; one that was taken back before stays as it is.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn revoke_token(&mut self, token_id: Uuid, now: Timestamp) -> Result<Option<Token>> {
        self.write(Durability::Full, |transaction| {
            let query = format!(
                "UPDATE tokens SET revoked_at_us = coalesce(revoked_at_us, ?2) WHERE id = ?1 RETURNING {COLUMNS}"
            );
            let parameters = [token_id.to_string().into(), now.as_microsecond().into()];
            transaction.query_one(&query, &parameters)?.as_ref().map(token).transpose()
        })
    }
}

fn token(row: &Row) -> Result<Token> {
    let damaged = |reason: String| Error::Damaged { what: "a token".to_owned(), reason };
    let role: String = row.get(2)?;
    let hash: Vec<u8> = row.get(3)?;
    let time = |place| row.get::<Option<i64>>(place).map(|at| at.map(rows::timestamp));
    Ok(Token {
        id: id(&row.get::<String>(0)?)?,
        name: row.get(1)?,
        role: role.parse().map_err(|error: StoreError| damaged(error.to_string()))?,
        hash: hash.try_into().map_err(|_| damaged("its hash has another length".to_owned()))?,
        created_at: rows::timestamp(row.get(4)?),
        expires_at: time(5)?,
        revoked_at: time(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_token_has_256_random_bits_and_does_not_print_itself() {
        let secret = TokenSecret::draw().expect("randomness");
        let digits = secret.expose().strip_prefix(PREFIX).expect("the prefix");
        assert_eq!(URL_SAFE_NO_PAD.decode(digits).expect("base64").len(), 32);
        assert!(!format!("{secret:?}").contains(digits));
        assert_ne!(secret.hash(), TokenSecret::draw().expect("randomness").hash());
        assert_eq!(secret.hash(), TokenSecret::sent(secret.expose()).hash());
    }

    #[test]
    fn tokens_are_kept_revoked_and_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = crate::fixture::open(&folder.path().join("results.db"));
        let new = |name: &str, hash, end: Option<i64>| NewToken {
            name: name.to_owned(),
            role: Role::Operator,
            hash,
            expires_at: end.map(at),
        };
        let first = results.create_token(new("one", [1; 32], Some(20)), at(10)).expect("kept").expect("room");
        let second = results.create_token(new("two", [2; 32], None), at(11)).expect("kept").expect("room");
        assert_eq!(results.tokens().expect("readable"), [second.clone(), first.clone()]);
        assert!(first.is_valid(at(19)) && !first.is_valid(at(20)) && second.is_valid(at(1_000)));
        let revoked = results.revoke_token(second.id, at(30)).expect("writable").expect("known");
        assert!(!revoked.is_valid(at(30)));
        let again = results.revoke_token(second.id, at(40)).expect("writable").expect("known");
        assert_eq!(again.revoked_at, Some(at(30)));
        assert_eq!(results.revoke_token(Uuid::nil(), at(40)).expect("writable"), None);
    }

    #[test]
    fn roles_are_ordered_and_named() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.name().parse::<Role>().expect("its own name"), role);
        }
        assert_eq!("amdin".parse::<Role>().expect_err("misspelt").hint(), Some("did you mean `admin`?"));
    }
}

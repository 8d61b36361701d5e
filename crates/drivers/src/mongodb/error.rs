//! What went wrong, told by who must act.

use ::mongodb::bson::{Document, RawBsonRef};
use ::mongodb::error::{ErrorKind as Kind, TRANSIENT_TRANSACTION_ERROR};
use store::{Error, ErrorKind};

use super::document::malformed;

/// A command that cannot be done while another transaction is in the way: `LockTimeout`, `WriteConflict`,
/// `TransactionTooOld`, `SnapshotUnavailable`, `NoSuchTransaction`, `PreparedTransactionInProgress`. Names and numbers of
/// all codes: <https://github.com/mongodb/mongo/blob/v6.0/src/mongo/base/error_codes.yml>.
const CONFLICTS: [i32; 6] = [24, 112, 225, 246, 251, 267];

/// `MaxTimeMSExpired`, `WriteConcernFailed`, `NetworkInterfaceExceededTimeLimit`, `ExceededTimeLimit`.
const TIMEOUTS: [i32; 4] = [50, 64, 202, 262];

/// The server has ceased to be the one to ask: `ShutdownInProgress`, `PrimarySteppedDown`, `NotWritablePrimary`,
/// `InterruptedAtShutdown`, `InterruptedDueToReplStateChange`, `NotPrimaryNoSecondaryOk`, `NotPrimaryOrSecondary`.
const STEPPED_DOWN: [i32; 7] = [91, 189, 10107, 11600, 11602, 13435, 13436];

const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
const COMMAND_NOT_FOUND: i32 = 59;
const ILLEGAL_OPERATION: i32 = 20;

/// `NamespaceNotFound`: what was to be dropped or renamed is not there.
pub(crate) const NAMESPACE_NOT_FOUND: i32 = 26;

/// `NamespaceExists`: what was to be made is there.
pub(crate) const NAMESPACE_EXISTS: i32 = 48;

/// `DuplicateKey`: a document of that key is there.
pub(crate) const DUPLICATE_KEY: i32 = 11000;

/// An error with the server's own number for it, where the server gave one.
pub(crate) struct Failure {
    /// What users are told.
    pub(crate) error: Error,
    /// The server's number; 0 where it gave none.
    pub(crate) code: i32,
    /// Whether the connection is of no further use.
    pub(crate) is_broken: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let is_broken = error.kind() == ErrorKind::Unreachable;
        Self { error, code: 0, is_broken }
    }
}

/// What the library could not do.
pub(crate) fn failure(source: ::mongodb::error::Error) -> Failure {
    let is_transient = source.contains_label(TRANSIENT_TRANSACTION_ERROR);
    let lost = |source: ::mongodb::error::Error| Failure::from(lost().with_source(source));
    match &*source.kind {
        Kind::Command(command) => {
            let mut failure = refusal(command.code, &command.message);
            if is_transient && !failure.is_broken {
                failure.error = Error::new(ErrorKind::Conflict, failure.error.to_string());
            }
            failure
        }
        Kind::Io(io) => match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(reason) => Error::rejected(format!("no encrypted connection: {reason}"))
                .with_hint("check that the port speaks TLS, and name the authority with tls_ca=FILE")
                .into(),
            None => lost(source),
        },
        Kind::Authentication { .. } => refused_login().with_source(source).into(),
        Kind::InvalidTlsConfig { message, .. } => {
            Error::config(format!("the target's TLS cannot be set up: {message}"))
                .with_hint("correct tls and tls_ca")
                .into()
        }
        // Lengths that cannot be are arguments to the library.
        Kind::InvalidResponse { .. } | Kind::InvalidArgument { .. } | Kind::Bson(_) => {
            // Whatever comes next on that connection would be as wrong.
            Failure { error: malformed().with_source(source), code: 0, is_broken: true }
        }
        Kind::IncompatibleServer { message, .. } => Error::rejected(format!("the server is too old: {message}"))
            .with_hint("use MongoDB 4.2 or later")
            .with_source(source)
            .into(),
        Kind::SessionsNotSupported | Kind::Transaction { .. } => {
            Error::unsupported("the server has no transactions").with_hint("start it as a replica set").into()
        }
        _ => lost(source),
    }
}

/// What the server said no to.
pub(crate) fn refusal(code: i32, message: &str) -> Failure {
    let told = |kind, hint: &'static str| Error::new(kind, format!("the server refused: {message}")).with_hint(hint);
    let error = match code {
        DUPLICATE_KEY => Error::rejected("a document of that key exists"),
        AUTHENTICATION_FAILED => refused_login(),
        // Older servers say so of transactions.
        ILLEGAL_OPERATION if message.contains("replica set") => {
            Error::unsupported("the server has no transactions").with_hint("start it as a replica set")
        }
        UNAUTHORIZED => told(
            ErrorKind::Rejected,
            "name a user with the role readWrite on the database, and where it is kept with auth_source=DATABASE",
        ),
        COMMAND_NOT_FOUND => told(ErrorKind::Unsupported, "use MongoDB 4.2 or later"),
        _ if CONFLICTS.contains(&code) => Error::new(ErrorKind::Conflict, "another operation was in the way"),
        _ if TIMEOUTS.contains(&code) => {
            told(ErrorKind::Timeout, "look for what keeps the server, or its other members, from answering in time")
        }
        _ if STEPPED_DOWN.contains(&code) => told(
            ErrorKind::Unreachable,
            "another member of the replica set takes over: list them all in the target's URL with nodes=HOST:PORT,…",
        ),
        _ => Error::rejected(format!("the server refused: {message}")),
    };
    Failure { is_broken: error.kind() == ErrorKind::Unreachable, error, code }
}

/// What a command's reply says of writes that did not happen, although the command was understood.
pub(crate) fn write_failure(reply: &Document) -> Option<Failure> {
    let first = reply.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document());
    let error = first.or_else(|| reply.get_document("writeConcernError").ok())?;
    Some(refusal(error.get_i32("code").unwrap_or_default(), error.get_str("errmsg").unwrap_or_default()))
}

/// The connection ended.
pub(crate) fn lost() -> Error {
    Error::unreachable("the connection was lost")
        .with_hint("look into the server's log for why it closed the connection")
}

fn refused_login() -> Error {
    Error::rejected("the server refused the user and password")
        .with_hint("correct them in the target, or name the database that keeps the user with auth_source=DATABASE")
}

/// A value in a message, cut where it is long.
pub(crate) fn shown(value: Option<RawBsonRef<'_>>) -> String {
    /// Enough to recognise it.
    const CHARACTERS_MAX: usize = 60;
    let text = value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
    text.chars().take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use ::mongodb::bson::doc;

    use super::*;

    #[test]
    fn codes_say_who_must_act_and_whether_the_session_goes_on() {
        for (code, message, kind, is_broken) in [
            (11000, "E11000 duplicate key", ErrorKind::Rejected, false),
            (112, "WriteConflict", ErrorKind::Conflict, false),
            (50, "operation exceeded time limit", ErrorKind::Timeout, false),
            (10107, "not primary", ErrorKind::Unreachable, true),
            (13, "not authorized", ErrorKind::Rejected, false),
            (59, "no such command: 'x'", ErrorKind::Unsupported, false),
            (20, "Transaction numbers are only allowed on a replica set member", ErrorKind::Unsupported, false),
            (2, "bad value", ErrorKind::Rejected, false),
        ] {
            let failure = refusal(code, message);
            assert_eq!((failure.error.kind(), failure.is_broken, failure.code), (kind, is_broken, code), "{message}");
        }
    }

    #[test]
    fn replies_tell_of_writes_that_failed() {
        assert!(write_failure(&doc! { "n": 1, "ok": 1 }).is_none());
        let duplicate = doc! { "n": 0, "writeErrors": [{ "index": 0, "code": 11000, "errmsg": "E11000" }], "ok": 1 };
        assert_eq!(write_failure(&duplicate).map(|failure| failure.code), Some(DUPLICATE_KEY));
        let late = doc! { "n": 1, "writeConcernError": { "code": 64, "errmsg": "waiting for replication" }, "ok": 1 };
        assert_eq!(write_failure(&late).map(|failure| failure.error.kind()), Some(ErrorKind::Timeout));
    }
}

//! What servers refuse with, sorted by who must act. `MySQL`'s and `MariaDB`'s
//! (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>), `TiDB`'s beyond 8000
//! (<https://docs.pingcap.com/tidb/stable/error-codes>), and `OceanBase`'s own, which lie among `MySQL`'s.

use std::io;

use ::store::{Error, ErrorKind};

use super::packet::Reader;

/// What a server says where the protocol cannot prepare a statement.
const NOT_PREPARABLE: u16 = 1295;

/// An error packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerError {
    code: u16,
    message: String,
}

impl ServerError {
    /// From a packet's payload, as far as that goes.
    pub(super) fn of(payload: &[u8]) -> Self {
        let mut reader = Reader(payload);
        let _ = reader.byte();
        let code = reader.short().unwrap_or_default();
        // Behind a mark, the state of SQL's standard; not in a server's first packet.
        if reader.0.first() == Some(&b'#') {
            let _ = reader.bytes(6);
        }
        let message = String::from_utf8_lossy(reader.0);
        Self { code, message: told(&message).to_owned() }
    }

    /// Whether a statement must go as text.
    pub(super) fn is_not_preparable(&self) -> bool {
        self.code == NOT_PREPARABLE
    }

    /// What to tell where a request failed, or a connection was refused, with it.
    pub(super) fn into_error(self) -> Error {
        let (kind, hint) = self.meaning();
        let error = Error::new(kind, format!("mysql: {} (error {})", self.message, self.code));
        if hint.is_empty() { error } else { error.with_hint(hint) }
    }

    /// What to tell where a server ends a connection with it.
    pub(super) fn into_end(self) -> Error {
        Error::unreachable(format!("mysql: the server ended the connection: {} (error {})", self.message, self.code))
            .with_hint("look into the server's log for why it closed the connection")
    }
}

/// What is told of a message: `TiDB` writes timestamps and keys behind some, so that no two are alike.
fn told(message: &str) -> &str {
    message.split_once(", txnStartTS=").map_or(message, |(what, _)| what)
}

impl ServerError {
    fn meaning(&self) -> (ErrorKind, &'static str) {
        match self.code {
            // OceanBase's; MariaDB has others of these numbers.
            4012 if self.message.starts_with("Timeout") => {
                (ErrorKind::Timeout, "the server gave up: allow it more time with query_timeout=SECONDS")
            }
            // What TiDB has no number for.
            1105 if ["lock retry limit reached", "[try again later]"]
                .iter()
                .any(|text| self.message.contains(text)) =>
            {
                (ErrorKind::Conflict, "")
            }
            4013 if self.message.contains("memory") => (ErrorKind::Rejected, "give the tenant more memory"),
            code => meaning(code),
        }
    }
}

/// The connection ended.
pub(super) fn lost(source: io::Error) -> Error {
    Error::unreachable("mysql: the connection was lost")
        .with_hint("look into the server's log for why it closed the connection")
        .with_source(source)
}

fn meaning(code: u16) -> (ErrorKind, &'static str) {
    use ErrorKind::{Conflict, Rejected, Timeout, Unreachable};
    match code {
        // Record changed, lock wait, deadlock, no wait, lost certification in a group or in Galera; OceanBase's transactions
        // that were rolled back, cannot be serialised, or found a row locked, and its schemas that are not there yet; TiDB's write conflicts, schemas that changed
        // meanwhile, locks that were not resolved or lived too long.
        1020 | 1205 | 1213 | 1614 | 3058 | 3101 | 3572 | 5627 | 6001 | 6002 | 6005 | 6235 | 8002 | 8005 | 8022
        | 8028 | 8229 | 9004 | 9007 => (Conflict, ""),
        1317 | 1969 | 3024 => (Timeout, ""),
        9001 | 9002 | 9003 | 9005 => (Timeout, "look into the cluster: a PD or TiKV server did not answer in time"),
        1053 | 1077 | 1079 | 1080 | 1927 | 2006 | 2013 | 3168 | 3169 | 4031 => {
            (Unreachable, "the server ended the connection; look into its log for the reason")
        }
        1045 | 1698 | 1862 => (Rejected, "correct the user and password of the target"),
        1049 => (Rejected, "create that database, or name another one in the target"),
        1044 | 1142 | 1143 | 1227 | 1370 => {
            (Rejected, "let the user do everything in the target's database: GRANT ALL ON database.* TO user")
        }
        1040 | 1203 | 1226 => (Rejected, "use fewer sessions, or raise the server's max_connections"),
        1129 | 1130 => (Rejected, "let the user connect from this host; after many failures, FLUSH HOSTS"),
        5930 => (Rejected, "let a session hold more prepared statements: ALTER SYSTEM SET open_cursors = 65535"),
        1461 => (Rejected, "use fewer sessions, or raise the server's max_prepared_stmt_count"),
        1021 | 1114 | 3675 => (Rejected, "free space where the server keeps its data"),
        1153 => (Rejected, "raise the server's max_allowed_packet"),
        1290 | 1792 | 1836 => (Rejected, "the server only reads: name the primary in the target"),
        8004 => (Rejected, "use smaller transactions, or raise txn-total-size-limit"),
        8175 => (Rejected, "raise tidb_mem_quota_query, or ask for less at once"),
        1251 | 3159 => (Rejected, "the server wants another way of logging in or encryption: try tls=verify"),
        _ => (Rejected, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_not_the_same_error() {
        for (code, message, expected) in [
            (4012, "Timeout, query has reached the maximum query timeout: 10000000(us)", ErrorKind::Timeout),
            (4012, "Something of MariaDB's", ErrorKind::Rejected),
            (1105, "pessimistic lock retry limit reached", ErrorKind::Conflict),
            (1105, "something else of TiDB's", ErrorKind::Rejected),
            (9007, "Write conflict, txnStartTS=1", ErrorKind::Conflict),
            (8028, "Information schema is changed during the execution of the statement", ErrorKind::Conflict),
            (6235, "can't serialize access for this transaction", ErrorKind::Conflict),
            (6002, "transaction needs rollback", ErrorKind::Conflict),
            (5627, "Schema try again", ErrorKind::Conflict),
            (1205, "Lock wait timeout exceeded", ErrorKind::Conflict),
            (9005, "Region is unavailable", ErrorKind::Timeout),
            (1062, "Duplicate entry", ErrorKind::Rejected),
            (1053, "Server shutdown in progress", ErrorKind::Unreachable),
        ] {
            let error = ServerError { code, message: message.to_owned() };
            assert_eq!(error.into_error().kind(), expected, "{code} {message}");
        }
    }

    #[test]
    fn numbers_of_one_conflict_are_not_told() {
        let payload = b"\xff\x2f\x23#HY000Write conflict, txnStartTS=4706, key={tableID=197} [try again later]";
        let error = ServerError::of(payload).into_error();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Conflict, "mysql: Write conflict (error 9007)")
        );
    }
}

//! What servers refuse with, sorted by who must act
//! (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>).

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
        Self { code, message: String::from_utf8_lossy(reader.0).into_owned() }
    }

    /// Whether a statement must go as text.
    pub(super) fn is_not_preparable(&self) -> bool {
        self.code == NOT_PREPARABLE
    }

    /// What to tell where a request failed, or a connection was refused, with it.
    pub(super) fn into_error(self) -> Error {
        let (kind, hint) = meaning(self.code);
        let error = Error::new(kind, format!("mysql: {} (error {})", self.message, self.code));
        if hint.is_empty() { error } else { error.with_hint(hint) }
    }

    /// What to tell where a server ends a connection with it.
    pub(super) fn into_end(self) -> Error {
        Error::unreachable(format!("mysql: the server ended the connection: {} (error {})", self.message, self.code))
            .with_hint("look into the server's log for why it closed the connection")
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
        // Record changed, lock wait, deadlock, no wait, lost certification in a group or in Galera.
        1020 | 1205 | 1213 | 1614 | 3058 | 3101 | 3572 => (Conflict, ""),
        1317 | 1969 | 3024 => (Timeout, ""),
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
        1461 => (Rejected, "use fewer sessions, or raise the server's max_prepared_stmt_count"),
        1021 | 1114 | 3675 => (Rejected, "free space where the server keeps its data"),
        1153 => (Rejected, "raise the server's max_allowed_packet"),
        1290 | 1792 | 1836 => (Rejected, "the server only reads: name the primary in the target"),
        1251 | 3159 => (Rejected, "the server wants another way of logging in or encryption: try tls=verify"),
        _ => (Rejected, ""),
    }
}

//! The library's and the server's errors, sorted by who must act
//! (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>).

use std::io;

use mysql_async::{DriverError, IoError, ServerError};
use store::{Error, ErrorKind};

/// An error on a connection that had been opened.
pub(super) fn error(source: mysql_async::Error) -> Error {
    match source {
        mysql_async::Error::Server(source) => refused(source),
        mysql_async::Error::Driver(source @ (DriverError::Params(_) | DriverError::MixedParams)) => {
            Error::bug(format!("mysql: {source}")).with_source(source)
        }
        // Whatever else the library meets, it closes the connection.
        source => Error::unreachable("mysql: the connection was lost")
            .with_hint("look into the server's log for why it closed the connection")
            .with_source(source),
    }
}

/// An error while connecting to `place`, a host and port.
pub(super) fn connect_error(place: &str, source: mysql_async::Error) -> Error {
    let unreachable = |source: mysql_async::Error| {
        Error::unreachable(format!("nobody answers at {place}: {}", innermost(&source)))
            .with_hint("start the server, or correct the host and port of the target")
            .with_source(source)
    };
    let not_encrypted = |source: mysql_async::Error| {
        Error::rejected(format!("no encrypted connection with {place}: {}", innermost(&source)))
            .with_hint("check that the server has TLS, and name its authority with tls_ca=FILE")
            .with_source(source)
    };
    let not_mysql = |source: mysql_async::Error| {
        Error::rejected(format!("{place} does not speak the MySQL protocol"))
            .with_hint("check that the port is a MySQL or MariaDB server's")
            .with_source(source)
    };
    match source {
        mysql_async::Error::Server(source) => refused(source),
        mysql_async::Error::Io(IoError::Tls(_))
        | mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => not_encrypted(source),
        mysql_async::Error::Io(IoError::Io(ref cause)) => match cause.kind() {
            _ if is_encryption(cause) => not_encrypted(source),
            io::ErrorKind::UnexpectedEof if !is_end(cause) => not_mysql(source),
            io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => not_mysql(source),
            io::ErrorKind::UnexpectedEof => Error::unreachable(format!("{place} closed the connection at once"))
                .with_hint("check that the port is a MySQL or MariaDB server's, and look into its log")
                .with_source(source),
            _ => unreachable(source),
        },
        mysql_async::Error::Driver(DriverError::UnexpectedPacket { .. } | DriverError::PacketOutOfOrder) => {
            not_mysql(source)
        }
        mysql_async::Error::Driver(cause) => Error::rejected(format!("no login at {place}: {cause}"))
            .with_hint("give the user a password of the plugin caching_sha2_password or mysql_native_password")
            .with_source(cause),
        source => unreachable(source),
    }
}

/// Whether the stream ended, and not an answer that was too short.
fn is_end(cause: &io::Error) -> bool {
    cause.to_string() == "connection closed"
}

/// Whether it is about the encryption, which the stream below it reports as one of its own errors.
fn is_encryption(cause: &io::Error) -> bool {
    cause.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// The reason without the library's words around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn refused(source: ServerError) -> Error {
    let (kind, hint) = meaning(source.code);
    let error = Error::new(kind, format!("mysql: {} (error {})", source.message, source.code)).with_source(source);
    if hint.is_empty() { error } else { error.with_hint(hint) }
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

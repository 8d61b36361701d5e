//! What the server refuses with, sorted by who must act (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use ::store::{Error, ErrorKind};

use super::message::Reader;

/// An `ErrorResponse`.
#[derive(Debug, Default)]
pub(super) struct ServerError {
    severity: String,
    /// Five characters.
    code: String,
    message: String,
    hint: String,
}

impl ServerError {
    /// From a message's body.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut error = Self::default();
        let mut reader = Reader(body);
        while let Ok([kind]) = reader.bytes(1) {
            if *kind == 0 {
                break;
            }
            let Ok(text) = reader.text() else { break };
            let text = || String::from_utf8_lossy(text).into_owned();
            match kind {
                // `V` is `S` in English, from 9.6 on.
                b'V' => error.severity = text(),
                b'S' if error.severity.is_empty() => error.severity = text(),
                b'C' => error.code = text(),
                b'M' => error.message = text(),
                b'H' => error.hint = text(),
                _ => {}
            }
        }
        error
    }

    /// Whether the connection ends with it.
    pub(super) fn is_fatal(&self) -> bool {
        // A node that shuts down says so as an error (57P01), and then closes the connection.
        matches!(self.severity.as_str(), "FATAL" | "PANIC") || matches!(self.code.as_str(), "57P01" | "57P02" | "57P04")
    }

    /// Whether it says that a prepared statement is not there.
    pub(super) fn is_unknown_statement(&self) -> bool {
        self.code == "26000"
    }

    /// Whether it says that something is not there, or not for this user.
    pub(super) fn is_absent_or_denied(&self) -> bool {
        matches!(self.code.as_str(), "42P01" | "42883" | "42501" | "42704" | "0A000" | "58P01")
    }

    /// What to tell where a connection that was in use ends with it.
    pub(super) fn into_end(self) -> Error {
        let (code, message) = (&self.code, &self.message);
        Error::unreachable(format!("the server ended the connection: {message} ({code})"))
            .with_hint("look into the server's log for why it did so")
    }

    /// Whether it says that there is no transaction to be ended. `CockroachDB` has no code of its own for it.
    pub(super) fn is_of_no_transaction(&self) -> bool {
        self.code == "25P01" || self.message == "there is no transaction in progress"
    }

    /// What to tell where a connection is refused with it.
    pub(super) fn into_refusal(self) -> Error {
        // A setting in the start-up message that does not exist or cannot have that value.
        if matches!(self.code.as_str(), "22023" | "42704" | "42601" | "22P02") {
            return Error::config(format!("the server refused a setting: {} ({})", self.message, self.code))
                .with_hint("correct options, statement_timeout or isolation in the target's URL");
        }
        self.into_error()
    }

    /// What to tell where a request failed with it.
    pub(super) fn into_error(self) -> Error {
        let (kind, hint) = self.judge();
        let error = Error::new(kind, format!("{} ({})", self.message, self.code));
        match (hint, self.hint) {
            ("", hint) if hint.is_empty() => error,
            ("", hint) => error.with_hint(hint),
            (hint, _) => error.with_hint(hint),
        }
    }

    fn judge(&self) -> (ErrorKind, &'static str) {
        match self.code.as_str() {
            "40001" | "40P01" | "55P03" => (ErrorKind::Conflict, ""),
            // Of a store of several nodes: one was lost before it could say what came of it.
            "40003" => (ErrorKind::Timeout, "the server does not know whether the statement took effect: look"),
            "57014" => (ErrorKind::Timeout, "raise statement_timeout, or find out what the statement waited for"),
            "57P03" => (ErrorKind::Unreachable, "wait until the server has started, and try again"),
            "57P01" | "57P02" | "57P04" | "57P05" => (ErrorKind::Unreachable, "start the server again"),
            "0A000" => (ErrorKind::Unsupported, ""),
            "3D000" => (ErrorKind::Rejected, "name a database that exists, or create it: CREATE DATABASE"),
            "3F000" => (ErrorKind::Rejected, "create a schema of the user's search_path, or name one with options"),
            "25006" => (ErrorKind::Rejected, "name the primary server: this one only takes reads"),
            "42501" => (ErrorKind::Rejected, "the user needs more rights: GRANT CREATE ON SCHEMA, or its own database"),
            "53100" => (ErrorKind::Rejected, "the server's disk is full: free space there"),
            "53300" => (ErrorKind::Rejected, "raise the server's max_connections, or use fewer sessions"),
            code if code.starts_with("08") => (ErrorKind::Unreachable, ""),
            code if code.starts_with("28") => (
                ErrorKind::Rejected,
                "correct the user and password; the server's pg_hba.conf says who may enter from where, and whether \
                 encrypted (tls=verify)",
            ),
            _ => (ErrorKind::Rejected, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(severity: &str, code: &str) -> Vec<u8> {
        format!("S{severity}\0V{severity}\0C{code}\0Mwhat happened\0Hits own\0\0").into_bytes()
    }

    #[test]
    fn kinds_say_who_must_act() {
        for (code, kind) in [
            ("40001", ErrorKind::Conflict),
            ("40P01", ErrorKind::Conflict),
            ("55P03", ErrorKind::Conflict),
            ("28P01", ErrorKind::Rejected),
            ("28000", ErrorKind::Rejected),
            ("3D000", ErrorKind::Rejected),
            ("57P03", ErrorKind::Unreachable),
            ("57P01", ErrorKind::Unreachable),
            ("08006", ErrorKind::Unreachable),
            ("53300", ErrorKind::Rejected),
            ("57014", ErrorKind::Timeout),
            ("40003", ErrorKind::Timeout),
            ("23505", ErrorKind::Rejected),
            ("42501", ErrorKind::Rejected),
        ] {
            let error = ServerError::of(&body("ERROR", code)).into_error();
            assert_eq!((error.kind(), error.hint().is_some()), (kind, true), "{code}");
            assert_eq!(error.to_string(), format!("what happened ({code})"));
        }
        let error = ServerError::of(&body("FATAL", "22023")).into_refusal();
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn bodies_that_are_cut_are_read_as_far_as_they_go() {
        for length in 0..20 {
            let error = ServerError::of(&body("FATAL", "57P01")[..length]);
            assert_eq!(error.is_fatal(), length >= 7, "{length}");
        }
    }
}

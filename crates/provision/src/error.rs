//! What goes wrong with servers, and who must act.

use std::io;

/// The result of anything that is done with a server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no engine or no running server of that name.
    Unknown,
    /// The engine's programs are not on this machine.
    NotInstalled,
    /// The options cannot work as they were given.
    Config,
    /// The name, port or data folder is in use already.
    InUse,
    /// The server did not come up, or went away.
    StartFailed,
    /// It does not run any more.
    NotRunning,
    /// Installing needs rights or a package manager that are not there, or failed.
    InstallFailed,
    /// The operating system refused something.
    Io,
}

/// What happened, why, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    kind: ErrorKind,
    context: String,
    hint: Option<String>,
    #[source]
    source: Option<io::Error>,
}

impl Error {
    /// An error of a kind. The context says what happened: lower case, no full stop, never a password.
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), hint: None, source: None }
    }

    /// The operating system refused what `context` names.
    pub(crate) fn io(context: impl std::fmt::Display, source: io::Error) -> Self {
        Self { kind: ErrorKind::Io, context: format!("cannot {context}: {source}"), hint: None, source: Some(source) }
    }

    /// What to do about it, as a sentence fragment that follows `hint: `.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Names the thing that the operating system refused.
pub(crate) trait IoContext<T> {
    /// An [`ErrorKind::Io`] whose context starts with `cannot`.
    fn or_cannot<D: std::fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn or_cannot<D: std::fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|source| Error::io(what(), source))
    }
}

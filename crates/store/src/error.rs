//! One error type whose kind says who must act.

use std::borrow::Cow;
use std::fmt;

/// The result of anything that a data store is asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The user: the request cannot work as it was written.
    Config,
    /// The operator: nobody answers there, or the connection was lost.
    Unreachable,
    /// The user or the operator: the store answered and said no.
    Rejected,
    /// Nobody: another session was in the way, trying again is right.
    Conflict,
    /// Nobody or the operator: no answer within the time that was allowed.
    Timeout,
    /// The user: this store cannot do that.
    Unsupported,
    /// Whoever relies on the data: the store answered, but not with what had been written.
    WrongResult,
    /// Storelab's developers.
    Bug,
}

impl ErrorKind {
    /// Every kind, in the order of their [`index`](Self::index).
    pub const ALL: [Self; 8] = [
        Self::Config,
        Self::Unreachable,
        Self::Rejected,
        Self::Conflict,
        Self::Timeout,
        Self::Unsupported,
        Self::WrongResult,
        Self::Bug,
    ];

    /// A small number for tables of counts: its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in records and JSON, `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unreachable => "unreachable",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::WrongResult => "wrong_result",
            Self::Bug => "bug",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened, why, and what to do about it. One pointer wide, so that results stay small.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a kind. The context says what happened: lower case, no full stop, never a secret.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, context: context.into(), hint: None, source: None }))
    }

    /// [`ErrorKind::Config`].
    pub fn config(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, context)
    }

    /// [`ErrorKind::Unreachable`].
    pub fn unreachable(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unreachable, context)
    }

    /// [`ErrorKind::Rejected`].
    pub fn rejected(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Rejected, context)
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, context)
    }

    /// [`ErrorKind::WrongResult`].
    pub fn wrong_result(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::WrongResult, context)
    }

    /// [`ErrorKind::Bug`].
    pub fn bug(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Bug, context)
    }

    /// What to do about it, as a sentence fragment that follows `hint: `.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The error underneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Who must act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The same error for another operation that was lost with it: kind and context, without the source.
    #[must_use]
    pub fn repeated(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            context: self.0.context.clone(),
            hint: self.0.hint.clone(),
            source: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.context)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The closest of `candidates` to what was typed, where one is close enough to be meant.
pub fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Jaro-Winkler similarity below which a suggestion confuses more than it helps (clap uses 0.7).
    const SIMILARITY_MIN: f64 = 0.7;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(typed, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_in_the_order_of_their_index() {
        for (position, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), position);
        }
    }

    #[test]
    fn suggestions_are_close_or_absent() {
        let names = ["postgres", "mysql", "redis"];
        assert_eq!(did_you_mean("postgers", names), Some("postgres"));
        assert_eq!(did_you_mean("myqsl", names), Some("mysql"));
        assert_eq!(did_you_mean("zzz", names), None);
    }

    #[test]
    fn an_error_keeps_its_source_and_its_repeat_does_not() {
        let error = Error::unreachable("connection lost").with_source(std::io::Error::other("reset"));
        assert!(std::error::Error::source(&error).is_some());
        assert!(std::error::Error::source(&error.repeated()).is_none());
        assert_eq!(error.repeated().kind(), ErrorKind::Unreachable);
    }
}

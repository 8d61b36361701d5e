//! What is wrong with an expression, with the place shown under it.

use std::fmt;

use store::{Error, did_you_mean};

use super::Span;

/// Characters of an expression that an error shows: a line of a terminal.
const SHOWN_MAX: usize = 110;

/// What is wrong with an expression. Written out it is the message, the expression, and a line of carets:
///
/// ```text
/// there is no operation `raed` in this workload
///   | p99(raed) < 20ms
///   |     ^^^^
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdError {
    message: String,
    hint: Option<String>,
    expression: String,
    span: Span,
}

impl ThresholdError {
    pub(super) fn new(expression: &str, span: Span, message: impl Into<String>) -> Self {
        // A message that quotes the expression stays one line.
        let message = message.into().replace(|letter: char| letter.is_control() || letter.is_whitespace(), " ");
        Self { message, hint: None, expression: expression.to_owned(), span }
    }

    /// What to do about it.
    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The nearest of the names that exist, or all of them.
    #[must_use]
    pub(super) fn with_nearest<'a>(self, typed: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match did_you_mean(typed, known.iter().copied()) {
            Some(near) => self.with_hint(format!("did you mean `{near}`?")),
            None if known.is_empty() => self,
            None => self.with_hint(format!("there are {}", known.join(", "))),
        }
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Which bytes of the expression are meant.
    pub fn span(&self) -> std::ops::Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for ThresholdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever is not a letter would move the carets, or the terminal's cursor.
        let shown: String = self
            .expression
            .chars()
            .take(SHOWN_MAX)
            .map(|letter| if letter.is_control() || letter.is_whitespace() { ' ' } else { letter })
            .collect();
        let letters_to = |end: usize| {
            self.expression.char_indices().take_while(|(at, _)| *at < end).count().min(shown.chars().count())
        };
        let (start, end) = (letters_to(self.span.start), letters_to(self.span.end));
        let carets = "^".repeat(end.saturating_sub(start).max(1));
        write!(f, "{}\n  | {shown}\n  | {:start$}{carets}", self.message, "")
    }
}

impl std::error::Error for ThresholdError {}

impl From<ThresholdError> for Error {
    fn from(error: ThresholdError) -> Self {
        let ours = Self::config(error.to_string());
        match error.hint {
            Some(hint) => ours.with_hint(hint),
            None => ours,
        }
    }
}

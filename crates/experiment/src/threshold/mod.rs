//! Conditions on what a run measures, as users write them: `p99(read) < 20ms`, `max(server.cpu) < 80%`.
//!
//! [`Threshold::parse`] reads the text; [`Threshold::resolve`] holds it against the names that a run has and gives a
//! [`Condition`]; [`Condition::evaluate`] needs a record, its histograms and what [`Seconds`] kept of its seconds, and
//! nothing else, so that a run of five seconds is judged by the same code as one of an hour. A name that nothing has is an
//! error before any connection is opened, never a condition that happens to hold. The grammar is in
//! `docs/statistics/thresholds.md`.

mod error;
mod evaluate;
mod metric;
mod parse;
mod plan;
mod resolve;
mod seconds;
#[cfg(test)]
mod tests;
mod unit;
mod watch;

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

pub use error::ThresholdError;
pub use evaluate::{Condition, Evidence};
pub(crate) use metric::Percentile;
pub use metric::{FUNCTIONS, Function, GAUGES, Gauge, GaugeSource};
pub use plan::{ThresholdPlan, ThresholdSpec};
pub use resolve::Names;
pub use seconds::Seconds;
pub use unit::{Limit, Quantity, Unit};
pub(crate) use watch::Watch;

/// A condition as it was written; what its names mean is not known yet. Written out again ([`fmt::Display`]) it reads the
/// same, in one spelling. Two are equal that are written out alike.
#[derive(Debug, Clone)]
pub struct Threshold {
    /// As the user wrote it.
    text: String,
    left: Call,
    relation: Relation,
    relation_span: Span,
    limit: Limit,
    limit_span: Span,
}

/// Which bytes of the text.
pub(crate) type Span = Range<usize>;

impl Threshold {
    /// Reads an expression.
    ///
    /// # Errors
    /// What does not belong where it stands, with its place and a remedy.
    pub fn parse(text: &str) -> Result<Self, ThresholdError> {
        parse::parse(text)
    }

    /// As the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn error(&self, span: &Span, message: impl Into<String>) -> ThresholdError {
        ThresholdError::new(&self.text, span.clone(), message)
    }
}

impl PartialEq for Threshold {
    fn eq(&self, other: &Self) -> bool {
        (&self.left, self.relation, self.limit) == (&other.left, other.relation, other.limit)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.relation, self.limit)
    }
}

/// `NAME`, or `NAME(OF, key=value)`.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    name: Word,
    of: Option<Of>,
    keys: Vec<(Word, Word)>,
    /// `rate()` is a metric where `rate` might be an operation.
    has_parentheses: bool,
}

/// What a function is asked of.
#[derive(Debug, Clone, PartialEq)]
enum Of {
    Name(Word),
    Call(Box<Call>),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if !self.has_parentheses {
            return Ok(());
        }
        f.write_str("(")?;
        match &self.of {
            None => {}
            Some(Of::Name(name)) => write!(f, "{name}")?,
            Some(Of::Call(call)) => write!(f, "{call}")?,
        }
        for (position, (key, value)) in self.keys.iter().enumerate() {
            let separator = if position > 0 || self.of.is_some() { ", " } else { "" };
            write!(f, "{separator}{key}={value}")?;
        }
        f.write_str(")")
    }
}

/// A word of an expression, and where it stands. Two are equal that read the same.
#[derive(Debug, Clone)]
struct Word {
    text: String,
    span: Span,
}

impl Word {
    /// Whether a word of such letters may stand without quotes.
    fn is_plain(text: &str) -> bool {
        text.starts_with(Self::starts) && text.chars().all(Self::goes_on)
    }

    fn starts(letter: char) -> bool {
        letter.is_alphanumeric() || letter == '_'
    }

    fn goes_on(letter: char) -> bool {
        Self::starts(letter) || letter == '.' || letter == '-'
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if Self::is_plain(&self.text) { f.write_str(&self.text) } else { write!(f, "\"{}\"", self.text) }
    }
}

/// How a value stands to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`, of counts.
    Equal,
    /// `!=`, of counts.
    Unequal,
}

impl Relation {
    /// Every comparison, longer signs before those that they begin with.
    pub const ALL: [Self; 6] = [Self::AtMost, Self::AtLeast, Self::Equal, Self::Unequal, Self::Less, Self::Greater];

    /// As it is written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        }
    }

    /// Whether it asks for equality, which is rarely meant of anything but a count.
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Equal | Self::Unequal)
    }

    /// Whether `value` stands so to `limit`. What is not a number does not.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        value.partial_cmp(&limit).is_some_and(|ordering| match self {
            Self::Less => ordering == Ordering::Less,
            Self::AtMost => ordering != Ordering::Greater,
            Self::Greater => ordering == Ordering::Greater,
            Self::AtLeast => ordering != Ordering::Less,
            Self::Equal => ordering == Ordering::Equal,
            Self::Unequal => ordering != Ordering::Equal,
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}

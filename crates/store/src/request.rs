//! Requests, what comes back, and the rows in between. Everything is borrowed: the hot path allocates nothing.

use crate::{Arguments, Result};

/// Tells the requests in flight on one session apart: a small number below the session's depth,
/// chosen by the caller, free again once its [`Completion`] was returned.
pub type Token = u32;

/// A statement prepared by [`Sql::prepare`](crate::Sql::prepare), valid on the session that prepared it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatementId(pub u32);

/// A scalar that goes to or comes from a data store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL's NULL, or an absent field.
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text in UTF-8.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a text or byte string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            Self::Null | Self::Integer(_) | Self::Real(_) => None,
        }
    }

    /// The number, where it is a whole one.
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(number),
            _ => None,
        }
    }
}

/// Consecutive fields of one record: `count` values of `length` bytes each, from field `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values<'a> {
    /// The values one behind the other; its length is a multiple of `length`.
    pub bytes: &'a [u8],
    /// Bytes of one value, at least 1. The values are printable ASCII.
    pub length: usize,
    /// The number of the first field.
    pub first: u16,
}

impl<'a> Values<'a> {
    /// Field numbers with their values.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (u16, &'a [u8])> {
        let first = self.first;
        self.bytes.chunks_exact(self.length).enumerate().map(move |(position, value)| (first + position as u16, value))
    }
}

/// Which fields of a record are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// All of them.
    All,
    /// One, by its number.
    One(u16),
}

/// One thing that a session is asked to do.
///
/// The key-value verbs work on the [`RecordTable`](crate::RecordTable), `Operation` on the
/// [`OperationRows`](crate::OperationRows) and `Planned` on the [`TableSet`](crate::TableSet) that the session was
/// opened for.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Read one record. An absent key gives an [`Outcome`] of 0 rows, not an error.
    Read {
        /// The record's key.
        key: &'a str,
        /// Which of its fields.
        fields: Fields,
    },
    /// Read records in key order (byte order) from the first key ≥ `start`.
    Scan {
        /// Where to start; need not exist.
        start: &'a str,
        /// At most so many records.
        limit: u32,
    },
    /// Add a record with all its fields. A key that exists is an error of kind `Rejected` where the store can
    /// tell at no extra cost, else it is overwritten.
    Insert {
        /// The record's key.
        key: &'a str,
        /// All fields, from the first.
        values: Values<'a>,
    },
    /// Overwrite fields of a record. An absent key gives 0 rows where the store can tell at no extra cost; with
    /// [`BlindWrites`](crate::Capability::BlindWrites) it makes a record that has just these fields.
    Update {
        /// The record's key.
        key: &'a str,
        /// The fields that change.
        values: Values<'a>,
    },
    /// Remove a record. An absent key gives 0 rows; with [`BlindWrites`](crate::Capability::BlindWrites) it may give 1.
    Delete {
        /// The record's key.
        key: &'a str,
    },
    /// One of the driver's own operations, about the row of that number. The driver verifies what it read: a
    /// mismatch is an error of kind `WrongResult`.
    Operation {
        /// Its place in [`Driver::operations`](crate::Driver::operations).
        operation: u16,
        /// The row's number. For an operation that adds or removes it names the row; for one that reads or
        /// changes it is below the number of loaded rows.
        row: u64,
    },
    /// A prepared statement of the SQL face.
    Statement {
        /// Which one.
        statement: StatementId,
        /// Its parameters, in order.
        parameters: &'a [Value<'a>],
    },
    /// A statement of the [`TableSet`](crate::TableSet) that the session was opened for. It is prepared with its
    /// first use.
    Planned {
        /// Its place in [`TableSet::statements`](crate::TableSet::statements).
        statement: u32,
        /// Its parameters: as many as it has.
        arguments: &'a Arguments,
    },
    /// Begin a transaction.
    Begin,
    /// Commit it.
    Commit,
    /// Roll it back. Nothing happens where there is none: what was refused at its end may have ended it.
    Rollback,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Rows or records read, or changed.
    pub rows: u64,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Completion {
    /// The token that it was submitted under.
    pub token: Token,
    /// How it ended.
    pub result: Result<Outcome>,
}

/// Receives the rows of a request while they are decoded, straight from the read buffer.
///
/// Calls for one request come together, in order: `begin`, then for each row `row` and its `value`s,
/// and nothing after the request's completion.
pub trait Rows {
    /// Rows of the request with this token follow.
    fn begin(&mut self, token: Token) {
        let _ = token;
    }
    /// A row begins; with its key where a scan returns one.
    fn row(&mut self, key: Option<&str>) {
        let _ = key;
    }
    /// A value of the row: `column` is the field's number for records, the column's place in a statement's result.
    fn value(&mut self, column: usize, value: Value<'_>) {
        let _ = (column, value);
    }
}

/// Takes no notice of rows.
impl Rows for () {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_by_length() {
        let values = Values { bytes: b"aabbcc", length: 2, first: 3 };
        let cut: Vec<_> = values.iter().collect();
        assert_eq!(cut, [(3, &b"aa"[..]), (4, b"bb"), (5, b"cc")]);
    }
}

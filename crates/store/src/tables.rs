//! Relational tables as a workload describes them, and the statements that it will run on them.
//!
//! Columns have portable types, rows come from a generator by their number, and everything lives in a [`Namespace`].
//! A session that is opened for such a dataset knows its statements from the start: it prepares each with its first
//! use, also after a reconnect, and no request waits for that on its own.

use std::ops::Range;
use std::sync::Arc;

use crate::Namespace;

/// The tables of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSet {
    /// Where they live.
    pub namespace: Namespace,
    /// What is in them, to recognise it again: the generator, its version and its parameters. At most
    /// [`CONTENT_BYTES_MAX`](Self::CONTENT_BYTES_MAX) bytes.
    pub content: String,
    /// The tables, in the order in which they are made and loaded.
    pub tables: Vec<TableSpec>,
    /// Statements of the workload, each with `?` for its parameters, in order, each used once: the store writes them in
    /// its own way. [`Request::Planned`](crate::Request::Planned) names them by their place.
    pub statements: Arc<[String]>,
}

impl TableSet {
    /// The manifest keeps fingerprints of 200 bytes.
    pub const CONTENT_BYTES_MAX: usize = 180;

    /// How many numbers are loaded, of all tables.
    pub fn numbers(&self) -> u64 {
        self.tables.iter().map(|table| table.numbers).sum()
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name in the namespace.
    pub name: String,
    /// Its columns, in the order in which rows show their values.
    pub columns: Vec<Column>,
    /// Places of the columns that are the primary key, at least one.
    pub primary_key: Vec<usize>,
    /// Further indexes, made after the load.
    pub indexes: Vec<TableIndex>,
    /// The generator is asked for the rows of the numbers below this.
    pub numbers: u64,
    /// Rows of a number, at most: an order line is a row of its order's number.
    pub rows_per_number: u64,
}

impl TableSpec {
    /// The numbers of one of `parts` equal parts, for loading in parallel.
    pub fn part(&self, part: u64, parts: u64) -> Range<u64> {
        (self.numbers * part / parts)..(self.numbers * (part + 1) / parts)
    }
}

/// A column; none of them takes NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name: lower case, no word of SQL.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnType,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    BigInteger,
    /// Text of exactly so many characters: `CHAR(n)`. Stores may show it with or without the blanks at its end.
    Character(u32),
    /// Text of at most so many characters: `VARCHAR(n)`.
    Varying(u32),
}

impl ColumnType {
    /// Bytes that a value takes, about.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Integer => 4,
            Self::BigInteger => 8,
            Self::Character(length) | Self::Varying(length) => length as u64,
        }
    }
}

/// An index that is not the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableIndex {
    /// Its name in the namespace.
    pub name: String,
    /// Places of its columns.
    pub columns: Vec<usize>,
}

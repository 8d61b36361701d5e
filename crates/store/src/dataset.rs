//! What Storelab puts into a data store, always under a name of its own.

use std::fmt;
use std::ops::Range;

use crate::{Error, Result, Rows, TableSet, Values};

/// The prefix of everything that Storelab creates in somebody's data store.
const PREFIX: &str = "storelab_";

/// The name that a set of objects lives under: a table prefix, schema, key prefix or bucket.
/// Always `storelab_` and then lower-case letters, digits and underscores.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(String);

impl Namespace {
    /// The namespace `storelab_<name>`.
    ///
    /// # Errors
    /// `Config` where the name is empty, over 24 bytes, or has other characters than `a-z 0-9 _`.
    pub fn new(name: &str) -> Result<Self> {
        /// `PostgreSQL` cuts identifiers at 63 bytes; prefix, name, table and index names must fit.
        const NAME_BYTES_MAX: usize = 24;
        let valid = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !valid {
            return Err(Error::config(format!("`{name}` cannot name a set of data"))
                .with_hint("use 1 to 24 lower-case letters, digits and underscores"));
        }
        Ok(Self(format!("{PREFIX}{name}")))
    }

    /// The full name, with the prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name of an object in it: `storelab_ycsb_usertable`.
    pub fn object(&self, name: &str) -> String {
        format!("{}_{name}", self.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Records with a key and a fixed number of text fields: what the key-value verbs work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordTable {
    /// Where it lives.
    pub namespace: Namespace,
    /// Its name in the namespace.
    pub table: &'static str,
    /// How many records are loaded, numbered from 0.
    pub records: u64,
    /// Fields of a record, at least 1, named `field0`, `field1` …
    pub field_count: u16,
    /// Bytes of a field, at least 1.
    pub field_length: usize,
    /// Bytes that a key can have.
    pub key_length_max: usize,
}

/// How much data one row of the operations' tables carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataSize {
    /// About 100 bytes of payload a row.
    #[default]
    Small,
    /// About 1 kB.
    Medium,
    /// About 10 kB.
    Large,
}

impl DataSize {
    /// Every size with its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("small", Self::Small), ("medium", Self::Medium), ("large", Self::Large)];

    /// Bytes of payload a row.
    pub const fn payload_bytes(self) -> usize {
        match self {
            Self::Small => 100,
            Self::Medium => 1_000,
            Self::Large => 10_000,
        }
    }
}

/// What a driver's own operations work on: made by the driver from these numbers alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRows {
    /// Where it lives.
    pub namespace: Namespace,
    /// How many rows are loaded, numbered from 0, at least 1.
    pub rows: u64,
    /// How large a row is.
    pub size: DataSize,
    /// What the contents derive from.
    pub seed: u64,
}

/// The data that a run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dataset {
    /// For the key-value verbs.
    Records(RecordTable),
    /// For a driver's own operations.
    Operations(OperationRows),
    /// For a workload's own statements.
    Tables(TableSet),
}

impl Dataset {
    /// Where it lives.
    pub fn namespace(&self) -> &Namespace {
        match self {
            Self::Records(table) => &table.namespace,
            Self::Operations(rows) => &rows.namespace,
            Self::Tables(tables) => &tables.namespace,
        }
    }

    /// How many records, rows or numbers of tables are loaded.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Records(table) => table.records,
            Self::Operations(rows) => rows.rows,
            Self::Tables(tables) => tables.numbers(),
        }
    }

    /// What the loaded data is, to recognise it again: equal fingerprints mean equal data.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Records(t) => {
                format!("records/1 {}x{}x{} key {}", t.records, t.field_count, t.field_length, t.key_length_max)
            }
            Self::Operations(r) => format!("operations/1 {}x{} seed {}", r.rows, r.size.payload_bytes(), r.seed),
            Self::Tables(tables) => format!("tables/1 {}", tables.content),
        }
    }

    /// The rows of one of `parts` equal parts, for loading in parallel. Tables have parts of their own:
    /// [`TableSpec::part`](crate::TableSpec::part).
    pub fn part(&self, part: u64, parts: u64) -> Range<u64> {
        let rows = self.rows();
        (rows * part / parts)..(rows * (part + 1) / parts)
    }
}

/// A buffer for one record, reused from record to record.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The key.
    pub key: String,
    /// All fields one behind the other.
    pub fields: Vec<u8>,
}

impl Record {
    /// The fields as values of that length.
    pub fn values(&self, length: usize) -> Values<'_> {
        Values { bytes: &self.fields, length, first: 0 }
    }
}

/// Makes the records of a [`RecordTable`], or the rows of a [`TableSet`].
pub trait RecordSource: Send + Sync {
    /// Fills the buffer with the record of that number; the same number gives the same record.
    fn fill(&self, number: u64, record: &mut Record) {
        let _ = number;
        record.key.clear();
        record.fields.clear();
    }

    /// Shows the rows that a number has in a table, by its place in the set: each with all its values in the order of
    /// the columns. The same number gives the same rows.
    fn rows(&self, table: usize, number: u64, rows: &mut dyn Rows) {
        let _ = (table, number, rows);
    }
}

/// The source for datasets that the driver makes by itself.
#[derive(Debug, Clone, Copy)]
pub struct NullSource;

impl RecordSource for NullSource {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_always_ours() {
        assert_eq!(Namespace::new("ycsb").expect("valid").object("usertable"), "storelab_ycsb_usertable");
        for bad in ["", "Ycsb", "a-b", "a;drop", "x23456789012345678901234567890"] {
            assert_eq!(Namespace::new(bad).expect_err("invalid").kind(), crate::ErrorKind::Config, "{bad}");
        }
    }

    #[test]
    fn parts_cover_all_rows_once() {
        let dataset = Dataset::Operations(OperationRows {
            namespace: Namespace::new("x").expect("valid"),
            rows: 10,
            size: DataSize::Small,
            seed: 1,
        });
        let parts: Vec<_> = (0..3).map(|part| dataset.part(part, 3)).collect();
        assert_eq!(parts, [0..3, 3..6, 6..10]);
    }
}

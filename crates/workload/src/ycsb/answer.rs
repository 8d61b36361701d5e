//! What a request's rows must look like, checked while they are decoded.

use store::{Error, Fields, Outcome, Result, Value};

use super::value::{Layout, key_hash};

/// What a request must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// No rows are shown: a write of one record that exists or comes to be.
    Write,
    /// The record, which exists, with these fields.
    Record(Fields),
    /// From the record on, which exists, at most so many, in key order.
    Range { limit: u32 },
}

/// What has been seen of a request's rows.
#[derive(Debug)]
pub(super) struct Answer {
    /// The key that was asked for, or at which a scan starts.
    pub(super) key: String,
    expected: Expected,
    rows: u64,
    /// Values of the row that is being shown.
    values: u64,
    key_hash: u64,
    /// The key of the row that is being shown by a scan.
    row_key: Vec<u8>,
    /// The first thing that was wrong.
    fault: Option<String>,
}

impl Answer {
    /// For keys up to that length.
    pub(super) fn new(key_length_max: usize) -> Self {
        Self {
            key: String::with_capacity(key_length_max),
            expected: Expected::Write,
            rows: 0,
            values: 0,
            key_hash: 0,
            row_key: Vec::with_capacity(key_length_max),
            fault: None,
        }
    }

    /// Begins a request about the key.
    #[inline]
    pub(super) fn expect(&mut self, expected: Expected) {
        self.expected = expected;
        self.rows = 0;
        self.values = 0;
        if self.fault.is_some() {
            self.fault = None;
        }
    }

    /// A row begins.
    pub(super) fn row(&mut self, layout: &Layout, key: Option<&str>) {
        if self.fault.is_some() {
            return;
        }
        self.end_row(layout);
        self.rows += 1;
        self.values = 0;
        match self.expected {
            Expected::Write => self.fault = Some("a write has shown a row".to_owned()),
            Expected::Record(_) => {
                if key.is_some_and(|key| key.as_bytes() != self.key.as_bytes()) {
                    self.fault = Some(format!("the record of another key was read: `{}`", key.unwrap_or_default()));
                }
                self.key_hash = key_hash(self.key.as_bytes());
            }
            Expected::Range { limit } => self.row_of_range(key, limit),
        }
    }

    fn row_of_range(&mut self, key: Option<&str>, limit: u32) {
        let Some(key) = key else {
            self.fault = Some("a scan has shown a row without its key".to_owned());
            return;
        };
        if self.rows > u64::from(limit) {
            self.fault = Some(format!("a scan of {limit} records has shown more"));
        } else if self.rows == 1 && key.as_bytes() != self.key.as_bytes() {
            self.fault = Some(format!("a scan from a record that exists begins at `{key}`"));
        } else if self.rows > 1 && key.as_bytes() <= self.row_key.as_slice() {
            let before = String::from_utf8_lossy(&self.row_key);
            self.fault = Some(format!("a scan has shown `{key}` behind `{before}`"));
        }
        self.row_key.clear();
        self.row_key.extend_from_slice(key.as_bytes());
        self.key_hash = key_hash(key.as_bytes());
    }

    /// A value of the row.
    pub(super) fn value(&mut self, layout: &Layout, column: usize, value: Value<'_>) {
        if self.fault.is_some() {
            return;
        }
        self.values += 1;
        let asked = match self.expected {
            Expected::Record(Fields::One(field)) => column == usize::from(field),
            _ => column < usize::from(layout.field_count()),
        };
        let found = match value.as_bytes() {
            _ if !asked => Err("was not asked for".to_owned()),
            None => Err("is not text".to_owned()),
            Some(bytes) => layout.verify(self.key_hash, column as u16, bytes).map_err(|fault| fault.to_string()),
        };
        if let Err(fault) = found {
            let of_row = match self.expected {
                Expected::Range { .. } => format!(" of `{}`", String::from_utf8_lossy(&self.row_key)),
                _ => String::new(),
            };
            self.fault = Some(format!("field{column}{of_row} {fault}"));
        }
    }

    /// A row has ended: all its fields must have been shown.
    fn end_row(&mut self, layout: &Layout) {
        let fields = match self.expected {
            Expected::Write => return,
            Expected::Record(Fields::One(_)) => 1,
            _ => u64::from(layout.field_count()),
        };
        if self.rows > 0 && self.values != fields {
            self.fault = Some(format!("row {} has {} of {fields} fields", self.rows, self.values));
        }
    }

    /// The request has ended well as far as the store is concerned. `shown` says whether rows were to be seen.
    #[inline]
    pub(super) fn check(&mut self, layout: &Layout, outcome: Outcome, shown: bool) -> Result<()> {
        if shown && self.fault.is_none() {
            self.end_row(layout);
        }
        let rows_right = match self.expected {
            Expected::Write => outcome.rows >= 1,
            Expected::Record(_) => outcome.rows == 1 && (!shown || self.rows == 1),
            Expected::Range { limit } => {
                (1..=u64::from(limit)).contains(&outcome.rows) && (!shown || self.rows == outcome.rows)
            }
        };
        if rows_right && self.fault.is_none() { Ok(()) } else { Err(self.wrong(outcome)) }
    }

    #[cold]
    fn wrong(&self, outcome: Outcome) -> Error {
        let key = &self.key;
        if let Some(fault) = &self.fault {
            return Error::wrong_result(format!("key `{key}`: {fault}"));
        }
        match self.expected {
            _ if outcome.rows == 0 => Error::wrong_result(format!("key `{key}` is not there, and it must be"))
                .with_hint("data was lost, or it was loaded with other parameters"),
            Expected::Write => unreachable!("a write of several rows is not refused"),
            Expected::Record(_) => Error::wrong_result(format!(
                "key `{key}`: {} records were counted and {} shown where there is one",
                outcome.rows, self.rows
            )),
            Expected::Range { limit } => Error::wrong_result(format!(
                "key `{key}`: a scan of {limit} records has counted {} and shown {}",
                outcome.rows, self.rows
            )),
        }
    }
}

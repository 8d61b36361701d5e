//! What a statement must answer, checked while its rows are shown. Nothing of a row is kept.

use store::{Error, Outcome, Result, Value};

use super::row::{self, Row};

/// What a statement must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// That so many rows were changed, from the first number to the second.
    Changed { min: u64, max: u64 },
    /// The `c` of a row.
    Point { row: Row },
    /// The `c` of the rows from one id on.
    Range { table: u32, first: u64, count: u64, in_order: bool },
    /// The sum of the `k` of such rows.
    Sum { table: u32, first: u64, count: u64 },
    /// Whole rows with one of the values that were asked for; so many, where that is known.
    Rows { count: Option<u64> },
    /// A number; this one, where that is known.
    Number { expected: Option<u64> },
}

/// What is known about the data while the script runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Certain {
    /// Rows have the values that they were loaded with.
    pub(super) values: bool,
    /// All rows are there at any time.
    pub(super) rows: bool,
    /// Rows of a table.
    pub(super) table_size: u64,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Damaged,
    OtherRow,
    Order,
    Kind,
}

/// The check of one answer.
#[derive(Debug)]
pub(super) struct Answer {
    expected: Expected,
    rows: u64,
    /// Sum of the marks of all `c`.
    marks: u64,
    /// The mark of the row before.
    previous: u64,
    /// The row that is being shown, where it has an id.
    row: Option<Row>,
    number: Option<i64>,
    fault: Option<Fault>,
    /// The values of `k` that were asked for, in order.
    pub(super) asked: Vec<u64>,
}

impl Answer {
    /// With room for so many values that are asked for.
    pub(super) fn new(asked: usize) -> Self {
        Self {
            expected: Expected::Changed { min: 0, max: 0 },
            rows: 0,
            marks: 0,
            previous: 0,
            row: None,
            number: None,
            fault: None,
            asked: Vec::with_capacity(asked),
        }
    }

    /// A statement begins that must answer this.
    #[inline]
    pub(super) fn expect(&mut self, expected: Expected) {
        self.expected = expected;
        (self.rows, self.marks, self.previous) = (0, 0, 0);
        (self.row, self.number, self.fault) = (None, None, None);
    }

    /// A row begins.
    #[inline]
    pub(super) fn row(&mut self) {
        self.rows += 1;
        self.row = None;
    }

    /// A value of the row.
    #[inline]
    pub(super) fn value(&mut self, certain: Certain, column: usize, value: Value<'_>) {
        let checked = match self.expected {
            Expected::Range { in_order, .. } => self.range(value, in_order),
            Expected::Point { row } => point(certain, row, value),
            Expected::Sum { .. } | Expected::Number { .. } => self.take_number(value),
            Expected::Rows { .. } => self.whole_row(certain, column, value),
            Expected::Changed { .. } => Err(Fault::Kind),
        };
        if let Err(fault) = checked {
            self.fault = Some(fault);
        }
    }

    #[inline]
    fn range(&mut self, value: Value<'_>, in_order: bool) -> Result<(), Fault> {
        let c = value.as_bytes().and_then(row::unpadded).ok_or(Fault::Damaged)?;
        let mark = row::mark(c);
        self.marks = self.marks.wrapping_add(mark);
        if in_order && mark < self.previous {
            return Err(Fault::Order);
        }
        self.previous = mark;
        if row::is_whole(c) { Ok(()) } else { Err(Fault::Damaged) }
    }

    fn take_number(&mut self, value: Value<'_>) -> Result<(), Fault> {
        self.number = match value {
            Value::Integer(number) => Some(number),
            // Sums are decimals in some stores, and those come as text.
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        self.number.map(|_| ()).ok_or(Fault::Kind)
    }

    fn whole_row(&mut self, certain: Certain, column: usize, value: Value<'_>) -> Result<(), Fault> {
        match (column, self.row) {
            (0, _) => {
                let id = value.as_integer().ok_or(Fault::Kind)?;
                self.row = Some(Row::new(0, id.cast_unsigned()));
                Ok(())
            }
            (1, Some(row)) => {
                let k = value.as_integer().ok_or(Fault::Kind)?.cast_unsigned();
                let is_right = k == row.k(certain.table_size) && self.asked.binary_search(&k).is_ok();
                if is_right { Ok(()) } else { Err(Fault::OtherRow) }
            }
            (2, Some(row)) => point(certain, row, value),
            (3, Some(row)) => {
                let pad = value.as_bytes().and_then(row::unpadded);
                if pad == Some(&row.pad()) { Ok(()) } else { Err(Fault::Damaged) }
            }
            _ => Err(Fault::Kind),
        }
    }

    /// Whether the statement was answered as it must be, now that it has ended.
    #[inline]
    pub(super) fn check(&self, certain: Certain, outcome: Outcome) -> Result<()> {
        if let Some(fault) = self.fault {
            return Err(self.faulty(fault));
        }
        match self.expected {
            Expected::Changed { min, max } => rows(outcome.rows, min, max),
            Expected::Point { .. } => rows(self.rows, u64::from(certain.rows), 1),
            Expected::Range { table, first, count, .. } => {
                rows(self.rows, if certain.rows { count } else { 0 }, count)?;
                let marks =
                    || (first..first + count).fold(0, |sum: u64, id| sum.wrapping_add(Row::new(table, id).mark()));
                if certain.rows && self.marks != marks() {
                    return Err(self.faulty(Fault::OtherRow));
                }
                Ok(())
            }
            Expected::Sum { table, first, count } => {
                rows(self.rows, 1, 1)?;
                let sum = || (first..first + count).map(|id| Row::new(table, id).k(certain.table_size)).sum::<u64>();
                if certain.values { self.number(sum()) } else { Ok(()) }
            }
            Expected::Rows { count } => count.map_or(Ok(()), |count| rows(self.rows, count, count)),
            Expected::Number { expected } => {
                rows(self.rows, 1, 1)?;
                expected.map_or(Ok(()), |expected| self.number(expected))
            }
        }
    }

    fn number(&self, expected: u64) -> Result<()> {
        match self.number {
            Some(found) if found.cast_unsigned() == expected => Ok(()),
            found => Err(Error::wrong_result(format!("the answer is {found:?} where it must be {expected}"))),
        }
    }

    #[cold]
    fn faulty(&self, fault: Fault) -> Error {
        let what = match fault {
            Fault::Damaged => "a value was never written there, or is damaged",
            Fault::OtherRow => "rows came that were not asked for",
            Fault::Order => "rows are out of order",
            Fault::Kind => "a value is of another kind, or none",
        };
        Error::wrong_result(format!("{what}: {:?}", self.expected))
    }
}

/// Whether there were so many rows.
#[inline]
fn rows(found: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(Error::wrong_result(format!("{found} rows where there must be {min} to {max}")))
}

/// Whether it is the `c` of the row.
#[inline]
fn point(certain: Certain, row: Row, value: Value<'_>) -> Result<(), Fault> {
    let c = value.as_bytes().and_then(row::unpadded).ok_or(Fault::Damaged)?;
    if certain.values {
        return if *c == row.c() { Ok(()) } else { Err(Fault::Damaged) };
    }
    match (row::is_whole(c), row::mark(c) == row.mark()) {
        (true, true) => Ok(()),
        (true, false) => Err(Fault::OtherRow),
        (false, _) => Err(Fault::Damaged),
    }
}

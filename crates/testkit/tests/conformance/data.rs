//! Records that tests load, and a visitor that writes down what it is shown.

use std::collections::BTreeMap;

use store::{Dataset, Record, RecordSource, Rows, Token, Value};

/// Fields of a record where a test asks for no other number.
pub(crate) const FIELD_COUNT: u16 = 3;

/// As long as any key here; YCSB's are shorter.
pub(crate) const KEY_LENGTH_MAX: usize = 32;

/// Makes the records of a test's table.
pub(crate) struct Source {
    field_count: u16,
    field_length: usize,
}

impl Source {
    /// The source of a dataset's records; any, where it has none.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        match dataset {
            Dataset::Records(table) => Self { field_count: table.field_count, field_length: table.field_length },
            Dataset::Operations(_) | Dataset::Tables(_) => Self { field_count: 1, field_length: 1 },
        }
    }
}

impl RecordSource for Source {
    fn fill(&self, number: u64, record: &mut Record) {
        record.key = key(number);
        record.fields = fields(number, self.field_count, self.field_length);
    }

    /// Two rows for each number: numbers of 32 and 64 bits, and texts of a fixed length and of another.
    fn rows(&self, table: usize, number: u64, rows: &mut dyn Rows) {
        for part in 0..2 {
            let large = LARGE + i64::from(part);
            rows.row(None);
            rows.value(0, Value::Integer(number.cast_signed() - 1));
            rows.value(1, Value::Integer(large));
            rows.value(2, Value::Text(&format!("row-{table}-{number}")));
            rows.value(3, Value::Text(&"ö".repeat((number % 7) as usize)));
        }
    }
}

/// A number beyond 32 bits.
pub(crate) const LARGE: i64 = 1 << 40;

/// The key of the record of that number; in their numbers' order.
pub(crate) fn key(number: u64) -> String {
    format!("key{number:09}")
}

/// All fields of the record of that number.
pub(crate) fn fields(number: u64, count: u16, length: usize) -> Vec<u8> {
    (0..u64::from(count)).flat_map(|field| value(number * 1000 + field, length)).collect()
}

/// Printable, different from number to number where there is room, with every printable character in long ones.
pub(crate) fn value(number: u64, length: usize) -> Vec<u8> {
    const PRINTABLE: u64 = b'~' as u64 - b' ' as u64 + 1;
    let byte = |place: u64| b' ' + (number.wrapping_mul(31).wrapping_add(place) % PRINTABLE) as u8;
    (0..length as u64).map(byte).collect()
}

/// A value that outlives the read buffer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Owned {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Value<'_>> for Owned {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Integer(number),
            Value::Real(number) => Self::Real(number),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_owned()),
        }
    }
}

impl Owned {
    /// A text's or byte string's bytes: stores may show a field as either.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            _ => panic!("{self:?} is no text"),
        }
    }
}

/// A row that was shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) token: Token,
    pub(crate) key: Option<String>,
    /// By column: a record's fields may be shown in any order.
    pub(crate) values: BTreeMap<usize, Owned>,
}

impl Row {
    /// A record's fields: numbers and bytes.
    pub(crate) fn fields(&self) -> Vec<(usize, &[u8])> {
        self.values.iter().map(|(column, value)| (*column, value.bytes())).collect()
    }

    /// A record's fields one behind the other.
    pub(crate) fn joined(&self) -> Vec<u8> {
        self.values.values().flat_map(|value| value.bytes().to_vec()).collect()
    }
}

/// Writes down what it is shown, and insists on the order that [`Rows`] states.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) begun: Vec<Token>,
    pub(crate) rows: Vec<Row>,
}

impl Rows for Seen {
    fn begin(&mut self, token: Token) {
        self.begun.push(token);
    }

    fn row(&mut self, key: Option<&str>) {
        let token = *self.begun.last().expect("rows come after their request's begin");
        self.rows.push(Row { token, key: key.map(str::to_owned), values: BTreeMap::new() });
    }

    fn value(&mut self, column: usize, value: Value<'_>) {
        let row = self.rows.last_mut().expect("values come after their row");
        assert_eq!(Some(&row.token), self.begun.last(), "values belong to the request that was begun last");
        assert!(row.values.insert(column, value.into()).is_none(), "column {column} is shown twice");
    }
}

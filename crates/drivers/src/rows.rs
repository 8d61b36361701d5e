//! Rows and parameters that own their values, reused from request to request.

use store::{Rows, Token, Value};

/// Parameters that fit without an allocation: a YCSB record has a key and ten fields, the widest TPC-C statement 21.
const PARAMETERS_INLINE: usize = 24;

/// Rows as they came from the store, in reused buffers: nothing is allocated once they are warm.
///
/// Text and bytes lie one behind the other in one buffer each, and cells point into them.
#[derive(Debug, Default)]
pub(crate) struct RowBuffer {
    text: String,
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    /// Where the cells of each row begin.
    rows: Vec<u32>,
    shape: Shape,
}

/// How rows are shown to a visitor.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    /// The first column is the record's key.
    pub(crate) key: bool,
    /// The number of the first column that is not the key.
    pub(crate) first: usize,
}

#[derive(Debug, Clone, Copy)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text { start: u32, end: u32 },
    Bytes { start: u32, end: u32 },
}

impl RowBuffer {
    /// Forgets all rows and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.bytes.clear();
        self.cells.clear();
        self.rows.clear();
        self.shape = Shape::default();
    }

    /// Says how the rows are to be shown.
    pub(crate) fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Begins a row; the values that are pushed next are its columns.
    pub(crate) fn begin_row(&mut self) {
        self.rows.push(self.cells.len() as u32);
    }

    /// The next column of the row.
    pub(crate) fn push(&mut self, value: Value<'_>) {
        let cell = match value {
            Value::Null => Cell::Null,
            Value::Integer(number) => Cell::Integer(number),
            Value::Real(number) => Cell::Real(number),
            Value::Text(text) => {
                let start = self.text.len() as u32;
                self.text.push_str(text);
                Cell::Text { start, end: self.text.len() as u32 }
            }
            Value::Bytes(bytes) => {
                let start = self.bytes.len() as u32;
                self.bytes.extend_from_slice(bytes);
                Cell::Bytes { start, end: self.bytes.len() as u32 }
            }
        };
        self.cells.push(cell);
    }

    /// The next column of the row, a text that is written in place.
    pub(crate) fn push_text_with(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.text.len() as u32;
        write(&mut self.text);
        self.cells.push(Cell::Text { start, end: self.text.len() as u32 });
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns of a row, none where there is no such row.
    pub(crate) fn row(&self, row: usize) -> impl ExactSizeIterator<Item = Value<'_>> {
        let start = self.rows.get(row).map_or(self.cells.len(), |start| *start as usize);
        let end = self.rows.get(row + 1).map_or(self.cells.len(), |end| *end as usize);
        self.cells[start..end].iter().map(|cell| self.value_of(*cell))
    }

    /// A value by row and column; NULL where there is none.
    pub(crate) fn value(&self, row: usize, column: usize) -> Value<'_> {
        self.row(row).nth(column).unwrap_or(Value::Null)
    }

    /// A text by row and column, where it is one.
    pub(crate) fn text(&self, row: usize, column: usize) -> Option<&str> {
        match self.value(row, column) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Shows the rows to a visitor. A request without rows shows nothing, not even a beginning.
    pub(crate) fn replay(&self, token: Token, visitor: &mut dyn Rows) {
        if self.is_empty() {
            return;
        }
        visitor.begin(token);
        for row in 0..self.rows.len() {
            let mut values = self.row(row);
            let key = if self.shape.key { values.next() } else { None };
            visitor.row(match key {
                Some(Value::Text(text)) => Some(text),
                _ => None,
            });
            for (position, value) in values.enumerate() {
                visitor.value(self.shape.first + position, value);
            }
        }
    }

    fn value_of(&self, cell: Cell) -> Value<'_> {
        match cell {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(number),
            Cell::Real(number) => Value::Real(number),
            Cell::Text { start, end } => Value::Text(&self.text[start as usize..end as usize]),
            Cell::Bytes { start, end } => Value::Bytes(&self.bytes[start as usize..end as usize]),
        }
    }
}

/// Keeps the rows that it is shown.
impl Rows for RowBuffer {
    fn row(&mut self, _key: Option<&str>) {
        self.begin_row();
    }

    fn value(&mut self, _column: usize, value: Value<'_>) {
        self.push(value);
    }
}

/// The parameters of one statement, on the stack unless there are very many.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    inline: [Value<'a>; PARAMETERS_INLINE],
    length: usize,
    spilled: Vec<Value<'a>>,
}

impl<'a> Parameters<'a> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { inline: [Value::Null; PARAMETERS_INLINE], length: 0, spilled: Vec::new() }
    }

    /// The next parameter.
    pub(crate) fn push(&mut self, value: Value<'a>) {
        if self.spilled.is_empty() && self.length < PARAMETERS_INLINE {
            self.inline[self.length] = value;
            self.length += 1;
            return;
        }
        if self.spilled.is_empty() {
            self.spilled.extend_from_slice(&self.inline[..self.length]);
        }
        self.spilled.push(value);
    }

    /// All of them, in order.
    pub(crate) fn as_slice(&self) -> &[Value<'a>] {
        if self.spilled.is_empty() { &self.inline[..self.length] } else { &self.spilled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Rows for Seen {
        fn begin(&mut self, token: Token) {
            self.0.push(format!("begin {token}"));
        }
        fn row(&mut self, key: Option<&str>) {
            self.0.push(format!("row {key:?}"));
        }
        fn value(&mut self, column: usize, value: Value<'_>) {
            self.0.push(format!("{column} {value:?}"));
        }
    }

    #[test]
    fn rows_come_back_as_they_were_pushed() {
        let mut rows = RowBuffer::default();
        for _ in 0..2 {
            rows.clear();
            rows.set_shape(Shape { key: true, first: 3 });
            rows.begin_row();
            rows.push(Value::Text("k1"));
            rows.push(Value::Text("ä"));
            rows.push(Value::Bytes(b"\xff"));
            rows.begin_row();
            rows.push(Value::Text("k2"));
            rows.push(Value::Real(0.5));
            rows.push(Value::Null);
        }
        let mut seen = Seen::default();
        rows.replay(7, &mut seen);
        let expected = [
            "begin 7",
            r#"row Some("k1")"#,
            r#"3 Text("ä")"#,
            "4 Bytes([255])",
            r#"row Some("k2")"#,
            "3 Real(0.5)",
            "4 Null",
        ];
        assert_eq!(seen.0, expected);
        assert_eq!((rows.len(), rows.text(1, 0), rows.value(9, 9)), (2, Some("k2"), Value::Null));
    }

    #[test]
    fn parameters_keep_their_order_when_they_spill() {
        for count in [0, 1, PARAMETERS_INLINE, PARAMETERS_INLINE + 1, 3 * PARAMETERS_INLINE] {
            let mut parameters = Parameters::new();
            for number in 0..count {
                parameters.push(Value::Real(number as f64));
            }
            let expected: Vec<_> = (0..count).map(|number| Value::Real(number as f64)).collect();
            assert_eq!(parameters.as_slice(), expected);
        }
    }
}

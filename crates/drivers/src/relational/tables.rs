//! The tables of a workload, written in a dialect.

use std::ops::Range;

use store::{ColumnType, LoadPart, RecordSource, TableSet, TableSpec};

use super::manifest::{KIND_INDEX, KIND_TABLE, Object};
use super::{Dialect, RowBuffer};
use crate::contents::ColumnKind;

/// The objects that the tables are, tables first.
pub(super) fn objects(set: &TableSet) -> Vec<Object> {
    let object = |kind, name: &str| Object { kind, name: set.namespace.object(name) };
    let tables = set.tables.iter().map(|table| object(KIND_TABLE, &table.name));
    let indexes = set.tables.iter().flat_map(|table| &table.indexes).map(|index| object(KIND_INDEX, &index.name));
    tables.chain(indexes).collect()
}

/// The statements that make the empty tables.
pub(super) fn create(dialect: &Dialect, set: &TableSet) -> Vec<String> {
    set.tables.iter().map(|table| create_table(dialect, set, table)).collect()
}

/// The statements that make the indexes.
pub(super) fn create_indexes(set: &TableSet) -> Vec<String> {
    let index = |table: &TableSpec| {
        let name = set.namespace.object(&table.name);
        let text = |index: &store::TableIndex| {
            let columns = names(table, &index.columns);
            format!("CREATE INDEX {} ON {name} ({columns})", set.namespace.object(&index.name))
        };
        table.indexes.iter().map(text).collect::<Vec<_>>()
    };
    set.tables.iter().flat_map(index).collect()
}

fn create_table(dialect: &Dialect, set: &TableSet, table: &TableSpec) -> String {
    let columns = table.columns.iter().map(|column| {
        let kind = match column.kind {
            // `INTEGER` and no other word makes a key the row's number in SQLite.
            ColumnType::Integer => "INTEGER".to_owned(),
            ColumnType::BigInteger => dialect.integer.to_owned(),
            ColumnType::Character(length) => format!("CHAR({length})"),
            ColumnType::Varying(length) => format!("VARCHAR({length})"),
        };
        format!("{} {kind} NOT NULL", column.name)
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let key = names(table, &table.primary_key);
    let name = set.namespace.object(&table.name);
    format!("CREATE TABLE {name} ({columns}, PRIMARY KEY ({key})){}", dialect.table_suffix)
}

fn names(table: &TableSpec, places: &[usize]) -> String {
    places.iter().map(|place| table.columns[*place].name).collect::<Vec<_>>().join(", ")
}

/// The rows of one part of all tables, table by table.
pub(super) struct TableRows<'a> {
    set: &'a TableSet,
    source: &'a dyn RecordSource,
    part: LoadPart,
    /// The table that is being filled, and its numbers that are left.
    table: usize,
    left: Range<u64>,
}

impl<'a> TableRows<'a> {
    pub(super) fn new(set: &'a TableSet, source: &'a dyn RecordSource, part: LoadPart) -> Self {
        let left = set.tables.first().map_or(0..0, |table| table.part(part.index, part.of));
        Self { set, source, part, table: 0, left }
    }

    /// Names and kinds of each table's columns.
    pub(super) fn columns(set: &TableSet) -> Vec<Vec<(String, ColumnKind)>> {
        let columns = |table: &TableSpec| {
            let column = |column: &store::Column| {
                let kind = match column.kind {
                    ColumnType::Integer => ColumnKind::Integer32,
                    ColumnType::BigInteger => ColumnKind::Integer,
                    ColumnType::Character(_) | ColumnType::Varying(_) => ColumnKind::Text,
                };
                (column.name.to_owned(), kind)
            };
            table.columns.iter().map(column).collect()
        };
        set.tables.iter().map(columns).collect()
    }

    /// Bytes that the rows of a number take at most, about.
    pub(super) fn number_bytes(set: &TableSet) -> usize {
        let bytes = |table: &TableSpec| {
            table.columns.iter().map(|column| column.kind.bytes()).sum::<u64>() * table.rows_per_number.max(1)
        };
        set.tables.iter().map(bytes).max().unwrap_or(1) as usize
    }

    /// Appends the rows of the next numbers of one table, at most so many: the table's place, and how many they were.
    pub(super) fn next(&mut self, count: u64, rows: &mut RowBuffer) -> Option<(usize, u64)> {
        while self.left.is_empty() {
            self.table += 1;
            self.left = self.set.tables.get(self.table)?.part(self.part.index, self.part.of);
        }
        let table = &self.set.tables[self.table];
        let count = (count / table.rows_per_number.max(1)).clamp(1, self.left.end - self.left.start);
        for number in self.left.start..self.left.start + count {
            self.source.rows(self.table, number, rows);
        }
        self.left.start += count;
        Some((self.table, count))
    }
}

#[cfg(test)]
mod tests {
    use store::{Column, Namespace, Rows, TableIndex, Value};

    use super::*;

    fn set() -> TableSet {
        let table = |name: &str, numbers, indexes| TableSpec {
            name: name.to_owned(),
            columns: vec![
                Column { name: "id", kind: ColumnType::Integer },
                Column { name: "place", kind: ColumnType::BigInteger },
                Column { name: "word", kind: ColumnType::Character(9) },
            ],
            primary_key: vec![1, 0],
            indexes,
            numbers,
            rows_per_number: 2,
        };
        let index = TableIndex { name: "words".to_owned(), columns: vec![2, 0] };
        let tables = vec![table("empty", 0, Vec::new()), table("one", 7, vec![index]), table("two", 3, Vec::new())];
        let namespace = Namespace::new("t").expect("valid");
        TableSet { namespace, content: "test".to_owned(), tables, statements: [].into() }
    }

    struct Twice;

    impl RecordSource for Twice {
        fn rows(&self, table: usize, number: u64, rows: &mut dyn Rows) {
            let (table, number) = (table as u64, number.cast_signed());
            for row in 0..2 {
                rows.row(None);
                rows.value(0, Value::Integer(table.cast_signed()));
                rows.value(1, Value::Integer(number * 2 + row));
                rows.value(2, Value::Text("word"));
            }
        }
    }

    #[test]
    fn every_row_is_loaded_once_whatever_the_parts() {
        for of in [1, 2, 3, 20] {
            for count in [1, 4, 5, 100] {
                let set = set();
                let mut found = Vec::new();
                let mut completed = 0;
                for index in 0..of {
                    let mut parts = TableRows::new(&set, &Twice, LoadPart { index, of });
                    let mut rows = RowBuffer::default();
                    while let Some((table, numbers)) = parts.next(count, &mut rows) {
                        assert!(rows.len() as u64 == numbers * 2 && rows.len() as u64 <= count.max(2));
                        found.extend((0..rows.len()).map(|row| (table, rows.value(row, 1).as_integer())));
                        completed += numbers;
                        rows.clear();
                    }
                }
                found.sort_unstable();
                let expected = (0..14).map(|row| (1, Some(row))).chain((0..6).map(|row| (2, Some(row))));
                assert!(found.into_iter().eq(expected), "{of} parts of {count}");
                assert_eq!(completed, set.numbers());
            }
        }
    }

    #[test]
    fn indexes_have_names_of_ours() {
        assert_eq!(create_indexes(&set()), ["CREATE INDEX storelab_t_words ON storelab_t_one (word, id)"]);
        let names: Vec<_> = objects(&set()).into_iter().map(|object| object.name).collect();
        assert_eq!(names, ["storelab_t_empty", "storelab_t_one", "storelab_t_two", "storelab_t_words"]);
    }
}

//! The key-value verbs as SQL.

use std::fmt::Write;

use store::{Error, Fields, RecordTable, Request, Result, Value, Values};

use super::{Parameters, RowBuffer, Shape, Statements};

/// The key's column.
pub(crate) const KEY: &str = "ycsb_key";

const READ_ALL: usize = 0;
const SCAN: usize = 1;
const INSERT: usize = 2;
const DELETE: usize = 3;
/// From here on: reading one field, by its number.
const READ_ONE: usize = 4;

/// How many statements there are: five kinds, and an update for every first field and count.
pub(super) fn count(table: &RecordTable) -> usize {
    let fields = usize::from(table.field_count);
    READ_ONE + fields + fields * fields
}

/// The statement that updates `count` fields from `first` on.
fn update_number(table: &RecordTable, first: u16, count: usize) -> usize {
    let fields = usize::from(table.field_count);
    READ_ONE + fields + usize::from(first) * fields + count - 1
}

/// A statement's text.
pub(super) fn text(table: &RecordTable, statement: usize) -> String {
    let name = table.namespace.object(table.table);
    let fields = usize::from(table.field_count);
    match statement {
        READ_ALL => format!("SELECT {} FROM {name} WHERE {KEY} = ?", list(0, fields, "")),
        SCAN => {
            format!("SELECT {KEY}, {} FROM {name} WHERE {KEY} >= ? ORDER BY {KEY} LIMIT ?", list(0, fields, ""))
        }
        INSERT => {
            format!("INSERT INTO {name} ({KEY}, {}) VALUES (?{})", list(0, fields, ""), ", ?".repeat(fields))
        }
        DELETE => format!("DELETE FROM {name} WHERE {KEY} = ?"),
        one if one < READ_ONE + fields => format!("SELECT field{} FROM {name} WHERE {KEY} = ?", one - READ_ONE),
        update => {
            let position = update - READ_ONE - fields;
            let (first, count) = (position / fields, position % fields + 1);
            format!("UPDATE {name} SET {} WHERE {KEY} = ?", list(first, count, " = ?"))
        }
    }
}

/// Whether a statement reads and does nothing else.
pub(super) fn only_reads(table: &RecordTable, statement: usize) -> bool {
    let reads_one = READ_ONE..READ_ONE + usize::from(table.field_count);
    matches!(statement, READ_ALL | SCAN) || reads_one.contains(&statement)
}

/// `field3, field4`, each followed by `suffix`.
fn list(first: usize, count: usize, suffix: &str) -> String {
    (first..first + count).fold(String::new(), |mut text, field| {
        let comma = if field == first { "" } else { ", " };
        write!(text, "{comma}field{field}{suffix}").expect("a String takes everything");
        text
    })
}

/// Does a key-value verb.
pub(super) async fn run<S: Statements>(
    table: &RecordTable,
    statements: &mut S,
    request: &Request<'_>,
    rows: &mut RowBuffer,
) -> Result<u64> {
    let mut parameters = Parameters::new();
    let (statement, shape) = statement(table, request, &mut parameters)?;
    rows.set_shape(shape);
    statements.query(statement, parameters.as_slice(), rows).await
}

/// The statement that does a key-value verb, and how its rows are shown; appends its parameters.
pub(super) fn statement<'a>(
    table: &RecordTable,
    request: &Request<'a>,
    parameters: &mut Parameters<'a>,
) -> Result<(usize, Shape)> {
    match *request {
        Request::Read { key, fields: Fields::All } => {
            parameters.push(Value::Text(key));
            Ok((READ_ALL, Shape::default()))
        }
        Request::Read { key, fields: Fields::One(field) } => {
            if field >= table.field_count {
                return Err(Error::bug(format!("field {field} of records that have {}", table.field_count)));
            }
            parameters.push(Value::Text(key));
            Ok((READ_ONE + usize::from(field), Shape { key: false, first: usize::from(field) }))
        }
        Request::Scan { start, limit } => {
            parameters.push(Value::Text(start));
            parameters.push(Value::Integer(i64::from(limit)));
            Ok((SCAN, Shape { key: true, first: 0 }))
        }
        Request::Insert { key, values } => {
            check(table, values, true)?;
            parameters.push(Value::Text(key));
            push_values(parameters, values)?;
            Ok((INSERT, Shape::default()))
        }
        Request::Update { key, values } => {
            let count = check(table, values, false)?;
            push_values(parameters, values)?;
            parameters.push(Value::Text(key));
            Ok((update_number(table, values.first, count), Shape::default()))
        }
        Request::Delete { key } => {
            parameters.push(Value::Text(key));
            Ok((DELETE, Shape::default()))
        }
        Request::Operation { .. }
        | Request::Statement { .. }
        | Request::Planned { .. }
        | Request::Begin
        | Request::Commit
        | Request::Rollback => Err(Error::bug("not a key-value verb")),
    }
}

/// How many values there are, all of them fields of the table.
fn check(table: &RecordTable, values: Values<'_>, all: bool) -> Result<usize> {
    let count = values.iter().len();
    let fields = usize::from(table.field_count);
    let fits = count > 0 && usize::from(values.first) + count <= fields && (!all || count == fields);
    if fits {
        Ok(count)
    } else {
        Err(Error::bug(format!("{count} values from field {} on for records that have {fields}", values.first)))
    }
}

fn push_values<'a>(parameters: &mut Parameters<'a>, values: Values<'a>) -> Result<()> {
    for (field, value) in values.iter() {
        let text =
            std::str::from_utf8(value).map_err(|_| Error::bug(format!("the value of field {field} is no text")))?;
        parameters.push(Value::Text(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_numbered_as_they_are_written() {
        let table = RecordTable {
            namespace: store::Namespace::new("t").expect("valid"),
            table: "u",
            records: 1,
            field_count: 3,
            field_length: 1,
            key_length_max: 1,
        };
        assert_eq!(text(&table, READ_ONE + 2), "SELECT field2 FROM storelab_t_u WHERE ycsb_key = ?");
        assert_eq!(
            text(&table, update_number(&table, 1, 2)),
            "UPDATE storelab_t_u SET field1 = ?, field2 = ? WHERE ycsb_key = ?"
        );
        assert_eq!(
            text(&table, INSERT),
            "INSERT INTO storelab_t_u (ycsb_key, field0, field1, field2) VALUES (?, ?, ?, ?)"
        );
        assert!(update_number(&table, 2, 1) < count(&table));
    }
}

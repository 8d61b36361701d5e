//! The key-value verbs on a table's records, each a series with the key as its tag.
//!
//! The server has no updates: what is written to a series at a moment where it has a point takes that point's place, field by
//! field. So an update of an absent key makes a record of those fields, and an insertion of an existing key overwrites it;
//! nor does the server say whether there was something to be deleted.

use std::ops::Range;

use store::{Error, Fields, Outcome, RecordTable, Request, Result, Value, Values};

use super::api::{Address, Api};
use super::{csv, flux, line};
use crate::rows::{RowBuffer, Shape};

/// Records that a scan reads with one query. Each adds a condition to its text, and some 250 µs to the server's work,
/// however many there are; a longer text is no faster.
const SCAN_RECORDS_MAX: usize = 100;

/// Works on a table.
pub(crate) struct Records {
    texts: flux::Records,
    measurement: &'static str,
    write_path: String,
    delete_path: String,
    field_count: u16,
    /// The next query.
    text: String,
    /// The next line.
    line: Vec<u8>,
    /// The tag of the key that is asked for.
    tag: String,
    /// The tags of a scan, one behind the other, and where each is.
    tags: String,
    places: Vec<Range<usize>>,
    /// What was read.
    found: Found,
    /// Values in quotes.
    scratch: String,
}

/// Cells of a reply, in the order in which they came.
#[derive(Debug, Default)]
struct Found {
    text: String,
    cells: Vec<Cell>,
}

/// A field's value, of the record whose place in a scan is `record`.
#[derive(Debug)]
struct Cell {
    record: usize,
    field: u16,
    value: Range<usize>,
}

impl Records {
    pub(crate) fn new(address: &Address, table: &RecordTable) -> Self {
        let bucket = table.namespace.as_str();
        Self {
            texts: flux::Records::new(bucket, table.table),
            measurement: table.table,
            write_path: address.write_path(bucket),
            delete_path: address.delete_path(bucket),
            field_count: table.field_count,
            text: String::new(),
            line: Vec::new(),
            tag: String::new(),
            tags: String::new(),
            places: Vec::new(),
            found: Found::default(),
            scratch: String::new(),
        }
    }

    /// Runs a verb. None for requests that are none.
    pub(crate) async fn run(
        &mut self,
        api: &mut Api,
        request: &Request<'_>,
        rows: &mut RowBuffer,
    ) -> Option<Result<Outcome>> {
        Some(match *request {
            Request::Read { key, fields } => self.read(api, key, fields, rows).await,
            Request::Scan { start, limit } => self.scan(api, start, limit, rows).await,
            Request::Insert { key, values } | Request::Update { key, values } => self.write(api, key, values).await,
            Request::Delete { key } => self.delete(api, key).await,
            _ => return None,
        })
    }

    async fn read(&mut self, api: &mut Api, key: &str, fields: Fields, rows: &mut RowBuffer) -> Result<Outcome> {
        self.set_tag(key)?;
        let field = match fields {
            Fields::All => None,
            Fields::One(field) => Some(field),
        };
        self.texts.read(&self.tag, field, &mut self.text);
        let reply = api.query(&self.text).await?;
        self.found.clear();
        let found = &mut self.found;
        csv::read(reply, ["_field", "_value"], &mut self.scratch, |[field, value]| {
            found.push(0, field, value);
            Ok(())
        })?;
        if self.found.cells.is_empty() {
            return Ok(Outcome { rows: 0 });
        }
        rows.set_shape(Shape { key: false, first: usize::from(field.unwrap_or(0)) });
        self.found.sort();
        rows.begin_row();
        let all = field.map_or(0..self.field_count, |field| field..field.saturating_add(1));
        push_fields(&self.found.text, &self.found.cells, all, rows);
        Ok(Outcome { rows: 1 })
    }

    /// The index is asked for keys and then the keys for their records. It goes on naming some that were deleted, so what
    /// is missing in the end is looked for behind them.
    async fn scan(&mut self, api: &mut Api, start: &str, limit: u32, rows: &mut RowBuffer) -> Result<Outcome> {
        self.tag.clear();
        if !start.is_empty() {
            line::encode_key(start, &mut self.tag)?;
        }
        rows.set_shape(Shape { key: true, first: 0 });
        let (mut wanted, limit, mut count) = (limit, u64::from(limit), 0);
        let mut from = ">=";
        while count < limit {
            self.texts.keys(from, &self.tag, wanted, &mut self.text);
            self.list(api).await?;
            let listed = self.places.len();
            for first in (0..listed).step_by(SCAN_RECORDS_MAX) {
                let last = listed.min(first + SCAN_RECORDS_MAX);
                count += self.read_all(api, first..last, limit - count, rows).await?;
            }
            let Some(place) = self.places.last().filter(|_| listed as u64 >= u64::from(wanted)) else { break };
            self.tag.clear();
            self.tag.push_str(&self.tags[place.clone()]);
            (from, wanted) = (">", SCAN_RECORDS_MAX as u32);
        }
        Ok(Outcome { rows: count })
    }

    /// Asks for the keys of a scan, which are in order and not before where it starts.
    async fn list(&mut self, api: &mut Api) -> Result<()> {
        let reply = api.query(&self.text).await?;
        self.tags.clear();
        self.places.clear();
        let (first, tags, places) = (self.tag.as_str(), &mut self.tags, &mut self.places);
        csv::read(reply, ["_value"], &mut self.scratch, |[tag]| {
            let is_in_order = match places.last() {
                None => tag >= first,
                Some(place) => tag > &tags[Range::clone(place)],
            };
            if !is_in_order {
                return Err(Error::wrong_result(
                    "InfluxDB sorted the keys of a scan in another order than was asked for",
                )
                .with_hint(
                    "check that the target is InfluxDB itself and not something before it that changes replies",
                ));
            }
            let begin = tags.len();
            tags.push_str(tag);
            places.push(begin..tags.len());
            Ok(())
        })
    }

    /// Reads those of the scan's records, which follow one another in order, up to so many; how many were there.
    async fn read_all(
        &mut self,
        api: &mut Api,
        records: Range<usize>,
        limit: u64,
        rows: &mut RowBuffer,
    ) -> Result<u64> {
        if limit == 0 {
            return Ok(0);
        }
        let (tags, places) = (&self.tags, &self.places[records]);
        self.texts.read_all(places.iter().map(|place| &tags[place.clone()]), &mut self.text);
        let reply = api.query(&self.text).await?;
        self.found.clear();
        let found = &mut self.found;
        csv::read(reply, ["id", "_field", "_value"], &mut self.scratch, |[tag, field, value]| {
            // What was not asked for is nobody's record.
            if let Ok(record) = places.binary_search_by(|place| tags[place.clone()].cmp(tag)) {
                found.push(record, field, value);
            }
            Ok(())
        })?;
        self.found.sort();
        let mut count = 0;
        for cells in self.found.cells.chunk_by(|first, second| first.record == second.record) {
            self.tag.clear();
            let tag = &tags[places[cells[0].record].clone()];
            if count == limit || line::decode_key(tag, &mut self.tag).is_none() {
                continue;
            }
            rows.begin_row();
            rows.push(Value::Text(&self.tag));
            push_fields(&self.found.text, cells, 0..self.field_count, rows);
            count += 1;
        }
        Ok(count)
    }

    async fn write(&mut self, api: &mut Api, key: &str, values: Values<'_>) -> Result<Outcome> {
        self.set_tag(key)?;
        self.line.clear();
        line::push_record(&mut self.line, self.measurement, &self.tag, values);
        api.write(&self.write_path, &self.line).await?;
        Ok(Outcome { rows: 1 })
    }

    async fn delete(&mut self, api: &mut Api, key: &str) -> Result<Outcome> {
        self.set_tag(key)?;
        flux::deletion(self.measurement, &self.tag, &mut self.text);
        api.delete(&self.delete_path, &self.text).await?;
        Ok(Outcome { rows: 1 })
    }

    fn set_tag(&mut self, key: &str) -> Result<()> {
        self.tag.clear();
        line::encode_key(key, &mut self.tag)
    }
}

impl Found {
    fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
    }

    /// Keeps a value. Fields that are not called as ours are nobody's.
    fn push(&mut self, record: usize, field: &str, value: &str) {
        let Some(field) = field.strip_prefix("field").and_then(|number| number.parse().ok()) else { return };
        let start = self.text.len();
        self.text.push_str(value);
        self.cells.push(Cell { record, field, value: start..self.text.len() });
    }

    /// By record and field: the server's order of fields is that of their names, where 10 comes before 2.
    fn sort(&mut self) {
        self.cells.sort_unstable_by_key(|cell| (cell.record, cell.field));
    }
}

/// Appends a record's fields in order; a field that it has not is NULL.
fn push_fields(text: &str, cells: &[Cell], fields: Range<u16>, rows: &mut RowBuffer) {
    let mut cells = cells.iter().peekable();
    for field in fields {
        while cells.next_if(|cell| cell.field < field).is_some() {}
        let cell = cells.next_if(|cell| cell.field == field);
        rows.push(cell.map_or(Value::Null, |cell| Value::Text(&text[cell.value.clone()])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_the_order_of_their_numbers() {
        let mut found = Found::default();
        for (record, field, value) in
            [(1, "field0", "x"), (0, "field10", "k"), (0, "field2", "c"), (0, "other", "?"), (0, "field0", "a")]
        {
            found.push(record, field, value);
        }
        found.sort();
        let mut rows = RowBuffer::default();
        for cells in found.cells.chunk_by(|first, second| first.record == second.record) {
            rows.begin_row();
            push_fields(&found.text, cells, 0..11, &mut rows);
        }
        let text = |row: usize| (0..11).map(|column| rows.text(row, column).unwrap_or("-")).collect::<String>();
        assert_eq!((text(0), text(1)), ("a-c-------k".to_owned(), "x----------".to_owned()));
    }
}

//! The key-value verbs.
//!
//! A record is one item. Its partition is a shard computed from its key, its sort key the key: within a shard records are
//! in byte order, and a scan merges what the shards answer.

use std::collections::VecDeque;
use std::fmt::Write;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use store::{Error, Fields, RecordTable, Request, Result, Value, Values};

use super::address::Settings;
use super::fault::{self, CONDITION_FAILED};
use super::item::{Item, number, text, text_of};
use super::tables::{KEY, SHARD};
use crate::rows::{RowBuffer, Shape};

/// What a session must know of a table of records.
pub(super) struct Records {
    table: String,
    settings: Settings,
    /// The fields' names.
    fields: Vec<String>,
    /// That the record is there, and that it is not.
    exists: String,
    is_new: String,
}

impl Records {
    pub(super) fn new(table: &RecordTable, settings: Settings) -> Self {
        Self {
            table: table.namespace.object(table.table),
            settings,
            fields: (0..table.field_count).map(|number| format!("field{number}")).collect(),
            exists: format!("attribute_exists({SHARD})"),
            is_new: format!("attribute_not_exists({SHARD})"),
        }
    }

    /// The names of fields that are given, which must be those of the table.
    fn names(&self, values: Values<'_>) -> Result<&[String]> {
        let (first, count) = (usize::from(values.first), values.iter().len());
        self.fields.get(first..first + count).filter(|names| !names.is_empty()).ok_or_else(|| {
            Error::bug(format!("{count} values from field {first} on for records that have {}", self.fields.len()))
        })
    }

    fn shard_of(&self, key: &str) -> AttributeValue {
        number(i64::from(shard_of(key, self.settings.shards)))
    }
}

/// The shard of a key: FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>), whose bits are then mixed as `MurmurHash3`
/// does (<https://github.com/aappleby/smhasher>): keys that differ in their last digits only would share shards otherwise.
pub(super) fn shard_of(key: &str, shards: u16) -> u16 {
    let mut hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (hash % u64::from(shards.max(1))) as u16
}

/// Does a verb.
pub(super) async fn run(
    client: &Client,
    records: &Records,
    request: &Request<'_>,
    rows: &mut RowBuffer,
) -> Result<u64> {
    match *request {
        Request::Read { key, fields } => read(client, records, key, fields, rows).await,
        Request::Scan { start, limit } => scan(client, records, start, limit as usize, rows).await,
        Request::Insert { key, values } => insert(client, records, key, values).await,
        Request::Update { key, values } => update(client, records, key, values).await,
        Request::Delete { key } => delete(client, records, key).await,
        _ => Err(Error::bug("not a key-value verb")),
    }
}

async fn read(client: &Client, records: &Records, key: &str, fields: Fields, rows: &mut RowBuffer) -> Result<u64> {
    let request = client
        .get_item()
        .table_name(&records.table)
        .key(SHARD, records.shard_of(key))
        .key(KEY, text(key))
        .consistent_read(records.settings.consistent);
    let (request, names, first) = match fields {
        Fields::All => (request, records.fields.as_slice(), 0),
        Fields::One(field) => {
            let name = records
                .fields
                .get(usize::from(field))
                .ok_or_else(|| Error::bug(format!("field {field} of records that have {}", records.fields.len())))?;
            // With a key beside it, so that a record without the field is told from none.
            let request = request.projection_expression(format!("{KEY}, {name}"));
            (request, std::slice::from_ref(name), usize::from(field))
        }
    };
    let answer = request.send().await.map_err(fault::error)?;
    let Some(item) = answer.item else { return Ok(0) };
    rows.set_shape(Shape { key: false, first });
    rows.begin_row();
    push_fields(&item, names, rows);
    Ok(1)
}

fn push_fields(item: &Item, names: &[String], rows: &mut RowBuffer) {
    for name in names {
        rows.push(match item.get(name) {
            Some(AttributeValue::S(text)) => Value::Text(text),
            Some(AttributeValue::B(bytes)) => Value::Bytes(bytes.as_ref()),
            _ => Value::Null,
        });
    }
}

async fn insert(client: &Client, records: &Records, key: &str, values: Values<'_>) -> Result<u64> {
    let mut request = client
        .put_item()
        .table_name(&records.table)
        .item(SHARD, records.shard_of(key))
        .item(KEY, text(key))
        .condition_expression(&records.is_new);
    for (name, value) in records.names(values)?.iter().zip(values.iter()) {
        request = request.item(name, field(value)?);
    }
    match request.send().await {
        Ok(_) => Ok(1),
        Err(error) if fault::code(&error) == Some(CONDITION_FAILED) => {
            Err(Error::rejected("a record of that key is there already"))
        }
        Err(error) => Err(fault::error(error)),
    }
}

async fn update(client: &Client, records: &Records, key: &str, values: Values<'_>) -> Result<u64> {
    let mut expression = "SET ".to_owned();
    let mut request = client
        .update_item()
        .table_name(&records.table)
        .key(SHARD, records.shard_of(key))
        .key(KEY, text(key))
        .condition_expression(&records.exists);
    for (position, (name, value)) in records.names(values)?.iter().zip(values.iter()).enumerate() {
        let comma = if position == 0 { "" } else { ", " };
        write!(expression, "{comma}{name} = :{name}").expect("a String takes everything");
        request = request.expression_attribute_values(format!(":{name}"), field(value)?);
    }
    match request.update_expression(expression).send().await {
        Ok(_) => Ok(1),
        Err(error) if fault::code(&error) == Some(CONDITION_FAILED) => Ok(0),
        Err(error) => Err(fault::error(error)),
    }
}

async fn delete(client: &Client, records: &Records, key: &str) -> Result<u64> {
    let request = client
        .delete_item()
        .table_name(&records.table)
        .key(SHARD, records.shard_of(key))
        .key(KEY, text(key))
        .condition_expression(&records.exists);
    match request.send().await {
        Ok(_) => Ok(1),
        Err(error) if fault::code(&error) == Some(CONDITION_FAILED) => Ok(0),
        Err(error) => Err(fault::error(error)),
    }
}

/// A record as an item, for loading.
pub(super) fn item(table: &RecordTable, record: &store::Record, shards: u16) -> Result<Item> {
    let mut item = Item::with_capacity(usize::from(table.field_count) + 2);
    item.insert(SHARD.to_owned(), number(i64::from(shard_of(&record.key, shards))));
    item.insert(KEY.to_owned(), text(&record.key));
    for value in record.values(table.field_length).iter() {
        item.insert(format!("field{}", value.0), field(value)?);
    }
    Ok(item)
}

fn field((number, value): (u16, &[u8])) -> Result<AttributeValue> {
    let value = std::str::from_utf8(value);
    value.map(text).map_err(|_| Error::bug(format!("the value of field {number} is no text")))
}

/// What a shard has answered to a scan so far.
struct ShardPages {
    shard: u16,
    records: VecDeque<Item>,
    /// Where its next page begins; none where it has no more.
    next: Option<From>,
}

/// Where a page begins.
enum From {
    Start,
    Behind(Item),
}

/// Reads from every shard as much as its share is likely to be, and on where that was not enough: what is shown is in
/// order because no shard is passed by while it may have a smaller key.
async fn scan(client: &Client, records: &Records, start: &str, limit: usize, rows: &mut RowBuffer) -> Result<u64> {
    rows.set_shape(Shape { key: true, first: 0 });
    let shards = records.settings.shards;
    let page = page_of(limit, usize::from(shards));
    let shard = |shard| ShardPages { shard, records: VecDeque::new(), next: Some(From::Start) };
    let mut pages: Vec<_> = (0..shards).map(shard).collect();
    let mut shown = 0;
    while shown < limit {
        for pages in pages.iter_mut().filter(|pages| pages.records.is_empty()) {
            let wanted = page.min(limit - shown);
            pages.fill(client, records, start, wanted).await?;
        }
        let first = pages.iter_mut().filter(|pages| !pages.records.is_empty()).min_by(|a, b| a.key().cmp(b.key()));
        let Some(record) = first.and_then(|pages| pages.records.pop_front()) else { break };
        let key = text_of(&record, KEY).ok_or_else(|| Error::wrong_result("a scan gave a record without a key"))?;
        rows.begin_row();
        rows.push(Value::Text(key));
        push_fields(&record, &records.fields, rows);
        shown += 1;
    }
    Ok(shown as u64)
}

/// How much of a shard is read at a time: its share of a scan and twice what that varies by, so that one page is mostly
/// enough and little is read for nothing.
fn page_of(limit: usize, shards: usize) -> usize {
    let share = limit.div_ceil(shards.max(1));
    let more = if shards > 1 { 2 * share.isqrt() + 1 } else { 0 };
    (share + more).min(limit)
}

impl ShardPages {
    /// The smallest key that was not shown.
    fn key(&self) -> &str {
        self.records.front().and_then(|record| text_of(record, KEY)).unwrap_or_default()
    }

    /// Reads until there is a record, or nothing more.
    async fn fill(&mut self, client: &Client, records: &Records, start: &str, page: usize) -> Result<()> {
        while self.records.is_empty()
            && let Some(next) = self.next.take()
        {
            let condition =
                if start.is_empty() { format!("{SHARD} = :s") } else { format!("{SHARD} = :s AND {KEY} >= :k") };
            let mut request = client
                .query()
                .table_name(&records.table)
                .consistent_read(records.settings.consistent)
                .key_condition_expression(condition)
                .expression_attribute_values(":s", number(i64::from(self.shard)))
                .limit(i32::try_from(page).unwrap_or(i32::MAX));
            // A key is never empty, and the service refuses to compare it with nothing.
            if !start.is_empty() {
                request = request.expression_attribute_values(":k", text(start));
            }
            if let From::Behind(key) = next {
                request = request.set_exclusive_start_key(Some(key));
            }
            let answer = request.send().await.map_err(fault::error)?;
            self.records.extend(answer.items.unwrap_or_default());
            self.next = answer.last_evaluated_key.map(From::Behind);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_over_all_shards_alike() {
        for shards in [1, 2, 8, 100] {
            let mut counts = vec![0_u32; usize::from(shards)];
            for number in 0..u32::from(shards) * 1000 {
                counts[usize::from(shard_of(&format!("user{number:019}"), shards))] += 1;
            }
            assert!(counts.iter().all(|count| (800..1200).contains(count)), "{shards}: {counts:?}");
        }
    }

    #[test]
    fn a_page_is_a_share_and_never_more_than_is_wanted() {
        for (limit, shards, expect) in [(0, 8, 0), (1, 8, 1), (100, 1, 100), (100, 8, 20), (1000, 8, 148), (5, 100, 4)]
        {
            assert_eq!(page_of(limit, shards), expect, "{limit} of {shards}");
        }
    }
}

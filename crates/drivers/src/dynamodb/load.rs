//! Loading: rows in batches of as many items as the service takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, Select, WriteRequest};
use store::{Dataset, Error, ErrorKind, LoadPart, Record, RecordSource, Result};

use super::address::Settings;
use super::fault;
use super::item::{Item, number, text};
use super::records;
use super::tables::{Patience, incomplete, index_of_documents};
use crate::contents::{BALANCE, Contents};

/// Items of one `BatchWriteItem`, which the service limits.
const BATCH_ITEMS_MAX: usize = 25;

/// Items that a row of the operations' tables is, at most: two accounts, a customer, a document, an item, an order.
const ITEMS_PER_ROW: usize = 6;

/// A load that gets nothing through for so long is given up. A new table takes 4000 writes a second, and an account's
/// limit is lifted by the second.
const THROTTLED_MAX: Duration = Duration::from_mins(1);

/// Items that wait to be written, by their tables.
type Batch = HashMap<String, Vec<WriteRequest>>;

/// Loads a part.
pub(super) async fn part(
    client: &Client,
    settings: Settings,
    dataset: &Dataset,
    part: LoadPart,
    source: &dyn RecordSource,
    progress: &AtomicU64,
) -> Result<()> {
    let numbers = dataset.part(part.index, part.of);
    let mut record = Record::default();
    let contents = match dataset {
        Dataset::Operations(rows) => Some(Contents::new(rows)),
        _ => None,
    };
    let chunk = if contents.is_some() { BATCH_ITEMS_MAX / ITEMS_PER_ROW } else { BATCH_ITEMS_MAX };
    for first in numbers.clone().step_by(chunk) {
        let end = (first + chunk as u64).min(numbers.end);
        let mut batch = Batch::new();
        for number in first..end {
            match (dataset, &contents) {
                (Dataset::Records(table), _) => {
                    source.fill(number, &mut record);
                    let item = records::item(table, &record, settings.shards)?;
                    push(&mut batch, table.namespace.object(table.table), item)?;
                }
                (_, Some(contents)) => {
                    for (table, item) in row(contents, number) {
                        push(&mut batch, contents.namespace.object(table), item)?;
                    }
                }
                _ => return Err(Error::unsupported("DynamoDB has no relational tables")),
            }
        }
        write(client, batch).await?;
        progress.fetch_add(end - first, Ordering::Relaxed);
    }
    Ok(())
}

fn push(batch: &mut Batch, table: String, item: Item) -> Result<()> {
    let put = PutRequest::builder().set_item(Some(item)).build().map_err(incomplete)?;
    batch.entry(table).or_default().push(WriteRequest::builder().put_request(put).build());
    Ok(())
}

/// Writes a batch; what the service could not take yet, again.
async fn write(client: &Client, mut batch: Batch) -> Result<()> {
    let items = |batch: &Batch| batch.values().map(Vec::len).sum::<usize>();
    let mut patience = Patience::new(THROTTLED_MAX);
    while items(&batch) > 0 {
        let left = match client.batch_write_item().set_request_items(Some(batch.clone())).send().await {
            Ok(answer) => answer.unprocessed_items.unwrap_or_default(),
            Err(error) if fault::is_throttled(&error) && !patience.is_over() => batch.clone(),
            Err(error) => return Err(fault::error(error)),
        };
        if items(&left) < items(&batch) {
            patience = Patience::new(THROTTLED_MAX);
        } else if patience.is_over() {
            let error = format!("no item was taken for {} s: too much is asked", THROTTLED_MAX.as_secs());
            return Err(Error::rejected(error).with_hint("load with fewer sessions, or raise the account's limits"));
        }
        batch = left;
        if items(&batch) > 0 {
            patience.pause().await;
        }
    }
    Ok(())
}

/// The items of a row, each with the name of its table.
fn row(contents: &Contents, number_of_row: u64) -> Vec<(&'static str, Item)> {
    let id = number_of_row.cast_signed();
    let written = |write: &dyn Fn(&mut String)| {
        let mut value = String::new();
        write(&mut value);
        text(value)
    };
    let item = |attributes: &[(&str, AttributeValue)]| -> Item {
        attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let mut items: Vec<_> = contents
        .accounts(number_of_row)
        .into_iter()
        .map(|account| ("accounts", item(&[("id", number(account)), ("balance", number(BALANCE))])))
        .collect();
    if number_of_row < contents.customers() {
        let region = contents.region(number_of_row).cast_signed();
        let name = written(&|text| contents.write_customer(number_of_row, text));
        items.push(("customers", item(&[("id", number(id)), ("region", number(region)), ("name", name)])));
    }
    let owner = written(&|text| contents.write_owner(number_of_row, text));
    let tags = vec![contents.tag(number_of_row).to_owned(), format!("number{}", number_of_row % 7)];
    let payload = written(&|text| contents.write_payload(number_of_row, text));
    items.extend([
        (
            "documents",
            item(&[
                ("id", number(id)),
                ("group", number(contents.group(number_of_row).cast_signed())),
                ("tags", AttributeValue::Ss(tags)),
                ("owner", AttributeValue::M(item(&[("name", owner)]))),
                ("note", payload.clone()),
            ]),
        ),
        (
            "items",
            item(&[
                ("id", number(id)),
                ("code", number(contents.code(number_of_row))),
                ("quantity", number(0)),
                ("payload", payload),
            ]),
        ),
        (
            "orders",
            item(&[
                ("customer", number(contents.customer(number_of_row).cast_signed())),
                ("id", number(id)),
                ("amount", number(contents.amount(number_of_row))),
            ]),
        ),
    ]);
    items
}

/// Waits until the index holds every row: the service fills it in its own time.
pub(super) async fn until_indexed(client: &Client, settings: Settings, dataset: &Dataset) -> Result<()> {
    let Dataset::Operations(rows) = dataset else { return Ok(()) };
    let (table, index) = (rows.namespace.object("documents"), index_of_documents(&rows.namespace));
    let mut patience = Patience::new(settings.table_timeout);
    loop {
        let found = count(client, &table, &index).await?;
        if found >= rows.rows {
            return Ok(());
        }
        if patience.is_over() {
            let error = format!("the index `{index}` holds {found} of {} rows and grows no more", rows.rows);
            return Err(Error::new(ErrorKind::Timeout, error)
                .with_hint("load all parts before finishing, or give it more time"));
        }
        patience.pause().await;
    }
}

async fn count(client: &Client, table: &str, index: &str) -> Result<u64> {
    let (mut found, mut from) = (0, None);
    loop {
        let request = client.scan().table_name(table).index_name(index).select(Select::Count);
        let answer = request.set_exclusive_start_key(from).send().await.map_err(fault::error)?;
        found += answer.count.unsigned_abs();
        from = answer.last_evaluated_key;
        if from.is_none() {
            return Ok(u64::from(found));
        }
    }
}

//! The indices of each dataset: what is mapped in them, how they are made, and how they are filled.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use store::{Dataset, Error, Namespace, OperationRows, Record, RecordSource, RecordTable, Result, Value as Cell};

use super::client::{Address, Client};
use super::failure::Failure;
use super::{json, manifest};
use crate::contents::{ColumnKind, Contents, Table};
use crate::http::{Method, StatusCode};
use crate::rows::RowBuffer;

/// Bytes of a bulk request: where the servers' makers see the best rates (5 to 15 MB) would be too much for several parts
/// at once on a small heap, of which a tenth may be on its way.
const BATCH_BYTES: usize = 1 << 20;

/// The first order of all was placed on 2024-01-01, in milliseconds since 1970; the others within three days of it.
const PLACED_MS_FIRST: i64 = 1_704_067_200_000;
const PLACED_HOURS: u64 = 72;
const HOUR_MS: i64 = 3_600_000;

/// A dataset's index.
pub(super) struct Index {
    /// Its name in the namespace.
    pub(super) name: &'static str,
    /// What is indexed of its documents; the rest is only kept.
    properties: Value,
}

/// The tables whose rows the operations need.
const TABLES: [Table; 4] = [Table::Articles, Table::Documents, Table::Items, Table::Orders];

/// The indices of a dataset.
///
/// # Errors
/// `Unsupported` for tables.
pub(super) fn of(dataset: &Dataset) -> Result<Vec<Index>> {
    match dataset {
        Dataset::Records(table) => {
            Ok(vec![Index { name: table.table, properties: json!({ "key": { "type": "keyword" } }) }])
        }
        Dataset::Operations(_) => {
            Ok(TABLES.map(|table| Index { name: table.name(), properties: properties(table) }).into())
        }
        Dataset::Tables(_) => Err(Error::unsupported("Elasticsearch and OpenSearch have no relational tables")),
    }
}

fn properties(table: Table) -> Value {
    let (long, keyword) = (json!({ "type": "long" }), json!({ "type": "keyword" }));
    match table {
        Table::Articles => json!({ "id": long, "body": { "type": "text", "analyzer": "standard" } }),
        Table::Documents => json!({
            "id": long,
            "document": { "properties": {
                "group": long,
                "tags": keyword,
                "owner": { "properties": { "name": keyword, "level": long } },
            } },
        }),
        Table::Orders => json!({
            "id": long,
            "customer": long,
            "amount": long,
            "placed": { "type": "date", "format": "epoch_millis" },
        }),
        Table::Accounts | Table::Customers | Table::Items => json!({ "id": long, "code": long, "quantity": long }),
    }
}

/// When an order was placed, in milliseconds since 1970.
pub(super) fn placed_ms(contents: &Contents, order: u64) -> i64 {
    let hours = (order * 11 % PLACED_HOURS).cast_signed();
    // The amount, below 10,000, serves for the seconds: less than three hours.
    PLACED_MS_FIRST + hours * HOUR_MS + contents.amount(order) * 1000
}

/// All names that an index takes: its own, and that of the alias by which it is written to.
pub(super) fn names(namespace: &Namespace, name: &str) -> [String; 2] {
    [namespace.object(name), writes(namespace, name)]
}

/// The alias by which an index is written to. See [`super`].
pub(super) fn writes(namespace: &Namespace, name: &str) -> String {
    namespace.object(&format!("{name}_writes"))
}

/// Makes an empty index, without refreshes and copies until it is loaded.
///
/// # Errors
/// `Config` where its name has become somebody else's.
pub(super) async fn make(client: &mut Client, address: &Address, namespace: &Namespace, index: &Index) -> Result<()> {
    let body = json!({
        "settings": { "index": {
            "number_of_shards": address.shards, "number_of_replicas": 0, "refresh_interval": "-1",
        } },
        "mappings": { "dynamic": false, "_meta": manifest::mark(namespace), "properties": index.properties },
        "aliases": { writes(namespace, index.name): {} },
    });
    let name = namespace.object(index.name);
    let path = format!("{}/{name}", address.prefix);
    let reply = client.send(Method::PUT, &path, body.to_string().as_bytes()).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let failure = Failure::of(reply);
    let taken = ["resource_already_exists_exception", "invalid_alias_name_exception", "invalid_index_name_exception"];
    Err(if taken.iter().any(|kind| failure.is(kind)) { manifest::in_the_way(&name) } else { failure.into_error() })
}

/// Gives loaded indices their refreshes and copies, and moves what is in memory to the disk now and not during the first
/// seconds of a run.
pub(super) async fn settle(
    client: &mut Client,
    address: &Address,
    namespace: &Namespace,
    indices: &[Index],
) -> Result<()> {
    let names: Vec<String> = indices.iter().map(|index| namespace.object(index.name)).collect();
    let path = format!("{}/{}", address.prefix, names.join(","));
    let settings = json!({ "index": { "refresh_interval": null, "number_of_replicas": address.replicas } });
    client.ask::<Value>(Method::PUT, &format!("{path}/_settings"), &settings.to_string()).await?;
    for step in ["_flush", "_refresh"] {
        let reply: Value = client.ask(Method::POST, &format!("{path}/{step}"), "").await?;
        if reply["_shards"]["failed"].as_u64() != Some(0) {
            return Err(Error::rejected(format!("a shard failed at {step}: {}", reply["_shards"]))
                .with_hint("look into the server's log, and at the state of its shards"));
        }
    }
    Ok(())
}

/// A bulk request that grows until it is worth sending.
struct Batch<'a> {
    client: Client,
    path: String,
    body: Vec<u8>,
    /// Rows or records in it.
    rows: u64,
    progress: &'a AtomicU64,
}

impl<'a> Batch<'a> {
    async fn new(address: &Address, index: Option<&str>, progress: &'a AtomicU64) -> Result<Self> {
        let index = index.map_or_else(String::new, |index| format!("/{index}"));
        let path = format!(
            "{}{index}/_bulk?require_alias=true&filter_path=errors,items.*.error,items.*.status",
            address.prefix
        );
        Ok(Self { client: Client::open(address).await?, path, body: Vec::new(), rows: 0, progress })
    }

    /// Notes that a row is complete, and sends what there is where that is enough.
    async fn end_row(&mut self) -> Result<()> {
        self.rows += 1;
        if self.body.len() >= BATCH_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let reply = self.client.send_lines(&self.path, &self.body).await?;
        if !reply.status.is_success() {
            return Err(Failure::of(reply).into_error());
        }
        check_items(reply.body)?;
        self.progress.fetch_add(self.rows, Ordering::Relaxed);
        self.body.clear();
        self.rows = 0;
        Ok(())
    }
}

/// The first item of a bulk request that was refused.
fn check_items(body: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Done {
        errors: bool,
    }
    if !json::parse::<Done>(body)?.errors {
        return Ok(());
    }
    let reply: Value = json::parse(body)?;
    let items = reply["items"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let refused = items.flat_map(|item| item.values()).find(|item| item.get("error").is_some());
    let status = refused.and_then(|item| item["status"].as_u64()).and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_REQUEST);
    Err(Failure::named(status, refused.map_or(&Value::Null, |item| &item["error"]), body).into_error())
}

/// Loads records.
pub(super) async fn load_records(
    address: &Address,
    table: &RecordTable,
    numbers: Range<u64>,
    source: &dyn RecordSource,
    progress: &AtomicU64,
) -> Result<()> {
    let mut batch = Batch::new(address, Some(&writes(&table.namespace, table.table)), progress).await?;
    let mut record = Record::default();
    for number in numbers {
        source.fill(number, &mut record);
        batch.body.extend_from_slice(b"{\"index\":{\"_id\":");
        json::push_text(&mut batch.body, record.key.as_bytes());
        batch.body.extend_from_slice(b"}}\n{\"key\":");
        json::push_text(&mut batch.body, record.key.as_bytes());
        json::push_fields(&mut batch.body, record.values(table.field_length), true);
        batch.body.extend_from_slice(b"}\n");
        batch.end_row().await?;
    }
    batch.send().await
}

/// Loads what the operations need.
pub(super) async fn load_rows(
    address: &Address,
    rows: &OperationRows,
    numbers: Range<u64>,
    progress: &AtomicU64,
) -> Result<()> {
    let contents = Contents::new(rows);
    let aliases = TABLES.map(|table| writes(&rows.namespace, table.name()));
    let mut batch = Batch::new(address, None, progress).await?;
    let mut buffer = RowBuffer::default();
    for number in numbers {
        for (table, alias) in TABLES.into_iter().zip(&aliases) {
            buffer.clear();
            contents.fill(table, number, &mut buffer);
            for row in 0..buffer.len() {
                let id = buffer.value(row, 0).as_integer().unwrap_or_default();
                json::push(
                    &mut batch.body,
                    format_args!("{{\"index\":{{\"_index\":\"{alias}\",\"_id\":\"{id}\"}}}}\n"),
                );
                push_row(&mut batch.body, &contents, table, &buffer, row);
                batch.body.push(b'\n');
            }
        }
        batch.end_row().await?;
    }
    batch.send().await
}

/// Appends the document that a table's row is.
pub(super) fn push_row(out: &mut Vec<u8>, contents: &Contents, table: Table, rows: &RowBuffer, row: usize) {
    out.push(b'{');
    for (place, (value, (column, kind))) in rows.row(row).zip(table.columns()).enumerate() {
        json::push(out, format_args!("{}\"{column}\":", if place > 0 { "," } else { "" }));
        match (value, kind) {
            (Cell::Text(document), ColumnKind::Json) => out.extend_from_slice(document.as_bytes()),
            (Cell::Text(text), _) => json::push_text(out, text.as_bytes()),
            (Cell::Integer(number), _) => json::push(out, format_args!("{number}")),
            _ => out.extend_from_slice(b"null"),
        }
    }
    if table == Table::Orders {
        let order = rows.value(row, 0).as_integer().unwrap_or_default().cast_unsigned();
        json::push(out, format_args!(",\"placed\":{}", placed_ms(contents, order)));
    }
    out.push(b'}');
}

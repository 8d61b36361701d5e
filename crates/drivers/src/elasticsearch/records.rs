//! The key-value verbs: how they are asked, and how their replies become rows.
//!
//! Documents have their record's key as their `_id`, by which they are read, and once more as a keyword, by which scans
//! are ordered: its order is that of bytes.

use store::{Error, ErrorKind, Fields, RecordTable, Result, Value, Values};

use super::client::{Address, Client, push_encoded};
use super::failure::Failure;
use super::indices::writes;
use super::json::{self, Document, Found};
use crate::http::{Method, Reply, StatusCode};
use crate::rows::{RowBuffer, Shape};

/// What a search gives at most (`index.max_result_window`); a longer scan goes on behind its last key.
const PAGE_RECORDS_MAX: usize = 10_000;

/// What a page of a scan holds at most, about: the servers put it together in memory.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// An update is a read, a change and a write that only holds where nobody wrote meanwhile. The server repeats it as often
/// as this: with fewer, sessions that update one popular record would fail one another's updates, which no other store does.
const UPDATE_ATTEMPTS: u32 = 64;

/// Asks for records.
pub(super) struct Records {
    /// The paths of what is read, searched and written.
    documents: String,
    search: String,
    create: String,
    update: String,
    delete: String,
    /// What is behind the key in the path of what is written.
    created: String,
    updated: String,
    deleted: String,
    page: usize,
    path: String,
    body: Vec<u8>,
    /// The last key of a page.
    last: String,
}

impl Records {
    /// Of that table.
    pub(super) fn new(address: &Address, table: &RecordTable) -> Self {
        let Address { prefix, refresh, .. } = address;
        let (index, alias) = (table.namespace.object(table.table), writes(&table.namespace, table.table));
        let record_bytes = usize::from(table.field_count) * table.field_length + table.key_length_max;
        Self {
            documents: format!("{prefix}/{index}/_doc/"),
            search: format!("{prefix}/{index}/_search?allow_partial_search_results=false"),
            create: format!("{prefix}/{alias}/_create/"),
            update: format!("{prefix}/{alias}/_update/"),
            delete: format!("{prefix}/{alias}/_doc/"),
            created: format!("?require_alias=true&refresh={refresh}"),
            updated: updated(refresh),
            deleted: format!("?refresh={refresh}"),
            page: (PAGE_BYTES_MAX / record_bytes.max(1)).clamp(1, PAGE_RECORDS_MAX),
            path: String::new(),
            body: Vec::new(),
            last: String::new(),
        }
    }

    pub(super) async fn read(
        &mut self,
        client: &mut Client,
        key: &str,
        fields: Fields,
        rows: &mut RowBuffer,
    ) -> Result<u64> {
        check_key(key)?;
        path_of(&mut self.path, &self.documents, key, "");
        if let Fields::One(field) = fields {
            json::push_field_filter(&mut self.path, field);
            rows.set_shape(Shape { key: false, first: usize::from(field) });
        }
        let reply = client.send(Method::GET, &self.path, b"").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return absent(reply, "\"found\":false");
        }
        let document: Document<'_> = json::parse(succeeded(reply)?.body)?;
        match document.source.filter(|_| document.found) {
            Some(source) => {
                rows.begin_row();
                json::push_record(source, fields, rows)?;
                Ok(1)
            }
            None => Err(Error::wrong_result("the server says it found a record, and shows none")),
        }
    }

    pub(super) async fn scan(
        &mut self,
        client: &mut Client,
        start: &str,
        limit: u32,
        rows: &mut RowBuffer,
    ) -> Result<u64> {
        rows.set_shape(Shape { key: true, first: 0 });
        let mut left = limit as usize;
        let mut from = "gte";
        self.last.clear();
        self.last.push_str(start);
        while left > 0 {
            let size = left.min(self.page);
            self.body.clear();
            json::push(
                &mut self.body,
                format_args!(
                    "{{\"size\":{size},\"track_total_hits\":false,\"query\":{{\"range\":{{\"key\":{{\"{from}\":"
                ),
            );
            json::push_text(&mut self.body, self.last.as_bytes());
            self.body.extend_from_slice(b"}}},\"sort\":[{\"key\":\"asc\"}]}");
            let reply = succeeded(client.send(Method::POST, &self.search, &self.body).await?)?;
            let found: Found<'_> = Found::of(reply.body)?;
            for hit in found.hits() {
                rows.begin_row();
                rows.push(Value::Text(&hit.id));
                json::push_record(hit.source, Fields::All, rows)?;
            }
            let count = found.hits().len();
            left = left.saturating_sub(count);
            match found.hits().last() {
                Some(hit) if count >= size => {
                    self.last.clear();
                    self.last.push_str(&hit.id);
                    from = "gt";
                }
                _ => break,
            }
        }
        Ok(rows.len() as u64)
    }

    pub(super) async fn insert(&mut self, client: &mut Client, key: &str, values: Values<'_>) -> Result<u64> {
        check_key(key)?;
        path_of(&mut self.path, &self.create, key, &self.created);
        self.body.clear();
        self.body.extend_from_slice(b"{\"key\":");
        json::push_text(&mut self.body, key.as_bytes());
        json::push_fields(&mut self.body, values, true);
        self.body.push(b'}');
        created(client.send(Method::PUT, &self.path, &self.body).await?, key)
    }

    pub(super) async fn update(&mut self, client: &mut Client, key: &str, values: Values<'_>) -> Result<u64> {
        check_key(key)?;
        path_of(&mut self.path, &self.update, key, &self.updated);
        self.body.clear();
        self.body.extend_from_slice(b"{\"doc\":{");
        json::push_fields(&mut self.body, values, false);
        // What is the same is written all the same, as other stores do.
        self.body.extend_from_slice(b"},\"detect_noop\":false}");
        let reply = client.send(Method::POST, &self.path, &self.body).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return absent(reply, "document_missing_exception");
        }
        succeeded(reply).map(|_| 1)
    }

    pub(super) async fn delete(&mut self, client: &mut Client, key: &str) -> Result<u64> {
        check_key(key)?;
        path_of(&mut self.path, &self.delete, key, &self.deleted);
        let reply = client.send(Method::DELETE, &self.path, b"").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return absent(reply, "\"result\":\"not_found\"");
        }
        succeeded(reply).map(|_| 1)
    }
}

/// What is behind the key in the path of an update.
pub(super) fn updated(refresh: &str) -> String {
    format!("?require_alias=true&refresh={refresh}&retry_on_conflict={UPDATE_ATTEMPTS}")
}

/// A path that names a document.
pub(super) fn path_of(path: &mut String, before: &str, key: &str, behind: &str) {
    path.clear();
    path.push_str(before);
    push_encoded(path, key);
    path.push_str(behind);
}

/// The reply, where it is a success.
pub(super) fn succeeded(reply: Reply<'_>) -> Result<Reply<'_>> {
    if reply.status.is_success() { Ok(reply) } else { Err(Failure::of(reply).into_error()) }
}

/// What came of adding a document.
pub(super) fn created(reply: Reply<'_>, key: &str) -> Result<u64> {
    if reply.status == StatusCode::CREATED {
        return Ok(1);
    }
    let error = Failure::of(reply).into_error();
    if error.kind() == ErrorKind::Conflict {
        return Err(Error::rejected(format!("a document `{key}` exists already"))
            .with_hint("load the data anew, or insert other keys")
            .with_source(error));
    }
    Err(error)
}

/// No rows, where the reply says so in the words that are given; the index itself may be missing.
fn absent(reply: Reply<'_>, words: &str) -> Result<u64> {
    let says_so = reply.body.windows(words.len()).any(|window| window == words.as_bytes());
    if says_so { Ok(0) } else { Err(Failure::of(reply).into_error()) }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() { Err(Error::unsupported("a document's id cannot be empty")) } else { Ok(()) }
}
